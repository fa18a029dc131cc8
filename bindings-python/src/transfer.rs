//! Moving file contents.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use daytona_core::{Download, DownloadTarget, Downloaded, FileSystem, Transfer, Upload, UploadSource};
use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBytes, PyString};
use tokio::sync::Mutex;

use crate::call::Mode;
use crate::convert::none;
use crate::error;
use crate::host::{self, Host, Report};

/// What the caller wants to know and decide during a transfer.
pub(crate) struct Watch {
    pub(crate) timeout: Option<f64>,
    pub(crate) on_progress: Option<Py<PyAny>>,
    pub(crate) cancel_event: Option<Py<PyAny>>,
}

impl Watch {
    fn transfer(self, host: &Host, report: &Arc<Report>) -> Transfer {
        Transfer {
            timeout: self.timeout,
            progress: self.on_progress.map(|callback| host::progress(host, report, callback)),
            cancelled: self.cancel_event.map(|event| host::cancelled(report, event)),
        }
    }
}

pub(crate) fn upload(
    py: Python<'_>,
    mode: Mode,
    fs: FileSystem,
    files: Vec<(Py<PyAny>, String)>,
    single: bool,
    watch: Watch,
) -> PyResult<Py<PyAny>> {
    let report = Arc::new(Report::default());
    let last = Arc::clone(&report);
    let make = move |py: Python<'_>, host: Host| {
        let mut uploads = files
            .into_iter()
            .map(|(object, destination)| Ok(Upload { source: source(object.bind(py), &host, &report)?, destination }))
            .collect::<PyResult<Vec<_>>>()?;
        let options = watch.transfer(&host, &report);
        Ok(async move {
            let work = async {
                match uploads.pop() {
                    Some(file) if single => fs.upload_file(file, options).await,
                    last => {
                        uploads.extend(last);
                        fs.upload_files(uploads, options).await
                    }
                }
            };
            report.watch(work).await
        })
    };
    // The last callback may come after the answer.
    mode.run_with_host(py, make, move |py, ()| last.take().map_or_else(|| none(py, ()), Err))
}

/// Bytes are contents, text and paths are local files, all else is read piece by piece.
fn source(object: &Bound<'_, PyAny>, host: &Host, report: &Arc<Report>) -> PyResult<UploadSource> {
    if let Ok(bytes) = object.extract::<PyBackedBytes>() {
        return Ok(UploadSource::Bytes(Bytes::from_owner(bytes)));
    }
    if object.is_instance_of::<PyString>() || object.hasattr("__fspath__")? {
        return Ok(UploadSource::Path(object.extract()?));
    }
    host::source(object.py(), host, report, object).map(UploadSource::Stream)
}

fn target(path: Option<PathBuf>) -> DownloadTarget {
    path.map_or(DownloadTarget::Memory, DownloadTarget::File)
}

fn contents(py: Python<'_>, contents: Option<Vec<u8>>) -> Py<PyAny> {
    contents.map_or_else(|| py.None(), |contents| PyBytes::new(py, &contents).into_any().unbind())
}

/// A file in memory, or where it is longer than this, the way to it: Python can let one object grow
/// as the pieces come, and one made of the whole would take its memory twice.
const WHOLE: u64 = 1024 * 1024;

enum Contents {
    Whole(Vec<u8>),
    Open(Box<daytona_core::DownloadStream>),
}

async fn read(fs: &FileSystem, path: &str, options: Transfer) -> daytona_core::Result<Contents> {
    let mut stream = fs.download_file_stream(path, options).await?;
    if stream.total().is_none_or(|total| total > WHOLE) {
        return Ok(Contents::Open(Box::new(stream)));
    }
    let mut whole = Vec::new();
    while let Some(piece) = stream.next().await? {
        whole.extend_from_slice(&piece);
    }
    Ok(Contents::Whole(whole))
}

/// Writes one file to a local path, or gives its contents, or a stream of them if they are long.
pub(crate) fn download_file(
    py: Python<'_>,
    mode: Mode,
    fs: FileSystem,
    path: String,
    local_path: Option<PathBuf>,
    timeout: Option<f64>,
) -> PyResult<Py<PyAny>> {
    let options = Transfer { timeout, ..Transfer::default() };
    if let Some(local_path) = local_path {
        let target = DownloadTarget::File(local_path);
        return mode.run(py, async move { fs.download_file(&path, target, options).await }, |py, _| Ok(py.None()));
    }
    mode.run(py, async move { read(&fs, &path, options).await }, move |py, contents| match contents {
        Contents::Whole(whole) => Ok(PyBytes::new(py, &whole).into_any().unbind()),
        Contents::Open(stream) => DownloadStream::new(*stream, Arc::default(), mode).into_py_any(py),
    })
}

pub(crate) fn download_files(
    py: Python<'_>,
    mode: Mode,
    fs: FileSystem,
    files: Vec<(String, Option<PathBuf>)>,
    timeout: Option<f64>,
) -> PyResult<Py<PyAny>> {
    let files = files.into_iter().map(|(source, path)| Download { source, target: target(path) }).collect();
    let options = Transfer { timeout, ..Transfer::default() };
    mode.run(py, async move { fs.download_files(files, options).await }, |py, all| {
        let convert = |one: Downloaded| match one.result {
            Ok(bytes) => Ok((one.source, contents(py, bytes), py.None())),
            Err(error) => Ok((one.source, py.None(), error::exception(py, &error)?.unbind())),
        };
        all.into_iter().map(convert).collect::<PyResult<Vec<_>>>()?.into_py_any(py)
    })
}

/// The contents of one file, piece by piece.
#[pyclass(frozen, module = "daytona_native._native")]
pub(crate) struct DownloadStream {
    /// Bytes in all, where the server says.
    #[pyo3(get)]
    total: Option<u64>,
    stream: Arc<Mutex<Option<daytona_core::DownloadStream>>>,
    report: Arc<Report>,
    mode: Mode,
}

pub(crate) fn download_stream(
    py: Python<'_>,
    mode: Mode,
    fs: FileSystem,
    path: String,
    watch: Watch,
) -> PyResult<Py<PyAny>> {
    let make = move |_: Python<'_>, host: Host| {
        let report = Arc::new(Report::default());
        let options = watch.transfer(&host, &report);
        Ok(async move {
            let stream = report.watch(fs.download_file_stream(&path, options)).await?;
            Ok((stream, report))
        })
    };
    mode.run_with_host(py, make, move |py, (stream, report)| DownloadStream::new(stream, report, mode).into_py_any(py))
}

impl DownloadStream {
    fn new(stream: daytona_core::DownloadStream, report: Arc<Report>, mode: Mode) -> Self {
        Self { total: stream.total(), stream: Arc::new(Mutex::new(Some(stream))), report, mode }
    }
}

#[pymethods]
impl DownloadStream {
    /// The next piece, or `None` at the end.
    fn next(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let (stream, report) = (Arc::clone(&self.stream), Arc::clone(&self.report));
        let make = move |_: Python<'_>, _: Host| {
            Ok(async move {
                let mut stream = stream.lock().await;
                let Some(open) = stream.as_mut() else { return Ok(None) };
                report.watch(open.next()).await
            })
        };
        self.mode.run_with_host(py, make, |py, piece: Option<Bytes>| {
            Ok(piece.map_or_else(|| py.None(), |piece| PyBytes::new(py, &piece).into_any().unbind()))
        })
    }

    /// Ends the download.
    fn close(&self) {
        if let Ok(mut stream) = self.stream.try_lock() {
            *stream = None;
        }
    }
}
