//! How a start went, told by the sandbox itself.

use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};
use tokio::io::Interest;
use tokio::net::UnixStream;

use crate::protocol::Report;

/// The server's end of the socket on which a starting sandbox says how it went. The other end closes when it is
/// ready or gone.
#[derive(Debug)]
pub(crate) struct Outcome {
    socket: UnixStream,
    text: Vec<u8>,
    device: Option<OwnedFd>,
}

impl Outcome {
    /// The server's end and the sandbox's.
    pub(crate) fn pair() -> io::Result<(Self, OwnedFd)> {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let socket = UnixStream::from_std(ours)?;
        Ok((Self { socket, text: Vec::new(), device: None }, theirs.into()))
    }

    /// Reads to the end.
    pub(crate) async fn read(&mut self) -> io::Result<()> {
        while self
            .socket
            .async_io(Interest::READABLE, || receive(&self.socket, &mut self.text, &mut self.device))
            .await?
            > 0
        {}
        Ok(())
    }

    /// What was said, if it makes sense, and the device that came with it.
    pub(crate) fn into_parts(self) -> (Option<Report>, Option<OwnedFd>) {
        (serde_json::from_slice(&self.text).ok(), self.device)
    }
}

/// Longer reports are a fault of the sandbox.
const LIMIT: usize = 1 << 16;

fn receive(socket: &UnixStream, text: &mut Vec<u8>, device: &mut Option<OwnedFd>) -> io::Result<usize> {
    let mut bytes = [0; 1024];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    #[cfg(target_os = "linux")]
    let flags = RecvFlags::CMSG_CLOEXEC;
    #[cfg(not(target_os = "linux"))]
    let flags = RecvFlags::empty();
    let message = rustix::net::recvmsg(socket, &mut [IoSliceMut::new(&mut bytes)], &mut control, flags)?;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            *device = received.last().or(device.take());
        }
    }
    if text.len() + message.bytes > LIMIT {
        return Err(io::ErrorKind::InvalidData.into());
    }
    text.extend_from_slice(&bytes[..message.bytes]);
    Ok(message.bytes)
}
