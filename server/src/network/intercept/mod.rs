//! Requests to the hosts of a sandbox's secrets: the values go in where the placeholders are.
//!
//! Only connections to such hosts are looked into. TLS to them is ended here, with a certificate of the server's own
//! authority, once the host has shown a valid one; whatever cannot be done that way passes untouched, so that the
//! program sees what it would see anyway, and the host a placeholder.

mod authority;
mod http;
mod replace;
mod sniff;

use std::future::Future;
use std::io;
use std::net::Ipv4Addr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::pki_types::ServerName;
use rustls::server::ResolvesServerCert;
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use secrecy::SecretString;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::sync::OnceCell;
use tokio_rustls::{TlsAcceptor, TlsConnector};

pub(crate) use self::authority::Authority;

use self::sniff::{Kind, Opening};
use super::outbound::{Route, Through};
use super::{CHUNK, Shared, dns};
use crate::secret::Secrets;

/// A connection of either side.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

pub(crate) type Boxed = Box<dyn Stream>;

/// What all gateways need for it.
pub(crate) struct Interceptor {
    secrets: Arc<Secrets>,
    authority: Authority,
    /// How hosts are verified: as the system does it.
    roots: OnceCell<Arc<ClientConfig>>,
}

impl Interceptor {
    pub(crate) fn new(secrets: Arc<Secrets>, authority: Authority) -> Self {
        Self { secrets, authority, roots: OnceCell::new() }
    }

    pub(super) async fn client(&self) -> io::Result<&Arc<ClientConfig>> {
        self.roots
            .get_or_try_init(|| async {
                let loaded = tokio::task::spawn_blocking(rustls_native_certs::load_native_certs).await?;
                let mut roots = RootCertStore::empty();
                roots.add_parsable_certificates(loaded.certs);
                if roots.is_empty() {
                    tracing::warn!("the system has no certificates: secrets reach no host over HTTPS");
                }
                let config = ClientConfig::builder_with_provider(provider())
                    .with_safe_default_protocol_versions()
                    .map_err(io::Error::other)?;
                Ok(Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
            })
            .await
    }

    /// What the host shows to the sandbox's program.
    fn server(&self, host: &str, protocols: Vec<Vec<u8>>) -> io::Result<Arc<ServerConfig>> {
        let certificate = Only(self.authority.certify(host)?);
        let config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?;
        let mut config = config.with_no_client_auth().with_cert_resolver(Arc::new(certificate));
        config.alpn_protocols = protocols;
        Ok(Arc::new(config))
    }
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// One certificate, whatever is asked for.
#[derive(Debug)]
struct Only(Arc<CertifiedKey>);

impl ResolvesServerCert for Only {
    fn resolve(&self, _: rustls::server::ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

/// Where a connection leads.
struct Way {
    /// The address that the program has connected to; none in a tunnel through a proxy.
    address: Option<Ipv4Addr>,
    /// The way there from the host.
    route: Option<Route>,
}

/// Whom a request is for.
#[derive(Clone)]
struct Goal {
    /// What is known of the host besides what the request itself says.
    verified: Option<String>,
    /// The sandbox's proxy, if the request is for it to pass on.
    through: Option<Arc<Through>>,
}

impl Goal {
    /// The host itself.
    fn host(verified: Option<String>) -> Self {
        Self { verified, through: None }
    }
}

/// Moves all bytes of one connection until its end, with the values of secrets where they belong.
pub(super) async fn carry(
    shared: &Arc<Shared>,
    inside: Boxed,
    outside: Boxed,
    address: Ipv4Addr,
    route: Route,
) -> io::Result<()> {
    run(Arc::clone(shared), inside, outside, Way { address: Some(address), route: Some(route) }).await
}

/// A tunnel in it is carried the same way: the future holds one of its own kind.
fn run(
    shared: Arc<Shared>,
    mut inside: Boxed,
    mut outside: Boxed,
    way: Way,
) -> Pin<Box<dyn Future<Output = io::Result<()>> + Send>> {
    Box::pin(async move {
        let opening = sniff::open(&mut inside, &mut outside).await?;
        let through = way.route.as_ref().and_then(Route::forward).cloned();
        let request = matches!(&opening.kind, Kind::Http { method, .. } if method != "CONNECT");
        if let Some(through) = through.as_ref().filter(|_| !request) {
            outside = through.tunnel(outside).await.map_err(|_| io::ErrorKind::ConnectionRefused)?;
        }
        match &opening.kind {
            Kind::Tls { name, protocols } => {
                let host = name.clone().or_else(|| way.address.map(|address| address.to_string())).unwrap_or_default();
                let protocols = spoken(protocols);
                match protocols {
                    Some(protocols) if shared.concerns(&host) => {
                        end_tls(shared, inside, outside, opening.heard, &host, protocols, way).await
                    }
                    _ => pass(inside, outside, opening).await,
                }
            }
            Kind::Http { method, target, .. } if method == "CONNECT" => {
                if !shared.concerns(&sniff::without_port(target)) {
                    return pass(inside, outside, opening).await;
                }
                // The proxy itself gets no value.
                http::relay(shared, Replayed::new(opening.heard, inside), outside, false, Goal::host(None)).await
            }
            Kind::Http { host, .. } => {
                let concerned = shared.concerns(host) && leads_to(&shared, host, way.address).await;
                if !concerned && through.is_none() {
                    return pass(inside, outside, opening).await;
                }
                let goal = Goal { verified: concerned.then(|| host.clone()), through };
                http::relay(shared, Replayed::new(opening.heard, inside), outside, false, goal).await
            }
            Kind::Other => pass(inside, outside, opening).await,
        }
    })
}

/// Of the protocols that a client offers those that can be looked into; `None` where there are none of them.
fn spoken(offered: &[Vec<u8>]) -> Option<Vec<Vec<u8>>> {
    let known = |name: &&Vec<u8>| name.as_slice() == b"h2" || name.as_slice() == b"http/1.1";
    let spoken: Vec<Vec<u8>> = offered.iter().filter(known).cloned().collect();
    (offered.is_empty() || !spoken.is_empty()).then_some(spoken)
}

/// Ends TLS on both sides.
async fn end_tls(
    shared: Arc<Shared>,
    inside: Boxed,
    outside: Boxed,
    heard: Vec<u8>,
    host: &str,
    protocols: Vec<Vec<u8>>,
    way: Way,
) -> io::Result<()> {
    let mut config = ClientConfig::clone(shared.interceptor.client().await?);
    config.alpn_protocols = protocols;
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    let outside = match TlsConnector::from(Arc::new(config)).connect(name, outside).await {
        Ok(outside) => outside,
        Err(error) => {
            tracing::warn!(host, %error, "no secrets go to this host: TLS with it failed");
            let Some(route) = way.route else { return Err(error) };
            let Ok(outside) = route.reach(&shared).await else { return Err(error) };
            let opening = Opening { heard, answered: Vec::new(), kind: Kind::Other };
            return pass(inside, outside, opening).await;
        }
    };
    let protocol = outside.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
    let second = protocol.as_deref() == Some(b"h2");
    let config = shared.interceptor.server(host, protocol.into_iter().collect())?;
    let inside = TlsAcceptor::from(config).accept(Replayed::new(heard, inside)).await?;
    let (mut inside, mut outside): (Boxed, Boxed) = (Box::new(inside), Box::new(outside));
    let goal = Goal::host(Some(host.to_owned()));
    if second {
        return http::relay(shared, Replayed::new(Vec::new(), inside), outside, true, goal).await;
    }
    let opening = sniff::open(&mut inside, &mut outside).await?;
    match opening.kind {
        Kind::Http { ref method, .. } if method != "CONNECT" => {
            http::relay(shared, Replayed::new(opening.heard, inside), outside, false, goal).await
        }
        _ => pass(inside, outside, opening).await,
    }
}

/// Whether a name leads to the address that a program has connected to: whoever is there may say any name.
async fn leads_to(shared: &Shared, host: &str, address: Option<Ipv4Addr>) -> bool {
    let Some(address) = address else { return false };
    if host.parse() == Ok(address) {
        return true;
    }
    let known = || shared.known().names(address).any(|name| name == host);
    known() || (dns::look_up(shared, host).await && known())
}

/// Moves bytes as they are.
async fn pass(mut inside: Boxed, mut outside: Boxed, opening: Opening) -> io::Result<()> {
    outside.write_all(&opening.heard).await?;
    inside.write_all(&opening.answered).await?;
    outside.flush().await?;
    inside.flush().await?;
    tokio::io::copy_bidirectional_with_sizes(&mut inside, &mut outside, CHUNK, CHUNK).await?;
    Ok(())
}

impl Shared {
    /// Whether a secret of this sandbox is meant for a host.
    fn concerns(&self, host: &str) -> bool {
        self.interceptor.secrets.concern(self.policy().secrets(), host)
    }

    /// The placeholders and values of the secrets that are meant for all of these hosts.
    fn values(&self, hosts: &[&str]) -> Vec<(String, SecretString)> {
        self.interceptor.secrets.reveal(self.policy().secrets(), hosts)
    }
}

/// A stream of which something has been read.
struct Replayed {
    head: Vec<u8>,
    read: usize,
    stream: Boxed,
}

impl Replayed {
    fn new(head: Vec<u8>, stream: Boxed) -> Self {
        Self { head, read: 0, stream }
    }
}

impl AsyncRead for Replayed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let rest = &self.head[self.read..];
        if rest.is_empty() {
            return Pin::new(&mut self.stream).poll_read(context, buffer);
        }
        let length = rest.len().min(buffer.remaining());
        buffer.put_slice(&rest[..length]);
        self.read += length;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Replayed {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
