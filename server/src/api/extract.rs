//! How handlers read a request.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, FromRequestParts, RawPathParams, Request};
use axum::http::request::Parts;
use axum::http::{StatusCode, Uri, header, uri::Authority};
use bytes::Bytes;
use http_body::Body as _;
use serde::de::DeserializeOwned;

use crate::App;
use crate::error::{ApiError, ApiResult, code};
use crate::preview::FORWARDED_PROTO;
use crate::sandbox::Sandbox;

/// How long a client may take to send a JSON body.
const BODY_TIME: Duration = Duration::from_secs(30);

/// A JSON body; an empty one is `{}`. Errors name the field.
pub(super) struct Json<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<Arc<App>> for Json<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &Arc<App>) -> ApiResult<Self> {
        let announced = request.body().size_hint().lower();
        if announced > super::BODY_LIMIT as u64 {
            return Err(too_large());
        }
        let read = Bytes::from_request(request, app);
        let bytes = match tokio::time::timeout(BODY_TIME, read).await {
            Ok(Ok(bytes)) => bytes,
            Ok(Err(error)) => return Err(rejected(&error)),
            Err(_) => {
                return Err(ApiError::new(
                    StatusCode::REQUEST_TIMEOUT,
                    code::REQUEST_TIMEOUT,
                    format!("the body was not sent within {} s", BODY_TIME.as_secs()),
                ));
            }
        };
        let bytes: &[u8] = if bytes.is_empty() { b"{}" } else { &bytes };
        let mut reader = serde_json::Deserializer::from_slice(bytes);
        serde_path_to_error::deserialize(&mut reader)
            .map_err(|error| {
                let path = error.path().to_string();
                let field = if path == "." { "body" } else { &path };
                ApiError::invalid(format!("{field}: {}", error.inner()))
            })
            .and_then(|value| {
                reader.end().map_err(|error| ApiError::invalid(format!("body: {error}")))?;
                Ok(Self(value))
            })
    }
}

fn rejected(error: &BytesRejection) -> ApiError {
    if error.status() == StatusCode::PAYLOAD_TOO_LARGE {
        return too_large();
    }
    ApiError::invalid(format!("the body cannot be read: {error}"))
}

fn too_large() -> ApiError {
    ApiError::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        code::BODY_TOO_LARGE,
        format!("the body is larger than {} bytes", super::BODY_LIMIT),
    )
}

/// The server's URL without a path, as the client knows it: `http://127.0.0.1:3986`, or with `https` where a proxy that
/// ends TLS says so.
pub(crate) struct Base(pub(crate) String);

impl FromRequestParts<Arc<App>> for Base {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Self::Rejection> {
        let host = parts.headers.get(header::HOST);
        let host = host
            .and_then(|host| host.to_str().ok()?.parse::<Authority>().ok())
            .or_else(|| Uri::authority(&parts.uri).cloned());
        let is_secure = parts.headers.get(FORWARDED_PROTO).is_some_and(|scheme| scheme == "https");
        let scheme = if is_secure { "https" } else { "http" };
        Ok(Self(match host {
            Some(host) => format!("{scheme}://{host}"),
            None => format!("http://{}", app.address),
        }))
    }
}

/// The sandbox that the path names.
pub(super) struct Named(pub(super) Arc<Sandbox>);

impl FromRequestParts<Arc<App>> for Named {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> ApiResult<Self> {
        let id = path_value(parts, app, "id").await?;
        Ok(Self(app.sandboxes.find(&id)?))
    }
}

/// The last part of a setting's path.
pub(super) struct Value(pub(super) String);

impl FromRequestParts<Arc<App>> for Value {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> ApiResult<Self> {
        Ok(Self(path_value(parts, app, "value").await?))
    }
}

async fn path_value(parts: &mut Parts, app: &Arc<App>, name: &str) -> ApiResult<String> {
    let values =
        RawPathParams::from_request_parts(parts, app).await.map_err(|error| ApiError::invalid(error.to_string()))?;
    let value = values.iter().find(|(key, _)| *key == name);
    Ok(value.map(|(_, value)| value.to_owned()).unwrap_or_default())
}

/// The query's pairs, decoded.
pub(super) struct Query(pub(super) Vec<(String, String)>);

impl<S: Sync> FromRequestParts<S> for Query {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        let query = parts.uri.query().unwrap_or_default();
        Ok(Self(form_urlencoded::parse(query.as_bytes()).into_owned().collect()))
    }
}

/// `true` or `false`.
pub(super) fn boolean(name: &str, text: &str) -> ApiResult<bool> {
    match text {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err(ApiError::invalid(format!("{name} must be true or false, not {text:?}"))),
    }
}

/// A whole number of at least `min`.
pub(super) fn whole(name: &str, text: &str, min: i64) -> ApiResult<i64> {
    #[expect(clippy::cast_possible_truncation, reason = "checked to be whole and in range")]
    let value = text
        .parse::<f64>()
        .ok()
        .filter(|value| value.fract() == 0.0 && value.abs() < 1e12)
        .map(|value| value as i64)
        .ok_or_else(|| ApiError::invalid(format!("{name} must be a whole number, not {text:?}")))?;
    at_least(name, value, min)
}

/// The same for a number from a body.
pub(super) fn at_least(name: &str, value: i64, min: i64) -> ApiResult<i64> {
    if value < min {
        return Err(ApiError::invalid(format!("{name} must be at least {min}, not {value}")));
    }
    Ok(value)
}
