//! One client of a terminal.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{Message, WebSocket};
use daytona_wire::pty::PtyControl;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};

use super::terminal::{Exit, Next, Seat, Terminal};
use super::{Terminals, shell};
use crate::error::Error;
use crate::websocket::{REASON_LIMIT, close, code, finish, or_ping};

/// How long a client is waited for when the connection is closed.
const PATIENCE: Duration = Duration::from_secs(10);
/// The same for one that was too slow.
const SLOW_PATIENCE: Duration = Duration::from_secs(30);

enum End {
    /// The client is gone.
    Lost,
    /// The shell has ended.
    Exited(Exit),
    /// Others waited for it too long.
    Slow,
}

/// Says why nothing can be connected to and closes.
pub(super) async fn refuse(socket: WebSocket, error: &Error) {
    let (mut sink, mut stream) = socket.split();
    say_no(&mut sink, &mut stream, error).await;
}

async fn say_no(sink: &mut SplitSink<WebSocket, Message>, stream: &mut SplitStream<WebSocket>, error: &Error) {
    let message = error.message.to_string();
    let control = PtyControl { error: Some(message.clone()), ..control("error") };
    if sink.send(text(&control)).await.is_ok() {
        let reason = reason(PtyControl { error: Some(message), ..PtyControl::default() });
        finish(sink, stream, close(code::INTERNAL, &reason), PATIENCE).await;
    }
}

fn control(status: &str) -> PtyControl {
    PtyControl { kind: "control".to_owned(), status: status.to_owned(), ..PtyControl::default() }
}

fn text(control: &PtyControl) -> Message {
    Message::Text(serde_json::to_string(control).unwrap_or_default().into())
}

/// JSON that a close frame can hold.
fn reason(mut control: PtyControl) -> String {
    loop {
        let json = serde_json::to_string(&control).unwrap_or_default();
        let shortened = control.error.as_mut().is_some_and(|error| error.pop().is_some());
        if json.len() <= REASON_LIMIT || !shortened {
            return json;
        }
    }
}

/// Serves a client until it or the shell goes; starts the shell if that waits for a client.
pub(super) async fn serve(
    socket: WebSocket,
    terminal: Arc<Terminal>,
    terminals: &Terminals,
    exit_control: bool,
    replay: bool,
) {
    let (mut sink, mut stream) = socket.split();
    let seat = terminal.attach(replay);
    if terminal.is_waiting()
        && let Err(error) = shell::start(&terminal, terminals)
    {
        terminals.forget(&terminal);
        return say_no(&mut sink, &mut stream, &error).await;
    }
    let end = tokio::select! {
        () = listen(&mut stream, &terminal) => End::Lost,
        end = tell(&mut sink, &terminal, &seat) => end,
        () = seat.cut.notified() => End::Slow,
    };
    terminal.detach(seat.number);
    match end {
        End::Lost => {
            // Answers a close frame.
            let _ = tokio::time::timeout(PATIENCE, sink.close()).await;
        }
        End::Slow => {
            let reason = "the client took no output for too long; connect again";
            finish(&mut sink, &mut stream, close(code::POLICY, reason), SLOW_PATIENCE).await;
        }
        End::Exited(exit) => {
            let (exit_code, exit_reason) = (Some(exit.code), exit.reason);
            let ending = PtyControl { exit_code, exit_reason, ..PtyControl::default() };
            if exit_control {
                let control = PtyControl { exit_code, exit_reason: ending.exit_reason.clone(), ..control("exited") };
                if sink.send(text(&control)).await.is_err() {
                    return;
                }
            }
            let code = if exit.code == 0 { code::NORMAL } else { code::INTERNAL };
            finish(&mut sink, &mut stream, close(code, &reason(ending)), PATIENCE).await;
        }
    }
}

/// Types what the client sends.
async fn listen(stream: &mut SplitStream<WebSocket>, terminal: &Terminal) {
    while let Some(Ok(message)) = stream.next().await {
        let bytes = match &message {
            Message::Text(text) => text.as_bytes(),
            Message::Binary(bytes) => bytes,
            Message::Ping(_) | Message::Pong(_) => continue,
            Message::Close(_) => return,
        };
        if let Some(line) = terminal.line() {
            line.write(bytes).await;
        }
    }
}

async fn tell(sink: &mut SplitSink<WebSocket, Message>, terminal: &Terminal, seat: &Seat) -> End {
    if sink.send(text(&control("connected"))).await.is_err() {
        return End::Lost;
    }
    loop {
        match terminal.next(seat.number) {
            Next::Output(bytes, offset) => {
                if sink.send(Message::Binary(bytes)).await.is_err() {
                    return End::Lost;
                }
                terminal.sent(seat.number, offset);
            }
            Next::Exited(exit) => return End::Exited(exit),
            Next::Nothing => {
                if or_ping(sink, seat.waker.notified()).await.is_none() {
                    return End::Lost;
                }
            }
        }
    }
}
