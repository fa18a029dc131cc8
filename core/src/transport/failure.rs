//! Requests that failed: what is known of that, and whether they may be sent again.

use std::time::Duration;

use http::header::HeaderValue;

use super::CONNECT_LIMIT;
use crate::error::{Error, ErrorKind};
use crate::proxies::Proxy;

/// Whether a failed request can have had an effect.
pub(super) enum Acted {
    No,
    Maybe,
    /// It has been answered, or must not be repeated for another reason.
    Final,
}

pub(super) struct Failure {
    pub(super) error: Error,
    pub(super) acted: Acted,
    pub(super) retry_after: Option<Duration>,
}

impl Failure {
    pub(super) fn finally(error: Error) -> Self {
        Self { error, acted: Acted::Final, retry_after: None }
    }

    pub(super) fn of_transport(error: reqwest::Error, proxy: Option<&Proxy>) -> Self {
        let acted = if error.is_connect() || hyper_error(&error).is_some_and(hyper::Error::is_canceled) {
            Acted::No
        } else if error.is_builder() || error.is_body() {
            Acted::Final
        } else {
            Acted::Maybe
        };
        Self { error: broken_on_the_way(error, proxy), acted, retry_after: None }
    }

    /// Whether the request can have been done and its answer lost. Not where the server says that it did nothing.
    pub(super) fn can_hide_an_answer(&self) -> bool {
        matches!(self.acted, Acted::Maybe) && matches!(self.error.status(), None | Some(502 | 504))
    }
}

fn hyper_error(error: &reqwest::Error) -> Option<&hyper::Error> {
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref::<hyper::Error>() {
            return Some(found);
        }
        cause = error.source();
    }
    None
}

/// The error of a connection that broke.
pub(crate) fn broken(error: reqwest::Error) -> Error {
    broken_on_the_way(error, None)
}

/// The error of a connection that could not be made or broke, and of the proxy that it was to take.
fn broken_on_the_way(error: reqwest::Error, proxy: Option<&Proxy>) -> Error {
    let host = error.url().and_then(|url| Some(format!("{}:{}", url.host_str()?, url.port_or_known_default()?)));
    let host = host.unwrap_or_else(|| "the server".into());
    let error = error.without_url();
    let mut reason = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(next) = cause {
        reason = next.to_string();
        cause = next.source();
    }
    let way = proxy.map(|proxy| format!(" through the proxy {proxy}")).unwrap_or_default();
    let (kind, what) = if error.is_timeout() && !error.is_connect() {
        (ErrorKind::Connection, format!("{host} is gone: the connection to it{way} stopped answering"))
    } else if error.is_timeout() {
        let limit = CONNECT_LIMIT.as_secs();
        (ErrorKind::ConnectionTimeout, format!("{host} did not accept a connection{way} in {limit} s"))
    } else if error.is_connect() {
        (ErrorKind::Connection, format!("cannot connect to {host}{way}: {reason}"))
    } else {
        (ErrorKind::Connection, format!("the connection to {host}{way} broke: {reason}"))
    };
    let hint = match proxy {
        Some(_) => Some(check_proxy(&host)),
        None if error.is_connect() && !error.is_timeout() => {
            Some("Check the API URL, the network and the proxy settings".to_owned())
        }
        None => (error.is_timeout() && !error.is_connect()).then(|| "Check the network".to_owned()),
    };
    let broken = Error::new(kind, what).with_cause(error);
    match hint {
        Some(hint) => broken.with_hint(hint),
        None => broken,
    }
}

/// What to do about a proxy that does not do its work.
pub(super) fn check_proxy(host: &str) -> String {
    format!("Check that proxy, which HTTP_PROXY, HTTPS_PROXY or ALL_PROXY names, or add {host} to NO_PROXY")
}

/// Seconds, or an HTTP date.
pub(super) fn retry_after(value: &HeaderValue) -> Option<Duration> {
    let text = value.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let date = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
    Some(date.duration_since(jiff::Timestamp::now()).try_into().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_forms() {
        let read = |text: &str| retry_after(&HeaderValue::from_str(text).unwrap());
        assert_eq!(read("1.5"), Some(Duration::from_millis(1500)));
        assert_eq!(read("Wed, 21 Oct 2015 07:28:00 GMT"), Some(Duration::ZERO));
        assert_eq!(read("soon"), None);
        assert_eq!(read("-3"), None);
    }
}
