//! The engine: reached, tried, and cleaned up after.

use std::fs::{self, Permissions};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bollard::models::SystemInfo;
use bollard::query_parameters::RemoveContainerOptionsBuilder;
use daytona_runtime::{Enforcement, Limits, Probe, RuntimeError, RuntimeKind};
use sha2::{Digest as _, Sha256};

use crate::container::labels;
use crate::own::Owner;
use crate::{Inner, Settings, failed, io};

/// Where an engine listens that is not told otherwise.
const DEFAULT: &str = "/var/run/docker.sock";
/// Commits and removals of large containers take a while.
const LIMIT: u64 = 600;
/// How long the engine may take to say who it is.
const HELLO: Duration = Duration::from_secs(10);
/// The file name of the agent's program.
const AGENT: &str = "daytona-agent";
/// Names the agent's program where it is not beside this one.
const AGENT_VARIABLE: &str = "DAYTONA_NATIVE_AGENT";

fn unsupported(reason: String) -> RuntimeError {
    RuntimeError::Unsupported { op: "the docker runtime", reason }
}

/// The engine that `DOCKER_HOST` names, or the machine's own.
pub(crate) async fn connect() -> Result<bollard::Docker, RuntimeError> {
    let host = std::env::var("DOCKER_HOST").ok().filter(|host| !host.is_empty());
    let socket = match &host {
        Some(host) => host.strip_prefix("unix://").map(PathBuf::from).ok_or_else(|| {
            unsupported(format!(
                "DOCKER_HOST is {host}: the engine has to run on this machine, as containers mount the agent's program \
                 and socket; set DOCKER_HOST to unix:///path/of/its.sock"
            ))
        })?,
        None => rootless().unwrap_or_else(|| PathBuf::from(DEFAULT)),
    };
    let no_answer = |why: String| {
        unsupported(format!(
            "no Docker engine answers on {}: {why}; start one, set DOCKER_HOST, or use --runtime ns",
            socket.display()
        ))
    };
    let engine = bollard::Docker::connect_with_unix(&socket.to_string_lossy(), LIMIT, bollard::API_DEFAULT_VERSION)
        .map_err(|error| no_answer(error.to_string()))?;
    match tokio::time::timeout(HELLO, engine.negotiate_version()).await {
        Ok(Ok(engine)) => Ok(engine),
        Ok(Err(error)) => Err(no_answer(error.to_string())),
        Err(_) => Err(no_answer("it takes too long".to_owned())),
    }
}

/// The socket of an engine that runs without root, where there is one and no other.
fn rootless() -> Option<PathBuf> {
    let own = Path::new(&std::env::var_os("XDG_RUNTIME_DIR")?).join("docker.sock");
    (!Path::new(DEFAULT).exists() && own.exists()).then_some(own)
}

/// What the engine says of itself.
pub(crate) async fn probe(engine: &bollard::Docker, settings: &Settings) -> Result<Probe, RuntimeError> {
    let info = engine.info().await.map_err(failed("describe itself"))?;
    if info.os_type.as_deref().is_some_and(|os| os != "linux") {
        return Err(unsupported("the engine runs no Linux containers".to_owned()));
    }
    let network = settings.network.as_deref().unwrap_or("bridge");
    if engine.inspect_network(network, None).await.is_err() {
        return Err(unsupported(format!(
            "the engine has no network {network:?}; name one with --docker-network (`docker network ls`), `none` for \
             sandboxes without a network"
        )));
    }
    let limits = limits(&info);
    let version = info.server_version.unwrap_or_default();
    let mut warnings = Vec::new();
    if settings.image.is_none() {
        warnings.push(
            "no --docker-image is set: sandboxes can be made of images and snapshots only, not without either"
                .to_owned(),
        );
    }
    if network == "host" {
        warnings.push("sandboxes share this machine's network, its loopback ports included".to_owned());
    }
    Ok(Probe {
        kind: RuntimeKind::Docker,
        isolated: true,
        root: true,
        summary: format!("runtime docker: containers of Docker {version}, network {network}"),
        warnings,
        limits,
    })
}

fn limits(info: &SystemInfo) -> Limits {
    let limit = |held: Option<bool>, what: &str| match held {
        Some(true) => Enforcement::Enforced { by: "Docker".to_owned() },
        _ => Enforcement::NotEnforced { reason: format!("the engine's kernel has no {what}") },
    };
    let not = |reason: &str| Enforcement::NotEnforced { reason: reason.to_owned() };
    Limits {
        cpu: limit(info.cpu_cfs_quota, "CPU quota"),
        memory: limit(info.memory_limit, "memory cgroup"),
        pids: limit(info.pids_limit, "pids cgroup"),
        disk: not("the engine limits no container's disk space"),
        freeze: Enforcement::Enforced { by: "Docker".to_owned() },
        network: not("a container's network is on or off"),
    }
}

/// What earlier versions have called a data directory.
pub(crate) fn earlier_name(data_dir: &Path) -> String {
    let digest = Sha256::digest(data_dir.as_os_str().as_bytes());
    format!("{:012x}", digest[..6].iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte)))
}

/// Where the agent's program lies in a data directory: containers mount it from there when they start again.
pub(crate) fn agent(data_dir: &Path) -> PathBuf {
    data_dir.join("docker").join(AGENT)
}

/// Copies the agent's program into the data directory.
pub(crate) fn place_agent(data_dir: &Path) -> Result<(), RuntimeError> {
    let beside = std::env::current_exe().ok().and_then(|exe| Some(exe.parent()?.join(AGENT)));
    let from = std::env::var_os(AGENT_VARIABLE).map(PathBuf::from).or(beside).unwrap_or_else(|| AGENT.into());
    let bytes = fs::read(&from).map_err(|error| {
        unsupported(format!(
            "the agent for containers cannot be read: {}: {error}; put the program {AGENT} of the same release beside \
             daytona-native, or name it in {AGENT_VARIABLE}",
            from.display()
        ))
    })?;
    let to = agent(data_dir);
    if fs::read(&to).is_ok_and(|there| there == bytes) {
        return Ok(());
    }
    let partial = to.with_extension("new");
    let folder = to.parent().unwrap_or(data_dir);
    fs::create_dir_all(folder)
        .and_then(|()| fs::write(&partial, &bytes))
        .and_then(|()| fs::set_permissions(&partial, Permissions::from_mode(0o755)))
        .and_then(|()| fs::rename(&partial, &to))
        .map_err(io("write", &to))
}

impl Inner {
    /// Removes the container of a sandbox and what it stored; that of another data directory stays.
    pub(crate) async fn remove_own(&self, id: &str) -> Result<(), RuntimeError> {
        match self.find(id).await? {
            Some(found) if self.owner(labels(&found)) == Owner::Other => {
                tracing::info!(container = id, "left alone: it belongs to another data directory");
                Ok(())
            }
            _ => self.remove_container(id).await,
        }
    }

    /// Removes a container and what it stored. One that does not exist is fine.
    pub(crate) async fn remove_container(&self, id: &str) -> Result<(), RuntimeError> {
        let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
        match self.engine.remove_container(id, Some(options)).await {
            Err(error) if crate::is_missing(&error) => Ok(()),
            result => result.map_err(failed("remove a container")),
        }
    }
}
