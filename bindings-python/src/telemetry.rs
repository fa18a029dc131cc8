//! OpenTelemetry: the program's own span, and the end of the program.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

/// How long the end of a program waits for what is still to be sent.
const END_LIMIT: Duration = Duration::from_secs(2);

/// The process that made a client which is observed; 0 if none did.
static PROCESS: AtomicU32 = AtomicU32::new(0);

pub(crate) fn turn_on() {
    PROCESS.store(std::process::id(), Ordering::Relaxed);
}

/// The span that the program is in, as the header `traceparent` names it.
pub(crate) fn parent(py: Python<'_>) -> PyResult<Option<String>> {
    static FIND: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    if PROCESS.load(Ordering::Relaxed) == 0 {
        return Ok(None);
    }
    FIND.import(py, "daytona_native._telemetry", "traceparent")?.call0()?.extract()
}

/// Runs a call as a child of that span.
pub(crate) async fn within<F: Future>(parent: Option<String>, call: F) -> F::Output {
    match parent {
        Some(parent) => daytona_core::telemetry::with_parent(&parent, call).await,
        None => call.await,
    }
}

/// Sends what is left. A fork leaves that to its parent.
pub(crate) fn end(py: Python<'_>) {
    if PROCESS.load(Ordering::Relaxed) == std::process::id() {
        py.detach(|| daytona_core::telemetry::flush(END_LIMIT));
    }
}
