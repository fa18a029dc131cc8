//! Pseudo-terminals.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Subprotocol of a client that wants to be told of the exit by a message too.
pub const EXIT_CONTROL: &str = "X-Daytona-Pty-Exit-Control";
/// Subprotocol prefix before the environment: unpadded base64url of a JSON object.
pub const ENVS_PREFIX: &str = "X-Daytona-Pty-Envs~";
/// Columns and rows of a terminal whose size is not given.
pub const DEFAULT_SIZE: (u16, u16) = (80, 24);
/// The most columns or rows.
pub const MAX_SIZE: u16 = 1000;

/// `POST /process/pty`
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PtyCreateRequest {
    /// Chosen by the client; unique in its sandbox.
    pub id: String,
    /// The sandbox's work dir if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
    /// Added to the sandbox's environment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub envs: Option<BTreeMap<String, String>>,
    /// 1 to 1000; default 80.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cols: Option<u16>,
    /// 1 to 1000; default 24.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows: Option<u16>,
    /// Start the shell when the first client connects.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lazy_start: Option<bool>,
}

/// The answer to [`PtyCreateRequest`].
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PtyCreateResponse {
    /// The id it was created with.
    pub session_id: String,
}

/// One terminal.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PtySessionInfo {
    /// The id it was created with.
    pub id: String,
    /// Its shell runs.
    pub active: bool,
    /// Columns.
    pub cols: u16,
    /// Rows.
    pub rows: u16,
    /// When it was created, RFC 3339.
    pub created_at: String,
    /// Where its shell was started.
    pub cwd: String,
    /// What was added to the environment.
    pub envs: BTreeMap<String, String>,
    /// The shell is started when the first client connects.
    pub lazy_start: bool,
}

/// `GET /process/pty`
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct PtyListResponse {
    /// All terminals.
    #[serde(default)]
    pub sessions: Vec<PtySessionInfo>,
}

/// `POST /process/pty/{id}/resize`
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub struct PtyResizeRequest {
    /// 1 to 1000.
    pub cols: u16,
    /// 1 to 1000.
    pub rows: u16,
}

/// Text messages of the server, and the reason of its close frame (without `type` and `status`).
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PtyControl {
    /// Always `control`.
    #[serde(rename = "type", skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// `connected`, `error` or `exited`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub status: String,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// As in [`crate::process::ExecuteResponse::exit_code`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// Why it ended, where that is not said by its code alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_reason: Option<String>,
}
