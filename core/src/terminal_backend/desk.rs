//! The sandboxes of a terminal backend: made, shared, and destroyed when nobody needs them.
//!
//! Everything here runs in tasks of the background runtime. Whoever asks may go away meanwhile: what was made for
//! them is destroyed then. For a process that ends without a word the server does it, by the timers that each sandbox
//! was made with.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use daytona_wire::sandbox::SandboxState;
use http::Method;
use sha2::{Digest, Sha256};
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep};

use super::config::TerminalConfig;
use crate::background::{self, PerProcess};
use crate::daytona::{CreateOptions, CreateParams, Daytona, Resources};
use crate::error::{Error, ErrorKind, Result};
use crate::exec_stream::random_id;
use crate::operation::Operation;
use crate::output::Pipe;
use crate::sandbox::Sandbox;

/// What a deletion may take, in seconds.
const DELETE_LIMIT: f64 = 60.0;
/// A command that runs is told to the server this often: nothing else may keep its sandbox.
const HEARTBEAT: Duration = Duration::from_secs(20);
/// Pause before the sandbox of a task is looked at again.
const LOOK_AGAIN: Duration = Duration::from_millis(200);
/// Labels that tell what a sandbox is for.
const KIND_LABEL: &str = "terminal-backend";
const TASK_LABEL: &str = "terminal-task-id";

/// Those of this process that may hold sandboxes.
static LIVE: PerProcess<Mutex<Vec<Weak<Desk>>>> = PerProcess::new();

/// How a sandbox is used.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// By one command.
    Fresh,
    /// By all commands; `reused` by this one.
    Warm { reused: bool },
    /// By all commands of a task, whoever runs them.
    Task,
}

pub(super) struct Desk {
    daytona: Daytona,
    config: Arc<TerminalConfig>,
    /// What is to be destroyed at the end, by id.
    held: Mutex<HashMap<String, Sandbox>>,
    warm: tokio::sync::Mutex<Option<Sandbox>>,
    idle: Mutex<Idle>,
    /// Tasks that make or destroy a sandbox.
    jobs: watch::Sender<usize>,
}

#[derive(Default)]
struct Idle {
    /// Commands in the kept sandbox.
    users: usize,
    /// Changes with each command.
    epoch: u64,
    /// The backend is gone.
    abandoned: bool,
}

struct Job(Arc<Desk>);

impl Job {
    fn begin(desk: &Arc<Desk>) -> Self {
        desk.jobs.send_modify(|jobs| *jobs += 1);
        Self(Arc::clone(desk))
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        self.0.jobs.send_modify(|jobs| *jobs -= 1);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// All desks of this process that are left.
pub(super) fn live() -> Vec<Arc<Desk>> {
    LIVE.get().map(|live| lock(&live).iter().filter_map(Weak::upgrade).collect()).unwrap_or_default()
}

impl Desk {
    pub(super) fn new(daytona: Daytona, config: Arc<TerminalConfig>) -> Arc<Self> {
        let desk = Arc::new(Self {
            daytona,
            config,
            held: Mutex::default(),
            warm: tokio::sync::Mutex::default(),
            idle: Mutex::default(),
            jobs: watch::Sender::new(0),
        });
        let live = LIVE.get_or_make(Mutex::default);
        let mut live = lock(&live);
        live.retain(|one| one.strong_count() > 0);
        live.push(Arc::downgrade(&desk));
        desk
    }

    /// Runs work in a task that counts as one which may make a sandbox.
    pub(super) async fn run<T, F>(
        self: &Arc<Self>,
        work: impl FnOnce(Arc<Self>, Arc<dyn Fn() -> bool + Send + Sync>) -> F,
    ) -> Result<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        let job = Job::begin(self);
        let wanted = Arc::new(());
        let weak = Arc::downgrade(&wanted);
        let future = work(Arc::clone(self), Arc::new(move || weak.strong_count() > 0));
        let task = background::spawn(async move {
            let result = future.await;
            drop(job);
            result
        });
        let result = task.await.unwrap_or_else(|_| Err(background::stopped()));
        drop(wanted);
        result
    }

    /// A sandbox that has started, for a command of so many seconds.
    pub(super) async fn enter(self: &Arc<Self>, timeout: f64) -> Result<(Sandbox, Use)> {
        let deadline = Instant::now() + Duration::from_secs_f64(self.config.create_timeout.min(1e9));
        if let Some(task) = &self.config.task_id {
            return Ok((self.of_task(task, deadline).await?, Use::Task));
        }
        if !self.config.keep_alive {
            let limit = if timeout > 0.0 { timeout + self.config.create_timeout } else { 0.0 };
            let params = CreateParams {
                auto_stop_interval: Some(1),
                ephemeral: Some(true),
                ttl_minutes: (limit > 0.0).then(|| minutes(limit) + 5),
                ..self.params(format!("terminal-{}", random_id()?), "command")
            };
            return Ok((self.create(params, true).await?, Use::Fresh));
        }
        let mut warm = self.warm.lock().await;
        let known = warm.as_ref().filter(|sandbox| lock(&self.held).contains_key(sandbox.id())).cloned();
        let (sandbox, reused) = if let Some(sandbox) = known {
            (sandbox, true)
        } else {
            let params = CreateParams {
                auto_stop_interval: Some(minutes(self.config.max_idle)),
                ephemeral: Some(true),
                ..self.params(format!("terminal-{}", random_id()?), "kept")
            };
            (warm.insert(self.create(params, true).await?).clone(), false)
        };
        let mut idle = lock(&self.idle);
        idle.users += 1;
        idle.epoch += 1;
        Ok((sandbox, Use::Warm { reused }))
    }

    /// Looks after a sandbox until its command has ended, and then gives it back.
    pub(super) fn look_after(self: &Arc<Self>, sandbox: Sandbox, usage: Use, pipe: Arc<Pipe>, done: watch::Sender<()>) {
        let desk = Arc::clone(self);
        background::spawn(async move {
            {
                let mut ended = std::pin::pin!(pipe.ended());
                loop {
                    tokio::select! {
                        _ = &mut ended => break,
                        () = sleep(HEARTBEAT) => {
                            if let Err(error) = sandbox.refresh_activity(Some(10.0)).await {
                                tracing::debug!(sandbox = sandbox.id(), %error, "the server does not know of a command");
                            }
                        }
                    }
                }
            }
            desk.leave(&sandbox, usage).await;
            drop(done);
        });
    }

    /// Gives a sandbox back; returns when the server has been told what becomes of it.
    pub(super) async fn leave(self: &Arc<Self>, sandbox: &Sandbox, usage: Use) {
        match usage {
            Use::Task => {}
            Use::Fresh => {
                if let Some(told) = self.dispose(sandbox.id()) {
                    let _ = told.await;
                }
            }
            Use::Warm { .. } => {
                let (rests, is_abandoned, epoch) = {
                    let mut idle = lock(&self.idle);
                    idle.users = idle.users.saturating_sub(1);
                    (idle.users == 0, idle.abandoned, idle.epoch)
                };
                if rests && is_abandoned {
                    self.dispose(sandbox.id());
                } else if rests {
                    self.rest(epoch);
                }
            }
        }
    }

    /// Destroys the kept sandbox unless somebody comes in time.
    fn rest(self: &Arc<Self>, epoch: u64) {
        let limit = Duration::from_secs_f64(self.config.max_idle.min(1e9));
        let desk = Arc::downgrade(self);
        background::spawn(async move {
            sleep(limit).await;
            let Some(desk) = desk.upgrade() else { return };
            let mut warm = desk.warm.lock().await;
            let is_idle = {
                let idle = lock(&desk.idle);
                idle.users == 0 && idle.epoch == epoch
            };
            if is_idle && let Some(sandbox) = warm.take() {
                desk.dispose(sandbox.id());
            }
        });
    }

    /// Nobody comes any more.
    pub(super) fn abandon(self: &Arc<Self>) {
        let users = {
            let mut idle = lock(&self.idle);
            idle.abandoned = true;
            idle.users
        };
        if users == 0 && self.config.keep_alive {
            self.dispose_all();
        }
    }

    /// The kept sandbox is not what it was.
    pub(super) async fn forget(self: &Arc<Self>, sandbox: &Sandbox) {
        let mut warm = self.warm.lock().await;
        if warm.as_ref().is_some_and(|kept| kept.id() == sandbox.id()) {
            *warm = None;
        }
        drop(warm);
        self.dispose(sandbox.id());
        let mut idle = lock(&self.idle);
        idle.users = idle.users.saturating_sub(1);
    }

    /// Whether something is to be destroyed, or being made or destroyed.
    pub(super) fn is_open(&self) -> bool {
        *self.jobs.borrow() > 0 || !lock(&self.held).is_empty()
    }

    /// Destroys all there is, with what runs in it, and waits until that is done.
    pub(super) async fn close(self: &Arc<Self>) {
        let mut jobs = self.jobs.subscribe();
        loop {
            self.dispose_all();
            if *jobs.borrow_and_update() == 0 && lock(&self.held).is_empty() {
                return;
            }
            if jobs.changed().await.is_err() {
                return;
            }
        }
    }

    /// Destroys the sandbox of the task, and its files.
    pub(super) async fn destroy_task(self: &Arc<Self>, task: &str) -> Result<()> {
        match self.daytona.get(&task_name(task), None).await {
            Ok(sandbox) => match sandbox.delete(Some(DELETE_LIMIT), true).await {
                Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            },
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Begins to destroy all that are held.
    pub(super) fn dispose_all(self: &Arc<Self>) {
        let all: Vec<String> = lock(&self.held).keys().cloned().collect();
        for id in all {
            self.dispose(&id);
        }
    }

    /// Begins to destroy a sandbox that is held; tells when the server has taken it over.
    fn dispose(self: &Arc<Self>, id: &str) -> Option<oneshot::Receiver<()>> {
        let sandbox = lock(&self.held).remove(id)?;
        let job = Job::begin(self);
        let (tell, told) = oneshot::channel();
        background::spawn_if_any(async move {
            let _job = job;
            let deleted = sandbox.delete(Some(DELETE_LIMIT), false).await;
            let _ = tell.send(());
            let gone = match deleted {
                Ok(()) => sandbox.wait_until_stopped(Some(DELETE_LIMIT)).await,
                Err(error) => Err(error),
            };
            if let Err(error) = gone.or_else(|error| if is_gone(&error) { Ok(()) } else { Err(error) }) {
                tracing::warn!(sandbox = sandbox.id(), %error, "a sandbox was not destroyed: the server's timers will");
            }
        });
        Some(told)
    }

    fn params(&self, name: String, kind: &str) -> CreateParams {
        let config = &self.config;
        let mut labels = config.labels.clone();
        labels.insert(KIND_LABEL.to_owned(), kind.to_owned());
        let resources = Resources { cpu: config.cpu, memory: config.memory, disk: config.disk, ..Resources::default() };
        CreateParams {
            name: Some(name),
            image: config.image.clone().map(Into::into),
            snapshot: config.snapshot.clone(),
            resources: config.image.is_some().then_some(resources),
            env_vars: (!config.env.is_empty()).then(|| config.env.clone()),
            labels: Some(labels),
            ..CreateParams::default()
        }
    }

    async fn create(self: &Arc<Self>, params: CreateParams, is_own: bool) -> Result<Sandbox> {
        let name = params.name.clone().unwrap_or_default();
        let options = CreateOptions { timeout: Some(self.config.create_timeout), ..CreateOptions::default() };
        let error = match self.daytona.create(params, &options).await {
            Ok(sandbox) => {
                if is_own {
                    lock(&self.held).insert(sandbox.id().to_owned(), sandbox.clone());
                }
                return Ok(sandbox);
            }
            Err(error) => error,
        };
        let kind = error.kind();
        let may_be_there =
            error.sandbox_id().is_some() || kind.is(ErrorKind::Connection) || kind.is(ErrorKind::Timeout);
        if is_own && may_be_there {
            self.remove(error.sandbox_id().map_or(name, str::to_owned));
        }
        if !is_own && kind == ErrorKind::Conflict {
            return Err(error);
        }
        Err(self.describe(error))
    }

    /// Deletes a sandbox that was asked for and did not start.
    fn remove(self: &Arc<Self>, id_or_name: String) {
        let job = Job::begin(self);
        background::spawn_if_any(async move {
            let client = Arc::clone(&job.0.daytona.inner);
            let path = ["sandbox", id_or_name.as_str()];
            let told = client.tell_server(Operation::DELETE, Method::DELETE, &path, None::<&()>, Some(DELETE_LIMIT));
            if let Err(error) = told.await
                && !is_gone(&error)
            {
                tracing::warn!(sandbox = id_or_name, %error, "a sandbox that did not start was not deleted");
            }
        });
    }

    fn describe(&self, error: Error) -> Error {
        let TerminalConfig { cpu, memory, disk, create_timeout, .. } = &*self.config;
        let kind = error.kind();
        let asked: Vec<String> = [("cpu", cpu, ""), ("memory", memory, "gb"), ("disk", disk, "gb")]
            .into_iter()
            .filter_map(|(name, size, unit)| Some(format!("{name} {}{unit}", (*size)?)))
            .collect();
        let hint = if kind.is(ErrorKind::Authentication) {
            "The server refuses the API key: set DAYTONA_API_KEY to one that is in force".to_owned()
        } else if kind.is(ErrorKind::Timeout) {
            format!("Raise terminal.daytona.create_timeout ({create_timeout} s); a new image takes longer once")
        } else if kind.is(ErrorKind::Connection) {
            "Check DAYTONA_API_URL and the network".to_owned()
        } else if asked.is_empty() {
            "Check the snapshot's name and the quota of the organization; sandboxes that nobody needs count too"
                .to_owned()
        } else {
            format!(
                "Check the image's name and the quota of the organization: {} are asked for. Lower them in \
                 terminal.daytona, or delete sandboxes that nobody needs",
                asked.join(", ")
            )
        };
        error.within(Operation::TERMINAL, "Workspace creation failed").with_hint(hint)
    }

    /// The sandbox of a task, started. Its name is the task's own, so that two who ask at once find the same one.
    async fn of_task(self: &Arc<Self>, task: &str, deadline: Instant) -> Result<Sandbox> {
        use SandboxState as S;
        let name = task_name(task);
        loop {
            let left = deadline.saturating_duration_since(Instant::now()).as_secs_f64().max(1.0);
            match self.daytona.get(&name, None).await {
                Ok(sandbox) => {
                    if sandbox.data().labels.get(TASK_LABEL).is_none_or(|label| label != task) {
                        let text = format!("sandbox {name} is there and does not belong to task {task:?}");
                        return Err(Error::new(ErrorKind::Conflict, text).with_hint("Rename or delete it"));
                    }
                    let ready = match sandbox.state() {
                        S::Started => return Ok(sandbox),
                        S::BuildFailed => sandbox.delete(Some(left), true).await.and(Err(retry())),
                        S::Error if sandbox.data().recoverable == Some(true) => {
                            sandbox.recover(Some(left), false).await
                        }
                        S::Error => {
                            let data = sandbox.data();
                            let reason = data.error_reason.as_deref().unwrap_or("none given");
                            let text = format!("the sandbox of task {task:?} has failed: {reason}");
                            let error = Error::new(ErrorKind::Other, text).with_sandbox(sandbox.id());
                            return Err(error.with_hint("destroy() deletes it, with the files of the task"));
                        }
                        S::Stopping | S::Archiving | S::Destroying | S::Destroyed => Err(retry()),
                        S::Creating | S::PendingBuild | S::BuildingSnapshot | S::PullingSnapshot => {
                            sandbox.wait_until_started(Some(left)).await.map_err(|error| self.describe(error))
                        }
                        S::Starting | S::Restoring => sandbox.wait_until_started(Some(left)).await,
                        // Stopped, archived, paused, or something new.
                        _ => sandbox.start(Some(left)).await,
                    };
                    match ready {
                        Ok(()) => return Ok(sandbox),
                        // Somebody else changes it too.
                        Err(error) if may_change(&error) => {}
                        Err(error) => return Err(error),
                    }
                }
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    let labels = BTreeMap::from([(TASK_LABEL.to_owned(), task.to_owned())]);
                    let mut params = self.params(name.clone(), "task");
                    params.labels.get_or_insert_default().extend(labels);
                    let idle = if self.config.keep_alive { minutes(self.config.max_idle) } else { 1 };
                    params.auto_stop_interval = Some(idle);
                    match self.create(params, false).await {
                        Err(error) if error.kind() == ErrorKind::Conflict => {}
                        made => return made,
                    }
                }
                Err(error) => return Err(error),
            }
            if Instant::now() >= deadline {
                let text =
                    format!("the sandbox of task {task:?} did not start within {} s", self.config.create_timeout);
                return Err(Error::new(ErrorKind::Timeout, text).with_hint("Raise terminal.daytona.create_timeout"));
            }
            sleep(LOOK_AGAIN).await;
        }
    }
}

fn retry() -> Error {
    Error::new(ErrorKind::Conflict, "the sandbox changes its state")
}

fn may_change(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Conflict | ErrorKind::NotFound | ErrorKind::BadRequest)
}

fn is_gone(error: &Error) -> bool {
    error.kind() == ErrorKind::NotFound
}

/// Rounded up.
fn minutes(seconds: f64) -> i64 {
    #[expect(clippy::cast_possible_truncation, reason = "in range after clamping")]
    let minutes = (seconds / 60.0).ceil().clamp(1.0, 1e9) as i64;
    minutes
}

fn task_name(task: &str) -> String {
    let digest = Sha256::digest(task.as_bytes());
    format!("terminal-task-{}", crate::image::hex(&digest[..12]))
}
