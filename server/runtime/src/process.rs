//! The `process` runtime: the agent as a plain process, without isolation.

use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitOptions, getpid, kill_process};
use serde::{Deserialize, Serialize};

use crate::child::{self, Inherited};
use crate::init;
use crate::protocol::{Failure, Inside, Report, Step, report};
use crate::sys::{self, Fork};

/// How one sandbox is made.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Plan {
    /// The agent's home and work directory.
    pub(crate) home: PathBuf,
}

/// The life of a sandbox's first process.
pub(crate) fn run(plan: &Plan, inside: Inside, inherited: Inherited) -> u8 {
    let agent = match start(plan, inside, &inherited) {
        Ok(agent) => agent,
        Err(failure) => {
            report(&inherited.report, &Report::Failed(failure));
            return 1;
        }
    };
    let Inherited { control, .. } = inherited;
    let _ = sys::close_all_except(&[control.as_raw_fd()]);
    init::run(agent, &control, &Descendants)
}

fn start(plan: &Plan, inside: Inside, inherited: &Inherited) -> Result<Pid, Failure> {
    // Every orphan below comes to this process, so nothing gets away.
    #[cfg(target_os = "linux")]
    rustix::process::set_child_subreaper(Some(getpid())).step("become the subreaper")?;
    rustix::process::setsid().step("start a session")?;
    std::env::set_current_dir(&plan.home).step("enter the home")?;
    child::standard_streams(&inherited.log).step("open /dev/null")?;
    child::limit_resources().step("set resource limits")?;
    match sys::fork().step("fork the agent")? {
        Fork::Child => {
            let code = rustix::process::setsid()
                .step("start a session")
                .and_then(|_| {
                    child::set_name(c"sandbox-agent");
                    child::run_inside(inside, inherited)
                })
                .unwrap_or_else(|failure| {
                    report(&inherited.report, &Report::Failed(failure));
                    1
                });
            std::process::exit(code.into())
        }
        Fork::Parent(agent) => {
            child::set_name(c"sandbox-init");
            Ok(agent)
        }
    }
}

/// Everything that descends from this process.
struct Descendants;

impl init::Processes for Descendants {
    fn signal(&self, signal: i32) {
        if let Some(signal) = Signal::from_named_raw(signal) {
            for pid in descendants(|_| false) {
                let _ = kill_process(pid, signal);
            }
        }
    }

    fn finish(&self) {
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
    below(getpid(), spared)
}

/// A process and its descendants.
pub(crate) fn tree_of(pid: Option<i32>) -> Vec<Pid> {
    let Some(pid) = pid.and_then(Pid::from_raw) else {
        return Vec::new();
    };
    let mut tree = below(pid, |_| false);
    tree.push(pid);
    tree
}

fn below(root: Pid, spared: impl Fn(Pid) -> bool) -> Vec<Pid> {
    let all = all_processes();
    let mut found = Vec::new();
    let mut parents = vec![root];
    while let Some(parent) = parents.pop() {
        for (pid, _) in all.iter().filter(|(_, of)| *of == parent) {
            if !(parent == root && spared(*pid)) {
                found.push(*pid);
                parents.push(*pid);
            }
        }
    }
    found
}

/// All processes with their parents.
#[cfg(target_os = "linux")]
fn all_processes() -> Vec<(Pid, Pid)> {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| {
            let pid = entry.ok()?.file_name().to_str()?.parse().ok()?;
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            // pid (comm) state ppid ...; comm may hold anything
            let parent = stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()?;
            Some((Pid::from_raw(pid)?, Pid::from_raw(parent)?))
        })
        .collect()
}

/// All processes with their parents, from `ps`. What detached itself by a double fork has no
/// parent here and is not found.
#[cfg(not(target_os = "linux"))]
fn all_processes() -> Vec<(Pid, Pid)> {
    let Ok(output) = std::process::Command::new("/bin/ps").args(["-axo", "pid=,ppid="]).output() else {
        return Vec::new();
    };
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| {
            let mut numbers = line.split_whitespace().map(str::parse);
            let (pid, parent) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
            Some((Pid::from_raw(pid)?, Pid::from_raw(parent)?))
        })
        .collect()
}
