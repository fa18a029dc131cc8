//! What the server and the launcher say to each other.
//!
//! A frame is a length (4 bytes, little endian) and as many bytes of JSON, over a stream socket.
//! Descriptors travel with the length.

use std::collections::BTreeMap;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use daytona_toolbox::AgentConfig;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::process;

/// Larger frames are a fault of the sender.
const MAX_FRAME: usize = 16 << 20;
/// Descriptors of one request: listener, report, log.
const MAX_FDS: usize = 3;

/// The server's requests. `seq` names one start of one sandbox.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    /// The cgroups that all sandboxes' groups are made in: to remove when the server is gone.
    Groups { parents: Vec<PathBuf> },
    /// Start a sandbox. Comes with the agent's listener, a socket for one [`Report`] and a log file.
    Launch(Box<Launch>),
    /// End one.
    Stop { seq: u64, force: bool },
    /// Give one another host name. Comes with a socket for one [`Report`].
    Rename { seq: u64, hostname: String },
}

/// One sandbox to start.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Launch {
    pub(crate) seq: u64,
    pub(crate) plan: Plan,
    /// Without one the sandbox ends when it is ready: a trial.
    pub(crate) agent: Option<AgentConfig>,
    /// What runs in the agent's place.
    #[serde(default)]
    pub(crate) command: Option<Command>,
}

/// A command that is all of a sandbox.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Command {
    pub(crate) argv: Vec<String>,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) work_dir: PathBuf,
}

/// What a sandbox's first process starts.
#[derive(Clone, Debug)]
pub(crate) enum Inside {
    /// Nothing: a trial.
    Nothing,
    Agent(Box<AgentConfig>),
    Command(Command),
}

impl Launch {
    /// What runs in it.
    pub(crate) fn inside(agent: Option<AgentConfig>, command: Option<Command>) -> Inside {
        match (agent, command) {
            (Some(agent), _) => Inside::Agent(Box::new(agent)),
            (None, Some(command)) => Inside::Command(command),
            (None, None) => Inside::Nothing,
        }
    }
}

/// How to make it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Plan {
    #[cfg(target_os = "linux")]
    Ns(Box<crate::ns::Plan>),
    Process(process::Plan),
}

/// The launcher's answers.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Reply {
    /// The sandbox's first process, in the launcher's PID namespace.
    Started { seq: u64, pid: i32 },
    /// It is gone, and with it everything that ran in it.
    Exited {
        seq: u64,
        reason: String,
        /// The exit code of its first process, or 128 and the signal.
        #[serde(default)]
        code: Option<i32>,
    },
}

/// What a starting sandbox says about itself, once.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Report {
    Ready,
    Failed(Failure),
}

/// The step of a start that failed.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Failure {
    pub(crate) step: String,
    pub(crate) errno: i32,
}

impl Failure {
    pub(crate) fn into_error(self) -> crate::RuntimeError {
        crate::RuntimeError::Launch { step: self.step, source: io::Error::from_raw_os_error(self.errno) }
    }
}

/// Names the step a system call belongs to.
pub(crate) trait Step<T> {
    fn step(self, step: &str) -> Result<T, Failure>;
    fn step_with(self, step: impl FnOnce() -> String) -> Result<T, Failure>;
}

impl<T, E: Into<io::Error>> Step<T> for Result<T, E> {
    fn step(self, step: &str) -> Result<T, Failure> {
        self.step_with(|| step.to_owned())
    }

    fn step_with(self, step: impl FnOnce() -> String) -> Result<T, Failure> {
        self.map_err(|error| Failure { step: step(), errno: error.into().raw_os_error().unwrap_or(libc::EIO) })
    }
}

/// A frame ready to be sent.
pub(crate) fn frame(message: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; 4];
    serde_json::to_writer(&mut bytes, message)?;
    let length = bytes.len() - 4;
    let length = u32::try_from(length)
        .ok()
        .filter(|_| length <= MAX_FRAME)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "message too large"))?;
    bytes[..4].copy_from_slice(&length.to_le_bytes());
    Ok(bytes)
}

/// Sends the first bytes of a frame with its descriptors; returns how many were taken.
pub(crate) fn send_start(socket: impl AsFd, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "too many descriptors"));
    }
    #[cfg(target_os = "linux")]
    let flags = SendFlags::NOSIGNAL;
    #[cfg(not(target_os = "linux"))]
    let flags = SendFlags::empty();
    Ok(rustix::net::sendmsg(socket, &[IoSlice::new(bytes)], &mut control, flags)?)
}

/// Receives one frame; `None` when the other side is gone.
///
/// A frame that does not parse is `Some(Err(..))`: the stream stays usable.
pub(crate) fn receive<T: DeserializeOwned>(
    mut socket: &UnixStream,
) -> io::Result<Option<(serde_json::Result<T>, Vec<OwnedFd>)>> {
    let mut length = [0_u8; 4];
    let mut fds = Vec::new();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    #[cfg(target_os = "linux")]
    let flags = RecvFlags::CMSG_CLOEXEC;
    #[cfg(not(target_os = "linux"))]
    let flags = RecvFlags::empty();
    let message = rustix::net::recvmsg(socket, &mut [IoSliceMut::new(&mut length)], &mut control, flags)?;
    if message.bytes == 0 {
        return Ok(None);
    }
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            fds.extend(received);
        }
    }
    if message.flags.contains(ReturnFlags::CTRUNC) {
        fds.clear();
    }
    socket.read_exact(&mut length[message.bytes..])?;
    let length = u32::from_le_bytes(length) as usize;
    if length > MAX_FRAME {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "frame too large"));
    }
    let mut body = vec![0; length];
    socket.read_exact(&mut body)?;
    Ok(Some((serde_json::from_slice(&body), fds)))
}

/// Sends a whole frame on a blocking socket.
pub(crate) fn send(mut socket: &UnixStream, message: &impl Serialize) -> io::Result<()> {
    socket.write_all(&frame(message)?)
}

/// Sends a report. The server may be gone: then there is nobody to tell.
pub(crate) fn report(socket: &OwnedFd, report: &Report) {
    if let Ok(mut text) = serde_json::to_vec(report) {
        text.push(b'\n');
        let _ = rustix::io::write(socket, &text);
    }
}

/// Sends a device ahead of the report, with a blank that JSON does not mind.
#[cfg(target_os = "linux")]
pub(crate) fn hand_over(socket: &OwnedFd, device: BorrowedFd<'_>) -> io::Result<()> {
    send_start(socket, b" ", &[device]).map(drop)
}
