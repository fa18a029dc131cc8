//! Files of the sandbox.
//!
//! Disk work runs on the runtime's few blocking threads, in pieces: none of them ever waits for a
//! client.

mod change;
mod download;
mod form;
mod list;
pub(crate) mod path;
mod search;
mod upload;
mod write;

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use axum::Router;
use axum::routing::{get, post};
use rustix::fs::OFlags;

use crate::App;
use crate::error::{Error, Result};
use crate::names;

pub(crate) fn routes() -> Router<App> {
    Router::new()
        .route("/files", get(list::list).delete(change::delete))
        .route("/files/info", get(list::info))
        .route("/files/folder", post(change::folder))
        .route("/files/move", post(change::rename))
        .route("/files/permissions", post(change::permissions))
        .route("/files/search", get(search::search))
        .route("/files/find", get(search::find))
        .route("/files/replace", post(search::replace))
        .route("/files/download", get(download::download))
        .route("/files/bulk-download", post(download::bulk_download))
        .route("/files/upload", post(upload::upload))
        .route("/files/upload-v2", post(upload::upload))
        .route("/files/bulk-upload", post(upload::bulk_upload))
}

/// Runs disk work off the event loop.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|_| Error::internal("the file operation broke off; try again"))
}

/// Opens a regular file for reading; anything else is refused without waiting for it.
pub(crate) fn open_regular(path: &Path, asked: &str) -> Result<(File, Metadata)> {
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits();
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags.cast_signed())
        .open(path)
        .map_err(|error| Error::io(&error, "read", asked))?;
    let meta = file.metadata().map_err(|error| Error::io(&error, "read", asked))?;
    if meta.is_file() {
        return Ok((file, meta));
    }
    Err(Error::bad_path(if meta.is_dir() {
        format!("{asked} is a directory; list it, or pack it with a command and download that")
    } else {
        format!("{asked} is no regular file")
    }))
}

/// The path of an entry below `root`, spelled as `root` was `asked` for.
fn under(asked: &str, root: &Path, entry: &Path) -> String {
    let rest = entry.strip_prefix(root).unwrap_or(entry);
    let path = if rest.as_os_str().is_empty() {
        Path::new(asked).to_path_buf()
    } else {
        // Without the `.` of a relative path.
        Path::new(asked).components().collect::<std::path::PathBuf>().join(rest)
    };
    let path = path.strip_prefix(".").unwrap_or(&path);
    // Given back, it has to lead there again.
    if path.starts_with("~") && !asked.starts_with('~') {
        return names::show(&Path::new(".").join(path));
    }
    names::show(path)
}

fn walk_error(error: &walkdir::Error, doing: &str, asked: &str) -> Error {
    match error.io_error() {
        Some(error) => Error::io(error, doing, asked),
        None => Error::io(&io::Error::other(error.to_string()), doing, asked),
    }
}
