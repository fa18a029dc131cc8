//! Core errors as the package's exceptions.

use daytona_core::{Error, ErrorKind, Made};
use pyo3::exceptions::PyOSError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyDict;

/// Why a call failed.
pub(crate) enum Failure {
    Core(Error),
    /// The caller's own code raised this.
    Python(PyErr),
}

impl Failure {
    pub(crate) fn raise(self, py: Python<'_>) -> PyErr {
        match self {
            Self::Core(error) => raise(py, &error),
            Self::Python(error) => error,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Core(error)
    }
}

/// The class table of the core: `(class, parent, code)` of every kind.
#[pyfunction]
pub(crate) fn error_table() -> Vec<(&'static str, &'static str, Option<&'static str>)> {
    ErrorKind::ALL.iter().map(|kind| (kind.class_name(), kind.parent().class_name(), kind.code())).collect()
}

/// The exception of a core error.
pub(crate) fn raise(py: Python<'_>, error: &Error) -> PyErr {
    exception(py, error).map_or_else(|failure| failure, PyErr::from_value)
}

/// Gives the caller what it has made.
pub(crate) fn keep<T>(py: Python<'_>, made: Made<T>) -> PyResult<T> {
    made.keep().map_err(|error| raise(py, &error))
}

pub(crate) fn exception<'py>(py: Python<'py>, error: &Error) -> PyResult<Bound<'py, PyAny>> {
    static MAKE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let make =
        MAKE.get_or_try_init(py, || py.import("daytona_native._errors")?.getattr("from_native").map(Bound::unbind))?;
    let headers = PyDict::new(py);
    for (name, value) in error.headers() {
        headers.set_item(name, value)?;
    }
    let operation = error.operation();
    let fields = (
        error.kind().class_name(),
        error.message(),
        operation.map(|operation| operation.failure),
        error.status(),
        headers,
        error.code(),
        error.source_name(),
        error.request_id(),
        operation.map(|operation| operation.name),
        error.sandbox_id(),
        error.attempts(),
    );
    let exception = make.bind(py).call1(fields)?;
    if let Some(cause) = cause(error) {
        exception.setattr(intern!(py, "__cause__"), cause.into_value(py))?;
    }
    Ok(exception)
}

/// What the operating system said, if it said something.
fn cause(error: &Error) -> Option<PyErr> {
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        if let Some(system) = error.downcast_ref::<std::io::Error>()
            && let Some(number) = system.raw_os_error()
        {
            // Picks ConnectionRefusedError and its like by the number.
            let text = system.to_string();
            let text = text.split(" (os error").next().unwrap_or_default().to_owned();
            return Some(PyOSError::new_err((number, text)));
        }
        cause = error.source();
    }
    None
}
