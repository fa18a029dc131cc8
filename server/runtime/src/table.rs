//! The processes of this machine, or of a PID namespace.

use rustix::process::{Pid, Signal};

/// One of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Process {
    pub(crate) pid: Pid,
    pub(crate) parent: Pid,
    /// It has ended and is not reaped.
    pub(crate) dead: bool,
    /// It leads the session of a terminal.
    pub(crate) leads_terminal: bool,
}

/// All of them.
#[cfg(target_os = "linux")]
pub(crate) fn read() -> Vec<Process> {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries.filter_map(|entry| Process::read(entry.ok()?.file_name().to_str()?.parse().ok()?)).collect()
}

#[cfg(target_os = "linux")]
impl Process {
    fn read(pid: i32) -> Option<Self> {
        let stat = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
        // pid (comm) state ppid pgrp session tty ...; comm may hold anything.
        let rest = stat.get(stat.iter().rposition(|byte| *byte == b')')? + 1..)?;
        let fields: Vec<&str> = str::from_utf8(rest).ok()?.split_ascii_whitespace().collect();
        let number = |field: usize| fields.get(field)?.parse::<i32>().ok();
        Some(Self {
            pid: Pid::from_raw(pid)?,
            parent: Pid::from_raw(number(1)?)?,
            dead: matches!(fields.first(), Some(&("Z" | "X"))),
            leads_terminal: number(3)? == pid && number(4)? != 0,
        })
    }

    /// Whether a signal does nothing to it.
    pub(crate) fn ignores(&self, signal: Signal) -> bool {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid.as_raw_nonzero())).unwrap_or_default();
        let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
        let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default();
        ignored >> (signal.as_raw() - 1) & 1 == 1
    }
}

/// When a process has started, in the kernel's ticks since its own start: with the id that names it among all there
/// have been. `None` for one that has ended, also before it is reaped.
#[cfg(target_os = "linux")]
pub(crate) fn started(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    let dead = matches!(fields.first(), Some(&("Z" | "X")));
    if dead { None } else { fields.get(19)?.parse().ok() }
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn started(_pid: u32) -> Option<u64> {
    None
}

/// All of them, from `ps`. What detached itself by a double fork has no parent here and is not found.
#[cfg(not(target_os = "linux"))]
pub(crate) fn read() -> Vec<Process> {
    let Ok(output) = std::process::Command::new("/bin/ps").args(["-axo", "pid=,ppid=,stat="]).output() else {
        return Vec::new();
    };
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let mut pid = || Pid::from_raw(words.next()?.parse().ok()?);
            let (pid, parent) = (pid()?, pid()?);
            let dead = words.next().is_some_and(|state| state.starts_with('Z'));
            Some(Process { pid, parent, dead, leads_terminal: false })
        })
        .collect()
}

#[cfg(not(target_os = "linux"))]
impl Process {
    pub(crate) fn ignores(&self, _: Signal) -> bool {
        false
    }
}
