//! Snapshots: what sandboxes are made from.

use serde::{Deserialize, Serialize};

/// A snapshot.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Snapshot {
    /// Unique, never reused.
    pub id: String,
    /// The organization it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub organization_id: Option<String>,
    /// True if every organization may use it.
    pub general: bool,
    /// Unique name.
    pub name: String,
    /// The image it was made from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_name: Option<String>,
    /// `active`, `building`, `pending`, `error`, ...
    pub state: String,
    /// Size in GiB, where known.
    pub size: Option<f64>,
    /// Command that its sandboxes start with.
    pub entrypoint: Option<Vec<String>>,
    /// CPU cores of its sandboxes.
    pub cpu: f64,
    /// GPUs of its sandboxes.
    pub gpu: f64,
    /// Memory of its sandboxes in GiB.
    pub mem: f64,
    /// Disk of its sandboxes in GiB.
    pub disk: f64,
    /// Why it is in an error state.
    pub error_reason: Option<String>,
    /// RFC 3339.
    pub created_at: String,
    /// RFC 3339.
    pub updated_at: String,
    /// RFC 3339.
    pub last_used_at: Option<String>,
    /// The sandbox it was made from.
    pub source_sandbox_id: Option<String>,
    /// `container`, `linux-vm` or `windows`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sandbox_class: Option<String>,
}

/// One page of `GET /snapshots`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PaginatedSnapshots {
    /// The snapshots of this page.
    pub items: Vec<Snapshot>,
    /// Of all pages.
    pub total: u64,
    /// This page, from 1.
    pub page: u64,
    /// Number of pages.
    pub total_pages: u64,
}
