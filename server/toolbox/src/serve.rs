//! The agent's event loop.

use std::convert::Infallible;
use std::io;
use std::os::unix::net::UnixListener;
use std::pin::pin;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustix::io::Errno;
use tokio::net::UnixStream;
use tokio_io_timeout::TimeoutStream;

use crate::{AgentConfig, router};

/// From the end of a request to the whole head of the next.
const HEAD: Duration = Duration::from_secs(120);

/// A client that takes nothing of its answer for so long is gone.
const STALLED: Duration = Duration::from_secs(300);

/// Disk work at once. No thread waits for a client, so a few are enough.
const DISK_THREADS: usize = 4;

pub(crate) fn run(config: AgentConfig, listener: UnixListener) -> io::Result<Infallible> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(DISK_THREADS)
        .thread_keep_alive(Duration::from_secs(1))
        .thread_stack_size(512 << 10)
        .build()?;
    runtime.block_on(async move {
        listener.set_nonblocking(true)?;
        let listener = tokio::net::UnixListener::from_std(listener)?;
        let router = router(config);
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
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(STALLED));
    let connection = http.serve_connection(TokioIo::new(Box::pin(stream)), TowerToHyperService::new(router));
    // A connection that breaks takes its request along and nothing else.
    tokio::spawn(async move {
        let _ = pin!(connection.with_upgrades()).await;
    });
}
