//! What a connection begins with.

use std::io;

use rustls::server::Acceptor;
use tokio::io::AsyncReadExt as _;

use super::Stream;

/// A head that is longer is nothing that is looked into.
const LONGEST: usize = 64 << 10;
const LONGEST_METHOD: usize = 20;

/// The first bytes of both sides, and what they are.
pub(super) struct Opening {
    pub(super) heard: Vec<u8>,
    pub(super) answered: Vec<u8>,
    pub(super) kind: Kind,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The name and the protocols that a TLS client asks for.
    Tls { name: Option<String>, protocols: Vec<Vec<u8>> },
    /// An HTTP/1 request: its method, target and `Host`.
    Http { method: String, target: String, host: String },
    /// All else, and also what the other side has begun.
    Other,
}

/// Listens until it is known what this is.
pub(super) async fn open(inside: &mut dyn Stream, outside: &mut dyn Stream) -> io::Result<Opening> {
    let (mut heard, mut answered) = (Vec::new(), Vec::new());
    loop {
        if let Some(kind) = classify(&heard) {
            return Ok(Opening { heard, answered, kind });
        }
        let ended = tokio::select! {
            biased;
            read = inside.read_buf(&mut heard) => read? == 0,
            // It speaks first, or has hung up: nothing is asked of it.
            read = outside.read_buf(&mut answered) => { read?; true }
        };
        if ended || heard.len() > LONGEST {
            return Ok(Opening { heard, answered, kind: Kind::Other });
        }
    }
}

/// `None` until there are enough bytes.
fn classify(heard: &[u8]) -> Option<Kind> {
    match heard {
        [] | [0x16] => None,
        [0x16, 0x03, ..] => tls(heard),
        _ => http(heard),
    }
}

fn tls(mut heard: &[u8]) -> Option<Kind> {
    let mut acceptor = Acceptor::default();
    while !heard.is_empty() {
        if acceptor.read_tls(&mut heard).is_err() {
            return Some(Kind::Other);
        }
        match acceptor.accept() {
            Ok(Some(accepted)) => {
                let hello = accepted.client_hello();
                let protocols = hello.alpn().map(|offered| offered.map(<[u8]>::to_vec).collect());
                return Some(Kind::Tls {
                    name: hello.server_name().map(str::to_ascii_lowercase),
                    protocols: protocols.unwrap_or_default(),
                });
            }
            Ok(None) => {}
            Err(_) => return Some(Kind::Other),
        }
    }
    None
}

fn http(heard: &[u8]) -> Option<Kind> {
    let method = heard.iter().take_while(|byte| byte.is_ascii_uppercase()).count();
    let begins = match heard.get(method) {
        None => method <= LONGEST_METHOD,
        Some(next) => *next == b' ' && (1..=LONGEST_METHOD).contains(&method),
    };
    if !begins {
        return Some(Kind::Other);
    }
    let end = heard.iter().position(|byte| *byte == b'\n')?;
    let mut words = std::str::from_utf8(&heard[..end]).unwrap_or_default().split_whitespace();
    let (Some(method), Some(target), Some("HTTP/1.0" | "HTTP/1.1"), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Some(Kind::Other);
    };
    let mut host = None;
    let mut lines = heard[end + 1..].split_inclusive(|byte| *byte == b'\n');
    loop {
        let line = lines.next().filter(|line| line.ends_with(b"\n"))?;
        let line = line.trim_ascii();
        if line.is_empty() {
            break;
        }
        let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
        let (name, value) = line.split_at(colon);
        if name.eq_ignore_ascii_case(b"host") {
            host = std::str::from_utf8(value.get(1..).unwrap_or_default()).ok().map(str::trim);
        }
    }
    Some(Kind::Http {
        method: method.to_owned(),
        target: target.to_owned(),
        host: without_port(host.unwrap_or_default()),
    })
}

/// The name in `host:port`, in lower case; an IPv6 address without its brackets.
pub(super) fn without_port(authority: &str) -> String {
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map_or(rest, |(address, _)| address),
        None => authority.split_once(':').map_or(authority, |(name, _)| name),
    };
    host.trim_end_matches('.').to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: &str, target: &str, host: &str) -> Kind {
        let (method, target, host) = (method.to_owned(), target.to_owned(), host.to_owned());
        Kind::Http { method, target, host }
    }

    #[test]
    fn requests_are_told_from_the_rest() {
        let text = b"GET /a HTTP/1.1\r\nX: y\r\nHOST: Example.com:80\r\n\r\nrest";
        for length in 0..text.len() - 4 {
            assert_eq!(classify(&text[..length]), None, "{length}");
        }
        assert_eq!(classify(text), Some(request("GET", "/a", "example.com")));
        let connect = b"CONNECT [::1]:443 HTTP/1.1\nHost: [::1]:443\n\n";
        assert_eq!(classify(connect), Some(request("CONNECT", "[::1]:443", "::1")));
        assert_eq!(classify(b"GET / HTTP/1.0\r\n\r\n"), Some(request("GET", "/", "")));
        for other in ["SSH-2.0-x", "EHLO me\r\n", "PRI * HTTP/2.0\r\n", "PING\r\n", "\0", "GET", "get / HTTP/1.1\r\n"] {
            let expected = if other == "GET" { None } else { Some(Kind::Other) };
            assert_eq!(classify(other.as_bytes()), expected, "{other}");
        }
        assert_eq!(classify(&[0x16, 0x03, 0x01]), None);
        // A message that is no client's first one; before it is whole, nobody knows.
        let odd = [0x16, 0x03, 0x01, 0x00, 0x04, 0xff, 0x00, 0x00, 0x00];
        assert_eq!(classify(&odd[..7]), None);
        assert_eq!(classify(&odd), Some(Kind::Other));
    }
}
