//! Snapshots: a local server has one, the view of its own machine.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use daytona_wire::snapshot::{PaginatedSnapshots, Snapshot};

use super::extract::{Query, whole};
use crate::App;
use crate::error::{ApiError, ApiResult, code};
use crate::record::{CLASS, ORGANIZATION};
use crate::time::rfc3339;

/// The snapshot used where none is given.
pub(crate) const DEFAULT_SNAPSHOT: &str = "host";
const DEFAULT_SNAPSHOT_ID: &str = "00000000-0000-4000-8000-000000000001";

/// Whether this id or name means the default snapshot.
pub(super) fn is_default(id_or_name: &str) -> bool {
    id_or_name == DEFAULT_SNAPSHOT || id_or_name == DEFAULT_SNAPSHOT_ID
}

fn default_snapshot(app: &App) -> Snapshot {
    let time = rfc3339(app.started_at);
    Snapshot {
        id: DEFAULT_SNAPSHOT_ID.to_owned(),
        organization_id: Some(ORGANIZATION.to_owned()),
        general: true,
        name: DEFAULT_SNAPSHOT.to_owned(),
        state: "active".to_owned(),
        cpu: app.defaults.cpu,
        mem: app.defaults.memory,
        disk: app.defaults.disk,
        created_at: time.clone(),
        updated_at: time,
        sandbox_class: Some(CLASS.to_owned()),
        ..Snapshot::default()
    }
}

pub(super) async fn list(State(app): State<Arc<App>>, Query(query): Query) -> ApiResult<Json<PaginatedSnapshots>> {
    let (mut page, mut limit, mut wanted) = (1, 100, true);
    for (name, value) in &query {
        match name.as_str() {
            "page" => page = whole(name, value, 1)?,
            "limit" => {
                limit = whole(name, value, 1)?;
                if limit > 200 {
                    return Err(ApiError::invalid("limit must be at most 200"));
                }
            }
            "name" => wanted &= DEFAULT_SNAPSHOT.contains(value.to_lowercase().as_str()),
            "sourceSandboxId" => wanted &= value.is_empty(),
            "sort" => one_of(name, value, &["name", "state", "lastUsedAt", "createdAt"])?,
            "order" => one_of(name, value, &["asc", "desc"])?,
            _ => {}
        }
    }
    let mut items = Vec::new();
    if wanted && page == 1 && limit > 0 {
        items.push(default_snapshot(&app));
    }
    Ok(Json(PaginatedSnapshots {
        items,
        total: u64::from(wanted),
        page: page.unsigned_abs(),
        total_pages: u64::from(wanted),
    }))
}

pub(super) fn one_of(name: &str, value: &str, values: &[&str]) -> ApiResult<()> {
    if values.contains(&value) {
        return Ok(());
    }
    Err(ApiError::invalid(format!("{name} must be one of {}, not {value:?}", values.join(", "))))
}

pub(super) async fn get(State(app): State<Arc<App>>, Path(id): Path<String>) -> ApiResult<Json<Snapshot>> {
    if is_default(&id) {
        return Ok(Json(default_snapshot(&app)));
    }
    Err(ApiError::new(
        StatusCode::NOT_FOUND,
        code::SNAPSHOT_NOT_FOUND,
        format!("Snapshot {id} not found; this local server has one snapshot, {DEFAULT_SNAPSHOT}"),
    ))
}
