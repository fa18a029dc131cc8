//! What a stack of layers shows, as an overlay of them would: without a mount.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Component, Path, PathBuf};

use crate::files::opaque_name;

/// Layers, the uppermost first.
#[derive(Clone, Debug)]
pub(crate) struct View {
    layers: Vec<PathBuf>,
    opaque: &'static str,
}

/// Something a view shows.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    /// Where it is in the view, without links.
    pub(crate) path: PathBuf,
    pub(crate) meta: Metadata,
    /// Where it really is: of a folder all that make it up, the uppermost first.
    pub(crate) real: Vec<PathBuf>,
}

impl Node {
    pub(crate) fn is_dir(&self) -> bool {
        self.meta.is_dir()
    }
}

/// As many links as the kernel follows.
const LINKS: usize = 40;

impl View {
    pub(crate) fn new(layers: Vec<PathBuf>, user_xattr: bool) -> Self {
        Self { layers, opaque: opaque_name(user_xattr) }
    }

    /// A plain folder.
    pub(crate) fn folder(path: PathBuf) -> Self {
        Self { layers: vec![path], opaque: "user.overlay.opaque" }
    }

    pub(crate) fn root(&self) -> io::Result<Option<Node>> {
        let Some(top) = self.layers.first() else { return Ok(None) };
        Ok(Some(Node { path: PathBuf::from("/"), meta: fs::symlink_metadata(top)?, real: self.layers.clone() }))
    }

    /// What is at a path. Links on the way are followed, at most to the root; a link at the end if `follow`.
    pub(crate) fn find(&self, path: &Path, follow: bool) -> io::Result<Option<Node>> {
        let Some(root) = self.root()? else { return Ok(None) };
        let (done, missing) = self.walk(root, path, follow)?;
        Ok(missing.is_empty().then_some(done))
    }

    /// Where writing to a path ends up: the path without links, whether or not it is there.
    pub(crate) fn resolve(&self, path: &Path) -> io::Result<PathBuf> {
        let mut target = PathBuf::from("/");
        match self.root()? {
            None => push_all(&mut target, path),
            Some(root) => {
                let (done, missing) = self.walk(root, path, true)?;
                target = done.path;
                for name in missing {
                    target.push(name);
                }
            }
        }
        Ok(target)
    }

    /// Goes as far as there is something; answers where that is, and the names that are missing.
    fn walk(&self, root: Node, path: &Path, follow: bool) -> io::Result<(Node, Vec<OsString>)> {
        let mut above = vec![root];
        let mut todo: Vec<OsString> = names(path).rev().collect();
        let mut links = 0;
        while let Some(name) = todo.pop() {
            if name == ".." {
                if above.len() > 1 {
                    above.pop();
                }
                continue;
            }
            let here = &above[above.len() - 1];
            let Some(node) = self.child(here, &name)? else {
                let here = above.pop().ok_or(io::ErrorKind::NotFound)?;
                let mut missing = PathBuf::new();
                push_all(&mut missing, Path::new(&name));
                for name in todo.iter().rev() {
                    push_all(&mut missing, Path::new(name));
                }
                return Ok((here, missing.iter().map(OsStr::to_owned).collect()));
            };
            if node.meta.is_symlink() && (follow || !todo.is_empty()) {
                links += 1;
                if links > LINKS {
                    return Err(io::Error::from(rustix::io::Errno::LOOP));
                }
                let target = fs::read_link(&node.real[0])?;
                if target.is_absolute() {
                    above.truncate(1);
                }
                todo.extend(names(&target).rev());
            } else if !node.is_dir() && !todo.is_empty() {
                return Err(io::Error::from(rustix::io::Errno::NOTDIR));
            } else {
                above.push(node);
            }
        }
        let node = above.pop().ok_or(io::ErrorKind::NotFound)?;
        Ok((node, Vec::new()))
    }

    fn child(&self, folder: &Node, name: &OsStr) -> io::Result<Option<Node>> {
        let path = folder.path.join(name);
        let mut found: Option<Node> = None;
        if !folder.is_dir() {
            return Ok(None);
        }
        for real in &folder.real {
            let real = real.join(name);
            let meta = match fs::symlink_metadata(&real) {
                Ok(meta) => meta,
                Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                    continue;
                }
                Err(error) => return Err(error),
            };
            if is_gone(&meta) {
                break;
            }
            let ends = !meta.is_dir() || self.is_opaque(&real);
            match &mut found {
                None => found = Some(Node { path: path.clone(), meta, real: vec![real] }),
                Some(found) if meta.is_dir() => found.real.push(real),
                Some(_) => break,
            }
            if ends {
                break;
            }
        }
        Ok(found)
    }

    fn is_opaque(&self, folder: &Path) -> bool {
        let mut value = [0; 1];
        self.layers.len() > 1
            && rustix::fs::lgetxattr(folder, self.opaque, &mut value[..]).is_ok_and(|n| n == 1 && value[0] == b'y')
    }

    /// What a folder has in it, by name.
    pub(crate) fn children(&self, folder: &Node) -> io::Result<Vec<Node>> {
        let mut names = BTreeSet::new();
        for real in &folder.real {
            for entry in fs::read_dir(real)? {
                names.insert(entry?.file_name());
            }
        }
        let mut children = Vec::with_capacity(names.len());
        for name in &names {
            children.extend(self.child(folder, name)?);
        }
        Ok(children)
    }
}

fn is_gone(meta: &Metadata) -> bool {
    meta.file_type().is_char_device() && meta.rdev() == 0
}

fn names(path: &Path) -> impl DoubleEndedIterator<Item = OsString> + '_ {
    path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsString::from("..")),
        _ => None,
    })
}

/// Appends a path; `..` leads at most to the root.
fn push_all(to: &mut PathBuf, path: &Path) {
    for name in names(path) {
        if name == ".." {
            to.pop();
        } else {
            to.push(name);
        }
    }
}
