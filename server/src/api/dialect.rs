//! Two older ways to speak that published integrations still use: workspaces, and clone and exec of a sandbox.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use bytes::Bytes;
use daytona_wire::git::GitCloneRequest;
use daytona_wire::process::{ExecuteRequest, ExecuteResponse};
use daytona_wire::sandbox::CreateSandbox;
use serde::{Deserialize, Serialize};

use super::extract::{Base, Json, Named, Query, boolean};
use super::sandbox::dto;
use crate::App;
use crate::error::{ApiError, ApiResult, code};
use crate::sandbox::{Activity, Sandbox};

/// What git exits with when it cannot do what it is asked for.
const GIT_FAILED: i32 = 128;

/// What each of these answers.
#[derive(Serialize)]
pub(super) struct Ran {
    id: String,
    name: String,
    exit_code: i32,
    output: String,
}

#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
pub(super) struct Workspace {
    name: Option<String>,
    image: Option<String>,
    command: Option<String>,
    env: Option<BTreeMap<String, String>>,
    resources: Option<Resources>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Resources {
    cpu: Option<i64>,
    memory: Option<i64>,
    disk: Option<i64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Clone {
    #[serde(alias = "repo_url", alias = "url")]
    repo_url: String,
    branch: Option<String>,
    path: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Exec {
    command: String,
    #[serde(alias = "workdir")]
    cwd: Option<String>,
    env: Option<BTreeMap<String, String>>,
    timeout: Option<u64>,
}

/// `POST /workspace`: a sandbox, from a snapshot that has the image's name, and perhaps a command in it.
pub(super) async fn create(State(app): State<Arc<App>>, Json(body): Json<Workspace>) -> ApiResult<axum::Json<Ran>> {
    let resources = body.resources.unwrap_or_default();
    let record = super::create::record(
        &app,
        CreateSandbox {
            name: body.name,
            snapshot: body.image,
            env: body.env,
            cpu: resources.cpu,
            memory: resources.memory,
            disk: resources.disk,
            ..CreateSandbox::default()
        },
    )?;
    let sandbox = app.create(record).await?;
    let command = body.command.filter(|command| !command.trim().is_empty());
    let answer = match command {
        Some(command) => run(&sandbox, ExecuteRequest { command, ..ExecuteRequest::default() }).await?,
        None => ran(&sandbox, 0, String::new()),
    };
    Ok(axum::Json(answer))
}

/// `GET /workspace/{id}`
pub(super) async fn get(
    State(app): State<Arc<App>>,
    base: Base,
    Named(sandbox): Named,
) -> axum::Json<daytona_wire::sandbox::Sandbox> {
    dto(&app, &sandbox, &base)
}

/// `DELETE /workspace/{id}?force=true`
pub(super) async fn delete(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    Query(query): Query,
) -> ApiResult<StatusCode> {
    let force = query.iter().find(|(name, _)| name == "force");
    let force = force.map_or(Ok(false), |(name, value)| boolean(name, value))?;
    match app.sandboxes.find(&id) {
        Ok(sandbox) => app.destroy(&sandbox).await?,
        // Whoever forces it wants it gone, and gone it is.
        Err(_) if force => {}
        Err(error) => return Err(error),
    }
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /sandbox/{id}/clone`
pub(super) async fn clone(
    State(app): State<Arc<App>>,
    Named(sandbox): Named,
    Json(body): Json<Clone>,
) -> ApiResult<axum::Json<Ran>> {
    let url = body.repo_url;
    let name = url.trim_end_matches('/').rsplit(['/', ':']).next().unwrap_or_default().trim_end_matches(".git");
    let path = body.path.filter(|path| !path.is_empty()).unwrap_or_else(|| name.to_owned());
    if url.is_empty() || path.is_empty() {
        return Err(ApiError::invalid("repoUrl must name a repository; give path where its last part is no name"));
    }
    let branch = body.branch.filter(|branch| !branch.is_empty());
    // The agent hands credentials in the URL to git alone.
    let request = GitCloneRequest { url, path: path.clone(), branch, ..GitCloneRequest::default() };
    let (status, body) = ask(&sandbox, "/git/clone", &request).await?;
    if status.is_success() {
        app.update(&sandbox, |record| record.cloned = Some(path.clone())).await?;
        return Ok(axum::Json(ran(&sandbox, 0, format!("Cloned into '{path}'\n"))));
    }
    let said: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
    let message = said["message"].as_str().unwrap_or("the repository could not be cloned");
    Ok(axum::Json(ran(&sandbox, GIT_FAILED, format!("{message}\n"))))
}

/// `POST /sandbox/{id}/exec`: in the cloned repository, if there is one.
pub(super) async fn exec(Named(sandbox): Named, Json(body): Json<Exec>) -> ApiResult<axum::Json<Ran>> {
    let cwd = body.cwd.or_else(|| sandbox.record().cloned.clone());
    let request = ExecuteRequest { command: body.command, cwd, timeout: body.timeout, envs: body.env };
    Ok(axum::Json(run(&sandbox, request).await?))
}

fn ran(sandbox: &Sandbox, exit_code: i32, output: String) -> Ran {
    Ran { id: sandbox.id.clone(), name: sandbox.record().name.clone(), exit_code, output }
}

async fn run(sandbox: &Arc<Sandbox>, request: ExecuteRequest) -> ApiResult<Ran> {
    let (status, body) = ask(sandbox, "/process/execute", &request).await?;
    if !status.is_success() {
        let said: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
        let message = said["message"].as_str().unwrap_or("the command could not be run").to_owned();
        return Err(ApiError::new(status, code::VALIDATION_FAILED, message));
    }
    let answer: ExecuteResponse =
        serde_json::from_slice(&body).map_err(|error| no_answer(sandbox, &error.to_string()))?;
    Ok(ran(sandbox, answer.exit_code, answer.result))
}

/// One request to the sandbox's agent.
async fn ask(sandbox: &Arc<Sandbox>, path: &'static str, request: &impl Serialize) -> ApiResult<(StatusCode, Bytes)> {
    let _activity = Activity::begin(sandbox);
    let Some(live) = sandbox.live() else {
        return Err(sandbox.not_running());
    };
    let body = serde_json::to_vec(request).unwrap_or_default();
    let agent = Arc::clone(&live);
    let Some(answer) = live.while_running(async move { agent.agent.post(path, body.into()).await }).await else {
        return Err(sandbox.ended_meanwhile());
    };
    answer.map_err(|why| no_answer(sandbox, &why))
}

fn no_answer(sandbox: &Sandbox, why: &str) -> ApiError {
    ApiError::new(
        StatusCode::BAD_GATEWAY,
        code::AGENT_UNREACHABLE,
        format!("the agent of sandbox {} gave no answer: {why}", sandbox.id),
    )
}
