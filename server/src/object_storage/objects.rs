//! Objects as files, complete or not there at all.

use std::fs::{self, File, FileTimes, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::StreamExt as _;
use s3s::dto::StreamingBlob;

/// Bytes of the largest object.
pub(super) const LIMIT: u64 = 8 << 30;
/// The last number of a part.
pub(super) const PARTS: i32 = 10_000;
const KEY_PARTS: usize = 8;

/// Why something was not stored.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("an object may have {LIMIT} bytes at most")]
    TooLarge,
    #[error("the body did not arrive whole: {0}")]
    Broken(String),
    #[error("no such upload")]
    NoUpload,
    #[error("part {0} is missing, or is not the one that was uploaded")]
    NoPart(i32),
    #[error("the disk of the data directory: {0}")]
    Disk(#[from] io::Error),
}

/// All objects.
#[derive(Clone)]
pub(super) struct Objects(Arc<PathBuf>);

/// What is known of an object.
pub(super) struct Stored {
    pub(super) size: u64,
    pub(super) modified: SystemTime,
}

impl Stored {
    fn of(metadata: &fs::Metadata) -> Self {
        Self { size: metadata.len(), modified: metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH) }
    }
}

impl Objects {
    pub(super) fn open(dir: &Path) -> io::Result<Self> {
        for name in ["objects", "uploads", "new"] {
            make(&dir.join(name))?;
        }
        // What was not finished when the last server ended; as far as it has the names that are given here.
        for entry in fs::read_dir(dir.join("new"))?.flatten() {
            if crate::leftovers::is_random(&entry.file_name().to_string_lossy()) {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(Self(Arc::new(dir.to_owned())))
    }

    /// Where the object with this key is; none if no key may be so.
    pub(super) fn file(&self, key: &str) -> Option<PathBuf> {
        let fine = |part: &str| {
            (1..=128).contains(&part.len())
                && !part.starts_with('.')
                && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
        };
        let parts: Vec<&str> = key.split('/').collect();
        (parts.len() <= KEY_PARTS && parts.iter().all(|part| fine(part))).then(|| self.0.join("objects").join(key))
    }

    pub(super) fn stat(&self, key: &str) -> Option<Stored> {
        let metadata = fs::metadata(self.file(key)?).ok().filter(fs::Metadata::is_file)?;
        Some(Stored::of(&metadata))
    }

    /// The keys of at most so many objects that begin so and come after `after`, in order.
    pub(super) fn list(&self, prefix: &str, after: &str, limit: usize) -> Vec<(String, Stored)> {
        let top = self.0.join("objects");
        let mut found = Vec::new();
        let mut folders = vec![top.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                let (path, Ok(metadata)) = (entry.path(), entry.metadata()) else { continue };
                let Some(key) = path.strip_prefix(&top).ok().and_then(Path::to_str).map(str::to_owned) else {
                    continue;
                };
                if metadata.is_dir() {
                    // Nothing else can have it.
                    if prefix.starts_with(&key) || key.starts_with(prefix) {
                        folders.push(path);
                    }
                } else if key.starts_with(prefix) && key.as_str() > after {
                    found.push((key, Stored::of(&metadata)));
                }
            }
        }
        found.sort_unstable_by(|one, other| one.0.cmp(&other.0));
        found.truncate(limit);
        found
    }

    /// Stores an object.
    pub(super) async fn put(&self, target: PathBuf, body: Option<StreamingBlob>) -> Result<Stored, Failure> {
        let new = self.receive(body).await?;
        blocking(move || new.keep(&target)).await
    }

    pub(super) async fn delete(&self, path: PathBuf) -> Result<(), Failure> {
        blocking(move || match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
            _ => {
                // The folders of its key, as far as nothing else is in them.
                for folder in path.ancestors().skip(1).take(KEY_PARTS) {
                    if folder.ends_with("objects") || fs::remove_dir(folder).is_err() {
                        break;
                    }
                }
                Ok(())
            }
        })
        .await
    }

    /// Begins an object of several parts; gives the name of the upload.
    pub(super) async fn begin(&self, key: &str) -> Result<String, Failure> {
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(|error| Failure::Disk(error.into()))?;
        let id = format!("{:032x}", u128::from_be_bytes(random));
        let folder = self.0.join("uploads").join(&id);
        let key = key.to_owned();
        blocking(move || {
            make(&folder)?;
            Ok(fs::write(folder.join("key"), key)?)
        })
        .await?;
        Ok(id)
    }

    fn upload(&self, key: &str, id: &str) -> Result<PathBuf, Failure> {
        let fine = id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        let folder = self.0.join("uploads").join(if fine { id } else { "none" });
        match fs::read_to_string(folder.join("key")) {
            Ok(own) if own == key => Ok(folder),
            _ => Err(Failure::NoUpload),
        }
    }

    /// Stores a part of an upload.
    pub(super) async fn put_part(
        &self,
        key: &str,
        id: &str,
        number: i32,
        body: Option<StreamingBlob>,
    ) -> Result<Stored, Failure> {
        let folder = self.upload(key, id)?;
        let new = self.receive(body).await?;
        blocking(move || {
            if !folder.is_dir() {
                return Err(Failure::NoUpload);
            }
            new.keep(&folder.join(number.to_string()))
        })
        .await
    }

    /// Makes the object of the parts with these numbers and tags.
    pub(super) async fn complete(
        &self,
        key: &str,
        id: &str,
        parts: Vec<(i32, Option<String>)>,
        target: PathBuf,
    ) -> Result<Stored, Failure> {
        let folder = self.upload(key, id)?;
        let mut new = self.new_file()?;
        blocking(move || {
            let mut size = 0;
            for (number, wanted) in parts {
                let part = folder.join(number.to_string());
                let mut file = File::open(part).map_err(|_| Failure::NoPart(number))?;
                let own = tag(&Stored::of(&file.metadata()?));
                if wanted.is_some_and(|wanted| wanted != own) {
                    return Err(Failure::NoPart(number));
                }
                size += io::copy(&mut file, &mut new.file)?;
                if size > LIMIT {
                    return Err(Failure::TooLarge);
                }
            }
            let stored = new.keep(&target)?;
            let _ = fs::remove_dir_all(&folder);
            Ok(stored)
        })
        .await
    }

    /// Gives an upload up.
    pub(super) async fn abort(&self, key: &str, id: &str) -> Result<(), Failure> {
        let folder = self.upload(key, id)?;
        blocking(move || Ok(fs::remove_dir_all(folder)?)).await
    }

    fn new_file(&self) -> Result<New, Failure> {
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(|error| Failure::Disk(error.into()))?;
        let path = self.0.join("new").join(format!("{:016x}", u64::from_be_bytes(random)));
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        Ok(New { file, path })
    }

    async fn receive(&self, body: Option<StreamingBlob>) -> Result<New, Failure> {
        let mut new = self.new_file()?;
        let Some(mut body) = body else { return Ok(new) };
        let mut size = 0;
        while let Some(piece) = body.next().await {
            let piece = piece.map_err(|error| Failure::Broken(error.to_string()))?;
            size += piece.len() as u64;
            if size > LIMIT {
                return Err(Failure::TooLarge);
            }
            new = blocking(move || {
                new.file.write_all(&piece)?;
                Ok(new)
            })
            .await?;
        }
        Ok(new)
    }

    /// Deletes objects that were not used for `unused`, and uploads that were not finished for `stale`.
    pub(super) fn clean(&self, time: SystemTime, unused: Duration, stale: Duration) {
        for (key, stored) in self.list("", "", usize::MAX) {
            if time.duration_since(stored.modified).is_ok_and(|age| age >= unused)
                && let Some(path) = self.file(&key)
            {
                let _ = fs::remove_file(&path);
                let _ = path.parent().map(fs::remove_dir);
            }
        }
        for entry in fs::read_dir(self.0.join("uploads")).into_iter().flatten().flatten() {
            let modified = entry.metadata().and_then(|metadata| metadata.modified());
            if modified.is_ok_and(|modified| time.duration_since(modified).is_ok_and(|age| age >= stale)) {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }
}

/// A file that is not in its place yet, and goes unless it is put there.
struct New {
    file: File,
    path: PathBuf,
}

impl New {
    fn keep(self, target: &Path) -> Result<Stored, Failure> {
        self.file.sync_all()?;
        if let Some(folder) = target.parent() {
            make(folder)?;
        }
        let metadata = self.file.metadata()?;
        fs::rename(&self.path, target)?;
        Ok(Stored::of(&metadata))
    }
}

impl Drop for New {
    fn drop(&mut self) {
        // One that was put in its place is not there any more.
        let _ = fs::remove_file(&self.path);
    }
}

/// Names a state of an object.
pub(super) fn tag(stored: &Stored) -> String {
    let modified = stored.modified.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    format!("{:x}-{:x}", modified.as_nanos(), stored.size)
}

/// Notes that something is used; false if it is not there.
pub(super) fn touch(path: &Path) -> bool {
    let touched = File::open(path).and_then(|file| file.set_times(FileTimes::new().set_modified(SystemTime::now())));
    touched.is_ok()
}

fn make(folder: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Failure> + Send + 'static) -> Result<T, Failure> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(Failure::Disk(error.into())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(text: &'static str) -> StreamingBlob {
        StreamingBlob::wrap(futures_util::stream::iter([Ok::<_, io::Error>(bytes::Bytes::from(text))]))
    }

    #[tokio::test]
    async fn objects_come_whole_and_go() {
        let dir = tempfile::tempdir().unwrap();
        let objects = Objects::open(dir.path()).unwrap();
        let file = |key: &str| objects.file(key).unwrap();
        objects.put(file("local/h/context.tar"), Some(body("one"))).await.unwrap();
        assert_eq!(fs::read(file("local/h/context.tar")).unwrap(), b"one");
        let id = objects.begin("local/i/context.tar").await.unwrap();
        let mut parts = Vec::new();
        for (number, text) in [(2, "b"), (1, "a")] {
            let part = objects.put_part("local/i/context.tar", &id, number, Some(body(text))).await.unwrap();
            parts.insert(0, (number, Some(tag(&part))));
        }
        assert!(objects.put_part("local/other", &id, 1, Some(body("x"))).await.is_err());
        objects.complete("local/i/context.tar", &id, parts, file("local/i/context.tar")).await.unwrap();
        assert_eq!(fs::read(file("local/i/context.tar")).unwrap(), b"ab");
        let keys = |prefix| objects.list(prefix, "", 10).into_iter().map(|(key, _)| key).collect::<Vec<_>>();
        assert_eq!(keys("local/"), ["local/h/context.tar", "local/i/context.tar"]);
        assert_eq!(keys("local/i/"), ["local/i/context.tar"]);
        objects.delete(file("local/h/context.tar")).await.unwrap();
        assert_eq!(keys("local"), ["local/i/context.tar"]);
        let broken = StreamingBlob::wrap(futures_util::stream::iter([Err::<bytes::Bytes, _>(io::Error::other("cut"))]));
        assert!(objects.put(file("local/j"), Some(broken)).await.is_err());
        assert_eq!(fs::read_dir(dir.path().join("new")).unwrap().count(), 0);
        let stale = objects.begin("local/k").await.unwrap();
        let later = SystemTime::now() + Duration::from_secs(100);
        objects.clean(later, Duration::from_secs(1000), Duration::from_secs(10));
        assert!(objects.abort("local/k", &stale).await.is_err());
        assert_eq!(keys("").len(), 1);
        objects.clean(later, Duration::from_secs(10), Duration::from_secs(10));
        assert!(keys("").is_empty());
    }

    #[test]
    fn keys_stay_in_the_folder() {
        let dir = tempfile::tempdir().unwrap();
        let objects = Objects::open(dir.path()).unwrap();
        for bad in ["", "/a", "a//b", "../a", "a/../b", "a/.b", "a b", "a\0", "a/b/c/d/e/f/g/h/i"] {
            assert!(objects.file(bad).is_none(), "{bad:?}");
        }
    }
}
