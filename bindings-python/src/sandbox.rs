//! One sandbox: its data and its life.

use std::collections::BTreeMap;

use daytona_core::Made;
use daytona_core::wire::network::UpdateNetworkSettings;
use pyo3::prelude::*;

use crate::access;
use crate::call::Mode;
use crate::convert::{self, SANDBOX_FIELDS, none, value};
use crate::error::keep;
use crate::files::FileSystem;
use crate::git::Git;
use crate::interpreter::CodeInterpreter;
use crate::lsp::LspServer;
use crate::process::Process;

/// A sandbox.
#[pyclass(frozen, module = "daytona_native._native")]
pub(crate) struct Sandbox {
    pub(crate) inner: daytona_core::Sandbox,
    mode: Mode,
}

impl Sandbox {
    pub(crate) fn new(inner: daytona_core::Sandbox, mode: Mode) -> Self {
        Self { inner, mode }
    }

    /// Gives a sandbox to the caller who made it.
    pub(crate) fn hand_over(py: Python<'_>, new: Made<daytona_core::Sandbox>, mode: Mode) -> PyResult<Py<PyAny>> {
        value(py, Self::new(keep(py, new)?, mode))
    }
}

#[pymethods]
impl Sandbox {
    #[classattr]
    const FIELDS: &'static [&'static str] = SANDBOX_FIELDS;

    /// The value of one field; `KeyError` for a name that is not in `FIELDS`.
    fn field(&self, py: Python<'_>, name: &str) -> PyResult<Py<PyAny>> {
        let data = self.inner.data();
        convert::sandbox_field(py, &data, name)
            .unwrap_or_else(|| Err(pyo3::exceptions::PyKeyError::new_err(name.to_owned())))
    }

    fn fs(&self) -> FileSystem {
        FileSystem::new(self.inner.fs(), self.mode)
    }

    fn process(&self) -> Process {
        Process::new(self.inner.process(), self.mode)
    }

    fn git(&self) -> Git {
        Git::new(self.inner.git(), self.mode)
    }

    fn lsp_server(&self, py: Python<'_>, language: String, path: String) -> PyResult<LspServer> {
        LspServer::new(py, self.inner.create_lsp_server(language, path), self.mode)
    }

    fn code_interpreter(&self) -> CodeInterpreter {
        CodeInterpreter::new(self.inner.code_interpreter(), self.mode)
    }

    #[pyo3(signature = (timeout=None))]
    fn refresh_data(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Py<PyAny>> {
        let sandbox = self.inner.clone();
        self.mode.run(py, async move { sandbox.refresh_data(timeout).await }, none)
    }

    #[pyo3(signature = (timeout=None))]
    fn start(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Py<PyAny>> {
        let sandbox = self.inner.clone();
        self.mode.run(py, async move { sandbox.start(timeout).await }, none)
    }

    #[pyo3(signature = (timeout=None, force=false))]
    fn stop(&self, py: Python<'_>, timeout: Option<f64>, force: bool) -> PyResult<Py<PyAny>> {
        let sandbox = self.inner.clone();
        self.mode.run(py, async move { sandbox.stop(timeout, force).await }, none)
    }

    #[pyo3(signature = (timeout=None, wait=false))]
    fn delete(&self, py: Python<'_>, timeout: Option<f64>, wait: bool) -> PyResult<Py<PyAny>> {
        let sandbox = self.inner.clone();
        self.mode.run(py, async move { sandbox.delete(timeout, wait).await }, none)
    }

    #[pyo3(signature = (timeout=None))]
    fn pause(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Py<PyAny>> {
        let sandbox = self.inner.clone();
        self.mode.run(py, async move { sandbox.pause(timeout).await }, none)
    }

    #[pyo3(signature = (timeout=None))]
    fn archive(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Py<PyAny>> {
        let sandbox = self.inner.clone();
        self.mode.run(py, async move { sandbox.archive(timeout).await }, none)
    }

    #[pyo3(signature = (timeout=None, accept_loss=false))]
    fn recover(&self, py: Python<'_>, timeout: Option<f64>, accept_loss: bool) -> PyResult<Py<PyAny>> {
        let sandbox = self.inner.clone();
        self.mode.run(py, async move { sandbox.recover(timeout, accept_loss).await }, none)
    }

    #[pyo3(signature = (resources, timeout=None))]
    fn resize(&self, py: Python<'_>, resources: &Bound<'_, PyAny>, timeout: Option<f64>) -> PyResult<Py<PyAny>> {
        let resources = convert::resources(resources)?;
        let sandbox = self.inner.clone();
        self.mode.run(py, async move { sandbox.resize(&resources, timeout).await }, none)
    }

    #[pyo3(signature = (timeout=None))]
    fn wait_for_resize_complete(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Py<PyAny>> {
        let sandbox = self.inner.clone();
        self.mode.run(py, async move { sandbox.wait_for_resize_complete(timeout).await }, none)
    }

    #[pyo3(signature = (name=None, timeout=None))]
    fn fork(&self, py: Python<'_>, name: Option<String>, timeout: Option<f64>) -> PyResult<Py<PyAny>> {
        let (sandbox, mode) = (self.inner.clone(), self.mode);
        mode.run(py, async move { sandbox.make_fork(name, timeout).await }, move |py, made| {
            Self::hand_over(py, made, mode)
        })
    }

    #[pyo3(signature = (name, timeout=None))]
    fn create_snapshot(&self, py: Python<'_>, name: String, timeout: Option<f64>) -> PyResult<Py<PyAny>> {
        let sandbox = self.inner.clone();
        self.mode
            .run(py, async move { sandbox.make_snapshot(&name, timeout).await }, |py, made| none(py, keep(py, made)?))
    }

    #[pyo3(signature = (timeout=None))]
    fn wait_until_started(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Py<PyAny>> {
        let sandbox = self.inner.clone();
        self.mode.run(py, async move { sandbox.wait_until_started(timeout).await }, none)
    }

    #[pyo3(signature = (timeout=None))]
    fn wait_until_stopped(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Py<PyAny>> {
        let sandbox = self.inner.clone();
        self.mode.run(py, async move { sandbox.wait_until_stopped(timeout).await }, none)
    }

    #[pyo3(signature = (labels, timeout=None))]
    fn set_labels(
        &self,
        py: Python<'_>,
        labels: BTreeMap<String, String>,
        timeout: Option<f64>,
    ) -> PyResult<Py<PyAny>> {
        let sandbox = self.inner.clone();
        self.mode.run(py, async move { sandbox.set_labels(labels, timeout).await }, value)
    }

    #[pyo3(signature = (network_block_all=None, network_allow_list=None, domain_allow_list=None, timeout=None))]
    fn update_network_settings(
        &self,
        py: Python<'_>,
        network_block_all: Option<bool>,
        network_allow_list: Option<String>,
        domain_allow_list: Option<String>,
        timeout: Option<f64>,
    ) -> PyResult<Py<PyAny>> {
        let sandbox = self.inner.clone();
        let settings = UpdateNetworkSettings { network_block_all, network_allow_list, domain_allow_list };
        self.mode.run(py, async move { sandbox.update_network_settings(&settings, timeout).await }, none)
    }

    #[pyo3(signature = (minutes, timeout=None))]
    fn set_autostop_interval(&self, py: Python<'_>, minutes: i64, timeout: Option<f64>) -> PyResult<Py<PyAny>> {
        let sandbox = self.inner.clone();
        self.mode.run(py, async move { sandbox.set_autostop_interval(minutes, timeout).await }, none)
    }

    #[pyo3(signature = (minutes, timeout=None))]
    fn set_auto_pause_interval(&self, py: Python<'_>, minutes: i64, timeout: Option<f64>) -> PyResult<Py<PyAny>> {
        let sandbox = self.inner.clone();
        self.mode.run(py, async move { sandbox.set_auto_pause_interval(minutes, timeout).await }, none)
    }

    #[pyo3(signature = (minutes, timeout=None))]
    fn set_auto_archive_interval(&self, py: Python<'_>, minutes: i64, timeout: Option<f64>) -> PyResult<Py<PyAny>> {
        let sandbox = self.inner.clone();
        self.mode.run(py, async move { sandbox.set_auto_archive_interval(minutes, timeout).await }, none)
    }

    #[pyo3(signature = (minutes, timeout=None))]
    fn set_auto_delete_interval(&self, py: Python<'_>, minutes: i64, timeout: Option<f64>) -> PyResult<Py<PyAny>> {
        let sandbox = self.inner.clone();
        self.mode.run(py, async move { sandbox.set_auto_delete_interval(minutes, timeout).await }, none)
    }

    #[pyo3(signature = (minutes, timeout=None))]
    fn set_ttl(&self, py: Python<'_>, minutes: i64, timeout: Option<f64>) -> PyResult<Py<PyAny>> {
        let sandbox = self.inner.clone();
        self.mode.run(py, async move { sandbox.set_ttl(minutes, timeout).await }, none)
    }

    #[pyo3(signature = (public, timeout=None))]
    fn set_public(&self, py: Python<'_>, public: bool, timeout: Option<f64>) -> PyResult<Py<PyAny>> {
        let sandbox = self.inner.clone();
        self.mode.run(py, async move { sandbox.set_public(public, timeout).await }, none)
    }

    #[pyo3(signature = (timeout=None))]
    fn refresh_activity(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Py<PyAny>> {
        let sandbox = self.inner.clone();
        self.mode.run(py, async move { sandbox.refresh_activity(timeout).await }, none)
    }

    #[pyo3(signature = (set, unset, timeout=None))]
    fn update_env(
        &self,
        py: Python<'_>,
        set: BTreeMap<String, String>,
        unset: Vec<String>,
        timeout: Option<f64>,
    ) -> PyResult<Py<PyAny>> {
        let sandbox = self.inner.clone();
        self.mode.run(py, async move { sandbox.update_env(set, unset, timeout).await }, none)
    }

    #[pyo3(signature = (secrets, timeout=None))]
    fn update_secrets(
        &self,
        py: Python<'_>,
        secrets: BTreeMap<String, String>,
        timeout: Option<f64>,
    ) -> PyResult<Py<PyAny>> {
        let sandbox = self.inner.clone();
        self.mode.run(py, async move { sandbox.update_secrets(secrets, timeout).await }, none)
    }

    /// One sample, as JSON.
    #[pyo3(signature = (timeout=None))]
    fn metrics_latest(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Py<PyAny>> {
        let sandbox = self.inner.clone();
        self.mode.run(py, async move { sandbox.metrics_latest(timeout).await }, convert::json)
    }

    /// Samples, as JSON.
    #[pyo3(signature = (start=None, end=None, timeout=None))]
    fn metrics(
        &self,
        py: Python<'_>,
        start: Option<String>,
        end: Option<String>,
        timeout: Option<f64>,
    ) -> PyResult<Py<PyAny>> {
        let sandbox = self.inner.clone();
        let work = async move { sandbox.metrics(start.as_deref(), end.as_deref(), timeout).await };
        self.mode.run(py, work, convert::json)
    }

    fn user_home_dir(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let sandbox = self.inner.clone();
        self.mode.run(py, async move { sandbox.user_home_dir().await }, value)
    }

    fn work_dir(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let sandbox = self.inner.clone();
        self.mode.run(py, async move { sandbox.work_dir().await }, value)
    }

    #[pyo3(signature = (path, ttl_seconds=None))]
    fn download_url(&self, py: Python<'_>, path: String, ttl_seconds: Option<i64>) -> PyResult<Py<PyAny>> {
        let sandbox = self.inner.clone();
        self.mode.run(py, async move { sandbox.download_url(&path, ttl_seconds).await }, value)
    }

    #[pyo3(signature = (path, ttl_seconds=None))]
    fn upload_url(&self, py: Python<'_>, path: String, ttl_seconds: Option<i64>) -> PyResult<Py<PyAny>> {
        let sandbox = self.inner.clone();
        self.mode.run(py, async move { sandbox.upload_url(&path, ttl_seconds).await }, value)
    }

    fn rotate_signing_key(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let sandbox = self.inner.clone();
        self.mode.run(py, async move { sandbox.rotate_signing_key().await }, none)
    }

    #[pyo3(signature = (port, timeout=None))]
    fn get_preview_link(&self, py: Python<'_>, port: i64, timeout: Option<f64>) -> PyResult<Py<PyAny>> {
        let sandbox = self.inner.clone();
        self.mode.run(py, async move { sandbox.get_preview_link(port, timeout).await }, access::preview)
    }

    #[pyo3(signature = (port, expires_in=None, timeout=None))]
    fn create_signed_preview_url(
        &self,
        py: Python<'_>,
        port: i64,
        expires_in: Option<i64>,
        timeout: Option<f64>,
    ) -> PyResult<Py<PyAny>> {
        let sandbox = self.inner.clone();
        let work = async move { sandbox.create_signed_preview_url(port, expires_in, timeout).await };
        self.mode.run(py, work, access::signed_preview)
    }

    #[pyo3(signature = (port, token, timeout=None))]
    fn expire_signed_preview_url(
        &self,
        py: Python<'_>,
        port: i64,
        token: String,
        timeout: Option<f64>,
    ) -> PyResult<Py<PyAny>> {
        let sandbox = self.inner.clone();
        self.mode.run(py, async move { sandbox.expire_signed_preview_url(port, &token, timeout).await }, none)
    }

    #[pyo3(signature = (expires_in=None, timeout=None))]
    fn create_ssh_access(&self, py: Python<'_>, expires_in: Option<i64>, timeout: Option<f64>) -> PyResult<Py<PyAny>> {
        let sandbox = self.inner.clone();
        self.mode.run(py, async move { sandbox.create_ssh_access(expires_in, timeout).await }, access::ssh)
    }

    #[pyo3(signature = (token, timeout=None))]
    fn revoke_ssh_access(&self, py: Python<'_>, token: String, timeout: Option<f64>) -> PyResult<Py<PyAny>> {
        let sandbox = self.inner.clone();
        self.mode.run(py, async move { sandbox.revoke_ssh_access(&token, timeout).await }, none)
    }

    #[pyo3(signature = (token, timeout=None))]
    fn validate_ssh_access(&self, py: Python<'_>, token: String, timeout: Option<f64>) -> PyResult<Py<PyAny>> {
        let sandbox = self.inner.clone();
        self.mode.run(py, async move { sandbox.validate_ssh_access(&token, timeout).await }, access::validation)
    }
}
