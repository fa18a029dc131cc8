//! What outlives the server: a table of records for each resource, in redb.
//!
//! One thread writes. It takes everything that waits into one transaction, so that many requests
//! share one fsync, and answers each only after its transaction is on disk. While nothing waits it makes the daily
//! copy, and keeps some room for the time when the disk is full.

mod copies;
mod guard;
mod reserve;
mod verify;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use futures_util::future::Shared;
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition, TableError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::oneshot;

pub(crate) use self::guard::open;
use self::reserve::Reserve;
pub(crate) use self::reserve::{is_full, make_room};
use crate::api_key::ApiKey;
use crate::manifest::Keeper;
use crate::record::Record;
use crate::secret::Secret;
use crate::snapshot;
use crate::volume::Volume;
use crate::warm_pool::WarmPool;

/// A record of one resource.
pub(crate) trait Stored: Serialize + DeserializeOwned {
    /// The table they are in.
    const TABLE: &'static str;

    /// Its key.
    fn id(&self) -> &str;
}

impl Stored for Record {
    const TABLE: &'static str = "sandboxes";

    fn id(&self) -> &str {
        &self.id
    }
}

impl Stored for snapshot::Record {
    const TABLE: &'static str = "snapshots";

    fn id(&self) -> &str {
        &self.id
    }
}

/// All that was stored.
#[derive(Default)]
pub(crate) struct Contents {
    pub(crate) sandboxes: Vec<Record>,
    pub(crate) snapshots: Vec<snapshot::Record>,
    pub(crate) volumes: Vec<Volume>,
    pub(crate) secrets: Vec<Secret>,
    pub(crate) api_keys: Vec<ApiKey>,
    pub(crate) warm_pools: Vec<WarmPool>,
}

impl Contents {
    fn read(database: &Database) -> Result<Self, StoreError> {
        Ok(Self {
            sandboxes: read_all(database)?,
            snapshots: read_all(database)?,
            volumes: read_all(database)?,
            secrets: read_all(database)?,
            api_keys: read_all(database)?,
            warm_pools: read_all(database)?,
        })
    }

    /// All that is in a store which nobody else needs: opening it may repair it.
    pub(crate) fn read_file(path: &Path) -> Result<Self, StoreError> {
        Self::read(&open_database(path, true)?)
    }

    /// Whether these bytes are those of a sound store in which something was stored.
    pub(crate) fn are_sound(bytes: &[u8]) -> bool {
        verify::verify(bytes).is_ok_and(|sound| !sound.blank)
    }
}

const TABLES: [&str; 7] =
    [META, Record::TABLE, snapshot::Record::TABLE, Volume::TABLE, Secret::TABLE, ApiKey::TABLE, WarmPool::TABLE];
/// What is known of the store itself.
const META: &str = "meta";
/// There: the identifier of the data directory that it belongs to.
const OWNER: &str = "data_dir";
const CACHE_BYTES: usize = 8 << 20;
/// The store's file in the data directory.
pub(crate) const FILE: &str = "state.redb";
/// After so long without a change, copies and room are looked after, and again each time so much later.
const QUIET: Duration = Duration::from_secs(1);
const AGAIN: Duration = Duration::from_secs(600);

/// Why the store failed.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{text}")]
pub(crate) struct StoreError {
    text: String,
    /// There was no room.
    full: bool,
}

impl StoreError {
    pub(crate) fn new(error: impl std::fmt::Display) -> Self {
        Self { text: error.to_string(), full: false }
    }

    fn of(error: impl Into<redb::Error>) -> Self {
        let error = error.into();
        let full = matches!(&error, redb::Error::Io(error) if is_full(error));
        Self { text: error.to_string(), full }
    }
}

/// One key's new value; `None` deletes it.
struct Change {
    table: &'static str,
    key: String,
    value: Option<Vec<u8>>,
}

impl Change {
    fn of<R: Stored>(key: &str, value: Option<Vec<u8>>) -> Self {
        Self { table: R::TABLE, key: key.to_owned(), value }
    }
}

fn definition(table: &str) -> TableDefinition<'_, &'static str, &'static [u8]> {
    TableDefinition::new(table)
}

struct Write {
    changes: Vec<Change>,
    done: oneshot::Sender<Result<(), StoreError>>,
}

/// The open store.
pub(crate) struct Store(Mutex<Option<Running>>);

struct Running {
    queue: mpsc::Sender<Write>,
    writer: thread::JoinHandle<()>,
}

/// Resolves when the change is on disk.
#[derive(Clone)]
pub(crate) struct Pending(Shared<oneshot::Receiver<Result<(), StoreError>>>);

impl Pending {
    pub(crate) async fn stored(self) -> Result<(), StoreError> {
        self.0.await.unwrap_or_else(|_| Err(StoreError::new("the store is closed")))
    }
}

impl Store {
    /// Opens the store and reads all of it. What is stored then is also noted in `manifests`.
    pub(crate) fn open(path: &Path, manifests: Keeper) -> Result<(Self, Contents), StoreError> {
        let database = open_database(path, true)?;
        let contents = Contents::read(&database)?;
        contents.sandboxes.iter().for_each(|record| manifests.note_stored(record));
        contents.snapshots.iter().for_each(|record| manifests.note_stored(record));
        contents.volumes.iter().for_each(|record| manifests.note_stored(record));
        let (queue, waiting) = mpsc::channel();
        let path = path.to_owned();
        let writer = thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || write_all(&path, database, &waiting, &manifests))
            .map_err(StoreError::new)?;
        Ok((Self(Mutex::new(Some(Running { queue, writer }))), contents))
    }

    /// Stores the record's present value. Changes take effect in the order of the calls.
    pub(crate) fn put<R: Stored>(&self, record: &R) -> Pending {
        self.put_all([record])
    }

    /// Stores several at once.
    pub(crate) fn put_all<'a, R: Stored + 'a>(&self, records: impl IntoIterator<Item = &'a R>) -> Pending {
        let changes = records
            .into_iter()
            .filter_map(|record| {
                let bytes = serde_json::to_vec(record).ok()?;
                Some(Change::of::<R>(record.id(), Some(bytes)))
            })
            .collect();
        self.send(changes)
    }

    /// Notes which data directory it belongs to.
    fn set_owner(&self, id: &str) {
        let change = Change { table: META, key: OWNER.to_owned(), value: Some(id.as_bytes().to_vec()) };
        drop(self.send(vec![change]));
    }

    /// Removes a record.
    pub(crate) fn delete<R: Stored>(&self, id: &str) -> Pending {
        self.send(vec![Change::of::<R>(id, None)])
    }

    fn running(&self) -> std::sync::MutexGuard<'_, Option<Running>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn send(&self, changes: Vec<Change>) -> Pending {
        let (done, pending) = oneshot::channel();
        // A dead writer, or none any more, drops `done`: the caller learns it there.
        if let Some(running) = &*self.running() {
            let _ = running.queue.send(Write { changes, done });
        }
        Pending(pending.shared())
    }

    /// Writes what waits and closes the file.
    pub(crate) fn close(&self) {
        let running = self.running().take();
        if let Some(Running { queue, writer }) = running {
            drop(queue);
            let _ = writer.join();
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.close();
    }
}

/// Makes a store with nothing in it; whole or not at all.
pub(crate) fn create(path: &Path) -> Result<(), StoreError> {
    let new = path.with_extension("new");
    let _ = std::fs::remove_file(&new);
    let database = Database::builder().set_cache_size(CACHE_BYTES).create(&new).map_err(StoreError::of)?;
    commit_to(&database, &[])?;
    drop(database);
    std::fs::rename(&new, path).map_err(StoreError::new)
}

fn open_database(path: &Path, check: bool) -> Result<Database, StoreError> {
    let open = |check| Database::builder().set_cache_size(CACHE_BYTES).set_check_integrity_on_open(check).open(path);
    let opened = match open(check).map_err(StoreError::of) {
        // The check writes too.
        Err(error) if error.full && check => open(false).map_err(StoreError::of),
        opened => opened,
    };
    opened.map_err(|error| StoreError { text: format!("{}: {error}", path.display()), ..error })
}

fn read_all<R: Stored>(database: &Database) -> Result<Vec<R>, StoreError> {
    let transaction = database.begin_read().map_err(StoreError::of)?;
    let table = match transaction.open_table(definition(R::TABLE)) {
        Ok(table) => table,
        // Nothing was ever stored.
        Err(TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
        Err(error) => return Err(StoreError::of(error)),
    };
    let mut records = Vec::new();
    for entry in table.iter().map_err(StoreError::of)? {
        let (id, bytes) = entry.map_err(StoreError::of)?;
        let record = serde_json::from_slice(bytes.value())
            .map_err(|error| StoreError::new(format!("record {}: {error}", id.value())))?;
        records.push(record);
    }
    Ok(records)
}

fn write_all(path: &Path, database: Database, waiting: &mpsc::Receiver<Write>, manifests: &Keeper) {
    let dir = path.parent().unwrap_or(path);
    let mut writer =
        Writer { path: path.to_owned(), dir: dir.to_owned(), reserve: Reserve::of(dir), database: Some(database) };
    let mut rest = Instant::now() + QUIET;
    // Put off while much is written, but not for ever.
    let mut latest = rest + AGAIN;
    loop {
        let first = match waiting.recv_timeout(rest.saturating_duration_since(Instant::now())) {
            Ok(first) => Some(first),
            Err(mpsc::RecvTimeoutError::Timeout) => None,
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
        };
        if let Some(first) = first {
            let mut batch = vec![first];
            batch.extend(waiting.try_iter());
            let result = writer.write(&batch);
            for write in batch {
                let _ = write.done.send(result.clone());
                if result.is_ok() {
                    for Change { table, key, value } in &write.changes {
                        manifests.note(table, key, value.as_deref());
                    }
                }
            }
            rest = rest.max(Instant::now() + QUIET).min(latest);
            if Instant::now() < latest {
                continue;
            }
        }
        writer.rest();
        rest = Instant::now() + AGAIN;
        latest = rest + AGAIN;
    }
    writer.rest();
}

/// What the thread works with.
struct Writer {
    path: PathBuf,
    dir: PathBuf,
    reserve: Reserve,
    database: Option<Database>,
}

impl Writer {
    fn write(&mut self, batch: &[Write]) -> Result<(), StoreError> {
        let mut result = self.commit(batch);
        if result.as_ref().is_err_and(|error| error.full) && self.reserve.release() {
            result = self.commit(batch);
        }
        if let Err(error) = &result {
            tracing::error!(%error, "the store could not be written");
        }
        result
    }

    fn commit(&mut self, batch: &[Write]) -> Result<(), StoreError> {
        let database = match &self.database {
            Some(database) => database,
            None => self.database.insert(open_database(&self.path, false)?),
        };
        let result = commit_to(database, batch);
        if result.is_err() {
            // redb refuses to go on after an I/O error: it is opened anew for the next batch.
            self.database = None;
        }
        result
    }

    /// What is done while nothing is to be written.
    fn rest(&self) {
        self.reserve.keep();
        if let Some(database) = &self.database
            && copies::due(&self.dir)
        {
            copies::daily(&self.dir, database);
        }
    }
}

fn commit_to(database: &Database, batch: &[Write]) -> Result<(), StoreError> {
    let transaction = database.begin_write().map_err(StoreError::of)?;
    for name in TABLES {
        let mut table = transaction.open_table(definition(name)).map_err(StoreError::of)?;
        let changes = batch.iter().flat_map(|write| &write.changes);
        for Change { key, value, .. } in changes.filter(|change| change.table == name) {
            match value {
                Some(bytes) => table.insert(key.as_str(), bytes.as_slice()),
                None => table.remove(key.as_str()),
            }
            .map_err(StoreError::of)?;
        }
    }
    transaction.commit().map_err(StoreError::of)
}

#[cfg(test)]
impl Store {
    /// The store at this place, made where there is none.
    pub(crate) fn sample(path: &Path) -> (Self, Contents) {
        if !path.exists() {
            create(path).unwrap();
        }
        Self::open(path, Keeper::start(path.parent().unwrap()).unwrap()).unwrap()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_stored_is_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.redb");
        let (store, contents) = Store::sample(&path);
        assert!(contents.sandboxes.is_empty());
        let first = Record::sample("a");
        let second = Record::sample("b");
        store.put_all([&first, &second]).stored().await.unwrap();
        store.delete::<Record>("a").stored().await.unwrap();
        store.close();
        let (_, contents) = Store::sample(&path);
        assert_eq!(contents.sandboxes.len(), 1);
        assert_eq!(contents.sandboxes[0].id, "b");
    }
}
