//! What a terminal, its shell and its clients share.

use std::collections::{BTreeMap, VecDeque};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::StatusCode;
use bytes::{Bytes, BytesMut};
use daytona_wire::error::code;
use daytona_wire::pty::PtySessionInfo;
use pty_process::OwnedWritePty;
use rustix::process::Pid;
use rustix::termios::{Winsize, tcsetwinsize};
use tokio::io::AsyncWriteExt;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::error::{Error, Result};
use crate::{process, ring};

/// What a new client may be shown of what was there before.
const SCROLLBACK: usize = 256 << 10;
/// How far a client may be behind before the others, and the program, wait for it.
const BACKLOG: usize = 1 << 20;
/// How much more patience there is with a client that nobody but the program waits for. Buffers on the way hide for
/// seconds that a slow client reads.
const ALONE: u32 = 6;
/// The most bytes of output in one message.
pub(super) const FRAME: usize = 32 << 10;

/// How a shell ended.
#[derive(Clone, Debug)]
pub(super) struct Exit {
    pub(super) code: i32,
    pub(super) reason: Option<String>,
}

impl Exit {
    const KILLED: i32 = 137;

    pub(super) fn of(status: ExitStatus) -> Self {
        Self::new(process::exit_code(status), status.signal())
    }

    fn new(code: i32, signal: Option<i32>) -> Self {
        // A shell passes the signal that ended its last command on as a code.
        let reason = match code {
            130 => Some("Ctrl+C".to_owned()),
            Self::KILLED => Some("SIGKILL".to_owned()),
            143 => Some("SIGTERM".to_owned()),
            _ => signal.map(|signal| format!("signal {signal}")),
        };
        Self { code, reason }
    }
}

/// The master's side of a terminal, for what goes in.
pub(super) struct Line {
    writer: tokio::sync::Mutex<OwnedWritePty>,
    /// For sizes, which do not wait for input.
    control: OwnedFd,
}

impl Line {
    pub(super) fn new(writer: OwnedWritePty, control: OwnedFd) -> Self {
        Self { writer: tokio::sync::Mutex::new(writer), control }
    }

    /// Types `bytes`, those of one message together. What nobody can read any more is lost.
    pub(super) async fn write(&self, bytes: &[u8]) {
        let _ = self.writer.lock().await.write_all(bytes).await;
    }
}

enum Shell {
    Waiting,
    Running { leader: Option<Pid>, line: Arc<Line> },
    Ended(Exit),
}

struct Client {
    /// Offset of the first byte that is not sent.
    offset: u64,
    /// When it last took something, or had nothing to take.
    progress: Instant,
    waker: Arc<Notify>,
    cut: Arc<Notify>,
}

pub(super) struct Terminal {
    pub(super) id: String,
    pub(super) cwd: PathBuf,
    pub(super) env: BTreeMap<String, String>,
    state: Mutex<Shared>,
    /// Wakes the task that reads the output.
    room: Notify,
    patience: Duration,
}

struct Shared {
    info: PtySessionInfo,
    shell: Shell,
    killed: bool,
    /// The output that is kept ends at the offset `end`.
    output: VecDeque<u8>,
    end: u64,
    clients: BTreeMap<u64, Client>,
    /// How many clients there have been.
    connections: u64,
}

/// A client's place at a terminal.
pub(super) struct Seat {
    pub(super) number: u64,
    /// Something is there for the client.
    pub(super) waker: Arc<Notify>,
    /// The client was too slow.
    pub(super) cut: Arc<Notify>,
}

/// What there is for a client.
pub(super) enum Next {
    Output(Bytes, u64),
    Exited(Exit),
    Nothing,
}

impl Shared {
    fn start(&self) -> u64 {
        self.end - self.output.len() as u64
    }

    /// Forgets what neither the scrollback nor a client needs.
    fn trim(&mut self) {
        let oldest = self.clients.values().map(|client| client.offset).min().unwrap_or(self.end);
        let keep = usize::try_from(self.end - oldest).map_or(SCROLLBACK, |behind| behind.max(SCROLLBACK));
        let gone = self.output.len().saturating_sub(keep);
        self.output.drain(..gone);
        if keep == SCROLLBACK && self.output.capacity() > 4 * SCROLLBACK {
            self.output.shrink_to(2 * SCROLLBACK);
        }
    }
}

impl Terminal {
    pub(super) fn new(info: PtySessionInfo, cwd: PathBuf, env: BTreeMap<String, String>, patience: Duration) -> Self {
        let id = info.id.clone();
        let state = Shared {
            info,
            shell: Shell::Waiting,
            killed: false,
            output: VecDeque::new(),
            end: 0,
            clients: BTreeMap::new(),
            connections: 0,
        };
        Self { id, cwd, env, state: Mutex::new(state), room: Notify::new(), patience }
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn info(&self) -> PtySessionInfo {
        self.lock().info.clone()
    }

    pub(super) fn size(&self) -> (u16, u16) {
        let state = self.lock();
        (state.info.cols, state.info.rows)
    }

    pub(super) fn is_waiting(&self) -> bool {
        matches!(self.lock().shell, Shell::Waiting)
    }

    /// Where input goes, while the shell runs.
    pub(super) fn line(&self) -> Option<Arc<Line>> {
        match &self.lock().shell {
            Shell::Running { line, .. } => Some(Arc::clone(line)),
            Shell::Waiting | Shell::Ended(_) => None,
        }
    }

    pub(super) fn started(&self, leader: Option<Pid>, line: Line) {
        let mut state = self.lock();
        state.info.active = true;
        state.shell = Shell::Running { leader, line: Arc::new(line) };
    }

    /// All output is there, and the shell is not.
    pub(super) fn ended(&self, exit: Exit) {
        let mut state = self.lock();
        let exit = if state.killed { Exit::new(Exit::KILLED, None) } else { exit };
        state.info.active = false;
        state.shell = Shell::Ended(exit);
        for client in state.clients.values() {
            client.waker.notify_one();
        }
    }

    pub(super) fn resize(&self, cols: u16, rows: u16) -> Result<PtySessionInfo> {
        let mut state = self.lock();
        match &state.shell {
            Shell::Waiting => {}
            Shell::Running { line, .. } => {
                let size = Winsize { ws_col: cols, ws_row: rows, ws_xpixel: 0, ws_ypixel: 0 };
                tcsetwinsize(&line.control, size)
                    .map_err(|error| Error::internal(format!("cannot resize the terminal: {error}")))?;
            }
            Shell::Ended(_) => {
                return Err(Error::new(
                    StatusCode::GONE,
                    code::SESSION_ENDED,
                    format!("the shell of PTY session {:?} has ended; create another one", self.id),
                ));
            }
        }
        (state.info.cols, state.info.rows) = (cols, rows);
        Ok(state.info.clone())
    }

    /// Gives the leader of the session that is to be ended.
    pub(super) fn kill(&self) -> Option<Pid> {
        let mut state = self.lock();
        state.killed = true;
        match state.shell {
            Shell::Running { leader, .. } => leader,
            Shell::Waiting => {
                state.shell = Shell::Ended(Exit::new(Exit::KILLED, None));
                None
            }
            Shell::Ended(_) => None,
        }
    }

    /// A client comes. What nobody has seen is for the first one; others get what was there before with `replay`.
    pub(super) fn attach(&self, replay: bool) -> Seat {
        let mut state = self.lock();
        state.connections += 1;
        let number = state.connections;
        let offset = if replay || number == 1 {
            state.start().max(state.end.saturating_sub(SCROLLBACK as u64))
        } else {
            state.end
        };
        let (waker, cut) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let client = Client { offset, progress: Instant::now(), waker: Arc::clone(&waker), cut: Arc::clone(&cut) };
        state.clients.insert(number, client);
        self.room.notify_one();
        Seat { number, waker, cut }
    }

    pub(super) fn detach(&self, number: u64) {
        self.lock().clients.remove(&number);
        self.room.notify_one();
    }

    /// What a client is to be sent next.
    pub(super) fn next(&self, number: u64) -> Next {
        let state = self.lock();
        let Some(client) = state.clients.get(&number) else {
            return Next::Nothing;
        };
        let from = usize::try_from(client.offset - state.start()).unwrap_or(usize::MAX);
        let length = state.output.len().saturating_sub(from).min(FRAME);
        if length > 0 {
            let mut bytes = BytesMut::with_capacity(length);
            ring::copy(&state.output, from..from + length, &mut bytes);
            return Next::Output(bytes.freeze(), client.offset + length as u64);
        }
        match &state.shell {
            Shell::Ended(exit) => Next::Exited(exit.clone()),
            Shell::Waiting | Shell::Running { .. } => Next::Nothing,
        }
    }

    /// A client was sent everything before `offset`.
    pub(super) fn sent(&self, number: u64, offset: u64) {
        if let Some(client) = self.lock().clients.get_mut(&number) {
            client.offset = offset;
            client.progress = Instant::now();
            self.room.notify_one();
        }
    }

    pub(super) fn push(&self, bytes: &[u8]) {
        let mut state = self.lock();
        let before = state.end;
        state.output.extend(bytes);
        state.end += bytes.len() as u64;
        for client in state.clients.values_mut() {
            if client.offset == before {
                client.progress = Instant::now();
            }
            client.waker.notify_one();
        }
        state.trim();
    }

    /// Waits until every client has room; says how much. A client that the others wait for too long is cut off.
    pub(super) async fn room(&self) -> usize {
        loop {
            let deadline = {
                let mut state = self.lock();
                let (end, now) = (state.end, Instant::now());
                let room = |client: &Client| {
                    usize::try_from(end - client.offset).map_or(0, |behind| BACKLOG.saturating_sub(behind))
                };
                let patience = if state.clients.len() > 1 { self.patience } else { self.patience * ALONE };
                state.clients.retain(|_, client| {
                    let stays = room(client) > 0 || now < client.progress + patience;
                    if !stays {
                        client.cut.notify_one();
                    }
                    stays
                });
                let least = state.clients.values().map(room).min().unwrap_or(BACKLOG);
                if least > 0 {
                    return least;
                }
                let full = state.clients.values().filter(|client| room(client) == 0);
                full.map(|client| client.progress + patience).min().unwrap_or(now)
            };
            tokio::select! {
                () = self.room.notified() => {}
                () = tokio::time::sleep_until(deadline) => {}
            }
        }
    }
}
