//! `GET /sandbox/paginated`, deprecated: the same list by the number of a page.

use std::cmp::Ordering;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use daytona_wire::sandbox::PaginatedSandboxes;

use super::extract::{Base, Query, whole};
use super::list::Wanted;
use super::snapshot::{one_of, page_of};
use crate::App;
use crate::error::ApiResult;
use crate::record::Record;

const SORT_FIELDS: [&str; 8] =
    ["id", "name", "state", "snapshot", "region", "updatedAt", "createdAt", "lastActivityAt"];

pub(super) async fn list(
    State(app): State<Arc<App>>,
    Base(base): Base,
    Query(query): Query,
) -> ApiResult<Json<PaginatedSandboxes>> {
    let mut wanted = Wanted::by_parts();
    let (mut page, mut sort, mut ascending) = (1, "createdAt", false);
    for (name, value) in query.iter().filter(|(_, value)| !value.is_empty()) {
        match name.strip_suffix("[]").unwrap_or(name) {
            "page" => page = whole(name, value, 1)?,
            "sort" => {
                one_of(name, value, &SORT_FIELDS)?;
                sort = value;
            }
            "order" => {
                one_of(name, value, &["asc", "desc"])?;
                ascending = value == "asc";
            }
            "regions" => wanted.set("regionIds", value, &mut None)?,
            "cursor" => {}
            _ => wanted.set(name, value, &mut None)?,
        }
    }
    let records = app.sandboxes.all().into_iter().map(|sandbox| sandbox.snapshot());
    let mut records: Vec<Record> = records.filter(|record| wanted.has(record, &app.view)).collect();
    records.sort_unstable_by(|one, other| {
        let order = compare(sort, one, other).then_with(|| one.id.cmp(&other.id));
        if ascending { order } else { order.reverse() }
    });
    let limit = i64::try_from(wanted.limit).unwrap_or(i64::MAX);
    let (records, total, total_pages) = page_of(records, page, limit);
    let items = records.iter().map(|record| app.view.full(record, &base)).collect();
    Ok(Json(PaginatedSandboxes { items, total, page: page.unsigned_abs(), total_pages }))
}

fn compare(field: &str, one: &Record, other: &Record) -> Ordering {
    match field {
        "id" => one.id.cmp(&other.id),
        "name" => one.name.cmp(&other.name),
        "state" => one.state.as_str().cmp(other.state.as_str()),
        "snapshot" => one.snapshot.cmp(&other.snapshot),
        "region" => one.target.cmp(&other.target),
        "updatedAt" => one.updated_at.cmp(&other.updated_at),
        "lastActivityAt" => one.last_activity_at.cmp(&other.last_activity_at),
        _ => one.created_at.cmp(&other.created_at),
    }
}
