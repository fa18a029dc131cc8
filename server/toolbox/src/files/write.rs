//! Files that appear whole or not at all.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::error::{Error, Result};

/// Mode of a new file, less the umask.
const MODE: u32 = 0o644;

/// A file that is being written; dropped without [`commit`](Self::commit), it never was.
#[derive(Debug)]
pub(super) struct Pending {
    temp: NamedTempFile,
    target: PathBuf,
    asked: String,
    pub(super) bytes: u64,
}

impl Pending {
    /// Starts a file at `target`, a path without links, which was `asked` for.
    ///
    /// The temporary file lies in the deepest directory that is there already, on the file system
    /// where the target will be; nothing else is made before the end.
    pub(super) fn new(target: PathBuf, asked: &str) -> Result<Self> {
        let failed = |error: io::Error| Error::io(&error, "write", asked);
        let permissions = match fs::symlink_metadata(&target) {
            Ok(meta) if meta.is_dir() => {
                return Err(Error::bad_path(format!("cannot write {asked}: it is a directory; add a file name")));
            }
            Ok(meta) if !meta.is_file() => {
                return Err(Error::bad_path(format!("cannot write {asked}: it is no regular file")));
            }
            Ok(meta) => {
                rustix::fs::access(&target, rustix::fs::Access::WRITE_OK).map_err(|error| failed(error.into()))?;
                Some(meta)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(failed(error)),
        };
        let parent = target.ancestors().skip(1).find(|dir| dir.is_dir()).unwrap_or(Path::new("/"));
        let temp = tempfile::Builder::new()
            .prefix(".daytona-upload-")
            .permissions(Permissions::from_mode(MODE))
            .tempfile_in(parent)
            .map_err(failed)?;
        if let Some(old) = permissions {
            // The mode last: a change of owner clears its special bits.
            let _ = std::os::unix::fs::fchown(temp.as_file(), Some(old.uid()), Some(old.gid()));
            temp.as_file().set_permissions(Permissions::from_mode(old.mode() & 0o7777)).map_err(failed)?;
        }
        Ok(Self { temp, target, asked: asked.to_owned(), bytes: 0 })
    }

    pub(super) fn write(&mut self, data: &[u8]) -> Result<()> {
        self.bytes += data.len() as u64;
        self.temp.as_file_mut().write_all(data).map_err(|error| Error::io(&error, "write", &self.asked))
    }

    /// Puts the file in its place, and on disk if `sync`.
    pub(super) fn commit(self, sync: bool) -> Result<()> {
        let asked = self.asked;
        let failed = |error: io::Error| Error::io(&error, "write", &asked);
        let parent = self.target.parent().unwrap_or(Path::new("/"));
        if sync {
            self.temp.as_file().sync_all().map_err(failed)?;
        }
        if self.temp.path().parent() != Some(parent) {
            fs::create_dir_all(parent).map_err(failed)?;
        }
        self.temp.persist(&self.target).map_err(|error| failed(error.error))?;
        if sync {
            File::open(parent).and_then(|dir| dir.sync_all()).map_err(failed)?;
        }
        Ok(())
    }
}
