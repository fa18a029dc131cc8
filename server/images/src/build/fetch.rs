//! ADD of URLs.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Client, Url, redirect};
use tokio::io::AsyncWriteExt as _;

use crate::error::Context as _;
use crate::{Error, Result, digest};

const CONNECT: Duration = Duration::from_secs(10);
const IDLE: Duration = Duration::from_secs(30);
const REDIRECTS: usize = 10;

pub(crate) type Allow = Arc<dyn Fn(IpAddr) -> bool + Send + Sync>;

/// Addresses of the internet: not of this machine, nor of its network.
pub(crate) fn public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            let shared = v4.octets()[0] == 100 && v4.octets()[1] & 0xc0 == 64;
            !(v4.is_loopback()
                || v4.is_private()
                || v4.is_link_local()
                || v4.is_unspecified()
                || v4.is_multicast()
                || v4.is_broadcast()
                || shared
                || v4.octets()[0] == 0)
        }
        IpAddr::V6(v6) => {
            !(v6.is_loopback()
                || v6.is_unspecified()
                || v6.is_multicast()
                || v6.is_unique_local()
                || v6.is_unicast_link_local())
        }
    }
}

/// Looks names up and leaves out what may not be reached, so that no name leads around the rule.
struct Resolver(Allow);

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let allow = Arc::clone(&self.0);
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let allowed: Vec<SocketAddr> = found.filter(|address| allow(address.ip())).collect();
            if allowed.is_empty() {
                return Err(format!("{} has no address that builds may connect to", name.as_str()).into());
            }
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

/// Whether the host of a URL, if it is an address, may be reached. Names are looked at when they are resolved.
fn permitted(url: &Url, allow: &Allow) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host.parse().is_ok_and(|address| allow(address)) || host.parse::<IpAddr>().is_err()
}

/// Downloads to a file, within a limit of bytes.
pub(crate) async fn fetch(url: &str, to: &Path, limit: u64, checksum: Option<&str>, allow: &Allow) -> Result<()> {
    let unreachable = |why: String| Error::Unreachable { registry: url.to_owned(), why };
    let parsed = Url::parse(url).map_err(|error| unreachable(error.to_string()))?;
    let refused = || unreachable("builds may not connect to this address".to_owned());
    if !permitted(&parsed, allow) {
        return Err(refused());
    }
    let _ = rustls::crypto::ring::default_provider().install_default();
    let rule = Arc::clone(allow);
    let redirects = redirect::Policy::custom(move |attempt| {
        if attempt.previous().len() > REDIRECTS {
            attempt.error("too many redirects")
        } else if !permitted(attempt.url(), &rule) {
            attempt.error("builds may not connect to the address of a redirect")
        } else {
            attempt.follow()
        }
    });
    let client = Client::builder()
        .connect_timeout(CONNECT)
        .read_timeout(IDLE)
        .redirect(redirects)
        .no_proxy()
        .dns_resolver(Arc::new(Resolver(Arc::clone(allow))))
        .user_agent(concat!("daytona-native/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| unreachable(error.to_string()))?;
    let chain = |error: reqwest::Error| {
        let mut text = error.to_string();
        let mut source = std::error::Error::source(&error);
        while let Some(error) = source {
            text = format!("{text}: {error}");
            source = error.source();
        }
        unreachable(text)
    };
    let response = client.get(parsed).send().await.map_err(chain)?;
    let status = response.status();
    if !status.is_success() {
        return Err(match status.as_u16() {
            404 => Error::NotFound(format!("{url} was not found")),
            code => unreachable(format!("it answered with status {code}")),
        });
    }
    let what = || format!("writing {}", to.display());
    let mut file = tokio::fs::File::create(to).await.context(what)?;
    let mut hash = <sha2::Sha256 as sha2::Digest>::new();
    let mut length = 0;
    let mut body = response.bytes_stream();
    while let Some(piece) = body.next().await {
        let piece = piece.map_err(chain)?;
        length += piece.len() as u64;
        if length > limit {
            return Err(Error::TooLarge { what: url.to_owned(), limit: format!("{limit} bytes") });
        }
        sha2::Digest::update(&mut hash, &piece);
        file.write_all(&piece).await.context(what)?;
    }
    file.flush().await.context(what)?;
    let got = digest::text(hash);
    match checksum {
        Some(expected) if expected != got => {
            Err(Error::Corrupt { what: url.to_owned(), expected: expected.to_owned(), got })
        }
        _ => Ok(()),
    }
}
