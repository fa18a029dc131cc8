//! Files and folders of the host, and memory, at places of a sandbox's view.
//!
//! An image can put links anywhere: the places are found through descriptors, within the view.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_string, fsmount, fsopen};
use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};
use serde::{Deserialize, Serialize};

use super::volume::{folder, made};
use crate::protocol::{Failure, Step};
use crate::sys;

const RDONLY: u64 = 0x1;
const NOSUID: u64 = 0x2;
const NODEV: u64 = 0x4;

/// What is mounted.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Source {
    /// A file or folder of the host.
    Host(PathBuf),
    /// Memory, of at most so many bytes.
    Memory(Option<u64>),
}

/// One mount.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Bind {
    pub(crate) source: Source,
    /// Absolute, in the sandbox; made where it is missing.
    pub(crate) target: String,
    pub(crate) read_only: bool,
}

/// Mounts them into the view at `root`, in order.
pub(super) fn mount_all(binds: &[Bind], root: &Path) -> Result<(), Failure> {
    if binds.is_empty() {
        return Ok(());
    }
    let root = folder(CWD, root, ResolveFlags::empty()).step("open the view")?;
    for bind in binds {
        mount(bind, &root).step_with(|| format!("mount {}", bind.target))?;
    }
    Ok(())
}

fn mount(bind: &Bind, root: &OwnedFd) -> io::Result<()> {
    let within = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let (tree, is_folder) = match &bind.source {
        Source::Host(path) => {
            let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
            (open_tree(CWD, path, flags)?, path.is_dir())
        }
        Source::Memory(size) => {
            let memory = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
            fsconfig_set_string(memory.as_fd(), "mode", "1777")?;
            if let Some(size) = size {
                fsconfig_set_string(memory.as_fd(), "size", size.to_string())?;
            }
            fsconfig_create(memory.as_fd())?;
            (fsmount(memory.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())?, true)
        }
    };
    let target = if is_folder { made(root.as_fd(), &bind.target, within)? } else { file(root, &bind.target, within)? };
    let read_only = if bind.read_only { RDONLY } else { 0 };
    sys::add_tree_attributes(tree.as_fd(), NOSUID | NODEV | read_only)?;
    let both = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    Ok(move_mount(&tree, "", &target, "", both)?)
}

/// A file to mount upon, made where it is missing.
fn file(root: &OwnedFd, path: &str, within: ResolveFlags) -> io::Result<OwnedFd> {
    let path = path.trim_start_matches('/');
    let place = |flags, mode| openat2(root, path, flags | OFlags::CLOEXEC, mode, within);
    if let Some((parent, _)) = path.rsplit_once('/') {
        made(root.as_fd(), parent, within)?;
    }
    match place(OFlags::PATH, Mode::empty()) {
        Err(rustix::io::Errno::NOENT) => {
            let new = place(OFlags::CREATE | OFlags::WRONLY, Mode::from_raw_mode(0o644))?;
            drop(File::from(new));
            Ok(place(OFlags::PATH, Mode::empty())?)
        }
        other => Ok(other?),
    }
}
