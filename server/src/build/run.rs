//! The steps of builds, run by the runtime.

use std::sync::Arc;

use daytona_images::{Error, LogSink, MountSource, RunStep, Runner};
use daytona_runtime::{Enforcement, Network, RuntimeError, StepMount, StepSource, StepSpec};

use crate::App;
use crate::backend::Backend;
use crate::network::{Gateway, Policy};

/// Runs commands on layers, with the limits and the network of sandboxes.
pub(super) struct Steps {
    pub(super) app: Arc<App>,
    /// The layers lie upon the host's own programs.
    pub(super) host: bool,
}

impl Steps {
    fn network(&self, wanted: daytona_images::Network) -> Network {
        match (wanted, &self.app.runtime.probe().limits.network) {
            (daytona_images::Network::None, _) => Network::None,
            (daytona_images::Network::Default, Enforcement::Enforced { .. }) => Network::Wire,
            (daytona_images::Network::Default, Enforcement::NotEnforced { .. }) => Network::Host,
        }
    }

    async fn run(&self, step: RunStep<'_>, log: &dyn LogSink) -> Result<i32, RuntimeError> {
        let mounts = step.mounts.iter().map(|mount| StepMount {
            source: match &mount.source {
                MountSource::Host(path) => StepSource::Host(path.clone()),
                MountSource::Tmpfs { size } => StepSource::Memory(*size),
            },
            target: mount.target.clone(),
            read_only: mount.read_only,
        });
        let spec = StepSpec {
            lower: step.lower.to_vec(),
            host: self.host,
            upper: step.upper.to_owned(),
            work: step.work.to_owned(),
            argv: step.argv.to_vec(),
            env: step.env.to_vec(),
            user: step.user.to_owned(),
            work_dir: step.workdir.into(),
            mounts: mounts.collect(),
            network: self.network(step.network),
            cpu: self.app.defaults.cpu,
            memory_gib: self.app.defaults.memory,
        };
        let Backend::Own(runtime) = &self.app.runtime else {
            return Err(RuntimeError::Invalid("the engine builds by itself".to_owned()));
        };
        let mut running = runtime.step(spec).await?;
        let connect = |wire| {
            let open = Policy::new(false, None, None).map_err(std::io::Error::other)?;
            Gateway::start(wire, open, &self.app.interceptor, self.app.host_services)
        };
        let _gateway = running
            .wire
            .take()
            .map(connect)
            .transpose()
            .map_err(|source| RuntimeError::Io { what: "connect the step's network".to_owned(), source })?;
        while let Some(text) = running.output().await {
            log.write(&text);
        }
        running.ended().await
    }
}

#[async_trait::async_trait]
impl Runner for Steps {
    async fn run(&self, step: RunStep<'_>, log: &dyn LogSink) -> daytona_images::Result<i32> {
        let name = format!("RUN {}", step.argv.last().map_or("", String::as_str));
        self.run(step, log).await.map_err(|error| Error::Step { step: name, why: error.to_string(), exit_code: None })
    }
}
