//! How one call is waited for.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use daytona_core::Error;
use futures_util::future::BoxFuture;
use pyo3::prelude::*;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::completion::{Awaitable, Outcome};
use crate::error::Failure;
use crate::host::{Host, Job};
use crate::runtime::{self, Process};
use crate::telemetry;

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
        match telemetry::parent(py)? {
            None => self.run_as_is(py, future, convert),
            parent => {
                // Boxed, so that the usual way does not move it about.
                let future: BoxFuture<'static, Result<T, Error>> = Box::pin(telemetry::within(parent, future));
                self.run_as_is(py, future, convert)
            }
        }
    }

    fn run_as_is<T, C>(
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
                // An interrupt of just now would take the value from its caller: what was made goes with it.
                py.check_signals()?;
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
                let future = telemetry::within(telemetry::parent(py)?, make(py, host)?);
                let value = block_on(py, future, Some(jobs))?.map_err(|failure| failure.raise(py))?;
                py.check_signals()?;
                convert(py, value)
            }
            Self::Async => Awaitable::make(py, |py, host| {
                let future = telemetry::within(telemetry::parent(py)?, make(py, host)?);
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
            let outcome = match event {
                // Callbacks that were asked for before the end come before it.
                Event::Done(value) => {
                    let mut rest = std::iter::from_fn(|| jobs.as_mut()?.try_recv().ok());
                    break rest.try_for_each(|job| attached(&process, job)).map(|()| value);
                }
                Event::Job(job) => attached(&process, job),
                #[expect(clippy::redundant_closure_for_method_calls, reason = "the method is of one lifetime only")]
                Event::Tick => attached(&process, |py| py.check_signals()),
            };
            if let Err(error) = outcome {
                break Err(error);
            }
        };
        (result, process.about_to_attach())
    });
    result
}

/// Runs Python code from within a call.
fn attached<T>(process: &Arc<Process>, work: impl FnOnce(Python<'_>) -> T) -> T {
    let returning = process.about_to_attach();
    Python::attach(|py| {
        drop(returning);
        work(py)
    })
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
