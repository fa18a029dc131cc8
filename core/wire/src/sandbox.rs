//! Sandboxes, as the control plane describes them.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Where a sandbox is in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names are the API's own")]
pub enum SandboxState {
    Creating,
    Restoring,
    Destroyed,
    Destroying,
    Started,
    Stopped,
    Starting,
    Stopping,
    Error,
    BuildFailed,
    PendingBuild,
    BuildingSnapshot,
    #[default]
    Unknown,
    PullingSnapshot,
    Archived,
    Archiving,
    Resizing,
    Snapshotting,
    Forking,
    Pausing,
    Paused,
    Resuming,
    /// A state this version does not know.
    #[serde(other)]
    UnknownDefaultOpenApi,
}

impl SandboxState {
    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Creating => "creating",
            Self::Restoring => "restoring",
            Self::Destroyed => "destroyed",
            Self::Destroying => "destroying",
            Self::Started => "started",
            Self::Stopped => "stopped",
            Self::Starting => "starting",
            Self::Stopping => "stopping",
            Self::Error => "error",
            Self::BuildFailed => "build_failed",
            Self::PendingBuild => "pending_build",
            Self::BuildingSnapshot => "building_snapshot",
            Self::Unknown => "unknown",
            Self::PullingSnapshot => "pulling_snapshot",
            Self::Archived => "archived",
            Self::Archiving => "archiving",
            Self::Resizing => "resizing",
            Self::Snapshotting => "snapshotting",
            Self::Forking => "forking",
            Self::Pausing => "pausing",
            Self::Paused => "paused",
            Self::Resuming => "resuming",
            Self::UnknownDefaultOpenApi => "unknown_default_open_api",
        }
    }
}

impl std::fmt::Display for SandboxState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A sandbox. `GET /sandbox` leaves some of the fields out.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Sandbox {
    /// Unique, never reused.
    pub id: String,
    /// The organization it belongs to.
    #[serde(deserialize_with = "null_is_default")]
    pub organization_id: String,
    /// Unique in the organization; the id where none was given.
    #[serde(deserialize_with = "null_is_default")]
    pub name: String,
    /// Name of the snapshot it was made from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<String>,
    /// The user that commands run as.
    #[serde(deserialize_with = "null_is_default")]
    pub user: String,
    /// Environment of everything that runs in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub env: Option<BTreeMap<String, String>>,
    /// Free key-value pairs to find it by.
    #[serde(deserialize_with = "null_is_default")]
    pub labels: BTreeMap<String, String>,
    /// True if previews need no token.
    #[serde(deserialize_with = "null_is_default")]
    pub public: bool,
    /// True if it has no network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network_block_all: Option<bool>,
    /// True if it may use `/dev/kvm`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kvm: Option<bool>,
    /// Comma separated CIDR blocks it may reach.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network_allow_list: Option<String>,
    /// Comma separated domains it may reach.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub domain_allow_list: Option<String>,
    /// Proxy its traffic goes through.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outbound_proxy_url: Option<String>,
    /// Where its telemetry goes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub otel_endpoint_override: Option<String>,
    /// Region.
    #[serde(deserialize_with = "null_is_default")]
    pub target: String,
    /// CPU cores.
    #[serde(deserialize_with = "null_is_default", serialize_with = "number")]
    pub cpu: f64,
    /// GPUs.
    #[serde(deserialize_with = "null_is_default", serialize_with = "number")]
    pub gpu: f64,
    /// True if the provider may take it back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spot: Option<bool>,
    /// When the provider took it back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spot_evicted_at: Option<String>,
    /// When it gave up waiting for capacity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue_timed_out_at: Option<String>,
    /// GPU model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gpu_type: Option<String>,
    /// Memory in GiB.
    #[serde(deserialize_with = "null_is_default", serialize_with = "number")]
    pub memory: f64,
    /// Disk in GiB.
    #[serde(deserialize_with = "null_is_default", serialize_with = "number")]
    pub disk: f64,
    /// Where it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<SandboxState>,
    /// Where it is going.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub desired_state: Option<String>,
    /// Why it is in `error` or `build_failed`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_reason: Option<String>,
    /// True if `recover` may bring it back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recoverable: Option<bool>,
    /// The warm pool it came from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warm_pool_id: Option<String>,
    /// State of its backup.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backup_state: Option<String>,
    /// Time of its last backup.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backup_created_at: Option<String>,
    /// Idle minutes before it stops; 0 is never.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "opt_number")]
    pub auto_stop_interval: Option<f64>,
    /// Idle minutes before it pauses; 0 is never.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "opt_number")]
    pub auto_pause_interval: Option<f64>,
    /// Stopped minutes before it is archived; 0 is the maximum.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "opt_number")]
    pub auto_archive_interval: Option<f64>,
    /// Stopped minutes before it is deleted; 0 is at once, negative is never.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "opt_number")]
    pub auto_delete_interval: Option<f64>,
    /// When its time to live ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auto_destroy_at: Option<String>,
    /// Seconds it may wait for capacity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue_timeout: Option<i64>,
    /// Volumes mounted in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volumes: Option<Vec<SandboxVolume>>,
    /// The image it was built from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub build_info: Option<BuildInfo>,
    /// RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_at: Option<String>,
    /// RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub updated_at: Option<String>,
    /// RFC 3339; what the auto-stop interval is measured from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_activity_at: Option<String>,
    /// `container`, `linux-vm` or `windows`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sandbox_class: Option<String>,
    /// Version of the agent inside.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub daemon_version: Option<String>,
    /// The machine it runs on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runner_id: Option<String>,
    /// The sandbox it is linked to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub linked_sandbox_id: Option<String>,
    /// Base URL of the toolbox: requests go to `{this}/{id}{path}`. May be empty.
    #[serde(deserialize_with = "null_is_default")]
    pub toolbox_proxy_url: String,
}

/// A volume in a sandbox.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SandboxVolume {
    /// Id or name of the volume.
    pub volume_id: String,
    /// Absolute path inside the sandbox.
    pub mount_path: String,
    /// Only this folder of the volume.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subpath: Option<String>,
}

/// The image a sandbox was built from.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BuildInfo {
    /// The Dockerfile's text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dockerfile_content: Option<String>,
    /// Hashes of the uploaded contexts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context_hashes: Option<Vec<String>>,
    /// RFC 3339.
    pub created_at: String,
    /// RFC 3339.
    pub updated_at: String,
    /// Name of what was built.
    pub snapshot_ref: String,
}

/// The image to build a sandbox from.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CreateBuildInfo {
    /// The Dockerfile's text.
    pub dockerfile_content: String,
    /// Hashes of the uploaded contexts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context_hashes: Option<Vec<String>>,
}

/// `POST /sandbox`
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
#[expect(missing_docs, reason = "the fields are those of `Sandbox`")]
pub struct CreateSandbox {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub env: Option<BTreeMap<String, String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network_block_all: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kvm: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network_allow_list: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub domain_allow_list: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outbound_proxy_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub otel_endpoint_override: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gpu: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gpu_type: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spot: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auto_stop_interval: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auto_pause_interval: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auto_archive_interval: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auto_delete_interval: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl_minutes: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue_timeout: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volumes: Option<Vec<SandboxVolume>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub build_info: Option<CreateBuildInfo>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub linked_sandbox: Option<String>,
    /// Each entry is one pair: environment variable, name of the secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secrets: Option<Vec<BTreeMap<String, String>>>,
}

/// How the name begins that a client gives to a sandbox without one, so that it can delete it before it knows its id.
pub const UNSEEN_NAME: &str = "unnamed-";

/// Whether a name is such a one: [`UNSEEN_NAME`] and 32 hexadecimal digits. Users see the id in its place.
pub fn is_unseen_name(name: &str) -> bool {
    let digits = name.strip_prefix(UNSEEN_NAME);
    digits.is_some_and(|digits| digits.len() == 32 && digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
}

/// One page of `GET /sandbox`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ListSandboxesResponse {
    /// The sandboxes of this page.
    pub items: Vec<Sandbox>,
    /// Opaque; absent on the last page.
    pub next_cursor: Option<String>,
}

/// `PUT /sandbox/{idOrName}/labels`, both ways.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct SandboxLabels {
    /// The whole set: what is not in it is removed.
    pub labels: BTreeMap<String, String>,
}

/// `POST /sandbox/{idOrName}/fork`
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct ForkSandbox {
    /// Unique name; one is made where none is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// `POST /sandbox/{idOrName}/resize`
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct ResizeSandbox {
    /// Cores.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<i64>,
    /// GiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<i64>,
    /// GiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk: Option<i64>,
}

/// `POST /sandbox/{idOrName}/snapshot`
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CreateSandboxSnapshot {
    /// Unique name of the snapshot.
    pub name: String,
    /// With what is in memory; virtual machines only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub include_memory: Option<bool>,
}

/// One page of `GET /sandbox/paginated`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PaginatedSandboxes {
    /// The sandboxes of this page.
    pub items: Vec<Sandbox>,
    /// Of all pages.
    pub total: u64,
    /// This page, from 1.
    pub page: u64,
    /// Number of pages.
    pub total_pages: u64,
}

/// Whole numbers without a fraction: some clients read these fields as integers.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature serde asks for")]
pub(crate) fn number<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    #[expect(clippy::cast_possible_truncation, reason = "checked to be whole and in range")]
    if value.fract() == 0.0 && value.abs() < 1e15 {
        serializer.serialize_i64(*value as i64)
    } else {
        serializer.serialize_f64(*value)
    }
}

#[expect(clippy::ref_option, reason = "the signature serde asks for")]
pub(crate) fn opt_number<S: Serializer>(value: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => number(value, serializer),
        None => serializer.serialize_none(),
    }
}

/// Servers of different age send `null` or nothing where this type has no `Option`.
pub(crate) fn null_is_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_states_and_nulls_are_read() {
        let text = r#"{"id":"a","name":null,"state":"levitating","cpu":null,"brandNew":1}"#;
        let sandbox: Sandbox = serde_json::from_str(text).unwrap();
        assert_eq!(sandbox.state, Some(SandboxState::UnknownDefaultOpenApi));
        assert_eq!(sandbox.name, "");
    }

    #[test]
    fn whole_numbers_are_written_as_integers() {
        let sandbox = Sandbox { cpu: 2.0, memory: 0.5, auto_delete_interval: Some(-1.0), ..Sandbox::default() };
        let text = serde_json::to_string(&sandbox).unwrap();
        assert!(text.contains(r#""cpu":2,"#) && text.contains(r#""memory":0.5,"#), "{text}");
        assert!(text.contains(r#""autoDeleteInterval":-1"#), "{text}");
    }

    #[test]
    fn every_state_has_its_wire_name() {
        for name in ["creating", "build_failed", "pulling_snapshot", "resuming", "unknown"] {
            let state: SandboxState = serde_json::from_str(&format!("\"{name}\"")).unwrap();
            assert_eq!(state.as_str(), name);
        }
    }
}
