//! What this machine allows.

use std::collections::BTreeMap;
#[cfg(target_os = "linux")]
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use daytona_toolbox::AgentConfig;

use crate::protocol::Plan;
use crate::runtime::{Inner, Prepared};
use crate::{Enforcement, Limits, Probe, RuntimeChoice, RuntimeError, RuntimeKind, SandboxSpec, cause, process};
#[cfg(target_os = "linux")]
use crate::{Network, ns, runtime::TRIAL, runtime::blocking};

pub(crate) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// What a host name may have.
const HOST_NAME: usize = 63;

/// How sandboxes are made.
#[derive(Clone, Debug)]
pub(crate) enum Mode {
    #[cfg(target_os = "linux")]
    Ns {
        base: Arc<ns::base::Base>,
        /// The server's own ids when it is not root.
        userns: Option<(u32, u32)>,
    },
    Process,
}

/// Chooses the runtime. `before` isolates and was used in this data directory.
pub(crate) async fn choose(
    inner: &Arc<Inner>,
    choice: RuntimeChoice,
    before: Option<RuntimeKind>,
) -> Result<(Probe, Mode), RuntimeError> {
    if choice == RuntimeChoice::Docker {
        return Err(RuntimeError::Invalid("containers are not made here".to_owned()));
    }
    let reason = match choice {
        RuntimeChoice::Process => "it was asked for".to_owned(),
        _ => match isolated(inner).await {
            Ok(found) => return Ok(found),
            Err(failed) => failed.excuse(choice, before, &inner.data_dir)?,
        },
    };
    inner.cgroups().remove();
    let none = |reason: &str| Enforcement::NotEnforced { reason: reason.to_owned() };
    let why = "the runtime `process` limits nothing";
    let user = own_user();
    let probe = Probe {
        kind: RuntimeKind::Process,
        isolated: false,
        root: false,
        summary: format!("runtime process, because {reason}; commands run as the user {user} of this machine"),
        warnings: vec![format!(
            "NO ISOLATION: what runs in a sandbox runs as the user {user} of this machine, and can do and read all \
             that {user} can"
        )],
        limits: Limits {
            cpu: none(why),
            memory: none(why),
            pids: none(why),
            disk: none(why),
            freeze: none(why),
            network: none(why),
        },
    };
    Ok((probe, Mode::Process))
}

/// Why no isolated sandbox can be had.
struct NotIsolated {
    why: String,
    /// What stands in the way, unless it is the kernel or the lack of rights.
    want: Option<RuntimeError>,
}

impl NotIsolated {
    /// The reason to go on without isolation, where that may be.
    fn excuse(
        self,
        choice: RuntimeChoice,
        before: Option<RuntimeKind>,
        data_dir: &Path,
    ) -> Result<String, RuntimeError> {
        let Self { why, want } = self;
        let process = format!("`--runtime process` works without isolation, as the user {}", own_user());
        if let Some(want) = want {
            return Err(RuntimeError::Unavailable(format!(
                "sandboxes cannot be isolated at the moment: {why}. To mend that, {}. Only when you say so is it done \
                 without: {process}",
                cause::way_out(&want, data_dir)
            )));
        }
        match (choice, before) {
            (RuntimeChoice::Ns, _) => {
                Err(RuntimeError::Unsupported { op: "the runtime `ns`", reason: format!("{why}; {process}") })
            }
            (_, Some(before)) => Err(RuntimeError::Unsupported {
                op: "isolation",
                reason: format!(
                    "{why}; sandboxes in {} were isolated by the runtime `{before}` before: start the server with the \
                     rights that it had, or with `--runtime {before}`. Only when you say so is it done without: {process}",
                    data_dir.display()
                ),
            }),
            _ => Ok(format!("`ns` does not work here: {why}")),
        }
    }
}

#[cfg(not(target_os = "linux"))]
async fn isolated(_inner: &Arc<Inner>) -> Result<(Probe, Mode), NotIsolated> {
    Err(NotIsolated { why: "it needs Linux".to_owned(), want: None })
}

#[cfg(target_os = "linux")]
async fn isolated(inner: &Arc<Inner>) -> Result<(Probe, Mode), NotIsolated> {
    let ids = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let mut failures = Vec::new();
    let attempts: &[Option<(u32, u32)>] = if ids.0 == 0 { &[None, Some(ids)] } else { &[Some(ids)] };
    for userns in attempts {
        match attempt(inner, *userns).await {
            Ok((base, network, full)) => {
                let limits = inner.cgroups().limits(network);
                let root = userns.is_none();
                let summary = if root { "runtime ns, as root" } else { "runtime ns, unprivileged in user namespaces" };
                let mut warnings = limits.warnings();
                if full {
                    let dir = inner.data_dir.display();
                    warnings.push(format!(
                        "THE DISK IS FULL: no sandbox can be made or started until there is room in {dir}: delete \
                         sandboxes, or free some space or files (`df -h {dir}; df -i {dir}`)"
                    ));
                }
                if let Enforcement::NotEnforced { reason } = &limits.network {
                    warnings.push(format!("sandboxes share the host's network, its loopback ports included: {reason}"));
                }
                let probe = Probe {
                    kind: RuntimeKind::Ns,
                    isolated: true,
                    root,
                    summary: summary.to_owned(),
                    warnings,
                    limits,
                };
                let mode = Mode::Ns { base, userns: *userns };
                return Ok((probe, mode));
            }
            Err(error) => {
                failures
                    .push(format!("{}: {error}", if userns.is_none() { "as root" } else { "with user namespaces" }));
                if !cause::forbidden(&error) {
                    return Err(NotIsolated { why: failures.join("; "), want: Some(error) });
                }
            }
        }
    }
    Err(NotIsolated { why: failures.join("; "), want: None })
}

/// Tries whether sandboxes start, whether they can have a network of their own, and whether the disk is full.
#[cfg(target_os = "linux")]
async fn attempt(
    inner: &Arc<Inner>,
    userns: Option<(u32, u32)>,
) -> Result<(Arc<ns::base::Base>, Enforcement, bool), RuntimeError> {
    let data_dir = inner.data_dir.clone();
    let user = blocking(move || ns::base::user(&data_dir, userns)).await?;
    let (enforcement, full) = match try_out(inner, userns, user, inner.data_dir.clone()).await {
        Ok(enforcement) => (enforcement, false),
        // Whether sandboxes can be isolated shows elsewhere too; those that are here may be deleted to make room.
        Err(error) if cause::no_room(&error) => match elsewhere(inner, userns, user).await {
            Some(enforcement) => (enforcement, true),
            None => return Err(error),
        },
        Err(error) => return Err(error),
    };
    let network = if enforcement.holds() { Network::Wire } else { Network::Host };
    let data_dir = inner.data_dir.clone();
    let base = blocking(move || ns::base::Base::new(&data_dir, user, network)).await?;
    let base = Arc::new(base);
    // Ready, or nearly, when the first sandbox is asked for, which waits for it.
    tokio::task::spawn_blocking({
        let base = Arc::clone(&base);
        move || base.fill()
    });
    Ok((base, enforcement, full))
}

/// The same where there is memory for it.
#[cfg(target_os = "linux")]
async fn elsewhere(inner: &Arc<Inner>, userns: Option<(u32, u32)>, user: ns::base::User) -> Option<Enforcement> {
    for place in [std::env::temp_dir(), "/dev/shm".into()] {
        let scratch = place.join(format!("daytona-native-trial-{}", crate::random_name()));
        let made = fs::DirBuilder::new().mode(0o700).create(&scratch);
        if made.is_err() {
            continue;
        }
        let tried = try_out(inner, userns, user, scratch.clone()).await;
        let _ = crate::destroy::remove_tree(&scratch);
        if let Ok(enforcement) = tried {
            return Some(enforcement);
        }
    }
    None
}

/// Starts sandboxes beneath a folder: whether they have a network of their own.
#[cfg(target_os = "linux")]
async fn try_out(
    inner: &Arc<Inner>,
    userns: Option<(u32, u32)>,
    user: ns::base::User,
    place: PathBuf,
) -> Result<Enforcement, RuntimeError> {
    let at = place.clone();
    let trial = blocking(move || ns::base::Base::trial(&at, user)).await?;
    let mode = Mode::Ns { base: Arc::new(trial), userns };
    match run_trial(inner, mode.clone(), Network::Wire, &place).await {
        Ok(()) => Ok(Enforcement::Enforced { by: "network namespace".to_owned() }),
        Err(error) if !cause::no_network(&error) => Err(error),
        Err(error) => {
            // Another reason than the network shows again.
            run_trial(inner, mode, Network::Host, &place).await?;
            let why = match error {
                RuntimeError::Launch { step, source } => format!("{step}: {source}"),
                error => error.to_string(),
            };
            Ok(Enforcement::NotEnforced {
                reason: format!("{why}; a network of its own needs read and write access to /dev/net/tun"),
            })
        }
    }
}

/// Starts a sandbox without an agent.
#[cfg(target_os = "linux")]
async fn run_trial(inner: &Arc<Inner>, mode: Mode, network: Network, place: &Path) -> Result<(), RuntimeError> {
    let spec = SandboxSpec {
        id: "trial".to_owned(),
        name: "trial".to_owned(),
        user: "daytona".to_owned(),
        env: BTreeMap::new(),
        unset_env: BTreeSet::new(),
        image: None,
        volumes: Vec::new(),
        cpu: 0.0,
        memory_gib: 0.0,
        disk_gib: 0.0,
        network,
        version: String::new(),
    };
    let parent = place.join("trial");
    let dir = parent.join(crate::random_name());
    let trial = inner
        .run(TRIAL, {
            let dir = dir.clone();
            move |inner| {
                fs::create_dir_all(&dir).map_err(|error| RuntimeError::io("make", &dir, error))?;
                let mut prepared = mode.plan(&spec, &dir, inner)?;
                prepared.agent = None;
                Ok(prepared)
            }
        })
        .await;
    inner.ended(TRIAL).await;
    let _ = blocking(move || {
        let _ = crate::destroy::remove_tree(&parent);
        Ok(())
    })
    .await;
    let trial = trial?;
    // Closing its device takes the kernel its time.
    tokio::task::spawn_blocking(move || drop(trial.device));
    Ok(())
}

impl Mode {
    /// Returns when nothing is written in the background any more.
    pub(crate) fn settle(&self) {
        #[cfg(target_os = "linux")]
        if let Self::Ns { base, .. } = self {
            let _ = base.fill();
        }
    }

    /// Who owns a new volume, where this process may choose.
    pub(crate) fn volume_owner(&self) -> Option<(u32, u32)> {
        match self {
            #[cfg(target_os = "linux")]
            Self::Ns { base, userns: None } => Some((base.user.uid, base.user.gid)),
            _ => None,
        }
    }

    /// The user's name and, where it is the same for all sandboxes, home inside.
    #[cfg_attr(not(target_os = "linux"), expect(unused_variables, reason = "`process` has one user and no groups"))]
    pub(crate) fn user(&self, spec: &SandboxSpec) -> Result<(String, Option<PathBuf>), RuntimeError> {
        match self {
            #[cfg(target_os = "linux")]
            Self::Ns { base, userns } => {
                if let Some(image) = spec.image.as_ref().filter(|image| !image.host) {
                    let account = ns::image::Account::find(&image.layers, &spec.user, base.user)?;
                    return Ok((spec.user.clone(), Some(account.home)));
                }
                match spec.user.as_str() {
                    "daytona" => Ok(("daytona".to_owned(), Some("/home/daytona".into()))),
                    "root" if userns.is_none() => Ok(("root".to_owned(), Some("/root".into()))),
                    "root" => Err(RuntimeError::Unsupported {
                        op: "user root",
                        reason: "the server does not run as root; start it as root, or use the user \
                                 `daytona`"
                            .to_owned(),
                    }),
                    other => Err(RuntimeError::Unsupported {
                        op: "this user",
                        reason: format!("{other:?} is unknown here; use `daytona` or `root`"),
                    }),
                }
            }
            Self::Process => Ok((own_user(), None)),
        }
    }

    /// The start of a sandbox with a file system of its own, and its groups.
    #[cfg(target_os = "linux")]
    fn isolated(
        base: &ns::base::Base,
        userns: Option<(u32, u32)>,
        spec: &SandboxSpec,
        dir: &Path,
        inner: &Inner,
    ) -> Result<(ns::Plan, crate::cgroup::Group), RuntimeError> {
        let hostname = host_name(&spec.name);
        let root = spec.user == "root";
        let none = crate::ImageSpec { host: true, ..crate::ImageSpec::default() };
        let image = spec.image.as_ref().unwrap_or(&none);
        let layers = &image.layers;
        let failed = |error| RuntimeError::io("prepare", dir, error);
        let (lower, view, home, ids) = if image.host {
            let ids = if root { ns::base::User { uid: 0, gid: 0 } } else { base.user };
            let home = if root { "root" } else { "home/daytona" };
            // Layers may have files for the home.
            let inside = (!layers.is_empty()).then_some(home);
            base.prepare_sandbox(dir, &hostname, ids, inside)?;
            let mut view = if root { base.view.clone().for_root() } else { base.view.clone() };
            let lower = if layers.is_empty() {
                base.relative()
            } else {
                ns::image::stack(&mut view, layers);
                ns::image::link_layers(dir, layers, base.path()).map_err(failed)?
            };
            (lower, view, inside.is_none().then(|| home.to_owned()), ids)
        } else {
            base.fill()?;
            let account = ns::image::Account::find(layers, &spec.user, base.user)?;
            let lower = ns::image::prepare(&inner.data_dir, dir, layers, &base.resolver(), &hostname, &account)
                .map_err(failed)?;
            (lower, ns::base::View::default(), None, account.user)
        };
        let limits = SandboxSpec { user: if ids.uid == 0 { "root" } else { "other" }.to_owned(), ..spec.clone() };
        let group = inner.cgroups().create(&limits)?;
        let plan = ns::Plan {
            dir: dir.to_owned(),
            base: lower,
            view,
            home,
            binds: Vec::new(),
            hostname,
            uid: ids.uid,
            gid: ids.gid,
            userns,
            network: spec.network,
            volumes: volumes(spec, inner)?,
            cgroup: group.v2(),
            cgroup_procs: group.procs(),
            groups: group.dirs(),
        };
        Ok((plan, group))
    }

    /// Makes a sandbox's folders and groups, and says how to start it.
    #[cfg_attr(not(target_os = "linux"), expect(unused_variables, reason = "`process` has one user and no groups"))]
    pub(crate) fn plan(&self, spec: &SandboxSpec, dir: &Path, inner: &Inner) -> Result<Prepared, RuntimeError> {
        if let Some(parent) = dir.parent() {
            fs::create_dir_all(parent).map_err(|error| RuntimeError::io("make", parent, error))?;
        }
        let (user, home) = self.user(spec)?;
        let home = home.unwrap_or_else(|| dir.join("home"));
        let mut env = base_env(&user, &home, &spec.id);
        let (plan, group) = match self {
            #[cfg(target_os = "linux")]
            Self::Ns { base, userns } => {
                let (plan, group) = Self::isolated(base, *userns, spec, dir, inner)?;
                (Plan::Ns(Box::new(plan)), Some(group))
            }
            Self::Process => {
                if !spec.volumes.is_empty() {
                    return Err(RuntimeError::Unsupported {
                        op: "volumes",
                        reason: "the runtime `process` has no file system of its own; use `ns`".to_owned(),
                    });
                }
                fs::create_dir_all(&home).map_err(|error| RuntimeError::io("make", &home, error))?;
                if let Some(path) = std::env::var_os("PATH").and_then(|path| path.into_string().ok()) {
                    env.insert("PATH".to_owned(), path);
                }
                let plan = process::Plan { home: home.clone() };
                (Plan::Process(plan), None)
            }
        };
        if let Some(image) = &spec.image {
            #[cfg(target_os = "linux")]
            if !image.host {
                let shell = if ns::image::has_bash(&image.layers) { "/bin/bash" } else { "/bin/sh" };
                env.insert("SHELL".to_owned(), shell.to_owned());
            }
            env.extend(image.env.clone());
        }
        env.retain(|name, _| !spec.unset_env.contains(name));
        env.extend(spec.env.clone());
        let log = dir.join("agent.log");
        let log = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .and_then(|file| file.set_len(0).map(|()| file))
            .map_err(|error| RuntimeError::io("open", &log, error))?;
        let agent = AgentConfig {
            sandbox_id: spec.id.clone(),
            user,
            work_dir: spec.image.as_ref().and_then(|image| image.work_dir.clone()).unwrap_or_else(|| home.clone()),
            home,
            env,
            confine: matches!(self, Self::Process).then(|| dir.to_owned()),
            entrypoint: spec.image.as_ref().map(|image| image.command.clone()).filter(|words| !words.is_empty()),
            version: spec.version.clone(),
            patience: daytona_toolbox::Patience::default(),
        };
        Ok(Prepared { plan, agent: Some(agent), command: None, group, log })
    }
}

/// Where the volumes are on the host.
#[cfg(target_os = "linux")]
fn volumes(spec: &SandboxSpec, inner: &Inner) -> Result<Vec<ns::volume::Mount>, RuntimeError> {
    let one = |mount: &crate::VolumeMount| {
        let dir = inner.volume_dir(&mount.volume)?;
        if !dir.is_dir() {
            return Err(RuntimeError::Invalid(format!("there is no volume {}", mount.volume)));
        }
        Ok(ns::volume::Mount { dir, subpath: mount.subpath.clone(), path: mount.path.clone() })
    };
    spec.volumes.iter().map(one).collect()
}

fn base_env(user: &str, home: &Path, id: &str) -> BTreeMap<String, String> {
    let home = home.display();
    [
        ("PATH", format!("{home}/.local/bin:{PATH}")),
        ("HOME", home.to_string()),
        ("USER", user.to_owned()),
        ("LOGNAME", user.to_owned()),
        ("SHELL", shell().to_owned()),
        ("LANG", "C.UTF-8".to_owned()),
        ("DAYTONA_SANDBOX_ID", id.to_owned()),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect()
}

fn shell() -> &'static str {
    let bash = "/bin/bash";
    if Path::new(bash).exists() { bash } else { "/bin/sh" }
}

/// The name of the user this server runs as.
fn own_user() -> String {
    let uid = rustix::process::geteuid().as_raw();
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let listed = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    });
    listed.or_else(|| std::env::var("USER").ok()).unwrap_or_else(|| uid.to_string())
}

/// A host name made of any text.
#[cfg(target_os = "linux")]
pub(crate) fn host_name(name: &str) -> String {
    let fine = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    let name: String = name.chars().take(HOST_NAME).map(fine).collect();
    let name = name.trim_matches('-');
    if name.is_empty() { "sandbox" } else { name }.to_owned()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::host_name;

    #[test]
    fn host_names_are_valid() {
        assert_eq!(host_name("my_box.1"), "my-box-1");
        assert_eq!(host_name("-ä-"), "sandbox");
        assert_eq!(host_name(&"x".repeat(200)).len(), 63);
    }
}
