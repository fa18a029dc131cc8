//! A program on a connection of its own, for SSH.

use std::future::pending;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::process::Stdio;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::response::Response;
use bytes::{Buf, Bytes};
use daytona_wire::tunnel::{FRAME_LIMIT, Frame, Size, Start};
use rustix::process::{Pid, Signal, kill_process_group};
use rustix::termios::{Winsize, tcgetpgrp, tcsetwinsize};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, Interest};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;

use super::{switch, upgrade};
use crate::App;
use crate::error::Result;
use crate::exec_stream::signal;
use crate::process::{self, LINGER};

/// The most that is read of a program's output at once.
const PIECE: usize = 32 << 10;
/// Pieces of input that wait for the program.
const WAITING: usize = 16;
/// How often a client whose input waits is looked after.
const LOOK: Duration = Duration::from_secs(1);
/// Ctrl-D.
const END_OF_INPUT: &[u8] = &[4];

/// `GET /private/run`
pub(super) async fn run(State(app): State<App>, mut request: Request) -> Result<Response> {
    let connection = upgrade(&mut request)?;
    Ok(switch(connection, async move |early, stream| serve(&app, early, stream).await))
}

async fn serve(app: &App, early: Bytes, stream: UnixStream) -> io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut frames = Frames { early, read };
    let (Frame::Start, payload) = frames.next().await? else {
        return Err(io::ErrorKind::InvalidData.into());
    };
    let start: Start = serde_json::from_slice(&payload)?;
    match Program::start(app, start) {
        Ok(program) => program.attend(frames, write).await,
        Err(why) => send(&mut write, Frame::Failed, why.as_bytes()).await,
    }
}

async fn send(write: &mut OwnedWriteHalf, frame: Frame, payload: &[u8]) -> io::Result<()> {
    write.write_all(&frame.head(payload.len())).await?;
    write.write_all(payload).await
}

/// What comes from the client.
struct Frames {
    early: Bytes,
    read: OwnedReadHalf,
}

impl Frames {
    async fn next(&mut self) -> io::Result<(Frame, Vec<u8>)> {
        let mut head = [0; 5];
        self.fill(&mut head).await?;
        let (frame, length) = Frame::parse(head).ok_or(io::ErrorKind::InvalidData)?;
        let mut payload = vec![0; length];
        self.fill(&mut payload).await?;
        Ok((frame, payload))
    }

    async fn fill(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        let length = self.early.len().min(buffer.len());
        self.early.copy_to_slice(&mut buffer[..length]);
        self.read.read_exact(&mut buffer[length..]).await.map(|_| ())
    }

    /// Returns when the client is gone, though its frames wait to be read.
    async fn gone(&self) {
        loop {
            tokio::time::sleep(LOOK).await;
            if self.read.ready(Interest::READABLE).await.map_or(true, tokio::io::Ready::is_read_closed) {
                return;
            }
        }
    }
}

/// A running program.
struct Program {
    child: Child,
    leader: Option<Pid>,
    input: Box<dyn AsyncWrite + Send + Unpin>,
    output: Output,
    /// Of the terminal, if there is one.
    control: Option<OwnedFd>,
}

impl Program {
    fn start(app: &App, start: Start) -> std::result::Result<Self, String> {
        let cwd = &app.config.work_dir;
        if let Some(why) = process::no_directory(cwd) {
            return Err(why);
        }
        let settable = |(name, value): &(String, String)| {
            let mut letters = name.bytes();
            letters.next().is_some_and(|first| first == b'_' || first.is_ascii_alphabetic())
                && letters.all(|letter| letter == b'_' || letter.is_ascii_alphanumeric())
                && !value.contains('\0')
        };
        let mut env = app.env.get();
        env.extend(start.env.into_iter().filter(settable));
        let shell = process::shell();
        let args: &[&str] = match (&start.command, start.terminal) {
            (Some(command), _) => &["-c", "--", command],
            (None, Some(_)) => &["-l", "-i"],
            (None, None) => &["-l"],
        };
        let failed = |error: &dyn std::fmt::Display| format!("cannot start {}: {error}", shell.display());
        if let Some(size) = start.terminal {
            let (pty, pts) = pty_process::open().map_err(|error| failed(&error))?;
            let control = pty.as_fd().try_clone_to_owned().map_err(|error| failed(&error))?;
            let _ = tcsetwinsize(&control, winsize(size));
            let command = pty_process::Command::new(&shell).args(args).env_clear().envs(env).current_dir(cwd);
            let child = command.spawn(pts).map_err(|error| failed(&error))?;
            let (reader, writer) = pty.into_split();
            let output = Output { streams: [Some(Box::new(reader)), None], turn: 0 };
            return Ok(Self::new(child, Box::new(writer), output, Some(control)));
        }
        let mut command = Command::new(&shell);
        command.args(args).env_clear().envs(env).current_dir(cwd).process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| failed(&error))?;
        let (Some(stdin), Some(stdout), Some(stderr)) = (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(failed(&"it has no pipes"));
        };
        let output = Output { streams: [Some(Box::new(stdout)), Some(Box::new(stderr))], turn: 0 };
        Ok(Self::new(child, Box::new(stdin), output, None))
    }

    fn new(child: Child, input: Box<dyn AsyncWrite + Send + Unpin>, output: Output, control: Option<OwnedFd>) -> Self {
        let leader = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        Self { child, leader, input, output, control }
    }

    /// Serves it until it or the client is gone.
    async fn attend(self, mut frames: Frames, mut write: OwnedWriteHalf) -> io::Result<()> {
        let Self { mut child, leader, input, mut output, control } = self;
        let on_terminal = control.is_some();
        let (queue, waiting) = mpsc::channel(WAITING);
        let code = tokio::select! {
            code = pump(&mut child, &mut output, &mut write) => code,
            gone = listen(&mut frames, queue, leader, control) => Err(gone),
            never = feed(input, waiting, on_terminal) => match never {},
        };
        output.leave();
        match code {
            Ok(code) => send(&mut write, Frame::Exit, code.to_string().as_bytes()).await,
            Err(error) => {
                // The leader is not reaped yet, so the group is still its own.
                if let Some(leader) = leader {
                    let _ = kill_process_group(leader, Signal::HUP);
                }
                process::reap(child);
                Err(error)
            }
        }
    }
}

fn winsize(size: Size) -> Winsize {
    Winsize { ws_col: size.cols, ws_row: size.rows, ws_xpixel: 0, ws_ypixel: 0 }
}

/// Sends the output until the program has ended and all of it is sent; gives the exit code.
async fn pump(child: &mut Child, output: &mut Output, write: &mut OwnedWriteHalf) -> io::Result<i32> {
    let status = loop {
        tokio::select! {
            status = child.wait() => break status?,
            piece = output.next(), if !output.ended() => {
                if let Some((frame, piece)) = piece {
                    send(write, frame, &piece).await?;
                }
            }
        }
    };
    // What it left behind may hold its pipes: only so long.
    while let Ok(piece) = tokio::time::timeout(LINGER, output.next()).await {
        if let Some((frame, piece)) = piece {
            send(write, frame, &piece).await?;
        }
        if output.ended() {
            break;
        }
    }
    Ok(process::exit_code(status))
}

/// Does what the client says until it is gone.
async fn listen(
    frames: &mut Frames,
    queue: mpsc::Sender<Vec<u8>>,
    leader: Option<Pid>,
    control: Option<OwnedFd>,
) -> io::Error {
    let mut queue = Some(queue);
    loop {
        let (frame, payload) = match frames.next().await {
            Ok(next) => next,
            Err(error) => return error,
        };
        match frame {
            Frame::Data => {
                if let Some(queue) = &queue {
                    tokio::select! {
                        // Nobody reads it any more: the rest is for nobody.
                        _ = queue.send(payload) => {}
                        () = frames.gone() => return io::ErrorKind::ConnectionReset.into(),
                    }
                }
            }
            Frame::Eof => queue = None,
            Frame::Resize => {
                if let (Some(control), Ok(size)) = (&control, serde_json::from_slice(&payload)) {
                    let _ = tcsetwinsize(control, winsize(size));
                }
            }
            Frame::Signal => {
                let signal = std::str::from_utf8(&payload).ok().and_then(signal::parse);
                let group = control.as_ref().and_then(|control| tcgetpgrp(control).ok()).or(leader);
                if let (Some(signal), Some(group)) = (signal, group) {
                    let _ = kill_process_group(group, signal);
                }
            }
            Frame::Start | Frame::Stderr | Frame::Exit | Frame::Failed => {
                return io::ErrorKind::InvalidData.into();
            }
        }
    }
}

/// Gives the program its input.
async fn feed(
    mut input: Box<dyn AsyncWrite + Send + Unpin>,
    mut waiting: mpsc::Receiver<Vec<u8>>,
    on_terminal: bool,
) -> std::convert::Infallible {
    while let Some(piece) = waiting.recv().await {
        if input.write_all(&piece).await.is_err() {
            waiting.close();
        }
    }
    if on_terminal {
        // A terminal has no end; this asks whoever reads it to end.
        let _ = input.write_all(END_OF_INPUT).await;
    }
    drop(input);
    pending().await
}

/// The output of a program: stdout and stderr, or a terminal.
struct Output {
    streams: [Option<Box<dyn AsyncRead + Send + Unpin>>; 2],
    /// Which one is asked first.
    turn: usize,
}

impl Output {
    fn ended(&self) -> bool {
        self.streams.iter().all(Option::is_none)
    }

    /// The next piece; `None` if a stream has ended instead. Cancel safe.
    async fn next(&mut self) -> Option<(Frame, Vec<u8>)> {
        const _: () = assert!(PIECE <= FRAME_LIMIT, "a piece fits into a frame");
        let mut pieces = [vec![0; PIECE], vec![0; PIECE]];
        let [first, second] = &mut self.streams;
        let [one, other] = &mut pieces;
        let (which, length) = if self.turn == 0 {
            tokio::select! {
                biased;
                length = read(first, one) => (0, length),
                length = read(second, other) => (1, length),
            }
        } else {
            tokio::select! {
                biased;
                length = read(second, other) => (1, length),
                length = read(first, one) => (0, length),
            }
        };
        self.turn = 1 - which;
        if length == 0 {
            self.streams[which] = None;
            return None;
        }
        let mut piece = std::mem::take(&mut pieces[which]);
        piece.truncate(length);
        Some(([Frame::Data, Frame::Stderr][which], piece))
    }

    fn leave(self) {
        for stream in self.streams.into_iter().flatten() {
            process::leave(stream);
        }
    }
}

/// Bytes read; 0 at the end. An error of a pipe or a terminal is its end.
async fn read(stream: &mut Option<Box<dyn AsyncRead + Send + Unpin>>, buffer: &mut [u8]) -> usize {
    match stream {
        Some(stream) => stream.read(buffer).await.unwrap_or(0),
        None => pending().await,
    }
}
