//! Warm pools: started sandboxes that wait for who creates one.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::sandbox::number;

/// A warm pool.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WarmPool {
    /// Unique, never reused.
    pub id: String,
    /// The organization it belongs to.
    pub organization_id: String,
    /// The snapshot its sandboxes are made from.
    pub snapshot: String,
    /// Region.
    pub target: String,
    /// How many sandboxes are to wait.
    #[serde(serialize_with = "number")]
    pub pool: f64,
    /// How many do.
    #[serde(serialize_with = "number")]
    pub current_size: f64,
    /// CPU cores of each.
    #[serde(serialize_with = "number")]
    pub cpu: f64,
    /// Memory of each in GiB.
    #[serde(serialize_with = "number")]
    pub mem: f64,
    /// Disk of each in GiB.
    #[serde(serialize_with = "number")]
    pub disk: f64,
    /// User of each.
    pub os_user: String,
    /// Environment of each.
    pub env: BTreeMap<String, String>,
    /// Why it cannot be filled.
    pub error_reason: Option<String>,
    /// RFC 3339.
    pub created_at: String,
    /// RFC 3339.
    pub updated_at: String,
}

/// `POST /warm-pools`
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct CreateWarmPool {
    /// Id or name of a snapshot.
    pub snapshot: String,
    /// How many sandboxes are to wait.
    pub pool: i64,
    /// Region; the organization's default if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
}

/// `PATCH /warm-pools/{id}`
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct UpdateWarmPool {
    /// How many sandboxes are to wait; 0 empties it.
    pub pool: i64,
}
