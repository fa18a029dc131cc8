//! Running one command to its end.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs::File;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use daytona_wire::error::code;
use daytona_wire::process::{ExecuteRequest, ExecuteResponse};
use rustix::process::{Pid, Signal};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::unix::pipe::Receiver;
use tokio::process::{Child, Command};
use tokio::runtime::Handle;

use crate::App;
use crate::body::Json;
use crate::environment;
use crate::error::{Error, Result};
use crate::files::path::expand;
use crate::line;

/// Output beyond this is read and dropped, and the result says so.
const OUTPUT_LIMIT: usize = 64 << 20;

/// How long a finished command's output is read on while something it left behind holds the pipe.
pub(crate) const LINGER: Duration = Duration::from_millis(100);

/// The kernel takes 128 KiB an argument; longer ones travel on stdin.
pub(crate) const ARGUMENT_LIMIT: usize = 120 << 10;

/// Reads a long command from stdin, then runs it with an empty one.
const FROM_STDIN: &str = r#"_script=$(cat) && exec </dev/null && eval "unset _script
$_script""#;

/// What to run, in which surroundings.
#[derive(Default)]
pub(crate) struct Program {
    pub(crate) path: PathBuf,
    pub(crate) args: Vec<OsString>,
    pub(crate) cwd: PathBuf,
    pub(crate) env: BTreeMap<String, String>,
    /// Empty if `None`.
    pub(crate) stdin: Option<File>,
    pub(crate) timeout: Option<Duration>,
}

/// How it ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) exit_code: i32,
    pub(crate) result: String,
}

impl Outcome {
    /// A program that did not start.
    pub(crate) fn not_started(why: impl Into<String>) -> Self {
        Self { exit_code: -1, result: why.into() }
    }
}

/// `POST /process/execute`
pub(crate) async fn execute(
    State(app): State<App>,
    Json(request): Json<ExecuteRequest>,
) -> Result<axum::Json<ExecuteResponse>> {
    check_command(&request.command)?;
    let env = environment(&app, request.envs)?;
    let (script, stdin) = if request.command.len() > ARGUMENT_LIMIT {
        (FROM_STDIN.to_owned(), Some(as_stdin(&request.command)?))
    } else {
        (request.command, None)
    };
    let program = Program {
        path: shell(),
        args: vec!["-c".into(), "--".into(), script.into()],
        cwd: working_dir(&app, request.cwd.as_deref())?,
        env,
        stdin,
        timeout: limit(request.timeout),
    };
    let outcome = run(program).await?;
    Ok(axum::Json(ExecuteResponse { exit_code: outcome.exit_code, result: outcome.result }))
}

pub(crate) fn check_command(command: &str) -> Result<()> {
    if command.trim().is_empty() {
        return Err(Error::bad_request("the command is blank; give a command to run"));
    }
    if command.contains('\0') {
        return Err(Error::bad_request("the command holds a NUL byte; remove it"));
    }
    Ok(())
}

/// bash where present, else sh.
pub(crate) fn shell() -> PathBuf {
    ["/bin/bash", "/usr/bin/bash", "/usr/local/bin/bash"]
        .into_iter()
        .map(Path::new)
        .find(|path| path.exists())
        .unwrap_or(Path::new("/bin/sh"))
        .to_path_buf()
}

/// Seconds as a limit; 0 is none.
pub(crate) fn limit(seconds: Option<u64>) -> Option<Duration> {
    seconds.filter(|&s| s > 0).map(Duration::from_secs)
}

/// The environment of a command: the sandbox's, with `added` over it.
pub(crate) fn environment(app: &App, added: Option<BTreeMap<String, String>>) -> Result<BTreeMap<String, String>> {
    let mut env = app.env.get();
    for (name, value) in added.into_iter().flatten() {
        environment::check(&name, &value)?;
        env.insert(name, value);
    }
    Ok(env)
}

pub(crate) fn working_dir(app: &App, asked: Option<&str>) -> Result<PathBuf> {
    let asked = asked.unwrap_or_default();
    if asked.contains('\0') {
        return Err(Error::bad_path("the working directory holds a NUL byte; remove it"));
    }
    Ok(app.config.work_dir.join(expand(app, asked.as_ref())))
}

/// `text` in a file without a name, to be read from its start.
pub(crate) fn as_stdin(text: impl AsRef<[u8]>) -> Result<File> {
    use std::io::{Seek, Write};
    let write = || {
        let mut file = tempfile::tempfile()?;
        file.write_all(text.as_ref())?;
        file.rewind()?;
        io::Result::Ok(file)
    };
    write().map_err(|error| Error::io(&error, "write a temporary file in", std::env::temp_dir()))
}

/// Runs `program` in a process group of its own until it ends or its time is over.
///
/// Dropping the future kills the group.
pub(crate) async fn run(program: Program) -> Result<Outcome> {
    check_directory(&program.cwd)?;
    let timeout = program.timeout;
    let (mut group, mut output) = start(program)?;
    let Some(timeout) = timeout else {
        return finish(&mut group, &mut output).await;
    };
    match tokio::time::timeout(timeout, finish(&mut group, &mut output)).await {
        Ok(outcome) => outcome,
        Err(_) => {
            Err(Error::new(StatusCode::REQUEST_TIMEOUT, code::PROCESS_EXECUTION_TIMEOUT, "command execution timeout"))
        }
    }
}

/// Refuses a `cwd` in which nothing can be started.
pub(crate) fn check_directory(cwd: &Path) -> Result<()> {
    match no_directory(cwd) {
        Some(why) => Err(Error::bad_request(why)),
        None => Ok(()),
    }
}

/// A program that the kernel does not start.
pub(crate) fn cannot_start(path: &Path, cwd: &Path, error: &io::Error) -> Error {
    let (path, cwd) = (path.display(), cwd.display());
    if error.kind() == io::ErrorKind::ArgumentListTooLong {
        return Error::bad_request(format!(
            "cannot start {path}: its environment and its arguments are too large together; write some of it to a file"
        ));
    }
    Error::bad_request(format!("cannot start {path} in {cwd}: {error}"))
}

/// Why nothing can be started in `cwd`.
pub(crate) fn no_directory(cwd: &Path) -> Option<String> {
    (!cwd.is_dir()).then(|| {
        format!(
            "the working directory {} does not exist or is no directory; create it or give another cwd",
            cwd.display()
        )
    })
}

fn start(program: Program) -> Result<(Group, Output)> {
    let no_pipe = |error: io::Error| Error::internal(format!("cannot make a pipe: {error}"));
    let (reader, writer) = io::pipe().map_err(no_pipe)?;
    let stderr = writer.try_clone().map_err(no_pipe)?;
    let child = Command::new(&program.path)
        .args(&program.args)
        .env_clear()
        .envs(&program.env)
        .current_dir(&program.cwd)
        .stdin(program.stdin.map_or_else(Stdio::null, Stdio::from))
        .stdout(writer)
        .stderr(stderr)
        .process_group(0)
        .spawn()
        .map_err(|error| cannot_start(&program.path, &program.cwd, &error))?;
    let group = Group::new(child);
    let pipe = Receiver::from_owned_fd(reader.into())
        .map_err(|error| Error::internal(format!("cannot read the command's output: {error}")))?;
    Ok((group, Output::new(pipe)))
}

/// Reads to the end of the command, and a little on if its pipe stays open.
async fn finish(group: &mut Group, output: &mut Output) -> Result<Outcome> {
    let status = loop {
        tokio::select! {
            status = group.wait() => break status,
            () = output.read(), if !output.ended => {}
        }
    };
    group.running = false;
    let status = status.map_err(|error| Error::internal(format!("cannot wait for the command: {error}")))?;
    let drained = tokio::time::timeout(LINGER, async {
        while !output.ended {
            output.read().await;
        }
    });
    if drained.await.is_err() {
        output.leave();
    }
    Ok(Outcome { exit_code: exit_code(status), result: output.take() })
}

pub(crate) fn exit_code(status: ExitStatus) -> i32 {
    status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(-1)
}

/// A process group whose leader is not reaped yet; killed on drop.
pub(crate) struct Group {
    /// Taken on drop only.
    child: Option<Child>,
    leader: Option<Pid>,
    /// To be set to false when the leader is reaped.
    pub(crate) running: bool,
}

impl Group {
    pub(crate) fn new(child: Child) -> Self {
        let leader = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        Self { child: Some(child), leader, running: true }
    }

    /// Waits for the leader. Cancel safe.
    pub(crate) async fn wait(&mut self) -> io::Result<ExitStatus> {
        match &mut self.child {
            Some(child) => child.wait().await,
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    pub(crate) fn leader(&self) -> Option<Pid> {
        self.leader
    }

    pub(crate) fn signal(&self, signal: Signal) {
        // The leader is a zombie at worst, so its id is nobody else's.
        if self.running
            && let Some(leader) = self.leader
        {
            let _ = rustix::process::kill_process_group(leader, signal);
        }
    }
}

impl Group {
    /// Ends all of it, unless all that runs is ending and has its time for that.
    pub(crate) fn kill(&self) {
        if !line::ending() {
            self.signal(Signal::KILL);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
        if self.running
            && let Some(child) = self.child.take()
        {
            reap(child);
        }
    }
}

/// Waits for a child that nobody else waits for. tokio looks at a dropped one only when another child ends: it could
/// stay a zombie until then.
pub(crate) fn reap(mut child: Child) {
    if let Ok(runtime) = Handle::try_current() {
        runtime.spawn(async move { child.wait().await });
    }
}

/// Keeps a pipe open and empty, so that what writes to it meets no SIGPIPE.
pub(crate) fn leave(mut pipe: impl AsyncRead + Send + Unpin + 'static) {
    tokio::spawn(async move {
        let mut scrap = vec![0; 4 << 10];
        while matches!(pipe.read(&mut scrap).await, Ok(1..)) {}
    });
}

/// The merged stdout and stderr of a command.
struct Output {
    pipe: Option<Receiver>,
    kept: Vec<u8>,
    dropped: u64,
    ended: bool,
}

impl Output {
    fn new(pipe: Receiver) -> Self {
        Self { pipe: Some(pipe), kept: Vec::new(), dropped: 0, ended: false }
    }

    /// Reads once. Cancel safe.
    async fn read(&mut self) {
        let Some(pipe) = self.pipe.as_mut() else {
            self.ended = true;
            return;
        };
        if self.kept.len() < OUTPUT_LIMIT {
            if self.kept.capacity() - self.kept.len() < 4 << 10 {
                self.kept.reserve(8 << 10);
            }
            // An error of a pipe is its end.
            self.ended = matches!(pipe.read_buf(&mut self.kept).await, Ok(0) | Err(_));
        } else {
            let mut scrap = vec![0; 64 << 10];
            match pipe.read(&mut scrap).await {
                Ok(0) | Err(_) => self.ended = true,
                Ok(n) => self.dropped += n as u64,
            }
        }
    }

    fn leave(&mut self) {
        if let Some(pipe) = self.pipe.take() {
            leave(pipe);
        }
    }

    fn take(&mut self) -> String {
        let mut text = match String::from_utf8(std::mem::take(&mut self.kept)) {
            Ok(text) => text,
            Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
        };
        if self.dropped > 0 {
            let _ = write!(
                text,
                "\n[{} bytes of output after the first {} MiB were dropped; \
                 write large output to a file and download it]\n",
                self.dropped,
                OUTPUT_LIMIT >> 20
            );
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In a runtime without other children, whose ends would make up for it.
    #[tokio::test]
    async fn a_dropped_group_is_killed_and_reaped() {
        for _ in 0..50 {
            let child = Command::new("sleep").arg("300").process_group(0).spawn().unwrap();
            let process = PathBuf::from(format!("/proc/{}", child.id().unwrap()));
            drop(Group::new(child));
            let gone = async {
                while process.exists() {
                    tokio::task::yield_now().await;
                }
            };
            tokio::time::timeout(Duration::from_secs(20), gone).await.expect("it stays a zombie");
        }
    }
}
