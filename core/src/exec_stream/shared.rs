//! What the handle of a command shares with the task that talks to the server.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::{Buf, BytesMut};
use daytona_wire::exec_stream::WINDOW;
use tokio::sync::{Notify, oneshot, watch};

use crate::error::{Error, ErrorKind, Result};
use crate::output::{Feed, Pipe, wait};

pub(super) const KILL: u8 = 9;
pub(super) const TERM: u8 = 15;

/// Linux's names, from 1.
const SIGNALS: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM", "TERM",
    "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO",
    "PWR", "SYS",
];
const LAST_SIGNAL: u8 = 64;

/// The number of a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Signal(pub(super) u8);

impl Signal {
    pub(super) fn parse(text: &str) -> Result<Self> {
        let name = text.trim().to_ascii_uppercase();
        let name = name.strip_prefix("SIG").unwrap_or(&name);
        let by_name = (1..).zip(SIGNALS).find(|(_, known)| *known == name).map(|(number, _)| number);
        let number = by_name.or_else(|| name.parse().ok()).filter(|number| (1..=LAST_SIGNAL).contains(number));
        number.map(Self).ok_or_else(|| {
            Error::invalid(format!("{text:?} is not a signal: use a name such as SIGINT, or a number from 1 to 64"))
        })
    }
}

#[derive(Default)]
pub(super) struct Shared {
    pub(super) pipe: Arc<Pipe>,
    pub(super) exit_code: OnceLock<i32>,
    input: Mutex<Input>,
    /// Of a writer: writes that come at once go whole, one after another.
    turn: tokio::sync::Mutex<()>,
    /// For the task: there is something to send.
    pub(super) changed: Notify,
    /// For writers: there is room, or nobody reads.
    moved: Notify,
    is_closing: AtomicBool,
    pub(super) sequel: OnceLock<Sequel>,
    only_ends: AtomicBool,
}

/// What is done once the command has ended, before that is told.
pub(crate) struct Sequel {
    /// Closed when it is done.
    pub(crate) done: watch::Receiver<()>,
    /// What to do about a time limit.
    pub(crate) timeout_hint: String,
}

/// What is to be sent.
#[derive(Default)]
pub(super) struct Input {
    /// Bytes of stdin that the server has not taken.
    pub(super) waiting: BytesMut,
    /// Offset of the first of those.
    pub(super) begin: u64,
    /// The caller writes no more.
    pub(super) is_over: bool,
    /// Nobody reads any more.
    is_closed: bool,
    pub(super) signals: Vec<Signal>,
    /// Sent again with each connection: it may have been lost with the last.
    pub(super) is_killed: bool,
}

impl Input {
    pub(super) fn end(&self) -> u64 {
        self.begin + self.waiting.len() as u64
    }
}

impl Shared {
    pub(super) fn input(&self) -> MutexGuard<'_, Input> {
        self.input.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_closing(&self) -> bool {
        self.is_closing.load(Ordering::Relaxed)
    }

    /// Of the signals, the server knows only those that end a command.
    pub(super) fn only_end(&self) {
        self.only_ends.store(true, Ordering::Relaxed);
    }

    pub(super) async fn write(&self, mut bytes: &[u8]) -> Result<()> {
        let _turn = self.turn.lock().await;
        while !bytes.is_empty() {
            let written = wait(&self.moved, || self.write_some(bytes)).await?;
            bytes = &bytes[written..];
            self.changed.notify_one();
        }
        Ok(())
    }

    fn write_some(&self, bytes: &[u8]) -> Option<Result<usize>> {
        let mut input = self.input();
        if input.is_over {
            return Some(Err(Error::invalid("stdin was closed by close_stdin")));
        }
        if input.is_closed {
            let gone =
                || Error::new(ErrorKind::CommandAlreadyCompleted, "the command does not read its stdin any more");
            return Some(Err(self.pipe.failure().unwrap_or_else(gone)));
        }
        let room = WINDOW - input.waiting.len().min(WINDOW);
        let length = room.min(bytes.len());
        input.waiting.extend_from_slice(&bytes[..length]);
        (length > 0).then_some(Ok(length))
    }

    pub(super) fn end_input(&self) {
        self.input().is_over = true;
        self.changed.notify_one();
    }

    pub(super) fn signal(&self, signal: Signal) -> Result<()> {
        if self.exit_code.get().is_some() {
            return Ok(());
        }
        if let Some(error) = self.pipe.failure() {
            return Err(error);
        }
        if self.only_ends.load(Ordering::Relaxed) && !matches!(signal.0, KILL | TERM) {
            return Err(Error::new(ErrorKind::Unsupported, "this server can only end a command: SIGTERM or SIGKILL")
                .with_hint("Send other signals with a command of their own: kill"));
        }
        let mut input = self.input();
        if signal.0 == KILL {
            input.is_killed = true;
        } else {
            input.signals.push(signal);
        }
        drop(input);
        self.changed.notify_one();
        Ok(())
    }

    /// The server has taken what was before `offset`.
    pub(super) fn taken(&self, offset: u64) {
        let mut input = self.input();
        let count = usize::try_from(offset.saturating_sub(input.begin)).unwrap_or(usize::MAX).min(input.waiting.len());
        input.waiting.advance(count);
        input.begin += count as u64;
        drop(input);
        self.moved.notify_waiters();
    }

    /// Nobody reads stdin any more.
    pub(super) fn close_input(&self) {
        let mut input = self.input();
        input.is_closed = true;
        input.begin = input.end();
        input.waiting = BytesMut::new();
        drop(input);
        self.moved.notify_waiters();
    }

    pub(super) fn close(&self) {
        self.pipe.finish(Ok(()));
        self.is_closing.store(true, Ordering::Relaxed);
        self.close_input();
        self.changed.notify_one();
    }

    /// It has ended, and all its output has been pushed.
    pub(super) fn exited(&self, exit_code: i32, timed_out: bool) {
        let _ = self.exit_code.set(exit_code);
        let over = || overdue("the command ran over its time limit and was killed");
        self.pipe.finish(if timed_out { Err(over()) } else { Ok(()) });
        self.close_input();
    }
}

/// Its time limit is over.
pub(super) fn overdue(what: impl Into<String>) -> Error {
    Error::new(ErrorKind::ProcessExecutionTimeout, what)
        .with_operation(super::OPERATION)
        .with_hint("Pass a longer timeout, or 0 for none")
}

/// The handle's side.
pub(super) struct Owner(pub(super) Arc<Shared>);

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// The task's side: whoever waits learns of its end, however it comes.
pub(super) struct Running {
    pub(super) shared: Arc<Shared>,
    opened: Option<oneshot::Sender<Result<()>>>,
    feed: Feed,
}

impl Running {
    pub(super) fn new(shared: Arc<Shared>, opened: oneshot::Sender<Result<()>>) -> Self {
        let feed = Feed(Arc::clone(&shared.pipe));
        Self { shared, opened: Some(opened), feed }
    }

    /// The command runs.
    pub(super) fn opened(&mut self) {
        if let Some(opened) = self.opened.take() {
            let _ = opened.send(Ok(()));
        }
    }

    pub(super) fn finish(mut self, result: Result<()>) {
        if let Some(opened) = self.opened.take() {
            let _ = opened.send(result.clone());
        }
        self.feed.finish(result);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shared.close_input();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_names_and_numbers() {
        for (text, number) in [("SIGINT", 2), ("int", 2), ("2", 2), (" SIGKILL ", 9), ("SYS", 31), ("64", 64)] {
            assert_eq!(Signal::parse(text).unwrap(), Signal(number));
        }
        for text in ["", "SIG", "0", "65", "-1", "SIGNOPE", "9; true"] {
            assert_eq!(Signal::parse(text).unwrap_err().kind(), ErrorKind::InvalidArgument);
        }
    }

    #[tokio::test]
    async fn writers_wait_for_room_and_learn_that_nobody_reads() {
        let shared = Shared::default();
        shared.write(&vec![0; WINDOW]).await.unwrap();
        let reader = async {
            shared.taken(4);
            shared.close_input();
        };
        let (written, ()) = tokio::join!(shared.write(b"more and more"), reader);
        assert_eq!(written.unwrap_err().kind(), ErrorKind::CommandAlreadyCompleted);
        assert!(shared.write(b"again").await.is_err());
    }

    #[tokio::test]
    async fn writes_at_once_stay_whole_and_in_order() {
        let shared = Shared::default();
        let (first, second) = (vec![1; WINDOW + 10], vec![2; WINDOW]);
        let reader = async {
            let mut read = Vec::new();
            while read.len() < first.len() + second.len() {
                read.extend_from_slice(&shared.input().waiting);
                let end = shared.input().end();
                shared.taken(end);
                tokio::task::yield_now().await;
            }
            read
        };
        let (one, other, read) = tokio::join!(shared.write(&first), shared.write(&second), reader);
        one.unwrap();
        other.unwrap();
        assert_eq!(read, [first.clone(), second.clone()].concat());
    }
}
