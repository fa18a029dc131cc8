//! Manifests: beside the store, what each sandbox, snapshot and volume is, as a file of its own; and marks, which say of
//! files on disk why nobody may know them.
//!
//! A manifest is the record without what can be made anew: keys, tokens, times of use. It lies in
//! `{data dir}/manifests/{table}/{id}.json`, which no sandbox sees, and is written by a thread of its own once the record
//! is stored: nobody waits for it. A store that is lost is made again of them. What is on disk and has a mark was never
//! acknowledged, or was to go.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, DirBuilder, OpenOptions};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;

use daytona_wire::sandbox::SandboxState;
use serde_json::{Map, Value, json};

use crate::record::{Desired, Record};
use crate::signing;
use crate::store::Stored;

/// The folder of all manifests.
pub(crate) const FOLDER: &str = "manifests";
/// Of their form.
const VERSION: u32 = 1;
const ENDING: &str = "json";
const UNFINISHED: &str = "new";

/// Why nobody may know of files, or of a part of them. The name of a mark's file says all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    /// Being made, and not acknowledged.
    Creating,
    /// To be deleted.
    Deleting,
    /// On their way between the folder and the archive: what the record does not name is a copy.
    Moving,
}

impl Mark {
    const ALL: [Self; 3] = [Self::Creating, Self::Deleting, Self::Moving];

    fn ending(self) -> &'static str {
        match self {
            Self::Creating => "creating",
            Self::Deleting => "deleting",
            Self::Moving => "moving",
        }
    }
}

/// Where the manifests of a data directory are; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Manifests(PathBuf);

impl Manifests {
    pub(crate) fn new(data_dir: &Path) -> Self {
        Self(data_dir.join(FOLDER))
    }

    /// Where the manifest of what has this id is.
    pub(crate) fn file(&self, table: &str, id: &str) -> PathBuf {
        self.path(table, id, ENDING)
    }

    fn path(&self, table: &str, id: &str, ending: &str) -> PathBuf {
        self.0.join(table).join(format!("{id}.{ending}"))
    }

    /// Sets a mark. Without it what a crash leaves is kept in `lost+found` for a while: no reason to fail.
    pub(crate) fn mark<R: Stored>(&self, id: &str, mark: Mark) {
        let path = self.path(R::TABLE, id, mark.ending());
        let touch = || OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path);
        let made = match touch() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => make_parent(&path).and_then(|()| touch()),
            made => made,
        };
        if let Err(error) = made {
            tracing::warn!(id, %error, "a mark could not be set");
        }
    }

    /// Takes a mark back; none is fine.
    pub(crate) fn unmark<R: Stored>(&self, id: &str, mark: Mark) {
        let _ = fs::remove_file(self.path(R::TABLE, id, mark.ending()));
    }

    pub(crate) fn marked<R: Stored>(&self, id: &str, mark: Mark) -> bool {
        self.path(R::TABLE, id, mark.ending()).exists()
    }

    /// The record of a manifest as it can be read again; none where there is no manifest.
    ///
    /// # Errors
    /// Why a manifest that is there cannot be read.
    pub(crate) fn read<R: Stored>(&self, id: &str) -> Result<Option<R>, String> {
        read(&self.file(R::TABLE, id))
    }

    /// Deletes the manifest and the marks of what is gone, and what a crash has left of one that was being written.
    pub(crate) fn forget(&self, table: &str, id: &str) {
        for ending in [ENDING, UNFINISHED] {
            let _ = fs::remove_file(self.path(table, id, ending));
        }
        self.unmark_all(table, id);
    }

    /// Takes back the mark that lets what nobody knows be deleted.
    pub(crate) fn unmark_creating(&self, table: &str, id: &str) {
        let _ = fs::remove_file(self.path(table, id, Mark::Creating.ending()));
    }

    /// Takes all marks back.
    pub(crate) fn unmark_all(&self, table: &str, id: &str) {
        for mark in Mark::ALL {
            let _ = fs::remove_file(self.path(table, id, mark.ending()));
        }
    }

    /// Ids of a table that have a manifest, a mark or the beginning of one, in order; and whether they have a mark.
    pub(crate) fn ids(&self, table: &str) -> BTreeMap<String, bool> {
        let mut ids = BTreeMap::new();
        for (id, ending) in self.files(table) {
            *ids.entry(id).or_default() |= ending != ENDING && ending != UNFINISHED;
        }
        ids
    }

    fn files(&self, table: &str) -> Vec<(String, String)> {
        let entries = fs::read_dir(self.0.join(table)).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        let known = |ending: &str| {
            [ENDING, UNFINISHED].contains(&ending) || Mark::ALL.iter().any(|mark| mark.ending() == ending)
        };
        names
            .filter_map(|name| {
                let (id, ending) = name.rsplit_once('.')?;
                known(ending).then(|| (id.to_owned(), ending.to_owned()))
            })
            .collect()
    }
}

/// The record of a manifest file.
///
/// # Errors
/// Why it cannot be read.
pub(crate) fn read<R: Stored>(path: &Path) -> Result<Option<R>, String> {
    let Some(mut record) = value(path)? else { return Ok(None) };
    if R::TABLE == Record::TABLE {
        // Links that were signed before lead nowhere.
        let key = signing::new_key().map_err(|error| error.to_string())?;
        record.insert("signing_key".to_owned(), Value::String(key));
    }
    serde_json::from_value(Value::Object(record)).map(Some).map_err(|error| format!("{}: {error}", path.display()))
}

/// The fields of a manifest's record.
///
/// # Errors
/// Why it cannot be read.
pub(crate) fn value(path: &Path) -> Result<Option<Map<String, Value>>, String> {
    let named = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let bytes = match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        read => read.map_err(|error| named(&error))?,
    };
    let mut manifest: Value = serde_json::from_slice(&bytes).map_err(|error| named(&error))?;
    match manifest["record"].take() {
        Value::Object(record) if manifest["version"] == VERSION => Ok(Some(record)),
        _ => Err(named(&format!("not a manifest of version {VERSION}"))),
    }
}

/// What is written of a record; the same for records that differ only in what does not matter.
fn text(table: &str, record: &[u8]) -> Option<Vec<u8>> {
    let mut fields = if table == Record::TABLE {
        let mut record: Record = serde_json::from_slice(record).ok()?;
        (record.state, record.desired) = lasting(&record);
        serde_json::to_value(&record).ok()?
    } else {
        serde_json::from_slice(record).ok()?
    };
    let object = fields.as_object_mut()?;
    for name in ["signing_key", "access", "last_used_at", "error_reason", "recoverable", "stopped_at"] {
        object.remove(name);
    }
    let made = object.get("created_at").cloned().unwrap_or_default();
    for name in ["updated_at", "last_activity_at"] {
        if object.contains_key(name) {
            object.insert(name.to_owned(), made.clone());
        }
    }
    serde_json::to_vec(&json!({ "version": VERSION, "table": table, "record": fields })).ok()
}

/// The state of a sandbox as far as it outlives a server.
fn lasting(record: &Record) -> (SandboxState, Desired) {
    use SandboxState as S;
    match record.state {
        _ if record.desired == Desired::Destroyed => (S::Destroying, Desired::Destroyed),
        S::Archived | S::Restoring => (S::Archived, Desired::Archived),
        // Its archive may be missing for now.
        S::Error if record.desired == Desired::Archived => (S::Archived, Desired::Archived),
        S::PendingBuild | S::BuildingSnapshot | S::BuildFailed => (S::PendingBuild, Desired::Started),
        _ => (S::Stopped, Desired::Stopped),
    }
}

/// Makes the folder of a table, and that of all tables. A data directory that somebody has deleted stays deleted.
fn make_parent(path: &Path) -> io::Result<()> {
    let Some(table) = path.parent() else { return Ok(()) };
    for folder in table.parent().into_iter().chain([table]) {
        match DirBuilder::new().mode(0o700).create(folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Written as a whole or not at all, for the server's user alone.
fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = path.with_extension(UNFINISHED);
    let open = || OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new);
    let mut file = match open() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            make_parent(path)?;
            open()?
        }
        opened => opened?,
    };
    file.write_all(bytes)?;
    drop(file);
    fs::rename(&new, path)
}

/// A record that was stored, or deleted.
struct Note {
    table: &'static str,
    id: String,
    record: Option<Vec<u8>>,
}

/// Keeps the manifests of a store; dropped, it writes what is left.
pub(crate) struct Keeper {
    queue: Option<mpsc::Sender<Note>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Keeper {
    pub(crate) fn start(data_dir: &Path) -> io::Result<Self> {
        let (queue, notes) = mpsc::channel();
        let manifests = Manifests::new(data_dir);
        let thread =
            thread::Builder::new().name("manifests".to_owned()).spawn(move || keep(&manifests, &notes)).map(Some)?;
        Ok(Self { queue: Some(queue), thread })
    }

    /// Takes note of what is stored now under this id. Tables without manifests are fine.
    pub(crate) fn note(&self, table: &'static str, id: &str, record: Option<&[u8]>) {
        if !TABLES.contains(&table) || !is_file_name(id) {
            return;
        }
        if let Some(queue) = &self.queue {
            let _ = queue.send(Note { table, id: id.to_owned(), record: record.map(<[u8]>::to_vec) });
        }
    }

    /// The same for a record that was read.
    pub(crate) fn note_stored<R: Stored>(&self, record: &R) {
        if let Ok(bytes) = serde_json::to_vec(record) {
            self.note(R::TABLE, record.id(), Some(&bytes));
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.queue.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The tables whose records have files.
pub(crate) const TABLES: [&str; 3] =
    [Record::TABLE, <crate::snapshot::Record as Stored>::TABLE, <crate::volume::Volume as Stored>::TABLE];

/// Ids are the server's own; whatever they are, they stay in their folder.
pub(crate) fn is_file_name(id: &str) -> bool {
    (1..=200).contains(&id.len()) && !id.starts_with('.') && !id.contains(['/', '\0'])
}

fn keep(manifests: &Manifests, notes: &mpsc::Receiver<Note>) {
    let mut written: HashMap<(&'static str, String), u64> = HashMap::new();
    while let Ok(Note { table, id, record }) = notes.recv() {
        let path = manifests.file(table, &id);
        let Some(record) = record else {
            written.remove(&(table, id.clone()));
            let _ = fs::remove_file(path);
            // A deletion under way ends its own mark.
            for mark in [Mark::Creating, Mark::Moving] {
                let _ = fs::remove_file(manifests.path(table, &id, mark.ending()));
            }
            continue;
        };
        let Some(text) = text(table, &record) else { continue };
        let mut hasher = DefaultHasher::new();
        text.hash(&mut hasher);
        let digest = hasher.finish();
        let before = written.get(&(table, id.clone()));
        if before == Some(&digest) {
            continue;
        }
        let first = before.is_none();
        if !(first && fs::read(&path).is_ok_and(|there| there == text))
            && let Err(error) = write(&path, &text)
        {
            tracing::warn!(path = %path.display(), %error, "a manifest could not be written");
            continue;
        }
        if first {
            // Acknowledged: from now on it is not to go.
            let _ = fs::remove_file(manifests.path(table, &id, Mark::Creating.ending()));
        }
        written.insert((table, id), digest);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    fn keep(dir: &Path, notes: impl FnOnce(&Keeper)) {
        let keeper = Keeper::start(dir).unwrap();
        notes(&keeper);
    }

    #[test]
    fn a_manifest_has_all_that_makes_a_sandbox_again_and_no_keys() {
        let dir = tempfile::tempdir().unwrap();
        let manifests = Manifests::new(dir.path());
        let mut record = Record::sample("a");
        record.labels = [("x".to_owned(), "y".to_owned())].into();
        record.signing_key = "very-secret".to_owned();
        keep(dir.path(), |keeper| keeper.note_stored(&record));
        let path = manifests.file("sandboxes", "a");
        assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o600);
        assert_eq!(path.parent().unwrap().metadata().unwrap().mode() & 0o777, 0o700);
        assert!(!fs::read_to_string(&path).unwrap().contains("very-secret"));
        let read: Record = manifests.read("a").unwrap().unwrap();
        assert_eq!((read.name, read.labels, read.cpu), (record.name, record.labels, record.cpu));
        assert_eq!(read.state, SandboxState::Stopped);
        assert_ne!(read.signing_key, "very-secret");
        assert!(manifests.read::<Record>("b").unwrap().is_none());
        fs::write(path, "{").unwrap();
        assert!(manifests.read::<Record>("a").is_err());
    }

    #[test]
    fn a_data_directory_that_was_deleted_is_not_made_again() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        keep(&data, |keeper| keeper.note_stored(&Record::sample("a")));
        Manifests::new(&data).mark::<Record>("a", Mark::Creating);
        assert!(!data.exists());
    }

    #[test]
    fn only_what_matters_is_written_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = Manifests::new(dir.path()).file("sandboxes", "a");
        let inode = || path.metadata().unwrap().ino();
        let mut record = Record::sample("a");
        keep(dir.path(), |keeper| keeper.note_stored(&record));
        let first = inode();
        (record.state, record.updated_at, record.last_activity_at) = (SandboxState::Stopped, 7, 8);
        keep(dir.path(), |keeper| {
            keeper.note_stored(&record);
            record.state = SandboxState::Starting;
            keeper.note_stored(&record);
        });
        assert_eq!(inode(), first);
        record.name = "other".to_owned();
        keep(dir.path(), |keeper| keeper.note_stored(&record));
        assert_ne!(inode(), first);
        assert!(fs::read_to_string(&path).unwrap().contains("other"));
        keep(dir.path(), |keeper| keeper.note("sandboxes", "a", None));
        assert!(!path.exists());
    }

    #[test]
    fn a_mark_lasts_until_its_record_is_stored() {
        let dir = tempfile::tempdir().unwrap();
        let manifests = Manifests::new(dir.path());
        manifests.mark::<Record>("a", Mark::Creating);
        manifests.mark::<Record>("b", Mark::Creating);
        manifests.mark::<Record>("b", Mark::Deleting);
        keep(dir.path(), |keeper| {
            keeper.note_stored(&Record::sample("a"));
            keeper.note("sandboxes", "b", None);
            keeper.note("secrets", "c", Some(b"{}"));
        });
        assert!(!manifests.marked::<Record>("a", Mark::Creating));
        assert!(!manifests.marked::<Record>("b", Mark::Creating));
        assert!(manifests.marked::<Record>("b", Mark::Deleting));
        assert_eq!(manifests.ids("sandboxes"), [("a".to_owned(), false), ("b".to_owned(), true)].into());
        assert!(!dir.path().join("manifests/secrets").exists());
        manifests.forget("sandboxes", "b");
        assert_eq!(manifests.ids("sandboxes"), [("a".to_owned(), false)].into());
    }
}
