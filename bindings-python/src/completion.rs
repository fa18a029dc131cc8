//! Results of background calls, handed to the event loop in batches.
//!
//! A finished call is put into the queue of its event loop; the first one in an empty queue wakes the
//! loop through a pipe, and the loop takes all that are there by then. The thread that runs the calls
//! never waits for the interpreter's lock.

use std::future::Future;
use std::io::{PipeReader, PipeWriter, Read, Write};
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use pyo3::exceptions::{PyNotImplementedError, PyRuntimeError, PyStopIteration};
use pyo3::intern;
use pyo3::prelude::*;
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
    Waiting { slot: Arc<Slot>, task: Task, iterator: Py<PyAny> },
    Done,
}

/// Where a call's outcome waits until the task that asked for it runs.
struct Slot {
    outcome: Mutex<Option<Outcome>>,
}

impl Slot {
    fn put(&self, outcome: Outcome) {
        lock(&self.outcome).get_or_insert(outcome);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
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
        let mut state = lock(&self.state);
        match std::mem::replace(&mut *state, State::Done) {
            State::New(start) => {
                let event_loop = pyo3_async_runtimes::get_running_loop(py)?;
                let queue = Queue::of(&event_loop)?;
                let future = event_loop.call_method0(intern!(py, "create_future"))?;
                let iterator = future.call_method0(intern!(py, "__await__"))?;
                let first = next(&iterator)?;
                let work = start(py, Host::of_loop(Arc::clone(&queue), event_loop.unbind()))?;
                let slot = Arc::new(Slot { outcome: Mutex::new(None) });
                let finish = Finish { slot: Arc::clone(&slot), queue, future: Some(future.unbind()) };
                let task = Background::spawn(async move {
                    let outcome = work.await;
                    finish.slot.put(outcome);
                });
                *state = State::Waiting { slot, task, iterator: iterator.unbind() };
                Ok(first)
            }
            State::Waiting { slot, task, iterator } => {
                let outcome = lock(&slot.outcome).take();
                if let Some(outcome) = outcome {
                    drop(state);
                    return Err(PyStopIteration::new_err((outcome(py)?,)));
                }
                // Resumed by something else than the result: as asyncio has it.
                let again = next(iterator.bind(py));
                *state = State::Waiting { slot, task, iterator };
                again
            }
            State::Done => Err(PyRuntimeError::new_err("this call has been awaited already")),
        }
    }
}

fn next(iterator: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
    iterator.call_method0(intern!(iterator.py(), "__next__")).map(Bound::unbind)
}

impl Drop for Awaitable {
    fn drop(&mut self) {
        if let State::Waiting { task, .. } = lock(&self.state).replace_done() {
            task.abort();
        }
    }
}

impl State {
    fn replace_done(&mut self) -> Self {
        std::mem::replace(self, Self::Done)
    }
}

/// Ends a call, also when its task is dropped or panics.
struct Finish {
    slot: Arc<Slot>,
    queue: Arc<Queue>,
    future: Option<Py<PyAny>>,
}

impl Drop for Finish {
    fn drop(&mut self) {
        self.slot
            .put(Box::new(|_| Err(PyRuntimeError::new_err("the call ended without a result; please report this"))));
        if let Some(future) = self.future.take() {
            self.queue.push(Ready::Future(future));
        }
    }
}

enum Ready {
    Future(Py<PyAny>),
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
    fn __call__(&self, py: Python<'_>) {
        if let Some(mut reader) = self.reader.as_ref() {
            let _ = reader.read(&mut [0; 64]);
        }
        self.queue.drain(py);
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
        if !first {
            return;
        }
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

    fn drain(&self, py: Python<'_>) {
        let ready = std::mem::take(&mut *lock(&self.ready));
        for one in ready {
            match one {
                // A future that was cancelled meanwhile refuses, which is fine.
                Ready::Future(future) => drop(future.call_method1(py, intern!(py, "set_result"), (py.None(),))),
                Ready::Job(job) => {
                    if let Err(error) = job(py) {
                        error.write_unraisable(py, None);
                    }
                }
            }
        }
    }
}
