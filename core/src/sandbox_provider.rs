//! Sandboxes for an orchestrator: asked for by a specification, and named by handles that any process can use.

mod config;
mod service;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use daytona_wire::session::SessionExecuteRequest;
use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::{OnceCell, watch};
use tokio::time::sleep;

use crate::background::{self, PerProcess};
use crate::client::Client;
use crate::config::Config;
use crate::daytona::{CreateOptions, CreateParams, Daytona, Resources};
use crate::error::{Error, ErrorKind, Result};
use crate::exec_stream::random_id;
use crate::operation::Operation;
use crate::sandbox::Sandbox;
use crate::session::LogStream;
use crate::terminal_backend::no_key;

pub use config::{CapabilityProfile, Capacity, CapacityRegion, PoolConfig, ProviderStatus, Quota, SandboxHandle};
use config::{Dialect, PROVIDER, Spec, TRANSPORT};

/// Seconds until a sandbox must have started and its command been given to it.
const PROVISION_LIMIT: f64 = 300.0;
/// The session that the command runs in.
const SESSION: &str = "worker";
/// How often a forced termination is tried while the sandbox changes, and the pause between.
const FORCED_TRIES: u32 = 20;
const FORCED_PAUSE: Duration = Duration::from_millis(500);

/// How many sandboxes this process is making.
static MAKING: PerProcess<watch::Sender<usize>> = PerProcess::new();

/// One that is being made, or removed because nobody waits for it.
struct Making(Arc<watch::Sender<usize>>);

impl Making {
    fn begin() -> Self {
        let making = MAKING.get_or_make(watch::Sender::default);
        making.send_modify(|count| *count += 1);
        Self(making)
    }
}

impl Drop for Making {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

/// Provisions sandboxes and terminates them. Cheap to clone.
#[derive(Clone)]
pub struct SandboxProvider {
    inner: Arc<Inner>,
}

/// A sandbox that is there. It is terminated if this is dropped before its handle is taken.
pub struct Provisioned {
    handle: SandboxHandle,
    is_kept: bool,
    provider: SandboxProvider,
    process: u32,
    _making: Making,
}

impl Provisioned {
    /// The handle; the sandbox is the caller's from now on.
    #[must_use]
    pub fn keep(mut self) -> SandboxHandle {
        self.is_kept = true;
        self.handle.clone()
    }
}

impl Drop for Provisioned {
    fn drop(&mut self) {
        // A fork has a copy of what is its parent's.
        if self.is_kept || self.process != std::process::id() {
            return;
        }
        let (handle, provider, making) = (self.handle.clone(), self.provider.clone(), Making::begin());
        background::spawn_if_any(async move {
            let _making = making;
            provider.clean_up(&handle).await;
        });
    }
}

struct Inner {
    daytona: Daytona,
    pool: PoolConfig,
    dialect: OnceCell<Dialect>,
}

/// As much of a workspace as is needed.
#[derive(Deserialize)]
struct Workspace {
    id: String,
}

impl SandboxProvider {
    /// A provider of a pool. `DAYTONA_API_URL` beats the URL of the pool; the key is that of `settings`, else
    /// `DAYTONA_API_KEY`. Nothing is sent yet.
    ///
    /// # Errors
    /// `InvalidArgument` for what a pool cannot have; `Authentication` where there is no API key.
    pub fn new(pool: &Value, settings: Config) -> Result<Self> {
        let operation = Operation::PROVIDER_CONFIGURE;
        let pool = PoolConfig::read(pool).map_err(|error| error.with_operation(operation))?;
        let names = ["DAYTONA_API_URL", "DAYTONA_SERVER_URL"];
        let is_set = |name: &str| match &settings.environment {
            Some(given) => given.contains_key(name),
            None => std::env::var_os(name).is_some_and(|value| !value.is_empty()),
        };
        let api_url = if names.into_iter().any(is_set) { settings.api_url } else { Some(pool.daytona_api_url.clone()) };
        let settings = Config { api_url, ..settings };
        let daytona = Daytona::new(&settings).map_err(|error| no_key(error, operation))?;
        Ok(Self { inner: Arc::new(Inner { daytona, pool, dialect: OnceCell::new() }) })
    }

    /// The pool in force.
    pub fn pool(&self) -> &PoolConfig {
        &self.inner.pool
    }

    /// Makes a sandbox, waits until it has started, and starts its command. `spec` is an object with any of `name`,
    /// `image` or `snapshot`, `user`, `command`, `env`, `labels`, `cpu`, `memoryGB`, `diskGB`, `gpu`, `timeoutSec`,
    /// `target` and `networkBlockAll`. What fails, and what nobody waits for any more or [keeps](Provisioned::keep),
    /// leaves nothing behind.
    ///
    /// # Errors
    /// `InvalidArgument` before anything is sent; the server's refusal; `Timeout` after `timeout` seconds (default
    /// 300, 0 is none).
    pub async fn provision(&self, spec: &Value, timeout: Option<f64>) -> Result<Provisioned> {
        let spec = Spec::read(spec, &self.inner.pool);
        let making = Making::begin();
        let work = move |this: Self| async move {
            let spec = spec?;
            let limit = timeout.unwrap_or(PROVISION_LIMIT);
            let handle = match this.dialect().await? {
                Dialect::Sandbox => this.make_sandbox(spec, limit).await?,
                Dialect::Workspace => this.make_workspace(spec, limit).await?,
            };
            Ok(Provisioned { handle, is_kept: false, provider: this, process: std::process::id(), _making: making })
        };
        self.run(Operation::PROVISION, work).await
    }

    /// Where a sandbox is in its life; one that is gone is terminated.
    ///
    /// # Errors
    /// `InvalidArgument` for a handle of another provider; what the server answers.
    pub async fn status(&self, handle: &SandboxHandle, timeout: Option<f64>) -> Result<ProviderStatus> {
        let handle = handle.clone();
        let work = move |this: Self| async move {
            handle.check()?;
            let path = [this.dialect().await?.path(), &handle.external_id];
            let answer: Result<Value> =
                this.client().ask(Operation::PROVIDER_STATUS, Method::GET, &path, timeout).await;
            match answer {
                Ok(data) => Ok(ProviderStatus::of_name(data["state"].as_str().unwrap_or_default())),
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(ProviderStatus::Terminated),
                Err(error) => Err(error),
            }
        };
        self.run(Operation::PROVIDER_STATUS, work).await
    }

    /// Deletes a sandbox; one that is gone already is fine. With `force` also one whose state is changing.
    ///
    /// # Errors
    /// `InvalidArgument` for a handle of another provider; `Conflict` while its state changes, without `force`.
    pub async fn terminate(&self, handle: &SandboxHandle, force: bool) -> Result<()> {
        let handle = handle.clone();
        let work = move |this: Self| async move {
            handle.check()?;
            this.remove(&handle, force).await
        };
        self.run(Operation::TERMINATE, work).await
    }

    /// Lets a sandbox stand still, with its memory.
    ///
    /// # Errors
    /// `Unsupported` where the server cannot do that; otherwise its refusal.
    pub async fn pause(&self, handle: &SandboxHandle, timeout: Option<f64>) -> Result<()> {
        self.change(Operation::PROVIDER_PAUSE, handle, move |sandbox| async move { sandbox.pause(timeout).await }).await
    }

    /// Lets a paused or stopped sandbox go on.
    ///
    /// # Errors
    /// As [`SandboxProvider::pause`].
    pub async fn resume(&self, handle: &SandboxHandle, timeout: Option<f64>) -> Result<()> {
        self.change(Operation::PROVIDER_RESUME, handle, move |sandbox| async move { sandbox.start(timeout).await })
            .await
    }

    /// What the command writes, from its beginning to its end; in a sandbox without one, what the image's own program
    /// writes.
    ///
    /// # Errors
    /// `NotFound` where there is no such sandbox; `Unsupported` where the server cannot do that.
    pub async fn stream_logs(&self, handle: &SandboxHandle) -> Result<LogStream> {
        let follow = |sandbox: Sandbox| async move {
            let process = sandbox.process();
            let session = match process.get_session(SESSION, None).await {
                Ok(session) => session,
                Err(error) if error.kind().is(ErrorKind::NotFound) => return process.follow_entrypoint_logs().await,
                Err(error) => return Err(error),
            };
            let command = session.commands.last().ok_or_else(|| {
                Error::new(ErrorKind::NotFound, "no command was started in the sandbox").with_sandbox(sandbox.id())
            })?;
            process.follow_session_command_logs(SESSION, &command.id).await
        };
        self.change(Operation::PROVIDER_LOGS, handle, follow).await
    }

    /// How much more the organization may use, region by region.
    ///
    /// # Errors
    /// `Unsupported` where the server does not say, or not to this key.
    pub async fn capacity(&self, timeout: Option<f64>) -> Result<Capacity> {
        let work = move |this: Self| async move {
            let admin = this.inner.daytona.admin();
            let usage = async {
                let organizations = admin.list_organizations(timeout).await?;
                let none = || Error::new(ErrorKind::NotFound, "the key belongs to no organization");
                let organization = organizations.first().ok_or_else(none)?;
                admin.organization_usage(&organization.id, timeout).await
            };
            let usage = usage.await.map_err(|error| refusal(error, "say how much capacity is left"))?;
            let region = |of: daytona_wire::admin::RegionUsage| CapacityRegion {
                cpu: Quota::new(of.total_cpu_quota, of.current_cpu_usage),
                memory_gb: Quota::new(of.total_memory_quota, of.current_memory_usage),
                disk_gb: Quota::new(of.total_disk_quota, of.current_disk_usage),
                gpu: Quota::new(of.total_gpu_quota, of.current_gpu_usage),
                region_id: of.region_id,
                sandbox_class: of.sandbox_class,
            };
            Ok(Capacity { regions: usage.region_usage.into_iter().map(region).collect() })
        };
        self.run(Operation::CAPACITY, work).await
    }

    /// What the server at hand really can do, as far as it says so; otherwise [`CapabilityProfile::classic`].
    ///
    /// # Errors
    /// What the server answers.
    pub async fn capabilities(&self, timeout: Option<f64>) -> Result<CapabilityProfile> {
        let work = move |this: Self| async move {
            let mut profile = CapabilityProfile::classic();
            if this.dialect().await? == Dialect::Workspace {
                return Ok(CapabilityProfile { fs_snapshot: false, custom_network_policy: false, ..profile });
            }
            let config: Value = this.client().ask(Operation::CAPABILITIES, Method::GET, &["config"], timeout).await?;
            if let Some(runtime) = config.get("runtime") {
                let holds = |limit: &str| runtime["limits"][limit]["state"] == "enforced";
                profile.pause_resume = holds("freeze");
                profile.custom_network_policy = holds("network");
                profile.gpu = false;
                std::env::consts::ARCH.clone_into(&mut profile.arch);
            }
            profile.capacity_query = match this.capacity_here(timeout).await {
                Ok(()) => true,
                Err(error) if error.kind() == ErrorKind::Unsupported => false,
                Err(error) => return Err(error),
            };
            Ok(profile)
        };
        self.run(Operation::CAPABILITIES, work).await
    }

    async fn capacity_here(&self, timeout: Option<f64>) -> Result<()> {
        Box::pin(self.capacity(timeout)).await.map(drop)
    }

    fn client(&self) -> &Arc<Client> {
        &self.inner.daytona.inner
    }

    /// Runs work to its end, also when nobody waits for it any more.
    async fn run<T, F>(&self, operation: Operation, work: impl FnOnce(Self) -> F) -> Result<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        let future = work(self.clone());
        let work = async { background::spawn(future).await.unwrap_or_else(|_| Err(background::stopped())) };
        self.client().observe(operation, work).await
    }

    /// The form of the API that the server speaks: today's, unless it does not know that.
    async fn dialect(&self) -> Result<Dialect> {
        if let Some(dialect) = self.inner.pool.api {
            return Ok(dialect);
        }
        let ask = || async {
            let query = [("limit", Some("1"))];
            let answer: Result<Value> =
                self.client().ask_with(Operation::CAPABILITIES, &["sandbox"], &query, None).await;
            match answer {
                Ok(_) => Ok(Dialect::Sandbox),
                Err(error) if matches!(error.status(), Some(404 | 405 | 501)) => Ok(Dialect::Workspace),
                Err(error) => Err(error),
            }
        };
        self.inner.dialect.get_or_try_init(ask).await.copied()
    }

    async fn make_sandbox(&self, spec: Spec, limit: f64) -> Result<SandboxHandle> {
        let is_image = spec.snapshot.is_none();
        let resources = Resources {
            cpu: spec.cpu,
            memory: spec.memory_gb,
            disk: Some(spec.disk_gb),
            gpu: spec.gpu,
            ..Resources::default()
        };
        let params = CreateParams {
            name: spec.name,
            image: is_image.then(|| spec.image.into()),
            snapshot: spec.snapshot,
            resources: is_image.then_some(resources),
            os_user: Some(spec.user),
            env_vars: Some(spec.env),
            labels: Some(spec.labels),
            auto_stop_interval: Some(spec.auto_stop_minutes),
            target: spec.target,
            network_block_all: spec.network_block_all,
            ..CreateParams::default()
        };
        let sandbox = match self
            .inner
            .daytona
            .create(params, &CreateOptions { timeout: Some(limit), ..CreateOptions::default() })
            .await
        {
            Ok(sandbox) => sandbox,
            Err(error) => {
                if let Some(id) = error.sandbox_id() {
                    self.clean_up(&handle(id)).await;
                }
                return Err(error.within(Operation::PROVISION, "Workspace creation failed"));
            }
        };
        let handle = handle(sandbox.id());
        if let Some(command) = spec.command
            && let Err(error) = start(&sandbox, command).await
        {
            self.clean_up(&handle).await;
            return Err(error.within(Operation::PROVISION, "the command was not started"));
        }
        Ok(handle)
    }

    async fn make_workspace(&self, spec: Spec, limit: f64) -> Result<SandboxHandle> {
        let name = spec.name.map_or_else(|| random_id().map(|id| format!("workspace-{id}")), Ok)?;
        let resources: BTreeMap<&str, i64> = [("cpu", spec.cpu), ("memory", spec.memory_gb)]
            .into_iter()
            .chain([("disk", spec.snapshot.is_none().then_some(spec.disk_gb)), ("gpu", spec.gpu)])
            .filter_map(|(key, size)| Some((key, size?)))
            .collect();
        let body = json!({
            "name": name,
            "image": spec.snapshot.unwrap_or(spec.image),
            "command": spec.command,
            "user": spec.user,
            "env": spec.env,
            "labels": spec.labels,
            "resources": resources,
            "autoStopInterval": spec.auto_stop_minutes,
            "target": spec.target,
        });
        let made: Result<Workspace> =
            self.client().send(Operation::PROVISION, Method::POST, &["workspace"], &body, Some(limit)).await;
        match made {
            Ok(workspace) => Ok(handle(&workspace.id)),
            Err(error) => {
                // It may be there all the same.
                if error.kind().is(ErrorKind::Timeout) || error.kind().is(ErrorKind::Connection) {
                    self.clean_up(&handle(&name)).await;
                }
                Err(error.within(Operation::PROVISION, "Workspace creation failed"))
            }
        }
    }

    async fn clean_up(&self, handle: &SandboxHandle) {
        if let Err(error) = self.remove(handle, true).await {
            tracing::warn!(sandbox = handle.external_id, %error, "a sandbox that was not wanted was not deleted");
        }
    }

    async fn remove(&self, handle: &SandboxHandle, force: bool) -> Result<()> {
        let dialect = self.dialect().await?;
        let mut tries = if force { FORCED_TRIES } else { 1 };
        loop {
            tries -= 1;
            match self.delete(dialect, &handle.external_id, force).await {
                Err(error) if error.kind().is(ErrorKind::NotFound) => return Ok(()),
                Err(error) if error.kind().is(ErrorKind::Conflict) && tries > 0 => sleep(FORCED_PAUSE).await,
                done => return done,
            }
        }
    }

    async fn delete(&self, dialect: Dialect, id: &str, force: bool) -> Result<()> {
        let link = self.client().link().await?;
        let mut url = link.url(&[dialect.path(), id])?;
        if force || dialect == Dialect::Workspace {
            url.query_pairs_mut().append_pair("force", if force { "true" } else { "false" });
        }
        link.transport.empty(crate::transport::Call::new(Operation::TERMINATE, Method::DELETE, url)).await
    }

    /// Does something with the sandbox of a handle, where the server speaks of sandboxes.
    async fn change<T, F>(
        &self,
        operation: Operation,
        handle: &SandboxHandle,
        act: impl FnOnce(Sandbox) -> F + Send + 'static,
    ) -> Result<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        let handle = handle.clone();
        let what = match operation {
            Operation::PROVIDER_PAUSE => "pause a sandbox",
            Operation::PROVIDER_RESUME => "resume a sandbox",
            _ => "stream the logs of a sandbox",
        };
        let work = move |this: Self| async move {
            handle.check()?;
            if this.dialect().await? == Dialect::Workspace {
                return Err(unsupported(what, "it speaks of workspaces only"));
            }
            let sandbox = this.inner.daytona.get(&handle.external_id, None).await?;
            act(sandbox).await.map_err(|error| match error.kind() {
                ErrorKind::Unsupported => unsupported(what, &error.message()),
                _ => error,
            })
        };
        self.run(operation, work).await
    }
}

/// Whether this process is making a sandbox.
pub(crate) fn is_making() -> bool {
    MAKING.get().is_some_and(|making| *making.borrow() > 0)
}

/// Waits until it makes none: what nobody waits for is removed then.
pub(crate) async fn made() {
    if let Some(making) = MAKING.get() {
        let _ = making.subscribe().wait_for(|count| *count == 0).await;
    }
}

impl Dialect {
    const fn path(self) -> &'static str {
        match self {
            Self::Sandbox => "sandbox",
            Self::Workspace => "workspace",
        }
    }
}

fn handle(id: &str) -> SandboxHandle {
    SandboxHandle {
        provider: PROVIDER.to_owned(),
        external_id: id.to_owned(),
        transport: TRANSPORT.to_owned(),
        provisioned_at: jiff::Timestamp::now().to_string(),
    }
}

/// Starts a command, words for a shell, that goes on by itself. Nobody sends it input, so it sees the end of it.
async fn start(sandbox: &Sandbox, command: String) -> Result<()> {
    let process = sandbox.process();
    process.create_session(SESSION, None).await?;
    let command = format!("{command} </dev/null");
    let request = SessionExecuteRequest { command, run_async: Some(true), var_async: None, suppress_input_echo: None };
    process.execute_session_command(SESSION, request, None).await.map(drop)
}

fn unsupported(what: &str, why: &str) -> Error {
    Error::new(ErrorKind::Unsupported, format!("this server cannot {what}: {why}"))
        .with_hint("capabilities() tells what it can do")
}

/// A server that does not know of something, or not for this key, cannot do it.
fn refusal(error: Error, what: &str) -> Error {
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::Unsupported | ErrorKind::Forbidden => unsupported(what, &error.message()),
        _ => error,
    }
}
