//! Signed URLs: a file for whoever has the URL, without the API key.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use http::Method;
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;
use tokio::time::Instant;

use crate::error::Result;
use crate::operation::Operation;
use crate::sandbox::Sandbox;
use crate::transport::Call;

/// Seconds a URL is good for where nothing is said.
const DEFAULT_TTL: i64 = 3600;
/// How long a key is used before it is asked for again, so that a rotation takes effect.
const KEY_LIFE: Duration = Duration::from_secs(15);

/// A sandbox's key and when it was asked for.
pub(crate) struct SigningKey {
    key: SecretString,
    since: Instant,
}

impl Sandbox {
    /// A URL to GET a file from. `ttl` is in seconds, default 3600; 0 or less never expires.
    ///
    /// # Errors
    /// `InvalidFilePath` for an empty path; the server's refusal to hand out the key.
    pub async fn download_url(&self, path: &str, ttl: Option<i64>) -> Result<String> {
        self.signed(Operation::DOWNLOAD_URL, &Method::GET, "download", path, ttl).await
    }

    /// A URL to POST a file to, as the field `file` of a form. `ttl` as for [`Sandbox::download_url`].
    ///
    /// # Errors
    /// As [`Sandbox::download_url`].
    pub async fn upload_url(&self, path: &str, ttl: Option<i64>) -> Result<String> {
        self.signed(Operation::UPLOAD_URL, &Method::POST, "upload-v2", path, ttl).await
    }

    /// Makes a new key: every URL signed so far stops working.
    ///
    /// # Errors
    /// The server's refusal.
    pub async fn rotate_signing_key(&self) -> Result<()> {
        let operation = Operation::ROTATE_SIGNING_KEY;
        let work = async {
            let link = self.inner.client.link().await?;
            let url = link.url(&["sandbox", self.id(), "signing-key", "rotate"])?;
            let key: String = link.transport.json(Call::post(operation, url)).await?;
            *self.cached_signing_key() = Some(SigningKey { key: key.into(), since: Instant::now() });
            Ok(())
        };
        self.observe(operation, work).await
    }

    async fn signed(
        &self,
        operation: Operation,
        method: &Method,
        route: &str,
        path: &str,
        ttl: Option<i64>,
    ) -> Result<String> {
        let work = async {
            crate::files::check_path(path)?;
            let ttl = ttl.unwrap_or(DEFAULT_TTL);
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
            let expires = u64::try_from(ttl).ok().filter(|ttl| *ttl > 0).map_or(0, |ttl| now.saturating_add(ttl));
            let key = self.signing_key(operation).await?;
            let signature = sign(key.expose_secret(), method, path, expires);
            let (_, mut url) = self.toolbox(&["files", route]).await?;
            url.query_pairs_mut()
                .append_pair("path", path)
                .append_pair("expires", &expires.to_string())
                .append_pair("signature", &signature);
            Ok(url.into())
        };
        self.observe(operation, work).await
    }

    async fn signing_key(&self, operation: Operation) -> Result<SecretString> {
        if let Some(key) = &*self.cached_signing_key()
            && key.since.elapsed() < KEY_LIFE
        {
            return Ok(key.key.clone());
        }
        let link = self.inner.client.link().await?;
        let url = link.url(&["sandbox", self.id(), "signing-key"])?;
        let key: String = link.transport.json(Call::get(operation, url)).await?;
        let key = SecretString::from(key);
        *self.cached_signing_key() = Some(SigningKey { key: key.clone(), since: Instant::now() });
        Ok(key)
    }
}

fn sign(key: &str, method: &Method, path: &str, expires: u64) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).expect("HMAC takes keys of any length");
    mac.update(format!("v1:files:{method}:{path}:{expires}").as_bytes());
    format!("v1_{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computed with another implementation of HMAC-SHA256.
    #[test]
    fn signature() {
        let signature = sign("key", &Method::GET, "/a b", 0);
        assert_eq!(signature, "v1_Fc9mxojmwoG44jAr3VMPWPe7FcX-_H0ypD50nGJ-1F8");
    }
}
