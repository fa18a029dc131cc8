//! What a COPY or ADD puts into a layer: collected first, hashed for the cache, then written.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::CWD;
use sha2::{Digest as _, Sha256};

use super::ignore::Ignore;
use crate::digest;
use crate::files::Attributes;
use crate::view::{Node, View};

/// One file, folder or link to write.
#[derive(Debug)]
pub(crate) struct Item {
    /// Path in the image, without links.
    pub(crate) target: PathBuf,
    pub(crate) content: Content,
    pub(crate) mode: u32,
    pub(crate) owner: (u32, u32),
    /// Seconds since 1970, where it has one of its own.
    pub(crate) time: Option<i64>,
}

#[derive(Debug)]
pub(crate) enum Content {
    Folder,
    File(PathBuf),
    Data(Vec<u8>),
    Link(PathBuf),
}

/// What the instruction says of all that it copies.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Overrides {
    pub(crate) mode: Option<u32>,
    /// None keeps the owners of the source.
    pub(crate) owner: Option<(u32, u32)>,
}

/// Collects a file, or all that is in a folder.
pub(crate) struct Collector<'a> {
    /// Where it comes from.
    pub(crate) source: &'a View,
    /// Where it goes to.
    pub(crate) target: &'a View,
    /// What is left out, by path in the source.
    pub(crate) ignore: &'a Ignore,
    /// What is left out, by path below what is copied.
    pub(crate) exclude: &'a Ignore,
    pub(crate) overrides: Overrides,
    pub(crate) items: Vec<Item>,
}

impl Collector<'_> {
    /// The content of a folder, into a folder.
    pub(crate) fn folder(&mut self, folder: &Node, target: &Path) -> io::Result<()> {
        self.items.push(Item {
            target: target.to_owned(),
            content: Content::Folder,
            mode: 0o755,
            owner: self.overrides.owner.unwrap_or((0, 0)),
            time: None,
        });
        self.content(folder, target, Path::new(""))
    }

    fn content(&mut self, folder: &Node, target: &Path, below: &Path) -> io::Result<()> {
        for node in self.source.children(folder)? {
            let name = node.path.file_name().unwrap_or_default();
            let below = below.join(name);
            let ignored = self.ignore.ignores(&node.path) || self.exclude.ignores(&below);
            if node.is_dir() {
                if self.ignore.leaves_out(&node.path, true) || self.exclude.leaves_out(&below, true) {
                    continue;
                }
                // Where the image has a link to a folder it leads there.
                let target = self.target.resolve(&target.join(name))?;
                if !ignored {
                    self.push(&node, target.clone(), Content::Folder);
                }
                self.content(&node, &target, &below)?;
            } else if !ignored {
                self.file(&node, target.join(name))?;
            }
        }
        Ok(())
    }

    /// A file or link, to a path of its own.
    pub(crate) fn file(&mut self, node: &Node, target: PathBuf) -> io::Result<()> {
        let kind = node.meta.file_type();
        if kind.is_symlink() {
            let link = fs::read_link(&node.real[0])?;
            self.push(node, target, Content::Link(link));
        } else if kind.is_file() {
            self.push(node, target, Content::File(node.real[0].clone()));
        }
        // Pipes, sockets and devices are not copied.
        Ok(())
    }

    fn push(&mut self, node: &Node, target: PathBuf, content: Content) {
        let link = matches!(content, Content::Link(_));
        self.items.push(Item {
            target,
            content,
            mode: self.overrides.mode.filter(|_| !link).unwrap_or(node.meta.mode() & 0o7777),
            owner: self.overrides.owner.unwrap_or((node.meta.uid(), node.meta.gid())),
            time: Some(node.meta.mtime()),
        });
    }
}

/// Feeds all that makes the result what it is; times do not.
pub(crate) fn hash(items: &[Item], into: &mut Sha256) -> io::Result<()> {
    let mut field = |bytes: &[u8]| {
        into.update((bytes.len() as u64).to_le_bytes());
        into.update(bytes);
    };
    for item in items {
        field(item.target.as_os_str().as_bytes());
        field(format!("{:o} {} {}", item.mode, item.owner.0, item.owner.1).as_bytes());
        match &item.content {
            Content::Folder => field(b"folder"),
            Content::File(path) => {
                let mut content = digest::HashRead::new(File::open(path)?);
                io::copy(&mut content, &mut io::sink())?;
                field(content.finish().as_bytes());
            }
            Content::Data(data) => field(digest::of(data).as_bytes()),
            Content::Link(target) => {
                field(b"link");
                field(target.as_os_str().as_bytes());
            }
        }
    }
    Ok(())
}

/// Writes the items into a new layer upon a view. Answers the bytes of its files.
pub(crate) fn write(items: &[Item], layer: &Path, view: &View, keep_owners: bool) -> io::Result<u64> {
    root(layer, view, keep_owners)?;
    let mut size = 0;
    let mut folders: Vec<(PathBuf, Attributes)> = Vec::new();
    for item in items {
        let below = item.target.strip_prefix("/").unwrap_or(&item.target);
        let real = layer.join(below);
        parents(layer, below, view, keep_owners, &mut folders)?;
        let attributes = Attributes {
            mode: item.mode,
            owner: keep_owners.then_some(item.owner),
            time: item.time,
            xattrs: Vec::new(),
        };
        match &item.content {
            Content::Folder => folder(&real, &item.target, view, keep_owners, attributes, &mut folders)?,
            Content::File(source) => {
                let mut file = create(&real)?;
                size += io::copy(&mut File::open(source)?, &mut file)?;
                attributes.set(&file)?;
            }
            Content::Data(data) => {
                let mut file = create(&real)?;
                file.write_all(data)?;
                size += data.len() as u64;
                attributes.set(&file)?;
            }
            Content::Link(target) => {
                clear(&real)?;
                std::os::unix::fs::symlink(target, &real)?;
                attributes.set_unopened(CWD, real.as_os_str())?;
            }
        }
    }
    for (path, attributes) in folders.iter().rev() {
        attributes.set(File::open(path)?)?;
    }
    Ok(size)
}

/// Gives a layer's folder the attributes of the root beneath it: the uppermost layer's are those that are seen.
pub(crate) fn root(layer: &Path, view: &View, keep_owners: bool) -> io::Result<()> {
    let attributes = match view.root()? {
        Some(root) => of_node(&root, keep_owners),
        None => Attributes { mode: 0o755, owner: keep_owners.then_some((0, 0)), time: None, xattrs: Vec::new() },
    };
    attributes.set(File::open(layer)?)
}

fn of_node(node: &Node, keep_owners: bool) -> Attributes {
    Attributes {
        mode: node.meta.mode() & 0o7777,
        owner: keep_owners.then_some((node.meta.uid(), node.meta.gid())),
        time: Some(node.meta.mtime()),
        xattrs: Vec::new(),
    }
}

fn parents(
    layer: &Path,
    below: &Path,
    view: &View,
    keep_owners: bool,
    folders: &mut Vec<(PathBuf, Attributes)>,
) -> io::Result<()> {
    let mut above: Vec<_> = below.ancestors().skip(1).filter(|path| !path.as_os_str().is_empty()).collect();
    above.reverse();
    for path in above {
        let real = layer.join(path);
        if fs::symlink_metadata(&real).is_ok_and(|meta| meta.is_dir()) {
            continue;
        }
        let new = Attributes { mode: 0o755, owner: keep_owners.then_some((0, 0)), time: None, xattrs: Vec::new() };
        folder(&real, &Path::new("/").join(path), view, keep_owners, new, folders)?;
    }
    Ok(())
}

/// Makes a folder, with the attributes that it has in the image already, or else those given.
fn folder(
    real: &Path,
    target: &Path,
    view: &View,
    keep_owners: bool,
    new: Attributes,
    folders: &mut Vec<(PathBuf, Attributes)>,
) -> io::Result<()> {
    if fs::symlink_metadata(real).is_ok_and(|meta| meta.is_dir()) {
        return Ok(());
    }
    let there = view.find(target, false)?.filter(Node::is_dir);
    clear(real)?;
    fs::DirBuilder::new().mode(0o700).create(real)?;
    folders.push((real.to_owned(), there.map_or(new, |node| of_node(&node, keep_owners))));
    Ok(())
}

fn create(path: &Path) -> io::Result<File> {
    clear(path)?;
    File::options().write(true).create_new(true).mode(0o600).open(path)
}

fn clear(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Nodes that a path with wildcards leads to, one name after the other.
pub(crate) fn expand(view: &View, pattern: &str) -> io::Result<Vec<Node>> {
    let wild = |name: &str| name.contains(['*', '?', '[']);
    let names: Vec<&str> = pattern.split('/').filter(|name| !name.is_empty() && *name != ".").collect();
    if !names.iter().any(|name| wild(name)) {
        return Ok(view.find(Path::new(pattern), true)?.into_iter().collect());
    }
    let mut found: Vec<Node> = view.root()?.into_iter().collect();
    for name in names {
        let mut next = Vec::new();
        for node in found.iter().filter(|node| node.is_dir()) {
            if wild(name) {
                let glob = globset::GlobBuilder::new(name).literal_separator(true).backslash_escape(true).build();
                let matcher =
                    glob.map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?.compile_matcher();
                for child in view.children(node)? {
                    let name: OsString = child.path.file_name().unwrap_or_default().to_owned();
                    if matcher.is_match(name) {
                        next.extend(view.find(&child.path, true)?);
                    }
                }
            } else {
                next.extend(view.find(&node.path.join(name), true)?);
            }
        }
        found = next;
    }
    Ok(found)
}
