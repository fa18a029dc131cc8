//! Output of a command, as much of it as a model can use.

use std::collections::VecDeque;

/// Bytes kept of the beginning, and as many of the end.
const HALF: usize = 128 * 1024;

/// The beginning and the end of what was written.
#[derive(Default)]
pub(super) struct Capture {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    dropped: u64,
}

impl Capture {
    pub(super) fn add(&mut self, bytes: &[u8]) {
        let (first, rest) = bytes.split_at(bytes.len().min(HALF - self.head.len()));
        self.head.extend_from_slice(first);
        self.tail.extend(rest);
        let over = self.tail.len().saturating_sub(HALF);
        self.tail.drain(..over);
        self.dropped += over as u64;
    }

    pub(super) fn is_cut(&self) -> bool {
        self.dropped > 0
    }

    /// As text; where something is missing, it says how much.
    pub(super) fn text(&self) -> String {
        let (front, back) = self.tail.as_slices();
        if self.dropped == 0 {
            return String::from_utf8_lossy(&[&self.head, front, back].concat()).into_owned();
        }
        let (head, tail) = (String::from_utf8_lossy(&self.head), [front, back].concat());
        let tail = String::from_utf8_lossy(&tail);
        format!("{head}\n[... {} bytes left out ...]\n{tail}", self.dropped)
    }

    /// The last line that says something.
    pub(super) fn last_line(&self) -> Option<String> {
        let text: Vec<u8> = if self.tail.is_empty() {
            self.head[self.head.len().saturating_sub(400)..].to_vec()
        } else {
            self.tail.iter().skip(self.tail.len().saturating_sub(400)).copied().collect()
        };
        let text = String::from_utf8_lossy(&text);
        let line = text.lines().rev().map(str::trim).find(|line| !line.is_empty())?;
        Some(crate::output::printable(line).chars().take(200).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_goes_first() {
        let mut capture = Capture::default();
        capture.add(b"begin\n");
        for _ in 0..10 {
            capture.add(&vec![b'x'; HALF / 2]);
        }
        capture.add(b"\nend\n");
        assert!(capture.is_cut());
        let text = capture.text();
        assert!(text.starts_with("begin\n") && text.ends_with("\nend\n") && text.contains("bytes left out"));
        assert!(text.len() < 2 * HALF + 100);
        assert_eq!(capture.last_line().as_deref(), Some("end"));
    }

    #[test]
    fn small_outputs_are_whole() {
        let mut capture = Capture::default();
        assert_eq!((capture.text().as_str(), capture.last_line()), ("", None));
        capture.add(b"one\ntwo\n\n");
        assert_eq!((capture.text().as_str(), capture.last_line().as_deref()), ("one\ntwo\n\n", Some("two")));
    }
}
