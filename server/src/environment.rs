//! `POST /toolbox/{id}/env`: what the agent gives to new commands, and what it is to give after the next start.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{Method, Response, StatusCode, header};
use bytes::Bytes;
use daytona_wire::environment::UpdateEnvRequest;
use http_body_util::{BodyExt as _, Limited};

use crate::App;
use crate::error::{ApiError, ApiResult, code};
use crate::record::Record;
use crate::sandbox::{Activity, Live, Sandbox};

const BODY_LIMIT: usize = 1 << 20;

/// Whether a request to an agent is one of these.
pub(crate) fn is_update(method: &Method, path: &str) -> bool {
    method == Method::POST && path == "/env"
}

/// Passes the change on, and keeps it once the agent has taken it.
pub(crate) async fn update(app: &App, sandbox: &Arc<Sandbox>, request: Request) -> ApiResult<Response<Body>> {
    let body = Limited::new(request.into_body(), BODY_LIMIT)
        .collect()
        .await
        .map_err(|error| {
            ApiError::invalid(format!("the body cannot be read, or has over {BODY_LIMIT} bytes: {error}"))
        })?
        .to_bytes();
    let change: UpdateEnvRequest =
        serde_json::from_slice(&body).map_err(|error| ApiError::invalid(format!("body: {error}")))?;
    let _activity = Activity::begin(sandbox);
    let _operation = sandbox.operation.lock().await;
    let Some(live) = sandbox.live() else {
        return Err(sandbox.not_running());
    };
    let (status, answer) = ask(sandbox, &live, body).await?;
    if status.is_success() {
        app.update(sandbox, |record| keep(record, &change)).await?;
        sandbox.limit_network()?;
    }
    let mut response = Response::new(Body::from(answer));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    Ok(response)
}

/// What the next start of the sandbox is to give.
fn keep(record: &mut Record, change: &UpdateEnvRequest) {
    change.apply(&mut record.env);
    for name in &change.unset {
        record.secrets.remove(name);
        record.unset_env.insert(name.clone());
    }
    for name in change.set.keys() {
        record.secrets.remove(name);
        record.unset_env.remove(name);
    }
}

/// Tells a running agent of a change that is the server's own.
pub(crate) async fn tell(sandbox: &Sandbox, live: &Arc<Live>, change: &UpdateEnvRequest) -> ApiResult<()> {
    let body = serde_json::to_vec(change).unwrap_or_default();
    let (status, answer) = ask(sandbox, live, body.into()).await?;
    if status.is_success() {
        return Ok(());
    }
    Err(ApiError::new(
        StatusCode::BAD_GATEWAY,
        code::AGENT_UNREACHABLE,
        format!("the agent of sandbox {} answered {status}: {}", sandbox.id, String::from_utf8_lossy(&answer)),
    ))
}

async fn ask(sandbox: &Sandbox, live: &Arc<Live>, body: Bytes) -> ApiResult<(StatusCode, Bytes)> {
    let agent = Arc::clone(live);
    let Some(answer) = live.while_running(async move { agent.agent.post("/env", body).await }).await else {
        return Err(sandbox.ended_meanwhile());
    };
    answer.map_err(|error| {
        ApiError::new(
            StatusCode::BAD_GATEWAY,
            code::AGENT_UNREACHABLE,
            format!("the agent of sandbox {} gave no answer: {error}", sandbox.id),
        )
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn changes_are_kept_for_the_next_start() {
        let mut record = Record::sample("a");
        record.env = BTreeMap::from([("A".to_owned(), "1".to_owned()), ("B".to_owned(), "2".to_owned())]);
        record.secrets = BTreeMap::from([("S".to_owned(), "id".to_owned())]);
        let set = BTreeMap::from([("A".to_owned(), "3".to_owned())]);
        let unset = vec!["B".to_owned(), "PATH".to_owned(), "S".to_owned()];
        keep(&mut record, &UpdateEnvRequest { set, unset, unset_value_prefix: None });
        assert_eq!(record.env, BTreeMap::from([("A".to_owned(), "3".to_owned())]));
        assert!(record.unset_env.contains("PATH") && record.secrets.is_empty());
        let set = BTreeMap::from([("PATH".to_owned(), "/bin".to_owned())]);
        keep(&mut record, &UpdateEnvRequest { set, ..UpdateEnvRequest::default() });
        assert!(!record.unset_env.contains("PATH"));
    }
}
