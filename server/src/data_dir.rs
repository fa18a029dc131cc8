//! The data directory: which folders are one, its marker, its lock, its API key.

mod inspect;
mod lock;
mod marker;

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use daytona_runtime::RuntimeKind;
use daytona_wire::data_dir::{LOCK, MARKER};
use secrecy::SecretString;

use self::inspect::{Content, inspect};
use self::lock::Lock;
pub(crate) use self::lock::PATIENCE;
pub(crate) use self::marker::Marker;
use self::marker::Place;
use crate::ServeError;
use crate::config::{check_key, default_dir, write_private};

/// The data directory, held alone.
pub(crate) struct DataDir {
    pub(crate) path: PathBuf,
    marker: Marker,
    lock: Lock,
}

/// Refuses a folder that cannot become, or is not, a data directory of this version; touches nothing.
///
/// # Errors
///
/// As [`serve`](crate::serve) gives them for this folder.
pub fn check(path: &Path, adopt_copy: bool) -> Result<(), ServeError> {
    let Ok(real) = path.canonicalize() else { return Ok(()) };
    usable(&real, adopt_copy).map(|_| ())
}

/// What lies in a folder that may be used as a data directory.
fn usable(path: &Path, adopt_copy: bool) -> Result<Content, ServeError> {
    let fail = |reason: String| ServeError::DataDir { dir: path.to_owned(), reason };
    let metadata = path.metadata().map_err(|error| fail(error.to_string()))?;
    if metadata.is_dir() && metadata.uid() != rustix::process::geteuid().as_raw() {
        return Err(fail("belongs to another user".to_owned()));
    }
    let content = inspect(path).map_err(fail)?;
    if let Content::Marked(marker) = &content {
        let place = Place::of(path).map_err(|error| fail(error.to_string()))?;
        let copied = !marker.place.is(&place, &marker.id);
        if copied && !adopt_copy {
            return Err(ServeError::Copied { dir: path.to_owned(), original: marker.place.shown() });
        }
        // What is written to such a copy is written to the original.
        let linked =
            |name: &str| fs::symlink_metadata(path.join(name)).is_ok_and(|file| file.is_file() && file.nlink() > 1);
        if let Some(name) = ["state.redb", LOCK, MARKER].into_iter().find(|name| copied && linked(name)) {
            return Err(fail(format!(
                "cannot be adopted: {name} and perhaps others are hard links to the files of the original; copy the files \
                 themselves, as with `cp -a`"
            )));
        }
    }
    Ok(content)
}

impl DataDir {
    /// Makes the directory where it is missing and locks it. A folder that is not empty and bears no marker is refused,
    /// and nothing in it touched.
    pub(crate) fn open(path: Option<PathBuf>, adopt_copy: bool) -> Result<Self, ServeError> {
        let path = match path {
            Some(path) => path,
            None => default_dir().ok_or_else(|| ServeError::DataDir {
                dir: PathBuf::from("~/.local/share/daytona-native"),
                reason: "neither XDG_DATA_HOME nor HOME is set".to_owned(),
            })?,
        };
        let fail = |reason: String| ServeError::DataDir { dir: path.clone(), reason };
        let mut new = fs::DirBuilder::new();
        new.recursive(true).mode(0o700).create(&path).map_err(|error| fail(format!("cannot be made: {error}")))?;
        let path = path.canonicalize().map_err(|error| fail(error.to_string()))?;
        usable(&path, adopt_copy)?;
        let metadata = path.metadata().map_err(|error| fail(error.to_string()))?;
        if metadata.mode() & 0o077 != 0 {
            fs::set_permissions(&path, fs::Permissions::from_mode(0o700))
                .map_err(|error| fail(format!("cannot be closed to others: {error}")))?;
        }
        let lock = Lock::acquire(&path)?;
        // Again, now that nobody else changes it.
        let marker = mark(&path, usable(&path, adopt_copy)?)?;
        let dir = Self { path, marker, lock };
        dir.lock.write(false)?;
        Ok(dir)
    }

    /// The random identifier of this directory: a copy that is served has another one.
    pub(crate) fn id(&self) -> &str {
        &self.marker.id
    }

    /// What its marker says.
    pub(crate) fn marker(&self) -> &Marker {
        &self.marker
    }

    /// Notes that sandboxes of this runtime are kept here.
    pub(crate) fn record_runtime(&mut self, kind: RuntimeKind) {
        if !self.marker.runtimes.contains(&kind) {
            self.change(|marker| marker.runtimes.push(kind));
        }
    }

    /// Notes that the store is there and was taken over by this version.
    pub(crate) fn record_store(&mut self) {
        if !self.marker.store || self.marker.version != crate::VERSION {
            self.change(|marker| {
                marker.store = true;
                crate::VERSION.clone_into(&mut marker.version);
            });
        }
    }

    fn change(&mut self, change: impl FnOnce(&mut Marker)) {
        change(&mut self.marker);
        if let Err(error) = self.marker.write(&self.path) {
            tracing::warn!(%error, "the marker of the data directory could not be written");
        }
    }

    /// Names the server in the lock file.
    pub(crate) fn announce(&mut self, url: &str) -> Result<(), ServeError> {
        self.lock.announce(url)
    }

    /// Tells a successor that waiting pays.
    pub(crate) fn announce_stopping(&self) {
        if let Err(error) = self.lock.write(true) {
            tracing::warn!(%error, "the lock file was not updated");
        }
    }

    /// The key of this directory, made at the first start.
    pub(crate) fn api_key(&self) -> Result<SecretString, ServeError> {
        let path = self.path.join("api-key");
        let fail = |error: io::Error| ServeError::DataDir {
            dir: self.path.clone(),
            reason: format!("the API key cannot be kept in it: {error}"),
        };
        match fs::read_to_string(&path) {
            // Another one would lock all clients out that know it.
            Ok(text) => {
                return check_key(text.trim()).map_err(|_| ServeError::DataDir {
                    dir: self.path.clone(),
                    reason: "its file api-key is damaged: restore that file, or remove it to get a new key".to_owned(),
                });
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(fail(error)),
        }
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).map_err(|error| fail(error.into()))?;
        let key = format!("dtn_local_{}", URL_SAFE_NO_PAD.encode(bytes));
        write_private(&path, key.as_bytes()).map_err(fail)?;
        Ok(SecretString::from(key))
    }
}

/// The marker of a folder that may be used; written where it is new or no longer right.
fn mark(path: &Path, content: Content) -> Result<Marker, ServeError> {
    let fail = |error: io::Error| ServeError::DataDir {
        dir: path.to_owned(),
        reason: format!("cannot be marked as a data directory: {error}"),
    };
    let place = Place::of(path).map_err(fail)?;
    match content {
        Content::Empty => {
            let marker = Marker::new(place).map_err(fail)?;
            marker.write(path).map_err(fail)?;
            Ok(marker)
        }
        Content::Earlier => {
            let marker = Marker { store: true, version: String::new(), ..Marker::new(place).map_err(fail)? };
            marker.write(path).map_err(fail)?;
            tracing::info!(id = marker.id, "marked the data directory of an earlier version");
            Ok(marker)
        }
        Content::Marked(marker) if marker.place == place => Ok(marker),
        Content::Marked(mut marker) => {
            if marker.place.is(&place, &marker.id) {
                marker.place = place;
                if let Err(error) = marker.write(path) {
                    tracing::warn!(%error, "the marker of the data directory could not be written");
                }
                return Ok(marker);
            }
            let original = marker.place.shown();
            let new = Marker::new(place).map_err(fail)?;
            marker.former.push(std::mem::replace(&mut marker.id, new.id));
            marker.place = new.place;
            marker.write(path).map_err(fail)?;
            tracing::warn!(id = marker.id, original, "adopted a copy of a data directory");
            Ok(marker)
        }
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    #[test]
    fn the_directory_is_held_alone_and_keeps_its_key() {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join("data");
        let mut dir = DataDir::open(Some(path.clone()), false).unwrap();
        dir.announce("http://127.0.0.1:1/api").unwrap();
        let key = dir.api_key().unwrap();
        assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o700);
        assert_eq!(path.join("api-key").metadata().unwrap().mode() & 0o777, 0o600);
        let error = DataDir::open(Some(path.clone()), false).err().unwrap().to_string();
        assert!(error.contains(&std::process::id().to_string()), "{error}");
        assert!(error.contains("http://127.0.0.1:1/api"), "{error}");
        drop(dir);
        let again = DataDir::open(Some(path), false).unwrap().api_key().unwrap();
        assert_eq!(key.expose_secret(), again.expose_secret());
    }

    #[test]
    fn a_damaged_key_is_not_replaced() {
        let base = tempfile::tempdir().unwrap();
        let dir = DataDir::open(Some(base.path().to_owned()), false).unwrap();
        dir.api_key().unwrap();
        for text in ["", "two words", "\0\0"] {
            fs::write(base.path().join("api-key"), text).unwrap();
            let error = dir.api_key().unwrap_err().to_string();
            assert!(error.contains("api-key"), "{error}");
            assert_eq!(fs::read_to_string(base.path().join("api-key")).unwrap(), text);
        }
        fs::remove_file(base.path().join("api-key")).unwrap();
        dir.api_key().unwrap();
    }

    #[test]
    fn a_stopping_server_is_waited_for() {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().to_owned();
        let dir = DataDir::open(Some(path.clone()), false).unwrap();
        dir.announce_stopping();
        let waiter = std::thread::spawn(move || DataDir::open(Some(path), false).map(|_| ()));
        drop(dir);
        waiter.join().unwrap().unwrap();
    }

    #[test]
    fn runtimes_and_the_identifier_are_kept() {
        let base = tempfile::tempdir().unwrap();
        let mut dir = DataDir::open(Some(base.path().to_owned()), false).unwrap();
        let id = dir.id().to_owned();
        assert_eq!((dir.marker().isolated(), dir.marker().store), (None, false));
        dir.record_runtime(RuntimeKind::Process);
        assert_eq!(dir.marker().isolated(), None);
        dir.record_runtime(RuntimeKind::Ns);
        dir.record_store();
        drop(dir);
        let moved = base.path().with_extension("moved");
        fs::rename(base.path(), &moved).unwrap();
        let dir = DataDir::open(Some(moved.clone()), false).unwrap();
        assert_eq!((dir.id(), dir.marker().isolated()), (id.as_str(), Some(RuntimeKind::Ns)));
        assert!(dir.marker().store && dir.marker().version == crate::VERSION);
        fs::rename(&moved, base.path()).unwrap();
    }

    #[test]
    fn a_copy_is_refused_until_it_is_adopted() {
        let base = tempfile::tempdir().unwrap();
        let (one, two) = (base.path().join("one"), base.path().join("two"));
        let dir = DataDir::open(Some(one.clone()), false).unwrap();
        fs::create_dir(&two).unwrap();
        let marker = fs::read(one.join("daytona-native.json")).unwrap();
        fs::write(two.join("daytona-native.json"), &marker).unwrap();
        let error = DataDir::open(Some(two.clone()), false).err().unwrap().to_string();
        assert!(error.contains("--adopt-copy") && error.contains(one.to_str().unwrap()), "{error}");
        assert_eq!(fs::read_dir(&two).unwrap().count(), 1, "nothing was added");
        let copy = DataDir::open(Some(two.clone()), true).unwrap();
        assert_ne!(copy.id(), dir.id());
        drop(copy);
        DataDir::open(Some(two), false).unwrap();
        assert_eq!(fs::read(one.join("daytona-native.json")).unwrap(), marker);
    }
}
