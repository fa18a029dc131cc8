//! One request, as the resources describe it.

use std::time::Duration;

use bytes::Bytes;
use http::header::HeaderValue;
use http::{HeaderMap, Method};
use reqwest::Url;
use serde::Serialize;

use super::RETRIES;
use crate::error::{Error, Result};
use crate::operation::Operation;

/// A time limit: `None` is the default of the operation, zero is no limit.
pub(crate) type Limit = Option<Duration>;

/// Seconds as the languages give them: none is the default, 0 is no limit.
pub(crate) fn seconds(name: &str, value: Option<f64>) -> Result<Limit> {
    let Some(value) = value else { return Ok(None) };
    if !value.is_finite() || value < 0.0 {
        return Err(Error::invalid(format!("{name} must be a non-negative number of seconds, not {value}")));
    }
    let limit = Duration::try_from_secs_f64(value).map_err(|error| Error::invalid(format!("{name}: {error}")))?;
    // A limit too small to count is no reason to have none.
    Ok(Some(if value > 0.0 { limit.max(Duration::from_nanos(1)) } else { limit }))
}

/// The body of a request.
pub(crate) enum Payload<'a> {
    Empty,
    Json(Bytes),
    /// As they are.
    Bytes(Bytes),
    /// Makes the body anew for each attempt, or says that it cannot be sent again.
    Stream {
        content_type: HeaderValue,
        make: &'a (dyn Fn() -> Option<reqwest::Body> + Send + Sync),
    },
    /// Asks for a websocket; only the answer 101 is a success.
    Upgrade(HeaderMap),
}

/// One request.
pub(crate) struct Call<'a> {
    pub(crate) operation: Operation,
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) payload: Payload<'a>,
    pub(crate) limit: Limit,
    /// It may be sent again after it may have been acted on.
    pub(super) idempotent: bool,
    /// Goes to a server that is not Daytona's: nothing about the client is told.
    pub(super) foreign: bool,
    pub(super) retries: usize,
}

impl<'a> Call<'a> {
    pub(crate) fn new(operation: Operation, method: Method, url: Url) -> Self {
        let idempotent = matches!(method, Method::GET | Method::HEAD | Method::PUT | Method::DELETE);
        Self {
            operation,
            method,
            url,
            payload: Payload::Empty,
            limit: None,
            idempotent,
            foreign: false,
            retries: RETRIES,
        }
    }

    pub(crate) fn get(operation: Operation, url: Url) -> Self {
        Self::new(operation, Method::GET, url)
    }

    pub(crate) fn post(operation: Operation, url: Url) -> Self {
        Self::new(operation, Method::POST, url)
    }

    pub(crate) fn json(mut self, body: &impl Serialize) -> Result<Self> {
        let body = serde_json::to_vec(body).map_err(|error| {
            Error::invalid(format!("the request cannot be written as JSON: {error}")).with_operation(self.operation)
        })?;
        self.payload = Payload::Json(body.into());
        Ok(self)
    }

    pub(crate) fn stream(
        mut self,
        content_type: HeaderValue,
        make: &'a (dyn Fn() -> Option<reqwest::Body> + Send + Sync),
    ) -> Self {
        self.payload = Payload::Stream { content_type, make };
        self
    }

    pub(crate) fn body(mut self, body: Bytes) -> Self {
        self.payload = Payload::Bytes(body);
        self
    }

    /// For a server that knows the request by its URL.
    pub(crate) fn foreign(mut self) -> Self {
        self.foreign = true;
        self
    }

    pub(crate) fn limit(mut self, limit: Limit) -> Self {
        self.limit = limit;
        self
    }

    pub(crate) fn upgrade(mut self, headers: HeaderMap) -> Self {
        self.payload = Payload::Upgrade(headers);
        self
    }

    /// Never sent again, whatever happens.
    pub(crate) fn single(mut self) -> Self {
        self.retries = 0;
        self
    }

    /// Never sent again once it may have been acted on, whatever its method.
    pub(crate) fn once(mut self) -> Self {
        self.idempotent = false;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn limits_of_the_languages() {
        assert_eq!(seconds("timeout", None).unwrap(), None);
        assert_eq!(seconds("timeout", Some(0.0)).unwrap(), Some(Duration::ZERO));
        assert_eq!(seconds("timeout", Some(0.2)).unwrap(), Some(Duration::from_millis(200)));
        assert_eq!(seconds("timeout", Some(1e-12)).unwrap(), Some(Duration::from_nanos(1)));
        for bad in [-1.0, f64::NAN, f64::INFINITY, 1e300] {
            assert_eq!(seconds("timeout", Some(bad)).unwrap_err().kind(), ErrorKind::InvalidArgument);
        }
    }
}
