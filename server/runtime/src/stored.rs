//! What a sandbox stored: copied, packed away, brought back, deleted.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::runtime::{Runtime, blocking, check_id};
use crate::{RuntimeError, lock};

/// In the folder of a sandbox that was made from another's files: it has yet to get its own host name.
pub(crate) const UNNAMED: &str = "unnamed";

impl Runtime {
    /// Copies the stored state of a stopped or frozen sandbox to `dest`, a directory that does not
    /// exist yet; complete or not at all.
    pub async fn snapshot(&self, id: &str, dest: &Path) -> Result<(), RuntimeError> {
        let dir = self.quiet(id)?;
        let dest = dest.to_owned();
        blocking(move || crate::snapshot::copy(&dir, &dest)).await
    }

    /// Makes the stored state of a new sandbox from what [`Runtime::snapshot`] has copied; complete or
    /// not at all.
    pub async fn adopt(&self, from: &Path, id: &str) -> Result<(), RuntimeError> {
        check_id(id)?;
        let (from, dir) = (from.to_owned(), self.sandbox_dir(id));
        if !from.is_dir() {
            return Err(RuntimeError::io("copy from", &from, io::ErrorKind::NotFound.into()));
        }
        blocking(move || {
            crate::snapshot::whole(&dir, |partial| {
                crate::snapshot::copy_stored(&from, partial)?;
                fs::write(partial.join(UNNAMED), "")
            })
        })
        .await
    }

    /// Makes the stored state of a new sandbox from that of a stopped or frozen one; complete or not
    /// at all.
    pub async fn copy(&self, id: &str, new: &str) -> Result<(), RuntimeError> {
        self.adopt(&self.quiet(id)?, new).await
    }

    /// Packs the stored state of a stopped sandbox into its archive; complete and on disk, or not at
    /// all. The state itself stays.
    pub async fn pack(&self, id: &str) -> Result<(), RuntimeError> {
        let dir = self.quiet(id)?;
        let archive = self.archive_file(id);
        blocking(move || crate::archive::pack(&dir, &archive)).await
    }

    /// Makes the stored state of a sandbox from its archive, which stays; complete and on disk, or not
    /// at all.
    pub async fn unpack(&self, id: &str) -> Result<(), RuntimeError> {
        check_id(id)?;
        let (archive, dir) = (self.archive_file(id), self.sandbox_dir(id));
        blocking(move || crate::archive::unpack(&archive, &dir)).await
    }

    /// Deletes the archive of a sandbox. One that does not exist is fine.
    pub async fn delete_archive(&self, id: &str) -> Result<(), RuntimeError> {
        check_id(id)?;
        let archive = self.archive_file(id);
        blocking(move || match fs::remove_file(&archive) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(RuntimeError::io("delete", &archive, error)),
            _ => Ok(()),
        })
        .await
    }

    /// Deletes the stored state of a sandbox that does not run. None is fine.
    pub async fn delete_stored(&self, id: &str) -> Result<(), RuntimeError> {
        check_id(id)?;
        self.delete_folder(&self.sandbox_dir(id)).await
    }

    /// Deletes a folder of the data directory: gone at once, even when that takes long or is
    /// interrupted, unless the disk is full. One that does not exist is fine.
    pub async fn delete_folder(&self, dir: &Path) -> Result<(), RuntimeError> {
        let dir = dir.to_owned();
        let trash = self.inner.data_dir.join("trash");
        blocking(move || {
            let deleted = match into(&trash, &dir) {
                Ok(trash) => crate::destroy::remove_tree(&trash),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                // Moving it needs room where nothing may be left; deleting it makes some.
                Err(error) if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) => {
                    crate::destroy::remove_tree(&dir)
                }
                Err(error) => Err(error),
            };
            deleted.map_err(|error| RuntimeError::io("delete", &dir, error))
        })
        .await
    }

    /// Bytes that a folder of the data directory takes on disk.
    pub async fn size_of(&self, dir: &Path) -> Result<u64, RuntimeError> {
        let dir = dir.to_owned();
        blocking(move || Ok(crate::stats::disk(&dir))).await
    }

    /// Where sandboxes are packed away.
    pub fn archives(&self) -> PathBuf {
        self.inner.data_dir.join("archives")
    }

    /// Where a sandbox is packed away.
    pub fn archive_file(&self, id: &str) -> PathBuf {
        self.archives().join(format!("{id}.tar.zst"))
    }

    /// The stored state of a sandbox in which nothing moves.
    fn quiet(&self, id: &str) -> Result<PathBuf, RuntimeError> {
        check_id(id)?;
        let running = lock(&self.inner.live).get(id).is_some_and(|live| !live.frozen);
        if running {
            return Err(RuntimeError::Invalid(format!("sandbox {id} is running: stop or freeze it first")));
        }
        let dir = self.sandbox_dir(id);
        if dir.is_dir() { Ok(dir) } else { Err(RuntimeError::NotFound { id: id.to_owned() }) }
    }
}

/// Moves a folder into the trash.
fn into(trash: &Path, dir: &Path) -> io::Result<PathBuf> {
    fs::create_dir_all(trash)?;
    let trash = trash.join(crate::random_name());
    fs::rename(dir, &trash)?;
    Ok(trash)
}
