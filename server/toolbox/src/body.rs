//! Request bodies and queries, read within limits.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use bytes::{Bytes, BytesMut};
use futures_util::Stream;
use http_body_util::BodyExt;
use serde::de::DeserializeOwned;

use crate::error::{Error, Result};

/// The largest JSON body taken.
const JSON_LIMIT: usize = 32 << 20;

/// A body may be as slow as it likes, but sends something this often.
pub(crate) const IDLE: Duration = Duration::from_secs(300);

/// The next piece of a body; `None` at its end.
pub(crate) async fn next_chunk(body: &mut Body) -> Result<Option<Bytes>> {
    loop {
        let frame = match tokio::time::timeout(IDLE, body.frame()).await {
            Ok(Some(Ok(frame))) => frame,
            Ok(None) => return Ok(None),
            Ok(Some(Err(error))) => {
                return Err(Error::bad_body(format!("the request ended before its body did: {error}; send it again")));
            }
            Err(_) => {
                return Err(Error::new(
                    StatusCode::REQUEST_TIMEOUT,
                    "REQUEST_TIMEOUT",
                    "the request's body stopped coming; send it again",
                ));
            }
        };
        if let Ok(data) = frame.into_data()
            && !data.is_empty()
        {
            return Ok(Some(data));
        }
    }
}

/// A body as a stream of its pieces.
pub(crate) fn chunks(body: Body) -> impl Stream<Item = Result<Bytes>> + Send {
    futures_util::stream::try_unfold(body, |mut body| async {
        Ok(next_chunk(&mut body).await?.map(|chunk| (chunk, body)))
    })
}

/// A JSON body; the content type is not looked at.
pub(crate) struct Json<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Sync> FromRequest<S> for Json<T> {
    type Rejection = Error;

    async fn from_request(request: Request, _: &S) -> Result<Self> {
        let mut body = request.into_body();
        let mut all = BytesMut::new();
        while let Some(chunk) = next_chunk(&mut body).await? {
            if all.len() + chunk.len() > JSON_LIMIT {
                return Err(Error::too_large("the JSON body is over 32 MiB; upload large data as a file"));
            }
            all.extend_from_slice(&chunk);
        }
        serde_json::from_slice(&all)
            .map(Self)
            .map_err(|error| Error::bad_body(format!("the body is not what this route takes: {error}")))
    }
}

/// The query, decoded.
pub(crate) struct Query<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self> {
        axum::extract::Query::try_from_uri(&parts.uri).map(|axum::extract::Query(value)| Self(value)).map_err(|error| {
            Error::bad_request(format!("the query is not what this route takes: {}", error.body_text()))
        })
    }
}
