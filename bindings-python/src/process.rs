//! Running commands and programs.

use std::collections::BTreeMap;

use daytona_core::ExecOptions;
use pyo3::prelude::*;

use crate::call::Mode;
use crate::convert::value;

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
        let options = ExecOptions { cwd, env, timeout, argv: None };
        self.mode.run(py, async move { process.exec(&command, options).await }, |py, answer| {
            value(py, (answer.exit_code, answer.result))
        })
    }

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
        let options = ExecOptions { cwd: None, env, timeout, argv };
        self.mode.run(py, async move { process.code_run(&code, None, options).await }, |py, answer| {
            value(py, (answer.exit_code, answer.result))
        })
    }
}
