//! The containers of sandboxes: how they are made, and made anew.

use std::collections::HashMap;
use std::path::Path;

use bollard::models::{
    ContainerCreateBody, ContainerInspectResponse, ContainerStateStatusEnum, ContainerUpdateBody, HealthConfig,
    HostConfig, HostConfigLogConfig, Mount, MountType,
};
use bollard::query_parameters::CreateContainerOptionsBuilder;
use daytona_runtime::{Network, RuntimeError, SandboxSpec};
use daytona_toolbox::container::{FOLDER, PROGRAM};

use crate::own::Owner;
use crate::run::random;
use crate::state::{Shape, State};
use crate::{Inner, LABEL_DATA, LABEL_SANDBOX, engine, failed, is_missing, status};

/// Processes and threads of a sandbox.
const PIDS: i64 = 4096;
/// Microseconds over which CPU time is limited.
const PERIOD: i64 = 100_000;

impl Inner {
    /// The container of a sandbox: its own, or a new one that begins with the files of its own, or of its image.
    pub(crate) async fn container(
        &self,
        spec: &SandboxSpec,
        state: &mut State,
        shape: Shape,
        dir: &Path,
    ) -> Result<String, RuntimeError> {
        if let Some((container, made)) = state.container.clone() {
            let Some(found) = self.find(&container).await? else {
                return Err(RuntimeError::Lost(self.loss(state).await?));
            };
            let own = self.owner(labels(&found)) != Owner::Other;
            if own && made.is(&shape) {
                self.limit(&container, Some(spec.cpu), Some(spec.memory_gib)).await?;
                return Ok(container);
            }
            // A copied data directory names the containers of the original, which are none of its business.
            if !own && is_up(&found) {
                return Err(RuntimeError::Invalid(format!(
                    "its container {container:.12} belongs to another data directory, of which this one is a copy, and \
                     runs there: stop it there, and this sandbox begins with a copy of its files"
                )));
            }
            let old = (own && state.own).then(|| state.image.clone());
            let image = self.commit(&found, &format!("sandbox-{}-{}", spec.id, random())).await?;
            (state.image, state.own, state.container) = (image, true, None);
            state.write(dir)?;
            if own {
                self.remove_container(&container).await?;
            }
            if let Some(old) = old {
                self.remove_image(&old).await;
            }
        }
        let image = self.without_volumes(&state.image).await?;
        state.write(dir)?;
        let container = self.make_container(spec, &image.name, &shape, dir).await?;
        self.lead_to(&container, &image, &shape.volumes).await?;
        state.container = Some((container.clone(), shape));
        state.write(dir)?;
        Ok(container)
    }

    async fn make_container(
        &self,
        spec: &SandboxSpec,
        image: &str,
        shape: &Shape,
        dir: &Path,
    ) -> Result<String, RuntimeError> {
        let mut name = format!("{}{}", self.names.prefix, spec.id);
        if let Some(found) = self.find(&name).await? {
            if was_started(&found) {
                // It has files that nothing here names any more: it stays.
                tracing::warn!(container = name, sandbox = spec.id, "a container of this sandbox is left, and is kept");
                name = format!("{name}-{}", random());
            } else {
                // Made, and not noted: an earlier start was cut short.
                self.remove_container(&name).await?;
            }
        }
        let body = self.description(spec, image, shape, dir);
        let named = CreateContainerOptionsBuilder::new().name(&name).build();
        let made = self.engine.create_container(Some(named), body).await;
        made.map(|made| made.id).map_err(|error| match status(&error) {
            Some(404) => RuntimeError::Invalid(format!("the Docker engine has no image {image}")),
            _ => failed("make the container")(error),
        })
    }

    fn description(&self, spec: &SandboxSpec, image: &str, shape: &Shape, dir: &Path) -> ContainerCreateBody {
        let bind = |source: String, target: String, read_only| Mount {
            typ: Some(MountType::BIND),
            source: Some(source),
            target: Some(target),
            read_only: Some(read_only),
            ..Mount::default()
        };
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let mut mounts = vec![
            bind(text(&engine::agent(&self.data_dir)), PROGRAM.to_owned(), true),
            bind(text(&dir.join("run")), format!("{FOLDER}/run"), true),
        ];
        mounts.extend(shape.volumes.iter().map(|(source, path)| bind(source.clone(), path.clone(), false)));
        let network = match shape.network {
            Network::None => "none",
            _ => self.settings.network.as_deref().unwrap_or("bridge"),
        };
        let memory = bytes(spec.memory_gib);
        let limited = HostConfig {
            mounts: Some(mounts),
            network_mode: Some(network.to_owned()),
            cpu_period: self.probe.limits.cpu.holds().then_some(PERIOD),
            cpu_quota: self.probe.limits.cpu.holds().then(|| quota(spec.cpu)),
            memory: self.probe.limits.memory.holds().then_some(memory),
            memory_swap: self.probe.limits.memory.holds().then_some(memory),
            pids_limit: self.probe.limits.pids.holds().then_some(PIDS),
            // What the agent itself has to say is short.
            log_config: Some(HostConfigLogConfig {
                typ: Some("json-file".to_owned()),
                config: Some(HashMap::from([("max-size".to_owned(), "1m".to_owned())])),
            }),
            ..HostConfig::default()
        };
        ContainerCreateBody {
            hostname: Some(host_name(&spec.name)),
            user: (!spec.user.is_empty()).then(|| spec.user.clone()),
            image: Some(image.to_owned()),
            entrypoint: Some(vec![PROGRAM.to_owned()]),
            cmd: Some(Vec::new()),
            labels: Some(HashMap::from([
                (LABEL_DATA.to_owned(), self.names.id.clone()),
                (LABEL_SANDBOX.to_owned(), spec.id.clone()),
            ])),
            stop_signal: Some("SIGTERM".to_owned()),
            healthcheck: Some(HealthConfig { test: Some(vec!["NONE".to_owned()]), ..HealthConfig::default() }),
            host_config: Some(limited),
            ..ContainerCreateBody::default()
        }
    }

    /// A container, unless it is gone or on its way out.
    pub(crate) async fn find(&self, container: &str) -> Result<Option<ContainerInspectResponse>, RuntimeError> {
        use ContainerStateStatusEnum as Status;
        match self.engine.inspect_container(container, None).await {
            Ok(found) => {
                let status = found.state.as_ref().and_then(|state| state.status);
                Ok(Some(found).filter(|_| !matches!(status, Some(Status::REMOVING | Status::DEAD))))
            }
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => Err(failed("find the container")(error)),
        }
    }

    pub(crate) async fn runs(&self, container: &str) -> bool {
        let found = self.engine.inspect_container(container, None).await;
        found.is_ok_and(|found| found.state.and_then(|state| state.running) == Some(true))
    }

    pub(crate) async fn limit(
        &self,
        container: &str,
        cpu: Option<f64>,
        memory_gib: Option<f64>,
    ) -> Result<(), RuntimeError> {
        let limits = &self.probe.limits;
        let memory = memory_gib.filter(|_| limits.memory.holds()).map(bytes);
        let change = ContainerUpdateBody {
            cpu_period: cpu.filter(|_| limits.cpu.holds()).map(|_| PERIOD),
            cpu_quota: cpu.filter(|_| limits.cpu.holds()).map(quota),
            memory,
            memory_swap: memory,
            ..ContainerUpdateBody::default()
        };
        self.engine.update_container(container, change).await.map_err(failed("change the container's limits"))
    }
}

/// The labels of a container.
pub(crate) fn labels(found: &ContainerInspectResponse) -> Option<&HashMap<String, String>> {
    found.config.as_ref()?.labels.as_ref()
}

fn is_up(found: &ContainerInspectResponse) -> bool {
    found.state.as_ref().and_then(|state| state.running) == Some(true)
}

/// Whether anything can have run in it.
fn was_started(found: &ContainerInspectResponse) -> bool {
    let status = found.state.as_ref().and_then(|state| state.status);
    status != Some(ContainerStateStatusEnum::CREATED)
}

/// CPU time in a [`PERIOD`]. Unlike a number of CPUs it may be more than the machine has.
#[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "far below")]
fn quota(cpu: f64) -> i64 {
    if cpu > 0.0 { (cpu * PERIOD as f64) as i64 } else { -1 }
}

#[expect(clippy::cast_possible_truncation, reason = "far below")]
fn bytes(gib: f64) -> i64 {
    (gib * f64::from(1 << 30)) as i64
}

/// A host name made of any text.
fn host_name(name: &str) -> String {
    let fine = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    let name: String = name.chars().take(63).map(fine).collect();
    let name = name.trim_matches('-');
    if name.is_empty() { "sandbox" } else { name }.to_owned()
}
