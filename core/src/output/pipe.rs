//! Output between the task that reads it and whoever takes it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;

use super::{Batch, Decoder, OutputChunk, OutputStream};
use crate::error::{Error, ErrorKind, Result};

/// Output that waits to be taken; beyond it nothing more is read, and the server waits.
const WAITING: usize = 1 << 20;

/// Output on its way from the task that reads it to whoever takes it: one batch, which grows until it is taken.
#[derive(Default)]
pub(crate) struct Pipe {
    state: Mutex<State>,
    filled: Notify,
    emptied: Notify,
}

#[derive(Default)]
struct State {
    batch: Batch,
    decoders: [Decoder; 2],
    end: Option<Result<()>>,
    /// Bytes taken so far.
    taken: u64,
    /// Nobody wants it any more.
    discards: bool,
}

impl Pipe {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands over all of `batch`, and leaves it empty.
    pub(crate) fn push(&self, batch: &mut Batch) {
        if batch.len() == 0 {
            return;
        }
        let mut state = self.state();
        if state.discards {
            state.taken += batch.len() as u64;
            *batch = Batch::default();
            drop(state);
            self.emptied.notify_waiters();
        } else {
            state.batch.append(batch);
            drop(state);
            self.filled.notify_waiters();
        }
    }

    /// Waits until there is room for more. Cancel safe.
    pub(crate) async fn room(&self) {
        wait(&self.emptied, || (self.state().batch.len() < WAITING).then_some(())).await;
    }

    /// So much output waits to be taken that the server may hold back more.
    pub(crate) fn holds_up(&self) -> bool {
        self.state().batch.len() >= WAITING / 2
    }

    /// The number of bytes taken, once it is not `known` any more. Cancel safe.
    pub(crate) async fn taken(&self, known: u64) -> u64 {
        wait(&self.emptied, || Some(self.state().taken).filter(|&taken| taken != known)).await
    }

    /// Nothing more comes. Only the first end counts.
    pub(crate) fn finish(&self, end: Result<()>) {
        self.state().end.get_or_insert(end);
        self.filled.notify_waiters();
    }

    /// Throws away what waits and what is to come.
    pub(crate) fn discard(&self) {
        let mut state = self.state();
        state.discards = true;
        state.taken += state.batch.len() as u64;
        state.batch = Batch::default();
        drop(state);
        self.emptied.notify_waiters();
    }

    /// All there is by now, or `None` at the end. Cancel safe.
    pub(crate) async fn next(&self) -> Result<Option<Vec<OutputChunk>>> {
        wait(&self.filled, || self.take()).await
    }

    fn take(&self) -> Option<Result<Option<Vec<OutputChunk>>>> {
        let mut guard = self.state();
        let state = &mut *guard;
        let batch = std::mem::take(&mut state.batch);
        state.taken += batch.len() as u64;
        let mut chunks = batch.into_chunks(&mut state.decoders);
        if state.end.is_some() {
            for stream in [OutputStream::Stdout, OutputStream::Stderr] {
                if let Some(last) = state.decoders[stream as usize].finish() {
                    chunks.push(OutputChunk { stream, bytes: Bytes::new(), text: last.to_string() });
                }
            }
        }
        if chunks.is_empty() {
            return state.end.clone().map(|end| end.map(|()| None));
        }
        drop(guard);
        self.emptied.notify_waiters();
        Some(Ok(Some(chunks)))
    }

    /// What it ended with, if that is an error.
    pub(crate) fn failure(&self) -> Option<Error> {
        self.state().end.clone()?.err()
    }

    /// Waits until half a pipe of output waits that nobody takes: nobody ever has, or not for `patience`.
    pub(crate) async fn abandoned(&self, patience: Duration) {
        loop {
            let taken = wait(&self.filled, || {
                let state = self.state();
                (state.batch.len() >= WAITING / 2).then_some(state.taken)
            });
            let taken = taken.await;
            if taken == 0 || tokio::time::timeout(patience, self.taken(taken)).await.is_err() {
                return;
            }
        }
    }

    /// Waits for the end, whatever output there is. Cancel safe.
    pub(crate) async fn ended(&self) -> Result<()> {
        wait(&self.filled, || self.state().end.clone()).await
    }
}

/// Finishes a pipe however its task ends, so that nobody waits for a task that is gone.
#[derive(Default)]
pub(crate) struct Feed(pub(crate) Arc<Pipe>);

impl Drop for Feed {
    fn drop(&mut self) {
        self.0.finish(Err(Error::new(ErrorKind::Connection, "the stream was ended on this side")));
    }
}

impl std::ops::Deref for Feed {
    type Target = Pipe;

    fn deref(&self) -> &Pipe {
        &self.0
    }
}

/// Asks again after each notification.
pub(crate) async fn wait<T>(notify: &Notify, mut ask: impl FnMut() -> Option<T>) -> T {
    loop {
        let mut notified = std::pin::pin!(notify.notified());
        notified.as_mut().enable();
        if let Some(found) = ask() {
            return found;
        }
        notified.await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_waits_is_handed_over_at_once_and_then_the_end() {
        let pipe = Pipe::default();
        for (stream, text) in [(OutputStream::Stdout, "a"), (OutputStream::Stdout, "b"), (OutputStream::Stderr, "c")] {
            let mut batch = Batch::default();
            batch.push(stream, text.as_bytes());
            pipe.push(&mut batch);
        }
        let mut batch = Batch::default();
        batch.push(OutputStream::Stderr, b"\xe2\x82");
        pipe.push(&mut batch);
        pipe.finish(Err(Error::invalid("broken")));
        let chunks = pipe.next().await.unwrap().unwrap();
        let seen: Vec<_> = chunks.iter().map(|chunk| (chunk.stream, &chunk.bytes[..], &chunk.text[..])).collect();
        assert_eq!(
            seen,
            [
                (OutputStream::Stdout, &b"ab"[..], "ab"),
                (OutputStream::Stderr, b"c\xe2\x82", "c"),
                (OutputStream::Stderr, b"", "\u{fffd}"),
            ]
        );
        for _ in 0..2 {
            assert_eq!(pipe.next().await.unwrap_err().message(), "broken");
        }
    }

    #[tokio::test]
    async fn a_full_pipe_waits_until_it_is_emptied() {
        let pipe = Pipe::default();
        let mut batch = Batch::default();
        batch.push(OutputStream::Stdout, &vec![b'x'; WAITING]);
        pipe.push(&mut batch);
        let (chunks, ()) = tokio::join!(pipe.next(), pipe.room());
        assert_eq!(chunks.unwrap().unwrap()[0].bytes.len(), WAITING);
        assert_eq!(pipe.taken(0).await, WAITING as u64);
        pipe.discard();
        batch.push(OutputStream::Stdout, b"more");
        pipe.push(&mut batch);
        pipe.finish(Ok(()));
        assert_eq!(pipe.next().await.unwrap(), None);
    }
}
