//! The agent's event loop.

use std::convert::Infallible;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream as Line};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::server::conn::http1;
use hyper::upgrade::Upgraded;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustix::io::{Errno, FdFlags};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;
use tokio::time::Sleep;
use tokio_io_timeout::TimeoutStream;

use crate::{AgentConfig, line, routes};

/// From the end of a request to the whole head of the next.
const HEAD: Duration = Duration::from_secs(120);

/// A client that takes nothing of its answer for so long is gone.
const STALLED: Duration = Duration::from_secs(300);

/// How long a closed connection's rest is read.
const LINGER: Duration = Duration::from_secs(5);

/// Disk work at once. No thread waits for a client, so a few are enough.
const DISK_THREADS: usize = 4;

pub(crate) fn run(config: AgentConfig, listener: UnixListener, line: Option<Line>) -> io::Result<Infallible> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(DISK_THREADS)
        .thread_keep_alive(Duration::from_secs(1))
        .thread_stack_size(512 << 10)
        .build()?;
    runtime.block_on(async move {
        listener.set_nonblocking(true)?;
        // It was made by another process, and commands are none of its users.
        rustix::io::fcntl_setfd(&listener, FdFlags::CLOEXEC)?;
        let listener = tokio::net::UnixListener::from_std(listener)?;
        let router = routes(config, line.map(line::take).transpose()?);
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(HEAD).max_buf_size(256 << 10);
        loop {
            match listener.accept().await {
                Ok((stream, _)) => serve(&http, stream, router.clone()),
                Err(error) if passing(&error) => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                Err(error) => return Err(error),
            }
        }
    })
}

/// A failure to accept that says nothing about the listener.
fn passing(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(
            Errno::CONNABORTED | Errno::INTR | Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM | Errno::PERM
        )
    )
}

fn serve(http: &http1::Builder, stream: UnixStream, router: axum::Router) {
    let connection = http.serve_connection(TokioIo::new(Connection::new(stream)), TowerToHyperService::new(router));
    // A connection that breaks takes its request along and nothing else.
    tokio::spawn(async move {
        let _ = pin!(connection.with_upgrades()).await;
    });
}

/// A client's connection, closed in a way that lets the client read the last answer.
struct Connection {
    stream: Pin<Box<TimeoutStream<UnixStream>>>,
    closing: Option<Pin<Box<Sleep>>>,
}

impl Connection {
    fn new(stream: UnixStream) -> Self {
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(STALLED));
        Self { stream: Box::pin(stream), closing: None }
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.stream.as_mut().poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.stream.as_mut().poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.stream.as_mut().poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.as_mut().poll_flush(cx)
    }

    /// Says that no more comes, then reads what the client still sends: a socket closed over
    /// unread data makes the client lose the answer.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.closing.is_none() {
            ready!(self.stream.as_mut().poll_shutdown(cx))?;
            self.closing = Some(Box::pin(tokio::time::sleep(LINGER)));
        }
        loop {
            if let Some(closing) = &mut self.closing
                && closing.as_mut().poll(cx).is_ready()
            {
                return Poll::Ready(Ok(()));
            }
            let mut scrap = [0; 8 << 10];
            let mut scrap = ReadBuf::new(&mut scrap);
            match ready!(self.stream.as_mut().poll_read(cx, &mut scrap)) {
                Ok(()) if !scrap.filled().is_empty() => {}
                Ok(()) | Err(_) => return Poll::Ready(Ok(())),
            }
        }
    }
}

/// The stream of a connection whose protocol was switched, and what came before that was noticed.
pub(crate) fn raw(upgraded: Upgraded) -> io::Result<(Bytes, UnixStream)> {
    let parts = upgraded.downcast::<TokioIo<Connection>>().map_err(|_| io::ErrorKind::Unsupported)?;
    // Whoever is at the other end may take its time, and each direction ends by itself.
    let stream = parts.io.into_inner().stream.get_ref().as_fd().try_clone_to_owned()?;
    Ok((parts.read_buf, UnixStream::from_std(stream.into())?))
}
