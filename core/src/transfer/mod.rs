//! Moving file contents, in pieces: memory stays flat whatever the size, and what bounds a transfer
//! is the time without progress, never the whole.

mod download;
mod upload;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::BoxStream;
use tokio::time::Instant;

use crate::error::{Error, ErrorKind, Result};
use crate::transport::{Limit, seconds};

pub use download::DownloadStream;
pub(crate) use download::{download, download_one};
pub(crate) use upload::upload;

/// Seconds without progress that end a transfer where nothing is said.
const IDLE_LIMIT: Duration = Duration::from_secs(1800);
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
    fn idle(&self) -> Result<Limit> {
        Ok(seconds("timeout", self.timeout)?.or(Some(IDLE_LIMIT)))
    }

    fn is_cancelled(&self) -> bool {
        self.cancelled.as_ref().is_some_and(|cancelled| cancelled())
    }

    /// Waits as long as something moves and nobody cancels.
    async fn watch<T>(
        &self,
        what: &str,
        idle: Limit,
        last_move: impl Fn() -> Instant,
        work: impl Future<Output = T>,
    ) -> Result<T> {
        let idle = idle.filter(|idle| !idle.is_zero());
        let mut work = std::pin::pin!(work);
        loop {
            if self.is_cancelled() {
                return Err(Error::new(ErrorKind::Other, format!("{what} cancelled")));
            }
            let end = idle.map(|idle| last_move() + idle);
            if end.is_some_and(|end| end <= Instant::now()) {
                return Err(stalled(what, idle.unwrap_or_default()));
            }
            let tick = self.cancelled.is_some().then(|| Instant::now() + CANCEL_TICK);
            let Some(wake) = [end, tick].into_iter().flatten().min() else { return Ok(work.await) };
            if let Ok(output) = tokio::time::timeout_at(wake, &mut work).await {
                return Ok(output);
            }
        }
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
    /// Its path there; missing folders are made. A local file keeps its name in a folder, whose path ends with a slash.
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
    /// A local file, replaced as a whole or not at all; missing folders are made. In a folder, whose path ends with a
    /// slash, it has the name that it has in the sandbox.
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

fn stalled(what: &str, idle: Duration) -> Error {
    Error::new(ErrorKind::ConnectionTimeout, format!("{what} made no progress for {idle:?}"))
        .with_hint("Pass a longer timeout, or 0 for none; it bounds the time without progress, not the whole transfer")
}
