//! Warm pools: started sandboxes that wait for who creates one from their snapshot.
//!
//! A waiting sandbox is an ephemeral one of the pool's own: a server that ends takes it along, and its successor
//! fills the pool anew.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::http::StatusCode;
use daytona_wire::environment::UpdateEnvRequest;
use daytona_wire::sandbox::{CreateSandbox, SandboxState};
use daytona_wire::warm_pool::{CreateWarmPool, WarmPool as Dto};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use crate::App;
use crate::error::{ApiError, ApiResult, code};
use crate::lifecycle::Unanswered;
use crate::record::{ORGANIZATION, REGION, Record};
use crate::rows::Rows;
use crate::sandbox::Sandbox;
use crate::secret::PLACEHOLDER;
use crate::store::Stored;
use crate::time::{Millis, now, rfc3339};

/// How long until what could not be filled is tried again.
const AGAIN: Duration = Duration::from_secs(30);
/// Sandboxes of one pool.
const LARGEST: i64 = 100;
/// Fields in which a waiting sandbox may differ from the one that is asked for: they are changed when it is handed
/// over, or belong to each sandbox alone.
const CHANGEABLE: [&str; 28] = [
    "id",
    "name",
    "env",
    "labels",
    "public",
    "state",
    "desired",
    "error_reason",
    "auto_stop",
    "auto_pause",
    "auto_archive",
    "auto_delete",
    "destroy_at",
    "created_at",
    "updated_at",
    "last_activity_at",
    "stopped_at",
    "signing_key",
    "secrets",
    "unset_env",
    "warm_pool",
    "queue_timeout",
    "cloned",
    "recoverable",
    "made",
    "archived_at",
    "access",
    "outbound_proxy_url",
];

/// One pool as it is stored.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct WarmPool {
    id: String,
    snapshot: String,
    target: String,
    pool: i64,
    created_at: Millis,
    updated_at: Millis,
}

impl Stored for WarmPool {
    const TABLE: &'static str = "warm-pools";

    fn id(&self) -> &str {
        &self.id
    }
}

/// All pools.
pub(crate) struct WarmPools {
    rows: Rows<WarmPool>,
    /// Why a pool cannot be filled.
    errors: Mutex<HashMap<String, String>>,
    /// A pool, or who waits in it, has changed.
    changed: Notify,
}

impl WarmPools {
    pub(crate) fn new(rows: Vec<WarmPool>) -> Self {
        Self { rows: Rows::new(rows), errors: Mutex::default(), changed: Notify::new() }
    }

    fn error(&self, id: &str, error: Option<String>) {
        let mut errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
        match error {
            Some(error) => errors.insert(id.to_owned(), error),
            None => errors.remove(id),
        };
    }
}

fn not_found(id: &str) -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, code::NOT_FOUND, format!("Warm pool {id} not found"))
}

fn check_size(pool: i64) -> ApiResult<i64> {
    if (0..=LARGEST).contains(&pool) {
        return Ok(pool);
    }
    Err(ApiError::invalid(format!("pool must be from 0 to {LARGEST}, not {pool}")))
}

impl App {
    /// The sandboxes that wait, or are about to.
    fn waiting(&self, id: &str) -> Vec<Arc<Sandbox>> {
        let mut all = self.sandboxes.all();
        all.retain(|sandbox| {
            let record = sandbox.record();
            record.warm_pool.as_deref() == Some(id)
                && matches!(record.state, SandboxState::Creating | SandboxState::Started)
        });
        all
    }

    pub(crate) fn show_pool(&self, pool: &WarmPool) -> Dto {
        let ready = self.waiting(&pool.id).iter().filter(|sandbox| sandbox.live().is_some()).count();
        #[expect(clippy::cast_precision_loss, reason = "pools are small")]
        Dto {
            id: pool.id.clone(),
            organization_id: ORGANIZATION.to_owned(),
            snapshot: pool.snapshot.clone(),
            target: pool.target.clone(),
            pool: pool.pool as f64,
            current_size: ready as f64,
            cpu: self.defaults.cpu,
            mem: self.defaults.memory,
            disk: self.defaults.disk,
            os_user: "daytona".to_owned(),
            env: BTreeMap::new(),
            error_reason: self.pools.errors.lock().unwrap_or_else(PoisonError::into_inner).get(&pool.id).cloned(),
            created_at: rfc3339(pool.created_at),
            updated_at: rfc3339(pool.updated_at),
        }
    }

    pub(crate) fn list_pools(&self) -> Vec<Dto> {
        let mut pools = self.pools.rows.all();
        pools.sort_by_key(|pool| pool.created_at);
        pools.iter().map(|pool| self.show_pool(pool)).collect()
    }

    pub(crate) async fn create_pool(&self, given: CreateWarmPool) -> ApiResult<Dto> {
        let target = given.target.filter(|target| !target.is_empty()).unwrap_or_else(|| REGION.to_owned());
        // Refuses a snapshot that is not there.
        let member = self.member(&given.snapshot, &target)?;
        let pool = WarmPool {
            id: crate::api::new_id()?,
            snapshot: member.snapshot.unwrap_or(given.snapshot),
            target,
            pool: check_size(given.pool)?,
            created_at: now(),
            updated_at: now(),
        };
        let taken = |others: &BTreeMap<String, WarmPool>| {
            if others.values().any(|other| other.snapshot == pool.snapshot && other.target == pool.target) {
                return Err(ApiError::new(
                    StatusCode::CONFLICT,
                    code::WARM_POOL_EXISTS,
                    format!(
                        "there is a warm pool for snapshot {} in {} already; update it",
                        pool.snapshot, pool.target
                    ),
                ));
            }
            Ok(())
        };
        self.pools.rows.add(&self.store, pool.clone(), taken).await?;
        self.pools.changed.notify_one();
        Ok(self.show_pool(&pool))
    }

    pub(crate) async fn update_pool(&self, id: &str, size: i64) -> ApiResult<Dto> {
        let size = check_size(size)?;
        let change = |pool: &mut WarmPool| {
            pool.pool = size;
            pool.updated_at = now();
            Ok(())
        };
        let pool = self.pools.rows.update(&self.store, id, change).await?.ok_or_else(|| not_found(id))?;
        self.pools.changed.notify_one();
        Ok(self.show_pool(&pool))
    }

    pub(crate) async fn delete_pool(&self, id: &str) -> ApiResult<()> {
        self.pools.rows.remove(&self.store, id).await?.ok_or_else(|| not_found(id))?;
        self.pools.error(id, None);
        self.pools.changed.notify_one();
        Ok(())
    }

    /// What a waiting sandbox of this snapshot is like.
    fn member(&self, snapshot: &str, target: &str) -> ApiResult<Record> {
        let body = CreateSandbox {
            snapshot: Some(snapshot.to_owned()),
            target: Some(target.to_owned()),
            auto_stop_interval: Some(0),
            auto_delete_interval: Some(0),
            ..CreateSandbox::default()
        };
        crate::api::new_record(self, body)
    }

    /// A waiting sandbox as the one that `wanted` describes; `None` if none fits.
    pub(crate) async fn hand_over(self: &Arc<Self>, wanted: &Record) -> ApiResult<Option<Arc<Sandbox>>> {
        if wanted.build.is_some() || self.pools.rows.all().is_empty() {
            return Ok(None);
        }
        let shape = shape(wanted);
        let mut all = self.sandboxes.all();
        all.retain(|sandbox| sandbox.record().warm_pool.is_some());
        for sandbox in all {
            let Some(live) = sandbox.live() else { continue };
            let Ok(operation) = sandbox.operation.try_lock() else { continue };
            let fits = {
                let record = sandbox.record();
                record.warm_pool.is_some() && record.state == SandboxState::Started && self::shape(&record) == shape
            };
            if !fits {
                continue;
            }
            let name = if wanted.name == wanted.id { sandbox.id.clone() } else { wanted.name.clone() };
            self.sandboxes.rename(&sandbox, &name)?;
            let unanswered = Unanswered::begin(self, &sandbox);
            let wanted_name = name.clone();
            let pending = {
                let mut record = sandbox.record();
                *record = handed(&record, wanted, name);
                self.store.put(&*record)
            };
            self.pools.changed.notify_one();
            sandbox.touch();
            let change = UpdateEnvRequest {
                set: self.environment(wanted),
                unset: Vec::new(),
                unset_value_prefix: Some(PLACEHOLDER.to_owned()),
            };
            let told =
                if change.set.is_empty() { Ok(()) } else { crate::environment::tell(&sandbox, &live, &change).await };
            if let Err(error) = self.runtime.rename(&sandbox.id, &wanted_name).await {
                tracing::warn!(sandbox = %sandbox.id, %error, "a sandbox keeps the host name that it waited under");
            }
            drop(operation);
            sandbox.limit_network()?;
            let told = told.and(pending.stored().await.map_err(ApiError::from));
            unanswered.answered();
            if let Err(error) = told {
                tracing::warn!(sandbox = %sandbox.id, error = error.message, "a waiting sandbox was not handed over");
                let _ = self.destroy(&sandbox).await;
                continue;
            }
            self.events.created(&sandbox.record());
            self.timers.notify_one();
            return Ok(Some(sandbox));
        }
        Ok(None)
    }
}

/// All that a sandbox cannot be changed in any more.
fn shape(record: &Record) -> serde_json::Value {
    let mut shape = serde_json::to_value(record).unwrap_or_default();
    if let Some(fields) = shape.as_object_mut() {
        fields.retain(|name, _| !CHANGEABLE.contains(&name.as_str()));
    }
    shape
}

/// What becomes of a waiting sandbox's record.
fn handed(waiting: &Record, wanted: &Record, name: String) -> Record {
    Record {
        id: waiting.id.clone(),
        name,
        state: waiting.state,
        signing_key: waiting.signing_key.clone(),
        ..wanted.clone()
    }
}

/// Keeps the pools filled, for ever.
pub(crate) async fn run(app: Arc<App>) {
    loop {
        let pools = app.pools.rows.all();
        for pool in &pools {
            fill(&app, pool).await;
        }
        for sandbox in app.sandboxes.all() {
            let lost = sandbox.record().warm_pool.as_ref().is_some_and(|id| !pools.iter().any(|pool| pool.id == *id));
            if lost {
                remove(&app, &sandbox).await;
            }
        }
        let _ = tokio::time::timeout(AGAIN, app.pools.changed.notified()).await;
    }
}

async fn fill(app: &Arc<App>, pool: &WarmPool) {
    let wanted = usize::try_from(pool.pool).unwrap_or(0);
    let waiting = app.waiting(&pool.id);
    for sandbox in waiting.iter().skip(wanted) {
        remove(app, sandbox).await;
    }
    for _ in waiting.len()..wanted {
        let made = match app.member(&pool.snapshot, &pool.target) {
            Ok(record) => app.create(Record { warm_pool: Some(pool.id.clone()), ..record }).await,
            Err(error) => Err(error),
        };
        let error = made.err().map(|error| error.message);
        if let Some(error) = &error {
            tracing::warn!(pool = pool.id, error, "a warm pool cannot be filled");
        }
        let failed = error.is_some();
        app.pools.error(&pool.id, error);
        if failed {
            return;
        }
    }
}

/// Deletes a waiting sandbox, unless it was handed over meanwhile.
async fn remove(app: &Arc<App>, sandbox: &Arc<Sandbox>) {
    let operation = sandbox.operation.lock().await;
    let waits = sandbox.record().warm_pool.is_some();
    if waits {
        sandbox.record().warm_pool = None;
    }
    drop(operation);
    if waits {
        let _ = app.destroy(sandbox).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_sandbox_of_the_same_shape_is_handed_over() {
        let waiting = Record { warm_pool: Some("p".to_owned()), auto_stop: 0, ..Record::sample("a") };
        let mut wanted = Record::sample("b");
        wanted.labels = BTreeMap::from([("x".to_owned(), "y".to_owned())]);
        wanted.env = BTreeMap::from([("A".to_owned(), "1".to_owned())]);
        assert_eq!(shape(&waiting), shape(&wanted));
        let handed = handed(&waiting, &wanted, "mine".to_owned());
        assert_eq!((handed.id.as_str(), handed.name.as_str()), ("a", "mine"));
        assert_eq!((handed.auto_stop, handed.warm_pool), (15, None));
        assert_eq!(handed.env["A"], "1");
        for other in [
            Record { user: "root".to_owned(), ..Record::sample("b") },
            Record { network_block_all: true, ..Record::sample("b") },
            Record { snapshot: Some("other".to_owned()), ..Record::sample("b") },
            Record { target: "elsewhere".to_owned(), ..Record::sample("b") },
        ] {
            assert_ne!(shape(&waiting), shape(&other));
        }
    }
}
