//! Builds: from a Dockerfile's text to what sandboxes are made of.
//!
//! A build runs in a task of its own. It belongs to the sandbox or the snapshot that it is for, whose id names its
//! log, and ends with it.

mod docker;
mod host;
pub(crate) mod log;

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use daytona_wire::sandbox::SandboxState;
use daytona_wire::snapshot::SnapshotState;
use tokio::sync::{Semaphore, watch};

use self::log::{BuildLog, BuildLogs};
use crate::App;
use crate::backend::Backend;
use crate::error::{ApiError, ApiResult, code};
use crate::image::Root;
use crate::record::{Build, Desired};
use crate::sandbox::Sandbox;
use crate::snapshot::Snapshot;
use crate::time::now;

/// Builds that run at a time; others wait.
const AT_A_TIME: usize = 2;
/// A build that takes longer has failed.
const LIMIT: Duration = Duration::from_secs(3600);

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
    /// Builds what a sandbox waits for, in a task, and makes the sandbox.
    pub(crate) fn build_sandbox(self: &Arc<Self>, sandbox: &Arc<Sandbox>) {
        let (app, sandbox) = (Arc::clone(self), Arc::clone(sandbox));
        tokio::spawn(async move {
            let Some(build) = sandbox.record().build.clone() else {
                return;
            };
            let begun = || app.sandbox_builds(&sandbox);
            let built = app.build(&sandbox.id, &build, begun).await;
            let made = match built {
                Ok(root) => app.make_built(&sandbox, root),
                Err(Failure::Cancelled) => return,
                Err(Failure::Failed(reason)) => Err(reason),
            };
            if let Err(reason) = &made {
                app.sandbox_build_failed(&sandbox, reason);
            }
            // Who has read the log to its end finds the outcome.
            app.builds.end(&sandbox.id);
            if let Ok(pending) = made {
                // Why it does not start is in its record.
                let _ = app.launch(&sandbox, pending, SandboxState::Error).await;
            }
        });
    }

    fn sandbox_builds(&self, sandbox: &Sandbox) {
        let mut record = sandbox.record();
        if record.state == SandboxState::PendingBuild {
            record.state = SandboxState::BuildingSnapshot;
            record.updated_at = now();
        }
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
    fn make_built(&self, sandbox: &Sandbox, root: Root) -> Result<crate::store::Pending, String> {
        let mut record = sandbox.record();
        if record.desired == Desired::Destroyed {
            return Err("the sandbox was deleted".to_owned());
        }
        if !record.user_given {
            record.user = crate::image::user(&root, self.runtime.probe().root);
        }
        record.image = Some(root);
        record.state = SandboxState::Creating;
        record.updated_at = now();
        Ok(self.store.put(&*record))
    }

    /// Builds what a snapshot is to have, in a task.
    pub(crate) fn build_snapshot(self: &Arc<Self>, snapshot: &Arc<Snapshot>) {
        let (app, snapshot) = (Arc::clone(self), Arc::clone(snapshot));
        tokio::spawn(async move {
            let Some(build) = snapshot.record().build.clone() else {
                return;
            };
            let begun = || {
                let mut record = snapshot.record();
                if record.state == SnapshotState::Pending {
                    let pulls = record.image_name.is_some();
                    record.state = if pulls { SnapshotState::Pulling } else { SnapshotState::Building };
                    record.updated_at = now();
                }
            };
            let built = app.build(&snapshot.id, &build, begun).await;
            let stored = {
                let mut record = snapshot.record();
                if record.state == SnapshotState::Removing {
                    return;
                }
                match built {
                    Ok(mut root) => {
                        if let Some(entrypoint) = &record.entrypoint {
                            root.command.clone_from(entrypoint);
                        }
                        record.user = crate::image::user(&root, app.runtime.probe().root);
                        record.size = app.size_of_root(&root);
                        record.image = Some(root);
                        record.state = SnapshotState::Active;
                    }
                    Err(Failure::Cancelled) => return,
                    Err(Failure::Failed(reason)) => {
                        tracing::warn!(snapshot = %snapshot.id, reason, "a build failed");
                        let pulled = record.image_name.is_some();
                        record.state = if pulled { SnapshotState::Error } else { SnapshotState::BuildFailed };
                        record.error_reason = Some(reason);
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

    /// Waits for its turn, calls `begun` and builds.
    async fn build(self: &Arc<Self>, id: &str, build: &Build, begun: impl FnOnce()) -> Result<Root, Failure> {
        let log = self.builds.logs.begin(id).map_err(|error| Failure::Failed(no_log(&error)))?;
        let mut cancelled = self.builds.begin(id);
        for line in build.dockerfile.lines().filter(|line| !line.trim().is_empty()) {
            log.line(&format!("> {line}"));
        }
        let work = async {
            let _turn = match self.builds.queue.try_acquire() {
                Ok(turn) => Ok(turn),
                Err(_) => {
                    log.line("waiting for other builds");
                    self.builds.queue.acquire().await
                }
            };
            begun();
            tokio::time::timeout(LIMIT, self.root_of(build, &log))
                .await
                .unwrap_or_else(|_| Err(format!("the build took longer than {} minutes", LIMIT.as_secs() / 60)))
        };
        let result = tokio::select! {
            biased;
            _ = cancelled.wait_for(|cancelled| *cancelled) => return Err(Failure::Cancelled),
            result = work => result,
        };
        if let Err(reason) = &result {
            log.line(reason);
        }
        result.map_err(Failure::Failed)
    }

    async fn root_of(self: &Arc<Self>, build: &Build, log: &BuildLog) -> Result<Root, String> {
        if let Backend::Docker(docker) = &self.runtime {
            return self.docker_root(docker, build, log).await;
        }
        if self.images.host_fallback {
            return self.host_root(build, log).await;
        }
        Err(NO_BUILDER.to_owned())
    }

    pub(crate) fn size_of_root(&self, root: &Root) -> u64 {
        root.size
    }
}

const NO_BUILDER: &str = "this local server has no image builder yet: create the sandbox from its default snapshot, \
                          which shows this machine's own programs (leave out the image), start the server with \
                          --image-fallback host to let them stand in for every image, or build it in Daytona's cloud \
                          (set DAYTONA_API_KEY and leave DAYTONA_API_URL unset)";

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
