//! One connection of a client to its command.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{Message, WebSocket};
use daytona_wire::exec_stream::{HEAD, STDIN, TAKEN_OVER, ToClient, ToServer};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use tokio::sync::Notify;

use super::running::Running;
use crate::error::{Error, Result};
use crate::websocket::{SILENT, close, code, finish, or_ping};

/// How long a client is waited for when the connection is closed.
const PATIENCE: Duration = Duration::from_secs(10);

/// How a connection ends.
enum End {
    /// The client sent a close frame.
    Closed,
    /// It broke.
    Lost,
    /// Another one took its place.
    TakenOver,
    /// The client sent something that makes no sense.
    Refused(Error),
    /// The client knows everything.
    Finished,
}

pub(super) fn parse(text: &str) -> Result<ToServer> {
    serde_json::from_str(text)
        .map_err(|error| Error::bad_body(format!("a message is not what this route takes: {error}")))
}

/// Says why nothing is done and closes.
pub(super) async fn refuse(socket: WebSocket, error: &Error) {
    let (mut sink, mut stream) = socket.split();
    say_no(&mut sink, &mut stream, error).await;
}

async fn say_no(sink: &mut SplitSink<WebSocket, Message>, stream: &mut SplitStream<WebSocket>, error: &Error) {
    let body = ToClient::Error { error: error.body("GET", super::PATH) };
    if sink.send(text(&body)).await.is_ok() {
        finish(sink, stream, close(code::POLICY, &error.message), PATIENCE).await;
    }
}

fn text(message: &ToClient) -> Message {
    Message::Text(serde_json::to_string(message).unwrap_or_default().into())
}

/// Serves a connection that has the output before `offset`, until it ends.
pub(super) async fn serve(socket: WebSocket, running: &Running, offset: u64) {
    let (mut sink, mut stream) = socket.split();
    let (number, waker, stdin) = match running.attach(offset) {
        Ok(attached) => attached,
        Err(error) => return say_no(&mut sink, &mut stream, &error).await,
    };
    let told = Told { number, offset, stdin, stdin_closed: false, exited: false };
    let end = tokio::select! {
        end = listen(&mut stream, running) => end,
        end = tell(&mut sink, running, told, &waker) => end,
    };
    match end {
        End::Closed => {
            running.close(number);
            // Answers the close frame.
            let _ = tokio::time::timeout(PATIENCE, sink.close()).await;
        }
        End::Lost => running.detach(number),
        End::TakenOver => {
            let reason = "another connection has taken over this command";
            finish(&mut sink, &mut stream, close(TAKEN_OVER, reason), PATIENCE).await;
        }
        End::Refused(error) => {
            running.detach(number);
            say_no(&mut sink, &mut stream, &error).await;
        }
        End::Finished => {
            if finish(&mut sink, &mut stream, close(code::NORMAL, ""), PATIENCE).await {
                running.close(number);
            } else {
                running.detach(number);
            }
        }
    }
}

async fn listen(stream: &mut SplitStream<WebSocket>, running: &Running) -> End {
    while let Ok(Some(Ok(message))) = tokio::time::timeout(SILENT, stream.next()).await {
        let done = match message {
            Message::Text(text) => parse(&text).and_then(|message| match message {
                ToServer::Start { .. } => Err(Error::bad_request("a command runs on this connection already")),
                ToServer::Ack { offset } => running.acknowledge(offset),
                ToServer::Eof { offset } => running.end_input(offset),
                ToServer::Signal { signal } => running.signal(&signal),
            }),
            Message::Binary(data) => match data.split_first_chunk::<HEAD>() {
                Some(([STDIN, offset @ ..], bytes)) => running.write(u64::from_be_bytes(*offset), bytes),
                _ => Err(Error::bad_request("a binary message is no bytes for stdin")),
            },
            Message::Ping(_) | Message::Pong(_) => Ok(()),
            Message::Close(_) => return End::Closed,
        };
        if let Err(error) = done {
            return End::Refused(error);
        }
    }
    End::Lost
}

/// What a connection has been told.
struct Told {
    number: u64,
    offset: u64,
    stdin: u64,
    stdin_closed: bool,
    exited: bool,
}

async fn tell(sink: &mut SplitSink<WebSocket, Message>, running: &Running, mut told: Told, waker: &Arc<Notify>) -> End {
    let mut message = Some(text(&ToClient::Started { stdin: told.stdin }));
    loop {
        match message.take() {
            Some(message) => {
                if sink.send(message).await.is_err() {
                    return End::Lost;
                }
            }
            None => {
                if or_ping(sink, waker.notified()).await.is_none() {
                    return End::Lost;
                }
            }
        }
        message = match told.next(running) {
            Ok(message) => message,
            Err(end) => return end,
        };
    }
}

impl Told {
    /// What to say next, if anything.
    fn next(&mut self, running: &Running) -> std::result::Result<Option<Message>, End> {
        let state = running.lock();
        if !state.belongs_to(self.number) {
            return Err(End::TakenOver);
        }
        if state.stdin.taken > self.stdin {
            self.stdin = state.stdin.taken;
            return Ok(Some(text(&ToClient::Ack { offset: self.stdin })));
        }
        if state.stdin.refused() && !self.stdin_closed {
            self.stdin_closed = true;
            return Ok(Some(text(&ToClient::StdinClosed)));
        }
        // What was acknowledged needs not be sent.
        self.offset = self.offset.max(state.output.start());
        if let Some((message, offset)) = state.output.message(self.offset) {
            self.offset = offset;
            return Ok(Some(Message::Binary(message)));
        }
        match state.exit {
            Some(exit) if !self.exited => {
                self.exited = true;
                Ok(Some(text(&ToClient::Exited { exit_code: exit.exit_code, timed_out: exit.timed_out })))
            }
            Some(_) if state.output.start() == state.output.end() => Err(End::Finished),
            _ => Ok(None),
        }
    }
}
