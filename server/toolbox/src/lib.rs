//! The agent inside a sandbox: files and processes over HTTP.
//!
//! [`run`] serves the toolbox's routes on a Unix listener, without any prefix before the paths.
//! Whoever can connect may do everything the agent's user may: the control plane checks keys and
//! signed URLs before it passes a request on.

mod body;
mod chart;
mod code;
pub mod container;
mod environment;
mod error;
mod exec_stream;
mod files;
mod git;
mod interpreter;
pub mod line;
mod lsp;
mod names;
mod port;
mod private;
mod process;
mod pty;
mod ring;
mod serve;
mod session;
pub mod sparse;
mod system;
mod typescript;
mod websocket;

use std::collections::BTreeMap;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderValue, Response};
use axum::routing::{any, get, post};
use daytona_wire::Dir;
use serde::{Deserialize, Serialize};
use tokio::net::unix::OwnedWriteHalf;

/// What the agent is told when it starts.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct AgentConfig {
    /// Id of the sandbox the agent runs in.
    pub sandbox_id: String,
    /// Name of the sandbox's user.
    pub user: String,
    /// Home directory of that user.
    pub home: PathBuf,
    /// Where commands run and relative paths start.
    pub work_dir: PathBuf,
    /// The complete environment of commands at the start; nothing is inherited.
    pub env: BTreeMap<String, String>,
    /// Unisolated runtime: file operations may not leave this folder.
    pub confine: Option<PathBuf>,
    /// Program and arguments that run in the session `entrypoint` from the start.
    #[serde(default)]
    pub entrypoint: Option<Vec<String>>,
    /// Version of the agent, as `GET /version` answers it.
    pub version: String,
    /// How long clients are waited for.
    #[serde(default)]
    pub patience: Patience,
}

/// How long clients are waited for.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub struct Patience {
    /// A command on a websocket whose connection is lost is ended after this.
    pub reconnect: Duration,
    /// A client of a terminal that takes nothing for so long, while others wait for it, is cut off; without others
    /// after six times as long.
    pub slow_client: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            reconnect: Duration::from_secs(daytona_wire::exec_stream::GRACE_SECONDS),
            slow_client: Duration::from_secs(10),
        }
    }
}

/// What every request sees.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) config: Arc<AgentConfig>,
    /// Begins as that of `config`.
    pub(crate) env: environment::Environment,
    pub(crate) streams: exec_stream::Streams,
    pub(crate) sessions: Arc<session::Sessions>,
    pub(crate) interpreter: interpreter::Contexts,
    pub(crate) terminals: pty::Terminals,
    pub(crate) lsp: lsp::Servers,
}

/// Serves the toolbox on `listener` until the listener fails.
///
/// Builds its own single-threaded runtime; call it where no other runtime runs.
/// Idle connections are closed after two minutes.
pub fn run(config: AgentConfig, listener: UnixListener) -> ExitCode {
    match serve::run(config, listener, None) {
        Ok(never) => match never {},
        Err(_) => ExitCode::FAILURE,
    }
}

/// The same for an agent with a [`line`] to its parent, who ends it. Signals that a program can take do not.
pub fn run_on_line(config: AgentConfig, listener: UnixListener, line: UnixStream) -> ExitCode {
    match serve::run(config, listener, Some(line)) {
        Ok(never) => match never {},
        Err(_) => ExitCode::FAILURE,
    }
}

/// The toolbox's routes, without any prefix; starts the entrypoint.
///
/// # Panics
/// Outside a tokio runtime.
pub fn router(config: AgentConfig) -> Router {
    routes(config, None)
}

/// The same; `keeper` is told of the variables of commands when they change.
pub(crate) fn routes(mut config: AgentConfig, keeper: Option<OwnedWriteHalf>) -> Router {
    // Resolved once, so that resolved paths can be compared with it.
    if let Some(folder) = &mut config.confine
        && let Ok(real) = folder.canonicalize()
    {
        *folder = real;
    }
    let app = App {
        env: environment::Environment::new(config.env.clone(), keeper),
        config: Arc::new(config),
        streams: exec_stream::Streams::default(),
        sessions: Arc::default(),
        interpreter: interpreter::Contexts::default(),
        terminals: pty::Terminals::default(),
        lsp: lsp::Servers::default(),
    };
    session::Sessions::start_entrypoint(&app);
    Router::new()
        .route("/version", get(version))
        .route("/user-home-dir", get(user_home_dir))
        .route("/work-dir", get(work_dir))
        .route("/system/metrics", get(system::metrics))
        .route("/env", post(environment::update))
        .route("/process/execute", post(process::execute))
        .route("/process/code-run", post(code::code_run))
        .merge(exec_stream::routes())
        .merge(files::routes())
        .merge(git::routes())
        .merge(interpreter::routes())
        .merge(port::routes())
        .merge(private::routes())
        .merge(lsp::routes())
        .merge(pty::routes())
        .merge(session::routes())
        .merge(missing())
        .fallback(error::no_route)
        .method_not_allowed_fallback(error::no_method)
        .layer(axum::middleware::from_fn(error::describe))
        .layer(axum::middleware::map_response_with_state(name(), names_agent))
        .with_state(app)
}

/// A name that no other agent has, before it or after it.
fn name() -> HeaderValue {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    HeaderValue::from_str(&format!("{:x}-{:x}", std::process::id(), now.as_nanos())).expect("these are digits")
}

async fn names_agent<B: Send>(State(name): State<HeaderValue>, mut answer: Response<B>) -> Response<B> {
    answer.headers_mut().insert(daytona_wire::AGENT, name);
    answer
}

/// Routes of the protocol that are not served.
fn missing() -> Router<App> {
    let mut router = Router::new();
    for path in ["/init", "/computeruse/{*rest}"] {
        router = router.route(path, any(error::not_implemented));
    }
    router
}

async fn version(State(app): State<App>) -> axum::Json<BTreeMap<&'static str, String>> {
    axum::Json(BTreeMap::from([("version", app.config.version.clone())]))
}

async fn user_home_dir(State(app): State<App>) -> axum::Json<Dir> {
    axum::Json(Dir { dir: app.config.home.to_string_lossy().into_owned() })
}

async fn work_dir(State(app): State<App>) -> axum::Json<Dir> {
    axum::Json(Dir { dir: app.config.work_dir.to_string_lossy().into_owned() })
}
