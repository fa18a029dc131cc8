//! Sessions: long-lived shells that run commands one after another.

use serde::{Deserialize, Serialize};

use crate::sandbox::null_is_default;

/// Precedes bytes of stdout in a followed log.
pub const STDOUT_MARKER: [u8; 3] = [1; 3];
/// Precedes bytes of stderr in a followed log.
pub const STDERR_MARKER: [u8; 3] = [2; 3];
/// The session that runs the image's entrypoint; reserved, and hidden from the list.
pub const ENTRYPOINT: &str = "entrypoint";

/// `POST /process/session`
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CreateSessionRequest {
    /// Chosen by the client; unique in its sandbox.
    pub session_id: String,
}

/// One session.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Session {
    /// The id it was created with.
    pub session_id: String,
    /// Its commands, oldest first.
    #[serde(default, deserialize_with = "null_is_default")]
    pub commands: Vec<Command>,
}

/// One command of a session.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Command {
    /// Chosen by the server.
    pub id: String,
    /// As it was sent.
    #[serde(default)]
    pub command: String,
    /// Absent while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
}

/// `POST /process/session/{id}/exec`
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SessionExecuteRequest {
    /// One or more lines for the session's shell. Never blank.
    pub command: String,
    /// Answer at once with the command's id (202) instead of at its end (200).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_async: Option<bool>,
    /// The older name of `run_async`.
    #[serde(rename = "async", skip_serializing_if = "Option::is_none")]
    pub var_async: Option<bool>,
    /// Keep what is sent to its stdin out of its log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suppress_input_echo: Option<bool>,
}

/// The answer to [`SessionExecuteRequest`].
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SessionExecuteResponse {
    /// The command's id.
    pub cmd_id: String,
    /// stdout and stderr, merged; absent if it runs on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
    /// stdout alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stdout: Option<String>,
    /// stderr alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stderr: Option<String>,
    /// Absent if it runs on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
}

/// What a command has written so far.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct SessionCommandLogs {
    /// stdout and stderr, merged.
    #[serde(deserialize_with = "null_is_default")]
    pub output: String,
    /// stdout alone.
    #[serde(deserialize_with = "null_is_default")]
    pub stdout: String,
    /// stderr alone.
    #[serde(deserialize_with = "null_is_default")]
    pub stderr: String,
}

/// `POST /process/session/{id}/command/{command}/input`
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct SessionInputRequest {
    /// Text for the command's stdin; the server adds a newline where it ends without one.
    pub data: String,
}
