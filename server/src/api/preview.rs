//! Preview URLs: where a port of a sandbox can be reached; and what a proxy of one's own asks.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use daytona_wire::preview::{PortPreviewUrl, SignedPortPreviewUrl};
use serde_json::{Value, json};

use super::create::no_randomness;
use super::extract::{Base, Named, Query, whole};
use crate::App;
use crate::access::random;
use crate::error::{ApiError, ApiResult, code};
use crate::preview::{SIGNED_LENGTH, by_token, url};
use crate::time::now;

/// Seconds a signed URL is good for where nothing is said.
const DEFAULT_SECONDS: i64 = 60;
/// And at most: a day.
const MAX_SECONDS: i64 = 86_400;

/// What the path names beside the sandbox.
#[derive(serde::Deserialize)]
pub(super) struct OfPort {
    port: String,
    #[serde(default)]
    token: String,
}

fn port(text: &str) -> ApiResult<u16> {
    text.parse()
        .ok()
        .filter(|port| *port > 0)
        .ok_or_else(|| ApiError::invalid(format!("port must be a number from 1 to 65535, not {text:?}")))
}

pub(super) async fn preview_url(
    base: Base,
    Named(sandbox): Named,
    Path(path): Path<OfPort>,
) -> ApiResult<Json<PortPreviewUrl>> {
    let port = port(&path.port)?;
    let token = sandbox.preview_token.get().map_err(no_randomness)?;
    Ok(Json(PortPreviewUrl { sandbox_id: sandbox.id.clone(), url: url(&base.0, port, &sandbox.id), token }))
}

pub(super) async fn signed_preview_url(
    State(app): State<Arc<App>>,
    base: Base,
    Named(sandbox): Named,
    Path(path): Path<OfPort>,
    Query(query): Query,
) -> ApiResult<Json<SignedPortPreviewUrl>> {
    const NAME: &str = "expiresInSeconds";
    let port = port(&path.port)?;
    let seconds = query.iter().find(|(name, _)| name == NAME);
    let seconds = seconds.map_or(Ok(DEFAULT_SECONDS), |(_, text)| whole(NAME, text, 1))?;
    if seconds > MAX_SECONDS {
        return Err(ApiError::invalid(format!("{NAME} must be at most {MAX_SECONDS}, not {seconds}")));
    }
    let token = random(SIGNED_LENGTH).map_err(no_randomness)?;
    app.update(&sandbox, |record| record.access.sign(&token, port, now() + seconds * 1000)).await?;
    let url = url(&base.0, port, &token);
    Ok(Json(SignedPortPreviewUrl { sandbox_id: sandbox.id.clone(), port, token, url }))
}

pub(super) async fn expire_signed_preview_url(
    State(app): State<Arc<App>>,
    Named(sandbox): Named,
    Path(path): Path<OfPort>,
) -> ApiResult<StatusCode> {
    let port = port(&path.port)?;
    let mut found = false;
    app.update(&sandbox, |record| found = record.access.expire(&path.token, port)).await?;
    if found {
        return Ok(StatusCode::OK);
    }
    Err(ApiError::new(
        StatusCode::NOT_FOUND,
        code::PREVIEW_TOKEN_INVALID,
        format!("there is no such signed preview URL for port {port}: it has expired already, or never was"),
    ))
}

/// `GET /preview/{id}/public`: whether a proxy has to ask for a token.
pub(super) async fn public(Named(sandbox): Named) -> Json<bool> {
    Json(sandbox.record().public)
}

/// `GET /preview/{id}/validate/{token}`
pub(super) async fn validate(Named(sandbox): Named, Path((_, token)): Path<(String, String)>) -> Json<bool> {
    Json(sandbox.preview_token.is(token.as_bytes()))
}

/// `GET /preview/{id}/access`: the caller has the key, and the sandbox is there.
pub(super) async fn access(Named(_): Named) -> Json<bool> {
    Json(true)
}

/// `GET /preview/{id}/preview-warning`: a local server has no such page.
pub(super) async fn warning() -> Json<Value> {
    Json(json!({ "enabled": false }))
}

/// `GET /preview/{token}/{port}/sandbox-id`
pub(super) async fn sandbox_id(
    State(app): State<Arc<App>>,
    Path((token, text)): Path<(String, String)>,
) -> ApiResult<Json<String>> {
    let sandbox = by_token(&app, &token, port(&text)?)?;
    Ok(Json(sandbox.id.clone()))
}
