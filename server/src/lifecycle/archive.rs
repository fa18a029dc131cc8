//! Archive and restore. While a sandbox is `archived` or `restoring` its archive is the truth, else
//! its folder is. The other one is a copy, half or whole, as long as the sandbox has the mark that says so; it is deleted.

use std::sync::Arc;

use axum::http::StatusCode;
use daytona_wire::sandbox::SandboxState;

use super::finish;
use crate::App;
use crate::error::{ApiError, ApiResult, code};
use crate::manifest::Mark;
use crate::record::{Desired, Record};
use crate::sandbox::Sandbox;
use crate::store::Pending;
use crate::time::now;

impl App {
    /// Packs a stopped sandbox away.
    pub(crate) async fn archive(self: &Arc<Self>, sandbox: &Arc<Sandbox>) -> ApiResult<()> {
        self.refuse_when_stopping()?;
        let from = [SandboxState::Stopped];
        let pending = self.begin_stored(sandbox, "archived", &from, SandboxState::Archiving, |record| {
            if record.ephemeral() {
                return Err(ApiError::state(format!(
                    "Sandbox {} cannot be archived: it is ephemeral; set its auto-delete interval first",
                    record.id
                )));
            }
            record.desired = Desired::Archived;
            record.error_reason = None;
            Ok(())
        })?;
        let (app, sandbox) = (Arc::clone(self), Arc::clone(sandbox));
        finish(async move {
            let _operation = sandbox.operation.lock().await;
            let result = app.pack(&sandbox, pending).await;
            if let Err(error) = &result {
                if app.runtime.delete_archive(&sandbox.id).await.is_ok() {
                    app.manifests.unmark::<Record>(&sandbox.id, Mark::Moving);
                }
                drop(app.settle(&sandbox, SandboxState::Stopped, |record| {
                    record.desired = Desired::Stopped;
                    record.error_reason = Some(format!("could not be archived: {}", error.message));
                    record.archived_at = None;
                }));
            }
            app.timers.notify_one();
            result
        })
        .await
    }

    async fn pack(&self, sandbox: &Sandbox, pending: Pending) -> ApiResult<()> {
        pending.stored().await?;
        self.manifests.mark::<Record>(&sandbox.id, Mark::Moving);
        self.runtime.pack(&sandbox.id).await?;
        let archived = self.settle(sandbox, SandboxState::Archived, |record| record.archived_at = Some(now()));
        let Some(archived) = archived else {
            return Ok(());
        };
        archived.stored().await?;
        tracing::info!(sandbox = %sandbox.id, "archived");
        // What is left is deleted by the next restore or start of the server.
        match self.runtime.delete_stored(&sandbox.id).await {
            Ok(()) => self.manifests.unmark::<Record>(&sandbox.id, Mark::Moving),
            Err(error) => tracing::warn!(sandbox = %sandbox.id, %error, "archived, but its folder is still there"),
        }
        Ok(())
    }

    /// Brings the files of an archived sandbox back, for who holds its operation lock; it is starting then.
    pub(super) async fn restore(&self, sandbox: &Sandbox, pending: Pending) -> ApiResult<Pending> {
        pending.stored().await?;
        let unpacked = async {
            if self.manifests.marked::<Record>(&sandbox.id, Mark::Moving) {
                self.runtime.delete_stored(&sandbox.id).await?;
            } else if self.runtime.sandbox_dir(&sandbox.id).exists() {
                self.set_aside(&sandbox.id)?;
            }
            self.manifests.mark::<Record>(&sandbox.id, Mark::Moving);
            self.runtime.unpack(&sandbox.id).await
        };
        if let Err(error) = unpacked.await {
            tracing::warn!(sandbox = %sandbox.id, %error, "a sandbox was not restored");
            drop(self.settle(sandbox, SandboxState::Archived, |record| {
                record.desired = Desired::Archived;
                record.error_reason = Some(format!("could not be restored: {error}"));
            }));
            let message = format!("Sandbox failed to start: {error}");
            return Err(ApiError::new(StatusCode::BAD_REQUEST, code::SANDBOX_START_FAILED, message));
        }
        let starting = self.settle(sandbox, SandboxState::Starting, |record| record.archived_at = None);
        let Some(starting) = starting else {
            return Err(super::sandbox_deleted(&sandbox.id));
        };
        starting.stored().await?;
        match self.runtime.delete_archive(&sandbox.id).await {
            Ok(()) => self.manifests.unmark::<Record>(&sandbox.id, Mark::Moving),
            Err(error) => tracing::warn!(sandbox = %sandbox.id, %error, "restored, but its archive is still there"),
        }
        // What is stored by now is all there is to store.
        Ok(self.store.put(&*sandbox.record()))
    }
}
