//! Copies of files that stay as sparse as they were.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;

/// Bytes that are copied at once where the kernel does not do it.
const PIECE: usize = 128 << 10;

/// Copies all of a file into an empty one: its blocks are shared where the file system can, holes stay holes.
pub fn copy(from: &File, to: &File) -> io::Result<()> {
    if share(from, to) { Ok(()) } else { copy_data(from, to) }
}

/// Whether the file system has made a copy that shares the blocks.
#[cfg(target_os = "linux")]
pub fn share(from: &File, to: &File) -> bool {
    rustix::fs::ioctl_ficlone(to, from).is_ok()
}

/// Whether the file system has made a copy that shares the blocks.
#[cfg(not(target_os = "linux"))]
pub fn share(_from: &File, _to: &File) -> bool {
    false
}

/// Copies what is not a hole.
pub fn copy_data(from: &File, to: &File) -> io::Result<()> {
    let length = from.metadata()?.len();
    to.set_len(length)?;
    for range in data(from, length)? {
        copy_range(from, to, range)?;
    }
    Ok(())
}

/// Where a file of this length has data, in order; the rest are holes. The file is read from its start afterwards.
#[cfg(target_os = "linux")]
pub fn data(file: &File, length: u64) -> io::Result<Vec<Range<u64>>> {
    use rustix::fs::{SeekFrom, seek};
    use rustix::io::Errno;

    let mut found = Vec::new();
    let mut at = 0;
    while at < length {
        let start = match seek(file, SeekFrom::Data(at)) {
            Ok(start) => start.min(length),
            // No more data.
            Err(Errno::NXIO) => break,
            // A file system that does not tell.
            Err(Errno::INVAL | Errno::NOTSUP) => at,
            Err(error) => return Err(error.into()),
        };
        let end = match seek(file, SeekFrom::Hole(start)) {
            Ok(end) => end.min(length),
            Err(Errno::INVAL | Errno::NOTSUP | Errno::NXIO) => length,
            Err(error) => return Err(error.into()),
        };
        if end <= start {
            break;
        }
        found.push(start..end);
        at = end;
    }
    seek(file, SeekFrom::Start(0))?;
    Ok(found)
}

/// Where a file of this length has data, in order; the rest are holes.
#[cfg(not(target_os = "linux"))]
pub fn data(_file: &File, length: u64) -> io::Result<Vec<Range<u64>>> {
    Ok(if length == 0 { Vec::new() } else { vec![0..length] })
}

fn copy_range(mut from: &File, mut to: &File, range: Range<u64>) -> io::Result<()> {
    let mut at = range.start;
    #[cfg(target_os = "linux")]
    while at < range.end {
        let (mut offset_in, mut offset_out) = (at, at);
        let length = usize::try_from(range.end - at).unwrap_or(usize::MAX);
        match rustix::fs::copy_file_range(from, Some(&mut offset_in), to, Some(&mut offset_out), length) {
            Ok(copied @ 1..) => at += copied as u64,
            Err(rustix::io::Errno::INTR) => {}
            Err(error @ (rustix::io::Errno::NOSPC | rustix::io::Errno::DQUOT)) => return Err(error.into()),
            // Not between these two, or not of this one.
            Ok(0) | Err(_) => break,
        }
    }
    from.seek(SeekFrom::Start(at))?;
    to.seek(SeekFrom::Start(at))?;
    let mut rest = from.take(range.end - at);
    let mut piece = vec![0; PIECE];
    loop {
        match rest.read(&mut piece)? {
            // It became shorter.
            0 => return Ok(()),
            read => to.write_all(&piece[..read])?,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{FileExt as _, MetadataExt as _};

    use super::*;

    #[test]
    fn holes_stay_holes() {
        let folder = tempfile::tempdir().unwrap();
        let from = File::options().read(true).write(true).create_new(true).open(folder.path().join("from")).unwrap();
        from.set_len(8 << 40).unwrap();
        from.write_all_at(b"begin", 0).unwrap();
        from.write_all_at(b"middle", 3 << 40).unwrap();
        from.write_all_at(b"end", (8 << 40) - 3).unwrap();
        for copied in [copy, copy_data] {
            let name = folder.path().join("to");
            let to = File::options().read(true).write(true).create(true).truncate(true).open(&name).unwrap();
            copied(&from, &to).unwrap();
            assert_eq!(to.metadata().unwrap().len(), 8 << 40);
            assert!(to.metadata().unwrap().blocks() * 512 < 1 << 20);
            for (text, at) in [("begin", 0), ("middle", 3 << 40), ("end", (8 << 40) - 3)] {
                let mut read = vec![0; text.len()];
                to.read_exact_at(&mut read, at).unwrap();
                assert_eq!(read, text.as_bytes());
            }
        }
    }

    #[test]
    fn a_file_without_holes_is_all_data() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("from");
        let content: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
        std::fs::write(&path, &content).unwrap();
        let to = folder.path().join("to");
        copy_data(&File::open(&path).unwrap(), &File::create(&to).unwrap()).unwrap();
        assert_eq!(std::fs::read(&to).unwrap(), content);
        std::fs::write(&path, "").unwrap();
        assert!(data(&File::open(&path).unwrap(), 0).unwrap().is_empty());
    }
}
