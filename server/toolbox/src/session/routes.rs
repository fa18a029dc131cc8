//! The routes of sessions.

use std::io;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use daytona_wire::session::{
    self as wire, CreateSessionRequest, ENTRYPOINT, SessionExecuteRequest, SessionExecuteResponse, SessionInputRequest,
};
use serde::Deserialize;

use super::text::{Body, Format};
use super::{Command, Input, Sessions, follow};
use crate::App;
use crate::body::{Json, Query};
use crate::error::{Error, Result};
use crate::websocket::Upgrade;

pub(crate) fn routes() -> Router<App> {
    Router::new()
        .route("/process/session", get(list).post(create))
        .route("/process/session/{id}", get(describe).delete(delete))
        .route("/process/session/{id}/exec", post(execute))
        .route("/process/session/{id}/command/{command}", get(command))
        .route("/process/session/{id}/command/{command}/input", post(input))
        .route("/process/session/{id}/command/{command}/logs", get(command_logs))
        .route("/process/session/entrypoint/logs", get(entrypoint_logs))
}

async fn create(State(app): State<App>, Json(request): Json<CreateSessionRequest>) -> Result<StatusCode> {
    Sessions::create(&app, &request.session_id)?;
    Ok(StatusCode::CREATED)
}

async fn list(State(app): State<App>) -> axum::Json<Vec<wire::Session>> {
    axum::Json(app.sessions.all())
}

async fn describe(State(app): State<App>, Path(id): Path<String>) -> Result<axum::Json<wire::Session>> {
    match app.sessions.get(&id) {
        Ok(session) => Ok(axum::Json(session.describe())),
        Err(_) if id == ENTRYPOINT => Ok(axum::Json(wire::Session { session_id: id, commands: Vec::new() })),
        Err(error) => Err(error),
    }
}

async fn delete(State(app): State<App>, Path(id): Path<String>) -> Result<StatusCode> {
    app.sessions.delete(&id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A command whose client leaves runs on. One that a client waits for gets no input: nobody could send any to a command
/// whose id is told at its end.
async fn execute(
    State(app): State<App>,
    Path(id): Path<String>,
    headers: HeaderMap,
    Json(request): Json<SessionExecuteRequest>,
) -> Result<Response> {
    if request.command.trim().is_empty() {
        return Err(Error::bad_request("the command is blank; give a command to run"));
    }
    if request.command.contains('\0') {
        return Err(Error::bad_request("the command holds a NUL byte; remove it"));
    }
    if id == ENTRYPOINT {
        return Err(Error::bad_request(
            "the session \"entrypoint\" runs the image's entrypoint alone; create a session for other commands",
        ));
    }
    let echo = !request.suppress_input_echo.unwrap_or_default();
    let is_async = request.run_async.or(request.var_async).unwrap_or_default();
    let input = if is_async { Input::Open { echo } } else { Input::Ended };
    let command = app.sessions.get(&id)?.add(request.command, input)?;
    if is_async {
        let answer = SessionExecuteResponse { cmd_id: command.id.clone(), ..SessionExecuteResponse::default() };
        return Ok((StatusCode::ACCEPTED, axum::Json(answer)).into_response());
    }
    let (code, length) = command.ended().await?;
    let head = format!("{{\"cmdId\":\"{}\",\"exitCode\":{code},", command.id);
    let marked = Format::of(&headers) == Format::Marked;
    answer("application/json", Body::json(command.log.clone(), length, &head, marked))
}

async fn command(
    State(app): State<App>,
    Path((id, command)): Path<(String, String)>,
) -> Result<axum::Json<wire::Command>> {
    Ok(axum::Json(app.sessions.get(&id)?.command(&command)?.describe()))
}

async fn input(
    State(app): State<App>,
    Path((id, command)): Path<(String, String)>,
    Json(request): Json<SessionInputRequest>,
) -> Result<StatusCode> {
    app.sessions.get(&id)?.command(&command)?.input(&request.data).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
struct LogsQuery {
    #[serde(default)]
    follow: bool,
}

async fn command_logs(
    State(app): State<App>,
    Path((id, command)): Path<(String, String)>,
    Query(query): Query<LogsQuery>,
    headers: HeaderMap,
    upgrade: std::result::Result<Upgrade, Response>,
) -> Result<Response> {
    let command = app.sessions.get(&id)?.command(&command)?;
    logs(command, &query, &headers, upgrade)
}

async fn entrypoint_logs(
    State(app): State<App>,
    Query(query): Query<LogsQuery>,
    headers: HeaderMap,
    upgrade: std::result::Result<Upgrade, Response>,
) -> Result<Response> {
    let session = app.sessions.get(ENTRYPOINT).ok();
    let command = session.and_then(|session| session.lock().commands.first().cloned());
    logs(command.unwrap_or_else(Command::nothing), &query, &headers, upgrade)
}

fn logs(
    command: std::sync::Arc<Command>,
    query: &LogsQuery,
    headers: &HeaderMap,
    upgrade: std::result::Result<Upgrade, Response>,
) -> Result<Response> {
    if let Ok(upgrade) = upgrade {
        return Ok(follow::websocket(upgrade, command, query.follow, headers));
    }
    if query.follow {
        return Ok(follow::text(command, Format::of_growing(headers) == Format::Marked));
    }
    let length = command.progress.borrow().length;
    let log = command.log.clone();
    match Format::of(headers) {
        Format::Json => answer("application/json", Body::json(log, length, "{", false)),
        format => answer("text/plain; charset=utf-8", Body::plain(log, length, format == Format::Marked)),
    }
}

fn answer(kind: &'static str, body: Body) -> Result<Response> {
    let body =
        body.into_body().map_err(|error: io::Error| Error::internal(format!("cannot read the stored log: {error}")))?;
    Ok(([(header::CONTENT_TYPE, HeaderValue::from_static(kind))], body).into_response())
}
