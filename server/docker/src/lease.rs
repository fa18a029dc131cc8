//! The connection that a running container holds to the server.

use std::fs::{self, Permissions};
use std::io::{self as stdio, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener as StdListener;
use std::path::{Path, PathBuf};

use daytona_runtime::RuntimeError;
use daytona_toolbox::container::{Order, Report};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, Interest};
use tokio::net::{UnixListener, UnixStream};

use crate::io;
use crate::state::make_folder;

/// Longer reports are a fault.
const LIMIT: usize = 1 << 20;

/// A folder of sockets, reached by a short path: a socket's path may have 107 bytes.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    open: OwnedFd,
}

impl Folder {
    fn open(path: &Path) -> stdio::Result<Self> {
        make_folder(path)?;
        Ok(Self { path: path.to_owned(), open: fs::File::open(path)?.into() })
    }

    /// The path of a file in it, for this process.
    fn short(&self, name: &str) -> PathBuf {
        if cfg!(target_os = "linux") {
            PathBuf::from(format!("/proc/self/fd/{}/{name}", self.open.as_raw_fd()))
        } else {
            self.path.join(name)
        }
    }

    fn bind(&self, name: &str) -> stdio::Result<(StdListener, PathBuf)> {
        let path = self.short(name);
        let _ = fs::remove_file(&path);
        Ok((StdListener::bind(&path)?, path))
    }
}

/// The agents' sockets, which only this server can connect to.
#[derive(Debug)]
pub(crate) struct Sockets(Folder);

impl Sockets {
    pub(crate) fn new(data_dir: &Path) -> Result<Self, RuntimeError> {
        let path = data_dir.join("sockets");
        let _ = daytona_runtime::remove_sockets(&path);
        Folder::open(&path).map(Self).map_err(io("make", &path))
    }

    pub(crate) fn bind(&self, id: &str) -> Result<(StdListener, PathBuf), RuntimeError> {
        self.0.bind(id).map_err(io("listen on", &self.0.path.join(id)))
    }

    pub(crate) fn remove(&self, id: &str) {
        let _ = fs::remove_file(self.0.short(id));
    }
}

/// The socket that a starting container connects to.
pub(crate) struct Waiting {
    listener: UnixListener,
    path: PathBuf,
    _folder: Folder,
}

impl Waiting {
    /// Listens in the folder that the container is to have.
    pub(crate) fn new(folder: &Path) -> Result<Self, RuntimeError> {
        let listen = || {
            let folder = Folder::open(folder)?;
            // The container's user is anybody; the folders above are the server's alone.
            fs::set_permissions(&folder.path, Permissions::from_mode(0o755))?;
            let (listener, path) = folder.bind("lease")?;
            fs::set_permissions(&path, Permissions::from_mode(0o666))?;
            listener.set_nonblocking(true)?;
            Ok(Self { listener: UnixListener::from_std(listener)?, path, _folder: folder })
        };
        listen().map_err(io("listen in", folder))
    }

    /// Waits for the container and tells it what to do: who it is, and the connection, on which it waits for
    /// [`go`].
    pub(crate) async fn greet(self, order: &Order, listener: StdListener) -> stdio::Result<(Report, UnixStream)> {
        let (mut lease, _) = self.listener.accept().await?;
        let _ = fs::remove_file(&self.path);
        let mut text = serde_json::to_vec(order)?;
        text.push(b'\n');
        let sent = lease.async_io(Interest::WRITABLE, || send_start(&lease, &text, &listener)).await?;
        lease.write_all(&text[sent..]).await?;
        let mut answer = Vec::new();
        while !answer.ends_with(b"\n") {
            if lease.read_buf(&mut answer).await? == 0 || answer.len() > LIMIT {
                return Err(stdio::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok((serde_json::from_slice(&answer)?, lease))
    }
}

/// Lets the container go on.
pub(crate) async fn go(lease: &mut UnixStream) -> stdio::Result<()> {
    lease.write_all(b"\n").await
}

/// Sends the first bytes with the agent's socket; returns how many were taken.
fn send_start(lease: &UnixStream, text: &[u8], listener: &StdListener) -> stdio::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let fds = [listener.as_fd()];
    if !control.push(SendAncillaryMessage::ScmRights(&fds)) {
        return Err(stdio::ErrorKind::InvalidInput.into());
    }
    #[cfg(target_os = "linux")]
    let flags = SendFlags::NOSIGNAL;
    #[cfg(not(target_os = "linux"))]
    let flags = SendFlags::empty();
    Ok(rustix::net::sendmsg(lease, &[IoSlice::new(text)], &mut control, flags)?)
}
