//! Sessions: shells that live on between commands, and their logs.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use daytona_wire::session::{
    Command, CreateSessionRequest, Session, SessionCommandLogs, SessionExecuteRequest, SessionExecuteResponse,
    SessionInputRequest,
};
use http::Method;
use serde::de::IgnoredAny;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};

use crate::background::{self, Driven};
use crate::error::{Error, ErrorKind, Result};
use crate::operation::Operation;
use crate::output::{Batch, Demux, Feed, OutputChunk, Pipe, Seen};
use crate::process::{Process, refuse_nul};
use crate::sandbox::Sandbox;
use crate::transport::{Call, Transport, seconds};
use crate::watch;
use crate::ws::{CLOSE_NORMAL, End, Open, Socket, closed};

/// Output that is gathered before it is handed over, while more is there already.
pub(crate) const RUN: usize = 256 << 10;
/// How long input is offered again to a command that was just started and has no pipe for it yet.
const NO_PIPE_LIMIT: Duration = Duration::from_secs(5);
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LAST_PAUSE: Duration = Duration::from_millis(400);

impl Process {
    /// Creates a session: a shell whose directory, variables and background jobs last from command to command.
    ///
    /// # Errors
    /// `InvalidArgument` for a blank id; `Conflict` if the id is taken.
    pub async fn create_session(&self, session_id: &str, timeout: Option<f64>) -> Result<()> {
        let work = async {
            check_id("session", session_id)?;
            let body = CreateSessionRequest { session_id: session_id.to_owned() };
            let (transport, call) = self.call(Operation::CREATE_SESSION, Method::POST, &["session"], timeout).await?;
            watch::guard(&self.sandbox, transport.empty(call.json(&body)?)).await
        };
        self.sandbox.observe(Operation::CREATE_SESSION, work).await
    }

    /// A session and its commands.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn get_session(&self, session_id: &str, timeout: Option<f64>) -> Result<Session> {
        let operation = Operation::GET_SESSION;
        let work = async {
            check_id("session", session_id)?;
            let (transport, call) = self.call(operation, Method::GET, &["session", session_id], timeout).await?;
            watch::guard(&self.sandbox, transport.json(call)).await
        };
        self.sandbox.observe(operation, work).await
    }

    /// The session that runs the image's entrypoint.
    ///
    /// # Errors
    /// `NotFound` if there is none.
    pub async fn get_entrypoint_session(&self, timeout: Option<f64>) -> Result<Session> {
        let operation = Operation::GET_ENTRYPOINT_SESSION;
        let work = async {
            let (transport, call) = self.call(operation, Method::GET, &["session", "entrypoint"], timeout).await?;
            watch::guard(&self.sandbox, transport.json(call)).await
        };
        self.sandbox.observe(operation, work).await
    }

    /// All sessions but the entrypoint's.
    ///
    /// # Errors
    /// The server's refusal.
    pub async fn list_sessions(&self, timeout: Option<f64>) -> Result<Vec<Session>> {
        let operation = Operation::LIST_SESSIONS;
        let work = async {
            let (transport, call) = self.call(operation, Method::GET, &["session"], timeout).await?;
            Ok(watch::guard(&self.sandbox, transport.json::<Option<Vec<Session>>>(call)).await?.unwrap_or_default())
        };
        self.sandbox.observe(operation, work).await
    }

    /// Ends a session and everything that runs in it.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn delete_session(&self, session_id: &str, timeout: Option<f64>) -> Result<()> {
        let operation = Operation::DELETE_SESSION;
        let work = async {
            check_id("session", session_id)?;
            let (transport, call) = self.call(operation, Method::DELETE, &["session", session_id], timeout).await?;
            watch::guard(&self.sandbox, transport.empty(call)).await
        };
        self.sandbox.observe(operation, work).await
    }

    /// Runs a command in a session. One that is waited for sees the end of its input; one with `run_async` gets what
    /// [`Process::send_session_command_input`] sends. `timeout` bounds, in seconds and 5 more, how long its answer is waited for; the
    /// command itself has no limit and runs on. Without one it is as in [`Process::exec`]; 0 is no limit.
    ///
    /// # Errors
    /// `InvalidArgument` for a blank command; `NotFound`; `SessionEnded` if its shell has ended, or runs nothing any more after the
    /// command; `ConnectionTimeout`.
    pub async fn execute_session_command(
        &self,
        session_id: &str,
        request: SessionExecuteRequest,
        timeout: Option<f64>,
    ) -> Result<SessionExecuteResponse> {
        let operation = Operation::EXECUTE_SESSION_COMMAND;
        let work = async {
            check_id("session", session_id)?;
            if request.command.trim().is_empty() {
                return Err(Error::invalid("the command is blank"));
            }
            refuse_nul("command", &request.command)?;
            let (_, mut limit) = self.limits(timeout)?;
            // An answer that comes at once needs no hour.
            if timeout.is_none() && (request.run_async == Some(true) || request.var_async == Some(true)) {
                limit = None;
            }
            let path = ["session", session_id, "exec"];
            let (transport, call) = self.call(operation, Method::POST, &path, None).await?;
            let answer = watch::guard(&self.sandbox, transport.json(call.json(&request)?.limit(limit))).await;
            answer.map_err(|error: Error| match error.kind() {
                ErrorKind::ConnectionTimeout => error.with_hint(
                    "The command may run on, and those after it wait for it; delete the session to end them, or give a \
                     longer timeout",
                ),
                _ => error,
            })
        };
        self.sandbox.observe(operation, work).await
    }

    /// A command of a session; its exit code is there once it has ended.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn get_session_command(
        &self,
        session_id: &str,
        command_id: &str,
        timeout: Option<f64>,
    ) -> Result<Command> {
        let operation = Operation::GET_SESSION_COMMAND;
        let work = async {
            let path = command_path(session_id, command_id)?;
            let (transport, call) = self.call(operation, Method::GET, &path, timeout).await?;
            watch::guard(&self.sandbox, transport.json(call)).await
        };
        self.sandbox.observe(operation, work).await
    }

    /// What a command has written so far.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn get_session_command_logs(
        &self,
        session_id: &str,
        command_id: &str,
        timeout: Option<f64>,
    ) -> Result<SessionCommandLogs> {
        let operation = Operation::GET_SESSION_COMMAND_LOGS;
        let work = async {
            let path = [&command_path(session_id, command_id)?[..], &["logs"]].concat();
            let (transport, call) = self.call(operation, Method::GET, &path, timeout).await?;
            watch::guard(&self.sandbox, transport.json(call)).await
        };
        self.sandbox.observe(operation, work).await
    }

    /// What the image's entrypoint has written so far.
    ///
    /// # Errors
    /// `NotFound` if there is none.
    pub async fn get_entrypoint_logs(&self, timeout: Option<f64>) -> Result<SessionCommandLogs> {
        let operation = Operation::GET_ENTRYPOINT_LOGS;
        let work = async {
            let path = ["session", "entrypoint", "logs"];
            let (transport, call) = self.call(operation, Method::GET, &path, timeout).await?;
            watch::guard(&self.sandbox, transport.json(call)).await
        };
        self.sandbox.observe(operation, work).await
    }

    /// Sends a line to the stdin of a running command; the newline is added where it is missing. A server that has not
    /// made the command's input pipe yet is asked again for at most 5 seconds.
    ///
    /// # Errors
    /// `NotFound`; `CommandAlreadyCompleted`; `BadRequest` for a command that was not started with `run_async`.
    pub async fn send_session_command_input(
        &self,
        session_id: &str,
        command_id: &str,
        data: &str,
        timeout: Option<f64>,
    ) -> Result<()> {
        let operation = Operation::SEND_SESSION_COMMAND_INPUT;
        let work = async {
            let path = [&command_path(session_id, command_id)?[..], &["input"]].concat();
            let (transport, call) = self.call(operation, Method::POST, &path, timeout).await?;
            let body = SessionInputRequest { data: data.to_owned() };
            let again = || Call::new(operation, Method::POST, call.url.clone()).limit(call.limit).json(&body);
            watch::guard(&self.sandbox, send_input(transport, again)).await
        };
        self.sandbox.observe(operation, work).await
    }

    /// Follows what a command writes, from its beginning to its end.
    ///
    /// # Errors
    /// `NotFound`; what the server answers if it cannot follow logs.
    pub async fn follow_session_command_logs(&self, session_id: &str, command_id: &str) -> Result<LogStream> {
        let operation = Operation::GET_SESSION_COMMAND_LOGS;
        let work = async {
            let path = [&command_path(session_id, command_id)?[..], &["logs"]].concat();
            follow(&self.sandbox, operation, &path).await
        };
        self.sandbox.observe(operation, work).await
    }

    /// Follows what the image's entrypoint writes, from its beginning to its end.
    ///
    /// # Errors
    /// `NotFound` if there is none.
    pub async fn follow_entrypoint_logs(&self) -> Result<LogStream> {
        let operation = Operation::GET_ENTRYPOINT_LOGS;
        let path = ["session", "entrypoint", "logs"];
        self.sandbox.observe(operation, follow(&self.sandbox, operation, &path)).await
    }

    async fn call(
        &self,
        operation: Operation,
        method: Method,
        path: &[&str],
        timeout: Option<f64>,
    ) -> Result<(&Transport, Call<'static>)> {
        let limit = seconds("request_timeout", timeout)?;
        let (transport, url) = self.sandbox.toolbox(&[&["process"], path].concat()).await?;
        Ok((transport, Call::new(operation, method, url).limit(limit)))
    }
}

/// Sends input to a command. A server that answers a start before the command's input pipe is there refuses input with
/// a 500 that names the pipe; that alone is sent again, because nothing of it has arrived.
pub(crate) async fn send_input(transport: &Transport, call: impl Fn() -> Result<Call<'static>>) -> Result<()> {
    let begun = Instant::now();
    let whole = transport.limit_of(call()?.limit);
    let mut pause = FIRST_PAUSE;
    loop {
        let mut call = call()?;
        if pause > FIRST_PAUSE && !whole.is_zero() {
            call.limit = Some(whole.saturating_sub(begun.elapsed()).max(FIRST_PAUSE));
        }
        let error = match transport.json_if_any::<IgnoredAny>(call).await {
            Err(error) if has_no_pipe(&error) => error,
            end => return end.map(drop),
        };
        let spent = begun.elapsed() + pause;
        if spent > NO_PIPE_LIMIT || (!whole.is_zero() && spent > whole) {
            return Err(error.with_hint("The command's input pipe is not there: check that the command runs"));
        }
        sleep(pause).await;
        pause = (pause * 2).min(LAST_PAUSE);
    }
}

/// Whether the server has no pipe for the input. Not so where the pipe broke: then bytes may have arrived.
fn has_no_pipe(error: &Error) -> bool {
    let message = error.message().to_ascii_lowercase();
    error.status() == Some(500) && message.contains("pipe") && !message.contains("broken pipe")
}

/// An id is one part of a URL's path.
pub(crate) fn check_id(what: &str, id: &str) -> Result<()> {
    if id.trim().is_empty() {
        return Err(Error::invalid(format!("the {what} id is blank")));
    }
    if matches!(id, "." | "..") {
        return Err(Error::invalid(format!("{id:?} cannot be a {what} id")));
    }
    refuse_nul(what, id)
}

fn command_path<'a>(session_id: &'a str, command_id: &'a str) -> Result<[&'a str; 4]> {
    check_id("session", session_id)?;
    check_id("command", command_id)?;
    Ok(["session", session_id, "command", command_id])
}

/// A log that is followed. Clones share it: each piece of output goes to one of them. Dropping the last one closes
/// its connection.
#[derive(Clone)]
pub struct LogStream {
    inner: Arc<Driven<Arc<Pipe>>>,
}

impl LogStream {
    /// All output that is there by now, at least one chunk, adjacent ones of a stream merged; waits for some. `None`
    /// at the end of the log.
    ///
    /// # Errors
    /// `SandboxDied` if the sandbox ended; `Connection` if the connection broke; otherwise the server's reason.
    pub async fn next(&self) -> Result<Option<Vec<OutputChunk>>> {
        self.inner.get()?.next().await
    }

    /// Ends it early: after what is there already, `next` gives `None`.
    pub fn close(&self) {
        if let Ok(pipe) = self.inner.get() {
            pipe.finish(Ok(()));
            self.inner.abort();
        }
    }
}

async fn follow(sandbox: &Sandbox, operation: Operation, path: &[&str]) -> Result<LogStream> {
    let (transport, mut url) = sandbox.background_toolbox(&[&["process"], path].concat()).await?;
    url.query_pairs_mut().append_pair("follow", "true");
    let feed = Feed::default();
    let pipe = Arc::clone(&feed.0);
    let sandbox = sandbox.clone();
    let (opened, is_open) = oneshot::channel();
    let task = background::spawn(async move {
        let mut socket = match transport.websocket(Open::new(operation, url)).await {
            Ok(socket) => socket,
            Err(error) => return drop(opened.send(Err(error))),
        };
        let _ = opened.send(Ok(()));
        let died = std::pin::pin!(watch::ended(&sandbox));
        let end = match read_log(&mut socket, &feed, &mut Seen::default(), died).await {
            Ok(()) => Ok(()),
            Err(error) => Err(watch::why(&sandbox, error).await.with_operation(operation)),
        };
        feed.finish(end);
    });
    let inner = Arc::new(Driven::with_task(pipe, &task));
    is_open.await.unwrap_or_else(|_| Err(background::stopped()))?;
    Ok(LogStream { inner })
}

/// Reads a log to its end, or until there is nothing more to read and its sandbox has `died`; `seen` says what of it
/// has been read before.
pub(crate) async fn read_log(
    socket: &mut Socket,
    pipe: &Pipe,
    seen: &mut Seen,
    mut died: Pin<&mut impl Future<Output = Error>>,
) -> Result<()> {
    let mut demux = Demux::default();
    let mut batch = Batch::default();
    loop {
        pipe.room().await;
        let mut message = tokio::select! {
            biased;
            message = socket.next() => Some(message),
            error = died.as_mut() => return Err(error),
        };
        while let Some(received) = message {
            match received {
                Ok(received) => demux.feed(&received.into_data(), &mut batch),
                Err(end) => {
                    let end = orderly(end);
                    // Else the rest of a marker may have been lost.
                    if end.is_ok() {
                        demux.finish(&mut batch);
                    }
                    batch.skip(seen);
                    pipe.push(&mut batch);
                    return end;
                }
            }
            message = if batch.len() < RUN { socket.next_ready() } else { None };
        }
        batch.skip(seen);
        pipe.push(&mut batch);
    }
}

/// A close frame with code 1000 or none is a log's end.
fn orderly(end: End) -> Result<()> {
    match end {
        End::Closed { code: None | Some(CLOSE_NORMAL), .. } => Ok(()),
        End::Closed { code, reason } => Err(closed(code, &reason)),
        End::Broken(error) => Err(error),
    }
}
