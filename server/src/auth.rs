//! Who may call: everyone with an API key, nobody else.

use std::sync::Arc;

use axum::http::{HeaderMap, header};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::api_key::{Caller, Digest, KnownKeys, SANDBOXES};

/// The keys' digests: equally long for every key, so that comparing tells nothing.
#[derive(Clone)]
pub(crate) struct Key {
    own: Digest,
    more: Arc<KnownKeys>,
}

/// What stands for a key.
pub(crate) fn digest(key: &[u8]) -> Digest {
    Sha256::digest(key).into()
}

impl Key {
    pub(crate) fn new(key: &SecretString) -> Self {
        Self { own: digest(key.expose_secret().as_bytes()), more: Arc::default() }
    }

    /// The keys beside the server's own.
    pub(crate) fn known(&self) -> &KnownKeys {
        &self.more
    }

    /// Who sends a request, by its bearer token.
    pub(crate) fn caller(&self, headers: &HeaderMap) -> Option<Caller> {
        let value = headers.get(header::AUTHORIZATION)?.as_bytes();
        let (scheme, token) = value.split_at_checked(7)?;
        if scheme.eq_ignore_ascii_case(b"bearer ") { self.of(token.trim_ascii()) } else { None }
    }

    fn of(&self, token: &[u8]) -> Option<Caller> {
        let digest = digest(token);
        if digest.ct_eq(&self.own).into() { Some(Caller::Owner) } else { self.more.find(&digest) }
    }

    /// Whether the request carries a key that lets into sandboxes.
    pub(crate) fn allows(&self, headers: &HeaderMap) -> bool {
        self.caller(headers).is_some_and(|caller| caller.may(SANDBOXES))
    }

    /// Whether this is a key.
    pub(crate) fn is(&self, token: &[u8]) -> bool {
        self.of(token).is_some()
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
