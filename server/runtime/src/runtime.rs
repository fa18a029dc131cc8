//! The runtime as the server sees it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::mpsc;

use crate::{
    Exited, Launcher, Probe, RuntimeChoice, RuntimeError, RuntimeKind, SandboxSpec, Started, Stats,
};

/// Makes, runs and ends sandboxes; cheap to clone.
#[derive(Clone, Debug)]
pub struct Runtime {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    probe: Probe,
    data_dir: PathBuf,
}

impl Runtime {
    /// Tries what this machine allows, cleans up after a killed predecessor and returns the runtime
    /// with the channel of sandboxes that end by themselves.
    ///
    /// Call it inside a tokio runtime. `data_dir` has to exist.
    pub async fn start(
        launcher: Launcher,
        choice: RuntimeChoice,
        data_dir: &Path,
    ) -> Result<(Self, mpsc::UnboundedReceiver<Exited>), RuntimeError> {
        drop((launcher, choice, data_dir));
        Err(not_yet("start"))
    }

    /// The runtime in use.
    pub fn kind(&self) -> RuntimeKind {
        self.inner.probe.kind
    }

    /// What was chosen, why, and which limits hold.
    pub fn probe(&self) -> &Probe {
        &self.inner.probe
    }

    /// Where a sandbox's stored state lies.
    pub fn sandbox_dir(&self, id: &str) -> PathBuf {
        self.inner.data_dir.join("sandboxes").join(id)
    }

    /// Starts a sandbox, for the first time or again on what an earlier run stored.
    ///
    /// The agent's socket accepts connections when this returns. Dropping the future ends what was
    /// begun. A sandbox that runs already is [`RuntimeError::Invalid`].
    pub async fn create(&self, _spec: SandboxSpec) -> Result<Started, RuntimeError> {
        Err(not_yet("create"))
    }

    /// Ends everything that runs in a sandbox and returns when all of it is gone.
    ///
    /// Without `force` its processes get SIGTERM and up to 2 s. Its stored state stays. A sandbox
    /// that does not run is fine; no [`Exited`] is sent for a stopped one.
    pub async fn stop(&self, _id: &str, _force: bool) -> Result<(), RuntimeError> {
        Err(not_yet("stop"))
    }

    /// Freezes or thaws everything that runs in a sandbox.
    pub async fn freeze(&self, _id: &str, _frozen: bool) -> Result<(), RuntimeError> {
        Err(not_yet("freeze"))
    }

    /// Copies the stored state of a stopped or frozen sandbox to `dest`, a directory that does not
    /// exist yet.
    pub async fn snapshot(&self, _id: &str, _dest: &Path) -> Result<(), RuntimeError> {
        Err(not_yet("snapshot"))
    }

    /// Ends a sandbox and deletes its stored state. One that does not exist is fine.
    pub async fn destroy(&self, _id: &str) -> Result<(), RuntimeError> {
        Err(not_yet("destroy"))
    }

    /// What a running sandbox uses.
    pub async fn stats(&self, _id: &str) -> Result<Stats, RuntimeError> {
        Err(not_yet("stats"))
    }

    /// Ids of the sandboxes that run.
    pub fn running(&self) -> Vec<String> {
        Vec::new()
    }

    /// Stops every sandbox and the launcher.
    pub async fn shutdown(&self) {}
}

fn not_yet(op: &'static str) -> RuntimeError {
    RuntimeError::Unsupported {
        op,
        reason: "being built".to_owned(),
    }
}
