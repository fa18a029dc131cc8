//! Language servers of the sandbox: one process for each language and project.

mod documents;
mod language;
mod server;
mod symbols;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use daytona_wire::error::code;
use daytona_wire::lsp::{CompletionList, LspCompletionParams, LspDocumentRequest, LspServerRequest, LspSymbol};
use serde::Deserialize;
use serde_json::{Value, json};

use self::language::Language;
use self::server::Server;
use crate::App;
use crate::body::{Json, Query};
use crate::error::{Error, Result};
use crate::files::path::{Last, resolve};

pub(crate) fn routes() -> Router<App> {
    Router::new()
        .route("/lsp/start", post(start))
        .route("/lsp/stop", post(stop))
        .route("/lsp/did-open", post(did_open))
        .route("/lsp/did-close", post(did_close))
        .route("/lsp/completions", post(completions))
        .route("/lsp/document-symbols", get(document_symbols))
        .route("/lsp/workspacesymbols", get(workspace_symbols))
}

/// All of a sandbox.
#[derive(Clone, Default)]
pub(crate) struct Servers(Arc<Mutex<HashMap<Key, Slot>>>);

type Key = (Language, PathBuf);
/// Locked while its server starts, so that there is one.
type Slot = Arc<tokio::sync::Mutex<Option<Arc<Server>>>>;

impl Servers {
    fn slot(&self, key: &Key) -> Slot {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(all.entry(key.clone()).or_default())
    }

    fn known(&self, key: &Key) -> Option<Slot> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    fn forget(&self, key: &Key) -> Option<Slot> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(key)
    }
}

/// A project as it was asked for.
struct Project {
    language: Language,
    folder: PathBuf,
}

impl Project {
    fn new(app: &App, language: &str, path: &str) -> Result<Self> {
        let language = Language::named(language)?;
        let folder = resolve(app, path, Last::Follow)?;
        // Servers compare real names.
        Ok(Self { language, folder: folder.canonicalize().unwrap_or(folder) })
    }

    fn key(&self) -> Key {
        (self.language, self.folder.clone())
    }

    /// Its server, which runs.
    async fn server(&self, app: &App) -> Result<Arc<Server>> {
        let running = match app.lsp.known(&self.key()) {
            Some(slot) => slot.lock().await.clone(),
            None => None,
        };
        let Some(server) = running else {
            let language = self.language.as_str();
            return Err(Error::new(
                StatusCode::BAD_REQUEST,
                code::LSP_SERVER_NOT_INITIALIZED,
                format!("no {language} language server runs for {}; start it first", self.folder.display()),
            ));
        };
        if server.runs() { Ok(server) } else { Err(server.ended()) }
    }
}

/// `POST /lsp/start`
async fn start(State(app): State<App>, Json(request): Json<LspServerRequest>) -> Result<()> {
    let project = Project::new(&app, &request.language_id, &request.path_to_project)?;
    if !project.folder.is_dir() {
        let error = std::io::Error::from(std::io::ErrorKind::NotFound);
        return Err(Error::io(&error, "start a language server in", &request.path_to_project));
    }
    let slot = app.lsp.slot(&project.key());
    let mut slot = slot.lock().await;
    if slot.as_ref().is_some_and(|server| server.runs()) {
        return Ok(());
    }
    *slot = None;
    let server = project.language.start(&app, &project.folder).await?;
    *slot = Some(Arc::new(server));
    Ok(())
}

/// `POST /lsp/stop`
async fn stop(State(app): State<App>, Json(request): Json<LspServerRequest>) -> Result<()> {
    let project = Project::new(&app, &request.language_id, &request.path_to_project)?;
    if let Some(slot) = app.lsp.forget(&project.key())
        && let Some(server) = slot.lock().await.take()
    {
        server.stop().await;
    }
    Ok(())
}

/// `POST /lsp/did-open`
async fn did_open(State(app): State<App>, Json(request): Json<LspDocumentRequest>) -> Result<()> {
    let project = Project::new(&app, &request.language_id, &request.path_to_project)?;
    let server = project.server(&app).await?;
    let path = documents::file(&app, &project.folder, &request.uri)?;
    server.documents.sync(&server, &path, project.language.as_str()).await.map(drop)
}

/// `POST /lsp/did-close`
async fn did_close(State(app): State<App>, Json(request): Json<LspDocumentRequest>) -> Result<()> {
    let project = Project::new(&app, &request.language_id, &request.path_to_project)?;
    let server = project.server(&app).await?;
    let path = documents::file(&app, &project.folder, &request.uri)?;
    server.documents.close(&server, &path).await
}

/// `POST /lsp/completions`
async fn completions(
    State(app): State<App>,
    Json(request): Json<LspCompletionParams>,
) -> Result<axum::Json<CompletionList>> {
    let project = Project::new(&app, &request.language_id, &request.path_to_project)?;
    let server = project.server(&app).await?;
    let path = documents::file(&app, &project.folder, &request.uri)?;
    let uri = server.documents.sync(&server, &path, project.language.as_str()).await?;
    let context = request.context.map_or_else(|| json!({ "triggerKind": 1 }), |context| json!(context));
    let params = json!({ "textDocument": { "uri": uri }, "position": request.position, "context": context });
    let answer: Value = server.ask("textDocument/completion", params).await?;
    Ok(axum::Json(symbols::completions(answer)))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DocumentQuery {
    language_id: String,
    path_to_project: String,
    uri: String,
}

/// `GET /lsp/document-symbols`
async fn document_symbols(
    State(app): State<App>,
    Query(query): Query<DocumentQuery>,
) -> Result<axum::Json<Vec<LspSymbol>>> {
    let project = Project::new(&app, &query.language_id, &query.path_to_project)?;
    let server = project.server(&app).await?;
    let path = documents::file(&app, &project.folder, &query.uri)?;
    let uri = server.documents.sync(&server, &path, project.language.as_str()).await?;
    Ok(axum::Json(symbols::of_document(&server, &uri).await?))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WorkspaceQuery {
    language_id: String,
    path_to_project: String,
    query: String,
}

/// `GET /lsp/workspacesymbols`
async fn workspace_symbols(
    State(app): State<App>,
    Query(query): Query<WorkspaceQuery>,
) -> Result<axum::Json<Vec<LspSymbol>>> {
    let project = Project::new(&app, &query.language_id, &query.path_to_project)?;
    let server = project.server(&app).await?;
    symbols::of_project(&server, project.language, &project.folder, &query.query).await.map(axum::Json)
}
