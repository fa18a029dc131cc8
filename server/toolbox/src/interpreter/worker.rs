//! The Python process of one context.

use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use daytona_wire::interpreter::{RunMessage, RunRequest};
use rustix::process::Signal;
use serde::Serialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::pipe::Receiver;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::process::Command;

use crate::line;
use crate::process::{self, Group};

/// What the process runs; it reads it from its stdin, so that no list of processes shows it.
const SOURCE: &str = concat!(include_str!("../after_import.py"), include_str!("worker.py"));
/// The longest message: a result with several representations.
const LINE_LIMIT: usize = 256 << 20;
const CHUNK: usize = 64 << 10;
/// After so many small pieces of output more of it is gathered: a message for each line is dear for the client.
const BURST: u32 = 32;
const GATHER: Duration = Duration::from_millis(1);
/// Output that comes while nobody runs anything is kept for the next run, as much as this.
const KEPT: usize = 64 << 10;

/// What comes from the process.
pub(super) enum Event {
    /// Output, or something the interpreter says. What was printed before it has come before it.
    Message(RunMessage),
    /// It is gone; this says how.
    Ended(String),
}

/// What the process is told.
#[derive(Serialize)]
struct Request<'a> {
    code: &'a str,
    envs: Option<&'a BTreeMap<String, String>>,
    results: bool,
}

pub(super) struct Worker {
    group: Group,
    from: OwnedReadHalf,
    to: OwnedWriteHalf,
    incoming: Vec<u8>,
    /// So much of it has no line's end.
    searched: usize,
    outgoing: BytesMut,
    stdout: Pipe,
    stderr: Pipe,
    /// What follows once the output before it is read.
    next: Option<Event>,
    /// Output that nobody has asked for yet.
    kept: VecDeque<RunMessage>,
    kept_len: usize,
    /// Small pieces of output of this run.
    pieces: u32,
}

impl Worker {
    pub(super) fn start(python: &Path, cwd: &Path, env: &BTreeMap<String, String>) -> io::Result<Self> {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let (stdout, stdout_writer) = io::pipe()?;
        let (stderr, stderr_writer) = io::pipe()?;
        let bootstrap = format!(
            "import os\n_=b''\nwhile len(_)<{0}:_+=os.read(0,{0}-len(_))\n\
             exec(compile(_,'<interpreter>','exec'),{{'__name__':'interpreter'}})",
            SOURCE.len()
        );
        let mut command = Command::new(python);
        command
            .args(["-c".into(), OsString::from(bootstrap)])
            .env_clear()
            .envs(env)
            .current_dir(cwd)
            .stdin(OwnedFd::from(theirs))
            .stdout(stdout_writer)
            .stderr(stderr_writer)
            .process_group(0);
        // There is no screen. Programs started by the code can do with this as well.
        if !env.contains_key("MPLBACKEND") {
            command.env("MPLBACKEND", "agg");
        }
        let (from, to) = UnixStream::from_std(ours)?.into_split();
        Ok(Self {
            group: Group::new(command.spawn()?),
            from,
            to,
            incoming: Vec::new(),
            searched: 0,
            outgoing: BytesMut::from(SOURCE),
            stdout: Pipe::new(stdout.into())?,
            stderr: Pipe::new(stderr.into())?,
            next: None,
            kept: VecDeque::new(),
            kept_len: 0,
            pieces: 0,
        })
    }

    /// Has it run something; what becomes of that comes from [`Self::next`].
    pub(super) fn run(&mut self, request: &RunRequest) {
        let request = Request { code: &request.code, envs: request.envs.as_ref(), results: request.results };
        let line = serde_json::to_vec(&request).unwrap_or_default();
        self.pieces = 0;
        self.outgoing.extend_from_slice(&line);
        self.outgoing.extend_from_slice(b"\n");
    }

    /// As Ctrl-C does, also for the programs that it runs.
    pub(super) fn interrupt(&self) {
        self.group.signal(Signal::INT);
    }

    /// What comes next. Cancel safe.
    pub(super) async fn next(&mut self) -> Event {
        match self.kept.pop_front() {
            Some(message) => {
                self.kept_len -= text(&message).len();
                Event::Message(message)
            }
            None => self.new_event().await,
        }
    }

    /// Reads while nothing is asked of it. Returns when it has ended, and says how. Cancel safe.
    pub(super) async fn idle(&mut self) -> String {
        loop {
            match self.new_event().await {
                Event::Message(message) => {
                    self.kept_len += text(&message).len();
                    self.kept.push_back(message);
                    while self.kept_len > KEPT
                        && let Some(oldest) = self.kept.pop_front()
                    {
                        self.kept_len -= text(&oldest).len();
                    }
                }
                Event::Ended(how) => return how,
            }
        }
    }

    async fn new_event(&mut self) -> Event {
        if self.pieces > BURST {
            tokio::time::sleep(GATHER).await;
        }
        self.pieces = self.pieces.saturating_add(1);
        loop {
            if self.next.is_none() {
                self.take_line();
            }
            if let Some(next) = &self.next {
                let last = matches!(next, Event::Ended(_) | Event::Message(RunMessage::Control { .. }));
                if let Some(text) = self.stdout.take_due(last) {
                    return Event::Message(RunMessage::Stdout { text });
                }
                if let Some(text) = self.stderr.take_due(last) {
                    return Event::Message(RunMessage::Stderr { text });
                }
            }
            if let Some(event) = self.next.take() {
                return event;
            }
            tokio::select! {
                Some(text) = self.stdout.read() => return Event::Message(RunMessage::Stdout { text }),
                Some(text) = self.stderr.read() => return Event::Message(RunMessage::Stderr { text }),
                read = self.from.read_buf(&mut self.incoming) => if !matches!(read, Ok(1..)) {
                    // It is about to end, or can no longer be talked to.
                    self.group.kill();
                    let status = self.group.wait().await;
                    self.ended(status);
                },
                written = self.to.write(&self.outgoing), if !self.outgoing.is_empty() => {
                    // If nobody reads it has ended, which the others notice.
                    let written = written.unwrap_or(self.outgoing.len());
                    self.outgoing.advance(written);
                }
                status = self.group.wait() => self.ended(status),
            }
        }
    }

    /// Looks for a message in what has come.
    fn take_line(&mut self) {
        let Some(end) = memchr::memchr(b'\n', &self.incoming[self.searched..]) else {
            self.searched = self.incoming.len();
            if self.searched > LINE_LIMIT {
                self.fail("sent too long a message");
            }
            return;
        };
        let end = self.searched + end;
        let message = serde_json::from_slice(&self.incoming[..end]);
        self.incoming.drain(..=end);
        self.searched = 0;
        if self.incoming.is_empty() {
            self.incoming = Vec::new();
        }
        let Ok(message) = message else {
            return self.fail("sent a message that cannot be read");
        };
        if let RunMessage::Result { .. } = message {
            self.outgoing.extend_from_slice(b"\n");
        }
        self.follows(Event::Message(message));
    }

    fn fail(&mut self, what: &str) {
        self.group.signal(Signal::KILL);
        self.follows(Event::Ended(what.to_owned()));
    }

    fn ended(&mut self, status: io::Result<ExitStatus>) {
        self.group.running = false;
        if line::ending() {
            // What it has started has its time to end too.
            self.stdout.keep_open();
            self.stderr.keep_open();
        }
        self.follows(Event::Ended(match status {
            Ok(status) => match (status.code(), status.signal()) {
                (Some(code), _) => format!("ended with exit code {code}"),
                (None, Some(signal)) => format!("was killed by signal {signal}"),
                (None, None) => "ended".to_owned(),
            },
            Err(error) => format!("cannot be waited for: {error}"),
        }));
    }

    /// Comes after what is in the pipes now.
    fn follows(&mut self, event: Event) {
        self.stdout.all_is_due();
        self.stderr.all_is_due();
        self.next = Some(event);
    }
}

fn text(message: &RunMessage) -> &str {
    match message {
        RunMessage::Stdout { text } | RunMessage::Stderr { text } => text,
        _ => "",
    }
}

/// The reading end of stdout or stderr.
struct Pipe {
    receiver: Receiver,
    bytes: Vec<u8>,
    /// So much of what is in the pipe comes before the next message.
    due: usize,
    ended: bool,
}

impl Pipe {
    fn new(receiver: OwnedFd) -> io::Result<Self> {
        let receiver = Receiver::from_owned_fd(receiver)?;
        Ok(Self { receiver, bytes: Vec::new(), due: 0, ended: false })
    }

    /// What still writes to it meets no SIGPIPE when this is dropped.
    fn keep_open(&self) {
        let copied = self.receiver.as_fd().try_clone_to_owned();
        if let Ok(receiver) = copied.and_then(Receiver::from_owned_fd) {
            process::leave(receiver);
        }
    }

    /// What has come; `None` after the end. Cancel safe.
    async fn read(&mut self) -> Option<String> {
        while !self.ended {
            self.bytes.reserve(CHUNK);
            // An error of a pipe is its end.
            self.ended = !matches!(self.receiver.read_buf(&mut self.bytes).await, Ok(1..));
            let text = self.text(self.ended);
            if !text.is_empty() {
                return Some(text);
            }
        }
        None
    }

    fn all_is_due(&mut self) {
        let there = rustix::io::ioctl_fionread(&self.receiver).unwrap_or(0);
        self.due = usize::try_from(there).unwrap_or(0);
    }

    /// The next part of what is due; `last` if a character that is not whole will not become so.
    fn take_due(&mut self, last: bool) -> Option<String> {
        while self.due > 0 {
            let mut chunk = vec![0; self.due.min(CHUNK)];
            // Not through the runtime, which may not know yet that there is something to read.
            let read = rustix::io::read(&self.receiver, &mut chunk).unwrap_or(0);
            self.due = if read == 0 { 0 } else { self.due - read };
            self.bytes.extend_from_slice(&chunk[..read]);
            let text = self.text(false);
            if !text.is_empty() {
                return Some(text);
            }
        }
        last.then(|| self.text(true)).filter(|text| !text.is_empty())
    }

    /// Takes all whole characters, or really all.
    fn text(&mut self, all: bool) -> String {
        let end = self.bytes.len() - if all { 0 } else { unfinished(&self.bytes) };
        let text = String::from_utf8_lossy(&self.bytes[..end]).into_owned();
        self.bytes.drain(..end);
        text
    }
}

/// The length of a character at the end that may go on.
fn unfinished(bytes: &[u8]) -> usize {
    let tail = &bytes[bytes.len().saturating_sub(3)..];
    (0..tail.len())
        .find(|&start| {
            std::str::from_utf8(&tail[start..]).is_err_and(|e| e.valid_up_to() == 0 && e.error_len().is_none())
        })
        .map_or(0, |start| tail.len() - start)
}

#[cfg(test)]
mod tests {
    use super::unfinished;

    #[test]
    fn characters_stay_whole() {
        for (bytes, length) in [
            (&b""[..], 0),
            (b"a", 0),
            ("é".as_bytes(), 0),
            (b"a\xc3", 1),
            (b"\xf0\x9f\x8e", 3),
            (b"x\xf0\x9f", 2),
            (b"\xff", 0),
            (b"\x80\x80\x80", 0),
            (b"\xe2\x82a", 0),
            (b"\xf5\x80", 0),
        ] {
            assert_eq!(unfinished(bytes), length, "{bytes:?}");
        }
    }
}
