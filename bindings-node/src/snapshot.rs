//! Snapshots.

use daytona_core::SnapshotQuery;
use napi_derive::napi;

use crate::completion::Outcome;
use crate::daytona::{NativeClient, json, parse};

#[napi]
impl NativeClient {
    /// One page of snapshots. `query` is JSON.
    #[napi]
    pub fn list_snapshots(&self, id: u32, query: String, timeout: Option<f64>) {
        let snapshots = self.daytona.snapshot();
        self.calls.spawn(id, async move {
            let query: SnapshotQuery = parse(&query)?;
            json(&snapshots.list(&query, timeout).await?)
        });
    }

    /// Finds a snapshot.
    #[napi]
    pub fn get_snapshot(&self, id: u32, id_or_name: String, timeout: Option<f64>) {
        let snapshots = self.daytona.snapshot();
        self.calls.spawn(id, async move { json(&snapshots.get(&id_or_name, timeout).await?) });
    }

    /// Deletes a snapshot.
    #[napi]
    pub fn delete_snapshot(&self, id: u32, id_or_name: String, timeout: Option<f64>) {
        let snapshots = self.daytona.snapshot();
        self.calls.spawn(id, async move { snapshots.delete(&id_or_name, timeout).await.map(|()| Outcome::Unit) });
    }

    /// Takes a snapshot out of use.
    #[napi]
    pub fn deactivate_snapshot(&self, id: u32, id_or_name: String, timeout: Option<f64>) {
        let snapshots = self.daytona.snapshot();
        self.calls.spawn(id, async move { snapshots.deactivate(&id_or_name, timeout).await.map(|()| Outcome::Unit) });
    }

    /// Makes a snapshot usable again.
    #[napi]
    pub fn activate_snapshot(&self, id: u32, id_or_name: String, timeout: Option<f64>) {
        let snapshots = self.daytona.snapshot();
        self.calls.spawn(id, async move { json(&snapshots.activate(&id_or_name, timeout).await?) });
    }
}
