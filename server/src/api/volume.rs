//! Volumes.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use daytona_wire::volume::{CreateVolume, Volume as Dto};

use super::extract::{Json, Query, boolean};
use crate::App;
use crate::error::ApiResult;
use crate::volume::not_found;

/// Deleted volumes are gone at once, so that there are none to include.
pub(super) async fn list(State(app): State<Arc<App>>, Query(query): Query) -> ApiResult<axum::Json<Vec<Dto>>> {
    if let Some((name, value)) = query.iter().find(|(name, _)| name == "includeDeleted") {
        boolean(name, value)?;
    }
    let mut volumes: Vec<Dto> = app.volumes.all().iter().map(crate::volume::Volume::dto).collect();
    volumes.sort_by(|one, other| (&one.created_at, &one.id).cmp(&(&other.created_at, &other.id)));
    Ok(axum::Json(volumes))
}

pub(super) async fn create(State(app): State<Arc<App>>, Json(body): Json<CreateVolume>) -> ApiResult<axum::Json<Dto>> {
    Ok(axum::Json(app.create_volume(body.name).await?.dto()))
}

pub(super) async fn get(State(app): State<Arc<App>>, Path(id): Path<String>) -> ApiResult<axum::Json<Dto>> {
    Ok(axum::Json(app.volumes.get(&id).ok_or_else(|| not_found(&id))?.dto()))
}

pub(super) async fn by_name(State(app): State<Arc<App>>, Path(name): Path<String>) -> ApiResult<axum::Json<Dto>> {
    let volume = app.volumes.find(|volume| volume.name == name);
    Ok(axum::Json(volume.ok_or_else(|| not_found(&name))?.dto()))
}

pub(super) async fn delete(State(app): State<Arc<App>>, Path(id): Path<String>) -> ApiResult<StatusCode> {
    app.delete_volume(&id).await?;
    Ok(StatusCode::OK)
}
