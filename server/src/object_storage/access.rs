//! Who may do what in the object storage.

use std::io;
use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac as _};
use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::{S3Auth, SecretKey};
use s3s::path::S3Path;
use s3s::{S3Result, s3_error};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

use super::BUCKET;
use crate::config::private_bytes;
use crate::record::ORGANIZATION;
use crate::time::{Millis, now};

/// How long credentials hold.
const LIFE: Millis = 60 * crate::time::MINUTE;
const PREFIX: &str = "DNL";
/// Digits of the time and of the random part.
const TIME: usize = 12;
const RANDOM: usize = 16;

/// Credentials for an hour.
pub(crate) struct Push {
    pub(crate) access_key: String,
    pub(crate) secret: String,
    pub(crate) session_token: String,
}

/// What all credentials follow from.
#[derive(Clone)]
pub(super) struct Keys(Arc<Vec<u8>>);

impl Keys {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self(Arc::new(private_bytes(path, 32)?)))
    }

    fn derive(&self, what: &str, access_key: &str) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        mac.update(what.as_bytes());
        mac.update(b"\0");
        mac.update(access_key.as_bytes());
        URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes())
    }

    fn at(&self, time: Millis, random: u64) -> Push {
        let access_key = format!("{PREFIX}{:0TIME$X}{random:0RANDOM$X}", time + LIFE);
        Push {
            secret: self.derive("secret", &access_key),
            session_token: self.derive("token", &access_key),
            access_key,
        }
    }

    pub(super) fn new_push(&self) -> Result<Push, getrandom::Error> {
        Ok(self.at(now(), getrandom::u64()?))
    }

    /// The secret of an access key that holds at this time. Anybody can write one, and nobody its secret.
    fn secret(&self, access_key: &str, time: Millis) -> Option<String> {
        let digits = access_key.strip_prefix(PREFIX).filter(|digits| digits.len() == TIME + RANDOM)?;
        let end = Millis::from_str_radix(digits.get(..TIME)?, 16).ok()?;
        (time < end).then(|| self.derive("secret", access_key))
    }
}

#[async_trait::async_trait]
impl S3Auth for Keys {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        let unknown = || s3_error!(ExpiredToken, "The credentials have ended: ask for new ones");
        self.secret(access_key, now()).map(SecretKey::from).ok_or_else(unknown)
    }
}

#[async_trait::async_trait]
impl S3Access for Keys {
    async fn check(&self, cx: &mut S3AccessContext<'_>) -> S3Result<()> {
        let Some(credentials) = cx.credentials() else {
            return Err(s3_error!(AccessDenied, "Signature is required"));
        };
        let token = self.derive("token", &credentials.access_key);
        let header = cx.headers().get("x-amz-security-token").map(|value| value.as_bytes().to_vec());
        let query = || {
            let mut pairs = form_urlencoded::parse(cx.uri().query()?.as_bytes());
            pairs.find(|(name, _)| name == "X-Amz-Security-Token").map(|(_, value)| value.into_owned().into_bytes())
        };
        let given = header.or_else(query).unwrap_or_default();
        if !bool::from(given.ct_eq(token.as_bytes())) {
            return Err(s3_error!(InvalidToken, "The session token is missing or wrong"));
        }
        let allowed = match cx.s3_path() {
            S3Path::Root => false,
            S3Path::Bucket { bucket } => **bucket == *BUCKET,
            S3Path::Object { bucket, key } => {
                let own = key.strip_prefix(ORGANIZATION).is_some_and(|rest| rest.starts_with('/'));
                **bucket == *BUCKET && own
            }
        };
        if allowed { Ok(()) } else { Err(s3_error!(AccessDenied, "Only the organization's own objects may be used")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_end() {
        let dir = tempfile::tempdir().unwrap();
        let keys = Keys::open(&dir.path().join("key")).unwrap();
        let time = now();
        let push = keys.at(time, 7);
        assert_eq!(keys.secret(&push.access_key, time).as_ref(), Some(&push.secret));
        assert_eq!(keys.secret(&push.access_key, time + LIFE), None);
        let later =
            push.access_key.replace(&format!("{:0TIME$X}", time + LIFE), &format!("{:0TIME$X}", time + 2 * LIFE));
        assert_ne!(keys.secret(&later, time).as_ref(), Some(&push.secret));
        for bad in ["", "DNL", "AKIA0000", "DNLzzzzzzzzzzzz0000000000000007"] {
            assert_eq!(keys.secret(bad, time), None, "{bad}");
        }
        // They outlive the server.
        let again = Keys::open(&dir.path().join("key")).unwrap();
        assert_eq!(again.at(time, 7).session_token, push.session_token);
    }
}
