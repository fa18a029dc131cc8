//! Whether there is room for what is to be written: a full disk is everybody's.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// What is left free, in bytes: others write too.
const SPARE: u64 = 4 << 20;
/// And in files.
const SPARE_FILES: u64 = 64;

/// Refuses to copy folders to where they do not fit.
pub(crate) fn check(folders: &[PathBuf], to: &Path) -> io::Result<()> {
    let used = folders.iter().map(|folder| crate::stats::space(folder));
    let (bytes, files) = used.fold((0, 0), |(bytes, files), more| (bytes + more.0, files + more.1));
    let (free, free_files) = free(&File::open(to)?)?;
    if bytes + SPARE > free {
        return Err(full(&format!("it takes {}, and {} are free there", mib(bytes), mib(free))));
    }
    if free_files.is_some_and(|free| files + SPARE_FILES > free) {
        let free = free_files.unwrap_or_default();
        return Err(full(&format!("these are {files} files, and there may be only {free} more of them")));
    }
    Ok(())
}

/// Refuses to write so much more where it does not fit.
pub(crate) fn check_bytes(bytes: u64, to: &File) -> io::Result<()> {
    let (free, _) = free(to)?;
    if bytes + SPARE > free {
        return Err(full(&format!("{} more do not fit, {} are free there", mib(bytes), mib(free))));
    }
    Ok(())
}

fn free(file: &File) -> io::Result<(u64, Option<u64>)> {
    let found = rustix::fs::fstatvfs(file)?;
    // Not every file system counts its files.
    Ok((found.f_bavail.saturating_mul(found.f_frsize), (found.f_files > 0).then_some(found.f_favail)))
}

fn full(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::StorageFull, format!("not enough room: {why}; free some space first"))
}

fn mib(bytes: u64) -> String {
    format!("{} MiB", bytes.div_ceil(1 << 20))
}
