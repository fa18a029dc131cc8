//! The calls of previews and SSH.

use daytona_core::{Result, Sandbox};
use serde_json::Value;

use crate::calls::{Outcome, arg};

pub(crate) const CALLS: [&str; 6] = [
    "get_preview_link",
    "create_signed_preview_url",
    "expire_signed_preview_url",
    "create_ssh_access",
    "revoke_ssh_access",
    "validate_ssh_access",
];

/// A port, also as a program has printed it.
fn port(args: &Value) -> i64 {
    match &args["port"] {
        Value::String(text) => text.parse().expect("a port is a number"),
        _ => arg(args, "port"),
    }
}

pub(crate) async fn on_sandbox(method: &str, sandbox: &Sandbox, args: &Value) -> Result<Outcome> {
    let token = || arg::<String>(args, "token");
    match method {
        "get_preview_link" => sandbox.get_preview_link(port(args), None).await.map(Outcome::from),
        "create_signed_preview_url" => {
            let life = arg(args, "expires_in_seconds");
            sandbox.create_signed_preview_url(port(args), life, None).await.map(Outcome::from)
        }
        "expire_signed_preview_url" => {
            sandbox.expire_signed_preview_url(port(args), &token(), None).await.map(Outcome::from)
        }
        "create_ssh_access" => {
            sandbox.create_ssh_access(arg(args, "expires_in_minutes"), None).await.map(Outcome::from)
        }
        "revoke_ssh_access" => sandbox.revoke_ssh_access(&token(), None).await.map(Outcome::from),
        _ => sandbox.validate_ssh_access(&token(), None).await.map(Outcome::from),
    }
}
