//! What a socket brings and its handle has not taken yet, bounded by bytes.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, oneshot};

use crate::background;
use crate::error::{Error, Result};
use crate::output::wait;
use crate::ws::{End, Message, Socket};

/// A reader that has this much before it gets no more until it takes some.
const MOST: usize = 1 << 20;

/// One task puts in; any number of callers, on any runtime, take out or wait for the end.
pub(crate) struct Inbox<T> {
    state: Mutex<State<T>>,
    /// Something came, or it ended.
    changed: Notify,
    /// There is room again.
    room: Notify,
}

struct State<T> {
    items: VecDeque<T>,
    size: usize,
    end: Option<Result<()>>,
    /// Callers in [`Inbox::take`], and how many there have been.
    taking: usize,
    takes: u64,
    /// Nothing is discarded.
    kept: bool,
}

impl<T> Default for Inbox<T> {
    fn default() -> Self {
        let state = State { items: VecDeque::new(), size: 0, end: None, taking: 0, takes: 0, kept: false };
        Self { state: Mutex::new(state), changed: Notify::new(), room: Notify::new() }
    }
}

impl<T> Inbox<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds one item that counts as `size` bytes.
    pub(crate) fn push(&self, item: T, size: usize) {
        let mut state = self.lock();
        state.items.push_back(item);
        state.size += size;
        drop(state);
        self.changed.notify_waiters();
    }

    /// Says how it ended; only the first one counts.
    pub(crate) fn end(&self, end: Result<()>) {
        self.lock().end.get_or_insert(end);
        self.changed.notify_waiters();
        self.room.notify_one();
    }

    /// For the task that puts in: however that ends, the inbox ends too.
    pub(crate) fn filling(&self) -> impl Drop {
        Filling(self)
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.lock().end.is_some()
    }

    pub(crate) fn has_room(&self) -> bool {
        self.lock().size < MOST
    }

    /// For the one task that puts in.
    pub(crate) async fn wait_for_room(&self) {
        while !self.has_room() {
            self.room.notified().await;
        }
    }

    /// Wakes everybody who waits for something told elsewhere.
    pub(crate) fn notify(&self) {
        self.changed.notify_waiters();
    }

    /// Asks `check` now and whenever something changes until it has an answer.
    pub(crate) async fn until<R>(&self, check: impl FnMut() -> Option<R>) -> R {
        wait(&self.changed, check).await
    }

    /// All there is by now, at least one item; `None` at the end. A failure comes after what came before it,
    /// and again with each further call.
    pub(crate) async fn take(&self) -> Result<Option<VecDeque<T>>> {
        struct Taking<'a, T>(&'a Inbox<T>);
        impl<T> Drop for Taking<'_, T> {
            fn drop(&mut self) {
                self.0.lock().taking -= 1;
            }
        }
        {
            let mut state = self.lock();
            state.taking += 1;
            state.takes += 1;
        }
        let _taking = Taking(self);
        self.until(|| {
            let mut state = self.lock();
            if !state.items.is_empty() {
                return Some(Ok(Some(self.empty(&mut state))));
            }
            state.end.clone().map(|end| end.map(|()| None))
        })
        .await
    }

    /// Somebody takes all, sooner or later: [`Inbox::wait_for_end`] discards nothing.
    pub(crate) fn keep(&self) {
        self.lock().kept = true;
    }

    /// Waits for the end. Meanwhile, where nobody takes and there is no room left, what came is discarded; once
    /// somebody takes while this waits, all is left to them.
    pub(crate) async fn wait_for_end(&self) -> Result<()> {
        let takes = self.lock().takes;
        self.until(|| {
            let mut state = self.lock();
            if state.size >= MOST && state.taking == 0 && state.takes == takes && !state.kept {
                self.empty(&mut state);
            }
            state.end.clone()
        })
        .await
    }

    fn empty(&self, state: &mut State<T>) -> VecDeque<T> {
        if state.size >= MOST {
            self.room.notify_one();
        }
        state.size = 0;
        std::mem::take(&mut state.items)
    }

    /// How it failed, if it did.
    pub(crate) fn failure(&self) -> Option<Error> {
        self.lock().end.clone()?.err()
    }
}

struct Filling<'a, T>(&'a Inbox<T>);

impl<T> Drop for Filling<'_, T> {
    fn drop(&mut self) {
        self.0.end(Err(background::stopped()));
    }
}

/// Opens a socket in a background task that then drives it. Dropping this before it is open ends the task.
pub(crate) async fn open<O, D, W>(open: O, drive: D) -> Result<()>
where
    O: Future<Output = Result<Socket>> + Send + 'static,
    D: FnOnce(Socket) -> W + Send + 'static,
    W: Future<Output = ()> + Send + 'static,
{
    let (mut opened, is_open) = oneshot::channel();
    background::spawn(async move {
        let result = tokio::select! {
            result = open => result,
            () = opened.closed() => return,
        };
        match result {
            Ok(socket) => {
                if opened.send(Ok(())).is_ok() {
                    drive(socket).await;
                }
            }
            Err(error) => drop(opened.send(Err(error))),
        }
    });
    is_open.await.unwrap_or_else(|_| Err(background::stopped()))
}

/// The next message once there is room for it. What is queued is written meanwhile.
pub(crate) async fn receive<T>(socket: &mut Socket, inbox: &Inbox<T>) -> Result<Message, End> {
    while !inbox.has_room() {
        tokio::select! {
            () = inbox.wait_for_room() => {}
            written = socket.flush(), if socket.queued() > 0 => written.map_err(End::Broken)?,
        }
    }
    socket.next().await
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures_util::FutureExt;

    use super::*;
    use crate::error::ErrorKind;

    #[tokio::test]
    async fn what_came_is_taken_before_the_end() {
        let inbox = Inbox::default();
        inbox.push('a', 1);
        inbox.push('b', 1);
        inbox.end(Err(Error::new(ErrorKind::Connection, "broke")));
        inbox.end(Ok(()));
        assert_eq!(inbox.take().await.unwrap().unwrap(), ['a', 'b']);
        assert_eq!(inbox.take().await.unwrap_err().message(), "broke");
        assert_eq!(inbox.take().await.unwrap_err().message(), "broke");
    }

    #[tokio::test]
    async fn taking_makes_room() {
        let inbox = Arc::new(Inbox::default());
        inbox.push((), MOST);
        assert!(!inbox.has_room());
        let waiting = tokio::spawn({
            let inbox = Arc::clone(&inbox);
            async move { inbox.wait_for_room().await }
        });
        assert_eq!(inbox.take().await.unwrap().unwrap().len(), 1);
        waiting.await.unwrap();
    }

    #[tokio::test]
    async fn waiting_discards_only_what_nobody_takes() {
        let inbox = Arc::new(Inbox::default());
        inbox.push(1, MOST);
        let wait = || {
            let inbox = Arc::clone(&inbox);
            tokio::spawn(async move { inbox.wait_for_end().await })
        };
        let first = wait();
        inbox.wait_for_room().await;
        assert_eq!(inbox.lock().items.len(), 0);
        // A caller in `take` gets what comes, and what comes later is left to it too.
        let mut take = std::pin::pin!(inbox.take());
        assert!(take.as_mut().now_or_never().is_none());
        inbox.push(2, MOST);
        tokio::task::yield_now().await;
        assert_eq!(take.await.unwrap().unwrap(), [2]);
        inbox.push(3, MOST);
        tokio::task::yield_now().await;
        assert!(!inbox.has_room());
        inbox.end(Ok(()));
        first.await.unwrap().unwrap();
        assert_eq!(inbox.take().await.unwrap().unwrap(), [3]);
        assert!(inbox.take().await.unwrap().is_none());
    }

    #[tokio::test]
    async fn waiting_discards_nothing_that_is_kept() {
        let inbox = Inbox::default();
        inbox.keep();
        inbox.push(1, MOST);
        assert!(inbox.wait_for_end().now_or_never().is_none());
        assert_eq!(inbox.take().await.unwrap().unwrap(), [1]);
    }
}
