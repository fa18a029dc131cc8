//! Running git.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use axum::http::StatusCode;
use rustix::process::Signal;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;

use super::credentials::{Credentials, HELPER, Server, WRAPPER};
use super::failure;
use crate::App;
use crate::code::{find, search_path};
use crate::error::{Error, Result};
use crate::process::{Group, LINGER, as_stdin, exit_code, leave};

/// The most that git may say: the status of some hundred thousand files.
const OUTPUT_LIMIT: usize = 64 << 20;
/// Of what goes wrong, the end tells why.
const ERRORS_LIMIT: usize = 64 << 10;
/// What happens in the sandbox, and what goes over the network, takes no longer.
const LOCAL_LIMIT: Duration = Duration::from_secs(600);
const REMOTE_LIMIT: Duration = Duration::from_secs(3600);
/// How long git may clean up after a call that nobody waits for any more.
const CLEAN_UP: Duration = Duration::from_secs(5);

/// One run of git.
pub(super) struct Git<'a> {
    app: &'a App,
    folder: PathBuf,
    settings: Vec<OsString>,
    pub(super) args: Vec<OsString>,
    env: Vec<(&'static str, OsString)>,
    stdin: Option<Vec<u8>>,
    credentials: Option<Credentials>,
    limit: Duration,
}

/// How it ended.
pub(super) struct Output {
    pub(super) code: i32,
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: Vec<u8>,
}

impl<'a> Git<'a> {
    /// In this folder, which is there.
    pub(super) fn new(app: &'a App, folder: &Path, command: &str) -> Self {
        let mut git = Self {
            app,
            folder: folder.to_owned(),
            settings: Vec::new(),
            args: vec![command.into()],
            env: Vec::new(),
            stdin: None,
            credentials: None,
            limit: LOCAL_LIMIT,
        };
        // There is one user in a sandbox; whose the files are says nothing about who may use them.
        git.setting("safe.directory=*");
        git
    }

    /// As `-c` takes it.
    pub(super) fn setting(&mut self, setting: impl Into<OsString>) -> &mut Self {
        self.settings.extend(["-c".into(), setting.into()]);
        self
    }

    pub(super) fn arg(&mut self, arg: impl Into<OsString>) -> &mut Self {
        self.args.push(arg.into());
        self
    }

    pub(super) fn args<const N: usize>(&mut self, args: [&str; N]) -> &mut Self {
        self.args.extend(args.map(OsString::from));
        self
    }

    /// Adds a switch where it is wanted.
    pub(super) fn switch(&mut self, wanted: Option<bool>, name: &str) -> &mut Self {
        if wanted == Some(true) {
            self.arg(name);
        }
        self
    }

    pub(super) fn env(&mut self, name: &'static str, value: impl Into<OsString>) -> &mut Self {
        self.env.push((name, value.into()));
        self
    }

    pub(super) fn stdin(&mut self, text: impl Into<Vec<u8>>) -> &mut Self {
        self.stdin = Some(text.into());
        self
    }

    /// It talks to a remote.
    pub(super) fn remote(&mut self, credentials: Option<Credentials>) -> &mut Self {
        self.limit = REMOTE_LIMIT;
        self.credentials = credentials;
        self
    }

    /// What it writes if it succeeds.
    pub(super) async fn run(&mut self) -> Result<Vec<u8>> {
        let output = self.output().await?;
        if output.code == 0 {
            return Ok(output.stdout);
        }
        Err(self.failed(&output))
    }

    /// Why it failed.
    pub(super) fn failed(&self, output: &Output) -> Error {
        failure::explain(output, self.credentials.as_ref())
    }

    /// The first line of what it writes if it succeeds, and `None` if it does not.
    pub(super) async fn line(&mut self) -> Result<Option<String>> {
        let output = self.output().await?;
        let text = String::from_utf8_lossy(&output.stdout);
        Ok((output.code == 0).then(|| text.lines().next().unwrap_or_default().to_owned()))
    }

    /// How it ends. Dropping the future ends it.
    pub(super) async fn output(&mut self) -> Result<Output> {
        let program = find(search_path(&self.app.config.env), &["git"]).ok_or_else(|| {
            Error::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "GIT_NOT_INSTALLED",
                "git is not installed in this sandbox; install the package git, for example with `apt-get install git`",
            )
        })?;
        let limit = self.limit;
        let mut running = self.start(&program)?;
        match tokio::time::timeout(limit, running.finish()).await {
            Ok(output) => output,
            Err(_) => Err(Error::new(
                StatusCode::REQUEST_TIMEOUT,
                "GIT_TIMEOUT",
                format!("git took longer than {} minutes and was ended", limit.as_secs() / 60),
            )),
        }
    }

    fn start(&mut self, program: &Path) -> Result<Running> {
        let (mut command, stdin, server) = match &self.credentials {
            None => {
                let stdin = self.stdin.as_deref().map(as_stdin).transpose()?;
                (Command::new(program), stdin.map_or_else(Stdio::null, Stdio::from), None)
            }
            Some(credentials) => {
                let (server, socket) = Server::start(credentials.clone())
                    .map_err(|error| Error::internal(format!("cannot make a socket: {error}")))?;
                let mut command = Command::new("/bin/sh");
                command.args(["-c", WRAPPER, "git"]).arg(program).args(["-c", "credential.helper=", "-c"]).arg(HELPER);
                (command, OwnedFd::from(socket).into(), Some(server))
            }
        };
        command.args(&self.settings).args(&self.args).current_dir(&self.folder);
        self.surround(&mut command);
        let mut child = command
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .map_err(|error| Error::internal(format!("cannot start {}: {error}", program.display())))?;
        let stdout = Pipe::new(child.stdout.take(), OUTPUT_LIMIT, false);
        let stderr = Pipe::new(child.stderr.take(), ERRORS_LIMIT, true);
        Ok(Running { group: Some(Group::new(child)), stdout, stderr, _server: server })
    }

    /// The sandbox's environment, but for what would have git ask, page, translate, or use another repository.
    fn surround(&self, command: &mut Command) {
        const OTHERS: [&str; 6] =
            ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_CURL_VERBOSE", "LANGUAGE", "SSH_ASKPASS"];
        let sandbox = &self.app.env.get();
        let kept = |name: &&String| !OTHERS.contains(&name.as_str()) && !name.starts_with("GIT_TRACE");
        command.env_clear();
        if !sandbox.contains_key("HOME") {
            command.env("HOME", &self.app.config.home);
        }
        command.envs(sandbox.iter().filter(|(name, _)| kept(name)));
        command.envs([
            ("LC_ALL", "C"),
            ("GIT_TERMINAL_PROMPT", "0"),
            ("GIT_ASKPASS", ""),
            ("SSH_ASKPASS_REQUIRE", "never"),
            ("GIT_PAGER", "cat"),
            ("GIT_EDITOR", ":"),
        ]);
        // A repository around the one that is meant is not meant.
        if let Some(above) = self.folder.parent() {
            command.env("GIT_CEILING_DIRECTORIES", above);
        }
        for (name, value) in &self.env {
            command.env(name, value);
        }
    }
}

/// Git at work. Dropped early, it is asked to end, so that it removes its locks and what it has cloned so far.
struct Running {
    group: Option<Group>,
    stdout: Pipe,
    stderr: Pipe,
    _server: Option<Server>,
}

impl Running {
    async fn finish(&mut self) -> Result<Output> {
        let Some(group) = &mut self.group else { return Err(Error::internal("git has ended")) };
        let status = loop {
            tokio::select! {
                status = group.wait() => break status,
                () = self.stdout.read(), if !self.stdout.ended => {}
                () = self.stderr.read(), if !self.stderr.ended => {}
            }
        };
        group.running = false;
        self.group = None;
        let status = status.map_err(|error| Error::internal(format!("cannot wait for git: {error}")))?;
        // What a hook left behind may hold them.
        let rest = async {
            while !(self.stdout.ended && self.stderr.ended) {
                tokio::select! {
                    () = self.stdout.read(), if !self.stdout.ended => {}
                    () = self.stderr.read(), if !self.stderr.ended => {}
                }
            }
        };
        if tokio::time::timeout(LINGER, rest).await.is_err() {
            self.stdout.leave();
            self.stderr.leave();
        }
        if self.stdout.over {
            return Err(Error::too_large(format!("git wrote over {} MiB", OUTPUT_LIMIT >> 20)));
        }
        let (stdout, stderr) = (std::mem::take(&mut self.stdout.kept), std::mem::take(&mut self.stderr.kept));
        Ok(Output { code: exit_code(status), stdout, stderr })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let (Some(group), Ok(runtime)) = (self.group.take(), tokio::runtime::Handle::try_current()) else { return };
        group.signal(Signal::TERM);
        self.stdout.leave();
        self.stderr.leave();
        runtime.spawn(end(group));
    }
}

async fn end(mut group: Group) {
    if tokio::time::timeout(CLEAN_UP, group.wait()).await.is_ok() {
        group.running = false;
    }
}

/// What git writes.
struct Pipe {
    from: Option<Box<dyn AsyncRead + Send + Unpin>>,
    kept: Vec<u8>,
    limit: usize,
    /// Of more than the limit the end is kept, else the beginning.
    end: bool,
    over: bool,
    ended: bool,
}

impl Pipe {
    fn new(pipe: Option<impl AsyncRead + Send + Unpin + 'static>, limit: usize, end: bool) -> Self {
        let from = pipe.map(|pipe| Box::new(pipe) as Box<_>);
        Self { ended: from.is_none(), from, kept: Vec::new(), limit, end, over: false }
    }

    /// Reads once. Cancel safe.
    async fn read(&mut self) {
        let Some(pipe) = &mut self.from else { return };
        self.kept.reserve(8 << 10);
        if matches!(pipe.read_buf(&mut self.kept).await, Ok(0) | Err(_)) {
            self.ended = true;
            self.from = None;
        }
        if self.kept.len() > self.limit {
            self.over = true;
            if self.end {
                self.kept.drain(..self.kept.len() - self.limit / 2);
            } else {
                self.kept.truncate(self.limit);
            }
        }
    }

    fn leave(&mut self) {
        if let Some(pipe) = self.from.take() {
            leave(pipe);
        }
    }
}
