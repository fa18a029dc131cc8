//! From a preview URL to a port inside a sandbox, streamed both ways.
//!
//! `{port}-{label}` names the port; the label is a sandbox's id or the token of a signed URL. It stands in the host's
//! name (`3000-{id}.localhost:3986`) or, where such names do not resolve, in the path (`/preview/3000-{id}/`).

use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::{TokioExecutor, TokioTimer};

use crate::App;
use crate::access::Digest;
use crate::api::no_randomness;
use crate::credentials::{self, Given, TOKEN_QUERY, without_token};
use crate::error::{ApiError, ApiResult, code};
use crate::proxy::{self, exchange, forward, refuse, wait_for_start};
use crate::sandbox::Sandbox;
use crate::tunnel;

/// Length of a signed URL's token.
pub(crate) const SIGNED_LENGTH: usize = 16;
/// Where the agent answers.
const TOOLBOX_PORT: u16 = 2280;
/// The toolbox's own ports, for which also a public sandbox wants a token.
const OWN_PORTS: [u16; 4] = [TOOLBOX_PORT, 22220, 22222, 33333];

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
pub(crate) const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");

/// The other end of a connection.
#[derive(Clone, Copy)]
pub(crate) struct Peer(pub(crate) IpAddr);

/// What a request asks for.
struct Target {
    port: u16,
    label: String,
    /// What the path begins with, where the path names the port.
    prefix: Option<String>,
}

/// The path form of a preview URL, without a slash at its end.
pub(crate) fn url(base: &str, port: u16, label: &str) -> String {
    format!("{base}/preview/{port}-{label}")
}

/// Takes the requests whose host names a port of a sandbox.
pub(crate) async fn by_host(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let target = host(request.headers(), request.uri())
        .and_then(|host| parse(host.host().split('.').next()?).map(|(port, label)| (port, label.to_owned())))
        .map(|(port, label)| Target { port, label, prefix: None });
    match target {
        Some(target) => answer(&app, target, request).await,
        None => next.run(request).await,
    }
}

/// `any /preview/{port}-{label}/...`
pub(crate) async fn by_path(State(app): State<Arc<App>>, request: Request) -> Response {
    let name = request.uri().path().split('/').nth(2).unwrap_or_default();
    let Some((port, label)) = parse(name) else {
        return refuse(ApiError::invalid(format!(
            "{name:?} names no port of a sandbox: it is the port, a dash, and a sandbox's id or a signed URL's token"
        )));
    };
    let target = Target { port, label: label.to_owned(), prefix: Some(format!("/preview/{name}")) };
    answer(&app, target, request).await
}

/// A port and a label.
fn parse(name: &str) -> Option<(u16, &str)> {
    let (port, label) = name.split_once('-')?;
    let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    let port = port.parse().ok().filter(|port| digits && *port > 0)?;
    let uuid = label.len() == 36 && label.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit());
    (uuid || is_signed(label)).then_some((port, label))
}

fn is_signed(label: &str) -> bool {
    label.len() == SIGNED_LENGTH && label.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_lowercase())
}

fn host(headers: &HeaderMap, uri: &Uri) -> Option<Authority> {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()?.parse().ok());
    host.or_else(|| uri.authority().cloned())
}

async fn answer(app: &App, target: Target, request: Request) -> Response {
    match serve(app, &target, request).await {
        Ok(mut response) => {
            if let Some(prefix) = &target.prefix {
                stay_below(prefix, response.headers_mut());
            }
            response
        }
        Err(error) => refuse(error),
    }
}

async fn serve(app: &App, target: &Target, request: Request) -> ApiResult<Response> {
    let (mut parts, body) = request.into_parts();
    refuse_loop(app, &parts.headers)?;
    let rest = match &target.prefix {
        Some(prefix) => parts.uri.path().strip_prefix(prefix.as_str()).unwrap_or_default(),
        None => parts.uri.path(),
    };
    let query = parts.uri.query().unwrap_or_default();
    if let Some(location) = better_url(target, &parts, rest, query) {
        return redirect(&location, None);
    }
    let (sandbox, given) = admit(app, target, &parts.headers, query)?;
    let rest = if rest.is_empty() { "/" } else { rest };
    let query = without_token(query);
    let path = if query.is_empty() { rest.to_owned() } else { format!("{rest}?{query}") };
    if given == Some(Given::Query) && is_navigation(&parts) && !path.starts_with("//") {
        // From here on the cookie carries the token: it stays out of histories and of what pages link to.
        let prefix = target.prefix.as_deref().unwrap_or_default();
        let token = sandbox.preview_token.get().map_err(no_randomness)?;
        let cookie = credentials::set_cookie(&sandbox, &token, &format!("{prefix}/"));
        return redirect(&format!("{prefix}{path}"), Some(&cookie));
    }
    credentials::strip(app, &sandbox, &mut parts.headers);
    if !parts.headers.contains_key(header::HOST)
        && let Some(host) = parts.uri.authority().and_then(|host| HeaderValue::from_str(host.as_str()).ok())
    {
        parts.headers.insert(header::HOST, host);
    }
    parts.uri = Uri::builder()
        .scheme("http")
        .authority(format!("sandbox:{}", target.port))
        .path_and_query(path)
        .build()
        .map_err(|error| ApiError::invalid(format!("the URL cannot be read: {error}")))?;
    wait_for_start(&sandbox).await;
    if target.port == TOOLBOX_PORT {
        return forward(&sandbox, Request::from_parts(parts, body)).await;
    }
    describe(app, target, &mut parts);
    let port = target.port;
    let failed = move |sandbox: &Sandbox, error: &hyper_util::client::legacy::Error| no_answer(sandbox, port, error);
    let request = Request::from_parts(parts, body);
    match exchange(&sandbox, request, |live, request| live.ports.0.request(request), failed).await {
        // The end of a sandbox breaks its connections a moment before it is noticed.
        Err(error) if error.code == code::PORT_NO_ANSWER => match proxy::fate(&sandbox).await {
            proxy::Fate::Ended => Err(sandbox.ended_meanwhile()),
            proxy::Fate::Answers | proxy::Fate::Unknown => Err(error),
        },
        answer => answer,
    }
}

/// Finds the sandbox and checks that the caller may look at it.
fn admit(app: &App, target: &Target, headers: &HeaderMap, query: &str) -> ApiResult<(Arc<Sandbox>, Option<Given>)> {
    if is_signed(&target.label) {
        return Ok((by_token(app, &target.label, target.port)?, None));
    }
    let found = app.sandboxes.find(&target.label)?;
    if let Some(given) = credentials::given(app, &found, headers, query) {
        return Ok((found, Some(given)));
    }
    if found.record().public && !OWN_PORTS.contains(&target.port) {
        return Ok((found, None));
    }
    Err(ApiError::new(
        StatusCode::UNAUTHORIZED,
        code::UNAUTHORIZED,
        format!(
            "the preview of port {} needs the sandbox's preview token, which changes at each start: send it as header \
             X-Daytona-Preview-Token or in the query as {TOKEN_QUERY}, use a signed URL, or make the sandbox public",
            target.port
        ),
    ))
}

/// The sandbox that a signed URL's token leads to.
pub(crate) fn by_token(app: &App, token: &str, port: u16) -> ApiResult<Arc<Sandbox>> {
    let digest = Digest::of(token);
    let found = app.sandboxes.all().into_iter().find(|sandbox| sandbox.record().access.leads_to(&digest, port));
    found.ok_or_else(|| {
        ApiError::new(
            StatusCode::FORBIDDEN,
            code::PREVIEW_TOKEN_INVALID,
            format!("this signed preview URL has expired or was never made for port {port}: make a new one"),
        )
    })
}

/// A port of the machine that is the server's own would lead back to it.
fn refuse_loop(app: &App, headers: &HeaderMap) -> ApiResult<()> {
    let own = app.request_ids.instance();
    let mut via = headers.get_all(header::VIA).iter().filter_map(|via| via.to_str().ok());
    if via.any(|via| via.split(',').any(|hop| hop.trim().ends_with(&own))) {
        return Err(ApiError::new(
            StatusCode::LOOP_DETECTED,
            code::PREVIEW_LOOP,
            "this port of the sandbox leads back to the server",
        ));
    }
    Ok(())
}

/// Tells the program in the sandbox what the client asked for.
fn describe(app: &App, target: &Target, parts: &mut Parts) {
    let headers = &mut parts.headers;
    let mut add = |name: HeaderName, value: &str| {
        if !headers.contains_key(&name)
            && let Ok(value) = HeaderValue::from_str(value)
        {
            headers.insert(name, value);
        }
    };
    add(FORWARDED_PROTO, "http");
    if let Some(prefix) = &target.prefix {
        add(FORWARDED_PREFIX, prefix);
    }
    if let Some(host) = headers.get(header::HOST).cloned() {
        headers.entry(FORWARDED_HOST).or_insert(host);
    }
    let before = headers.get_all(FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok());
    let peer = parts.extensions.get::<Peer>().map(|Peer(address)| address.to_string());
    let chain: Vec<String> = before.map(str::to_owned).chain(peer).collect();
    if let Ok(chain) = HeaderValue::from_str(&chain.join(", ")) {
        headers.insert(FORWARDED_FOR, chain);
    }
    if let Ok(hop) = HeaderValue::from_str(&format!("1.1 {}", app.request_ids.instance())) {
        headers.append(header::VIA, hop);
    }
}

/// A browser opens a page.
fn is_navigation(parts: &Parts) -> bool {
    let accepts = parts.headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    parts.method == Method::GET
        && !parts.headers.contains_key(header::UPGRADE)
        && accepts.is_some_and(|accept| accept.contains("text/html"))
}

/// Where a browser is better off than in the path: with the host's name each sandbox is an origin of its own, and links
/// that begin with a slash work. Browsers resolve names below localhost by themselves.
fn better_url(target: &Target, parts: &Parts, rest: &str, query: &str) -> Option<String> {
    let prefix = target.prefix.as_deref().filter(|_| is_navigation(parts))?;
    let query = if query.is_empty() { String::new() } else { format!("?{query}") };
    let agent = parts.headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or_default();
    let resolves = ["Chrome/", "Firefox/"].iter().any(|name| agent.contains(name));
    let direct = !parts.headers.contains_key(FORWARDED_HOST) && !parts.headers.contains_key(FORWARDED_FOR);
    let host = host(&parts.headers, &parts.uri)?;
    let name = host.host().trim_matches(['[', ']']);
    let loopback = name == "localhost" || name.parse().is_ok_and(|address: IpAddr| address.is_loopback());
    if resolves && direct && loopback {
        let port = host.port_u16().map_or_else(String::new, |port| format!(":{port}"));
        let rest = if rest.is_empty() { "/" } else { rest };
        return Some(format!("http://{}-{}.localhost{port}{rest}{query}", target.port, target.label));
    }
    // Relative links need the slash.
    rest.is_empty().then(|| format!("{prefix}/{query}"))
}

fn redirect(location: &str, cookie: Option<&str>) -> ApiResult<Response> {
    let bad = |error| ApiError::invalid(format!("the URL cannot be read: {error}"));
    let mut response = StatusCode::TEMPORARY_REDIRECT.into_response();
    response.headers_mut().insert(header::LOCATION, HeaderValue::from_str(location).map_err(bad)?);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(cookie) = cookie {
        response.headers_mut().insert(header::SET_COOKIE, HeaderValue::from_str(cookie).map_err(bad)?);
    }
    Ok(response)
}

/// Redirects and cookies of the program are meant for its own root, which is the prefix.
fn stay_below(prefix: &str, headers: &mut HeaderMap) {
    let below = |path: &str| path.starts_with('/') && !path.starts_with("//") && !path.starts_with(prefix);
    if let Some(location) = headers.get(header::LOCATION).and_then(|location| location.to_str().ok())
        && below(location)
        && let Ok(location) = HeaderValue::from_str(&format!("{prefix}{location}"))
    {
        headers.insert(header::LOCATION, location);
    }
    let cookies: Vec<HeaderValue> = headers.get_all(header::SET_COOKIE).iter().cloned().collect();
    headers.remove(header::SET_COOKIE);
    for cookie in cookies {
        let moved = cookie.to_str().ok().and_then(|text| {
            let parts = text.split(';').map(|part| match part.trim().split_once('=') {
                Some((name, path)) if name.eq_ignore_ascii_case("path") && below(path) => {
                    format!(" Path={prefix}{path}")
                }
                _ => part.to_owned(),
            });
            HeaderValue::from_str(&parts.collect::<Vec<_>>().join(";")).ok()
        });
        headers.append(header::SET_COOKIE, moved.unwrap_or(cookie));
    }
}

fn no_answer(sandbox: &Sandbox, port: u16, error: &hyper_util::client::legacy::Error) -> ApiError {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    let mut message = error.to_string();
    while let Some(error) = cause {
        message = error.to_string();
        if let Some(io) = error.downcast_ref::<io::Error>()
            && io.kind() == io::ErrorKind::ConnectionRefused
        {
            return ApiError::new(StatusCode::BAD_GATEWAY, code::PORT_UNREACHABLE, message);
        }
        cause = error.source();
    }
    ApiError::new(
        StatusCode::BAD_GATEWAY,
        code::PORT_NO_ANSWER,
        format!("what listens on port {port} of sandbox {} gave no answer in HTTP: {message}", sandbox.id),
    )
}

/// Pooled connections to the ports of one sandbox.
pub(crate) struct Ports(Client<Connector, Body>);

impl Ports {
    pub(crate) fn new(socket: Arc<PathBuf>) -> Self {
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(20))
            .pool_max_idle_per_host(32)
            .build(Connector(socket));
        Self(client)
    }
}

/// Connects to the port of a URL, in the sandbox.
#[derive(Clone)]
struct Connector(Arc<PathBuf>);

impl tower_service::Service<Uri> for Connector {
    type Response = Port;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Port>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let socket = Arc::clone(&self.0);
        Box::pin(async move {
            let port = uri.port_u16().unwrap_or(80);
            let route = format!("{}?port={port}", daytona_wire::tunnel::DIAL);
            Ok(Port(tunnel::open(&socket, &route).await?.into_inner()))
        })
    }
}

/// A connection to a port.
struct Port(hyper::upgrade::Upgraded);

impl Connection for Port {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl hyper::rt::Read for Port {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl hyper::rt::Write for Port {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, buffer)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_ports() {
        let id = "0b1e77aa-0000-4000-8000-000000000001";
        assert_eq!(parse(&format!("3000-{id}")), Some((3000, id)));
        assert_eq!(parse("80-abcdefghij012345"), Some((80, "abcdefghij012345")));
        for other in ["localhost", "127", "0-abcdefghij012345", "70000-abcdefghij012345", "+1-abcdefghij012345", "1-ab"]
        {
            assert_eq!(parse(other), None, "{other}");
        }
    }

    #[test]
    fn redirects_and_cookies_stay_below_the_prefix() {
        let mut headers = HeaderMap::new();
        headers.insert(header::LOCATION, HeaderValue::from_static("/login"));
        headers.append(header::SET_COOKIE, HeaderValue::from_static("a=1; path=/x; HttpOnly"));
        headers.append(header::SET_COOKIE, HeaderValue::from_static("b=2"));
        stay_below("/preview/1-id", &mut headers);
        assert_eq!(headers[header::LOCATION], "/preview/1-id/login");
        let cookies: Vec<_> = headers.get_all(header::SET_COOKIE).iter().collect();
        assert_eq!(cookies, ["a=1; Path=/preview/1-id/x; HttpOnly", "b=2"]);
        headers.insert(header::LOCATION, HeaderValue::from_static("https://example.com/"));
        stay_below("/preview/1-id", &mut headers);
        assert_eq!(headers[header::LOCATION], "https://example.com/");
    }
}
