//! What makes the sandboxes: this machine's own runtime, or a Docker engine.

use std::path::{Path, PathBuf};

use daytona_docker::{Docker, Settings};
use daytona_runtime::{
    Exited, Launcher, Loss, Probe, Runtime, RuntimeChoice, RuntimeError, RuntimeKind, SandboxSpec, Started, Stats,
};
use tokio::sync::mpsc;

use crate::image::Root;

/// Makes, runs and ends sandboxes; cheap to clone. Its methods are those of [`Runtime`].
#[derive(Clone, Debug)]
pub(crate) enum Backend {
    Own(Runtime),
    Docker(Docker),
}

/// Methods of both, with the same parameters.
macro_rules! both {
    ($($(#[$meta:meta])* async fn $name:ident(&self $(, $argument:ident: $type:ty)*) -> $result:ty;)*) => {
        impl Backend {
            $(
                $(#[$meta])*
                pub(crate) async fn $name(&self $(, $argument: $type)*) -> $result {
                    match self {
                        Self::Own(runtime) => runtime.$name($($argument),*).await,
                        Self::Docker(docker) => docker.$name($($argument),*).await,
                    }
                }
            )*
        }
    };
}

both! {
    async fn create(&self, spec: SandboxSpec) -> Result<Started, RuntimeError>;
    async fn stop(&self, id: &str, force: bool) -> Result<(), RuntimeError>;
    async fn freeze(&self, id: &str, frozen: bool) -> Result<(), RuntimeError>;
    async fn destroy(&self, id: &str) -> Result<(), RuntimeError>;
    async fn resize(&self, id: &str, cpu: Option<f64>, memory_gib: Option<f64>) -> Result<(), RuntimeError>;
    async fn usage(&self, id: &str, disk: bool) -> Result<Stats, RuntimeError>;
    async fn shutdown(&self) -> ();
    async fn snapshot(&self, id: &str, dest: &Path) -> Result<(), RuntimeError>;
    async fn adopt(&self, from: &Path, id: &str) -> Result<(), RuntimeError>;
    async fn copy(&self, id: &str, new: &str) -> Result<(), RuntimeError>;
    async fn pack(&self, id: &str) -> Result<(), RuntimeError>;
    async fn unpack(&self, id: &str) -> Result<(), RuntimeError>;
    async fn delete_archive(&self, id: &str) -> Result<(), RuntimeError>;
    async fn delete_stored(&self, id: &str) -> Result<(), RuntimeError>;
    async fn delete_folder(&self, dir: &Path) -> Result<(), RuntimeError>;
    async fn size_of(&self, dir: &Path) -> Result<u64, RuntimeError>;
    async fn create_volume(&self, id: &str) -> Result<(), RuntimeError>;
    async fn delete_volume(&self, id: &str) -> Result<(), RuntimeError>;
}

impl Backend {
    /// Tries what was chosen; the launcher is not needed for containers. `before` isolates and was used in this data
    /// directory.
    pub(crate) async fn start(
        launcher: Launcher,
        choice: RuntimeChoice,
        docker: Settings,
        data_dir: &Path,
        before: Option<RuntimeKind>,
        identifier: &str,
    ) -> Result<(Self, mpsc::UnboundedReceiver<Exited>), RuntimeError> {
        if choice == RuntimeChoice::Docker {
            drop(launcher);
            let (docker, exits) = Docker::start(docker, data_dir, identifier).await?;
            return Ok((Self::Docker(docker), exits));
        }
        let (runtime, exits) = Runtime::start(launcher, choice, data_dir, before).await?;
        Ok((Self::Own(runtime), exits))
    }

    /// Gives a running sandbox another host name. A container keeps the one that it was made with.
    pub(crate) async fn rename(&self, id: &str, name: &str) -> Result<(), RuntimeError> {
        match self {
            Self::Own(runtime) => runtime.rename(id, name).await,
            Self::Docker(_) => Ok(()),
        }
    }

    /// What a sandbox that does not run has lost, if somebody else has removed what it had stored.
    pub(crate) async fn loss(&self, id: &str) -> Result<Option<Loss>, RuntimeError> {
        match self {
            Self::Own(_) => Ok(None),
            Self::Docker(docker) => docker.loss(id).await,
        }
    }

    /// Has a sandbox begin again with what its [`Loss`] has named.
    pub(crate) async fn begin_again(&self, id: &str) -> Result<(), RuntimeError> {
        match self {
            Self::Own(_) => Ok(()),
            Self::Docker(docker) => docker.begin_again(id).await,
        }
    }

    /// Notes that nothing is made of an image any more, as far as what was just deleted knows.
    pub(crate) async fn let_go_of(&self, image: Option<&Root>) {
        if let (Self::Docker(docker), Some(name)) = (self, image.and_then(|root| root.docker.as_ref())) {
            docker.let_go_of(name).await;
        }
    }

    pub(crate) fn kind(&self) -> RuntimeKind {
        self.probe().kind
    }

    pub(crate) fn probe(&self) -> &Probe {
        match self {
            Self::Own(runtime) => runtime.probe(),
            Self::Docker(docker) => docker.probe(),
        }
    }

    pub(crate) fn running(&self) -> Vec<String> {
        match self {
            Self::Own(runtime) => runtime.running(),
            Self::Docker(docker) => docker.running(),
        }
    }

    pub(crate) fn sandbox_dir(&self, id: &str) -> PathBuf {
        match self {
            Self::Own(runtime) => runtime.sandbox_dir(id),
            Self::Docker(docker) => docker.sandbox_dir(id),
        }
    }

    pub(crate) fn archive_file(&self, id: &str) -> PathBuf {
        match self {
            Self::Own(runtime) => runtime.archive_file(id),
            Self::Docker(docker) => docker.archive_file(id),
        }
    }

    pub(crate) fn archives(&self) -> PathBuf {
        match self {
            Self::Own(runtime) => runtime.archives(),
            Self::Docker(docker) => docker.archives(),
        }
    }
}
