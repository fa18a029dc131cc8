//! The first process of a sandbox: starts the agent, and again when it is killed; reaps, and ends everything when told.

use std::collections::BTreeMap;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use daytona_toolbox::line;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, kill_process};

use crate::table::Process;

/// How long processes have between SIGTERM and SIGKILL.
const GRACE: Duration = Duration::from_millis(1900);
/// How often is looked whether any are left.
const LOOKS: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(20));
/// How long killed processes are waited for before the next agent starts.
const KILLED: Duration = Duration::from_secs(2);
/// An agent that lives no longer has had a short life.
const SHORT: Duration = Duration::from_secs(1);
/// After so many short lives in a row no other agent is started.
const LIVES: u32 = 100;
/// The pause before the next agent grows by this with each short life.
const PAUSE: Duration = Duration::from_millis(10);
/// Longer messages are a fault of the agent.
const LIMIT: usize = 16 << 20;

/// Order: SIGTERM, a grace, SIGKILL.
pub(crate) const END_GENTLY: u8 = b't';
/// Order: SIGKILL.
pub(crate) const END: u8 = b'k';

/// How the processes under this one are reached.
pub(crate) trait Processes {
    /// Sends a signal to all of them.
    fn signal(&self, signal: Signal);
    /// All of them that live.
    fn alive(&self) -> Vec<Process>;
    /// Ends all that are left and waits for them, unless the end of this process does.
    fn finish(&self);
    /// Kills all of them; this process goes on.
    fn kill(&self);
}

/// The variables of commands.
pub(crate) type Variables = BTreeMap<String, String>;

/// The agent, or the command in its place, as its parent sees it.
#[derive(Debug)]
pub(crate) struct Agent {
    pid: Pid,
    /// See [`daytona_toolbox::line`]; a command has none.
    line: Option<Line>,
    started: Instant,
}

#[derive(Debug)]
struct Line {
    socket: UnixStream,
    received: Vec<u8>,
}

impl Agent {
    pub(crate) fn new(pid: Pid, line: Option<UnixStream>) -> Self {
        let line = line.map(|socket| {
            let _ = socket.set_nonblocking(true);
            Line { socket, received: Vec::new() }
        });
        Self { pid, line, started: Instant::now() }
    }

    pub(crate) fn line(&self) -> Option<&UnixStream> {
        self.line.as_ref().map(|line| &line.socket)
    }

    /// Tells it that what it runs has its grace.
    fn tell(&mut self) {
        if let Some(line) = &mut self.line {
            let _ = line.socket.write(&[line::GRACE]);
        }
    }
}

impl Line {
    /// Reads what has come: the last whole message, and whether more may come.
    fn read(&mut self) -> (Option<Variables>, bool) {
        let mut piece = [0; 16 << 10];
        let open = loop {
            match self.socket.read(&mut piece) {
                Ok(0) => break false,
                Ok(read) => self.received.extend_from_slice(&piece[..read]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => break error.kind() == io::ErrorKind::WouldBlock,
            }
        };
        let mut last = None;
        while let Some((length, rest)) = self.received.split_first_chunk::<4>() {
            let length = u32::from_le_bytes(*length) as usize;
            if length > LIMIT {
                return (last, false);
            }
            let Some(text) = rest.get(..length) else {
                break;
            };
            last = serde_json::from_slice(text).ok().or(last);
            self.received.drain(..4 + length);
        }
        (last, open)
    }
}

/// Reaps until the agent ends or `control` says so, ends what is left and returns the exit code.
///
/// A byte on `control` is an order; its end means the launcher is gone. An agent that is killed is followed by another
/// one, which `again` starts with the last variables of the one before.
pub(crate) fn run(
    agent: Agent,
    control: &OwnedFd,
    processes: &impl Processes,
    again: impl Fn(Option<&Variables>) -> io::Result<Agent>,
) -> u8 {
    #[cfg(target_os = "linux")]
    let children = crate::sys::child_events().ok();
    #[cfg(not(target_os = "linux"))]
    let children: Option<OwnedFd> = None;
    let mut life = Life { again: agent.line.is_some(), agent, variables: None, short: 0 };
    let mut end: Option<Ending> = None;
    let mut code = 0;
    loop {
        match reap(life.agent.pid) {
            Reaped::Agent(status) if end.is_none() => {
                if !life.follow(status, processes, &again) {
                    processes.finish();
                    return exit_code(status);
                }
                continue;
            }
            Reaped::Agent(status) => {
                code = exit_code(status);
                continue;
            }
            Reaped::NoneLeft if end.is_some() => return code,
            Reaped::NoneLeft | Reaped::SomeLeft => {}
        }
        if let Some(end) = &mut end
            && end.over(life.agent.pid, processes)
        {
            processes.finish();
            return code;
        }
        let mut fds = Vec::with_capacity(3);
        fds.push(PollFd::new(control, PollFlags::IN));
        if let Some(children) = &children {
            fds.push(PollFd::from_borrowed_fd(children.as_fd(), PollFlags::IN));
        }
        if let Some(line) = life.agent.line() {
            fds.push(PollFd::new(line, PollFlags::IN));
        }
        // Without a child event a short timeout stands in for it.
        let longest = children.is_none().then_some(LOOKS.1);
        let longest = longest.into_iter().chain(end.as_ref().map(Ending::pause)).min();
        let timeout = longest.and_then(|longest| longest.try_into().ok());
        let _ = poll(&mut fds, timeout.as_ref());
        let told = !fds[0].revents().is_empty();
        drop(fds);
        if let Some(children) = &children {
            let mut buffer = [0; 512];
            let _ = rustix::io::read(children, &mut buffer);
        }
        life.listen();
        if told {
            let mut byte = [0];
            let read = rustix::io::read(control, &mut byte);
            if read == Err(rustix::io::Errno::INTR) {
                continue;
            }
            if read != Ok(1) || byte == [END] {
                processes.finish();
                return 0;
            }
            if end.is_none() {
                end = Some(Ending::begin(&mut life.agent, processes));
            }
        }
    }
}

/// One agent after the other.
struct Life {
    agent: Agent,
    /// It is an agent, and no command.
    again: bool,
    /// As the agent has told them last.
    variables: Option<Variables>,
    /// Short lives in a row.
    short: u32,
}

impl Life {
    fn listen(&mut self) {
        let Some(line) = &mut self.agent.line else {
            return;
        };
        let (variables, open) = line.read();
        self.variables = variables.or(self.variables.take());
        if !open {
            self.agent.line = None;
        }
    }

    /// Starts another agent after one that was killed. What ran under it has nobody who reads its output any more,
    /// and nobody who could tell of it or end it, so it ends too.
    fn follow(
        &mut self,
        status: WaitStatus,
        processes: &impl Processes,
        again: &impl Fn(Option<&Variables>) -> io::Result<Agent>,
    ) -> bool {
        self.listen();
        let Some(signal) = status.terminating_signal().filter(|_| self.again) else {
            return false;
        };
        processes.kill();
        self.short = if self.agent.started.elapsed() < SHORT { self.short + 1 } else { 0 };
        if self.short > LIVES {
            return false;
        }
        std::thread::sleep(PAUSE * self.short.saturating_sub(1));
        match again(self.variables.as_ref()) {
            Ok(next) => {
                eprintln!("the agent was killed by signal {signal} and was started again");
                self.agent = next;
                true
            }
            Err(error) => {
                eprintln!("the agent was killed by signal {signal} and cannot be started again: {error}");
                false
            }
        }
    }
}

/// A gentle end under way.
struct Ending {
    deadline: Instant,
    pause: Duration,
    /// Shells that were told that their terminal is going away.
    hung_up: Vec<Pid>,
}

impl Ending {
    fn begin(agent: &mut Agent, processes: &impl Processes) -> Self {
        agent.tell();
        processes.signal(Signal::TERM);
        // What is stopped takes it when it goes on.
        processes.signal(Signal::CONT);
        Self { deadline: Instant::now() + GRACE, pause: LOOKS.0, hung_up: Vec::new() }
    }

    fn pause(&self) -> Duration {
        self.pause.min(self.deadline.saturating_duration_since(Instant::now()))
    }

    /// Whether it is time to end what is left. The agent ends last: it has the other ends of the pipes.
    fn over(&mut self, agent: Pid, processes: &impl Processes) -> bool {
        if Instant::now() >= self.deadline {
            return true;
        }
        self.pause = (self.pause * 2).min(LOOKS.1);
        let alive = processes.alive();
        if alive.iter().all(|process| process.pid == agent) {
            return true;
        }
        for process in &alive {
            // Interactive shells do not mind SIGTERM. With nothing in front of it, one ends with its terminal.
            let idle = process.leads_terminal
                && !self.hung_up.contains(&process.pid)
                && !alive.iter().any(|other| other.parent == process.pid)
                && process.ignores(Signal::TERM);
            if idle {
                let _ = kill_process(process.pid, Signal::HUP);
                self.hung_up.push(process.pid);
            }
        }
        false
    }
}

enum Reaped {
    Agent(WaitStatus),
    SomeLeft,
    NoneLeft,
}

fn reap(agent: Pid) -> Reaped {
    loop {
        match rustix::process::wait(WaitOptions::NOHANG | WaitOptions::UNTRACED) {
            // A signal for what it runs, from which it has to be woken.
            Ok(Some((pid, status))) if status.stopped() => {
                if pid == agent {
                    let _ = kill_process(pid, Signal::CONT);
                }
            }
            Ok(Some((pid, status))) if pid == agent => return Reaped::Agent(status),
            Ok(Some(_)) => {}
            Ok(None) => return Reaped::SomeLeft,
            Err(_) => return Reaped::NoneLeft,
        }
    }
}

/// Reaps until no child is left, for a while at most.
pub(crate) fn reap_all() {
    let deadline = Instant::now() + KILLED;
    while Instant::now() < deadline {
        match rustix::process::wait(WaitOptions::NOHANG) {
            Ok(Some(_)) => {}
            Ok(None) => std::thread::sleep(Duration::from_millis(1)),
            Err(_) => return,
        }
    }
}

fn exit_code(status: WaitStatus) -> u8 {
    let code = status.exit_status().or_else(|| status.terminating_signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(255)
}
