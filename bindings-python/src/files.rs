//! The files of one sandbox.

use daytona_core::Permissions;
use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;

use crate::call::Mode;
use crate::convert::{self, none, value};
use crate::transfer;

/// The files of one sandbox.
#[pyclass(frozen, module = "daytona_native._native")]
pub(crate) struct FileSystem {
    inner: daytona_core::FileSystem,
    mode: Mode,
}

impl FileSystem {
    pub(crate) fn new(inner: daytona_core::FileSystem, mode: Mode) -> Self {
        Self { inner, mode }
    }
}

#[pymethods]
impl FileSystem {
    #[pyo3(signature = (path, mode, timeout=None))]
    fn create_folder(&self, py: Python<'_>, path: String, mode: String, timeout: Option<f64>) -> PyResult<Py<PyAny>> {
        let fs = self.inner.clone();
        self.mode.run(py, async move { fs.create_folder(&path, &mode, timeout).await }, none)
    }

    #[pyo3(signature = (path, recursive=false, timeout=None))]
    fn delete_file(&self, py: Python<'_>, path: String, recursive: bool, timeout: Option<f64>) -> PyResult<Py<PyAny>> {
        let fs = self.inner.clone();
        self.mode.run(py, async move { fs.delete_file(&path, recursive, timeout).await }, none)
    }

    #[pyo3(signature = (path, pattern, timeout=None))]
    fn find_files(&self, py: Python<'_>, path: String, pattern: String, timeout: Option<f64>) -> PyResult<Py<PyAny>> {
        let fs = self.inner.clone();
        self.mode.run(py, async move { fs.find_files(&path, &pattern, timeout).await }, |py, found| {
            found.into_iter().map(convert::matched).collect::<Vec<_>>().into_py_any(py)
        })
    }

    #[pyo3(signature = (path, timeout=None))]
    fn get_file_info(&self, py: Python<'_>, path: String, timeout: Option<f64>) -> PyResult<Py<PyAny>> {
        let fs = self.inner.clone();
        self.mode
            .run(py, async move { fs.get_file_info(&path, timeout).await }, |py, info| convert::file_info(py, &info))
    }

    #[pyo3(signature = (path, depth=None, timeout=None))]
    fn list_files(
        &self,
        py: Python<'_>,
        path: String,
        depth: Option<i64>,
        timeout: Option<f64>,
    ) -> PyResult<Py<PyAny>> {
        let fs = self.inner.clone();
        self.mode.run(py, async move { fs.list_files(&path, depth, timeout).await }, |py, files| {
            let files = files.iter().map(|info| convert::file_info(py, info)).collect::<PyResult<Vec<_>>>()?;
            files.into_py_any(py)
        })
    }

    #[pyo3(signature = (source, destination, timeout=None))]
    fn move_files(
        &self,
        py: Python<'_>,
        source: String,
        destination: String,
        timeout: Option<f64>,
    ) -> PyResult<Py<PyAny>> {
        let fs = self.inner.clone();
        self.mode.run(py, async move { fs.move_files(&source, &destination, timeout).await }, none)
    }

    #[pyo3(signature = (files, pattern, new_value, timeout=None))]
    fn replace_in_files(
        &self,
        py: Python<'_>,
        files: Vec<String>,
        pattern: String,
        new_value: String,
        timeout: Option<f64>,
    ) -> PyResult<Py<PyAny>> {
        let fs = self.inner.clone();
        let work = async move { fs.replace_in_files(files, pattern, new_value, timeout).await };
        self.mode
            .run(py, work, |py, results| results.into_iter().map(convert::replaced).collect::<Vec<_>>().into_py_any(py))
    }

    #[pyo3(signature = (path, pattern, timeout=None))]
    fn search_files(&self, py: Python<'_>, path: String, pattern: String, timeout: Option<f64>) -> PyResult<Py<PyAny>> {
        let fs = self.inner.clone();
        self.mode
            .run(py, async move { fs.search_files(&path, &pattern, timeout).await }, |py, found| value(py, found.files))
    }

    #[pyo3(signature = (path, mode=None, owner=None, group=None, timeout=None))]
    fn set_file_permissions(
        &self,
        py: Python<'_>,
        path: String,
        mode: Option<String>,
        owner: Option<String>,
        group: Option<String>,
        timeout: Option<f64>,
    ) -> PyResult<Py<PyAny>> {
        let fs = self.inner.clone();
        let permissions = Permissions { mode, owner, group };
        self.mode.run(py, async move { fs.set_file_permissions(&path, &permissions, timeout).await }, none)
    }

    /// Writes `(source, destination)` pairs; `single` picks the name of the operation in errors.
    #[pyo3(signature = (files, single, timeout=None, on_progress=None, cancel_event=None))]
    fn upload(
        &self,
        py: Python<'_>,
        files: Vec<(Py<PyAny>, String)>,
        single: bool,
        timeout: Option<f64>,
        on_progress: Option<Py<PyAny>>,
        cancel_event: Option<Py<PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        let watch = transfer::Watch { timeout, on_progress, cancel_event };
        transfer::upload(py, self.mode, self.inner.clone(), files, single, watch)
    }

    /// The contents of one file, or `None` if they went to `local_path`.
    #[pyo3(signature = (path, local_path=None, timeout=None))]
    fn download_file(
        &self,
        py: Python<'_>,
        path: String,
        local_path: Option<std::path::PathBuf>,
        timeout: Option<f64>,
    ) -> PyResult<Py<PyAny>> {
        transfer::download_file(py, self.mode, self.inner.clone(), path, local_path, timeout)
    }

    /// `(path, contents or None, error or None)` for each `(path, local path or None)`.
    #[pyo3(signature = (files, timeout=None))]
    fn download_files(
        &self,
        py: Python<'_>,
        files: Vec<(String, Option<std::path::PathBuf>)>,
        timeout: Option<f64>,
    ) -> PyResult<Py<PyAny>> {
        transfer::download_files(py, self.mode, self.inner.clone(), files, timeout)
    }

    #[pyo3(signature = (path, timeout=None, cancel_event=None))]
    fn download_file_stream(
        &self,
        py: Python<'_>,
        path: String,
        timeout: Option<f64>,
        cancel_event: Option<Py<PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        let watch = transfer::Watch { timeout, on_progress: None, cancel_event };
        transfer::download_stream(py, self.mode, self.inner.clone(), path, watch)
    }
}
