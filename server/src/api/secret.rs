//! Secrets.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use daytona_wire::environment::UpdateEnvRequest;
use daytona_wire::sandbox::Sandbox as SandboxDto;
use daytona_wire::secret::{CreateSecret, ListSecretsResponse, Secret as Dto, UpdateSandboxSecrets, UpdateSecret};

use super::extract::{Base, Json, Named, Query, whole};
use super::sandbox::dto;
use super::snapshot::one_of;
use crate::App;
use crate::error::{ApiError, ApiResult};
use crate::secret::{PLACEHOLDER, Secret, not_found};

/// What the list is sorted by: a text that sorts as its value does, and the id for a draw.
type Key = (String, String);

pub(super) async fn all(State(app): State<Arc<App>>) -> axum::Json<Vec<Dto>> {
    let mut secrets = app.secrets.rows.all();
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.created_at));
    axum::Json(secrets.iter().map(Secret::dto).collect())
}

pub(super) async fn list(
    State(app): State<Arc<App>>,
    Query(query): Query,
) -> ApiResult<axum::Json<ListSecretsResponse>> {
    let (mut limit, mut wanted, mut sort, mut ascending, mut cursor) = (100, "", "createdAt", false, "");
    for (name, value) in query.iter().filter(|(_, value)| !value.is_empty()) {
        match name.as_str() {
            "limit" => {
                limit = usize::try_from(whole(name, value, 1)?).unwrap_or(usize::MAX);
                if limit > 200 {
                    return Err(ApiError::invalid(format!("limit must be at most 200, not {value}")));
                }
            }
            "name" => wanted = value,
            "sort" => {
                one_of(name, value, &["name", "createdAt", "updatedAt"])?;
                sort = value;
            }
            "order" => {
                one_of(name, value, &["asc", "desc"])?;
                ascending = value == "asc";
            }
            "cursor" => cursor = value,
            _ => {}
        }
    }
    let after: Option<Key> = if cursor.is_empty() {
        None
    } else {
        let read = || {
            let (order, key): ((String, bool), Key) =
                serde_json::from_slice(&URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()?;
            (order == (sort.to_owned(), ascending)).then_some(key)
        };
        let unknown = || ApiError::invalid("cursor is not one that this list, in this order, has answered");
        Some(read().ok_or_else(unknown)?)
    };
    let key = |secret: &Dto| -> Key {
        let text = match sort {
            "name" => &secret.name,
            "updatedAt" => &secret.updated_at,
            _ => &secret.created_at,
        };
        (text.clone(), secret.id.clone())
    };
    let wanted = wanted.to_lowercase();
    let mut found: Vec<Dto> = app.secrets.rows.all().iter().map(Secret::dto).collect();
    found.retain(|secret| secret.name.to_lowercase().contains(&wanted));
    let total = found.len() as u64;
    found.sort_by_key(key);
    if !ascending {
        found.reverse();
    }
    if let Some(after) = after {
        found.retain(|secret| if ascending { key(secret) > after } else { key(secret) < after });
    }
    let more = found.len() > limit;
    found.truncate(limit);
    let next_cursor = found
        .last()
        .filter(|_| more)
        .and_then(|last| Some(URL_SAFE_NO_PAD.encode(serde_json::to_vec(&((sort, ascending), key(last))).ok()?)));
    Ok(axum::Json(ListSecretsResponse { items: found, total, next_cursor }))
}

pub(super) async fn create(
    State(app): State<Arc<App>>,
    Json(body): Json<CreateSecret>,
) -> ApiResult<(StatusCode, axum::Json<Dto>)> {
    Ok((StatusCode::CREATED, axum::Json(app.create_secret(body).await?.dto())))
}

pub(super) async fn get(State(app): State<Arc<App>>, Path(id): Path<String>) -> ApiResult<axum::Json<Dto>> {
    Ok(axum::Json(app.secrets.rows.get(&id).ok_or_else(|| not_found(&id))?.dto()))
}

pub(super) async fn update(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    Json(body): Json<UpdateSecret>,
) -> ApiResult<axum::Json<Dto>> {
    Ok(axum::Json(app.update_secret(&id, body).await?.dto()))
}

/// Sandboxes that hold its placeholder keep it; it stands for nothing from now on.
pub(super) async fn delete(State(app): State<Arc<App>>, Path(id): Path<String>) -> ApiResult<StatusCode> {
    app.secrets.rows.remove(&app.store, &id).await?.ok_or_else(|| not_found(&id))?;
    Ok(StatusCode::NO_CONTENT)
}

/// `PUT /sandbox/{id}/secrets`: seen by what starts from now on.
pub(super) async fn attach(
    State(app): State<Arc<App>>,
    base: Base,
    Named(sandbox): Named,
    Json(body): Json<UpdateSandboxSecrets>,
) -> ApiResult<axum::Json<SandboxDto>> {
    let operation = sandbox.operation.lock().await;
    let env = sandbox.record().env.clone();
    let secrets = app.secrets.attached(body.secrets, &env)?;
    app.update(&sandbox, |record| record.secrets = secrets).await?;
    sandbox.limit_network()?;
    let record = sandbox.record().clone();
    let mut set = app.environment(&record);
    set.retain(|name, _| !record.env.contains_key(name));
    let request = UpdateEnvRequest { set, unset: Vec::new(), unset_value_prefix: Some(PLACEHOLDER.to_owned()) };
    if let Some(live) = sandbox.live() {
        crate::environment::tell(&sandbox, &live, &request).await?;
    }
    drop(operation);
    Ok(dto(&app, &sandbox, &base))
}
