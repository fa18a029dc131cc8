//! Images, and what is built from them.

use std::sync::Arc;

use daytona_core::{Context, Dialect, Error, Image, ImageSource, Progress, Step};
use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;

use crate::call::Mode;
use crate::convert::{Fields, value};
use crate::error::{keep, raise};
use crate::host::{self, Host, Report};
use crate::output::Left;
use crate::sandbox::Sandbox;
use crate::snapshot::snapshot;

/// What one call of the builder adds to an image; both are JSON.
#[pyfunction]
pub(crate) fn image_step(py: Python<'_>, step: &str) -> PyResult<String> {
    let step: Step = serde_json::from_str(step)
        .map_err(|error| raise(py, &Error::invalid(format!("the image cannot be built so: {error}"))))?;
    let added = py.detach(|| Image::of(Dialect::Python, &step)).map_err(|error| raise(py, &error))?;
    serde_json::to_string(&added).map_err(|error| raise(py, &Error::caller(error.to_string())))
}

/// The name of an image, or one that was built.
pub(crate) fn image_source(object: &Bound<'_, PyAny>) -> PyResult<ImageSource> {
    if let Ok(name) = object.extract::<String>() {
        return Ok(ImageSource::Name(name));
    }
    let fields = Fields(object);
    let Some(dockerfile) = fields.perhaps("_dockerfile")?.and_then(|text| text.extract().ok()) else {
        let text = format!("image must be the name of an image or an Image, not {}", object.get_type());
        return Err(raise(object.py(), &Error::invalid(text)));
    };
    let contexts: Vec<Bound<'_, PyAny>> = fields.get("_context_list")?.unwrap_or_default();
    let context = |given: &Bound<'_, PyAny>| {
        let fields = Fields(given);
        let source_path: String = fields.get("source_path")?.unwrap_or_default();
        let context_dir = fields.perhaps("context_dir")?.map(|path| path.extract()).transpose()?;
        let archive_path = fields.get("archive_path")?.unwrap_or_else(|| source_path.clone());
        Ok(Context { source_path, archive_path, context_dir })
    };
    let context_list = contexts.iter().map(context).collect::<PyResult<_>>()?;
    Ok(ImageSource::Built(Image { dockerfile, context_list }))
}

/// Begins to make something, which tells the callback how far its upload is.
pub(crate) fn begin<T, F>(
    py: Python<'_>,
    mode: Mode,
    on_progress: Option<Py<PyAny>>,
    begin: impl FnOnce(Option<Progress>) -> F + Send + 'static,
    convert: impl FnOnce(Python<'_>, T) -> PyResult<Py<PyAny>> + Send + 'static,
) -> PyResult<Py<PyAny>>
where
    T: Send + 'static,
    F: Future<Output = Result<T, Error>> + Send + 'static,
{
    let Some(callback) = on_progress else { return mode.run(py, begin(None), convert) };
    let report = Arc::new(Report::default());
    let last = Arc::clone(&report);
    let make = move |_: Python<'_>, host: Host| {
        let work = begin(Some(host::progress(&host, &report, callback)));
        Ok(async move { report.watch(work).await })
    };
    // The last callback may come after the answer.
    mode.run_with_host(py, make, move |py, made| last.take().map_or_else(|| convert(py, made), Err))
}

/// The log of a build.
#[pyclass(frozen, module = "daytona_native._native")]
pub(crate) struct BuildLog {
    inner: daytona_core::BuildLog,
    left: Left<Vec<String>>,
    mode: Mode,
}

impl BuildLog {
    pub(crate) fn make(py: Python<'_>, inner: daytona_core::BuildLog, mode: Mode) -> PyResult<Py<PyAny>> {
        Self { inner, left: Left::default(), mode }.into_py_any(py)
    }
}

#[pymethods]
impl BuildLog {
    /// The text there is by now, waiting for some, or `None` at the end.
    fn next(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let log = self.inner.clone();
        self.left.next(py, self.mode, async move { log.next().await }, value)
    }

    /// Ends it early.
    fn close(&self) {
        self.left.clear();
        self.inner.close();
    }
}

/// A sandbox that is being made.
#[pyclass(frozen, module = "daytona_native._native")]
pub(crate) struct SandboxCreation {
    inner: daytona_core::SandboxCreation,
    mode: Mode,
}

impl SandboxCreation {
    pub(crate) fn make(py: Python<'_>, inner: daytona_core::SandboxCreation, mode: Mode) -> PyResult<Py<PyAny>> {
        Self { inner, mode }.into_py_any(py)
    }
}

#[pymethods]
impl SandboxCreation {
    /// The lines there are by now, waiting for one, or `None` at the end.
    fn next(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let creation = self.inner.clone();
        self.mode.run(py, async move { creation.next().await }, value)
    }

    /// The sandbox, once it has started.
    fn finish(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let (creation, mode) = (self.inner.clone(), self.mode);
        mode.run(py, async move { creation.made().await }, move |py, made| Sandbox::hand_over(py, made, mode))
    }

    /// Ends what is told of it, and deletes it unless the caller has it.
    fn close(&self) {
        self.inner.close();
    }
}

/// A snapshot that is being made.
#[pyclass(frozen, module = "daytona_native._native")]
pub(crate) struct SnapshotCreation {
    inner: daytona_core::SnapshotCreation,
    mode: Mode,
}

impl SnapshotCreation {
    pub(crate) fn make(py: Python<'_>, inner: daytona_core::SnapshotCreation, mode: Mode) -> PyResult<Py<PyAny>> {
        Self { inner, mode }.into_py_any(py)
    }
}

#[pymethods]
impl SnapshotCreation {
    /// The lines there are by now, waiting for one, or `None` at the end.
    fn next(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let log = self.inner.log().clone();
        self.mode.run(py, async move { log.next().await }, value)
    }

    /// The snapshot, once it is active.
    fn finish(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let creation = self.inner.clone();
        self.mode.run(py, async move { creation.made().await }, |py, made| snapshot(py, &keep(py, made)?))
    }

    /// Ends what is told of it, and the waiting, and deletes it unless the caller has it.
    fn close(&self) {
        self.inner.close();
    }
}
