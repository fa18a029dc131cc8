//! How a request fails: one type, rendered once as the API's error envelope.

use std::io::ErrorKind;

use axum::response::{IntoResponse, Response};
use axum::{Json, http::StatusCode};
use daytona_runtime::RuntimeError;
use daytona_wire::error::{ErrorBody, SOURCE_API, SOURCE_PROXY};

use crate::store::StoreError;

/// Names of this server's own failures (`code` in the body).
pub(crate) mod code {
    pub(crate) const UNAUTHORIZED: &str = "UNAUTHORIZED";
    pub(crate) const NOT_FOUND: &str = "NOT_FOUND";
    pub(crate) const METHOD_NOT_ALLOWED: &str = "METHOD_NOT_ALLOWED";
    pub(crate) const NOT_IMPLEMENTED: &str = "NOT_IMPLEMENTED";
    pub(crate) const UNSUPPORTED_BY_RUNTIME: &str = "UNSUPPORTED_BY_RUNTIME";
    pub(crate) const VALIDATION_FAILED: &str = "VALIDATION_FAILED";
    pub(crate) const BODY_TOO_LARGE: &str = "BODY_TOO_LARGE";
    pub(crate) const REQUEST_TIMEOUT: &str = "REQUEST_TIMEOUT";
    pub(crate) const SNAPSHOT_NOT_FOUND: &str = "SNAPSHOT_NOT_FOUND";
    pub(crate) const SNAPSHOT_NAME_TAKEN: &str = "SNAPSHOT_NAME_TAKEN";
    pub(crate) const SNAPSHOT_STATE_INVALID: &str = "SNAPSHOT_STATE_INVALID";
    pub(crate) const SNAPSHOT_GENERAL: &str = "SNAPSHOT_GENERAL";
    pub(crate) const VOLUME_NOT_FOUND: &str = "VOLUME_NOT_FOUND";
    pub(crate) const VOLUME_NAME_TAKEN: &str = "VOLUME_NAME_TAKEN";
    pub(crate) const VOLUME_IN_USE: &str = "VOLUME_IN_USE";
    pub(crate) const SECRET_NOT_FOUND: &str = "SECRET_NOT_FOUND";
    pub(crate) const SECRET_NAME_TAKEN: &str = "SECRET_NAME_TAKEN";
    pub(crate) const SECRETS_UNREADABLE: &str = "SECRETS_UNREADABLE";
    pub(crate) const API_KEY_NAME_TAKEN: &str = "API_KEY_NAME_TAKEN";
    pub(crate) const WARM_POOL_EXISTS: &str = "WARM_POOL_EXISTS";
    pub(crate) const FORBIDDEN: &str = "FORBIDDEN";
    pub(crate) const SANDBOX_NOT_FOUND: &str = "SANDBOX_NOT_FOUND";
    pub(crate) const SANDBOX_NAME_TAKEN: &str = "SANDBOX_NAME_TAKEN";
    pub(crate) const SANDBOX_STATE_INVALID: &str = "SANDBOX_STATE_INVALID";
    pub(crate) const SANDBOX_STATE_CHANGING: &str = "SANDBOX_STATE_CHANGING";
    pub(crate) const SANDBOX_HAS_FORKS: &str = "SANDBOX_HAS_FORKS";
    pub(crate) const SANDBOX_FILES_LOST: &str = "SANDBOX_FILES_LOST";
    pub(crate) const SANDBOX_NOT_FORKED: &str = "SANDBOX_NOT_FORKED";
    pub(crate) const SANDBOX_START_FAILED: &str = "SANDBOX_START_FAILED";
    pub(crate) const SANDBOX_NOT_RUNNING: &str = "SANDBOX_NOT_RUNNING";
    pub(crate) use daytona_wire::error::code::{AGENT_RESTARTED, SANDBOX_DESTROYED, SANDBOX_STOPPED};
    pub(crate) const AGENT_UNREACHABLE: &str = "AGENT_UNREACHABLE";
    pub(crate) use daytona_wire::tunnel::CODE_UNREACHABLE as PORT_UNREACHABLE;
    pub(crate) const PORT_NO_ANSWER: &str = "PORT_NO_ANSWER";
    pub(crate) const PREVIEW_TOKEN_INVALID: &str = "PREVIEW_TOKEN_INVALID";
    pub(crate) const SSH_UNAVAILABLE: &str = "SSH_UNAVAILABLE";
    pub(crate) const PREVIEW_LOOP: &str = "PREVIEW_LOOP";
    pub(crate) const SIGNATURE_INVALID: &str = "SIGNATURE_INVALID";
    pub(crate) const SIGNATURE_EXPIRED: &str = "SIGNATURE_EXPIRED";
    pub(crate) const STORAGE_FAILED: &str = "STORAGE_FAILED";
    pub(crate) const RUNTIME_FAILED: &str = "RUNTIME_FAILED";
    pub(crate) const SHUTTING_DOWN: &str = "SHUTTING_DOWN";
}

/// A request's failure. The outermost layer turns it into the body: it knows the path.
#[derive(Clone, Debug)]
pub(crate) struct ApiError {
    pub(crate) status: StatusCode,
    pub(crate) code: &'static str,
    pub(crate) message: String,
    source: &'static str,
}

/// What a handler answers.
pub(crate) type ApiResult<T> = Result<T, ApiError>;

impl ApiError {
    pub(crate) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), source: SOURCE_API }
    }

    /// The same, said by the proxy.
    pub(crate) fn by_proxy(mut self) -> Self {
        self.source = SOURCE_PROXY;
        self
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code::VALIDATION_FAILED, message)
    }

    pub(crate) fn unauthorized() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            code::UNAUTHORIZED,
            "the API key is missing or wrong: send `Authorization: Bearer <key>` with the key \
             that `daytona-native serve` printed",
        )
    }

    pub(crate) fn sandbox_not_found(id_or_name: &str) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            code::SANDBOX_NOT_FOUND,
            format!("Sandbox with ID or name {id_or_name} not found"),
        )
    }

    pub(crate) fn not_implemented(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_IMPLEMENTED, code::NOT_IMPLEMENTED, message)
    }

    pub(crate) fn state(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code::SANDBOX_STATE_INVALID, message)
    }

    pub(crate) fn changing(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, code::SANDBOX_STATE_CHANGING, message)
    }

    /// The envelope, for a request of this method and path.
    pub(crate) fn body(&self, method: &str, path: &str) -> ErrorBody {
        ErrorBody {
            status_code: self.status.as_u16(),
            message: self.message.clone(),
            code: Some(self.code.to_owned()),
            source: Some(self.source.to_owned()),
            error: self.status.canonical_reason().map(str::to_owned),
            path: path.to_owned(),
            method: Some(method.to_owned()),
            timestamp: crate::time::rfc3339(crate::time::now()),
        }
    }

    /// The finished answer.
    pub(crate) fn render(&self, method: &str, path: &str) -> Response {
        (self.status, Json(self.body(method, path))).into_response()
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        Self::new(
            StatusCode::INSUFFICIENT_STORAGE,
            code::STORAGE_FAILED,
            format!("the change could not be stored: {error}; check the disk of the data directory"),
        )
    }
}

impl From<RuntimeError> for ApiError {
    fn from(error: RuntimeError) -> Self {
        let (status, code) = match &error {
            RuntimeError::Unsupported { .. } => (StatusCode::NOT_IMPLEMENTED, code::UNSUPPORTED_BY_RUNTIME),
            RuntimeError::Invalid(_) => (StatusCode::BAD_REQUEST, code::VALIDATION_FAILED),
            RuntimeError::Lost(_) => (StatusCode::CONFLICT, code::SANDBOX_FILES_LOST),
            RuntimeError::LauncherGone | RuntimeError::Unavailable(_) => {
                (StatusCode::SERVICE_UNAVAILABLE, code::RUNTIME_FAILED)
            }
            RuntimeError::Io { source, .. } | RuntimeError::Launch { source, .. }
                if matches!(source.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) =>
            {
                (StatusCode::INSUFFICIENT_STORAGE, code::STORAGE_FAILED)
            }
            _ => (StatusCode::INTERNAL_SERVER_ERROR, code::RUNTIME_FAILED),
        };
        Self::new(status, code, error.to_string())
    }
}
