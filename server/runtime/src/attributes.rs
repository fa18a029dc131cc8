//! Owner, mode, times and extended attributes of what a sandbox stored.

use std::fs::{self, File, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, XattrFlags};

/// The longest list of names, and the longest value, that the kernel gives.
const XATTR_LIMIT: usize = 1 << 16;

/// Everything of a file but its name, kind and content.
#[derive(Debug)]
pub(crate) struct Attributes {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mode: u32,
    /// Seconds and nanoseconds.
    pub(crate) accessed: (i64, i64),
    pub(crate) modified: (i64, i64),
    /// Among them what an overlay notes about folders.
    pub(crate) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Attributes {
    pub(crate) fn read(path: &Path, metadata: &Metadata) -> io::Result<Self> {
        Ok(Self {
            uid: metadata.uid(),
            gid: metadata.gid(),
            mode: metadata.mode() & 0o7777,
            accessed: (metadata.atime(), metadata.atime_nsec()),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            xattrs: xattrs(path)?,
        })
    }

    /// Gives them to another file. Without root it stays this user's, as everything of such a server is.
    pub(crate) fn apply(&self, path: &Path, is_link: bool) -> io::Result<()> {
        if is_root() {
            lchown(path, Some(self.uid), Some(self.gid))?;
        }
        // After the owner, whose change takes capabilities away; before the mode, which may forbid it.
        for (name, value) in &self.xattrs {
            rustix::fs::lsetxattr(path, name.as_slice(), value, XattrFlags::empty())?;
        }
        if !is_link {
            fs::set_permissions(path, Permissions::from_mode(self.mode))?;
        }
        let time = |(tv_sec, tv_nsec)| Timespec { tv_sec, tv_nsec };
        let times = Timestamps { last_access: time(self.accessed), last_modification: time(self.modified) };
        Ok(rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)?)
    }
}

fn xattrs(path: &Path) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut names = vec![0_u8; XATTR_LIMIT];
    let length = match rustix::fs::llistxattr(path, &mut names[..]) {
        Ok(length) => length,
        Err(rustix::io::Errno::NOTSUP) => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let names = names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty());
    names
        .map(|name| {
            let mut value = vec![0_u8; XATTR_LIMIT];
            let length = rustix::fs::lgetxattr(path, name, &mut value[..])?;
            value.truncate(length);
            Ok((name.to_vec(), value))
        })
        .collect()
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// What this user owns and its mode keeps closed, opened; closed again when this is dropped.
#[derive(Debug, Default)]
pub(crate) struct Opened(Vec<(PathBuf, u32)>);

impl Opened {
    /// Makes a folder readable. Only root reads what it may not.
    pub(crate) fn folder(&mut self, path: &Path, metadata: &Metadata) -> io::Result<()> {
        self.open(path, metadata, 0o500)
    }

    fn open(&mut self, path: &Path, metadata: &Metadata, needed: u32) -> io::Result<()> {
        let mode = metadata.mode() & 0o7777;
        if mode & needed != needed && !is_root() {
            fs::set_permissions(path, Permissions::from_mode(mode | needed))?;
            self.0.push((path.to_owned(), mode));
        }
        Ok(())
    }
}

/// Opens a file for reading, whatever its mode says.
pub(crate) fn open_file(path: &Path, metadata: &Metadata) -> io::Result<File> {
    let mut opened = Opened::default();
    opened.open(path, metadata, 0o400)?;
    File::open(path)
}

impl Drop for Opened {
    fn drop(&mut self) {
        // What is inside before what it is in.
        for (path, mode) in self.0.drain(..).rev() {
            let _ = fs::set_permissions(path, Permissions::from_mode(mode));
        }
    }
}
