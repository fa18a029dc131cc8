//! Pause, archive, recover, resize, fork and snapshot; and what was forked from what.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use daytona_runtime::RuntimeError;
use daytona_wire::sandbox::{CreateSandboxSnapshot, ForkSandbox, ResizeSandbox, Sandbox as Dto};

use super::create::{new_id, snapshot_name, twin};
use super::extract::{self, Base, Named, Query, boolean};
use super::sandbox::dto;
use crate::App;
use crate::error::{ApiError, ApiResult, code};
use crate::sandbox::Sandbox;

pub(super) async fn pause(State(app): State<Arc<App>>, base: Base, Named(sandbox): Named) -> ApiResult<Json<Dto>> {
    app.pause(&sandbox).await?;
    Ok(dto(&app, &sandbox, &base))
}

pub(super) async fn archive(State(app): State<Arc<App>>, base: Base, Named(sandbox): Named) -> ApiResult<Json<Dto>> {
    app.archive(&sandbox).await?;
    Ok(dto(&app, &sandbox, &base))
}

/// Deprecated, and nothing is done: an archive is the backup.
pub(super) async fn backup(State(app): State<Arc<App>>, base: Base, Named(sandbox): Named) -> Json<Dto> {
    dto(&app, &sandbox, &base)
}

pub(super) async fn recover(
    State(app): State<Arc<App>>,
    base: Base,
    Named(sandbox): Named,
    Query(query): Query,
) -> ApiResult<Json<Dto>> {
    let given = |name: &str| {
        let found = query.iter().find(|(given, _)| given == name);
        found.map_or(Ok(false), |(name, value)| boolean(name, value))
    };
    app.recover(&sandbox, !given("skipStart")?, given("acceptLoss")?).await?;
    Ok(dto(&app, &sandbox, &base))
}

pub(super) async fn resize(
    State(app): State<Arc<App>>,
    base: Base,
    Named(sandbox): Named,
    extract::Json(body): extract::Json<ResizeSandbox>,
) -> ApiResult<Json<Dto>> {
    app.resize(&sandbox, &body).await?;
    Ok(dto(&app, &sandbox, &base))
}

pub(super) async fn fork(
    State(app): State<Arc<App>>,
    base: Base,
    Named(sandbox): Named,
    extract::Json(body): extract::Json<ForkSandbox>,
) -> ApiResult<Json<Dto>> {
    let fork = app.fork(&sandbox, |record| twin(record, body.name)).await?;
    Ok(dto(&app, &fork, &base))
}

pub(super) async fn snapshot(
    State(app): State<Arc<App>>,
    base: Base,
    Named(sandbox): Named,
    extract::Json(body): extract::Json<CreateSandboxSnapshot>,
) -> ApiResult<Json<Dto>> {
    if body.include_memory == Some(true) {
        let reason = "only virtual machines have one; leave it out, or pause the sandbox to keep its memory".to_owned();
        return Err(RuntimeError::Unsupported { op: "includeMemory", reason }.into());
    }
    app.snapshot(&sandbox, new_id()?, snapshot_name(body.name)?).await?;
    Ok(dto(&app, &sandbox, &base))
}

pub(super) async fn forks(State(app): State<Arc<App>>, Base(base): Base, Named(sandbox): Named) -> Json<Vec<Dto>> {
    let mut forks: Vec<_> = app.forks(&sandbox.id).iter().map(|fork| fork.snapshot()).collect();
    forks.sort_by(|one, other| (one.created_at, &one.id).cmp(&(other.created_at, &other.id)));
    Json(forks.iter().map(|fork| app.view.full(fork, &base)).collect())
}

pub(super) async fn parent(State(app): State<Arc<App>>, base: Base, Named(sandbox): Named) -> ApiResult<Json<Dto>> {
    let parent = parent_of(&app, &sandbox).ok_or_else(|| {
        ApiError::new(
            StatusCode::NOT_FOUND,
            code::SANDBOX_NOT_FORKED,
            format!("Sandbox {} was not forked from another one, or that one is gone", sandbox.id),
        )
    })?;
    Ok(dto(&app, &parent, &base))
}

/// From the nearest to the farthest.
pub(super) async fn ancestors(State(app): State<Arc<App>>, Base(base): Base, Named(sandbox): Named) -> Json<Vec<Dto>> {
    let chain = std::iter::successors(parent_of(&app, &sandbox), |sandbox| parent_of(&app, sandbox));
    Json(chain.map(|sandbox| app.view.full(&sandbox.snapshot(), &base)).collect())
}

fn parent_of(app: &App, sandbox: &Sandbox) -> Option<Arc<Sandbox>> {
    let parent = sandbox.record().parent.clone()?;
    app.sandboxes.find(&parent).ok()
}
