//! The keys that leave a terminal without ending it.

use std::str::FromStr;

/// A sequence of keys, each `ctrl-` and a letter or one of `@[\]^_`, or a single character.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DetachKeys(Vec<u8>);

impl FromStr for DetachKeys {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.split(',').map(key).collect::<Result<_, _>>().map(Self)
    }
}

fn key(text: &str) -> Result<u8, String> {
    match text.as_bytes() {
        [byte @ b'!'..=b'~'] => return Ok(*byte),
        [prefix @ .., byte] if prefix.eq_ignore_ascii_case(b"ctrl-") => {
            let byte = byte.to_ascii_uppercase();
            if (b'@'..=b'_').contains(&byte) {
                return Ok(byte - b'@');
            }
        }
        _ => {}
    }
    Err(format!("{text:?} is not a key: use ctrl- and a letter, or a single character; separate keys by commas"))
}

/// Finds the sequence in what is typed. Keys that may begin it are held back until the next one.
pub(crate) struct Matcher {
    keys: DetachKeys,
    held: usize,
}

impl Matcher {
    pub(crate) fn new(keys: DetachKeys) -> Self {
        Self { keys, held: 0 }
    }

    /// What is to be sent, and whether the sequence is complete; what is typed after it is dropped.
    pub(crate) fn feed(&mut self, typed: &[u8]) -> (Vec<u8>, bool) {
        let keys = &self.keys.0;
        let mut send = Vec::with_capacity(self.held + typed.len());
        for &byte in typed {
            // The longest end of what was typed that may begin the sequence stays held.
            while byte != keys[self.held] && self.held > 0 {
                let shorter = (0..self.held).rev().find(|&len| keys[self.held - len..self.held] == keys[..len]);
                let shorter = shorter.unwrap_or(0);
                send.extend_from_slice(&keys[..self.held - shorter]);
                self.held = shorter;
            }
            if byte != keys[self.held] {
                send.push(byte);
                continue;
            }
            self.held += 1;
            if self.held == keys.len() {
                self.held = 0;
                return (send, true);
            }
        }
        (send, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(text: &str) -> DetachKeys {
        text.parse().unwrap()
    }

    #[test]
    fn forms_of_keys() {
        assert_eq!(keys("ctrl-p,ctrl-q"), DetachKeys(vec![16, 17]));
        assert_eq!(keys("Ctrl-],a"), DetachKeys(vec![29, b'a']));
        for bad in ["", "ctrl-", "ctrl-p,", "ctrl-1", "alt-x", "ab", "ü"] {
            assert!(bad.parse::<DetachKeys>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn what_is_not_the_sequence_is_sent_unchanged() {
        let mut matcher = Matcher::new(keys("a,a,b"));
        assert_eq!(matcher.feed(b"xa"), (b"x".to_vec(), false));
        assert_eq!(matcher.feed(b"c"), (b"ac".to_vec(), false));
        assert_eq!(matcher.feed(b"aaa"), (b"a".to_vec(), false));
        assert_eq!(matcher.feed(b"bz"), (b"".to_vec(), true));
    }

    #[test]
    fn found_wherever_the_input_is_split() {
        let text = b"ls\x10\x10\x11rest";
        for split in 0..=text.len() {
            let mut matcher = Matcher::new(keys("ctrl-p,ctrl-q"));
            let (mut sent, mut found) = matcher.feed(&text[..split]);
            if !found {
                let (more, later) = matcher.feed(&text[split..]);
                sent.extend(more);
                found = later;
            }
            assert_eq!((sent.as_slice(), found), (b"ls\x10".as_slice(), true), "split at {split}");
        }
    }
}
