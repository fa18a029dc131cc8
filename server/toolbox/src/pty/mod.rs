//! Pseudo-terminals: a login shell each, and the clients that look at it.

mod connection;
mod shell;
mod terminal;

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use daytona_wire::error::code;
use daytona_wire::pty::{
    DEFAULT_SIZE, ENVS_PREFIX, EXIT_CONTROL, MAX_SIZE, PtyCreateRequest, PtyCreateResponse, PtyListResponse,
    PtyResizeRequest, PtySessionInfo,
};
use rustix::process::Signal;
use serde::Deserialize;

use crate::App;
use crate::body::{Json, Query};
use crate::error::{Error, Result};
use crate::process;
use crate::session::tree;
use crate::websocket::Upgrade;
use terminal::Terminal;

/// How long programs have between SIGHUP and SIGKILL when their terminal is deleted.
const HANG_UP: Duration = Duration::from_millis(200);

pub(crate) fn routes() -> Router<App> {
    Router::new()
        .route("/process/pty", get(list).post(create))
        .route("/process/pty/create-connect", get(create_connect))
        .route("/process/pty/{id}", get(info).delete(remove))
        .route("/process/pty/{id}/connect", get(connect))
        .route("/process/pty/{id}/resize", post(resize))
}

/// The terminals there are; one goes with the end of its shell.
#[derive(Clone, Default)]
pub(crate) struct Terminals(Arc<Mutex<HashMap<String, Arc<Terminal>>>>);

impl Terminals {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<Terminal>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, id: &str) -> Result<Arc<Terminal>> {
        self.lock().get(id).cloned().ok_or_else(|| {
            Error::new(
                StatusCode::NOT_FOUND,
                code::PROCESS_NOT_FOUND,
                format!("PTY session {id:?} not found: it was never created, or its shell has ended"),
            )
        })
    }

    fn add(&self, terminal: &Arc<Terminal>) -> Result<()> {
        let mut all = self.lock();
        if all.contains_key(&terminal.id) {
            return Err(Error::conflict(format!(
                "PTY session {:?} already exists; connect to it, delete it or use another id",
                terminal.id
            )));
        }
        all.insert(terminal.id.clone(), Arc::clone(terminal));
        Ok(())
    }

    fn forget(&self, terminal: &Arc<Terminal>) {
        let mut all = self.lock();
        if all.get(&terminal.id).is_some_and(|known| Arc::ptr_eq(known, terminal)) {
            all.remove(&terminal.id);
        }
    }
}

fn check_size(cols: u16, rows: u16) -> Result<(u16, u16)> {
    for (name, value) in [("cols", cols), ("rows", rows)] {
        if !(1..=MAX_SIZE).contains(&value) {
            return Err(Error::bad_request(format!("{name} is {value}; a terminal has 1 to {MAX_SIZE}")));
        }
    }
    Ok((cols, rows))
}

/// Checks what is asked for; nothing is started yet.
fn prepare(app: &App, request: PtyCreateRequest) -> Result<Arc<Terminal>> {
    if request.id.trim().is_empty() {
        return Err(Error::bad_request("the id of the PTY session is blank; give it one"));
    }
    let (cols, rows) = (request.cols.unwrap_or(DEFAULT_SIZE.0), request.rows.unwrap_or(DEFAULT_SIZE.1));
    let size = check_size(cols, rows)?;
    let mut env = process::environment(app, request.envs.clone())?;
    if request.envs.as_ref().is_none_or(|envs| !envs.contains_key("TERM")) {
        env.insert("TERM".to_owned(), "xterm-256color".to_owned());
    }
    let cwd: PathBuf = process::working_dir(app, request.cwd.as_deref())?.components().collect();
    process::check_directory(&cwd)?;
    let info = PtySessionInfo {
        id: request.id.clone(),
        active: false,
        cols: size.0,
        rows: size.1,
        created_at: jiff::Timestamp::now().to_string(),
        cwd: cwd.to_string_lossy().into_owned(),
        envs: request.envs.unwrap_or_default(),
        lazy_start: request.lazy_start.unwrap_or(false),
    };
    Ok(Arc::new(Terminal::new(info, cwd, env, app.config.patience.slow_client)))
}

/// `POST /process/pty`
async fn create(State(app): State<App>, Json(request): Json<PtyCreateRequest>) -> Result<Response> {
    let lazy = request.lazy_start.unwrap_or(false);
    let terminal = prepare(&app, request)?;
    app.terminals.add(&terminal)?;
    if !lazy && let Err(error) = shell::start(&terminal, &app.terminals) {
        app.terminals.forget(&terminal);
        return Err(error);
    }
    let answer = PtyCreateResponse { session_id: terminal.id.clone() };
    Ok((StatusCode::CREATED, axum::Json(answer)).into_response())
}

/// `GET /process/pty`
async fn list(State(app): State<App>) -> axum::Json<PtyListResponse> {
    let mut sessions: Vec<_> = app.terminals.lock().values().map(|terminal| terminal.info()).collect();
    sessions.sort_by(|a, b| (&a.created_at, &a.id).cmp(&(&b.created_at, &b.id)));
    axum::Json(PtyListResponse { sessions })
}

/// `GET /process/pty/{id}`
async fn info(State(app): State<App>, Path(id): Path<String>) -> Result<axum::Json<PtySessionInfo>> {
    Ok(axum::Json(app.terminals.find(&id)?.info()))
}

/// `POST /process/pty/{id}/resize`
async fn resize(
    State(app): State<App>,
    Path(id): Path<String>,
    Json(size): Json<PtyResizeRequest>,
) -> Result<axum::Json<PtySessionInfo>> {
    let (cols, rows) = check_size(size.cols, size.rows)?;
    Ok(axum::Json(app.terminals.find(&id)?.resize(cols, rows)?))
}

/// `DELETE /process/pty/{id}`
async fn remove(State(app): State<App>, Path(id): Path<String>) -> Result<axum::Json<BTreeMap<String, String>>> {
    let terminal = app.terminals.find(&id)?;
    app.terminals.forget(&terminal);
    if let Some(leader) = terminal.kill() {
        tree::kill(leader, false, Signal::HUP, HANG_UP).await;
    }
    Ok(axum::Json(BTreeMap::new()))
}

#[derive(Deserialize)]
struct How {
    #[serde(default)]
    replay: bool,
}

/// `GET /process/pty/{id}/connect`
async fn connect(
    State(app): State<App>,
    Path(id): Path<String>,
    Query(How { replay }): Query<How>,
    upgrade: Upgrade,
) -> Response {
    let exit_control = upgrade.offered(EXIT_CONTROL).is_some();
    upgrade.run(&[EXIT_CONTROL], move |socket| async move {
        match app.terminals.find(&id) {
            Ok(terminal) => connection::serve(socket, terminal, &app.terminals, exit_control, replay).await,
            // Clients look for this after the upgrade.
            Err(error) => connection::refuse(socket, &error).await,
        }
    })
}

#[derive(Deserialize)]
struct Wanted {
    #[serde(default)]
    id: String,
    cols: Option<u16>,
    rows: Option<u16>,
    cwd: Option<String>,
}

/// `GET /process/pty/create-connect`
async fn create_connect(
    State(app): State<App>,
    Query(Wanted { id, cols, rows, cwd }): Query<Wanted>,
    upgrade: Upgrade,
) -> Result<Response> {
    let exit_control = upgrade.offered(EXIT_CONTROL).is_some();
    let envs = upgrade.offered(ENVS_PREFIX).map(environment).transpose()?;
    let terminal = prepare(&app, PtyCreateRequest { id, cwd, envs, cols, rows, lazy_start: None })?;
    app.terminals.add(&terminal)?;
    let new = New(Some(terminal), app.terminals.clone());
    Ok(upgrade.run(&[EXIT_CONTROL], move |socket| async move {
        if let Some(terminal) = new.keep() {
            connection::serve(socket, terminal, &app.terminals, exit_control, false).await;
        }
    }))
}

/// A terminal that goes again if its client never comes.
struct New(Option<Arc<Terminal>>, Terminals);

impl New {
    fn keep(mut self) -> Option<Arc<Terminal>> {
        self.0.take()
    }
}

impl Drop for New {
    fn drop(&mut self) {
        if let Some(terminal) = &self.0 {
            self.1.forget(terminal);
        }
    }
}

/// The environment in a subprotocol's name.
fn environment(token: &str) -> Result<BTreeMap<String, String>> {
    let json = BASE64_URL_SAFE_NO_PAD.decode(token.trim_end_matches('=')).ok();
    json.and_then(|json| serde_json::from_slice(&json).ok()).ok_or_else(|| {
        Error::bad_request(format!("{ENVS_PREFIX} is followed by no unpadded base64url of a JSON object of strings"))
    })
}
