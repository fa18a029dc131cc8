//! The code interpreter.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use daytona_core::wire::interpreter::{InterpreterContext, RunMessage};
use daytona_core::{Error, RunCodeOptions};
use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;

use crate::call::Mode;
use crate::convert::none;
use crate::output::Left;

/// The contexts of one sandbox.
#[pyclass(frozen, module = "daytona_native._native")]
pub(crate) struct CodeInterpreter {
    inner: daytona_core::CodeInterpreter,
    mode: Mode,
}

impl CodeInterpreter {
    pub(crate) fn new(inner: daytona_core::CodeInterpreter, mode: Mode) -> Self {
        Self { inner, mode }
    }
}

#[pymethods]
impl CodeInterpreter {
    #[pyo3(signature = (code, context=None, env=None, timeout=None, results=false))]
    fn run_code(
        &self,
        py: Python<'_>,
        code: String,
        context: Option<String>,
        env: Option<BTreeMap<String, String>>,
        timeout: Option<f64>,
        results: bool,
    ) -> PyResult<Py<PyAny>> {
        let (interpreter, mode) = (self.inner.clone(), self.mode);
        let options = RunCodeOptions { context, env, timeout, results };
        mode.run(py, async move { interpreter.run_code(&code, options).await }, move |py, run| {
            CodeRun { inner: Mutex::new(Some(run)), left: Left::default(), mode }.into_py_any(py)
        })
    }

    #[pyo3(signature = (cwd=None, timeout=None))]
    fn create_context(&self, py: Python<'_>, cwd: Option<String>, timeout: Option<f64>) -> PyResult<Py<PyAny>> {
        let interpreter = self.inner.clone();
        self.mode.run(py, async move { interpreter.create_context(cwd.as_deref(), timeout).await }, |py, context| {
            fields(context).into_py_any(py)
        })
    }

    #[pyo3(signature = (timeout=None))]
    fn list_contexts(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Py<PyAny>> {
        let interpreter = self.inner.clone();
        self.mode.run(py, async move { interpreter.list_contexts(timeout).await }, |py, contexts| {
            contexts.into_iter().map(fields).collect::<Vec<_>>().into_py_any(py)
        })
    }

    #[pyo3(signature = (id, timeout=None))]
    fn delete_context(&self, py: Python<'_>, id: String, timeout: Option<f64>) -> PyResult<Py<PyAny>> {
        let interpreter = self.inner.clone();
        self.mode.run(py, async move { interpreter.delete_context(&id, timeout).await }, none)
    }
}

/// In the order of the fields of the Python class.
fn fields(context: InterpreterContext) -> (bool, String, String, String, String) {
    let InterpreterContext { id, cwd, created_at, active, language } = context;
    (active, created_at, cwd, id, language)
}

/// Code that runs; dropping it interrupts the code.
#[pyclass(frozen, module = "daytona_native._native")]
pub(crate) struct CodeRun {
    inner: Mutex<Option<daytona_core::CodeRun>>,
    left: Left<Vec<RunMessage>>,
    mode: Mode,
}

#[pymethods]
impl CodeRun {
    /// The messages there are by now, waiting for one, or `None` at the end.
    fn next(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let run = self.inner.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let next = async move {
            match run {
                Some(run) => run.next().await,
                None => Ok(None),
            }
        };
        self.left.next(py, self.mode, next, |py, messages| {
            messages.into_iter().map(|one| message(py, one)).collect::<PyResult<Vec<_>>>()?.into_py_any(py)
        })
    }

    /// Interrupts the code if it still runs.
    fn close(&self) {
        self.left.clear();
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

/// The type, and the rest; the data of results are JSON text.
fn message(py: Python<'_>, message: RunMessage) -> PyResult<Py<PyAny>> {
    match message {
        RunMessage::Stdout { text } => ("stdout", text).into_py_any(py),
        RunMessage::Stderr { text } => ("stderr", text).into_py_any(py),
        RunMessage::Error { name, value, traceback } => ("error", name, value, traceback).into_py_any(py),
        RunMessage::Result { data, is_main } => {
            let data = serde_json::to_string(&data)
                .map_err(|error| crate::error::raise(py, &Error::invalid(format!("a result: {error}"))))?;
            ("result", data, is_main).into_py_any(py)
        }
        RunMessage::Control { text } => ("control", text).into_py_any(py),
    }
}
