//! `store rebuild`: a new store of what is found on disk, as far as its manifests say what it is.
//!
//! Nothing is deleted: a store that was there stays beside the new one, and what is not taken back goes on lying where it
//! is until the next start of the server moves it to `lost+found`.

mod guess;

use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use daytona_wire::sandbox::SandboxState;
use daytona_wire::snapshot::SnapshotState;
use serde::Serialize;

use self::guess::{Shape, default_sandbox, default_snapshot, shape};
use crate::ServeError;
use crate::config::write_private;
use crate::data_dir::DataDir;
use crate::leftovers::{PACKED, is_partial, names_in};
use crate::manifest::{Keeper, Manifests, Mark, is_file_name};
use crate::record::{Desired, Record};
use crate::snapshot;
use crate::store::{self, Contents, FILE, Store, StoreError, Stored};
use crate::time::{now, rfc3339};
use crate::volume::Volume;

/// A store is made under this name first, and read under the other.
const NEW: &str = "state.redb.rebuilding";
const READ: &str = "state.redb.reading";

/// What is to be done.
#[derive(Clone, Debug)]
pub struct Rebuild {
    /// The data directory.
    pub data_dir: PathBuf,
    /// Only say what would be taken back.
    pub dry_run: bool,
    /// Also where the store can be read: its records are kept, and what it does not know is added.
    pub force: bool,
}

/// One thing that was found.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Found {
    /// `sandbox`, `snapshot` or `volume`.
    pub kind: &'static str,
    /// Its id.
    pub id: String,
    /// Its name; its id where nothing tells it.
    pub name: String,
    /// What it is in the new store: `stopped`, `archived`, `active`, `ready`.
    pub state: String,
    /// It is in the new store.
    pub taken: bool,
    /// Why it is not, or what is not as it was.
    pub note: Option<String>,
}

/// What has become of a store.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Rebuilt {
    /// The data directory.
    pub data_dir: PathBuf,
    /// Nothing was changed.
    pub dry_run: bool,
    /// The store that was there, under its name now.
    pub previous: Option<PathBuf>,
    /// All that was found.
    pub found: Vec<Found>,
}

/// Why there is no new store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RebuildError {
    /// There is no such folder.
    #[error("{}: there is no such data directory", .0.display())]
    Missing(PathBuf),
    /// A server runs on it, or it is not one.
    #[error(transparent)]
    DataDir(#[from] ServeError),
    /// Nothing is wrong with the store.
    #[error(
        "{} can be read: nothing has to be rebuilt. With --force its records are kept, and what it does not know is \
         added; the file itself stays beside the new one, under another name", .0.display()
    )]
    Readable(PathBuf),
    /// The store cannot be looked at, or the new one cannot be written.
    #[error("{}: {reason}; nothing was changed", path.display())]
    Failed {
        /// The file.
        path: PathBuf,
        /// What the system says.
        reason: String,
    },
}

fn failed<E: std::fmt::Display>(path: &Path) -> impl FnOnce(E) -> RebuildError {
    move |error| RebuildError::Failed { path: path.to_owned(), reason: error.to_string() }
}

/// Makes a new store of what is found on disk.
///
/// # Errors
/// Where a server runs on the data directory, the store can be read, or the new one cannot be written.
pub async fn rebuild(options: Rebuild) -> Result<Rebuilt, RebuildError> {
    if !options.data_dir.is_dir() {
        return Err(RebuildError::Missing(options.data_dir));
    }
    let mut dir = DataDir::open(Some(options.data_dir), false)?;
    let path = dir.path.join(FILE);
    let known = read_store(&dir.path, &path)?;
    if known.is_some() && !options.force && !options.dry_run {
        return Err(RebuildError::Readable(path));
    }
    let mut finder = Finder::new(&dir.path, known);
    finder.volumes();
    finder.snapshots();
    finder.sandboxes();
    let mut previous = None;
    if !options.dry_run {
        finder.settle();
        write_store(&dir.path, &finder.store).await?;
        previous = replace(&dir.path, &path)?;
    }
    let found = finder.found;
    if !options.dry_run {
        dir.record_store();
    }
    Ok(Rebuilt { data_dir: dir.path.clone(), dry_run: options.dry_run, previous, found })
}

/// What the present store has; none where there is none, or none that can be read. It is not touched.
fn read_store(dir: &Path, path: &Path) -> Result<Option<Contents>, RebuildError> {
    let bytes = match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        read => read.map_err(failed(path))?,
    };
    if !Contents::are_sound(&bytes) {
        return Ok(None);
    }
    let copy = dir.join(READ);
    write_private(&copy, &bytes).map_err(failed(&copy))?;
    let read = Contents::read_file(&copy);
    let _ = fs::remove_file(copy);
    Ok(read.ok())
}

async fn write_store(dir: &Path, contents: &Contents) -> Result<(), RebuildError> {
    let new = dir.join(NEW);
    let _ = fs::remove_file(&new);
    let write = async {
        let keeper = Keeper::start(dir).map_err(StoreError::new)?;
        store::create(&new)?;
        let (store, _) = Store::open(&new, keeper)?;
        store.put_all(&contents.sandboxes).stored().await?;
        store.put_all(&contents.snapshots).stored().await?;
        store.put_all(&contents.volumes).stored().await?;
        store.put_all(&contents.secrets).stored().await?;
        store.put_all(&contents.api_keys).stored().await?;
        store.put_all(&contents.warm_pools).stored().await?;
        store.close();
        Ok::<_, StoreError>(())
    };
    write.await.map_err(failed(&new))
}

/// Puts the new store in the place of the old one, which gets another name.
fn replace(dir: &Path, path: &Path) -> Result<Option<PathBuf>, RebuildError> {
    let mut previous = None;
    if path.exists() {
        let time: String = rfc3339(now()).chars().filter(char::is_ascii_alphanumeric).collect();
        let aside = dir.join(format!("{FILE}.before-rebuild-{time}"));
        fs::rename(path, &aside).map_err(failed(path))?;
        previous = Some(aside);
    }
    fs::rename(dir.join(NEW), path).and_then(|()| fs::File::open(dir)?.sync_all()).map_err(failed(path))?;
    Ok(previous)
}

struct Finder<'a> {
    dir: &'a Path,
    manifests: Manifests,
    /// What the new store is to have.
    store: Contents,
    found: Vec<Found>,
}

/// A thing that is in the new store, or why not.
enum Outcome<R> {
    Taken(R, Option<String>),
    Left(&'static str, Option<String>),
}

const UNFINISHED: &str = "its creation was not finished";
const DELETED: &str = "it was being deleted";
const NO_FILES: &str = "there are no files of it";
const UNTOLD: &str = "it has no manifest, and only that would tell which image it is made of";

impl<'a> Finder<'a> {
    fn new(dir: &'a Path, known: Option<Contents>) -> Self {
        let store = known.unwrap_or_default();
        Self { dir, manifests: Manifests::new(dir), store, found: Vec::new() }
    }

    /// Ids that are found in folders or have a manifest, and that the store does not know.
    fn ids<R: Stored>(&self, known: &[R], folders: &[&str]) -> Vec<String> {
        let in_folders = folders.iter().flat_map(|folder| names_in(&self.dir.join(folder)));
        let in_folders = in_folders.map(|name| name.strip_suffix(PACKED).unwrap_or(&name).to_owned());
        let mut ids: BTreeSet<String> = in_folders.chain(self.manifests.ids(R::TABLE).into_keys()).collect();
        ids.retain(|id| is_file_name(id) && !id.contains(".partial") && !is_partial(id));
        for record in known {
            ids.remove(record.id());
        }
        ids.into_iter().collect()
    }

    /// The manifest, what is wrong with one that cannot be read, or why what has none is left alone.
    fn manifest<R: Stored>(&self, id: &str) -> Result<(Option<R>, Option<String>), &'static str> {
        if self.manifests.marked::<R>(id, Mark::Deleting) {
            return Err(DELETED);
        }
        match self.manifests.read::<R>(id) {
            Ok(Some(record)) if record.id() == id => Ok((Some(record), None)),
            Ok(Some(_)) => Ok((None, Some("its manifest is that of another".to_owned()))),
            Ok(None) if self.manifests.marked::<R>(id, Mark::Creating) => Err(UNFINISHED),
            Ok(None) => Ok((None, None)),
            Err(error) => Ok((None, Some(format!("its manifest cannot be read ({error})")))),
        }
    }

    fn tell(&mut self, kind: &'static str, id: &str, name: &str, state: String, taken: bool, note: Option<String>) {
        self.found.push(Found { kind, id: id.to_owned(), name: name.to_owned(), state, taken, note });
    }

    fn left(&mut self, kind: &'static str, id: &str, why: &str, note: Option<String>) {
        let why = note.map_or_else(|| why.to_owned(), |note| format!("{why}; {note}"));
        self.tell(kind, id, id, "-".to_owned(), false, Some(why));
    }

    fn volumes(&mut self) {
        let known = self.store.volumes.clone();
        for volume in &known {
            self.tell("volume", &volume.id, &volume.name, "ready".to_owned(), true, None);
        }
        let mut names: HashSet<String> = known.iter().map(|volume| volume.name.clone()).collect();
        for id in self.ids(&known, &[Volume::TABLE]) {
            let there = self.dir.join(Volume::TABLE).join(&id).is_dir();
            match self.volume(&id, there) {
                Outcome::Taken(mut volume, mut note) => {
                    volume.name = unique(&mut names, volume.name, &id, &mut note);
                    self.tell("volume", &id, &volume.name, "ready".to_owned(), true, note);
                    self.store.volumes.push(volume);
                }
                Outcome::Left(why, note) => self.left("volume", &id, why, note),
            }
        }
    }

    fn volume(&self, id: &str, there: bool) -> Outcome<Volume> {
        match self.manifest::<Volume>(id) {
            Err(why) => Outcome::Left(why, None),
            Ok((Some(volume), _)) if volume.deleting => Outcome::Left(DELETED, None),
            Ok((_, damage)) if !there => Outcome::Left(NO_FILES, damage),
            Ok((Some(volume), _)) => Outcome::Taken(volume, None),
            Ok((None, damage)) => {
                Outcome::Taken(Volume::of_files(id, now()), Some(untold(damage, "its name is not known")))
            }
        }
    }

    fn snapshots(&mut self) {
        let known = self.store.snapshots.clone();
        for snapshot in &known {
            self.tell("snapshot", &snapshot.id, &snapshot.name, snapshot.state.to_string(), true, None);
        }
        let mut names: HashSet<String> = known.iter().map(|snapshot| snapshot.name.clone()).collect();
        for id in self.ids(&known, &[snapshot::Record::TABLE]) {
            match self.snapshot(&id) {
                Outcome::Taken(mut snapshot, mut note) => {
                    snapshot.name = unique(&mut names, snapshot.name, &id, &mut note);
                    self.tell("snapshot", &id, &snapshot.name, snapshot.state.to_string(), true, note);
                    self.store.snapshots.push(snapshot);
                }
                Outcome::Left(why, note) => self.left("snapshot", &id, why, note),
            }
        }
    }

    fn snapshot(&self, id: &str) -> Outcome<snapshot::Record> {
        let folder = snapshot::folder(self.dir).join(id);
        let (manifest, damage) = match self.manifest::<snapshot::Record>(id) {
            Err(why) => return Outcome::Left(why, None),
            Ok(found) => found,
        };
        let Some(mut snapshot) = manifest else {
            return match shape(&folder) {
                None => Outcome::Left(NO_FILES, damage),
                Some(Shape::Image) => Outcome::Left(UNTOLD, damage),
                Some(shape) => {
                    let bytes = daytona_runtime::disk_usage(&folder);
                    let note = untold(damage, "its name and size are not known");
                    Outcome::Taken(default_snapshot(id, shape, bytes), Some(note))
                }
            };
        };
        let builds = snapshot.build.is_some() && snapshot.unfinished();
        if snapshot.state == SnapshotState::Removing {
            return Outcome::Left(DELETED, None);
        }
        if !folder.is_dir() && snapshot.image.is_none() && snapshot.build.is_none() {
            return Outcome::Left(NO_FILES, None);
        }
        if builds {
            return Outcome::Taken(snapshot, Some("it is built again at the next start of the server".to_owned()));
        }
        if snapshot.unfinished() {
            snapshot.state = SnapshotState::Active;
        }
        Outcome::Taken(snapshot, None)
    }

    fn sandboxes(&mut self) {
        let known = self.store.sandboxes.clone();
        for sandbox in &known {
            self.tell("sandbox", &sandbox.id, &sandbox.name, sandbox.state.to_string(), true, None);
        }
        let mut names: HashSet<String> = known.iter().map(|sandbox| sandbox.name.clone()).collect();
        for id in self.ids(&known, &[Record::TABLE, "archives"]) {
            match self.sandbox(&id) {
                Outcome::Taken(mut sandbox, mut note) => {
                    sandbox.name = unique(&mut names, sandbox.name, &id, &mut note);
                    self.tell("sandbox", &id, &sandbox.name, sandbox.state.to_string(), true, note);
                    self.store.sandboxes.push(sandbox);
                }
                Outcome::Left(why, note) => self.left("sandbox", &id, why, note),
            }
        }
    }

    fn sandbox(&self, id: &str) -> Outcome<Record> {
        let folder = self.dir.join(Record::TABLE).join(id);
        let archives = self.dir.join("archives");
        let archive =
            [archives.join(format!("{id}{PACKED}")), archives.join(id)].into_iter().find(|path| path.exists());
        let (manifest, damage) = match self.manifest::<Record>(id) {
            Err(why) => return Outcome::Left(why, None),
            Ok(found) => found,
        };
        let mut notes: Vec<String> = Vec::new();
        let mut record = match manifest {
            Some(record) if record.desired == Desired::Destroyed => return Outcome::Left(DELETED, None),
            Some(record) if record.ephemeral() => {
                return Outcome::Left("it was ephemeral, and ended with its server", None);
            }
            Some(record) => record,
            None => {
                let files = if folder.is_dir() { Some(&folder) } else { archive.as_ref() };
                match files.and_then(|path| shape(path)) {
                    None => return Outcome::Left(NO_FILES, damage),
                    Some(Shape::Image) => return Outcome::Left(UNTOLD, damage),
                    Some(shape) => {
                        notes.push(untold(damage, "it has default settings, and no network until that is changed"));
                        default_sandbox(id, shape)
                    }
                }
            }
        };
        let packed = record.state == SandboxState::Archived;
        let time = now();
        (record.updated_at, record.last_activity_at) = (time, time);
        (record.state, record.desired) = match (folder.is_dir(), archive.is_some()) {
            (true, false) => (SandboxState::Stopped, Desired::Stopped),
            (false, true) => (SandboxState::Archived, Desired::Archived),
            (true, true) => {
                let (state, desired, counts) = if packed {
                    (SandboxState::Archived, Desired::Archived, "archive")
                } else {
                    (SandboxState::Stopped, Desired::Stopped, "folder")
                };
                if !self.manifests.marked::<Record>(id, Mark::Moving) {
                    notes.push(format!("its folder and its archive are there: the {counts} counts"));
                }
                (state, desired)
            }
            (false, false) if record.state == SandboxState::PendingBuild && record.build.is_some() => {
                notes.push("it is built again at the next start of the server".to_owned());
                (SandboxState::PendingBuild, Desired::Started)
            }
            (false, false) => return Outcome::Left(NO_FILES, None),
        };
        record.made = record.state != SandboxState::PendingBuild;
        record.stopped_at = (record.state != SandboxState::PendingBuild).then_some(time);
        record.archived_at = (record.state == SandboxState::Archived).then(|| record.archived_at.unwrap_or(time));
        notes.extend(self.missing(&record));
        Outcome::Taken(record, (!notes.is_empty()).then(|| notes.join("; ")))
    }

    /// What a sandbox had and no longer has.
    fn missing(&self, record: &Record) -> Vec<String> {
        let mut notes = Vec::new();
        let secrets: Vec<&str> = record
            .secrets
            .iter()
            .filter(|(_, id)| !self.store.secrets.iter().any(|secret| secret.id() == id.as_str()))
            .map(|(variable, _)| variable.as_str())
            .collect();
        if !secrets.is_empty() {
            notes.push(format!("the secrets behind {} are gone", secrets.join(", ")));
        }
        for mount in &record.volumes {
            if !self.store.volumes.iter().any(|volume| volume.id == mount.volume_id) {
                notes.push(format!("its volume {} is not there", mount.volume_id));
            }
        }
        notes
    }

    /// Keeps what the next start of the server would take for nobody's, and manifests that nobody can read.
    fn settle(&self) {
        for Found { kind, id, taken, .. } in &self.found {
            let table = match *kind {
                "volume" => Volume::TABLE,
                "snapshot" => snapshot::Record::TABLE,
                _ => Record::TABLE,
            };
            if !taken {
                self.manifests.unmark_creating(table, id);
            } else if crate::manifest::value(&self.manifests.file(table, id)).is_err() {
                let path = self.manifests.file(table, id);
                let _ = fs::rename(&path, path.with_extension("damaged"));
            }
        }
    }
}

/// The name, unless another has it.
fn unique(names: &mut HashSet<String>, name: String, id: &str, note: &mut Option<String>) -> String {
    if names.insert(name.clone()) {
        return name;
    }
    let taken = format!("another has its name {name}");
    *note = Some(note.take().map_or_else(|| taken.clone(), |note| format!("{note}; {taken}")));
    id.to_owned()
}

fn untold(damage: Option<String>, consequence: &str) -> String {
    format!("{}: {consequence}", damage.unwrap_or_else(|| "it has no manifest".to_owned()))
}

#[cfg(test)]
mod tests;
