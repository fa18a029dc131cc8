//! Copying what a sandbox stored.

use std::collections::HashMap;
use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, XattrFlags};

use crate::RuntimeError;

/// What is stored, as opposed to made anew at each start.
const STORED: [&str; 2] = ["upper", "home"];

/// Copies the stored state in `dir` to the new folder `dest`; complete or not there at all.
pub(crate) fn copy(dir: &Path, dest: &Path) -> Result<(), RuntimeError> {
    let failed = |error| RuntimeError::io("copy to", dest, error);
    if dest.exists() {
        return Err(failed(io::ErrorKind::AlreadyExists.into()));
    }
    let mut name = dest.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}", crate::random_name()));
    let partial = dest.with_file_name(name);
    let copied = fs::create_dir(&partial)
        .and_then(|()| fs::set_permissions(&partial, Permissions::from_mode(0o700)))
        .and_then(|()| {
            let mut links = HashMap::new();
            for name in STORED {
                let from = dir.join(name);
                if from.exists() {
                    copy_tree(&from, &partial.join(name), &mut links)?;
                }
            }
            fs::rename(&partial, dest)
        });
    copied.map_err(|error| {
        let _ = crate::destroy::remove_tree(&partial);
        failed(error)
    })
}

/// Files with several names that were copied already, by inode.
type Links = HashMap<u64, PathBuf>;

fn copy_tree(from: &Path, to: &Path, links: &mut Links) -> io::Result<()> {
    // Folders get their attributes last: their times change, and they may be read-only.
    let mut folders = vec![(from.to_owned(), to.to_owned())];
    let mut made = Vec::new();
    while let Some((from, to)) = folders.pop() {
        let metadata = fs::symlink_metadata(&from)?;
        if metadata.is_dir() {
            fs::create_dir(&to)?;
            for entry in fs::read_dir(&from)? {
                let entry = entry?;
                folders.push((entry.path(), to.join(entry.file_name())));
            }
            made.push((from, to, metadata));
            continue;
        }
        if metadata.nlink() > 1 {
            if let Some(first) = links.get(&metadata.ino()) {
                fs::hard_link(first, &to)?;
                continue;
            }
            links.insert(metadata.ino(), to.clone());
        }
        if copy_entry(&from, &to, &metadata)? {
            copy_attributes(&from, &to, &metadata)?;
        }
    }
    for (from, to, metadata) in made.into_iter().rev() {
        copy_attributes(&from, &to, &metadata)?;
    }
    Ok(())
}

/// Copies the content of something that is not a folder; false for what is not copied.
fn copy_entry(from: &Path, to: &Path, metadata: &fs::Metadata) -> io::Result<bool> {
    let kind = metadata.file_type();
    if kind.is_file() {
        copy_file(&File::open(from)?, &File::create_new(to)?)?;
    } else if kind.is_symlink() {
        symlink(fs::read_link(from)?, to)?;
    } else {
        return copy_special(to, metadata);
    }
    Ok(true)
}

/// Copies a named pipe, or the character device 0/0, which is how an overlay notes a deleted file.
#[cfg(target_os = "linux")]
fn copy_special(to: &Path, metadata: &fs::Metadata) -> io::Result<bool> {
    use rustix::fs::{FileType, Mode, mknodat};

    let kind = FileType::from_raw_mode(metadata.mode());
    if kind == FileType::Fifo || (kind == FileType::CharacterDevice && metadata.rdev() == 0) {
        mknodat(CWD, to, kind, Mode::from_raw_mode(metadata.mode() & 0o777), 0)?;
        return Ok(true);
    }
    Ok(false)
}

#[cfg(not(target_os = "linux"))]
fn copy_special(_to: &Path, _metadata: &fs::Metadata) -> io::Result<bool> {
    Ok(false)
}

/// Shares the blocks where the file system can, and copies otherwise.
fn copy_file(mut from: &File, mut to: &File) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    if rustix::fs::ioctl_ficlone(to, from).is_ok() {
        return Ok(());
    }
    io::copy(&mut from, &mut to).map(drop)
}

fn copy_attributes(from: &Path, to: &Path, metadata: &fs::Metadata) -> io::Result<()> {
    if rustix::process::geteuid().is_root() {
        lchown(to, Some(metadata.uid()), Some(metadata.gid()))?;
    }
    copy_xattrs(from, to)?;
    if !metadata.is_symlink() {
        fs::set_permissions(to, Permissions::from_mode(metadata.mode() & 0o7777))?;
    }
    let time = |tv_sec, tv_nsec| Timespec { tv_sec, tv_nsec };
    let times = Timestamps {
        last_access: time(metadata.atime(), metadata.atime_nsec()),
        last_modification: time(metadata.mtime(), metadata.mtime_nsec()),
    };
    Ok(rustix::fs::utimensat(CWD, to, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}

/// Copies extended attributes: among them what the overlay notes about folders.
fn copy_xattrs(from: &Path, to: &Path) -> io::Result<()> {
    let mut names = vec![0_u8; 1 << 16];
    let length = match rustix::fs::llistxattr(from, &mut names[..]) {
        Ok(length) => length,
        Err(rustix::io::Errno::NOTSUP) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    for name in names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let mut value = vec![0_u8; 1 << 16];
        let length = rustix::fs::lgetxattr(from, name, &mut value[..])?;
        rustix::fs::lsetxattr(to, name, &value[..length], XattrFlags::empty())?;
    }
    Ok(())
}
