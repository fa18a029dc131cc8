//! Running commands and programs: all calls of one sandbox's processes.

use std::collections::BTreeMap;

use daytona_core::wire::session::SessionExecuteRequest;
use daytona_core::{Error, ExecOptions, PtyOptions};
use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;

use crate::call::Mode;
use crate::convert::{none, value};
use crate::exec_stream::ExecStream;
use crate::pty::{self, Pty};
use crate::session::{self, LogStream};

/// The processes of one sandbox.
#[pyclass(frozen, module = "daytona_native._native")]
pub(crate) struct Process {
    inner: daytona_core::Process,
    mode: Mode,
}

impl Process {
    pub(crate) fn new(inner: daytona_core::Process, mode: Mode) -> Self {
        Self { inner, mode }
    }
}

#[pymethods]
impl Process {
    #[pyo3(signature = (command, cwd=None, env=None, timeout=None))]
    fn exec(
        &self,
        py: Python<'_>,
        command: String,
        cwd: Option<String>,
        env: Option<BTreeMap<String, String>>,
        timeout: Option<f64>,
    ) -> PyResult<Py<PyAny>> {
        let process = self.inner.clone();
        let options = ExecOptions { cwd, env, timeout, ..ExecOptions::default() };
        self.mode.run(py, async move { process.exec(&command, options).await }, |py, answer| {
            value(py, (answer.exit_code, answer.result))
        })
    }

    #[pyo3(signature = (command, cwd=None, env=None, timeout=None))]
    fn exec_stream(
        &self,
        py: Python<'_>,
        command: String,
        cwd: Option<String>,
        env: Option<BTreeMap<String, String>>,
        timeout: Option<f64>,
    ) -> PyResult<Py<PyAny>> {
        let (process, mode) = (self.inner.clone(), self.mode);
        let options = ExecOptions { cwd, env, timeout, ..ExecOptions::default() };
        mode.run(py, async move { process.exec_stream(&command, options).await }, move |py, stream| {
            ExecStream::make(py, stream, mode)
        })
    }

    /// The exit code, the output, and the charts as JSON text if there are some.
    #[pyo3(signature = (code, argv=None, env=None, timeout=None))]
    fn code_run(
        &self,
        py: Python<'_>,
        code: String,
        argv: Option<Vec<String>>,
        env: Option<BTreeMap<String, String>>,
        timeout: Option<f64>,
    ) -> PyResult<Py<PyAny>> {
        let process = self.inner.clone();
        let options = ExecOptions { env, timeout, argv, ..ExecOptions::default() };
        self.mode.run(py, async move { process.code_run(&code, None, options).await }, |py, answer| {
            let charts = answer.artifacts.and_then(|artifacts| artifacts.charts).filter(|charts| !charts.is_empty());
            let charts = charts
                .map(|charts| serde_json::to_string(&charts))
                .transpose()
                .map_err(|error| crate::error::raise(py, &Error::invalid(format!("a chart: {error}"))))?;
            value(py, (answer.exit_code, answer.result, charts))
        })
    }

    #[pyo3(signature = (session_id, timeout=None))]
    fn create_session(&self, py: Python<'_>, session_id: String, timeout: Option<f64>) -> PyResult<Py<PyAny>> {
        let process = self.inner.clone();
        self.mode.run(py, async move { process.create_session(&session_id, timeout).await }, none)
    }

    #[pyo3(signature = (session_id, timeout=None))]
    fn get_session(&self, py: Python<'_>, session_id: String, timeout: Option<f64>) -> PyResult<Py<PyAny>> {
        let process = self.inner.clone();
        self.mode.run(py, async move { process.get_session(&session_id, timeout).await }, |py, found| {
            session::session(found).into_py_any(py)
        })
    }

    #[pyo3(signature = (timeout=None))]
    fn get_entrypoint_session(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Py<PyAny>> {
        let process = self.inner.clone();
        self.mode.run(py, async move { process.get_entrypoint_session(timeout).await }, |py, found| {
            session::session(found).into_py_any(py)
        })
    }

    #[pyo3(signature = (timeout=None))]
    fn list_sessions(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Py<PyAny>> {
        let process = self.inner.clone();
        self.mode.run(py, async move { process.list_sessions(timeout).await }, |py, found| {
            found.into_iter().map(session::session).collect::<Vec<_>>().into_py_any(py)
        })
    }

    #[pyo3(signature = (session_id, timeout=None))]
    fn delete_session(&self, py: Python<'_>, session_id: String, timeout: Option<f64>) -> PyResult<Py<PyAny>> {
        let process = self.inner.clone();
        self.mode.run(py, async move { process.delete_session(&session_id, timeout).await }, none)
    }

    #[pyo3(signature = (session_id, command, run_async=None, suppress_input_echo=None, timeout=None))]
    fn execute_session_command(
        &self,
        py: Python<'_>,
        session_id: String,
        command: String,
        run_async: Option<bool>,
        suppress_input_echo: Option<bool>,
        timeout: Option<f64>,
    ) -> PyResult<Py<PyAny>> {
        let process = self.inner.clone();
        let request = SessionExecuteRequest { command, run_async, var_async: None, suppress_input_echo };
        let work = async move { process.execute_session_command(&session_id, request, timeout).await };
        self.mode.run(py, work, session::executed)
    }

    #[pyo3(signature = (session_id, command_id, timeout=None))]
    fn get_session_command(
        &self,
        py: Python<'_>,
        session_id: String,
        command_id: String,
        timeout: Option<f64>,
    ) -> PyResult<Py<PyAny>> {
        let process = self.inner.clone();
        let work = async move { process.get_session_command(&session_id, &command_id, timeout).await };
        self.mode.run(py, work, |py, command| session::command(command).into_py_any(py))
    }

    #[pyo3(signature = (session_id, command_id, timeout=None))]
    fn get_session_command_logs(
        &self,
        py: Python<'_>,
        session_id: String,
        command_id: String,
        timeout: Option<f64>,
    ) -> PyResult<Py<PyAny>> {
        let process = self.inner.clone();
        let work = async move { process.get_session_command_logs(&session_id, &command_id, timeout).await };
        self.mode.run(py, work, session::logs)
    }

    #[pyo3(signature = (timeout=None))]
    fn get_entrypoint_logs(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Py<PyAny>> {
        let process = self.inner.clone();
        self.mode.run(py, async move { process.get_entrypoint_logs(timeout).await }, session::logs)
    }

    #[pyo3(signature = (session_id, command_id, data, timeout=None))]
    fn send_session_command_input(
        &self,
        py: Python<'_>,
        session_id: String,
        command_id: String,
        data: String,
        timeout: Option<f64>,
    ) -> PyResult<Py<PyAny>> {
        let process = self.inner.clone();
        let work = async move { process.send_session_command_input(&session_id, &command_id, &data, timeout).await };
        self.mode.run(py, work, none)
    }

    /// `asynchronous`: as for an asynchronous client, whatever this one is.
    #[pyo3(signature = (session_id, command_id, asynchronous=false))]
    fn follow_session_command_logs(
        &self,
        py: Python<'_>,
        session_id: String,
        command_id: String,
        asynchronous: bool,
    ) -> PyResult<Py<PyAny>> {
        let (process, mode) = (self.inner.clone(), self.streams(asynchronous));
        let work = async move { process.follow_session_command_logs(&session_id, &command_id).await };
        mode.run(py, work, move |py, stream| LogStream::make(py, stream, mode))
    }

    #[pyo3(signature = (asynchronous=false))]
    fn follow_entrypoint_logs(&self, py: Python<'_>, asynchronous: bool) -> PyResult<Py<PyAny>> {
        let (process, mode) = (self.inner.clone(), self.streams(asynchronous));
        let work = async move { process.follow_entrypoint_logs().await };
        mode.run(py, work, move |py, stream| LogStream::make(py, stream, mode))
    }

    #[pyo3(signature = (id, cwd=None, env=None, cols=None, rows=None))]
    fn create_pty_session(
        &self,
        py: Python<'_>,
        id: String,
        cwd: Option<String>,
        env: Option<BTreeMap<String, String>>,
        cols: Option<i64>,
        rows: Option<i64>,
    ) -> PyResult<Py<PyAny>> {
        let (process, mode) = (self.inner.clone(), self.mode);
        let cols = cols.map(|cols| pty::size(py, "cols", cols)).transpose()?;
        let rows = rows.map(|rows| pty::size(py, "rows", rows)).transpose()?;
        let options = PtyOptions { cwd, env, cols, rows };
        let work = async move { process.create_pty_session(&id, options).await };
        mode.run(py, work, move |py, terminal| Pty::make(py, terminal, mode))
    }

    #[pyo3(signature = (session_id, replay=false))]
    fn connect_pty_session(&self, py: Python<'_>, session_id: String, replay: bool) -> PyResult<Py<PyAny>> {
        let (process, mode) = (self.inner.clone(), self.mode);
        let work = async move { process.connect_pty_session(&session_id, replay).await };
        mode.run(py, work, move |py, terminal| Pty::make(py, terminal, mode))
    }

    #[pyo3(signature = (timeout=None))]
    fn list_pty_sessions(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Py<PyAny>> {
        let process = self.inner.clone();
        self.mode.run(py, async move { process.list_pty_sessions(timeout).await }, |py, found| {
            found.into_iter().map(|info| pty::info(py, info)).collect::<PyResult<Vec<_>>>()?.into_py_any(py)
        })
    }

    #[pyo3(signature = (session_id, timeout=None))]
    fn get_pty_session_info(&self, py: Python<'_>, session_id: String, timeout: Option<f64>) -> PyResult<Py<PyAny>> {
        let process = self.inner.clone();
        self.mode.run(py, async move { process.get_pty_session_info(&session_id, timeout).await }, pty::info)
    }

    #[pyo3(signature = (session_id, timeout=None))]
    fn kill_pty_session(&self, py: Python<'_>, session_id: String, timeout: Option<f64>) -> PyResult<Py<PyAny>> {
        let process = self.inner.clone();
        self.mode.run(py, async move { process.kill_pty_session(&session_id, timeout).await }, none)
    }

    #[pyo3(signature = (session_id, cols, rows, timeout=None))]
    fn resize_pty_session(
        &self,
        py: Python<'_>,
        session_id: String,
        cols: i64,
        rows: i64,
        timeout: Option<f64>,
    ) -> PyResult<Py<PyAny>> {
        let process = self.inner.clone();
        let (cols, rows) = (pty::size(py, "cols", cols)?, pty::size(py, "rows", rows)?);
        let work = async move { process.resize_pty_session(&session_id, cols, rows, timeout).await };
        self.mode.run(py, work, pty::info)
    }
}

impl Process {
    fn streams(&self, asynchronous: bool) -> Mode {
        if asynchronous { Mode::Async } else { self.mode }
    }
}
