//! A command, from its start until its client knows its end.

use std::collections::VecDeque;
use std::io;
use std::pin::pin;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use daytona_wire::exec_stream::ToServer;
use rustix::process::Signal;
use tempfile::TempPath;
use tokio::io::AsyncWriteExt;
use tokio::process::{ChildStdin, Command};
use tokio::time::Instant;

use super::Streams;
use super::output::FRAME;
use super::reader::Reader;
use super::running::{Exit, Running};
use crate::App;
use crate::error::{Error, Result};
use crate::process::{self, Group, LINGER};

/// Runs the command in the file `$1`: stdin is the client's.
const FROM_FILE: &str = r#"_script=$(cat -- "$1") && rm -f -- "$1" && shift && eval "unset _script
$_script""#;

/// Starts what `request` asks for, under an id that is checked.
pub(super) fn start(app: &App, id: &str, request: ToServer) -> Result<Arc<Running>> {
    let ToServer::Start { command, cwd, envs, timeout } = request else {
        return Err(Error::bad_request("the first message of a stream says what to start"));
    };
    process::check_command(&command)?;
    let env = process::environment(app, envs)?;
    let cwd = process::working_dir(app, cwd.as_deref())?;
    process::check_directory(&cwd)?;
    let shell = process::shell();
    let mut builder = Command::new(&shell);
    builder.args(["-c", "--"]);
    let script = if command.len() > process::ARGUMENT_LIMIT {
        let path = as_file(&command)?;
        builder.arg(FROM_FILE).arg(&shell).arg(&path);
        Some(path)
    } else {
        builder.arg(command);
        None
    };
    builder
        .env_clear()
        .envs(env)
        .current_dir(&cwd)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    // Nothing waits from here on: two starts with one id do not meet.
    app.streams.check_free(id)?;
    let mut child = builder.spawn().map_err(|error| process::cannot_start(&shell, &cwd, &error))?;
    let stdin = child.stdin.take();
    let reader = Reader::new(&mut child);
    let running = Arc::new(Running::new(app.config.patience.reconnect));
    app.streams.lock().insert(id.to_owned(), Arc::clone(&running));
    let task = Task {
        running: Arc::clone(&running),
        group: Group::new(child),
        reader,
        limit: process::limit(timeout),
        script,
    };
    tokio::spawn(task.run(stdin, app.streams.clone(), id.to_owned()));
    Ok(running)
}

/// A long command in a file for the shell.
fn as_file(command: &str) -> Result<TempPath> {
    let write = || {
        let mut file = tempfile::Builder::new().prefix(".command-").tempfile()?;
        io::Write::write_all(&mut file, command.as_bytes())?;
        io::Result::Ok(file.into_temp_path())
    };
    write().map_err(|error| Error::io(&error, "write a temporary file in", std::env::temp_dir()))
}

struct Task {
    running: Arc<Running>,
    group: Group,
    reader: Reader,
    limit: Option<Duration>,
    script: Option<TempPath>,
}

impl Task {
    async fn run(mut self, stdin: Option<ChildStdin>, streams: Streams, id: String) {
        let running = Arc::clone(&self.running);
        if let Some(exit) = self.attend(stdin).await {
            self.drain(exit).await;
            while running.order().await.is_some() {}
        }
        streams.lock().remove(&id);
    }

    /// Runs it to its end; `None` if it is given up.
    async fn attend(&mut self, stdin: Option<ChildStdin>) -> Option<Exit> {
        let running = &self.running;
        let mut feed = pin!(feed(running, stdin));
        let mut input_ended = false;
        let mut over = pin!(over(self.limit));
        let mut timed_out = false;
        let status = loop {
            tokio::select! {
                status = self.group.wait() => break status,
                () = self.reader.read(running), if !self.reader.ended() => {}
                () = &mut feed, if !input_ended => input_ended = true,
                () = &mut over, if !timed_out => {
                    timed_out = true;
                    self.group.signal(Signal::KILL);
                }
                order = running.order() => self.group.signal(order?),
            }
        };
        self.group.running = false;
        self.script = None;
        let exit_code = status.map_or(-1, process::exit_code);
        let mut state = running.lock();
        state.stdin.closed = true;
        state.stdin.waiting = VecDeque::new();
        state.wake();
        Some(Exit { exit_code, timed_out })
    }

    /// Reads what is left, and a little on if something holds the pipes; then tells of the exit.
    async fn drain(&mut self, exit: Exit) {
        let running = &self.running;
        let mut left = LINGER;
        let given_up = async { while running.order().await.is_some() {} };
        let mut given_up = pin!(given_up);
        while !self.reader.ended() && !left.is_zero() {
            tokio::select! {
                _ = running.room() => {}
                () = &mut given_up => return,
            }
            // Only waiting for output counts, not waiting for the client.
            let begun = Instant::now();
            if tokio::time::timeout(left, self.reader.read(running)).await.is_err() {
                break;
            }
            left = left.saturating_sub(begun.elapsed());
        }
        self.reader.leave();
        let mut state = running.lock();
        state.exit = Some(exit);
        state.wake();
    }
}

/// Ready when a limit is over.
async fn over(limit: Option<Duration>) {
    match limit {
        Some(limit) => tokio::time::sleep(limit).await,
        None => std::future::pending().await,
    }
}

/// Passes on what comes for stdin until its end, or until nobody reads it.
async fn feed(running: &Running, stdin: Option<ChildStdin>) {
    let Some(mut stdin) = stdin else {
        return;
    };
    loop {
        let next = {
            let mut state = running.lock();
            let next = state.stdin.waiting.as_slices().0;
            let next = next[..next.len().min(FRAME)].to_vec();
            if next.is_empty() && state.stdin.eof.is_some() {
                state.stdin.closed = true;
                return;
            }
            next
        };
        if next.is_empty() {
            running.input.notified().await;
            continue;
        }
        let written = stdin.write(&next).await;
        let mut state = running.lock();
        if let Ok(n) = written {
            state.stdin.waiting.drain(..n);
            state.stdin.taken += n as u64;
        } else {
            state.stdin.closed = true;
            state.stdin.waiting = VecDeque::new();
        }
        state.wake();
        if state.stdin.closed {
            return;
        }
    }
}
