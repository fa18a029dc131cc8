//! The `process` runtime: the agent as a plain process, without isolation.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitOptions, getpid, kill_process};
use serde::{Deserialize, Serialize};

use crate::child::{self, Inherited};
use crate::init::{self, Agent};
use crate::protocol::{Failure, Inside, Report, Step, report};
use crate::sys::{self, Fork};
use crate::table::{self, Process};

/// How one sandbox is made.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Plan {
    /// The agent's home and work directory.
    pub(crate) home: PathBuf,
}

/// The life of a sandbox's first process.
pub(crate) fn run(plan: &Plan, inside: Inside, inherited: Inherited) -> u8 {
    let agent = match start(plan, &inside, &inherited) {
        Ok(agent) => agent,
        Err(failure) => {
            report(&inherited.report, &Report::Failed(failure));
            return 1;
        }
    };
    let (control, again) = child::watch_over(&agent, inside, inherited);
    init::run(agent, &control, &Descendants, |variables| again.start(variables, enter))
}

fn start(plan: &Plan, inside: &Inside, inherited: &Inherited) -> Result<Agent, Failure> {
    // Every orphan below comes to this process, so nothing gets away.
    #[cfg(target_os = "linux")]
    rustix::process::set_child_subreaper(Some(getpid())).step("become the subreaper")?;
    rustix::process::setsid().step("start a session")?;
    std::env::set_current_dir(&plan.home).step("enter the home")?;
    child::standard_streams(&inherited.log).step("open /dev/null")?;
    child::limit_resources().step("set resource limits")?;
    let (ours, theirs) = child::line(inside)?;
    match sys::fork().step("fork the agent")? {
        Fork::Child => {
            let code = enter().and_then(|()| child::run_inside(inside, inherited, theirs)).unwrap_or_else(|failure| {
                report(&inherited.report, &Report::Failed(failure));
                1
            });
            std::process::exit(code.into())
        }
        Fork::Parent(pid) => {
            child::set_name(c"sandbox-init");
            Ok(Agent::new(pid, ours))
        }
    }
}

/// What an agent does first.
fn enter() -> Result<(), Failure> {
    rustix::process::setsid().step("start a session")?;
    child::set_name(c"sandbox-agent");
    Ok(())
}

/// Everything that descends from this process.
struct Descendants;

impl init::Processes for Descendants {
    fn signal(&self, signal: Signal) {
        for pid in descendants(|_| false) {
            let _ = kill_process(pid, signal);
        }
    }

    fn alive(&self) -> Vec<Process> {
        let all = table::read();
        below(&all, getpid(), |_| false).into_iter().filter(|process| !process.dead).collect()
    }

    fn finish(&self) {
        end_tree(|_| false);
    }

    fn kill(&self) {
        end_tree(|_| false);
    }
}

/// Kills and reaps all descendants of this process, except the children `spared` and theirs.
pub(crate) fn end_tree(spared: impl Fn(Pid) -> bool) {
    // A process that forks faster than it is found is stopped before it is killed; the limit is
    // for one that cannot be killed at all.
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let found = descendants(&spared);
        if found.is_empty() || Instant::now() > deadline {
            return;
        }
        for pid in &found {
            let _ = kill_process(*pid, Signal::STOP);
        }
        for pid in descendants(&spared) {
            let _ = kill_process(pid, Signal::KILL);
        }
        for pid in found {
            let _ = rustix::process::waitpid(Some(pid), WaitOptions::NOHANG);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The living and dead descendants of this process, parents first.
fn descendants(spared: impl Fn(Pid) -> bool) -> Vec<Pid> {
    below(&table::read(), getpid(), spared).iter().map(|process| process.pid).collect()
}

/// A process and its descendants.
pub(crate) fn tree_of(pid: Option<i32>) -> Vec<Pid> {
    let Some(pid) = pid.and_then(Pid::from_raw) else {
        return Vec::new();
    };
    let mut tree: Vec<Pid> = below(&table::read(), pid, |_| false).iter().map(|process| process.pid).collect();
    tree.push(pid);
    tree
}

fn below(all: &[Process], root: Pid, spared: impl Fn(Pid) -> bool) -> Vec<Process> {
    let mut found = Vec::new();
    let mut parents = vec![root];
    while let Some(parent) = parents.pop() {
        for process in all.iter().filter(|process| process.parent == parent) {
            if !(parent == root && spared(process.pid)) {
                found.push(*process);
                parents.push(process.pid);
            }
        }
    }
    found
}
