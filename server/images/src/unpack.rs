//! Unpacks the tar of a layer, or of a context, into a folder.
//!
//! The archive is not trusted. Every parent is opened with `openat2` and `RESOLVE_IN_ROOT`, so that links and `..` lead
//! at most to the folder's own root; the last name is made without following anything.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::{self, Read, Write as _};
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, RawMode, ResolveFlags, Timespec, Timestamps, UTIME_OMIT, XattrFlags, fchmod,
    fsetxattr, futimens, linkat, mkdirat, mknodat, openat, openat2, statat, symlinkat, unlinkat, utimensat,
};
use rustix::io::Errno;
use tar::{Archive, Entry, EntryType};

use crate::error::Context as _;
use crate::files::{self, Attributes, is_whiteout, opaque_name, remove_tree};
use crate::store::StoreOptions;
use crate::{Error, Result};

#[cfg(test)]
mod tests;

/// Headers and long names of one entry: what `tar` holds in memory.
const HEADER_BYTES: u64 = 4 << 20;

/// Unpacks all of `reader` into the folder and answers the bytes of its files.
pub(crate) fn unpack<R: Read>(reader: R, into: &Path, options: &StoreOptions, cancel: &AtomicBool) -> Result<u64> {
    let root = openat(CWD, into, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .context(|| format!("opening {}", into.display()))?;
    let allowance = Rc::new(Cell::new(0));
    let mut archive = Archive::new(Guarded { inner: reader, allowance: Rc::clone(&allowance), cancel });
    let mut unpacker = Unpacker {
        root,
        options,
        parent: None,
        folders: BTreeMap::new(),
        bytes: 0,
        size: 0,
        buffer: vec![0; 256 << 10],
    };
    let mut entries = archive.entries().map_err(bad_archive)?;
    let mut count = 0;
    loop {
        allowance.set(HEADER_BYTES);
        let Some(entry) = entries.next() else { break };
        let mut entry = entry.map_err(bad_archive)?;
        allowance.set(u64::MAX);
        count += 1;
        if count > options.limits.layer_entries {
            return Err(too_large(&format!("{} entries", options.limits.layer_entries)));
        }
        unpacker.entry(&mut entry)?;
        io::copy(&mut entry, &mut io::sink()).map_err(bad_archive)?;
    }
    allowance.set(options.limits.layer_bytes);
    io::copy(&mut archive.into_inner(), &mut io::sink()).map_err(bad_archive)?;
    unpacker.finish()
}

fn bad_archive(error: io::Error) -> Error {
    match error.downcast::<Error>() {
        Ok(inner) => inner,
        Err(error) => corrupt("a tar archive", error.to_string()),
    }
}

fn corrupt(expected: &str, got: impl Into<String>) -> Error {
    Error::Corrupt { what: "the archive".to_owned(), expected: expected.to_owned(), got: got.into() }
}

fn too_large(limit: &str) -> Error {
    Error::TooLarge { what: "the archive".to_owned(), limit: limit.to_owned() }
}

/// Ends the reading when nobody waits for it, or when more is read than is allowed at this point.
struct Guarded<'a, R> {
    inner: R,
    allowance: Rc<Cell<u64>>,
    cancel: &'a AtomicBool,
}

impl<R: Read> Read for Guarded<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.cancel.load(Ordering::Relaxed) {
            return Err(io::Error::other(Error::Cancelled));
        }
        let n = self.inner.read(buf)?;
        let left = self.allowance.get().checked_sub(n as u64);
        self.allowance.set(left.ok_or_else(|| io::Error::other(too_large("4 MiB of headers an entry")))?);
        Ok(n)
    }
}

struct Unpacker<'a> {
    root: OwnedFd,
    options: &'a StoreOptions,
    /// The folder of the last entry: most entries lie beside their predecessor.
    parent: Option<(PathBuf, Rc<OwnedFd>)>,
    /// Attributes of folders, which are set at the end: a folder may be read-only, and its time changes with its files.
    folders: BTreeMap<PathBuf, Attributes>,
    /// Promised by headers, to be held against the limit.
    bytes: u64,
    /// Written.
    size: u64,
    buffer: Vec<u8>,
}

impl Unpacker<'_> {
    fn entry<R: Read>(&mut self, entry: &mut Entry<'_, R>) -> Result<()> {
        let raw = entry.path_bytes().into_owned();
        let Some(path) = within(&raw)? else {
            if entry.header().entry_type().is_dir() {
                let attributes = self.attributes(entry)?;
                self.folders.insert(PathBuf::new(), attributes);
            }
            return Ok(());
        };
        self.bytes = self.bytes.saturating_add(entry.size());
        if self.bytes > self.options.limits.layer_bytes {
            return Err(too_large(&format!("{} bytes", self.options.limits.layer_bytes)));
        }
        let (folder, name) = (path.parent().unwrap_or(Path::new("")), path.file_name().unwrap_or_default());
        let what = || format!("unpacking {}", path.display());
        if let Some(hidden) = name.as_bytes().strip_prefix(b".wh.") {
            return self.whiteout(folder, OsStr::from_bytes(hidden)).context(what);
        }
        let mut kind = entry.header().entry_type();
        if kind.is_file() && raw.ends_with(b"/") {
            kind = EntryType::Directory;
        }
        match kind {
            EntryType::Directory => {
                self.folder(&path).context(what)?;
                let attributes = self.attributes(entry)?;
                self.folders.insert(path, attributes);
            }
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                let parent = self.clear(folder, name).context(what)?;
                self.file(entry, &parent, name, &path)?;
            }
            EntryType::Symlink => {
                let target = entry.link_name_bytes().ok_or_else(|| corrupt("a target of a link", "none"))?.into_owned();
                let parent = self.clear(folder, name).context(what)?;
                symlinkat(OsStr::from_bytes(&target), &*parent, name).context(what)?;
                self.attributes(entry)?.set_unopened(&*parent, name).context(what)?;
            }
            EntryType::Link => {
                let target = entry.link_name_bytes().ok_or_else(|| corrupt("a target of a link", "none"))?.into_owned();
                let Some(target) = within(&target)? else {
                    return Err(corrupt("a hard link to a file", path.display().to_string()));
                };
                self.hard_link(&target, &path)?;
            }
            EntryType::Fifo => {
                let parent = self.clear(folder, name).context(what)?;
                mknodat(&*parent, name, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).context(what)?;
                self.attributes(entry)?.set_unopened(&*parent, name).context(what)?;
            }
            // Devices are made by who runs the image; the rest is of no account.
            _ => {}
        }
        Ok(())
    }

    fn file<R: Read>(&mut self, entry: &mut Entry<'_, R>, parent: &OwnedFd, name: &OsStr, path: &Path) -> Result<()> {
        let what = || format!("unpacking {}", path.display());
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = std::fs::File::from(openat(parent, name, flags, Mode::RUSR | Mode::WUSR).context(what)?);
        let sparse = entry.header().entry_type().is_gnu_sparse();
        let mut length = 0;
        loop {
            let n = entry.read(&mut self.buffer).map_err(bad_archive)?;
            if n == 0 {
                break;
            }
            let piece = &self.buffer[..n];
            length += n as u64;
            if sparse && piece.iter().all(|byte| *byte == 0) {
                io::Seek::seek(&mut file, io::SeekFrom::Start(length)).context(what)?;
            } else {
                file.write_all(piece).context(what)?;
                self.size += n as u64;
            }
        }
        if length != entry.size() {
            return Err(corrupt(&format!("{} bytes of {}", entry.size(), path.display()), length.to_string()));
        }
        if sparse {
            file.set_len(length).context(what)?;
        }
        self.attributes(entry)?.set(&file).context(what)
    }

    fn hard_link(&mut self, target: &Path, path: &Path) -> Result<()> {
        let what = || format!("unpacking {} as a link to {}", path.display(), target.display());
        if target == path {
            return Ok(());
        }
        let (folder, name) = (path.parent().unwrap_or(Path::new("")), path.file_name().unwrap_or_default());
        let parent = self.clear(folder, name).context(what)?;
        let name_there = target.file_name().unwrap_or_default();
        let linked = self
            .open(target.parent().unwrap_or(Path::new("")), OFlags::PATH)
            .and_then(|source| linkat(&source, name_there, &*parent, name, AtFlags::empty()));
        match linked {
            Ok(()) => Ok(()),
            // Not there, or a folder.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::PERM) => {
                Err(corrupt("a hard link to a file of the archive", target.display().to_string()))
            }
            Err(errno) => Err(Error::io(what(), errno.into())),
        }
    }

    fn whiteout(&mut self, folder: &Path, hidden: &OsStr) -> io::Result<()> {
        if hidden == ".wh..opq" {
            self.parent(folder)?;
            return self.make_opaque(folder);
        }
        // Other files of that kind are notes of another union file system.
        if hidden.is_empty() || hidden.as_bytes().starts_with(b".wh.") || hidden == "." || hidden == ".." {
            return Ok(());
        }
        let parent = self.parent(folder)?;
        match statat(&*parent, hidden, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => {
                mknodat(&*parent, hidden, FileType::CharacterDevice, Mode::empty(), 0).map_err(Into::into)
            }
            // It hides what lower layers have there, not what this one has.
            Ok(stat) if FileType::from_raw_mode(stat.st_mode).is_dir() => self.make_opaque(&folder.join(hidden)),
            Ok(_) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    fn make_opaque(&self, folder: &Path) -> io::Result<()> {
        let fd = self.open(folder, OFlags::RDONLY)?;
        Ok(fsetxattr(&fd, opaque_name(self.options.user_xattr), b"y", XattrFlags::empty())?)
    }

    /// Opens a folder; links lead at most to the root.
    fn open(&self, folder: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        let flags = flags | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        loop {
            match openat2(&self.root, folder, flags, Mode::empty(), resolve) {
                // Something was renamed meanwhile, somewhere on the machine.
                Err(Errno::AGAIN) => {}
                other => return other,
            }
        }
    }

    /// The folder, with those above it, made where the archive has not named them.
    fn parent(&mut self, folder: &Path) -> io::Result<Rc<OwnedFd>> {
        if let Some((at, fd)) = &self.parent
            && at == folder
        {
            return Ok(Rc::clone(fd));
        }
        let fd = match self.open(folder, OFlags::PATH) {
            Err(Errno::NOENT | Errno::NOTDIR) if !folder.as_os_str().is_empty() => {
                self.folder(folder)?;
                self.open(folder, OFlags::PATH)?
            }
            other => other?,
        };
        let fd = Rc::new(fd);
        self.parent = Some((folder.to_owned(), Rc::clone(&fd)));
        Ok(fd)
    }

    /// Makes a folder, in place of anything else that is there.
    fn folder(&mut self, path: &Path) -> io::Result<()> {
        let (folder, name) = (path.parent().unwrap_or(Path::new("")), path.file_name().unwrap_or_default());
        let parent = self.parent(folder)?;
        let mut hidden = false;
        match statat(&*parent, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if FileType::from_raw_mode(stat.st_mode).is_dir() => return Ok(()),
            Ok(stat) => {
                hidden = is_whiteout(&stat);
                unlinkat(&*parent, name, AtFlags::empty())?;
            }
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno.into()),
        }
        mkdirat(&*parent, name, Mode::from_raw_mode(0o700))?;
        // Until the archive says otherwise.
        self.folders.insert(path.to_owned(), Attributes::of_folder());
        if hidden { self.make_opaque(path) } else { Ok(()) }
    }

    /// Removes what is at a name, and answers its folder.
    fn clear(&mut self, folder: &Path, name: &OsStr) -> io::Result<Rc<OwnedFd>> {
        let parent = self.parent(folder)?;
        match unlinkat(&*parent, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(Errno::ISDIR | Errno::PERM) => {
                self.parent = None;
                let path = folder.join(name);
                self.folders.retain(|other, _| !other.starts_with(&path));
                remove_tree(&Path::new("/proc/self/fd").join(parent.as_raw_fd().to_string()).join(name))?;
            }
            Err(errno) => return Err(errno.into()),
        }
        Ok(parent)
    }

    fn attributes<R: Read>(&self, entry: &mut Entry<'_, R>) -> Result<Attributes> {
        let header = entry.header();
        let mut mode: RawMode = header.mode().map_err(bad_archive)? & 0o7777;
        let folder = header.entry_type().is_dir() || entry.path_bytes().ends_with(b"/");
        let header = entry.header();
        let mut owner = None;
        if self.options.keep_owners {
            let id = |id: io::Result<u64>| {
                let id = id.map_err(bad_archive)?;
                u32::try_from(id).map_err(|_| corrupt("an owner below 2^32", id.to_string()))
            };
            owner = Some((id(header.uid())?, id(header.gid())?));
        } else {
            mode = files::without_owners(mode, folder);
        }
        let time = i64::try_from(header.mtime().unwrap_or(0)).unwrap_or(0);
        let mut xattrs = Vec::new();
        if let Some(extensions) = entry.pax_extensions().map_err(bad_archive)? {
            for extension in extensions {
                let extension = extension.map_err(bad_archive)?;
                let name = extension.key_bytes().strip_prefix(b"SCHILY.xattr.").map(OsStr::from_bytes);
                if let Some(name) = name.filter(|name| files::keeps_xattr(name, self.options.keep_owners)) {
                    xattrs.push((name.to_owned(), extension.value_bytes().to_vec()));
                }
            }
        }
        Ok(Attributes { mode, owner, time: Some(time), xattrs })
    }

    fn finish(self) -> Result<u64> {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS;
        for (path, attributes) in self.folders.iter().rev() {
            let what = || format!("unpacking {}", path.display());
            let name = if path.as_os_str().is_empty() { Path::new(".") } else { path };
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            match openat2(&self.root, name, flags, Mode::empty(), resolve) {
                Ok(fd) => attributes.set(&fd).context(what)?,
                // A later entry has replaced it.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
                Err(errno) => return Err(Error::io(what(), errno.into())),
            }
        }
        Ok(self.size)
    }
}

impl Attributes {
    fn of_folder() -> Self {
        Self { mode: 0o755, owner: None, time: None, xattrs: Vec::new() }
    }

    pub(crate) fn set(&self, file: impl AsFd) -> io::Result<()> {
        let file = file.as_fd();
        if let Some((user, group)) = self.owner {
            std::os::unix::fs::fchown(file, Some(user), Some(group))?;
        }
        fchmod(file, Mode::from_raw_mode(self.mode))?;
        for (name, value) in &self.xattrs {
            match fsetxattr(file, name.as_os_str(), value, XattrFlags::empty()) {
                // The file system has none, or not this one.
                Ok(()) | Err(Errno::NOTSUP | Errno::PERM | Errno::INVAL) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(futimens(file, &self.times())?)
    }

    /// Of a link or pipe, which must not be opened.
    pub(crate) fn set_unopened(&self, parent: impl AsFd, name: &OsStr) -> io::Result<()> {
        let parent = parent.as_fd();
        if let Some((user, group)) = self.owner {
            let (user, group) = (rustix::fs::Uid::from_raw(user), rustix::fs::Gid::from_raw(group));
            rustix::fs::chownat(parent, name, Some(user), Some(group), AtFlags::SYMLINK_NOFOLLOW)?;
        }
        let stat = statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
        if !FileType::from_raw_mode(stat.st_mode).is_symlink() {
            rustix::fs::chmodat(parent, name, Mode::from_raw_mode(self.mode), AtFlags::empty())?;
        }
        Ok(utimensat(parent, name, &self.times(), AtFlags::SYMLINK_NOFOLLOW)?)
    }

    fn times(&self) -> Timestamps {
        let time = match self.time {
            Some(seconds) => Timespec { tv_sec: seconds, tv_nsec: 0 },
            None => Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        };
        Timestamps { last_access: time, last_modification: time }
    }
}

/// The path of an entry, without what leads nowhere; none is the root itself.
fn within(raw: &[u8]) -> Result<Option<PathBuf>> {
    let mut path = PathBuf::new();
    for part in raw.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => return Err(corrupt("paths within it", String::from_utf8_lossy(raw))),
            _ => path.push(OsString::from(OsStr::from_bytes(part))),
        }
    }
    Ok((!path.as_os_str().is_empty()).then_some(path))
}
