//! The server's side of the conversation with the launcher.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream as StdStream;
use std::process::Child;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, Interest};
use tokio::net::UnixStream;
use tokio::net::unix::OwnedReadHalf;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use crate::launcher::Program;
use crate::protocol::{self, Reply, Request};
use crate::{Launcher, RuntimeError};

type Message = (Vec<u8>, Vec<OwnedFd>);

/// How long a request waits for another launcher.
const RENEWAL: Duration = Duration::from_secs(15);

/// Sends requests; the launcher and all sandboxes end when it is dropped.
#[derive(Debug)]
pub(crate) struct Link {
    state: watch::Sender<State>,
    child: Mutex<Option<Child>>,
    program: Program,
    /// How many launchers have ended.
    ended: AtomicU64,
}

#[derive(Debug)]
enum State {
    Up(mpsc::UnboundedSender<Message>),
    /// The launcher has ended, and another one is being started.
    Down,
    /// For good.
    Closed,
}

impl Link {
    /// Takes over the launcher; its replies arrive at the receiver, which closes with it.
    pub(crate) fn new(launcher: Launcher) -> io::Result<(Self, mpsc::UnboundedReceiver<Reply>)> {
        let Launcher { child, socket, program } = launcher;
        let (requests, replies) = converse(socket)?;
        let state = watch::Sender::new(State::Up(requests));
        Ok((Self { state, child: Mutex::new(Some(child)), program, ended: AtomicU64::new(0) }, replies))
    }

    /// Queues a request with its descriptors.
    pub(crate) fn send(&self, request: &Request, fds: Vec<OwnedFd>) -> Result<(), RuntimeError> {
        let bytes = protocol::frame(request)
            .map_err(|error| RuntimeError::Invalid(format!("the sandbox's settings are too large: {error}")))?;
        if let State::Up(requests) = &*self.state.borrow()
            && requests.send((bytes, fds)).is_ok()
        {
            return Ok(());
        }
        self.note_end();
        Err(RuntimeError::LauncherGone)
    }

    /// Waits while another launcher is being started.
    pub(crate) async fn ready(&self) -> Result<(), RuntimeError> {
        let mut state = self.state.subscribe();
        match timeout(RENEWAL, state.wait_for(|state| !matches!(state, State::Down))).await {
            Ok(Ok(state)) if matches!(*state, State::Up(_)) => Ok(()),
            _ => Err(RuntimeError::LauncherGone),
        }
    }

    /// How many launchers have ended. What fails while this changes has failed for that.
    pub(crate) fn ended(&self) -> u64 {
        self.ended.load(Ordering::Relaxed)
    }

    fn note_end(&self) {
        self.state.send_if_modified(|state| {
            let has_ended = matches!(state, State::Up(requests) if requests.is_closed());
            if has_ended {
                *state = State::Down;
            }
            has_ended
        });
    }

    /// Notes that the launcher has ended, and says how; `None` where it was told to.
    pub(crate) fn lost(&self) -> Option<String> {
        let mut is_closed = false;
        self.state.send_modify(|state| match state {
            State::Closed => is_closed = true,
            state => *state = State::Down,
        });
        self.ended.fetch_add(1, Ordering::Relaxed);
        if is_closed {
            return None;
        }
        let mut child = crate::lock(&self.child).take()?;
        // It has closed its socket at least.
        let _ = child.kill();
        Some(child.wait().map_or_else(|error| error.to_string(), |status| status.to_string()))
    }

    /// Starts a launcher, not heard yet.
    pub(crate) fn start(&self) -> io::Result<(Child, StdStream)> {
        self.program.start()
    }

    /// Sends the requests to another launcher from now on; `None` if none are to be sent any more.
    pub(crate) fn renew(&self, child: Child, socket: StdStream) -> io::Result<Option<mpsc::UnboundedReceiver<Reply>>> {
        let (requests, replies) = converse(socket)?;
        *crate::lock(&self.child) = Some(child);
        let is_renewed = self.state.send_if_modified(|state| {
            let is_down = matches!(state, State::Down);
            if is_down {
                *state = State::Up(requests);
            }
            is_down
        });
        if !is_renewed {
            self.collect();
        }
        Ok(is_renewed.then_some(replies))
    }

    pub(crate) fn is_up(&self) -> bool {
        matches!(*self.state.borrow(), State::Up(_))
    }

    pub(crate) fn is_closed(&self) -> bool {
        matches!(*self.state.borrow(), State::Closed)
    }

    /// Tells the launcher to end.
    pub(crate) fn close(&self) {
        self.state.send_replace(State::Closed);
    }

    /// Collects the launcher, which has ended or is about to.
    pub(crate) fn collect(&self) {
        if let Some(mut child) = crate::lock(&self.child).take() {
            let _ = child.wait();
        }
    }
}

/// Starts the two halves of the conversation.
fn converse(socket: StdStream) -> io::Result<(mpsc::UnboundedSender<Message>, mpsc::UnboundedReceiver<Reply>)> {
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
    Ok((requests, receiver))
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
