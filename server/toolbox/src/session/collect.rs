//! Reads what commands write into their logs.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::unix::pipe::Receiver;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::log::{HEAD, Stream};
use super::{Command, Outcome};

/// How long the output of an ended command is awaited while something it left behind holds a pipe.
const LINGER: Duration = Duration::from_millis(100);

/// Read from a pipe at once: what one holds.
const BLOCK: usize = 64 << 10;

/// The pipes of a command.
pub(super) struct Outputs {
    sources: [Source; 2],
    /// Keep the pipes from ending before the shell has opened them.
    writers: Option<[File; 2]>,
}

struct Source {
    stream: Stream,
    /// `None` after its end.
    pipe: Option<Receiver>,
    /// Bytes that were in the pipe when the command ended and are not read yet.
    owed: u64,
}

/// Reads the pipes until nobody can write to them any more. Told the outcome, it marks the
/// command as ended once the log has what the pipes held at that time.
pub(super) fn start(command: Arc<Command>, outputs: Outputs) -> oneshot::Sender<Outcome> {
    let (ended, end) = oneshot::channel();
    tokio::spawn(collect(command, outputs, end));
    ended
}

async fn collect(command: Arc<Command>, mut outputs: Outputs, mut end: oneshot::Receiver<Outcome>) {
    let outcome = loop {
        tokio::select! {
            biased;
            outcome = &mut end => break outcome.unwrap_or(Ok(-1)),
            () = outputs.read(&command), if outputs.open() => {}
        }
    };
    command.progress.send_modify(|progress| progress.ending = true);
    *command.stdin.lock().await = None;
    outputs.writers = None;
    outputs.measure();
    let deadline = Instant::now() + LINGER;
    while outputs.open() {
        if outputs.owing() {
            outputs.read(&command).await;
        } else if timeout_at(deadline, outputs.read(&command)).await.is_err() || Instant::now() >= deadline {
            break;
        }
    }
    command.end(outcome);
    while outputs.open() {
        outputs.read(&command).await;
    }
}

impl Outputs {
    pub(super) fn new(stdout: Receiver, stderr: Receiver, writers: [File; 2]) -> Self {
        let source = |stream, pipe| Source { stream, pipe: Some(pipe), owed: 0 };
        Self { sources: [source(Stream::Stdout, stdout), source(Stream::Stderr, stderr)], writers: Some(writers) }
    }

    fn open(&self) -> bool {
        self.sources.iter().any(|source| source.pipe.is_some())
    }

    fn measure(&mut self) {
        for source in &mut self.sources {
            source.owed = source.pipe.as_ref().and_then(|pipe| rustix::io::ioctl_fionread(pipe).ok()).unwrap_or(0);
        }
    }

    fn owing(&self) -> bool {
        self.sources.iter().any(|source| source.pipe.is_some() && source.owed > 0)
    }

    /// Reads once from whatever has something. Cancel safe.
    async fn read(&mut self, command: &Command) {
        let [stdout, stderr] = &mut self.sources;
        tokio::select! {
            biased;
            () = stdout.ready() => stdout.read(command),
            () = stderr.ready() => stderr.read(command),
        }
        // stderr has its turn too, and so have others.
        if stderr.pipe.is_some() {
            stderr.read(command);
        }
        tokio::task::yield_now().await;
    }
}

impl Source {
    async fn ready(&self) {
        match &self.pipe {
            // The read tells of an error.
            Some(pipe) => drop(pipe.readable().await),
            None => std::future::pending().await,
        }
    }

    fn read(&mut self, command: &Command) {
        let Some(pipe) = &self.pipe else { return };
        let mut record = vec![0; HEAD + BLOCK];
        match pipe.try_read(&mut record[HEAD..]) {
            Ok(0) => self.pipe = None,
            Ok(size) => {
                self.owed = self.owed.saturating_sub(size as u64);
                command.grow(command.log.append(self.stream, &mut record[..HEAD + size]));
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => self.pipe = None,
        }
    }
}
