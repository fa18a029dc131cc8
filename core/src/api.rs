//! Any operation of the API, for what has no method of its own.

use std::sync::Arc;

use http::Method;
use reqwest::Url;
use serde_json::Value;

use crate::client::Client;
use crate::error::{Error, Result};
use crate::operation::Operation;
use crate::transport::{Call, seconds};

/// Requests to the API with the client's credentials, retries, errors and time limits.
#[derive(Clone)]
pub struct Api {
    pub(crate) client: Arc<Client>,
}

impl Api {
    /// Sends one request. `path` is beneath the API's URL, as the API's description has it, its parts escaped where
    /// they need to be: `/organizations/my%20org/users`. The answer is JSON, a text where it is none, or null where
    /// there is nothing.
    ///
    /// # Errors
    /// `InvalidArgument` for a method that is none and for a path that leaves the API, before anything is sent; the
    /// server's refusal.
    pub async fn request(
        &self,
        method: &str,
        path: &str,
        query: &[(String, String)],
        body: Option<&Value>,
        timeout: Option<f64>,
    ) -> Result<Value> {
        let operation = Operation::API_REQUEST;
        let work = async {
            let method = self::method(method)?;
            let limit = seconds("request_timeout", timeout)?;
            let link = self.client.link().await?;
            let mut url = beneath(link.base(), path)?;
            if !query.is_empty() {
                url.query_pairs_mut().extend_pairs(query);
            }
            let mut call = Call::new(operation, method, url).limit(limit);
            if let Some(body) = body {
                call = call.json(body)?;
            }
            link.transport.value(call).await
        };
        self.client.observe(operation, work).await
    }
}

fn method(name: &str) -> Result<Method> {
    const METHODS: [Method; 6] = [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];
    METHODS.into_iter().find(|method| method.as_str().eq_ignore_ascii_case(name)).ok_or_else(|| {
        Error::invalid(format!("{name:?} is not a method of the API: use GET, POST, PUT, PATCH or DELETE"))
    })
}

/// A path beneath a base URL, and never anything else.
fn beneath(base: &str, path: &str) -> Result<Url> {
    let refused = |why: &str| Error::invalid(format!("the path {path:?} {why}"));
    if path.contains(['?', '#']) {
        return Err(refused("must not have a query or fragment: pass the query on its own"));
    }
    if path.contains('\\') || path.chars().any(char::is_control) {
        return Err(refused("must not have a backslash or control characters"));
    }
    let base = Url::parse(base).map_err(|error| Error::invalid(format!("{base:?} is not a URL: {error}")))?;
    let prefix = format!("{}/", base.path().trim_end_matches('/'));
    let rest = path.trim_start_matches('/');
    // Takes `.` and `..` out, also where they are escaped.
    let mut url = base.clone();
    url.set_path(&format!("{prefix}{rest}"));
    url.set_query(None);
    if rest.is_empty() || !url.path().starts_with(&prefix) || url.origin() != base.origin() {
        return Err(refused("is not beneath the API's URL"));
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_beneath_the_api() {
        let url = |path: &str| beneath("https://h/api", path).map(|url| url.to_string());
        assert_eq!(url("/runners").unwrap(), "https://h/api/runners");
        assert_eq!(url("runners/a%2Fb/x y").unwrap(), "https://h/api/runners/a%2Fb/x%20y");
        assert_eq!(url("//evil.com/x").unwrap(), "https://h/api/evil.com/x");
        assert_eq!(url("https://evil.com/x").unwrap(), "https://h/api/https://evil.com/x");
        assert_eq!(url("/a/../b").unwrap(), "https://h/api/b");
        for bad in ["", "/", "..", "/../x", "/%2e%2e/x", "a/../../x", "/a?b=c", "/a#b", "\\\\evil.com", "/a\nb"] {
            assert!(url(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn methods_are_those_of_the_api() {
        assert_eq!(method("patch").unwrap(), Method::PATCH);
        for bad in ["", "CONNECT", "GET /"] {
            assert!(method(bad).is_err(), "{bad:?}");
        }
    }
}
