//! Streaming exec: a command over one websocket, resumable.
//!
//! `GET /process/execute/stream?id=` (websocket) starts a command: the client's first message is a
//! [`ToServer::Start`]. The id is chosen by the client (16 to 64 letters, digits and `-`), so that
//! a start whose answer was lost is not repeated: `GET /process/execute/stream/{id}?offset=n`
//! (websocket) goes on from byte `n` of the output, and answers 404 where nothing was started.
//!
//! Messages are JSON text. Data is binary, with a head of nine bytes: one for the stream
//! ([`STDIN`], [`STDOUT`], [`STDERR`]) and eight, big endian, for the offset of its first byte.
//! Output has one offset for both streams, counted in the order in which it was read; stdin has its
//! own. The server keeps what is not acknowledged, at most [`WINDOW`] bytes: then it reads no more
//! and the command waits. The client keeps what the server has not acknowledged of stdin.
//!
//! A connection that ends without a close frame leaves the command running for [`GRACE_SECONDS`];
//! one that is closed by the client kills it. One that goes on takes over from the one before, which
//! is closed with [`TAKEN_OVER`]. After [`ToClient::Exited`] the server closes with 1000 once the
//! client has acknowledged all output; the exit can be asked for again until the client has answered
//! that close frame, or for [`GRACE_SECONDS`].
//!
//! To go on, the client sends what it has sent of stdin from [`ToClient::Started::stdin`] on, and
//! [`ToServer::Eof`] too if it has sent that; what the server has already is passed over. Going on at
//! `offset` acknowledges what is before it.
//!
//! Before the upgrade: 400 for an id or an offset that cannot be, 404 for an id that is unknown and
//! 409 for one that is taken, where a new command was to be started. After it the same errors come as
//! [`ToClient::Error`], and the server closes with 1008; the command, if there is one, goes on as
//! after a lost connection.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// First byte of a binary message: bytes for stdin.
pub const STDIN: u8 = 0;
/// First byte of a binary message: bytes of stdout.
pub const STDOUT: u8 = 1;
/// First byte of a binary message: bytes of stderr.
pub const STDERR: u8 = 2;
/// Length of the head of a binary message.
pub const HEAD: usize = 9;
/// Unacknowledged bytes that either side keeps for one direction.
pub const WINDOW: usize = 1 << 20;
/// How long a command outlives its connection.
pub const GRACE_SECONDS: u64 = 60;
/// Close code for a connection whose command another one has taken over.
pub const TAKEN_OVER: u16 = 4000;

/// What a client says.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(tag = "type", rename_all = "camelCase")]
pub enum ToServer {
    /// Run this. Sent once, first.
    Start {
        /// As in [`crate::process::ExecuteRequest`].
        command: String,
        /// As in [`crate::process::ExecuteRequest`].
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cwd: Option<String>,
        /// As in [`crate::process::ExecuteRequest`].
        #[serde(default, skip_serializing_if = "Option::is_none")]
        envs: Option<BTreeMap<String, String>>,
        /// Seconds; absent or 0 is no limit.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        timeout: Option<u64>,
    },
    /// All output before `offset` has been taken.
    Ack {
        /// Offset of the first byte still wanted.
        offset: u64,
    },
    /// Close stdin after all that was sent.
    Eof {
        /// The number of bytes sent in all.
        offset: u64,
    },
    /// Send a signal to the command's process group.
    Signal {
        /// `SIGTERM`, `TERM` or a number as text. Nothing happens after the command's end.
        signal: String,
    },
}

/// What the server says.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(tag = "type", rename_all = "camelCase")]
pub enum ToClient {
    /// The command runs, or the connection to it is made again. First message of the server.
    Started {
        /// Bytes of stdin taken so far.
        stdin: u64,
    },
    /// All of stdin before `offset` has been taken.
    Ack {
        /// Offset of the first byte not taken yet.
        offset: u64,
    },
    /// Nobody reads stdin any more, though there was no [`ToServer::Eof`]; what was not acknowledged is lost.
    StdinClosed,
    /// It has ended; all its output has been sent before.
    #[serde(rename_all = "camelCase")]
    Exited {
        /// As in [`crate::process::ExecuteResponse::exit_code`].
        exit_code: i32,
        /// True if it was killed because it ran over its time limit.
        #[serde(default)]
        timed_out: bool,
    },
    /// It could not be started, or a message could not be read; the server closes after that.
    Error {
        /// The error as HTTP would have it.
        error: crate::error::ErrorBody,
    },
}
