//! Websockets over the HTTP client: its TLS, proxies, headers and time limits are theirs too.

use std::io::{self, Read, Write};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use http::header::{CONNECTION, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE};
use http::{HeaderMap, header};
use reqwest::{Upgraded, Url};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;
use tokio::time::{Instant, Sleep};
pub(crate) use tungstenite::Message;
use tungstenite::error::{CapacityError, Error as WsError, ProtocolError};
use tungstenite::handshake::client::generate_key;
use tungstenite::handshake::derive_accept_key;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::protocol::{CloseFrame, Role, WebSocketConfig, WebSocketContext};

use crate::error::{Error, ErrorKind, Result};
use crate::operation::Operation;
use crate::transport::{Call, Limit, Transport, agent_of, broken};

const READ_BUFFER: usize = 128 << 10;
const MAX_MESSAGE: usize = 64 << 20;
const PING: Duration = Duration::from_secs(20);
/// What the two close frames may take.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);

/// Why no more messages come.
#[derive(Debug)]
pub(crate) enum End {
    /// The server has closed it; no code means none was sent.
    Closed { code: Option<u16>, reason: String },
    /// It ended without a close frame.
    Broken(Error),
}

/// Close code of an orderly end.
pub(crate) const CLOSE_NORMAL: u16 = 1000;

/// What to say of a close that was not to be expected.
pub(crate) fn closed(code: Option<u16>, reason: &str) -> Error {
    let reason = if reason.is_empty() { "the server closed the connection" } else { reason };
    let code = code.map_or_else(|| "without a close code".to_owned(), |code| format!("close code {code}"));
    Error::new(ErrorKind::Connection, format!("{reason} ({code})"))
}

/// How to open a websocket.
pub(crate) struct Open<'a> {
    pub(crate) operation: Operation,
    pub(crate) url: Url,
    /// `Sec-WebSocket-Protocol`.
    pub(crate) protocols: &'a [&'a str],
    /// For the handshake.
    pub(crate) limit: Limit,
    /// The request may be sent again after the server may have acted on it.
    pub(crate) idempotent: bool,
    /// How often a ping is sent; a peer that has said nothing since the last one is gone.
    pub(crate) ping: Duration,
}

impl Open<'_> {
    pub(crate) fn new(operation: Operation, url: Url) -> Self {
        Self { operation, url, protocols: &[], limit: None, idempotent: true, ping: PING }
    }
}

impl Transport {
    /// Opens a websocket. To be called in a background task, on [`crate::client::Link::background`].
    pub(crate) async fn websocket(&self, open: Open<'_>) -> Result<Socket> {
        let Open { operation, url, protocols, limit, idempotent, ping } = open;
        let host = format!("{}:{}", url.host_str().unwrap_or("?"), url.port_or_known_default().unwrap_or_default());
        let key = generate_key();
        let mut headers = HeaderMap::new();
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        headers.insert(SEC_WEBSOCKET_KEY, value(&key)?);
        if !protocols.is_empty() {
            headers.insert(HeaderName::from_static("sec-websocket-protocol"), value(&protocols.join(", "))?);
        }
        let mut call = Call::get(operation, url).limit(limit).upgrade(headers);
        if !idempotent {
            call = call.once();
        }
        let answer = self.open(call).await?;
        let accepted = answer.response.headers().get(SEC_WEBSOCKET_ACCEPT).map(HeaderValue::as_bytes);
        if accepted != Some(derive_accept_key(key.as_bytes()).as_bytes()) {
            let what = format!("{host} does not speak the websocket protocol");
            return Err(Error::new(ErrorKind::Connection, what)
                .with_hint("Check the API URL and proxies on the way")
                .with_operation(operation));
        }
        let agent = agent_of(answer.response.headers());
        let upgraded = answer.response.upgrade().await.map_err(|error| broken(error).with_operation(operation))?;
        Ok(Socket {
            connection: upgraded,
            protocol: WebSocketContext::new(Role::Client, Some(config())),
            has_ended: false,
            operation,
            host,
            agent,
            queued: 0,
            drained: Arc::default(),
            every: ping,
            patience: ping,
            ping: Box::pin(tokio::time::sleep(ping)),
            is_answered: true,
            is_proven: false,
        })
    }
}

pub(crate) fn config() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .max_message_size(Some(MAX_MESSAGE))
        .max_frame_size(Some(MAX_MESSAGE))
}

fn value(text: &str) -> Result<HeaderValue> {
    HeaderValue::from_str(text).map_err(|_| Error::invalid(format!("{text:?} cannot be sent in a header")))
}

/// An open websocket. One task owns it: what is queued is written while that task waits in [`Socket::next`], so
/// that two peers that both have much to say never wait for each other.
pub(crate) struct Socket {
    connection: Upgraded,
    protocol: WebSocketContext,
    has_ended: bool,
    operation: Operation,
    host: String,
    agent: Option<String>,
    queued: usize,
    drained: Arc<Notify>,
    every: Duration,
    /// How long the answer to the last ping may take.
    patience: Duration,
    ping: Pin<Box<Sleep>>,
    /// Something came since the last ping.
    is_answered: bool,
    /// A ping was answered.
    is_proven: bool,
}

impl Socket {
    /// What errors name from now on.
    pub(crate) fn set_operation(&mut self, operation: Operation) {
        self.operation = operation;
    }

    /// The next text or binary message. Cancel safe.
    pub(crate) async fn next(&mut self) -> Result<Message, End> {
        std::future::poll_fn(|cx| self.poll_next(cx)).await
    }

    /// The next message if it is there already.
    pub(crate) fn next_ready(&mut self) -> Option<Result<Message, End>> {
        self.next().now_or_never()
    }

    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Message, End>> {
        // What was received before a write failed is still worth reading.
        let failure = match self.poll_flush(cx) {
            Poll::Ready(Err(error)) => Some(error),
            _ => None,
        };
        loop {
            match self.read(cx) {
                Poll::Ready(Ok(message @ (Message::Text(_) | Message::Binary(_)))) => {
                    self.is_answered = true;
                    return Poll::Ready(Ok(message));
                }
                Poll::Ready(Ok(Message::Close(frame))) => {
                    // The answer to it is queued; whether it arrives is of no matter.
                    let _ = self.write_out(cx);
                    let (code, reason) = frame.map_or((None, String::new()), |frame| {
                        (Some(u16::from(frame.code)), frame.reason.as_str().to_owned())
                    });
                    return Poll::Ready(Err(End::Closed { code, reason }));
                }
                Poll::Ready(Ok(other)) => {
                    self.is_answered = true;
                    self.is_proven |= matches!(other, Message::Pong(_));
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(End::Broken(self.broken(error)))),
                Poll::Pending => break,
            }
        }
        if let Some(error) = failure {
            return Poll::Ready(Err(End::Broken(error)));
        }
        while self.ping.as_mut().poll(cx).is_ready() {
            if !self.is_answered {
                let what = format!("{} has not answered for {:?}", self.host, self.patience);
                return Poll::Ready(Err(End::Broken(self.error(what))));
            }
            self.probe(self.every);
            if let Poll::Ready(Err(error)) = self.poll_flush(cx) {
                return Poll::Ready(Err(End::Broken(error)));
            }
        }
        Poll::Pending
    }

    /// Sends a ping now, to which something has to come within `patience`.
    pub(crate) fn probe(&mut self, patience: Duration) {
        self.is_answered = false;
        self.patience = patience;
        self.ping.as_mut().reset(Instant::now() + patience);
        self.queue(Message::Ping(Bytes::new()));
    }

    /// A ping was answered: what is sent arrives, and what is answered comes back.
    pub(crate) fn is_proven(&self) -> bool {
        self.is_proven
    }

    /// Adds a message to what is to be written. The caller keeps [`Socket::queued`] within bounds.
    pub(crate) fn queue(&mut self, message: Message) {
        self.queued += message.len().max(1);
        // A failure shows again when it is flushed.
        let _ = self.protocol.write(&mut Later, message);
    }

    /// Bytes that wait to be written, all or in part.
    pub(crate) fn queued(&self) -> usize {
        self.queued
    }

    /// Notified when all that was queued is written, for who waits with more meanwhile.
    pub(crate) fn drained(&self) -> Arc<Notify> {
        Arc::clone(&self.drained)
    }

    /// Writes all that is queued. Cancel safe. Only for where the server is known to read.
    pub(crate) async fn flush(&mut self) -> Result<()> {
        std::future::poll_fn(|cx| self.poll_flush(cx)).await
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        if self.queued == 0 {
            return Poll::Ready(Ok(()));
        }
        let result = ready!(self.write_out(cx));
        self.queued = 0;
        self.drained.notify_one();
        Poll::Ready(result.map_err(|error| self.broken(error)))
    }

    fn read(&mut self, cx: &mut Context<'_>) -> Poll<Result<Message, WsError>> {
        if self.has_ended {
            return Poll::Ready(Err(WsError::AlreadyClosed));
        }
        let result = ready!(poll(self.protocol.read(&mut Polled { connection: &mut self.connection, cx })));
        self.has_ended = result.is_err();
        Poll::Ready(result)
    }

    fn write_out(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), WsError>> {
        poll(self.protocol.flush(&mut Polled { connection: &mut self.connection, cx }))
    }

    /// Says goodbye and waits shortly until the server has heard it.
    pub(crate) async fn close(mut self) {
        self.queue(Message::Close(Some(CloseFrame { code: CloseCode::Normal, reason: "".into() })));
        let _ = tokio::time::timeout(CLOSE_LIMIT, async { while self.next().await.is_ok() {} }).await;
    }

    fn broken(&self, error: WsError) -> Error {
        match error {
            WsError::Io(error) => {
                self.error(format!("the connection to {} broke: {error}", self.host)).with_cause(error)
            }
            WsError::Protocol(ProtocolError::ResetWithoutClosingHandshake)
            | WsError::AlreadyClosed
            | WsError::ConnectionClosed => {
                self.error(format!("the connection to {} ended before everything was said", self.host))
            }
            WsError::Capacity(CapacityError::MessageTooLong { size, max_size }) => {
                self.error(format!("{} sent a message of {size} bytes, and {max_size} is the most", self.host))
            }
            other => self.error(format!("{} broke the websocket protocol: {other}", self.host)),
        }
    }

    /// The agent that it leads to, where the server tells.
    pub(crate) fn agent(&self) -> Option<&str> {
        self.agent.as_deref()
    }

    fn error(&self, what: String) -> Error {
        Error::new(ErrorKind::Connection, what).with_operation(self.operation).of_agent(self.agent.clone())
    }
}

/// The connection during one poll; where it would wait, that task is woken.
struct Polled<'a, 'b> {
    connection: &'a mut Upgraded,
    cx: &'a mut Context<'b>,
}

impl Read for Polled<'_, '_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut into = ReadBuf::new(into);
        blocking(Pin::new(&mut *self.connection).poll_read(self.cx, &mut into))?;
        Ok(into.filled().len())
    }
}

impl Write for Polled<'_, '_> {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        blocking(Pin::new(&mut *self.connection).poll_write(self.cx, from))
    }

    fn flush(&mut self) -> io::Result<()> {
        blocking(Pin::new(&mut *self.connection).poll_flush(self.cx))
    }
}

/// A connection that takes nothing now: what is written to it stays in the buffer of the protocol.
struct Later;

impl Read for Later {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        blocking(Poll::Pending)
    }
}

impl Write for Later {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        blocking(Poll::Pending)
    }

    fn flush(&mut self) -> io::Result<()> {
        blocking(Poll::Pending)
    }
}

fn blocking<T>(result: Poll<io::Result<T>>) -> io::Result<T> {
    match result {
        Poll::Ready(result) => result,
        Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
    }
}

fn poll<T>(result: Result<T, WsError>) -> Poll<Result<T, WsError>> {
    match result {
        Err(WsError::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
        result => Poll::Ready(result),
    }
}
