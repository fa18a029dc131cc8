//! Placeholders in a request's head, and the values in their place.

use axum::http::request::Parts;
use axum::http::uri::PathAndQuery;
use axum::http::{HeaderName, HeaderValue, Uri, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::{ExposeSecret as _, SecretString};

use crate::secret::PLACEHOLDER;

/// A value may hold anything; in a URL it is data.
const DATA: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Headers that say where a request goes and how it is carried.
const KEPT: [HeaderName; 6] = [
    header::HOST,
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::PROXY_AUTHORIZATION,
];

/// Whether a head may hold a placeholder.
pub(super) fn concerned(parts: &Parts) -> bool {
    let plain = parts.headers.values().any(|value| contains(value.as_bytes(), PLACEHOLDER.as_bytes()));
    plain
        || parts.uri.path_and_query().is_some_and(|path| path.as_str().contains(PLACEHOLDER))
        || parts.headers.get_all(header::AUTHORIZATION).iter().any(|value| basic(value).is_some())
}

/// Puts the values in; the error says what cannot be sent.
pub(super) fn replace(parts: &mut Parts, values: &[(String, SecretString)]) -> Result<(), &'static str> {
    const BAD: &str = "the value of a secret has line breaks or other characters that no header can hold";
    const LONG: &str = "the URL is too long with the value of the secret in it";
    if values.is_empty() {
        return Ok(());
    }
    for (name, value) in &mut parts.headers {
        if KEPT.contains(name) {
            continue;
        }
        let decoded = (*name == header::AUTHORIZATION).then(|| basic(value)).flatten();
        let replaced = match decoded {
            Some(decoded) => swap(&decoded, values).map(|text| format!("Basic {}", STANDARD.encode(text)).into_bytes()),
            None => swap(value.as_bytes(), values),
        };
        if let Some(bytes) = replaced {
            *value = HeaderValue::from_bytes(&bytes).map_err(|_| BAD)?;
            value.set_sensitive(true);
        }
    }
    let Some(path) = parts.uri.path_and_query().map(PathAndQuery::as_str).filter(|path| path.contains(PLACEHOLDER))
    else {
        return Ok(());
    };
    let mut path = path.to_owned();
    for (placeholder, value) in values {
        if path.contains(placeholder) {
            path = path.replace(placeholder, &utf8_percent_encode(value.expose_secret(), DATA).to_string());
        }
    }
    let mut uri = std::mem::take(&mut parts.uri).into_parts();
    uri.path_and_query = Some(PathAndQuery::try_from(path).map_err(|_| LONG)?);
    parts.uri = Uri::from_parts(uri).map_err(|_| LONG)?;
    Ok(())
}

/// Name and password of Basic authentication.
fn basic(value: &HeaderValue) -> Option<Vec<u8>> {
    let (scheme, encoded) = value.to_str().ok()?.trim().split_once(' ')?;
    let decoded = scheme.eq_ignore_ascii_case("basic").then(|| STANDARD.decode(encoded.trim()).ok())??;
    contains(&decoded, PLACEHOLDER.as_bytes()).then_some(decoded)
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}

/// `None` where there is none of them.
fn swap(bytes: &[u8], values: &[(String, SecretString)]) -> Option<Vec<u8>> {
    let mut result = Vec::new();
    let mut found = false;
    let mut rest = bytes;
    while !rest.is_empty() {
        if let Some((placeholder, value)) =
            values.iter().find(|(placeholder, _)| rest.starts_with(placeholder.as_bytes()))
        {
            result.extend_from_slice(value.expose_secret().as_bytes());
            rest = &rest[placeholder.len()..];
            found = true;
        } else {
            result.push(rest[0]);
            rest = &rest[1..];
        }
    }
    found.then_some(result)
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    fn values() -> Vec<(String, SecretString)> {
        vec![("dtn_secret_1".to_owned(), SecretString::from("v &ü"))]
    }

    fn parts(uri: &str, name: &str, value: &str) -> Parts {
        Request::builder().uri(uri).header(name, value).body(()).unwrap().into_parts().0
    }

    #[test]
    fn values_are_put_where_placeholders_are() {
        let mut head =
            parts("/a/dtn_secret_1?k=dtn_secret_1&n=dtn_secret_2", "x-key", "Bearer dtn_secret_1, dtn_secret_1");
        assert!(concerned(&head));
        replace(&mut head, &values()).unwrap();
        assert_eq!(head.uri, "/a/v%20%26%C3%BC?k=v%20%26%C3%BC&n=dtn_secret_2");
        assert_eq!(head.headers["x-key"].as_bytes(), "Bearer v &ü, v &ü".as_bytes());
        assert!(head.headers["x-key"].is_sensitive());
    }

    #[test]
    fn basic_authentication_is_looked_into() {
        let text = format!("Basic {}", STANDARD.encode("me:dtn_secret_1"));
        let mut head = parts("/", "authorization", &text);
        assert!(concerned(&head));
        replace(&mut head, &values()).unwrap();
        assert_eq!(head.headers["authorization"], format!("Basic {}", STANDARD.encode("me:v &ü")));
        assert!(!concerned(&parts("/", "authorization", &format!("Basic {}", STANDARD.encode("me:you")))));
    }

    #[test]
    fn what_carries_the_request_stays() {
        let mut head = parts("http://dtn_secret_1.example.com/", "host", "dtn_secret_1");
        replace(&mut head, &values()).unwrap();
        assert_eq!(head.headers["host"], "dtn_secret_1");
        assert_eq!(head.uri.host(), Some("dtn_secret_1.example.com"));
    }

    #[test]
    fn a_value_that_fits_no_header_is_said() {
        let values = [("dtn_secret_1".to_owned(), SecretString::from("a\nInjected: b"))];
        assert!(replace(&mut parts("/", "x-key", "dtn_secret_1"), &values).is_err());
        let mut path = parts("/dtn_secret_1", "x", "y");
        replace(&mut path, &values).unwrap();
        assert_eq!(path.uri, "/a%0AInjected%3A%20b");
    }
}
