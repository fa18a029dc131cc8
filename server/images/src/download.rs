//! Brings one blob to the disk, and goes on where an earlier attempt has ended.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use oci_client::client::{BlobResponse, LayerDescriptor, SizedStream};
use oci_client::errors::OciDistributionError;
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::error::Context as _;
use crate::progress::{Event, Progress};
use crate::pull::{Descriptor, PullOptions};
use crate::registry::Registry;
use crate::store::Inner;
use crate::{Error, Result, digest};

/// First pause before a connection is made again; it doubles.
const PAUSE: Duration = Duration::from_millis(200);
/// Pieces on their way to the disk.
const QUEUE: usize = 64;

enum Piece {
    Bytes(Bytes),
    /// The registry begins anew.
    Restart,
}

/// Hashes and writes in a thread of its own.
struct Writer {
    pieces: mpsc::Sender<Piece>,
    task: JoinHandle<Result<String>>,
}

/// What one attempt has come to.
enum Attempt {
    Complete,
    Broken(Error),
    /// The disk fails: what the writer says counts.
    WriterGone,
}

/// Downloads a blob, verified, and answers its file. Nobody else writes to it until the value is dropped.
pub(crate) async fn blob(
    inner: &Inner,
    sources: &[Registry],
    wanted: &Descriptor,
    options: &PullOptions,
    progress: &dyn Progress,
) -> Result<PathBuf> {
    let path = inner.dir.join("downloads").join(digest::hex(&wanted.digest));
    let mut error = None;
    for source in sources {
        if let Some(error) = error.take() {
            progress.event(Event::Retrying { why: format!("{error}; trying {}", source.host) });
        }
        match from(inner, source, &path, wanted, options, progress).await {
            Ok(()) => return Ok(path),
            Err(e @ (Error::NoSpace(_) | Error::Io { .. } | Error::Cancelled)) => return Err(e),
            Err(e) => error = Some(e),
        }
    }
    Err(error.unwrap_or(Error::Cancelled))
}

async fn from(
    inner: &Inner,
    source: &Registry,
    path: &Path,
    wanted: &Descriptor,
    options: &PullOptions,
    progress: &dyn Progress,
) -> Result<()> {
    let mut fresh = false;
    loop {
        let guard = inner.lock(&format!("blob {}", wanted.digest)).await;
        let (file, mut have) = open(path, wanted.size)?;
        let resumed = have > 0;
        let writer = Writer::start(file, path, have, guard);
        let outcome = fill(&writer, source, wanted, &mut have, options, progress).await;
        let written = writer.finish().await;
        match (outcome, written) {
            (_, Err(error)) => {
                let _ = std::fs::remove_file(path);
                return Err(error);
            }
            (Err(error), Ok(_)) => return Err(error),
            (Ok(()), Ok(got)) if got == wanted.digest => return Ok(()),
            (Ok(()), Ok(got)) => {
                let _ = std::fs::remove_file(path);
                if !resumed || fresh {
                    return Err(Error::Corrupt {
                        what: format!("the blob from {}", source.host),
                        expected: wanted.digest.clone(),
                        got,
                    });
                }
                // What an earlier attempt left was at fault, perhaps.
                fresh = true;
            }
        }
    }
}

fn open(path: &Path, size: u64) -> Result<(File, u64)> {
    let what = || format!("writing {}", path.display());
    let file = File::options().read(true).write(true).create(true).truncate(false).open(path).context(what)?;
    let mut have = file.metadata().context(what)?.len();
    if have > size {
        file.set_len(0).context(what)?;
        have = 0;
    }
    Ok((file, have))
}

/// Reads from the registry until all has come, with new connections where one breaks.
async fn fill(
    writer: &Writer,
    source: &Registry,
    wanted: &Descriptor,
    have: &mut u64,
    options: &PullOptions,
    progress: &dyn Progress,
) -> Result<()> {
    let mut failures = 0;
    while *have < wanted.size {
        let before = *have;
        let broken = match connect(source, wanted, *have).await {
            Ok(BlobResponse::Full(stream)) => {
                if writer.pieces.send(Piece::Restart).await.is_err() {
                    return Ok(());
                }
                *have = 0;
                copy(source, writer, stream, wanted, have, progress).await?
            }
            Ok(BlobResponse::Partial(stream)) => copy(source, writer, stream, wanted, have, progress).await?,
            Err(error @ Error::Unreachable { .. }) => Attempt::Broken(error),
            Err(error) => return Err(error),
        };
        match broken {
            Attempt::Complete | Attempt::WriterGone => return Ok(()),
            Attempt::Broken(error) => {
                failures = if *have > before { 1 } else { failures + 1 };
                if failures > options.retries {
                    return Err(error);
                }
                progress
                    .event(Event::Retrying { why: format!("{error}; {} of {} bytes are here", *have, wanted.size) });
                tokio::time::sleep(PAUSE * (1 << failures.min(5))).await;
            }
        }
    }
    Ok(())
}

async fn connect(source: &Registry, wanted: &Descriptor, from: u64) -> Result<BlobResponse> {
    let layer = LayerDescriptor { digest: &wanted.digest, urls: &None };
    let response = source.client.pull_blob_stream_partial(&source.reference, &layer, from, None).await;
    response.map_err(|error| match error {
        OciDistributionError::ServerError { code: 416, .. } => Error::Corrupt {
            what: format!("the blob {} from {}", wanted.digest, source.host),
            expected: format!("{} bytes", wanted.size),
            got: format!("no more than {from}"),
        },
        error => source.error(error, &wanted.digest),
    })
}

async fn copy(
    source: &Registry,
    writer: &Writer,
    mut stream: SizedStream,
    wanted: &Descriptor,
    have: &mut u64,
    progress: &dyn Progress,
) -> Result<Attempt> {
    while let Some(piece) = stream.next().await {
        let piece = match piece {
            Ok(piece) => piece,
            // The client's own check of the whole: the writer's says the same, and of resumed downloads too.
            Err(_) if *have == wanted.size => return Ok(Attempt::Complete),
            Err(error) => {
                return Ok(Attempt::Broken(Error::Unreachable {
                    registry: source.host.clone(),
                    why: format!("the connection broke: {error}"),
                }));
            }
        };
        if *have + piece.len() as u64 > wanted.size {
            return Err(Error::Corrupt {
                what: format!("the blob {}", wanted.digest),
                expected: format!("{} bytes", wanted.size),
                got: "more".to_owned(),
            });
        }
        *have += piece.len() as u64;
        if writer.pieces.send(Piece::Bytes(piece)).await.is_err() {
            return Ok(Attempt::WriterGone);
        }
        progress.event(Event::Downloading { layer: wanted.digest.clone(), current: *have, total: wanted.size });
    }
    if *have == wanted.size {
        return Ok(Attempt::Complete);
    }
    Ok(Attempt::Broken(Error::Unreachable {
        registry: source.host.clone(),
        why: "the connection ended early".to_owned(),
    }))
}

impl Writer {
    /// The lock goes with the thread: when the download is given up, the next one must not meet it.
    fn start(mut file: File, path: &Path, have: u64, lock: tokio::sync::OwnedMutexGuard<()>) -> Self {
        let (pieces, mut queue) = mpsc::channel(QUEUE);
        let path = path.to_owned();
        let task = tokio::task::spawn_blocking(move || {
            let mut write = || -> io::Result<String> {
                let mut hash = Sha256::new();
                let mut earlier = io::Read::by_ref(&mut file).take(have);
                let mut buffer = vec![0; 256 << 10];
                loop {
                    let n = earlier.read(&mut buffer)?;
                    if n == 0 {
                        break;
                    }
                    hash.update(&buffer[..n]);
                }
                while let Some(piece) = queue.blocking_recv() {
                    match piece {
                        Piece::Bytes(bytes) => {
                            hash.update(&bytes);
                            file.write_all(&bytes)?;
                        }
                        Piece::Restart => {
                            hash = Sha256::new();
                            file.set_len(0)?;
                            file.seek(SeekFrom::Start(0))?;
                        }
                    }
                }
                Ok(digest::text(hash))
            };
            let written = write().context(|| format!("writing {}", path.display()));
            drop(lock);
            written
        });
        Self { pieces, task }
    }

    async fn finish(self) -> Result<String> {
        drop(self.pieces);
        self.task.await.map_err(|_| Error::Cancelled)?
    }
}
