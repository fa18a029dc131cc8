//! Preview URLs, and the ports they lead to.

use serde::{Deserialize, Serialize};

/// Where a port of a sandbox can be reached with its token.
#[derive(Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PortPreviewUrl {
    /// The sandbox.
    pub sandbox_id: String,
    /// Absolute, without the token.
    pub url: String,
    /// Secret; good until the sandbox is started again.
    pub token: String,
}

/// Where a port of a sandbox can be reached for a time by whoever has the URL.
#[derive(Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SignedPortPreviewUrl {
    /// The sandbox.
    pub sandbox_id: String,
    /// The one port it leads to.
    pub port: u16,
    /// Secret, and a part of the URL.
    pub token: String,
    /// Absolute, with the token.
    pub url: String,
}

/// `GET /port`
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct PortList {
    /// TCP ports that something listens on, in order.
    pub ports: Vec<u16>,
}

/// `GET /port/{port}/in-use`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PortInUse {
    /// Something listens on it.
    pub is_in_use: bool,
}
