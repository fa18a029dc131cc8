//! How a sandbox goes from one state to another.
//!
//! A change is begun under the record's lock, so that only one can be begun at a time, and done in
//! a task of its own under the sandbox's operation lock, so that it is finished also when the
//! caller has gone away.

mod archive;
mod copy;
mod end;
mod pause;
mod resize;
mod unanswered;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use daytona_runtime::{RuntimeError, RuntimeKind, SandboxSpec, Started};
use daytona_wire::sandbox::SandboxState;
use tokio::sync::oneshot;

use crate::App;
use crate::backend::Backend;
use crate::error::{ApiError, ApiResult, code};
use crate::manifest::Mark;
use crate::network::{self, Gateway, Policy};
use crate::record::{DAEMON_VERSION, Desired, Record};
use crate::sandbox::Sandbox;
use crate::store::Pending;
use crate::time::now;
use crate::volume;
pub(crate) use unanswered::Unanswered;

/// How long a request waits for its change before it is answered with the state reached so far.
const PATIENCE: Duration = Duration::from_secs(30);

impl App {
    /// Stores a new sandbox and starts it.
    pub(crate) async fn create(self: &Arc<Self>, record: Record) -> ApiResult<Arc<Sandbox>> {
        self.refuse_when_stopping()?;
        let sandbox = self.sandboxes.add(record)?;
        let unanswered = Unanswered::begin(self, &sandbox);
        self.manifests.mark::<Record>(&sandbox.id, Mark::Creating);
        let pending = self.store.put(&*sandbox.record());
        let (app, new) = (Arc::clone(self), Arc::clone(&sandbox));
        let done = finish(async move {
            let result = app.launch(&new, pending, SandboxState::Error).await;
            if result.as_ref().is_err_and(|error| error.code == code::STORAGE_FAILED) {
                app.take_back(&new).await;
            }
            result
        })
        .await;
        unanswered.answered();
        done.map(|()| sandbox)
    }

    /// Stores a sandbox that is to be built from an image, and begins to build.
    pub(crate) async fn create_from_image(self: &Arc<Self>, record: Record) -> ApiResult<Arc<Sandbox>> {
        self.refuse_when_stopping()?;
        let sandbox = self.sandboxes.add(record)?;
        let unanswered = Unanswered::begin(self, &sandbox);
        self.manifests.mark::<Record>(&sandbox.id, Mark::Creating);
        let (stored, pending) = oneshot::channel();
        self.build_sandbox(&sandbox, Some(stored));
        let (app, new) = (Arc::clone(self), Arc::clone(&sandbox));
        let done = finish(async move {
            let pending: Pending = pending.await.map_err(|_| sandbox_deleted(&new.id))?;
            let Err(error) = pending.stored().await else { return Ok(()) };
            app.take_back(&new).await;
            Err(error.into())
        })
        .await;
        unanswered.answered();
        done.map(|()| sandbox)
    }

    /// Ends a new sandbox that could not be stored: never acknowledged, it was never there.
    async fn take_back(&self, sandbox: &Sandbox) {
        sandbox.record().desired = Desired::Destroyed;
        self.builds.forget(&sandbox.id);
        let _operation = sandbox.operation.lock().await;
        if self.runtime.destroy(&sandbox.id).await.is_ok() {
            self.manifests.unmark::<Record>(&sandbox.id, Mark::Creating);
        }
        sandbox.record().state = SandboxState::Destroyed;
        self.sandboxes.remove(sandbox);
    }

    /// Starts a stopped, archived or paused sandbox.
    pub(crate) async fn start(self: &Arc<Self>, sandbox: &Arc<Sandbox>) -> ApiResult<()> {
        self.refuse_when_stopping()?;
        if sandbox.record().state == SandboxState::Archiving {
            // What is half packed away is packed away first.
            let _ = tokio::time::timeout(PATIENCE, sandbox.operation.lock()).await;
        }
        let state = sandbox.record().state;
        let to = match state {
            SandboxState::Started => return Ok(()),
            SandboxState::Paused => return self.resume(sandbox).await,
            SandboxState::Archived => SandboxState::Restoring,
            _ => SandboxState::Starting,
        };
        let runtime = self.runtime.kind();
        let pending =
            self.begin_stored(sandbox, "started", &[SandboxState::Stopped, SandboxState::Archived], to, |record| {
                other_runtime(record, runtime)?;
                record.desired = Desired::Started;
                record.error_reason = None;
                record.stopped_at = None;
                Ok(())
            })?;
        let (app, sandbox) = (Arc::clone(self), Arc::clone(sandbox));
        finish(async move { app.launch(&sandbox, pending, SandboxState::Stopped).await }).await
    }

    /// Brings a sandbox back from an error that another try may get over; `start` it then, or leave it
    /// stopped. One that has lost its files begins again without them only where that is accepted.
    pub(crate) async fn recover(
        self: &Arc<Self>,
        sandbox: &Arc<Sandbox>,
        start: bool,
        accept_loss: bool,
    ) -> ApiResult<()> {
        self.refuse_when_stopping()?;
        let loss = self.loss_of(sandbox).await?;
        if let Some(loss) = loss.as_ref().filter(|loss| !accept_loss || loss.instead.is_none()) {
            let way_out = match loss.instead {
                Some(_) => "recover it with acceptLoss=true to have that, or delete it",
                None => "delete it",
            };
            return Err(ApiError::new(
                StatusCode::CONFLICT,
                code::SANDBOX_FILES_LOST,
                format!("Sandbox {} cannot be recovered as it was: {loss}; {way_out}", sandbox.id),
            ));
        }
        let runtime = self.runtime.kind();
        let pending =
            self.begin_stored(sandbox, "recovered", &[SandboxState::Error], SandboxState::Starting, |record| {
                if !record.recoverable {
                    return Err(ApiError::state(format!(
                        "Sandbox {} cannot be recovered{}; delete it",
                        record.id,
                        reason(record)
                    )));
                }
                other_runtime(record, runtime)?;
                record.desired = if start { Desired::Started } else { Desired::Stopped };
                record.error_reason = None;
                record.recoverable = false;
                Ok(())
            })?;
        let (app, sandbox) = (Arc::clone(self), Arc::clone(sandbox));
        finish(async move {
            // Whatever is left of it.
            let ended = {
                let _operation = sandbox.operation.lock().await;
                match (app.runtime.stop(&sandbox.id, true).await, loss) {
                    (Ok(()), Some(loss)) => {
                        tracing::warn!(sandbox = %sandbox.id, %loss, "begins again, as it was asked to");
                        app.runtime.begin_again(&sandbox.id).await
                    }
                    (ended, _) => ended,
                }
            };
            if let Err(error) = ended {
                app.failed(&sandbox, &error.to_string(), true);
                return Err(error.into());
            }
            if start {
                return app.launch(&sandbox, pending, SandboxState::Error).await;
            }
            if let Some(pending) = app.stopped(&sandbox, SandboxState::Stopped, None) {
                pending.stored().await?;
            }
            Ok(())
        })
        .await
    }

    /// What a sandbox in an error has lost.
    async fn loss_of(&self, sandbox: &Sandbox) -> ApiResult<Option<daytona_runtime::Loss>> {
        let recovers = {
            let record = sandbox.record();
            record.state == SandboxState::Error && record.recoverable && record.runtime == self.runtime.kind()
        };
        Ok(if recovers { self.runtime.loss(&sandbox.id).await? } else { None })
    }

    /// [`begin`] for a change that the next start of the server has to know of.
    fn begin_stored(
        &self,
        sandbox: &Sandbox,
        what: &str,
        from: &[SandboxState],
        to: SandboxState,
        check: impl FnOnce(&mut Record) -> ApiResult<()>,
    ) -> ApiResult<Pending> {
        begin(sandbox, what, from, to, check)?;
        Ok(self.store.put(&*sandbox.record()))
    }

    /// Ends a change of state, unless the sandbox is being deleted meanwhile; `None` then.
    fn settle(&self, sandbox: &Sandbox, state: SandboxState, change: impl FnOnce(&mut Record)) -> Option<Pending> {
        let mut record = sandbox.record();
        if record.desired == Desired::Destroyed {
            return None;
        }
        record.state = state;
        record.updated_at = now();
        change(&mut record);
        Some(self.store.put(&*record))
    }

    /// Notes a failure after which the sandbox is in no good state.
    fn failed(&self, sandbox: &Sandbox, reason: &str, recoverable: bool) {
        tracing::warn!(sandbox = %sandbox.id, reason, "failed");
        drop(self.settle(sandbox, SandboxState::Error, |record| {
            record.error_reason = Some(reason.to_owned());
            record.recoverable = recoverable;
        }));
    }

    /// Runs the sandbox and stores its record, at the same time. `otherwise` is the state of a sandbox
    /// that has been made before and fails to start.
    pub(crate) async fn launch(
        &self,
        sandbox: &Arc<Sandbox>,
        pending: Pending,
        otherwise: SandboxState,
    ) -> ApiResult<()> {
        let _operation = sandbox.operation.lock().await;
        self.launch_locked(sandbox, pending, otherwise).await
    }

    /// The same for who holds its operation lock.
    async fn launch_locked(
        &self,
        sandbox: &Arc<Sandbox>,
        mut pending: Pending,
        otherwise: SandboxState,
    ) -> ApiResult<()> {
        if sandbox.record().desired == Desired::Destroyed {
            return Err(sandbox_deleted(&sandbox.id));
        }
        if sandbox.record().state == SandboxState::Restoring {
            pending = self.restore(sandbox, pending).await?;
        }
        let (spec, policy, first) = {
            let record = sandbox.record();
            (self.spec(&record), network::policy(&record)?, record.state == SandboxState::Creating)
        };
        let make = async {
            match spec {
                Ok(spec) => self.make(sandbox, spec, policy).await,
                Err(error) => Err(error),
            }
        };
        let (started, stored) = tokio::join!(make, pending.stored());
        if let Err(error) = stored {
            // Not acknowledged, so it does not run.
            let _ = self.runtime.stop(&sandbox.id, true).await;
            let mut record = sandbox.record();
            if record.desired != Desired::Destroyed {
                (record.state, record.desired) = (SandboxState::Stopped, Desired::Stopped);
            }
            return Err(error.into());
        }
        let mut record = sandbox.record();
        record.updated_at = now();
        let (started, gateway) = match started {
            Ok(started) => started,
            Err(error) => {
                tracing::warn!(sandbox = %record.id, %error, "a sandbox did not start");
                let message = format!("Sandbox failed to start: {error}");
                record.error_reason = Some(error.to_string());
                if record.desired != Desired::Destroyed {
                    // What an earlier run stored is still there: it stays startable.
                    let lost = self.files_are_gone(&record) || matches!(error, RuntimeError::Lost(_));
                    record.state = if first || lost { SandboxState::Error } else { otherwise };
                    if record.state == SandboxState::Error {
                        record.recoverable =
                            !matches!(error, RuntimeError::Unsupported { .. } | RuntimeError::Invalid(_));
                    } else {
                        record.desired = Desired::Stopped;
                        record.stopped_at = Some(now());
                    }
                }
                drop(self.store.put(&*record));
                let error = ApiError::from(error);
                return Err(match error.status {
                    // Nothing about the sandbox, and the same request may succeed later.
                    StatusCode::SERVICE_UNAVAILABLE => error,
                    StatusCode::INSUFFICIENT_STORAGE => ApiError::new(error.status, error.code, message),
                    _ => ApiError::new(StatusCode::BAD_REQUEST, code::SANDBOX_START_FAILED, message),
                });
            }
        };
        if record.desired == Desired::Destroyed {
            return Err(sandbox_deleted(&record.id));
        }
        record.state = SandboxState::Started;
        record.made = true;
        record.user = started.user;
        record.stopped_at = None;
        tracing::info!(sandbox = %record.id, name = %record.name, "started");
        sandbox.touch();
        // Whoever learns that it is started can use it.
        sandbox.go_live(started.socket, gateway);
        drop(record);
        sandbox.limit_network()?;
        self.timers.notify_one();
        Ok(())
    }

    /// Whether it has had files that are not there any more.
    fn files_are_gone(&self, record: &Record) -> bool {
        record.made && !self.runtime.sandbox_dir(&record.id).is_dir()
    }

    /// Runs a sandbox, with the files of its snapshot if it has none of its own yet.
    async fn make(
        &self,
        sandbox: &Sandbox,
        spec: SandboxSpec,
        policy: Policy,
    ) -> Result<(Started, Option<Gateway>), RuntimeError> {
        self.use_volumes(&spec.volumes).await?;
        let snapshot = sandbox.record().snapshot_id.clone();
        let dir = self.runtime.sandbox_dir(&sandbox.id);
        if self.files_are_gone(&sandbox.record()) {
            return Err(RuntimeError::Invalid(format!(
                "its files are missing: {} was removed; restore it, or delete the sandbox",
                dir.display()
            )));
        }
        if let Some(id) = snapshot.filter(|_| !dir.exists()) {
            let gone = || RuntimeError::Invalid(format!("its snapshot {id} was deleted before its files were copied"));
            let snapshot = self.snapshots.find(&id).ok_or_else(gone)?;
            let _files = snapshot.files.read().await;
            // One of an image has no files of its own.
            if snapshot.dir.is_dir() || snapshot.record().image.is_none() {
                self.runtime.adopt(&snapshot.dir, &sandbox.id).await?;
            }
            self.snapshot_used(&snapshot);
        }
        if let Backend::Docker(docker) = &self.runtime {
            let record = sandbox.record().clone();
            self.begin_in_docker(docker, &record).await?;
        }
        self.run(spec, policy).await
    }

    fn spec(&self, record: &Record) -> Result<SandboxSpec, RuntimeError> {
        Ok(SandboxSpec {
            id: record.id.clone(),
            name: record.name.clone(),
            user: record.user.clone(),
            env: self.environment(record),
            unset_env: record.unset_env.clone(),
            image: record.image.as_ref().map(|root| self.images.spec(root)).transpose()?,
            volumes: volume::spec(record),
            cpu: record.cpu,
            memory_gib: record.memory,
            disk_gib: record.disk,
            network: self.network(record),
            version: DAEMON_VERSION.to_owned(),
        })
    }

    /// Stops a running or paused sandbox; an ephemeral one is destroyed.
    pub(crate) async fn stop(self: &Arc<Self>, sandbox: &Arc<Sandbox>, force: bool) -> ApiResult<()> {
        {
            let mut record = sandbox.record();
            if !matches!(record.state, SandboxState::Started | SandboxState::Paused) {
                return Err(if record.changing() { changing(&record) } else { refused(&record, "stopped", &[]) });
            }
            if !record.ephemeral() {
                record.state = SandboxState::Stopping;
                record.desired = Desired::Stopped;
                record.updated_at = now();
            }
        }
        if sandbox.record().ephemeral() {
            return self.destroy(sandbox).await;
        }
        let ending = sandbox.end_live();
        let (app, sandbox) = (Arc::clone(self), Arc::clone(sandbox));
        finish(async move {
            let _operation = sandbox.operation.lock().await;
            let result = app.runtime.stop(&sandbox.id, force).await;
            drop(ending);
            let pending = match &result {
                Ok(()) => app.stopped(&sandbox, SandboxState::Stopped, None),
                Err(error) => {
                    app.failed(&sandbox, &error.to_string(), true);
                    None
                }
            };
            app.timers.notify_one();
            // It has stopped all the same, and nothing runs when the next server starts.
            if let Some(pending) = pending
                && let Err(error) = pending.stored().await
            {
                tracing::warn!(sandbox = %sandbox.id, %error, "stopped without a record of it");
            }
            Ok(result?)
        })
        .await
    }

    /// Notes that nothing runs in it any more, or why that is not so.
    fn stopped(&self, sandbox: &Sandbox, state: SandboxState, reason: Option<String>) -> Option<Pending> {
        let activity = sandbox.last_activity();
        tracing::info!(sandbox = %sandbox.id, "stopped");
        self.settle(sandbox, state, |record| {
            record.desired = Desired::Stopped;
            record.error_reason = reason;
            record.stopped_at = Some(now());
            record.last_activity_at = activity;
        })
    }

    /// Changes settings and answers when they are stored.
    pub(crate) async fn update(&self, sandbox: &Sandbox, change: impl FnOnce(&mut Record)) -> ApiResult<()> {
        let (before, updated_at, pending) = {
            let mut record = sandbox.record();
            if record.desired == Desired::Destroyed {
                return Err(changing(&record));
            }
            let before = record.clone();
            change(&mut record);
            record.updated_at = now();
            (before, record.updated_at, self.store.put(&*record))
        };
        let stored = pending.stored().await;
        if stored.is_err() {
            let mut record = sandbox.record();
            if record.updated_at == updated_at {
                *record = before;
            }
        }
        self.timers.notify_one();
        Ok(stored?)
    }

    fn refuse_when_stopping(&self) -> ApiResult<()> {
        if self.stopping.load(std::sync::atomic::Ordering::Relaxed) {
            return Err(ApiError::new(
                StatusCode::SERVICE_UNAVAILABLE,
                code::SHUTTING_DOWN,
                "the server is being stopped",
            ));
        }
        Ok(())
    }
}

/// Runs the change to its end and waits for it, with patience.
async fn finish(change: impl Future<Output = ApiResult<()>> + Send + 'static) -> ApiResult<()> {
    let task = tokio::spawn(change);
    match tokio::time::timeout(PATIENCE, task).await {
        Ok(Ok(result)) => result,
        Ok(Err(error)) => Err(ApiError::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            code::RUNTIME_FAILED,
            format!("the server failed while changing the sandbox: {error}"),
        )),
        Err(_) => Ok(()),
    }
}

/// Another runtime would run it with less isolation, or without its files.
fn other_runtime(record: &Record, runtime: RuntimeKind) -> ApiResult<()> {
    if record.runtime == runtime {
        return Ok(());
    }
    Err(ApiError::new(
        StatusCode::BAD_REQUEST,
        code::UNSUPPORTED_BY_RUNTIME,
        format!(
            "Sandbox {} was made by the {made} runtime and this server runs {runtime}: restart the \
             server with --runtime {made}",
            record.id,
            made = record.runtime
        ),
    ))
}

/// Begins a change of state: refused unless the sandbox is in a state that it can begin in.
fn begin(
    sandbox: &Sandbox,
    what: &str,
    from: &[SandboxState],
    to: SandboxState,
    check: impl FnOnce(&mut Record) -> ApiResult<()>,
) -> ApiResult<SandboxState> {
    let mut record = sandbox.record();
    let state = record.state;
    if !from.contains(&state) {
        return Err(if record.changing() { changing(&record) } else { refused(&record, what, from) });
    }
    check(&mut record)?;
    record.state = to;
    record.updated_at = now();
    Ok(state)
}

/// What to do first, where the state forbids something.
fn refused(record: &Record, what: &str, from: &[SandboxState]) -> ApiError {
    use SandboxState as S;
    let way_out = match record.state {
        S::Error if record.recoverable => "; recover it first",
        S::Error | S::BuildFailed => "; delete it",
        S::Stopped | S::Archived | S::Paused if from.contains(&S::Started) => "; start it first",
        S::Archived if from.contains(&S::Stopped) => "; start it first",
        S::Started | S::Paused if from.contains(&S::Stopped) => "; stop it first",
        _ => "",
    };
    ApiError::state(format!(
        "Sandbox {} cannot be {what}: it is {}{}{way_out}",
        record.id,
        record.state,
        reason(record)
    ))
}

fn changing(record: &Record) -> ApiError {
    ApiError::changing(format!("Sandbox {} is {}; wait until that is done", record.id, record.state))
}

fn sandbox_deleted(id: &str) -> ApiError {
    ApiError::new(StatusCode::GONE, code::SANDBOX_DESTROYED, format!("Sandbox {id} was deleted while it was starting"))
}

fn reason(record: &Record) -> String {
    record.error_reason.as_ref().map_or_else(String::new, |reason| format!(" ({reason})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_runtime_that_made_a_sandbox_runs_it() {
        let mut record = Record::sample("a");
        record.runtime = RuntimeKind::Ns;
        assert!(other_runtime(&record, RuntimeKind::Ns).is_ok());
        let error = other_runtime(&record, RuntimeKind::Process).unwrap_err();
        assert!(error.message.contains("--runtime ns"), "{}", error.message);
    }
}
