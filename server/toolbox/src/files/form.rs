//! Multipart forms, part by part and piece by piece.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::Body;
use axum::http::{HeaderMap, header};
use bytes::Bytes;
use futures_util::TryStreamExt;
use multer::{Field, Multipart};

use crate::body::chunks;
use crate::error::{Error, Result};

/// What may come before a part, or as its head, before the form counts as malformed.
const UNREAD_LIMIT: usize = 4 << 20;

/// Bytes taken from the body since the parser gave anything away.
type Unread = Arc<AtomicUsize>;

/// A `multipart/form-data` body.
pub(super) struct Form {
    parts: Multipart<'static>,
    unread: Unread,
}

/// One part; it has to be read to its end before the next one.
pub(super) struct Part {
    field: Field<'static>,
    unread: Unread,
}

/// Whether the headers announce a form.
pub(super) fn is_form(headers: &HeaderMap) -> bool {
    content_type(headers).is_some_and(|value| {
        value.trim_start().get(..19).is_some_and(|kind| kind.eq_ignore_ascii_case("multipart/form-data"))
    })
}

fn content_type(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::CONTENT_TYPE)?.to_str().ok()
}

impl Form {
    pub(super) fn new(headers: &HeaderMap, body: Body) -> Result<Self> {
        let boundary = content_type(headers)
            .and_then(|value| multer::parse_boundary(value).ok())
            .ok_or_else(|| Error::bad_body("the Content-Type of the form has no boundary"))?;
        let unread = Unread::default();
        let counter = Arc::clone(&unread);
        // The parser would keep a head without an end whole.
        let body = chunks(body).and_then(move |chunk| {
            let before = counter.fetch_add(chunk.len(), Ordering::Relaxed);
            let result = if before > UNREAD_LIMIT {
                Err(Error::bad_body("the multipart body is malformed: a part has no beginning"))
            } else {
                Ok(chunk)
            };
            std::future::ready(result)
        });
        Ok(Self { parts: Multipart::new(body, boundary), unread })
    }

    pub(super) async fn next(&mut self) -> Result<Option<Part>> {
        let field = self.parts.next_field().await.map_err(malformed)?;
        self.unread.store(0, Ordering::Relaxed);
        Ok(field.map(|field| Part { field, unread: Arc::clone(&self.unread) }))
    }
}

impl Part {
    pub(super) fn name(&self) -> &str {
        self.field.name().unwrap_or_default()
    }

    pub(super) async fn chunk(&mut self) -> Result<Option<Bytes>> {
        let chunk = self.field.chunk().await.map_err(malformed)?;
        self.unread.store(0, Ordering::Relaxed);
        Ok(chunk)
    }

    pub(super) async fn skip(mut self) -> Result<()> {
        while self.chunk().await?.is_some() {}
        Ok(())
    }

    /// The whole part as text of at most `limit` bytes.
    pub(super) async fn text(mut self, limit: usize) -> Result<String> {
        let mut text = Vec::new();
        while let Some(chunk) = self.chunk().await? {
            text.extend_from_slice(&chunk);
            if text.len() > limit {
                let name = self.name();
                return Err(Error::bad_body(format!("{name} is over {limit} bytes long")));
            }
        }
        String::from_utf8(text)
            .map_err(|_| Error::bad_body(format!("{} is not UTF-8", self.field.name().unwrap_or_default())))
    }
}

fn malformed(error: multer::Error) -> Error {
    match error {
        multer::Error::StreamReadFailed(cause) if cause.is::<Error>() => {
            cause.downcast::<Error>().map_or_else(|_| Error::bad_body("the request's body broke off"), |cause| *cause)
        }
        error => Error::bad_body(format!("the multipart body is malformed or cut short: {error}; send it again")),
    }
}
