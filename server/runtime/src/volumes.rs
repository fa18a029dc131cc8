//! Volumes: folders beneath the data directory that sandboxes share.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;

use crate::runtime::blocking;
use crate::{Runtime, RuntimeError};

impl Runtime {
    /// Makes the folder of a volume, which the sandboxes' user may write to. `id` is as a sandbox's.
    pub async fn create_volume(&self, id: &str) -> Result<(), RuntimeError> {
        let path = self.volume_dir(id)?;
        let owner = self.volume_owner();
        blocking(move || make(&path, owner).map_err(|error| RuntimeError::io("make", &path, error))).await
    }

    /// Deletes the folder of a volume and all in it. No running sandbox may have it. One that is not there is fine.
    pub async fn delete_volume(&self, id: &str) -> Result<(), RuntimeError> {
        let path = self.volume_dir(id)?;
        self.delete_folder(&path).await
    }
}

fn make(path: &Path, owner: Option<(u32, u32)>) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        match DirBuilder::new().mode(0o700).create(parent) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
    }
    fs::create_dir(path)?;
    // Whatever the umask is.
    fs::set_permissions(path, Permissions::from_mode(0o755))?;
    match owner {
        Some((uid, gid)) => std::os::unix::fs::chown(path, Some(uid), Some(gid)),
        None => Ok(()),
    }
}
