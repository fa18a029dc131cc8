//! What lies in a data directory that no record knows, or that is no longer the truth.
//!
//! Nothing that may be a user's is deleted: only what has a mark, or a manifest, that says so ([`crate::manifest`]), what
//! this server only makes for a time and names so, and what was thrown away already. Everything else goes to
//! `lost+found` ([`crate::lost_found`]).

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use daytona_runtime::RuntimeError;
use daytona_wire::sandbox::SandboxState;

use crate::App;
use crate::backend::Backend;
use crate::lost_found::{self, LOST_KEPT, Lost, lost};
use crate::manifest::{Manifests, Mark, TABLES};
use crate::record::{Desired, Record};
use crate::snapshot;
use crate::store::{Contents, Stored};
use crate::volume::Volume;

/// What is made of a copy that is not complete has the name of its target and so many hexadecimal digits more.
const RANDOM: usize = 16;

/// How the names of archives end, and of those that are being written.
pub(crate) const PACKED: &str = ".tar.zst";
const PACKING: &str = ".tar.partial";

const UNKNOWN: &str = "no record knows it";
const PARTIAL: &str = "a copy that was not complete";

/// Ids of all that the store knows.
struct Known<'a> {
    sandboxes: HashSet<&'a str>,
    archived: HashSet<&'a str>,
    /// Also those whose archive is missing, or cannot be read.
    packed: HashSet<&'a str>,
    snapshots: HashSet<&'a str>,
    volumes: HashSet<&'a str>,
}

struct Sorter<'a> {
    dir: &'a Path,
    runtime: &'a Backend,
    manifests: Manifests,
    known: Known<'a>,
}

/// Sorts out what the last server, or somebody else, has left in the data directory.
pub(crate) async fn sort_out(dir: &Path, runtime: &Backend, contents: &Contents) {
    let archived = |record: &&Record| record.state == SandboxState::Archived;
    let packed = |record: &&Record| archived(record) || record.desired == Desired::Archived;
    let known = Known {
        sandboxes: contents.sandboxes.iter().map(|record| record.id.as_str()).collect(),
        archived: contents.sandboxes.iter().filter(archived).map(|record| record.id.as_str()).collect(),
        packed: contents.sandboxes.iter().filter(packed).map(|record| record.id.as_str()).collect(),
        snapshots: contents.snapshots.iter().map(|record| record.id.as_str()).collect(),
        volumes: contents.volumes.iter().map(|volume| volume.id.as_str()).collect(),
    };
    let sorter = Sorter { dir, runtime, manifests: Manifests::new(dir), known };
    sorter.sandboxes().await;
    sorter.containers().await;
    sorter.archives().await;
    sorter.others::<snapshot::Record>("snapshot", &sorter.known.snapshots).await;
    sorter.others::<Volume>("volume", &sorter.known.volumes).await;
    sorter.manifests();
    sorter.scratch().await;
    sorter.build_logs();
}

impl Sorter<'_> {
    async fn sandboxes(&self) {
        let folder = self.dir.join(Record::TABLE);
        for name in names_in(&folder) {
            let path = folder.join(&name);
            if self.known.archived.contains(name.as_str()) {
                if self.manifests.marked::<Record>(&name, Mark::Moving) {
                    removed(&path, "its sandbox is archived", self.runtime.delete_stored(&name).await);
                } else {
                    self.lose("sandbox", &path, None, "its sandbox is archived, and nothing says that this is a copy");
                }
                continue;
            }
            if self.known.sandboxes.contains(name.as_str()) {
                continue;
            }
            if is_partial(&name) {
                removed(&path, PARTIAL, self.runtime.delete_folder(&path).await);
            } else if let Some(why) = self.may_go::<Record>(&name) {
                removed(&path, why, self.runtime.destroy(&name).await);
            } else {
                self.lose("sandbox", &path, Some(Record::TABLE), UNKNOWN);
            }
        }
    }

    /// Containers that no folder names: a note of each is kept in their place.
    async fn containers(&self) {
        let Backend::Docker(docker) = self.runtime else { return };
        let left = docker.leftovers().await.unwrap_or_else(|error| {
            tracing::warn!(%error, "containers cannot be looked for");
            Vec::new()
        });
        for container in left {
            match docker.note_leftover(&container) {
                Ok(path) => self.lose("container", &path, None, UNKNOWN),
                Err(error) => tracing::warn!(%error, "a container that no sandbox names cannot be noted"),
            }
        }
    }

    async fn archives(&self) {
        let folder = self.runtime.archives();
        for name in names_in(&folder) {
            let path = folder.join(&name);
            // Of whichever runtime.
            let id = name.strip_suffix(PACKED).unwrap_or(&name);
            if self.known.packed.contains(id) {
                continue;
            }
            let why = if name.strip_suffix(PACKING).is_some_and(is_id) {
                Some(PARTIAL)
            } else if self.known.sandboxes.contains(id) {
                self.manifests.marked::<Record>(id, Mark::Moving).then_some("its sandbox is not archived")
            } else {
                self.may_go::<Record>(id)
            };
            if let Some(why) = why {
                removed(&path, why, self.runtime.delete_folder(&path).await);
            } else if self.known.sandboxes.contains(id) {
                self.lose("archive", &path, None, "its sandbox is not archived, and nothing says that this is a copy");
            } else {
                self.lose("archive", &path, Some(Record::TABLE), UNKNOWN);
            }
        }
    }

    /// Snapshots or volumes.
    async fn others<R: Stored>(&self, kind: &str, known: &HashSet<&str>) {
        let folder = self.dir.join(R::TABLE);
        for name in names_in(&folder) {
            if known.contains(name.as_str()) {
                continue;
            }
            let path = folder.join(&name);
            // Volumes are not copied.
            let partial = (R::TABLE != Volume::TABLE && is_partial(&name)).then_some(PARTIAL);
            match partial.or_else(|| self.may_go::<R>(&name)) {
                Some(why) => removed(&path, why, self.runtime.delete_folder(&path).await),
                None => self.lose(kind, &path, Some(R::TABLE), UNKNOWN),
            }
        }
    }

    /// Why something that no record knows is nobody's.
    fn may_go<R: Stored>(&self, id: &str) -> Option<&'static str> {
        if self.manifests.marked::<R>(id, Mark::Deleting) {
            return Some("it was being deleted");
        }
        let path = self.manifests.file(R::TABLE, id);
        let manifest = crate::manifest::value(&path);
        if !path.exists() {
            // A manifest comes after the acknowledgement: where there is one the mark is an old one.
            return self.manifests.marked::<R>(id, Mark::Creating).then_some("its creation was not finished");
        }
        let record = manifest.ok().flatten()?;
        let is = |field: &str, value: serde_json::Value| record.get(field) == Some(&value);
        (is("desired", "destroyed".into()) || is("deleting", true.into())).then_some("it was being deleted")
    }

    /// Manifests and marks of what is not there any more.
    fn manifests(&self) {
        for table in TABLES {
            let known = match table {
                Record::TABLE => &self.known.sandboxes,
                <Volume as Stored>::TABLE => &self.known.volumes,
                _ => &self.known.snapshots,
            };
            for (id, marked) in self.manifests.ids(table) {
                if known.contains(id.as_str()) {
                    if marked {
                        self.manifests.unmark_all(table, &id);
                    }
                    continue;
                }
                let archive = self.runtime.archive_file(&id);
                if self.dir.join(table).join(&id).exists() || (table == Record::TABLE && archive.exists()) {
                    // It could not be moved or deleted: the next start tries again.
                    continue;
                }
                let path = self.manifests.file(table, &id);
                let nobodys = match table {
                    Record::TABLE => self.may_go::<Record>(&id),
                    <Volume as Stored>::TABLE => self.may_go::<Volume>(&id),
                    _ => self.may_go::<snapshot::Record>(&id),
                };
                if nobodys.is_none() && path.exists() {
                    self.lose("manifest", &path, None, "no record knows it, and there are no files of it");
                }
                if !path.exists() || nobodys.is_some() {
                    self.manifests.forget(table, &id);
                }
            }
        }
    }

    /// What is only made for a time, as far as it has the names that this server gives.
    async fn scratch(&self) {
        let steps = self.dir.join("steps");
        for name in names_in(&steps) {
            let path = steps.join(&name);
            if name.strip_prefix("build-").is_some_and(is_random) {
                removed(&path, "a step of a build that was not finished", self.runtime.delete_folder(&path).await);
            } else {
                self.lose("file", &path, None, UNKNOWN);
            }
        }
        for (folder, ours) in [("trash", &[][..]), ("base", &["new", "trial"])] {
            for name in names_in(&self.dir.join(folder)) {
                if !is_random(&name) && !ours.contains(&name.as_str()) {
                    self.lose("file", &self.dir.join(folder).join(name), None, UNKNOWN);
                }
            }
        }
        for entry in fs::read_dir(self.dir.join("sockets")).into_iter().flatten().flatten() {
            // Those of containers have folders of their own.
            let ours = entry.file_type().is_ok_and(|kind| kind.is_socket() || kind.is_dir());
            if !ours {
                self.lose("file", &entry.path(), None, UNKNOWN);
            }
        }
    }

    fn build_logs(&self) {
        let folder = self.dir.join(crate::build::log::FOLDER);
        for name in names_in(&folder) {
            let path = folder.join(&name);
            let id = name.strip_suffix(".log").unwrap_or_default();
            if self.known.sandboxes.contains(id) || self.known.snapshots.contains(id) {
                continue;
            }
            if is_id(id) {
                // What it says of a build goes with the build.
                removed(&path, "the log of a build of nothing", fs::remove_file(&path));
            } else {
                self.lose("file", &path, None, UNKNOWN);
            }
        }
    }

    fn lose(&self, kind: &str, path: &Path, table: Option<&str>, reason: &str) {
        let name = file_name(path);
        let id = name.strip_suffix(PACKED).unwrap_or(&name);
        let manifest: Option<PathBuf> = table.map(|table| self.manifests.file(table, id));
        if let Err(error) = lost_found::keep(self.dir, kind, path, manifest.as_deref(), reason) {
            tracing::warn!(path = %path.display(), %error, "what no record knows could not be moved to lost+found");
        }
    }
}

/// What was on its way out when the last server ended, before this one throws anything away.
pub(crate) fn trash(dir: &Path) -> Vec<PathBuf> {
    let trash = dir.join("trash");
    names_in(&trash).into_iter().filter(|name| is_random(name)).map(|name| trash.join(name)).collect()
}

/// Deletes what was thrown away and what has been in `lost+found` for long, and says what is left there.
pub(crate) fn tidy(app: &std::sync::Arc<App>, trash: Vec<PathBuf>) {
    let app = std::sync::Arc::clone(app);
    tokio::spawn(async move {
        for path in trash {
            if let Err(error) = app.runtime.delete_folder(&path).await {
                tracing::warn!(path = %path.display(), %error, "what was thrown away could not be deleted");
            }
        }
        expire(&app).await;
        let dir = app.data_dir.clone();
        let summary = tokio::task::spawn_blocking(move || {
            let all = lost(&dir);
            (all.len(), all.iter().map(Lost::bytes).sum::<u64>(), all.first().map(|first| first.moved_at.clone()))
        });
        if let Ok((things, bytes, Some(oldest))) = summary.await {
            tracing::warn!(things, bytes, oldest, "lost+found is not empty: see `daytona-native prune`");
        }
    });
}

/// Deletes what has been in `lost+found` for long.
pub(crate) async fn expire(app: &App) {
    for lost in lost(&app.data_dir).into_iter().filter(|lost| lost.older_than(LOST_KEPT)) {
        let path = lost.path.display().to_string();
        if let Some(folder) = lost.in_engine()
            && let Err(error) = app.runtime.delete_folder(&folder).await
        {
            tracing::warn!(path, %error, "what was in lost+found for long could not be deleted");
            continue;
        }
        match tokio::task::spawn_blocking(move || lost.delete()).await {
            Ok(Ok(())) => tracing::info!(path, "deleted: it was in lost+found for 30 days"),
            Ok(Err(error)) => tracing::warn!(path, %error, "what was in lost+found for long could not be deleted"),
            Err(error) => tracing::warn!(path, %error, "what was in lost+found for long could not be deleted"),
        }
    }
}

impl App {
    /// Moves the folder of a sandbox that is not the truth, and that nothing shows to be a copy, out of the way.
    pub(crate) fn set_aside(&self, id: &str) -> Result<(), RuntimeError> {
        let folder = self.runtime.sandbox_dir(id);
        lost_found::keep(&self.data_dir, "sandbox", &folder, None, "its sandbox was restored from an archive")
            .map_err(|source| RuntimeError::Io { what: format!("move {} to lost+found", folder.display()), source })
    }
}

/// As [`daytona_runtime::random_name`] makes them.
pub(crate) fn is_random(name: &str) -> bool {
    name.len() == RANDOM && is_hexadecimal(name)
}

fn is_hexadecimal(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// As the API makes them.
fn is_id(name: &str) -> bool {
    let parts: Vec<&str> = name.split('-').collect();
    parts.iter().map(|part| part.len()).eq([8, 4, 4, 4, 12]) && parts.into_iter().all(is_hexadecimal)
}

pub(crate) fn is_partial(name: &str) -> bool {
    name.rsplit_once('.').is_some_and(|(id, random)| is_id(id) && is_random(random))
}

pub(crate) fn names_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn removed<E: std::fmt::Display>(path: &Path, why: &str, result: Result<(), E>) {
    match result {
        Ok(()) => tracing::info!(path = %path.display(), why, "removed a leftover"),
        Err(error) => tracing::warn!(path = %path.display(), why, %error, "a leftover could not be removed"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_the_server_are_its_own() {
        let id = "8167a48d-1032-41c3-a188-1791142cbc10";
        assert!(is_id(id) && is_partial(&format!("{id}.0123456789abcdef")) && is_random("0123456789abcdef"));
        for other in ["", "a", "notes", "8167a48d-1032-41c3-a188-1791142cbc1", "8167A48D-1032-41c3-a188-1791142cbc10"] {
            assert!(!is_id(other) && !is_partial(&format!("{other}.0123456789abcdef")), "{other}");
        }
        for other in ["", "0123456789abcde", "0123456789abcdeg"] {
            assert!(!is_random(other) && !is_partial(&format!("{id}.{other}")), "{other}");
        }
    }
}
