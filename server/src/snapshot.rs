//! Snapshots: files that sandboxes are made from.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::http::StatusCode;
use daytona_runtime::RuntimeKind;
use daytona_wire::sandbox::BuildInfo;
use daytona_wire::snapshot::{Snapshot as Dto, SnapshotState};
use serde::{Deserialize, Serialize};

use crate::App;
use crate::error::{ApiError, ApiResult, code};
use crate::image::Root;
use crate::manifest::Mark;
use crate::record::{Build, CLASS, ORGANIZATION, REGION};
use crate::time::{Millis, now, rfc3339};

/// The snapshot used where none is given: this machine's own programs, and an empty home.
pub(crate) const DEFAULT: &str = "host";
const DEFAULT_ID: &str = "00000000-0000-4000-8000-000000000001";

/// Whether this id or name means the default snapshot.
pub(crate) fn is_default(id_or_name: &str) -> bool {
    id_or_name == DEFAULT || id_or_name == DEFAULT_ID
}

/// One snapshot as it is stored. Its files are those that sandboxes begin with.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) state: SnapshotState,
    /// The runtime that its files are for.
    pub(crate) runtime: RuntimeKind,
    /// The user whose home it has.
    pub(crate) user: String,
    pub(crate) cpu: f64,
    pub(crate) memory: f64,
    pub(crate) disk: f64,
    /// Bytes.
    pub(crate) size: u64,
    pub(crate) source_sandbox: Option<String>,
    pub(crate) created_at: Millis,
    pub(crate) updated_at: Millis,
    pub(crate) last_used_at: Option<Millis>,
    /// What it is made of, besides its files, where that is an image.
    #[serde(default)]
    pub(crate) image: Option<Root>,
    /// The image it was asked for by name.
    #[serde(default)]
    pub(crate) image_name: Option<String>,
    /// What it is built from.
    #[serde(default)]
    pub(crate) build: Option<Build>,
    /// What its sandboxes run in the place of the image's own command.
    #[serde(default)]
    pub(crate) entrypoint: Option<Vec<String>>,
    #[serde(default)]
    pub(crate) error_reason: Option<String>,
}

impl Record {
    /// Being built, or copied.
    pub(crate) fn unfinished(&self) -> bool {
        use SnapshotState as S;
        matches!(self.state, S::Snapshotting | S::Pending | S::Pulling | S::Building)
    }

    /// What the API shows.
    pub(crate) fn dto(&self) -> Dto {
        #[expect(clippy::cast_precision_loss, reason = "a size to look at")]
        let size = self.size as f64 / f64::from(1 << 30);
        Dto {
            id: self.id.clone(),
            organization_id: Some(ORGANIZATION.to_owned()),
            name: self.name.clone(),
            state: self.state,
            size: (!self.unfinished()).then_some(size),
            image_name: self.image_name.clone(),
            entrypoint: self.entrypoint.clone().or_else(|| {
                let image = self.image.as_ref()?;
                (!image.command.is_empty()).then(|| image.command.clone())
            }),
            error_reason: self.error_reason.clone(),
            build_info: self.build.as_ref().filter(|_| self.image_name.is_none()).map(|build| BuildInfo {
                dockerfile_content: Some(build.dockerfile.clone()),
                context_hashes: Some(build.context_hashes.clone()),
                created_at: rfc3339(self.created_at),
                updated_at: rfc3339(self.updated_at),
                snapshot_ref: format!("build/{}", self.id),
            }),
            reference: self.image.as_ref().and_then(|image| match image {
                Root { host: true, .. } => Some("host view".to_owned()),
                Root { image, docker, .. } => image.clone().or_else(|| docker.clone()),
            }),
            cpu: self.cpu,
            mem: self.memory,
            disk: self.disk,
            created_at: rfc3339(self.created_at),
            updated_at: rfc3339(self.updated_at),
            last_used_at: self.last_used_at.map(rfc3339),
            region_ids: Some(vec![REGION.to_owned()]),
            source_sandbox_id: self.source_sandbox.clone(),
            sandbox_class: Some(CLASS.to_owned()),
            ..Dto::default()
        }
    }
}

/// The default snapshot as the API shows it.
pub(crate) fn default_dto(app: &App) -> Dto {
    let time = rfc3339(app.started_at);
    Dto {
        id: DEFAULT_ID.to_owned(),
        organization_id: Some(ORGANIZATION.to_owned()),
        general: true,
        name: DEFAULT.to_owned(),
        state: SnapshotState::Active,
        cpu: app.defaults.cpu,
        mem: app.defaults.memory,
        disk: app.defaults.disk,
        created_at: time.clone(),
        updated_at: time,
        region_ids: Some(vec![REGION.to_owned()]),
        sandbox_class: Some(CLASS.to_owned()),
        ..Dto::default()
    }
}

/// One snapshot.
pub(crate) struct Snapshot {
    pub(crate) id: String,
    record: Mutex<Record>,
    /// Where its files are.
    pub(crate) dir: PathBuf,
    /// Read by those who copy its files, written by who deletes them.
    pub(crate) files: tokio::sync::RwLock<()>,
}

impl Snapshot {
    /// The record, locked; held for a few instructions only, never across an await.
    pub(crate) fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether sandboxes can be made from it.
    fn usable(&self, runtime: RuntimeKind) -> ApiResult<()> {
        let record = self.record();
        let refuse = |code, message| Err(ApiError::new(StatusCode::BAD_REQUEST, code, message));
        if record.state != SnapshotState::Active {
            let way_out = match record.state {
                SnapshotState::Inactive => ": activate it first",
                _ if record.unfinished() => ": wait until it is active",
                _ => "",
            };
            let reason = record.error_reason.as_ref().map_or_else(String::new, |reason| format!(" ({reason})"));
            let message = format!("Snapshot {} is {}{reason}{way_out}", record.name, record.state);
            return refuse(code::SNAPSHOT_STATE_INVALID, message);
        }
        if record.runtime != runtime {
            let message = format!(
                "Snapshot {} was made by the {made} runtime and this server runs {runtime}: restart the server with \
                 --runtime {made}",
                record.name,
                made = record.runtime
            );
            return refuse(code::UNSUPPORTED_BY_RUNTIME, message);
        }
        Ok(())
    }
}

/// All snapshots but the default one.
pub(crate) struct Snapshots {
    dir: PathBuf,
    by_id: Mutex<HashMap<String, Arc<Snapshot>>>,
}

impl Snapshots {
    pub(crate) fn new(data_dir: &Path, records: Vec<Record>) -> Self {
        let snapshots = Self { dir: folder(data_dir), by_id: Mutex::default() };
        for record in records {
            snapshots.insert(&mut snapshots.all_by_id(), record);
        }
        snapshots
    }

    fn all_by_id(&self) -> MutexGuard<'_, HashMap<String, Arc<Snapshot>>> {
        self.by_id.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn insert(&self, by_id: &mut HashMap<String, Arc<Snapshot>>, record: Record) -> Arc<Snapshot> {
        let snapshot = Arc::new(Snapshot {
            id: record.id.clone(),
            dir: self.dir.join(&record.id),
            record: Mutex::new(record),
            files: tokio::sync::RwLock::default(),
        });
        by_id.insert(snapshot.id.clone(), Arc::clone(&snapshot));
        snapshot
    }

    /// Adds one; 409 if its name is taken.
    pub(crate) fn add(&self, record: Record) -> ApiResult<Arc<Snapshot>> {
        let mut by_id = self.all_by_id();
        let taken = is_default(&record.name)
            || by_id.contains_key(&record.name)
            || by_id.values().any(|other| other.record().name == record.name);
        if taken {
            return Err(ApiError::new(
                StatusCode::CONFLICT,
                code::SNAPSHOT_NAME_TAKEN,
                format!("Snapshot with name {} already exists", record.name),
            ));
        }
        Ok(self.insert(&mut by_id, record))
    }

    /// Forgets one.
    pub(crate) fn remove(&self, id: &str) {
        self.all_by_id().remove(id);
    }

    /// One by its id, or else by its name.
    pub(crate) fn find(&self, id_or_name: &str) -> Option<Arc<Snapshot>> {
        let by_id = self.all_by_id();
        let named = || by_id.values().find(|snapshot| snapshot.record().name == id_or_name);
        by_id.get(id_or_name).or_else(named).cloned()
    }

    /// One by its id or name, from which a sandbox can be made.
    pub(crate) fn usable(&self, id_or_name: &str, runtime: RuntimeKind) -> ApiResult<Arc<Snapshot>> {
        let snapshot = self.find(id_or_name).ok_or_else(|| {
            ApiError::new(
                StatusCode::BAD_REQUEST,
                code::SNAPSHOT_NOT_FOUND,
                format!(
                    "Snapshot {id_or_name} not found. GET /api/snapshots lists those of this local server; {DEFAULT} \
                     is used where none is given"
                ),
            )
        })?;
        snapshot.usable(runtime)?;
        Ok(snapshot)
    }

    /// Those whose build was not finished when the server before this one ended.
    pub(crate) fn unbuilt(&self) -> Vec<Arc<Snapshot>> {
        let unbuilt = |snapshot: &&Arc<Snapshot>| {
            let mut record = snapshot.record();
            let unbuilt = record.build.is_some() && record.unfinished();
            if unbuilt {
                record.state = SnapshotState::Pending;
            }
            unbuilt
        };
        self.all_by_id().values().filter(unbuilt).cloned().collect()
    }

    /// The records of all of them, in no order.
    pub(crate) fn all(&self) -> Vec<Record> {
        self.all_by_id().values().map(|snapshot| snapshot.record().clone()).collect()
    }
}

/// Where the files of all snapshots are.
pub(crate) fn folder(data_dir: &Path) -> PathBuf {
    data_dir.join("snapshots")
}

impl App {
    /// Makes a snapshot usable, or not, and answers when that is stored.
    pub(crate) async fn set_snapshot_state(
        &self,
        snapshot: &Snapshot,
        from: SnapshotState,
        to: SnapshotState,
    ) -> ApiResult<()> {
        let (before, pending) = {
            let mut record = snapshot.record();
            if record.state != from {
                return Err(ApiError::new(
                    StatusCode::BAD_REQUEST,
                    code::SNAPSHOT_STATE_INVALID,
                    format!("Snapshot {} is {}, not {from}", record.name, record.state),
                ));
            }
            let before = record.clone();
            record.state = to;
            record.updated_at = now();
            (before, self.store.put(&*record))
        };
        let stored = pending.stored().await;
        if stored.is_err() {
            *snapshot.record() = before;
        }
        Ok(stored?)
    }

    /// Deletes a snapshot and its files; sandboxes made from it have their own.
    pub(crate) async fn delete_snapshot(&self, snapshot: &Snapshot) -> ApiResult<()> {
        {
            let mut record = snapshot.record();
            if matches!(record.state, SnapshotState::Snapshotting | SnapshotState::Removing) {
                let message = format!("Snapshot {} is {}; wait until that is done", record.name, record.state);
                return Err(ApiError::new(StatusCode::CONFLICT, code::SNAPSHOT_STATE_INVALID, message));
            }
            record.state = SnapshotState::Removing;
        }
        self.builds.forget(&snapshot.id);
        // Those who are copying it get all of it.
        let _files = snapshot.files.write().await;
        // With this mark the next start removes what cannot be removed now.
        self.manifests.mark::<Record>(&snapshot.id, Mark::Deleting);
        if let Err(error) = self.store.delete::<Record>(&snapshot.id).stored().await {
            self.manifests.unmark::<Record>(&snapshot.id, Mark::Deleting);
            return Err(error.into());
        }
        self.snapshots.remove(&snapshot.id);
        let image = snapshot.record().image.clone();
        self.runtime.let_go_of(image.as_ref()).await;
        match self.runtime.delete_folder(&snapshot.dir).await {
            Ok(()) => self.manifests.unmark::<Record>(&snapshot.id, Mark::Deleting),
            Err(error) => {
                tracing::warn!(snapshot = %snapshot.id, %error, "the files of a snapshot could not be deleted");
            }
        }
        tracing::info!(snapshot = %snapshot.id, "deleted");
        Ok(())
    }

    /// Notes that a sandbox is made from it.
    pub(crate) fn snapshot_used(&self, snapshot: &Snapshot) {
        let mut record = snapshot.record();
        record.last_used_at = Some(now());
        drop(self.store.put(&*record));
    }
}
