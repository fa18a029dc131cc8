//! Processes of this machine, for cases in which they are killed.

use std::collections::HashMap;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// Kills the process so many steps above the topmost one with this text on its command line, once that runs.
pub(crate) async fn kill_above(marker: String, up: u32) {
    let found = async {
        loop {
            let found = processes(&marker);
            if let Some((pid, _)) = found.iter().find(|(_, parent)| !found.contains_key(parent)) {
                return *pid;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let found = tokio::time::timeout(Duration::from_secs(30), found).await;
    let mut pid = found.unwrap_or_else(|_| panic!("nothing with {marker} on its command line"));
    for _ in 0..up {
        pid = parent_of(pid).expect("it has a parent");
    }
    kill_process(Pid::from_raw(pid).expect("it has an id"), Signal::KILL).expect("it is killed");
}

/// The processes with this text on their command line, each with its parent.
fn processes(marker: &str) -> HashMap<i32, i32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let with_parent = |pid: i32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        String::from_utf8_lossy(&line).contains(marker).then_some(())?;
        Some((pid, parent_of(pid)?))
    };
    pids.filter_map(with_parent).collect()
}

fn parent_of(pid: i32) -> Option<i32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(1)?.parse().ok()
}
