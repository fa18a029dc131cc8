//! Commands in sandboxes that come and go by themselves.

use std::collections::BTreeMap;
use std::path::PathBuf;

use bytes::Bytes;
use daytona_core::{Config, Source, TERMINAL_IMAGES, TerminalConfig, TerminalOptions};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;

use crate::call::Mode;
use crate::convert::{none, value};
use crate::daytona::Daytona;
use crate::error::raise;
use crate::exec_stream::ExecStream;

/// A terminal backend; its methods return what those of a client do.
#[pyclass(frozen, module = "daytona_native._native")]
pub(crate) struct TerminalBackend {
    inner: daytona_core::TerminalBackend,
    mode: Mode,
}

#[pymethods]
impl TerminalBackend {
    /// `config` is YAML or JSON. Without a client the settings are looked up.
    #[new]
    #[pyo3(signature = (asynchronous, config, is_yaml, client=None, server_binary=None))]
    fn new(
        py: Python<'_>,
        asynchronous: bool,
        config: &str,
        is_yaml: bool,
        client: Option<&Bound<'_, Daytona>>,
        server_binary: Option<PathBuf>,
    ) -> PyResult<Self> {
        let (mode, source) =
            if asynchronous { (Mode::Async, Source::PythonAsync) } else { (Mode::Sync, Source::Python) };
        let make = || {
            let config = if is_yaml {
                TerminalConfig::from_yaml(config)?
            } else {
                TerminalConfig::read(&serde_json::from_str(config).unwrap_or_default())?
            };
            if let Some(client) = client {
                Ok(daytona_core::TerminalBackend::new(client.get().core(), config))
            } else {
                let settings = Config { source, server_binary, ..Config::default() };
                daytona_core::TerminalBackend::connect(&settings, config)
            }
        };
        let inner = make().map_err(|error| raise(py, &error))?;
        Ok(Self { inner, mode })
    }

    /// The configuration in force, as JSON.
    fn config(&self) -> String {
        serde_json::to_string(self.inner.config()).unwrap_or_default()
    }

    #[pyo3(signature = (command, cwd=None, env=None, timeout=None))]
    fn exec(
        &self,
        py: Python<'_>,
        command: String,
        cwd: Option<String>,
        env: Option<BTreeMap<String, String>>,
        timeout: Option<f64>,
    ) -> PyResult<Py<PyAny>> {
        let (backend, mode) = (self.inner.clone(), self.mode);
        let options = TerminalOptions { cwd, env, timeout };
        mode.run(py, async move { backend.exec(&command, options).await }, move |py, stream| {
            ExecStream::make(py, stream, mode)
        })
    }

    /// Exit code, stdout and stderr.
    #[pyo3(signature = (command, cwd=None, env=None, timeout=None, stdin=None))]
    fn run(
        &self,
        py: Python<'_>,
        command: String,
        cwd: Option<String>,
        env: Option<BTreeMap<String, String>>,
        timeout: Option<f64>,
        stdin: Option<PyBackedBytes>,
    ) -> PyResult<Py<PyAny>> {
        let backend = self.inner.clone();
        let options = TerminalOptions { cwd, env, timeout };
        let stdin = stdin.map(Bytes::from_owner);
        self.mode.run(py, async move { backend.run(&command, options, stdin).await }, |py, result| {
            value(py, (result.exit_code, result.stdout, result.stderr))
        })
    }

    #[pyo3(signature = (timeout=None))]
    fn close(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Py<PyAny>> {
        // Begins here: a scope that is cancelled would drop a call before its first step.
        let closing = self.inner.close(timeout);
        self.mode.run(py, closing, none)
    }

    #[pyo3(signature = (timeout=None))]
    fn destroy(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Py<PyAny>> {
        let backend = self.inner.clone();
        self.mode.run(py, async move { backend.destroy(timeout).await }, none)
    }
}

/// Image and language of each image that is made for terminals.
#[pyfunction]
pub(crate) fn terminal_images() -> Vec<(&'static str, &'static str)> {
    TERMINAL_IMAGES.iter().map(|image| (image.image, image.language)).collect()
}
