//! The JSON types that cross the wire between a Daytona client and a Daytona server.
//!
//! Shared by the client core and the local server, and by nothing else: no I/O, no policy.
//! Field names follow the API's description; fields a server may leave out are
//! optional or default, so that an older or a newer server can be read.

pub mod admin;
pub mod chart;
pub mod data_dir;
pub mod environment;
pub mod error;
pub mod exec_stream;
pub mod files;
pub mod git;
pub mod interpreter;
pub mod lsp;
pub mod metrics;
pub mod network;
pub mod object_storage;
pub mod preview;
pub mod process;
pub mod pty;
pub mod sandbox;
pub mod secret;
pub mod session;
pub mod snapshot;
pub mod ssh;
pub mod tunnel;
pub mod volume;
pub mod warm_pool;

/// Header of every answer of an agent: which agent it is. Another value means that the one before has ended, and with
/// it all that it ran.
pub const AGENT: &str = "x-daytona-agent";

/// Base URL plus one path, as several control plane routes answer it.
#[derive(Clone, Debug, serde::Deserialize, serde::Serialize)]
pub struct Url {
    /// An absolute URL.
    pub url: String,
}

/// One directory, as `/user-home-dir` and `/work-dir` answer it.
#[derive(Clone, Debug, serde::Deserialize, serde::Serialize)]
pub struct Dir {
    /// An absolute path inside the sandbox.
    pub dir: String,
}
