//! The client.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use daytona_core::{Config, CreateOptions, Error, Source, Warning, WarningKind};
use pyo3::exceptions::{PyDeprecationWarning, PyUserWarning};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use secrecy::SecretString;

use crate::call::{self, Mode};
use crate::convert::{self, Fields, value};
use crate::error::{keep, raise};
use crate::image::{self, SandboxCreation};
use crate::sandbox::Sandbox;
use crate::snapshot::SnapshotService;
use crate::telemetry;

/// A client. `asynchronous` decides what all its methods, and those of its sandboxes, return.
#[pyclass(frozen, module = "daytona_native._native")]
pub(crate) struct Daytona {
    inner: daytona_core::Daytona,
    mode: Mode,
    /// The user has been told what there is to know of the server.
    is_told: Arc<AtomicBool>,
}

impl Daytona {
    pub(crate) fn core(&self) -> &daytona_core::Daytona {
        &self.inner
    }

    /// Tells the user, after a call, what there is to know of the server that it has reached.
    fn tell(&self) -> impl FnOnce(Python<'_>) -> PyResult<()> + Send + use<> {
        let (client, is_told) = (self.inner.clone(), Arc::clone(&self.is_told));
        move |py| {
            if is_told.load(Ordering::Relaxed) {
                return Ok(());
            }
            let Some(notices) = client.notices() else { return Ok(()) };
            is_told.store(true, Ordering::Relaxed);
            warn(py, &notices)
        }
    }
}

#[pymethods]
impl Daytona {
    #[new]
    #[pyo3(signature = (asynchronous, config=None, server_binary=None, data_dir=None, runtime=None))]
    fn new(
        py: Python<'_>,
        asynchronous: bool,
        config: Option<&Bound<'_, PyAny>>,
        server_binary: Option<PathBuf>,
        data_dir: Option<PathBuf>,
        runtime: Option<String>,
    ) -> PyResult<Self> {
        let mode = if asynchronous { Mode::Async } else { Mode::Sync };
        let source = if asynchronous { Source::PythonAsync } else { Source::Python };
        let given = config.map(|config| read_config(&Fields(config))).transpose()?.unwrap_or_default();
        let config = Config { source, server_binary, local_data_dir: data_dir, local_runtime: runtime, ..given };
        let inner = daytona_core::Daytona::new(&config).map_err(|error| raise(py, &error))?;
        warn(py, &inner.settings().warnings)?;
        if inner.settings().otel_enabled {
            telemetry::turn_on();
        }
        Ok(Self { inner, mode, is_told: Arc::default() })
    }

    #[pyo3(signature = (params=None, timeout=None))]
    fn create(&self, py: Python<'_>, params: Option<&Bound<'_, PyAny>>, timeout: Option<f64>) -> PyResult<Py<PyAny>> {
        let params = convert::create_params(params)?;
        let (client, mode) = (self.inner.clone(), self.mode);
        let options = CreateOptions { timeout, ..CreateOptions::default() };
        let tell = self.tell();
        mode.run(py, async move { client.make(params, &options).await }, move |py, made| {
            tell(py)?;
            Sandbox::hand_over(py, made, mode)
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
        let tell = self.tell();
        image::begin(py, mode, on_progress, begin, move |py, creation| {
            tell(py)?;
            SandboxCreation::make(py, creation, mode)
        })
    }

    #[pyo3(signature = (sandbox_id_or_name, timeout=None))]
    fn get(&self, py: Python<'_>, sandbox_id_or_name: String, timeout: Option<f64>) -> PyResult<Py<PyAny>> {
        let (client, mode) = (self.inner.clone(), self.mode);
        let tell = self.tell();
        mode.run(py, async move { client.get(&sandbox_id_or_name, timeout).await }, move |py, sandbox| {
            tell(py)?;
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
        let tell = self.tell();
        mode.run(py, async move { client.list(&query, cursor.as_deref(), timeout).await }, move |py, page| {
            tell(py)?;
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
        self.mode.run(py, async move { client.service(&name, &arguments, timeout).await }, |py, made| {
            value(py, keep(py, made)?.to_string())
        })
    }

    /// The base URL of the API; starts the local server if that is what is configured.
    fn api_url(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let client = self.inner.clone();
        self.mode.run(py, async move { client.api_url().await }, value)
    }

    /// How the local server makes sandboxes; `None` for another server.
    fn runtime(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let (client, tell) = (self.inner.clone(), self.tell());
        self.mode.run(py, async move { client.runtime().await }, move |py, runtime| {
            tell(py)?;
            value(py, runtime)
        })
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
        max_response_bytes: fields.get("max_response_bytes")?,
        use_deprecated_polling: fields.get("use_deprecated_polling")?,
        otel_enabled: fields.get("otel_enabled")?,
        ..Config::default()
    })
}

fn warn(py: Python<'_>, warnings: &[Warning]) -> PyResult<()> {
    static WARN: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    for warning in warnings {
        let warn = WARN.import(py, "daytona_native._warnings", "warn")?;
        let category = match warning.kind {
            WarningKind::Deprecation => py.get_type::<PyDeprecationWarning>(),
            WarningKind::Ignored | WarningKind::Isolation => py.get_type::<PyUserWarning>(),
        };
        warn.call1((&warning.message, category))?;
    }
    Ok(())
}
