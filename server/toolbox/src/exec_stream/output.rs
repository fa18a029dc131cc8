//! What a command has written and its client has not acknowledged.

use std::collections::VecDeque;
use std::mem::size_of;

use bytes::{BufMut, Bytes, BytesMut};
use daytona_wire::exec_stream::{HEAD, WINDOW};

use crate::ring;

/// The most bytes of output in one message.
pub(super) const FRAME: usize = 64 << 10;

/// Output of one stream, up to the offset `end`.
struct Run {
    stream: u8,
    end: u64,
}

#[derive(Default)]
pub(super) struct Output {
    bytes: VecDeque<u8>,
    runs: VecDeque<Run>,
    start: u64,
}

impl Output {
    /// Offset of the first byte that is kept.
    pub(super) fn start(&self) -> u64 {
        self.start
    }

    pub(super) fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }

    /// How much may be added: what is kept, with what it takes to keep it, stays within the window.
    pub(super) fn room(&self) -> usize {
        WINDOW.saturating_sub(self.bytes.len() + self.runs.len() * size_of::<Run>())
    }

    pub(super) fn push(&mut self, stream: u8, bytes: &[u8]) {
        self.bytes.extend(bytes);
        let end = self.end();
        match self.runs.back_mut() {
            Some(run) if run.stream == stream => run.end = end,
            _ => self.runs.push_back(Run { stream, end }),
        }
    }

    /// Forgets what is before `offset`, which lies between start and end.
    pub(super) fn forget(&mut self, offset: u64) {
        let gone = usize::try_from(offset.saturating_sub(self.start)).map_or(self.bytes.len(), |n| n);
        self.bytes.drain(..gone.min(self.bytes.len()));
        self.start = self.start.max(offset);
        let runs = self.runs.partition_point(|run| run.end <= self.start);
        self.runs.drain(..runs);
    }

    /// The message with the output at `offset`, and the offset after it; `None` if there is none yet.
    pub(super) fn message(&self, offset: u64) -> Option<(Bytes, u64)> {
        let run = self.runs.get(self.runs.partition_point(|run| run.end <= offset))?;
        let from = usize::try_from(offset.checked_sub(self.start)?).ok()?;
        let length = usize::try_from(run.end - offset).map_or(FRAME, |n| n.min(FRAME));
        let mut message = BytesMut::with_capacity(HEAD + length);
        message.put_u8(run.stream);
        message.put_u64(offset);
        ring::copy(&self.bytes, from..from + length, &mut message);
        Some((message.freeze(), offset + length as u64))
    }
}

#[cfg(test)]
mod tests {
    use daytona_wire::exec_stream::{STDERR, STDOUT};

    use super::*;

    fn all(output: &Output, mut offset: u64) -> Vec<(u8, Vec<u8>)> {
        let mut parts = Vec::new();
        while let Some((message, next)) = output.message(offset) {
            assert_eq!(message[1..HEAD], offset.to_be_bytes());
            parts.push((message[0], message[HEAD..].to_vec()));
            offset = next;
        }
        parts
    }

    #[test]
    fn runs_of_one_stream_are_one_message() {
        let mut output = Output::default();
        for (stream, text) in [(STDOUT, "a"), (STDOUT, "b"), (STDERR, "c"), (STDOUT, "de")] {
            output.push(stream, text.as_bytes());
        }
        assert_eq!(all(&output, 0), [(STDOUT, b"ab".to_vec()), (STDERR, b"c".to_vec()), (STDOUT, b"de".to_vec())]);
        assert_eq!(all(&output, 1), [(STDOUT, b"b".to_vec()), (STDERR, b"c".to_vec()), (STDOUT, b"de".to_vec())]);
        output.forget(4);
        assert_eq!((output.start(), output.end()), (4, 5));
        assert_eq!(all(&output, 4), [(STDOUT, b"e".to_vec())]);
        assert!(output.message(5).is_none());
        output.forget(5);
        output.push(STDERR, b"f");
        assert_eq!(all(&output, 5), [(STDERR, b"f".to_vec())]);
    }

    #[test]
    fn wrapping_around_loses_nothing() {
        let mut output = Output::default();
        let mut expected = 0_u32;
        let mut taken = 0;
        for round in 0..200 {
            let bytes: Vec<u8> = (0..10_007_u32).map(|i| ((round * 10_007 + i) % 251) as u8).collect();
            output.push(STDOUT, &bytes);
            while taken + 5_000 < output.end() {
                let (message, next) = output.message(taken).unwrap();
                for byte in &message[HEAD..] {
                    assert_eq!(u32::from(*byte), expected % 251);
                    expected += 1;
                }
                taken = next;
            }
            output.forget(taken);
        }
    }

    #[test]
    fn alternating_streams_stay_within_the_window() {
        let mut output = Output::default();
        let mut stream = STDOUT;
        while output.room() > 0 {
            output.push(stream, b"x");
            stream = STDOUT + STDERR - stream;
        }
        assert!(usize::try_from(output.end()).unwrap() * (1 + size_of::<Run>()) <= WINDOW + size_of::<Run>() + 1);
    }
}
