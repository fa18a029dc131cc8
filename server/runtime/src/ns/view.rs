//! What a sandbox sees of the file system.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
use rustix::io::Errno;
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind, mount_bind_recursive, mount_change, unmount,
};

use super::Plan;
use crate::protocol::{Failure, Step};
use crate::sys;

const RDONLY: u64 = 0x1;
const NOSUID: u64 = 0x2;
const NODEV: u64 = 0x4;
const NOEXEC: u64 = 0x8;

/// Files of /proc that tell of, or act on, the host.
const HIDDEN_FILES: [&str; 6] = ["kcore", "keys", "latency_stats", "sched_debug", "timer_list", "timer_stats"];
/// Folders of /proc likewise.
const HIDDEN_DIRS: [&str; 3] = ["acpi", "asound", "scsi"];
/// Parts of /proc that may be read only.
const READ_ONLY: [&str; 5] = ["bus", "fs", "irq", "sys", "sysrq-trigger"];

/// Device nodes with their minor and major numbers.
const DEVICES: [(&str, u32, u32); 6] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];

/// Builds the view at `{dir}/mnt` and makes it the root; nothing else stays mounted.
pub(super) fn enter(plan: &Plan) -> Result<(), Failure> {
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).step("make mounts private")?;
    std::env::set_current_dir(&plan.dir).step("enter the sandbox's folder")?;
    let root = Path::new("mnt");
    overlay(plan, &plan.base, "root", root)?;
    for layer in &plan.view.overlays {
        overlay(plan, layer.lower.as_deref().unwrap_or(&layer.path), &layer.name, &inside(root, &layer.path))?;
    }
    for path in &plan.view.read_only {
        let target = inside(root, path);
        mount_bind_recursive(path.as_str(), &target).step_with(|| format!("bind {path}"))?;
        sys::add_mount_attributes(&target, RDONLY | NOSUID | NODEV, true)
            .step_with(|| format!("make {path} read-only"))?;
    }
    for path in &plan.view.masked {
        hide_dir(&inside(root, path)).step_with(|| format!("mask {path}"))?;
    }
    if let Some(home) = &plan.home {
        mount_bind("home", root.join(home)).step("bind the home")?;
        sys::add_mount_attributes(&root.join(home), NOSUID | NODEV, false).step("bind the home")?;
    }
    for name in ["dev", "proc"] {
        // A link in an image must not lead the mounts elsewhere.
        let found = fs::symlink_metadata(root.join(name)).and_then(|found| {
            if found.is_dir() { Ok(()) } else { Err(io::Error::from_raw_os_error(Errno::NOTDIR.raw_os_error())) }
        });
        found.step_with(|| format!("find the folder /{name}"))?;
    }
    super::volume::mount_all(&plan.volumes, root)?;
    super::bind::mount_all(&plan.binds, root)?;
    devices(plan, &root.join("dev"))?;
    proc(&root.join("proc"))?;
    pivot(root).step("pivot_root")
}

fn inside(root: &Path, path: &str) -> PathBuf {
    root.join(path.trim_start_matches('/'))
}

fn overlay(plan: &Plan, lower: &str, name: &str, target: &Path) -> Result<(), Failure> {
    // index=off: a restart may come before the kernel has let go of the layers.
    let mut options = format!("lowerdir={lower},upperdir=upper/{name},workdir=work/{name},index=off,xino=off");
    if plan.userns.is_some() {
        options.push_str(",userxattr");
    }
    let options = CString::new(options).map_err(io::Error::from).step("mount overlay")?;
    mount("overlay", target, "overlay", MountFlags::NODEV | MountFlags::NOSUID, Some(options.as_c_str()))
        .step_with(|| format!("mount overlay {}", target.display().to_string().trim_start_matches("mnt")))
}

fn devices(plan: &Plan, dev: &Path) -> Result<(), Failure> {
    let quiet = MountFlags::NOSUID | MountFlags::NOEXEC;
    mount("tmpfs", dev, "tmpfs", quiet, c"mode=0755,size=1m").step("mount /dev")?;
    for (name, major, minor) in DEVICES {
        device(plan, &dev.join(name), major, minor).step_with(|| format!("make device /dev/{name}"))?;
    }
    for (name, target) in [
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
        ("ptmx", "pts/ptmx"),
    ] {
        symlink(target, dev.join(name)).step_with(|| format!("link /dev/{name}"))?;
    }
    let folder = |name: &str| -> Result<PathBuf, Failure> {
        let path = dev.join(name);
        fs::create_dir(&path).step_with(|| format!("make /dev/{name}"))?;
        Ok(path)
    };
    // Group 5 (tty) is not mapped in a user namespace.
    let terminals = if plan.userns.is_some() {
        c"newinstance,ptmxmode=0666,mode=0620"
    } else {
        c"newinstance,ptmxmode=0666,mode=0620,gid=5"
    };
    mount("devpts", folder("pts")?, "devpts", quiet, terminals).step("mount /dev/pts")?;
    mount("tmpfs", folder("shm")?, "tmpfs", quiet | MountFlags::NODEV, c"mode=1777").step("mount /dev/shm")
}

/// Makes a device node; a user namespace can only bind the host's.
fn device(plan: &Plan, path: &Path, major: u32, minor: u32) -> io::Result<()> {
    let mode = Mode::from_raw_mode(0o666);
    if plan.userns.is_none() {
        mknodat(CWD, path, FileType::CharacterDevice, mode, makedev(major, minor))?;
        // mknod is subject to the umask.
        return Ok(rustix::fs::chmod(path, mode)?);
    }
    fs::File::create(path)?;
    let host = Path::new("/dev").join(path.file_name().unwrap_or_default());
    mount_bind(&host, path)?;
    sys::add_mount_attributes(path, RDONLY | NOSUID | NOEXEC, false)
}

fn proc(proc: &Path) -> Result<(), Failure> {
    mount("proc", proc, "proc", MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC, None)
        .step("mount /proc")?;
    for name in HIDDEN_FILES {
        present(mount_bind("mnt/dev/null", proc.join(name))).step_with(|| format!("mask /proc/{name}"))?;
    }
    for name in HIDDEN_DIRS {
        present(hide_dir(&proc.join(name))).step_with(|| format!("mask /proc/{name}"))?;
    }
    for name in READ_ONLY {
        let path = proc.join(name);
        present(mount_bind(&path, &path).map_err(io::Error::from))
            .and_then(|found| {
                if found { sys::add_mount_attributes(&path, RDONLY | NOSUID | NODEV | NOEXEC, false) } else { Ok(()) }
            })
            .step_with(|| format!("make /proc/{name} read-only"))?;
    }
    Ok(())
}

/// Not every kernel has every file.
fn present<E: Into<io::Error>>(result: Result<(), E>) -> io::Result<bool> {
    match result.map_err(Into::into) {
        Ok(()) => Ok(true),
        Err(error) if error.raw_os_error() == Some(Errno::NOENT.raw_os_error()) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Covers a folder with an empty one.
fn hide_dir(path: &Path) -> io::Result<()> {
    let flags = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    Ok(mount("tmpfs", path, "tmpfs", flags, c"mode=0755,size=4k")?)
}

fn pivot(root: &Path) -> io::Result<()> {
    std::env::set_current_dir(root)?;
    // The old root lands on top of the new one and is taken off again.
    rustix::process::pivot_root(".", ".")?;
    unmount(".", UnmountFlags::DETACH)?;
    std::env::set_current_dir("/")
}
