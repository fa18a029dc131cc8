//! Snapshots: what sandboxes are made from.

mod create;

use std::sync::Arc;
use std::time::{Duration, Instant};

use daytona_wire::snapshot::{PaginatedSnapshots, Snapshot};
use http::Method;

use crate::build_log::{Build, BuildLog, Form};
use crate::claim::Undo;
use crate::client::Client;
use crate::error::{Error, ErrorKind, Result};
use crate::operation::Operation;
use crate::transport::{Call, seconds};
pub use create::{CreateSnapshotOptions, CreateSnapshotParams, SnapshotCreation};

/// How long a snapshot that is not wanted may take to show, and to let itself be deleted.
const UNDO_LIMIT: Duration = Duration::from_secs(30);
const UNDO_PAUSE: Duration = Duration::from_millis(200);

/// The snapshots of one API.
#[derive(Clone)]
pub struct SnapshotService {
    client: Arc<Client>,
}

/// Which snapshots to list. Everything is optional.
#[derive(Clone, Debug, Default, serde::Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SnapshotQuery {
    /// The number of the page, from 1.
    pub page: Option<i64>,
    /// Snapshots a page, from 1. Servers default to 100.
    pub limit: Option<i64>,
    /// Id of the sandbox they were made from.
    pub source_sandbox_id: Option<String>,
}

/// Deletes a snapshot that a call has made under this name.
pub(crate) fn undo(client: Arc<Client>, name: String) -> Undo {
    Box::pin(async move {
        let begin = Instant::now();
        let deleted = loop {
            match delete_on_background(&client, &name).await {
                // It may still be being made.
                Err(error) if begin.elapsed() < UNDO_LIMIT && !matches!(error.status(), Some(401 | 403)) => {
                    tokio::time::sleep(UNDO_PAUSE).await;
                }
                deleted => break deleted,
            }
        };
        if let Err(error) = deleted {
            tracing::warn!(%error, name, "a snapshot that a call made that was called off was not deleted");
        }
    })
}

async fn delete_on_background(client: &Client, name: &str) -> Result<()> {
    let link = client.link().await?;
    let found: Snapshot =
        link.background.json(Call::get(Operation::GET_SNAPSHOT, link.url(&["snapshots", name])?)).await?;
    let url = link.url(&["snapshots", &found.id])?;
    link.background.empty(Call::new(Operation::DELETE_SNAPSHOT, Method::DELETE, url)).await
}

impl SnapshotService {
    pub(crate) fn new(client: Arc<Client>) -> Self {
        Self { client }
    }

    /// One page of the snapshots.
    ///
    /// # Errors
    /// `InvalidArgument` for a page or limit below 1.
    pub async fn list(&self, query: &SnapshotQuery, timeout: Option<f64>) -> Result<PaginatedSnapshots> {
        let operation = Operation::LIST_SNAPSHOTS;
        let work = async {
            let limit = seconds("request_timeout", timeout)?;
            let link = self.client.link().await?;
            let mut url = link.url(&["snapshots"])?;
            for (name, value) in [("page", query.page), ("limit", query.limit)] {
                if let Some(value) = value {
                    if value < 1 {
                        return Err(Error::invalid(format!("{name} must be a positive integer")));
                    }
                    url.query_pairs_mut().append_pair(name, &value.to_string());
                }
            }
            if let Some(id) = &query.source_sandbox_id {
                url.query_pairs_mut().append_pair("sourceSandboxId", id);
            }
            link.transport.json(Call::get(operation, url).limit(limit)).await
        };
        self.client.observe(operation, work).await
    }

    /// A snapshot by its id or name.
    ///
    /// # Errors
    /// `NotFound` if there is none.
    pub async fn get(&self, id_or_name: &str, timeout: Option<f64>) -> Result<Snapshot> {
        let operation = Operation::GET_SNAPSHOT;
        let work = self.call(operation, Method::GET, id_or_name, &[], timeout);
        self.client.observe(operation, async { expected(work.await?) }).await
    }

    /// Deletes a snapshot by its id or name; sandboxes made from it live on.
    ///
    /// # Errors
    /// `NotFound` if there is none; `Forbidden` for one that is everybody's.
    pub async fn delete(&self, id_or_name: &str, timeout: Option<f64>) -> Result<()> {
        let operation = Operation::DELETE_SNAPSHOT;
        let work = async { self.resolved(operation, Method::DELETE, id_or_name, &[], timeout).await.map(drop) };
        self.client.observe(operation, work).await
    }

    /// Makes an inactive snapshot, by its id or name, usable again.
    ///
    /// # Errors
    /// `NotFound` if there is none; `BadRequest` if it is not inactive.
    pub async fn activate(&self, id_or_name: &str, timeout: Option<f64>) -> Result<Snapshot> {
        let operation = Operation::ACTIVATE_SNAPSHOT;
        let work =
            async { expected(self.resolved(operation, Method::POST, id_or_name, &["activate"], timeout).await?) };
        self.client.observe(operation, work).await
    }

    /// Takes a snapshot, by its id or name, out of use; [`SnapshotService::activate`] brings it back.
    ///
    /// # Errors
    /// `NotFound` if there is none; `BadRequest` if it is not active.
    pub async fn deactivate(&self, id_or_name: &str, timeout: Option<f64>) -> Result<()> {
        let operation = Operation::DEACTIVATE_SNAPSHOT;
        let work =
            async { self.resolved(operation, Method::POST, id_or_name, &["deactivate"], timeout).await.map(drop) };
        self.client.observe(operation, work).await
    }

    /// Follows the log of a snapshot's build, by the snapshot's id or name, from its beginning to its end.
    ///
    /// # Errors
    /// `NotFound` if there is no such snapshot; one that was not built ends the stream with an error.
    pub async fn build_logs(&self, id_or_name: &str) -> Result<BuildLog> {
        let found = self.get(id_or_name, None).await?;
        Ok(BuildLog::follow(Arc::clone(&self.client), Build::Snapshot(found.id), Form::Text))
    }

    /// A call that a server takes an id for. A name may look like one.
    async fn resolved(
        &self,
        operation: Operation,
        method: Method,
        id_or_name: &str,
        path: &[&str],
        timeout: Option<f64>,
    ) -> Result<Option<Snapshot>> {
        if is_snapshot_id(id_or_name) {
            match self.call(operation, method.clone(), id_or_name, path, timeout).await {
                Err(error) if error.kind().is(ErrorKind::NotFound) => {}
                answer => return answer,
            }
        }
        let named = expected(self.call(operation, Method::GET, id_or_name, &[], timeout).await?)?;
        self.call(operation, method, &named.id, path, timeout).await
    }

    async fn call(
        &self,
        operation: Operation,
        method: Method,
        id_or_name: &str,
        path: &[&str],
        timeout: Option<f64>,
    ) -> Result<Option<Snapshot>> {
        if id_or_name.is_empty() {
            return Err(Error::invalid("the id or name of the snapshot is empty"));
        }
        let limit = seconds("request_timeout", timeout)?;
        let link = self.client.link().await?;
        let url = link.url(&[&["snapshots", id_or_name], path].concat())?;
        link.transport.json_if_any(Call::new(operation, method, url).limit(limit)).await
    }
}

fn expected(answer: Option<Snapshot>) -> Result<Snapshot> {
    answer.ok_or_else(|| Error::new(ErrorKind::Other, "the server has answered without the snapshot"))
}

/// Whether the text has the form of a snapshot's id, a UUID; a name may have it too.
pub fn is_snapshot_id(text: &str) -> bool {
    const NIL: &str = "00000000-0000-0000-0000-000000000000";
    let bytes = text.as_bytes();
    let form = bytes.len() == NIL.len()
        && bytes.iter().zip(NIL.bytes()).all(|(byte, model)| match model {
            b'-' => *byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        });
    form && (text == NIL
        || (matches!(bytes[14], b'1'..=b'5') && matches!(bytes[19], b'8' | b'9' | b'a' | b'b' | b'A' | b'B')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_uuids() {
        for id in ["00000000-0000-0000-0000-000000000000", "0b1e77aa-0000-4000-8000-00000000000F"] {
            assert!(is_snapshot_id(id), "{id}");
        }
        for name in ["", "mine", "0b1e77aa-0000-6000-8000-000000000000", "0b1e77aa-0000-4000-c000-000000000000"] {
            assert!(!is_snapshot_id(name), "{name}");
        }
    }
}
