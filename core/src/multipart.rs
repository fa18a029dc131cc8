//! `multipart/form-data`, both ways, by hand: a thousand small files are one buffer, and a large
//! one passes through uncopied.

use bytes::{Buf, Bytes, BytesMut};
use memchr::memmem;

use crate::error::{Error, ErrorKind, Result};

/// Headers of one part may not be longer than this.
const LONGEST_HEADERS: usize = 64 * 1024;

/// A boundary that no file holds but by malice.
pub(crate) fn boundary() -> Result<String> {
    let mut random = [0_u8; 16];
    getrandom::fill(&mut random)
        .map_err(|error| Error::new(ErrorKind::Other, format!("the system has no random numbers: {error}")))?;
    Ok(random.iter().fold("daytona-native-".to_owned(), |text, byte| text + &format!("{byte:02x}")))
}

/// The head of file `index`: the part with its path, then the beginning of the part with its data.
pub(crate) fn write_file_head(out: &mut Vec<u8>, boundary: &str, index: usize, path: &str) {
    let quoted = quote(path);
    let head = format!(
        "--{boundary}\r\nContent-Disposition: form-data; name=\"files[{index}].path\"\r\n\r\n{path}\r\n\
         --{boundary}\r\nContent-Disposition: form-data; name=\"files[{index}].file\"; filename=\"{quoted}\"\r\n\
         Content-Type: application/octet-stream\r\n\r\n"
    );
    out.extend_from_slice(head.as_bytes());
}

/// What follows each file's data.
pub(crate) const FILE_TAIL: &[u8] = b"\r\n";

/// What ends the whole body.
pub(crate) fn write_end(out: &mut Vec<u8>, boundary: &str) {
    out.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
}

/// As browsers do it: only what would end the value or the line is escaped.
fn quote(text: &str) -> String {
    text.replace('"', "%22").replace('\r', "%0D").replace('\n', "%0A")
}

/// The boundary that an answer's content type names.
pub(crate) fn boundary_of(content_type: &str) -> Option<String> {
    if !content_type.trim_start().to_ascii_lowercase().starts_with("multipart/") {
        return None;
    }
    parameter(content_type, "boundary").filter(|boundary| !boundary.is_empty())
}

/// What the parser has found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A part begins.
    Part(Part),
    /// Some of its data.
    Data(Bytes),
    /// It is complete.
    PartEnd,
    /// The body is complete.
    End,
}

/// The headers of a part that matter here.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) name: String,
    pub(crate) filename: Option<String>,
    /// Bytes of data, where the server says.
    pub(crate) length: Option<u64>,
}

/// Takes a body as it comes and gives events.
pub(crate) struct Parser {
    /// `\r\n--` and the boundary: what ends a part's data.
    delimiter: Vec<u8>,
    buffer: BytesMut,
    /// The piece being read, uncopied while nothing is left over in `buffer`.
    piece: Bytes,
    state: State,
}

enum State {
    /// Before the first boundary.
    Preamble,
    /// Behind a boundary: a line end or `--` follows.
    Boundary,
    Headers,
    /// Data of known length.
    Counted(u64),
    /// Data up to the next boundary.
    Searched,
    /// Counted data has ended: the delimiter must follow.
    Delimiter,
    Ended,
}

impl Parser {
    pub(crate) fn new(boundary: &str) -> Self {
        Self {
            delimiter: format!("\r\n--{boundary}").into_bytes(),
            // The first boundary may stand at the very beginning, without a line end before it.
            buffer: BytesMut::from(&b"\r\n"[..]),
            piece: Bytes::new(),
            state: State::Preamble,
        }
    }

    /// Adds what has come. All events must have been taken before.
    pub(crate) fn feed(&mut self, piece: Bytes) {
        if self.buffer.is_empty() {
            self.piece = piece;
        } else {
            self.buffer.extend_from_slice(&piece);
            self.piece = std::mem::take(&mut self.buffer).freeze();
        }
    }

    /// True once the closing boundary has been read.
    pub(crate) fn ended(&self) -> bool {
        matches!(self.state, State::Ended)
    }

    /// The next event, or `None` if more is needed.
    pub(crate) fn next(&mut self) -> Result<Option<Event>> {
        loop {
            match self.state {
                State::Preamble => match memmem::find(&self.piece, &self.delimiter) {
                    Some(at) => {
                        self.piece.advance(at + self.delimiter.len());
                        self.state = State::Boundary;
                    }
                    None => return Ok(self.keep(self.delimiter.len() - 1)),
                },
                State::Boundary => {
                    if self.piece.len() < 2 {
                        return Ok(self.keep(2));
                    }
                    let end = self.piece.starts_with(b"--");
                    if !end && !self.piece.starts_with(b"\r\n") {
                        return Err(malformed("a boundary is followed by something else"));
                    }
                    self.piece.advance(2);
                    if end {
                        self.state = State::Ended;
                        return Ok(Some(Event::End));
                    }
                    self.state = State::Headers;
                }
                State::Headers => {
                    let (length, skip) = if self.piece.starts_with(b"\r\n") {
                        (0, 2)
                    } else if let Some(at) = memmem::find(&self.piece, b"\r\n\r\n") {
                        (at, 4)
                    } else {
                        if self.piece.len() > LONGEST_HEADERS {
                            return Err(malformed("the headers of a part do not end"));
                        }
                        return Ok(self.keep(usize::MAX));
                    };
                    let part = parse_headers(&self.piece[..length])?;
                    self.piece.advance(length + skip);
                    self.state = part.length.map_or(State::Searched, State::Counted);
                    return Ok(Some(Event::Part(part)));
                }
                State::Counted(0) => self.state = State::Delimiter,
                State::Counted(left) => {
                    if self.piece.is_empty() {
                        return Ok(None);
                    }
                    let take = self.piece.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                    self.state = State::Counted(left - take as u64);
                    return Ok(Some(Event::Data(self.piece.split_to(take))));
                }
                State::Delimiter => {
                    if self.piece.len() < self.delimiter.len() {
                        return Ok(self.keep(usize::MAX));
                    }
                    if !self.piece.starts_with(&self.delimiter) {
                        return Err(malformed("a part is longer than its Content-Length"));
                    }
                    self.piece.advance(self.delimiter.len());
                    self.state = State::Boundary;
                    return Ok(Some(Event::PartEnd));
                }
                State::Searched => return Ok(self.search()),
                State::Ended => {
                    // Whatever follows the closing boundary is to be ignored.
                    self.piece.clear();
                    return Ok(None);
                }
            }
        }
    }

    fn search(&mut self) -> Option<Event> {
        match memmem::find(&self.piece, &self.delimiter) {
            Some(0) => {
                self.piece.advance(self.delimiter.len());
                self.state = State::Boundary;
                Some(Event::PartEnd)
            }
            Some(at) => Some(Event::Data(self.piece.split_to(at))),
            None => {
                let certain = self.piece.len().saturating_sub(self.delimiter.len() - 1);
                if certain == 0 {
                    return self.keep(usize::MAX);
                }
                let data = self.piece.split_to(certain);
                Some(Event::Data(data))
            }
        }
    }

    /// Keeps the last bytes of the piece for when more has come.
    fn keep(&mut self, most: usize) -> Option<Event> {
        let from = self.piece.len().saturating_sub(most);
        self.buffer.extend_from_slice(&self.piece[from..]);
        self.piece.clear();
        None
    }
}

fn malformed(what: &str) -> Error {
    Error::new(ErrorKind::Other, format!("the server's multipart answer is malformed: {what}"))
}

fn parse_headers(bytes: &[u8]) -> Result<Part> {
    let mut part = Part::default();
    for line in String::from_utf8_lossy(bytes).split("\r\n").filter(|line| !line.is_empty()) {
        let Some((name, value)) = line.split_once(':') else { return Err(malformed("a header has no colon")) };
        match name.trim().to_ascii_lowercase().as_str() {
            "content-disposition" => {
                part.name = parameter(value, "name").unwrap_or_default();
                part.filename = match parameter(value, "filename*") {
                    Some(encoded) => Some(decode_extended(&encoded)?),
                    None => parameter(value, "filename"),
                };
            }
            "content-length" => {
                let length = value.trim().parse().map_err(|_| malformed("a Content-Length is not a number"))?;
                part.length = Some(length);
            }
            _ => {}
        }
    }
    Ok(part)
}

/// RFC 5987: `utf-8''%41`.
fn decode_extended(text: &str) -> Result<String> {
    let mut fields = text.splitn(3, '\'');
    let (Some(charset), Some(_), Some(value)) = (fields.next(), fields.next(), fields.next()) else {
        return Err(malformed("a filename* is not encoded"));
    };
    if !charset.eq_ignore_ascii_case("utf-8") {
        return Err(malformed("a filename* is not in UTF-8"));
    }
    let decoded = percent_encoding::percent_decode_str(value).decode_utf8();
    decoded.map(std::borrow::Cow::into_owned).map_err(|_| malformed("a filename* is not in UTF-8"))
}

/// A parameter of a header value: `; name=token` or `; name="quoted \" text"`.
fn parameter(header: &str, wanted: &str) -> Option<String> {
    let mut rest = &header[header.find(';')? + 1..];
    loop {
        let (name, after) = rest.split_once('=')?;
        let name = name.trim_matches([' ', '\t', ';']);
        let after = after.trim_start();
        let value;
        if let Some(quoted) = after.strip_prefix('"') {
            let mut text = String::new();
            let mut chars = quoted.char_indices();
            let mut end = quoted.len();
            while let Some((at, char)) = chars.next() {
                match char {
                    '\\' => text.extend(chars.next().map(|(_, escaped)| escaped)),
                    '"' => {
                        end = at + 1;
                        break;
                    }
                    other => text.push(other),
                }
            }
            value = text;
            rest = &quoted[end..];
        } else {
            let end = after.find(';').unwrap_or(after.len());
            value = after[..end].trim().to_owned();
            rest = &after[end..];
        }
        if name.eq_ignore_ascii_case(wanted) {
            return Some(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Parts = Vec<(Part, Vec<u8>)>;

    fn parse(boundary: &str, pieces: impl IntoIterator<Item = Bytes>) -> Result<(Parts, bool)> {
        let mut parser = Parser::new(boundary);
        let mut parts = Vec::new();
        for piece in pieces {
            parser.feed(piece);
            while let Some(event) = parser.next()? {
                match event {
                    Event::Part(part) => parts.push((part, Vec::new())),
                    Event::Data(data) => parts.last_mut().unwrap().1.extend_from_slice(&data),
                    Event::PartEnd | Event::End => {}
                }
            }
        }
        Ok((parts, parser.ended()))
    }

    fn body(counted: bool, files: &[(String, Vec<u8>)]) -> Vec<u8> {
        let mut body = Vec::new();
        for (name, data) in files {
            let length = if counted { format!("Content-Length: {}\r\n", data.len()) } else { String::new() };
            let name = percent_encoding::utf8_percent_encode(name, percent_encoding::NON_ALPHANUMERIC);
            body.extend_from_slice(
                format!(
                    "--B\r\nContent-Disposition: form-data; name=\"file\"; filename*=utf-8''{name}\r\n{length}\r\n"
                )
                .as_bytes(),
            );
            body.extend_from_slice(data);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(b"--B--\r\n");
        body
    }

    proptest! {
        /// Whatever the names, the data and the places where the body is cut.
        #[test]
        fn round_trip(
            counted: bool,
            files in proptest::collection::vec((".*", proptest::collection::vec(any::<u8>(), 0..200)), 0..4),
            cuts in proptest::collection::vec(1_usize..40, 1..50),
        ) {
            // The boundary may not stand in searched data.
            prop_assume!(counted || files.iter().all(|(_, data)| memmem::find(data, b"--B").is_none()));
            let body = Bytes::from(body(counted, &files));
            let mut rest = body;
            let mut pieces = Vec::new();
            let mut cuts = cuts.iter().cycle();
            while !rest.is_empty() {
                let at = (*cuts.next().unwrap()).min(rest.len());
                pieces.push(rest.split_to(at));
            }
            let (parts, ended) = parse("B", pieces).unwrap();
            prop_assert!(ended);
            let got: Vec<_> = parts.into_iter().map(|(part, data)| (part.filename.unwrap(), data)).collect();
            prop_assert_eq!(got, files);
        }

        #[test]
        fn garbage_does_not_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse("B", [Bytes::from([b"--B\r\n".to_vec(), bytes].concat())]);
        }
    }

    #[test]
    fn a_cut_body_has_not_ended() {
        let whole = body(true, &[("a".into(), b"data".to_vec())]);
        let cut = Bytes::copy_from_slice(&whole[..whole.len() - 6]);
        assert!(!parse("B", [cut]).unwrap().1);
    }

    #[test]
    fn parameters() {
        let header = r#"form-data; name="file"; filename="C:\\a \"b\".txt"; filename*=utf-8''%41"#;
        assert_eq!(parameter(header, "name").unwrap(), "file");
        assert_eq!(parameter(header, "filename").unwrap(), r#"C:\a "b".txt"#);
        assert_eq!(parameter(header, "FILENAME*").unwrap(), "utf-8''%41");
        assert_eq!(boundary_of("multipart/form-data; boundary=abc").unwrap(), "abc");
        assert_eq!(boundary_of("application/json; boundary=abc"), None);
    }
}
