//! The agent inside a sandbox: files and processes over HTTP.

use std::collections::BTreeMap;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::ExitCode;

use serde::{Deserialize, Serialize};

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
    /// The complete environment of commands; nothing is inherited.
    pub env: BTreeMap<String, String>,
    /// Unisolated runtime: file operations may not leave this folder.
    pub confine: Option<PathBuf>,
    /// Version of the agent, as `GET /version` answers it.
    pub version: String,
}

/// Serves the toolbox on `listener` until the listener fails.
///
/// Builds its own single-threaded runtime; call it where no other runtime runs.
pub fn run(config: AgentConfig, listener: UnixListener) -> ExitCode {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    else {
        return ExitCode::FAILURE;
    };
    runtime.block_on(async move {
        if listener.set_nonblocking(true).is_err() {
            return ExitCode::FAILURE;
        }
        let Ok(listener) = tokio::net::UnixListener::from_std(listener) else {
            return ExitCode::FAILURE;
        };
        match axum::serve(listener, router(config)).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        }
    })
}

/// The toolbox's routes, without any prefix.
pub fn router(_config: AgentConfig) -> axum::Router {
    axum::Router::new()
}
