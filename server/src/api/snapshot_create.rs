//! `POST /snapshots`: a snapshot of an image, pulled or built; and the logs of that.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::Response;
use daytona_wire::Url;
use daytona_wire::snapshot::{CreateSnapshot, Snapshot as Dto, SnapshotState};

use super::create::{new_id, snapshot_name};
use super::extract::{Base, Json, Query, at_least};
use super::sandbox::follow;
use super::snapshot::not_found;
use crate::App;
use crate::build::{self, checked};
use crate::error::{ApiError, ApiResult};
use crate::image::check_name;
use crate::record::{Build, CLASS};
use crate::snapshot::{Record, is_default};
use crate::time::now;

pub(super) async fn create(
    State(app): State<Arc<App>>,
    Json(body): Json<CreateSnapshot>,
) -> ApiResult<axum::Json<Dto>> {
    if body.gpu.is_some_and(|count| count > 0) || body.gpu_type.as_ref().is_some_and(|types| !types.is_empty()) {
        return Err(ApiError::not_implemented("gpu: a local sandbox has no GPU; leave gpu and gpuType out"));
    }
    if let Some(class) = body.sandbox_class.as_ref().filter(|class| !class.is_empty() && *class != CLASS) {
        return Err(ApiError::not_implemented(format!(
            "sandboxClass: local sandboxes are {CLASS:?}, not {class:?}; leave it out"
        )));
    }
    let name = snapshot_name(body.name.clone())?;
    let size = |name, value: Option<i64>, default: f64| -> ApiResult<f64> {
        #[expect(clippy::cast_precision_loss, reason = "sizes are small")]
        value.filter(|value| *value != 0).map_or(Ok(default), |value| Ok(at_least(name, value, 1)? as f64))
    };
    let (image_name, build) = source(&body)?;
    let time = now();
    let record = Record {
        id: new_id()?,
        name,
        state: SnapshotState::Pending,
        runtime: app.runtime.kind(),
        user: "daytona".to_owned(),
        cpu: size("cpu", body.cpu, app.defaults.cpu)?,
        memory: size("memory", body.memory, app.defaults.memory)?,
        disk: size("disk", body.disk, app.defaults.disk)?,
        size: 0,
        source_sandbox: None,
        created_at: time,
        updated_at: time,
        last_used_at: None,
        image: None,
        image_name,
        build: Some(build),
        entrypoint: body.entrypoint.filter(|words| !words.is_empty()),
        error_reason: None,
    };
    let snapshot = app.snapshots.add(record)?;
    let (dto, pending) = {
        let record = snapshot.record();
        (record.dto(), app.store.put(&*record))
    };
    if let Err(error) = pending.stored().await {
        app.snapshots.remove(&snapshot.id);
        return Err(error.into());
    }
    app.build_snapshot(&snapshot);
    Ok(axum::Json(dto))
}

/// What it is to be made of, and the name of the image if it is one.
fn source(body: &CreateSnapshot) -> ApiResult<(Option<String>, Build)> {
    let image = body.image_name.as_deref().filter(|name| !name.is_empty());
    match (image, &body.build_info) {
        (Some(_), Some(_)) => Err(ApiError::invalid("Cannot specify both imageName and buildInfo")),
        (None, None) => Err(ApiError::invalid("imageName or buildInfo is needed")),
        (None, Some(build)) => Ok((None, checked(&build.dockerfile_content, build.context_hashes.as_deref())?)),
        (Some(name), None) => {
            check_name(name).map_err(|why| ApiError::invalid(format!("imageName: {why}")))?;
            let build = Build { dockerfile: format!("FROM {name}\n"), context_hashes: Vec::new() };
            Ok((Some(name.to_owned()), build))
        }
    }
}

pub(super) async fn build_logs_url(
    State(app): State<Arc<App>>,
    base: Base,
    Path(id): Path<String>,
) -> ApiResult<axum::Json<Url>> {
    let id = built(&app, &id)?;
    Ok(axum::Json(Url { url: format!("{}/api/snapshots/{id}/build-logs", base.0) }))
}

pub(super) async fn build_logs(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    Query(query): Query,
) -> ApiResult<Response> {
    let id = built(&app, &id)?;
    Ok(build::answer(&app, &id, follow(&query)?))
}

/// The id of a snapshot that was, or is being, built.
fn built(app: &App, id: &str) -> ApiResult<String> {
    if is_default(id) {
        return Err(build::no_build("the default snapshot"));
    }
    Ok(app.snapshots.find(id).ok_or_else(|| not_found(id))?.id.clone())
}
