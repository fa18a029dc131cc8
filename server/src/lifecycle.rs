//! How a sandbox goes from one state to another.
//!
//! A change is begun under the record's lock, so that only one can be begun at a time, and done in
//! a task of its own under the sandbox's operation lock, so that it is finished also when the
//! caller has gone away.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use daytona_runtime::{Exited, Network, RuntimeKind, SandboxSpec};
use daytona_wire::sandbox::SandboxState;
use tokio::sync::mpsc;

use crate::App;
use crate::error::{ApiError, ApiResult, code};
use crate::record::{DAEMON_VERSION, Desired, Record};
use crate::sandbox::Sandbox;
use crate::store::Pending;
use crate::time::now;

/// How long a request waits for its change before it is answered with the state reached so far.
const PATIENCE: Duration = Duration::from_secs(30);

impl App {
    /// Stores a new sandbox and starts it.
    pub(crate) async fn create(self: &Arc<Self>, record: Record) -> ApiResult<Arc<Sandbox>> {
        self.refuse_when_stopping()?;
        let sandbox = self.sandboxes.add(record)?;
        let pending = self.store.put(&sandbox.record());
        let (app, new) = (Arc::clone(self), Arc::clone(&sandbox));
        finish(async move {
            let result = app.launch(&new, pending).await;
            if result.as_ref().is_err_and(|error| error.code == code::STORAGE_FAILED) {
                // Never acknowledged, so never there.
                let _ = app.runtime.destroy(&new.id).await;
                new.record().state = SandboxState::Destroyed;
                app.sandboxes.remove(&new);
            }
            result
        })
        .await?;
        Ok(sandbox)
    }

    /// Stores a sandbox that is to be built from an image; it fails with the reason.
    pub(crate) async fn create_from_image(self: &Arc<Self>, record: Record) -> ApiResult<Arc<Sandbox>> {
        self.refuse_when_stopping()?;
        let sandbox = self.sandboxes.add(record)?;
        let pending = self.store.put(&sandbox.record());
        if let Err(error) = pending.stored().await {
            sandbox.record().state = SandboxState::Destroyed;
            self.sandboxes.remove(&sandbox);
            return Err(error.into());
        }
        Ok(sandbox)
    }

    /// The end of a build that cannot be done here.
    pub(crate) fn fail_build(&self, sandbox: &Sandbox, reason: &str) -> Option<Pending> {
        let mut record = sandbox.record();
        if record.state != SandboxState::PendingBuild {
            return None;
        }
        record.state = SandboxState::BuildFailed;
        record.error_reason = Some(reason.to_owned());
        record.updated_at = now();
        Some(self.store.put(&record))
    }

    /// Starts a stopped sandbox.
    pub(crate) async fn start(self: &Arc<Self>, sandbox: &Arc<Sandbox>) -> ApiResult<()> {
        self.refuse_when_stopping()?;
        let pending = {
            let mut record = sandbox.record();
            match record.state {
                SandboxState::Started => return Ok(()),
                SandboxState::Stopped => other_runtime(&record, self.runtime.kind())?,
                _ if record.changing() => return Err(changing(&record)),
                state => {
                    return Err(ApiError::state(format!(
                        "Sandbox {} cannot be started: it is {state}{}",
                        record.id,
                        reason(&record)
                    )));
                }
            }
            record.state = SandboxState::Starting;
            record.desired = Desired::Started;
            record.error_reason = None;
            record.updated_at = now();
            self.store.put(&record)
        };
        let (app, sandbox) = (Arc::clone(self), Arc::clone(sandbox));
        finish(async move { app.launch(&sandbox, pending).await }).await
    }

    /// Runs the sandbox and stores its record, at the same time.
    async fn launch(&self, sandbox: &Arc<Sandbox>, pending: Pending) -> ApiResult<()> {
        let _operation = sandbox.operation.lock().await;
        let (spec, first) = {
            let record = sandbox.record();
            (spec(&record), record.state == SandboxState::Creating)
        };
        let (started, stored) = tokio::join!(self.runtime.create(spec), pending.stored());
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
        let started = match started {
            Ok(started) => started,
            Err(error) => {
                tracing::warn!(sandbox = %record.id, %error, "a sandbox did not start");
                let message = format!("Sandbox failed to start: {error}");
                record.error_reason = Some(error.to_string());
                if record.desired != Desired::Destroyed {
                    // What an earlier run stored is still there: it stays startable.
                    (record.state, record.desired) = if first {
                        (SandboxState::Error, Desired::Started)
                    } else {
                        (SandboxState::Stopped, Desired::Stopped)
                    };
                }
                drop(self.store.put(&record));
                return Err(ApiError::new(StatusCode::BAD_REQUEST, code::SANDBOX_START_FAILED, message));
            }
        };
        if record.desired == Desired::Destroyed {
            return Err(sandbox_deleted(&record.id));
        }
        record.state = SandboxState::Started;
        record.user = started.user;
        record.stopped_at = None;
        tracing::info!(sandbox = %record.id, name = %record.name, "started");
        sandbox.touch();
        // Whoever learns that it is started can use it.
        sandbox.go_live(started.socket);
        drop(record);
        self.timers.notify_one();
        Ok(())
    }

    /// Stops a running sandbox; an ephemeral one is destroyed.
    pub(crate) async fn stop(self: &Arc<Self>, sandbox: &Arc<Sandbox>, force: bool) -> ApiResult<()> {
        {
            let mut record = sandbox.record();
            match record.state {
                SandboxState::Started => {}
                _ if record.changing() => return Err(changing(&record)),
                state => {
                    return Err(ApiError::state(format!(
                        "Sandbox {} cannot be stopped: it is {state}, not started",
                        record.id
                    )));
                }
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
        sandbox.end_live();
        let (app, sandbox) = (Arc::clone(self), Arc::clone(sandbox));
        finish(async move {
            let _operation = sandbox.operation.lock().await;
            let result = app.runtime.stop(&sandbox.id, force).await;
            let (state, reason) = match &result {
                Ok(()) => (SandboxState::Stopped, None),
                Err(error) => (SandboxState::Error, Some(error.to_string())),
            };
            let pending = app.stopped(&sandbox, state, reason);
            app.timers.notify_one();
            if let Some(pending) = pending {
                pending.stored().await?;
            }
            Ok(result?)
        })
        .await
    }

    /// Notes that nothing runs in it any more, or why that is not so.
    fn stopped(&self, sandbox: &Sandbox, state: SandboxState, reason: Option<String>) -> Option<Pending> {
        let activity = sandbox.last_activity();
        let mut record = sandbox.record();
        if record.desired == Desired::Destroyed {
            return None;
        }
        record.state = state;
        record.desired = Desired::Stopped;
        record.error_reason = reason;
        record.stopped_at = Some(now());
        record.updated_at = now();
        record.last_activity_at = activity;
        tracing::info!(sandbox = %record.id, "stopped");
        Some(self.store.put(&record))
    }

    /// Ends a sandbox and deletes all of it, from any state.
    pub(crate) async fn destroy(self: &Arc<Self>, sandbox: &Arc<Sandbox>) -> ApiResult<()> {
        let pending = {
            let mut record = sandbox.record();
            record.state = SandboxState::Destroying;
            record.desired = Desired::Destroyed;
            record.updated_at = now();
            self.store.put(&record)
        };
        // On a full disk the deletion itself makes the room that its record needs.
        if let Err(error) = pending.stored().await {
            tracing::warn!(sandbox = %sandbox.id, %error, "deleting without a record of it");
        }
        sandbox.end_live();
        let (app, sandbox) = (Arc::clone(self), Arc::clone(sandbox));
        finish(async move { app.destroy_now(&sandbox).await }).await
    }

    /// Finishes what [`Self::destroy`] has begun.
    pub(crate) async fn destroy_now(&self, sandbox: &Sandbox) -> ApiResult<()> {
        let _operation = sandbox.operation.lock().await;
        if sandbox.record().state == SandboxState::Destroyed {
            return Ok(());
        }
        if let Err(error) = self.runtime.destroy(&sandbox.id).await {
            tracing::error!(sandbox = %sandbox.id, %error, "a sandbox could not be deleted");
            let mut record = sandbox.record();
            record.state = SandboxState::Error;
            record.error_reason = Some(format!("could not be deleted: {error}"));
            drop(self.store.put(&record));
            return Err(error.into());
        }
        self.store.delete(&sandbox.id).stored().await?;
        sandbox.record().state = SandboxState::Destroyed;
        self.sandboxes.remove(sandbox);
        tracing::info!(sandbox = %sandbox.id, "destroyed");
        Ok(())
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
            (before, record.updated_at, self.store.put(&record))
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

    /// Takes note of sandboxes that end by themselves.
    pub(crate) async fn watch_exits(self: Arc<Self>, mut exits: mpsc::UnboundedReceiver<Exited>) {
        while let Some(Exited { id, reason }) = exits.recv().await {
            let Ok(sandbox) = self.sandboxes.find(&id) else {
                continue;
            };
            let app = Arc::clone(&self);
            tokio::spawn(async move { app.exited(&sandbox, &reason).await });
        }
    }

    async fn exited(self: Arc<Self>, sandbox: &Arc<Sandbox>, reason: &str) {
        let operation = sandbox.operation.lock().await;
        let started = sandbox.record().state == SandboxState::Started;
        if !started || self.runtime.running().contains(&sandbox.id) {
            return;
        }
        tracing::warn!(sandbox = %sandbox.id, reason, "a sandbox ended by itself");
        let ephemeral = sandbox.record().ephemeral();
        let reason = format!("ended by itself: {reason}");
        let pending = self.stopped(sandbox, SandboxState::Stopped, Some(reason));
        sandbox.end_live();
        drop(operation);
        drop(pending);
        if ephemeral {
            let _ = self.destroy(sandbox).await;
        }
        self.timers.notify_one();
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

    /// Ends all sandboxes before the server ends.
    pub(crate) async fn stop_all(self: &Arc<Self>) {
        const LIMIT: Duration = Duration::from_secs(5);
        self.stopping.store(true, std::sync::atomic::Ordering::Relaxed);
        let sandboxes = self.sandboxes.all();
        let mut ephemeral = tokio::task::JoinSet::new();
        for sandbox in &sandboxes {
            let (is_ephemeral, state) = {
                let mut record = sandbox.record();
                let state = record.state;
                if state == SandboxState::Started && !record.ephemeral() {
                    record.state = SandboxState::Stopping;
                }
                (record.ephemeral(), state)
            };
            sandbox.end_live();
            if is_ephemeral && state == SandboxState::Started {
                let (app, sandbox) = (Arc::clone(self), Arc::clone(sandbox));
                ephemeral.spawn(async move { app.destroy(&sandbox).await });
            }
        }
        let done = async {
            while ephemeral.join_next().await.is_some() {}
            self.runtime.shutdown().await;
        };
        if tokio::time::timeout(LIMIT, done).await.is_err() {
            tracing::warn!("not all sandboxes ended in time; they end with the server");
        }
        let stored: Vec<Pending> = sandboxes
            .iter()
            .filter(|sandbox| {
                matches!(
                    sandbox.record().state,
                    SandboxState::Started | SandboxState::Starting | SandboxState::Stopping
                )
            })
            .filter_map(|sandbox| self.stopped(sandbox, SandboxState::Stopped, None))
            .collect();
        for pending in stored {
            if let Err(error) = pending.stored().await {
                tracing::warn!(%error, "a stop was not stored; the next start finds out");
            }
        }
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

fn spec(record: &Record) -> SandboxSpec {
    SandboxSpec {
        id: record.id.clone(),
        name: record.name.clone(),
        user: record.user.clone(),
        env: record.env.clone(),
        cpu: record.cpu,
        memory_gib: record.memory,
        disk_gib: record.disk,
        network: if record.network_block_all { Network::None } else { Network::Host },
        version: DAEMON_VERSION.to_owned(),
    }
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
