//! Requests on their way to a host.

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1 as client1, http2 as client2};
use hyper::server::conn::{http1 as server1, http2 as server2};
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::{Boxed, Goal, Replayed, Shared, Way, replace, sniff};

/// What a host has sent before it hung up reaches the program within this, or not at all.
const REST: Duration = Duration::from_secs(30);

type Body = Either<Incoming, Full<Bytes>>;

/// What a connection has become: the two ends, and whether it is a tunnel through a proxy.
type Upgraded = Arc<Mutex<Option<(OnUpgrade, OnUpgrade, bool)>>>;

/// Serves the requests of a connection by asking the host.
pub(super) async fn relay(
    shared: Arc<Shared>,
    inside: Replayed,
    outside: Boxed,
    second: bool,
    goal: Goal,
) -> io::Result<()> {
    let (inside, outside) = (TokioIo::new(inside), TokioIo::new(outside));
    if second {
        let (sender, host) = client2::handshake(TokioExecutor::new(), outside).await.map_err(io::Error::other)?;
        let service = service_fn(move |request| {
            let (shared, goal, mut sender) = (Arc::clone(&shared), goal.clone(), sender.clone());
            async move {
                let request = match prepare(&shared, &goal, request) {
                    Ok(request) => request,
                    Err(answer) => return Ok(*answer),
                };
                sender.send_request(request).await.map(|response| response.map(Either::Left))
            }
        });
        let mut server = pin!(server2::Builder::new(TokioExecutor::new()).serve_connection(inside, service));
        let mut host = pin!(host);
        let result = tokio::select! {
            result = &mut server => return result.map_err(io::Error::other),
            result = &mut host => result,
        };
        server.as_mut().graceful_shutdown();
        server.await.and(result).map_err(io::Error::other)
    } else {
        first(shared, inside, outside, goal).await
    }
}

/// HTTP/1.1: one request after the other.
async fn first(shared: Arc<Shared>, inside: TokioIo<Replayed>, outside: TokioIo<Boxed>, goal: Goal) -> io::Result<()> {
    let (sender, host) =
        client1::Builder::new().preserve_header_case(true).handshake(outside).await.map_err(io::Error::other)?;
    let sender = Arc::new(tokio::sync::Mutex::new(sender));
    let (upgraded, busy) = (Upgraded::default(), Arc::new(AtomicBool::new(false)));
    let service = service_fn({
        let (shared, upgraded, busy) = (Arc::clone(&shared), Arc::clone(&upgraded), Arc::clone(&busy));
        move |mut request: Request<Incoming>| {
            let (shared, upgraded, goal, sender) =
                (Arc::clone(&shared), Arc::clone(&upgraded), goal.clone(), Arc::clone(&sender));
            let busy = Arc::clone(&busy);
            async move {
                let tunnel = request.method() == Method::CONNECT;
                let from = hyper::upgrade::on(&mut request);
                let request = match prepare(&shared, &goal, request) {
                    Ok(request) => request,
                    Err(answer) => return Ok(*answer),
                };
                busy.store(true, Ordering::Relaxed);
                let mut sender = sender.lock().await;
                sender.ready().await?;
                let mut response = sender.send_request(request).await?;
                let switched = response.status() == StatusCode::SWITCHING_PROTOCOLS;
                if switched || (tunnel && response.status().is_success()) {
                    let to = hyper::upgrade::on(&mut response);
                    *upgraded.lock().unwrap_or_else(PoisonError::into_inner) = Some((from, to, tunnel));
                }
                busy.store(false, Ordering::Relaxed);
                Ok::<_, hyper::Error>(response.map(Either::Left))
            }
        }
    });
    let server = server1::Builder::new().preserve_header_case(true).serve_connection(inside, service);
    let mut server = pin!(server.with_upgrades());
    // Dropped when it has ended: it holds what it has not sent of a request, and with it the program that sends it.
    let mut host = Some(Box::pin(host.with_upgrades()));
    let mut rest = pin!(tokio::time::sleep(REST));
    loop {
        tokio::select! {
            result = &mut server => {
                result.map_err(io::Error::other)?;
                break;
            }
            () = rest.as_mut(), if host.is_none() => break,
            result = poll_fn(|context| host.as_mut().map_or(Poll::Pending, |host| host.as_mut().poll(context))) => {
                host = None;
                rest.as_mut().reset(tokio::time::Instant::now() + REST);
                if let Err(error) = result {
                    tracing::debug!(%error, "a connection to the host of a secret failed");
                }
                // An answer that is on its way ends the connection itself, or makes it something else.
                if !busy.load(Ordering::Relaxed) {
                    server.as_mut().graceful_shutdown();
                }
            }
        }
    }
    let upgraded = upgraded.lock().unwrap_or_else(PoisonError::into_inner).take();
    let Some((inside, outside, tunnel)) = upgraded else { return Ok(()) };
    if let Some(host) = host {
        host.await.map_err(io::Error::other)?;
    }
    let (mut inside, mut outside) =
        (TokioIo::new(inside.await.map_err(io::Error::other)?), TokioIo::new(outside.await.map_err(io::Error::other)?));
    if tunnel {
        let way = Way { address: None, route: None };
        return super::run(shared, Box::new(inside), Box::new(outside), way).await;
    }
    tokio::io::copy_bidirectional(&mut inside, &mut outside).await.map(drop)
}

/// The request as the host is to get it, or the answer that says why it gets none.
fn prepare(shared: &Shared, goal: &Goal, request: Request<Incoming>) -> Result<Request<Incoming>, Box<Response<Body>>> {
    let (mut parts, body) = request.into_parts();
    if let Some(verified) = &goal.verified
        && replace::concerned(&parts)
    {
        // Behind one address there may be many hosts: the value is for the one that is named here, too.
        let named = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok()).map(sniff::without_port);
        let target = parts.uri.host().map(sniff::without_port);
        let hosts: Vec<&str> =
            [Some(verified), named.as_ref(), target.as_ref()].into_iter().flatten().map(String::as_str).collect();
        if let Err(reason) = replace::replace(&mut parts, &shared.values(&hosts)) {
            let text = format!("{reason}; change the secret's value\n");
            let mut answer = Response::new(Either::Right(Full::from(text)));
            *answer.status_mut() = StatusCode::BAD_GATEWAY;
            answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
            return Err(Box::new(answer));
        }
    }
    if let Some(through) = &goal.through {
        through.direct(&mut parts);
    }
    Ok(Request::from_parts(parts, body))
}
