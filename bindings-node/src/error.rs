//! Errors as JSON: the JavaScript layer makes the class.

use std::collections::BTreeMap;
use std::error::Error as _;

use daytona_core::{Error, ErrorKind};
use napi_derive::napi;
use serde::Serialize;

/// Parameters as the core calls them and as Node programs do.
const NAMES: [(&str, &str); 14] = [
    ("auto_stop_interval", "autoStopInterval"),
    ("auto_pause_interval", "autoPauseInterval"),
    ("auto_archive_interval", "autoArchiveInterval"),
    ("auto_delete_interval", "autoDeleteInterval"),
    ("ttl_minutes", "ttlMinutes"),
    ("queue_timeout", "queueTimeout"),
    ("env_vars", "envVars"),
    ("data_dir", "dataDir"),
    ("request_timeout", "timeout"),
    ("connection_pool_maxsize", "connectionPoolMaxsize"),
    ("max_response_bytes", "maxResponseBytes"),
    ("close_stdin", "closeStdin"),
    ("wait_for_sandbox_start", "waitUntilStarted"),
    ("wait_for_sandbox_stop", "waitUntilStopped"),
];

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ErrorFields<'a> {
    name: &'static str,
    message: String,
    status_code: Option<u16>,
    code: Option<&'a str>,
    source: Option<&'a str>,
    headers: Option<BTreeMap<&'a str, &'a str>>,
    request_id: Option<&'a str>,
    operation: Option<&'static str>,
    attempts: u32,
    sandbox_id: Option<&'a str>,
    /// What lies beneath, outermost first.
    causes: Vec<String>,
}

/// Everything that is known of an error.
pub(crate) fn json(error: &Error) -> String {
    let mut message = error.message();
    for (name, node_name) in NAMES {
        if message.contains(name) {
            message = message.replace(name, node_name);
        }
    }
    let causes = std::iter::successors(error.source(), |cause| (*cause).source()).map(ToString::to_string).collect();
    let headers: BTreeMap<&str, &str> =
        error.headers().iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let fields = ErrorFields {
        name: error.kind().class_name(),
        message,
        status_code: error.status(),
        code: error.code(),
        source: error.source_name(),
        headers: (!headers.is_empty()).then_some(headers),
        request_id: error.request_id(),
        operation: error.operation().map(|operation| operation.name),
        attempts: error.attempts(),
        sandbox_id: error.sandbox_id(),
        causes,
    };
    serde_json::to_string(&fields).expect("names are strings")
}

/// What to say of a name that is not known.
#[napi]
pub fn suggestion(name: String, known: Vec<String>) -> String {
    let (name, known) = (name.into_boxed_str(), known.into_boxed_slice());
    daytona_core::suggestion(&name, &known.iter().map(String::as_str).collect::<Vec<_>>())
}

/// One row of the core's table of error classes.
#[napi(object)]
pub struct ErrorClass {
    /// Its name.
    pub name: String,
    /// The name of the class it extends; its own for the root.
    pub parent: String,
    /// The code of an answer that selects it.
    pub code: Option<String>,
}

/// The core's table of error classes: the JavaScript classes are compared with it.
#[napi]
pub fn error_classes() -> Vec<ErrorClass> {
    let row = |kind: &ErrorKind| ErrorClass {
        name: kind.class_name().to_owned(),
        parent: kind.parent().class_name().to_owned(),
        code: kind.code().map(str::to_owned),
    };
    ErrorKind::ALL.iter().map(row).collect()
}
