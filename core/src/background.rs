//! Tasks that drive sockets while their caller's runtime rests.

use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwapOption;
use opentelemetry::trace::FutureExt as _;
use tokio::runtime::Handle;
use tokio::task::{AbortHandle, JoinHandle};

use crate::error::{Error, ErrorKind, Result};
use crate::telemetry;

static BACKGROUND: OnceLock<fn() -> Handle> = OnceLock::new();

/// Says on which runtime sockets are driven: one that always runs, of the calling process. Asked for with each
/// stream; without it, that is the runtime of whoever opens the stream. Only the first call counts.
pub fn set_background(handle: fn() -> Handle) {
    let _ = BACKGROUND.set(handle);
}

/// The background runtime.
pub(crate) fn handle() -> Handle {
    BACKGROUND.get().map_or_else(Handle::current, |handle| handle())
}

/// Runs a future on the background runtime.
pub(crate) fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    let runtime = handle();
    match telemetry::current() {
        None => runtime.spawn(future),
        Some(context) => runtime.spawn(future.with_context(context)),
    }
}

/// The same for what nobody waits for; where there is no runtime any more it is not done.
pub(crate) fn spawn_if_any<F>(future: F)
where
    F: Future<Output: Send> + Send + 'static,
{
    if BACKGROUND.get().is_some() || Handle::try_current().is_ok() {
        drop(spawn(future));
    }
}

/// The error of whoever waits for a task that is gone.
pub(crate) fn stopped() -> Error {
    Error::new(ErrorKind::Connection, "the background runtime has stopped").with_hint("The process is about to exit")
}

/// What a handle shares with the task that drives its socket. Belongs to the process that made it: a fork has the
/// memory and not the task, so there it gives an error, and leaves alone what locks and wakes.
pub(crate) struct Driven<T> {
    process: u32,
    shared: Option<T>,
    /// Ended with the handle.
    task: Option<AbortHandle>,
}

impl<T> Driven<T> {
    /// With a task that ends by itself once `shared` is dropped, as after a last word to the server.
    pub(crate) fn new(shared: T) -> Self {
        Self { process: std::process::id(), shared: Some(shared), task: None }
    }

    /// With a task that is dropped, wherever it is, together with this.
    pub(crate) fn with_task(shared: T, task: &JoinHandle<()>) -> Self {
        let mut driven = Self::new(shared);
        driven.task = Some(task.abort_handle());
        driven
    }

    pub(crate) fn get(&self) -> Result<&T> {
        if self.process == std::process::id()
            && let Some(shared) = &self.shared
        {
            return Ok(shared);
        }
        Err(Error::new(ErrorKind::Connection, "a stream cannot be used across a fork")
            .with_hint("Open it in the process that uses it"))
    }

    /// Ends the task early.
    pub(crate) fn abort(&self) {
        if self.process == std::process::id()
            && let Some(task) = &self.task
        {
            task.abort();
        }
    }
}

impl<T> Drop for Driven<T> {
    fn drop(&mut self) {
        if self.process == std::process::id() {
            self.abort();
        } else {
            std::mem::forget((self.shared.take(), self.task.take()));
        }
    }
}

/// Something that every process has for itself: a fork makes its own and leaves its parent's alone, whose tasks it
/// does not have and whose locks may be held for ever.
pub(crate) struct PerProcess<T>(ArcSwapOption<Owned<T>>);

struct Owned<T> {
    process: u32,
    value: Arc<T>,
}

impl<T> Default for PerProcess<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> PerProcess<T> {
    pub(crate) const fn new() -> Self {
        Self(ArcSwapOption::const_empty())
    }

    /// What this process has, if it has any.
    pub(crate) fn get(&self) -> Option<Arc<T>> {
        let owned = self.0.load();
        owned.as_ref().filter(|owned| owned.process == std::process::id()).map(|owned| Arc::clone(&owned.value))
    }

    pub(crate) fn get_or_make(&self, make: impl FnOnce() -> T) -> Arc<T> {
        if let Some(value) = self.get() {
            return value;
        }
        let process = std::process::id();
        let value = Arc::new(make());
        let fresh = Arc::new(Owned { process, value: Arc::clone(&value) });
        let is_own = |owned: &Option<Arc<Owned<T>>>| owned.as_ref().is_some_and(|owned| owned.process == process);
        let previous = self.0.rcu(|now| if is_own(now) { now.clone() } else { Some(Arc::clone(&fresh)) });
        if is_own(&previous) {
            return previous.map_or(value, |owned| Arc::clone(&owned.value));
        }
        std::mem::forget(previous);
        value
    }
}

impl<T> Drop for PerProcess<T> {
    fn drop(&mut self) {
        let owned = self.0.swap(None);
        if owned.as_ref().is_some_and(|owned| owned.process != std::process::id()) {
            std::mem::forget(owned);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_parent_made_is_neither_used_nor_dropped() {
        let made = Arc::new(());
        let cell = PerProcess(ArcSwapOption::from_pointee(Owned {
            process: std::process::id() + 1,
            value: Arc::new(Arc::clone(&made)),
        }));
        assert!(cell.get().is_none());
        let own = cell.get_or_make(Arc::<()>::default);
        assert!(!Arc::ptr_eq(&*own, &made));
        assert!(Arc::ptr_eq(&own, &cell.get_or_make(|| unreachable!("it is there"))));
        drop(cell);
        assert_eq!((Arc::strong_count(&own), Arc::strong_count(&made)), (1, 2));
    }

    #[tokio::test]
    async fn a_task_ends_with_its_handle() {
        let (sender, receiver) = tokio::sync::oneshot::channel::<()>();
        let task = spawn(async move {
            let _sender = sender;
            std::future::pending::<()>().await;
        });
        let driven = Driven::with_task((), &task);
        assert!(driven.get().is_ok());
        drop(driven);
        assert!(receiver.await.is_err());
    }

    #[tokio::test]
    async fn in_another_process_it_refuses_and_drops_nothing() {
        let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel::<()>();
        let mut driven = Driven::new(sender);
        driven.process += 1;
        let error = driven.get().err().unwrap();
        assert!(error.message().contains("across a fork"), "{error}");
        drop(driven);
        assert!(matches!(receiver.try_recv(), Err(tokio::sync::mpsc::error::TryRecvError::Empty)));
    }
}
