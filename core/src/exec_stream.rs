//! Streaming exec: a command whose output comes as it is written, and that takes input and signals meanwhile.
//!
//! [`client`] speaks the protocol of [`daytona_wire::exec_stream`]; [`fallback`] does with a session what a server
//! without it can do.

mod client;
mod fallback;
mod overdue;
mod retry;
mod shared;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use daytona_wire::exec_stream::ToServer;
use tokio::sync::oneshot;

use crate::background::{self, Driven};
use crate::error::{Error, ErrorKind, Result};
use crate::operation::Operation;
use crate::output::{OutputChunk, Pipe};
use crate::process::{ExecOptions, Process, check_env, non_empty, refuse_nul};

use client::{Client, Ended};
#[cfg(any(test, fuzzing))]
pub(crate) use client::{Heard, parse};
use fallback::Fallback;
use overdue::Clock;
pub(crate) use shared::Sequel;
use shared::{Owner, Running, Shared, Signal};

/// What is done after the end of a command is waited for no longer than this.
const SEQUEL_LIMIT: Duration = Duration::from_secs(10);
/// Who has taken output and does not for this long has stopped doing so.
const TAKER_GONE: Duration = Duration::from_secs(10);
const OPERATION: Operation = Operation::EXEC_STREAM;

impl Process {
    /// Runs a line in the sandbox's shell and gives its output as it comes. It survives broken connections for a
    /// minute; nothing is lost or doubled then. On servers that know no such commands it runs in a session. A command
    /// with a time limit is given up 10 s after it if the server has not told its end by then.
    ///
    /// # Errors
    /// `InvalidArgument` for a blank command or a bad variable name; what the server answers.
    pub async fn exec_stream(&self, command: &str, options: ExecOptions) -> Result<ExecStream> {
        let work = async {
            if command.trim().is_empty() {
                return Err(Error::invalid("the command is blank"));
            }
            refuse_nul("command", command)?;
            refuse_nul("working directory", options.cwd.as_deref().unwrap_or_default())?;
            options.env.as_ref().map_or(Ok(()), check_env)?;
            let (timeout, _) = self.limits(options.timeout)?;
            let id = random_id()?;
            let start = ToServer::Start {
                command: command.to_owned(),
                cwd: options.cwd,
                envs: non_empty(options.env),
                timeout: timeout.filter(|&seconds| seconds > 0),
            };
            let (transport, url) = self.sandbox.background_toolbox(&["process"]).await?;
            let shared = Arc::new(Shared::default());
            if options.no_stdin {
                shared.end_input();
            }
            let owner = Owner(Arc::clone(&shared));
            let (opened, is_open) = oneshot::channel();
            let mut fallback =
                Fallback::new(self.sandbox.clone(), Arc::clone(&transport), &url, &id, &start, options.no_stdin)?;
            let clock = Arc::new(Clock::new(&start));
            let mut client = Client::new(self.sandbox.clone(), transport, &url, &id, &start, Arc::clone(&clock))?;
            let sandbox = self.sandbox.clone();
            background::spawn(async move {
                let mut running = Running::new(shared, opened);
                let pipe = Arc::clone(&running.shared.pipe);
                let ended = tokio::select! {
                    biased;
                    ended = client.run(&mut running) => ended,
                    error = clock.overdue(&pipe) => Err(error),
                };
                let result = match ended {
                    Ok(Ended::NoRoute) => fallback.run(&mut running).await,
                    Ok(Ended::Done) => Ok(()),
                    Err(error) => Err(error),
                };
                running.finish(result.map_err(|error| error.with_operation(OPERATION).of_sandbox(sandbox.id())));
            });
            let stream = ExecStream { id: id.into(), inner: Arc::new(Driven::new(owner)) };
            is_open.await.unwrap_or_else(|_| Err(background::stopped()))?;
            Ok(stream)
        };
        self.sandbox.observe(OPERATION, work).await
    }
}

/// A running command. Clones share it: each piece of output goes to one of them. Dropping the last one before the
/// command has ended kills it.
#[derive(Clone)]
pub struct ExecStream {
    id: Arc<str>,
    inner: Arc<Driven<Owner>>,
}

impl ExecStream {
    /// Its id, chosen by this client.
    pub fn id(&self) -> &str {
        &self.id
    }

    fn shared(&self) -> Result<&Shared> {
        self.inner.get().map(|owner| &*owner.0).map_err(|error| error.with_operation(OPERATION))
    }

    /// All output that is there by now, at least one chunk, adjacent ones of a stream merged; waits for some. `None`
    /// when the command has ended and all its output was taken, or after [`ExecStream::close`].
    ///
    /// # Errors
    /// `ProcessExecutionTimeout` if it ran over its limit; `SandboxDied` if the sandbox ended; `Connection` if the
    /// server was out of reach for a minute. What was written before comes first.
    pub async fn next(&self) -> Result<Option<Vec<OutputChunk>>> {
        let shared = self.shared()?;
        match shared.pipe.next().await {
            Ok(Some(chunks)) => Ok(Some(chunks)),
            end => {
                Self::sequel(shared).await;
                end.map_err(|error| Self::hint(shared, error))
            }
        }
    }

    /// Waits for its end and gives the exit code; 128 and the signal's number if one has ended it. Output can be
    /// taken meanwhile and later; what nobody takes is discarded where the command would have to wait for that.
    ///
    /// # Errors
    /// As [`ExecStream::next`].
    pub async fn wait(&self) -> Result<i32> {
        let shared = self.shared()?;
        let pipe = &shared.pipe;
        let mut ended = std::pin::pin!(pipe.ended());
        let abandoned = std::pin::pin!(pipe.abandoned(TAKER_GONE));
        let end = match futures_util::future::select(ended.as_mut(), abandoned).await {
            futures_util::future::Either::Left((end, _)) => end,
            futures_util::future::Either::Right(_) => {
                pipe.discard();
                ended.await
            }
        };
        Self::sequel(shared).await;
        end.map_err(|error| Self::hint(shared, error))?;
        let closed = || Error::new(ErrorKind::Other, "the stream was closed before the command ended");
        self.exit_code().ok_or_else(|| closed().with_operation(OPERATION))
    }

    /// Its output, for who only wants to know when it ends, and what is to be waited for then.
    pub(crate) fn follow_with(&self, sequel: Sequel) -> Result<Arc<Pipe>> {
        let shared = self.shared()?;
        let _ = shared.sequel.set(sequel);
        Ok(Arc::clone(&shared.pipe))
    }

    async fn sequel(shared: &Shared) {
        if let Some(sequel) = shared.sequel.get() {
            let mut done = sequel.done.clone();
            // Closed is what it waits for.
            let _ = tokio::time::timeout(SEQUEL_LIMIT, done.changed()).await;
        }
    }

    fn hint(shared: &Shared, error: Error) -> Error {
        match shared.sequel.get() {
            Some(sequel) if error.kind() == ErrorKind::ProcessExecutionTimeout => {
                error.with_hint(sequel.timeout_hint.clone())
            }
            _ => error,
        }
    }

    /// The exit code, once it has ended.
    pub fn exit_code(&self) -> Option<i32> {
        self.shared().ok().and_then(|shared| shared.exit_code.get().copied())
    }

    /// Sends bytes to its stdin. Waits while a MiB of them has not been read; dropped meanwhile, a part may have been
    /// sent.
    ///
    /// # Errors
    /// `CommandAlreadyCompleted` when nobody reads them; `InvalidArgument` after [`ExecStream::close_stdin`].
    pub async fn write_stdin(&self, bytes: Bytes) -> Result<()> {
        self.shared()?.write(&bytes).await.map_err(|error| error.with_operation(OPERATION))
    }

    /// Closes its stdin after all that was written. May be repeated.
    ///
    /// # Errors
    /// `Connection` in a process that was forked since.
    #[expect(clippy::unused_async, reason = "the contract: what sends may have to wait")]
    pub async fn close_stdin(&self) -> Result<()> {
        self.shared()?.end_input();
        Ok(())
    }

    /// Sends a signal to its process group: `SIGINT`, `INT` or `2`, with the numbers of Linux. Nothing happens if it
    /// has ended.
    ///
    /// # Errors
    /// `InvalidArgument` for an unknown signal; `Unsupported` where the server cannot send this one.
    #[expect(clippy::unused_async, reason = "the contract: what sends may have to wait")]
    pub async fn signal(&self, signal: &str) -> Result<()> {
        let send = || self.shared()?.signal(Signal::parse(signal)?);
        send().map_err(|error| error.with_operation(OPERATION))
    }

    /// Sends SIGKILL.
    ///
    /// # Errors
    /// As [`ExecStream::signal`].
    pub async fn kill(&self) -> Result<()> {
        self.signal("SIGKILL").await
    }

    /// Gives it up: the server kills it. What was written so far can still be taken.
    pub fn close(&self) {
        if let Ok(shared) = self.shared() {
            shared.close();
        }
    }
}

/// 32 hexadecimal digits.
pub(crate) fn random_id() -> Result<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| Error::new(ErrorKind::Other, format!("no random id: {error}")))?;
    Ok(format!("{:032x}", u128::from_be_bytes(bytes)))
}
