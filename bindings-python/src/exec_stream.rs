//! Commands whose output comes while they run.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use bytes::Bytes;
use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;

use crate::call::Mode;
use crate::convert::{none, value};
use crate::output::{Left, chunks};

/// Those that may run when the interpreter ends.
static STARTED: Mutex<Vec<Weak<daytona_core::ExecStream>>> = Mutex::new(Vec::new());

/// Gives up all commands; true if there were some.
pub(crate) fn close_all() -> bool {
    let started = std::mem::take(&mut *STARTED.lock().unwrap_or_else(PoisonError::into_inner));
    let mut any = false;
    for stream in started.iter().filter_map(Weak::upgrade) {
        stream.close();
        any = true;
    }
    any
}

/// A command that runs.
#[pyclass(frozen, module = "daytona_native._native")]
pub(crate) struct ExecStream {
    inner: Arc<daytona_core::ExecStream>,
    left: Left<Vec<daytona_core::OutputChunk>>,
    mode: Mode,
}

impl ExecStream {
    pub(crate) fn make(py: Python<'_>, inner: daytona_core::ExecStream, mode: Mode) -> PyResult<Py<PyAny>> {
        let inner = Arc::new(inner);
        {
            let mut started = STARTED.lock().unwrap_or_else(PoisonError::into_inner);
            if started.len() == started.capacity() {
                started.retain(|one| one.strong_count() > 0);
            }
            started.push(Arc::downgrade(&inner));
        }
        Self { inner, left: Left::default(), mode }.into_py_any(py)
    }
}

#[pymethods]
impl ExecStream {
    #[getter]
    fn id(&self) -> &str {
        self.inner.id()
    }

    #[getter]
    fn exit_code(&self) -> Option<i32> {
        self.inner.exit_code()
    }

    /// The chunks there are by now, waiting for one, or `None` at the end.
    fn next(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let stream = Arc::clone(&self.inner);
        self.left.next(py, self.mode, async move { stream.next().await }, chunks)
    }

    /// Its exit code, once it has ended.
    fn wait(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let stream = Arc::clone(&self.inner);
        self.left.clear();
        self.mode.run(py, async move { stream.wait().await }, value)
    }

    fn write_stdin(&self, py: Python<'_>, data: PyBackedBytes) -> PyResult<Py<PyAny>> {
        let stream = Arc::clone(&self.inner);
        let data = Bytes::from_owner(data);
        self.mode.run(py, async move { stream.write_stdin(data).await }, none)
    }

    fn close_stdin(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let stream = Arc::clone(&self.inner);
        self.mode.run(py, async move { stream.close_stdin().await }, none)
    }

    fn signal(&self, py: Python<'_>, name: String) -> PyResult<Py<PyAny>> {
        let stream = Arc::clone(&self.inner);
        self.mode.run(py, async move { stream.signal(&name).await }, none)
    }

    fn kill(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let stream = Arc::clone(&self.inner);
        self.mode.run(py, async move { stream.kill().await }, none)
    }

    /// Gives it up.
    fn close(&self) {
        self.left.clear();
        self.inner.close();
    }
}
