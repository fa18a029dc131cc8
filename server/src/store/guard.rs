//! Opening the store of a data directory: a store that is lost or damaged is refused, never replaced.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read as _};
use std::path::Path;
use std::time::{Duration, Instant};

use super::{Contents, FILE, Store, copies, verify};
use crate::ServeError;
use crate::data_dir::{DataDir, PATIENCE};
use crate::manifest::Keeper;

/// What a database of ours is never larger than: anything else was put in its place.
const LARGEST: u64 = 4 << 30;
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// The store of this directory with all that is in it; a new one where there never was one. Refuses where it is lost or
/// damaged, and changes nothing then. Waits, for a bounded time, until a server that is ending has let go of it.
pub(crate) fn open(dir: &DataDir) -> Result<(Store, Contents), ServeError> {
    let path = dir.path.join(FILE);
    let lost = |reason: String| ServeError::StoreLost {
        path: path.clone(),
        reason,
        holdings: Holdings::of(&dir.path).to_string(),
        restore: copies::advice(&dir.path),
        dir: dir.path.clone(),
    };
    let opened = || {
        let manifests = Keeper::start(&dir.path).map_err(ServeError::io("a thread for manifests"))?;
        Store::open(&path, manifests).map_err(|error| lost(format!("cannot be opened: {error}")))
    };
    let Some(bytes) = read(&path, dir)?.map_err(lost)? else {
        if dir.marker().store || Holdings::of(&dir.path).any() {
            return Err(lost("is missing".to_owned()));
        }
        super::create(&path).map_err(|error| lost(format!("cannot be made: {error}")))?;
        let opened = opened()?;
        opened.0.set_owner(dir.id());
        return Ok(opened);
    };
    let sound = verify::verify(&bytes).map_err(|reason| lost(format!("is damaged: {reason}")))?;
    if sound.blank && Holdings::of(&dir.path).any() {
        return Err(lost("is an empty database".to_owned()));
    }
    let marker = dir.marker();
    // A directory that has just got its marker knows nothing of its store.
    if !marker.version.is_empty() && sound.owner.as_ref().is_some_and(|owner| !marker.was(owner)) {
        return Err(lost("belongs to another data directory".to_owned()));
    }
    if marker.version != crate::VERSION {
        copies::before_upgrade(&dir.path, &bytes);
    }
    let opened = opened()?;
    if sound.owner.as_deref() != Some(dir.id()) {
        opened.0.set_owner(dir.id());
    }
    Ok(opened)
}

/// The bytes of the file, read while nobody has it open; `None` if there is none.
fn read(path: &Path, dir: &DataDir) -> Result<Result<Option<Vec<u8>>, String>, ServeError> {
    let metadata = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Ok(None)),
        Err(error) => return Ok(Err(format!("cannot be looked at: {error}"))),
        Ok(metadata) if metadata.is_symlink() => fs::metadata(path),
        Ok(metadata) => Ok(metadata),
    };
    let metadata = match metadata {
        Err(error) => return Ok(Err(format!("is a link that leads nowhere: {error}"))),
        // Opening a pipe would wait for its other end.
        Ok(metadata) if !metadata.is_file() => return Ok(Err("is no regular file".to_owned())),
        Ok(metadata) => metadata,
    };
    match metadata.len() {
        0 => return Ok(Err("is empty".to_owned())),
        LARGEST.. => return Ok(Err("is no store: it is too large".to_owned())),
        _ => {}
    }
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) => return Ok(Err(format!("cannot be opened: {error}"))),
    };
    // The lock that the database takes too.
    let begin = Instant::now();
    loop {
        match file.try_lock_shared() {
            // Where there are no locks the database itself says what is wrong.
            Ok(()) | Err(TryLockError::Error(_)) => break,
            Err(TryLockError::WouldBlock) if begin.elapsed() < PATIENCE => std::thread::sleep(LOOK_AGAIN),
            Err(TryLockError::WouldBlock) => {
                return Err(ServeError::InUse {
                    dir: dir.path.clone(),
                    holder: format!(", which still has {} open", path.display()),
                });
            }
        }
    }
    let mut start = [0; verify::MAGIC.len()];
    if file.read_exact(&mut start).is_err() || start != verify::MAGIC {
        return Ok(Err("is damaged: it is no database".to_owned()));
    }
    let mut bytes = start.to_vec();
    Ok(match file.read_to_end(&mut bytes) {
        Ok(_) => Ok(Some(bytes)),
        Err(error) => Err(format!("cannot be read: {error}")),
    })
}

/// What lies in a data directory, whatever the store says of it.
#[derive(Debug, Default, PartialEq, Eq)]
struct Holdings {
    sandboxes: usize,
    volumes: usize,
    snapshots: usize,
    archives: usize,
}

impl Holdings {
    fn of(dir: &Path) -> Self {
        let count = |name: &str| fs::read_dir(dir.join(name)).map_or(0, |entries| entries.flatten().count());
        Self {
            sandboxes: count("sandboxes"),
            volumes: count("volumes"),
            snapshots: count("snapshots"),
            archives: count("archives"),
        }
    }

    fn any(&self) -> bool {
        *self != Self::default()
    }
}

impl std::fmt::Display for Holdings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { sandboxes, volumes, snapshots, archives } = self;
        let s = |count: &usize| if *count == 1 { "" } else { "s" };
        write!(
            f,
            "{sandboxes} sandbox{}, {volumes} volume{}, {snapshots} snapshot{} and {archives} archive{}",
            if *sandboxes == 1 { "" } else { "es" },
            s(volumes),
            s(snapshots),
            s(archives)
        )
    }
}
