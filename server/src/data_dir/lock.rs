//! The lock of a data directory, and whom it names.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use daytona_wire::data_dir::{Holder, LOCK};
use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, test_kill_process};

use crate::ServeError;
use crate::store::is_full;

/// How long a server that is on its way out is waited for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// What is written is filled up to this.
const LENGTH: usize = 256;
const LOOK_AGAIN: Duration = Duration::from_millis(20);

pub(super) struct Lock {
    dir: PathBuf,
    file: File,
    url: String,
}

impl Lock {
    /// Takes the lock; waits for a server that is stopping, or whose process has just ended.
    pub(super) fn acquire(dir: &Path) -> Result<Self, ServeError> {
        let fail = |reason: String| ServeError::DataDir { dir: dir.to_owned(), reason };
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(dir.join(LOCK))
            .map_err(|error| fail(format!("is not writable: {error}")))?;
        let mut lock = Self { dir: dir.to_owned(), file, url: String::new() };
        let begin = Instant::now();
        loop {
            match flock(&lock.file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(lock),
                Err(rustix::io::Errno::WOULDBLOCK) => {}
                Err(error) => return Err(fail(format!("cannot be locked: {error}"))),
            }
            let holder = lock.holder();
            if holder.as_ref().is_some_and(ending) && begin.elapsed() < PATIENCE {
                std::thread::sleep(LOOK_AGAIN);
                continue;
            }
            return Err(in_use(dir, holder));
        }
    }

    fn holder(&mut self) -> Option<Holder> {
        let mut text = String::new();
        self.file.rewind().and_then(|()| self.file.read_to_string(&mut text)).ok()?;
        serde_json::from_str(&text).ok()
    }

    /// Names the server.
    pub(super) fn announce(&mut self, url: &str) -> Result<(), ServeError> {
        url.clone_into(&mut self.url);
        self.write(false)
    }

    /// In place, so that it works on a full disk; one that still cannot be written is only a worse message for others.
    pub(super) fn write(&self, stopping: bool) -> Result<(), ServeError> {
        let holder = Holder { pid: std::process::id(), url: self.url.clone(), stopping };
        let write = || {
            let mut text = serde_json::to_vec(&holder)?;
            text.resize(text.len().max(LENGTH), b' ');
            let mut file = &self.file;
            file.rewind()?;
            file.write_all(&text)?;
            file.set_len(u64::try_from(text.len()).unwrap_or(u64::MAX))
        };
        match write() {
            Err(error) if is_full(&error) => {
                tracing::warn!(%error, "the lock file could not be written");
                Ok(())
            }
            written => written.map_err(|error| ServeError::DataDir {
                dir: self.dir.clone(),
                reason: format!("is not writable: {error}"),
            }),
        }
    }
}

/// Who holds it will let go soon.
fn ending(holder: &Holder) -> bool {
    let pid = i32::try_from(holder.pid).ok().and_then(Pid::from_raw);
    // A process that is being taken down gives its files back one by one.
    holder.stopping || pid.is_some_and(|pid| test_kill_process(pid) == Err(rustix::io::Errno::SRCH) || is_zombie(pid))
}

fn is_zombie(pid: Pid) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
    status.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with(['Z', 'X']))
}

/// Another server has it.
fn in_use(dir: &Path, holder: Option<Holder>) -> ServeError {
    let holder = holder.map_or_else(String::new, |holder| {
        let url = Some(holder.url).filter(|url| !url.is_empty());
        let url = url.map_or_else(String::new, |url| format!(", {url}"));
        format!(" (process {}{url})", holder.pid)
    });
    ServeError::InUse { dir: dir.to_owned(), holder }
}
