//! Copies of the store, beside it: one a day and one before each upgrade.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use redb::{Database, ReadableDatabase as _, ReadableTable as _, TableError};

use super::{CACHE_BYTES, META, TABLES, definition};
use crate::config::write_private;

const FOLDER: &str = "backups";
const DAILY: &str = "state-";
const UPGRADE: &str = "state-before-";
const END: &str = ".redb";
/// So many daily copies are kept.
const DAYS: usize = 7;
/// So many copies from before an upgrade are kept.
const UPGRADES: usize = 3;
/// A copy is only made where so many times its size is free.
const ROOM: u64 = 10;

fn day() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%d").to_string()
}

/// Whether today's copy is still to be made.
pub(super) fn due(dir: &Path) -> bool {
    !dir.join(FOLDER).join(format!("{DAILY}{}{END}", day())).exists()
}

/// Copies what is stored now into today's copy, and deletes daily ones that are older than a week's. Whole or not at
/// all; nothing is done where the disk is nearly full, or where nothing is stored.
pub(super) fn daily(dir: &Path, database: &Database) {
    let folder = dir.join(FOLDER);
    let path = folder.join(format!("{DAILY}{}{END}", day()));
    match make_folder(&folder).and_then(|()| copy(database, &path, dir)) {
        Ok(true) => {
            tracing::debug!(path = %path.display(), "copied the store");
            keep(names(&folder, |name| name.starts_with(DAILY) && !name.starts_with(UPGRADE)), DAYS);
        }
        Ok(false) => {}
        Err(error) => tracing::warn!(path = %path.display(), %error, "the daily copy of the store was not made"),
    }
}

/// Keeps the store as the last version left it.
pub(super) fn before_upgrade(dir: &Path, bytes: &[u8]) {
    let folder = dir.join(FOLDER);
    let path = folder.join(format!("{UPGRADE}{}{END}", crate::VERSION));
    if path.exists() {
        return;
    }
    let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    let write = || {
        has_room(dir, size)?;
        make_folder(&folder)?;
        write_private(&path, bytes).inspect_err(|_| drop(fs::remove_file(path.with_extension("new"))))
    };
    match write() {
        Ok(()) => {
            tracing::info!(path = %path.display(), "copied the store of the last version");
            keep(names(&folder, |name| name.starts_with(UPGRADE)), UPGRADES);
        }
        Err(error) => tracing::warn!(path = %path.display(), %error, "the store of the last version was not copied"),
    }
}

/// How the store is restored, for the message of a server that refuses it.
pub(super) fn advice(dir: &Path) -> String {
    let folder = dir.join(FOLDER);
    let newest = names(&folder, |name| name.starts_with(DAILY)).into_iter().max_by_key(|path| changed(path));
    newest.map_or_else(
        || "from a copy of your own; this directory holds none yet".to_owned(),
        |path| format!("for example from its newest copy, {}", path.display()),
    )
}

/// False if nothing is stored.
fn copy(database: &Database, path: &Path, dir: &Path) -> io::Result<bool> {
    let partial = path.with_extension("new");
    let result = write_copy(database, &partial, dir).map_err(|error| match error {
        redb::Error::Io(error) => error,
        error => io::Error::other(error),
    });
    match result {
        Ok(true) => {
            File::open(&partial)?.sync_all()?;
            fs::rename(&partial, path)?;
            File::open(path.parent().unwrap_or(dir))?.sync_all()?;
        }
        _ => drop(fs::remove_file(&partial)),
    }
    result
}

fn write_copy(database: &Database, partial: &Path, dir: &Path) -> Result<bool, redb::Error> {
    let from = database.begin_read()?;
    let mut rows = Vec::new();
    for name in TABLES {
        let table = match from.open_table(definition(name)) {
            Err(TableError::TableDoesNotExist(_)) => continue,
            table => table?,
        };
        for entry in table.iter()? {
            let (key, value) = entry?;
            rows.push((name, key.value().to_owned(), value.value().to_vec()));
        }
    }
    if rows.iter().all(|(name, ..)| *name == META) {
        return Ok(false);
    }
    let bytes: usize = rows.iter().map(|(_, key, value)| key.len() + value.len()).sum();
    // Pages are not filled to the last byte, and the smallest database has its own size.
    has_room(dir, u64::try_from(bytes * 2).unwrap_or(u64::MAX).max(1 << 20)).map_err(redb::Error::Io)?;
    let _ = fs::remove_file(partial);
    let to = Database::builder().set_cache_size(CACHE_BYTES).create(partial)?;
    let transaction = to.begin_write()?;
    for name in TABLES {
        let mut table = transaction.open_table(definition(name))?;
        for (_, key, value) in rows.iter().filter(|(table, ..)| *table == name) {
            table.insert(key.as_str(), value.as_slice())?;
        }
    }
    transaction.commit()?;
    Ok(true)
}

/// An error where a file of this size would leave little room.
fn has_room(dir: &Path, size: u64) -> io::Result<()> {
    if super::reserve::free(dir)? / ROOM >= size {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::StorageFull, "the disk is nearly full"))
}

fn make_folder(folder: &Path) -> io::Result<()> {
    match fs::DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

fn names(folder: &Path, ours: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let ours = |path: &PathBuf| {
        path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.ends_with(END) && ours(name))
    };
    entries.map(|entry| entry.path()).filter(ours).collect()
}

fn changed(path: &Path) -> Option<std::time::SystemTime> {
    path.metadata().and_then(|metadata| metadata.modified()).ok()
}

/// Deletes all but the last ones.
fn keep(mut paths: Vec<PathBuf>, count: usize) {
    paths.sort_by_key(|path| changed(path));
    paths.truncate(paths.len().saturating_sub(count));
    for path in paths {
        if let Err(error) = fs::remove_file(&path) {
            tracing::warn!(path = %path.display(), %error, "an old copy of the store could not be deleted");
        }
    }
}
