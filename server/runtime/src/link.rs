//! The server's side of the conversation with the launcher.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::process::Child;
use std::sync::Mutex;

use tokio::io::{AsyncReadExt, Interest};
use tokio::net::UnixStream;
use tokio::net::unix::OwnedReadHalf;
use tokio::sync::mpsc;

use crate::protocol::{self, Reply, Request};
use crate::{Launcher, RuntimeError};

type Message = (Vec<u8>, Vec<OwnedFd>);

/// Sends requests; the launcher and all sandboxes end when it is dropped.
#[derive(Debug)]
pub(crate) struct Link {
    requests: Mutex<Option<mpsc::UnboundedSender<Message>>>,
    child: Mutex<Option<Child>>,
}

impl Link {
    /// Takes over the launcher; its replies arrive at the receiver, which closes with it.
    pub(crate) fn new(launcher: Launcher) -> io::Result<(Self, mpsc::UnboundedReceiver<Reply>)> {
        let Launcher { child, socket } = launcher;
        socket.set_nonblocking(true)?;
        let (reader, writer) = UnixStream::from_std(socket)?.into_split();
        let (requests, mut queue) = mpsc::unbounded_channel::<Message>();
        let (replies, receiver) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Some((bytes, fds)) = queue.recv().await {
                if write(writer.as_ref(), &bytes, fds).await.is_err() {
                    break;
                }
            }
        });
        tokio::spawn(async move {
            let _ = read(reader, &replies).await;
        });
        let link = Self { requests: Mutex::new(Some(requests)), child: Mutex::new(Some(child)) };
        Ok((link, receiver))
    }

    /// Queues a request with its descriptors.
    pub(crate) fn send(&self, request: &Request, fds: Vec<OwnedFd>) -> Result<(), RuntimeError> {
        let bytes = protocol::frame(request)
            .map_err(|error| RuntimeError::Invalid(format!("the sandbox's settings are too large: {error}")))?;
        let requests = crate::lock(&self.requests);
        requests.as_ref().and_then(|requests| requests.send((bytes, fds)).ok()).ok_or(RuntimeError::LauncherGone)
    }

    /// Tells the launcher to end.
    pub(crate) fn close(&self) {
        crate::lock(&self.requests).take();
    }

    /// Collects the launcher, which has ended or is about to.
    pub(crate) fn collect(&self) {
        if let Some(mut child) = crate::lock(&self.child).take() {
            let _ = child.wait();
        }
    }
}

async fn write(stream: &UnixStream, bytes: &[u8], fds: Vec<OwnedFd>) -> io::Result<()> {
    let borrowed: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
    let mut sent = 0;
    while sent < bytes.len() {
        let fds = if sent == 0 { borrowed.as_slice() } else { &[] };
        sent += stream.async_io(Interest::WRITABLE, || protocol::send_start(stream, &bytes[sent..], fds)).await?;
    }
    Ok(())
}

async fn read(mut reader: OwnedReadHalf, replies: &mpsc::UnboundedSender<Reply>) -> io::Result<()> {
    loop {
        let length = reader.read_u32_le().await?;
        let mut body = vec![0; length as usize];
        reader.read_exact(&mut body).await?;
        match serde_json::from_slice(&body) {
            Ok(reply) => {
                if replies.send(reply).is_err() {
                    return Ok(());
                }
            }
            Err(error) => tracing::error!("the launcher's answer makes no sense: {error}"),
        }
    }
}
