//! Whether anything still answers where a sandbox's proxy is.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use reqwest::Url;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{sleep, timeout};

use crate::proxies::Proxies;

/// When a second attempt follows the first: a single lost packet proves nothing.
const SECOND: Duration = Duration::from_millis(200);
/// What an answer may take. The longest way, over a satellite far out, takes about 700 ms.
const LIMIT: Duration = Duration::from_millis(800);
/// Attempts take at least so many round trips of requests that were answered.
const ROUND_TRIPS: u32 = 3;

/// Addresses that were found while the network was there: without it, names mean nothing.
pub(crate) struct Reach(Vec<SocketAddr>);

impl Reach {
    /// Of the server of this URL, or of the proxy that requests to it take; `None` where names are not known.
    pub(crate) async fn of(url: &Url) -> Option<Self> {
        let proxy = Proxies::from_system().of(url);
        let (host, port) = match &proxy {
            Some(proxy) => proxy.address()?,
            None => (url.host_str()?, url.port_or_known_default()?),
        };
        let found = timeout(LIMIT, lookup_host((host.trim_matches(['[', ']']), port))).await.ok()?.ok()?;
        Some(Self(found.collect()))
    }

    /// True if nothing at all answers there, not even a refusal. `usual` is what a request takes otherwise.
    pub(crate) async fn is_lost(&self, usual: Duration) -> bool {
        let attempts = self.0.iter().flat_map(|address| [Duration::ZERO, SECOND].map(|pause| attempt(*address, pause)));
        let mut attempts: FuturesUnordered<_> = attempts.collect();
        let answered = async {
            while let Some(result) = attempts.next().await {
                match result {
                    Err(error) if has_no_way(&error) => {}
                    Ok(()) | Err(_) => return true,
                }
            }
            false
        };
        !timeout(LIMIT.max(usual * ROUND_TRIPS), answered).await.unwrap_or(false)
    }
}

async fn attempt(address: SocketAddr, pause: Duration) -> io::Result<()> {
    sleep(pause).await;
    TcpStream::connect(address).await.map(drop)
}

/// The system knows no way there.
fn has_no_way(error: &io::Error) -> bool {
    use io::ErrorKind::{HostUnreachable, NetworkDown, NetworkUnreachable, TimedOut};
    matches!(error.kind(), HostUnreachable | NetworkDown | NetworkUnreachable | TimedOut)
}
