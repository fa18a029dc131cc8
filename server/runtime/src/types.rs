//! The values the server exchanges with the runtime.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::RuntimeError;

/// The runtime an operator asks for (`--runtime`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RuntimeChoice {
    /// `ns` where the machine allows it, else `process`.
    #[default]
    Auto,
    /// Linux namespaces, or an error that says what is missing.
    Ns,
    /// Plain processes without isolation.
    Process,
    /// Containers of a Docker engine; made elsewhere than in this crate.
    Docker,
}

impl FromStr for RuntimeChoice {
    type Err = RuntimeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "auto" => Ok(Self::Auto),
            "ns" => Ok(Self::Ns),
            "process" => Ok(Self::Process),
            "docker" => Ok(Self::Docker),
            _ => Err(RuntimeError::Invalid(format!("unknown runtime {text:?}: use auto, ns, process or docker"))),
        }
    }
}

impl fmt::Display for RuntimeChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Ns => "ns",
            Self::Process => "process",
            Self::Docker => "docker",
        })
    }
}

/// The runtime in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RuntimeKind {
    /// Linux namespaces: own processes, mounts, host name and file system view.
    Ns,
    /// Plain processes of the server's user: no isolation.
    Process,
    /// Containers of a Docker engine.
    Docker,
}

impl fmt::Display for RuntimeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ns => "ns",
            Self::Process => "process",
            Self::Docker => "docker",
        })
    }
}

/// What a sandbox may reach over the network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Network {
    /// The host's network.
    #[default]
    Host,
    /// Its own loopback interface only.
    None,
    /// Its own network, whose only way out is [`Started::wire`].
    Wire,
}

/// In a sandbox with a file system of its own: the certificates that programs are to trust, in one file.
pub const CA_BUNDLE: &str = "/etc/daytona-native/ca-bundle.crt";
/// And the server's own of them alone.
pub const CA_CERTIFICATE: &str = "/etc/daytona-native/ca.crt";

/// The router that a sandbox with a network of its own sees. It also answers DNS.
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);
/// The address such a sandbox has.
pub(crate) const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 15);
/// Bytes of the largest packet on the wire: no datagram is cut into fragments.
pub const MTU: u16 = u16::MAX;

/// The host's end of a sandbox's network interface: one IP packet a read or write, never blocking.
///
/// The sandbox's network exists as long as this is open. Closing it takes the kernel a few milliseconds.
#[derive(Debug)]
pub struct Wire {
    /// The descriptor of the TUN device.
    pub device: OwnedFd,
    pub(crate) gone: watch::Receiver<Option<String>>,
}

impl Wire {
    /// Takes the wire apart: the device, and what resolves once nothing of the sandbox runs any more.
    pub fn into_parts(self) -> (OwnedFd, impl Future<Output = ()> + Send + 'static) {
        let Self { device, mut gone } = self;
        (device, async move {
            let _ = gone.wait_for(Option::is_some).await;
        })
    }
}

/// The image that a sandbox is made of.
#[derive(Clone, Debug, Default)]
pub struct ImageSpec {
    /// Folders of its layers, the uppermost first, each fit to be the lower one of an overlay.
    pub layers: Vec<PathBuf>,
    /// The layers lie upon the host's own programs, which stand in for the image.
    pub host: bool,
    /// Its variables; they win over those of the runtime.
    pub env: BTreeMap<String, String>,
    /// Where commands run; the home where none is given.
    pub work_dir: Option<PathBuf>,
    /// Program and arguments that run in the session `entrypoint`; none if empty.
    pub command: Vec<String>,
}

/// One command of a build.
#[derive(Clone, Debug)]
pub struct StepSpec {
    /// Folders of the layers, the uppermost first.
    pub lower: Vec<PathBuf>,
    /// The layers lie upon the host's own programs.
    pub host: bool,
    /// Takes what the command changes, in overlay's own form; on one file system with `work`, which is empty.
    pub upper: PathBuf,
    /// For overlay's `workdir`.
    pub work: PathBuf,
    /// Program and arguments.
    pub argv: Vec<String>,
    /// All variables but `PATH` and `HOME`, which have defaults.
    pub env: Vec<(String, String)>,
    /// `user[:group]`, names of the image or numbers; empty is root.
    pub user: String,
    /// Absolute; made where it is missing.
    pub work_dir: PathBuf,
    /// To be mounted in order.
    pub mounts: Vec<StepMount>,
    /// What it may reach.
    pub network: Network,
    /// Cores; 0 = no limit.
    pub cpu: f64,
    /// Memory in GiB; 0 = no limit.
    pub memory_gib: f64,
}

/// Something else than layers that a step sees.
#[derive(Clone, Debug)]
pub struct StepMount {
    /// What is there.
    pub source: StepSource,
    /// Absolute path; made where it is missing.
    pub target: String,
    /// Writing is refused.
    pub read_only: bool,
}

/// What a [`StepMount`] shows.
#[derive(Clone, Debug)]
pub enum StepSource {
    /// A folder or file of the host.
    Host(PathBuf),
    /// Memory, of at most so many bytes.
    Memory(Option<u64>),
}

/// How a sandbox is to be made.
#[derive(Clone, Debug, Default)]
pub struct SandboxSpec {
    /// Names the sandbox's directory, `{data dir}/sandboxes/{id}`: 1 to 64 of `[A-Za-z0-9._-]`,
    /// not starting with a dot.
    pub id: String,
    /// Host name inside; characters a host name cannot have are replaced.
    pub name: String,
    /// `daytona`, or `root` where the probe's `root` holds; with an image's layers also `user[:group]`, names of the
    /// image or numbers. `process` ignores it and uses the server's own user.
    pub user: String,
    /// The sandbox's own variables; win over the ones the runtime sets (`PATH`, `HOME`, ...).
    pub env: BTreeMap<String, String>,
    /// Variables that it does not get although the runtime sets them.
    pub unset_env: BTreeSet<String>,
    /// The image it is made of; none: the host's own programs.
    pub image: Option<ImageSpec>,
    /// What it sees of the volumes made with `Runtime::create_volume`; `ns` only.
    pub volumes: Vec<VolumeMount>,
    /// Cores; 0 = no limit.
    pub cpu: f64,
    /// Memory in GiB; 0 = no limit.
    pub memory_gib: f64,
    /// Disk in GiB; 0 = no limit.
    pub disk_gib: f64,
    /// What it may reach.
    pub network: Network,
    /// Version the agent answers.
    pub version: String,
}

/// A volume in a sandbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeMount {
    /// Id of the volume.
    pub volume: String,
    /// Only this folder of it, relative, without `.`, `..` and links; made where it is missing.
    pub subpath: Option<String>,
    /// Absolute path inside, without `.` and `..`; made where it is missing.
    pub path: String,
}

/// What the server needs to reach a started sandbox.
#[derive(Debug)]
pub struct Started {
    /// The agent's Unix socket; connects from this process, and is short enough for `sun_path`.
    pub socket: PathBuf,
    /// User name inside.
    pub user: String,
    /// Home and work directory inside.
    pub home: PathBuf,
    /// Which of the limits asked for hold.
    pub limits: Limits,
    /// With [`Network::Wire`], the other end of its network.
    pub wire: Option<Wire>,
}

/// Whether a limit is enforced by the kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum Enforcement {
    /// It holds; `by` names the mechanism.
    Enforced {
        /// e.g. `cgroup v2`.
        by: String,
    },
    /// It does not hold.
    NotEnforced {
        /// Why.
        reason: String,
    },
}

impl Enforcement {
    /// Whether the limit holds.
    pub fn holds(&self) -> bool {
        matches!(self, Self::Enforced { .. })
    }
}

impl fmt::Display for Enforcement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Enforced { by } => write!(f, "enforced ({by})"),
            Self::NotEnforced { reason } => write!(f, "not enforced ({reason})"),
        }
    }
}

/// Which limits hold on this machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Limits {
    /// CPU time.
    pub cpu: Enforcement,
    /// Memory.
    pub memory: Enforcement,
    /// Number of processes.
    pub pids: Enforcement,
    /// Disk space.
    pub disk: Enforcement,
    /// Whether `freeze` works.
    pub freeze: Enforcement,
    /// What a sandbox may reach: whether [`Network::Wire`] works.
    pub network: Enforcement,
}

impl Limits {
    /// One sentence for each reason why limits do not hold.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let named = [("cpu", &self.cpu), ("memory", &self.memory), ("process", &self.pids), ("disk", &self.disk)];
        let mut missing: Vec<(&Enforcement, Vec<&str>)> = Vec::new();
        for (name, limit) in named.into_iter().filter(|(_, limit)| !limit.holds()) {
            match missing.iter_mut().find(|(other, _)| *other == limit) {
                Some((_, together)) => together.push(name),
                None => missing.push((limit, vec![name])),
            }
        }
        missing.into_iter().map(|(limit, names)| format!("{} limits are {limit}", names.join(", "))).collect()
    }
}

/// What was chosen, and why.
#[derive(Clone, Debug, Serialize)]
pub struct Probe {
    /// The runtime in use.
    pub kind: RuntimeKind,
    /// Whether sandboxes are separated from the host and from each other.
    pub isolated: bool,
    /// Whether sandboxes may run as `root`.
    pub root: bool,
    /// One sentence for the log: what was chosen and why.
    pub summary: String,
    /// What the operator should know: missing isolation, missing limits.
    pub warnings: Vec<String>,
    /// Which limits hold.
    pub limits: Limits,
}

/// A sandbox that ended by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exited {
    /// The sandbox.
    pub id: String,
    /// How it ended, e.g. `killed by signal 9`.
    pub reason: String,
}

/// What a running sandbox uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Memory in bytes.
    pub memory_bytes: u64,
    /// Of these, what holds files; 0 where no cgroup counts it.
    pub cache_bytes: u64,
    /// CPU time used since the start.
    pub cpu: Duration,
    /// Processes.
    pub pids: u64,
    /// Bytes its stored state takes on disk.
    pub disk_bytes: u64,
}
