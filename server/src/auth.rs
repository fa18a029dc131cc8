//! Who may call: everyone with the API key, nobody else.

use axum::http::{HeaderMap, header};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// The key's digest: equally long for every key, so that comparing tells nothing.
#[derive(Clone)]
pub(crate) struct Key([u8; 32]);

impl Key {
    pub(crate) fn new(key: &SecretString) -> Self {
        Self(Sha256::digest(key.expose_secret()).into())
    }

    /// Whether the request carries the key as its bearer token.
    pub(crate) fn allows(&self, headers: &HeaderMap) -> bool {
        let Some(value) = headers.get(header::AUTHORIZATION) else {
            return false;
        };
        let value = value.as_bytes();
        let Some((scheme, token)) = value.split_at_checked(7) else {
            return false;
        };
        scheme.eq_ignore_ascii_case(b"bearer ") && self.is(token.trim_ascii())
    }

    /// Whether this is the key.
    pub(crate) fn is(&self, token: &[u8]) -> bool {
        let digest: [u8; 32] = Sha256::digest(token).into();
        digest.ct_eq(&self.0).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_key_is_let_in() {
        let key = Key::new(&SecretString::from("secret"));
        let with = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, value.parse().unwrap());
            key.allows(&headers)
        };
        assert!(with("Bearer secret"));
        assert!(with("bearer secret"));
        for wrong in ["Bearer secre", "Bearer secrets", "Bearer", "Basic secret", "secret", ""] {
            assert!(!with(wrong), "{wrong}");
        }
        assert!(!key.allows(&HeaderMap::new()));
    }
}
