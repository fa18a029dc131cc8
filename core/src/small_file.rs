//! Reading files that hold settings.

use std::fs::OpenOptions;
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// A file of settings is no longer than this.
const LIMIT: u64 = 1 << 20;

/// The text of a regular file of at most 1 MiB, without a byte order mark; bytes that are not UTF-8 are replaced.
///
/// # Errors
/// The system's, or that the file is something else or longer. Never waits for another process.
pub fn read(path: &Path) -> io::Result<String> {
    let refused = |why: &str| Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    // Without the flag opening a FIFO waits for its writer.
    let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    if !file.metadata()?.is_file() {
        return refused("it is no regular file");
    }
    let mut bytes = Vec::new();
    file.take(LIMIT + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LIMIT {
        return refused("it is longer than 1 MiB");
    }
    let text = String::from_utf8_lossy(&bytes);
    Ok(text.strip_prefix('\u{feff}').unwrap_or(&text).to_owned())
}
