//! From `/toolbox/{sandbox}/...` to the agent inside the sandbox, streamed both ways.

use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, Version, header};
use axum::response::Response;
use bytes::Bytes;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::client::legacy::{Client, ResponseFuture};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use tokio::net::UnixStream;

use crate::App;
use crate::body::Held;
use crate::credentials::{self, without_token};
use crate::environment;
use crate::error::{ApiError, ApiResult, code};
use crate::sandbox::{Activity, Live, Sandbox};
use crate::signing::{self, Signed};
use crate::tunnel;

const SKIP_ACTIVITY: HeaderName = HeaderName::from_static("x-daytona-skip-last-activity-update");
/// How long a request waits for a sandbox that is just starting.
const START_PATIENCE: Duration = Duration::from_secs(30);

/// How long an agent may take to be started again, or the end of a sandbox to be noticed.
const AGAIN: Duration = Duration::from_secs(8);
const AGAIN_PAUSE: Duration = Duration::from_millis(20);

/// Bytes of an agent's answer that the server itself reads.
const ANSWER_LIMIT: usize = 8 << 20;

/// Pooled connections to one agent.
pub(crate) struct Agent(Client<UnixConnector, Body>);

impl Agent {
    pub(crate) fn new(socket: Arc<PathBuf>) -> Self {
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(20))
            .pool_max_idle_per_host(64)
            .build(UnixConnector(socket));
        Self(client)
    }

    /// Asks the agent on the server's own behalf.
    pub(crate) async fn post(&self, path: &'static str, body: Bytes) -> Result<(StatusCode, Bytes), String> {
        use http_body_util::{BodyExt as _, Limited};
        let request = Request::post(format!("http://agent{path}"))
            .header(header::HOST, "sandbox")
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from(body))
            .map_err(|error| error.to_string())?;
        let answer = self.0.request(request).await.map_err(|error| error.to_string())?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), ANSWER_LIMIT).collect().await.map_err(|error| error.to_string())?;
        Ok((status, body.to_bytes()))
    }
}

/// `any /toolbox/{*rest}`, and `any /api/toolbox/{id}/toolbox/{*rest}` of older clients.
pub(crate) async fn handle(State(app): State<Arc<App>>, request: Request) -> Response {
    let (mut parts, body) = request.into_parts();
    let answer = match prepare(&app, &mut parts).await {
        Ok(sandbox) if environment::is_update(&parts.method, parts.uri.path()) => {
            environment::update(&app, &sandbox, Request::from_parts(parts, body)).await
        }
        Ok(sandbox) if parts.method == Method::GET && parts.uri.path() == "/system/metrics" => {
            metrics(&app, &sandbox).await
        }
        Ok(sandbox) => forward(&sandbox, Request::from_parts(parts, body)).await,
        Err(error) => Err(error),
    };
    answer.unwrap_or_else(refuse)
}

/// What the sandbox uses is seen better from here than from inside.
async fn metrics(app: &App, sandbox: &Arc<Sandbox>) -> ApiResult<Response> {
    let _activity = Activity::begin(sandbox);
    if sandbox.live().is_none() {
        return Err(sandbox.not_running());
    }
    Ok(axum::response::IntoResponse::into_response(axum::Json(app.usage_now(sandbox).await?)))
}

/// The failure of a proxied request.
pub(crate) fn refuse(error: ApiError) -> Response {
    axum::response::IntoResponse::into_response(error.by_proxy())
}

/// Checks the caller, finds the sandbox and rewrites the request for its agent.
async fn prepare(app: &App, parts: &mut axum::http::request::Parts) -> ApiResult<Arc<Sandbox>> {
    let path = parts.uri.path();
    let (path, old) = match path.strip_prefix("/api/toolbox/") {
        Some(path) => (path, true),
        None => (path.strip_prefix("/toolbox/").unwrap_or_default(), false),
    };
    let (id, rest) = path.split_at(path.find('/').unwrap_or(path.len()));
    let rest = if old { rest.strip_prefix("/toolbox").unwrap_or(rest) } else { rest };
    let rest = if rest.is_empty() { "/" } else { rest };
    let id = percent_decode_str(id).decode_utf8_lossy();
    let query = parts.uri.query().unwrap_or_default();

    let named = app.sandboxes.find(&id);
    let allowed = match &named {
        Ok(sandbox) => credentials::given(app, sandbox, &parts.headers, query).is_some(),
        Err(_) => app.key.allows(&parts.headers),
    };
    let (sandbox, query) =
        if allowed { (named?, without_token(query)) } else { signed(app, parts.method.as_str(), &id, rest, query)? };
    let target = match query.as_str() {
        "" => rest.to_owned(),
        query => format!("{rest}?{query}"),
    };
    parts.uri = Uri::builder()
        .scheme("http")
        .authority("agent")
        .path_and_query(target)
        .build()
        .map_err(|error| ApiError::invalid(format!("the URL cannot be read: {error}")))?;
    wait_for_start(&sandbox).await;
    Ok(sandbox)
}

/// The sandbox of a signed file URL and the query its agent is given.
fn signed(app: &App, method: &str, id: &str, path: &str, query: &str) -> ApiResult<(Arc<Sandbox>, String)> {
    if !query.contains("signature=") {
        return Err(ApiError::unauthorized());
    }
    let unknown = || {
        signing::forbidden(
            code::SIGNATURE_INVALID,
            "this is not a signed URL of this server: only files/download (GET) and \
             files/upload-v2 (POST) can be signed",
        )
    };
    if !signing::OPERATIONS.contains(&(method, path)) {
        return Err(unknown());
    }
    let signed = Signed::from_query(query).ok_or_else(unknown)?;
    let sandbox = app.sandboxes.find(id).map_err(|_| unknown())?;
    let key = sandbox.record().signing_key.clone();
    signed.check(&key, method)?;
    let path = utf8_percent_encode(&signed.path, NON_ALPHANUMERIC);
    Ok((sandbox, format!("path={path}")))
}

/// A sandbox on its way up is worth waiting for: it takes milliseconds.
pub(crate) async fn wait_for_start(sandbox: &Sandbox) {
    use daytona_wire::sandbox::SandboxState::{Creating, Restoring, Resuming, Starting};
    if matches!(sandbox.record().state, Creating | Starting | Restoring | Resuming) {
        let _ = tokio::time::timeout(START_PATIENCE, sandbox.operation.lock()).await;
    }
}

/// Passes a request on to the agent.
pub(crate) async fn forward(sandbox: &Arc<Sandbox>, mut request: Request) -> ApiResult<Response> {
    // These are the server's own.
    if request.uri().path().starts_with(daytona_wire::tunnel::PREFIX) {
        let message = "the toolbox has no such route";
        return Err(ApiError::new(StatusCode::NOT_FOUND, code::NOT_FOUND, message));
    }
    request.headers_mut().remove(header::AUTHORIZATION);
    request.headers_mut().remove(header::COOKIE);
    request.headers_mut().insert(header::HOST, HeaderValue::from_static("sandbox"));
    match exchange(sandbox, request, |live, request| live.agent.0.request(request), unreachable).await {
        Err(error) if error.code == code::AGENT_UNREACHABLE => Err(cut_off(sandbox, error).await),
        answer => answer,
    }
}

/// Why a connection to the agent broke: it was killed, which the sandbox outlives, or the sandbox ends.
async fn cut_off(sandbox: &Sandbox, error: ApiError) -> ApiError {
    match fate(sandbox).await {
        Fate::Ended => sandbox.ended_meanwhile(),
        Fate::Answers => ApiError::new(
            StatusCode::BAD_GATEWAY,
            code::AGENT_RESTARTED,
            format!(
                "what ran in sandbox {} was killed, and this call with it: by `kill -9 -1`, say, or for want of memory. The \
                 sandbox goes on and its files are kept; sessions, terminals and interpreters have to be made again",
                sandbox.id
            ),
        ),
        Fate::Unknown => error,
    }
}

/// What became of a sandbox to which a connection broke.
pub(crate) enum Fate {
    /// Its agent answers, this one or the next.
    Answers,
    Ended,
    /// Neither has shown in time.
    Unknown,
}

/// Asks until it is known: an agent takes a moment to be started again, and an end to be noticed.
pub(crate) async fn fate(sandbox: &Sandbox) -> Fate {
    let Some(live) = sandbox.live() else {
        return Fate::Ended;
    };
    let end = tokio::time::Instant::now() + AGAIN;
    loop {
        let agent = Arc::clone(&live);
        let asked = live.while_running(async move { agent.agent.post("/version", Bytes::new()).await });
        match tokio::time::timeout_at(end, asked).await {
            Ok(Some(Ok(_))) => return Fate::Answers,
            Ok(None) => return Fate::Ended,
            Ok(Some(Err(_))) => {
                let pause = end.min(tokio::time::Instant::now() + AGAIN_PAUSE);
                if tokio::time::timeout_at(pause, live.ended()).await.is_ok() {
                    return Fate::Ended;
                }
                // A refusal is there at once, before the limit is looked at.
                if pause == end {
                    return Fate::Unknown;
                }
            }
            Err(_) => return Fate::Unknown,
        }
    }
}

/// Sends a request into a running sandbox and passes the answer, or the bytes after a switch of protocols, back.
pub(crate) async fn exchange(
    sandbox: &Arc<Sandbox>,
    mut request: Request,
    send: impl FnOnce(&Live, Request) -> ResponseFuture,
    failed: impl FnOnce(&Sandbox, &hyper_util::client::legacy::Error) -> ApiError,
) -> ApiResult<Response> {
    let Some(live) = sandbox.reachable() else {
        return Err(sandbox.not_running());
    };
    let skip = request.headers().get(SKIP_ACTIVITY);
    let skip = skip.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"true"));
    let activity = (!skip).then(|| Activity::begin(sandbox));

    let upgrade = upgrade_of(request.headers());
    let client_side = upgrade.is_some().then(|| hyper::upgrade::on(&mut request));
    clean(request.headers_mut());
    request.headers_mut().remove(credentials::TOKEN_HEADER);
    if let Some(protocol) = upgrade {
        let headers = request.headers_mut();
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, protocol);
    }
    *request.version_mut() = Version::HTTP_11;

    let Some(answer) = live.while_running(send(&live, request)).await else {
        return Err(sandbox.ended_meanwhile());
    };
    let mut response = match answer {
        Ok(response) => response,
        Err(_) if sandbox.live().is_none() => return Err(sandbox.ended_meanwhile()),
        Err(error) => return Err(failed(sandbox, &error)),
    };
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        let agent_side = hyper::upgrade::on(&mut response);
        if let Some(client_side) = client_side {
            tokio::spawn(async move {
                tokio::select! {
                    () = copy(&live, client_side, agent_side, activity) => {}
                    () = live.gone() => {}
                }
            });
        }
        return Ok(response.map(|_| Body::empty()));
    }
    clean(response.headers_mut());
    // The sandbox counts as busy until its answer is sent.
    Ok(response.map(|body| Body::new(Held::new(body, activity))))
}

/// Passes bytes both ways until both sides are done, or the sandbox is being stopped: the client is told at once, and
/// what runs at the other side has its time to end.
async fn copy(
    live: &Live,
    client: hyper::upgrade::OnUpgrade,
    agent: hyper::upgrade::OnUpgrade,
    activity: Option<Activity>,
) {
    let (Ok(client), Ok(agent)) = tokio::join!(client, agent) else {
        return;
    };
    let (mut client, mut agent) = (TokioIo::new(client), TokioIo::new(agent));
    tokio::select! {
        _ = tokio::io::copy_bidirectional(&mut client, &mut agent) => return,
        () = live.ended() => {}
    }
    drop((client, activity));
    let _ = tokio::io::copy(&mut agent, &mut tokio::io::sink()).await;
}

/// Why the agent gave no answer.
fn unreachable(sandbox: &Sandbox, error: &hyper_util::client::legacy::Error) -> ApiError {
    let cause =
        std::error::Error::source(error).map_or_else(|| error.to_string(), |source| format!("{error}: {source}"));
    tracing::warn!(sandbox = %sandbox.id, cause, "the agent gave no answer");
    ApiError::new(
        StatusCode::BAD_GATEWAY,
        code::AGENT_UNREACHABLE,
        format!("the agent of sandbox {} (which is {}) gave no answer: {cause}", sandbox.id, sandbox.record().state),
    )
}

/// The protocol a request wants to switch to.
fn upgrade_of(headers: &HeaderMap) -> Option<HeaderValue> {
    let connection = headers.get(header::CONNECTION)?.to_str().ok()?;
    connection
        .split(',')
        .any(|option| option.trim().eq_ignore_ascii_case("upgrade"))
        .then(|| headers.get(header::UPGRADE).cloned())
        .flatten()
}

/// Removes what concerns one connection only.
fn clean(headers: &mut HeaderMap) {
    const HOP_BY_HOP: [HeaderName; 6] = [
        header::TE,
        header::TRAILER,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
        header::PROXY_AUTHENTICATE,
        header::PROXY_AUTHORIZATION,
    ];
    if let Some(connection) = headers.remove(header::CONNECTION) {
        for name in connection.to_str().unwrap_or_default().split(',') {
            if let Ok(name) = name.trim().parse::<HeaderName>() {
                headers.remove(name);
            }
        }
    }
    headers.remove("keep-alive");
    headers.remove("proxy-connection");
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
}

/// Connects to an agent's socket.
#[derive(Clone)]
struct UnixConnector(Arc<PathBuf>);

impl tower_service::Service<Uri> for UnixConnector {
    type Response = AgentStream;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<AgentStream>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let path = Arc::clone(&self.0);
        Box::pin(async move { Ok(AgentStream(TokioIo::new(tunnel::connect(&path).await?))) })
    }
}

/// A connection to an agent.
struct AgentStream(TokioIo<UnixStream>);

impl Connection for AgentStream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl Read for AgentStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl Write for AgentStream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, buffer)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(context, buffers)
    }
}

#[cfg(test)]
mod tests;
