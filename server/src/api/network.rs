//! What a sandbox may reach, changed while it runs.

use std::sync::Arc;

use axum::extract::State;
use daytona_wire::network::UpdateNetworkSettings;
use daytona_wire::sandbox::{Sandbox as Dto, SandboxState};

use super::extract::{Base, Json, Named};
use super::sandbox::dto;
use crate::App;
use crate::error::{ApiError, ApiResult};
use crate::record::Record;

pub(super) async fn update(
    State(app): State<Arc<App>>,
    base: Base,
    Named(sandbox): Named,
    Json(body): Json<UpdateNetworkSettings>,
) -> ApiResult<axum::Json<Dto>> {
    if body == UpdateNetworkSettings::default() {
        return Err(ApiError::invalid(
            "at least one of networkBlockAll, networkAllowList and domainAllowList is needed",
        ));
    }
    let before = sandbox.snapshot();
    let mut wanted = before.clone();
    apply(&mut wanted, &body);
    let running = (before.state != SandboxState::Stopped).then_some(&before);
    app.check_limits(&wanted, running)?;
    app.update(&sandbox, |record| apply(record, &body)).await?;
    sandbox.limit_network()?;
    app.tell_of_proxy(&sandbox, &before).await?;
    Ok(dto(&app, &sandbox, &base))
}

/// What is absent stays as it is; an empty list is none. A list without a word on blocking means that it is to work,
/// and not blocking without a list that there are no limits.
fn apply(record: &mut Record, body: &UpdateNetworkSettings) {
    let list = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
    if let Some(text) = &body.network_allow_list {
        record.network_allow_list = list(text);
    }
    if let Some(text) = &body.domain_allow_list {
        record.domain_allow_list = list(text);
    }
    let lists = [&body.network_allow_list, &body.domain_allow_list];
    let given = lists.into_iter().flatten().any(|text| !text.trim().is_empty());
    match body.network_block_all {
        Some(block) => record.network_block_all = block,
        None if given => record.network_block_all = false,
        None => {}
    }
    if body.network_block_all == Some(false) && !given {
        (record.network_allow_list, record.domain_allow_list) = (None, None);
    }
}
