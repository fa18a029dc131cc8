//! Downloads: one file with ranges, or many as parts of one multipart answer.
//!
//! Each piece is read by its own call on a blocking thread, so that a slow client holds none.

use std::fmt::Write as _;
use std::fs::{File, Metadata};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use daytona_wire::files::FilesDownloadRequest;
use futures_util::stream;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use serde::Deserialize;

use super::path::{Last, resolve};
use super::{blocking, open_regular};
use crate::App;
use crate::body::{Json, Query};
use crate::error::{Error, Result};

/// Data read at once.
const PIECE: usize = 256 << 10;

/// What RFC 5987 lets stand in an extended parameter.
const ATTR_CHAR: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'!')
    .remove(b'#')
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b'-')
    .remove(b'.')
    .remove(b'^')
    .remove(b'_')
    .remove(b'`')
    .remove(b'|')
    .remove(b'~');

#[derive(Deserialize)]
pub(crate) struct DownloadQuery {
    path: String,
}

/// `GET /files/download`: the whole file or one range of it.
pub(crate) async fn download(
    State(app): State<App>,
    Query(DownloadQuery { path: asked }): Query<DownloadQuery>,
    headers: HeaderMap,
) -> Result<Response> {
    let name = asked.rsplit('/').next().unwrap_or_default().to_owned();
    let (mut file, meta) = blocking(move || {
        let path = resolve(&app, &asked, Last::Follow)?;
        open_regular(&path, &asked)
    })
    .await??;
    let etag = etag(&meta);
    let modified = u64::try_from(meta.mtime()).map_or(UNIX_EPOCH, |seconds| UNIX_EPOCH + Duration::from_secs(seconds));
    let mut response = Response::builder()
        .header(header::CONTENT_TYPE, "application/octet-stream")
        .header(header::ACCEPT_RANGES, "bytes")
        .header(header::ETAG, &etag)
        .header(header::LAST_MODIFIED, httpdate::fmt_http_date(modified))
        .header(header::CONTENT_DISPOSITION, disposition("attachment", &name));
    if headers.get(header::IF_NONE_MATCH).is_some_and(|known| known == etag.as_str() || known == "*") {
        return build(response.status(StatusCode::NOT_MODIFIED), Body::empty());
    }
    let size = meta.len();
    // Files of /proc and the like have no size and end where they end.
    if size == 0 {
        let body = Reader { file, left: None };
        return build(response, body.into_body());
    }
    let wanted = headers
        .get(header::RANGE)
        .filter(|_| same_file(&headers, &etag, modified))
        .and_then(|range| parse_range(range.to_str().ok()?, size));
    let (start, length) = match wanted {
        None => (0, size),
        Some(Ok((start, end))) => {
            response = response
                .status(StatusCode::PARTIAL_CONTENT)
                .header(header::CONTENT_RANGE, format!("bytes {start}-{end}/{size}"));
            (start, end - start + 1)
        }
        Some(Err(())) => {
            let mut refused = Error::new(
                StatusCode::RANGE_NOT_SATISFIABLE,
                "RANGE_NOT_SATISFIABLE",
                format!("the file has {size} bytes, and the range begins after them"),
            )
            .into_response();
            if let Ok(value) = HeaderValue::from_str(&format!("bytes */{size}")) {
                refused.headers_mut().insert(header::CONTENT_RANGE, value);
            }
            return Ok(refused);
        }
    };
    if start > 0 {
        file.seek(SeekFrom::Start(start)).map_err(|error| Error::io(&error, "read", &name))?;
    }
    let body = Reader { file, left: Some(length) };
    build(response.header(header::CONTENT_LENGTH, length), body.into_body())
}

fn build(response: axum::http::response::Builder, body: Body) -> Result<Response> {
    response.body(body).map_err(|error| Error::internal(format!("cannot make the answer: {error}")))
}

fn etag(meta: &Metadata) -> String {
    format!("\"{:x}-{:x}-{:x}.{:x}\"", meta.ino(), meta.len(), meta.mtime(), meta.mtime_nsec())
}

/// Whether `If-Range` allows a part: the file is still the one the client knows.
fn same_file(headers: &HeaderMap, etag: &str, modified: SystemTime) -> bool {
    let Some(known) = headers.get(header::IF_RANGE).map(|v| v.to_str()) else {
        return true;
    };
    known.is_ok_and(|known| known == etag || httpdate::parse_http_date(known).is_ok_and(|date| date == modified))
}

/// First and last byte of one range; `None` if the header is to be ignored.
fn parse_range(header: &str, size: u64) -> Option<std::result::Result<(u64, u64), ()>> {
    let (first, last) = header.trim().strip_prefix("bytes=")?.split_once('-')?;
    let (first, last) = (first.trim(), last.trim());
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if !digits(first) || !digits(last) {
        return None;
    }
    if first.is_empty() {
        let count: u64 = last.parse().ok()?;
        return Some(if count == 0 { Err(()) } else { Ok((size.saturating_sub(count), size - 1)) });
    }
    let first: u64 = first.parse().ok()?;
    let last = if last.is_empty() { size - 1 } else { last.parse::<u64>().ok()?.min(size - 1) };
    Some(match (first < size, first <= last) {
        (false, _) => Err(()),
        (true, false) => return None,
        (true, true) => Ok((first, last)),
    })
}

/// A file on its way out.
struct Reader {
    file: File,
    /// What was promised and not sent yet; `None` for up to the end.
    left: Option<u64>,
}

impl Reader {
    fn into_body(self) -> Body {
        Body::from_stream(stream::try_unfold(self, |mut reader| async move {
            if reader.left == Some(0) {
                return Ok(None);
            }
            let (reader, read) = tokio::task::spawn_blocking(move || {
                let mut piece = Vec::new();
                let read = reader.read(&mut piece);
                (reader, read.map(|()| piece))
            })
            .await
            .map_err(io::Error::other)?;
            let piece = read?;
            Ok::<_, io::Error>((!piece.is_empty()).then_some((Bytes::from(piece), reader)))
        }))
    }

    /// Appends the next piece; a file that has become shorter than promised is an error.
    fn read(&mut self, piece: &mut Vec<u8>) -> io::Result<()> {
        let most = self.left.unwrap_or(PIECE as u64).min(PIECE as u64);
        piece.reserve_exact(usize::try_from(most).unwrap_or(PIECE));
        let read = (&mut self.file).take(most).read_to_end(piece)? as u64;
        if let Some(left) = &mut self.left {
            if read == 0 {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file became shorter while it was read"));
            }
            *left -= read;
        }
        Ok(())
    }
}

/// `POST /files/bulk-download`: a part `file` or `error` for each path, in the order asked.
///
/// The final boundary says that everything before it is whole.
pub(crate) async fn bulk_download(
    State(app): State<App>,
    Json(request): Json<FilesDownloadRequest>,
) -> Result<Response> {
    if request.paths.is_empty() {
        return Err(Error::bad_body("paths is empty; give the paths of files to download"));
    }
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|error| Error::internal(format!("cannot make a boundary: {error}")))?;
    let boundary = format!("daytona-{:032x}", u128::from_ne_bytes(random));
    let content_type = format!("multipart/form-data; boundary={boundary}");
    let parts = Parts { app, boundary, paths: request.paths.into_iter(), current: None, ended: false };
    let body = Body::from_stream(stream::try_unfold(parts, |mut parts| async move {
        if parts.ended {
            return Ok(None);
        }
        let (parts, piece) = tokio::task::spawn_blocking(move || {
            let piece = parts.fill();
            (parts, piece)
        })
        .await
        .map_err(io::Error::other)?;
        Ok::<_, io::Error>(Some((piece?, parts)))
    }));
    Ok(([(header::CONTENT_TYPE, content_type)], body).into_response())
}

struct Parts {
    app: App,
    boundary: String,
    paths: std::vec::IntoIter<String>,
    current: Option<Reader>,
    ended: bool,
}

impl Parts {
    /// The next bytes of the answer, from as many files as fit.
    fn fill(&mut self) -> io::Result<Bytes> {
        let mut out = Vec::new();
        while out.len() < PIECE {
            if let Some(reader) = &mut self.current {
                let before = out.len();
                reader.read(&mut out)?;
                if reader.left == Some(0) || out.len() == before {
                    self.current = None;
                    out.extend_from_slice(b"\r\n");
                }
            } else if let Some(path) = self.paths.next() {
                self.begin(&path, &mut out);
            } else {
                out.extend_from_slice(format!("--{}--\r\n", self.boundary).as_bytes());
                self.ended = true;
                break;
            }
        }
        Ok(Bytes::from(out))
    }

    /// Starts the part for `path`; a file of one piece and an error are whole at once.
    fn begin(&mut self, path: &str, out: &mut Vec<u8>) {
        match self.open(path) {
            Ok((first, None)) => {
                self.head("file", path, "application/octet-stream", Some(first.len() as u64), out);
                out.extend_from_slice(&first);
                out.extend_from_slice(b"\r\n");
            }
            Ok((first, Some(rest))) => {
                let length = rest.left.map(|left| left + first.len() as u64);
                self.head("file", path, "application/octet-stream", length, out);
                out.extend_from_slice(&first);
                self.current = Some(rest);
            }
            Err(error) => {
                let body = error.body("POST", "/files/bulk-download");
                let body = serde_json::to_vec(&body).unwrap_or_default();
                self.head("error", path, "application/json", Some(body.len() as u64), out);
                out.extend_from_slice(&body);
                out.extend_from_slice(b"\r\n");
            }
        }
    }

    /// The first piece of a file, and the file if there is more.
    ///
    /// A short file is read to its end, so its length is what was read, whatever it does meanwhile.
    fn open(&self, asked: &str) -> Result<(Vec<u8>, Option<Reader>)> {
        let path = resolve(&self.app, asked, Last::Follow)?;
        let (file, meta) = open_regular(&path, asked)?;
        let mut reader = Reader { file, left: None };
        let mut first = Vec::new();
        // One byte more than a short file has shows that it ends.
        let size = meta.len();
        let short = size < PIECE as u64;
        reader.read(&mut first).map_err(|error| Error::io(&error, "read", asked))?;
        let read = first.len() as u64;
        if short && first.len() < PIECE {
            return Ok((first, None));
        }
        if size > 0 {
            reader.left = Some(size.saturating_sub(read));
            first.truncate(usize::try_from(size).unwrap_or(first.len()));
            if reader.left == Some(0) {
                return Ok((first, None));
            }
        }
        Ok((first, Some(reader)))
    }

    fn head(&self, name: &str, path: &str, kind: &str, length: Option<u64>, out: &mut Vec<u8>) {
        let mut head = format!(
            "--{}\r\nContent-Disposition: {}\r\nContent-Type: {kind}\r\n",
            self.boundary,
            String::from_utf8_lossy(disposition(&format!("form-data; name=\"{name}\""), path).as_bytes()),
        );
        if let Some(length) = length {
            let _ = write!(head, "Content-Length: {length}\r\n");
        }
        head.push_str("\r\n");
        out.extend_from_slice(head.as_bytes());
    }
}

/// A Content-Disposition with `path` as `filename`, for people, and as `filename*`, exactly.
fn disposition(kind: &str, path: &str) -> HeaderValue {
    let mut value = BytesMut::from(kind.as_bytes());
    value.extend_from_slice(b"; filename=\"");
    for byte in path.bytes() {
        match byte {
            b'"' | b'\\' => value.extend_from_slice(&[b'\\', byte]),
            0..0x20 | 0x7f => value.extend_from_slice(b"_"),
            _ => value.extend_from_slice(&[byte]),
        }
    }
    value.extend_from_slice(b"\"; filename*=utf-8''");
    for text in percent_encode(path.as_bytes(), ATTR_CHAR) {
        value.extend_from_slice(text.as_bytes());
    }
    HeaderValue::from_maybe_shared(value.freeze())
        .unwrap_or_else(|_: axum::http::header::InvalidHeaderValue| HeaderValue::from_static("attachment"))
}
