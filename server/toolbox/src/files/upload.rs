//! Uploads: into files that appear whole or not at all.
//!
//! The body is read on the event loop and written in batches on a blocking thread, one batch
//! being written while the next one is read.
//!
//! What is acknowledged outlives the death of every process. A small request is also on disk
//! before it is acknowledged; larger ones leave that to the kernel, as `cp` does: waiting for the
//! disk would make a thousand files take seconds.

use std::collections::HashMap;
use std::path::PathBuf;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use bytes::Bytes;
use daytona_wire::files::{UploadFilesResponse, UploadedFile};
use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;

use super::form::{Form, Part, is_form};
use super::path::resolve_real;
use super::write::Pending;
use crate::App;
use crate::body::{Query, next_chunk};
use crate::error::{Error, Result};

/// Data handed to the disk at once.
const BATCH: usize = 512 << 10;

/// The largest `files[i].path` part.
const PATH_LIMIT: usize = 4 << 10;

/// Bytes of paths that may wait for their files.
const WAITING_LIMIT: usize = 32 << 20;

/// A request with no more files and bytes than these is synced to disk.
const SYNC_FILES: usize = 4;
const SYNC_BYTES: u64 = 1 << 20;

#[derive(Deserialize)]
pub(crate) struct UploadQuery {
    path: String,
}

/// The answer of an upload of one file.
#[derive(Serialize)]
pub(crate) struct Uploaded {
    name: String,
    path: String,
    #[serde(rename = "type")]
    kind: &'static str,
    bytes: u64,
}

/// `POST /files/upload`, `/files/upload-v2`: part `file` of a multipart body, or the body itself.
pub(crate) async fn upload(
    State(app): State<App>,
    Query(UploadQuery { path }): Query<UploadQuery>,
    request: Request,
) -> Result<axum::Json<Uploaded>> {
    let mut writer = Writer::new(app);
    let (parts, body) = request.into_parts();
    let multipart = is_form(&parts.headers);
    let mut found = !multipart;
    if multipart {
        let mut form = Form::new(&parts.headers, body)?;
        while let Some(field) = form.next().await? {
            if field.name() == "file" && !found {
                found = true;
                writer.file(path.clone(), field).await?;
            } else {
                field.skip().await?;
            }
        }
    } else {
        writer.push(Step::Begin(path.clone())).await?;
        let mut body = body;
        while let Some(chunk) = next_chunk(&mut body).await? {
            writer.push(Step::Data(chunk)).await?;
        }
        writer.push(Step::End).await?;
    }
    if !found {
        return Err(Error::bad_body("the form has no part named file; send the file's content as that"));
    }
    let sink = writer.finish().await?;
    if let Some(error) = sink.failed {
        return Err(error);
    }
    Ok(axum::Json(Uploaded {
        name: path.rsplit('/').next().unwrap_or(&path).to_owned(),
        path,
        kind: "file",
        bytes: sink.files.first().map_or(0, |file| file.bytes),
    }))
}

/// `POST /files/bulk-upload`: parts `files[i].path`, each before its `files[i].file`.
pub(crate) async fn bulk_upload(
    State(app): State<App>,
    headers: HeaderMap,
    body: Body,
) -> Result<axum::Json<UploadFilesResponse>> {
    let mut writer = Writer::new(app);
    let mut errors = Vec::new();
    let read = read_parts(&headers, body, &mut writer, &mut errors).await;
    // What came whole is written, whatever came after it.
    let sink = writer.finish().await?;
    errors.extend(sink.errors);
    let status = match read {
        Ok(()) => StatusCode::BAD_REQUEST,
        Err(error) => {
            errors.push(error.message.into_owned());
            error.status
        }
    };
    if errors.is_empty() {
        return Ok(axum::Json(UploadFilesResponse { errors, files: sink.files }));
    }
    let code = if status == StatusCode::BAD_REQUEST { "BAD_REQUEST" } else { "REQUEST_TIMEOUT" };
    let mut error = Error::new(status, code, errors.join(", "));
    error.upload = Some(Box::new(UploadFilesResponse { errors, files: sink.files }));
    Err(error)
}

async fn read_parts(headers: &HeaderMap, body: Body, writer: &mut Writer, errors: &mut Vec<String>) -> Result<()> {
    if !is_form(headers) {
        return Err(Error::bad_body("the body is no multipart/form-data; send files[i].path and files[i].file parts"));
    }
    let mut form = Form::new(headers, body)?;
    let mut waiting: HashMap<usize, String> = HashMap::new();
    let mut size = 0;
    let mut empty = true;
    while let Some(field) = form.next().await? {
        empty = false;
        match part(field.name()) {
            Some((index, Kind::Path)) => {
                let path = field.text(PATH_LIMIT).await?;
                size += path.len() + 64;
                if size > WAITING_LIMIT {
                    return Err(Error::bad_body("too many files in one request; split it into several"));
                }
                waiting.insert(index, path);
            }
            Some((index, Kind::File)) => {
                if let Some(path) = waiting.remove(&index) {
                    size -= path.len() + 64;
                    writer.file(path, field).await?;
                } else {
                    errors.push(format!(
                        "files[{index}].file came without files[{index}].path before it; \
                         send the path part first"
                    ));
                    field.skip().await?;
                }
            }
            None => {
                errors.push(format!("unknown part {:?}; send files[i].path and files[i].file parts", field.name()));
                field.skip().await?;
            }
        }
    }
    for (index, path) in waiting {
        errors.push(format!("files[{index}].file, for {path}, is missing"));
    }
    if empty {
        return Err(Error::bad_body("the form holds no files"));
    }
    Ok(())
}

enum Kind {
    Path,
    File,
}

/// `files[3].path` as 3 and path.
fn part(name: &str) -> Option<(usize, Kind)> {
    let (index, rest) = name.strip_prefix("files[")?.split_once("].")?;
    let kind = match rest {
        "path" => Kind::Path,
        "file" => Kind::File,
        _ => return None,
    };
    Some((index.parse().ok()?, kind))
}

/// One step of writing files, in the order of the parts.
enum Step {
    Begin(String),
    Data(Bytes),
    End,
}

/// Where a file goes; a path that can only be a folder's is none.
fn file_at(app: &App, asked: &str) -> Result<PathBuf> {
    if asked.ends_with('/') {
        return Err(Error::bad_path(format!("{asked} is the path of a folder; add the name that the file is to have")));
    }
    resolve_real(app, asked)
}

/// Collects steps and has a [`Sink`] take them.
struct Writer {
    sink: Option<Sink>,
    busy: Option<JoinHandle<Sink>>,
    batch: Vec<Step>,
    size: usize,
}

impl Writer {
    fn new(app: App) -> Self {
        Self { sink: Some(Sink::new(app)), busy: None, batch: Vec::new(), size: 0 }
    }

    async fn file(&mut self, path: String, mut field: Part) -> Result<()> {
        self.push(Step::Begin(path)).await?;
        while let Some(chunk) = field.chunk().await? {
            self.push(Step::Data(chunk)).await?;
        }
        self.push(Step::End).await
    }

    async fn push(&mut self, step: Step) -> Result<()> {
        self.size += match &step {
            Step::Data(data) => data.len(),
            Step::Begin(_) | Step::End => 256,
        };
        self.batch.push(step);
        if self.size >= BATCH {
            self.flush().await?;
        }
        Ok(())
    }

    /// Waits for the last batch and starts this one.
    async fn flush(&mut self) -> Result<()> {
        let mut sink = self.ready().await?;
        let batch = std::mem::take(&mut self.batch);
        self.size = 0;
        self.busy = Some(tokio::task::spawn_blocking(move || {
            for step in batch {
                sink.take(step);
            }
            sink
        }));
        Ok(())
    }

    async fn ready(&mut self) -> Result<Sink> {
        if let Some(busy) = self.busy.take() {
            return busy.await.map_err(|_| Error::internal("writing the file broke off; send it again"));
        }
        self.sink.take().ok_or_else(|| Error::internal("writing the file broke off; send it again"))
    }

    /// Writes what is left; a file without its end is dropped.
    async fn finish(mut self) -> Result<Sink> {
        let mut sink = self.ready().await?;
        let batch = self.batch;
        super::blocking(move || {
            for step in batch {
                sink.take(step);
            }
            sink.close();
            sink
        })
        .await
    }
}

/// Writes files; one that fails does not stop the others.
struct Sink {
    app: App,
    current: Option<(String, Pending)>,
    /// Whole, and waiting to learn whether the request is small.
    held: Vec<(String, Pending)>,
    bytes: u64,
    files: Vec<UploadedFile>,
    errors: Vec<String>,
    failed: Option<Error>,
}

impl Sink {
    fn new(app: App) -> Self {
        Self { app, current: None, held: Vec::new(), bytes: 0, files: Vec::new(), errors: Vec::new(), failed: None }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Begin(path) => {
                let pending = file_at(&self.app, &path).and_then(|target| Pending::new(target, &path));
                match pending {
                    Ok(pending) => self.current = Some((path, pending)),
                    Err(error) => self.fail(error),
                }
            }
            Step::Data(data) => {
                if let Some((_, pending)) = &mut self.current {
                    self.bytes += data.len() as u64;
                    if let Err(error) = pending.write(&data) {
                        self.current = None;
                        self.fail(error);
                    }
                }
            }
            Step::End => {
                self.held.extend(self.current.take());
                if self.held.len() > SYNC_FILES || self.bytes > SYNC_BYTES {
                    self.commit(false);
                }
            }
        }
    }

    fn close(&mut self) {
        self.current = None;
        let small = self.files.is_empty();
        self.commit(small);
    }

    fn commit(&mut self, sync: bool) {
        for (path, pending) in std::mem::take(&mut self.held) {
            let bytes = pending.bytes;
            match pending.commit(sync) {
                Ok(()) => self.files.push(UploadedFile { path, bytes }),
                Err(error) => self.fail(error),
            }
        }
    }

    fn fail(&mut self, error: Error) {
        self.errors.push(error.message.clone().into_owned());
        self.failed.get_or_insert(error);
    }
}
