//! A context: local files under the name that a Dockerfile has for them, their hash and their archive.

use std::fs::{File, Metadata};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::UNIX_EPOCH;

use md5::{Digest, Md5};
use tar::{Builder, EntryType, Header};
use walkdir::WalkDir;

use super::ignore::Ignore;
use super::{Context, path};
use crate::error::{Error, ErrorKind, Result};

const BLOCK: u64 = 512;
/// Longer names take blocks of their own.
const SHORT_NAME: usize = 100;

/// Two digits a byte.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut digits, byte| {
        let _ = write!(digits, "{byte:02x}");
        digits
    })
}

/// What a context consists of, in an order that is the same everywhere.
pub(crate) struct Tree {
    /// Its name in the archive; empty for the root of the build.
    archive: String,
    source: PathBuf,
    entries: Vec<Entry>,
}

struct Entry {
    path: PathBuf,
    /// Relative to the source; empty for the source.
    name: PathBuf,
    kind: Kind,
}

enum Kind {
    File(Metadata),
    Directory { metadata: Metadata, is_empty: bool },
    Link(PathBuf),
}

impl Tree {
    /// Looks at all of it; reads no contents.
    pub(crate) fn read(context: &Context) -> Result<Self> {
        // A link is followed where it is what was named, and kept where it was found.
        let source = std::fs::canonicalize(&context.source_path).map_err(|error| {
            let path = &context.source_path;
            if error.kind() == io::ErrorKind::NotFound {
                return Error::new(ErrorKind::NotFound, format!("{path}, which the image copies, does not exist"));
            }
            unreadable(Path::new(path), error)
        })?;
        let archive = path::rooted(&context.archive_path);
        let (ignore, prefix) = match &context.context_dir {
            Some(directory) => {
                (Ignore::of(Path::new(if directory.is_empty() { "." } else { directory }))?, Path::new(&archive))
            }
            None => (Ignore::of(&source)?, Path::new("")),
        };
        let mut entries: Vec<Entry> = Vec::new();
        let name = |path: &Path| path.strip_prefix(&source).unwrap_or(path).to_owned();
        let mut walk = WalkDir::new(&source).sort_by_file_name().into_iter();
        while let Some(found) = walk.next() {
            let found = found.map_err(|error| {
                let path = error.path().unwrap_or(&source).to_owned();
                let error = error.into_io_error().unwrap_or_else(|| io::Error::other("its links go round in circles"));
                unreadable(&path, error)
            })?;
            let name = name(found.path());
            if found.depth() > 0 && ignore.leaves_out(&prefix.join(&name)) {
                if found.file_type().is_dir() && ignore.leaves_out_all(&prefix.join(&name)) {
                    walk.skip_current_dir();
                }
                continue;
            }
            let of_error = |error| unreadable(found.path(), error);
            let metadata = found.metadata().map_err(|error| of_error(error.into()))?;
            let kind = if metadata.is_file() {
                Kind::File(metadata)
            } else if metadata.is_dir() {
                Kind::Directory { metadata, is_empty: true }
            } else if metadata.is_symlink() {
                Kind::Link(std::fs::read_link(found.path()).map_err(of_error)?)
            } else {
                // Sockets, pipes and devices have no contents to copy.
                continue;
            };
            // A folder comes right before the first of what is in it.
            if let Some(Entry { name: above, kind: Kind::Directory { is_empty, .. }, .. }) = entries.last_mut()
                && name.parent() == Some(above)
            {
                *is_empty = false;
            }
            entries.push(Entry { path: found.path().to_owned(), name, kind });
        }
        let mut tree = Self { archive, source, entries };
        if tree.entries.is_empty() {
            return Err(Error::invalid(format!("{} is neither a file nor a directory", tree.source.display())));
        }
        tree.name_the_root();
        Ok(tree)
    }

    /// The file itself needs a name.
    fn name_the_root(&mut self) {
        if self.archive.is_empty()
            && let [Entry { kind: Kind::File(_), path, .. }] = &self.entries[..]
        {
            self.archive = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        }
    }

    /// The hash under which a server knows it. Stops with an error once `stop` is set.
    pub(crate) fn hash(&self, stop: &AtomicBool) -> Result<String> {
        let mut hash = Md5::new();
        hash.update(&self.archive);
        for entry in &self.entries {
            let name = match entry.name.as_os_str().as_encoded_bytes() {
                b"" => b".",
                name => name,
            };
            match &entry.kind {
                Kind::File(metadata) => {
                    if !entry.name.as_os_str().is_empty() {
                        hash.update(name);
                    }
                    // Images see whether it may be run.
                    if is_executable(metadata) {
                        hash.update(b"\0x");
                    }
                    let mut file = File::open(&entry.path).map_err(|error| unreadable(&entry.path, error))?;
                    copy(&mut file, &mut hash, stop).map_err(|error| unreadable(&entry.path, error))?;
                }
                Kind::Directory { is_empty: true, .. } => hash.update(name),
                Kind::Directory { .. } => {}
                Kind::Link(target) => {
                    hash.update(name);
                    hash.update(b"\0l");
                    hash.update(target.as_os_str().as_encoded_bytes());
                }
            }
        }
        Ok(hex(&hash.finalize()))
    }

    /// Bytes of its archive.
    pub(crate) fn size(&self) -> u64 {
        let entries = self.entries.iter().map(|entry| {
            let name = self.name(entry);
            let long = |length: usize| {
                if length > SHORT_NAME { BLOCK + (length as u64 + 1).next_multiple_of(BLOCK) } else { 0 }
            };
            let more = match &entry.kind {
                Kind::File(metadata) => metadata.len().next_multiple_of(BLOCK),
                Kind::Directory { .. } => 0,
                Kind::Link(target) => long(target.as_os_str().len()),
            };
            if name.as_os_str().is_empty() { 0 } else { BLOCK + more + long(name.as_os_str().len()) }
        });
        entries.sum::<u64>() + 2 * BLOCK
    }

    fn name(&self, entry: &Entry) -> PathBuf {
        if entry.name.as_os_str().is_empty() {
            self.archive.clone().into()
        } else {
            Path::new(&self.archive).join(&entry.name)
        }
    }

    /// Writes it as a plain tar.
    pub(crate) fn write(&self, out: impl Write) -> Result<()> {
        let mut tar = Builder::new(out);
        for entry in &self.entries {
            let name = self.name(entry);
            if name.as_os_str().is_empty() {
                continue;
            }
            append(&mut tar, &name, entry).map_err(|error| unreadable(&entry.path, error))?;
        }
        tar.into_inner().and_then(|mut out| out.flush()).map_err(|error| unreadable(&self.source, error))
    }
}

fn append(tar: &mut Builder<impl Write>, name: &Path, entry: &Entry) -> io::Result<()> {
    let mut header = Header::new_gnu();
    // As what images copy: root's.
    header.set_uid(0);
    header.set_gid(0);
    match &entry.kind {
        Kind::File(metadata) => {
            describe(&mut header, metadata, EntryType::Regular);
            header.set_size(metadata.len());
            let mut file = File::open(&entry.path)?.take(metadata.len());
            tar.append_data(&mut header, name, &mut file)?;
            if file.limit() > 0 {
                return Err(io::Error::other("it became shorter while it was read"));
            }
            Ok(())
        }
        Kind::Directory { metadata, .. } => {
            describe(&mut header, metadata, EntryType::Directory);
            header.set_size(0);
            tar.append_data(&mut header, name, io::empty())
        }
        Kind::Link(target) => {
            header.set_entry_type(EntryType::Symlink);
            header.set_mode(0o777);
            header.set_size(0);
            tar.append_link(&mut header, name, target)
        }
    }
}

fn describe(header: &mut Header, metadata: &Metadata, kind: EntryType) {
    header.set_entry_type(kind);
    header.set_mode(metadata.permissions().mode() & 0o7777);
    let changed = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    header.set_mtime(changed.unwrap_or_default().as_secs());
}

fn is_executable(metadata: &Metadata) -> bool {
    metadata.permissions().mode() & 0o111 != 0
}

fn copy(from: &mut File, to: &mut Md5, stop: &AtomicBool) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        if stop.load(Ordering::Relaxed) {
            return Err(io::Error::other("nobody waits for it any more"));
        }
        match from.read(&mut buffer)? {
            0 => return Ok(()),
            count => to.update(&buffer[..count]),
        }
    }
}

fn unreadable(path: &Path, error: io::Error) -> Error {
    Error::invalid(format!("{} cannot be put into the build context: {error}", path.display())).with_cause(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(source: &Path, archive: &str, directory: Option<&Path>) -> Context {
        Context {
            source_path: source.to_str().unwrap().to_owned(),
            archive_path: archive.to_owned(),
            context_dir: directory.map(|path| path.to_str().unwrap().to_owned()),
        }
    }

    fn hash(context: &Context) -> String {
        Tree::read(context).unwrap().hash(&AtomicBool::new(false)).unwrap()
    }

    fn md5(parts: &[&str]) -> String {
        hex(&Md5::digest(parts.concat()))
    }

    fn names(context: &Context) -> Vec<String> {
        let tree = Tree::read(context).unwrap();
        let mut archive = Vec::new();
        tree.write(&mut archive).unwrap();
        assert_eq!(archive.len() as u64, tree.size());
        let mut archive = tar::Archive::new(&archive[..]);
        archive.entries().unwrap().map(|entry| entry.unwrap().path().unwrap().to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn a_tree_has_one_order_one_hash_and_one_archive() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("app");
        for name in ["z", "b/x", "b/a", "b-c"] {
            std::fs::create_dir_all(root.join(name).parent().unwrap()).unwrap();
            std::fs::write(root.join(name), name.to_uppercase()).unwrap();
        }
        std::fs::create_dir_all(root.join("empty/within")).unwrap();
        let given = context(&root, "/x/../app/", None);
        assert_eq!(hash(&given), md5(&["app", "b/a", "B/A", "b/x", "B/X", "b-c", "B-C", "empty/within", "z", "Z"]));
        assert_eq!(
            names(&given),
            ["app", "app/b", "app/b/a", "app/b/x", "app/b-c", "app/empty", "app/empty/within", "app/z"]
        );
        assert_eq!(names(&context(&root.join("z"), "../z", None)), ["z"]);
        assert_eq!(hash(&context(&root.join("z"), "../z", None)), md5(&["z", "Z"]));
        assert_eq!(hash(&context(&root.join("empty/within"), "e", None)), md5(&["e", "."]));
        let whole = names(&context(&root, ".", None));
        assert_eq!(whole[0], "b");

        let plain = hash(&given);
        std::fs::set_permissions(root.join("z"), std::fs::Permissions::from_mode(0o755)).unwrap();
        let executable = hash(&given);
        std::os::unix::fs::symlink("z", root.join("link")).unwrap();
        let linked = hash(&given);
        assert!(plain != executable && executable != linked);
    }

    #[test]
    fn what_is_ignored_is_neither_hashed_nor_packed() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for name in ["src/a", "src/b.log", "node_modules/x/y"] {
            std::fs::create_dir_all(root.join(name).parent().unwrap()).unwrap();
            std::fs::write(root.join(name), name).unwrap();
        }
        std::fs::write(root.join(".dockerignore"), "node_modules\n**/*.log\n").unwrap();
        assert_eq!(names(&context(root, ".", None)), [".dockerignore", "src", "src/a"]);
        // The rules of the context's root hold within a part of it, and not for what is named itself.
        let part = context(&root.join("src"), "src", Some(root));
        assert_eq!(names(&part), ["src", "src/a"]);
        assert_eq!(hash(&part), md5(&["src", "a", "src/a"]));
        assert_eq!(names(&context(&root.join("src/b.log"), "src/b.log", Some(root))), ["src/b.log"]);
        assert_eq!(names(&context(&root.join("src"), "src", None)), ["src", "src/a", "src/b.log"]);
    }

    #[test]
    fn long_names_and_missing_files() {
        let folder = tempfile::tempdir().unwrap();
        let long = folder.path().join("n".repeat(120));
        std::fs::write(&long, "x").unwrap();
        assert_eq!(names(&context(folder.path(), "", None)), ["n".repeat(120)]);
        let missing = Tree::read(&context(&folder.path().join("none"), "none", None)).err().unwrap();
        assert_eq!(missing.kind(), ErrorKind::NotFound);
    }
}
