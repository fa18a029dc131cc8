//! What a sandbox stored, packed into one compressed file: tar in zstd.
//!
//! Links and long names are written as GNU tar does, extended attributes as libarchive does.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, symlink};
use std::path::{Component, Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use daytona_toolbox::sparse;
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, percent_encode};
use tar::{Builder, Entry, EntryType, Header};

use crate::attributes::{Attributes, Opened, open_file};
use crate::snapshot::{STORED, Special, whole};
use crate::{RuntimeError, room};

const LEVEL: i32 = 3;
const MODIFIED: &str = "mtime";
const ACCESSED: &str = "atime";
const XATTR: &str = "LIBARCHIVE.xattr.";
/// A file with holes, as GNU tar writes it in its format 0.1: its data alone, and where that belongs.
const SPARSE_SIZE: &str = "GNU.sparse.size";
const SPARSE_COUNT: &str = "GNU.sparse.numblocks";
const SPARSE_MAP: &str = "GNU.sparse.map";
/// Zeros of this length become holes.
const BLOCK: usize = 64 << 10;

/// Packs the stored state in `dir` into the new file `dest`; complete and on disk, or not there at all.
pub(crate) fn pack(dir: &Path, dest: &Path) -> Result<(), RuntimeError> {
    let partial = dest.with_extension("partial");
    let packed = dest.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| {
        let file = File::create(&partial)?;
        let mut packer = Packer {
            to: Builder::new(encoder(BufWriter::with_capacity(BLOCK, Roomy(file)))?),
            entries: 0,
            links: HashMap::new(),
            opened: Opened::default(),
        };
        for name in STORED {
            if dir.join(name).exists() {
                packer.tree(dir, Path::new(name))?;
            }
        }
        let Packer { to, entries, .. } = packer;
        let Roomy(file) = to.into_inner()?.finish()?.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.sync_all()?;
        verify(&partial, entries)?;
        fs::rename(&partial, dest)?;
        dest.parent().map_or(Ok(()), |parent| File::open(parent)?.sync_all())
    });
    packed.map_err(|error| {
        let _ = fs::remove_file(&partial);
        RuntimeError::io("pack into", dest, error)
    })
}

/// Takes no more than there is room for.
struct Roomy(File);

impl Write for Roomy {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        room::check_bytes(bytes.len() as u64, &self.0)?;
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Unpacks what [`pack`] made to the new folder `dest`; complete and on disk, or not there at all.
pub(crate) fn unpack(file: &Path, dest: &Path) -> Result<(), RuntimeError> {
    let archive = File::open(file).map_err(|error| RuntimeError::io("open", file, error))?;
    whole(dest, |partial| {
        let mut archive = tar::Archive::new(zstd::Decoder::new(BufReader::new(archive))?);
        let mut folders = Vec::new();
        for entry in archive.entries()? {
            unpack_entry(&mut entry?, partial, &mut folders)?;
        }
        for (path, attributes) in folders.into_iter().rev() {
            attributes.apply(&path, false)?;
        }
        sync_around(partial)
    })
}

/// The folders of a sandbox that an archive has something of; reads all of it.
///
/// # Errors
/// The archive is damaged.
pub fn archived_parts(file: &Path) -> io::Result<Vec<String>> {
    let mut archive = tar::Archive::new(zstd::Decoder::new(BufReader::new(File::open(file)?))?);
    let mut parts = Vec::new();
    for entry in archive.entries()? {
        let entry = entry?;
        let path = entry.path()?;
        let first = path.iter().next().unwrap_or_default().to_string_lossy().into_owned();
        if !parts.contains(&first) {
            parts.push(first);
        }
    }
    Ok(parts)
}

fn encoder<W: Write>(to: W) -> io::Result<zstd::Encoder<'static, W>> {
    let mut encoder = zstd::Encoder::new(to, LEVEL)?;
    encoder.include_checksum(true)?;
    Ok(encoder)
}

/// Reads all of an archive: what it was made from is deleted next.
fn verify(file: &Path, entries: usize) -> io::Result<()> {
    let mut archive = tar::Archive::new(zstd::Decoder::new(BufReader::new(File::open(file)?))?);
    let mut seen = 0;
    for entry in archive.entries()? {
        io::copy(&mut entry?, &mut io::sink())?;
        seen += 1;
    }
    // Its checksum comes last.
    io::copy(&mut archive.into_inner(), &mut io::sink())?;
    if seen == entries {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, format!("{seen} of {entries} entries can be read again")))
}

#[cfg(target_os = "linux")]
fn sync_around(folder: &Path) -> io::Result<()> {
    Ok(rustix::fs::syncfs(File::open(folder)?)?)
}

#[cfg(not(target_os = "linux"))]
fn sync_around(_folder: &Path) -> io::Result<()> {
    rustix::fs::sync();
    Ok(())
}

struct Packer<W: Write> {
    to: Builder<W>,
    entries: usize,
    /// Files with several names that were packed already, by inode.
    links: HashMap<u64, PathBuf>,
    opened: Opened,
}

impl<W: Write> Packer<W> {
    fn tree(&mut self, dir: &Path, name: &Path) -> io::Result<()> {
        let mut waiting = vec![name.to_owned()];
        while let Some(name) = waiting.pop() {
            let path = dir.join(&name);
            let metadata = fs::symlink_metadata(&path)?;
            if metadata.is_dir() {
                self.opened.folder(&path, &metadata)?;
                for entry in fs::read_dir(&path)? {
                    waiting.push(name.join(entry?.file_name()));
                }
            }
            self.entry(&path, &name, &metadata)?;
        }
        Ok(())
    }

    fn entry(&mut self, path: &Path, name: &Path, metadata: &fs::Metadata) -> io::Result<()> {
        self.entries += 1;
        let mut header = Header::new_gnu();
        header.set_size(0);
        if !metadata.is_dir() && metadata.nlink() > 1 {
            if let Some(first) = self.links.get(&metadata.ino()) {
                header.set_entry_type(EntryType::Link);
                let first = first.clone();
                self.link_name(first.as_os_str())?;
                return self.to.append_data(&mut header, name, io::empty());
            }
            self.links.insert(metadata.ino(), name.to_owned());
        }
        let attributes = Attributes::read(path, metadata)?;
        header.set_uid(attributes.uid.into());
        header.set_gid(attributes.gid.into());
        header.set_mode(attributes.mode);
        header.set_mtime(u64::try_from(attributes.modified.0).unwrap_or_default());
        let kind = metadata.file_type();
        header.set_entry_type(match Special::of(metadata) {
            _ if kind.is_dir() => EntryType::Directory,
            _ if kind.is_file() => EntryType::Regular,
            _ if kind.is_symlink() => EntryType::Symlink,
            Some(Special::Pipe) => EntryType::Fifo,
            Some(Special::Whiteout) => EntryType::Char,
            // A socket, say: nobody listens on it any more.
            None => {
                self.entries -= 1;
                return Ok(());
            }
        });
        if kind.is_file() {
            let file = open_file(path, metadata)?;
            // Of one that is being written no more than the header says.
            let length = metadata.len();
            let data = sparse::data(&file, length)?;
            let packed = data.iter().map(|range| range.end - range.start).sum();
            if packed == length {
                self.extensions(&attributes, None)?;
                header.set_size(length);
                return self.to.append_data(&mut header, name, file.take(length));
            }
            self.extensions(&attributes, Some((length, &data)))?;
            header.set_size(packed);
            return self.to.append_data(&mut header, name, Segments::new(&file, data).take(packed));
        }
        self.extensions(&attributes, None)?;
        if kind.is_symlink() {
            self.link_name(fs::read_link(path)?.as_os_str())?;
        }
        self.to.append_data(&mut header, name, io::empty())
    }

    /// What a header has no room for; without line feeds, which some readers take for an end.
    fn extensions(&mut self, attributes: &Attributes, sparse: Option<(u64, &[Range<u64>])>) -> io::Result<()> {
        let time = |(seconds, nanos): (i64, i64)| format!("{seconds}.{nanos:09}").into_bytes();
        let xattrs = attributes.xattrs.iter().map(|(name, value)| {
            let name = format!("{XATTR}{}", percent_encode(name, NON_ALPHANUMERIC));
            (name, STANDARD_NO_PAD.encode(value).into_bytes())
        });
        let times = [(MODIFIED, attributes.modified), (ACCESSED, attributes.accessed)];
        let times = times.into_iter().map(|(name, at)| (name.to_owned(), time(at)));
        let sparse = sparse.map(|(length, data)| {
            let map = data.iter().map(|range| format!("{},{}", range.start, range.end - range.start));
            let map = map.collect::<Vec<_>>().join(",");
            [(SPARSE_SIZE, length.to_string()), (SPARSE_COUNT, data.len().to_string()), (SPARSE_MAP, map)]
                .map(|(name, value)| (name.to_owned(), value.into_bytes()))
        });
        let all: Vec<(String, Vec<u8>)> = times.chain(xattrs).chain(sparse.into_iter().flatten()).collect();
        self.to.append_pax_extensions(all.iter().map(|(name, value)| (name.as_str(), value.as_slice())))
    }

    fn link_name(&mut self, target: &OsStr) -> io::Result<()> {
        let target = target.as_bytes();
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::GNULongLink);
        header.set_path("././@LongLink")?;
        header.set_mode(0o644);
        header.set_size(target.len() as u64 + 1);
        header.set_cksum();
        self.to.append(&header, target.chain(&b"\0"[..]))
    }
}

/// The data of a file without its holes.
struct Segments<'a> {
    file: &'a File,
    left: std::vec::IntoIter<Range<u64>>,
    now: Range<u64>,
}

impl<'a> Segments<'a> {
    fn new(file: &'a File, data: Vec<Range<u64>>) -> Self {
        Self { file, left: data.into_iter(), now: 0..0 }
    }
}

impl Read for Segments<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.now.is_empty() {
            let Some(next) = self.left.next() else {
                return Ok(0);
            };
            self.now = next;
        }
        let length = usize::try_from(self.now.end - self.now.start).unwrap_or(usize::MAX).min(buffer.len());
        let read = self.file.read_at(&mut buffer[..length], self.now.start)?;
        self.now.start += read as u64;
        Ok(read)
    }
}

/// The length of a packed file with holes, and where its data belongs.
fn holes<R: Read>(entry: &mut Entry<'_, R>) -> io::Result<Option<(u64, Vec<Range<u64>>)>> {
    let bad = || io::Error::new(io::ErrorKind::InvalidData, "a map of holes that makes no sense");
    let (mut size, mut map) = (None, None);
    for extension in entry.pax_extensions()?.into_iter().flatten() {
        let extension = extension?;
        match extension.key_bytes() {
            key if key == SPARSE_SIZE.as_bytes() => size = extension.value().ok().and_then(|size| size.parse().ok()),
            key if key == SPARSE_MAP.as_bytes() => map = Some(extension.value().map_err(|_| bad())?.to_owned()),
            _ => {}
        }
    }
    let Some(map) = map else {
        return Ok(None);
    };
    let size: u64 = size.ok_or_else(bad)?;
    let numbers: Vec<u64> = map.split(',').filter(|part| !part.is_empty()).flat_map(str::parse).collect();
    let mut data = Vec::with_capacity(numbers.len() / 2);
    let mut before = 0;
    for pair in numbers.chunks(2) {
        let &[start, length] = pair else {
            return Err(bad());
        };
        let end = start.checked_add(length).filter(|end| start >= before && *end <= size).ok_or_else(bad)?;
        data.push(start..end);
        before = end;
    }
    Ok(Some((size, data)))
}

fn write_segments(from: &mut impl Read, mut to: &File, size: u64, data: Vec<Range<u64>>) -> io::Result<()> {
    room::check_bytes(data.iter().map(|range| range.end - range.start).sum(), to)?;
    to.set_len(size)?;
    for range in data {
        to.seek(SeekFrom::Start(range.start))?;
        let length = range.end - range.start;
        if io::copy(&mut from.by_ref().take(length), &mut to)? != length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(())
}

fn unpack_entry<R: Read>(
    entry: &mut Entry<'_, R>,
    dest: &Path,
    folders: &mut Vec<(PathBuf, Attributes)>,
) -> io::Result<()> {
    let to = inside(dest, &entry.path()?)?;
    let link = entry.link_name_bytes().map(|bytes| PathBuf::from(OsStr::from_bytes(&bytes)));
    let no_link = || io::Error::new(io::ErrorKind::InvalidData, "a link without a target");
    let kind = entry.header().entry_type();
    if kind == EntryType::Link {
        return fs::hard_link(inside(dest, &link.ok_or_else(no_link)?)?, to);
    }
    let attributes = attributes(entry)?;
    match kind {
        EntryType::Directory => {
            fs::create_dir(&to)?;
            folders.push((to, attributes));
            return Ok(());
        }
        EntryType::Regular => {
            let file = File::create_new(&to)?;
            match holes(entry)? {
                Some((size, data)) => write_segments(entry, &file, size, data)?,
                None => write_sparse(entry, &file)?,
            }
        }
        EntryType::Symlink => symlink(link.ok_or_else(no_link)?, &to)?,
        EntryType::Fifo => Special::Pipe.make(&to, attributes.mode)?,
        EntryType::Char => Special::Whiteout.make(&to, attributes.mode)?,
        kind => return Err(io::Error::new(io::ErrorKind::InvalidData, format!("unexpected entry {kind:?}"))),
    }
    attributes.apply(&to, kind == EntryType::Symlink)
}

/// A packed name beneath the folder.
fn inside(dest: &Path, name: &Path) -> io::Result<PathBuf> {
    if name.components().all(|part| matches!(part, Component::Normal(_))) {
        return Ok(dest.join(name));
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, format!("unexpected name {}", name.display())))
}

fn attributes<R: Read>(entry: &mut Entry<'_, R>) -> io::Result<Attributes> {
    let header = entry.header();
    let id = |id: u64| u32::try_from(id).map_err(io::Error::other);
    let modified = (i64::try_from(header.mtime()?).unwrap_or_default(), 0);
    let mut attributes = Attributes {
        uid: id(header.uid()?)?,
        gid: id(header.gid()?)?,
        mode: header.mode()? & 0o7777,
        accessed: modified,
        modified,
        xattrs: Vec::new(),
    };
    for extension in entry.pax_extensions()?.into_iter().flatten() {
        let extension = extension?;
        let key = extension.key().map_err(io::Error::other)?;
        let time = || {
            let (seconds, nanos) = extension.value().ok()?.split_once('.')?;
            Some((seconds.parse().ok()?, nanos.parse().ok()?))
        };
        match key {
            MODIFIED => attributes.modified = time().unwrap_or(attributes.modified),
            ACCESSED => attributes.accessed = time().unwrap_or(attributes.accessed),
            _ => {
                if let Some(name) = key.strip_prefix(XATTR) {
                    let value = STANDARD_NO_PAD.decode(extension.value_bytes()).map_err(io::Error::other)?;
                    attributes.xattrs.push((percent_decode_str(name).collect(), value));
                }
            }
        }
    }
    Ok(attributes)
}

/// Writes all of it, with holes where there are only zeros.
fn write_sparse(mut from: impl Read, mut to: &File) -> io::Result<()> {
    let mut block = vec![0; BLOCK];
    let mut length: u64 = 0;
    loop {
        let mut filled = 0;
        while filled < block.len() {
            match from.read(&mut block[filled..])? {
                0 => break,
                more => filled += more,
            }
        }
        if filled == 0 {
            return to.set_len(length);
        }
        length += filled as u64;
        let data = &block[..filled];
        if data.iter().all(|byte| *byte == 0) {
            to.seek(SeekFrom::Start(length))?;
        } else {
            room::check_bytes(filled as u64, to)?;
            to.write_all(data)?;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// What a file is, for comparing.
    fn described(path: &Path) -> (u32, u64, i64, i64, Vec<u8>) {
        let metadata = fs::symlink_metadata(path).unwrap();
        let content = if metadata.is_file() {
            fs::read(path).unwrap()
        } else if metadata.is_symlink() {
            fs::read_link(path).unwrap().as_os_str().as_bytes().to_vec()
        } else {
            Vec::new()
        };
        (metadata.mode(), metadata.nlink(), metadata.mtime(), metadata.mtime_nsec(), content)
    }

    #[test]
    fn what_is_packed_is_unpacked_the_same() {
        let temporary = tempfile::tempdir().unwrap();
        let dir = temporary.path().join("live");
        let home = dir.join("home");
        fs::create_dir_all(home.join("shut")).unwrap();
        let odd = OsStr::from_bytes(b"a b\nc\xff");
        let long = "n".repeat(200);
        fs::write(home.join(odd), "odd").unwrap();
        fs::write(home.join(&long), "long").unwrap();
        fs::write(home.join("shut/inside"), "closed").unwrap();
        fs::hard_link(home.join(&long), home.join("same")).unwrap();
        symlink("/absolute//as it\nis/./..", home.join("link")).unwrap();
        symlink("x".repeat(300), home.join("long-link")).unwrap();
        let mut sparse = vec![0; 3 * BLOCK];
        sparse[BLOCK] = 1;
        fs::write(home.join("sparse"), &sparse).unwrap();
        fs::write(home.join("script"), "#!").unwrap();
        fs::set_permissions(home.join("script"), fs::Permissions::from_mode(0o4711)).unwrap();
        let attribute =
            rustix::fs::lsetxattr(home.join("script"), "user.odd name", b"\n\0=value", rustix::fs::XattrFlags::empty());
        fs::set_permissions(home.join("shut"), fs::Permissions::from_mode(0o100)).unwrap();
        let names = [odd, OsStr::new(&long), OsStr::new("same"), OsStr::new("link"), OsStr::new("long-link")];
        let names = names.into_iter().chain([OsStr::new("sparse"), OsStr::new("script"), OsStr::new("shut")]);

        let archive = temporary.path().join("archives/a.tar.zst");
        pack(&dir, &archive).unwrap();
        assert_eq!(fs::metadata(home.join("shut")).unwrap().mode() & 0o7777, 0o100);
        let back = temporary.path().join("back");
        unpack(&archive, &back).unwrap();
        for name in names {
            assert_eq!(described(&home.join(name)), described(&back.join("home").join(name)), "{}", name.display());
        }
        let inode = |name: &str| fs::metadata(back.join("home").join(name)).unwrap().ino();
        assert_eq!(inode(&long), inode("same"));
        if attribute.is_ok() {
            let mut value = [0_u8; 64];
            let length = rustix::fs::lgetxattr(back.join("home/script"), "user.odd name", &mut value[..]).unwrap();
            assert_eq!(&value[..length], b"\n\0=value");
        }
        for folder in [&home, &back.join("home")] {
            fs::set_permissions(folder.join("shut"), fs::Permissions::from_mode(0o700)).unwrap();
            assert_eq!(fs::read(folder.join("shut/inside")).unwrap(), b"closed");
        }
        assert!(unpack(&archive, &back).is_err(), "it is there already");
    }

    #[test]
    fn holes_are_not_packed() {
        let temporary = tempfile::tempdir().unwrap();
        let dir = temporary.path().join("live");
        fs::create_dir_all(dir.join("home")).unwrap();
        let path = dir.join("home/sparse");
        let file = File::create(&path).unwrap();
        file.set_len(8 << 40).unwrap();
        file.write_all_at(b"middle", 5 << 40).unwrap();
        let empty = File::create(dir.join("home/empty")).unwrap();
        empty.set_len(3 << 30).unwrap();
        let archive = temporary.path().join("a.tar.zst");
        pack(&dir, &archive).unwrap();
        assert!(fs::metadata(&archive).unwrap().len() < 1 << 20);
        let back = temporary.path().join("back");
        unpack(&archive, &back).unwrap();
        let file = File::open(back.join("home/sparse")).unwrap();
        assert_eq!(file.metadata().unwrap().len(), 8 << 40);
        assert!(file.metadata().unwrap().blocks() * 512 < 1 << 20);
        let mut middle = [0; 6];
        file.read_exact_at(&mut middle, 5 << 40).unwrap();
        assert_eq!(&middle, b"middle");
        assert_eq!(fs::metadata(back.join("home/empty")).unwrap().len(), 3 << 30);
    }

    #[test]
    fn half_an_archive_is_none() {
        let temporary = tempfile::tempdir().unwrap();
        let dir = temporary.path().join("live");
        fs::create_dir_all(dir.join("home")).unwrap();
        fs::write(dir.join("home/file"), "x".repeat(10_000)).unwrap();
        let archive = temporary.path().join("a.tar.zst");
        pack(&dir, &archive).unwrap();
        let bytes = fs::read(&archive).unwrap();
        fs::write(&archive, &bytes[..bytes.len() / 2]).unwrap();
        let back = temporary.path().join("back");
        assert!(unpack(&archive, &back).is_err());
        let left: Vec<_> = fs::read_dir(temporary.path()).unwrap().flatten().map(|entry| entry.file_name()).collect();
        assert_eq!(left.len(), 2, "{left:?}");
    }
}
