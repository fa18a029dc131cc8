//! Where futures run: on the caller's thread, or on one background thread. Both are made when they
//! are first needed, and made anew in a process that was forked.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use pyo3::prelude::*;
use pyo3_async_runtimes::generic;
use tokio::runtime::{Builder, Handle, Runtime};

/// How long the interpreter's end waits for threads that are about to return to Python.
const END_LIMIT: Duration = Duration::from_secs(1);
/// How long it waits for sandboxes to be given back.
const WORK_LIMIT: Duration = Duration::from_secs(3);

/// What belongs to one process. A fork copies only the thread that forked: the child leaves its
/// parent's as it is, threads that are not there would have to release it.
pub(crate) struct Process {
    id: u32,
    caller: OnceLock<Runtime>,
    background: OnceLock<Handle>,
    ending: AtomicBool,
    returning: AtomicUsize,
}

static CURRENT: ArcSwapOption<Process> = ArcSwapOption::const_empty();

impl Process {
    pub(crate) fn current() -> Arc<Self> {
        let id = std::process::id();
        let known = CURRENT.load_full();
        if let Some(process) = &known
            && process.id == id
        {
            return Arc::clone(process);
        }
        let fresh = Arc::new(Self {
            id,
            caller: OnceLock::new(),
            background: OnceLock::new(),
            ending: AtomicBool::new(false),
            returning: AtomicUsize::new(0),
        });
        let previous = CURRENT.compare_and_swap(&known, Some(Arc::clone(&fresh)));
        if let Some(process) = &*previous
            && process.id == id
        {
            return Arc::clone(process);
        }
        // The parent's runtimes are never shut down here.
        std::mem::forget(known);
        fresh
    }

    pub(crate) fn id(&self) -> u32 {
        self.id
    }

    /// Threads that wait for a call share it: the first one drives it for all.
    pub(crate) fn caller(&self) -> &Runtime {
        self.caller.get_or_init(|| Builder::new_current_thread().enable_all().build().expect("epoll is available"))
    }

    /// One thread of its own is enough: it never holds the interpreter's lock.
    fn background(&self) -> &Handle {
        self.background.get_or_init(|| {
            let runtime = Builder::new_current_thread().enable_all().build().expect("epoll is available");
            let handle = runtime.handle().clone();
            std::thread::Builder::new()
                .name("daytona-native".into())
                .spawn(move || runtime.block_on(std::future::pending::<()>()))
                .expect("one more thread is available");
            handle
        })
    }

    /// Lets the background say what it has to say.
    fn settle(&self, py: Python<'_>) {
        let (done, settled) = std::sync::mpsc::channel();
        self.background().spawn(async move {
            for _ in 0..64 {
                tokio::task::yield_now().await;
            }
            let _ = done.send(());
        });
        py.detach(move || {
            let _ = settled.recv_timeout(END_LIMIT);
        });
    }

    /// Lets sandboxes be given back.
    fn finish_work(&self, py: Python<'_>) {
        let (done, closed) = std::sync::mpsc::channel();
        self.background().spawn(async move {
            daytona_core::finish_work().await;
            let _ = done.send(());
        });
        py.detach(move || {
            let _ = closed.recv_timeout(WORK_LIMIT);
        });
    }

    /// Says that this thread is about to enter the interpreter. A thread that does so while the
    /// interpreter ends would be killed in the middle of Rust code, so it stays here for ever.
    pub(crate) fn about_to_attach(self: &Arc<Self>) -> Returning {
        let returning = Returning(Arc::clone(self));
        self.returning.fetch_add(1, Ordering::SeqCst);
        if self.ending.load(Ordering::SeqCst) && !is_main_thread() {
            drop(returning);
            loop {
                std::thread::park();
            }
        }
        returning
    }

    /// Enters the interpreter from one of the runtimes' threads, unless it is ending.
    pub(crate) fn attach<T>(self: &Arc<Self>, work: impl FnOnce(Python<'_>) -> T) -> Option<T> {
        let _returning = Returning(Arc::clone(self));
        self.returning.fetch_add(1, Ordering::SeqCst);
        if self.ending.load(Ordering::SeqCst) && !is_main_thread() {
            return None;
        }
        Python::try_attach(work)
    }
}

/// Held from the decision to enter the interpreter until that is done.
pub(crate) struct Returning(Arc<Process>);

impl Drop for Returning {
    fn drop(&mut self) {
        self.0.returning.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Called once when the interpreter begins to end.
#[pyfunction]
pub(crate) fn interpreter_ends(py: Python<'_>) {
    let process = Process::current();
    process.ending.store(true, Ordering::SeqCst);
    if crate::exec_stream::close_all() {
        process.settle(py);
    }
    if daytona_core::work_is_left() {
        process.finish_work(py);
    }
    crate::telemetry::end(py);
    let limit = Instant::now() + END_LIMIT;
    while process.returning.load(Ordering::SeqCst) > 0 && Instant::now() < limit {
        py.detach(|| std::thread::sleep(Duration::from_millis(1)));
    }
}

/// Where the core drives its sockets.
pub(crate) fn background() -> Handle {
    Process::current().background().clone()
}

/// True on the thread whose job signals are.
pub(crate) fn is_main_thread() -> bool {
    #[cfg(target_os = "linux")]
    {
        rustix::thread::gettid() == rustix::process::getpid()
    }
    #[cfg(not(target_os = "linux"))]
    {
        // Checking for signals does nothing on other threads.
        true
    }
}

/// The background runtime, as the Python event loop bridge wants it.
pub(crate) struct Background;

/// A task on the background runtime.
pub(crate) struct Task(tokio::task::JoinHandle<()>);

impl Task {
    /// Drops the task's future where it is.
    pub(crate) fn abort(&self) {
        self.0.abort();
    }
}

impl Future for Task {
    type Output = Result<(), Failed>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context).map_err(Failed)
    }
}

/// Why a task did not end by itself.
pub(crate) struct Failed(tokio::task::JoinError);

impl generic::JoinError for Failed {
    fn is_panic(&self) -> bool {
        self.0.is_panic()
    }

    fn into_panic(self) -> Box<dyn std::any::Any + Send + 'static> {
        self.0.into_panic()
    }
}

impl generic::Runtime for Background {
    type JoinError = Failed;
    type JoinHandle = Task;

    fn spawn<F>(future: F) -> Task
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Task(Process::current().background().spawn(future))
    }

    fn spawn_blocking<F>(work: F) -> Task
    where
        F: FnOnce() + Send + 'static,
    {
        Task(Process::current().background().spawn_blocking(work))
    }
}
