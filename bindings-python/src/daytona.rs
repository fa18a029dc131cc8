//! The client.

use std::path::PathBuf;
use std::time::Duration;

use daytona_core::{Config, CreateOptions, Error, Source, WarningKind};
use pyo3::exceptions::{PyDeprecationWarning, PyUserWarning};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use secrecy::SecretString;

use crate::call::{self, Mode};
use crate::convert::{self, Fields, value};
use crate::error::raise;
use crate::image::{self, SandboxCreation};
use crate::sandbox::Sandbox;
use crate::snapshot::SnapshotService;
use crate::telemetry;

/// A client. `asynchronous` decides what all its methods, and those of its sandboxes, return.
#[pyclass(frozen, module = "daytona_native._native")]
pub(crate) struct Daytona {
    inner: daytona_core::Daytona,
    mode: Mode,
}

impl Daytona {
    pub(crate) fn core(&self) -> &daytona_core::Daytona {
        &self.inner
    }
}

#[pymethods]
impl Daytona {
    #[new]
    #[pyo3(signature = (asynchronous, config=None, server_binary=None, data_dir=None))]
    fn new(
        py: Python<'_>,
        asynchronous: bool,
        config: Option<&Bound<'_, PyAny>>,
        server_binary: Option<PathBuf>,
        data_dir: Option<PathBuf>,
    ) -> PyResult<Self> {
        let mode = if asynchronous { Mode::Async } else { Mode::Sync };
        let source = if asynchronous { Source::PythonAsync } else { Source::Python };
        let given = config.map(|config| read_config(&Fields(config))).transpose()?.unwrap_or_default();
        let config = Config { source, server_binary, local_data_dir: data_dir, ..given };
        let inner = daytona_core::Daytona::new(&config).map_err(|error| raise(py, &error))?;
        warn(py, &inner)?;
        if inner.settings().otel_enabled {
            telemetry::turn_on();
        }
        Ok(Self { inner, mode })
    }

    #[pyo3(signature = (params=None, timeout=None))]
    fn create(&self, py: Python<'_>, params: Option<&Bound<'_, PyAny>>, timeout: Option<f64>) -> PyResult<Py<PyAny>> {
        let params = convert::create_params(params)?;
        let (client, mode) = (self.inner.clone(), self.mode);
        let options = CreateOptions { timeout, ..CreateOptions::default() };
        mode.run(py, async move { client.create(params, &options).await }, move |py, sandbox| {
            value(py, Sandbox::new(sandbox, mode))
        })
    }

    /// Begins to create one; `logs` says whether lines of its build's log are wanted.
    #[pyo3(signature = (params, logs, timeout=None, on_progress=None))]
    fn begin_create(
        &self,
        py: Python<'_>,
        params: Option<&Bound<'_, PyAny>>,
        logs: bool,
        timeout: Option<f64>,
        on_progress: Option<Py<PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        let params = convert::create_params(params)?;
        let (client, mode) = (self.inner.clone(), self.mode);
        let begin = move |progress| {
            let options = CreateOptions { timeout, progress, logs };
            async move { client.begin_create(params, &options).await }
        };
        image::begin(py, mode, on_progress, begin, move |py, creation| SandboxCreation::make(py, creation, mode))
    }

    #[pyo3(signature = (sandbox_id_or_name, timeout=None))]
    fn get(&self, py: Python<'_>, sandbox_id_or_name: String, timeout: Option<f64>) -> PyResult<Py<PyAny>> {
        let (client, mode) = (self.inner.clone(), self.mode);
        mode.run(py, async move { client.get(&sandbox_id_or_name, timeout).await }, move |py, sandbox| {
            value(py, Sandbox::new(sandbox, mode))
        })
    }

    /// One page: the sandboxes and the cursor of the next page.
    #[pyo3(signature = (query=None, cursor=None, timeout=None))]
    fn list(
        &self,
        py: Python<'_>,
        query: Option<&Bound<'_, PyAny>>,
        cursor: Option<String>,
        timeout: Option<f64>,
    ) -> PyResult<Py<PyAny>> {
        let query = convert::list_query(query)?;
        let (client, mode) = (self.inner.clone(), self.mode);
        mode.run(py, async move { client.list(&query, cursor.as_deref(), timeout).await }, move |py, page| {
            let items: Vec<_> = page.items.into_iter().map(|sandbox| Sandbox::new(sandbox, mode)).collect();
            value(py, (items, page.next_cursor))
        })
    }

    fn snapshot(&self) -> SnapshotService {
        SnapshotService::new(self.inner.snapshot(), self.mode)
    }

    /// One operation of a service, with arguments and result as JSON.
    #[pyo3(signature = (name, arguments, timeout=None))]
    fn service(&self, py: Python<'_>, name: String, arguments: &str, timeout: Option<f64>) -> PyResult<Py<PyAny>> {
        let arguments: serde_json::Value = serde_json::from_str(arguments)
            .map_err(|error| raise(py, &Error::invalid(format!("the arguments are no JSON: {error}"))))?;
        let client = self.inner.clone();
        self.mode.run(py, async move { client.service(&name, &arguments, timeout).await }, |py, result| {
            value(py, result.to_string())
        })
    }

    /// The base URL of the API; starts the local server if that is what is configured.
    fn api_url(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let client = self.inner.clone();
        self.mode.run(py, async move { client.api_url().await }, value)
    }

    /// The region for new sandboxes, and whether state is waited for by polling only.
    fn settings(&self) -> (Option<String>, bool) {
        let settings = self.inner.settings();
        (settings.target.as_ref().map(|setting| setting.value.clone()), settings.use_deprecated_polling)
    }
}

/// Lets the connections of a client that has been given up close at once.
#[pyfunction]
pub(crate) fn settle(py: Python<'_>) {
    call::settle(py);
}

fn read_config(fields: &Fields<'_, '_>) -> PyResult<Config> {
    let secret = |name| -> PyResult<Option<SecretString>> { Ok(fields.get::<String>(name)?.map(SecretString::from)) };
    let request_timeout = match fields.get::<f64>("request_timeout")? {
        None => None,
        Some(seconds) => Some(
            Duration::try_from_secs_f64(seconds)
                .map_err(|error| raise(fields.0.py(), &Error::invalid(format!("request_timeout: {error}"))))?,
        ),
    };
    Ok(Config {
        api_key: secret("api_key")?,
        jwt_token: secret("jwt_token")?,
        organization_id: fields.get("organization_id")?,
        api_url: match fields.get("api_url")? {
            None => fields.get("server_url")?,
            given => given,
        },
        target: fields.get("target")?,
        connection_pool_maxsize: Some(fields.get("connection_pool_maxsize")?),
        request_timeout,
        use_deprecated_polling: fields.get("use_deprecated_polling")?,
        otel_enabled: fields.get("otel_enabled")?,
        ..Config::default()
    })
}

fn warn(py: Python<'_>, client: &daytona_core::Daytona) -> PyResult<()> {
    static WARN: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    for warning in &client.settings().warnings {
        let warn = WARN.import(py, "daytona_native._warnings", "warn")?;
        let category = match warning.kind {
            WarningKind::Deprecation => py.get_type::<PyDeprecationWarning>(),
            WarningKind::Ignored => py.get_type::<PyUserWarning>(),
        };
        warn.call1((&warning.message, category))?;
    }
    Ok(())
}
