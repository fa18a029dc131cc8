//! What a session can do of it, for servers without the route.

use std::sync::Arc;
use std::time::Duration;

use bytes::Buf;
use daytona_wire::exec_stream::{GRACE_SECONDS, ToServer};
use daytona_wire::session::{
    Command, CreateSessionRequest, SessionExecuteRequest, SessionExecuteResponse, SessionInputRequest,
};
use http::Method;
use reqwest::Url;
use serde::de::IgnoredAny;
use tokio::time::{Instant, sleep, timeout};

use super::OPERATION;
use super::shared::{KILL, Running, Shared, TERM};
use crate::client::join;
use crate::error::{Error, ErrorKind, Result};
use crate::output::Seen;
use crate::sandbox::Sandbox;
use crate::session::read_log;
use crate::transport::{Call, Transport};
use crate::watch;
use crate::ws::Open;

const GRACE: Duration = Duration::from_secs(GRACE_SECONDS);
const PAUSE: Duration = Duration::from_millis(250);
/// What the log of a command that was ended may still take to come.
const REST: Duration = Duration::from_secs(2);
const DELETE_LIMIT: Duration = Duration::from_secs(10);

pub(super) struct Fallback {
    sandbox: Sandbox,
    transport: Arc<Transport>,
    process: Url,
    session: String,
    command: String,
    limit: Option<Duration>,
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
    ) -> Result<Self> {
        let ToServer::Start { command, cwd, envs, timeout } = start else {
            return Err(Error::invalid("a command is begun with its start"));
        };
        let exports = envs.iter().flatten().map(|(name, value)| format!("export {name}={}\n", quoted(value)));
        let cd = cwd.iter().map(|cwd| format!("cd -- {} && ", quoted(cwd)));
        let line: String = exports.chain(cd).collect();
        // In a shell of its own: `exit`, or what is not well-formed, would end the session's.
        let command = format!("{line}\"$(command -v bash || echo sh)\" -c {}", quoted(command));
        let session = format!("exec-stream-{id}");
        let limit = timeout.map(Duration::from_secs);
        Ok(Self { sandbox, transport, process: process.clone(), session, command, limit })
    }

    fn call(&self, method: Method, path: &[&str]) -> Result<Call<'static>> {
        Ok(Call::new(OPERATION, method, self.url(path)?))
    }

    fn url(&self, path: &[&str]) -> Result<Url> {
        join(self.process.as_str(), &[&["session"], path].concat())
    }

    pub(super) async fn run(&mut self, running: &mut Running) -> Result<()> {
        let shared = Arc::clone(&running.shared);
        shared.take_lines_only();
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
        let overdue = async {
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
            () = overdue => Stop::Overdue,
        };
        let exit_code = match stop {
            Stop::GivenUp => return Ok(()),
            Stop::Signal(signal) => 128 + i32::from(signal),
            Stop::Overdue => 128 + i32::from(KILL),
        };
        let deleted = self.delete().await;
        let _ = timeout(REST, follow).await;
        deleted?;
        shared.exited(exit_code, matches!(stop, Stop::Overdue));
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
            let read = match self.transport.websocket(Open::new(OPERATION, log_url.clone())).await {
                Ok(mut socket) => read_log(&mut socket, &shared.pipe, seen, died).await,
                Err(error) => Err(error),
            };
            if seen.total() > before {
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

    /// Sends stdin, line by line, until something ends the command.
    async fn input(&self, command: &str, shared: &Shared) -> Result<Stop> {
        loop {
            let lines = {
                let mut input = shared.input();
                if shared.is_closing() {
                    return Ok(Stop::GivenUp);
                }
                if input.is_killed {
                    return Ok(Stop::Signal(KILL));
                }
                if !input.signals.is_empty() {
                    return Ok(Stop::Signal(TERM));
                }
                let length = memchr::memrchr(b'\n', &input.waiting).map_or(0, |end| end + 1);
                let lines = input.waiting.split_to(length).freeze();
                input.begin += length as u64;
                lines
            };
            shared.taken(0);
            if !lines.has_remaining() {
                shared.changed.notified().await;
                continue;
            }
            let data = String::from_utf8_lossy(&lines).into_owned();
            let call = self.call(Method::POST, &[&self.session, "command", command, "input"])?;
            match self.transport.json_if_any::<IgnoredAny>(call.json(&SessionInputRequest { data })?).await {
                Ok(_) => {}
                Err(error) if matches!(error.status(), Some(404 | 410)) => shared.close_input(),
                Err(error) => return Err(error),
            }
        }
    }
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
    }
}
