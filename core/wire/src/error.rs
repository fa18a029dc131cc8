//! The error envelope.

use serde::{Deserialize, Serialize};

/// Source of an error body: the control plane.
pub const SOURCE_API: &str = "DAYTONA_API";
/// Source of an error body: the agent inside the sandbox.
pub const SOURCE_DAEMON: &str = "DAYTONA_DAEMON";
/// Source of an error body: the proxy between the two.
pub const SOURCE_PROXY: &str = "DAYTONA_PROXY";

/// The body of every non-2xx answer. Servers differ in what they fill in.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ErrorBody {
    /// The HTTP status, repeated.
    pub status_code: u16,
    /// What went wrong, for a person.
    pub message: String,
    /// A stable name such as `FILE_NOT_FOUND`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// [`SOURCE_API`], [`SOURCE_DAEMON`] or [`SOURCE_PROXY`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The status's reason phrase, as the control plane sends it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The request's path.
    pub path: String,
    /// The request's method.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// RFC 3339 time of the failure.
    pub timestamp: String,
}

/// Names a server gives to an error, beyond its status (`code` in the body).
pub mod code {
    /// 404: no such file or directory.
    pub const FILE_NOT_FOUND: &str = "FILE_NOT_FOUND";
    /// 403: the sandbox's user may not do that, or the path leads out of the sandbox.
    pub const FILE_ACCESS_DENIED: &str = "FILE_ACCESS_DENIED";
    /// 400: the path is empty, has a NUL byte, or is of the wrong kind.
    pub const INVALID_FILE_PATH: &str = "INVALID_FILE_PATH";
    /// 500: the file is there and could not be read.
    pub const FILE_READ_FAILED: &str = "FILE_READ_FAILED";
    /// 408: a command ran over its time limit and was killed.
    pub const PROCESS_EXECUTION_TIMEOUT: &str = "PROCESS_EXECUTION_TIMEOUT";
    /// 404: no such process, session or command.
    pub const PROCESS_NOT_FOUND: &str = "PROCESS_NOT_FOUND";
    /// 410: the session's shell has ended.
    pub const SESSION_ENDED: &str = "SESSION_ENDED";
    /// 410: the command takes no input any more.
    pub const COMMAND_ALREADY_COMPLETED: &str = "COMMAND_ALREADY_COMPLETED";
    /// 401: the git remote does not take the credentials, or wants some.
    pub const GIT_AUTH_FAILED: &str = "GIT_AUTH_FAILED";
    /// 404: no git repository there.
    pub const GIT_REPO_NOT_FOUND: &str = "GIT_REPO_NOT_FOUND";
    /// 404: no such branch.
    pub const GIT_BRANCH_NOT_FOUND: &str = "GIT_BRANCH_NOT_FOUND";
    /// 409: the branch is there already.
    pub const GIT_BRANCH_EXISTS: &str = "GIT_BRANCH_EXISTS";
    /// 409: the remote has commits that are missing here.
    pub const GIT_PUSH_REJECTED: &str = "GIT_PUSH_REJECTED";
    /// 409: uncommitted changes are in the way.
    pub const GIT_DIRTY_WORKTREE: &str = "GIT_DIRTY_WORKTREE";
    /// 409: the histories conflict.
    pub const GIT_MERGE_CONFLICT: &str = "GIT_MERGE_CONFLICT";
    /// 502: the git remote is not in reach.
    pub const GIT_TRANSPORT_FAILED: &str = "GIT_TRANSPORT_FAILED";
    /// 422: the git remote refused.
    pub const GIT_REMOTE_REJECTED: &str = "GIT_REMOTE_REJECTED";
    /// 400: the language server was used before it was started, or has ended.
    pub const LSP_SERVER_NOT_INITIALIZED: &str = "LSP_SERVER_NOT_INITIALIZED";
    /// 502: the sandbox stopped or died while the request was under way.
    pub const SANDBOX_STOPPED: &str = "SANDBOX_STOPPED";
    /// 502: what ran in the sandbox was killed, and the request with it; the sandbox goes on.
    pub const AGENT_RESTARTED: &str = "AGENT_RESTARTED";
    /// 410: the sandbox was deleted.
    pub const SANDBOX_DESTROYED: &str = "SANDBOX_DESTROYED";
}
