//! Room that is kept for the store, so that deleting and stopping work on a full disk.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// Enough for many changes of the store.
const BYTES: u64 = 4 << 20;
/// It is made where so many times its size is free.
const ROOM: u64 = 4;
const FILE: &str = "store.reserve";
/// With less than this, a disk is full.
const LEAST: u64 = 1 << 20;
/// And with fewer files than this that can still be made.
const FILES: u64 = 16;

pub(crate) struct Reserve {
    dir: PathBuf,
}

impl Reserve {
    pub(crate) fn of(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    /// Makes it where it is missing and there is room.
    pub(super) fn keep(&self) {
        let path = self.dir.join(FILE);
        if path.exists() || !free(&self.dir).is_ok_and(|free| free / ROOM >= BYTES) {
            return;
        }
        let new = path.with_extension("new");
        let _ = fs::remove_file(&new);
        let make = || {
            let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
            allocate(&file)?;
            fs::rename(&new, &path)
        };
        if let Err(error) = make() {
            tracing::debug!(%error, "no room was reserved for the store");
            let _ = fs::remove_file(new);
        }
    }

    /// Gives it away; false if there was none.
    pub(crate) fn release(&self) -> bool {
        let released = fs::remove_file(self.dir.join(FILE)).is_ok();
        if released {
            tracing::warn!("the disk is full: the room that was kept for the store is used now");
        }
        released
    }
}

/// Gives the reserve away where the disk is full, and says what cannot be done then.
pub(crate) fn make_room(dir: &Path) {
    let Ok(stat) = rustix::fs::statvfs(dir) else { return };
    let no_files = stat.f_files > 0 && stat.f_ffree < FILES;
    let free = free(dir).unwrap_or(u64::MAX);
    if free >= LEAST && !no_files {
        return;
    }
    Reserve::of(dir).release();
    let what = if no_files { "has no room for more files" } else { "is full" };
    tracing::warn!(
        "the disk of {} {what} ({free} bytes are free): what writes to it fails until there is room, such as new \
         sandboxes, snapshots, builds and uploads; stopping and deleting work",
        dir.display()
    );
}

/// Real blocks, not a hole.
fn allocate(file: &File) -> io::Result<()> {
    match rustix::fs::fallocate(file, rustix::fs::FallocateFlags::empty(), 0, BYTES) {
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {
            io::copy(&mut io::Read::take(io::repeat(1), BYTES), &mut &*file)?;
            file.sync_all()
        }
        result => Ok(result?),
    }
}

/// Bytes that this user can still write to the file system of a folder.
pub(crate) fn free(dir: &Path) -> io::Result<u64> {
    let stat = rustix::fs::statvfs(dir)?;
    // Some blocks are kept for root.
    let blocks = if rustix::process::geteuid().is_root() { stat.f_bfree } else { stat.f_bavail };
    Ok(blocks.saturating_mul(stat.f_frsize))
}

/// Whether an error says that there is no room.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
