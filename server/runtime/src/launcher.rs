//! The launcher: a single-threaded child of the server that forks the sandboxes.

use std::io;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, ExitCode};

/// The server's end of a running launcher.
#[derive(Debug)]
pub struct Launcher {
    pub(crate) child: Child,
    pub(crate) socket: UnixStream,
}

/// Starts `exe launcher` with an empty environment.
///
/// Call it first thing: before threads are made and before anything secret is read. `exe` has to
/// call [`launcher_main`] when its only argument is `launcher`.
pub fn spawn_launcher(exe: &Path) -> io::Result<Launcher> {
    let (socket, theirs) = UnixStream::pair()?;
    let child = std::process::Command::new(exe)
        .arg("launcher")
        .env_clear()
        .stdin(std::os::fd::OwnedFd::from(theirs))
        .spawn()?;
    Ok(Launcher { child, socket })
}

/// The launcher's role of the binary (`daytona-native launcher`).
pub fn launcher_main() -> ExitCode {
    ExitCode::FAILURE
}
