//! HTTP connections.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::body::Held;
use crate::preview::Peer;

/// How long a client may take to send a request's head, where nothing else is said; also how long an unused connection
/// is kept.
pub const HEAD_TIME: Duration = Duration::from_secs(120);

/// Serves connections until the sender of `ended` is dropped, then lets them finish. One on which no whole head of a
/// request comes within `head` of its beginning, or of its last answer, is closed.
pub async fn serve_http(listener: TcpListener, router: Router, head: Duration, mut ended: watch::Receiver<()>) {
    let mut connections = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection(stream, router.clone(), head, ended.clone()));
                }
                Err(error) => {
                    // Too many open files, mostly: others will be closed.
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            },
            Some(_) = connections.join_next() => {}
            _ = ended.changed() => break,
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn connection(stream: TcpStream, router: Router, head: Duration, mut ended: watch::Receiver<()>) {
    let _ = stream.set_nodelay(true);
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(head);
    builder.http2().timer(TokioTimer::new()).max_concurrent_streams(1024);
    let peer = stream.peer_addr().ok().map(|address| Peer(address.ip()));
    let service = TowerToHyperService::new(router);
    let uses = Arc::new(Uses::default());
    let counted = Arc::clone(&uses);
    let service = service_fn(move |mut request: Request<Incoming>| {
        if let Some(peer) = peer {
            request.extensions_mut().insert(peer);
        }
        let this = Use::begin(&counted);
        let answer = service.call(request);
        async move { answer.await.map(|response| response.map(|body| Body::new(Held::new(body, this)))) }
    });
    let serving = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
    let mut serving = pin!(serving);
    let result = tokio::select! {
        result = serving.as_mut() => result,
        () = uses.over(head) => return,
        _ = ended.changed() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(error, "a connection failed");
    }
}

/// The requests of a connection. The time limit of HTTP/1 covers neither the first bytes, which tell the protocol, nor
/// HTTP/2.
#[derive(Default)]
struct Uses {
    begun: AtomicUsize,
    ended: AtomicUsize,
}

impl Uses {
    /// Returns when there was none for so long, or up to twice as long after the last one: a timer for each request
    /// would be dear.
    async fn over(&self, time: Duration) {
        let mut before = 0;
        loop {
            tokio::time::sleep(time).await;
            let ended = self.ended.load(Ordering::SeqCst);
            let begun = self.begun.load(Ordering::SeqCst);
            if begun == ended && begun == before {
                return;
            }
            before = begun;
        }
    }
}

/// A request, until its answer is sent.
struct Use(Arc<Uses>);

impl Use {
    fn begin(uses: &Arc<Uses>) -> Self {
        uses.begun.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(uses))
    }
}

impl Drop for Use {
    fn drop(&mut self) {
        self.0.ended.fetch_add(1, Ordering::SeqCst);
    }
}
