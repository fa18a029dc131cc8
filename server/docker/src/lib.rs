//! Sandboxes made by a Docker engine.
//!
//! A sandbox is a container whose first process is the agent ([`daytona_toolbox::container`]). What the server has to
//! know of it lies in `{data dir}/sandboxes/{id}`, its files in the engine: in the container, and in images for
//! snapshots, forks and archives.

mod build;
mod container;
mod engine;
mod image;
mod lease;
mod own;
mod plain;
mod run;
mod state;
mod stored;
mod volume;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bollard::errors::Error;
use daytona_runtime::{Exited, Probe, RuntimeError};
use secrecy::SecretString;
use tokio::sync::{mpsc, watch};

pub use build::{Build, Image};
pub use own::Leftover;

/// What the operator has to say about the engine's sandboxes.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The image of sandboxes that are made without one.
    pub image: Option<String>,
    /// The engine's network that they are connected to; `bridge` if none is given.
    pub network: Option<String>,
    /// How the engine is let in by registries, by their host names; `docker.io` is Docker Hub's.
    pub logins: HashMap<String, Login>,
}

/// A name at a registry, and its password.
#[derive(Clone, Debug)]
pub struct Login {
    /// Name.
    pub user: String,
    /// Password.
    pub password: SecretString,
}

/// Makes, runs and ends sandboxes; cheap to clone.
#[derive(Clone, Debug)]
pub struct Docker {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    engine: bollard::Docker,
    data_dir: PathBuf,
    /// Tells this data directory among those that use the engine.
    names: own::Names,
    settings: Settings,
    probe: Probe,
    sockets: lease::Sockets,
    live: Mutex<HashMap<String, Live>>,
    exits: mpsc::UnboundedSender<Exited>,
    /// Held while an image is made of another.
    deriving: tokio::sync::Mutex<()>,
}

/// A sandbox that was begun and is not gone yet.
#[derive(Clone, Debug)]
struct Live {
    container: Option<String>,
    /// The start succeeded; before, its end is the start's failure.
    ready: bool,
    stopping: bool,
    frozen: bool,
    /// Its end is the container's.
    lease: Option<Arc<tokio::net::UnixStream>>,
    /// Why it ended, once nothing of it runs any more.
    gone: watch::Sender<Option<String>>,
}

/// The label with the data directory's identifier.
const LABEL_DATA: &str = "daytona-native.data";
/// The label with the sandbox's id.
const LABEL_SANDBOX: &str = "daytona-native.sandbox";
/// The label of containers that are no sandbox's, and in which nothing runs.
const LABEL_PART: &str = "daytona-native.part";

impl Docker {
    /// Connects to the engine, ends what a killed predecessor has left running there and returns the runtime with the
    /// channel of sandboxes that end by themselves, or whose containers are removed. `identifier` is the data
    /// directory's: no other one has it, not even a copy.
    pub async fn start(
        settings: Settings,
        data_dir: &Path,
        identifier: &str,
    ) -> Result<(Self, mpsc::UnboundedReceiver<Exited>), RuntimeError> {
        let data_dir = std::fs::canonicalize(data_dir).map_err(io("open", data_dir))?;
        let engine = engine::connect().await?;
        let probe = engine::probe(&engine, &settings).await?;
        engine::place_agent(&data_dir)?;
        let (exits, exited) = mpsc::unbounded_channel();
        let inner = Inner {
            names: own::Names::new(identifier, &data_dir),
            sockets: lease::Sockets::new(&data_dir)?,
            engine,
            data_dir,
            settings,
            probe,
            live: Mutex::default(),
            exits,
            deriving: tokio::sync::Mutex::default(),
        };
        inner.end_leftovers().await?;
        inner.take_over_images().await?;
        let inner = Arc::new(inner);
        tokio::spawn(Inner::watch_removals(Arc::downgrade(&inner)));
        Ok((Self { inner }, exited))
    }

    /// What the engine is, and which limits hold.
    pub fn probe(&self) -> &Probe {
        &self.inner.probe
    }

    /// Where the server's part of a sandbox's state lies.
    pub fn sandbox_dir(&self, id: &str) -> PathBuf {
        self.inner.sandbox_dir(id)
    }

    /// Ids of the sandboxes that run.
    pub fn running(&self) -> Vec<String> {
        self.inner.live().keys().cloned().collect()
    }
}

impl Inner {
    fn live(&self) -> MutexGuard<'_, HashMap<String, Live>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sandbox_dir(&self, id: &str) -> PathBuf {
        self.data_dir.join("sandboxes").join(id)
    }

    /// A running sandbox and its container.
    fn get(&self, id: &str) -> Result<(Live, String), RuntimeError> {
        let live = self.live().get(id).cloned();
        let found = live.and_then(|live| Some((live.clone(), live.container?)));
        found.ok_or_else(|| RuntimeError::NotFound { id: id.to_owned() })
    }
}

fn check_id(id: &str) -> Result<(), RuntimeError> {
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if (1..=64).contains(&id.len()) && !id.starts_with('.') && id.chars().all(fine) {
        return Ok(());
    }
    Err(RuntimeError::Invalid(format!("{id:?} is not a sandbox id")))
}

/// A failed file operation.
fn io(what: &str, path: &Path) -> impl FnOnce(std::io::Error) -> RuntimeError {
    let what = format!("{what} {}", path.display());
    move |source| RuntimeError::Io { what, source }
}

/// What the engine could not do.
fn failed(what: impl Into<String>) -> impl FnOnce(Error) -> RuntimeError {
    let what = format!("Docker could not {}", what.into());
    move |error| {
        if is_silent(&error) {
            return RuntimeError::Unavailable(format!(
                "{what}: the engine does not answer ({error}); start it (systemctl start docker) and try again"
            ));
        }
        let source = std::io::Error::other(match error {
            Error::DockerResponseServerError { message, .. } => message.trim().to_owned(),
            Error::DockerStreamError { error } => error.trim().to_owned(),
            error => error.to_string(),
        });
        RuntimeError::Io { what, source }
    }
}

/// Whether that is no answer of the engine's, but none.
fn is_silent(error: &Error) -> bool {
    matches!(
        error,
        Error::RequestTimeoutError
            | Error::IOError { .. }
            | Error::HyperResponseError { .. }
            | Error::HyperLegacyError { .. }
            | Error::SocketNotFoundError(_)
    )
}

/// Whether the engine has no such thing.
fn is_missing(error: &Error) -> bool {
    status(error) == Some(404)
}

/// Whether it is so already.
fn is_done(error: &Error) -> bool {
    status(error) == Some(304)
}

fn status(error: &Error) -> Option<u16> {
    match error {
        Error::DockerResponseServerError { status_code, .. } => Some(*status_code),
        _ => None,
    }
}
