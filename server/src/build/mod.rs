//! Builds: from a Dockerfile's text to what sandboxes are made of.
//!
//! A build runs in a task of its own. It belongs to the sandbox or the snapshot that it is for, whose id names its
//! log, and ends with it.

mod docker;
mod host;
pub(crate) mod log;
mod run;

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use daytona_images::{BuildOptions, Event, Image, ImageRef, Plan};
use daytona_wire::sandbox::SandboxState;
use daytona_wire::snapshot::SnapshotState;
use tokio::sync::{Semaphore, oneshot, watch};

use self::log::{BuildLog, BuildLogs};
use crate::App;
use crate::backend::Backend;
use crate::error::{ApiError, ApiResult, code};
use crate::image::{HOST_VIEW, Root};
use crate::record::{Build, Desired};
use crate::sandbox::Sandbox;
use crate::snapshot::Snapshot;
use crate::store::Pending;
use crate::time::now;

/// Builds that run at a time; others wait.
const AT_A_TIME: usize = 2;
/// A build that takes longer has failed.
const LIMIT: Duration = Duration::from_secs(3600);

/// What is all in the cache takes less: its sandbox is stored once, made.
const QUICK: Duration = Duration::from_millis(5);

/// All builds of a server.
pub(crate) struct Builds {
    pub(crate) logs: BuildLogs,
    queue: Semaphore,
    running: Mutex<HashMap<String, watch::Sender<bool>>>,
}

/// Why a build has no result.
enum Failure {
    /// What it is for is being deleted.
    Cancelled,
    /// Its turn has not come in time.
    Queued,
    Failed(String),
}

impl Builds {
    pub(crate) fn new(data_dir: &Path) -> Self {
        Self { logs: BuildLogs::new(data_dir), queue: Semaphore::new(AT_A_TIME), running: Mutex::default() }
    }

    fn begin(&self, id: &str) -> watch::Receiver<bool> {
        let (cancel, cancelled) = watch::channel(false);
        self.running.lock().unwrap_or_else(PoisonError::into_inner).insert(id.to_owned(), cancel);
        cancelled
    }

    fn end(&self, id: &str) {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
        self.logs.end(id);
    }

    /// Ends the build for what has this id, if there is one, and forgets its log.
    pub(crate) fn forget(&self, id: &str) {
        if let Some(cancel) = self.running.lock().unwrap_or_else(PoisonError::into_inner).remove(id) {
            cancel.send_replace(true);
        }
        self.logs.remove(id);
    }
}

impl App {
    /// Builds what a sandbox waits for, in a task, and makes the sandbox. A new one is stored as well, together with
    /// what was built for it where that takes no time; `stored` is given what tells when.
    pub(crate) fn build_sandbox(
        self: &Arc<Self>,
        sandbox: &Arc<Sandbox>,
        mut stored: Option<oneshot::Sender<Pending>>,
    ) {
        let (app, sandbox) = (Arc::clone(self), Arc::clone(sandbox));
        let (build, limit) = {
            let record = sandbox.record();
            (record.build.clone(), record.queue_timeout.and_then(|limit| u64::try_from(limit).ok()))
        };
        let Some(build) = build else { return };
        // From now on there is something to follow; why there is none the build says.
        drop(self.builds.logs.begin(&sandbox.id));
        tokio::spawn(async move {
            let limit = limit.filter(|limit| *limit > 0).map(Duration::from_secs);
            let begun = || sandbox_builds(&sandbox);
            let mut outcome = pin!(app.build(&sandbox.id, &build, limit, begun));
            let quick = tokio::time::timeout(QUICK, outcome.as_mut()).await;
            if !matches!(quick, Ok(Ok(_)))
                && let Some(stored) = stored.take()
            {
                let record = sandbox.record();
                if record.desired != Desired::Destroyed {
                    let _ = stored.send(app.store.put(&*record));
                }
            }
            let outcome = match quick {
                Ok(outcome) => outcome,
                Err(_) => outcome.await,
            };
            let made = match &outcome {
                Ok(done) => app.make_built(&sandbox, &done.root),
                Err(Failure::Cancelled) => return,
                Err(Failure::Queued) => return app.give_up(&sandbox).await,
                Err(Failure::Failed(reason)) => Err(reason.clone()),
            };
            if let Err(reason) = &made {
                app.sandbox_build_failed(&sandbox, reason);
            }
            // Who has read the log to its end finds the outcome.
            app.builds.end(&sandbox.id);
            if let Ok(pending) = made {
                if let Some(stored) = stored {
                    let _ = stored.send(pending.clone());
                }
                // Why it does not start is in its record.
                let _ = app.launch(&sandbox, pending, SandboxState::Error).await;
            }
        });
    }

    /// Deletes a sandbox that has waited for as long as it was to wait.
    async fn give_up(self: &Arc<Self>, sandbox: &Arc<Sandbox>) {
        tracing::info!(sandbox = %sandbox.id, "a sandbox waited too long");
        sandbox.record().queue_timed_out_at = Some(now());
        self.sandboxes.give_up(sandbox);
        // Its failure is logged, and stays visible on the sandbox.
        let _ = self.destroy(sandbox).await;
    }

    fn sandbox_build_failed(&self, sandbox: &Sandbox, reason: &str) {
        let mut record = sandbox.record();
        if record.desired == Desired::Destroyed {
            return;
        }
        tracing::warn!(sandbox = %record.id, reason, "a build failed");
        record.state = SandboxState::BuildFailed;
        record.error_reason = Some(reason.to_owned());
        record.updated_at = now();
        drop(self.store.put(&*record));
    }

    /// Gives a sandbox what was built for it.
    fn make_built(&self, sandbox: &Sandbox, root: &Root) -> Result<Pending, String> {
        let mut record = sandbox.record();
        if record.desired == Desired::Destroyed {
            return Err("the sandbox was deleted".to_owned());
        }
        if !record.user_given {
            record.user = crate::image::user(root, self.runtime.probe().root);
        }
        record.image = Some(root.clone());
        record.state = SandboxState::Creating;
        record.updated_at = now();
        Ok(self.store.put(&*record))
    }

    /// Builds what a snapshot is to have, in a task.
    pub(crate) fn build_snapshot(self: &Arc<Self>, snapshot: &Arc<Snapshot>) {
        let (app, snapshot) = (Arc::clone(self), Arc::clone(snapshot));
        let Some(build) = snapshot.record().build.clone() else { return };
        drop(self.builds.logs.begin(&snapshot.id));
        tokio::spawn(async move {
            let begun = || {
                let mut record = snapshot.record();
                if record.state == SnapshotState::Pending {
                    let pulls = record.image_name.is_some();
                    record.state = if pulls { SnapshotState::Pulling } else { SnapshotState::Building };
                    record.updated_at = now();
                }
            };
            let outcome = app.build(&snapshot.id, &build, None, begun).await;
            let stored = {
                let mut record = snapshot.record();
                if record.state == SnapshotState::Removing {
                    return;
                }
                match &outcome {
                    Ok(done) => {
                        let mut root = done.root.clone();
                        if let Some(entrypoint) = &record.entrypoint {
                            root.command.clone_from(entrypoint);
                        }
                        record.user = crate::image::user(&root, app.runtime.probe().root);
                        record.size = root.size;
                        record.image = Some(root);
                        record.state = SnapshotState::Active;
                    }
                    Err(Failure::Cancelled | Failure::Queued) => return,
                    Err(Failure::Failed(reason)) => {
                        tracing::warn!(snapshot = %snapshot.id, reason, "a build failed");
                        let pulled = record.image_name.is_some();
                        record.state = if pulled { SnapshotState::Error } else { SnapshotState::BuildFailed };
                        record.error_reason = Some(reason.clone());
                    }
                }
                record.updated_at = now();
                app.store.put(&*record)
            };
            app.builds.end(&snapshot.id);
            if let Err(error) = stored.stored().await {
                tracing::warn!(snapshot = %snapshot.id, %error, "a build was not stored: the next start builds again");
            }
        });
    }

    /// Waits for its turn, at most `limit`, calls `begun` and builds.
    async fn build(
        self: &Arc<Self>,
        id: &str,
        build: &Build,
        limit: Option<Duration>,
        begun: impl FnOnce(),
    ) -> Result<Built, Failure> {
        let log = self.builds.logs.begun(id).map_err(|error| Failure::Failed(no_log(&error)))?;
        let mut cancelled = self.builds.begin(id);
        let lines = build.dockerfile.lines().filter(|line| !line.trim().is_empty());
        log.add(lines.flat_map(|line| ["> ", line, "\n"]).collect::<String>().as_bytes());
        let work = async {
            let _turn = if let Ok(turn) = self.builds.queue.try_acquire() {
                Ok(turn)
            } else {
                log.line("waiting for other builds");
                let turn = self.builds.queue.acquire();
                match limit {
                    Some(limit) => tokio::time::timeout(limit, turn).await.map_err(|_| Failure::Queued)?,
                    None => turn.await,
                }
            };
            begun();
            let root = tokio::time::timeout(LIMIT, self.root_of(build, &log)).await;
            root.unwrap_or_else(|_| Err(format!("the build took longer than {} minutes", LIMIT.as_secs() / 60)))
                .map_err(Failure::Failed)
        };
        let result = tokio::select! {
            biased;
            _ = cancelled.wait_for(|cancelled| *cancelled) => return Err(Failure::Cancelled),
            result = work => result,
        };
        match &result {
            Err(Failure::Failed(reason)) => log.line(reason),
            Err(Failure::Queued) => log.line("its turn did not come in time: raise queueTimeout"),
            _ => {}
        }
        result
    }

    async fn root_of(self: &Arc<Self>, build: &Build, log: &BuildLog) -> Result<Built, String> {
        if let Backend::Docker(docker) = &self.runtime {
            return self.docker_root(docker, build, log).await.map(|root| Built { root, _image: None });
        }
        let host = self.images.host_fallback();
        let mut text = Cow::Borrowed(build.dockerfile.as_str());
        if host {
            log.line(HOST_VIEW);
            text = host::upon_the_host(&text).into();
            if host::is_only_a_name(&text) {
                return Ok(Built { root: Root { host, ..Root::default() }, _image: None });
            }
        }
        let store = self.images.store()?;
        if let Some(name) = only_name(&text) {
            let name: ImageRef = name.parse().map_err(|error: daytona_images::Error| error.to_string())?;
            let progress = |event| told(&event, log);
            let image = store.pull(&name, &self.images.pull_options(), &progress).await;
            let image = image.map_err(|error| explained(&error))?;
            return Ok(Built { root: Root::new(&image, host), _image: Some(image) });
        }
        let plan = Plan::parse(&text).map_err(|error| error.to_string())?;
        let contexts = self.storage.contexts(&build.context_hashes)?;
        let options = BuildOptions { pull: self.images.pull_options(), ..BuildOptions::default() };
        let runner = run::Steps { app: Arc::clone(self), host };
        let image = daytona_images::build(store, &plan, &contexts, &runner, log, &options).await;
        let image = image.map_err(|error| explained(&error))?;
        Ok(Built { root: Root::new(&image, host), _image: Some(image) })
    }
}

fn sandbox_builds(sandbox: &Sandbox) {
    let mut record = sandbox.record();
    if record.state == SandboxState::PendingBuild {
        record.state = SandboxState::BuildingSnapshot;
        record.updated_at = now();
    }
}

/// The image's name, where that is all there is.
fn only_name(dockerfile: &str) -> Option<&str> {
    let mut lines = dockerfile.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let words: Vec<&str> = lines.next()?.split_whitespace().collect();
    match (words[..].as_ref(), lines.next()) {
        ([from, name], None) if from.eq_ignore_ascii_case("FROM") && *name != "scratch" => Some(name),
        _ => None,
    }
}

/// Writes of a pull what its user wants to know.
fn told(event: &Event, log: &BuildLog) {
    let short = |digest: &str| digest.chars().take(19).collect::<String>();
    match event {
        Event::Resolved { digest, layers, bytes } => {
            log.line(&format!("pulling {digest}: {layers} layers, {:.1} MB", megabytes(*bytes)));
        }
        Event::Exists { layer } => log.line(&format!("{}: is there already", short(layer))),
        Event::Unpacking { layer } => log.line(&format!("{}: unpacking", short(layer))),
        Event::Done { layer } => log.line(&format!("{}: done", short(layer))),
        Event::Retrying { why } => log.line(&format!("trying again: {why}")),
        _ => {}
    }
}

#[expect(clippy::cast_precision_loss, reason = "a size to look at")]
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

/// What a build has made. The image is held until something else is known to need it.
struct Built {
    root: Root,
    _image: Option<Image>,
}

/// Why a build failed, and the ways out where no registry could be reached.
fn explained(error: &daytona_images::Error) -> String {
    let reason = error.to_string();
    match error {
        daytona_images::Error::Unreachable { .. } => format!("{reason}; {WAYS_OUT}"),
        daytona_images::Error::Unauthorized(_) => {
            format!("{reason}; name the registry's credentials with --registry-auth-file")
        }
        _ => reason,
    }
}

const WAYS_OUT: &str = "name an image of a registry that this machine reaches, or a mirror of it (the server's \
                        --registry-mirror); or start the server with --image-fallback host, which lets this machine's \
                        own programs stand in for every image";

fn no_log(error: &std::io::Error) -> String {
    format!("the build log cannot be written: {error}; check the disk of the data directory")
}

/// What is to be built, as far as it can be checked at once.
pub(crate) fn checked(dockerfile: &str, context_hashes: Option<&[String]>) -> ApiResult<Build> {
    if dockerfile.trim().is_empty() {
        return Err(ApiError::invalid("buildInfo.dockerfileContent must not be empty"));
    }
    let context_hashes = context_hashes.unwrap_or_default().to_vec();
    let fine = |hash: &String| {
        (1..=128).contains(&hash.len()) && hash.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    if let Some(bad) = context_hashes.iter().find(|hash| !fine(hash)) {
        return Err(ApiError::invalid(format!("buildInfo.contextHashes: {bad:?} is no hash of a context")));
    }
    Ok(Build { dockerfile: dockerfile.to_owned(), context_hashes })
}

/// The build log of what has this id.
pub(crate) fn answer(app: &Arc<App>, id: &str, follow: bool) -> axum::response::Response {
    use axum::body::Body;
    use axum::http::header;
    use axum::response::IntoResponse as _;

    let reader = app.builds.logs.read(id, follow);
    let pieces = futures_util::stream::unfold(reader, |mut reader| async move {
        let piece = reader.next().await?;
        Some((piece, reader))
    });
    ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], Body::from_stream(pieces)).into_response()
}

/// Refused: there is no such build.
pub(crate) fn no_build(what: &str) -> ApiError {
    ApiError::new(axum::http::StatusCode::NOT_FOUND, code::NOT_FOUND, format!("{what} was not built from an image"))
}
