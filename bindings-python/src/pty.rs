//! Terminals.

use std::time::Duration;

use bytes::Bytes;
use daytona_core::Error;
use daytona_core::wire::pty::PtySessionInfo;
use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyBytes;

use crate::call::Mode;
use crate::convert::none;
use crate::error::raise;
use crate::output::Left;

/// In the order of the fields of the Python class.
pub(crate) fn info(py: Python<'_>, info: PtySessionInfo) -> PyResult<Py<PyAny>> {
    let PtySessionInfo { id, active, cols, rows, created_at, cwd, envs, lazy_start } = info;
    (active, cols, created_at, cwd, envs, id, lazy_start, rows).into_py_any(py)
}

/// Columns or rows; the core knows the range.
pub(crate) fn size(py: Python<'_>, name: &str, value: i64) -> PyResult<u16> {
    u16::try_from(value).map_err(|_| raise(py, &Error::invalid(format!("{name} is {value}: it can be 1 to 1000"))))
}

/// A connection to a terminal.
#[pyclass(frozen, module = "daytona_native._native")]
pub(crate) struct Pty {
    inner: daytona_core::Pty,
    left: Left<Bytes>,
    mode: Mode,
}

impl Pty {
    pub(crate) fn make(py: Python<'_>, inner: daytona_core::Pty, mode: Mode) -> PyResult<Py<PyAny>> {
        Self { inner, left: Left::default(), mode }.into_py_any(py)
    }
}

#[pymethods]
impl Pty {
    #[getter]
    fn session_id(&self) -> &str {
        self.inner.session_id()
    }

    #[getter]
    fn exit_code(&self) -> Option<i32> {
        self.inner.exit_code()
    }

    #[getter]
    fn error(&self) -> Option<String> {
        self.inner.error()
    }

    fn is_connected(&self) -> bool {
        self.inner.is_connected()
    }

    #[pyo3(signature = (timeout=None))]
    fn wait_for_connection(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Py<PyAny>> {
        let pty = self.inner.clone();
        self.mode.run(py, async move { pty.wait_for_connection(timeout).await }, none)
    }

    fn send_input(&self, py: Python<'_>, data: PyBackedBytes) -> PyResult<Py<PyAny>> {
        let pty = self.inner.clone();
        let data = Bytes::from_owner(data);
        self.mode.run(py, async move { pty.send_input(data).await }, none)
    }

    fn resize(&self, py: Python<'_>, cols: i64, rows: i64) -> PyResult<Py<PyAny>> {
        let pty = self.inner.clone();
        let (cols, rows) = (size(py, "cols", cols)?, size(py, "rows", rows)?);
        self.mode.run(py, async move { pty.resize(cols, rows).await }, info)
    }

    fn kill(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let pty = self.inner.clone();
        self.mode.run(py, async move { pty.kill().await }, none)
    }

    /// The output there is by now, waiting for some, or `None` at the end; empty after `timeout` seconds.
    #[pyo3(signature = (timeout=None))]
    fn next(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Py<PyAny>> {
        let limit = match timeout.map(Duration::try_from_secs_f64).transpose() {
            Ok(limit) => limit,
            Err(error) => return Err(raise(py, &Error::invalid(format!("timeout: {error}")))),
        };
        let pty = self.inner.clone();
        let next = async move {
            match limit {
                None => pty.next().await,
                Some(limit) => tokio::time::timeout(limit, pty.next()).await.unwrap_or_else(|_| Ok(Some(Bytes::new()))),
            }
        };
        self.left.next(py, self.mode, next, |py, data| Ok(PyBytes::new(py, &data).into_any().unbind()))
    }

    /// Ends the connection.
    fn disconnect(&self) {
        self.left.clear();
        self.inner.disconnect();
    }
}
