//! The stub's websockets: logs, a terminal that shows much, one that echoes, an interpreter.

use std::io;

use bytes::{BufMut as _, Bytes, BytesMut};
use daytona_core::wire::session::{STDERR_MARKER, STDOUT_MARKER};
use futures_util::{SinkExt as _, StreamExt as _};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role};
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use crate::Result;

/// Bytes of one line, with its end.
pub(crate) const LINE: usize = 100;
/// Bytes of one large frame, at most.
const FRAME: usize = 32 * 1024;
/// About so much is written at once.
const BLOCK: usize = 512 * 1024;
/// Makes a real terminal echo each byte by a program, and says so.
pub(crate) const ECHO_SETUP: &str = "stty raw -echo; printf 'REA''DY'; cat\n";
pub(crate) const ECHO_READY: &str = "READY";
const CONNECTED: &str = r#"{"type":"control","status":"connected"}"#;

/// What a path's websocket does.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    /// So many MB of log, each line in a frame of its own or many in one.
    Log { mb: usize, lines: bool },
    /// So many MB of output once something was typed.
    Output { mb: usize },
    /// Every byte back.
    Echo,
    /// One short answer.
    Interpreter,
}

impl Kind {
    /// By what the path ends in: the stub's commands are `lines-N` and `frames-N`, its terminals `output-N` and `echo`.
    pub(crate) fn of(path: &str, query: &str) -> Option<Self> {
        if path.ends_with("/process/interpreter/execute") {
            return Some(Self::Interpreter);
        }
        let name = if path.ends_with("/process/pty/create-connect") {
            query.split('&').find_map(|pair| pair.strip_prefix("id="))?
        } else {
            path.strip_suffix("/logs")?.rsplit('/').next()?
        };
        let (kind, mb) = name.split_once('-').unwrap_or((name, "0"));
        let mb = mb.split('-').next()?.parse().ok()?;
        Some(match kind {
            "lines" => Self::Log { mb, lines: true },
            "frames" => Self::Log { mb, lines: false },
            "output" => Self::Output { mb },
            "echo" => Self::Echo,
            _ => return None,
        })
    }
}

/// The value of `Sec-WebSocket-Accept`.
pub(crate) fn accept(key: &[u8]) -> String {
    derive_accept_key(key)
}

pub(crate) async fn serve(upgraded: Upgraded, kind: Kind) -> Result<()> {
    let connection = TokioIo::new(upgraded);
    match kind {
        Kind::Log { mb, lines } => {
            let mut sender = Sender::new(connection);
            sender.log(mb * 1_000_000, lines).await?;
            sender.finish(b"\x03\xe8").await
        }
        Kind::Output { mb } => {
            let mut sender = Sender::new(connection);
            sender.output.write_all(&frame(1, CONNECTED.as_bytes())).await?;
            // The first input starts it; what it says does not matter.
            while sender.received.recv().await.ok_or("no input")?.0 != 2 {}
            let block = frame(2, &vec![b'x'; FRAME]).repeat(BLOCK / FRAME);
            let (whole, rest) = (mb * 1_000_000 / BLOCK, mb * 1_000_000 % BLOCK);
            for _ in 0..whole {
                sender.send(&block).await?;
            }
            if rest > 0 {
                sender.send(&frame(2, &vec![b'x'; rest])).await?;
            }
            sender.finish(b"\x03\xe8{\"exitCode\":0}").await
        }
        Kind::Echo => echo(connection).await,
        Kind::Interpreter => {
            let mut socket = WebSocketStream::from_raw_socket(connection, Role::Server, None).await;
            socket.next().await.ok_or("no request")??;
            for text in [r#"{"type":"stdout","text":"hi\n"}"#, r#"{"type":"control","text":"completed"}"#] {
                socket.send(Message::Text(Utf8Bytes::from_static(text))).await?;
            }
            socket.close(Some(CloseFrame { code: 1000.into(), reason: Utf8Bytes::default() })).await?;
            while socket.next().await.is_some_and(|message| message.is_ok()) {}
            Ok(())
        }
    }
}

/// One unmasked frame.
fn frame(opcode: u8, content: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(content.len() + 10);
    frame.put_u8(0x80 | opcode);
    match u16::try_from(content.len()) {
        Ok(length) if length < 126 => frame.put_u8(length.to_be_bytes()[1]),
        Ok(length) => {
            frame.put_u8(126);
            frame.put_u16(length);
        }
        Err(_) => {
            frame.put_u8(127);
            frame.put_u64(content.len() as u64);
        }
    }
    frame.put_slice(content);
    frame.freeze()
}

/// Writes ready-made frames, and between them answers the pings of clients that give up on a silent server.
struct Sender<W> {
    output: W,
    received: mpsc::Receiver<(u8, Vec<u8>)>,
}

impl Sender<()> {
    fn new(
        io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    ) -> Sender<impl AsyncWrite + Send + Unpin + 'static> {
        let (input, output) = tokio::io::split(io);
        let (sender, received) = mpsc::channel(16);
        // However it ends, the other half notices.
        tokio::spawn(async move { drop(receive(input, sender).await) });
        Sender { output, received }
    }
}

impl<W: AsyncWrite + Unpin> Sender<W> {
    async fn send(&mut self, frames: &[u8]) -> Result<()> {
        while let Ok((opcode, content)) = self.received.try_recv() {
            if opcode == 9 {
                self.output.write_all(&frame(10, &content)).await?;
            }
        }
        Ok(self.output.write_all(frames).await?)
    }

    /// Lines of stdout with one of stderr in sixteen, each behind its marker as the protocol has it.
    async fn log(&mut self, total: usize, lines: bool) -> Result<()> {
        let mut line = vec![b'l'; LINE - 1];
        line.push(b'\n');
        let marked = |index: usize| {
            let marker = if index % 16 == 15 { STDERR_MARKER } else { STDOUT_MARKER };
            [&marker[..], &line].concat()
        };
        let together = if lines { 1 } else { FRAME / (LINE + 3) / 16 * 16 };
        let mut block = BytesMut::new();
        let mut held = 0;
        while block.len() < BLOCK || held % 16 != 0 {
            let content: Vec<u8> = (0..together).flat_map(|index| marked(held + index)).collect();
            block.put_slice(&frame(2, &content));
            held += together;
        }
        let mut left = total / LINE;
        while left >= held {
            self.send(&block).await?;
            left -= held;
        }
        for index in 0..left {
            self.send(&frame(2, &marked(index))).await?;
        }
        Ok(())
    }

    /// Closes, and ends the connection when the client has answered: that is the server's part.
    async fn finish(mut self, close: &[u8]) -> Result<()> {
        self.send(&frame(8, close)).await?;
        while self.received.recv().await.is_some() {}
        Ok(self.output.shutdown().await?)
    }
}

/// Opcode and content of what a client sends, all of it short, until it closes.
async fn receive(mut input: impl AsyncRead + Unpin, sender: mpsc::Sender<(u8, Vec<u8>)>) -> io::Result<()> {
    let mut head = [0; 6];
    loop {
        input.read_exact(&mut head).await?;
        let [first, length, mask @ ..] = head;
        let mut content = vec![0; usize::from(length & 0x7f)];
        input.read_exact(&mut content).await?;
        for (byte, mask) in content.iter_mut().zip(mask.iter().cycle()) {
            *byte ^= mask;
        }
        if first & 0xf == 8 {
            return Ok(());
        }
        if sender.send((first & 0xf, content)).await.is_err() {
            return Ok(());
        }
    }
}

async fn echo(io: impl AsyncRead + AsyncWrite + Unpin) -> Result<()> {
    let mut socket = WebSocketStream::from_raw_socket(io, Role::Server, None).await;
    socket.send(Message::Text(Utf8Bytes::from_static(CONNECTED))).await?;
    while let Some(message) = socket.next().await {
        match message? {
            Message::Binary(content) if content.as_ref() == ECHO_SETUP.as_bytes() => {
                socket.send(Message::Binary(ECHO_READY.into())).await?;
            }
            Message::Binary(content) => socket.send(Message::Binary(content)).await?,
            Message::Close(_) => break,
            _ => {}
        }
    }
    Ok(())
}
