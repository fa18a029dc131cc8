//! Uploads: a multipart body that is read while it is sent.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use daytona_wire::files::UploadFilesResponse;
use futures_util::stream::{BoxStream, Stream, StreamExt};
use http::HeaderValue;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::{Progress, Transfer, Upload, UploadSource};
use crate::error::{Error, ErrorKind, Result};
use crate::multipart::{self, FILE_TAIL};
use crate::operation::Operation;
use crate::sandbox::Sandbox;
use crate::transport::Call;

const PIECE: usize = 256 * 1024;
/// Pieces of a file in memory beside the one that is sent.
const READ_AHEAD: usize = 4;
/// Files up to this size in all are sent as one buffer.
const ONE_BUFFER: usize = 8 * 1024 * 1024;

/// Progress and liveness of one upload.
struct Meter {
    sent: AtomicU64,
    moved_at: AtomicU64,
    begin: Instant,
    total: Option<u64>,
    progress: Option<Progress>,
    failure: Mutex<Option<Error>>,
}

impl Meter {
    /// Something has moved, with this many bytes of files in it.
    fn moved(&self, content: usize) {
        self.touch();
        let sent = self.sent.fetch_add(content as u64, Ordering::Relaxed) + content as u64;
        if content > 0
            && let Some(progress) = &self.progress
        {
            progress(sent, self.total);
        }
    }

    fn touch(&self) {
        let now = u64::try_from(self.begin.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.moved_at.store(now, Ordering::Relaxed);
    }

    fn last_move(&self) -> Instant {
        self.begin + Duration::from_millis(self.moved_at.load(Ordering::Relaxed))
    }

    fn fail(&self, error: Error) -> io::Error {
        let text = error.message();
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        io::Error::other(text)
    }
}

/// One piece of the request's body, before it is read.
enum Section {
    /// Bytes, so many of which are of files.
    Memory(Bytes, usize),
    /// Exactly this many bytes of a file.
    File(PathBuf, u64),
    Pieces(BoxStream<'static, Result<Bytes>>),
}

/// A body of known or unknown length.
struct Body {
    /// Never contended: hyper wants a body it could share, and does not share it.
    stream: Mutex<BoxStream<'static, io::Result<Bytes>>>,
    length: Option<u64>,
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<http_body::Frame<Bytes>>>> {
        let stream = self.stream.get_mut().unwrap_or_else(PoisonError::into_inner);
        stream.poll_next_unpin(context).map(|piece| piece.map(|piece| piece.map(http_body::Frame::data)))
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.length.map_or_else(http_body::SizeHint::default, http_body::SizeHint::with_exact)
    }
}

/// A path that ends with a slash is that of a folder, where a local file keeps its name.
fn into_folder(file: &mut Upload) -> Result<()> {
    if !file.destination.ends_with('/') {
        return Ok(());
    }
    let UploadSource::Path(path) = &file.source else {
        let text = format!("{:?} is the path of a folder", file.destination);
        return Err(Error::new(ErrorKind::InvalidFilePath, text)
            .with_hint("Add the name that the file is to have: what is uploaded from memory or a stream has none"));
    };
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
        let text = format!("{} has no name to keep in the folder {:?}", path.display(), file.destination);
        return Err(
            Error::new(ErrorKind::InvalidFilePath, text).with_hint("Give the whole path that the file is to have")
        );
    };
    file.destination.push_str(name);
    Ok(())
}

/// Writes files in the sandbox, in one request.
pub(crate) async fn upload(
    sandbox: &Sandbox,
    operation: Operation,
    mut files: Vec<Upload>,
    options: Transfer,
) -> Result<()> {
    let idle = options.idle()?;
    for file in &mut files {
        crate::files::check_path(&file.destination)?;
        into_folder(file)?;
    }
    if files.is_empty() {
        return Ok(());
    }
    let boundary = multipart::boundary()?;
    let (sections, replayable) = sections(files, &boundary)?;
    let length = sections.iter().map(Section::length).try_fold(0_u64, |sum, length| Some(sum + length?));
    let total = sections.iter().map(Section::content).try_fold(0_u64, |sum, content| Some(sum + content?));
    let meter = Arc::new(Meter {
        sent: AtomicU64::new(0),
        moved_at: AtomicU64::new(0),
        begin: Instant::now(),
        total,
        progress: options.progress.clone(),
        failure: Mutex::new(None),
    });
    let sections = Mutex::new(Some(sections));
    let make = || {
        let sections = if replayable {
            sections
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .as_ref()
                .map(|all| all.iter().map(Section::again).collect())
        } else {
            sections.lock().unwrap_or_else(PoisonError::into_inner).take()
        };
        meter.sent.store(0, Ordering::Relaxed);
        sections.map(|sections: Vec<Section>| {
            let stream = Mutex::new(read_sections(sections, Arc::clone(&meter)).boxed());
            reqwest::Body::wrap(Body { stream, length })
        })
    };
    let content_type = HeaderValue::from_str(&format!("multipart/form-data; boundary={boundary}"))
        .map_err(|error| Error::invalid(error.to_string()))?;
    let (transport, url) = sandbox.toolbox(&["files", "bulk-upload"]).await?;
    let call = Call::post(operation, url).stream(content_type, &make).limit(Some(Duration::ZERO));
    let request = transport.json::<UploadFilesResponse>(call);
    let answer = options.watch("Upload", idle, || meter.last_move(), request).await;
    if let Some(failure) = meter.failure.lock().unwrap_or_else(PoisonError::into_inner).take() {
        return Err(failure);
    }
    let answer = answer??;
    if answer.errors.is_empty() { Ok(()) } else { Err(Error::new(ErrorKind::Other, answer.errors.join("; "))) }
}

impl Section {
    fn length(&self) -> Option<u64> {
        match self {
            Self::Memory(bytes, _) => Some(bytes.len() as u64),
            Self::File(_, length) => Some(*length),
            Self::Pieces(_) => None,
        }
    }

    /// Bytes of files.
    fn content(&self) -> Option<u64> {
        match self {
            Self::Memory(_, content) => Some(*content as u64),
            other => other.length(),
        }
    }

    /// The same once more; never asked of pieces.
    fn again(&self) -> Self {
        match self {
            Self::Memory(bytes, content) => Self::Memory(bytes.clone(), *content),
            Self::File(path, length) => Self::File(path.clone(), *length),
            Self::Pieces(_) => Self::Pieces(futures_util::stream::empty().boxed()),
        }
    }
}

/// The body as sections, and whether it can be sent twice.
fn sections(files: Vec<Upload>, boundary: &str) -> Result<(Vec<Section>, bool)> {
    let mut sections = Vec::new();
    let mut buffer = Vec::new();
    let mut content = 0;
    let mut replayable = true;
    for (index, file) in files.into_iter().enumerate() {
        multipart::write_file_head(&mut buffer, boundary, index, &file.destination);
        let section = match file.source {
            UploadSource::Bytes(bytes) if buffer.len() + bytes.len() <= ONE_BUFFER => {
                buffer.extend_from_slice(&bytes);
                content += bytes.len();
                None
            }
            UploadSource::Bytes(bytes) => {
                let length = bytes.len();
                Some(Section::Memory(bytes, length))
            }
            UploadSource::Path(path) => {
                let length = local_file_length(&path)?;
                Some(Section::File(path, length))
            }
            UploadSource::Stream(pieces) => {
                replayable = false;
                Some(Section::Pieces(pieces))
            }
        };
        if let Some(section) = section {
            sections.push(Section::Memory(std::mem::take(&mut buffer).into(), std::mem::take(&mut content)));
            sections.push(section);
        }
        buffer.extend_from_slice(FILE_TAIL);
    }
    multipart::write_end(&mut buffer, boundary);
    sections.push(Section::Memory(buffer.into(), content));
    Ok((sections, replayable))
}

fn local_file_length(path: &Path) -> Result<u64> {
    let refused = |reason: String| Error::invalid(format!("cannot upload {}: {reason}", path.display()));
    let metadata = std::fs::metadata(path).map_err(|error| refused(error.to_string()))?;
    if !metadata.is_file() {
        return Err(refused("it is not a file".into()));
    }
    Ok(metadata.len())
}

/// Reads one section after the other.
fn read_sections(sections: Vec<Section>, meter: Arc<Meter>) -> impl Stream<Item = io::Result<Bytes>> + Send {
    let streams = sections.into_iter().map(move |section| -> BoxStream<'static, io::Result<Bytes>> {
        let meter = Arc::clone(&meter);
        let moved = Arc::clone(&meter);
        let count = move |piece: &io::Result<Bytes>| {
            if let Ok(piece) = piece {
                moved.moved(piece.len());
            }
        };
        match section {
            Section::Memory(bytes, mut content) => futures_util::stream::iter(pieces_of(bytes))
                .map(move |piece| {
                    let counted = content.min(piece.len());
                    content -= counted;
                    meter.moved(counted);
                    Ok(piece)
                })
                .boxed(),
            Section::File(path, length) => read_file(path, length, meter).inspect(count).boxed(),
            Section::Pieces(pieces) => {
                pieces.map(move |piece| piece.map_err(|error| meter.fail(error))).inspect(count).boxed()
            }
        }
    });
    futures_util::stream::iter(streams).flatten()
}

/// Large memory in pieces, so that progress is seen.
fn pieces_of(mut bytes: Bytes) -> impl Iterator<Item = Bytes> {
    std::iter::from_fn(move || {
        let take = bytes.len().min(PIECE);
        (take > 0).then(|| bytes.split_to(take))
    })
}

/// Reads ahead on a thread that may block, so that reading and sending overlap.
fn read_file(path: PathBuf, length: u64, meter: Arc<Meter>) -> impl Stream<Item = io::Result<Bytes>> + Send {
    let (pieces, queue) = mpsc::channel(READ_AHEAD);
    tokio::task::spawn_blocking(move || {
        if let Err(reason) = read_pieces(&path, length, &pieces) {
            let _ = pieces.blocking_send(Err(unreadable(&path, &reason)));
        }
    });
    futures_util::stream::unfold(queue, |mut queue| async move { Some((queue.recv().await?, queue)) })
        .map(move |piece| piece.map_err(|error| meter.fail(error)))
}

/// Exactly `left` bytes of a file; ends early when nobody takes them any more.
fn read_pieces(path: &Path, mut left: u64, pieces: &mpsc::Sender<Result<Bytes>>) -> Result<(), String> {
    let mut file = std::fs::File::open(path).map_err(|error| error.to_string())?;
    while left > 0 {
        let wanted = left.min(PIECE as u64);
        let mut piece = Vec::with_capacity(PIECE.min(usize::try_from(left).unwrap_or(PIECE)));
        (&mut file).take(wanted).read_to_end(&mut piece).map_err(|error| error.to_string())?;
        if (piece.len() as u64) < wanted {
            return Err("it became shorter while it was sent".into());
        }
        left -= wanted;
        if pieces.blocking_send(Ok(piece.into())).is_err() {
            return Ok(());
        }
    }
    Ok(())
}

fn unreadable(path: &Path, reason: &str) -> Error {
    Error::new(ErrorKind::Other, format!("cannot read {}: {reason}", path.display()))
}
