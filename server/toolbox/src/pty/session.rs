//! Ending all processes of a terminal's session.

use std::fs;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// How long processes have between SIGHUP and SIGKILL.
const GRACE: Duration = Duration::from_millis(200);
const PAUSE: Duration = Duration::from_millis(10);
/// SIGKILL takes effect long before.
const PATIENCE: Duration = Duration::from_secs(5);

/// Ends the session that `leader` leads: its shell and its jobs, each of which is a process group of its own.
pub(super) async fn end(leader: Pid) {
    let mut waited = Duration::ZERO;
    loop {
        let Ok(members) = tokio::task::spawn_blocking(move || members(leader)).await else {
            return;
        };
        if members.is_empty() || waited >= PATIENCE {
            return;
        }
        for member in members {
            if waited >= GRACE {
                let _ = kill_process(member, Signal::KILL);
            } else if waited.is_zero() {
                let _ = kill_process(member, Signal::HUP);
                // A stopped job acts on it only so.
                let _ = kill_process(member, Signal::CONT);
            }
        }
        tokio::time::sleep(PAUSE).await;
        waited += PAUSE;
    }
}

/// The processes of a session that are not zombies.
fn members(leader: Pid) -> Vec<Pid> {
    let Ok(entries) = fs::read_dir("/proc") else {
        // No list of processes: the shell itself.
        return rustix::process::test_kill_process(leader).map(|()| leader).into_iter().collect();
    };
    entries
        .flatten()
        .filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?))
        .filter(|pid| session(*pid) == Some(leader))
        .collect()
}

fn session(pid: Pid) -> Option<Pid> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    // After the name, which may hold anything: state, parent, process group, session.
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    if matches!(fields.next()?, "Z" | "X") {
        return None;
    }
    Pid::from_raw(fields.nth(2)?.parse().ok()?)
}
