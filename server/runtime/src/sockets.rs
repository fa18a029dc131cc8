//! The agents' sockets.

use std::fs::{self, Permissions};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use crate::RuntimeError;

/// A private folder of sockets, reached by a short path: a socket's path may have 107 bytes.
#[derive(Debug)]
pub(crate) struct Sockets {
    folder: PathBuf,
    /// The same folder, from this process.
    short: PathBuf,
    _open: OwnedFd,
}

impl Sockets {
    pub(crate) fn new(data_dir: &Path) -> Result<Self, RuntimeError> {
        let folder = data_dir.join("sockets");
        let failed = |error| RuntimeError::io("make", &folder, error);
        remove_sockets(&folder).map_err(failed)?;
        fs::create_dir_all(&folder).map_err(failed)?;
        fs::set_permissions(&folder, Permissions::from_mode(0o700)).map_err(failed)?;
        let open = OwnedFd::from(fs::File::open(&folder).map_err(failed)?);
        let short = if cfg!(target_os = "linux") {
            PathBuf::from(format!("/proc/self/fd/{}", open.as_raw_fd()))
        } else if folder.as_os_str().len() < 30 {
            folder.clone()
        } else {
            private_folder().map_err(failed)?
        };
        Ok(Self { folder, short, _open: open })
    }

    /// A listening socket and the path to connect to from this process.
    pub(crate) fn bind(&self, id: &str) -> Result<(UnixListener, PathBuf), RuntimeError> {
        let path = self.short.join(id);
        let _ = fs::remove_file(&path);
        let listener =
            UnixListener::bind(&path).map_err(|error| RuntimeError::io("listen on", &self.folder.join(id), error))?;
        Ok((listener, path))
    }

    pub(crate) fn remove(&self, id: &str) {
        let _ = fs::remove_file(self.short.join(id));
    }
}

/// Removes the sockets in a folder, which belong to a killed server, and nothing else. No folder is fine.
pub fn remove_sockets(folder: &Path) -> std::io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_socket() {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// A folder with a short path that only this user can enter.
fn private_folder() -> std::io::Result<PathBuf> {
    use std::os::unix::fs::DirBuilderExt;

    let path = Path::new("/tmp").join(format!("daytona-{}", crate::random_name()));
    fs::DirBuilder::new().mode(0o700).create(&path)?;
    Ok(path)
}
