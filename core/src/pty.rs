//! Pseudo-terminals: a shell that believes a person sits before it.

mod drive;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bytes::{Bytes, BytesMut};
use daytona_wire::error::{SOURCE_API, SOURCE_PROXY};
use daytona_wire::pty::{
    DEFAULT_SIZE, ENVS_PREFIX, EXIT_CONTROL, MAX_SIZE, PtyCreateRequest, PtyCreateResponse, PtyListResponse,
    PtyResizeRequest, PtySessionInfo,
};
use http::Method;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::background::Driven;
use crate::error::{Error, ErrorKind, Result};
use crate::inbox;
use crate::operation::Operation;
use crate::process::{Process, check_env, non_empty, refuse_nul};
use crate::transport::{Call, seconds};
use crate::watch;
use crate::ws::Open;

#[cfg(any(test, fuzzing))]
pub(crate) use drive::read_control;
use drive::{Line, drive};

/// What a server may take to say that the terminal is there.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// The most in one message of input.
const INPUT_PART: usize = 32 << 10;
/// Parts of input that wait for the socket.
const INPUT_PARTS: usize = 8;
/// A longer environment does not fit into a header everywhere.
const LONGEST_TOKEN: usize = 6 << 10;

/// What a new terminal is to be like.
#[derive(Clone, Debug, Default)]
pub struct PtyOptions {
    /// Where its shell starts; the sandbox's work dir if `None`.
    pub cwd: Option<String>,
    /// Added to the sandbox's environment.
    pub env: Option<BTreeMap<String, String>>,
    /// Columns, 1 to 1000; default 80.
    pub cols: Option<u16>,
    /// Rows, 1 to 1000; default 24.
    pub rows: Option<u16>,
}

/// How a terminal's shell ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PtyExit {
    /// 128 and the signal's number if a signal ended it; `None` if this client left before.
    pub exit_code: Option<i32>,
    /// Why it ended, where the code alone does not say it.
    pub error: Option<String>,
}

/// One connection to a terminal. Clones share it, and dropping the last one ends it; the terminal goes on.
#[derive(Clone)]
pub struct Pty {
    process: Process,
    id: Arc<str>,
    driven: Arc<Driven<Handle>>,
}

struct Handle {
    line: Arc<Line>,
    input: mpsc::Sender<Bytes>,
    /// Held while one input is sent, so that the parts of two do not mix.
    turn: tokio::sync::Mutex<()>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.line.leave.notify_one();
    }
}

impl Process {
    /// Starts a shell on a terminal of its own and connects to it.
    ///
    /// # Errors
    /// `InvalidArgument` for a blank id, a size out of range or a bad variable name; `Conflict` if the id is taken;
    /// `Timeout` if the terminal is not there after 10 s.
    pub async fn create_pty_session(&self, id: &str, options: PtyOptions) -> Result<Pty> {
        let work = async {
            check_id(id)?;
            let (cols, rows) = (options.cols.unwrap_or(DEFAULT_SIZE.0), options.rows.unwrap_or(DEFAULT_SIZE.1));
            check_size(cols, rows)?;
            options.env.as_ref().map_or(Ok(()), check_env)?;
            let cwd = options.cwd.filter(|cwd| !cwd.is_empty());
            cwd.as_deref().map_or(Ok(()), |cwd| refuse_nul("working directory", cwd))?;
            let env = non_empty(options.env);
            let token = env.as_ref().map(envs_token).transpose()?;
            if token.as_ref().is_none_or(|token| token.len() <= LONGEST_TOKEN) {
                let size = [("cols", cols.to_string()), ("rows", rows.to_string())];
                let mut query = vec![("id", id), ("cols", &size[0].1), ("rows", &size[1].1)];
                query.extend(cwd.as_deref().map(|cwd| ("cwd", cwd)));
                let open = self.open(Operation::CREATE_PTY_SESSION, id, &["create-connect"], &query, token);
                match open.await {
                    Err(error) if lacks_route(&error) => {}
                    answer => return answer,
                }
            }
            let body = PtyCreateRequest {
                id: id.to_owned(),
                cwd,
                envs: env,
                cols: Some(cols),
                rows: Some(rows),
                // So that nothing is printed before this client is there to read it.
                lazy_start: Some(true),
            };
            let (transport, url) = self.sandbox.toolbox(&["process", "pty"]).await?;
            let call = Call::post(Operation::CREATE_PTY_SESSION, url).json(&body)?;
            watch::guard(&self.sandbox, transport.json::<PtyCreateResponse>(call)).await?;
            let connected = self.open(Operation::CREATE_PTY_SESSION, id, &[id, "connect"], &[], None).await;
            if connected.is_err() {
                // The user has no handle of it.
                let _ = self.kill(id, Operation::CREATE_PTY_SESSION, None).await;
            }
            connected
        };
        self.sandbox.observe(Operation::CREATE_PTY_SESSION, work).await
    }

    /// Connects to a terminal that is there. With `replay`, what it showed last comes first, on servers that
    /// keep it.
    ///
    /// # Errors
    /// `NotFound` if there is none of this id; `Timeout` if it has not answered after 10 s.
    pub async fn connect_pty_session(&self, id: &str, replay: bool) -> Result<Pty> {
        let work = async {
            check_id(id)?;
            let query: &[(&str, &str)] = if replay { &[("replay", "true")] } else { &[] };
            let result = self.open(Operation::CONNECT_PTY_SESSION, id, &[id, "connect"], query, None).await;
            if let Err(error) = &result
                && error.status().is_none()
                && error.kind() == ErrorKind::Connection
                // Servers tell of an unknown id after the websocket is open, in words alone.
                && let Err(reason) = self.info(id, Operation::CONNECT_PTY_SESSION, None).await
                && reason.kind().is(ErrorKind::NotFound)
            {
                return Err(reason);
            }
            result
        };
        self.sandbox.observe(Operation::CONNECT_PTY_SESSION, work).await
    }

    /// All terminals of the sandbox.
    ///
    /// # Errors
    /// As any request to a sandbox: `Conflict`, `NotFound` or `Connection` where it does not run.
    pub async fn list_pty_sessions(&self, timeout: Option<f64>) -> Result<Vec<PtySessionInfo>> {
        let operation = Operation::LIST_PTY_SESSIONS;
        let work = async {
            let limit = seconds("request_timeout", timeout)?;
            let (transport, url) = self.sandbox.toolbox(&["process", "pty"]).await?;
            let answer: PtyListResponse =
                watch::guard(&self.sandbox, transport.json(Call::get(operation, url).limit(limit))).await?;
            Ok(answer.sessions)
        };
        self.sandbox.observe(operation, work).await
    }

    /// One terminal: its size, directory and whether its shell runs.
    ///
    /// # Errors
    /// `NotFound` if there is none of this id, as after its shell has ended.
    pub async fn get_pty_session_info(&self, id: &str, timeout: Option<f64>) -> Result<PtySessionInfo> {
        let operation = Operation::GET_PTY_SESSION_INFO;
        self.sandbox.observe(operation, self.info(id, operation, timeout)).await
    }

    /// Kills the shell of a terminal; the terminal goes with it.
    ///
    /// # Errors
    /// `NotFound` if there is none of this id.
    pub async fn kill_pty_session(&self, id: &str, timeout: Option<f64>) -> Result<()> {
        let operation = Operation::KILL_PTY_SESSION;
        self.sandbox.observe(operation, self.kill(id, operation, timeout)).await
    }

    /// Changes the size of a terminal, which its programs are told of.
    ///
    /// # Errors
    /// `InvalidArgument` for a size out of 1 to 1000; `NotFound` if there is no terminal of this id.
    pub async fn resize_pty_session(
        &self,
        id: &str,
        cols: u16,
        rows: u16,
        timeout: Option<f64>,
    ) -> Result<PtySessionInfo> {
        let operation = Operation::RESIZE_PTY_SESSION;
        let work = async {
            check_id(id)?;
            check_size(cols, rows)?;
            let limit = seconds("request_timeout", timeout)?;
            let (transport, url) = self.sandbox.toolbox(&["process", "pty", id, "resize"]).await?;
            let body = PtyResizeRequest { cols, rows };
            watch::guard(&self.sandbox, transport.json(Call::post(operation, url).json(&body)?.limit(limit))).await
        };
        self.sandbox.observe(operation, work).await
    }

    async fn info(&self, id: &str, operation: Operation, timeout: Option<f64>) -> Result<PtySessionInfo> {
        check_id(id)?;
        let limit = seconds("request_timeout", timeout)?;
        let (transport, url) = self.sandbox.toolbox(&["process", "pty", id]).await?;
        watch::guard(&self.sandbox, transport.json(Call::get(operation, url).limit(limit))).await
    }

    async fn kill(&self, id: &str, operation: Operation, timeout: Option<f64>) -> Result<()> {
        check_id(id)?;
        let limit = seconds("request_timeout", timeout)?;
        let (transport, url) = self.sandbox.toolbox(&["process", "pty", id]).await?;
        watch::guard(&self.sandbox, transport.empty(Call::new(operation, Method::DELETE, url).limit(limit))).await
    }

    /// Opens the websocket and waits until the server says that the terminal is there.
    async fn open(
        &self,
        operation: Operation,
        id: &str,
        path: &[&str],
        query: &[(&str, &str)],
        envs: Option<String>,
    ) -> Result<Pty> {
        let (transport, mut url) = self.sandbox.background_toolbox(&[&["process", "pty"], path].concat()).await?;
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let line = Arc::new(Line::default());
        let (input, typed) = mpsc::channel(INPUT_PARTS);
        let handle = Handle { line: Arc::clone(&line), input, turn: tokio::sync::Mutex::default() };
        let pty = Pty { process: self.clone(), id: id.into(), driven: Arc::new(Driven::new(handle)) };
        let idempotent = operation != Operation::CREATE_PTY_SESSION;
        let open = async move {
            let protocols: Vec<&str> = std::iter::once(EXIT_CONTROL).chain(envs.as_deref()).collect();
            transport.websocket(Open { protocols: &protocols, idempotent, ..Open::new(operation, url) }).await
        };
        let sandbox = self.sandbox.clone();
        let opened = inbox::open(open, move |mut socket| async move {
            socket.set_operation(Operation::PTY);
            drive(socket, &sandbox, &line, typed).await;
        });
        watch::guard(&self.sandbox, opened).await?;
        pty.wait_for_connection(None).await?;
        Ok(pty)
    }
}

fn check_id(id: &str) -> Result<()> {
    if id.trim().is_empty() {
        return Err(Error::invalid("the id of the PTY session is blank"));
    }
    if matches!(id, "." | "..") {
        return Err(Error::invalid(format!(
            "{id:?} cannot be the id of a PTY session: it means a directory in a path"
        )));
    }
    refuse_nul("id of the PTY session", id)
}

fn check_size(cols: u16, rows: u16) -> Result<()> {
    for (name, value) in [("cols", cols), ("rows", rows)] {
        if !(1..=MAX_SIZE).contains(&value) {
            return Err(Error::invalid(format!("{name} must be 1 to {MAX_SIZE}, not {value}")));
        }
    }
    Ok(())
}

fn envs_token(env: &BTreeMap<String, String>) -> Result<String> {
    let json = serde_json::to_vec(env).map_err(|error| Error::invalid(format!("the environment: {error}")))?;
    Ok(format!("{ENVS_PREFIX}{}", BASE64_URL_SAFE_NO_PAD.encode(json)))
}

/// Whether the answer means that the server has no `create-connect`: older ones take that for an id, which they
/// do not know. The way around it finds a missing sandbox too, only later.
fn lacks_route(error: &Error) -> bool {
    let is_before_sandbox = matches!(error.source_name(), Some(SOURCE_API | SOURCE_PROXY));
    let names_sandbox = error.code().is_some_and(|code| code.starts_with("SANDBOX_"));
    error.status() == Some(404) && !is_before_sandbox && !names_sandbox
}

impl Pty {
    /// The id it was created with.
    pub fn session_id(&self) -> &str {
        &self.id
    }

    fn line(&self) -> Result<&Line> {
        self.driven.get().map(|handle| &*handle.line)
    }

    /// Whether the shell runs, as far as this client has heard, and can be typed to.
    pub fn is_connected(&self) -> bool {
        self.line().is_ok_and(|line| {
            let status = line.status();
            status.established && !status.over && !line.output.has_ended()
        })
    }

    /// The shell's exit code; 128 and the signal's number if a signal ended it; `None` while it runs.
    pub fn exit_code(&self) -> Option<i32> {
        self.line().ok()?.status().exit_code
    }

    /// Why the shell or the connection ended, where that is to be told.
    pub fn error(&self) -> Option<String> {
        let line = self.line().ok()?;
        let told = line.status().error.clone();
        told.or_else(|| line.output.failure().map(|error| error.message()))
    }

    /// Waits until the server says that the terminal is there. [`Process::create_pty_session`] and
    /// [`Process::connect_pty_session`] have done so.
    ///
    /// # Errors
    /// `Timeout` after `timeout` seconds (default 10, 0 is no limit); `Connection` if it was refused.
    pub async fn wait_for_connection(&self, timeout: Option<f64>) -> Result<()> {
        let line = self.line()?;
        let established = line.output.until(|| {
            let status = line.status();
            if status.established {
                return Some(Ok(()));
            }
            if let (true, Some(error)) = (status.over, &status.error) {
                return Some(Err(Error::new(ErrorKind::Connection, error.clone())));
            }
            drop(status);
            line.output.has_ended().then(|| {
                Err(line.output.failure().unwrap_or_else(|| {
                    Error::new(ErrorKind::Connection, "the connection was closed before the terminal was there")
                }))
            })
        });
        let limit = exact("timeout", timeout)?.unwrap_or(CONNECT_LIMIT);
        within(limit, established).await.unwrap_or_else(|| {
            let hint = format!("The server did not say within {limit:?} that the terminal is there");
            Err(Error::new(ErrorKind::Timeout, "PTY connection timeout").with_hint(hint))
        })
    }

    /// Types. Input arrives in the order of these calls, each one whole; they wait while the terminal takes
    /// no more. What was sent before a call was dropped midway stays sent.
    ///
    /// # Errors
    /// `Connection` once the shell or the connection has ended.
    pub async fn send_input(&self, data: Bytes) -> Result<()> {
        let handle = self.driven.get()?;
        let _turn = handle.turn.lock().await;
        let mut rest = data;
        while !rest.is_empty() {
            let gone = || Error::new(ErrorKind::Connection, "PTY is not connected").with_operation(Operation::PTY);
            if !self.is_connected() {
                return Err(handle.line.output.failure().unwrap_or_else(gone));
            }
            let part = rest.split_to(rest.len().min(INPUT_PART));
            if handle.input.send(part).await.is_err() {
                return Err(handle.line.output.failure().unwrap_or_else(gone));
            }
        }
        Ok(())
    }

    /// See [`Process::resize_pty_session`].
    ///
    /// # Errors
    /// See there.
    pub async fn resize(&self, cols: u16, rows: u16) -> Result<PtySessionInfo> {
        self.process.resize_pty_session(&self.id, cols, rows, None).await
    }

    /// See [`Process::kill_pty_session`]. [`Pty::wait`] tells when it has ended.
    ///
    /// # Errors
    /// See there.
    pub async fn kill(&self) -> Result<()> {
        self.process.kill_pty_session(&self.id, None).await
    }

    /// All output there is by now, at least a byte; `None` at the end. Up to a MiB is kept for a caller who
    /// takes none; the server is not read from beyond that.
    ///
    /// # Errors
    /// `Connection` if the connection broke, `SandboxDied` if the sandbox did, after the output before it.
    pub async fn next(&self) -> Result<Option<Bytes>> {
        let Some(mut parts) = self.line()?.output.take().await? else { return Ok(None) };
        if parts.len() == 1 {
            return Ok(parts.pop_front());
        }
        let mut all = BytesMut::with_capacity(parts.iter().map(Bytes::len).sum());
        for part in parts {
            all.extend_from_slice(&part);
        }
        Ok(Some(all.freeze()))
    }

    /// Says that somebody calls [`Pty::next`] to the end, if not always at once: then [`Pty::wait`] discards nothing.
    pub fn keep_output(&self) {
        if let Ok(line) = self.line() {
            line.output.keep();
        }
    }

    /// Waits until the shell has ended, or [`Pty::disconnect`]. Output that nobody takes is discarded when it
    /// reaches a MiB; once [`Pty::next`] is called meanwhile, elsewhere, all of it is left to that caller.
    ///
    /// # Errors
    /// `Timeout` after `timeout` seconds (default and 0: none), the connection stays; else as [`Pty::next`].
    pub async fn wait(&self, timeout: Option<f64>) -> Result<PtyExit> {
        let line = self.line()?;
        let limit = exact("timeout", timeout)?.unwrap_or_default();
        within(limit, line.output.wait_for_end()).await.unwrap_or_else(|| {
            Err(Error::new(ErrorKind::Timeout, format!("the shell has not ended within {limit:?}")))
        })?;
        let status = line.status();
        Ok(PtyExit { exit_code: status.exit_code, error: status.error.clone() })
    }

    /// Leaves the terminal, which goes on; what was typed is still sent. Can be called again.
    pub fn disconnect(&self) {
        if let Ok(handle) = self.driven.get() {
            handle.line.output.end(Ok(()));
            handle.line.leave.notify_one();
        }
    }
}

/// Seconds as given: fractions count.
fn exact(name: &str, value: Option<f64>) -> Result<Option<Duration>> {
    let Some(value) = value else { return Ok(None) };
    Duration::try_from_secs_f64(value)
        .map(Some)
        .map_err(|_| Error::invalid(format!("{name} must be a non-negative number of seconds, not {value}")))
}

/// `None` if the limit, where there is one, comes first.
async fn within<F: Future>(limit: Duration, work: F) -> Option<F::Output> {
    if limit.is_zero() { Some(work.await) } else { timeout(limit, work).await.ok() }
}
