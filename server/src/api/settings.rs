//! The settings of a sandbox that can be changed.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use daytona_wire::sandbox::{Sandbox as Dto, SandboxLabels};

use super::extract::{Base, Json, Named, Value, at_least, boolean, whole};
use super::sandbox::dto;
use crate::App;
use crate::error::{ApiError, ApiResult, code};
use crate::record::{Record, user_labels};
use crate::sandbox::Sandbox;
use crate::time::{MINUTE, Millis, now};

/// Minutes before a stopped sandbox is archived, at most: 30 days.
pub(super) const MAX_AUTO_ARCHIVE: i64 = 43_200;

pub(super) async fn labels(
    State(app): State<Arc<App>>,
    Named(sandbox): Named,
    Json(body): Json<SandboxLabels>,
) -> ApiResult<axum::Json<SandboxLabels>> {
    let labels = user_labels(body.labels);
    app.update(&sandbox, |record| record.labels = labels).await?;
    let labels = app.view.labels(&sandbox.snapshot());
    Ok(axum::Json(SandboxLabels { labels }))
}

async fn set(
    app: &App,
    base: &Base,
    sandbox: &Sandbox,
    change: impl FnOnce(&mut Record),
) -> ApiResult<axum::Json<Dto>> {
    app.update(sandbox, change).await?;
    Ok(dto(app, sandbox, base))
}

pub(super) async fn public(
    State(app): State<Arc<App>>,
    base: Base,
    Named(sandbox): Named,
    Value(value): Value,
) -> ApiResult<axum::Json<Dto>> {
    let public = boolean("isPublic", &value)?;
    set(&app, &base, &sandbox, |record| record.public = public).await
}

pub(super) async fn auto_stop(
    State(app): State<Arc<App>>,
    base: Base,
    Named(sandbox): Named,
    Value(value): Value,
) -> ApiResult<axum::Json<Dto>> {
    let minutes = whole("interval", &value, 0)?;
    let (pause, delete) = {
        let record = sandbox.record();
        (record.auto_pause, record.auto_delete)
    };
    check_pauses(&app, minutes, pause, delete)?;
    set(&app, &base, &sandbox, |record| record.auto_stop = minutes).await
}

pub(super) async fn auto_pause(
    State(app): State<Arc<App>>,
    base: Base,
    Named(sandbox): Named,
    Value(value): Value,
) -> ApiResult<axum::Json<Dto>> {
    let minutes = whole("interval", &value, 0)?;
    let (stop, delete) = {
        let record = sandbox.record();
        (record.auto_stop, record.auto_delete)
    };
    check_pauses(&app, stop, minutes, delete)?;
    set(&app, &base, &sandbox, |record| record.auto_pause = minutes).await
}

/// What pausing after some idle minutes excludes.
pub(super) fn check_pauses(app: &App, stop: i64, pause: i64, delete: i64) -> ApiResult<()> {
    if pause == 0 {
        return Ok(());
    }
    app.can_freeze("autoPauseInterval").map_err(|error| {
        let message = format!("{error}; use autoStopInterval");
        ApiError::new(StatusCode::BAD_REQUEST, code::UNSUPPORTED_BY_RUNTIME, message)
    })?;
    if stop != 0 {
        return Err(ApiError::invalid(
            "autoStopInterval and autoPauseInterval exclude each other: set one of them to 0 first",
        ));
    }
    if delete == 0 {
        return Err(ApiError::invalid("autoPauseInterval: an ephemeral sandbox cannot pause; set it to 0"));
    }
    Ok(())
}

pub(super) async fn auto_archive(
    State(app): State<Arc<App>>,
    base: Base,
    Named(sandbox): Named,
    Value(value): Value,
) -> ApiResult<axum::Json<Dto>> {
    let minutes = check_auto_archive(whole("interval", &value, 0)?)?;
    set(&app, &base, &sandbox, |record| record.auto_archive = minutes).await
}

/// 0 stands for the maximum.
pub(super) fn check_auto_archive(minutes: i64) -> ApiResult<i64> {
    match at_least("autoArchiveInterval", minutes, 0)? {
        0 => Ok(MAX_AUTO_ARCHIVE),
        minutes if minutes <= MAX_AUTO_ARCHIVE => Ok(minutes),
        _ => Err(ApiError::invalid(format!("autoArchiveInterval must be at most {MAX_AUTO_ARCHIVE} minutes"))),
    }
}

pub(super) async fn auto_delete(
    State(app): State<Arc<App>>,
    base: Base,
    Named(sandbox): Named,
    Value(value): Value,
) -> ApiResult<axum::Json<Dto>> {
    let minutes = whole("interval", &value, i64::MIN)?.max(-1);
    let (stop, pause) = {
        let record = sandbox.record();
        (record.auto_stop, record.auto_pause)
    };
    check_pauses(&app, stop, pause, minutes)?;
    set(&app, &base, &sandbox, |record| record.auto_delete = minutes).await
}

pub(super) async fn ttl(
    State(app): State<Arc<App>>,
    base: Base,
    Named(sandbox): Named,
    Value(value): Value,
) -> ApiResult<axum::Json<Dto>> {
    let at = destroy_at(whole("ttlMinutes", &value, 0)?);
    set(&app, &base, &sandbox, |record| record.destroy_at = at).await
}

/// When a time to live that begins now ends; 0 is never.
pub(super) fn destroy_at(minutes: i64) -> Option<Millis> {
    (minutes > 0).then(|| now().saturating_add(minutes.saturating_mul(MINUTE)))
}

pub(super) async fn last_activity(State(app): State<Arc<App>>, Named(sandbox): Named) -> ApiResult<StatusCode> {
    sandbox.touch();
    let at = sandbox.last_activity();
    app.update(&sandbox, |record| record.last_activity_at = at).await?;
    Ok(StatusCode::CREATED)
}

pub(super) async fn signing_key(Named(sandbox): Named) -> Response {
    let key = sandbox.record().signing_key.clone();
    axum::Json(key).into_response()
}

/// URLs signed until now are no longer accepted.
pub(super) async fn rotate_signing_key(
    State(app): State<Arc<App>>,
    Named(sandbox): Named,
) -> ApiResult<axum::Json<String>> {
    let key = super::create::new_signing_key()?;
    app.update(&sandbox, |record| record.signing_key.clone_from(&key)).await?;
    Ok(axum::Json(key))
}
