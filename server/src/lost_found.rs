//! `lost+found`: what lay in a data directory and no record knows.
//!
//! Each thing has a folder of its own there, with a note of what it is, where it lay and why it was moved, and its
//! manifest where it has one. It is kept for [`LOST_KEPT`].

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::write_private;
use crate::time::{Millis, now, parse, rfc3339};

/// What is in `lost+found` is deleted when it has been there for so long.
pub const LOST_KEPT: Duration = Duration::from_secs(30 * 24 * 3600);

const FOLDER: &str = "lost+found";
const NOTE: &str = "note.json";
const MANIFEST: &str = "manifest.json";
/// Of a folder that a Docker engine has something for.
const DOCKER: &str = "docker.json";

/// What is written beside what was moved.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Note {
    kind: String,
    name: String,
    from: String,
    moved_at: String,
    reason: String,
}

/// One thing in `lost+found`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Lost {
    /// `sandbox`, `snapshot`, `volume`, `archive`, `manifest`, `container` or `file`.
    pub kind: String,
    /// The name that it had, its id mostly.
    pub name: String,
    /// Where it lay, relative to the data directory.
    pub from: String,
    /// When it was moved, in RFC 3339.
    pub moved_at: String,
    /// Why it was moved.
    pub reason: String,
    /// Its folder in `lost+found`.
    pub path: PathBuf,
    /// Milliseconds that it has been there.
    #[serde(skip)]
    age: Millis,
}

impl Lost {
    /// Whether it has been there for so long.
    pub fn older_than(&self, age: Duration) -> bool {
        u128::try_from(self.age).is_ok_and(|millis| millis >= age.as_millis())
    }

    /// Bytes on disk; takes a while where there are many files.
    pub fn bytes(&self) -> u64 {
        daytona_runtime::disk_usage(&self.path)
    }

    /// The folder that a Docker engine has something for.
    pub(crate) fn in_engine(&self) -> Option<PathBuf> {
        Some(self.path.join(&self.name)).filter(|item| item.join(DOCKER).exists())
    }

    /// Deletes it. What a Docker engine has of it goes at the next start of the server.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn delete(&self) -> io::Result<()> {
        if let Some(item) = self.in_engine()
            && let Some(data_dir) = self.path.parent().and_then(Path::parent)
        {
            let trash = data_dir.join("trash");
            DirBuilder::new().recursive(true).mode(0o700).create(&trash)?;
            fs::rename(item, trash.join(daytona_runtime::random_name()))?;
        }
        daytona_runtime::remove_tree(&self.path)
    }

    /// What is left of its record, if it had a manifest.
    fn record(&self) -> Option<serde_json::Map<String, serde_json::Value>> {
        crate::manifest::value(&self.path.join(MANIFEST)).ok().flatten()
    }
}

/// What is in a data directory's `lost+found`, the oldest first. Folders without a note of this server are not told.
pub fn lost(data_dir: &Path) -> Vec<Lost> {
    let entries = fs::read_dir(data_dir.join(FOLDER)).into_iter().flatten().flatten();
    let time = now();
    let mut all: Vec<Lost> = entries
        .filter_map(|entry| {
            let path = entry.path();
            let Note { kind, name, from, moved_at, reason } =
                serde_json::from_slice(&fs::read(path.join(NOTE)).ok()?).ok()?;
            // A name leads nowhere else.
            let fine = Path::new(&name).file_name().is_some_and(|last| last == name.as_str());
            let age = time.saturating_sub(parse(&moved_at)?);
            fine.then_some(Lost { kind, name, from, moved_at, reason, path, age })
        })
        .collect();
    all.sort_by(|one, other| other.age.cmp(&one.age).then_with(|| one.path.cmp(&other.path)));
    all
}

/// Moves something of the data directory to `lost+found`, and its manifest with it.
pub(crate) fn keep(data_dir: &Path, kind: &str, item: &Path, manifest: Option<&Path>, reason: &str) -> io::Result<()> {
    let name = item.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let from = item.strip_prefix(data_dir).unwrap_or(item).display().to_string();
    let top = data_dir.join(FOLDER);
    DirBuilder::new().recursive(true).mode(0o700).create(&top)?;
    let moved_at = rfc3339(now());
    let time: String = moved_at.chars().filter(char::is_ascii_alphanumeric).take(15).collect();
    let short: String = name.chars().take(100).collect();
    let mut folder = top.join(format!("{time}-{kind}-{short}"));
    if folder.exists() {
        folder = top.join(format!("{time}-{kind}-{short}-{}", daytona_runtime::random_name()));
    }
    DirBuilder::new().mode(0o700).create(&folder)?;
    if let Err(error) = fs::rename(item, folder.join(&name)) {
        let _ = fs::remove_dir(&folder);
        return Err(error);
    }
    if let Some(Err(error)) = manifest.map(|manifest| fs::rename(manifest, folder.join(MANIFEST)))
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(to = %folder.display(), %error, "a manifest was not moved with what it is of");
    }
    let note = Note { kind: kind.to_owned(), name, from, moved_at, reason: reason.to_owned() };
    // Last: what has a note is all there.
    write_private(&folder.join(NOTE), &serde_json::to_vec_pretty(&note)?)?;
    tracing::warn!(kind, from = note.from, to = %folder.display(), reason, "moved to lost+found");
    Ok(())
}

/// Images, in the server's store and in a Docker engine, that something in `lost+found` is made of.
pub(crate) fn images(data_dir: &Path) -> (Vec<String>, Vec<String>) {
    let roots: Vec<crate::image::Root> =
        lost(data_dir).iter().filter_map(|lost| serde_json::from_value(lost.record()?.remove("image")?).ok()).collect();
    (
        roots.iter().filter_map(|root| root.image.clone()).collect(),
        roots.into_iter().filter_map(|root| root.docker).collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_moved_is_told_and_deleted() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path();
        fs::create_dir_all(data.join("sandboxes/one/home")).unwrap();
        fs::write(data.join("sandboxes/one/home/file"), "kept").unwrap();
        fs::write(data.join("manifest"), r#"{"version":1,"record":{"image":{"image":"sha256:1","docker":"d"}}}"#)
            .unwrap();
        keep(data, "sandbox", &data.join("sandboxes/one"), Some(&data.join("manifest")), "nobody knows it").unwrap();
        assert!(!data.join("sandboxes/one").exists() && !data.join("manifest").exists());
        assert_eq!(images(data), (vec!["sha256:1".to_owned()], vec!["d".to_owned()]));
        // Those of a file system check, and what somebody has put there.
        fs::create_dir(data.join("lost+found/#123")).unwrap();
        let all = lost(data);
        assert_eq!(all.len(), 1);
        let one = &all[0];
        assert_eq!((one.kind.as_str(), one.name.as_str(), one.from.as_str()), ("sandbox", "one", "sandboxes/one"));
        assert_eq!(fs::read(one.path.join("one/home/file")).unwrap(), b"kept");
        assert!(one.bytes() > 0 && one.older_than(Duration::ZERO) && !one.older_than(Duration::from_secs(3600)));
        one.delete().unwrap();
        assert!(lost(data).is_empty() && data.join("lost+found/#123").exists());
    }

    #[test]
    fn the_same_name_is_kept_twice() {
        let dir = tempfile::tempdir().unwrap();
        for _ in 0..2 {
            fs::write(dir.path().join("file"), "x").unwrap();
            keep(dir.path(), "file", &dir.path().join("file"), None, "why").unwrap();
        }
        assert_eq!(lost(dir.path()).len(), 2);
    }

    #[test]
    fn what_an_engine_has_goes_by_way_of_the_trash() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("sandboxes/one");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(DOCKER), "{}").unwrap();
        keep(dir.path(), "sandbox", &folder, None, "why").unwrap();
        lost(dir.path())[0].delete().unwrap();
        let trash: Vec<_> = fs::read_dir(dir.path().join("trash")).unwrap().flatten().collect();
        assert_eq!(trash.len(), 1);
        assert!(trash[0].path().join(DOCKER).exists());
    }
}
