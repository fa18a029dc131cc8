//! The shell of a session, and the pipes of its commands.
//!
//! The shell reads its script from a pipe and gets two lines a command: one sources a file with
//! the command in it, the other reports the exit code. Sourcing keeps directories, variables and
//! functions, and takes whatever a script may hold, of any length. Each command has named pipes of
//! its own, so that what a background job writes later still goes to the log of its command.
//!
//! A command may leave a shell that reports nothing any more, as `set -n` does. Such a shell still
//! reads its script, which a shell whose command runs does not: that tells one from the other.

use std::fmt::Write as _;
use std::fs::{OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

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

/// How often a command that runs is looked after: first, and at most.
const FIRST_LOOK: Duration = Duration::from_millis(50);
const LAST_LOOK: Duration = Duration::from_secs(2);
/// How long a report is waited for that has been written, if it was.
const REPORT: Duration = Duration::from_secs(2);

/// Has the shell read its script from elsewhere than its stdin, where commands and traps would meet it; bash also crashes
/// on a command such as `exec 3<&0` then.
const START: &str = r#"exec "$0" /dev/fd/9 9<&0 </dev/null"#;

pub(super) struct Shell {
    child: Child,
    script: ChildStdin,
    codes: Codes,
    last: i32,
    /// What the script begins with.
    preface: String,
}

/// How a command ended.
pub(super) enum End {
    /// With this exit code; the shell goes on.
    Code(i32),
    /// With its shell, and its exit code.
    Shell(i32),
    /// The shell took what came after it and did not report: it runs nothing any more. It was killed.
    Silent,
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
            command.arg("/bin/sh");
            command
        } else {
            let mut command = Command::new("/bin/sh");
            command.process_group(0);
            command
        };
        let mut child = command
            .args(["-c", START])
            .arg(&shell)
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
        // Commands inherit nothing of it, and `$0` is the shell's name, where that can be set.
        let preface = format!("exec 9<&-\nBASH_ARGV0={}\n", shell.display());
        Ok(Self { child, script, codes: Codes { output, number: None }, last: 0, preface })
    }

    pub(super) fn pid(&self) -> Option<Pid> {
        self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw)
    }

    /// Runs the command in `files` to its end.
    pub(super) async fn run(&mut self, files: &Files) -> End {
        let Self { child, script, codes, last, preface } = self;
        let mut lines = std::mem::take(preface);
        // The backslash keeps aliases away, and `command` functions.
        if *last != 0 {
            // `$?` is the last command's. With `set -e` this would end the shell.
            let _ = writeln!(lines, "case $- in *e*) ;; *) (\\command exit {last}) ;; esac");
        }
        let [command, stdout, stderr] = [COMMAND, STDOUT, STDERR].map(|name| files.quoted(name));
        let stdin = if files.takes_input { files.quoted(STDIN) } else { "/dev/null".to_owned() };
        let _ = writeln!(lines, "\\command . {command} <{stdin} >|{stdout} 2>|{stderr}");
        lines.push_str("\\command printf '\\036%d\\n' \"$?\"\n");
        // A shell that takes no more has ended.
        let _ = script.write_all(lines.as_bytes()).await;
        let end = tokio::select! {
            biased;
            Some(code) = codes.next() => End::Code(code),
            code = Self::wait(child) => End::Shell(code),
            () = all_taken(script) => tokio::select! {
                biased;
                Some(code) = codes.next() => End::Code(code),
                code = Self::wait(child) => End::Shell(code),
                () = tokio::time::sleep(REPORT) => {
                    let _ = child.kill().await;
                    End::Silent
                }
            },
        };
        if let End::Code(code) = end {
            *last = code;
        }
        end
    }

    /// Waits for the shell's end.
    pub(super) async fn ended(&mut self) -> i32 {
        Self::wait(&mut self.child).await
    }

    async fn wait(child: &mut Child) -> i32 {
        child.wait().await.map_or(-1, process::exit_code)
    }
}

/// Returns when the shell has taken all of its script, and then an empty line more: what came before has run, or never
/// will. One that reads in blocks takes all at once, but the empty line not before it wants to go on.
async fn all_taken(script: &mut ChildStdin) {
    let mut pause = FIRST_LOOK;
    let mut added = false;
    loop {
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LAST_LOOK);
        // Where that cannot be known, nothing is.
        if !matches!(rustix::io::ioctl_fionread(&*script), Ok(0)) {
            continue;
        }
        if added {
            return;
        }
        if script.write_all(b"\n").await.is_err() {
            // Nobody reads it: the shell has ended, or became another program.
            return std::future::pending().await;
        }
        added = true;
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
    takes_input: bool,
}

impl Files {
    /// The folder, the writing end of the command's stdin if it takes input, and what reads its output.
    pub(super) fn new(command: &str, takes_input: bool) -> Result<(Self, Option<Sender>, Outputs)> {
        Self::make(command, takes_input).map_err(|error| {
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

    fn make(command: &str, takes_input: bool) -> io::Result<(Self, Option<Sender>, Outputs)> {
        let private = Permissions::from_mode(0o700);
        let folder = tempfile::Builder::new().prefix("session-").permissions(private).tempdir()?;
        let path = |name| folder.path().join(name);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path(COMMAND))?;
        file.write_all(command.as_bytes())?;
        let pipe = |name| rustix::fs::mkfifoat(CWD, path(name), Mode::RUSR | Mode::WUSR);
        pipe(STDOUT)?;
        pipe(STDERR)?;
        let stdin = if takes_input {
            pipe(STDIN)?;
            // With a reader of its own the pipe takes input before the command reads any.
            Some(pipe::OpenOptions::new().read_write(true).open_sender(path(STDIN))?)
        } else {
            None
        };
        let reader = |name| pipe::OpenOptions::new().open_receiver(path(name));
        let (stdout, stderr) = (reader(STDOUT)?, reader(STDERR)?);
        let nonblocking = OFlags::NONBLOCK.bits().cast_signed();
        let writer = |name| OpenOptions::new().write(true).custom_flags(nonblocking).open(path(name));
        let outputs = Outputs::new(stdout, stderr, [writer(STDOUT)?, writer(STDERR)?]);
        Ok((Self { folder, takes_input }, stdin, outputs))
    }

    /// In single quotes for the shell.
    fn quoted(&self, name: &str) -> String {
        let path = self.folder.path().join(name);
        format!("'{}'", path.to_string_lossy().replace('\'', r"'\''"))
    }
}
