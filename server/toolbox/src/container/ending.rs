//! The end of a container: its processes have their grace, with their pipes open, and the agent ends last.

use std::fs;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::time::{Instant, sleep_until};

use super::agent::Agent;
use crate::line;

/// How long processes have between SIGTERM and SIGKILL.
const GRACE: Duration = Duration::from_millis(1900);
/// Between two looks at which of them are left: most of them are no children of this one.
const LOOK: Duration = Duration::from_millis(10);

/// A container that is ending.
pub(super) struct Ending {
    deadline: Instant,
    next_look: Instant,
    /// Shells that were told that their terminal is going away.
    hung_up: Vec<Pid>,
}

impl Ending {
    /// Tells every process but this one; the agent leaves what it runs alone from now on.
    pub(super) fn begin(agent: &Agent) -> Self {
        agent.tell(line::GRACE);
        // What is stopped takes it when it goes on. The agent takes no notice.
        for signal in [Signal::TERM, Signal::CONT] {
            let _ = kill_process_group(Pid::INIT, signal);
        }
        let now = Instant::now();
        Self { deadline: now + GRACE, next_look: now, hung_up: Vec::new() }
    }

    /// Resolves when it is time to end what is left. Cancel safe; never resolves for a container that is not ending.
    pub(super) async fn over(ending: &mut Option<Self>, agent: Option<Pid>) {
        let Some(ending) = ending else { return std::future::pending().await };
        while Instant::now() < ending.deadline {
            sleep_until(ending.next_look.min(ending.deadline)).await;
            ending.next_look = Instant::now() + LOOK;
            if !ending.waits(agent) {
                return;
            }
        }
    }

    /// Whether any process but the agent is left.
    fn waits(&mut self, agent: Option<Pid>) -> bool {
        let Some(others) = others(agent) else { return true };
        for process in &others {
            // Interactive shells do not mind SIGTERM. With nothing in front of it, one ends with its terminal.
            let idle = process.leads_terminal
                && !self.hung_up.contains(&process.pid)
                && !others.iter().any(|other| other.parent == Some(process.pid))
                && process.ignores(Signal::TERM);
            if idle {
                let _ = kill_process(process.pid, Signal::HUP);
                self.hung_up.push(process.pid);
            }
        }
        !others.is_empty()
    }
}

/// A process in this container.
#[derive(Debug, PartialEq)]
struct Process {
    pid: Pid,
    parent: Option<Pid>,
    /// It is the first one of a terminal, a shell mostly.
    leads_terminal: bool,
}

impl Process {
    /// Whether a signal does nothing to it.
    fn ignores(&self, signal: Signal) -> bool {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid.as_raw_nonzero())).unwrap_or_default();
        let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
        let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default();
        ignored >> (signal.as_raw() - 1) & 1 == 1
    }

    /// From a line of `/proc/PID/stat`; none for what has ended and is only not reaped yet.
    fn parse(line: &str) -> Option<Self> {
        let pid: i32 = line.split(' ').next()?.parse().ok()?;
        // The name may hold anything.
        let fields: Vec<&str> = line.rsplit_once(") ")?.1.split(' ').collect();
        let [state, parent, _, session, terminal, ..] = fields[..] else { return None };
        if matches!(state, "Z" | "X" | "x") {
            return None;
        }
        let leads_terminal = session.parse() == Ok(pid) && terminal != "0";
        Some(Self { pid: Pid::from_raw(pid)?, parent: Pid::from_raw(parent.parse().ok()?), leads_terminal })
    }
}

/// All processes but this one and the agent; none where they cannot be listed.
fn others(agent: Option<Pid>) -> Option<Vec<Process>> {
    let entries = fs::read_dir("/proc").ok()?;
    let numbers = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let lines = numbers.filter_map(|number| fs::read_to_string(format!("/proc/{number}/stat")).ok());
    let found: Vec<_> = lines.filter_map(|line| Process::parse(&line)).collect();
    let own = rustix::process::getpid();
    // Where this process is not in it, it is a list of others.
    found.iter().any(|process| process.pid == own).then_some(())?;
    Some(found.into_iter().filter(|process| process.pid != own && Some(process.pid) != agent).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_are_read() {
        let pid = |raw| Pid::from_raw(raw).unwrap();
        let process = |raw, leads_terminal| Some(Process { pid: pid(raw), parent: Some(pid(6)), leads_terminal });
        assert_eq!(Process::parse("7 (a) b (c) S 6 7 7 34816 7 4194560 1"), process(7, true));
        assert_eq!(Process::parse("8 (sh) S 6 8 7 34816 7 4194560 1"), process(8, false));
        assert_eq!(Process::parse("9 (sh) S 6 9 9 0 -1 4194560 1"), process(9, false));
        assert_eq!(Process::parse("9 (sh) Z 6 9 9 0 -1 4194560 1"), None);
        assert_eq!(Process::parse(""), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_is_none_of_the_others() {
        let own = rustix::process::getpid();
        let others = others(None).expect("there is a /proc");
        assert!(others.iter().all(|process| process.pid != own));
    }
}
