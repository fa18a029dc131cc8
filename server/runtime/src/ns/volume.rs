//! Volumes in a sandbox's view.
//!
//! Sandboxes that share a volume, and earlier runs of this one, can put links anywhere: what is mounted is found
//! through descriptors, within the volume, and so is the place to mount it, within the view.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags, fstat, mkdirat, open, openat2};
use rustix::io::Errno;
use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};
use rustix::process::{Gid, Uid};
use serde::{Deserialize, Serialize};

use crate::protocol::{Failure, Step};
use crate::sys;

const NOSUID: u64 = 0x2;
const NODEV: u64 = 0x4;

/// One volume to mount.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Mount {
    /// The volume's folder on the host.
    pub(crate) dir: PathBuf,
    /// Only this folder of it; made where it is missing.
    pub(crate) subpath: Option<String>,
    /// Where, in the sandbox; made where it is missing.
    pub(crate) path: String,
}

/// Mounts the volumes into the view at `root`.
pub(super) fn mount_all(volumes: &[Mount], root: &Path) -> Result<(), Failure> {
    if volumes.is_empty() {
        return Ok(());
    }
    let root = folder(CWD, root, ResolveFlags::empty()).step("open the view")?;
    for volume in volumes {
        mount(volume, root.as_fd()).step_with(|| format!("mount a volume at {}", volume.path))?;
    }
    Ok(())
}

fn mount(volume: &Mount, root: BorrowedFd<'_>) -> io::Result<()> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut source = open(&volume.dir, flags, Mode::empty())?;
    if let Some(subpath) = &volume.subpath {
        let inside = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
        source = made(source.as_fd(), subpath, inside)?;
    }
    let target = made(root, &volume.path, ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS)?;
    let tree = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    let tree = open_tree(&source, "", tree)?;
    sys::add_tree_attributes(tree.as_fd(), NOSUID | NODEV)?;
    let both = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    Ok(move_mount(&tree, "", &target, "", both)?)
}

/// A folder beneath another, made where it is missing; a new one belongs to whom the one that it is in belongs.
pub(super) fn made(top: BorrowedFd<'_>, path: &str, resolve: ResolveFlags) -> io::Result<OwnedFd> {
    let mut at: Option<OwnedFd> = None;
    let mut so_far = PathBuf::new();
    for part in path.split('/').filter(|part| !part.is_empty()) {
        let parent = at.as_ref().map_or(top, AsFd::as_fd);
        so_far.push(part);
        let new = match mkdirat(parent, part, Mode::from_raw_mode(0o755)) {
            Ok(()) => true,
            Err(Errno::EXIST) => false,
            Err(error) => return Err(error.into()),
        };
        if new {
            adopt(parent, part.as_ref())?;
        }
        at = Some(folder(top, &so_far, resolve)?);
    }
    at.map_or_else(|| top.try_clone_to_owned(), Ok)
}

fn adopt(parent: BorrowedFd<'_>, name: &OsStr) -> io::Result<()> {
    let owner = fstat(parent)?;
    let ids = (Uid::from_raw(owner.st_uid), Gid::from_raw(owner.st_gid));
    match rustix::fs::chownat(parent, name, Some(ids.0), Some(ids.1), AtFlags::SYMLINK_NOFOLLOW) {
        // A user namespace knows one user only.
        Ok(()) | Err(Errno::INVAL | Errno::PERM | Errno::OVERFLOW) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

pub(super) fn folder(top: impl AsFd, path: &Path, resolve: ResolveFlags) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(openat2(top, path, flags, Mode::empty(), resolve)?)
}
