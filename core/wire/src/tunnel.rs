//! Between the server and the agent of a sandbox: routes that no client can reach.
//!
//! Each is a `GET` with `Upgrade: daytona-tunnel`; after the `101` the connection carries bytes. [`DIAL`] passes them
//! to and from a port inside the sandbox, [`SFTP`] speaks SFTP version 3, [`RUN`] speaks [`Frame`]s.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What the paths begin with; the server passes no request from outside on to them.
pub const PREFIX: &str = "/private/";
/// `?port=` and, if it is not the sandbox itself, `&host=`.
pub const DIAL: &str = "/private/dial";
/// A program with or without a terminal.
pub const RUN: &str = "/private/run";
/// The files.
pub const SFTP: &str = "/private/sftp";
/// The protocol that is switched to.
pub const PROTOCOL: &str = "daytona-tunnel";

/// Nothing listens on the port, or its host cannot be reached.
pub const CODE_UNREACHABLE: &str = "PORT_UNREACHABLE";

/// The longest payload of a frame.
pub const FRAME_LIMIT: usize = 64 << 10;

/// What a frame is; its byte on the wire. A length follows, four bytes, the highest first, and then the payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Frame {
    /// To the agent, first: [`Start`] as JSON.
    Start = 0,
    /// To the agent: stdin. From it: stdout, or all that the terminal shows.
    Data = 1,
    /// From the agent: stderr.
    Stderr = 2,
    /// To the agent: stdin has ended.
    Eof = 3,
    /// To the agent: a new [`Size`] as JSON.
    Resize = 4,
    /// To the agent: the name of a signal.
    Signal = 5,
    /// From the agent, last: the exit code as decimal digits.
    Exit = 6,
    /// From the agent, last: why nothing was started.
    Failed = 7,
}

impl Frame {
    /// The frame of a byte.
    pub fn of(byte: u8) -> Option<Self> {
        const ALL: [Frame; 8] = [
            Frame::Start,
            Frame::Data,
            Frame::Stderr,
            Frame::Eof,
            Frame::Resize,
            Frame::Signal,
            Frame::Exit,
            Frame::Failed,
        ];
        ALL.get(usize::from(byte)).copied()
    }

    /// The five bytes before a payload of at most [`FRAME_LIMIT`].
    pub fn head(self, length: usize) -> [u8; 5] {
        let [a, b, c, d] = u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
        [self as u8, a, b, c, d]
    }

    /// Reads what [`Frame::head`] makes: the frame and the length of its payload.
    pub fn parse(head: [u8; 5]) -> Option<(Self, usize)> {
        let [kind, length @ ..] = head;
        let length = usize::try_from(u32::from_be_bytes(length)).ok().filter(|length| *length <= FRAME_LIMIT)?;
        Some((Self::of(kind)?, length))
    }
}

/// What to run.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Start {
    /// For the shell; a login shell without one.
    pub command: Option<String>,
    /// Over the sandbox's own environment; names that cannot be set are passed over.
    pub env: BTreeMap<String, String>,
    /// On a terminal of this size.
    pub terminal: Option<Size>,
}

/// The size of a terminal in characters.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub struct Size {
    /// Columns.
    pub cols: u16,
    /// Rows.
    pub rows: u16,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_go_there_and_back() {
        for byte in 0..8 {
            let frame = Frame::of(byte).unwrap();
            assert_eq!(Frame::parse(frame.head(300)), Some((frame, 300)));
        }
        assert_eq!(Frame::of(8), None);
        assert_eq!(Frame::parse(Frame::Data.head(FRAME_LIMIT + 1)), None);
    }
}
