//! Warm pools.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use daytona_wire::warm_pool::{CreateWarmPool, UpdateWarmPool, WarmPool as Dto};

use super::extract::Json;
use crate::App;
use crate::error::ApiResult;

pub(super) async fn list(State(app): State<Arc<App>>) -> axum::Json<Vec<Dto>> {
    axum::Json(app.list_pools())
}

pub(super) async fn create(
    State(app): State<Arc<App>>,
    Json(body): Json<CreateWarmPool>,
) -> ApiResult<(StatusCode, axum::Json<Dto>)> {
    Ok((StatusCode::CREATED, axum::Json(app.create_pool(body).await?)))
}

pub(super) async fn update(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    Json(body): Json<UpdateWarmPool>,
) -> ApiResult<axum::Json<Dto>> {
    Ok(axum::Json(app.update_pool(&id, body.pool).await?))
}

pub(super) async fn delete(State(app): State<Arc<App>>, Path(id): Path<String>) -> ApiResult<StatusCode> {
    app.delete_pool(&id).await?;
    Ok(StatusCode::NO_CONTENT)
}
