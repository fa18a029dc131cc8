//! Access over SSH: who may come in, and for how long.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use daytona_wire::sandbox::Sandbox as Dto;
use daytona_wire::ssh::{SshAccess, SshAccessValidation};

use super::create::{new_id, no_randomness};
use super::extract::{Base, Named, Query};
use super::sandbox::dto;
use crate::App;
use crate::access::{Digest, Grant, random};
use crate::error::{ApiError, ApiResult};
use crate::time::{MINUTE, Millis, now, rfc3339};

/// Minutes a token is good for where nothing is said.
const DEFAULT_MINUTES: f64 = 60.0;
/// And at most: ten years.
const MAX_MINUTES: f64 = 5_256_000.0;
const TOKEN_LENGTH: usize = 32;

fn given<'a>(query: &'a [(String, String)], name: &str) -> Option<&'a str> {
    query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

/// A number of minutes, which need not be whole.
fn minutes(name: &str, text: &str) -> ApiResult<f64> {
    let minutes = text.parse().ok().filter(|minutes: &f64| *minutes > 0.0 && *minutes <= MAX_MINUTES);
    minutes.ok_or_else(|| {
        ApiError::invalid(format!("{name} must be a number over 0 and at most {MAX_MINUTES}, not {text:?}"))
    })
}

#[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "it is small, and within bounds")]
fn millis(minutes: f64) -> Millis {
    (minutes * MINUTE as f64) as Millis
}

/// Also takes the token back that was made before.
pub(super) async fn create(
    State(app): State<Arc<App>>,
    base: Base,
    Named(sandbox): Named,
    Query(query): Query,
) -> ApiResult<Json<SshAccess>> {
    const NAME: &str = "expiresInMinutes";
    let minutes = given(&query, NAME).map_or(Ok(DEFAULT_MINUTES), |text| minutes(NAME, text))?;
    let address = app.ssh.listen(&app).await?;
    let token = random(TOKEN_LENGTH).map_err(no_randomness)?;
    let (id, time) = (new_id()?, now());
    let expires_at = time.saturating_add(millis(minutes));
    let grant = Grant { id: id.clone(), digest: Digest::of(&token), expires_at };
    app.update(&sandbox, |record| record.access.ssh = Some(grant)).await?;
    app.ssh.revoked();
    let host = base.0.split_once("://").map_or(base.0.as_str(), |(_, host)| host);
    let host = host.rsplit_once(':').map_or(host, |(host, _)| host).trim_matches(['[', ']']);
    Ok(Json(SshAccess {
        id,
        sandbox_id: sandbox.id.clone(),
        ssh_command: app.ssh.command(address, host, &token),
        token,
        expires_at: rfc3339(expires_at),
        created_at: rfc3339(time),
        updated_at: rfc3339(time),
    }))
}

/// Takes a token back, or whichever there is. One that lets nobody in already is fine.
pub(super) async fn revoke(
    State(app): State<Arc<App>>,
    base: Base,
    Named(sandbox): Named,
    Query(query): Query,
) -> ApiResult<Json<Dto>> {
    let digest = given(&query, "token").map(Digest::of);
    app.update(&sandbox, |record| {
        let ssh = &mut record.access.ssh;
        ssh.take_if(|grant| digest.as_ref().is_none_or(|digest| grant.digest == *digest));
    })
    .await?;
    app.ssh.revoked();
    Ok(dto(&app, &sandbox, &base))
}

pub(super) async fn validate(State(app): State<Arc<App>>, Query(query): Query) -> ApiResult<Json<SshAccessValidation>> {
    let token = given(&query, "token").ok_or_else(|| ApiError::invalid("token must be given"))?;
    let digest = Digest::of(token);
    let found = app.sandboxes.all().into_iter().find(|sandbox| sandbox.record().access.lets_in(&digest));
    Ok(Json(SshAccessValidation {
        valid: found.is_some(),
        sandbox_id: found.map_or_else(String::new, |sandbox| sandbox.id.clone()),
    }))
}
