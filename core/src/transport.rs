//! Sends requests: one connection pool a client, time limits, retries, and errors.

mod body;
mod call;
mod failure;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use http::{HeaderMap, Method, StatusCode};
use reqwest::{Client, Response, Url};
use secrecy::ExposeSecret;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use crate::background::PerProcess;
use crate::config::{Credential, Source};
use crate::error::{Error, ErrorKind, Result};
use crate::operation::Operation;
use crate::proxies::{Proxies, Proxy};
use crate::telemetry::RequestSpan;
pub(crate) use body::{too_large, whole};
pub(crate) use call::{Call, Limit, Payload, seconds};
pub(crate) use failure::broken;
use failure::{Acted, Failure, check_proxy, retry_after};

const CONNECT_LIMIT: Duration = Duration::from_secs(30);
/// The limit of a request that has none of its own.
const REQUEST_LIMIT: Duration = Duration::from_secs(60);
/// Below the idle limits of common load balancers, so that a pooled connection is rarely a dead one.
const POOL_IDLE: Duration = Duration::from_secs(30);
/// A peer that is gone without a word is noticed after this much silence and as many unanswered probes.
/// No limit on unacknowledged data beside it: Linux applies that to a peer that is merely slow to read too.
const KEEPALIVE: Duration = Duration::from_secs(1);
const KEEPALIVE_PROBES: u32 = 2;
const RETRIES: usize = 2;
/// A server that asks for a longer pause is answered with its own error at once.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(30);
/// What is kept of the body of an error.
pub(crate) const LONGEST_REFUSAL: usize = 1 << 20;
/// How often one retried status or reset may be asked for again, first pause.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// After this much quiet, closed connections are looked for before one is used.
const QUIET_MILLIS: u64 = 250;

pub(crate) const ORGANIZATION: HeaderName = HeaderName::from_static("x-daytona-organization-id");
pub(crate) const SOURCE: HeaderName = HeaderName::from_static("x-daytona-source");

/// An answer whose body has yet to come; holds its place among the requests in flight.
pub(crate) struct Answer {
    pub(crate) response: Response,
    _slot: Option<OwnedSemaphorePermit>,
}

/// The connections of one process to servers of one scheme, and how many may be in use.
struct Pool {
    tls: bool,
    proxies: Proxies,
    /// Straight to the host, and through a proxy: each is made when it is needed.
    direct: OnceLock<Client>,
    proxied: OnceLock<Client>,
    slots: Option<Arc<Semaphore>>,
}

/// Where requests go out.
pub(crate) struct Transport {
    headers: HeaderMap,
    background: bool,
    /// For whom OpenTelemetry gets to see the requests.
    observed: Option<Source>,
    /// Plain and TLS connections apart: a client that only speaks to a local server never loads
    /// the system's certificates.
    plain: PerProcess<Pool>,
    tls: PerProcess<Pool>,
    slot_count: Option<usize>,
    default_limit: Limit,
    /// Bytes that an answer may have which is held in memory.
    max_response: u64,
    started: Instant,
    last_use: AtomicU64,
}

impl Transport {
    pub(crate) fn new(
        credential: &Credential,
        source: Source,
        slots: Option<usize>,
        default_limit: Limit,
        max_response: u64,
        observed: Option<Source>,
    ) -> Result<Self> {
        let mut headers = HeaderMap::new();
        let bearer = format!("Bearer {}", credential.secret().expose_secret());
        let mut bearer = HeaderValue::from_str(&bearer)
            .map_err(|_| Error::invalid("the API key or token has characters that a header cannot hold"))?;
        bearer.set_sensitive(true);
        headers.insert(AUTHORIZATION, bearer);
        if let Credential::Jwt { organization, .. } = credential {
            let value = HeaderValue::from_str(organization)
                .map_err(|_| Error::invalid("the organization id has characters that a header cannot hold"))?;
            headers.insert(ORGANIZATION, value);
        }
        headers.insert(SOURCE, HeaderValue::from_static(source.as_str()));
        headers.insert(
            HeaderName::from_static("x-daytona-sdk-version"),
            HeaderValue::from_static(crate::PROTOCOL_VERSION),
        );
        Ok(Self {
            slot_count: slots.map(|count| count.min(Semaphore::MAX_PERMITS)),
            ..Self::unused(headers, default_limit, max_response, observed)
        })
    }

    /// The same for tasks on the background runtime, with connections of its own: those of a caller's runtime
    /// stand still while nobody drives it. HTTP/1.1 only, which websockets need; its requests wait for no slot.
    pub(crate) fn for_background(&self) -> Self {
        let unused = Self::unused(self.headers.clone(), self.default_limit, self.max_response, self.observed);
        Self { background: true, ..unused }
    }

    fn unused(headers: HeaderMap, default_limit: Limit, max_response: u64, observed: Option<Source>) -> Self {
        Self {
            observed,
            headers,
            background: false,
            plain: PerProcess::new(),
            tls: PerProcess::new(),
            slot_count: None,
            default_limit,
            max_response,
            started: Instant::now(),
            last_use: AtomicU64::new(0),
        }
    }

    /// A header that all requests carry, if it is text.
    pub(crate) fn header(&self, name: &HeaderName) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Sends a request and reads its JSON answer.
    pub(crate) async fn json<T: DeserializeOwned>(&self, call: Call<'_>) -> Result<T> {
        let operation = call.operation;
        let (headers, body) = self.bytes(&call).await?;
        read_json(operation, &headers, &body)
    }

    /// The same where servers of some versions answer with nothing.
    pub(crate) async fn json_if_any<T: DeserializeOwned>(&self, call: Call<'_>) -> Result<Option<T>> {
        let operation = call.operation;
        let (headers, body) = self.bytes(&call).await?;
        if body.is_empty() { Ok(None) } else { read_json(operation, &headers, &body).map(Some) }
    }

    /// Sends a request and reads its answer: JSON, else text, or null for nothing.
    pub(crate) async fn value(&self, call: Call<'_>) -> Result<Value> {
        let (headers, body) = self.bytes(&call).await?;
        let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        match body {
            body if body.is_empty() => Ok(Value::Null),
            body if kind.contains("json") => read_json(call.operation, &headers, &body),
            body => Ok(Value::String(String::from_utf8_lossy(&body).into_owned())),
        }
    }

    /// Sends a request whose answer says nothing more.
    pub(crate) async fn empty(&self, call: Call<'_>) -> Result<()> {
        self.bytes(&call).await.map(drop)
    }

    /// Sends a request and reads its answer as it is.
    pub(crate) async fn bytes(&self, call: &Call<'_>) -> Result<(HeaderMap, Bytes)> {
        let deadline = self.deadline(call.limit);
        let Answer { mut response, _slot } = self.send(call, deadline).await?;
        let headers = std::mem::take(response.headers_mut());
        let agent = agent_of(&headers);
        match within(deadline, Box::pin(whole(response, self.max_response))).await {
            Ok(Ok(body)) => Ok((headers, body)),
            Ok(Err(error)) => Err(error.with_operation(call.operation).of_agent(agent)),
            Err(Late) => Err(late(deadline).with_operation(call.operation)),
        }
    }

    /// Bytes that an answer may have which is held in memory.
    pub(crate) fn max_response(&self) -> u64 {
        self.max_response
    }

    /// Sends a request and gives the answer as soon as its headers are there. The limit is for
    /// those only; whoever reads the body watches over each piece of it.
    pub(crate) async fn open(&self, call: Call<'_>) -> Result<Answer> {
        let deadline = self.deadline(call.limit);
        self.send(&call, deadline).await
    }

    /// The limit in force, zero for none.
    pub(crate) fn limit_of(&self, limit: Limit) -> Duration {
        limit.or(self.default_limit).unwrap_or(REQUEST_LIMIT)
    }

    /// A place among the requests in flight, for one that goes over other connections.
    pub(crate) async fn reserve(&self, url: &Url) -> Result<Option<OwnedSemaphorePermit>> {
        let pool = self.pool(url.scheme() == "https");
        let Some(slots) = &pool.slots else { return Ok(None) };
        Ok(Some(Arc::clone(slots).acquire_owned().await.expect("the semaphore is never closed")))
    }

    fn deadline(&self, limit: Limit) -> Option<(Instant, Duration)> {
        let limit = self.limit_of(limit);
        (!limit.is_zero()).then(|| (Instant::now() + limit, limit))
    }

    async fn send(&self, call: &Call<'_>, deadline: Deadline) -> Result<Answer> {
        let mut pauses = ExponentialBuilder::default()
            .with_min_delay(FIRST_PAUSE)
            .with_max_times(call.retries)
            .with_jitter()
            .build();
        let mut attempts = 1;
        let mut is_perhaps_done = false;
        loop {
            let failure = match self.attempt(call, deadline).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            // An earlier one, whose answer was lost, has deleted it: that is what was asked for.
            if is_perhaps_done && call.method == Method::DELETE && matches!(failure.error.status(), Some(404 | 410)) {
                return Ok(Answer { response: http::Response::new(Bytes::new()).into(), _slot: None });
            }
            is_perhaps_done |= failure.can_hide_an_answer();
            let mut error = failure.error.with_operation(call.operation).with_attempts(attempts);
            if matches!(failure.acted, Acted::No) {
                error = error.unsent();
            }
            let again = match failure.acted {
                Acted::No => true,
                Acted::Maybe => call.idempotent,
                Acted::Final => false,
            };
            let Some(pause) = again.then(|| pauses.next()).flatten() else { return Err(error) };
            let pause = failure.retry_after.unwrap_or(pause);
            if pause > LONGEST_RETRY_AFTER || deadline.is_some_and(|(end, _)| Instant::now() + pause >= end) {
                return Err(error);
            }
            tracing::debug!(operation = call.operation.name, attempts, ?pause, error = %error, "retrying");
            tokio::time::sleep(pause).await;
            attempts += 1;
        }
    }

    async fn attempt(&self, call: &Call<'_>, deadline: Deadline) -> Result<Answer, Failure> {
        let pool = self.pool(call.url.scheme() == "https");
        let proxy = pool.proxies.of(&call.url);
        let http = self.client(&pool, proxy.as_ref()).map_err(Failure::finally)?;
        let slot = match &pool.slots {
            None => None,
            Some(slots) => Some(match within(deadline, Arc::clone(slots).acquire_owned()).await {
                Ok(permit) => permit.expect("the semaphore is never closed"),
                Err(Late) => return Err(Failure::finally(self.no_slot(deadline))),
            }),
        };
        // A thousand calls may wait above; what a call needs in flight is made only now.
        Box::pin(self.exchange(call, http, proxy.as_ref(), slot, deadline)).await
    }

    async fn exchange(
        &self,
        call: &Call<'_>,
        http: &Client,
        proxy: Option<&Proxy>,
        slot: Option<OwnedSemaphorePermit>,
        deadline: Deadline,
    ) -> Result<Answer, Failure> {
        let mut headers = if call.foreign { HeaderMap::new() } else { self.headers.clone() };
        let span = RequestSpan::begin(self.observed, call);
        if let Some(span) = &span
            && !call.foreign
        {
            span.inject(&mut headers);
        }
        let mut request = http.request(call.method.clone(), call.url.clone()).headers(headers);
        match &call.payload {
            Payload::Empty => {}
            Payload::Json(body) => {
                request = request.header(CONTENT_TYPE, HeaderValue::from_static("application/json")).body(body.clone());
            }
            Payload::Bytes(body) => request = request.body(body.clone()),
            Payload::Stream { content_type, make } => {
                let body = make().ok_or_else(|| {
                    Failure::finally(Error::new(
                        ErrorKind::Connection,
                        "the connection failed and the stream cannot be sent again",
                    ))
                })?;
                request = request.header(CONTENT_TYPE, content_type.clone()).body(body);
            }
            Payload::Upgrade(headers) => request = request.headers(headers.clone()),
        }
        self.notice_closed_connections().await;
        let response = match within(deadline, request.send()).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(Failure::of_transport(error, proxy)),
            Err(Late) => Err(Failure::finally(late(deadline))),
        };
        if let Some(span) = span {
            span.end(response.as_ref().map(Response::status).map_err(|failure| &failure.error));
        }
        let response = response?;
        self.note_use();
        let is_success = match call.payload {
            Payload::Upgrade(_) => response.status() == StatusCode::SWITCHING_PROTOCOLS,
            _ => response.status().is_success(),
        };
        if is_success {
            return Ok(Answer { response, _slot: slot });
        }
        Err(self.refused(response, proxy, deadline).await)
    }

    /// A current-thread runtime does nothing between two calls. What the server closed meanwhile
    /// is only seen when the connections' tasks run: let them, before one of those is picked.
    async fn notice_closed_connections(&self) {
        let now = self.millis();
        if now.saturating_sub(self.last_use.swap(now, Ordering::Relaxed)) > QUIET_MILLIS {
            tokio::task::yield_now().await;
            tokio::task::yield_now().await;
        }
    }

    fn note_use(&self) {
        self.last_use.store(self.millis(), Ordering::Relaxed);
    }

    fn millis(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    async fn refused(&self, response: Response, proxy: Option<&Proxy>, deadline: Deadline) -> Failure {
        let status = response.status();
        let headers = response.headers().clone();
        let host = response.url().host_str().unwrap_or("the host").to_owned();
        if status.is_redirection() {
            let target = headers.get(http::header::LOCATION).and_then(|value| value.to_str().ok()).unwrap_or("?");
            return Failure::finally(
                Error::from_response(status, &headers, b"the server answers with a redirection")
                    .with_hint(format!("If {target} is to be trusted, set the API URL to it")),
            );
        }
        if status.is_success() {
            let what = "the server answered without opening a websocket";
            return Failure::finally(
                Error::new(ErrorKind::Connection, what).with_hint("Check that proxies on the way let websockets pass"),
            );
        }
        let body = within(deadline, beginning(response)).await.unwrap_or_default();
        let mut error = Error::from_response(status, &headers, &body);
        // Not that of a remote of git.
        if status == StatusCode::UNAUTHORIZED && error.kind() == ErrorKind::Authentication {
            error = error.with_hint("Check the API key and that it belongs to this API URL");
        }
        if let Some(proxy) = proxy {
            match status.as_u16() {
                407 => {
                    let what = format!("the proxy {proxy} wants other credentials than it was given");
                    error = error.of_connection(&what).with_hint(check_proxy(&host));
                }
                502..=504 => {
                    let check = check_proxy(&host);
                    error = error.with_hint(format!("The answer may be that of the proxy {proxy}. {check}"));
                }
                _ => {}
            }
        }
        // What a call had begun ended with its sandbox: it is not begun again unasked.
        let transient = matches!(status.as_u16(), 429 | 502 | 503 | 504) && error.kind() != ErrorKind::SandboxDied;
        Failure {
            error,
            acted: if transient { Acted::Maybe } else { Acted::Final },
            retry_after: headers.get(RETRY_AFTER).and_then(retry_after),
        }
    }

    fn no_slot(&self, deadline: Deadline) -> Error {
        let count = self.slot_count.unwrap_or_default();
        Error::new(
            ErrorKind::ConnectionTimeout,
            format!("{count} requests were in flight, and none ended in {}", limit_text(deadline)),
        )
        .with_hint("Raise connection_pool_maxsize or the time limit")
    }

    /// The pool of this process: after a fork the child must not touch its parent's sockets.
    fn pool(&self, tls: bool) -> Arc<Pool> {
        let cell = if tls { &self.tls } else { &self.plain };
        cell.get_or_make(|| Pool {
            tls,
            proxies: Proxies::from_system(),
            direct: OnceLock::new(),
            proxied: OnceLock::new(),
            slots: self.slot_count.map(|count| Arc::new(Semaphore::new(count))),
        })
    }

    fn client<'a>(&self, pool: &'a Pool, proxy: Option<&Proxy>) -> Result<&'a Client> {
        let cell = if proxy.is_some() { &pool.proxied } else { &pool.direct };
        if let Some(client) = cell.get() {
            return Ok(client);
        }
        let client = self.build(pool.tls, proxy)?;
        Ok(cell.get_or_init(|| client))
    }

    fn build(&self, tls: bool, proxy: Option<&Proxy>) -> Result<Client> {
        let source = self.header(&SOURCE).unwrap_or_default();
        let mut builder = Client::builder()
            .user_agent(format!("{source}/{}", crate::PROTOCOL_VERSION))
            .connect_timeout(CONNECT_LIMIT)
            .pool_idle_timeout(POOL_IDLE)
            .tcp_keepalive(KEEPALIVE)
            .tcp_keepalive_interval(KEEPALIVE)
            .tcp_keepalive_retries(KEEPALIVE_PROBES)
            // It would stand for the number of probes, and end connections to a peer that reads slowly.
            .tcp_user_timeout(None)
            .redirect(reqwest::redirect::Policy::none());
        if proxy.is_none() {
            builder = builder.no_proxy();
        }
        if self.background {
            builder = builder.http1_only();
        }
        if let Some(count) = self.slot_count {
            builder = builder.pool_max_idle_per_host(count);
        }
        // Fails only where the process has chosen a provider already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        if !tls && !proxy.is_some_and(Proxy::has_tls) {
            let roots = rustls::RootCertStore::empty();
            let config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
            builder = builder.tls_backend_preconfigured(config);
        }
        builder
            .build()
            .map_err(|error| Error::new(ErrorKind::Other, format!("the HTTP client cannot be set up: {error}")))
    }
}

fn read_json<T: DeserializeOwned>(operation: Operation, headers: &HeaderMap, body: &[u8]) -> Result<T> {
    serde_json::from_slice(body).map_err(|error| {
        let content = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("no content type");
        Error::new(ErrorKind::Other, format!("the server's answer ({content}) cannot be read: {error}"))
            .with_hint("Check that the API URL points to a Daytona API")
            .with_operation(operation)
    })
}

/// The agent that an answer is from, where the server tells.
pub(crate) fn agent_of(headers: &HeaderMap) -> Option<String> {
    headers.get(daytona_wire::AGENT)?.to_str().ok().map(str::to_owned)
}

/// What there is of an error's body, at most [`LONGEST_REFUSAL`] bytes.
async fn beginning(mut response: Response) -> Vec<u8> {
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        body.extend_from_slice(&chunk[..chunk.len().min(LONGEST_REFUSAL - body.len())]);
        if body.len() == LONGEST_REFUSAL {
            break;
        }
    }
    body
}

type Deadline = Option<(Instant, Duration)>;

fn late(deadline: Deadline) -> Error {
    late_answer(deadline.map(|(_, limit)| limit).unwrap_or_default())
}

/// The error of a request that was not answered in time.
pub(crate) fn late_answer(limit: Duration) -> Error {
    Error::new(ErrorKind::ConnectionTimeout, format!("HTTP request timed out after {limit:?} waiting for a response"))
        .with_hint("Pass a longer timeout, or 0 for none")
}

fn limit_text(deadline: Deadline) -> String {
    format!("{:?}", deadline.map(|(_, limit)| limit).unwrap_or_default())
}

struct Late;

async fn within<F: Future>(deadline: Deadline, future: F) -> Result<F::Output, Late> {
    match deadline {
        None => Ok(future.await),
        Some((end, _)) => timeout_at(end, future).await.map_err(|_| Late),
    }
}
