//! Snapshots.

use daytona_core::wire::snapshot::{PaginatedSnapshots, Snapshot};
use daytona_core::{CreateSnapshotOptions, CreateSnapshotParams, SnapshotQuery};
use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::call::Mode;
use crate::convert::{Fields, build_info, none, number, resources};
use crate::image::{self, BuildLog, SnapshotCreation, image_source};

/// The fields of the Python class by their names.
pub(crate) fn snapshot(py: Python<'_>, data: &Snapshot) -> PyResult<Py<PyAny>> {
    let dict = PyDict::new(py);
    dict.set_item("id", &data.id)?;
    dict.set_item("organization_id", data.organization_id.as_deref())?;
    dict.set_item("general", data.general)?;
    dict.set_item("name", &data.name)?;
    dict.set_item("image_name", data.image_name.as_deref())?;
    dict.set_item("state", data.state.as_str())?;
    dict.set_item("size", data.size.map(|size| number(py, size)).transpose()?)?;
    dict.set_item("entrypoint", data.entrypoint.as_deref())?;
    dict.set_item("cpu", number(py, data.cpu)?)?;
    dict.set_item("gpu", number(py, data.gpu)?)?;
    dict.set_item("gpu_type", data.gpu_type.as_deref())?;
    dict.set_item("mem", number(py, data.mem)?)?;
    dict.set_item("disk", number(py, data.disk)?)?;
    dict.set_item("error_reason", data.error_reason.as_deref())?;
    dict.set_item("created_at", &data.created_at)?;
    dict.set_item("updated_at", &data.updated_at)?;
    dict.set_item("last_used_at", data.last_used_at.as_deref())?;
    dict.set_item("build_info", build_info(py, data.build_info.as_ref())?)?;
    dict.set_item("region_ids", data.region_ids.as_deref())?;
    dict.set_item("initial_runner_id", data.initial_runner_id.as_deref())?;
    dict.set_item("ref", data.reference.as_deref())?;
    dict.set_item("source_sandbox_id", data.source_sandbox_id.as_deref())?;
    dict.set_item("sandbox_class", data.sandbox_class.as_deref())?;
    dict.into_py_any(py)
}

/// The items, and what is said of all pages.
fn page(py: Python<'_>, page: &PaginatedSnapshots) -> PyResult<Py<PyAny>> {
    let items = page.items.iter().map(|data| snapshot(py, data)).collect::<PyResult<Vec<_>>>()?;
    (items, page.total, page.page, page.total_pages).into_py_any(py)
}

fn create_params(fields: &Fields<'_, '_>) -> PyResult<CreateSnapshotParams> {
    Ok(CreateSnapshotParams {
        name: fields.get("name")?.unwrap_or_default(),
        image: match fields.object("image")? {
            None => None,
            Some(image) => Some(image_source(&image)?),
        },
        resources: match fields.object("resources")? {
            None => None,
            Some(given) => Some(resources(&given)?),
        },
        entrypoint: fields.get("entrypoint")?,
        region_id: fields.get("region_id")?,
        sandbox_class: fields.get("sandbox_class")?,
    })
}

/// The snapshots of one API.
#[pyclass(frozen, module = "daytona_native._native")]
pub(crate) struct SnapshotService {
    inner: daytona_core::SnapshotService,
    mode: Mode,
}

impl SnapshotService {
    pub(crate) fn new(inner: daytona_core::SnapshotService, mode: Mode) -> Self {
        Self { inner, mode }
    }
}

#[pymethods]
impl SnapshotService {
    #[pyo3(signature = (page=None, limit=None, source_sandbox_id=None, timeout=None))]
    fn list(
        &self,
        py: Python<'_>,
        page: Option<i64>,
        limit: Option<i64>,
        source_sandbox_id: Option<String>,
        timeout: Option<f64>,
    ) -> PyResult<Py<PyAny>> {
        let query = SnapshotQuery { page, limit, source_sandbox_id };
        let service = self.inner.clone();
        self.mode.run(py, async move { service.list(&query, timeout).await }, |py, found| self::page(py, &found))
    }

    #[pyo3(signature = (name, timeout=None))]
    fn get(&self, py: Python<'_>, name: String, timeout: Option<f64>) -> PyResult<Py<PyAny>> {
        let service = self.inner.clone();
        self.mode.run(py, async move { service.get(&name, timeout).await }, |py, data| snapshot(py, &data))
    }

    #[pyo3(signature = (name, timeout=None))]
    fn delete(&self, py: Python<'_>, name: String, timeout: Option<f64>) -> PyResult<Py<PyAny>> {
        let service = self.inner.clone();
        self.mode.run(py, async move { service.delete(&name, timeout).await }, none)
    }

    #[pyo3(signature = (name, timeout=None))]
    fn deactivate(&self, py: Python<'_>, name: String, timeout: Option<f64>) -> PyResult<Py<PyAny>> {
        let service = self.inner.clone();
        self.mode.run(py, async move { service.deactivate(&name, timeout).await }, none)
    }

    /// Begins to make one; `logs` says whether lines are wanted.
    #[pyo3(signature = (params, logs, timeout=None, on_progress=None))]
    fn begin(
        &self,
        py: Python<'_>,
        params: &Bound<'_, PyAny>,
        logs: bool,
        timeout: Option<f64>,
        on_progress: Option<Py<PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        let params = create_params(&Fields(params))?;
        let (service, mode) = (self.inner.clone(), self.mode);
        let begin = move |progress| {
            let options = CreateSnapshotOptions { timeout, progress, logs };
            async move { service.begin(params, &options).await }
        };
        image::begin(py, mode, on_progress, begin, move |py, creation| SnapshotCreation::make(py, creation, mode))
    }

    /// The log of its build.
    fn build_logs(&self, py: Python<'_>, name: String) -> PyResult<Py<PyAny>> {
        let (service, mode) = (self.inner.clone(), self.mode);
        mode.run(py, async move { service.build_logs(&name).await }, move |py, log| BuildLog::make(py, log, mode))
    }

    #[pyo3(signature = (name, timeout=None))]
    fn activate(&self, py: Python<'_>, name: String, timeout: Option<f64>) -> PyResult<Py<PyAny>> {
        let service = self.inner.clone();
        self.mode.run(py, async move { service.activate(&name, timeout).await }, |py, data| snapshot(py, &data))
    }
}
