//! What a session can do of it, for servers without the route.

use std::sync::Arc;
use std::time::Duration;

use daytona_wire::exec_stream::{GRACE_SECONDS, ToServer};
use daytona_wire::session::{
    Command, CreateSessionRequest, SessionExecuteRequest, SessionExecuteResponse, SessionInputRequest,
};
use http::Method;
use reqwest::Url;
use tokio::time::{Instant, sleep, timeout};

use super::OPERATION;
use super::shared::{Input, KILL, Running, Shared, TERM, overdue};
use crate::client::join;
use crate::error::{Error, ErrorKind, Result};
use crate::output::Seen;
use crate::sandbox::Sandbox;
use crate::session::{read_log, send_input};
use crate::transport::{Call, Transport};
use crate::watch;
use crate::ws::Open;

const GRACE: Duration = Duration::from_secs(GRACE_SECONDS);
const PAUSE: Duration = Duration::from_millis(250);
/// What the log of a command that was ended may still take to come.
const REST: Duration = Duration::from_secs(2);
const DELETE_LIMIT: Duration = Duration::from_secs(10);
/// Bytes of stdin in one line.
const PIECE: usize = 8 << 10;
/// Says that the input is over; no line of `encoded` bytes looks like that.
const END: &str = "\\\n";
/// Reads lines of `encoded` bytes from the session's input and writes the bytes to the stdin of a command, so that it
/// may be any bytes, and has an end. In the background, because it must not hold a command that does not read.
const FEED: &str = r#"{ while IFS= read -r line && [ "$line" != '\' ]; do printf %b "$line" || break; done <&3 3<&- 2>/dev/null & } 3<&0 | "#;

pub(super) struct Fallback {
    sandbox: Sandbox,
    transport: Arc<Transport>,
    process: Url,
    session: String,
    command: String,
    limit: Option<Duration>,
    no_stdin: bool,
}

/// Why a command is not followed to its end.
enum Stop {
    GivenUp,
    Signal(u8),
    Overdue,
}

impl Fallback {
    pub(super) fn new(
        sandbox: Sandbox,
        transport: Arc<Transport>,
        process: &Url,
        id: &str,
        start: &ToServer,
        no_stdin: bool,
    ) -> Result<Self> {
        let ToServer::Start { command, cwd, envs, timeout } = start else {
            return Err(Error::invalid("a command is begun with its start"));
        };
        let exports = envs.iter().flatten().map(|(name, value)| format!("export {name}={}\n", quoted(value)));
        let cd = cwd.iter().map(|cwd| format!("cd -- {} && ", quoted(cwd)));
        let line: String = exports.chain(cd).collect();
        // In a shell of its own: `exit`, or what is not well-formed, would end the session's, and what is redirected is
        // the whole command, however many lines it has.
        let (feed, end) = if no_stdin { ("", " </dev/null") } else { (FEED, "") };
        let command = format!("{line}{feed}\"$(command -v bash || echo sh)\" -c {}{end}", quoted(command));
        let session = format!("exec-stream-{id}");
        let limit = timeout.map(Duration::from_secs);
        Ok(Self { sandbox, transport, process: process.clone(), session, command, limit, no_stdin })
    }

    fn call(&self, method: Method, path: &[&str]) -> Result<Call<'static>> {
        Ok(Call::new(OPERATION, method, self.url(path)?))
    }

    fn url(&self, path: &[&str]) -> Result<Url> {
        join(self.process.as_str(), &[&["session"], path].concat())
    }

    pub(super) async fn run(&mut self, running: &mut Running) -> Result<()> {
        let shared = Arc::clone(&running.shared);
        shared.only_end();
        let body = CreateSessionRequest { session_id: self.session.clone() };
        self.transport.empty(self.call(Method::POST, &[])?.json(&body)?).await?;
        let result = self.command(running, &shared).await;
        // Deleted already where the command had to be ended; and what is left of it is the server's to clean up.
        let _ = self.delete().await;
        result
    }

    async fn delete(&self) -> Result<()> {
        let call = self.call(Method::DELETE, &[&self.session])?.limit(Some(DELETE_LIMIT));
        self.transport.empty(call).await
    }

    async fn command(&self, running: &mut Running, shared: &Shared) -> Result<()> {
        let body = SessionExecuteRequest {
            command: self.command.clone(),
            run_async: Some(true),
            var_async: None,
            suppress_input_echo: Some(true),
        };
        let call = self.call(Method::POST, &[&self.session, "exec"])?.json(&body)?;
        let command = self.transport.json::<SessionExecuteResponse>(call).await?.cmd_id;
        running.opened();
        let mut seen = Seen::default();
        let follow = self.follow(&command, shared, &mut seen);
        let mut follow = std::pin::pin!(follow);
        let over = async {
            match self.limit {
                Some(limit) => sleep(limit).await,
                None => std::future::pending().await,
            }
        };
        let stop = tokio::select! {
            exit = &mut follow => {
                shared.exited(exit?, false);
                return Ok(());
            }
            stop = self.input(&command, shared) => stop?,
            () = over => Stop::Overdue,
        };
        let exit_code = match stop {
            Stop::GivenUp => return Ok(()),
            Stop::Signal(signal) => 128 + i32::from(signal),
            Stop::Overdue => 128 + i32::from(KILL),
        };
        let deleted = self.delete().await;
        let _ = timeout(REST, follow).await;
        let is_overdue = matches!(stop, Stop::Overdue);
        if let Err(error) = deleted {
            return Err(if is_overdue {
                let what = format!("the command ran over its time limit, and could not be killed: {}", error.message());
                overdue(what).with_cause(error)
            } else {
                error
            });
        }
        shared.exited(exit_code, is_overdue);
        Ok(())
    }

    /// Follows the log to its end, over as many connections as it takes, and gives the exit code.
    async fn follow(&self, command: &str, shared: &Shared, seen: &mut Seen) -> Result<i32> {
        let path = [&self.session, "command", command];
        let mut log_url = self.url(&[&path[..], &["logs"]].concat())?;
        log_url.query_pairs_mut().append_pair("follow", "true");
        let mut lost: Option<Instant> = None;
        loop {
            let died = std::pin::pin!(watch::ended(&self.sandbox));
            seen.rewind();
            let before = seen.total();
            let (read, is_proven) = match self.transport.websocket(Open::new(OPERATION, log_url.clone())).await {
                Ok(mut socket) => {
                    let read = read_log(&mut socket, &shared.pipe, seen, died).await;
                    (read, socket.is_proven())
                }
                Err(error) => (Err(error), false),
            };
            // A command that says nothing may still be well connected.
            if is_proven || seen.total() > before {
                lost = None;
            }
            let failure = match read {
                Ok(()) => {
                    let state: Command = self.transport.json(self.call(Method::GET, &path)?).await?;
                    if let Some(exit_code) = state.exit_code {
                        return Ok(exit_code);
                    }
                    None
                }
                Err(error) => {
                    let error = watch::why(&self.sandbox, error).await;
                    let is_final = error.kind() == ErrorKind::SandboxDied
                        || error.status().is_some_and(|status| !matches!(status, 408 | 429 | 502..=504));
                    if is_final {
                        return Err(error);
                    }
                    Some(error)
                }
            };
            if let Some(error) = failure
                && lost.get_or_insert_with(Instant::now).elapsed() > GRACE
            {
                return Err(error);
            }
            sleep(PAUSE).await;
        }
    }

    /// Sends stdin and its end, until something ends the command.
    async fn input(&self, command: &str, shared: &Shared) -> Result<Stop> {
        let mut is_over = self.no_stdin;
        loop {
            let data = {
                let mut input = shared.input();
                if let Some(stop) = stop(shared, &input) {
                    return Ok(stop);
                }
                let length = input.waiting.len().min(PIECE);
                let piece = input.waiting.split_to(length);
                input.begin += length as u64;
                if !piece.is_empty() {
                    Some(encoded(&piece))
                } else if input.is_over && !std::mem::replace(&mut is_over, true) {
                    Some(END.to_owned())
                } else {
                    None
                }
            };
            shared.taken(0);
            let Some(data) = data else {
                shared.changed.notified().await;
                continue;
            };
            let body = SessionInputRequest { data };
            let call = || self.call(Method::POST, &[&self.session, "command", command, "input"])?.json(&body);
            // Nothing is taken from a command that does not read, which may be ended all the same.
            let sent = tokio::select! {
                sent = send_input(&self.transport, call) => sent,
                stop = stopped(shared) => return Ok(stop),
            };
            match sent {
                Ok(()) => {}
                Err(error) if matches!(error.status(), Some(404 | 410)) => shared.close_input(),
                Err(error) => return Err(error),
            }
        }
    }
}

/// What ends the command, if anything does.
fn stop(shared: &Shared, input: &Input) -> Option<Stop> {
    if shared.is_closing() {
        Some(Stop::GivenUp)
    } else if input.is_killed {
        Some(Stop::Signal(KILL))
    } else if !input.signals.is_empty() {
        Some(Stop::Signal(TERM))
    } else {
        None
    }
}

async fn stopped(shared: &Shared) -> Stop {
    loop {
        if let Some(stop) = stop(shared, &shared.input()) {
            return stop;
        }
        shared.changed.notified().await;
    }
}

/// A line that `printf %b` makes these bytes of.
fn encoded(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut line = String::with_capacity(bytes.len() + 1);
    for &byte in bytes {
        match byte {
            b' '..=b'~' if byte != b'\\' => line.push(char::from(byte)),
            _ => {
                let _ = write!(line, "\\0{byte:03o}");
            }
        }
    }
    line.push('\n');
    line
}

/// One word for a shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
        #[test]
        fn a_shell_reads_what_was_quoted(text in "[^\0]*") {
            let script = format!("printf %s {}", quoted(&text));
            let output = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
            prop_assert_eq!(output.stdout, text.into_bytes());
        }

        #[test]
        fn a_command_reads_what_was_encoded_to_its_end(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            use std::io::Write as _;
            use std::process::Stdio;

            for shell in ["bash", "sh"] {
                let mut child = std::process::Command::new(shell)
                    .args(["-c", &format!("{FEED}cat")])
                    .stdin(Stdio::piped())
                    .stdout(Stdio::piped())
                    .spawn()
                    .unwrap();
                let mut input = child.stdin.take().unwrap();
                for piece in bytes.chunks(100) {
                    input.write_all(encoded(piece).as_bytes()).unwrap();
                }
                // As a session does: it stays open.
                input.write_all(END.as_bytes()).unwrap();
                let output = child.wait_with_output().unwrap();
                drop(input);
                prop_assert_eq!(&output.stdout, &bytes);
            }
        }
    }
}
