//! Files of layers: their attributes, and how overlay marks them.

use std::ffi::{OsStr, OsString};
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use rustix::fs::{FileType, RawMode, Stat};

/// Removes a folder and all in it, also what its permissions protect from its owner. A folder that is not there is no
/// error.
pub(crate) fn remove_tree(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            open_up(path);
            fs::remove_dir_all(path)
        }
        Err(error) => Err(error),
    }
}

fn open_up(folder: &Path) {
    let _ = fs::set_permissions(folder, Permissions::from_mode(0o700));
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            open_up(&entry.path());
        }
    }
}

/// What a file has beside its content.
#[derive(Clone, Debug)]
pub(crate) struct Attributes {
    pub(crate) mode: RawMode,
    /// User and group; none leaves them.
    pub(crate) owner: Option<(u32, u32)>,
    /// Seconds since 1970; none leaves it.
    pub(crate) time: Option<i64>,
    pub(crate) xattrs: Vec<(OsString, Vec<u8>)>,
}

/// The mode of a file that belongs to the process's own user: no other user's rights, and readable for it.
pub(crate) fn without_owners(mode: RawMode, folder: bool) -> RawMode {
    mode & !0o6000 | if folder { 0o700 } else { 0o400 }
}

/// Whether an extended attribute is taken from an archive. Overlay's own would change what the layer shows.
pub(crate) fn keeps_xattr(name: &OsStr, owners: bool) -> bool {
    let name = name.as_bytes();
    name.starts_with(b"user.") && !name.starts_with(b"user.overlay.") || owners && name == b"security.capability"
}

pub(crate) fn opaque_name(user_xattr: bool) -> &'static str {
    if user_xattr { "user.overlay.opaque" } else { "trusted.overlay.opaque" }
}

/// Overlay's way to say that a file of a lower layer is gone.
pub(crate) fn is_whiteout(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode).is_char_device() && stat.st_rdev == 0
}
