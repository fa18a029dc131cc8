//! Ending everything a session started.

use std::collections::HashMap;
use std::fs;
use std::time::Duration;

use rustix::process::{Pid, Signal};
use tokio::time::Instant;

/// How long SIGKILL may take; a process in an uninterruptible call outlives it.
const KILLED: Duration = Duration::from_secs(5);

/// The processes of a session: the shell's group and kernel session, and their descendants.
struct Tree {
    leader: i32,
    /// Start times of those seen alive, which tell them from later users of their ids.
    known: HashMap<i32, u64>,
}

/// `gently` to all, SIGKILL to those left after the grace.
///
/// `ended`: the shell was reaped before, so its id may be another process's by now. While anything
/// of its group or session lives, the kernel gives that id to nobody.
pub(crate) async fn kill(leader: Pid, ended: bool, gently: Signal, grace: Duration) {
    let leader = leader.as_raw_nonzero().get();
    if ended && stat(leader).is_some() {
        return;
    }
    let mut tree = Tree { leader, known: HashMap::new() };
    let start = Instant::now();
    let mut pause = Duration::from_millis(2);
    let mut alive = tree.look();
    for &pid in &alive {
        send(pid, gently);
        // A stopped process takes it when it goes on.
        send(pid, Signal::CONT);
    }
    while !alive.is_empty() && start.elapsed() < grace + KILLED {
        if start.elapsed() >= grace {
            for &pid in &alive {
                send(pid, Signal::KILL);
            }
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(50));
        alive = tree.look();
    }
}

fn send(pid: i32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid) {
        let _ = rustix::process::kill_process(pid, signal);
    }
}

impl Tree {
    /// Those alive.
    fn look(&mut self) -> Vec<i32> {
        let all: HashMap<i32, Stat> = fs::read_dir("/proc")
            .into_iter()
            .flatten()
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .filter_map(|pid| Some((pid, stat(pid)?)))
            .collect();
        // Somebody else got the shell's id, so nothing of its group is left.
        if let (Some(known), Some(now)) = (self.known.get(&self.leader), all.get(&self.leader))
            && *known != now.start
        {
            return Vec::new();
        }
        self.known.retain(|pid, start| all.get(pid).is_some_and(|stat| stat.start == *start));
        loop {
            let before = self.known.len();
            for (&pid, stat) in &all {
                if stat.group == self.leader || stat.session == self.leader || self.known.contains_key(&stat.parent) {
                    self.known.insert(pid, stat.start);
                }
            }
            if self.known.len() == before {
                break;
            }
        }
        self.known.keys().copied().filter(|pid| all.get(pid).is_some_and(|stat| !stat.dead)).collect()
    }
}

struct Stat {
    dead: bool,
    parent: i32,
    group: i32,
    session: i32,
    start: u64,
}

fn stat(pid: i32) -> Option<Stat> {
    let text = fs::read(format!("/proc/{pid}/stat")).ok()?;
    // The name before it may hold anything.
    let rest = text.rsplitn(2, |&b| b == b')').next()?;
    let fields: Vec<&str> = str::from_utf8(rest).ok()?.split_ascii_whitespace().collect();
    let number = |i: usize| fields.get(i)?.parse().ok();
    Some(Stat {
        dead: matches!(*fields.first()?, "Z" | "X"),
        parent: number(1)?,
        group: number(2)?,
        session: number(3)?,
        start: fields.get(19)?.parse().ok()?,
    })
}
