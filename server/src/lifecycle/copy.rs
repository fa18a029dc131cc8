//! A sandbox's files for others: forks and snapshots.

use std::sync::Arc;

use daytona_runtime::RuntimeError;
use daytona_wire::sandbox::SandboxState;
use daytona_wire::snapshot::SnapshotState;

use super::pause::unless_ended;
use super::{Unanswered, begin, finish, sandbox_deleted};
use crate::App;
use crate::error::ApiResult;
use crate::manifest::Mark;
use crate::record::{Desired, Record};
use crate::sandbox::Sandbox;
use crate::snapshot::{self, Snapshot};
use crate::store::Pending;
use crate::time::now;

impl App {
    /// Makes a running sandbox's twin: its files as they are now, and its settings, under another name.
    /// `new` gives the twin's record from that of the sandbox.
    pub(crate) async fn fork(
        self: &Arc<Self>,
        sandbox: &Arc<Sandbox>,
        new: impl FnOnce(&Record) -> ApiResult<Record>,
    ) -> ApiResult<Arc<Sandbox>> {
        self.refuse_when_stopping()?;
        let can = self.can_freeze("fork");
        let mut fork = None;
        begin(sandbox, "forked", &[SandboxState::Started], SandboxState::Forking, |record| {
            can?;
            fork = Some(new(record)?);
            Ok(())
        })?;
        let added = fork.map(|record| self.sandboxes.add(record));
        let fork = match added {
            Some(Ok(fork)) => fork,
            failed => {
                self.back_to(sandbox, SandboxState::Started);
                return Err(failed.and_then(Result::err).unwrap_or_else(|| sandbox_deleted(&sandbox.id)));
            }
        };
        let unanswered = Unanswered::begin(self, &fork);
        self.manifests.mark::<Record>(&fork.id, Mark::Creating);
        let (app, sandbox, twin) = (Arc::clone(self), Arc::clone(sandbox), Arc::clone(&fork));
        let done = finish(async move {
            let copied = {
                let _operation = sandbox.operation.lock().await;
                app.frozen(&sandbox, SandboxState::Forking, || app.runtime.copy(&sandbox.id, &twin.id)).await
            };
            let _operation = twin.operation.lock().await;
            if twin.record().desired == Desired::Destroyed {
                return Err(sandbox_deleted(&twin.id));
            }
            if let Err(error) = copied {
                if app.runtime.delete_stored(&twin.id).await.is_ok() {
                    app.manifests.unmark::<Record>(&twin.id, Mark::Creating);
                }
                twin.record().state = SandboxState::Destroyed;
                app.sandboxes.remove(&twin);
                return Err(error);
            }
            // From here on it is there, whatever happens.
            let pending = app.store.put(&*twin.record());
            app.launch_locked(&twin, pending, SandboxState::Error).await
        })
        .await;
        unanswered.answered();
        done.map(|()| fork)
    }

    /// Makes a snapshot of the files of a started or stopped sandbox.
    pub(crate) async fn snapshot(self: &Arc<Self>, sandbox: &Arc<Sandbox>, id: String, name: String) -> ApiResult<()> {
        self.refuse_when_stopping()?;
        let can = self.can_freeze("a snapshot of a running sandbox");
        let mut record = None;
        let from = [SandboxState::Started, SandboxState::Stopped];
        let before = begin(sandbox, "made a snapshot of", &from, SandboxState::Snapshotting, |sandbox| {
            if sandbox.state == SandboxState::Started {
                can?;
            }
            let time = now();
            record = Some(snapshot::Record {
                id,
                name,
                state: SnapshotState::Snapshotting,
                runtime: sandbox.runtime,
                user: sandbox.user.clone(),
                cpu: sandbox.cpu,
                memory: sandbox.memory,
                disk: sandbox.disk,
                size: 0,
                source_sandbox: Some(sandbox.id.clone()),
                created_at: time,
                updated_at: time,
                last_used_at: None,
                image: sandbox.image.clone(),
                image_name: None,
                build: None,
                entrypoint: None,
                error_reason: None,
            });
            Ok(())
        })?;
        let added = record.map(|record| self.snapshots.add(record));
        let snapshot = match added {
            Some(Ok(snapshot)) => snapshot,
            failed => {
                self.back_to(sandbox, before);
                return Err(failed.and_then(Result::err).unwrap_or_else(|| sandbox_deleted(&sandbox.id)));
            }
        };
        self.manifests.mark::<snapshot::Record>(&snapshot.id, Mark::Creating);
        let (app, sandbox) = (Arc::clone(self), Arc::clone(sandbox));
        finish(async move {
            let _operation = sandbox.operation.lock().await;
            let copy = || app.runtime.snapshot(&sandbox.id, &snapshot.dir);
            let copied = if before == SandboxState::Started {
                app.frozen(&sandbox, SandboxState::Snapshotting, copy).await
            } else if sandbox.record().desired == Desired::Destroyed {
                Err(sandbox_deleted(&sandbox.id))
            } else {
                let copied = copy().await;
                app.back_to(&sandbox, before);
                copied.map_err(Into::into)
            };
            let result = match copied {
                Ok(()) => app.keep_snapshot(&snapshot).await,
                Err(error) => Err(error),
            };
            if result.is_err() {
                app.snapshots.remove(&snapshot.id);
                if app.runtime.delete_folder(&snapshot.dir).await.is_ok() {
                    app.manifests.unmark::<snapshot::Record>(&snapshot.id, Mark::Creating);
                }
            }
            result
        })
        .await
    }

    /// Stores a snapshot whose files are complete.
    async fn keep_snapshot(&self, snapshot: &Snapshot) -> ApiResult<()> {
        let size = self.runtime.size_of(&snapshot.dir).await?;
        let pending: Pending = {
            let mut record = snapshot.record();
            record.state = SnapshotState::Active;
            record.size = size;
            record.updated_at = now();
            self.store.put(&*record)
        };
        Ok(pending.stored().await?)
    }

    /// Copies the files of a running sandbox while it stands still, for who holds its operation lock.
    async fn frozen<F>(
        self: &Arc<Self>,
        sandbox: &Arc<Sandbox>,
        state: SandboxState,
        copy: impl FnOnce() -> F,
    ) -> ApiResult<()>
    where
        F: Future<Output = Result<(), RuntimeError>>,
    {
        if sandbox.record().state != state {
            return Err(sandbox_deleted(&sandbox.id));
        }
        let copied = match self.runtime.freeze(&sandbox.id, true).await {
            Ok(()) => copy().await,
            Err(error) => Err(error),
        };
        match self.runtime.freeze(&sandbox.id, false).await {
            Ok(()) | Err(RuntimeError::NotFound { .. }) => self.back_to(sandbox, SandboxState::Started),
            Err(error) => {
                let reason = format!("could not be thawed: {error}");
                self.failed(sandbox, &reason, true);
            }
        }
        self.look_after(sandbox);
        copied.map_err(|error| unless_ended(error, sandbox))
    }

    /// Ends a change that leaves no trace in the store.
    fn back_to(&self, sandbox: &Sandbox, state: SandboxState) {
        let mut record = sandbox.record();
        if record.desired != Desired::Destroyed {
            record.state = state;
        }
        drop(record);
        self.timers.notify_one();
    }
}
