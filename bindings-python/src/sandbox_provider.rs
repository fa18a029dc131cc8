//! Sandboxes for an orchestrator. Arguments and results are JSON.

use std::path::PathBuf;

use daytona_core::{CapabilityProfile, Config, Error, SandboxHandle, Source};
use pyo3::prelude::*;
use secrecy::SecretString;
use serde_json::Value;

use crate::call::Mode;
use crate::convert::value;
use crate::error::raise;
use crate::session::LogStream;

/// A provider; its methods return what those of a client do.
#[pyclass(frozen, module = "daytona_native._native")]
pub(crate) struct SandboxProvider {
    inner: daytona_core::SandboxProvider,
    mode: Mode,
}

fn parse(py: Python<'_>, text: &str) -> PyResult<Value> {
    serde_json::from_str(text)
        .map_err(|error| raise(py, &Error::invalid(format!("the arguments are no JSON: {error}"))))
}

#[pymethods]
impl SandboxProvider {
    #[new]
    #[pyo3(signature = (asynchronous, pool, api_key=None, server_binary=None))]
    fn new(
        py: Python<'_>,
        asynchronous: bool,
        pool: &str,
        api_key: Option<String>,
        server_binary: Option<PathBuf>,
    ) -> PyResult<Self> {
        let (mode, source) =
            if asynchronous { (Mode::Async, Source::PythonAsync) } else { (Mode::Sync, Source::Python) };
        let settings = Config { api_key: api_key.map(SecretString::from), source, server_binary, ..Config::default() };
        let inner = daytona_core::SandboxProvider::new(&parse(py, pool)?, settings);
        Ok(Self { inner: inner.map_err(|error| raise(py, &error))?, mode })
    }

    /// The pool in force.
    fn pool(&self) -> String {
        serde_json::to_string(self.inner.pool()).unwrap_or_default()
    }

    /// Until the caller has the handle the sandbox is removed with the call.
    #[pyo3(signature = (spec, timeout=None))]
    fn provision(&self, py: Python<'_>, spec: &str, timeout: Option<f64>) -> PyResult<Py<PyAny>> {
        let spec = parse(py, spec)?;
        let provider = self.inner.clone();
        self.mode.run(py, async move { provider.provision(&spec, timeout).await }, |py, provisioned| {
            value(py, serde_json::to_string(&provisioned.keep()).unwrap_or_default())
        })
    }

    #[pyo3(signature = (name, arguments, timeout=None))]
    fn service(&self, py: Python<'_>, name: String, arguments: &str, timeout: Option<f64>) -> PyResult<Py<PyAny>> {
        let arguments = parse(py, arguments)?;
        let provider = self.inner.clone();
        self.mode.run(py, async move { provider.service(&name, &arguments, timeout).await }, |py, result| {
            value(py, result.to_string())
        })
    }

    fn stream_logs(&self, py: Python<'_>, handle: &str) -> PyResult<Py<PyAny>> {
        let handle = SandboxHandle::read(&parse(py, handle)?).map_err(|error| raise(py, &error))?;
        let (provider, mode) = (self.inner.clone(), self.mode);
        mode.run(py, async move { provider.stream_logs(&handle).await }, move |py, stream| {
            LogStream::make(py, stream, mode)
        })
    }
}

/// The classic profile.
#[pyfunction]
pub(crate) fn provider_profile() -> String {
    serde_json::to_string(&CapabilityProfile::classic()).unwrap_or_default()
}
