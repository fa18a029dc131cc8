//! API keys, and the one organization and region of a local server.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use daytona_wire::admin::{
    ApiKey, CreateApiKey, CreatedApiKey, Organization, OrganizationUsage, Region, RegionUsage, UpdateDefaultRegion,
};
use daytona_wire::sandbox::SandboxState;

use super::extract::Json;
use crate::App;
use crate::api_key::{Caller, OWN, USER};
use crate::error::{ApiError, ApiResult, code};
use crate::record::{CLASS, ORGANIZATION, REGION};
use crate::time::rfc3339;

/// Stands for "no limit" where the API has a number.
const UNLIMITED: f64 = 9_007_199_254_740_991.0;

pub(super) async fn list_api_keys(State(app): State<Arc<App>>) -> axum::Json<Vec<ApiKey>> {
    axum::Json(app.list_api_keys())
}

pub(super) async fn current_api_key(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
) -> ApiResult<axum::Json<ApiKey>> {
    let name = match &caller {
        Caller::Owner => OWN,
        Caller::Key(key) => &key.name,
    };
    app.get_api_key(name).map(axum::Json)
}

pub(super) async fn get_api_key(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
) -> ApiResult<axum::Json<ApiKey>> {
    app.get_api_key(&name).map(axum::Json)
}

pub(super) async fn create_api_key(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Json(body): Json<CreateApiKey>,
) -> ApiResult<(StatusCode, axum::Json<CreatedApiKey>)> {
    Ok((StatusCode::CREATED, axum::Json(app.create_api_key(&caller, body).await?)))
}

pub(super) async fn delete_api_key(State(app): State<Arc<App>>, Path(name): Path<String>) -> ApiResult<StatusCode> {
    app.delete_api_key(&name).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn delete_users_api_key(
    State(app): State<Arc<App>>,
    Path((user, name)): Path<(String, String)>,
) -> ApiResult<StatusCode> {
    if user != USER {
        return Err(not_found("User", &user));
    }
    app.delete_api_key(&name).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn organization(app: &App) -> Organization {
    let time = rfc3339(app.started_at);
    Organization {
        id: ORGANIZATION.to_owned(),
        name: "Local server".to_owned(),
        created_by: USER.to_owned(),
        personal: true,
        created_at: time.clone(),
        updated_at: time,
        max_cpu_per_sandbox: app.defaults.cpu,
        max_memory_per_sandbox: app.defaults.memory,
        max_disk_per_sandbox: app.defaults.disk,
        secret_quota: Some(UNLIMITED),
        max_secrets_per_sandbox: Some(UNLIMITED),
        default_region_id: Some(REGION.to_owned()),
        ..Organization::default()
    }
}

fn check_organization(id: &str) -> ApiResult<()> {
    if id == ORGANIZATION { Ok(()) } else { Err(not_found("Organization", id)) }
}

fn not_found(what: &str, id: &str) -> ApiError {
    ApiError::new(
        StatusCode::NOT_FOUND,
        code::NOT_FOUND,
        format!("{what} {id} not found; a local server has one organization, {ORGANIZATION}, and one region, {REGION}"),
    )
}

pub(super) async fn list_organizations(State(app): State<Arc<App>>) -> axum::Json<Vec<Organization>> {
    axum::Json(vec![organization(&app)])
}

pub(super) async fn get_organization(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
) -> ApiResult<axum::Json<Organization>> {
    check_organization(&id)?;
    Ok(axum::Json(organization(&app)))
}

pub(super) async fn default_region(
    Path(id): Path<String>,
    Json(body): Json<UpdateDefaultRegion>,
) -> ApiResult<StatusCode> {
    check_organization(&id)?;
    match body.default_region_id.as_str() {
        REGION => Ok(StatusCode::NO_CONTENT),
        other => Err(not_found("Region", other)),
    }
}

/// Running sandboxes use CPU and memory, all of them disk.
pub(super) async fn usage(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
) -> ApiResult<axum::Json<OrganizationUsage>> {
    check_organization(&id)?;
    let mut region = RegionUsage {
        region_id: REGION.to_owned(),
        sandbox_class: CLASS.to_owned(),
        total_cpu_quota: UNLIMITED,
        total_memory_quota: UNLIMITED,
        total_disk_quota: UNLIMITED,
        max_cpu_per_sandbox: Some(app.defaults.cpu),
        max_memory_per_sandbox: Some(app.defaults.memory),
        max_disk_per_sandbox: Some(app.defaults.disk),
        ..RegionUsage::default()
    };
    for sandbox in app.sandboxes.all() {
        let record = sandbox.record();
        if matches!(record.state, SandboxState::Started | SandboxState::Starting | SandboxState::Creating) {
            region.current_cpu_usage += record.cpu;
            region.current_memory_usage += record.memory;
        }
        region.current_disk_usage += record.disk;
    }
    #[expect(clippy::cast_precision_loss, reason = "there are not that many")]
    let volumes = app.volumes.all().len() as f64;
    Ok(axum::Json(OrganizationUsage {
        region_usage: vec![region],
        total_snapshot_quota: UNLIMITED,
        current_snapshot_usage: 1.0,
        total_volume_quota: UNLIMITED,
        current_volume_usage: volumes,
    }))
}

fn region(app: &App) -> Region {
    let time = rfc3339(app.started_at);
    Region {
        id: REGION.to_owned(),
        name: REGION.to_owned(),
        region_type: "shared".to_owned(),
        created_at: time.clone(),
        updated_at: time,
        ..Region::default()
    }
}

pub(super) async fn list_regions(State(app): State<Arc<App>>) -> axum::Json<Vec<Region>> {
    axum::Json(vec![region(&app)])
}

pub(super) async fn get_region(State(app): State<Arc<App>>, Path(id): Path<String>) -> ApiResult<axum::Json<Region>> {
    if id == REGION { Ok(axum::Json(region(&app))) } else { Err(not_found("Region", &id)) }
}
