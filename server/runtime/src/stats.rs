//! What a sandbox uses.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use crate::Stats;
use crate::cgroup::Group;
use crate::process;

/// Reads the cgroups, and /proc for what they do not count; without `dir` the disk is left out.
pub(crate) fn read(group: Option<&Group>, pid: Option<i32>, dir: Option<&Path>) -> Stats {
    let (memory, cpu, pids) = group.map(Group::usage).unwrap_or_default();
    let (mut memory_bytes, mut cpu_time, mut count) = (0, Duration::ZERO, 0);
    if memory.is_none() || cpu.is_none() || pids.is_none() {
        for usage in process::tree_of(pid).into_iter().filter_map(usage) {
            memory_bytes += usage.0;
            cpu_time += usage.1;
            count += 1;
        }
    }
    Stats {
        memory_bytes: memory.unwrap_or(memory_bytes),
        cpu: cpu.unwrap_or(cpu_time),
        pids: pids.unwrap_or(count),
        cache_bytes: group.and_then(Group::cache).unwrap_or(0),
        disk_bytes: dir.map_or(0, disk),
    }
}

/// Resident bytes and CPU time of one process.
fn usage(pid: rustix::process::Pid) -> Option<(u64, Duration)> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    let ticks = number(11)? + number(12)?;
    let cpu = Duration::from_secs(ticks) / u32::try_from(rustix::param::clock_ticks_per_second()).ok()?;
    let page = u64::try_from(rustix::param::page_size()).ok()?;
    Some((number(21)? * page, cpu))
}

/// Bytes on disk below `dir`, each file once; what cannot be read counts nothing.
pub fn disk(dir: &Path) -> u64 {
    space(dir).0
}

/// The same, and how many files there are.
pub(crate) fn space(dir: &Path) -> (u64, u64) {
    let mut seen = std::collections::HashSet::new();
    let (mut total, mut count) = (0, 0);
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let Ok(metadata) = entry.metadata() else {
                continue;
            };
            if metadata.is_dir() {
                // The running view is mounted there in the sandbox only; here it is empty.
                folders.push(entry.path());
            }
            if metadata.nlink() == 1 || metadata.is_dir() || seen.insert(metadata.ino()) {
                total += metadata.blocks() * 512;
                count += 1;
            }
        }
    }
    (total, count)
}
