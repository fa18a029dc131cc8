//! Which way a connection takes: straight to its host, or through the proxy that the environment names.
//!
//! Everything that connects by a URL asks here, so that requests, websockets and telemetry go the same way.

use std::fmt;
use std::net::IpAddr;

use http::Uri;
use hyper_util::client::proxy::matcher::Matcher;
use reqwest::Url;

/// Hosts that are reached without a proxy. Both spellings are in use.
const EXCEPTIONS: [&str; 2] = ["NO_PROXY", "no_proxy"];

/// What the environment, and on some systems the system's settings, say of proxies.
pub(crate) struct Proxies {
    system: Matcher,
    exceptions: Vec<Exception>,
}

/// A proxy without its credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Proxy(Uri);

/// One entry of `NO_PROXY`.
struct Exception {
    /// Sends all hosts but its own to a proxy; `None` is every host.
    others: Option<Matcher>,
    port: Option<u16>,
}

impl Proxies {
    /// As things are now.
    pub(crate) fn from_system() -> Self {
        let set = |name| std::env::var(name).ok().filter(|value: &String| !value.trim().is_empty());
        Self::new(Matcher::from_system(), &EXCEPTIONS.into_iter().find_map(set).unwrap_or_default())
    }

    fn new(system: Matcher, exceptions: &str) -> Self {
        let entries = exceptions.split(|letter: char| letter == ',' || letter.is_whitespace());
        Self { system, exceptions: entries.filter(|entry| !entry.is_empty()).map(Exception::parse).collect() }
    }

    /// The proxy that a connection to this URL takes; `None` if it goes straight to the host. What is on this machine is
    /// never behind a proxy.
    pub(crate) fn of(&self, url: &Url) -> Option<Proxy> {
        if is_this_machine(url) {
            return None;
        }
        let uri = url.as_str().parse().ok()?;
        let proxy = self.system.intercept(&uri)?;
        let port = url.port_or_known_default();
        let is_excepted = self.exceptions.iter().any(|exception| exception.covers(&uri, port));
        (!is_excepted).then(|| Proxy(proxy.uri().clone()))
    }
}

impl Proxy {
    /// Whether the connection to the proxy itself is encrypted.
    pub(crate) fn has_tls(&self) -> bool {
        self.0.scheme_str() == Some("https")
    }

    /// Its host and port.
    pub(crate) fn address(&self) -> Option<(&str, u16)> {
        let usual = match self.0.scheme_str() {
            Some("https") => 443,
            Some(scheme) if scheme.starts_with("socks") => 1080,
            _ => 80,
        };
        Some((self.0.host()?, self.0.port_u16().unwrap_or(usual)))
    }
}

/// As `http://proxy.example.com:3128`.
impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let authority = self.0.authority().map_or("?", |authority| authority.as_str());
        write!(f, "{}://{authority}", self.0.scheme_str().unwrap_or("http"))
    }
}

impl Exception {
    fn parse(entry: &str) -> Self {
        let (host, port) = split_port(entry);
        let host = host.strip_prefix("*.").unwrap_or(host);
        let others = (host != "*").then(|| Matcher::builder().all("http://proxy.invalid").no(host).build());
        Self { others, port }
    }

    fn covers(&self, uri: &Uri, port: Option<u16>) -> bool {
        (self.port.is_none() || self.port == port)
            && self.others.as_ref().is_none_or(|others| others.intercept(uri).is_none())
    }
}

/// `host:port`, `[::1]:port`; an address of IPv6 without brackets has none.
fn split_port(entry: &str) -> (&str, Option<u16>) {
    if let Some((host, rest)) = entry.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return (host, rest.strip_prefix(':').and_then(|port| port.parse().ok()));
    }
    match entry.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') => match port.parse() {
            Ok(port) => (host, Some(port)),
            Err(_) => (entry, None),
        },
        _ => (entry, None),
    }
}

fn is_this_machine(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    if let Ok(address) = host.trim_matches(['[', ']']).parse::<IpAddr>() {
        let address = address.to_canonical();
        return address.is_loopback() || address.is_unspecified();
    }
    let name = host.strip_suffix('.').unwrap_or(host);
    name.rsplit('.').next().is_some_and(|last| last.eq_ignore_ascii_case("localhost"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn way(exceptions: &str, url: &str) -> Option<String> {
        let system = || Matcher::builder().all("http://me:secret@proxy.example:3128").no(exceptions).build();
        Proxies::new(system(), exceptions).of(&url.parse().unwrap()).map(|proxy| proxy.to_string())
    }

    fn is_direct(exceptions: &str, url: &str) -> bool {
        way(exceptions, url).is_none()
    }

    #[test]
    fn this_machine_is_never_behind_a_proxy() {
        for host in [
            "127.0.0.1",
            "127.8.9.1",
            "127.1",
            "0.0.0.0",
            "[::1]",
            "[::]",
            "[::ffff:127.0.0.1]",
            "localhost",
            "LOCALHOST",
            "localhost.",
            "3000-id.proxy.localhost",
        ] {
            for scheme in ["http", "https"] {
                assert!(is_direct("", &format!("{scheme}://{host}:3986/api")), "{scheme}://{host}");
            }
        }
        for host in ["api.example", "localhost.example", "notlocalhost", "10.0.0.1", "[2001:db8::1]"] {
            let proxy = way("", &format!("https://{host}/api"));
            assert_eq!(proxy.as_deref(), Some("http://proxy.example:3128"), "{host}");
        }
    }

    #[test]
    fn exceptions_are_those_of_other_programs() {
        for (exceptions, url) in [
            ("api.example", "http://api.example/"),
            ("API.Example", "http://api.example:8080/"),
            ("example", "http://api.example/"),
            (".example", "http://api.example/"),
            ("*.example", "http://api.example/"),
            ("*", "http://api.example/"),
            ("*", "http://10.1.2.3/"),
            ("api.example:8080", "http://api.example:8080/"),
            ("api.example:443", "https://api.example/"),
            (".example:80", "http://api.example/"),
            ("other, api.example", "http://api.example/"),
            ("other api.example:80", "http://api.example/"),
            ("other,,\tapi.example", "http://api.example/"),
            ("10.0.0.0/8", "http://10.1.2.3:3986/"),
            ("other 10.0.0.0/8", "http://10.1.2.3/"),
            ("10.1.2.3:3986", "http://10.1.2.3:3986/"),
            ("2001:db8::/32", "http://[2001:db8::1]/"),
            ("2001:db8::1", "http://[2001:db8::1]:3986/"),
            ("[2001:db8::1]:3986", "http://[2001:db8::1]:3986/"),
            ("[2001:db8::1]", "http://[2001:db8::1]/"),
        ] {
            assert!(is_direct(exceptions, url), "{exceptions:?} {url}");
        }
        for (exceptions, url) in [
            ("", "http://api.example/"),
            (" , ", "http://api.example/"),
            ("api.example:8080", "http://api.example/"),
            ("api.example:80", "https://api.example/"),
            ("ample", "http://api.example/"),
            ("other.example", "http://api.example/"),
            ("10.0.0.0/8", "http://11.1.2.3/"),
            ("10.1.2.3:80", "http://10.1.2.3:3986/"),
            ("[2001:db8::1]:80", "http://[2001:db8::1]:3986/"),
        ] {
            assert!(!is_direct(exceptions, url), "{exceptions:?} {url}");
        }
    }

    #[test]
    fn a_proxy_is_named_without_its_credentials() {
        assert_eq!(way("", "http://api.example/").as_deref(), Some("http://proxy.example:3128"));
        let at = |uri: &str| Proxy(uri.parse().unwrap());
        assert_eq!(at("https://p/").address(), Some(("p", 443)));
        assert_eq!(at("socks5h://p/").address(), Some(("p", 1080)));
        assert!(at("https://p/").has_tls() && !at("http://p:1/").has_tls());
    }
}
