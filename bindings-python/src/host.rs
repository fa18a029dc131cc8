//! Python code that a call needs while it runs: progress callbacks, sources of uploads, cancel flags.
//!
//! Callbacks run where the caller is: on its thread in a synchronous client, in the event loop in an
//! asynchronous one. Blocking sources of an asynchronous client are read on a thread of their own.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use daytona_core::Error;
use futures_util::stream::{BoxStream, StreamExt};
use pyo3::exceptions::{PyStopAsyncIteration, PyStopIteration, PyTypeError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3_async_runtimes::TaskLocals;
use pyo3_async_runtimes::generic::Runtime;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::sync::{Notify, oneshot};

use crate::completion::Queue;
use crate::error::Failure;
use crate::runtime::{Background, Process};

/// Python code to run for a call; an error ends the call.
pub(crate) type Job = Box<dyn FnOnce(Python<'_>) -> PyResult<()> + Send>;

/// Bytes asked from a source that has `read`.
const READ_SIZE: usize = 1024 * 1024;

/// Where the Python code of one call runs.
#[derive(Clone)]
pub(crate) enum Host {
    Caller(UnboundedSender<Job>),
    Loop(Arc<Queue>, Arc<Py<PyAny>>),
}

impl Host {
    pub(crate) fn of_caller() -> (Self, UnboundedReceiver<Job>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self::Caller(sender), receiver)
    }

    pub(crate) fn of_loop(queue: Arc<Queue>, event_loop: Py<PyAny>) -> Self {
        Self::Loop(queue, Arc::new(event_loop))
    }

    /// Runs a callback.
    fn call(&self, job: Job) {
        match self {
            Self::Caller(jobs) => drop(jobs.send(job)),
            Self::Loop(queue, _) => queue.push_job(job),
        }
    }

    /// Runs what may block.
    fn block(&self, job: Job) {
        match self {
            Self::Caller(jobs) => drop(jobs.send(job)),
            Self::Loop(..) => drop(Background::spawn_blocking(move || {
                Process::current().attach(job);
            })),
        }
    }
}

/// What the caller's own code did during one call.
#[derive(Default)]
pub(crate) struct Report {
    error: Mutex<Option<PyErr>>,
    wake: Notify,
}

impl Report {
    fn fail(&self, error: PyErr) {
        self.error.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        self.wake.notify_one();
    }

    /// Waits for a call, or for the first error of the caller's own code, which ends it.
    pub(crate) async fn watch<T>(&self, work: impl Future<Output = Result<T, Error>>) -> Result<T, Failure> {
        let result = tokio::select! {
            biased;
            result = work => result,
            () = self.wake.notified() => Err(Error::caller("ended by the caller's own code")),
        };
        match self.take() {
            Some(error) => Err(Failure::Python(error)),
            None => result.map_err(Failure::Core),
        }
    }

    /// What a callback raised, if one did.
    pub(crate) fn take(&self) -> Option<PyErr> {
        self.error.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Bytes moved so far, and in all.
type Moved = (u64, Option<u64>);

/// Calls `callback(moved, total)`; of several pieces in a row it hears of the last.
pub(crate) fn progress(host: &Host, report: &Arc<Report>, callback: Py<PyAny>) -> daytona_core::Progress {
    let latest: Arc<Mutex<Option<Moved>>> = Arc::default();
    let callback = Arc::new(callback);
    let (host, report) = (host.clone(), Arc::clone(report));
    Arc::new(move |moved, total| {
        let pending = latest.lock().unwrap_or_else(PoisonError::into_inner).replace((moved, total)).is_some();
        if pending {
            return;
        }
        let (latest, callback, report) = (Arc::clone(&latest), Arc::clone(&callback), Arc::clone(&report));
        host.call(Box::new(move |py| {
            let value = latest.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(value) = value
                && let Err(error) = callback.call1(py, value)
            {
                report.fail(error);
            }
            Ok(())
        }));
    })
}

/// Asks `event.is_set()`.
pub(crate) fn cancelled(report: &Arc<Report>, event: Py<PyAny>) -> Arc<dyn Fn() -> bool + Send + Sync> {
    let report = Arc::clone(report);
    Arc::new(move || {
        let answer = Process::current().attach(|py| event.call_method0(py, intern!(py, "is_set"))?.is_truthy(py));
        match answer {
            None => true,
            Some(Ok(set)) => set,
            Some(Err(error)) => {
                report.fail(error);
                true
            }
        }
    })
}

/// Reads a source piece by piece: what has `read(size)`, an iterable or an async iterable of bytes.
pub(crate) fn source(
    py: Python<'_>,
    host: &Host,
    report: &Arc<Report>,
    object: &Bound<'_, PyAny>,
) -> PyResult<BoxStream<'static, Result<Bytes, Error>>> {
    let report = Arc::clone(report);
    if let Ok(read) = object.getattr(intern!(py, "read")) {
        return Ok(pieces(host, report, read.unbind(), Some(READ_SIZE)));
    }
    if object.hasattr(intern!(py, "__aiter__"))? {
        let Host::Loop(_, event_loop) = host else {
            return Err(PyTypeError::new_err("an async iterable needs an AsyncDaytona client"));
        };
        let locals = TaskLocals::new(event_loop.bind(py).clone()).copy_context(py)?;
        let iterator = object.call_method0(intern!(py, "__aiter__"))?.unbind();
        return Ok(async_pieces(report, locals, iterator));
    }
    let iterator = object.try_iter()?;
    Ok(pieces(host, report, iterator.getattr(intern!(py, "__next__"))?.unbind(), None))
}

/// The results of a callable until it returns nothing or stops.
fn pieces(
    host: &Host,
    report: Arc<Report>,
    call: Py<PyAny>,
    size: Option<usize>,
) -> BoxStream<'static, Result<Bytes, Error>> {
    let call = Arc::new(call);
    let begin = (host.clone(), report, call);
    futures_util::stream::try_unfold(begin, move |(host, report, call)| async move {
        let (reply, answer) = oneshot::channel();
        let target = Arc::clone(&call);
        host.block(Box::new(move |py| {
            let piece = match size {
                Some(size) => target.bind(py).call1((size,)),
                None => target.bind(py).call0(),
            };
            let piece = match piece {
                Err(error) if size.is_none() && error.is_instance_of::<PyStopIteration>(py) => Ok(None),
                piece => piece.and_then(|piece| bytes_of(&piece)).map(Some),
            };
            let _ = reply.send(piece);
            Ok(())
        }));
        let piece = match answer.await {
            Ok(Ok(piece)) => piece.filter(|piece| size.is_none() || !piece.is_empty()),
            Ok(Err(error)) => return Err(failed(&report, error)),
            Err(_) => return Err(Error::caller("the source of the upload is gone")),
        };
        Ok(piece.map(|piece| (piece, (host, report, call))))
    })
    .boxed()
}

fn async_pieces(
    report: Arc<Report>,
    locals: TaskLocals,
    iterator: Py<PyAny>,
) -> BoxStream<'static, Result<Bytes, Error>> {
    futures_util::stream::try_unfold((report, locals, iterator), move |(report, locals, iterator)| async move {
        let next = Process::current().attach(|py| {
            let next = iterator.bind(py).call_method0(intern!(py, "__anext__"))?;
            pyo3_async_runtimes::into_future_with_locals(&locals, next)
        });
        let piece = match next {
            None => return Err(Error::caller("the interpreter ends")),
            Some(Err(error)) => Err(error),
            Some(Ok(next)) => next.await,
        };
        let piece = Process::current().attach(|py| match piece {
            Err(error) if error.is_instance_of::<PyStopAsyncIteration>(py) => Ok(None),
            piece => piece.and_then(|piece| bytes_of(piece.bind(py))).map(Some),
        });
        match piece {
            None => Err(Error::caller("the interpreter ends")),
            Some(Err(error)) => Err(failed(&report, error)),
            Some(Ok(piece)) => Ok(piece.map(|piece| (piece, (report, locals, iterator)))),
        }
    })
    .boxed()
}

fn failed(report: &Report, error: PyErr) -> Error {
    report.fail(error);
    Error::caller("the source of the upload failed")
}

/// The memory of a `bytes` object, without a copy.
pub(crate) fn bytes_of(object: &Bound<'_, PyAny>) -> PyResult<Bytes> {
    if object.is_none() {
        return Ok(Bytes::new());
    }
    let bytes: PyBackedBytes = object.extract().map_err(|_| {
        let kind = object.get_type();
        PyTypeError::new_err(format!("the source of an upload must give bytes, not {kind}"))
    })?;
    Ok(Bytes::from_owner(bytes))
}
