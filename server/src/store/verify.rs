//! Whether the bytes of a store are sound; looked at in memory, so that the file stays as it is.

use std::collections::BTreeMap;

use redb::backends::InMemoryBackend;
use redb::{Database, ReadableDatabase as _, ReadableTable as _, StorageBackend as _, TableHandle as _};

use super::{CACHE_BYTES, META, OWNER, TABLES, definition};

/// What a database begins with.
pub(super) const MAGIC: [u8; 9] = *b"redb\x1A\x0A\xA9\x0D\x0A";

type Rows = BTreeMap<(&'static str, String), Vec<u8>>;

/// What a sound store says of itself.
pub(super) struct Sound {
    /// It has no tables at all: nothing was ever stored.
    pub(super) blank: bool,
    /// The data directory that it belongs to.
    pub(super) owner: Option<String>,
}

/// Whether they are sound, or what is wrong.
///
/// Everything is read twice: after a check of all checksums, which falls back to the last sound state, and as it is. Both
/// agree, also after a crash, unless something else than a server has changed the file.
pub(super) fn verify(bytes: &[u8]) -> Result<Sound, String> {
    let (tables, checked) = read(bytes, true)?;
    let (_, trusted) = read(bytes, false)?;
    if checked != trusted {
        return Err("its contents do not match their checksums".to_owned());
    }
    let owner = checked.get(&(META, OWNER.to_owned())).map(|id| String::from_utf8_lossy(id).into_owned());
    Ok(Sound { blank: tables == 0, owner })
}

/// In a thread of its own: what reads a damaged file may panic.
fn read(bytes: &[u8], check: bool) -> Result<(usize, Rows), String> {
    std::thread::scope(|scope| {
        let reader = std::thread::Builder::new().name("store-check".to_owned());
        let reader = reader.spawn_scoped(scope, || read_rows(bytes, check)).map_err(|error| error.to_string())?;
        reader.join().unwrap_or_else(|_| Err("it cannot be read to its end".to_owned()))
    })
}

fn read_rows(bytes: &[u8], check: bool) -> Result<(usize, Rows), String> {
    let text = |error: redb::Error| error.to_string();
    let memory = InMemoryBackend::new();
    let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    memory.set_len(length).and_then(|()| memory.write(0, bytes)).map_err(|error| error.to_string())?;
    let database = Database::builder()
        .set_cache_size(CACHE_BYTES)
        .set_check_integrity_on_open(check)
        .create_with_backend(memory)
        .map_err(|error| text(error.into()))?;
    let transaction = database.begin_read().map_err(|error| text(error.into()))?;
    let names: Vec<String> =
        transaction.list_tables().map_err(|error| text(error.into()))?.map(|table| table.name().to_owned()).collect();
    let ours: Vec<&'static str> = TABLES.into_iter().filter(|table| names.iter().any(|name| name == table)).collect();
    if ours.is_empty() && !names.is_empty() {
        return Err(format!("it is a database of something else, with a table {:?}", names[0]));
    }
    let mut rows = Rows::new();
    for name in &ours {
        let table = transaction.open_table(definition(name)).map_err(|error| text(error.into()))?;
        for entry in table.iter().map_err(|error| text(error.into()))? {
            let (key, value) = entry.map_err(|error| text(error.into()))?;
            rows.insert((name, key.value().to_owned()), value.value().to_vec());
        }
    }
    Ok((ours.len(), rows))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn databases_of_others_and_damaged_ones_are_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("other.redb");
        let database = Database::create(&path).unwrap();
        let write = database.begin_write().unwrap();
        write.open_table(redb::TableDefinition::<&str, u64>::new("scores")).unwrap().insert("a", 1).unwrap();
        write.commit().unwrap();
        drop(database);
        let why = verify(&std::fs::read(&path).unwrap()).err().unwrap();
        assert!(why.contains("scores"), "{why}");

        let path = dir.path().join("state.redb");
        super::super::create(&path).unwrap();
        let good = std::fs::read(&path).unwrap();
        let sound = verify(&good).unwrap();
        assert!(!sound.blank && sound.owner.is_none());
        assert!(verify(&good[..good.len() / 2]).is_err());
    }
}
