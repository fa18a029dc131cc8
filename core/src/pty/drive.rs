//! The task behind a terminal's connection.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use daytona_wire::pty::PtyControl;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep_until};

use crate::error::{Error, Result};
use crate::inbox::{self, Inbox};
use crate::operation::Operation;
use crate::sandbox::Sandbox;
use crate::watch;
use crate::ws::{CLOSE_NORMAL, End, Message, Socket, closed};

/// What a server may take to close after it has told of the exit.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);
/// Bytes of input that wait in the socket.
const INPUT_WINDOW: usize = 256 << 10;
const CLOSE_POLICY: u16 = 1008;

/// What a handle shares with the task behind it.
#[derive(Default)]
pub(super) struct Line {
    pub(super) output: Inbox<Bytes>,
    status: Mutex<Status>,
    /// The user has left.
    pub(super) leave: Notify,
}

#[derive(Default)]
pub(super) struct Status {
    pub(super) established: bool,
    /// The shell has ended, or the server has refused.
    pub(super) over: bool,
    pub(super) exit_code: Option<i32>,
    pub(super) error: Option<String>,
}

impl Line {
    pub(super) fn status(&self) -> MutexGuard<'_, Status> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Carries bytes both ways until the server closes or the user leaves.
pub(super) async fn drive(mut socket: Socket, sandbox: &Sandbox, line: &Line, mut typed: mpsc::Receiver<Bytes>) {
    enum Event {
        Died(Error),
        Typed(Option<Bytes>),
        Received(Result<Message, End>),
        Left,
        Late,
    }
    let _filling = line.output.filling();
    let mut died = std::pin::pin!(watch::ended(sandbox));
    let mut closes = None;
    let drained = socket.drained();
    loop {
        let event = tokio::select! {
            biased;
            () = line.leave.notified() => Event::Left,
            part = typed.recv(), if socket.queued() < INPUT_WINDOW => Event::Typed(part),
            () = drained.notified(), if socket.queued() >= INPUT_WINDOW => continue,
            message = inbox::receive(&mut socket, &line.output) => Event::Received(message),
            error = &mut died => Event::Died(error),
            () = sleep_until(closes.unwrap_or_else(Instant::now)), if closes.is_some() => Event::Late,
        };
        match event {
            Event::Typed(Some(part)) => socket.queue(Message::Binary(part)),
            Event::Typed(None) | Event::Left => {
                // What was sent before is still sent.
                typed.close();
                while let Ok(part) = typed.try_recv() {
                    socket.queue(Message::Binary(part));
                }
                line.output.end(Ok(()));
                return socket.close().await;
            }
            Event::Received(Ok(Message::Text(text))) => match control(text.as_str()) {
                Some(control) => {
                    note(line, control);
                    if line.status().over {
                        closes.get_or_insert_with(|| Instant::now() + CLOSE_LIMIT);
                    }
                }
                None => push(line, text.into()),
            },
            Event::Received(Ok(message)) => push(line, message.into_data()),
            Event::Received(Err(end)) => {
                let end = match ended(line, end) {
                    Ok(()) => Ok(()),
                    Err(error) => Err(watch::why(sandbox, error).await.with_operation(Operation::PTY)),
                };
                return line.output.end(end);
            }
            Event::Died(error) => return line.output.end(Err(error.with_operation(Operation::PTY))),
            Event::Late => {
                line.output.end(Ok(()));
                return socket.close().await;
            }
        }
    }
}

fn push(line: &Line, bytes: Bytes) {
    if !bytes.is_empty() {
        let size = bytes.len();
        line.output.push(bytes, size);
    }
}

/// Reads a control message; any other text is output.
fn control(text: &str) -> Option<PtyControl> {
    let fields: serde_json::Map<String, serde_json::Value> = serde_json::from_str(text).ok()?;
    (fields.get("type")? == "control").then(|| exit_data(&fields))
}

fn exit_data(fields: &serde_json::Map<String, serde_json::Value>) -> PtyControl {
    let text = |name: &str| fields.get(name).and_then(serde_json::Value::as_str).map(str::to_owned);
    let code = fields.get("exitCode").and_then(serde_json::Value::as_i64);
    PtyControl {
        kind: String::new(),
        status: text("status").unwrap_or_default(),
        error: text("error"),
        exit_code: code.and_then(|code| i32::try_from(code).ok()),
        exit_reason: text("exitReason").filter(|reason| !reason.is_empty()),
    }
}

fn note(line: &Line, control: PtyControl) {
    let mut status = line.status();
    match control.status.as_str() {
        "connected" => status.established = true,
        "exited" => {
            // A shell that ends at once may never have been told of before.
            status.established = true;
            status.over = true;
            status.exit_code = control.exit_code.or(status.exit_code);
            status.error = control.exit_reason.or(status.error.take());
        }
        "error" => {
            status.over = true;
            status.error = Some(control.error.unwrap_or_else(|| "unknown connection error".to_owned()));
        }
        other => tracing::debug!(status = other, "unknown control message of a PTY"),
    }
    drop(status);
    line.output.notify();
}

/// What the end of the connection says of the shell's.
fn ended(line: &Line, end: End) -> Result<()> {
    let mut status = line.status();
    let known = status.over && (status.exit_code.is_some() || status.error.is_some());
    match end {
        End::Broken(_) if known => Ok(()),
        End::Broken(error) => Err(error),
        End::Closed { code, reason } => {
            let data = serde_json::from_str(&reason).map(|fields| exit_data(&fields)).unwrap_or_default();
            status.exit_code = data.exit_code.or(status.exit_code);
            status.error = data.error.or(data.exit_reason).or(status.error.take());
            if status.exit_code.is_none() && code == Some(CLOSE_NORMAL) {
                status.exit_code = Some(0);
            }
            if status.exit_code.is_some() || status.error.is_some() {
                status.over = true;
                return Ok(());
            }
            let error = closed(code, &reason);
            Err(if code == Some(CLOSE_POLICY) {
                error.with_hint(
                    "The output was not read fast enough: read it all the time. The shell goes on; connect to it again",
                )
            } else {
                error
            })
        }
    }
}

/// What [`crate::fuzzing`] runs.
#[cfg(any(test, fuzzing))]
pub(crate) fn read_control(text: &str, code: u16) {
    let line = Line::default();
    if let Some(control) = control(text) {
        note(&line, control);
    }
    let _ = ended(&line, End::Closed { code: Some(code), reason: text.to_owned() });
}
