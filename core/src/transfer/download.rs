//! Downloads: a multipart answer whose parts go to memory, to files, or piece by piece to the caller.

use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use daytona_wire::error::ErrorBody;
use daytona_wire::files::FilesDownloadRequest;
use http::header::CONTENT_TYPE;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::{Download, DownloadTarget, Downloaded, Transfer};
use crate::error::{Error, ErrorKind, Result};
use crate::multipart::{self, Event, Parser};
use crate::operation::Operation;
use crate::sandbox::Sandbox;
use crate::transport::{Answer, Call, LONGEST_REFUSAL, Limit, agent_of, broken, too_large};
use crate::watch;

/// The answer to a download request, read part by part.
struct Parts {
    answer: Answer,
    agent: Option<String>,
    parser: Parser,
    idle: Limit,
    what: String,
    /// Bytes that may be held in memory, of all files together.
    limit: u64,
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
        let agent = agent_of(answer.response.headers());
        Ok(Self { answer, agent, parser: Parser::new(&boundary), idle, what, limit: transport.max_response() })
    }

    /// The next event; `None` at the end. An answer that breaks off is an error.
    async fn next(&mut self, options: &Transfer) -> Result<Option<Event>> {
        loop {
            if let Some(event) = self.parser.next()? {
                return Ok(Some(event));
            }
            let begin = Instant::now();
            let chunk = self.answer.response.chunk();
            let chunk = options.watch(&self.what, self.idle, || begin, chunk).await?;
            match chunk.map_err(|error| broken(error).of_agent(self.agent.clone()))? {
                Some(piece) => self.parser.feed(piece),
                None if self.parser.ended() => return Ok(None),
                None => {
                    let text = format!("Truncated multipart response for {}", self.what);
                    let error = Error::new(ErrorKind::Connection, text).with_hint("Try again");
                    return Err(error.of_agent(self.agent.clone()));
                }
            }
        }
    }
}

/// A local path that ends with a slash is that of a folder, where the file keeps its name.
fn into_folder(file: &mut Download) -> Result<()> {
    let DownloadTarget::File(path) = &mut file.target else { return Ok(()) };
    if !path.as_os_str().to_string_lossy().ends_with('/') {
        return Ok(());
    }
    let name = file.source.rsplit('/').next().unwrap_or_default();
    if matches!(name, "" | "." | ".." | "~") {
        let text = format!("{:?} has no name to keep in the folder {}", file.source, path.display());
        return Err(
            Error::new(ErrorKind::InvalidFilePath, text).with_hint("Give the whole path that the file is to have")
        );
    }
    path.push(name);
    Ok(())
}

/// Reads files from the sandbox, in one request; one that cannot be read does not stop the others.
pub(crate) async fn download(
    sandbox: &Sandbox,
    operation: Operation,
    mut files: Vec<Download>,
    options: Transfer,
) -> Result<Vec<Downloaded>> {
    let idle = options.idle()?;
    files.iter_mut().try_for_each(into_folder)?;
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
    let mut memory = Memory { limit: parts.limit, left: parts.limit };
    'answer: while let Some(event) = parts.next(&options).await? {
        let Event::Part(part) = event else { continue };
        let name = part.filename.as_deref().unwrap_or_default();
        let indices = wanted.get(name).cloned().unwrap_or_default();
        let is_error = part.name == "error";
        let mut sinks = Vec::with_capacity(indices.len());
        for index in indices {
            let sink = match &files[index].target {
                _ if is_error => Sink::Refusal(Vec::new()),
                DownloadTarget::Memory => memory.sink(&files[index].source, part.length),
                DownloadTarget::File(path) => Sink::file(path),
            };
            sinks.push((index, sink));
        }
        // Whether what nobody takes is not read to its end either: of a part of unknown length nobody knows whether it has
        // one.
        let gives_up = |sinks: &[(usize, Sink)]| {
            let is_over = |sink: &Sink| matches!(sink, Sink::TooLarge(_) | Sink::Refusal(_));
            let is_refused = part.length.is_none() && sinks.iter().all(|(_, sink)| is_over(sink));
            !sinks.is_empty() && (files.len() == 1 || is_refused)
        };
        let mut is_cut = gives_up(&sinks) && sinks.iter().all(|(_, sink)| matches!(sink, Sink::TooLarge(_)));
        while !is_cut {
            let data = match parts.next(&options).await {
                Ok(Some(Event::Data(data))) => data,
                Ok(_) => break,
                Err(error) => {
                    for (_, sink) in sinks {
                        sink.abandon().await;
                    }
                    return Err(error);
                }
            };
            received += data.len() as u64;
            let mut is_taken = false;
            for (index, sink) in &mut sinks {
                is_taken |= sink.write(data.clone(), &mut memory, &files[*index].source).await;
            }
            is_cut = !is_taken && gives_up(&sinks);
            if let Some(progress) = &options.progress {
                progress(received, part.length.filter(|_| files.len() == 1));
            }
        }
        for (index, sink) in sinks {
            let result = sink.finish().await;
            is_cut |= result.is_err() && files.len() == 1;
            results[index] = Some(if is_error { Err(part_error(&result?.unwrap_or_default())) } else { result });
        }
        if is_cut {
            // Nobody wants the rest.
            break 'answer;
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

/// What may still be held in memory.
struct Memory {
    limit: u64,
    left: u64,
}

impl Memory {
    fn sink(&self, path: &str, length: Option<u64>) -> Sink {
        // A server's word on the length is not taken for more than this before the data is there.
        const MOST_AT_ONCE: u64 = 512 << 20;
        let length = length.unwrap_or_default();
        if length > self.left {
            return Sink::TooLarge(self.refusal(path));
        }
        Sink::Memory(Vec::with_capacity(usize::try_from(length.min(MOST_AT_ONCE)).unwrap_or_default()))
    }

    fn refusal(&self, path: &str) -> Error {
        let what = if self.left == self.limit { path.to_owned() } else { format!("with the files before it, {path}") };
        too_large(&what, self.limit)
            .with_hint("Download it to a file or as a stream, or raise max_response_bytes (DAYTONA_MAX_RESPONSE_BYTES)")
    }
}

/// Where the data of one file goes.
enum Sink {
    Memory(Vec<u8>),
    /// It does not fit into memory.
    TooLarge(Error),
    /// Why there is no data: what is said beyond a limit is left out.
    Refusal(Vec<u8>),
    File {
        pieces: mpsc::Sender<Bytes>,
        writer: tokio::task::JoinHandle<io::Result<()>>,
        path: PathBuf,
    },
}

impl Sink {
    fn file(path: &Path) -> Self {
        let (pieces, queue) = mpsc::channel(16);
        let target = path.to_owned();
        let writer = tokio::task::spawn_blocking(move || write_file(&target, queue));
        Self::File { pieces, writer, path: path.to_owned() }
    }

    /// False if it takes no more; why is said at the end.
    async fn write(&mut self, data: Bytes, room: &mut Memory, path: &str) -> bool {
        debug_assert!(!data.is_empty(), "an empty piece says that all has come");
        match self {
            Self::Memory(memory) => {
                let length = data.len() as u64;
                if length <= room.left {
                    room.left -= length;
                    memory.extend_from_slice(&data);
                    return true;
                }
                room.left += memory.len() as u64;
                *self = Self::TooLarge(room.refusal(path));
                false
            }
            Self::TooLarge(_) => false,
            Self::Refusal(text) => {
                text.extend_from_slice(&data[..data.len().min(LONGEST_REFUSAL - text.len())]);
                text.len() < LONGEST_REFUSAL
            }
            Self::File { pieces, .. } => pieces.send(data).await.is_ok(),
        }
    }

    /// Returns when nothing is left of it.
    async fn abandon(self) {
        if let Self::File { pieces, writer, .. } = self {
            drop(pieces);
            let _ = writer.await;
        }
    }

    async fn finish(self) -> Result<Option<Vec<u8>>> {
        match self {
            Self::Memory(data) | Self::Refusal(data) => Ok(Some(data)),
            Self::TooLarge(error) => Err(error),
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
    if existing.as_ref().is_some_and(std::fs::Metadata::is_dir) {
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
    sandbox: Sandbox,
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
            while body.len() < LONGEST_REFUSAL
                && let Some(Event::Data(data)) = parts.next(&options).await?
            {
                body.extend_from_slice(&data);
            }
            return Err(part_error(&body));
        }
        Ok(Self { parts: Some(parts), options, operation, sandbox: sandbox.clone(), total: part.length, received: 0 })
    }

    /// Bytes in all, where the server says.
    pub fn total(&self) -> Option<u64> {
        self.total
    }

    /// The next piece; `None` at the end, and after an error.
    ///
    /// # Errors
    /// `Connection` when the download breaks off or stalls, `SandboxDied` when the sandbox ends.
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
                match end {
                    Ok(end) => Ok(end),
                    Err(error) => Err(watch::explain(&self.sandbox, error).await.with_operation(self.operation)),
                }
            }
        }
    }
}
