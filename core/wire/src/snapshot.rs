//! Snapshots: what sandboxes are made from.

use serde::{Deserialize, Serialize};

use crate::sandbox::{BuildInfo, CreateBuildInfo, null_is_default, number};

/// Where a snapshot is in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names are the API's own")]
pub enum SnapshotState {
    Building,
    Pending,
    Pulling,
    Snapshotting,
    Active,
    Inactive,
    Error,
    BuildFailed,
    Removing,
    /// A state this version does not know.
    #[default]
    #[serde(other)]
    UnknownDefaultOpenApi,
}

impl SnapshotState {
    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Building => "building",
            Self::Pending => "pending",
            Self::Pulling => "pulling",
            Self::Snapshotting => "snapshotting",
            Self::Active => "active",
            Self::Inactive => "inactive",
            Self::Error => "error",
            Self::BuildFailed => "build_failed",
            Self::Removing => "removing",
            Self::UnknownDefaultOpenApi => "unknown_default_open_api",
        }
    }
}

impl std::fmt::Display for SnapshotState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

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
    #[serde(deserialize_with = "null_is_default")]
    pub general: bool,
    /// Unique name.
    #[serde(deserialize_with = "null_is_default")]
    pub name: String,
    /// The image it was made from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_name: Option<String>,
    /// Where it is.
    #[serde(deserialize_with = "null_is_default")]
    pub state: SnapshotState,
    /// Size in GiB, where known.
    pub size: Option<f64>,
    /// Command that its sandboxes start with.
    pub entrypoint: Option<Vec<String>>,
    /// CPU cores of its sandboxes.
    #[serde(deserialize_with = "null_is_default", serialize_with = "number")]
    pub cpu: f64,
    /// GPUs of its sandboxes.
    #[serde(deserialize_with = "null_is_default", serialize_with = "number")]
    pub gpu: f64,
    /// GPU model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gpu_type: Option<String>,
    /// Memory of its sandboxes in GiB.
    #[serde(deserialize_with = "null_is_default", serialize_with = "number")]
    pub mem: f64,
    /// Disk of its sandboxes in GiB.
    #[serde(deserialize_with = "null_is_default", serialize_with = "number")]
    pub disk: f64,
    /// Why it is in an error state.
    pub error_reason: Option<String>,
    /// RFC 3339.
    #[serde(deserialize_with = "null_is_default")]
    pub created_at: String,
    /// RFC 3339.
    #[serde(deserialize_with = "null_is_default")]
    pub updated_at: String,
    /// RFC 3339.
    pub last_used_at: Option<String>,
    /// The image it is built from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub build_info: Option<BuildInfo>,
    /// The regions that have it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region_ids: Option<Vec<String>>,
    /// The machine that made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub initial_runner_id: Option<String>,
    /// What a registry calls it.
    #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// The sandbox it was made from.
    pub source_sandbox_id: Option<String>,
    /// `container`, `linux-vm` or `windows`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sandbox_class: Option<String>,
}

/// `POST /snapshots`
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CreateSnapshot {
    /// Unique name.
    pub name: String,
    /// The image to make it from; this or `build_info`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_name: Option<String>,
    /// What its sandboxes run in the place of the image's own entrypoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entrypoint: Option<Vec<String>>,
    /// CPU cores of its sandboxes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<i64>,
    /// GPUs of its sandboxes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gpu: Option<i64>,
    /// GPU models, best first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gpu_type: Option<Vec<String>>,
    /// Memory of its sandboxes in GiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<i64>,
    /// Disk of its sandboxes in GiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk: Option<i64>,
    /// The image to build.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub build_info: Option<CreateBuildInfo>,
    /// The region to have it in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region_id: Option<String>,
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
