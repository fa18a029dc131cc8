//! The records of one table of the store, kept in memory too.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::error::ApiResult;
use crate::store::{Store, Stored};

/// Rows by their keys. A change is seen at once, answered when it is stored, and undone if it cannot be.
pub(crate) struct Rows<T>(Mutex<BTreeMap<String, T>>);

impl<T: Clone + Stored> Rows<T> {
    pub(crate) fn new(rows: Vec<T>) -> Self {
        Self(Mutex::new(rows.into_iter().map(|row| (row.id().to_owned(), row)).collect()))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn get(&self, key: &str) -> Option<T> {
        self.lock().get(key).cloned()
    }

    pub(crate) fn find(&self, wanted: impl Fn(&T) -> bool) -> Option<T> {
        self.lock().values().find(|row| wanted(row)).cloned()
    }

    pub(crate) fn all(&self) -> Vec<T> {
        self.lock().values().cloned().collect()
    }

    /// Adds a row, unless `check` finds something against it in the others.
    pub(crate) async fn add(
        &self,
        store: &Store,
        row: T,
        check: impl FnOnce(&BTreeMap<String, T>) -> ApiResult<()>,
    ) -> ApiResult<()> {
        let key = row.id().to_owned();
        let pending = {
            let mut rows = self.lock();
            check(&rows)?;
            let pending = store.put(&row);
            rows.insert(key.clone(), row);
            pending
        };
        let stored = pending.stored().await;
        if stored.is_err() {
            self.lock().remove(&key);
        }
        Ok(stored?)
    }

    /// Changes a row, unless `change` refuses; `None` if there is none.
    pub(crate) async fn update(
        &self,
        store: &Store,
        key: &str,
        change: impl FnOnce(&mut T) -> ApiResult<()>,
    ) -> ApiResult<Option<T>> {
        let (before, after, pending) = {
            let mut rows = self.lock();
            let Some(row) = rows.get_mut(key) else { return Ok(None) };
            let before = row.clone();
            if let Err(error) = change(row) {
                *row = before;
                return Err(error);
            }
            (before, row.clone(), store.put(row))
        };
        let stored = pending.stored().await;
        if stored.is_err()
            && let Some(row) = self.lock().get_mut(key)
        {
            *row = before;
        }
        stored?;
        Ok(Some(after))
    }

    /// Removes a row; `None` if there is none.
    pub(crate) async fn remove(&self, store: &Store, key: &str) -> ApiResult<Option<T>> {
        let (row, pending) = {
            let mut rows = self.lock();
            let Some(row) = rows.remove(key) else { return Ok(None) };
            (row, store.delete::<T>(key))
        };
        let stored = pending.stored().await;
        if stored.is_err() {
            self.lock().insert(key.to_owned(), row.clone());
        }
        stored?;
        Ok(Some(row))
    }
}
