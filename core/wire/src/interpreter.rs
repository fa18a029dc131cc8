//! The code interpreter: Python code in contexts that keep their state.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Close code of a run that was over its time limit.
pub const CLOSE_TIMEOUT: u16 = 4008;

/// `POST /process/interpreter/context`
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct CreateContextRequest {
    /// The sandbox's work dir if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
    /// `python`, also if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
}

/// One context.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct InterpreterContext {
    /// Chosen by the server.
    pub id: String,
    /// Where its code runs.
    pub cwd: String,
    /// When it was created, RFC 3339.
    pub created_at: String,
    /// Its worker runs.
    pub active: bool,
    /// Always `python`.
    pub language: String,
}

/// `GET /process/interpreter/context`
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct ListContextsResponse {
    /// All contexts but the default one.
    #[serde(default)]
    pub contexts: Vec<InterpreterContext>,
}

/// First message of a client on `GET /process/interpreter/execute`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RunRequest {
    /// Python code. Never empty.
    pub code: String,
    /// The default context if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context_id: Option<String>,
    /// Seconds; 0 is no limit. Servers default to 600.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<u64>,
    /// In the environment while this code runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub envs: Option<BTreeMap<String, String>>,
    /// Send [`RunMessage::Result`] too. Other servers do not know it and send none.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub results: bool,
}

/// Any later message of a client.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(tag = "type", rename_all = "camelCase")]
pub enum RunControl {
    /// Raise `KeyboardInterrupt` in the code, as Ctrl-C does.
    Interrupt,
}

/// A message of the server.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(tag = "type", rename_all = "camelCase")]
pub enum RunMessage {
    /// Output.
    Stdout {
        /// Some text.
        #[serde(default)]
        text: String,
    },
    /// Output.
    Stderr {
        /// Some text.
        #[serde(default)]
        text: String,
    },
    /// The code raised.
    Error {
        /// Name of the exception's class.
        #[serde(default)]
        name: String,
        /// The exception as text.
        #[serde(default)]
        value: String,
        /// As Python prints it.
        #[serde(default)]
        traceback: String,
    },
    /// The value of the last expression, or something displayed; only where asked for.
    #[serde(rename_all = "camelCase")]
    Result {
        /// MIME type to content: text, or base64 for images. Always has `text/plain`.
        data: BTreeMap<String, serde_json::Value>,
        /// The value of the code's last expression, not a display on the way.
        #[serde(default)]
        is_main: bool,
    },
    /// It has ended.
    Control {
        /// `completed` or `interrupted`.
        #[serde(default)]
        text: String,
    },
}
