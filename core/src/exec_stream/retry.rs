//! How long, and how often, a connection that was lost is made again.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use daytona_wire::exec_stream::GRACE_SECONDS;
use tokio::time::Instant;

/// The server has killed the command by then.
const GRACE: Duration = Duration::from_secs(GRACE_SECONDS);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LAST_PAUSE: Duration = Duration::from_secs(2);
/// A connection that stood for so long was a steady one.
const STEADY: Duration = Duration::from_secs(10);

pub(super) struct Retry {
    /// When the last good connection was lost.
    lost: Option<Instant>,
    pauses: ExponentialBackoff,
}

/// What came of a connection.
pub(super) struct Stood {
    pub(super) lasted: Duration,
    /// Bytes came or went over it that had not before.
    pub(super) has_moved: bool,
    /// A ping was answered over it.
    pub(super) is_proven: bool,
}

impl Retry {
    pub(super) fn new() -> Self {
        Self { lost: None, pauses: pauses() }
    }

    /// One was lost before.
    pub(super) fn is_again(&self) -> bool {
        self.lost.is_some()
    }

    /// Counts anew after a good connection. That a server greets is not enough: a network may carry no more than that.
    pub(super) fn after(&mut self, stood: &Stood) {
        if stood.has_moved || stood.is_proven {
            self.lost = None;
            if stood.has_moved || stood.lasted > STEADY {
                self.pauses = pauses();
            }
        }
    }

    /// How long to wait before the next attempt; `None` if that is too late, or takes more than `patience` in all.
    pub(super) fn pause(&mut self, now: Instant, patience: Duration) -> Option<Duration> {
        let since = *self.lost.get_or_insert(now);
        let elapsed = now.duration_since(since);
        let pause = self.pauses.next().unwrap_or(LAST_PAUSE);
        (elapsed <= patience && elapsed + pause <= GRACE).then_some(pause)
    }
}

fn pauses() -> ExponentialBackoff {
    let pauses = ExponentialBuilder::default().with_min_delay(FIRST_PAUSE).with_max_delay(LAST_PAUSE);
    pauses.without_max_times().with_jitter().build()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stood(seconds: u64, has_moved: bool, is_proven: bool) -> Stood {
        Stood { lasted: Duration::from_secs(seconds), has_moved, is_proven }
    }

    #[test]
    fn greetings_alone_are_no_progress() {
        let begun = Instant::now();
        let mut now = begun;
        let mut retry = Retry::new();
        let mut attempts = 0;
        while let Some(pause) = retry.pause(now, GRACE) {
            // A network that stalls after the handshake is noticed after ten seconds.
            now += pause + Duration::from_secs(10);
            retry.after(&stood(10, false, false));
            attempts += 1;
        }
        assert!(now - begun < GRACE + Duration::from_secs(20), "{:?}", now - begun);
        assert!(attempts >= 4, "{attempts}");
    }

    #[test]
    fn a_quiet_command_outlives_any_number_of_good_connections() {
        for (has_moved, is_proven) in [(true, false), (false, true)] {
            let mut now = Instant::now();
            let mut retry = Retry::new();
            for _ in 0..1000 {
                let pause = retry.pause(now, GRACE).expect("it is in reach");
                assert!(pause < Duration::from_secs(1), "{pause:?}");
                now += pause + Duration::from_secs(30);
                retry.after(&stood(30, has_moved, is_proven));
            }
        }
    }

    #[test]
    fn connections_that_break_at_once_are_made_less_and_less_often() {
        let mut retry = Retry::new();
        let mut last = Duration::ZERO;
        for _ in 0..20 {
            last = retry.pause(Instant::now(), GRACE).unwrap();
            retry.after(&stood(0, false, true));
        }
        assert!(last >= LAST_PAUSE, "{last:?}");
    }

    #[test]
    fn one_that_is_given_up_is_tried_for_less_long() {
        let (now, patience) = (Instant::now(), Duration::from_secs(10));
        let mut retry = Retry::new();
        assert!(retry.pause(now, patience).is_some());
        assert!(retry.pause(now + Duration::from_secs(11), patience).is_none());
    }
}
