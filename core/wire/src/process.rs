//! Running one command or program to its end.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// `POST /process/execute`
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct ExecuteRequest {
    /// A line for the sandbox's shell. Never blank.
    pub command: String,
    /// Working directory; the sandbox's work dir if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
    /// Seconds; absent or 0 is no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<u64>,
    /// Added to the sandbox's environment. Names match `^[A-Za-z_][A-Za-z0-9_]*$`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub envs: Option<BTreeMap<String, String>>,
}

/// The answer to [`ExecuteRequest`].
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ExecuteResponse {
    /// The command's exit code; -1 if it could not be started, 128 + n if signal n ended it.
    pub exit_code: i32,
    /// stdout and stderr, merged.
    pub result: String,
}

/// `POST /process/code-run`
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct CodeRunRequest {
    /// A whole program.
    pub code: String,
    /// `python`, `javascript` or `typescript`.
    pub language: String,
    /// Arguments, each passed whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub argv: Option<Vec<String>>,
    /// As [`ExecuteRequest::envs`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub envs: Option<BTreeMap<String, String>>,
    /// As [`ExecuteRequest::timeout`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<u64>,
}

/// The answer to [`CodeRunRequest`].
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CodeRunResponse {
    /// As [`ExecuteResponse::exit_code`].
    pub exit_code: i32,
    /// stdout and stderr, merged.
    pub result: String,
    /// What else the program left.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub artifacts: Option<crate::chart::CodeRunArtifacts>,
}
