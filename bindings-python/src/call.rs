//! How one call is waited for.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use daytona_core::Error;
use pyo3::prelude::*;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::completion::{Awaitable, Outcome};
use crate::error::Failure;
use crate::host::{Host, Job};
use crate::runtime::{self, Process};

/// How often signals are looked for while a call is under way.
const SIGNAL_TICK: Duration = Duration::from_millis(50);

/// What a client's methods return.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// The value.
    Sync,
    /// An awaitable of the value.
    Async,
}

impl Mode {
    /// Runs what needs nothing from Python while it runs.
    pub(crate) fn run<T, C>(
        self,
        py: Python<'_>,
        future: impl Future<Output = Result<T, Error>> + Send + 'static,
        convert: C,
    ) -> PyResult<Py<PyAny>>
    where
        T: Send + 'static,
        C: FnOnce(Python<'_>, T) -> PyResult<Py<PyAny>> + Send + 'static,
    {
        match self {
            Self::Sync => {
                let value = block_on(py, future, None)?.map_err(|error| crate::error::raise(py, &error))?;
                convert(py, value)
            }
            Self::Async => {
                Awaitable::make(py, |_, _| Ok(async move { outcome(future.await.map_err(Failure::Core), convert) }))
            }
        }
    }

    /// Runs what calls back: `make` gets the way to do so.
    pub(crate) fn run_with_host<T, F, C>(
        self,
        py: Python<'_>,
        make: impl FnOnce(Python<'_>, Host) -> PyResult<F> + Send + 'static,
        convert: C,
    ) -> PyResult<Py<PyAny>>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Failure>> + Send + 'static,
        C: FnOnce(Python<'_>, T) -> PyResult<Py<PyAny>> + Send + 'static,
    {
        match self {
            Self::Sync => {
                let (host, jobs) = Host::of_caller();
                let value = block_on(py, make(py, host)?, Some(jobs))?.map_err(|failure| failure.raise(py))?;
                convert(py, value)
            }
            Self::Async => Awaitable::make(py, |py, host| {
                let future = make(py, host)?;
                Ok(async move { outcome(future.await, convert) })
            }),
        }
    }
}

fn outcome<T, C>(result: Result<T, Failure>, convert: C) -> Outcome
where
    T: Send + 'static,
    C: FnOnce(Python<'_>, T) -> PyResult<Py<PyAny>> + Send + 'static,
{
    Box::new(move |py| convert(py, result.map_err(|failure| failure.raise(py))?))
}

/// What ends a stretch of waiting.
enum Event<T> {
    Done(T),
    Job(Job),
    Tick,
}

/// Waits on the caller's thread, without the interpreter's lock. Python code that has to run
/// meanwhile (callbacks, signal handlers) runs between two stretches, so it may make calls itself.
fn block_on<T: Send>(
    py: Python<'_>,
    future: impl Future<Output = T> + Send,
    mut jobs: Option<UnboundedReceiver<Job>>,
) -> PyResult<T> {
    let process = Process::current();
    let (result, _returning) = py.detach(|| {
        let mut future = pin!(future);
        let main = runtime::is_main_thread();
        let result = loop {
            let event = process.caller().block_on(async {
                tokio::select! {
                    biased;
                    Some(job) = async { jobs.as_mut()?.recv().await }, if jobs.is_some() => Event::Job(job),
                    value = &mut future => Event::Done(value),
                    () = tokio::time::sleep(SIGNAL_TICK), if main => Event::Tick,
                }
            });
            let attached = |work: &mut dyn FnMut(Python<'_>) -> PyResult<()>| {
                let returning = process.about_to_attach();
                Python::attach(|py| {
                    drop(returning);
                    work(py)
                })
            };
            let outcome = match event {
                Event::Done(value) => break Ok(value),
                Event::Job(job) => {
                    let mut job = Some(job);
                    attached(&mut |py| job.take().map_or(Ok(()), |job| job(py)))
                }
                Event::Tick => attached(&mut |py| py.check_signals()),
            };
            if let Err(error) = outcome {
                break Err(error);
            }
        };
        (result, process.about_to_attach())
    });
    result
}

/// Lets the connections that a client has just given up close.
pub(crate) fn settle(py: Python<'_>) {
    let process = Process::current();
    py.detach(|| {
        process.caller().block_on(async {
            for _ in 0..8 {
                tokio::task::yield_now().await;
            }
        });
    });
}
