//! What a command, its task and its connections share.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::StatusCode;
use daytona_wire::error::code;
use daytona_wire::exec_stream::WINDOW;
use rustix::process::Signal;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::output::{FRAME, Output};
use super::signal;
use crate::error::{Error, Result};

/// Less room than this is no reason to read.
const LEAST_ROOM: usize = 16 << 10;

/// How it ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Exit {
    pub(super) exit_code: i32,
    pub(super) timed_out: bool,
}

/// What a command, its task and its connections share.
pub(super) struct Running {
    state: Mutex<Shared>,
    /// Wakes the task that reads the output.
    room: Notify,
    /// Wakes the task that writes to stdin.
    pub(super) input: Notify,
    /// Wakes the task that looks after connections and signals.
    control: Notify,
    grace: Duration,
}

#[derive(Default)]
pub(super) struct Shared {
    pub(super) output: Output,
    pub(super) stdin: Stdin,
    pub(super) exit: Option<Exit>,
    signals: VecDeque<Signal>,
    /// Number and waker of the connection there is.
    client: Option<(u64, Arc<Notify>)>,
    connections: u64,
    /// When the last connection was lost.
    lost: Option<Instant>,
    /// Nobody wants anything more of it.
    closed: bool,
}

/// Bytes on their way to the command.
#[derive(Default)]
pub(super) struct Stdin {
    pub(super) waiting: VecDeque<u8>,
    /// Bytes written to the pipe.
    pub(super) taken: u64,
    pub(super) eof: Option<u64>,
    /// The pipe is closed.
    pub(super) closed: bool,
}

impl Stdin {
    /// Offset of the first byte that has not come from the client.
    fn received(&self) -> u64 {
        self.taken + self.waiting.len() as u64
    }

    /// Closed, though the client has not closed it.
    pub(super) fn refused(&self) -> bool {
        self.closed && self.eof != Some(self.taken)
    }
}

impl Shared {
    pub(super) fn wake(&self) {
        if let Some((_, client)) = &self.client {
            client.notify_one();
        }
    }

    pub(super) fn belongs_to(&self, number: u64) -> bool {
        self.client.as_ref().is_some_and(|(client, _)| *client == number)
    }

    fn check_offset(&self, offset: u64) -> Result<()> {
        let (start, end) = (self.output.start(), self.output.end());
        if offset < start {
            return Err(Error::bad_request(format!(
                "output from {offset} on was asked for, but what is before {start} was acknowledged and is gone"
            )));
        }
        if offset > end {
            return Err(Error::bad_request(format!("there is no output at {offset} yet, only up to {end}")));
        }
        Ok(())
    }
}

impl Running {
    pub(super) fn new(grace: Duration) -> Self {
        Self { state: Mutex::default(), room: Notify::new(), input: Notify::new(), control: Notify::new(), grace }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Shared> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn check_offset(&self, offset: u64) -> Result<()> {
        self.lock().check_offset(offset)
    }

    /// Makes a connection the only one; gives its number, its waker and how much of stdin was taken.
    pub(super) fn attach(&self, offset: u64) -> Result<(u64, Arc<Notify>, u64)> {
        let mut state = self.lock();
        if state.closed {
            return Err(Error::new(StatusCode::NOT_FOUND, code::PROCESS_NOT_FOUND, "the command was given up"));
        }
        state.check_offset(offset)?;
        state.output.forget(offset);
        state.wake();
        state.connections += 1;
        let (number, waker) = (state.connections, Arc::new(Notify::new()));
        state.client = Some((number, Arc::clone(&waker)));
        self.room.notify_one();
        self.control.notify_one();
        Ok((number, waker, state.stdin.taken))
    }

    /// The connection is gone; another may come.
    pub(super) fn detach(&self, number: u64) {
        let mut state = self.lock();
        if state.belongs_to(number) {
            state.client = None;
            state.lost = Some(Instant::now());
            self.control.notify_one();
        }
    }

    /// The client wants nothing more.
    pub(super) fn close(&self, number: u64) {
        let mut state = self.lock();
        if state.belongs_to(number) {
            state.closed = true;
            self.control.notify_one();
        }
    }

    /// Bytes for stdin; those that came before are passed over.
    pub(super) fn write(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        let mut state = self.lock();
        let stdin = &mut state.stdin;
        let received = stdin.received();
        let Some(known) = received.checked_sub(offset) else {
            return Err(Error::bad_request(format!("bytes {received} to {offset} of stdin did not come")));
        };
        let new = usize::try_from(known).ok().and_then(|known| bytes.get(known..)).unwrap_or_default();
        if new.is_empty() || stdin.closed {
            return Ok(());
        }
        if stdin.eof.is_some() {
            return Err(Error::bad_request("there are bytes for stdin after its end"));
        }
        if stdin.waiting.len() + new.len() > WINDOW {
            return Err(Error::bad_request(format!("more than {WINDOW} bytes for stdin are not acknowledged")));
        }
        stdin.waiting.extend(new);
        self.input.notify_one();
        Ok(())
    }

    pub(super) fn end_input(&self, offset: u64) -> Result<()> {
        let mut state = self.lock();
        if state.stdin.closed {
            return Ok(());
        }
        let received = state.stdin.received();
        if offset != received {
            return Err(Error::bad_request(format!("stdin is said to end at {offset}, but {received} bytes came")));
        }
        state.stdin.eof = Some(offset);
        self.input.notify_one();
        Ok(())
    }

    /// The client has all output before `offset`.
    pub(super) fn acknowledge(&self, offset: u64) -> Result<()> {
        let mut state = self.lock();
        let end = state.output.end();
        if offset > end {
            return Err(Error::bad_request(format!("output up to {offset} is acknowledged, there is only {end}")));
        }
        state.output.forget(offset);
        state.wake();
        self.room.notify_one();
        Ok(())
    }

    pub(super) fn signal(&self, name: &str) -> Result<()> {
        let signal = signal::parse(name).ok_or_else(|| {
            Error::bad_request(format!("{name:?} is no signal; give a name such as SIGTERM or a number from 1 to 31"))
        })?;
        let mut state = self.lock();
        if state.exit.is_none() {
            state.signals.push_back(signal);
            self.control.notify_one();
        }
        Ok(())
    }

    /// Waits until output is worth reading; says how much may be read.
    pub(super) async fn room(&self) -> usize {
        loop {
            let room = self.lock().output.room();
            if room >= LEAST_ROOM {
                return room.min(FRAME);
            }
            self.room.notified().await;
        }
    }

    /// The next thing to do to the command: a signal, or `None` for giving it up.
    pub(super) async fn order(&self) -> Option<Signal> {
        loop {
            let deadline = {
                let mut state = self.lock();
                if state.closed {
                    return None;
                }
                if let Some(signal) = state.signals.pop_front() {
                    return Some(signal);
                }
                let deadline = state.lost.filter(|_| state.client.is_none()).map(|lost| lost + self.grace);
                if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                    state.closed = true;
                    return None;
                }
                deadline
            };
            let Some(deadline) = deadline else {
                self.control.notified().await;
                continue;
            };
            tokio::select! {
                () = self.control.notified() => {}
                () = tokio::time::sleep_until(deadline) => {}
            }
        }
    }
}
