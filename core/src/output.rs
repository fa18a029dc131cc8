//! Output of commands: told apart by stream, and handed over in batches.

mod pipe;

use bytes::Bytes;
use daytona_wire::session::{STDERR_MARKER, STDOUT_MARKER};

pub(crate) use pipe::{Feed, Pipe, wait};

/// Where output was written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// A piece of output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputChunk {
    /// Where it was written to.
    pub stream: OutputStream,
    /// As it was written.
    pub bytes: Bytes,
    /// Decoded, with U+FFFD for what is not UTF-8. A character split between two chunks of a stream is whole in
    /// the later one, so this may differ from `bytes` at the edges.
    pub text: String,
}

/// Output of both streams in its order, adjacent pieces of one stream merged.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    bytes: Vec<u8>,
    /// Stream and end of each piece.
    pieces: Vec<(OutputStream, usize)>,
}

impl Batch {
    pub(crate) fn push(&mut self, stream: OutputStream, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.bytes.extend_from_slice(bytes);
        let end = self.bytes.len();
        match self.pieces.last_mut() {
            Some((last, last_end)) if *last == stream => *last_end = end,
            _ => self.pieces.push((stream, end)),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Takes away what an earlier connection has brought already, and counts what is new.
    pub(crate) fn skip(&mut self, seen: &mut Seen) {
        if seen.again == [0; 2] {
            let mut begin = 0;
            for &(stream, end) in &self.pieces {
                seen.count[stream as usize] += (end - begin) as u64;
                begin = end;
            }
            return;
        }
        let all = std::mem::take(self);
        let mut begin = 0;
        for (stream, end) in all.pieces {
            let again = &mut seen.again[stream as usize];
            let old = usize::try_from(*again).unwrap_or(usize::MAX).min(end - begin);
            *again -= old as u64;
            seen.count[stream as usize] += (end - begin - old) as u64;
            self.push(stream, &all.bytes[begin + old..end]);
            begin = end;
        }
    }

    /// Moves all of `other` to the end of this.
    fn append(&mut self, other: &mut Batch) {
        if self.bytes.is_empty() {
            std::mem::swap(self, other);
            return;
        }
        let mut begin = 0;
        for (stream, end) in other.pieces.drain(..) {
            self.push(stream, &other.bytes[begin..end]);
            begin = end;
        }
        other.bytes.clear();
    }

    fn into_chunks(self, decoders: &mut [Decoder; 2]) -> Vec<OutputChunk> {
        let bytes = Bytes::from(self.bytes);
        let mut begin = 0;
        let cut = |(stream, end): (OutputStream, usize)| {
            let bytes = bytes.slice(begin..end);
            begin = end;
            OutputChunk { stream, text: decoders[stream as usize].decode(&bytes), bytes }
        };
        self.pieces.into_iter().map(cut).collect()
    }
}

/// How much of a log has been read, stream by stream.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Bytes pushed.
    count: [u64; 2],
    /// Bytes that come again, because the log is read from its beginning again.
    again: [u64; 2],
}

impl Seen {
    /// The log is about to be read from its beginning.
    pub(crate) fn rewind(&mut self) {
        self.again = self.count;
    }

    pub(crate) fn total(&self) -> u64 {
        self.count.iter().sum()
    }
}

/// Tells the streams of a session's log apart: a marker of three bytes says whose bytes come next. What comes before
/// the first marker is of no stream and dropped.
#[derive(Debug, Default)]
pub(crate) struct Demux {
    stream: Option<OutputStream>,
    /// How often `byte` came last: up to two bytes that may be the beginning of a marker.
    held: usize,
    byte: u8,
}

const MARKER: usize = STDOUT_MARKER.len();

impl Demux {
    /// Reads on; takes time in proportion to the input, wherever it was split.
    pub(crate) fn feed(&mut self, mut input: &[u8], out: &mut Batch) {
        while let (1.., Some((&first, rest))) = (self.held, input.split_first()) {
            if first == self.byte {
                input = rest;
                self.held += 1;
                if self.held == MARKER {
                    self.switch();
                }
            } else {
                self.finish(out);
            }
        }
        let mut begin = 0;
        let mut at = 0;
        while let Some(found) = memchr::memchr2(STDOUT_MARKER[0], STDERR_MARKER[0], &input[at..]) {
            at += found;
            let byte = input[at];
            let run = input[at..].iter().take(MARKER).take_while(|&&next| next == byte).count();
            let end = at + run;
            if run == MARKER || end == input.len() {
                self.emit(&input[begin..at], out);
                begin = end;
                (self.byte, self.held) = (byte, run);
                if self.held == MARKER {
                    self.switch();
                }
            }
            at = end;
        }
        self.emit(&input[begin..], out);
    }

    /// Nothing more comes: what looked like the beginning of a marker was output.
    pub(crate) fn finish(&mut self, out: &mut Batch) {
        let held = [self.byte; MARKER];
        self.emit(&held[..self.held], out);
        self.held = 0;
    }

    fn switch(&mut self) {
        self.held = 0;
        let is_stdout = self.byte == STDOUT_MARKER[0];
        self.stream = Some(if is_stdout { OutputStream::Stdout } else { OutputStream::Stderr });
    }

    fn emit(&self, bytes: &[u8], out: &mut Batch) {
        if let Some(stream) = self.stream {
            out.push(stream, bytes);
        }
    }
}

/// Decodes UTF-8 that comes in pieces.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    /// The beginning of a character.
    rest: Vec<u8>,
}

impl Decoder {
    pub(crate) fn decode(&mut self, bytes: &[u8]) -> String {
        if self.rest.is_empty() {
            return self.lossy(bytes);
        }
        let mut joined = std::mem::take(&mut self.rest);
        joined.extend_from_slice(bytes);
        self.lossy(&joined)
    }

    fn lossy(&mut self, mut bytes: &[u8]) -> String {
        let mut text = String::with_capacity(bytes.len());
        loop {
            let error = match std::str::from_utf8(bytes) {
                Ok(valid) => {
                    text.push_str(valid);
                    return text;
                }
                Err(error) => error,
            };
            let (valid, rest) = bytes.split_at(error.valid_up_to());
            text.push_str(std::str::from_utf8(valid).unwrap_or_default());
            let Some(length) = error.error_len() else {
                self.rest = rest.to_vec();
                return text;
            };
            text.push(char::REPLACEMENT_CHARACTER);
            bytes = &rest[length..];
        }
    }

    /// Nothing more comes.
    pub(crate) fn finish(&mut self) -> Option<char> {
        let is_cut = !std::mem::take(&mut self.rest).is_empty();
        is_cut.then_some(char::REPLACEMENT_CHARACTER)
    }
}

/// What [`crate::fuzzing`] checks: any split gives what the whole gives.
#[cfg(any(test, fuzzing))]
pub(crate) fn demux_in_pieces<'a>(
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<(OutputStream, Vec<u8>)>, [String; 2]) {
    let mut demux = Demux::default();
    let mut texts = [String::new(), String::new()];
    let mut decoders = <[Decoder; 2]>::default();
    let mut all: Vec<(OutputStream, Vec<u8>)> = Vec::new();
    let mut keep = |batch: Batch| {
        for chunk in batch.into_chunks(&mut decoders) {
            texts[chunk.stream as usize].push_str(&chunk.text);
            match all.last_mut() {
                Some((stream, bytes)) if *stream == chunk.stream => bytes.extend_from_slice(&chunk.bytes),
                _ => all.push((chunk.stream, chunk.bytes.to_vec())),
            }
        }
    };
    for piece in pieces {
        let mut batch = Batch::default();
        demux.feed(piece, &mut batch);
        assert!(demux.held < MARKER, "more than the beginning of a marker is kept");
        keep(batch);
    }
    let mut batch = Batch::default();
    demux.finish(&mut batch);
    keep(batch);
    for (text, decoder) in texts.iter_mut().zip(&mut decoders) {
        text.extend(decoder.finish());
    }
    (all, texts)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// The same, in the plainest way.
    fn reference(input: &[u8]) -> Vec<(OutputStream, Vec<u8>)> {
        let mut all: Vec<(OutputStream, Vec<u8>)> = Vec::new();
        let mut stream = None;
        let mut at = 0;
        while at < input.len() {
            let marked = match &input[at..] {
                [1, 1, 1, ..] => Some(OutputStream::Stdout),
                [2, 2, 2, ..] => Some(OutputStream::Stderr),
                _ => None,
            };
            if marked.is_some() {
                stream = marked;
                at += 3;
                continue;
            }
            if let Some(stream) = stream {
                match all.last_mut() {
                    Some((last, bytes)) if *last == stream => bytes.push(input[at]),
                    _ => all.push((stream, vec![input[at]])),
                }
            }
            at += 1;
        }
        all
    }

    fn text_of(stream: OutputStream, all: &[(OutputStream, Vec<u8>)]) -> String {
        let bytes: Vec<u8> = all.iter().filter(|(of, _)| *of == stream).flat_map(|(_, bytes)| bytes.clone()).collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same(
            input in vec(prop_oneof![Just(1u8), Just(2), Just(b'a'), Just(0xe2), Just(0x82), Just(0xac), any::<u8>()], 0..80),
            sizes in vec(1..7usize, 0..80),
        ) {
            let wanted = reference(&input);
            let mut rest = &input[..];
            let mut pieces = Vec::new();
            for size in sizes {
                let (piece, left) = rest.split_at(size.min(rest.len()));
                pieces.push(piece);
                rest = left;
            }
            pieces.push(rest);
            let (got, texts) = demux_in_pieces(pieces);
            prop_assert_eq!(&got, &wanted);
            prop_assert_eq!(&texts[0], &text_of(OutputStream::Stdout, &wanted));
            prop_assert_eq!(&texts[1], &text_of(OutputStream::Stderr, &wanted));
        }
    }

    #[test]
    fn a_hundred_megabytes_of_lines_take_little_time() {
        let mut line = vec![1; 3];
        line.extend(vec![b'x'; 96]);
        line.push(b'\n');
        let input: Vec<u8> = line.iter().copied().cycle().take(100 << 20).collect();
        let begin = std::time::Instant::now();
        let mut demux = Demux::default();
        for frame in input.chunks(1 << 20) {
            let mut batch = Batch::default();
            demux.feed(frame, &mut batch);
            assert_eq!(batch.pieces.len(), 1);
        }
        // Far above what it takes, far below what a quadratic one would take.
        assert!(begin.elapsed() < std::time::Duration::from_secs(5), "{:?}", begin.elapsed());
        println!("{:.2} GB/s", 0.105 / begin.elapsed().as_secs_f64());
    }
}
