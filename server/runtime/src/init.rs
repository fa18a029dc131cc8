//! The first process of a sandbox: starts the agent, reaps, and ends everything when told.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, WaitOptions, WaitStatus};

/// How long processes have between SIGTERM and SIGKILL.
const GRACE: Duration = Duration::from_millis(1900);

/// Order: SIGTERM, a grace, SIGKILL.
pub(crate) const END_GENTLY: u8 = b't';
/// Order: SIGKILL.
pub(crate) const END: u8 = b'k';

/// How the processes under this one are reached.
pub(crate) trait Processes {
    /// Sends a signal to all of them.
    fn signal(&self, signal: i32);
    /// Ends all that are left and waits for them.
    fn finish(&self);
}

/// Reaps until the agent ends or `control` says so, ends what is left and returns the exit code.
///
/// A byte on `control` is an order; its end means the launcher is gone.
pub(crate) fn run(agent: Pid, control: &OwnedFd, processes: &impl Processes) -> u8 {
    #[cfg(target_os = "linux")]
    let children = crate::sys::child_events().ok();
    #[cfg(not(target_os = "linux"))]
    let children: Option<OwnedFd> = None;
    let mut deadline = None;
    let mut code = 0;
    loop {
        match reap(agent) {
            Reaped::Agent(status) if deadline.is_none() => {
                processes.finish();
                return status;
            }
            Reaped::Agent(status) => {
                code = status;
                continue;
            }
            Reaped::NoneLeft if deadline.is_some() => return code,
            Reaped::NoneLeft | Reaped::SomeLeft => {}
        }
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            processes.finish();
            return code;
        }
        let mut fds = Vec::with_capacity(2);
        fds.push(PollFd::new(control, PollFlags::IN));
        if let Some(children) = &children {
            fds.push(PollFd::from_borrowed_fd(children.as_fd(), PollFlags::IN));
        }
        // Without a child event a short timeout stands in for it.
        let longest = children
            .is_none()
            .then_some(Duration::from_millis(20))
            .into_iter()
            .chain(deadline.map(|deadline: Instant| deadline.saturating_duration_since(Instant::now())))
            .min();
        let timeout = longest.and_then(|longest| longest.try_into().ok());
        let _ = poll(&mut fds, timeout.as_ref());
        let told = !fds[0].revents().is_empty();
        drop(fds);
        if let Some(children) = &children {
            let mut buffer = [0; 512];
            let _ = rustix::io::read(children, &mut buffer);
        }
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
            if deadline.is_none() {
                deadline = Some(Instant::now() + GRACE);
                processes.signal(libc::SIGTERM);
            }
        }
    }
}

enum Reaped {
    Agent(u8),
    SomeLeft,
    NoneLeft,
}

fn reap(agent: Pid) -> Reaped {
    loop {
        match rustix::process::wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) if pid == agent => return Reaped::Agent(exit_code(status)),
            Ok(Some(_)) => {}
            Ok(None) => return Reaped::SomeLeft,
            Err(_) => return Reaped::NoneLeft,
        }
    }
}

fn exit_code(status: WaitStatus) -> u8 {
    let code = status.exit_status().or_else(|| status.terminating_signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(255)
}
