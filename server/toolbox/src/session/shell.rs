//! The shell of a session, and the pipes of its commands.
//!
//! The shell reads its script from a pipe and gets two lines a command: one sources a file with
//! the command in it, the other reports the exit code. Sourcing keeps directories, variables and
//! functions, and takes whatever a script may hold, of any length. Each command has named pipes of
//! its own, so that what a background job writes later still goes to the log of its command.

use std::fmt::Write as _;
use std::fs::{OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::process::Stdio;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::process::Pid;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe::{self, Sender};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::collect::Outputs;
use crate::App;
use crate::error::{Error, Result};
use crate::process;

/// Starts an exit code on the shell's stdout; what traps print there between commands is skipped.
const MARK: u8 = 0x1e;

pub(super) struct Shell {
    pub(super) child: Child,
    script: ChildStdin,
    codes: Codes,
    last: i32,
}

impl Shell {
    pub(super) fn start(app: &App) -> Result<Self> {
        let work_dir = &app.config.work_dir;
        if !work_dir.is_dir() {
            return Err(Error::internal(format!(
                "the working directory {} does not exist or is no directory; create it again",
                work_dir.display()
            )));
        }
        let shell = process::shell();
        // A kernel session of its own, where the program for that is there; else a group.
        let setsid = ["/usr/bin/setsid", "/bin/setsid"].into_iter().find(|path| Path::new(path).exists());
        let mut command = if let Some(setsid) = setsid {
            let mut command = Command::new(setsid);
            command.arg(&shell);
            command
        } else {
            let mut command = Command::new(&shell);
            command.process_group(0);
            command
        };
        let mut child = command
            .arg("-s")
            .env_clear()
            .envs(process::environment(app, None)?)
            .current_dir(work_dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| Error::internal(format!("cannot start {}: {error}", shell.display())))?;
        let (Some(script), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(Error::internal("the shell has no pipes; try again"));
        };
        Ok(Self { child, script, codes: Codes { output, number: None }, last: 0 })
    }

    pub(super) fn pid(&self) -> Option<Pid> {
        self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw)
    }

    /// Runs the command in `files`; gives its exit code, and whether the shell ended with it.
    pub(super) async fn run(&mut self, files: &Files) -> (i32, bool) {
        let mut lines = String::new();
        if self.last != 0 {
            // `$?` is the last command's. With `set -e` this would end the shell.
            let _ = writeln!(lines, "case $- in *e*) ;; *) (exit {}) ;; esac", self.last);
        }
        let [command, stdin, stdout, stderr] = [COMMAND, STDIN, STDOUT, STDERR].map(|name| files.quoted(name));
        let _ = writeln!(lines, "command . {command} <{stdin} >|{stdout} 2>|{stderr}");
        lines.push_str("command printf '\\036%d\\n' \"$?\"\n");
        // A shell that takes no more has ended.
        let _ = self.script.write_all(lines.as_bytes()).await;
        tokio::select! {
            biased;
            Some(code) = self.codes.next() => {
                self.last = code;
                (code, false)
            }
            code = Self::wait(&mut self.child) => (code, true),
        }
    }

    /// Waits for the shell's end.
    pub(super) async fn ended(&mut self) -> i32 {
        Self::wait(&mut self.child).await
    }

    async fn wait(child: &mut Child) -> i32 {
        child.wait().await.map_or(-1, process::exit_code)
    }
}

/// Exit codes from the shell's stdout.
struct Codes {
    output: ChildStdout,
    number: Option<String>,
}

impl Codes {
    /// The next one; `None` when the shell reports no more. Cancel safe.
    async fn next(&mut self) -> Option<i32> {
        loop {
            // Byte by byte: a few bytes a command.
            let byte = self.output.read_u8().await.ok()?;
            match (byte, &mut self.number) {
                (MARK, number) => *number = Some(String::new()),
                (b'\n', Some(_)) => {
                    if let Some(Ok(code)) = self.number.take().map(|number| number.parse()) {
                        return Some(code);
                    }
                }
                (b'0'..=b'9', Some(number)) if number.len() < 4 => number.push(char::from(byte)),
                (_, number) => *number = None,
            }
        }
    }
}

const COMMAND: &str = "command";
const STDIN: &str = "stdin";
const STDOUT: &str = "stdout";
const STDERR: &str = "stderr";

/// A private folder with a command and its named pipes, made when the command starts.
pub(super) struct Files {
    folder: TempDir,
}

impl Files {
    /// The folder, the writing end of the command's stdin, and what reads its output.
    pub(super) fn new(command: &str) -> Result<(Self, Sender, Outputs)> {
        Self::make(command).map_err(|error| {
            let folder = std::env::temp_dir();
            match error.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                    Error::io(&error, "write the command to a folder in", folder)
                }
                _ => Error::internal(format!(
                    "cannot write the command to a folder in {}: {error}; it has to be a directory that the \
                     sandbox's user may write to",
                    folder.display()
                )),
            }
        })
    }

    fn make(command: &str) -> io::Result<(Self, Sender, Outputs)> {
        let private = Permissions::from_mode(0o700);
        let folder = tempfile::Builder::new().prefix("session-").permissions(private).tempdir()?;
        let path = |name| folder.path().join(name);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path(COMMAND))?;
        file.write_all(command.as_bytes())?;
        for name in [STDIN, STDOUT, STDERR] {
            rustix::fs::mkfifoat(CWD, path(name), Mode::RUSR | Mode::WUSR)?;
        }
        // With a reader of its own the pipe takes input before the command reads any.
        let stdin = pipe::OpenOptions::new().read_write(true).open_sender(path(STDIN))?;
        let reader = |name| pipe::OpenOptions::new().open_receiver(path(name));
        let (stdout, stderr) = (reader(STDOUT)?, reader(STDERR)?);
        let nonblocking = OFlags::NONBLOCK.bits().cast_signed();
        let writer = |name| OpenOptions::new().write(true).custom_flags(nonblocking).open(path(name));
        let outputs = Outputs::new(stdout, stderr, [writer(STDOUT)?, writer(STDERR)?]);
        Ok((Self { folder }, stdin, outputs))
    }

    /// In single quotes for the shell.
    fn quoted(&self, name: &str) -> String {
        let path = self.folder.path().join(name);
        format!("'{}'", path.to_string_lossy().replace('\'', r"'\''"))
    }
}
