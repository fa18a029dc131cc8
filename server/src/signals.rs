//! Signals: which end the server in order, and which would end it without a line if nobody took them.

use std::io;

use rustix::process::Signal;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

/// A terminal that closes, Ctrl-C, Ctrl-\, an operator, a limit of CPU time, a failing power supply.
const ENDING: &[(&str, Signal)] = &[
    ("SIGHUP", Signal::HUP),
    ("SIGINT", Signal::INT),
    ("SIGQUIT", Signal::QUIT),
    ("SIGTERM", Signal::TERM),
    ("SIGXCPU", Signal::XCPU),
    #[cfg(target_os = "linux")]
    ("SIGPWR", Signal::POWER),
];

/// What other programs reopen their logs for, or wake up by.
const NOTED: &[(&str, Signal)] = &[
    ("SIGUSR1", Signal::USR1),
    ("SIGUSR2", Signal::USR2),
    ("SIGALRM", Signal::ALARM),
    ("SIGVTALRM", Signal::VTALARM),
    ("SIGPROF", Signal::PROF),
    ("SIGIO", Signal::IO),
    ("SIGXFSZ", Signal::XFSZ),
    #[cfg(target_os = "linux")]
    ("SIGSTKFLT", Signal::STKFLT),
];

/// Real-time signals, as Linux numbers those that programs may use.
const REAL_TIME: std::ops::RangeInclusive<i32> = 34..=64;

/// The signals of this process, taken from now on.
pub(crate) struct Signals(mpsc::Receiver<()>);

impl Signals {
    /// Has to be called inside a tokio runtime.
    pub(crate) fn take() -> io::Result<Self> {
        let (tell, told) = mpsc::channel(1);
        for &(name, kind) in ENDING {
            // Who starts it with `nohup` wants it to outlive the terminal.
            if kind == Signal::HUP && ignored(kind) {
                continue;
            }
            let mut stream = signal(SignalKind::from_raw(kind.as_raw()))?;
            let tell = tell.clone();
            tokio::spawn(async move {
                while stream.recv().await.is_some() {
                    tracing::info!("{name}");
                    let _ = tell.try_send(());
                }
            });
        }
        for &(name, kind) in NOTED {
            note(name.to_owned(), kind.as_raw())?;
        }
        for number in REAL_TIME {
            // The last one cannot be taken everywhere.
            let _ = note(format!("signal {number}"), number);
        }
        Ok(Self(told))
    }

    /// Resolves when the server has to end.
    pub(crate) async fn end(&mut self) {
        // The senders live as long as the process.
        let _ = self.0.recv().await;
    }
}

fn note(name: String, number: i32) -> io::Result<()> {
    let mut stream = signal(SignalKind::from_raw(number))?;
    tokio::spawn(async move {
        while stream.recv().await.is_some() {
            tracing::warn!("{name} changes nothing: the log goes to the standard error, and SIGTERM ends the server");
        }
    });
    Ok(())
}

/// Whether this process was started with a signal ignored.
fn ignored(signal: Signal) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask & (1 << (signal.as_raw() - 1)) != 0)
}
