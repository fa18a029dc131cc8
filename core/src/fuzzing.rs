//! What the fuzz targets run: parsers of what a server sends, and what must hold of them for any input.

use std::io::{self, Read, Write};

use bytes::Bytes;
use daytona_wire::exec_stream::HEAD;
use tungstenite::protocol::{Role, WebSocket};

use crate::events;
use crate::exec_stream::{Heard, parse};
use crate::multipart::{Event, Parser};
use crate::ws::{Message, config};

/// Pieces of 1 to 16 bytes, as the first byte of the input says.
fn cut(data: &[u8]) -> (&[u8], impl Iterator<Item = &[u8]>) {
    let (&seed, data) = data.split_first().unwrap_or((&0, &[]));
    (data, data.chunks(usize::from(seed % 16) + 1))
}

/// The markers of a log: any split gives what the whole gives.
///
/// # Panics
/// If that does not hold.
pub fn demux(data: &[u8]) {
    let (data, pieces) = cut(data);
    let whole = crate::output::demux_in_pieces([data]);
    assert_eq!(whole, crate::output::demux_in_pieces(pieces));
    let length: usize = whole.0.iter().map(|(_, bytes)| bytes.len()).sum();
    assert!(length <= data.len(), "{length} bytes of output in {}", data.len());
}

/// A download's answer: any split gives the same parts, and the same refusal.
///
/// # Panics
/// If that does not hold.
pub fn multipart(data: &[u8]) {
    let (data, pieces) = cut(data);
    let whole = parts([data]);
    let split = parts(pieces);
    // Headers that do not end are refused as soon as they are too long.
    if data.len() < 1 << 16 {
        assert_eq!(whole, split);
    }
}

fn parts<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Event>, bool) {
    let mut parser = Parser::new("b");
    let mut events: Vec<Event> = Vec::new();
    for piece in pieces {
        parser.feed(Bytes::copy_from_slice(piece));
        loop {
            match (parser.next(), events.last_mut()) {
                (Err(_), _) => return (events, false),
                (Ok(None), _) => break,
                (Ok(Some(Event::Data(more))), Some(Event::Data(data))) => {
                    *data = [&data[..], &more].concat().into();
                }
                (Ok(Some(event)), _) => events.push(event),
            }
        }
    }
    (events, true)
}

/// Frames of a websocket, and the messages and close reasons of all that is said over one: what is read is what was
/// sent.
///
/// # Panics
/// If that does not hold.
pub fn messages(data: &[u8]) {
    let mut socket = WebSocket::from_raw_socket(Wire(data), Role::Client, Some(config()));
    // More calls than there can be frames.
    for _ in 0..=data.len() {
        match socket.read() {
            Ok(message) => read(&message),
            Err(_) => break,
        }
    }
    read(&Message::binary(data.to_vec()));
    if let Ok(text) = std::str::from_utf8(data) {
        read(&Message::text(text));
    }
}

fn read(message: &Message) {
    match (parse(message), message) {
        (Ok(Heard::Output(stream, offset, bytes)), Message::Binary(data)) => {
            assert_eq!(data[0], stream as u8 + 1);
            assert_eq!(data[1..HEAD], offset.to_be_bytes());
            assert_eq!(data[HEAD..], *bytes);
        }
        (Ok(Heard::Control(_)), message) => assert!(message.is_text()),
        (heard, _) => assert!(heard.is_err()),
    }
    let _ = crate::interpreter::parse(message);
    match message {
        Message::Text(text) => crate::pty::read_control(text, 1000),
        Message::Close(Some(frame)) => crate::pty::read_control(&frame.reason, frame.code.into()),
        _ => {}
    }
}

/// A server that says this and hears nothing.
struct Wire<'a>(&'a [u8]);

impl Read for Wire<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Wire<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Packets of the event stream: the same text is always the same packet.
///
/// # Panics
/// If that does not hold.
pub fn events(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        let packet = events::parse(text);
        assert_eq!(packet, events::parse(text));
        if let events::Packet::Change(change) = packet {
            crate::watch::News::read(change.state, change.sandbox);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// Inputs that get somewhere: pieces that mean something between bytes that may not.
    fn inputs() -> impl Strategy<Value = Vec<u8>> {
        let known: &[&[u8]] = &[
            &[1; 3],
            &[2; 3],
            b"\r\n--b\r\n",
            b"\r\n--b--\r\n",
            b"Content-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n",
            b"Content-Length: 3\r\n\r\n",
            b"\x81\x02{}",
            b"\x88\x04\x03\xe8{}",
            b"{\"type\":\"exited\",\"exitCode\":1}",
            b"{\"type\":\"stdout\",\"text\":\"x\"}",
            b"{\"type\":\"control\",\"status\":\"exited\"}",
            b"42[\"sandbox.created\",{\"id\":\"s\",\"state\":\"started\"}]",
            b"\xe2\x82\xac",
        ];
        let piece = prop_oneof![prop::sample::select(known).prop_map(<[u8]>::to_vec), vec(any::<u8>(), 0..6)];
        (any::<u8>(), vec(piece, 0..12)).prop_map(|(seed, pieces)| [vec![seed], pieces.concat()].concat())
    }

    proptest! {
        #[test]
        fn nothing_breaks_them(input in inputs()) {
            demux(&input);
            multipart(&input);
            messages(&input);
            messages(&input[1..]);
            events(&input);
            events(&input[1..]);
        }
    }
}
