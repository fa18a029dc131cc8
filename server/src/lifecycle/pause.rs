//! Pause and resume: everything in the sandbox stands still, and goes on where it was.

use std::sync::Arc;

use axum::http::StatusCode;
use daytona_runtime::{Enforcement, RuntimeError};
use daytona_wire::sandbox::SandboxState;

use super::{begin, finish};
use crate::App;
use crate::error::{ApiError, ApiResult, code};
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
            app.look_after(&sandbox);
            if let Some(pending) = pending {
                pending.stored().await?;
            }
            result.map_err(|error| unless_ended(error, &sandbox))
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
            match app.runtime.freeze(&sandbox.id, false).await {
                Ok(()) => {}
                Err(error @ RuntimeError::NotFound { .. }) => {
                    drop(app.settle(&sandbox, SandboxState::Started, |_| {}));
                    app.look_after(&sandbox);
                    return Err(unless_ended(error, &sandbox));
                }
                Err(error) => {
                    app.failed(&sandbox, &format!("could not be resumed: {error}"), true);
                    return Err(error.into());
                }
            }
            sandbox.touch();
            let pending = app.settle(&sandbox, SandboxState::Started, |_| {});
            app.look_after(&sandbox);
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

/// What is said where the sandbox has ended by itself before the change did.
pub(super) fn unless_ended(error: RuntimeError, sandbox: &Sandbox) -> ApiError {
    match error {
        RuntimeError::NotFound { .. } => ApiError::new(
            StatusCode::CONFLICT,
            code::SANDBOX_STOPPED,
            format!("Sandbox {} has ended by itself meanwhile; start it again", sandbox.id),
        ),
        error => error.into(),
    }
}
