//! Tokens that let somebody into one sandbox: of previews and of SSH.

use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::time::{Millis, now};

/// The tokens of a sandbox that outlive the server; only their digests are kept.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Access {
    /// For signed preview URLs.
    pub(crate) signed: Vec<Signed>,
    /// At most one lets in over SSH.
    pub(crate) ssh: Option<Grant>,
}

/// A token that leads to one port for a time.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Signed {
    digest: Digest,
    port: u16,
    expires_at: Millis,
}

/// A token that lets in for a time.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Grant {
    pub(crate) id: String,
    pub(crate) digest: Digest,
    pub(crate) expires_at: Millis,
}

impl Access {
    /// Remembers a token, and forgets those that have expired.
    pub(crate) fn sign(&mut self, token: &str, port: u16, expires_at: Millis) {
        let time = now();
        self.signed.retain(|signed| signed.expires_at > time);
        self.signed.push(Signed { digest: Digest::of(token), port, expires_at });
    }

    /// Whether the token leads to the port now.
    pub(crate) fn leads_to(&self, digest: &Digest, port: u16) -> bool {
        let time = now();
        self.signed.iter().any(|signed| signed.port == port && signed.expires_at > time && signed.digest == *digest)
    }

    /// Forgets a token; false if it was not there.
    pub(crate) fn expire(&mut self, token: &str, port: u16) -> bool {
        let (digest, before) = (Digest::of(token), self.signed.len());
        self.signed.retain(|signed| signed.port != port || signed.digest != digest);
        self.signed.len() < before
    }

    /// Whether the token lets in over SSH now.
    pub(crate) fn lets_in(&self, digest: &Digest) -> bool {
        self.ssh.as_ref().is_some_and(|grant| grant.expires_at > now() && grant.digest == *digest)
    }
}

/// Stands for a token; compared in constant time.
#[derive(Clone, Eq, Serialize, Deserialize)]
pub(crate) struct Digest(String);

impl Digest {
    pub(crate) fn of(token: impl AsRef<[u8]>) -> Self {
        Self(format!("{:x}", Sha256::digest(token)))
    }
}

impl PartialEq for Digest {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
    }
}

/// The token of a sandbox's previews, made anew at each start. Not stored: what is not started needs none.
#[derive(Default)]
pub(crate) struct PreviewToken(Mutex<Option<String>>);

impl PreviewToken {
    const LENGTH: usize = 32;

    /// The token until now leads nowhere any more.
    pub(crate) fn rotate(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// The token, made where there is none.
    pub(crate) fn get(&self) -> Result<String, getrandom::Error> {
        let mut token = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &*token {
            Some(token) => Ok(token.clone()),
            None => Ok(token.insert(random(Self::LENGTH)?).clone()),
        }
    }

    pub(crate) fn is(&self, given: &[u8]) -> bool {
        let token = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        token.as_ref().is_some_and(|token| Digest::of(token) == Digest::of(given))
    }
}

/// Random digits and small letters.
pub(crate) fn random(length: usize) -> Result<String, getrandom::Error> {
    const LETTERS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
    /// The largest multiple of 36 in a byte: each letter is as likely.
    const EVEN: u8 = 252;
    let mut text = String::with_capacity(length);
    let mut bytes = [0; 64];
    while text.len() < length {
        getrandom::fill(&mut bytes)?;
        let letters = bytes.iter().filter(|byte| **byte < EVEN).map(|byte| char::from(LETTERS[usize::from(byte % 36)]));
        text.extend(letters.take(length - text.len()));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_leads_to_its_port_until_it_expires() {
        let mut access = Access::default();
        let digest = Digest::of("token");
        access.sign("token", 3000, now() + 60_000);
        assert!(access.leads_to(&digest, 3000));
        assert!(!access.leads_to(&digest, 3001));
        assert!(!access.leads_to(&Digest::of("other"), 3000));
        assert!(!access.expire("token", 3001));
        assert!(access.expire("token", 3000));
        assert!(!access.leads_to(&digest, 3000));
        access.sign("token", 3000, now() - 1);
        assert!(!access.leads_to(&digest, 3000));
        access.sign("next", 3000, now() + 60_000);
        assert_eq!(access.signed.len(), 1, "what has expired is forgotten");
    }

    #[test]
    fn the_preview_token_is_another_after_each_start() {
        let token = PreviewToken::default();
        assert!(!token.is(b""));
        let first = token.get().unwrap();
        assert_eq!(first, token.get().unwrap());
        assert!(token.is(first.as_bytes()));
        token.rotate();
        assert!(!token.is(first.as_bytes()));
        assert_ne!(first, token.get().unwrap());
    }

    #[test]
    fn tokens_are_digits_and_small_letters() {
        let token = random(200).unwrap();
        assert_eq!(token.len(), 200);
        assert!(token.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_lowercase()));
    }
}
