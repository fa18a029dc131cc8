//! What a provider is configured with, asked for, and says of itself.

use std::collections::BTreeMap;
use std::fmt;

use daytona_wire::sandbox::SandboxState;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{Error, Result};
use crate::section::Section;

/// The name of this provider in handles.
pub(super) const PROVIDER: &str = "daytona";
/// How whoever provisions gets to what runs in the sandbox.
pub(super) const TRANSPORT: &str = "dial-in";
const POOL_KEYS: [&str; 7] = ["daytona_api_url", "image", "disk_gb", "user", "command", "api", "target"];
const SPEC_KEYS: [&str; 14] = [
    "name",
    "image",
    "snapshot",
    "user",
    "command",
    "env",
    "labels",
    "cpu",
    "memory_gb",
    "disk_gb",
    "gpu",
    "timeout_sec",
    "target",
    "network_block_all",
];

/// Which form of the API a server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Dialect {
    Sandbox,
    Workspace,
}

/// What the sandboxes of a pool have in common.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PoolConfig {
    /// Base URL of the API; `DAYTONA_API_URL` beats it.
    pub daytona_api_url: String,
    /// Image of the sandboxes.
    pub image: String,
    /// GiB.
    #[serde(rename = "diskGB")]
    pub disk_gb: i64,
    /// User that the command runs as.
    pub user: String,
    /// What runs in each sandbox, argument by argument; may be empty.
    pub command: Vec<String>,
    /// Region.
    pub target: Option<String>,
    /// The form of the API: `sandbox`, `workspace`, or none: what the server has.
    pub(super) api: Option<Dialect>,
}

impl PoolConfig {
    /// Reads an object with any of the keys; what is not given has its default.
    ///
    /// # Errors
    /// `InvalidArgument` for an unknown key or a value of another type.
    pub fn read(value: &Value) -> Result<Self> {
        let section = Section::read("pool", value, &POOL_KEYS)?;
        let api = match section.text("api")?.as_deref() {
            None | Some("auto") => None,
            Some("sandbox") => Some(Dialect::Sandbox),
            Some("workspace") => Some(Dialect::Workspace),
            Some(other) => {
                return Err(Error::invalid(format!("pool.api must be auto, sandbox or workspace, not {other:?}")));
            }
        };
        Ok(Self {
            daytona_api_url: section
                .text("daytona_api_url")?
                .unwrap_or_else(|| "https://app.daytona.io/api".to_owned()),
            image: section.text("image")?.unwrap_or_else(|| "ghcr.io/renseiai/donmai-worker:latest".to_owned()),
            disk_gb: section.count("disk_gb")?.unwrap_or(20),
            user: section.text("user")?.unwrap_or_else(|| "daytona".to_owned()),
            command: section.texts("command")?.unwrap_or_else(|| ["donmai", "agent", "run"].map(str::to_owned).into()),
            target: section.text("target")?,
            api,
        })
    }
}

/// One sandbox that is asked for. What is not given is the pool's.
#[derive(Clone, Debug)]
pub(super) struct Spec {
    pub(super) name: Option<String>,
    pub(super) image: String,
    pub(super) snapshot: Option<String>,
    pub(super) user: String,
    pub(super) command: Option<String>,
    pub(super) env: BTreeMap<String, String>,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) cpu: Option<i64>,
    pub(super) memory_gb: Option<i64>,
    pub(super) disk_gb: i64,
    pub(super) gpu: Option<i64>,
    pub(super) auto_stop_minutes: i64,
    pub(super) target: Option<String>,
    pub(super) network_block_all: Option<bool>,
}

impl Spec {
    pub(super) fn read(value: &Value, pool: &PoolConfig) -> Result<Self> {
        let section = Section::read("spec", value, &SPEC_KEYS)?;
        let (image, snapshot) = (section.text("image")?, section.text("snapshot")?);
        let (cpu, memory_gb) = (section.count("cpu")?, section.count("memory_gb")?);
        let (disk_gb, gpu) = (section.count("disk_gb")?, section.count("gpu")?);
        if snapshot.is_some() {
            let given = [("image", image.is_some()), ("cpu", cpu.is_some()), ("memory_gb", memory_gb.is_some())];
            let given = given.into_iter().chain([("disk_gb", disk_gb.is_some()), ("gpu", gpu.is_some())]);
            if let Some((key, _)) = given.into_iter().find(|(_, given)| *given) {
                return Err(Error::invalid(format!("spec.{key} and spec.snapshot exclude each other"))
                    .with_hint("A snapshot has its own image and sizes"));
            }
        }
        let command = section.texts("command")?.unwrap_or_else(|| pool.command.clone());
        let command = shlex::try_join(command.iter().map(String::as_str))
            .map_err(|_| Error::invalid("spec.command holds a NUL character"))?;
        let env = section.pairs("env")?.unwrap_or_default();
        crate::process::check_env(&env)?;
        Ok(Self {
            name: section.text("name")?,
            image: image.unwrap_or_else(|| pool.image.clone()),
            snapshot,
            user: section.text("user")?.unwrap_or_else(|| pool.user.clone()),
            command: Some(command).filter(|command| !command.is_empty()),
            env,
            labels: section.pairs("labels")?.unwrap_or_default(),
            cpu,
            memory_gb,
            disk_gb: disk_gb.unwrap_or(pool.disk_gb),
            gpu,
            auto_stop_minutes: auto_stop(section.seconds("timeout_sec", 0.0)?),
            target: section.text("target")?.or_else(|| pool.target.clone()),
            network_block_all: section.flag("network_block_all")?,
        })
    }
}

/// Whole minutes, rounded up; 30 where nothing is said, and for 0.
fn auto_stop(timeout: Option<f64>) -> i64 {
    let Some(seconds) = timeout.filter(|seconds| *seconds > 0.0) else { return 30 };
    #[expect(clippy::cast_possible_truncation, reason = "in range after clamping")]
    let minutes = (seconds / 60.0).ceil().clamp(1.0, 1e9) as i64;
    minutes
}

/// What names a sandbox from now on, for this process or any other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SandboxHandle {
    /// `daytona`.
    pub provider: String,
    /// The server's id.
    pub external_id: String,
    /// `dial-in`: whoever provisions connects to the sandbox.
    pub transport: String,
    /// RFC 3339.
    pub provisioned_at: String,
}

impl SandboxHandle {
    pub(super) fn check(&self) -> Result<()> {
        if self.provider != PROVIDER {
            return Err(Error::invalid(format!(
                "the handle is of provider {:?}, and this is {PROVIDER:?}",
                self.provider
            )));
        }
        match self.external_id.as_str() {
            "" | "." | ".." => Err(Error::invalid("the handle has no usable external id")),
            _ => Ok(()),
        }
    }
}

/// Where a sandbox is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ProviderStatus {
    /// It is being made or started.
    Provisioning,
    /// It could take work and has none. No Daytona server says so: a started sandbox is `running`.
    Ready,
    /// It has started.
    Running,
    /// Its processes stand still.
    Paused,
    /// It is stopped, archived or deleted, on its way there, or never was.
    Terminated,
    /// It could not be made, or broke.
    Failed,
}

impl ProviderStatus {
    /// Of a state of the API. `creating` and what comes before `started` is provisioning, `started` is running, `error`
    /// and `build_failed` are failed, `paused` is paused, and all others are terminated.
    pub fn of(state: SandboxState) -> Self {
        use SandboxState as S;
        match state {
            S::Creating
            | S::Restoring
            | S::Starting
            | S::PendingBuild
            | S::BuildingSnapshot
            | S::PullingSnapshot
            | S::Resuming => Self::Provisioning,
            S::Started | S::Resizing | S::Snapshotting | S::Forking => Self::Running,
            S::Pausing | S::Paused => Self::Paused,
            S::Error | S::BuildFailed => Self::Failed,
            _ => Self::Terminated,
        }
    }

    /// Of the state's name. Some servers say `running` for `started`.
    pub(super) fn of_name(name: &str) -> Self {
        let state = serde_json::from_value(Value::String(name.to_owned())).unwrap_or_default();
        if name == "running" { Self::Running } else { Self::of(state) }
    }

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Provisioning => "provisioning",
            Self::Ready => "ready",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Terminated => "terminated",
            Self::Failed => "failed",
        }
    }
}

impl fmt::Display for ProviderStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a provider can do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::struct_excessive_bools, reason = "each is a capability of its own")]
pub struct CapabilityProfile {
    /// `dial-in`.
    pub transport: &'static str,
    /// Whether the files of a sandbox can be kept as a snapshot.
    pub fs_snapshot: bool,
    /// Whether a sandbox can stand still with its memory.
    pub pause_resume: bool,
    /// Whether the provider says how much more it could take.
    pub capacity_query: bool,
    /// `linux`.
    pub os: &'static str,
    /// `x86_64` or `aarch64`.
    pub arch: String,
    /// What a stopped sandbox costs: `storage-only`.
    pub idle_cost: &'static str,
    /// `wall-clock`.
    pub billing: &'static str,
    /// Whether sandboxes can have GPUs.
    pub gpu: bool,
    /// Whether a sandbox can have limits of its network.
    pub custom_network_policy: bool,
    /// What a sandbox may reach where nothing is said: `allow`.
    pub egress_default: &'static str,
}

impl CapabilityProfile {
    /// What every server of this kind is taken to do; what one really does, [`SandboxProvider::capabilities`] asks.
    ///
    /// [`SandboxProvider::capabilities`]: crate::SandboxProvider::capabilities
    pub fn classic() -> Self {
        Self {
            transport: TRANSPORT,
            fs_snapshot: true,
            pause_resume: false,
            capacity_query: false,
            os: "linux",
            arch: "x86_64".to_owned(),
            idle_cost: "storage-only",
            billing: "wall-clock",
            gpu: true,
            custom_network_policy: true,
            egress_default: "allow",
        }
    }
}

/// How much of something there may be, and is.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Quota {
    /// What there may be.
    pub total: f64,
    /// What is used.
    pub used: f64,
    /// What is left; never below 0.
    pub available: f64,
}

impl Quota {
    pub(super) fn new(total: f64, used: f64) -> Self {
        Self { total, used, available: (total - used).max(0.0) }
    }
}

/// How much more there could be in one region.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CapacityRegion {
    /// The region.
    pub region_id: String,
    /// `container`, `linux-vm` or `windows`.
    pub sandbox_class: String,
    /// Cores.
    pub cpu: Quota,
    /// GiB.
    #[serde(rename = "memoryGB")]
    pub memory_gb: Quota,
    /// GiB.
    #[serde(rename = "diskGB")]
    pub disk_gb: Quota,
    /// GPUs.
    pub gpu: Quota,
}

/// How much more there could be.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Capacity {
    /// Region by region.
    pub regions: Vec<CapacityRegion>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pool_has_defaults() {
        let pool = PoolConfig::read(&Value::Null).unwrap();
        let shown = serde_json::to_value(&pool).unwrap();
        let wanted = json!({
            "daytonaApiUrl": "https://app.daytona.io/api",
            "image": "ghcr.io/renseiai/donmai-worker:latest",
            "diskGB": 20,
            "user": "daytona",
            "command": ["donmai", "agent", "run"],
            "target": null,
            "api": null,
        });
        assert_eq!(shown, wanted);
        let error = PoolConfig::read(&json!({ "diskGb": 5, "imag": "x" })).unwrap_err();
        assert!(error.message().contains("Did you mean image?"), "{error}");
        assert!(PoolConfig::read(&json!({ "api": "soap" })).is_err());
    }

    #[test]
    fn a_spec_is_the_pool_with_changes() {
        let pool = PoolConfig::read(&json!({ "command": ["a", "b c"] })).unwrap();
        let spec = |value: Value| Spec::read(&value, &pool);
        assert_eq!(spec(json!({})).unwrap().command.as_deref(), Some("a 'b c'"));
        assert_eq!(spec(json!({ "command": [] })).unwrap().command, None);
        for (timeout, minutes) in [(json!(null), 30), (json!(0), 30), (json!(1), 1), (json!(60), 1), (json!(61), 2)] {
            assert_eq!(spec(json!({ "timeoutSec": timeout })).unwrap().auto_stop_minutes, minutes);
        }
        assert_eq!(spec(json!({ "memoryGB": 4 })).unwrap().memory_gb, Some(4));
        assert!(spec(json!({ "snapshot": "s", "diskGB": 1 })).is_err());
        assert!(spec(json!({ "timeoutSecs": 1 })).unwrap_err().message().contains("timeout_sec"));
    }

    #[test]
    fn states_have_a_status() {
        let of = |name: &str| ProviderStatus::of_name(name).as_str();
        assert_eq!(of("creating"), "provisioning");
        assert_eq!(of("pulling_snapshot"), "provisioning");
        assert_eq!(of("started"), "running");
        assert_eq!(of("running"), "running");
        assert_eq!(of("error"), "failed");
        assert_eq!(of("build_failed"), "failed");
        assert_eq!(of("paused"), "paused");
        for name in ["stopped", "stopping", "archived", "destroying", "destroyed", "brand-new"] {
            assert_eq!(of(name), "terminated", "{name}");
        }
    }
}
