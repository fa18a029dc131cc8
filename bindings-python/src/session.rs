//! Sessions, and the logs of their commands as they are written.

use daytona_core::wire::session::{Command, Session, SessionCommandLogs, SessionExecuteResponse};
use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;

use crate::call::Mode;
use crate::convert::value;
use crate::output::{Left, chunks};

/// In the order of the fields of the Python class.
pub(crate) fn command(command: Command) -> (String, Option<i32>, String) {
    (command.command, command.exit_code, command.id)
}

/// The commands and the id.
pub(crate) fn session(session: Session) -> (Vec<(String, Option<i32>, String)>, String) {
    (session.commands.into_iter().map(command).collect(), session.session_id)
}

/// In the order of the fields of the Python class.
pub(crate) fn executed(py: Python<'_>, answer: SessionExecuteResponse) -> PyResult<Py<PyAny>> {
    let SessionExecuteResponse { cmd_id, output, stdout, stderr, exit_code } = answer;
    value(py, (cmd_id, exit_code, output, stderr.unwrap_or_default(), stdout.unwrap_or_default()))
}

/// In the order of the fields of the Python class.
pub(crate) fn logs(py: Python<'_>, logs: SessionCommandLogs) -> PyResult<Py<PyAny>> {
    value(py, (logs.output, logs.stdout, logs.stderr))
}

/// The output of a command, from its beginning to its end.
#[pyclass(frozen, module = "daytona_native._native")]
pub(crate) struct LogStream {
    inner: daytona_core::LogStream,
    left: Left<Vec<daytona_core::OutputChunk>>,
    mode: Mode,
}

impl LogStream {
    pub(crate) fn make(py: Python<'_>, inner: daytona_core::LogStream, mode: Mode) -> PyResult<Py<PyAny>> {
        Self { inner, left: Left::default(), mode }.into_py_any(py)
    }
}

#[pymethods]
impl LogStream {
    /// The chunks there are by now, waiting for one, or `None` at the end.
    fn next(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let stream = self.inner.clone();
        self.left.next(py, self.mode, async move { stream.next().await }, chunks)
    }

    /// Ends it early.
    fn close(&self) {
        self.left.clear();
        self.inner.close();
    }
}
