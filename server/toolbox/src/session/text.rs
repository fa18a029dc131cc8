//! Logs as answers: which form a client wants, and how it is made piece by piece.

use std::io;
use std::sync::Arc;

use axum::http::{HeaderMap, header};
use bytes::Bytes;
use daytona_wire::session::{STDERR_MARKER, STDOUT_MARKER};

use super::log::{Cursor, Log, Stream};
use crate::websocket;

/// Bytes of a log in one piece of an answer.
pub(super) const PIECE: usize = 32 << 10;

/// The client's version; those that cannot set headers offer it as a subprotocol.
const VERSION: &str = "x-daytona-sdk-version";
/// Asks for markers.
const SPLIT: &str = "x-daytona-split-output";

/// The form in which a client takes output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// stdout and stderr merged.
    Combined,
    /// Merged, with a marker before each piece of a stream.
    Marked,
    /// stdout and stderr apart, as JSON.
    Json,
}

impl Format {
    /// What a client of this version reads. Clients before 0.27 and those that name no version
    /// take plain text unless they ask for markers; before 0.167 they tell the streams apart
    /// themselves.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        match version(headers) {
            Some(version) if version >= [0, 167, 0] => Self::Json,
            Some(version) if version >= [0, 27, 0] => Self::Marked,
            _ if asks_for_split(headers) => Self::Marked,
            _ => Self::Combined,
        }
    }

    /// The same for a websocket. Only versions before 0.27 take no markers.
    pub(super) fn of_websocket(headers: &HeaderMap) -> Self {
        if version(headers).is_some() && Self::of(headers) == Self::Combined { Self::Combined } else { Self::Marked }
    }

    /// The same for a plain body that grows.
    pub(super) fn of_growing(headers: &HeaderMap) -> Self {
        if asks_for_split(headers) { Self::Marked } else { Self::Combined }
    }
}

fn asks_for_split(headers: &HeaderMap) -> bool {
    headers.get(SPLIT).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"true"))
}

/// The client's version. A development version counts as the newest.
fn version(headers: &HeaderMap) -> Option<[u64; 3]> {
    let text = match headers.get(VERSION) {
        Some(value) => value.to_str().ok()?,
        None => version_protocol(headers)?,
    };
    if text.contains("dev") {
        return Some([u64::MAX; 3]);
    }
    let mut parts = text.trim().trim_start_matches('v').split('.').map(|part| {
        let digits = part.find(|c: char| !c.is_ascii_digit()).map_or(part, |end| &part[..end]);
        digits.parse().ok()
    });
    let major = parts.next()??;
    Some([major, parts.next().flatten().unwrap_or(0), parts.next().flatten().unwrap_or(0)])
}

/// The version in an offered subprotocol.
fn version_protocol(headers: &HeaderMap) -> Option<&str> {
    let offered = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok());
    offered.flat_map(|value| value.split(',')).find_map(|name| name.trim().strip_prefix(websocket::SDK_VERSION))
}

/// A stream's marker.
pub(super) fn marker(stream: Stream) -> [u8; 3] {
    match stream {
        Stream::Stdout => STDOUT_MARKER,
        Stream::Stderr => STDERR_MARKER,
    }
}

/// UTF-8 from pieces that may end within a character; what is none becomes U+FFFD.
#[derive(Default)]
struct Decoder {
    /// The start of a character.
    held: Vec<u8>,
}

impl Decoder {
    fn push(&mut self, piece: &[u8], out: &mut String) {
        if self.held.is_empty() {
            self.decode(piece, out);
        } else {
            let mut whole = std::mem::take(&mut self.held);
            whole.extend_from_slice(piece);
            self.decode(&whole, out);
        }
    }

    fn decode(&mut self, mut bytes: &[u8], out: &mut String) {
        loop {
            let error = match str::from_utf8(bytes) {
                Ok(text) => return out.push_str(text),
                Err(error) => error,
            };
            let (valid, rest) = bytes.split_at(error.valid_up_to());
            out.push_str(str::from_utf8(valid).unwrap_or_default());
            let Some(bad) = error.error_len() else {
                self.held = rest.to_vec();
                return;
            };
            out.push(char::REPLACEMENT_CHARACTER);
            bytes = &rest[bad..];
        }
    }

    fn finish(&mut self, out: &mut String) {
        if !std::mem::take(&mut self.held).is_empty() {
            out.push(char::REPLACEMENT_CHARACTER);
        }
    }
}

/// A log as text, piece by piece.
pub(super) struct Text {
    cursor: Cursor,
    /// Both are needed: a character of one stream may have bytes of the other between its own.
    stdout: Decoder,
    stderr: Decoder,
    only: Option<Stream>,
    marked: bool,
    last: Option<Stream>,
    piece: Vec<u8>,
}

impl Text {
    /// The bytes of `only` one stream, or of both.
    pub(super) fn new(log: Arc<Log>, only: Option<Stream>, marked: bool) -> Self {
        Self {
            cursor: Cursor::new(log),
            stdout: Decoder::default(),
            stderr: Decoder::default(),
            only,
            marked,
            last: None,
            piece: Vec::new(),
        }
    }

    /// Adds the next piece of the log's first `end` bytes; false if there is none by now.
    pub(super) fn next(&mut self, end: u64, out: &mut String) -> io::Result<bool> {
        self.piece.clear();
        let Some(stream) = self.cursor.next(end, PIECE, &mut self.piece)? else {
            self.piece = Vec::new();
            return Ok(false);
        };
        if self.only.is_none_or(|only| only == stream) {
            if self.marked && self.last != Some(stream) {
                // Both markers are ASCII.
                out.extend(marker(stream).map(char::from));
                self.last = Some(stream);
            }
            match stream {
                Stream::Stdout => self.stdout.push(&self.piece, out),
                Stream::Stderr => self.stderr.push(&self.piece, out),
            }
        }
        Ok(true)
    }

    /// Adds what an unfinished character becomes.
    pub(super) fn finish(&mut self, out: &mut String) {
        self.stdout.finish(out);
        self.stderr.finish(out);
    }
}

/// A body made of the first `end` bytes of a log.
pub(super) struct Body {
    log: Arc<Log>,
    end: u64,
    /// What follows, last first.
    todo: Vec<Part>,
    text: Option<(Text, bool)>,
}

enum Part {
    Literal(Vec<u8>),
    Text { only: Option<Stream>, marked: bool, json: bool },
}

impl Body {
    /// `{output, stdout, stderr}` after `head`, which starts the object.
    pub(super) fn json(log: Arc<Log>, end: u64, head: &str, marked: bool) -> Self {
        let field = |only, marked| Part::Text { only, marked, json: true };
        let literal = |text: &str| Part::Literal(text.as_bytes().to_vec());
        let mut todo = vec![
            literal(&format!("{head}\"output\":\"")),
            field(None, marked),
            literal("\",\"stdout\":\""),
            field(Some(Stream::Stdout), false),
            literal("\",\"stderr\":\""),
            field(Some(Stream::Stderr), false),
            literal("\"}"),
        ];
        todo.reverse();
        Self { log, end, todo, text: None }
    }

    /// Both streams as they came.
    pub(super) fn plain(log: Arc<Log>, end: u64, marked: bool) -> Self {
        Self { log, end, todo: vec![Part::Text { only: None, marked, json: false }], text: None }
    }

    /// The body for an answer: whole if it is short.
    pub(super) fn into_body(mut self) -> io::Result<axum::body::Body> {
        let mut first = Vec::new();
        while first.len() < 2 * PIECE {
            let Some(piece) = self.piece()? else {
                return Ok(first.into());
            };
            first.extend(piece);
        }
        let rest = std::iter::once(Ok(Bytes::from(first))).chain(self);
        Ok(axum::body::Body::from_stream(futures_util::stream::iter(rest)))
    }

    fn piece(&mut self) -> io::Result<Option<Vec<u8>>> {
        let Some((text, json)) = &mut self.text else {
            return match self.todo.pop() {
                None => Ok(None),
                Some(Part::Literal(bytes)) => Ok(Some(bytes)),
                Some(Part::Text { only, marked, json }) => {
                    self.text = Some((Text::new(Arc::clone(&self.log), only, marked), json));
                    Ok(Some(Vec::new()))
                }
            };
        };
        let json = *json;
        let mut out = String::new();
        if !text.next(self.end, &mut out)? {
            text.finish(&mut out);
            self.text = None;
        }
        if !json {
            return Ok(Some(out.into_bytes()));
        }
        let quoted = serde_json::to_string(&out)?.into_bytes();
        Ok(Some(quoted[1..quoted.len() - 1].to_vec()))
    }
}

impl Iterator for Body {
    type Item = io::Result<Bytes>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.piece().transpose()? {
                Ok(piece) if piece.is_empty() => {}
                other => return Some(other.map(Bytes::from)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_the_same_wherever_its_bytes_are_split() {
        let bytes = b"a\xe2\x82\xac\xf0\x9f\x98\x80\xff\xe2\x82x\xf0\x9f\x98\xc3\xa9\xed\xa0\x80\xc3";
        let whole = String::from_utf8_lossy(bytes);
        for first in 0..=bytes.len() {
            for second in first..=bytes.len() {
                let (mut decoder, mut out) = (Decoder::default(), String::new());
                for piece in [&bytes[..first], &bytes[first..second], &bytes[second..]] {
                    decoder.push(piece, &mut out);
                }
                decoder.finish(&mut out);
                assert_eq!(out, whole, "{first} {second}");
            }
        }
    }
}
