//! Sessions: long-lived shells that run commands one after another.

mod collect;
mod follow;
mod log;
mod routes;
mod shell;
mod text;
pub(crate) mod tree;

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::StatusCode;
use daytona_wire::error::code;
use daytona_wire::session::{self as wire, ENTRYPOINT};
use rustix::process::{Pid, Signal};
use tokio::io::AsyncWriteExt;
use tokio::net::unix::pipe::Sender;
use tokio::sync::{mpsc, watch};

use crate::App;
use crate::error::{Error, Result};
use log::{Log, Spool, Stream};
pub(crate) use routes::routes;
use shell::{End, Files, Shell};

const NO_INPUT: &str = "the command takes no input: it was not started with runAsync, so its standard input was at its \
                        end from the start; start it with runAsync (run_async in Python) to send it some";

/// Between SIGTERM and SIGKILL.
const GRACE: Duration = Duration::from_secs(5);

/// The sessions of an agent.
#[derive(Default)]
pub(crate) struct Sessions {
    by_id: Mutex<BTreeMap<String, Arc<Session>>>,
}

struct Session {
    id: String,
    /// Id of the shell, its process group and, where possible, its kernel session.
    shell: Option<Pid>,
    spool: Arc<Spool>,
    state: Mutex<State>,
    queue: mpsc::UnboundedSender<Arc<Command>>,
}

#[derive(Default)]
struct State {
    commands: Vec<Arc<Command>>,
    ended: Option<Ended>,
}

/// How a shell ended.
#[derive(Clone, Copy)]
enum Ended {
    /// By itself, with this exit code.
    Code(i32),
    /// It ran nothing any more and was killed.
    Silent,
    /// It is being ended with its session.
    Deleted,
}

/// The exit code of a command, or why it has none.
type Outcome = Result<i32>;

struct Command {
    id: String,
    text: String,
    input: Input,
    log: Arc<Log>,
    progress: watch::Sender<Progress>,
    /// Locked for as long as one input is written.
    stdin: tokio::sync::Mutex<Option<Sender>>,
}

/// What a command reads.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Input {
    /// Nothing: it is at its end from the start.
    Ended,
    /// What clients send, which its log shows or not.
    Open { echo: bool },
}

/// How far a command is.
#[derive(Clone, Default)]
struct Progress {
    /// Length of the log.
    length: u64,
    /// Its pipes are there.
    started: bool,
    /// It has ended, and its pipes are read to their end.
    ending: bool,
    /// It has ended, and the log holds what its pipes held then.
    exit_code: Option<i32>,
    /// Why it did not run, or why nobody knows how it ended.
    failed: Option<Error>,
}

impl Sessions {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Session>>> {
        self.by_id.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs the entrypoint of the sandbox's image, in the place of the shell of its session.
    pub(crate) fn start_entrypoint(app: &App) {
        let Some(entrypoint) = app.config.entrypoint.as_ref().filter(|words| !words.is_empty()) else { return };
        let words: Vec<String> = entrypoint.iter().map(|word| format!("'{}'", word.replace('\'', r"'\''"))).collect();
        let command = format!("exec {}", words.join(" "));
        // Where no shell starts, no call to it works either, and those say why.
        if let Ok(session) = Session::start(app, ENTRYPOINT) {
            let _ = session.add(command, Input::Ended);
            app.sessions.lock().insert(ENTRYPOINT.to_owned(), session);
        }
    }

    fn create(app: &App, id: &str) -> Result<()> {
        if id.trim().is_empty() {
            return Err(Error::bad_request("the session id is blank; give an id"));
        }
        if id == ENTRYPOINT {
            return Err(Error::bad_request("the session id \"entrypoint\" is reserved; use another id"));
        }
        let mut sessions = app.sessions.lock();
        if sessions.contains_key(id) {
            return Err(Error::conflict("session already exists"));
        }
        sessions.insert(id.to_owned(), Session::start(app, id)?);
        Ok(())
    }

    fn get(&self, id: &str) -> Result<Arc<Session>> {
        self.lock().get(id).cloned().ok_or_else(|| no_session(id))
    }

    fn all(&self) -> Vec<wire::Session> {
        self.lock().values().filter(|session| session.id != ENTRYPOINT).map(|session| session.describe()).collect()
    }

    /// Takes the session away and ends all its processes; goes on without its caller.
    async fn delete(&self, id: &str) -> Result<()> {
        if id == ENTRYPOINT {
            return Err(Error::bad_request("the session \"entrypoint\" cannot be deleted; stop the sandbox instead"));
        }
        let session = self.lock().remove(id).ok_or_else(|| no_session(id))?;
        let work = tokio::spawn(async move {
            if let Some(shell) = session.shell {
                // What ends first must not let what is queued begin.
                let ended = session.lock().ended.replace(Ended::Deleted).is_some();
                tree::kill(shell, ended, Signal::TERM, GRACE).await;
            }
            session.spool.close();
        });
        work.await.map_err(|_| Error::internal("ending the session broke off; its processes may still run"))
    }
}

fn no_session(id: &str) -> Error {
    not_found(format!("there is no session {id:?}; create it first, or list the sessions to see what is there"))
}

fn not_found(message: String) -> Error {
    Error::new(StatusCode::NOT_FOUND, code::PROCESS_NOT_FOUND, message)
}

impl Session {
    fn start(app: &App, id: &str) -> Result<Arc<Self>> {
        let shell = Shell::start(app)?;
        let (queue, commands) = mpsc::unbounded_channel();
        let session = Arc::new(Self {
            id: id.to_owned(),
            shell: shell.pid(),
            spool: Arc::default(),
            state: Mutex::default(),
            queue,
        });
        tokio::spawn(drive(Arc::clone(&session), shell, commands));
        Ok(session)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a command after all others.
    fn add(&self, text: String, input: Input) -> Result<Arc<Command>> {
        let mut id = [0; 16];
        getrandom::fill(&mut id).map_err(|error| Error::internal(format!("no random bytes for an id: {error}")))?;
        let command = Arc::new(Command {
            id: format!("{:032x}", u128::from_ne_bytes(id)),
            text,
            input,
            log: Arc::new(Log::new(Arc::clone(&self.spool))),
            progress: watch::Sender::default(),
            stdin: tokio::sync::Mutex::default(),
        });
        let mut state = self.lock();
        if let Some(ended) = state.ended {
            return Err(self.gone(ended));
        }
        state.commands.push(Arc::clone(&command));
        // The queue is read until the session is marked as ended.
        let _ = self.queue.send(Arc::clone(&command));
        Ok(command)
    }

    /// Why it runs no more commands.
    fn gone(&self, ended: Ended) -> Error {
        self.over(&match ended {
            Ended::Code(code) => format!("has ended with exit code {code}"),
            Ended::Deleted => "was ended with the session".to_owned(),
            Ended::Silent => "was ended because one of its commands had left it unable to run anything".to_owned(),
        })
    }

    /// Why nobody knows how the command ended that its shell did not report.
    fn silenced(&self) -> Error {
        self.over(
            "was ended: after this command it ran nothing and reported no exit code, as after `set -n` (use `bash -n FILE` \
             to check a script) or with a function named `command` that runs nothing",
        )
    }

    fn over(&self, how: &str) -> Error {
        let message = format!(
            "the shell of session {:?} {how}, so it runs no more commands; create a session with another id, or delete \
             this one and create it again",
            self.id
        );
        Error::new(StatusCode::GONE, code::SESSION_ENDED, message)
    }

    fn command(&self, id: &str) -> Result<Arc<Command>> {
        self.lock().commands.iter().find(|command| command.id == id).cloned().ok_or_else(|| {
            not_found(format!("the session {:?} has no command {id:?}; get the session to see its commands", self.id))
        })
    }

    fn describe(&self) -> wire::Session {
        let commands = self.lock().commands.iter().map(|command| command.describe()).collect();
        wire::Session { session_id: self.id.clone(), commands }
    }
}

/// Runs the commands of a session in order until its shell ends.
async fn drive(session: Arc<Session>, mut shell: Shell, mut queue: mpsc::UnboundedReceiver<Arc<Command>>) {
    let ended = loop {
        let command = tokio::select! {
            Some(command) = queue.recv() => command,
            code = shell.ended() => break Ended::Code(code),
        };
        let over = session.lock().ended;
        if let Some(ended) = over {
            command.refuse(session.gone(ended));
            continue;
        }
        let (files, stdin, outputs) = match Files::new(&command.text, command.input != Input::Ended) {
            Ok(made) => made,
            Err(error) => {
                command.refuse(error);
                continue;
            }
        };
        *command.stdin.lock().await = stdin;
        command.progress.send_modify(|progress| progress.started = true);
        let collector = collect::start(command, outputs);
        let (outcome, ended) = match shell.run(&files).await {
            End::Code(code) => (Ok(code), None),
            End::Shell(code) => (Ok(code), Some(Ended::Code(code))),
            End::Silent => (Err(session.silenced()), Some(Ended::Silent)),
        };
        if ended.is_some() {
            // Known before anybody learns the command's end.
            session.lock().ended = ended;
        }
        let _ = collector.send(outcome);
        if let Some(ended) = ended {
            break ended;
        }
    };
    session.lock().ended = Some(ended);
    while let Ok(command) = queue.try_recv() {
        command.refuse(session.gone(ended));
    }
}

impl Command {
    /// One that has ended without output.
    fn nothing() -> Arc<Self> {
        let ended = Progress { exit_code: Some(0), ..Progress::default() };
        Arc::new(Self {
            id: String::new(),
            text: String::new(),
            input: Input::Ended,
            log: Arc::new(Log::new(Arc::default())),
            progress: watch::Sender::new(ended),
            stdin: tokio::sync::Mutex::default(),
        })
    }

    fn describe(&self) -> wire::Command {
        wire::Command { id: self.id.clone(), command: self.text.clone(), exit_code: self.progress.borrow().exit_code }
    }

    /// Ends a command that never ran.
    fn refuse(&self, error: Error) {
        self.fail(&format!("[the command did not run: {error}]\n"), error);
    }

    /// Its log is whole.
    fn end(&self, outcome: Outcome) {
        match outcome {
            Ok(code) => self.progress.send_modify(|progress| progress.exit_code = Some(code)),
            Err(error) => self.fail(&format!("[{error}]\n"), error),
        }
    }

    fn fail(&self, note: &str, error: Error) {
        let added = self.log.append_bytes(Stream::Stderr, note.as_bytes());
        self.progress.send_modify(|progress| {
            progress.length += added;
            progress.exit_code = Some(-1);
            progress.failed = Some(error);
        });
    }

    /// Tells followers how much longer the log is.
    fn grow(&self, added: u64) {
        if added > 0 {
            self.progress.send_modify(|progress| progress.length += added);
        }
    }

    /// Waits for its end; gives its exit code and the length of its log then.
    async fn ended(&self) -> Result<(i32, u64)> {
        let mut progress = self.progress.subscribe();
        let end = progress.wait_for(|progress| progress.exit_code.is_some()).await;
        let end = end.map(|progress| progress.clone()).unwrap_or_default();
        match end.failed {
            Some(error) => Err(error),
            None => Ok((end.exit_code.unwrap_or(-1), end.length)),
        }
    }

    /// Writes to its stdin; waits while the pipe is full.
    async fn input(&self, data: &str) -> Result<()> {
        let done = || {
            Error::new(
                StatusCode::GONE,
                code::COMMAND_ALREADY_COMPLETED,
                "the command has ended and takes no input; its exit code and log are there to read",
            )
        };
        let mut progress = self.progress.subscribe();
        let Input::Open { echo } = self.input else {
            let ended = progress.borrow().exit_code.is_some();
            return Err(if ended { done() } else { Error::bad_request(NO_INPUT) });
        };
        let Ok(now) = progress.wait_for(|now| now.started || now.exit_code.is_some()).await.map(|now| now.clone())
        else {
            return Err(done());
        };
        if now.exit_code.is_some() {
            return Err(done());
        }
        let mut data = data.as_bytes().to_vec();
        if data.last() != Some(&b'\n') {
            data.push(b'\n');
        }
        let mut stdin = self.stdin.lock().await;
        let Some(pipe) = stdin.as_mut() else { return Err(done()) };
        if echo {
            self.grow(self.log.append_bytes(Stream::Stdout, &data));
        }
        tokio::select! {
            written = pipe.write_all(&data) => written.map_err(|error: io::Error| {
                Error::internal(format!("cannot write to the command's stdin: {error}"))
            }),
            _ = progress.wait_for(|now| now.ending) => Err(done()),
        }
    }
}
