//! The shell of a terminal: its start, its output, its end.

use std::os::fd::AsFd;
use std::sync::Arc;

use pty_process::{Command, OwnedReadPty, Size};
use rustix::process::Pid;
use tokio::io::AsyncReadExt;
use tokio::process::Child;
use tokio::time::Instant;

use super::Terminals;
use super::terminal::{Exit, Line, Terminal};
use crate::error::{Error, Result};
use crate::process::{self, LINGER};

/// Starts the shell.
pub(super) fn start(terminal: &Arc<Terminal>, terminals: &Terminals) -> Result<()> {
    let shell = process::shell();
    let failed =
        |error: pty_process::Error| Error::internal(format!("cannot start {} on a terminal: {error}", shell.display()));
    let (cols, rows) = terminal.size();
    let (pty, pts) = pty_process::open().map_err(failed)?;
    pty.resize(Size::new(rows, cols)).map_err(failed)?;
    let control = pty.as_fd().try_clone_to_owned().map_err(|error| failed(error.into()))?;
    let child = Command::new(&shell)
        .args(["-l", "-i"])
        .env_clear()
        .envs(&terminal.env)
        .current_dir(&terminal.cwd)
        .spawn(pts)
        .map_err(failed)?;
    let leader = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    let (reader, writer) = pty.into_split();
    terminal.started(leader, Line::new(writer, control));
    tokio::spawn(attend(Arc::clone(terminal), child, reader, terminals.clone()));
    Ok(())
}

/// Takes the output until the shell has ended and all of it is read.
async fn attend(terminal: Arc<Terminal>, mut child: Child, reader: OwnedReadPty, terminals: Terminals) {
    let mut output = Output { reader, scratch: Vec::new(), ended: false };
    let status = loop {
        tokio::select! {
            status = child.wait() => break status,
            () = output.read(&terminal), if !output.ended => {}
        }
    };
    let mut left = LINGER;
    while !output.ended && !left.is_zero() {
        terminal.room().await;
        // Only waiting for output counts, not waiting for clients.
        let begun = Instant::now();
        if tokio::time::timeout(left, output.read(&terminal)).await.is_err() {
            break;
        }
        left = left.saturating_sub(begun.elapsed());
    }
    terminals.forget(&terminal);
    terminal.ended(status.map_or(Exit { code: -1, reason: None }, Exit::of));
}

struct Output {
    reader: OwnedReadPty,
    scratch: Vec<u8>,
    ended: bool,
}

impl Output {
    /// Reads once, when there is room. Cancel safe.
    async fn read(&mut self, terminal: &Terminal) {
        let room = terminal.room().await;
        if self.scratch.is_empty() {
            self.scratch = vec![0; super::terminal::FRAME];
        }
        let room = room.min(self.scratch.len());
        match self.reader.read(&mut self.scratch[..room]).await {
            Ok(length @ 1..) => terminal.push(&self.scratch[..length]),
            // An error is how a terminal says that nobody has it open.
            Ok(0) | Err(_) => self.ended = true,
        }
    }
}
