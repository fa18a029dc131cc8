//! The code interpreter: Python code in contexts that keep their state.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use daytona_wire::interpreter::{
    CLOSE_TIMEOUT, CreateContextRequest, InterpreterContext, ListContextsResponse, RunControl, RunMessage, RunRequest,
};
use http::Method;
use serde::Deserialize;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep_until};

use crate::background::Driven;
use crate::error::{Error, ErrorKind, Result};
use crate::inbox::{self, Inbox};
use crate::operation::Operation;
use crate::process::{check_env, non_empty, refuse_nul};
use crate::sandbox::Sandbox;
use crate::transport::{Call, Limit, seconds};
use crate::watch;
use crate::ws::{CLOSE_NORMAL, End, Message, Open, Socket, closed};

/// Runs Python code in one sandbox. What one run defines, later ones in the same context have.
#[derive(Clone)]
pub struct CodeInterpreter {
    sandbox: Sandbox,
}

/// How to run code.
#[derive(Clone, Debug, Default)]
pub struct RunCodeOptions {
    /// Id of the context; the default one if `None`.
    pub context: Option<String>,
    /// In the environment while the code runs.
    pub env: Option<BTreeMap<String, String>>,
    /// Seconds after which the code is interrupted, rounded up; 0 is no limit. Servers default to 600.
    pub timeout: Option<f64>,
    /// Ask for [`RunMessage::Result`] too; servers that have none send none.
    pub results: bool,
}

/// Code that runs. Clones share it; dropping the last one interrupts the code.
#[derive(Clone)]
pub struct CodeRun {
    driven: Arc<Driven<Handle>>,
}

struct Handle {
    line: Arc<Line>,
    interrupts: mpsc::Sender<()>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.line.leave.notify_one();
    }
}

/// What a handle shares with the task behind it.
#[derive(Default)]
struct Line {
    messages: Inbox<RunMessage>,
    interrupted: AtomicBool,
    /// The user is no longer interested.
    leave: Notify,
}

impl Sandbox {
    /// Its code interpreter.
    pub fn code_interpreter(&self) -> CodeInterpreter {
        CodeInterpreter { sandbox: self.clone() }
    }
}

impl CodeInterpreter {
    /// Starts code and returns once the server has taken it.
    ///
    /// # Errors
    /// `InvalidArgument` for empty code, a blank context, a bad variable name or a negative limit; `Connection`
    /// where the sandbox does not answer.
    pub async fn run_code(&self, code: &str, options: RunCodeOptions) -> Result<CodeRun> {
        let operation = Operation::RUN_CODE;
        let work = async {
            if code.is_empty() {
                return Err(Error::invalid("the code is empty"));
            }
            options.context.as_deref().map_or(Ok(()), check_id)?;
            options.env.as_ref().map_or(Ok(()), check_env)?;
            let (timeout, limit) = self.sandbox.process().limits(options.timeout)?;
            let request = RunRequest {
                code: code.to_owned(),
                context_id: options.context,
                timeout,
                envs: non_empty(options.env),
                results: options.results,
            };
            let request = to_text(&request)?;
            let (transport, url) = self.sandbox.background_toolbox(&["process", "interpreter", "execute"]).await?;
            let line = Arc::new(Line::default());
            let (interrupts, interrupted) = mpsc::channel(1);
            let handle = Handle { line: Arc::clone(&line), interrupts };
            let run = CodeRun { driven: Arc::new(Driven::new(handle)) };
            let open = async move { transport.websocket(Open::new(operation, url)).await };
            let sandbox = self.sandbox.clone();
            let opened = inbox::open(open, move |mut socket| async move {
                socket.queue(request);
                drive(socket, &sandbox, &line, interrupted, limit).await;
            });
            watch::guard(&self.sandbox, opened).await?;
            Ok(run)
        };
        self.sandbox.observe(operation, work).await
    }

    /// Makes a context with a state of its own.
    ///
    /// # Errors
    /// As any request to a sandbox: `Conflict`, `NotFound` or `Connection` where it does not run.
    pub async fn create_context(&self, cwd: Option<&str>, timeout: Option<f64>) -> Result<InterpreterContext> {
        let operation = Operation::CREATE_CONTEXT;
        let work = async {
            cwd.map_or(Ok(()), |cwd| refuse_nul("working directory", cwd))?;
            let limit = seconds("request_timeout", timeout)?;
            let (transport, url) = self.sandbox.toolbox(&["process", "interpreter", "context"]).await?;
            let body = CreateContextRequest { cwd: cwd.map(str::to_owned), language: None };
            watch::guard(&self.sandbox, transport.json(Call::post(operation, url).json(&body)?.limit(limit))).await
        };
        self.sandbox.observe(operation, work).await
    }

    /// All contexts that were created; the default one is not among them.
    ///
    /// # Errors
    /// As [`CodeInterpreter::create_context`].
    pub async fn list_contexts(&self, timeout: Option<f64>) -> Result<Vec<InterpreterContext>> {
        let operation = Operation::LIST_CONTEXTS;
        let work = async {
            let limit = seconds("request_timeout", timeout)?;
            let (transport, url) = self.sandbox.toolbox(&["process", "interpreter", "context"]).await?;
            let answer: ListContextsResponse =
                watch::guard(&self.sandbox, transport.json(Call::get(operation, url).limit(limit))).await?;
            Ok(answer.contexts)
        };
        self.sandbox.observe(operation, work).await
    }

    /// Deletes a context and ends what runs in it.
    ///
    /// # Errors
    /// `NotFound` if there is none of this id.
    pub async fn delete_context(&self, id: &str, timeout: Option<f64>) -> Result<()> {
        let operation = Operation::DELETE_CONTEXT;
        let work = async {
            check_id(id)?;
            let limit = seconds("request_timeout", timeout)?;
            let (transport, url) = self.sandbox.toolbox(&["process", "interpreter", "context", id]).await?;
            watch::guard(&self.sandbox, transport.empty(Call::new(operation, Method::DELETE, url).limit(limit))).await
        };
        self.sandbox.observe(operation, work).await
    }
}

fn check_id(id: &str) -> Result<()> {
    if id.trim().is_empty() || matches!(id, "." | "..") {
        return Err(Error::invalid(format!("{id:?} cannot be the id of an interpreter context")));
    }
    refuse_nul("id of the interpreter context", id)
}

fn to_text(message: &impl serde::Serialize) -> Result<Message> {
    let json = serde_json::to_string(message)
        .map_err(|error| Error::invalid(format!("the request cannot be written as JSON: {error}")))?;
    Ok(Message::text(json))
}

/// Takes messages until the server closes or nobody is interested.
async fn drive(mut socket: Socket, sandbox: &Sandbox, line: &Line, mut interrupts: mpsc::Receiver<()>, limit: Limit) {
    enum Event {
        Died(Error),
        Interrupt(Option<()>),
        Received(Result<Message, End>),
        Left,
        Late,
    }
    let _filling = line.messages.filling();
    let fail = |error: Error| error.with_operation(Operation::RUN_CODE).of_sandbox(sandbox.id());
    let deadline = limit.filter(|limit| !limit.is_zero()).map(|limit| Instant::now() + limit);
    let mut died = std::pin::pin!(watch::ended(sandbox));
    let mut completed = false;
    let interrupt = to_text(&RunControl::Interrupt).expect("it has no parts");
    loop {
        let event = tokio::select! {
            biased;
            () = line.leave.notified() => Event::Left,
            asked = interrupts.recv() => Event::Interrupt(asked),
            message = inbox::receive(&mut socket, &line.messages) => Event::Received(message),
            error = &mut died => Event::Died(error),
            () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => Event::Late,
        };
        let end = match event {
            Event::Interrupt(Some(())) => {
                socket.queue(interrupt.clone());
                continue;
            }
            Event::Interrupt(None) | Event::Left => {
                if !completed {
                    socket.queue(interrupt);
                }
                return socket.close().await;
            }
            Event::Late => {
                line.messages.end(Err(fail(late("the server did not say whether the context's state is kept"))));
                socket.queue(interrupt);
                return socket.close().await;
            }
            Event::Received(Err(end)) => {
                let end = match ended(end, completed) {
                    Ok(()) => Ok(()),
                    Err(error) => Err(fail(watch::why(sandbox, error).await)),
                };
                return line.messages.end(end);
            }
            Event::Died(error) => error,
            Event::Received(Ok(message)) => match parse(&message) {
                Ok(Some(RunMessage::Control { text })) => {
                    completed |= matches!(text.as_str(), "completed" | "interrupted");
                    line.interrupted.fetch_or(text == "interrupted", Ordering::Relaxed);
                    continue;
                }
                Ok(Some(known)) => {
                    line.messages.push(known, message.len());
                    continue;
                }
                Ok(None) => continue,
                Err(error) => error,
            },
        };
        line.messages.end(Err(fail(end)));
        return socket.close().await;
    }
}

/// One message; `None` for a type of a newer server.
pub(crate) fn parse(message: &Message) -> Result<Option<RunMessage>> {
    #[derive(Deserialize)]
    struct Kind {
        #[serde(rename = "type")]
        kind: String,
    }
    let bytes = match message {
        Message::Text(text) => text.as_bytes(),
        Message::Binary(bytes) => bytes,
        _ => return Ok(None),
    };
    let error = match serde_json::from_slice(bytes) {
        Ok(known) => return Ok(Some(known)),
        Err(error) => error,
    };
    match serde_json::from_slice::<Kind>(bytes) {
        Ok(Kind { kind }) if !matches!(kind.as_str(), "stdout" | "stderr" | "error" | "result" | "control") => {
            tracing::debug!(kind, "unknown message of the interpreter");
            Ok(None)
        }
        _ => {
            let what = format!("the interpreter sent a message that cannot be read: {error}");
            Err(Error::new(ErrorKind::Other, what).with_hint("Check that the API URL points to a Daytona API"))
        }
    }
}

fn ended(end: End, completed: bool) -> Result<()> {
    match end {
        End::Closed { code: Some(CLOSE_TIMEOUT), reason } => Err(late(&reason)),
        _ if completed => Ok(()),
        End::Closed { code: Some(CLOSE_NORMAL) | None, .. } => Ok(()),
        End::Closed { code, reason } => Err(closed(code, &reason)),
        End::Broken(error) => Err(error),
    }
}

/// `reason` is what the server says about it: what became of the code and of the context's state.
fn late(reason: &str) -> Error {
    let mut what = "Execution timed out: operation exceeded the configured `timeout`".to_owned();
    if !reason.is_empty() {
        what = format!("{what}: {reason}");
    }
    Error::new(ErrorKind::ProcessExecutionTimeout, what).with_hint("Provide a larger value if needed")
}

impl CodeRun {
    /// What has come by now, at least one message and none of type `control`; `None` when the code has ended.
    /// An exception of the code is a message, [`RunMessage::Error`], not a failure.
    ///
    /// # Errors
    /// `ProcessExecutionTimeout` when it was over its limit, with what became of the context's state; `Connection` when the interpreter or the connection
    /// ended before the code, `SandboxDied` when the sandbox did.
    pub async fn next(&self) -> Result<Option<Vec<RunMessage>>> {
        let messages = self.driven.get()?.line.messages.take().await?;
        Ok(messages.map(Vec::from))
    }

    /// Raises `KeyboardInterrupt` in the code, as Ctrl-C does. Does nothing once it has ended.
    ///
    /// # Errors
    /// Across a fork.
    pub async fn interrupt(&self) -> Result<()> {
        // Fails only when the run is over.
        let _ = self.driven.get()?.interrupts.send(()).await;
        Ok(())
    }

    /// Whether the server said that the code was interrupted.
    pub fn interrupted(&self) -> bool {
        self.driven.get().is_ok_and(|handle| handle.line.interrupted.load(Ordering::Relaxed))
    }
}
