//! The agent's process: as the first process of its container sees it, and how it begins.

use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitOptions, kill_process, kill_process_group};
use tokio::time::Instant;

use super::hide;
use crate::AgentConfig;

/// The role of the process that serves.
pub(super) const SERVE: &str = "serve";
/// Between two starts of the agent: whoever kills it in a loop is to get little of the machine.
const PAUSE: Duration = Duration::from_millis(100);
/// Longer messages are a fault.
const LIMIT: usize = 16 << 20;

/// This process is linked statically: it looks up no names itself, as that would load the image's libraries.
static IN_CONTAINER: AtomicBool = AtomicBool::new(false);

/// Whether this is the agent of a container.
pub(crate) fn in_container() -> bool {
    IN_CONTAINER.load(Ordering::Relaxed)
}

/// The agent itself: its socket is the standard input, its line to the first process the standard output. Down that
/// comes its configuration first, as a length (4 bytes, little endian) and JSON.
pub(super) fn serve() -> io::Result<ExitCode> {
    IN_CONTAINER.store(true, Ordering::Relaxed);
    rustix::process::setsid()?;
    hide()?;
    let listener = io::stdin().as_fd().try_clone_to_owned()?;
    let mut line = UnixStream::from(io::stdout().as_fd().try_clone_to_owned()?);
    let mut length = [0; 4];
    line.read_exact(&mut length)?;
    let mut config = vec![0; u32::from_le_bytes(length) as usize];
    line.read_exact(&mut config)?;
    let config: AgentConfig = serde_json::from_slice(&config)?;
    let null = std::fs::File::options().read(true).write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    Ok(crate::run_on_line(config, UnixListener::from(listener), line))
}

/// How the agent has ended.
pub(super) enum Ended {
    /// By itself: it cannot serve.
    Exited(u8),
    /// By a signal; it is started again.
    Killed,
}

/// The agent's process, and what another one needs.
pub(super) struct Agent {
    config: AgentConfig,
    listener: OwnedFd,
    pid: Option<Pid>,
    started: Instant,
    /// See [`crate::line`]; while anything comes from it.
    line: Option<tokio::net::UnixStream>,
    /// What came from it and is no whole message yet.
    received: Vec<u8>,
}

impl Agent {
    pub(super) fn start(config: AgentConfig, listener: OwnedFd) -> io::Result<Self> {
        let (pid, line) = spawn(&config, &listener)?;
        let started = Instant::now();
        Ok(Self { config, listener, pid: Some(pid), started, line: Some(line), received: Vec::new() })
    }

    /// Its process, while there is one.
    pub(super) fn pid(&self) -> Option<Pid> {
        self.pid
    }

    pub(super) fn tell(&self, word: u8) {
        if let Some(line) = &self.line {
            let _ = line.try_write(&[word]);
        }
    }

    /// Reaps all that has ended; how the agent did, if it is among them.
    pub(super) fn reap(&mut self) -> Option<Ended> {
        let mut ended = None;
        while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG | WaitOptions::UNTRACED) {
            if status.stopped() {
                // By a signal for what it runs, from which it has to be woken.
                if Some(pid) == self.pid {
                    let _ = kill_process(pid, Signal::CONT);
                }
            } else if Some(pid) == self.pid {
                self.pid = None;
                ended = Some(match status.exit_status() {
                    Some(code) => Ended::Exited(u8::try_from(code).unwrap_or(255)),
                    None => Ended::Killed,
                });
            }
        }
        ended
    }

    /// What ran under an agent that was killed has nobody who reads its output any more, and nobody who could tell of
    /// it or end it, so it ends too.
    pub(super) fn end_what_it_ran(&mut self) {
        let _ = kill_process_group(Pid::INIT, Signal::KILL);
        self.receive();
        self.received.clear();
        self.config.entrypoint = None;
    }

    /// Resolves when the agent is to be started again. Cancel safe.
    async fn is_due(&self) {
        match self.pid {
            Some(_) => std::future::pending().await,
            None => tokio::time::sleep_until(self.started + PAUSE).await,
        }
    }

    /// Starts the agent again, on the same socket, once it was killed; takes what it says meanwhile. Cancel safe.
    pub(super) async fn keep(&mut self) {
        let said = async {
            match &self.line {
                Some(line) => drop(line.readable().await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = said => self.receive(),
            () = self.is_due() => {
                self.started = Instant::now();
                match spawn(&self.config, &self.listener) {
                    Ok((pid, line)) => (self.pid, self.line) = (Some(pid), Some(line)),
                    // Once more, then.
                    Err(error) => eprintln!("daytona-agent: cannot be started again: {error}"),
                }
            }
        }
    }

    /// Takes the variables of commands, for the next agent.
    fn receive(&mut self) {
        let mut piece = [0; 4096];
        while let Some(line) = &self.line {
            match line.try_read(&mut piece) {
                Ok(read @ 1..) => self.received.extend_from_slice(&piece[..read]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Ok(_) | Err(_) => self.line = None,
            }
        }
        while let Some((length, rest)) = self.received.split_first_chunk::<4>() {
            let length = u32::from_le_bytes(*length) as usize;
            if length > LIMIT {
                self.line = None;
                return;
            }
            let Some(text) = rest.get(..length) else { return };
            if let Ok(env) = serde_json::from_slice(text) {
                self.config.env = env;
            }
            self.received.drain(..4 + length);
        }
    }
}

fn spawn(config: &AgentConfig, listener: &OwnedFd) -> io::Result<(Pid, tokio::net::UnixStream)> {
    let (mut ours, theirs) = UnixStream::pair()?;
    // It may be gone by now.
    let folder = if config.work_dir.is_dir() { &config.work_dir } else { Path::new("/") };
    // Never waited for here: whatever ends is reaped by this process as a whole.
    let agent = Command::new("/proc/self/exe")
        .arg(SERVE)
        .stdin(Stdio::from(listener.try_clone()?))
        .stdout(Stdio::from(OwnedFd::from(theirs)))
        .current_dir(folder)
        .spawn()?;
    let text = serde_json::to_vec(config)?;
    let length = u32::try_from(text.len()).map_err(|_| io::ErrorKind::InvalidData)?.to_le_bytes();
    ours.write_all(&[&length[..], &text].concat())?;
    ours.set_nonblocking(true)?;
    Ok((Pid::from_child(&agent), tokio::net::UnixStream::from_std(ours)?))
}
