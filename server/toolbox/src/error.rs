//! Every failure as the protocol's JSON error body.

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::path::Path;

use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use daytona_wire::error::{ErrorBody, SOURCE_DAEMON, code};
use daytona_wire::files::{UploadFilesResponse, UploadedFile};
use serde::Serialize;

pub(crate) type Result<T> = std::result::Result<T, Error>;

/// A failure; [`describe`] adds the request's method and path.
#[derive(Clone, Debug)]
pub(crate) struct Error {
    pub(crate) status: StatusCode,
    pub(crate) code: &'static str,
    pub(crate) message: Cow<'static, str>,
    /// What became of the files of an upload of several.
    pub(crate) upload: Option<Box<UploadFilesResponse>>,
}

#[derive(Serialize)]
struct Body<'a> {
    #[serde(flatten)]
    error: ErrorBody,
    #[serde(skip_serializing_if = "Option::is_none")]
    errors: Option<&'a [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    files: Option<&'a [UploadedFile]>,
}

impl Error {
    pub(crate) fn new(status: StatusCode, code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self { status, code, message: message.into(), upload: None }
    }

    pub(crate) fn bad_request(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BAD_REQUEST", message)
    }

    pub(crate) fn bad_body(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "INVALID_REQUEST_BODY", message)
    }

    pub(crate) fn bad_path(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code::INVALID_FILE_PATH, message)
    }

    pub(crate) fn denied(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::FORBIDDEN, code::FILE_ACCESS_DENIED, message)
    }

    pub(crate) fn conflict(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::CONFLICT, "CONFLICT", message)
    }

    pub(crate) fn too_large(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "PAYLOAD_TOO_LARGE", message)
    }

    pub(crate) fn internal(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL_SERVER_ERROR", message)
    }

    /// A failed operation on `path`, as it was asked for. `doing` reads after "cannot".
    pub(crate) fn io(error: &io::Error, doing: &str, path: impl AsRef<Path>) -> Self {
        let path = path.as_ref().display();
        match error.kind() {
            io::ErrorKind::NotFound => Self::new(
                StatusCode::NOT_FOUND,
                code::FILE_NOT_FOUND,
                format!("cannot {doing} {path}: no such file or directory"),
            ),
            io::ErrorKind::PermissionDenied => Self::denied(format!(
                "cannot {doing} {path}: the sandbox's user may not do that; \
                 see its permissions with file info"
            )),
            io::ErrorKind::ReadOnlyFilesystem => Self::denied(format!(
                "cannot {doing} {path}: it lies on a read-only file system; \
                 use a path below the home directory or /tmp"
            )),
            io::ErrorKind::AlreadyExists => Self::conflict(format!("cannot {doing} {path}: it exists already")),
            io::ErrorKind::NotADirectory => {
                Self::bad_path(format!("cannot {doing} {path}: a part of the path is a file, not a directory"))
            }
            io::ErrorKind::IsADirectory => Self::bad_path(format!("cannot {doing} {path}: it is a directory")),
            io::ErrorKind::InvalidFilename | io::ErrorKind::InvalidInput => {
                Self::bad_path(format!("cannot {doing} {path}: the system does not take this path: {error}"))
            }
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::new(
                StatusCode::INSUFFICIENT_STORAGE,
                "INSUFFICIENT_STORAGE",
                format!("cannot {doing} {path}: the disk is full; delete files or use a sandbox with a larger disk"),
            ),
            _ if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => {
                Self::bad_path(format!("cannot {doing} {path}: symbolic links form a loop"))
            }
            _ if doing == "read" => Self::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                code::FILE_READ_FAILED,
                format!("cannot read {path}: {error}"),
            ),
            _ => Self::internal(format!("cannot {doing} {path}: {error}")),
        }
    }

    /// The error body as the protocol has it.
    pub(crate) fn body(&self, method: &str, path: &str) -> ErrorBody {
        ErrorBody {
            status_code: self.status.as_u16(),
            message: self.message.clone().into_owned(),
            code: Some(self.code.to_owned()),
            source: Some(SOURCE_DAEMON.to_owned()),
            error: None,
            path: path.to_owned(),
            method: Some(method.to_owned()),
            timestamp: jiff::Timestamp::now().to_string(),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// Gives every [`Error`] its body.
pub(crate) async fn describe(request: Request, next: Next) -> Response {
    let method = request.method().clone();
    let uri = request.uri().clone();
    let (mut parts, body) = next.run(request).await.into_parts();
    let Some(error) = parts.extensions.remove::<Error>() else {
        return Response::from_parts(parts, body);
    };
    let body = serde_json::to_vec(&Body {
        error: error.body(method.as_str(), uri.path()),
        errors: error.upload.as_deref().map(|u| u.errors.as_slice()),
        files: error.upload.as_deref().map(|u| u.files.as_slice()),
    })
    .unwrap_or_default();
    let json = HeaderValue::from_static("application/json");
    parts.headers.insert(header::CONTENT_TYPE, json);
    Response::from_parts(parts, body.into())
}

/// 404 for a path that is no route.
pub(crate) async fn no_route() -> Error {
    Error::new(
        StatusCode::NOT_FOUND,
        "NOT_FOUND",
        "the toolbox has no such route; check the path, and that client and server are of matching versions",
    )
}

/// 405 for a route with another method.
pub(crate) async fn no_method() -> Error {
    Error::new(StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", "this route does not take this method")
}

/// 501 for a route of the protocol that this version does not serve.
pub(crate) async fn not_implemented() -> Error {
    Error::new(
        StatusCode::NOT_IMPLEMENTED,
        "NOT_IMPLEMENTED",
        "this server does not offer this yet; do it with a command through process.exec, \
         or use a hosted Daytona server",
    )
}
