//! Snapshots: list, get, delete, activate, deactivate.

use std::cmp::Ordering;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use daytona_wire::snapshot::{PaginatedSnapshots, Snapshot as Dto, SnapshotState};

use super::extract::{Query, whole};
use crate::App;
use crate::error::{ApiError, ApiResult, code};
use crate::snapshot::{Snapshot, default_dto, is_default};

const PAGE_LIMIT: i64 = 200;

/// What of a list is wanted.
struct Wanted {
    page: i64,
    limit: i64,
    name: String,
    source: String,
    sort: String,
    ascending: bool,
}

impl Wanted {
    fn from_query(query: &[(String, String)]) -> ApiResult<Self> {
        let mut wanted = Self {
            page: 1,
            limit: 100,
            name: String::new(),
            source: String::new(),
            sort: "lastUsedAt".to_owned(),
            ascending: false,
        };
        for (name, value) in query {
            match name.as_str() {
                "page" => wanted.page = whole(name, value, 1)?,
                "limit" => wanted.limit = page_limit(value)?,
                "name" => wanted.name = value.to_lowercase(),
                "sourceSandboxId" => wanted.source.clone_from(value),
                "sort" => {
                    one_of(name, value, &["name", "state", "lastUsedAt", "createdAt"])?;
                    wanted.sort.clone_from(value);
                }
                "order" => {
                    one_of(name, value, &["asc", "desc"])?;
                    wanted.ascending = value == "asc";
                }
                _ => {}
            }
        }
        Ok(wanted)
    }

    fn has(&self, snapshot: &Dto) -> bool {
        snapshot.name.to_lowercase().contains(&self.name)
            && (self.source.is_empty() || snapshot.source_sandbox_id.as_deref() == Some(&self.source))
    }

    fn compare(&self, one: &Dto, other: &Dto) -> Ordering {
        let order = match self.sort.as_str() {
            "name" => one.name.cmp(&other.name),
            "state" => one.state.as_str().cmp(other.state.as_str()),
            "createdAt" => one.created_at.cmp(&other.created_at),
            _ => one.last_used_at.cmp(&other.last_used_at).then_with(|| one.created_at.cmp(&other.created_at)),
        };
        let order = order.then_with(|| one.id.cmp(&other.id));
        if self.ascending { order } else { order.reverse() }
    }
}

/// How many there are on a page.
pub(super) fn page_limit(value: &str) -> ApiResult<i64> {
    let limit = whole("limit", value, 1)?;
    if limit > PAGE_LIMIT {
        return Err(ApiError::invalid(format!("limit must be at most {PAGE_LIMIT}, not {value}")));
    }
    Ok(limit)
}

/// The items of one page, of how many, and of how many pages.
pub(super) fn page_of<T>(items: Vec<T>, page: i64, limit: i64) -> (Vec<T>, u64, u64) {
    let total = items.len() as u64;
    let (page, limit) = (page.unsigned_abs(), limit.unsigned_abs());
    let skip = usize::try_from((page - 1).saturating_mul(limit)).unwrap_or(usize::MAX);
    let take = usize::try_from(limit).unwrap_or(usize::MAX);
    (items.into_iter().skip(skip).take(take).collect(), total, total.div_ceil(limit))
}

pub(super) async fn list(State(app): State<Arc<App>>, Query(query): Query) -> ApiResult<Json<PaginatedSnapshots>> {
    let wanted = Wanted::from_query(&query)?;
    let own = app.snapshots.all().into_iter().map(|record| record.dto());
    let mut found: Vec<Dto> = own.chain([default_dto(&app)]).filter(|one| wanted.has(one)).collect();
    found.sort_unstable_by(|one, other| wanted.compare(one, other));
    let (items, total, total_pages) = page_of(found, wanted.page, wanted.limit);
    Ok(Json(PaginatedSnapshots { items, total, page: wanted.page.unsigned_abs(), total_pages }))
}

pub(super) fn one_of(name: &str, value: &str, values: &[&str]) -> ApiResult<()> {
    if values.contains(&value) {
        return Ok(());
    }
    Err(ApiError::invalid(format!("{name} must be one of {}, not {value:?}", values.join(", "))))
}

pub(super) async fn get(State(app): State<Arc<App>>, Path(id): Path<String>) -> ApiResult<Json<Dto>> {
    if is_default(&id) {
        return Ok(Json(default_dto(&app)));
    }
    let snapshot = app.snapshots.find(&id).ok_or_else(|| not_found(&id))?;
    let dto = snapshot.record().dto();
    Ok(Json(dto))
}

pub(super) async fn delete(State(app): State<Arc<App>>, Path(id): Path<String>) -> ApiResult<StatusCode> {
    let snapshot = own(&app, &id, "deleted")?;
    app.delete_snapshot(&snapshot).await?;
    Ok(StatusCode::OK)
}

pub(super) async fn activate(State(app): State<Arc<App>>, Path(id): Path<String>) -> ApiResult<Json<Dto>> {
    let snapshot = own(&app, &id, "activated")?;
    app.set_snapshot_state(&snapshot, SnapshotState::Inactive, SnapshotState::Active).await?;
    let dto = snapshot.record().dto();
    Ok(Json(dto))
}

pub(super) async fn deactivate(State(app): State<Arc<App>>, Path(id): Path<String>) -> ApiResult<StatusCode> {
    let snapshot = own(&app, &id, "deactivated")?;
    app.set_snapshot_state(&snapshot, SnapshotState::Active, SnapshotState::Inactive).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A snapshot that can be changed.
fn own(app: &App, id: &str, what: &str) -> ApiResult<Arc<Snapshot>> {
    if is_default(id) {
        return Err(ApiError::new(
            StatusCode::FORBIDDEN,
            code::SNAPSHOT_GENERAL,
            format!("Snapshot {id} cannot be {what}: it is this machine's own view, always there"),
        ));
    }
    app.snapshots.find(id).ok_or_else(|| not_found(id))
}

pub(super) fn not_found(id: &str) -> ApiError {
    ApiError::new(
        StatusCode::NOT_FOUND,
        code::SNAPSHOT_NOT_FOUND,
        format!("Snapshot {id} not found; GET /api/snapshots lists those of this local server"),
    )
}
