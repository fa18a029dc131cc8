//! The end of waiting for a command that has a time limit: the server kills it then, but who cannot hear the server
//! would never learn of it.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use daytona_wire::exec_stream::ToServer;
use tokio::time::{Instant, sleep_until};

use super::shared::overdue;
use crate::error::Error;
use crate::output::Pipe;

/// What the news of its end may take after its time limit, and after the last output.
const GRACE: Duration = Duration::from_secs(10);

pub(super) struct Clock {
    limit: Option<Duration>,
    /// When its time is over, or was last put off; `None` before it was sent.
    over: Mutex<Option<Instant>>,
}

impl Clock {
    pub(super) fn new(start: &ToServer) -> Self {
        let limit = match start {
            ToServer::Start { timeout, .. } => timeout.map(Duration::from_secs),
            _ => None,
        };
        Self { limit, over: Mutex::default() }
    }

    fn over(&self) -> MutexGuard<'_, Option<Instant>> {
        self.over.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It is sent, or it has started.
    pub(super) fn begin(&self) {
        self.begin_at(Instant::now());
    }

    fn begin_at(&self, now: Instant) {
        *self.over() = self.limit.and_then(|limit| now.checked_add(limit));
    }

    /// Output comes: what else there is may take that long again.
    pub(super) fn put_off(&self) {
        self.put_off_at(Instant::now());
    }

    fn put_off_at(&self, now: Instant) {
        let mut over = self.over();
        *over = over.map(|over| over.max(now));
    }

    /// When to look again; `None` if it is overdue.
    fn look(&self, now: Instant, is_held_up: bool) -> Option<Instant> {
        let mut over = self.over();
        let due = match *over {
            Some(over) => over + GRACE,
            None => now + GRACE,
        };
        if now < due {
            return Some(due);
        }
        if !is_held_up {
            return None;
        }
        *over = Some(now);
        Some(now + GRACE)
    }

    /// Waits until its time is over and nothing more has come for a while.
    pub(super) async fn overdue(&self, pipe: &Pipe) -> Error {
        if self.limit.is_none() {
            return std::future::pending().await;
        }
        while let Some(due) = self.look(Instant::now(), pipe.holds_up()) {
            sleep_until(due).await;
        }
        let grace = GRACE.as_secs();
        overdue(format!("the time limit of the command is over, and the server has not told its end within {grace} s"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn it_is_overdue_when_nothing_comes_any_more() {
        let start = ToServer::Start { command: "x".into(), cwd: None, envs: None, timeout: Some(2) };
        let clock = Clock::new(&start);
        let now = Instant::now();
        assert!(clock.look(now, false) > Some(now), "it has not begun");
        clock.put_off_at(now);
        clock.begin_at(now);
        assert_eq!(clock.look(now, false), Some(now + 2 * SECOND + GRACE));
        clock.put_off_at(now + SECOND);
        assert_eq!(clock.look(now + SECOND, false), Some(now + 2 * SECOND + GRACE));
        // Output that comes late is waited for, and who takes it slowly too.
        clock.put_off_at(now + 5 * SECOND);
        assert_eq!(clock.look(now + 12 * SECOND, false), Some(now + 5 * SECOND + GRACE));
        assert_eq!(clock.look(now + 600 * SECOND, true), Some(now + 600 * SECOND + GRACE));
        assert_eq!(clock.look(now + 600 * SECOND + GRACE, false), None);
    }
}
