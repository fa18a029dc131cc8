//! Signed file URLs: who has the URL may fetch or store one file, without the API key.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::error::{ApiError, code};
use crate::time;
use axum::http::StatusCode;

/// The two operations that may be signed, by method and path below the sandbox.
pub(crate) const OPERATIONS: [(&str, &str); 2] = [("GET", "/files/download"), ("POST", "/files/upload-v2")];

/// The signature's part of a URL's query.
pub(crate) struct Signed {
    pub(crate) path: String,
    expires: String,
    signature: String,
}

impl Signed {
    /// Reads the query; `None` where it is not that of a signed URL, each value given once.
    pub(crate) fn from_query(query: &str) -> Option<Self> {
        let mut values = [None, None, None];
        for (key, value) in form_urlencoded::parse(query.as_bytes()) {
            let index = ["path", "expires", "signature"].iter().position(|name| *name == key)?;
            if values[index].replace(value.into_owned()).is_some() {
                return None;
            }
        }
        let [path, expires, signature] = values;
        Some(Self { path: path?, expires: expires?, signature: signature? })
    }

    /// Checks the signature with a sandbox's key, then the time.
    pub(crate) fn check(&self, key: &str, method: &str) -> Result<(), ApiError> {
        let canonical = format!("v1:files:{method}:{}:{}", self.path, self.expires);
        let mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).map(|mac| mac.chain_update(canonical.as_bytes()));
        let given = self.signature.strip_prefix("v1_").and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
        let valid = match (mac, given) {
            (Ok(mac), Some(given)) => mac.verify_slice(&given).is_ok(),
            _ => false,
        };
        if !valid {
            return Err(forbidden(
                code::SIGNATURE_INVALID,
                "the signature does not fit this URL, or the signing key was rotated: make a new \
                 URL",
            ));
        }
        match self.expires.parse::<i64>() {
            Ok(0) => Ok(()),
            Ok(expires) if expires > time::now() / 1000 => Ok(()),
            _ => Err(forbidden(code::SIGNATURE_EXPIRED, "this URL has expired: make a new one")),
        }
    }
}

/// What a request without a valid signature is told.
pub(crate) fn forbidden(code: &'static str, message: &str) -> ApiError {
    ApiError::new(StatusCode::FORBIDDEN, code, message).by_proxy()
}

/// A new random signing key.
pub(crate) fn new_key() -> Result<String, getrandom::Error> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUERY: &str = "path=a+b.txt&expires=0&signature=v1_SIGNATURE";

    fn sign(key: &str, canonical: &str) -> String {
        let mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).unwrap();
        let digest = mac.chain_update(canonical.as_bytes()).finalize();
        URL_SAFE_NO_PAD.encode(digest.into_bytes())
    }

    #[test]
    fn only_the_exact_url_passes() {
        let signature = sign("secret", "v1:files:GET:a b.txt:0");
        let query = QUERY.replace("SIGNATURE", &signature);
        let signed = Signed::from_query(&query).unwrap();
        assert_eq!(signed.path, "a b.txt");
        signed.check("secret", "GET").unwrap();
        assert!(signed.check("secret", "POST").is_err());
        assert!(signed.check("other", "GET").is_err());
        let other = Signed::from_query(&query.replace("a+b", "a+c")).unwrap();
        assert!(other.check("secret", "GET").is_err());
    }

    #[test]
    fn time_is_checked() {
        let past = sign("k", "v1:files:GET:f:1000");
        let signed = Signed::from_query(&format!("path=f&expires=1000&signature=v1_{past}")).unwrap();
        let error = signed.check("k", "GET").unwrap_err();
        assert_eq!(error.code, code::SIGNATURE_EXPIRED);
    }

    #[test]
    fn repeated_and_unknown_parameters_are_no_signed_url() {
        assert!(Signed::from_query("path=a&path=b&expires=0&signature=v1_x").is_none());
        assert!(Signed::from_query("path=a&expires=0&signature=v1_x&more=1").is_none());
        assert!(Signed::from_query("path=a&expires=0").is_none());
    }
}
