//! One sandbox: get, delete, start, stop, where its toolbox and its build log are.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::Response;
use daytona_wire::Url;
use daytona_wire::sandbox::Sandbox as Dto;

use super::extract::{Base, Named, Query, boolean};
use crate::App;
use crate::build;
use crate::error::ApiResult;
use crate::record::toolbox_url;
use crate::sandbox::Sandbox;

/// The sandbox as it is now.
pub(super) fn dto(app: &App, sandbox: &Sandbox, base: &Base) -> Json<Dto> {
    Json(app.view.full(&sandbox.snapshot(), &base.0))
}

pub(super) async fn get(State(app): State<Arc<App>>, base: Base, Path(id): Path<String>) -> ApiResult<Json<Dto>> {
    let sandbox = app.sandboxes.show(&id)?;
    Ok(dto(&app, &sandbox, &base))
}

pub(super) async fn delete(State(app): State<Arc<App>>, base: Base, Named(sandbox): Named) -> ApiResult<Json<Dto>> {
    app.destroy(&sandbox).await?;
    Ok(dto(&app, &sandbox, &base))
}

pub(super) async fn start(State(app): State<Arc<App>>, base: Base, Named(sandbox): Named) -> ApiResult<Json<Dto>> {
    app.start(&sandbox).await?;
    Ok(dto(&app, &sandbox, &base))
}

pub(super) async fn stop(
    State(app): State<Arc<App>>,
    base: Base,
    Named(sandbox): Named,
    Query(query): Query,
) -> ApiResult<Json<Dto>> {
    let force = query.iter().find(|(name, _)| name == "force");
    let force = force.map_or(Ok(false), |(name, value)| boolean(name, value))?;
    app.stop(&sandbox, force).await?;
    Ok(dto(&app, &sandbox, &base))
}

pub(super) async fn toolbox_proxy_url(base: Base, Named(_): Named) -> Json<Url> {
    Json(Url { url: toolbox_url(&base.0) })
}

pub(super) async fn build_logs_url(base: Base, Named(sandbox): Named) -> Json<Url> {
    Json(Url { url: format!("{}/api/sandbox/{}/build-logs", base.0, sandbox.id) })
}

/// The log of its build, as text; with `follow` until the build ends. Empty for a sandbox that was not built.
pub(super) async fn build_logs(
    State(app): State<Arc<App>>,
    Named(sandbox): Named,
    Query(query): Query,
) -> ApiResult<Response> {
    Ok(build::answer(&app, &sandbox.id, follow(&query)?))
}

/// Whether a log is to be followed.
pub(super) fn follow(query: &[(String, String)]) -> ApiResult<bool> {
    let follow = query.iter().find(|(name, _)| name == "follow");
    follow.map_or(Ok(false), |(name, value)| boolean(name, value))
}
