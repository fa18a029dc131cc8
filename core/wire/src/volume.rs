//! Volumes: storage that sandboxes share and that outlives them.

use serde::{Deserialize, Serialize};

/// A volume.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Volume {
    /// Unique, never reused.
    pub id: String,
    /// Unique in the organization.
    pub name: String,
    /// The organization it belongs to.
    pub organization_id: String,
    /// `pending_create`, `creating`, `ready`, `pending_delete`, `deleting`, `deleted` or `error`.
    pub state: String,
    /// RFC 3339, as all times.
    pub created_at: String,
    /// When it was changed last.
    pub updated_at: String,
    /// When a sandbox was last started with it.
    pub last_used_at: Option<String>,
    /// Why it is in `error`.
    pub error_reason: Option<String>,
}

/// `POST /volumes`
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct CreateVolume {
    /// Unique in the organization.
    pub name: String,
}
