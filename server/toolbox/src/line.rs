//! The line between the agent and the process that started it, which starts another agent should this one be killed.
//!
//! Down comes one byte when all that runs is told to end. Up go the variables of commands whenever they change, as a length (4 bytes, little
//! endian) and JSON: the next agent begins with them.

use std::io;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::Signal;
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::OwnedWriteHalf;
use tokio::signal::unix::{SignalKind, signal};

/// What runs was told to end and has its grace; the agent leaves it alone.
pub const GRACE: u8 = b'g';

/// What would end the agent, and is meant for what it runs.
const ENDURED: [Signal; 9] = [
    Signal::HUP,
    Signal::INT,
    Signal::QUIT,
    Signal::USR1,
    Signal::USR2,
    Signal::ALARM,
    Signal::TERM,
    Signal::VTALARM,
    Signal::PROF,
];
#[cfg(target_os = "linux")]
const ENDURED_TOO: [Signal; 3] = [Signal::IO, Signal::POWER, Signal::STKFLT];
#[cfg(not(target_os = "linux"))]
const ENDURED_TOO: [Signal; 0] = [];

static ENDING: AtomicBool = AtomicBool::new(false);

/// Whether what runs has its grace: nothing is killed any more for being of no use.
pub(crate) fn ending() -> bool {
    ENDING.load(Ordering::Relaxed)
}

/// Takes the agent's end of the line; gives what the variables are told to. From now on signals that a program can
/// take do not end this process; what it runs begins with their defaults.
pub(crate) fn take(line: UnixStream) -> io::Result<OwnedWriteHalf> {
    line.set_nonblocking(true)?;
    rustix::io::fcntl_setfd(&line, rustix::io::FdFlags::CLOEXEC)?;
    for endured in ENDURED.into_iter().chain(ENDURED_TOO) {
        drop(signal(SignalKind::from_raw(endured.as_raw()))?);
    }
    let (mut orders, keeper) = tokio::net::UnixStream::from_std(line)?.into_split();
    tokio::spawn(async move {
        if matches!(orders.read_u8().await, Ok(GRACE)) {
            ENDING.store(true, Ordering::Relaxed);
        }
    });
    Ok(keeper)
}
