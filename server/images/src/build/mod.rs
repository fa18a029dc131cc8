//! Builds.

mod copy;
mod fetch;
mod ignore;
mod items;
mod run;
mod stage;
mod users;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use crate::dockerfile::{Instruction, RunMountKind, Stage, words};
use crate::image::{Config, Layer};
use crate::pull::{blocking, this_platform};
use crate::store::Lease;
use crate::view::View;
use crate::{Error, Image, ImageRef, Plan, PullOptions, Result, Store, digest};

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
            allow_address: Arc::new(fetch::public),
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
/// [`Error::Step`] for a step that failed, [`Error::Dockerfile`] and [`Error::Unsupported`] for what only shows once
/// variables have values, and all that [`Store::pull`] answers.
pub async fn build(
    store: &Store,
    plan: &Plan,
    contexts: &[PathBuf],
    runner: &dyn Runner,
    log: &dyn LogSink,
    options: &BuildOptions,
) -> Result<Image> {
    let mut build = Build {
        store,
        plan,
        contexts,
        runner,
        log,
        options,
        globals: HashMap::new(),
        used: BTreeSet::new(),
        context: None,
        done: HashMap::new(),
        step: 0,
        steps: 0,
    };
    build.globals()?;
    let target = build.target()?;
    let needed = build.needed(target)?;
    build.steps = plan.args.len() + needed.iter().map(|at| 1 + plan.stages[*at].steps.len()).sum::<usize>();
    for (_, name, _) in &plan.args {
        build.announce(&format!("ARG {name}"));
    }
    let mut finished = Err(Error::Cancelled);
    for at in needed {
        finished = stage::run(&mut build, at).await.inspect(|built| {
            build.done.insert(at, built.clone());
        });
        if finished.is_err() {
            break;
        }
    }
    if finished.is_err() {
        // Steps that were done are of use to the next build also when a later one fails.
        let inner = Arc::clone(&store.inner);
        let _ = blocking(move || inner.flush(&inner.volatile())).await;
    }
    let Built { config, layers, lease, .. } = finished?;
    for name in options.args.keys().filter(|name| !build.used.contains(*name) && !run::is_proxy(name)) {
        build.say(&format!("[Warning] One or more build-args [{name}] were not consumed"));
    }
    let ids: Vec<_> = layers.iter().map(|layer| layer.diff_id.as_str()).collect();
    let digest = digest::of(&serde_json::to_vec(&(&config, ids)).unwrap_or_default());
    let inner = Arc::clone(&store.inner);
    let image = match inner.known_image(&digest) {
        Some(image) => image,
        None => blocking(move || inner.put_image(&digest, &config, &layers, lease)).await?,
    };
    build.say(&format!("Successfully built {}", &digest::hex(&image.digest)[..12]));
    Ok(image)
}

/// A stage that is done.
#[derive(Clone, Debug, Default)]
struct Built {
    config: Config,
    layers: Vec<Layer>,
    /// Values of ARG, which stages built upon it see and the image does not keep.
    args: BTreeMap<String, String>,
    lease: Lease,
}

impl Built {
    fn view(&self, store: &Store) -> View {
        let layers = self.layers.iter().rev().map(|layer| layer.path.clone()).collect();
        View::new(layers, store.inner.options.user_xattr)
    }
}

struct Build<'a> {
    store: &'a Store,
    plan: &'a Plan,
    contexts: &'a [PathBuf],
    runner: &'a dyn Runner,
    log: &'a dyn LogSink,
    options: &'a BuildOptions,
    /// Arguments from before the first FROM.
    globals: HashMap<String, String>,
    /// Build arguments that an ARG has taken.
    used: BTreeSet<String>,
    /// Unpacked once it is needed.
    context: Option<Arc<copy::Context>>,
    done: HashMap<usize, Built>,
    step: usize,
    steps: usize,
}

impl Build<'_> {
    fn say(&self, line: &str) {
        self.log.write(format!("{line}\n").as_bytes());
    }

    /// The line of the log that begins a step.
    fn announce(&mut self, text: &str) {
        self.step += 1;
        self.say(&format!("Step {}/{} : {text}", self.step, self.steps));
    }

    fn globals(&mut self) -> Result<()> {
        for (line, name, default) in &self.plan.args {
            let value = match (self.options.args.get(name), default) {
                (Some(value), _) => Some(value.clone()),
                (None, Some(default)) => Some(self.global(default, *line)?),
                (None, None) => platform_arg(name),
            };
            if self.options.args.contains_key(name) {
                self.used.insert(name.clone());
            }
            self.globals.extend(value.map(|value| (name.clone(), value)));
        }
        Ok(())
    }

    /// A text outside stages, with its variables replaced.
    fn global(&self, text: &str, line: usize) -> Result<String> {
        let value = |name: &str| self.globals.get(name).cloned().or_else(|| platform_arg(name));
        expand(text, self.plan.escape, line, &value)
    }

    fn target(&self) -> Result<usize> {
        let count = self.plan.stages.len();
        match &self.options.target {
            None => Ok(count - 1),
            Some(name) => {
                self.plan.stage(name, count).ok_or_else(|| Error::NotFound(format!("there is no stage {name}")))
            }
        }
    }

    /// The stages that one is made from, and itself, in order. What they cannot be made from is refused.
    fn needed(&self, target: usize) -> Result<BTreeSet<usize>> {
        let mut needed = BTreeSet::from([target]);
        let mut todo = vec![target];
        while let Some(at) = todo.pop() {
            let stage: &Stage = &self.plan.stages[at];
            let mut names = vec![(stage.base.clone(), stage.line)];
            for step in &stage.steps {
                match &step.instruction {
                    Instruction::Copy(copy) => names.extend(copy.from.iter().map(|from| (from.clone(), step.line))),
                    Instruction::Run(run) => names.extend(run.mounts.iter().filter_map(|mount| match &mount.kind {
                        RunMountKind::Bind { from: Some(from), .. } => Some((from.clone(), step.line)),
                        _ => None,
                    })),
                    _ => {}
                }
            }
            for (name, line) in names {
                let name = self.global(&name, line)?;
                match self.plan.stage(&name, at) {
                    Some(stage) if needed.insert(stage) => todo.push(stage),
                    Some(_) => {}
                    None if name.is_empty() => {
                        return Err(Error::Dockerfile { line, why: "the name of the image is empty".to_owned() });
                    }
                    None if name == "scratch" => {}
                    None => drop(ImageRef::parse(&name)?),
                }
            }
            if let Some(platform) = &stage.platform {
                let platform = self.global(platform, stage.line)?;
                if !runs_here(&platform) {
                    let what = format!("building for {platform} on {}", this_platform());
                    return Err(Error::Unsupported { what, line: Some(stage.line) });
                }
            }
        }
        Ok(needed)
    }

    /// What FROM or `--from` names: an earlier stage, nothing, or an image of a registry.
    async fn base(&self, name: &str, at: usize) -> Result<Built> {
        if let Some(built) = self.plan.stage(name, at).and_then(|stage| self.done.get(&stage)) {
            return Ok(built.clone());
        }
        if name == "scratch" {
            return Ok(Built::default());
        }
        let image = ImageRef::parse(name)?;
        let progress = |event| run::pulled(self.log, &image, event);
        let pulled = self.store.pull(&image, &self.options.pull, &progress).await?;
        tracing::debug!(%image, digest = %pulled.digest, "base image");
        Ok(Built { config: pulled.config, layers: pulled.layers, args: BTreeMap::new(), lease: pulled.lease })
    }
}

fn runs_here(platform: &str) -> bool {
    let here = this_platform();
    platform == here || platform.strip_prefix(&here).is_some_and(|rest| rest.starts_with('/')) || platform == "linux"
}

/// Arguments that every build has.
fn platform_arg(name: &str) -> Option<String> {
    let here = this_platform();
    let (os, architecture) = here.split_once('/')?;
    Some(match name {
        "TARGETPLATFORM" | "BUILDPLATFORM" => here,
        "TARGETOS" | "BUILDOS" => os.to_owned(),
        "TARGETARCH" | "BUILDARCH" => architecture.to_owned(),
        "TARGETVARIANT" | "BUILDVARIANT" => String::new(),
        _ => return None,
    })
}

fn expand(text: &str, escape: char, line: usize, value: &dyn Fn(&str) -> Option<String>) -> Result<String> {
    words::expand(text, escape, value).map_err(|error| match error {
        words::WordError::Bad(why) => Error::Dockerfile { line, why },
        words::WordError::Unsupported(what) => Error::Unsupported { what, line: Some(line) },
    })
}

/// A key of the cache of steps.
fn key(parts: impl FnOnce(&mut Sha256)) -> String {
    let mut hash = Sha256::new();
    parts(&mut hash);
    digest::text(hash)
}

/// Feeds a text so that no two lists of texts are fed alike.
fn field(hash: &mut Sha256, text: &str) {
    hash.update((text.len() as u64).to_le_bytes());
    hash.update(text);
}
