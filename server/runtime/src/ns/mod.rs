//! The `ns` runtime: Linux namespaces, overlays and `pivot_root`.

pub(crate) mod base;
pub(crate) mod bind;
pub(crate) mod etc;
pub(crate) mod image;
mod names;
mod network;
mod privileges;
mod rename;
pub(crate) mod trust;
mod view;
pub(crate) mod volume;

pub(crate) use self::rename::Namespaces;

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use rustix::process::{Pid, Signal};
use serde::{Deserialize, Serialize};

use crate::Network;
use crate::child::{self, Inherited};
use crate::init::{self, Agent};
use crate::protocol::{self, Failure, Inside, Report, Step, report};
use crate::sys::{self, Fork};
use crate::table::{self, Process};

/// How one sandbox is made. Paths are the host's.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Plan {
    /// `{data dir}/sandboxes/{id}`, with everything `base::prepare_sandbox` puts there.
    pub(crate) dir: PathBuf,
    /// The lower layers of the root as an overlay's option names them, relative to `dir`: short, and free of
    /// characters that would need quoting.
    pub(crate) base: String,
    pub(crate) view: base::View,
    /// Where the sandbox's own home is mounted; one of an image has it in its root.
    pub(crate) home: Option<String>,
    /// What else of the host is mounted.
    #[serde(default)]
    pub(crate) binds: Vec<bind::Bind>,
    pub(crate) hostname: String,
    /// The sandbox user's ids inside, and outside when there is no user namespace.
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// The server's own ids, to which `uid` and `gid` are mapped: unprivileged mode.
    pub(crate) userns: Option<(u32, u32)>,
    /// Its own network, unless it is the host's.
    pub(crate) network: Network,
    /// What of the host's volumes it sees, and where.
    #[serde(default)]
    pub(crate) volumes: Vec<volume::Mount>,
    /// A cgroup v2 directory to be born in.
    pub(crate) cgroup: Option<PathBuf>,
    /// `cgroup.procs` files of cgroup v1 directories to enter.
    pub(crate) cgroup_procs: Vec<PathBuf>,
    /// The sandbox's cgroups, to be removed when it has ended.
    pub(crate) groups: Vec<PathBuf>,
}

/// Forks a sandbox's first process; called by the launcher.
pub(crate) fn fork(plan: &Plan) -> Result<Fork, Failure> {
    let mut namespaces = libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWUTS;
    namespaces |= libc::CLONE_NEWIPC;
    if plan.userns.is_some() {
        namespaces |= libc::CLONE_NEWUSER;
    }
    if plan.network != Network::Host {
        namespaces |= libc::CLONE_NEWNET;
    }
    let cgroup = match &plan.cgroup {
        Some(path) => Some(fs::File::open(path).step_with(|| format!("open {}", path.display()))?),
        None => None,
    };
    sys::fork_into(u64::from(namespaces.cast_unsigned()), cgroup.as_ref().map(AsFd::as_fd))
        .step("create the namespaces")
}

/// The life of a sandbox's PID 1.
pub(crate) fn run(plan: &Plan, inside: Inside, inherited: Inherited) -> u8 {
    let agent = match start(plan, &inside, &inherited) {
        Ok(agent) => agent,
        Err(failure) => {
            report(&inherited.report, &Report::Failed(failure));
            return 1;
        }
    };
    let (control, again) = child::watch_over(&agent, inside, inherited);
    // This process has given up what the next agent may not have.
    init::run(agent, &control, &Namespace, |variables| again.start(variables, enter))
}

/// The PID namespace of PID 1.
struct Namespace;

impl init::Processes for Namespace {
    fn signal(&self, signal: Signal) {
        sys::kill_all(signal.as_raw());
    }

    fn alive(&self) -> Vec<Process> {
        table::read().into_iter().filter(|process| !process.dead && process.pid != Pid::INIT).collect()
    }

    // The kernel ends and reaps the whole namespace when PID 1 exits.
    fn finish(&self) {}

    fn kill(&self) {
        sys::kill_all(libc::SIGKILL);
        init::reap_all();
    }
}

fn start(plan: &Plan, inside: &Inside, inherited: &Inherited) -> Result<Agent, Failure> {
    die_with_parent()?;
    for procs in &plan.cgroup_procs {
        fs::write(procs, "0").step_with(|| format!("enter cgroup {}", procs.display()))?;
    }
    if let Some(outside) = plan.userns {
        map_ids((plan.uid, plan.gid), outside).step("map the user")?;
    }
    match plan.network {
        Network::Host => {}
        Network::None => network::loopback_up().step("bring up the loopback interface")?,
        // The device is the host's, which the view does not show.
        Network::Wire => {
            let device = network::connect(&plan.dir)?;
            protocol::hand_over(&inherited.report, device.as_fd()).step("hand over the network device")?;
        }
    }
    view::enter(plan)?;
    rustix::system::sethostname(plan.hostname.as_bytes()).step("set the host name")?;
    child::standard_streams(&inherited.log).step("open /dev/null")?;
    child::limit_resources().step("set resource limits")?;
    let (ours, theirs) = child::line(inside)?;
    match sys::fork().step("fork the agent")? {
        Fork::Child => match run_inside(plan, inside, inherited, theirs) {
            Ok(code) => std::process::exit(code.into()),
            Err(failure) => {
                report(&inherited.report, &Report::Failed(failure));
                std::process::exit(1);
            }
        },
        Fork::Parent(pid) => {
            privileges::give_up(plan)?;
            // A change of user clears it.
            die_with_parent()?;
            child::set_name(c"sandbox-init");
            Ok(Agent::new(pid, ours))
        }
    }
}

fn run_inside(plan: &Plan, inside: &Inside, inherited: &Inherited, line: Option<UnixStream>) -> Result<u8, Failure> {
    privileges::give_up(plan)?;
    enter()?;
    child::run_inside(inside, inherited, line)
}

/// What an agent does first, as the sandbox's user.
fn enter() -> Result<(), Failure> {
    rustix::process::setsid().step("start a session")?;
    // Older kernels have no such thing; a network of its own does the same.
    let _ = sys::leave_abstract_sockets();
    child::set_name(c"sandbox-agent");
    Ok(())
}

fn die_with_parent() -> Result<(), Failure> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).step("ask to end with the launcher")
}

/// Maps one user and one group: all an unprivileged process may map without helpers.
fn map_ids(inside: (u32, u32), outside: (u32, u32)) -> io::Result<()> {
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/gid_map", format!("{} {} 1\n", inside.1, outside.1))?;
    fs::write("/proc/self/uid_map", format!("{} {} 1\n", inside.0, outside.0))
}
