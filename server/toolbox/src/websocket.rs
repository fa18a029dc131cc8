//! Websockets: the upgrade, and how they end.

use std::future::Future;
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::{Sink, SinkExt, Stream, StreamExt};

use crate::error::Error;

/// Between the signs of life that an idle client is asked for, on every websocket: who is on the way keeps the
/// connection, and a client that counts on them learns that it broke.
pub(crate) const PING: Duration = Duration::from_secs(30);

/// A client that shows none for so long is gone.
pub(crate) const SILENT: Duration = Duration::from_secs(300);

/// The longest reason a close frame holds.
pub(crate) const REASON_LIMIT: usize = 123;

/// Subprotocols that clients offer in place of a header.
pub(crate) const SDK_VERSION: &str = "X-Daytona-SDK-Version~";

/// What a connection is closed with.
pub(crate) mod code {
    pub(crate) const NORMAL: u16 = 1000;
    pub(crate) const POLICY: u16 = 1008;
    pub(crate) const INTERNAL: u16 = 1011;
}

/// A request to go on as a websocket; without one a handler that takes this is not called.
pub(crate) struct Upgrade {
    inner: WebSocketUpgrade,
    offered: Vec<String>,
}

impl<S: Send + Sync> FromRequestParts<S> for Upgrade {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        let offered = parts
            .headers
            .get_all(header::SEC_WEBSOCKET_PROTOCOL)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .map(|protocol| protocol.trim().to_owned())
            .filter(|protocol| !protocol.is_empty())
            .collect();
        let inner = WebSocketUpgrade::from_request_parts(parts, state).await.map_err(|_| {
            let error = Error::new(
                StatusCode::UPGRADE_REQUIRED,
                "UPGRADE_REQUIRED",
                "this route is a websocket; connect to it with a websocket client",
            );
            ([(header::UPGRADE, HeaderValue::from_static("websocket"))], error).into_response()
        })?;
        let inner = inner.read_buffer_size(32 << 10).max_frame_size(64 << 20);
        Ok(Self { inner, offered })
    }
}

impl Upgrade {
    /// The rest of the first offered subprotocol that starts with `prefix`.
    pub(crate) fn offered(&self, prefix: &str) -> Option<&str> {
        self.offered.iter().find_map(|protocol| protocol.strip_prefix(prefix))
    }

    /// Answers with the first offered subprotocol that starts with one of `preferred`, else with any: there are
    /// clients that take no answer without one.
    pub(crate) fn run<F, Fut>(mut self, preferred: &[&str], serve: F) -> Response
    where
        F: FnOnce(WebSocket) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let chosen = preferred
            .iter()
            .chain(&[SDK_VERSION, ""])
            .find_map(|prefix| self.offered.iter().find(|protocol| protocol.starts_with(prefix)));
        if let Some(protocol) = chosen.and_then(|protocol| HeaderValue::from_str(protocol).ok()) {
            self.inner.set_selected_protocol(protocol);
        }
        self.inner.on_upgrade(serve)
    }
}

/// Waits for what is to be sent next, and sends pings meanwhile; `None` if the client is gone. Cancel safe where
/// `next` is.
pub(crate) async fn or_ping<S, T>(sink: &mut S, next: impl Future<Output = T>) -> Option<T>
where
    S: Sink<Message> + Unpin,
{
    let mut next = std::pin::pin!(next);
    loop {
        if let Ok(next) = tokio::time::timeout(PING, next.as_mut()).await {
            return Some(next);
        }
        sink.send(Message::Ping(Bytes::new())).await.ok()?;
    }
}

/// A close frame; its reason is cut to what one holds.
pub(crate) fn close(code: u16, reason: &str) -> Message {
    let mut end = reason.len().min(REASON_LIMIT);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    Message::Close(Some(CloseFrame { code, reason: reason[..end].into() }))
}

/// Sends a close frame and waits for the client's, `patience` long. Says whether it came.
pub(crate) async fn finish<S, R>(sink: &mut S, stream: &mut R, close: Message, patience: Duration) -> bool
where
    S: Sink<Message> + Unpin,
    R: Stream<Item = Result<Message, axum::Error>> + Unpin,
{
    let handshake = async {
        sink.send(close).await.ok()?;
        loop {
            if let Message::Close(_) = stream.next().await?.ok()? {
                return Some(());
            }
        }
    };
    matches!(tokio::time::timeout(patience, handshake).await, Ok(Some(())))
}
