//! The command's stdout and stderr.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use daytona_wire::exec_stream::{STDERR, STDOUT};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::process::Child;

use super::output::FRAME;
use super::running::Running;
use crate::process;

/// The ends of the command's stdout and stderr; `None` after the end.
pub(super) struct Reader {
    pipes: [Option<Pipe>; 2],
    scratch: Vec<u8>,
    /// Which pipe is looked at first.
    turn: usize,
}

type Pipe = Box<dyn AsyncRead + Send + Unpin>;

impl Reader {
    pub(super) fn new(child: &mut Child) -> Self {
        let stdout = child.stdout.take().map(|pipe| Box::new(pipe) as Pipe);
        let stderr = child.stderr.take().map(|pipe| Box::new(pipe) as Pipe);
        Self { pipes: [stdout, stderr], scratch: Vec::new(), turn: 0 }
    }

    pub(super) fn ended(&self) -> bool {
        self.pipes.iter().all(Option::is_none)
    }

    /// Reads once, when there is room. Cancel safe.
    pub(super) async fn read(&mut self, running: &Running) {
        let room = running.room().await;
        if self.scratch.is_empty() {
            self.scratch = vec![0; FRAME];
        }
        let (which, length) = poll_fn(|context| {
            for which in [self.turn, 1 - self.turn] {
                let Some(pipe) = &mut self.pipes[which] else {
                    continue;
                };
                let mut buffer = ReadBuf::new(&mut self.scratch[..room]);
                if let Poll::Ready(result) = Pin::new(pipe).poll_read(context, &mut buffer) {
                    return Poll::Ready((which, result.map_or(0, |()| buffer.filled().len())));
                }
            }
            Poll::Pending
        })
        .await;
        self.turn = 1 - which;
        if length == 0 {
            // An error of a pipe is its end.
            self.pipes[which] = None;
            return;
        }
        let mut state = running.lock();
        state.output.push([STDOUT, STDERR][which], &self.scratch[..length]);
        state.wake();
    }

    pub(super) fn leave(&mut self) {
        for pipe in &mut self.pipes {
            if let Some(pipe) = pipe.take() {
                process::leave(pipe);
            }
        }
    }
}
