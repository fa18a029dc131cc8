//! Moving file contents, in pieces: memory stays flat whatever the size, and what bounds a transfer
//! is the time without progress, never the whole.

use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use daytona_wire::error::ErrorBody;
use daytona_wire::files::{FilesDownloadRequest, UploadFilesResponse};
use futures_util::stream::{BoxStream, Stream, StreamExt};
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::error::{Error, ErrorKind, Result};
use crate::multipart::{self, Event, FILE_TAIL, Parser};
use crate::operation::Operation;
use crate::sandbox::Sandbox;
use crate::transport::{Answer, Call, Limit, broken, seconds};

/// Seconds without progress that end a transfer where nothing is said.
const IDLE_LIMIT: Duration = Duration::from_secs(1800);
const PIECE: usize = 256 * 1024;
/// Files up to this size in all are sent as one buffer.
const ONE_BUFFER: usize = 8 * 1024 * 1024;
/// How often a cancelled flag is looked at while nothing moves.
const CANCEL_TICK: Duration = Duration::from_millis(50);

/// Called with the bytes moved so far and the whole, where it is known.
pub type Progress = Arc<dyn Fn(u64, Option<u64>) + Send + Sync>;

/// How to transfer.
#[derive(Clone, Default)]
pub struct Transfer {
    /// Seconds without progress after which it fails; 0 is no limit. Default 1800.
    pub timeout: Option<f64>,
    /// Told after each piece.
    pub progress: Option<Progress>,
    /// Asked between pieces, and 20 times a second; `true` ends the transfer.
    pub cancelled: Option<Arc<dyn Fn() -> bool + Send + Sync>>,
}

impl Transfer {
    pub(crate) fn idle(&self) -> Result<Limit> {
        Ok(seconds("timeout", self.timeout)?.or(Some(IDLE_LIMIT)))
    }

    fn is_cancelled(&self) -> bool {
        self.cancelled.as_ref().is_some_and(|cancelled| cancelled())
    }
}

/// Where the contents of an upload come from.
pub enum UploadSource {
    /// A local file, read as it is sent.
    Path(PathBuf),
    /// Memory.
    Bytes(Bytes),
    /// Pieces from elsewhere; can be sent once only.
    Stream(BoxStream<'static, Result<Bytes>>),
}

/// One file to write in the sandbox.
pub struct Upload {
    /// Its contents.
    pub source: UploadSource,
    /// Its path there; missing folders are made.
    pub destination: String,
}

/// One file to read from the sandbox.
#[derive(Clone, Debug)]
pub struct Download {
    /// Its path there.
    pub source: String,
    /// Where it goes.
    pub target: DownloadTarget,
}

/// Where a download goes.
#[derive(Clone, Debug)]
pub enum DownloadTarget {
    /// Memory.
    Memory,
    /// A local file, replaced as a whole or not at all; missing folders are made.
    File(PathBuf),
}

/// What became of one [`Download`].
#[derive(Debug)]
pub struct Downloaded {
    /// The path as it was asked for.
    pub source: String,
    /// The contents for [`DownloadTarget::Memory`], nothing for a file; or why not.
    pub result: Result<Option<Vec<u8>>>,
}

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
    fn moved(&self, bytes: usize) {
        self.touch();
        let sent = self.sent.fetch_add(bytes as u64, Ordering::Relaxed) + bytes as u64;
        if let Some(progress) = &self.progress {
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
    Memory(Bytes),
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

/// Writes files in the sandbox, in one request.
pub(crate) async fn upload(
    sandbox: &Sandbox,
    operation: Operation,
    files: Vec<Upload>,
    options: Transfer,
) -> Result<()> {
    let idle = options.idle()?;
    for file in &files {
        crate::files::check_path(&file.destination)?;
    }
    if files.is_empty() {
        return Ok(());
    }
    let boundary = multipart::boundary()?;
    let (sections, replayable) = sections(files, &boundary)?;
    let length = sections.iter().map(Section::length).try_fold(0_u64, |sum, length| Some(sum + length?));
    let meter = Arc::new(Meter {
        sent: AtomicU64::new(0),
        moved_at: AtomicU64::new(0),
        begin: Instant::now(),
        total: length,
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
    let answer = watched(request, &meter, idle, &options, "Upload").await;
    if let Some(failure) = meter.failure.lock().unwrap_or_else(PoisonError::into_inner).take() {
        return Err(failure);
    }
    let answer = answer?;
    if answer.errors.is_empty() { Ok(()) } else { Err(Error::new(ErrorKind::Other, answer.errors.join("; "))) }
}

/// Waits for the answer as long as something moves.
async fn watched<T>(
    request: impl Future<Output = Result<T>>,
    meter: &Meter,
    idle: Limit,
    options: &Transfer,
    what: &str,
) -> Result<T> {
    let idle = idle.filter(|idle| !idle.is_zero());
    let mut request = std::pin::pin!(request);
    loop {
        if options.is_cancelled() {
            return Err(cancelled(what));
        }
        let quiet_end = idle.map(|idle| meter.last_move() + idle);
        if quiet_end.is_some_and(|end| end <= Instant::now()) {
            return Err(stalled(what, idle));
        }
        let tick = options.cancelled.is_some().then(|| Instant::now() + CANCEL_TICK);
        let wake = match (quiet_end, tick) {
            (None, None) => return request.await,
            (Some(end), None) => end,
            (None, Some(tick)) => tick,
            (Some(end), Some(tick)) => end.min(tick),
        };
        if let Ok(answer) = tokio::time::timeout_at(wake, &mut request).await {
            return answer;
        }
    }
}

fn cancelled(what: &str) -> Error {
    Error::new(ErrorKind::Other, format!("{what} cancelled"))
}

fn stalled(what: &str, idle: Limit) -> Error {
    let idle = idle.unwrap_or_default();
    Error::new(ErrorKind::ConnectionTimeout, format!("{what} made no progress for {idle:?}"))
        .with_hint("Pass a longer timeout, or 0 for none; it bounds the time without progress, not the whole transfer")
}

impl Section {
    fn length(&self) -> Option<u64> {
        match self {
            Self::Memory(bytes) => Some(bytes.len() as u64),
            Self::File(_, length) => Some(*length),
            Self::Pieces(_) => None,
        }
    }

    /// The same once more; never asked of pieces.
    fn again(&self) -> Self {
        match self {
            Self::Memory(bytes) => Self::Memory(bytes.clone()),
            Self::File(path, length) => Self::File(path.clone(), *length),
            Self::Pieces(_) => Self::Pieces(futures_util::stream::empty().boxed()),
        }
    }
}

/// The body as sections, and whether it can be sent twice.
fn sections(files: Vec<Upload>, boundary: &str) -> Result<(Vec<Section>, bool)> {
    let mut sections = Vec::new();
    let mut buffer = Vec::new();
    let mut replayable = true;
    for (index, file) in files.into_iter().enumerate() {
        multipart::write_file_head(&mut buffer, boundary, index, &file.destination);
        match file.source {
            UploadSource::Bytes(bytes) if buffer.len() + bytes.len() <= ONE_BUFFER => buffer.extend_from_slice(&bytes),
            UploadSource::Bytes(bytes) => {
                sections.push(Section::Memory(std::mem::take(&mut buffer).into()));
                sections.push(Section::Memory(bytes));
            }
            UploadSource::Path(path) => {
                let length = local_file_length(&path)?;
                sections.push(Section::Memory(std::mem::take(&mut buffer).into()));
                sections.push(Section::File(path, length));
            }
            UploadSource::Stream(pieces) => {
                replayable = false;
                sections.push(Section::Memory(std::mem::take(&mut buffer).into()));
                sections.push(Section::Pieces(pieces));
            }
        }
        buffer.extend_from_slice(FILE_TAIL);
    }
    multipart::write_end(&mut buffer, boundary);
    sections.push(Section::Memory(buffer.into()));
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
    let streams = sections.into_iter().map({
        let meter = Arc::clone(&meter);
        move |section| -> BoxStream<'static, io::Result<Bytes>> {
            let meter = Arc::clone(&meter);
            match section {
                Section::Memory(bytes) => futures_util::stream::iter(pieces_of(bytes)).map(Ok).boxed(),
                Section::File(path, length) => read_file(path, length, meter).boxed(),
                Section::Pieces(pieces) => pieces.map(move |piece| piece.map_err(|error| meter.fail(error))).boxed(),
            }
        }
    });
    futures_util::stream::iter(streams).flatten().inspect(move |piece| {
        if let Ok(piece) = piece {
            meter.moved(piece.len());
        }
    })
}

/// Large memory in pieces, so that progress is seen.
fn pieces_of(mut bytes: Bytes) -> impl Iterator<Item = Bytes> {
    std::iter::from_fn(move || {
        let take = bytes.len().min(4 * PIECE);
        (take > 0).then(|| bytes.split_to(take))
    })
}

enum Reading {
    Closed(PathBuf),
    Open(tokio::fs::File, PathBuf),
}

fn read_file(path: PathBuf, length: u64, meter: Arc<Meter>) -> impl Stream<Item = io::Result<Bytes>> + Send {
    let begin = (Reading::Closed(path), length);
    futures_util::stream::try_unfold(begin, move |(reading, left)| {
        let meter = Arc::clone(&meter);
        async move {
            let (mut file, path) = match reading {
                Reading::Open(file, path) => (file, path),
                Reading::Closed(path) => match tokio::fs::File::open(&path).await {
                    Ok(mut file) => {
                        file.set_max_buf_size(4 * PIECE);
                        (file, path)
                    }
                    Err(error) => return Err(meter.fail(unreadable(&path, &error.to_string()))),
                },
            };
            if left == 0 {
                return Ok(None);
            }
            let mut buffer = bytes::BytesMut::with_capacity(usize::try_from(left).unwrap_or(usize::MAX).min(4 * PIECE));
            let limited = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.capacity()) as u64;
            match (&mut file).take(limited).read_buf(&mut buffer).await {
                Ok(0) => Err(meter.fail(unreadable(&path, "it became shorter while it was sent"))),
                Ok(read) => Ok(Some((buffer.freeze(), (Reading::Open(file, path), left - read as u64)))),
                Err(error) => Err(meter.fail(unreadable(&path, &error.to_string()))),
            }
        }
    })
}

fn unreadable(path: &Path, reason: &str) -> Error {
    Error::new(ErrorKind::Other, format!("cannot read {}: {reason}", path.display()))
}

/// The answer to a download request, read part by part.
struct Parts {
    answer: Answer,
    parser: Parser,
    idle: Limit,
    what: String,
}

impl Parts {
    async fn open(
        sandbox: &Sandbox,
        operation: Operation,
        paths: Vec<String>,
        idle: Limit,
        what: String,
    ) -> Result<Self> {
        for path in &paths {
            crate::files::check_path(path)?;
        }
        let (transport, url) = sandbox.toolbox(&["files", "bulk-download"]).await?;
        let call = Call::post(operation, url).json(&FilesDownloadRequest { paths })?.limit(idle);
        let answer = transport.open(call).await?;
        let content_type = answer.response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let boundary = content_type.and_then(multipart::boundary_of).ok_or_else(|| {
            Error::new(ErrorKind::Other, format!("Unexpected Content-Type: {}", content_type.unwrap_or("none")))
        })?;
        Ok(Self { answer, parser: Parser::new(&boundary), idle, what })
    }

    /// The next event; `None` at the end. An answer that breaks off is an error.
    async fn next(&mut self, options: &Transfer) -> Result<Option<Event>> {
        loop {
            if let Some(event) = self.parser.next()? {
                return Ok(Some(event));
            }
            if options.is_cancelled() {
                return Err(cancelled(&self.what));
            }
            match self.chunk(options).await? {
                Some(piece) => self.parser.feed(piece),
                None if self.parser.ended() => return Ok(None),
                None => {
                    let text = format!("Truncated multipart response for {}", self.what);
                    return Err(Error::new(ErrorKind::Connection, text).with_hint("Try again"));
                }
            }
        }
    }

    async fn chunk(&mut self, options: &Transfer) -> Result<Option<Bytes>> {
        let idle = self.idle.filter(|idle| !idle.is_zero());
        let end = idle.map(|idle| Instant::now() + idle);
        let response = &mut self.answer.response;
        let mut chunk = std::pin::pin!(response.chunk());
        loop {
            let tick = options.cancelled.is_some().then(|| Instant::now() + CANCEL_TICK);
            let wake = match (end, tick) {
                (None, None) => return chunk.await.map_err(broken),
                (Some(end), None) => end,
                (None, Some(tick)) => tick,
                (Some(end), Some(tick)) => end.min(tick),
            };
            if let Ok(chunk) = tokio::time::timeout_at(wake, &mut chunk).await {
                return chunk.map_err(broken);
            }
            if options.is_cancelled() {
                return Err(cancelled(&self.what));
            }
            if end.is_some_and(|end| end <= Instant::now()) {
                return Err(stalled(&self.what, idle));
            }
        }
    }
}

/// Reads files from the sandbox, in one request; one that cannot be read does not stop the others.
pub(crate) async fn download(
    sandbox: &Sandbox,
    operation: Operation,
    files: Vec<Download>,
    options: Transfer,
) -> Result<Vec<Downloaded>> {
    let idle = options.idle()?;
    if files.is_empty() {
        return Ok(Vec::new());
    }
    // A path asked for twice is sent once.
    let mut paths: Vec<String> = Vec::with_capacity(files.len());
    let mut seen = std::collections::HashSet::with_capacity(files.len());
    for file in &files {
        if seen.insert(file.source.as_str()) {
            paths.push(file.source.clone());
        }
    }
    let what = format!("Download of {}", if files.len() == 1 { &files[0].source } else { "files" });
    let mut parts = Parts::open(sandbox, operation, paths, idle, what).await?;
    let mut results: Vec<Option<Result<Option<Vec<u8>>>>> = files.iter().map(|_| None).collect();
    let mut wanted: std::collections::HashMap<&str, Vec<usize>> = std::collections::HashMap::new();
    for (index, file) in files.iter().enumerate() {
        wanted.entry(file.source.as_str()).or_default().push(index);
    }
    let mut received = 0_u64;
    while let Some(event) = parts.next(&options).await? {
        let Event::Part(part) = event else { continue };
        let name = part.filename.as_deref().unwrap_or_default();
        let indices = wanted.get(name).cloned().unwrap_or_default();
        let is_error = part.name == "error";
        let mut sinks = Vec::with_capacity(indices.len());
        for index in indices {
            let sink = if is_error { Sink::memory(None) } else { Sink::new(&files[index].target, part.length) };
            sinks.push((index, sink));
        }
        while let Some(event) = parts.next(&options).await? {
            let Event::Data(data) = event else { break };
            received += data.len() as u64;
            for (_, sink) in &mut sinks {
                sink.write(data.clone()).await;
            }
            if let Some(progress) = &options.progress {
                progress(received, part.length.filter(|_| files.len() == 1));
            }
        }
        for (index, sink) in sinks {
            let result = sink.finish().await;
            results[index] = Some(if is_error { Err(part_error(&result?.unwrap_or_default())) } else { result });
        }
    }
    let results = files.into_iter().zip(results).map(|(file, result)| {
        let missing = || Err(Error::new(ErrorKind::Other, "No data received for this file"));
        Downloaded { source: file.source, result: result.unwrap_or_else(missing) }
    });
    Ok(results.collect())
}

/// Reads one file into memory or to a local file.
pub(crate) async fn download_one(
    sandbox: &Sandbox,
    operation: Operation,
    file: Download,
    options: Transfer,
) -> Result<Option<Vec<u8>>> {
    let mut all = download(sandbox, operation, vec![file], options).await?;
    all.pop().map_or(Ok(None), |one| one.result)
}

fn part_error(body: &[u8]) -> Error {
    let text = String::from_utf8_lossy(body).trim().to_owned();
    match serde_json::from_slice::<ErrorBody>(body) {
        Ok(parsed) if !parsed.message.is_empty() || parsed.code.is_some() => Error::from_body(parsed),
        _ => Error::new(ErrorKind::Other, if text.is_empty() { "No data received for this file".into() } else { text }),
    }
}

/// Where the data of one file goes.
enum Sink {
    Memory(Vec<u8>),
    File { pieces: mpsc::Sender<Bytes>, writer: tokio::task::JoinHandle<io::Result<()>>, path: PathBuf },
}

impl Sink {
    fn memory(length: Option<u64>) -> Self {
        // A server's word on the length is not taken for more than this before the data is there.
        const MOST_AT_ONCE: usize = 512 * 1024 * 1024;
        let length = length.and_then(|length| usize::try_from(length).ok()).unwrap_or_default();
        Self::Memory(Vec::with_capacity(length.min(MOST_AT_ONCE)))
    }

    fn new(target: &DownloadTarget, length: Option<u64>) -> Self {
        match target {
            DownloadTarget::Memory => Self::memory(length),
            DownloadTarget::File(path) => {
                let (pieces, queue) = mpsc::channel(16);
                let target = path.clone();
                let writer = tokio::task::spawn_blocking(move || write_file(&target, queue));
                Self::File { pieces, writer, path: path.clone() }
            }
        }
    }

    async fn write(&mut self, data: Bytes) {
        match self {
            Self::Memory(memory) => memory.extend_from_slice(&data),
            // A writer that has failed says so when it is asked at the end.
            Self::File { pieces, .. } => drop(pieces.send(data).await),
        }
    }

    async fn finish(self) -> Result<Option<Vec<u8>>> {
        match self {
            Self::Memory(memory) => Ok(Some(memory)),
            Self::File { pieces, writer, path } => {
                // An empty piece says that all has come: without it nothing replaces the target.
                let _ = pieces.send(Bytes::new()).await;
                drop(pieces);
                let failed =
                    |reason: String| Error::new(ErrorKind::Other, format!("cannot write {}: {reason}", path.display()));
                match writer.await {
                    Ok(Ok(())) => Ok(None),
                    Ok(Err(error)) => Err(failed(error.to_string())),
                    Err(error) => Err(failed(error.to_string())),
                }
            }
        }
    }
}

/// Writes beside the target and replaces it when all has come.
fn write_file(target: &Path, mut queue: mpsc::Receiver<Bytes>) -> io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::PermissionsExt;

    // Through a symlink to what it stands for.
    let target = target.canonicalize().unwrap_or_else(|_| target.to_owned());
    let existing = std::fs::metadata(&target).ok();
    if existing.as_ref().is_some_and(|metadata| metadata.is_dir()) {
        return Err(io::Error::from(io::ErrorKind::IsADirectory));
    }
    if existing.as_ref().is_some_and(|metadata| !metadata.is_file()) {
        // A device or a pipe cannot be replaced, only written to.
        let mut file = std::fs::OpenOptions::new().write(true).open(&target)?;
        while let Some(piece) = queue.blocking_recv() {
            file.write_all(&piece)?;
        }
        return Ok(());
    }
    let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    let mode = existing.map_or(0o666, |metadata| metadata.permissions().mode() & 0o7777);
    let mut file = tempfile::Builder::new()
        .prefix(".daytona-")
        .permissions(std::fs::Permissions::from_mode(mode))
        .tempfile_in(folder)?;
    while let Some(piece) = queue.blocking_recv() {
        if piece.is_empty() {
            file.as_file_mut().flush()?;
            return file.persist(&target).map(drop).map_err(|error| error.error);
        }
        file.write_all(&piece)?;
    }
    // The download was given up: the temporary file goes with this error.
    Err(io::Error::from(io::ErrorKind::Interrupted))
}

/// The contents of one file, piece by piece. Dropping it ends the download.
pub struct DownloadStream {
    parts: Option<Parts>,
    options: Transfer,
    operation: Operation,
    total: Option<u64>,
    received: u64,
}

impl DownloadStream {
    /// Opens the file; its first error is seen here already.
    pub(crate) async fn open(sandbox: &Sandbox, path: &str, options: Transfer) -> Result<Self> {
        let operation = Operation::DOWNLOAD_FILE;
        let what = format!("Download of {path}");
        let mut parts = Parts::open(sandbox, operation, vec![path.to_owned()], options.idle()?, what).await?;
        let part = loop {
            match parts.next(&options).await? {
                Some(Event::Part(part)) => break part,
                Some(_) => {}
                None => return Err(Error::new(ErrorKind::Other, "No data received for this file")),
            }
        };
        if part.name == "error" {
            let mut body = Vec::new();
            while let Some(Event::Data(data)) = parts.next(&options).await? {
                body.extend_from_slice(&data);
            }
            return Err(part_error(&body));
        }
        Ok(Self { parts: Some(parts), options, operation, total: part.length, received: 0 })
    }

    /// Bytes in all, where the server says.
    pub fn total(&self) -> Option<u64> {
        self.total
    }

    /// The next piece; `None` at the end, and after an error.
    ///
    /// # Errors
    /// `Connection` when the download breaks off or stalls.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        let Some(parts) = &mut self.parts else { return Ok(None) };
        // After the file's own data the closing boundary has to follow.
        let outcome = loop {
            match parts.next(&self.options).await {
                Ok(Some(Event::Data(data))) => break Ok(Some(data)),
                Ok(Some(_)) => {}
                other => break other.map(|_| None),
            }
        };
        match outcome {
            Ok(Some(data)) => {
                self.received += data.len() as u64;
                if let Some(progress) = &self.options.progress {
                    progress(self.received, self.total);
                }
                Ok(Some(data))
            }
            end => {
                self.parts = None;
                end.map_err(|error| error.with_operation(self.operation))
            }
        }
    }
}
