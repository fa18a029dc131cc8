//! The user's terminal in raw mode, and back.

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::Mutex;

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

/// The mode to go back to while the terminal is raw.
static COOKED: Mutex<Option<Termios>> = Mutex::new(None);

/// Leaves the alternate screen, shows the cursor, and ends mouse reports, bracketed paste and colours: what a
/// program that goes on elsewhere has switched on here.
const RESET: &[u8] = b"\x1b[?1047l\x1b[?25h\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l\x1b[?2004l\x1b[0m";

/// Raw mode while it lives, also past a panic.
pub(crate) struct Raw(());

impl Raw {
    pub(crate) fn enter() -> io::Result<Self> {
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            restore();
            hook(info);
        }));
        make_raw()?;
        Ok(Self(()))
    }

    /// Stops this process, as Ctrl-Z does with others, and returns when it goes on.
    #[expect(clippy::unused_self, reason = "only where the terminal is raw")]
    pub(crate) fn suspend(&self) -> io::Result<()> {
        restore();
        rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::STOP)?;
        make_raw()
    }
}

fn make_raw() -> io::Result<()> {
    let cooked = tcgetattr(io::stdin())?;
    let mut raw = cooked.clone();
    raw.make_raw();
    *lock() = Some(cooked);
    // Not `Flush`: what was typed ahead is for the shell.
    tcsetattr(io::stdin(), OptionalActions::Now, &raw).inspect_err(|_| restore())?;
    Ok(())
}

impl Drop for Raw {
    fn drop(&mut self) {
        restore();
    }
}

fn lock() -> std::sync::MutexGuard<'static, Option<Termios>> {
    COOKED.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn restore() {
    if let Some(cooked) = lock().take() {
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &cooked);
    }
}

/// Undoes what the programs in the terminal switched on, where they did not end themselves.
pub(crate) fn reset_modes() {
    let mut stdout = io::stdout().lock();
    if stdout.is_terminal() {
        let _ = stdout.write_all(RESET).and_then(|()| stdout.flush());
    }
}

/// Columns and rows, or `None` where the terminal does not say or says what no server takes.
pub(crate) fn size() -> Option<(u16, u16)> {
    let size = tcgetwinsize(io::stdin()).ok()?;
    let most = daytona_core::wire::pty::MAX_SIZE;
    (size.ws_col > 0 && size.ws_row > 0).then(|| (size.ws_col.min(most), size.ws_row.min(most)))
}
