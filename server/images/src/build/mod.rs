//! Builds.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::{Error, Image, Plan, PullOptions, Result, Store};

/// Where the log of a build goes.
pub trait LogSink: Send + Sync {
    /// More of the log: lines of the build itself end with a newline, what commands write comes as it came. Called from
    /// several threads; a slow one slows the build.
    fn write(&self, text: &[u8]);
}

impl<F: Fn(&[u8]) + Send + Sync> LogSink for F {
    fn write(&self, text: &[u8]) {
        self(text);
    }
}

/// What a RUN step may reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Network {
    /// What sandboxes reach.
    Default,
    /// Nothing: `RUN --network=none`.
    None,
}

/// Something else than layers that a RUN step sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Absolute path in the step, to be made where it is missing.
    pub target: String,
    /// What is there.
    pub source: MountSource,
    /// Writing is refused.
    pub read_only: bool,
}

/// What a [`Mount`] shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MountSource {
    /// A folder or file of the host, to be bound.
    Host(PathBuf),
    /// Memory, of at most so many bytes.
    Tmpfs {
        /// Bytes, if bounded.
        size: Option<u64>,
    },
}

/// One command to run.
#[derive(Debug)]
pub struct RunStep<'a> {
    /// Folders of the layers, the uppermost first. None for a stage `FROM scratch`.
    pub lower: &'a [PathBuf],
    /// Takes what the command changes, in overlay's own form. Empty, with the attributes of the root, and on the file
    /// system of the layers.
    pub upper: &'a Path,
    /// Empty folder beside [`upper`](Self::upper), for overlay's `workdir`.
    pub work: &'a Path,
    /// Program and arguments. The program is looked up in the step's `PATH`.
    pub argv: &'a [String],
    /// All variables of the step: those of the image, then build arguments.
    pub env: &'a [(String, String)],
    /// `user[:group]`, names of the image or numbers; empty is root.
    pub user: &'a str,
    /// Absolute; exists.
    pub workdir: &'a str,
    /// To be mounted in order.
    pub mounts: &'a [Mount],
    /// What it may reach.
    pub network: Network,
}

/// Runs the commands of a build. Dropping a future of it ends its command with all processes before the drop returns, or
/// soon after: the folders are removed then.
#[async_trait::async_trait]
pub trait Runner: Send + Sync {
    /// Runs a command to its end, with stdout and stderr going to the log as they come, and answers its exit code (128
    /// and the signal where one ended it). When it returns nothing is mounted any more, and `upper` is the layer.
    ///
    /// # Errors
    /// Any, where the command could not be run: the build fails with it. [`Error::Step`] without exit code fits most.
    async fn run(&self, step: RunStep<'_>, log: &dyn LogSink) -> Result<i32>;
}

/// How to build.
#[derive(Clone)]
pub struct BuildOptions {
    /// Run every step, also those whose result is known.
    pub no_cache: bool,
    /// Values for `ARG`.
    pub args: BTreeMap<String, String>,
    /// The stage to build, by name or number; the last by default.
    pub target: Option<String>,
    /// For images named by `FROM` and `COPY --from`.
    pub pull: PullOptions,
    /// Which addresses `ADD` of a URL may connect to. The default is the internet without loopback, link-local,
    /// private and unspecified addresses: what is fetched is fetched by this process, in the host's network.
    pub allow_address: Arc<dyn Fn(IpAddr) -> bool + Send + Sync>,
}

impl std::fmt::Debug for BuildOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BuildOptions")
            .field("no_cache", &self.no_cache)
            .field("target", &self.target)
            .finish_non_exhaustive()
    }
}

impl Default for BuildOptions {
    fn default() -> Self {
        Self {
            no_cache: false,
            args: BTreeMap::new(),
            target: None,
            pull: PullOptions::default(),
            allow_address: Arc::new(|address: IpAddr| !address.is_loopback()),
        }
    }
}

/// Builds an image. `contexts` are tars whose entries are the paths that COPY and ADD name; later ones add to earlier
/// ones. Steps whose result the store has are not run again, and equal steps of builds at once are run once. Dropping
/// the future ends the build; it leaves finished steps and nothing half done.
///
/// The image has no name yet: [`Store::tag`] gives it one, and until then the value returned keeps it.
///
/// # Errors
/// [`Error::Step`] for a step that failed, and all that [`Store::pull`] answers.
pub async fn build(
    store: &Store,
    plan: &Plan,
    contexts: &[PathBuf],
    runner: &dyn Runner,
    log: &dyn LogSink,
    options: &BuildOptions,
) -> Result<Image> {
    let _ = (store, plan, contexts, runner, log, options);
    std::future::ready(()).await;
    Err(Error::Cancelled)
}
