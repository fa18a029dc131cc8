//! The runtime as the server sees it.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};

use crate::cgroup::{Cgroups, Group};
use crate::hierarchy::Owner;
use crate::link::Link;
use crate::outcome::Outcome;
use crate::probe::{self, Mode};
use crate::protocol::{Launch, Plan, Reply, Report, Request};
use crate::sockets::Sockets;
use crate::{
    Exited, Launcher, Probe, RuntimeChoice, RuntimeError, RuntimeKind, SandboxSpec, Started, Stats, Wire, lock, table,
};

/// A start that takes longer has failed.
const START: Duration = Duration::from_secs(30);
/// A gentle stop that takes longer is made a forced one.
const GENTLE: Duration = Duration::from_secs(4);
/// How long an end may take that something else has noticed first.
const ENDING: Duration = Duration::from_secs(2);
/// A forced stop that takes longer has failed.
const FORCED: Duration = Duration::from_secs(20);

/// How many launchers may end under a start before it has failed.
const LAUNCHERS: u32 = 3;
/// How long what a killed launcher takes along may take to end.
const ENDING_ALONG: Duration = Duration::from_secs(5);
/// The pauses between two attempts to start a launcher.
const LAUNCHER_PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// Stands for a trial where the id of a sandbox is expected.
pub(crate) const TRIAL: &str = ".trial";

/// How the names of a build's steps begin; ids of sandboxes do not.
pub(crate) const STEP: &str = "build-";

/// Makes, runs and ends sandboxes; cheap to clone.
#[derive(Clone, Debug)]
pub struct Runtime {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) link: Link,
    pub(crate) data_dir: PathBuf,
    /// Named after the launcher.
    cgroups: Mutex<Arc<Cgroups>>,
    sockets: Sockets,
    pub(crate) live: Mutex<HashMap<String, Live>>,
    next: AtomicU64,
    exits: mpsc::UnboundedSender<Exited>,
    /// Set once the trials are over.
    outcome: std::sync::OnceLock<(Probe, Mode)>,
}

/// A sandbox that was begun and is not gone yet.
#[expect(clippy::struct_excessive_bools, reason = "each is so whatever the others are")]
#[derive(Clone, Debug)]
pub(crate) struct Live {
    pub(crate) seq: u64,
    pid: Option<i32>,
    group: Option<Group>,
    /// The start succeeded; before, its end is the start's failure.
    ready: bool,
    pub(crate) stopping: bool,
    pub(crate) frozen: bool,
    /// Somebody removes what is left of it.
    cleaning: bool,
    /// The exit code of its first process, once that has ended.
    pub(crate) code: watch::Sender<Option<i32>>,
    /// Why it ended, once everything of it is gone.
    pub(crate) gone: watch::Sender<Option<String>>,
}

impl Runtime {
    /// Tries what this machine allows, cleans up after a killed predecessor and returns the runtime
    /// with the channel of sandboxes that end by themselves.
    ///
    /// Call it inside a tokio runtime. `data_dir` has to exist and belong to this server alone. `before` is the runtime
    /// that isolates and was used there, if any was: [`RuntimeChoice::Auto`] then takes none without.
    pub async fn start(
        launcher: Launcher,
        choice: RuntimeChoice,
        data_dir: &Path,
        before: Option<RuntimeKind>,
    ) -> Result<(Self, mpsc::UnboundedReceiver<Exited>), RuntimeError> {
        let data_dir = fs::canonicalize(data_dir).map_err(|error| RuntimeError::io("open", data_dir, error))?;
        let owner =
            Owner::new(&data_dir, launcher.pid()).map_err(|error| RuntimeError::io("look at", &data_dir, error))?;
        let (link, replies) =
            Link::new(launcher).map_err(|error| RuntimeError::io("talk to the launcher of", &data_dir, error))?;
        let (cgroups, sockets) = blocking({
            let data_dir = data_dir.clone();
            move || {
                let cgroups = Cgroups::probe(&data_dir, &owner);
                let sockets = Sockets::new(&data_dir).inspect_err(|_| cgroups.remove())?;
                Ok((cgroups, sockets))
            }
        })
        .await?;
        link.send(&Request::Groups { parents: cgroups.parents().cloned().collect() }, Vec::new())
            .inspect_err(|_| cgroups.remove())?;
        let (exits, exited) = mpsc::unbounded_channel();
        let inner = Arc::new(Inner {
            link,
            data_dir,
            cgroups: Mutex::new(Arc::new(cgroups)),
            sockets,
            live: Mutex::default(),
            next: AtomicU64::new(1),
            exits,
            outcome: std::sync::OnceLock::new(),
        });
        tokio::spawn(follow(Arc::downgrade(&inner), replies));
        let outcome = probe::choose(&inner, choice, before).await.inspect_err(|_| inner.cgroups().remove())?;
        let _ = inner.outcome.set(outcome);
        Ok((Self { inner }, exited))
    }

    /// The runtime in use.
    pub fn kind(&self) -> RuntimeKind {
        self.probe().kind
    }

    /// What was chosen, why, and which limits hold.
    pub fn probe(&self) -> &Probe {
        &self.inner.outcome().0
    }

    /// Where a sandbox's stored state lies.
    pub fn sandbox_dir(&self, id: &str) -> PathBuf {
        self.inner.sandbox_dir(id)
    }

    /// Starts a sandbox, for the first time or again on what an earlier run stored.
    ///
    /// The agent's socket accepts connections when this returns. The start goes on when the future
    /// is dropped. A sandbox that runs already is [`RuntimeError::Invalid`].
    pub async fn create(&self, spec: SandboxSpec) -> Result<Started, RuntimeError> {
        let inner = Arc::clone(&self.inner);
        joined(tokio::spawn(async move { inner.create(spec).await }).await)
    }

    /// Ends everything that runs in a sandbox and returns when all of it is gone.
    ///
    /// Without `force` its processes get SIGTERM and up to 2 s. Its stored state stays. A sandbox
    /// that does not run is fine; no [`Exited`] is sent for a stopped one.
    pub async fn stop(&self, id: &str, force: bool) -> Result<(), RuntimeError> {
        self.inner.stop(id, force).await
    }

    /// Freezes or thaws everything that runs in a sandbox; [`RuntimeError::NotFound`] for one that has ended.
    pub async fn freeze(&self, id: &str, frozen: bool) -> Result<(), RuntimeError> {
        let live = self.inner.get(id)?;
        let Some(group) = live.group else {
            return Err(RuntimeError::Unsupported {
                op: "freeze",
                reason: "no cgroup freezer can be used here; stop the sandbox instead".to_owned(),
            });
        };
        let mut gone = live.gone.subscribe();
        if let Err(error) = blocking(move || group.freeze(frozen)).await {
            // One that is just ending has no group any more.
            let ended = tokio::time::timeout(ENDING, gone.wait_for(Option::is_some)).await;
            return Err(if ended.is_ok() { RuntimeError::NotFound { id: id.to_owned() } } else { error });
        }
        if let Some(live) = lock(&self.inner.live).get_mut(id) {
            live.frozen = frozen;
        }
        Ok(())
    }

    /// Ends a sandbox and deletes its stored state and its archive. One that does not exist is fine.
    pub async fn destroy(&self, id: &str) -> Result<(), RuntimeError> {
        self.stop(id, true).await?;
        self.delete_stored(id).await?;
        self.delete_archive(id).await
    }

    /// Changes what a running sandbox may use: cores and GiB, each where it is given.
    pub async fn resize(&self, id: &str, cpu: Option<f64>, memory_gib: Option<f64>) -> Result<(), RuntimeError> {
        let group = self.inner.get(id)?.group.ok_or_else(|| RuntimeError::Unsupported {
            op: "resize",
            reason: "no cgroup limits this sandbox".to_owned(),
        })?;
        blocking(move || group.resize(cpu, memory_gib)).await
    }

    /// What a running sandbox uses.
    pub async fn stats(&self, id: &str) -> Result<Stats, RuntimeError> {
        self.usage(id, true).await
    }

    /// The same; adding up the bytes on disk takes a while where there are many files, and is done only with `disk`.
    pub async fn usage(&self, id: &str, disk: bool) -> Result<Stats, RuntimeError> {
        let live = self.inner.get(id)?;
        let dir = disk.then(|| self.inner.sandbox_dir(id));
        blocking(move || Ok(crate::stats::read(live.group.as_ref(), live.pid, dir.as_deref()))).await
    }

    pub(crate) fn volume_dir(&self, id: &str) -> Result<PathBuf, RuntimeError> {
        self.inner.volume_dir(id)
    }

    pub(crate) fn volume_owner(&self) -> Option<(u32, u32)> {
        self.inner.outcome().1.volume_owner()
    }

    /// Ids of the sandboxes that run.
    pub fn running(&self) -> Vec<String> {
        lock(&self.inner.live).keys().cloned().collect()
    }

    /// Stops every sandbox, gently, and the launcher.
    pub async fn shutdown(&self) {
        let stops: Vec<_> = self
            .running()
            .into_iter()
            .map(|id| {
                let inner = Arc::clone(&self.inner);
                tokio::spawn(async move { inner.stop(&id, false).await })
            })
            .collect();
        for stop in stops {
            if let Err(error) = joined(stop.await) {
                tracing::warn!("{error}");
            }
        }
        self.inner.link.close();
        let inner = Arc::clone(&self.inner);
        let _ = blocking(move || {
            inner.outcome().1.settle();
            inner.link.collect();
            inner.cgroups().remove();
            Ok(())
        })
        .await;
    }
}

impl Inner {
    pub(crate) fn outcome(&self) -> &(Probe, Mode) {
        self.outcome.get().expect("a runtime is handed out after its trials")
    }

    fn sandbox_dir(&self, id: &str) -> PathBuf {
        self.data_dir.join("sandboxes").join(id)
    }

    pub(crate) fn volume_dir(&self, id: &str) -> Result<PathBuf, RuntimeError> {
        check_id(id)?;
        Ok(self.data_dir.join("volumes").join(id))
    }

    pub(crate) fn cgroups(&self) -> Arc<Cgroups> {
        Arc::clone(&lock(&self.cgroups))
    }

    /// Returns when everything of a sandbox is gone.
    pub(crate) async fn ended(&self, id: &str) {
        let gone = lock(&self.live).get(id).map(|live| live.gone.subscribe());
        if let Some(mut gone) = gone {
            let _ = gone.wait_for(Option::is_some).await;
        }
    }

    pub(crate) fn get(&self, id: &str) -> Result<Live, RuntimeError> {
        let live = lock(&self.live);
        live.get(id).cloned().ok_or_else(|| RuntimeError::NotFound { id: id.to_owned() })
    }

    async fn create(self: Arc<Self>, spec: SandboxSpec) -> Result<Started, RuntimeError> {
        check_id(&spec.id)?;
        for (value, name) in [(spec.cpu, "cpu"), (spec.memory_gib, "memory"), (spec.disk_gib, "disk")] {
            if !value.is_finite() || value < 0.0 {
                return Err(RuntimeError::Invalid(format!("{name} of {value} is not possible")));
            }
        }
        let (probe, mode) = self.outcome();
        let (user, home) = mode.user(&spec)?;
        let limits = probe.limits.clone();
        let id = spec.id.clone();
        let mut launchers = LAUNCHERS;
        let Ran { socket, device, gone, .. } = loop {
            let (this, mode, spec) = (Arc::clone(&self), mode.clone(), spec.clone());
            let prepare = move |group: &Inner| mode.plan(&spec, &this.sandbox_dir(&spec.id), group);
            match self.run(&id, prepare).await {
                Err(RuntimeError::LauncherGone) if launchers > 1 => launchers -= 1,
                ran => break ran?,
            }
        };
        let wire = device.map(|device| Wire { device, gone });
        let home = home.unwrap_or_else(|| self.sandbox_dir(&id).join("home"));
        Ok(Started { socket, user, home, limits, wire })
    }

    /// Runs a sandbox, or a trial, until it is ready.
    pub(crate) async fn run(
        self: &Arc<Self>,
        id: &str,
        prepare: impl FnOnce(&Inner) -> Result<Prepared, RuntimeError> + Send + 'static,
    ) -> Result<Ran, RuntimeError> {
        let seq = self.next.fetch_add(1, Ordering::Relaxed);
        let (gone, mut ended) = watch::channel(None);
        let (code, coded) = watch::channel(None);
        let launchers = self.link.ended();
        loop {
            self.link.ready().await?;
            let mut live = lock(&self.live);
            if !self.link.is_up() {
                // All that began under a launcher goes with it.
                continue;
            }
            if live.contains_key(id) {
                return Err(RuntimeError::Invalid(format!("sandbox {id} runs already")));
            }
            let new = Live {
                seq,
                pid: None,
                group: None,
                ready: false,
                // Nobody is told of the ends of trials and steps.
                stopping: id == TRIAL || id.starts_with(STEP),
                frozen: false,
                cleaning: false,
                code,
                gone,
            };
            live.insert(id.to_owned(), new);
            break;
        }
        let begun = self.begin(id, seq, prepare).await;
        let (mut outcome, socket) = match begun {
            Ok(begun) => begun,
            Err(error) => {
                self.clean_up(id.to_owned(), seq, "not started".to_owned()).await;
                return Err(error);
            }
        };
        let in_time = tokio::time::timeout(START, outcome.read()).await.is_ok();
        let failure = match outcome.into_parts() {
            (Some(Report::Ready), device) => {
                if let Some(live) = lock(&self.live).get_mut(id).filter(|live| live.seq == seq) {
                    live.ready = true;
                }
                return Ok(Ran { socket, device, code: coded, gone: ended });
            }
            (Some(Report::Failed(failure)), _) => Some(failure.into_error()),
            // It died before it said anything.
            (None, _) => None,
        };
        if !in_time {
            let _ = self.link.send(&Request::Stop { seq, force: true }, Vec::new());
        }
        let reason = match ended.wait_for(Option::is_some).await {
            Ok(reason) => reason.clone().unwrap_or_default(),
            Err(_) => "gone".to_owned(),
        };
        if failure.is_none() && self.link.ended() != launchers {
            return Err(RuntimeError::LauncherGone);
        }
        Err(failure.unwrap_or_else(|| RuntimeError::Launch {
            step: "start the agent".to_owned(),
            source: if in_time { std::io::Error::other(reason) } else { std::io::ErrorKind::TimedOut.into() },
        }))
    }

    async fn begin(
        self: &Arc<Self>,
        id: &str,
        seq: u64,
        prepare: impl FnOnce(&Inner) -> Result<Prepared, RuntimeError> + Send + 'static,
    ) -> Result<(Outcome, PathBuf), RuntimeError> {
        let (outcome, report) = Outcome::pair()
            .map_err(|error| RuntimeError::Launch { step: "make a socket".to_owned(), source: error })?;
        let this = Arc::clone(self);
        let name = id.to_owned();
        let (prepared, listener, socket) = blocking(move || {
            let prepared = prepare(&this)?;
            if let Some(live) = lock(&this.live).get_mut(&name) {
                live.group.clone_from(&prepared.group);
            }
            let (listener, socket) = if prepared.agent.is_some() {
                let (listener, socket) = this.sockets.bind(&name)?;
                (OwnedFd::from(listener), socket)
            } else {
                // Nobody asks there for anything.
                let null = Path::new("/dev/null");
                let opened = File::open(null).map_err(|error| RuntimeError::io("open", null, error))?;
                (opened.into(), PathBuf::new())
            };
            Ok((prepared, listener, socket))
        })
        .await?;
        let launch = Request::Launch(Box::new(Launch {
            seq,
            plan: prepared.plan,
            agent: prepared.agent,
            command: prepared.command,
        }));
        // Under the lock: what a launcher that has ended leaves is removed, and must not be started after that.
        let live = lock(&self.live);
        if live.get(id).is_none_or(|live| live.seq != seq || live.cleaning) {
            return Err(RuntimeError::LauncherGone);
        }
        self.link.send(&launch, vec![listener, report, prepared.log.into()])?;
        drop(live);
        Ok((outcome, socket))
    }

    async fn stop(&self, id: &str, force: bool) -> Result<(), RuntimeError> {
        let (seq, group, frozen, mut gone) = {
            let mut live = lock(&self.live);
            let Some(live) = live.get_mut(id) else {
                return Ok(());
            };
            live.stopping = true;
            (live.seq, live.group.clone(), live.frozen, live.gone.subscribe())
        };
        let thaw = async || {
            if let (true, Some(group)) = (frozen, group.clone()) {
                let _ = blocking(move || group.freeze(false)).await;
            }
        };
        let mut force = force;
        loop {
            if !force {
                thaw().await;
            }
            match self.link.send(&Request::Stop { seq, force }, Vec::new()) {
                // The launcher took its sandboxes along.
                Ok(()) | Err(RuntimeError::LauncherGone) => {}
                Err(error) => return Err(error),
            }
            if force {
                // A v1 freezer keeps even killed processes.
                thaw().await;
            }
            let limit = if force { FORCED } else { GENTLE };
            match tokio::time::timeout(limit, gone.wait_for(Option::is_some)).await {
                Ok(_) => return Ok(()),
                Err(_) if force => {
                    return Err(RuntimeError::Io {
                        what: format!("stop sandbox {id}: its processes do not end"),
                        source: std::io::ErrorKind::TimedOut.into(),
                    });
                }
                Err(_) => force = true,
            }
        }
    }

    /// Removes what the kernel keeps of a sandbox and lets go of it.
    async fn clean_up(self: &Arc<Self>, id: String, seq: u64, reason: String) {
        let (group, begun) = {
            let mut live = lock(&self.live);
            let Some(live) = live.get_mut(&id).filter(|live| live.seq == seq) else {
                return;
            };
            let begun = std::mem::replace(&mut live.cleaning, true).then(|| live.gone.subscribe());
            (live.group.clone(), begun)
        };
        if let Some(mut begun) = begun {
            let _ = begun.wait_for(Option::is_some).await;
            return;
        }
        let this = Arc::clone(self);
        let name = id.clone();
        let more = blocking(move || {
            let mut more = String::new();
            if let Some(group) = group {
                if group.ran_out_of_memory() {
                    more.push_str("; its memory limit was reached");
                }
                group.remove();
            }
            this.sockets.remove(&name);
            if let Some(said) = last_words(&this.sandbox_dir(&name)) {
                more.push_str(": ");
                more.push_str(&said);
            }
            Ok(more)
        })
        .await;
        let Some(live) = lock(&self.live).remove(&id) else {
            return;
        };
        let reason = reason + &more.unwrap_or_default();
        live.gone.send_replace(Some(reason.clone()));
        if live.ready && !live.stopping {
            let _ = self.exits.send(Exited { id, reason });
        }
    }

    /// Lets go of all sandboxes after the end of their launcher, which they end with.
    async fn end_all(self: &Arc<Self>, reason: &str) {
        let left: Vec<(String, Live)> = lock(&self.live).iter().map(|(id, live)| (id.clone(), live.clone())).collect();
        let ending = left.iter().map(|(_, live)| live.clone()).collect::<Vec<_>>();
        let _ = blocking(move || {
            for dir in ending.iter().filter_map(|live| live.group.as_ref()).flat_map(Group::dirs) {
                // What was killed in a frozen one never ends by itself.
                crate::cgroup::thaw(&dir);
            }
            let end = Instant::now() + ENDING_ALONG;
            for pid in ending.iter().filter_map(|live| u32::try_from(live.pid?).ok()) {
                while table::started(pid).is_some() && Instant::now() < end {
                    std::thread::sleep(Duration::from_millis(2));
                }
            }
            Ok(())
        })
        .await;
        let tasks: Vec<_> = left
            .into_iter()
            .map(|(id, live)| {
                let (this, reason) = (Arc::clone(self), reason.to_owned());
                tokio::spawn(async move { this.clean_up(id, live.seq, reason).await })
            })
            .collect();
        for task in tasks {
            let _ = task.await;
        }
    }

    /// Starts another launcher; `None` once there is to be none.
    async fn launch_again(self: &Arc<Self>) -> Option<mpsc::UnboundedReceiver<Reply>> {
        let mut pause = LAUNCHER_PAUSES.0;
        while !self.link.is_closed() {
            let this = Arc::clone(self);
            let started = blocking(move || {
                let failed = |error| RuntimeError::Launch { step: "start a launcher".to_owned(), source: error };
                let (child, socket) = this.link.start().map_err(failed)?;
                if this.outcome().0.kind != RuntimeKind::Process {
                    let owner = Owner::new(&this.data_dir, child.id())
                        .map_err(|error| RuntimeError::io("look at", &this.data_dir, error))?;
                    // It removes the groups of the one before.
                    *lock(&this.cgroups) = Arc::new(Cgroups::probe(&this.data_dir, &owner));
                }
                Ok((child, socket))
            })
            .await;
            let failed = |error| RuntimeError::io("talk to the launcher of", &self.data_dir, error);
            match started.and_then(|(child, socket)| self.link.renew(child, socket).map_err(failed)) {
                Ok(replies) => return replies,
                Err(error) => tracing::error!("{error}; it is tried again"),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LAUNCHER_PAUSES.1);
        }
        None
    }
}

/// What the agent wrote to standard error, shortened: nothing unless it failed.
fn last_words(dir: &Path) -> Option<String> {
    const ENOUGH: u64 = 1000;
    let mut text = Vec::new();
    File::open(dir.join("agent.log")).ok()?.take(ENOUGH).read_to_end(&mut text).ok()?;
    let text = String::from_utf8_lossy(&text);
    let words: Vec<&str> = text.split_whitespace().collect();
    (!words.is_empty()).then(|| words.join(" "))
}

/// A sandbox, a trial or a step that is ready.
pub(crate) struct Ran {
    pub(crate) socket: PathBuf,
    pub(crate) device: Option<OwnedFd>,
    pub(crate) code: watch::Receiver<Option<i32>>,
    pub(crate) gone: watch::Receiver<Option<String>>,
}

/// What a start needs besides the socket.
pub(crate) struct Prepared {
    pub(crate) plan: Plan,
    pub(crate) agent: Option<daytona_toolbox::AgentConfig>,
    pub(crate) command: Option<crate::protocol::Command>,
    pub(crate) group: Option<Group>,
    pub(crate) log: File,
}

/// Acts on the launcher's replies, and starts another launcher when it ends, until none is wanted any more.
async fn follow(inner: Weak<Inner>, mut replies: mpsc::UnboundedReceiver<Reply>) {
    loop {
        while let Some(reply) = replies.recv().await {
            let Some(inner) = inner.upgrade() else {
                return;
            };
            heed(&inner, reply);
        }
        let Some(inner) = inner.upgrade() else {
            return;
        };
        let this = Arc::clone(&inner);
        let lost = blocking(move || Ok(this.link.lost())).await.ok().flatten();
        let Some(how) = lost else {
            inner.end_all("the server ended").await;
            return;
        };
        tracing::error!("the launcher ended ({how}), and all sandboxes with it");
        let reason = format!(
            "the server's launcher, which all sandboxes run under, was ended ({how}) and is started again; the files \
             are kept"
        );
        inner.end_all(&reason).await;
        // Without an outcome it is the trials that have failed.
        let again = if inner.outcome.get().is_some() { inner.launch_again().await } else { None };
        let Some(again) = again else {
            inner.link.close();
            inner.end_all(&reason).await;
            return;
        };
        tracing::warn!("another launcher runs: sandboxes can be started");
        replies = again;
    }
}

fn heed(inner: &Arc<Inner>, reply: Reply) {
    match reply {
        Reply::Started { seq, pid } => {
            let mut live = lock(&inner.live);
            if let Some(live) = live.values_mut().find(|live| live.seq == seq) {
                live.pid = Some(pid);
            }
        }
        Reply::Exited { seq, reason, code } => {
            let found = lock(&inner.live).iter().find(|(_, live)| live.seq == seq).map(|(id, live)| {
                live.code.send_replace(code);
                id.clone()
            });
            if let Some(id) = found {
                let inner = Arc::clone(inner);
                tokio::spawn(async move { inner.clean_up(id, seq, reason).await });
            }
        }
    }
}

/// Runs file operations off the event loop.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, RuntimeError> + Send + 'static,
) -> Result<T, RuntimeError> {
    joined(tokio::task::spawn_blocking(work).await)
}

fn joined<T>(result: Result<Result<T, RuntimeError>, tokio::task::JoinError>) -> Result<T, RuntimeError> {
    result.unwrap_or_else(|error| {
        Err(RuntimeError::Io { what: "a task of the runtime".to_owned(), source: error.into() })
    })
}

pub(crate) fn check_id(id: &str) -> Result<(), RuntimeError> {
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if (1..=64).contains(&id.len()) && !id.starts_with('.') && id.chars().all(fine) {
        return Ok(());
    }
    Err(RuntimeError::Invalid(format!("{id:?} is not a sandbox id")))
}

#[cfg(test)]
mod tests {
    use super::check_id;

    #[test]
    fn ids_are_names_of_folders() {
        for id in ["a", "0b1e-77", "A.b_c", &"x".repeat(64)] {
            assert!(check_id(id).is_ok(), "{id}");
        }
        for id in ["", ".", "..", ".a", "a/b", "a b", "ä", &"x".repeat(65)] {
            assert!(check_id(id).is_err(), "{id}");
        }
    }
}
