//! From a sandbox's description to its running container, and to its end.

use std::sync::Arc;
use std::time::Duration;

use bollard::container::LogOutput;
use bollard::errors::Error;
use bollard::query_parameters::{
    InspectContainerOptionsBuilder, KillContainerOptionsBuilder, LogsOptionsBuilder, StatsOptionsBuilder,
    StopContainerOptionsBuilder, WaitContainerOptionsBuilder,
};
use daytona_runtime::{Exited, RuntimeError, SandboxSpec, Started, Stats};
use daytona_toolbox::container::Order;
use futures_util::StreamExt as _;
use tokio::net::UnixStream;
use tokio::sync::watch;

use crate::lease::{self, Waiting};
use crate::state::{Shape, State};
use crate::volume::Source;
use crate::{Docker, Inner, Live, check_id, failed, is_done, is_missing, status};

/// A start that takes longer has failed.
const START: Duration = Duration::from_secs(60);
/// Seconds between SIGTERM and SIGKILL.
const GENTLE: i32 = 4;
/// A stop that takes longer has failed.
const FORCED: Duration = Duration::from_secs(30);
/// Between two tries to learn of a container's end.
const AGAIN: Duration = Duration::from_millis(500);
/// How a start fails that was not waited for.
const STOPPED: &str = "it was stopped while it was starting";

impl Docker {
    /// Starts a sandbox, for the first time or again on what an earlier run stored.
    ///
    /// The agent's socket accepts connections when this returns. The start goes on when the future is dropped.
    pub async fn create(&self, spec: SandboxSpec) -> Result<Started, RuntimeError> {
        let inner = Arc::clone(&self.inner);
        joined(tokio::spawn(async move { inner.create(spec).await }).await)
    }

    /// Ends everything that runs in a sandbox; without `force` its processes get SIGTERM and up to 2 s. Its files stay.
    pub async fn stop(&self, id: &str, force: bool) -> Result<(), RuntimeError> {
        self.inner.stop(id, force).await
    }

    /// Freezes or thaws everything that runs in a sandbox; [`RuntimeError::NotFound`] for one that has ended.
    pub async fn freeze(&self, id: &str, frozen: bool) -> Result<(), RuntimeError> {
        let (_, container) = self.inner.get(id)?;
        let engine = &self.inner.engine;
        let result =
            if frozen { engine.pause_container(&container).await } else { engine.unpause_container(&container).await };
        if let Err(error) = result {
            let gone = matches!(status(&error), Some(404 | 409 | 500)) && !self.inner.runs(&container).await;
            return Err(if gone {
                RuntimeError::NotFound { id: id.to_owned() }
            } else {
                failed(if frozen { "pause the container" } else { "continue the container" })(error)
            });
        }
        if let Some(live) = self.inner.live().get_mut(id) {
            live.frozen = frozen;
        }
        Ok(())
    }

    /// Changes what a running sandbox may use: cores and GiB, each where it is given.
    pub async fn resize(&self, id: &str, cpu: Option<f64>, memory_gib: Option<f64>) -> Result<(), RuntimeError> {
        let (_, container) = self.inner.get(id)?;
        self.inner.limit(&container, cpu, memory_gib).await
    }

    /// What a running sandbox uses; the bytes on disk only with `disk`, as the engine adds them up.
    pub async fn usage(&self, id: &str, disk: bool) -> Result<Stats, RuntimeError> {
        let (_, container) = self.inner.get(id)?;
        let engine = &self.inner.engine;
        let once = StatsOptionsBuilder::new().stream(false).one_shot(true).build();
        let mut stats = std::pin::pin!(engine.stats(&container, Some(once)));
        let stats = stats.next().await.transpose().map_err(failed("measure the container"))?.unwrap_or_default();
        let memory = stats.memory_stats.unwrap_or_default();
        let details = memory.stats.unwrap_or_default();
        let cache = ["total_cache", "cache", "file"].iter().find_map(|name| details.get(*name).copied());
        let cpu = stats.cpu_stats.and_then(|cpu| cpu.cpu_usage).and_then(|usage| usage.total_usage);
        let disk_bytes = if disk {
            let sizes = InspectContainerOptionsBuilder::new().size(true).build();
            let found = engine.inspect_container(&container, Some(sizes)).await;
            found.map_err(failed("measure the container"))?.size_rw.unwrap_or(0)
        } else {
            0
        };
        Ok(Stats {
            memory_bytes: memory.usage.unwrap_or(0),
            cache_bytes: cache.unwrap_or(0),
            cpu: Duration::from_nanos(cpu.unwrap_or(0)),
            pids: stats.pids_stats.and_then(|pids| pids.current).unwrap_or(0),
            disk_bytes: u64::try_from(disk_bytes).unwrap_or(0),
        })
    }

    /// Stops every sandbox, gently.
    pub async fn shutdown(&self) {
        let stops = self.running().into_iter().map(|id| async move { self.stop(&id, false).await });
        for result in futures_util::future::join_all(stops).await {
            if let Err(error) = result {
                tracing::warn!("{error}");
            }
        }
    }
}

impl Inner {
    async fn create(self: Arc<Self>, spec: SandboxSpec) -> Result<Started, RuntimeError> {
        check_id(&spec.id)?;
        for (value, name) in [(spec.cpu, "cpu"), (spec.memory_gib, "memory"), (spec.disk_gib, "disk")] {
            if !value.is_finite() || value < 0.0 {
                return Err(RuntimeError::Invalid(format!("{name} of {value} is not possible")));
            }
        }
        {
            let mut live = self.live();
            if live.contains_key(&spec.id) {
                return Err(RuntimeError::Invalid(format!("sandbox {} runs already", spec.id)));
            }
            let gone = watch::Sender::new(None);
            let new = Live { container: None, ready: false, stopping: false, frozen: false, lease: None, gone };
            live.insert(spec.id.clone(), new);
        }
        let result = self.run(&spec).await;
        if result.is_err() {
            if let Ok((_, container)) = self.get(&spec.id) {
                let _ = self.kill(&container).await;
            }
            self.let_go(&spec.id, "not started".to_owned());
        }
        result
    }

    async fn run(self: &Arc<Self>, spec: &SandboxSpec) -> Result<Started, RuntimeError> {
        let dir = self.sandbox_dir(&spec.id);
        let mut state = match State::read(&dir)? {
            Some(state) => state,
            None => self.default_state().await?,
        };
        let sources = self.sources(&spec.volumes)?;
        let shape = Shape {
            place: Some(self.data_dir.clone()),
            user: spec.user.clone(),
            network: spec.network,
            volumes: sources.iter().map(|source| (source.host.clone(), source.path.clone())).collect(),
        };
        let waiting = Waiting::new(&dir.join("run"))?;
        let container = Box::pin(self.container(spec, &mut state, shape, &dir)).await?;
        let order = Order {
            sandbox_id: spec.id.clone(),
            env: spec.env.clone(),
            unset_env: spec.unset_env.clone(),
            entrypoint: state.entrypoint.clone(),
            version: spec.version.clone(),
            volumes: spec.volumes.iter().map(|volume| volume.path.clone()).collect(),
        };
        let (listener, socket) = self.sockets.bind(&spec.id)?;
        let mut ended = match self.live().get_mut(&spec.id) {
            Some(live) if !live.stopping => {
                live.container = Some(container.clone());
                live.gone.subscribe()
            }
            _ => return Err(RuntimeError::Invalid(STOPPED.to_owned())),
        };
        self.engine.start_container(&container, None).await.map_err(failed("start the container"))?;
        tokio::spawn(Arc::clone(self).watch(spec.id.clone(), container));
        let launch = |source| RuntimeError::Launch { step: "start the agent in the container".to_owned(), source };
        let greeted = tokio::select! {
            greeted = tokio::time::timeout(START, waiting.greet(&order, listener)) => greeted,
            reason = ended.wait_for(Option::is_some) => {
                let reason = reason.ok().and_then(|reason| reason.clone()).unwrap_or_default();
                return Err(launch(std::io::Error::other(reason)));
            }
        };
        let greeted = greeted.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()));
        let (report, mut lease) = match greeted {
            Ok(greeted) => greeted,
            // Why shows in how the container ends.
            Err(error) => {
                let reason = tokio::time::timeout(Duration::from_secs(2), ended.wait_for(Option::is_some)).await;
                let reason = reason.ok().and_then(Result::ok).and_then(|reason| reason.clone());
                return Err(launch(reason.map_or(error, std::io::Error::other)));
            }
        };
        // Nothing of the user's runs yet: what is mounted is what was looked at.
        if report.volumes.iter().ne(sources.iter().map(|source| &source.identity)) {
            return Err(RuntimeError::Invalid("a volume was changed while it was mounted".to_owned()));
        }
        if let Some((_, made)) = state.container.as_mut().filter(|(_, made)| made.user != report.user) {
            // From now on the sandbox's record has the name.
            made.user.clone_from(&report.user);
            state.write(&dir)?;
        }
        lease::go(&mut lease).await.map_err(launch)?;
        if !self.ready(&spec.id, lease) {
            return Err(RuntimeError::Invalid(STOPPED.to_owned()));
        }
        Ok(Started { socket, user: report.user, home: report.home, limits: self.probe.limits.clone(), wire: None })
    }

    fn ready(&self, id: &str, lease: UnixStream) -> bool {
        match self.live().get_mut(id) {
            Some(live) if !live.stopping => {
                live.ready = true;
                live.lease = Some(Arc::new(lease));
                true
            }
            _ => false,
        }
    }

    async fn stop(&self, id: &str, force: bool) -> Result<(), RuntimeError> {
        let (live, mut gone) = match self.live().get_mut(id) {
            None => return Ok(()),
            Some(live) => {
                live.stopping = true;
                (live.clone(), live.gone.subscribe())
            }
        };
        if let Some(container) = &live.container {
            if live.frozen {
                let _ = self.engine.unpause_container(container).await;
            }
            if force {
                self.kill(container).await?;
            } else {
                let gently = StopContainerOptionsBuilder::new().t(GENTLE).build();
                match self.engine.stop_container(container, Some(gently)).await {
                    Err(error) if is_missing(&error) || is_done(&error) => {}
                    result => result.map_err(failed("stop the container"))?,
                }
            }
        }
        match tokio::time::timeout(FORCED, gone.wait_for(Option::is_some)).await {
            Ok(_) => Ok(()),
            Err(_) => Err(RuntimeError::Io {
                what: format!("stop sandbox {id}: its container does not end"),
                source: std::io::ErrorKind::TimedOut.into(),
            }),
        }
    }

    /// Ends what runs in a container at once. One that does not run is fine.
    pub(crate) async fn kill(&self, container: &str) -> Result<(), RuntimeError> {
        let options = KillContainerOptionsBuilder::new().signal("SIGKILL").build();
        match self.engine.kill_container(container, Some(options)).await {
            Err(error) if matches!(status(&error), Some(404 | 409)) => Ok(()),
            result => result.map_err(failed("end the container")),
        }
    }

    /// Notes the end of a container, which may outlive a restart of the engine.
    async fn watch(self: Arc<Self>, id: String, container: String) {
        let reason = loop {
            let options = WaitContainerOptionsBuilder::new().condition("not-running").build();
            let ended = std::pin::pin!(self.engine.wait_container(&container, Some(options))).next().await;
            match ended {
                Some(Ok(ended)) => break self.why(&container, Some(ended.status_code)).await,
                Some(Err(Error::DockerContainerWaitError { code, .. })) => {
                    break self.why(&container, Some(code)).await;
                }
                Some(Err(error)) if is_missing(&error) => break self.why(&container, None).await,
                _ => {}
            }
            let Some(live) = self.live().get(&id).cloned() else { return };
            tracing::debug!(sandbox = id, "the engine does not tell of a container's end");
            let Some(lease) = live.lease else {
                tokio::time::sleep(AGAIN).await;
                continue;
            };
            let _ = tokio::time::timeout(AGAIN, lease.readable()).await;
            // All that a container does with its lease is to let it go.
            if lease.try_read(&mut [0]).is_ok_and(|read| read == 0) {
                break "it ended together with the Docker engine".to_owned();
            }
        };
        self.let_go(&id, reason);
    }

    async fn why(&self, container: &str, code: Option<i64>) -> String {
        let found = self.engine.inspect_container(container, None).await;
        let oom = found.is_ok_and(|found| found.state.and_then(|state| state.oom_killed) == Some(true));
        let mut reason = match code {
            Some(code @ 129..=255) => format!("killed by signal {}", code - 128),
            Some(code) => format!("ended with exit code {code}"),
            None => "its container is gone".to_owned(),
        };
        if oom {
            reason.push_str("; its memory limit was reached");
        }
        if code.is_some_and(|code| code != 0) {
            let words = self.last_words(container).await;
            if !words.is_empty() {
                reason = format!("{reason}: {words}");
            }
        }
        reason
    }

    /// What the agent wrote to standard error, shortened.
    async fn last_words(&self, container: &str) -> String {
        const ENOUGH: usize = 1000;
        let options = LogsOptionsBuilder::new().stderr(true).tail("10").build();
        let mut logs = std::pin::pin!(self.engine.logs(container, Some(options)));
        let mut text = String::new();
        while let Some(Ok(LogOutput::StdErr { message })) = logs.next().await
            && text.len() < ENOUGH
        {
            text.push_str(&String::from_utf8_lossy(&message));
        }
        text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(ENOUGH).collect()
    }

    fn let_go(&self, id: &str, reason: String) {
        let Some(live) = self.live().remove(id) else {
            return;
        };
        self.sockets.remove(id);
        live.gone.send_replace(Some(reason.clone()));
        if live.ready && !live.stopping {
            let _ = self.exits.send(Exited { id: id.to_owned(), reason });
        }
    }

    fn sources(&self, volumes: &[daytona_runtime::VolumeMount]) -> Result<Vec<Source>, RuntimeError> {
        volumes.iter().map(|volume| Source::open(&self.data_dir, volume)).collect()
    }
}

pub(crate) fn joined<T>(result: Result<Result<T, RuntimeError>, tokio::task::JoinError>) -> Result<T, RuntimeError> {
    result.unwrap_or_else(|error| {
        Err(RuntimeError::Io { what: "a task of the runtime".to_owned(), source: error.into() })
    })
}

/// Runs file operations off the event loop.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, RuntimeError> + Send + 'static,
) -> Result<T, RuntimeError> {
    joined(tokio::task::spawn_blocking(work).await)
}

/// Text that nobody has chosen before, for a name.
pub(crate) fn random() -> String {
    daytona_runtime::random_name()
}
