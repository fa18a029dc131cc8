//! Pause and resume: everything in the sandbox stands still, and goes on where it was.

use std::sync::Arc;

use daytona_runtime::{Enforcement, RuntimeError};
use daytona_wire::sandbox::SandboxState;

use super::{begin, finish};
use crate::App;
use crate::error::ApiResult;
use crate::record::Desired;
use crate::sandbox::Sandbox;

impl App {
    /// Freezes a running sandbox. What it holds in memory stays; requests under way are answered when
    /// it goes on.
    pub(crate) async fn pause(self: &Arc<Self>, sandbox: &Arc<Sandbox>) -> ApiResult<()> {
        let can = self.can_freeze("pause");
        begin(sandbox, "paused", &[SandboxState::Started], SandboxState::Pausing, |record| {
            can?;
            record.desired = Desired::Paused;
            Ok(())
        })?;
        let (app, sandbox) = (Arc::clone(self), Arc::clone(sandbox));
        finish(async move {
            let _operation = sandbox.operation.lock().await;
            let result = app.runtime.freeze(&sandbox.id, true).await;
            let state = if result.is_ok() { SandboxState::Paused } else { SandboxState::Started };
            let pending = app.settle(&sandbox, state, |record| {
                if result.is_err() {
                    record.desired = Desired::Started;
                }
            });
            app.timers.notify_one();
            if let Some(pending) = pending {
                pending.stored().await?;
            }
            Ok(result?)
        })
        .await
    }

    /// Thaws a paused sandbox.
    pub(super) async fn resume(self: &Arc<Self>, sandbox: &Arc<Sandbox>) -> ApiResult<()> {
        begin(sandbox, "resumed", &[SandboxState::Paused], SandboxState::Resuming, |record| {
            record.desired = Desired::Started;
            Ok(())
        })?;
        let (app, sandbox) = (Arc::clone(self), Arc::clone(sandbox));
        finish(async move {
            let _operation = sandbox.operation.lock().await;
            if let Err(error) = app.runtime.freeze(&sandbox.id, false).await {
                app.failed(&sandbox, &format!("could not be resumed: {error}"), true);
                return Err(error.into());
            }
            sandbox.touch();
            let pending = app.settle(&sandbox, SandboxState::Started, |_| {});
            app.timers.notify_one();
            if let Some(pending) = pending {
                pending.stored().await?;
            }
            Ok(())
        })
        .await
    }

    /// Refuses what needs a sandbox to stand still, where that cannot be.
    pub(crate) fn can_freeze(&self, op: &'static str) -> Result<(), RuntimeError> {
        match &self.runtime.probe().limits.freeze {
            Enforcement::Enforced { .. } => Ok(()),
            Enforcement::NotEnforced { reason } => Err(RuntimeError::Unsupported {
                op,
                reason: format!("nothing can be frozen: {reason}; stop the sandbox instead"),
            }),
        }
    }
}
