//! Copying what a sandbox stored.

use std::collections::HashMap;
use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use daytona_toolbox::sparse;

use crate::attributes::{Attributes, Opened, open_file};
use crate::{RuntimeError, room};

/// What is stored, as opposed to made anew at each start.
pub(crate) const STORED: [&str; 2] = ["upper", "home"];

/// Copies the stored state in `dir` to the new folder `dest`; complete or not there at all.
pub(crate) fn copy(dir: &Path, dest: &Path) -> Result<(), RuntimeError> {
    whole(dest, |partial| copy_stored(dir, partial))
}

/// Copies the stored state in `dir` into the folder `to`. Where that needs more room than there is, nothing is copied.
pub(crate) fn copy_stored(dir: &Path, to: &Path) -> io::Result<()> {
    let mut copier = Copier { dir, to, links: HashMap::new(), fits: false };
    for name in STORED {
        let from = dir.join(name);
        if from.exists() {
            copier.tree(&from, &to.join(name))?;
        }
    }
    Ok(())
}

/// Makes the new folder `dest` with what `fill` puts into it, or does not make it.
pub(crate) fn whole(dest: &Path, fill: impl FnOnce(&Path) -> io::Result<()>) -> Result<(), RuntimeError> {
    let failed = |error| RuntimeError::io("copy to", dest, error);
    if dest.exists() {
        return Err(failed(io::ErrorKind::AlreadyExists.into()));
    }
    let mut name = dest.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}", crate::random_name()));
    let partial = dest.with_file_name(name);
    let filled = dest
        .parent()
        .map_or(Ok(()), fs::create_dir_all)
        .and_then(|()| fs::create_dir(&partial))
        .and_then(|()| fs::set_permissions(&partial, Permissions::from_mode(0o700)))
        .and_then(|()| fill(&partial))
        .and_then(|()| fs::rename(&partial, dest));
    filled.map_err(|error| {
        let _ = crate::destroy::remove_tree(&partial);
        failed(error)
    })
}

/// Copies trees.
struct Copier<'a> {
    dir: &'a Path,
    to: &'a Path,
    /// Files with several names that were copied already, by inode.
    links: HashMap<u64, PathBuf>,
    /// There is room for copies of all blocks.
    fits: bool,
}

impl Copier<'_> {
    fn tree(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        // Folders get their attributes last: their times change, and they may be read-only.
        let mut folders = vec![(from.to_owned(), to.to_owned())];
        let mut made = Vec::new();
        let mut opened = Opened::default();
        while let Some((from, to)) = folders.pop() {
            let metadata = fs::symlink_metadata(&from)?;
            if metadata.is_dir() {
                fs::create_dir(&to)?;
                opened.folder(&from, &metadata)?;
                for entry in fs::read_dir(&from)? {
                    let entry = entry?;
                    folders.push((entry.path(), to.join(entry.file_name())));
                }
                made.push((Attributes::read(&from, &metadata)?, to));
                continue;
            }
            if metadata.nlink() > 1 {
                if let Some(first) = self.links.get(&metadata.ino()) {
                    fs::hard_link(first, &to)?;
                    continue;
                }
                self.links.insert(metadata.ino(), to.clone());
            }
            if self.entry(&from, &to, &metadata)? {
                Attributes::read(&from, &metadata)?.apply(&to, metadata.is_symlink())?;
            }
        }
        for (attributes, to) in made.into_iter().rev() {
            attributes.apply(&to, false)?;
        }
        Ok(())
    }

    /// Copies the content of something that is not a folder; false for what is not copied.
    fn entry(&mut self, from: &Path, to: &Path, metadata: &fs::Metadata) -> io::Result<bool> {
        let kind = metadata.file_type();
        if kind.is_file() {
            let (from, to) = (open_file(from, metadata)?, File::create_new(to)?);
            if metadata.len() > 0 && !sparse::share(&from, &to) {
                if !self.fits {
                    room::check(&STORED.map(|name| self.dir.join(name)), self.to)?;
                    self.fits = true;
                }
                sparse::copy_data(&from, &to)?;
            }
        } else if kind.is_symlink() {
            symlink(fs::read_link(from)?, to)?;
        } else {
            return match Special::of(metadata) {
                Some(special) => special.make(to, metadata.mode()).map(|()| true),
                None => Ok(false),
            };
        }
        Ok(true)
    }
}

/// What is stored besides folders, files and links.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Special {
    Pipe,
    /// The character device 0/0, which is how an overlay notes a deleted file.
    Whiteout,
}

#[cfg(target_os = "linux")]
impl Special {
    pub(crate) fn of(metadata: &fs::Metadata) -> Option<Self> {
        match rustix::fs::FileType::from_raw_mode(metadata.mode()) {
            rustix::fs::FileType::Fifo => Some(Self::Pipe),
            rustix::fs::FileType::CharacterDevice if metadata.rdev() == 0 => Some(Self::Whiteout),
            _ => None,
        }
    }

    pub(crate) fn make(self, to: &Path, mode: u32) -> io::Result<()> {
        use rustix::fs::{CWD, FileType, Mode, mknodat};

        let kind = match self {
            Self::Pipe => FileType::Fifo,
            Self::Whiteout => FileType::CharacterDevice,
        };
        Ok(mknodat(CWD, to, kind, Mode::from_raw_mode(mode & 0o777), 0)?)
    }
}

#[cfg(not(target_os = "linux"))]
impl Special {
    pub(crate) fn of(_metadata: &fs::Metadata) -> Option<Self> {
        None
    }

    pub(crate) fn make(self, _to: &Path, _mode: u32) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
