//! Results of background calls, handed to the event loop in batches.
//!
//! A finished call is put into the queue of its event loop; the first one in an empty queue wakes the
//! loop through a pipe, and the loop takes all that are there by then. The thread that runs the calls
//! never waits for the interpreter's lock.

use std::future::Future;
use std::io::{PipeReader, PipeWriter, Read, Write};
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pyo3::exceptions::{PyNotImplementedError, PyRuntimeError, PyStopIteration};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyType};
use pyo3_async_runtimes::generic::Runtime;

use crate::host::{Host, Job};
use crate::runtime::{Background, Process, Task};

/// Makes the call's result, or raises; runs in the event loop's thread.
pub(crate) type Outcome = Box<dyn FnOnce(Python<'_>) -> PyResult<Py<PyAny>> + Send>;
type Work = Pin<Box<dyn Future<Output = Outcome> + Send>>;
type Start = Box<dyn FnOnce(Python<'_>, Host) -> PyResult<Work> + Send>;

/// The attribute of an event loop that holds its queue.
const ATTRIBUTE: &str = "_daytona_native_completions";

/// One call. Nothing starts before it is awaited; dropping it, as a cancelled task does, drops the
/// Rust future.
#[pyclass(frozen, module = "daytona_native._native")]
pub(crate) struct Awaitable {
    state: Mutex<State>,
}

enum State {
    New(Start),
    Waiting { waiter: Py<Waiter>, task: Running },
    Done,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Awaitable {
    pub(crate) fn make<F>(
        py: Python<'_>,
        work: impl FnOnce(Python<'_>, Host) -> PyResult<F> + Send + 'static,
    ) -> PyResult<Py<PyAny>>
    where
        F: Future<Output = Outcome> + Send + 'static,
    {
        let start: Start = Box::new(move |py, host| Ok(Box::pin(work(py, host)?)));
        Ok(Py::new(py, Self { state: Mutex::new(State::New(start)) })?.into_any())
    }

    fn take(&self) -> State {
        std::mem::replace(&mut *lock(&self.state), State::Done)
    }
}

#[pymethods]
impl Awaitable {
    fn __await__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        match self.take() {
            State::New(start) => {
                let event_loop = pyo3_async_runtimes::get_running_loop(py)?;
                let queue = Queue::of(&event_loop)?;
                let event_loop = event_loop.unbind();
                let work = start(py, Host::of_loop(Arc::clone(&queue), event_loop.clone_ref(py)))?;
                let waiter =
                    Py::new(py, Waiter { event_loop, state: Mutex::default(), blocking: AtomicBool::new(true) })?;
                let finish = Finish { waiter: Some(waiter.clone_ref(py)), queue };
                let task = Running(Background::spawn(async move { finish.put(work.await) }));
                let first = waiter.clone_ref(py).into_any();
                *lock(&self.state) = State::Waiting { waiter, task };
                Ok(first)
            }
            State::Waiting { waiter, task } => {
                let outcome = lock(&waiter.get().state).outcome.take();
                if let Some(outcome) = outcome {
                    return Err(PyStopIteration::new_err((outcome(py)?,)));
                }
                // Resumed by something else than the result: it waits on.
                waiter.get().blocking.store(true, Ordering::Relaxed);
                let again = waiter.clone_ref(py).into_any();
                *lock(&self.state) = State::Waiting { waiter, task };
                Ok(again)
            }
            State::Done => Err(PyRuntimeError::new_err("this call has been awaited already")),
        }
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        match self.state.try_lock().as_deref() {
            Ok(State::Waiting { waiter, .. }) => visit.call(waiter),
            _ => Ok(()),
        }
    }

    fn __clear__(&self) {
        drop(self.take());
    }
}

/// Ends with its owner.
struct Running(Task);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What the event loop's task waits for: a future to asyncio, which calls these methods only. A task
/// goes on in the very step in which its result is handed over.
#[pyclass(frozen, module = "daytona_native._native")]
pub(crate) struct Waiter {
    event_loop: Py<PyAny>,
    state: Mutex<Waiting>,
    blocking: AtomicBool,
}

#[derive(Default)]
struct Waiting {
    outcome: Option<Outcome>,
    callback: Option<(Py<PyAny>, Option<Py<PyAny>>)>,
    handed_over: bool,
    cancelled: bool,
    /// What it was cancelled with. Who cancels knows its own cancellation by it, as the scopes of anyio do.
    message: Option<Py<PyAny>>,
}

#[pymethods]
impl Waiter {
    #[getter(_asyncio_future_blocking)]
    fn blocking(&self) -> bool {
        self.blocking.load(Ordering::Relaxed)
    }

    #[setter(_asyncio_future_blocking)]
    fn set_blocking(&self, blocking: bool) {
        self.blocking.store(blocking, Ordering::Relaxed);
    }

    fn get_loop(&self, py: Python<'_>) -> Py<PyAny> {
        self.event_loop.clone_ref(py)
    }

    fn done(&self) -> bool {
        let state = lock(&self.state);
        state.handed_over || state.cancelled
    }

    fn cancelled(&self) -> bool {
        lock(&self.state).cancelled
    }

    fn result(&self, py: Python<'_>) -> PyResult<()> {
        static CANCELLED: PyOnceLock<Py<PyType>> = PyOnceLock::new();
        let message = {
            let state = lock(&self.state);
            if !state.cancelled {
                return Ok(());
            }
            state.message.as_ref().map(|message| message.clone_ref(py))
        };
        let class = CANCELLED.import(py, "asyncio", "CancelledError")?;
        Err(PyErr::from_value(message.map_or_else(|| class.call0(), |message| class.call1((message,)))?))
    }

    #[pyo3(signature = (callback, *, context=None))]
    fn add_done_callback(slf: &Bound<'_, Self>, callback: Py<PyAny>, context: Option<Py<PyAny>>) -> PyResult<()> {
        {
            let mut state = lock(&slf.get().state);
            if !state.handed_over {
                state.callback = Some((callback, context));
                return Ok(());
            }
        }
        Self::call_soon(slf, callback, context)
    }

    /// Wakes the task, which drops the call.
    #[pyo3(signature = (msg=None))]
    fn cancel(slf: &Bound<'_, Self>, msg: Option<Py<PyAny>>) -> PyResult<bool> {
        let (callback, outcome) = {
            let mut state = lock(&slf.get().state);
            if state.handed_over || state.cancelled {
                return Ok(false);
            }
            state.cancelled = true;
            state.message = msg;
            (state.callback.take(), state.outcome.take())
        };
        // Given back before anything else runs: the task may ask again in its next step.
        drop(outcome);
        if let Some((callback, context)) = callback {
            Self::call_soon(slf, callback, context)?;
        }
        Ok(true)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.event_loop)?;
        if let Ok(state) = self.state.try_lock() {
            visit.call(&state.message)?;
            if let Some((callback, context)) = &state.callback {
                visit.call(callback)?;
                visit.call(context)?;
            }
        }
        Ok(())
    }

    fn __clear__(&self) {
        drop(std::mem::take(&mut *lock(&self.state)));
    }
}

impl Waiter {
    fn call_soon(slf: &Bound<'_, Self>, callback: Py<PyAny>, context: Option<Py<PyAny>>) -> PyResult<()> {
        let py = slf.py();
        let options = PyDict::new(py);
        options.set_item(intern!(py, "context"), context)?;
        slf.get().event_loop.bind(py).call_method(intern!(py, "call_soon"), (callback, slf), Some(&options))?;
        Ok(())
    }

    /// Steps the task that waits.
    fn hand_over(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let callback = {
            let mut state = lock(&slf.get().state);
            if state.cancelled {
                return Ok(());
            }
            state.handed_over = true;
            state.callback.take()
        };
        match callback {
            None => {}
            Some((callback, Some(context))) => {
                context.call_method1(py, intern!(py, "run"), (callback, slf))?;
            }
            Some((callback, None)) => {
                callback.call1(py, (slf,))?;
            }
        }
        Ok(())
    }
}

/// Ends a call, also when its task is dropped or panics.
struct Finish {
    waiter: Option<Py<Waiter>>,
    queue: Arc<Queue>,
}

impl Finish {
    fn put(&self, outcome: Outcome) {
        let Some(waiter) = &self.waiter else { return };
        let mut state = lock(&waiter.get().state);
        if state.cancelled {
            // What it gives back may not find it locked.
            drop(state);
            drop(outcome);
            return;
        }
        state.outcome.get_or_insert(outcome);
    }
}

impl Drop for Finish {
    fn drop(&mut self) {
        self.put(Box::new(|_| Err(PyRuntimeError::new_err("the call ended without a result; please report this"))));
        if let Some(waiter) = self.waiter.take() {
            self.queue.push(Ready::Call(waiter));
        }
    }
}

enum Ready {
    Call(Py<Waiter>),
    Job(Job),
}

/// What waits for one event loop.
pub(crate) struct Queue {
    process: u32,
    ready: Mutex<Vec<Ready>>,
    wake: Wake,
}

enum Wake {
    Pipe(PipeWriter),
    /// For event loops that cannot watch a file descriptor.
    Call(Py<PyAny>),
}

/// The reading end, which the event loop calls.
#[pyclass(frozen, module = "daytona_native._native")]
pub(crate) struct Completions {
    queue: Arc<Queue>,
    reader: Option<PipeReader>,
}

#[pymethods]
impl Completions {
    /// Hands over all that has finished.
    fn __call__(&self, py: Python<'_>) -> PyResult<()> {
        if let Some(mut reader) = self.reader.as_ref() {
            let _ = reader.read(&mut [0; 64]);
        }
        self.queue.drain(py)
    }
}

impl Queue {
    /// The queue of a running event loop.
    fn of(event_loop: &Bound<'_, PyAny>) -> PyResult<Arc<Self>> {
        let py = event_loop.py();
        let process = Process::current().id();
        if let Ok(known) = event_loop.getattr(intern!(py, ATTRIBUTE))
            && let Ok(known) = known.cast::<Completions>()
            && known.get().queue.process == process
        {
            return Ok(Arc::clone(&known.get().queue));
        }
        let (reader, writer) = std::io::pipe()?;
        rustix::io::ioctl_fionbio(&reader, true).map_err(std::io::Error::from)?;
        let descriptor = reader.as_raw_fd();
        let queue = Arc::new(Self { process, ready: Mutex::default(), wake: Wake::Pipe(writer) });
        let completions = Py::new(py, Completions { queue: Arc::clone(&queue), reader: Some(reader) })?;
        match event_loop.call_method1(intern!(py, "add_reader"), (descriptor, &completions)) {
            Ok(_) => {
                event_loop.setattr(intern!(py, ATTRIBUTE), completions)?;
                Ok(queue)
            }
            Err(error) if error.is_instance_of::<PyNotImplementedError>(py) => {
                let wake = Wake::Call(event_loop.clone().unbind());
                let queue = Arc::new(Self { process, ready: Mutex::default(), wake });
                let completions = Completions { queue: Arc::clone(&queue), reader: None };
                event_loop.setattr(intern!(py, ATTRIBUTE), Py::new(py, completions)?)?;
                Ok(queue)
            }
            Err(error) => Err(error),
        }
    }

    /// Runs a job in the event loop's thread, before whatever is put in later.
    pub(crate) fn push_job(&self, job: Job) {
        self.push(Ready::Job(job));
    }

    fn push(&self, ready: Ready) {
        let first = {
            let mut queue = lock(&self.ready);
            queue.push(ready);
            queue.len() == 1
        };
        if first {
            self.wake();
        }
    }

    fn wake(&self) {
        match &self.wake {
            Wake::Pipe(writer) => {
                let _ = (&mut &*writer).write(&[0]);
            }
            Wake::Call(event_loop) => {
                Process::current().attach(|py| {
                    let completions = event_loop.getattr(py, intern!(py, ATTRIBUTE));
                    // A closed loop says so; nobody waits for the result any more.
                    let _ = completions.and_then(|completions| {
                        event_loop.call_method1(py, intern!(py, "call_soon_threadsafe"), (completions,))
                    });
                });
            }
        }
    }

    fn drain(&self, py: Python<'_>) -> PyResult<()> {
        let mut ready = std::mem::take(&mut *lock(&self.ready)).into_iter();
        while let Some(one) = ready.next() {
            let result = match one {
                Ready::Call(waiter) => Waiter::hand_over(waiter.bind(py)),
                Ready::Job(job) => job(py),
            };
            if let Err(error) = result {
                // KeyboardInterrupt or SystemExit: the others have their turn if the loop goes on.
                let rest: Vec<_> = ready.collect();
                if !rest.is_empty() {
                    lock(&self.ready).splice(..0, rest);
                    self.wake();
                }
                return Err(error);
            }
        }
        Ok(())
    }
}
