//! Files.

use std::cell::RefCell;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use daytona_core::{
    Download, DownloadStream, DownloadTarget, Downloaded, FileSystem, Permissions, Result, Transfer, Upload,
    UploadSource,
};
use futures_util::StreamExt;
use napi::bindgen_prelude::{BufferSlice, Either};
use napi_derive::napi;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::completion::{Calls, Outcome};
use crate::daytona::parse;
use crate::sandbox::NativeSandbox;

/// Pieces of an upload that wait to be sent.
const WAITING_PIECES: usize = 4;

/// A count for JavaScript, which has one kind of number.
#[expect(clippy::cast_precision_loss, reason = "exact up to 8 PiB")]
pub(crate) fn number(count: u64) -> f64 {
    count as f64
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DownloadError<'a> {
    message: String,
    status_code: Option<u16>,
    code: Option<&'a str>,
    source: Option<&'a str>,
}

/// Why each file could not be read, as a JSON array with null for those that could.
pub(crate) fn download_errors(files: &[Downloaded]) -> String {
    let describe = |file: &'_ Downloaded| {
        file.result.as_ref().err().map(|error| {
            serde_json::json!(DownloadError {
                message: error.message(),
                status_code: error.status(),
                code: error.code(),
                source: error.source_name(),
            })
        })
    };
    serde_json::json!(files.iter().map(describe).collect::<Vec<_>>()).to_string()
}

#[derive(Deserialize)]
struct Wanted {
    source: String,
    destination: Option<PathBuf>,
}

fn upload_source(source: Either<String, BufferSlice<'_>>) -> UploadSource {
    match source {
        Either::A(path) => UploadSource::Path(path.into()),
        // A copy: JavaScript may change the buffer, or end, before it has been sent.
        Either::B(buffer) => UploadSource::Bytes(Bytes::copy_from_slice(&buffer)),
    }
}

fn target(path: Option<PathBuf>) -> DownloadTarget {
    path.map_or(DownloadTarget::Memory, DownloadTarget::File)
}

impl NativeSandbox {
    fn files<F>(&self, id: u32, work: impl FnOnce(FileSystem) -> F + Send + 'static)
    where
        F: Future<Output = Result<Outcome>> + Send,
    {
        let fs = self.fs.clone();
        self.calls.spawn(id, async move { work(fs).await });
    }

    fn files_json<T: Serialize, F>(&self, id: u32, work: impl FnOnce(FileSystem) -> F + Send + 'static)
    where
        F: Future<Output = Result<T>> + Send,
    {
        self.files(id, move |fs| async move { crate::daytona::json(&work(fs).await?) });
    }

    fn transfer(&self, id: u32, timeout: Option<f64>, progress: bool) -> Transfer {
        Transfer { timeout, progress: progress.then(|| self.calls.progress(id)), cancelled: None }
    }
}

#[napi]
impl NativeSandbox {
    /// Makes a folder.
    #[napi]
    pub fn create_folder(&self, id: u32, path: String, mode: String, timeout: Option<f64>) {
        self.files(id, move |fs| async move { fs.create_folder(&path, &mode, timeout).await.map(|()| Outcome::Unit) });
    }

    /// Deletes a file or folder.
    #[napi]
    pub fn delete_file(&self, id: u32, path: String, recursive: bool, timeout: Option<f64>) {
        self.files(
            id,
            move |fs| async move { fs.delete_file(&path, recursive, timeout).await.map(|()| Outcome::Unit) },
        );
    }

    /// Looks for text in files.
    #[napi]
    pub fn find_files(&self, id: u32, path: String, pattern: String, timeout: Option<f64>) {
        self.files_json(id, move |fs| async move { fs.find_files(&path, &pattern, timeout).await });
    }

    /// What is known about a file.
    #[napi]
    pub fn get_file_info(&self, id: u32, path: String, timeout: Option<f64>) {
        self.files_json(id, move |fs| async move { fs.get_file_info(&path, timeout).await });
    }

    /// The entries of a folder.
    #[napi]
    pub fn list_files(&self, id: u32, path: String, depth: Option<i64>, timeout: Option<f64>) {
        self.files_json(id, move |fs| async move { fs.list_files(&path, depth, timeout).await });
    }

    /// Moves or renames.
    #[napi]
    pub fn move_files(&self, id: u32, source: String, destination: String, timeout: Option<f64>) {
        self.files(
            id,
            move |fs| async move { fs.move_files(&source, &destination, timeout).await.map(|()| Outcome::Unit) },
        );
    }

    /// Replaces text in files. `files` is JSON.
    #[napi]
    pub fn replace_in_files(&self, id: u32, files: String, pattern: String, new_value: String, timeout: Option<f64>) {
        self.files_json(
            id,
            move |fs| async move { fs.replace_in_files(parse(&files)?, pattern, new_value, timeout).await },
        );
    }

    /// Looks for files by name.
    #[napi]
    pub fn search_files(&self, id: u32, path: String, pattern: String, timeout: Option<f64>) {
        self.files_json(id, move |fs| async move { fs.search_files(&path, &pattern, timeout).await });
    }

    /// Changes mode, owner and group.
    #[napi]
    pub fn set_file_permissions(
        &self,
        id: u32,
        path: String,
        mode: Option<String>,
        owner: Option<String>,
        group: Option<String>,
        timeout: Option<f64>,
    ) {
        self.files(id, move |fs| async move {
            let permissions = Permissions { mode, owner, group };
            fs.set_file_permissions(&path, &permissions, timeout).await.map(|()| Outcome::Unit)
        });
    }

    /// Writes one file, from a local path or a buffer.
    #[napi]
    pub fn upload_file(
        &self,
        id: u32,
        source: Either<String, BufferSlice<'_>>,
        destination: String,
        timeout: Option<f64>,
        progress: bool,
    ) {
        let options = self.transfer(id, timeout, progress);
        let file = Upload { source: upload_source(source), destination };
        self.files(id, move |fs| async move { fs.upload_file(file, options).await.map(|()| Outcome::Unit) });
    }

    /// Writes many files.
    #[napi]
    pub fn upload_files(
        &self,
        id: u32,
        sources: Vec<Either<String, BufferSlice<'_>>>,
        destinations: Vec<String>,
        timeout: Option<f64>,
    ) {
        let options = self.transfer(id, timeout, false);
        let files = sources
            .into_iter()
            .zip(destinations)
            .map(|(source, destination)| Upload { source: upload_source(source), destination })
            .collect();
        self.files(id, move |fs| async move { fs.upload_files(files, options).await.map(|()| Outcome::Unit) });
    }

    /// Writes one file from pieces that JavaScript hands over.
    #[napi]
    pub fn upload_stream(&self, id: u32, destination: String, timeout: Option<f64>, progress: bool) -> NativePieces {
        let options = self.transfer(id, timeout, progress);
        let (sender, mut receiver) = mpsc::channel(WAITING_PIECES);
        let pieces = futures_util::stream::poll_fn(move |context| receiver.poll_recv(context)).boxed();
        let file = Upload { source: UploadSource::Stream(pieces), destination };
        self.files(id, move |fs| async move { fs.upload_file(file, options).await.map(|()| Outcome::Unit) });
        NativePieces { calls: self.calls.clone(), sender: RefCell::new(Some(sender)) }
    }

    /// Reads one file into memory or to a local file.
    #[napi]
    pub fn download_file(&self, id: u32, path: String, destination: Option<String>, timeout: Option<f64>) {
        let options = self.transfer(id, timeout, false);
        let target = target(destination.map(PathBuf::from));
        self.files(id, move |fs| async move { fs.download_file(&path, target, options).await.map(Outcome::Bytes) });
    }

    /// Reads many files. `files` is JSON.
    #[napi]
    pub fn download_files(&self, id: u32, files: String, timeout: Option<f64>) {
        let options = self.transfer(id, timeout, false);
        self.files(id, move |fs| async move {
            let files: Vec<Wanted> = parse(&files)?;
            let files = files
                .into_iter()
                .map(|file| Download { source: file.source, target: target(file.destination) })
                .collect();
            fs.download_files(files, options).await.map(Outcome::Downloads)
        });
    }

    /// Opens one file to read it piece by piece.
    #[napi]
    pub fn download_stream(&self, id: u32, path: String, timeout: Option<f64>) {
        let options = self.transfer(id, timeout, false);
        self.files(id, move |fs| async move {
            fs.download_file_stream(&path, options).await.map(|stream| Outcome::Stream(Box::new(stream)))
        });
    }
}

/// The way in for the pieces of an upload.
#[napi]
pub struct NativePieces {
    calls: Calls,
    sender: RefCell<Option<mpsc::Sender<Result<Bytes>>>>,
}

#[napi]
impl NativePieces {
    /// Hands over one piece. False if there is no room for it yet: then call `id` ends when there is.
    #[napi]
    pub fn write(&self, id: u32, piece: &[u8]) -> bool {
        let Some(sender) = self.sender.borrow().clone() else { return true };
        match sender.try_send(Ok(Bytes::copy_from_slice(piece))) {
            // Closed: the upload has ended, and says why itself.
            Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => true,
            Err(mpsc::error::TrySendError::Full(piece)) => {
                self.calls.spawn(id, async move {
                    let _ = sender.send(piece).await;
                    Ok(Outcome::Unit)
                });
                false
            }
        }
    }

    /// All pieces have been handed over.
    #[napi]
    pub fn end(&self) {
        self.sender.take();
    }
}

/// An open download.
#[napi]
pub struct NativeDownload {
    calls: Calls,
    stream: RefCell<Option<Arc<tokio::sync::Mutex<DownloadStream>>>>,
}

impl NativeDownload {
    pub(crate) fn new(calls: Calls, stream: DownloadStream) -> Self {
        Self { calls, stream: RefCell::new(Some(Arc::new(tokio::sync::Mutex::new(stream)))) }
    }
}

#[napi]
impl NativeDownload {
    /// The next piece.
    #[napi]
    pub fn next(&self, id: u32) {
        let stream = self.stream.borrow().clone();
        self.calls.spawn(id, async move {
            match stream {
                Some(stream) => stream.lock().await.next().await.map(Outcome::Piece),
                None => Ok(Outcome::Piece(None)),
            }
        });
    }

    /// Ends the download.
    #[napi]
    pub fn close(&self) {
        self.stream.take();
    }
}
