//! The proxy that the web traffic of a sandbox takes.
//!
//! Programs are told of it by their environment. Where names are limited too, the gateway makes them take it: whatever
//! goes to the ports of HTTP and HTTPS is handed to the proxy, under a name that the limits allow.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::uri::{Authority, PathAndQuery, Scheme};
use axum::http::{HeaderValue, Method, Request, StatusCode, Uri, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use percent_encoding::percent_decode_str;
use rustls::pki_types::ServerName;
use tokio_rustls::TlsConnector;

use super::intercept::Boxed;
use super::open::{self, PROHIBITED, Refusal};
use super::{Shared, dns};

const HTTP: u16 = 80;
const HTTPS: u16 = 443;
/// How long a proxy may take to connect.
const PATIENCE: Duration = Duration::from_secs(60);
/// Where programs look for a proxy. Both spellings are in use.
const NAMES: [&str; 4] = ["HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"];
/// And for what is reached without it: the sandbox itself.
const EXCEPTIONS: [&str; 2] = ["NO_PROXY", "no_proxy"];
const ITSELF: &str = "localhost,127.0.0.1,::1";

/// The variables that tell programs of a proxy.
pub(crate) fn variables(url: &str) -> BTreeMap<String, String> {
    let proxies = NAMES.map(|name| (name.to_owned(), url.to_owned()));
    let exceptions = EXCEPTIONS.map(|name| (name.to_owned(), ITSELF.to_owned()));
    proxies.into_iter().chain(exceptions).collect()
}

/// A proxy as its URL names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Proxy {
    tls: bool,
    host: String,
    port: u16,
    /// Marked as sensitive: it is not shown.
    authorization: Option<HeaderValue>,
}

impl Proxy {
    /// The error says nothing of the URL, which may hold a password.
    pub(crate) fn parse(url: &str) -> Result<Self, &'static str> {
        const REASON: &str = "outboundProxyUrl must be the http or https URL of a proxy, such as \
                              http://user:password@proxy.example.com:3128";
        let uri: Uri = url.trim().parse().map_err(|_| REASON)?;
        let tls = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTP => false,
            Some(scheme) if *scheme == Scheme::HTTPS => true,
            _ => return Err(REASON),
        };
        let authority = uri.authority().ok_or(REASON)?;
        let (user, rest) = match authority.as_str().rsplit_once('@') {
            Some((user, rest)) => (Some(user), rest),
            None => (None, authority.as_str()),
        };
        let (host, port) = (authority.host(), authority.port_u16());
        let whole = rest.len() == host.len() || port.is_some_and(|port| port > 0);
        if host.is_empty() || !whole || !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(REASON);
        }
        Ok(Self {
            tls,
            host: host.trim_matches(['[', ']']).to_ascii_lowercase(),
            port: port.unwrap_or(if tls { HTTPS } else { HTTP }),
            authorization: user.map(basic).transpose().map_err(|_| REASON)?,
        })
    }

    async fn connect(&self, shared: &Shared) -> Result<Boxed, Refusal> {
        let mut failed = Refusal::from(io::Error::from(io::ErrorKind::HostUnreachable));
        for address in self.addresses(shared).await? {
            match open::connect(address).await {
                Ok(stream) if self.tls => return Ok(self.secure(shared, stream).await?),
                Ok(stream) => return Ok(Box::new(stream)),
                Err(error) => failed = error,
            }
        }
        tracing::warn!(proxy = self.host, port = self.port, "the proxy of a sandbox is not reached");
        Err(failed)
    }

    /// Where it is; nowhere on this machine, unless its services may be used.
    async fn addresses(&self, shared: &Shared) -> Result<Vec<SocketAddr>, Refusal> {
        if self.host == dns::HOST {
            let here = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
            return if shared.host_services { Ok(vec![here]) } else { Err(PROHIBITED) };
        }
        let mut found = Vec::new();
        for address in tokio::net::lookup_host((self.host.as_str(), self.port)).await? {
            if shared.host_services || !open::is_own(address.ip()).await {
                found.push(address);
            }
        }
        if found.is_empty() { Err(PROHIBITED) } else { Ok(found) }
    }

    async fn secure(&self, shared: &Shared, stream: tokio::net::TcpStream) -> io::Result<Boxed> {
        let name = ServerName::try_from(self.host.clone()).map_err(io::Error::other)?;
        let connector = TlsConnector::from(Arc::clone(shared.interceptor.client().await?));
        let secured = connector.connect(name, stream).await;
        if let Err(error) = &secured {
            tracing::warn!(proxy = self.host, %error, "TLS with the proxy of a sandbox failed");
        }
        Ok(Box::new(secured?))
    }
}

/// Name and password, percent-encoded, as a header has them.
fn basic(user: &str) -> Result<HeaderValue, header::InvalidHeaderValue> {
    let (name, password) = user.split_once(':').unwrap_or((user, ""));
    let bytes: Vec<u8> =
        percent_decode_str(name).chain(std::iter::once(b':')).chain(percent_decode_str(password)).collect();
    let mut value = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(bytes)))?;
    value.set_sensitive(true);
    Ok(value)
}

/// The way to a destination.
#[derive(Clone)]
pub(super) struct Route {
    place: SocketAddr,
    through: Option<Arc<Through>>,
}

/// A proxy, and what it is asked for.
pub(super) struct Through {
    proxy: Arc<Proxy>,
    /// A name that the limits allow, or the address.
    host: String,
    port: u16,
}

impl Route {
    /// To a destination of the sandbox that is at `place`, seen from the host.
    pub(super) fn new(shared: &Shared, outside: SocketAddrV4, place: SocketAddrV4) -> Self {
        let policy = shared.policy();
        let proxy = policy.proxy().filter(|_| matches!(outside.port(), HTTP | HTTPS));
        let through = proxy.map(|proxy| {
            let known = shared.known();
            let name = known.names(*outside.ip()).find(|name| policy.allows_name(name)).map(str::to_owned);
            let host = name.unwrap_or_else(|| outside.ip().to_string());
            Arc::new(Through { proxy: Arc::clone(proxy), host, port: outside.port() })
        });
        Self { place: place.into(), through }
    }

    /// A connection that the sandbox's bytes may go to, except for [`Self::forward`].
    pub(super) async fn open(&self, shared: &Shared) -> Result<Boxed, Refusal> {
        match &self.through {
            Some(through) if self.forward().is_some() => through.proxy.connect(shared).await,
            Some(through) => through.tunnel(through.proxy.connect(shared).await?).await,
            None => Ok(Box::new(open::connect(self.place).await?)),
        }
    }

    /// A connection to the destination itself.
    pub(super) async fn reach(&self, shared: &Shared) -> Result<Boxed, Refusal> {
        match &self.through {
            Some(through) => through.tunnel(through.proxy.connect(shared).await?).await,
            None => self.open(shared).await,
        }
    }

    /// The proxy that requests are sent to, where they are in the clear: many make tunnels for HTTPS only.
    pub(super) fn forward(&self) -> Option<&Arc<Through>> {
        self.through.as_ref().filter(|through| through.port == HTTP)
    }
}

impl Through {
    /// Makes a connection to the proxy one to the destination.
    pub(super) async fn tunnel(&self, stream: Boxed) -> Result<Boxed, Refusal> {
        let made = async {
            let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
            // It ends with the tunnel.
            tokio::spawn(connection.with_upgrades());
            let target = format!("{}:{}", self.host, self.port);
            let mut request = Request::builder().method(Method::CONNECT).uri(&target).header(header::HOST, &target);
            if let Some(authorization) = &self.proxy.authorization {
                request = request.header(header::PROXY_AUTHORIZATION, authorization);
            }
            let request = request.body(Empty::<Bytes>::new()).map_err(io::Error::other)?;
            let answer = sender.send_request(request).await.map_err(io::Error::other)?;
            let status = answer.status();
            if !status.is_success() {
                tracing::warn!(proxy = self.proxy.host, target, %status, "the proxy of a sandbox makes no connection");
                return Err(refused(status).into());
            }
            hyper::upgrade::on(answer).await.map_err(io::Error::other)
        };
        match tokio::time::timeout(PATIENCE, made).await {
            Ok(upgraded) => Ok(Box::new(TokioIo::new(upgraded?))),
            Err(_) => Err(io::Error::from(io::ErrorKind::TimedOut).into()),
        }
    }

    /// Makes a request to the destination one to the proxy: whatever host it names, the proxy is given the one that the
    /// sandbox has connected to.
    pub(super) fn direct(&self, parts: &mut axum::http::request::Parts) {
        let path = parts.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
        let Ok(authority) = Authority::try_from(self.host.as_str()) else { return };
        if path.as_str().starts_with('/') {
            let mut uri = axum::http::uri::Parts::default();
            (uri.scheme, uri.authority, uri.path_and_query) = (Some(Scheme::HTTP), Some(authority), Some(path));
            if let Ok(uri) = Uri::from_parts(uri) {
                parts.uri = uri;
            }
        }
        match &self.proxy.authorization {
            Some(authorization) => _ = parts.headers.insert(header::PROXY_AUTHORIZATION, authorization.clone()),
            None => _ = parts.headers.remove(header::PROXY_AUTHORIZATION),
        }
    }
}

/// What a proxy's answer means for a connection.
fn refused(status: StatusCode) -> io::ErrorKind {
    if status.is_client_error() { io::ErrorKind::PermissionDenied } else { io::ErrorKind::HostUnreachable }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_proxies_are_read() {
        let proxy = Proxy::parse("http://me:p%40ss@Proxy.example.com:3128/").unwrap();
        assert_eq!((proxy.tls, proxy.host.as_str(), proxy.port), (false, "proxy.example.com", 3128));
        assert_eq!(proxy.authorization.as_ref().unwrap(), &format!("Basic {}", STANDARD.encode("me:p@ss")));
        assert!(!format!("{proxy:?}").contains(&STANDARD.encode("me:p@ss")));
        let proxy = Proxy::parse("https://[2001:db8::1]").unwrap();
        assert_eq!((proxy.tls, proxy.host.as_str(), proxy.port), (true, "2001:db8::1", 443));
        assert!(proxy.authorization.is_none());
        for bad in
            ["", "proxy", "proxy:3128", "socks5://proxy", "http://", "http://p:x", "http://p:99999", "http://p/a"]
        {
            assert!(Proxy::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn requests_name_the_host_that_was_connected_to() {
        let proxy = Arc::new(Proxy::parse("http://me:pw@p:1").unwrap());
        let through = Through { proxy, host: "example.com".to_owned(), port: HTTP };
        for uri in ["/a?b=c", "http://elsewhere.org/a?b=c"] {
            let request = Request::builder().uri(uri).header("host", "elsewhere.org").body(()).unwrap();
            let mut parts = request.into_parts().0;
            through.direct(&mut parts);
            assert_eq!(parts.uri, "http://example.com/a?b=c");
            assert!(parts.headers.contains_key("proxy-authorization"));
        }
    }

    #[test]
    fn programs_are_told_in_both_spellings() {
        let variables = variables("http://p:1");
        assert_eq!((variables["HTTPS_PROXY"].as_str(), variables["http_proxy"].as_str()), ("http://p:1", "http://p:1"));
        assert!(variables["NO_PROXY"].contains("localhost"));
    }
}
