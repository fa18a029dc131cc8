//! Uploads of build contexts: who may make them, and where to.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::response::Response;
use daytona_wire::object_storage::StorageAccess;

use super::create::no_randomness;
use super::extract::Base;
use crate::App;
use crate::error::ApiResult;
use crate::object_storage::{BUCKET, STORAGE_REGION};
use crate::record::ORGANIZATION;

pub(super) async fn push_access(State(app): State<Arc<App>>, base: Base) -> ApiResult<Json<StorageAccess>> {
    let push = app.storage.push().map_err(no_randomness)?;
    Ok(Json(StorageAccess {
        access_key: push.access_key,
        secret: push.secret,
        session_token: push.session_token,
        storage_url: base.0,
        organization_id: ORGANIZATION.to_owned(),
        bucket: BUCKET.to_owned(),
        region: STORAGE_REGION.to_owned(),
    }))
}

/// Signed by who asks: the API key is not needed.
pub(super) async fn bucket(State(app): State<Arc<App>>, request: Request) -> Response {
    app.storage.answer(request).await
}
