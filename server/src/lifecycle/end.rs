//! How sandboxes end: deleted, by themselves, with the server.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use daytona_runtime::Exited;
use daytona_wire::sandbox::SandboxState;
use tokio::sync::mpsc;

use super::finish;
use crate::App;
use crate::backend::Backend;
use crate::error::{ApiError, ApiResult, code};
use crate::record::{Desired, Record};
use crate::sandbox::Sandbox;
use crate::store::Pending;
use crate::time::now;

impl App {
    /// Ends a sandbox and deletes all of it, from any state, and with it those linked to it. Refused
    /// while forks of it live.
    pub(crate) async fn destroy(self: &Arc<Self>, sandbox: &Arc<Sandbox>) -> ApiResult<()> {
        let forks: Vec<String> = self.forks(&sandbox.id).iter().map(|fork| fork.record().name.clone()).collect();
        if !forks.is_empty() {
            return Err(ApiError::new(
                StatusCode::CONFLICT,
                code::SANDBOX_HAS_FORKS,
                format!(
                    "Sandbox {} cannot be deleted while its forks live: delete {} first",
                    sandbox.id,
                    forks.join(", ")
                ),
            ));
        }
        self.destroy_anyway(sandbox).await
    }

    /// The same whether it has forks or not.
    async fn destroy_anyway(self: &Arc<Self>, sandbox: &Arc<Sandbox>) -> ApiResult<()> {
        let pending = {
            let mut record = sandbox.record();
            record.state = SandboxState::Destroying;
            record.desired = Desired::Destroyed;
            record.updated_at = now();
            self.store.put(&*record)
        };
        // On a full disk the deletion itself makes the room that its record needs.
        if let Err(error) = pending.stored().await {
            tracing::warn!(sandbox = %sandbox.id, %error, "deleting without a record of it");
        }
        drop(sandbox.end_live());
        self.builds.forget(&sandbox.id);
        let linked =
            self.sandboxes.all().into_iter().filter(|other| other.record().linked.as_ref() == Some(&sandbox.id));
        for other in linked {
            tokio::spawn(Arc::clone(self).destroy_linked(other));
        }
        let (app, sandbox) = (Arc::clone(self), Arc::clone(sandbox));
        finish(async move { app.destroy_now(&sandbox).await }).await
    }

    /// Boxed: those linked to a sandbox go the way that it goes.
    fn destroy_linked(self: Arc<Self>, sandbox: Arc<Sandbox>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async move {
            // Its failure is logged, and stays visible on the sandbox.
            let _ = self.destroy_anyway(&sandbox).await;
        })
    }

    /// The sandboxes that were forked from one and live.
    pub(crate) fn forks(&self, id: &str) -> Vec<Arc<Sandbox>> {
        let is_fork = |sandbox: &Arc<Sandbox>| {
            let record = sandbox.record();
            record.parent.as_deref() == Some(id) && record.desired != Desired::Destroyed
        };
        self.sandboxes.all().into_iter().filter(is_fork).collect()
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
            drop(self.store.put(&*record));
            return Err(error.into());
        }
        self.store.delete::<Record>(&sandbox.id).stored().await?;
        let image = sandbox.record().image.clone();
        self.runtime.let_go_of(image.as_ref()).await;
        sandbox.record().state = SandboxState::Destroyed;
        self.sandboxes.remove(sandbox);
        tracing::info!(sandbox = %sandbox.id, "destroyed");
        Ok(())
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

    /// For who has changed the state of a running sandbox, and still holds its operation lock: the end of
    /// one that ended on the way was told while nobody could act on it.
    pub(super) fn look_after(self: &Arc<Self>, sandbox: &Arc<Sandbox>) {
        self.timers.notify_one();
        if !self.runtime.running().contains(&sandbox.id) {
            let (app, sandbox) = (Arc::clone(self), Arc::clone(sandbox));
            tokio::spawn(async move { app.exited(&sandbox, "its first process is gone").await });
        }
    }

    /// Finds the stopped sandboxes whose containers were removed while no server was there.
    pub(crate) async fn notice_losses(self: &Arc<Self>) {
        let Backend::Docker(docker) = &self.runtime else { return };
        let lost = docker.lost().await.unwrap_or_else(|error| {
            tracing::warn!(%error, "containers cannot be looked for");
            Vec::new()
        });
        for sandbox in lost.iter().filter_map(|id| self.sandboxes.find(id).ok()) {
            Arc::clone(self).exited(&sandbox, "").await;
        }
    }

    async fn exited(self: Arc<Self>, sandbox: &Arc<Sandbox>, reason: &str) {
        let operation = sandbox.operation.lock().await;
        let state = sandbox.record().state;
        let live = matches!(state, SandboxState::Started | SandboxState::Paused);
        if !(live || state == SandboxState::Stopped) || self.runtime.running().contains(&sandbox.id) {
            return;
        }
        let loss = self.runtime.loss(&sandbox.id).await.unwrap_or_else(|error| {
            tracing::warn!(sandbox = %sandbox.id, %error, "what it has stored cannot be looked at");
            None
        });
        if !live {
            if let Some(loss) = loss {
                self.failed(sandbox, &loss.to_string(), true);
            }
            return;
        }
        tracing::warn!(sandbox = %sandbox.id, reason, "a sandbox ended by itself");
        let ephemeral = sandbox.record().ephemeral();
        let reason = format!("ended by itself: {reason}");
        let pending = self.stopped(sandbox, SandboxState::Stopped, Some(reason));
        if let Some(loss) = loss.filter(|_| !ephemeral) {
            self.failed(sandbox, &loss.to_string(), true);
        }
        drop(sandbox.end_live());
        drop(operation);
        drop(pending);
        if ephemeral {
            let _ = self.destroy(sandbox).await;
        }
        self.timers.notify_one();
    }

    /// Ends all sandboxes before the server ends.
    pub(crate) async fn stop_all(self: &Arc<Self>) {
        const LIMIT: Duration = Duration::from_secs(5);
        self.stopping.store(true, std::sync::atomic::Ordering::Relaxed);
        let sandboxes = self.sandboxes.all();
        let mut ephemeral = tokio::task::JoinSet::new();
        let mut endings = Vec::new();
        for sandbox in &sandboxes {
            let (is_ephemeral, runs) = {
                let mut record = sandbox.record();
                let state = record.state;
                let runs = matches!(state, SandboxState::Started | SandboxState::Paused);
                if runs && !record.ephemeral() {
                    record.state = SandboxState::Stopping;
                }
                (record.ephemeral(), runs)
            };
            endings.push(sandbox.end_live());
            if is_ephemeral && runs {
                let (app, sandbox) = (Arc::clone(self), Arc::clone(sandbox));
                ephemeral.spawn(async move { app.destroy_anyway(&sandbox).await });
            }
        }
        let done = async {
            while ephemeral.join_next().await.is_some() {}
            self.runtime.shutdown().await;
        };
        if tokio::time::timeout(LIMIT, done).await.is_err() {
            tracing::warn!("not all sandboxes ended in time; they end with the server");
        }
        drop(endings);
        let stored: Vec<Pending> = sandboxes
            .iter()
            .filter(|sandbox| {
                use SandboxState as S;
                let record = sandbox.record();
                match record.state {
                    S::Started | S::Starting | S::Stopping | S::Pausing | S::Paused | S::Resuming | S::Forking => true,
                    // Of stopped ones too.
                    S::Snapshotting | S::Resizing => record.stopped_at.is_none(),
                    _ => false,
                }
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
