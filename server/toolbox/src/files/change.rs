//! Making, moving and deleting entries, and changing their permissions.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::Path;

use axum::extract::State;
use axum::http::StatusCode;
use rustix::fs::{CWD, RenameFlags};
use rustix::io::Errno;
use serde::Deserialize;

use super::blocking;
use super::list::id_of;
use super::path::{Last, is_short_home, resolve};
use crate::App;
use crate::body::Query;
use crate::error::{Error, Result};
use crate::sparse;

#[derive(Deserialize)]
pub(crate) struct DeleteQuery {
    path: String,
    recursive: Option<String>,
}

/// `DELETE /files`: a folder only with `recursive=true`; of a link, the link.
pub(crate) async fn delete(
    State(app): State<App>,
    Query(DeleteQuery { path: asked, recursive }): Query<DeleteQuery>,
) -> Result<StatusCode> {
    let recursive = match recursive.as_deref().map(str::to_ascii_lowercase).as_deref() {
        None | Some("" | "false" | "0") => false,
        Some("true" | "1") => true,
        Some(_) => return Err(Error::bad_request("recursive is neither true nor false")),
    };
    blocking(move || {
        let path = resolve(&app, &asked, Last::Keep)?;
        let failed = |error: io::Error| Error::io(&error, "delete", &asked);
        let meta = fs::symlink_metadata(&path).map_err(failed)?;
        if !meta.is_dir() {
            return fs::remove_file(&path).map_err(failed);
        }
        if !recursive {
            return Err(Error::bad_path(format!(
                "{asked} is a directory; pass recursive=true to delete it and all in it"
            )));
        }
        if is_short_home(&asked) {
            return Err(Error::bad_path(format!(
                "{asked} is the home of the sandbox's user; delete what is in it. A folder of that name is ./~"
            )));
        }
        let real = path.canonicalize().map_err(failed)?;
        if real.parent().is_none() || app.config.confine.as_ref() == Some(&real) {
            return Err(Error::bad_path(format!(
                "{asked} is the root of the sandbox; delete what is in it, or the sandbox"
            )));
        }
        fs::remove_dir_all(&path).map_err(failed)
    })
    .await??;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
pub(crate) struct FolderQuery {
    path: String,
    mode: Option<String>,
}

/// `POST /files/folder`: with its parents; fine if it is there.
pub(crate) async fn folder(
    State(app): State<App>,
    Query(FolderQuery { path: asked, mode }): Query<FolderQuery>,
) -> Result<StatusCode> {
    let mode = match mode.as_deref().filter(|mode| !mode.is_empty()) {
        Some(mode) => octal(mode)?,
        None => 0o755,
    };
    blocking(move || {
        let path = resolve(&app, &asked, Last::Follow)?;
        if path.is_dir() {
            return Ok(());
        }
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::AlreadyExists => {
                Error::bad_path(format!("cannot make {asked}: it exists and is no directory"))
            }
            _ => Error::io(&error, "make", &asked),
        };
        if let Some(parent) = path.parent() {
            let mut parents = DirBuilder::new();
            parents.recursive(true).mode(0o755).create(parent).map_err(failed)?;
        }
        match fs::create_dir(&path) {
            // Whatever the umask is.
            Ok(()) => fs::set_permissions(&path, Permissions::from_mode(mode)).map_err(failed),
            Err(_) if path.is_dir() => Ok(()),
            Err(error) => Err(failed(error)),
        }
    })
    .await??;
    Ok(StatusCode::CREATED)
}

#[derive(Deserialize)]
pub(crate) struct MoveQuery {
    source: String,
    destination: String,
}

/// `POST /files/move`: never onto something that is there.
pub(crate) async fn rename(
    State(app): State<App>,
    Query(MoveQuery { source, destination }): Query<MoveQuery>,
) -> Result<StatusCode> {
    blocking(move || {
        let from = resolve(&app, &source, Last::Keep)?;
        let to = resolve(&app, &destination, Last::Keep)?;
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::AlreadyExists => taken(&destination),
            io::ErrorKind::NotFound => Error::io(&error, "move to the folder of", &destination),
            io::ErrorKind::InvalidInput => {
                Error::bad_path(format!("cannot move {source} to {destination}: that lies inside it"))
            }
            _ => Error::io(&error, "move", &source),
        };
        fs::symlink_metadata(&from).map_err(|error| Error::io(&error, "move", &source))?;
        if fs::symlink_metadata(&to).is_ok() {
            return Err(taken(&destination));
        }
        match rustix::fs::renameat_with(CWD, &from, CWD, &to, RenameFlags::NOREPLACE) {
            Ok(()) => Ok(()),
            // The file system cannot rename without replacing; the destination was free just now.
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) if !to.starts_with(&from) => {
                fs::rename(&from, &to).map_err(failed)
            }
            Err(Errno::XDEV) => copy_over(&from, &to).map_err(failed),
            Err(error) => Err(failed(error.into())),
        }
    })
    .await??;
    Ok(StatusCode::OK)
}

fn taken(destination: &str) -> Error {
    Error::conflict(format!("cannot move to {destination}: it exists already; delete it first or choose another name"))
}

/// Moves between file systems: a copy beside the destination, put in place when it is whole.
fn copy_over(from: &Path, to: &Path) -> io::Result<()> {
    let parent = to.parent().unwrap_or(Path::new("/"));
    let temp = tempfile::Builder::new().prefix(".daytona-move-").tempdir_in(parent)?;
    let copy = temp.path().join("copy");
    copy_tree(from, &copy)?;
    match rustix::fs::renameat_with(CWD, &copy, CWD, to, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => fs::rename(&copy, to)?,
        other => other?,
    }
    if fs::symlink_metadata(from)?.is_dir() { fs::remove_dir_all(from) } else { fs::remove_file(from) }
}

fn copy_tree(from: &Path, to: &Path) -> io::Result<()> {
    let meta = fs::symlink_metadata(from)?;
    if meta.is_symlink() {
        return std::os::unix::fs::symlink(fs::read_link(from)?, to);
    }
    if meta.is_dir() {
        fs::create_dir(to)?;
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            copy_tree(&entry.path(), &to.join(entry.file_name()))?;
        }
    } else if meta.is_file() {
        sparse::copy(&fs::File::open(from)?, &fs::File::create_new(to)?)?;
    } else {
        return Err(io::Error::new(
            io::ErrorKind::Unsupported,
            format!("{} is no regular file and cannot change its file system", from.display()),
        ));
    }
    // As much as the user may: times and owner, then the mode, which a change of owner would clear.
    let times = fs::FileTimes::new().set_accessed(meta.accessed()?).set_modified(meta.modified()?);
    let _ = fs::File::open(to).and_then(|copy| copy.set_times(times));
    let _ = std::os::unix::fs::chown(to, Some(meta.uid()), Some(meta.gid()));
    fs::set_permissions(to, meta.permissions())
}

#[derive(Deserialize)]
pub(crate) struct PermissionsQuery {
    path: String,
    owner: Option<String>,
    group: Option<String>,
    mode: Option<String>,
}

/// `POST /files/permissions`: any of owner, group and mode; nothing is changed if one is wrong.
pub(crate) async fn permissions(State(app): State<App>, Query(query): Query<PermissionsQuery>) -> Result<StatusCode> {
    blocking(move || {
        let asked = &query.path;
        let given = |value: Option<String>| value.filter(|value| !value.is_empty());
        let mode = given(query.mode).map(|mode| octal(&mode)).transpose()?;
        let owner = given(query.owner).map(|name| account("user", "/etc/passwd", &name)).transpose()?;
        let group = given(query.group).map(|name| account("group", "/etc/group", &name)).transpose()?;
        if mode.is_none() && owner.is_none() && group.is_none() {
            return Err(Error::bad_request("nothing to change; give a mode, an owner or a group"));
        }
        let path = resolve(&app, asked, Last::Follow)?;
        let failed = |error: io::Error| Error::io(&error, "change the permissions of", asked);
        fs::metadata(&path).map_err(failed)?;
        if owner.is_some() || group.is_some() {
            std::os::unix::fs::chown(&path, owner, group).map_err(failed)?;
        }
        // After the owner, whose change clears special bits.
        if let Some(mode) = mode {
            fs::set_permissions(&path, Permissions::from_mode(mode)).map_err(failed)?;
        }
        Ok(())
    })
    .await??;
    Ok(StatusCode::OK)
}

fn account(kind: &str, file: &str, name: &str) -> Result<u32> {
    id_of(file, name).ok_or_else(|| {
        Error::bad_request(format!("the sandbox has no {kind} {name:?}; give a name from {file} or a number"))
    })
}

fn octal(mode: &str) -> Result<u32> {
    let digits = mode.strip_prefix("0o").unwrap_or(mode);
    let valid = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    valid
        .then(|| u32::from_str_radix(digits, 8).ok())
        .flatten()
        .filter(|&mode| mode <= 0o7777)
        .ok_or_else(|| Error::bad_request(format!("{mode:?} is no mode; give octal digits up to 7777, such as 0644")))
}
