//! What outlives the server: a table of records for each resource, in redb.
//!
//! One thread writes. It takes everything that waits into one transaction, so that many requests
//! share one fsync, and answers each only after its transaction is on disk.

use std::path::Path;
use std::sync::mpsc;
use std::thread;

use futures_util::FutureExt as _;
use futures_util::future::Shared;
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition, TableError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::oneshot;

use crate::api_key::ApiKey;
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
pub(crate) struct Contents {
    pub(crate) sandboxes: Vec<Record>,
    pub(crate) snapshots: Vec<snapshot::Record>,
    pub(crate) volumes: Vec<Volume>,
    pub(crate) secrets: Vec<Secret>,
    pub(crate) api_keys: Vec<ApiKey>,
    pub(crate) warm_pools: Vec<WarmPool>,
}

const TABLES: [&str; 6] =
    [Record::TABLE, snapshot::Record::TABLE, Volume::TABLE, Secret::TABLE, ApiKey::TABLE, WarmPool::TABLE];
const CACHE_BYTES: usize = 8 << 20;

/// Why the store failed.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct StoreError(String);

impl StoreError {
    pub(crate) fn new(error: impl std::fmt::Display) -> Self {
        Self(error.to_string())
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
pub(crate) struct Store {
    queue: mpsc::Sender<Write>,
    writer: thread::JoinHandle<()>,
}

/// Resolves when the change is on disk.
#[derive(Clone)]
pub(crate) struct Pending(Shared<oneshot::Receiver<Result<(), StoreError>>>);

impl Pending {
    pub(crate) async fn stored(self) -> Result<(), StoreError> {
        self.0.await.unwrap_or_else(|_| Err(StoreError("the store is closed".to_owned())))
    }
}

impl Store {
    /// Opens or makes the store and reads all of it.
    pub(crate) fn open(path: &Path) -> Result<(Self, Contents), StoreError> {
        let database = open(path)?;
        let contents = Contents {
            sandboxes: read_all(&database)?,
            snapshots: read_all(&database)?,
            volumes: read_all(&database)?,
            secrets: read_all(&database)?,
            api_keys: read_all(&database)?,
            warm_pools: read_all(&database)?,
        };
        let (queue, waiting) = mpsc::channel();
        let path = path.to_owned();
        let writer = thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || write_all(&path, database, &waiting))
            .map_err(StoreError::new)?;
        Ok((Self { queue, writer }, contents))
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

    /// Removes a record.
    pub(crate) fn delete<R: Stored>(&self, id: &str) -> Pending {
        self.send(vec![Change::of::<R>(id, None)])
    }

    fn send(&self, changes: Vec<Change>) -> Pending {
        let (done, pending) = oneshot::channel();
        // A dead writer drops `done`: the caller learns it there.
        let _ = self.queue.send(Write { changes, done });
        Pending(pending.shared())
    }

    /// Writes what waits and closes the file.
    pub(crate) fn close(self) {
        drop(self.queue);
        let _ = self.writer.join();
    }
}

fn open(path: &Path) -> Result<Database, StoreError> {
    Database::builder()
        .set_cache_size(CACHE_BYTES)
        .create(path)
        .map_err(|error| StoreError(format!("{}: {error}", path.display())))
}

fn read_all<R: Stored>(database: &Database) -> Result<Vec<R>, StoreError> {
    let transaction = database.begin_read().map_err(StoreError::new)?;
    let table = match transaction.open_table(definition(R::TABLE)) {
        Ok(table) => table,
        // Nothing was ever stored.
        Err(TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
        Err(error) => return Err(StoreError::new(error)),
    };
    let mut records = Vec::new();
    for entry in table.iter().map_err(StoreError::new)? {
        let (id, bytes) = entry.map_err(StoreError::new)?;
        let record = serde_json::from_slice(bytes.value())
            .map_err(|error| StoreError(format!("record {}: {error}", id.value())))?;
        records.push(record);
    }
    Ok(records)
}

fn write_all(path: &Path, database: Database, waiting: &mpsc::Receiver<Write>) {
    let mut database = Some(database);
    while let Ok(first) = waiting.recv() {
        let mut batch = vec![first];
        batch.extend(waiting.try_iter());
        let result = commit(path, &mut database, &batch);
        if let Err(error) = &result {
            tracing::error!(%error, "the store could not be written");
            // redb refuses to go on after an I/O error: open it anew for the next batch.
            database = None;
        }
        for write in batch {
            let _ = write.done.send(result.clone());
        }
    }
}

fn commit(path: &Path, database: &mut Option<Database>, batch: &[Write]) -> Result<(), StoreError> {
    let database = match database {
        Some(database) => database,
        None => database.insert(open(path)?),
    };
    let transaction = database.begin_write().map_err(StoreError::new)?;
    for name in TABLES {
        let mut table = transaction.open_table(definition(name)).map_err(StoreError::new)?;
        let changes = batch.iter().flat_map(|write| &write.changes);
        for Change { key, value, .. } in changes.filter(|change| change.table == name) {
            match value {
                Some(bytes) => table.insert(key.as_str(), bytes.as_slice()),
                None => table.remove(key.as_str()),
            }
            .map_err(StoreError::new)?;
        }
    }
    transaction.commit().map_err(StoreError::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_stored_is_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.redb");
        let (store, contents) = Store::open(&path).unwrap();
        assert!(contents.sandboxes.is_empty());
        let first = Record::sample("a");
        let second = Record::sample("b");
        store.put_all([&first, &second]).stored().await.unwrap();
        store.delete::<Record>("a").stored().await.unwrap();
        store.close();
        let (_, contents) = Store::open(&path).unwrap();
        assert_eq!(contents.sandboxes.len(), 1);
        assert_eq!(contents.sandboxes[0].id, "b");
    }
}
