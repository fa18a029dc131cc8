//! Access to a sandbox over SSH.

use serde::{Deserialize, Serialize};

/// A token that lets its holder in over SSH.
#[derive(Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SshAccess {
    /// Of this access, unique.
    pub id: String,
    /// The sandbox.
    pub sandbox_id: String,
    /// Secret; the SSH user name.
    pub token: String,
    /// RFC 3339.
    pub expires_at: String,
    /// RFC 3339.
    pub created_at: String,
    /// RFC 3339.
    pub updated_at: String,
    /// For a shell: `ssh ... TOKEN@HOST`.
    pub ssh_command: String,
}

/// Whether a token lets its holder in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SshAccessValidation {
    /// It does.
    pub valid: bool,
    /// The sandbox; empty if the token is not valid.
    pub sandbox_id: String,
}
