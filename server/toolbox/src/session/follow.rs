//! Logs as they grow.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::ws::{Message, WebSocket};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::FutureExt;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::log::{Cursor, Stream};
use super::text::{self, Format, PIECE, Text};
use super::{Command, Progress};
use crate::websocket::{self, PING, SILENT, Upgrade};

/// How long the client has for its part of the close.
const CLOSE: Duration = Duration::from_secs(10);

/// How far a follower may read.
struct Bound {
    progress: watch::Receiver<Progress>,
    /// Length of the log when its end was seen; what background jobs add later is not awaited.
    end: Option<u64>,
}

impl Bound {
    fn new(command: &Command, follow: bool) -> Self {
        let progress = command.progress.subscribe();
        let end = (!follow).then(|| progress.borrow().length);
        Self { progress, end }
    }

    /// Bytes of the log that may be read now.
    fn now(&mut self) -> u64 {
        self.end.unwrap_or_else(|| {
            let progress = self.progress.borrow_and_update();
            if progress.exit_code.is_some() {
                self.end = Some(progress.length);
            }
            progress.length
        })
    }

    /// Waits for more; false if no more comes.
    async fn more(&mut self) -> bool {
        self.end.is_none() && self.progress.changed().await.is_ok()
    }
}

/// The log as a plain body, to the command's end if it is followed.
pub(super) fn text(command: Arc<Command>, marked: bool) -> Response {
    let bound = Bound::new(&command, true);
    let text = Text::new(Arc::clone(&command.log), None, marked);
    // The command is kept: its end is told by it.
    let state = Some((command, bound, text));
    let body = futures_util::stream::try_unfold(state, |state| async move {
        let Some((command, mut bound, mut text)) = state else { return Ok(None) };
        let mut out = String::new();
        loop {
            let end = bound.now();
            let found = text.next(end, &mut out)?;
            if !out.is_empty() {
                return io::Result::Ok(Some((Bytes::from(out), Some((command, bound, text)))));
            }
            if !found && !bound.more().await {
                text.finish(&mut out);
                return Ok(Some((Bytes::from(out), None)));
            }
        }
    });
    ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], Body::from_stream(body)).into_response()
}

/// The log as binary messages, each of one stream and starting with its marker.
pub(super) fn websocket(upgrade: Upgrade, command: Arc<Command>, follow: bool, headers: &HeaderMap) -> Response {
    let marked = Format::of_websocket(headers) == Format::Marked;
    upgrade.run(&[], async move |mut socket| {
        let close = match send(&mut socket, &command, follow, marked).await {
            Ok(()) => websocket::close(websocket::code::NORMAL, ""),
            Err(End::Gone) => return,
            Err(End::Failed(error)) => {
                websocket::close(websocket::code::INTERNAL, &format!("cannot read the stored log: {error}"))
            }
        };
        if socket.send(close).await.is_ok() {
            let answered = async { while let Some(Ok(_)) = socket.recv().await {} };
            let _ = timeout(CLOSE, answered).await;
        }
    })
}

/// Why the log was not sent to its end.
enum End {
    /// The client left.
    Gone,
    Failed(io::Error),
}

/// Sends at the client's speed: what it does not take stays in the file.
async fn send(socket: &mut WebSocket, command: &Arc<Command>, follow: bool, marked: bool) -> Result<(), End> {
    let mut bound = Bound::new(command, follow);
    let mut cursor = Cursor::new(Arc::clone(&command.log));
    let mut heard = Instant::now();
    loop {
        let mut frame = Vec::new();
        if marked {
            frame.extend(text::marker(Stream::Stdout));
        }
        let end = bound.now();
        if let Some(stream) = cursor.next(end, PIECE, &mut frame).map_err(End::Failed)? {
            if marked {
                frame[..3].copy_from_slice(&text::marker(stream));
            }
            socket.send(Message::Binary(frame.into())).await.map_err(|_| End::Gone)?;
            heard = Instant::now();
            // Pings of the client are answered between messages too.
            if let Some(message) = socket.recv().now_or_never() {
                alive(message.as_ref())?;
            }
            continue;
        }
        drop(frame);
        let mut more = pin!(bound.more());
        loop {
            tokio::select! {
                more = &mut more => {
                    if !more {
                        return Ok(());
                    }
                    break;
                }
                message = socket.recv() => {
                    alive(message.as_ref())?;
                    heard = Instant::now();
                }
                () = tokio::time::sleep(PING) => {
                    if heard.elapsed() > SILENT {
                        return Err(End::Gone);
                    }
                    socket.send(Message::Ping(Bytes::new())).await.map_err(|_| End::Gone)?;
                }
            }
        }
    }
}

fn alive(message: Option<&Result<Message, axum::Error>>) -> Result<(), End> {
    match message {
        // Nothing it says matters.
        Some(Ok(Message::Text(_) | Message::Binary(_) | Message::Ping(_) | Message::Pong(_))) => Ok(()),
        Some(Ok(Message::Close(_)) | Err(_)) | None => Err(End::Gone),
    }
}
