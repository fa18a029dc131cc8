//! What a sandbox may reach.

use serde::{Deserialize, Serialize};

/// `POST /sandbox/{id}/network-settings`; what is absent stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct UpdateNetworkSettings {
    /// True for no network at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network_block_all: Option<bool>,
    /// Comma separated CIDR blocks it may reach; empty for no such limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network_allow_list: Option<String>,
    /// Comma separated domains it may reach; empty for no such limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub domain_allow_list: Option<String>,
}
