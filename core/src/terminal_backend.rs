//! A terminal for agents: commands that run in sandboxes, which come and go by themselves.

mod config;
mod desk;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use tokio::sync::watch;

use crate::background::PerProcess;
use crate::client::Client;
use crate::config::Config;
use crate::daytona::Daytona;
use crate::error::{Error, ErrorKind, Result};
use crate::exec_stream::{ExecStream, Sequel};
use crate::operation::Operation;
use crate::output::OutputStream;
use crate::process::{ExecOptions, check_env, refuse_nul};
use crate::transport::seconds;

pub use config::{TERMINAL_IMAGES, TerminalConfig, TerminalImage};
use desk::{Desk, Use, live};

/// What closing may take where nothing else is said.
const CLOSE_LIMIT: Duration = Duration::from_secs(60);

/// Runs commands in sandboxes that it makes and destroys. Cheap to clone; the last clone that goes destroys what is
/// kept, and so does the server when the process goes without a word.
#[derive(Clone)]
pub struct TerminalBackend {
    inner: Arc<Inner>,
}

struct Inner {
    daytona: Daytona,
    config: Arc<TerminalConfig>,
    /// A fork has sandboxes of its own.
    desk: PerProcess<Arc<Desk>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(desk) = self.desk.get() {
            desk.abandon();
        }
    }
}

/// How to run a command.
#[derive(Clone, Debug, Default)]
pub struct TerminalOptions {
    /// Working directory; the sandbox's own if `None`.
    pub cwd: Option<String>,
    /// Added to the environment of the configuration.
    pub env: Option<BTreeMap<String, String>>,
    /// Seconds after which the command is killed; 0 is no limit, `None` the configuration's.
    pub timeout: Option<f64>,
}

/// What a command left.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TerminalResult {
    /// 128 and the signal's number if one has ended it.
    pub exit_code: i32,
    /// With U+FFFD for what is not UTF-8.
    pub stdout: String,
    /// The same of the standard error.
    pub stderr: String,
}

impl TerminalBackend {
    /// A backend that speaks to the server of a client, over connections of its own. Nothing is sent yet.
    pub fn new(daytona: &Daytona, config: TerminalConfig) -> Self {
        // All its work is done on the background runtime, and so are all its connections.
        let daytona = Daytona { inner: Arc::new(Client::new(daytona.settings().clone())) };
        let inner = Inner { daytona, config: Arc::new(config), desk: PerProcess::new() };
        Self { inner: Arc::new(inner) }
    }

    /// The same with settings that are looked up.
    ///
    /// # Errors
    /// `Authentication` where there is no API key; as [`Config::resolve`].
    pub fn connect(settings: &Config, config: TerminalConfig) -> Result<Self> {
        let daytona = Daytona::new(settings).map_err(|error| no_key(error, Operation::TERMINAL_CONFIGURE))?;
        Ok(Self::new(&daytona, config))
    }

    /// The configuration in force.
    pub fn config(&self) -> &TerminalConfig {
        &self.inner.config
    }

    /// Starts a line in the shell of a sandbox and gives its output as it comes. Without `keep_alive` and `task_id` the
    /// sandbox is a new one, and is deleted before the end of the command is told, however it ends. Dropping the
    /// stream kills the command.
    ///
    /// # Errors
    /// `InvalidArgument` before anything is made; why no sandbox could be had; as
    /// [`Process::exec_stream`](crate::Process::exec_stream).
    pub async fn exec(&self, command: &str, options: TerminalOptions) -> Result<ExecStream> {
        self.start(command, options, false).await
    }

    async fn start(&self, command: &str, options: TerminalOptions, no_stdin: bool) -> Result<ExecStream> {
        let work = async {
            let timeout = self.check(command, &options)?;
            let command = command.to_owned();
            let desk = self.desk();
            let start = desk.run(move |desk, is_wanted| async move {
                loop {
                    let (sandbox, usage) = desk.enter(timeout).await?;
                    if !is_wanted() {
                        desk.leave(&sandbox, usage).await;
                        return Err(Error::caller("nobody waits for the command"));
                    }
                    let TerminalOptions { cwd, env, .. } = options.clone();
                    let given = ExecOptions { cwd, env, argv: None, timeout: Some(timeout), no_stdin };
                    let error = match sandbox.process().exec_stream(&command, given).await {
                        Ok(stream) => match followed(&desk, &sandbox, usage, &stream) {
                            Ok(()) => return Ok(stream),
                            Err(error) => error,
                        },
                        Err(error) => error,
                    };
                    let kind = error.kind();
                    let may_be_gone = kind.is(ErrorKind::Connection)
                        || matches!(
                            kind,
                            ErrorKind::NotFound | ErrorKind::Conflict | ErrorKind::Gone | ErrorKind::BadGateway
                        );
                    if usage == (Use::Warm { reused: true }) && may_be_gone && !is_started(&sandbox).await {
                        desk.forget(&sandbox).await;
                        continue;
                    }
                    desk.leave(&sandbox, usage).await;
                    return Err(error);
                }
            });
            start.await
        };
        self.inner.daytona.inner.observe(Operation::TERMINAL, work).await
    }

    /// Runs a line to its end. `stdin` is written and closed. Dropping the future kills the command.
    ///
    /// # Errors
    /// As [`TerminalBackend::exec`]; `ProcessExecutionTimeout` after its time limit; `SandboxDied`.
    pub async fn run(&self, command: &str, options: TerminalOptions, stdin: Option<Bytes>) -> Result<TerminalResult> {
        let stdin = stdin.filter(|bytes| !bytes.is_empty());
        let stream = self.start(command, options, stdin.is_none()).await?;
        let mut result = TerminalResult::default();
        let writing = async {
            let Some(stdin) = stdin else { return Ok(()) };
            match stream.write_stdin(stdin).await {
                // It may end without having read all.
                Err(error) if error.kind() != ErrorKind::CommandAlreadyCompleted => return Err(error),
                _ => {}
            }
            stream.close_stdin().await
        };
        let reading = async {
            while let Some(chunks) = stream.next().await? {
                for chunk in chunks {
                    let is_out = chunk.stream == OutputStream::Stdout;
                    if is_out { &mut result.stdout } else { &mut result.stderr }.push_str(&chunk.text);
                }
            }
            stream.wait().await
        };
        let ((), exit_code) = tokio::try_join!(writing, reading)?;
        Ok(TerminalResult { exit_code, ..result })
    }

    /// Destroys the sandboxes of this process, with what runs in them, and waits until that is done. The sandbox of a
    /// task stays. A later command makes new ones. Begun by the call itself: a future that is dropped ends the waiting
    /// only.
    ///
    /// # Errors
    /// `Timeout` after `timeout` seconds (default 60, 0 is none): the server's timers destroy what is left.
    pub fn close(&self, timeout: Option<f64>) -> impl Future<Output = Result<()>> + Send + use<> {
        let limit = seconds("timeout", timeout).map(|limit| limit.unwrap_or(CLOSE_LIMIT));
        let desk = self.inner.desk.get().filter(|_| limit.is_ok());
        if let Some(desk) = &desk {
            desk.dispose_all();
        }
        let client = Arc::clone(&self.inner.daytona.inner);
        async move {
            let work = async {
                let limit = limit?;
                let Some(desk) = desk else { return Ok(()) };
                if limit.is_zero() {
                    desk.close().await;
                    return Ok(());
                }
                tokio::time::timeout(limit, desk.close()).await.map_err(|_| {
                    let text = format!("not all sandboxes were destroyed within {} s", limit.as_secs_f64());
                    let hint = "The server destroys the rest when they have been idle";
                    Error::new(ErrorKind::Timeout, text).with_hint(hint)
                })
            };
            client.observe(Operation::TERMINAL_CLOSE, work).await
        }
    }

    /// The same, with the sandbox of the task and its files.
    ///
    /// # Errors
    /// As [`TerminalBackend::close`]; the server's refusal.
    pub async fn destroy(&self, timeout: Option<f64>) -> Result<()> {
        self.close(timeout).await?;
        let Some(task) = self.inner.config.task_id.clone() else { return Ok(()) };
        let desk = self.desk();
        let work = desk.run(move |desk, _| async move { desk.destroy_task(&task).await });
        work.await.map_err(|error| error.with_operation(Operation::TERMINAL_CLOSE))
    }

    fn desk(&self) -> Arc<Desk> {
        let Inner { daytona, config, desk } = &*self.inner;
        Arc::clone(&desk.get_or_make(|| Desk::new(daytona.clone(), Arc::clone(config))))
    }

    /// Refuses what cannot run before a sandbox is made for it.
    fn check(&self, command: &str, options: &TerminalOptions) -> Result<f64> {
        if command.trim().is_empty() {
            return Err(Error::invalid("the command is blank"));
        }
        refuse_nul("command", command)?;
        refuse_nul("working directory", options.cwd.as_deref().unwrap_or_default())?;
        options.env.as_ref().map_or(Ok(()), check_env)?;
        let given = seconds("timeout", options.timeout)?.map(|limit| limit.as_secs_f64());
        Ok(given.unwrap_or(self.inner.config.timeout))
    }
}

/// Says it in the words of who configures a backend.
pub(crate) fn no_key(error: Error, operation: Operation) -> Error {
    if error.kind() != ErrorKind::Authentication || !error.message().contains("credentials not found") {
        return error;
    }
    Error::new(ErrorKind::Authentication, "Daytona API key not set")
        .with_operation(operation)
        .with_hint("Set DAYTONA_API_KEY, or set DAYTONA_API_URL=local to run without an account")
}

/// Whether a backend of this process holds a sandbox, or is about to.
pub(crate) fn are_open() -> bool {
    live().iter().any(|desk| desk.is_open())
}

/// Destroys what all backends of this process hold.
pub(crate) async fn close_all() {
    let all = live();
    futures_util::future::join_all(all.iter().map(Desk::close)).await;
}

fn followed(desk: &Arc<Desk>, sandbox: &crate::Sandbox, usage: Use, stream: &ExecStream) -> Result<()> {
    let (tell, done) = watch::channel(());
    let timeout_hint = "Raise terminal.daytona.timeout, or pass a longer timeout; 0 is no limit".to_owned();
    let pipe = stream.follow_with(Sequel { done, timeout_hint })?;
    desk.look_after(sandbox.clone(), usage, pipe, tell);
    Ok(())
}

async fn is_started(sandbox: &crate::Sandbox) -> bool {
    use daytona_wire::sandbox::SandboxState;
    sandbox.refresh_data(Some(10.0)).await.is_ok() && sandbox.state() == SandboxState::Started
}
