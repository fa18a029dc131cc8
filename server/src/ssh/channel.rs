//! One channel: a program, a file transfer or a port in the sandbox.

use std::io;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use daytona_wire::tunnel::{DIAL, FRAME_LIMIT, Frame, RUN, SFTP, Start};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use russh::server::{ChannelOpenHandle, Msg};
use russh::{ChannelOpenFailure, ChannelWriteHalf};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadHalf, WriteHalf};

use super::input::{Input, Order};
use crate::sandbox::Live;
use crate::tunnel::{self, Tunnel};

/// What stands for stderr in SSH.
const STDERR: u32 = 1;
/// The exit code where nothing could be started.
const FAILED: u32 = 255;
/// The most bytes passed on at once.
const PIECE: usize = 32 << 10;

pub(super) type Output = ChannelWriteHalf<Msg>;

/// Runs a program; tells its end and closes the channel.
pub(super) async fn program(live: Result<Arc<Live>, String>, start: Start, output: Output, input: Arc<Input>) {
    let end = match live {
        Ok(live) => {
            let run = async {
                let tunnel = tunnel::open(&live.socket, RUN).await?;
                relay(tunnel, &start, &output, &input).await
            };
            let over = || Err(io::Error::other("the sandbox has ended"));
            tokio::select! {
                // A stop ends programs before it ends the sandbox.
                end = run => if live.is_ending() && matches!(end, Ok(Some(_))) { over() } else { end },
                () = live.gone() => over(),
            }
        }
        Err(why) => Err(io::Error::other(why)),
    };
    let code = match end {
        Ok(code) => code,
        Err(error) => {
            // Without a terminal nobody minds the \r.
            say(&output, &input, format!("{error}\r\n")).await;
            Some(FAILED)
        }
    };
    if let Some(code) = code {
        let _ = output.exit_status(code).await;
    }
    let _ = output.eof().await;
    let _ = output.close().await;
}

/// Says something on stderr, if the client takes it.
async fn say(output: &Output, input: &Input, text: String) {
    tokio::select! {
        _ = output.extended_data_bytes(STDERR, text) => {}
        () = input.closed() => {}
    }
}

/// Between the client and a program; gives its exit code, or `None` when the client has closed the channel.
async fn relay(tunnel: Tunnel, start: &Start, output: &Output, input: &Input) -> io::Result<Option<u32>> {
    let (mut from, mut to) = tokio::io::split(tunnel);
    send(&mut to, Frame::Start, &serde_json::to_vec(start)?).await?;
    tokio::select! {
        code = show(&mut from, output) => code,
        told = tell(&mut to, input) => told,
    }
}

async fn send(to: &mut WriteHalf<Tunnel>, frame: Frame, payload: &[u8]) -> io::Result<()> {
    to.write_all(&frame.head(payload.len())).await?;
    to.write_all(payload).await
}

/// Passes on what the client says until it closes the channel.
async fn tell(to: &mut WriteHalf<Tunnel>, input: &Input) -> io::Result<Option<u32>> {
    while let Some(order) = input.next().await {
        let told = match order {
            Order::Data(data) => {
                let mut told = Ok(());
                for piece in data.chunks(FRAME_LIMIT) {
                    told = told.and(send(to, Frame::Data, piece).await);
                }
                told
            }
            Order::Eof => send(to, Frame::Eof, &[]).await,
            Order::Resize(size) => send(to, Frame::Resize, &serde_json::to_vec(&size)?).await,
            Order::Signal(name) => send(to, Frame::Signal, name.as_bytes()).await,
        };
        if told.is_err() {
            // It has ended; its last words are still to be shown.
            input.closed().await;
        }
    }
    Ok(None)
}

/// Passes on the output until the program ends.
async fn show(from: &mut ReadHalf<Tunnel>, output: &Output) -> io::Result<Option<u32>> {
    loop {
        let mut head = [0; 5];
        from.read_exact(&mut head).await?;
        let (frame, length) = Frame::parse(head).ok_or(io::ErrorKind::InvalidData)?;
        let mut payload = vec![0; length];
        from.read_exact(&mut payload).await?;
        match frame {
            Frame::Data => output.data_bytes(payload).await.map_err(io::Error::other)?,
            Frame::Stderr => output.extended_data_bytes(STDERR, payload).await.map_err(io::Error::other)?,
            Frame::Exit => {
                let code = std::str::from_utf8(&payload).ok().and_then(|code| code.parse().ok());
                return Ok(Some(code.unwrap_or(FAILED)));
            }
            Frame::Failed => return Err(io::Error::other(String::from_utf8_lossy(&payload).into_owned())),
            Frame::Start | Frame::Eof | Frame::Resize | Frame::Signal => return Err(io::ErrorKind::InvalidData.into()),
        }
    }
}

/// Moves files.
pub(super) async fn files(live: Result<Arc<Live>, String>, output: Output, input: Arc<Input>) {
    let moved = async {
        let live = live.map_err(io::Error::other)?;
        let tunnel = tunnel::open(&live.socket, SFTP).await?;
        tokio::select! {
            () = pass(tunnel, &output, &input) => Ok(()),
            () = live.gone() => Err(io::Error::other("the sandbox has ended")),
        }
    };
    let moved: io::Result<()> = moved.await;
    if let Err(error) = &moved {
        say(&output, &input, format!("{error}\r\n")).await;
    }
    let _ = output.exit_status(if moved.is_ok() { 0 } else { FAILED }).await;
    let _ = output.close().await;
}

/// Connects to a port, as the sandbox sees it.
pub(super) async fn port(
    live: Result<Arc<Live>, String>,
    (host, port): (String, u32),
    reply: ChannelOpenHandle,
    output: Output,
    input: Arc<Input>,
) {
    let refuse = |reason: String| ChannelOpenFailure::Other { code: 2, reason };
    let live = match live {
        Ok(live) => live,
        Err(why) => return reply.reject(refuse(why)).await,
    };
    let host = utf8_percent_encode(&host, NON_ALPHANUMERIC);
    let tunnel = match tunnel::open(&live.socket, &format!("{DIAL}?port={port}&host={host}")).await {
        Ok(tunnel) => tunnel,
        Err(error) => return reply.reject(refuse(error.to_string())).await,
    };
    reply.accept().await;
    tokio::select! {
        () = pass(tunnel, &output, &input) => {}
        () = live.gone() => {}
    }
    let _ = output.close().await;
}

/// Passes bytes both ways until both directions have ended, or the client closes the channel.
async fn pass(tunnel: Tunnel, output: &Output, input: &Input) {
    let (from, to) = tokio::io::split(tunnel);
    let up = async {
        // The other direction may go on.
        (!upward(to, input).await).then_some(())
    };
    let down = async {
        downward(from, output).await;
        let _ = output.eof().await;
    };
    let mut down = std::pin::pin!(down);
    let mut ended = false;
    let closed = {
        let mut up = std::pin::pin!(up);
        loop {
            tokio::select! {
                up = &mut up => break up.is_none(),
                () = &mut down, if !ended => ended = true,
            }
        }
    };
    if !closed && !ended {
        tokio::select! {
            () = down => {}
            () = input.closed() => {}
        }
    }
}

/// True when the client has closed the channel, false when it has nothing more to say.
async fn upward(mut to: impl AsyncWrite + Unpin, input: &Input) -> bool {
    loop {
        match input.next().await {
            Some(Order::Data(data)) => {
                if to.write_all(&data).await.is_err() {
                    input.closed().await;
                    return true;
                }
            }
            Some(Order::Eof) => {
                let _ = to.shutdown().await;
                return false;
            }
            Some(Order::Resize(_) | Order::Signal(_)) => {}
            None => return true,
        }
    }
}

async fn downward(mut from: impl AsyncRead + Unpin, output: &Output) {
    let mut buffer = BytesMut::new();
    loop {
        buffer.reserve(PIECE);
        match from.read_buf(&mut buffer).await {
            Ok(1..) => {}
            Ok(0) | Err(_) => return,
        }
        let piece: Bytes = buffer.split().freeze();
        if output.data_bytes(piece).await.is_err() {
            return;
        }
    }
}
