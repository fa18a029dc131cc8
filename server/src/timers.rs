//! Auto-stop, auto-pause, auto-archive, auto-delete and time to live: one task for all sandboxes.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::App;
use crate::record::Timer;
use crate::sandbox::Sandbox;
use crate::time::{MINUTE, Millis, now};

/// The longest time between two looks: the wall clock may jump.
const LONGEST: i64 = 30_000;

/// Runs until it is dropped.
pub(crate) async fn run(app: Arc<App>) {
    loop {
        let wait = look(&app);
        let changed = app.timers.notified();
        tokio::select! {
            () = sleep_until(Instant::now() + wait) => {}
            () = changed => {}
        }
    }
}

/// What a sandbox's timers do next.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    Now(Timer),
    At(Millis),
}

fn next_of(sandbox: &Sandbox, time: Millis) -> Option<Next> {
    let (at, timer) = sandbox.record().next_timer(sandbox.idle_since())?;
    let at = at.max(sandbox.timers_rest_until.load(Ordering::Relaxed));
    Some(if at > time { Next::At(at) } else { Next::Now(timer) })
}

/// What a timer did has failed: it is tried again, but not at once.
fn rest(sandbox: &Sandbox, time: Millis) {
    sandbox.timers_rest_until.store(time + MINUTE, Ordering::Relaxed);
}

/// Does what is due and says when to look again.
fn look(app: &Arc<App>) -> Duration {
    let time = now();
    let mut next = time + LONGEST;
    for sandbox in app.sandboxes.all() {
        let timer = match next_of(&sandbox, time) {
            Some(Next::Now(timer)) => timer,
            Some(Next::At(at)) => {
                next = next.min(at);
                continue;
            }
            None => continue,
        };
        tracing::info!(sandbox = %sandbox.id, ?timer, "a timer is due");
        let app = Arc::clone(app);
        tokio::spawn(async move {
            let result = match timer {
                Timer::Stop => app.stop(&sandbox, false).await,
                Timer::Pause => app.pause(&sandbox).await,
                Timer::Archive => app.archive(&sandbox).await,
                Timer::Destroy => app.destroy(&sandbox).await,
            };
            if let Err(error) = result {
                rest(&sandbox, now());
                tracing::warn!(sandbox = %sandbox.id, error = %error.message, "a timer failed");
            }
        });
    }
    Duration::from_millis(u64::try_from(next - time).unwrap_or(0).max(50))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Record;

    #[test]
    fn a_timer_that_failed_rests_and_is_tried_again() {
        let time = now();
        let record = Record { destroy_at: Some(time - 1), auto_stop: 0, ..Record::sample("a") };
        let sandbox = Sandbox::new(record, crate::events::Events::new());
        assert_eq!(next_of(&sandbox, time), Some(Next::Now(Timer::Destroy)));
        rest(&sandbox, time);
        assert_eq!(next_of(&sandbox, time), Some(Next::At(time + MINUTE)));
        assert_eq!(next_of(&sandbox, time + MINUTE), Some(Next::Now(Timer::Destroy)));
        // One that is due later is no sooner because another has failed.
        sandbox.record().destroy_at = Some(time + 2 * MINUTE);
        assert_eq!(next_of(&sandbox, time), Some(Next::At(time + 2 * MINUTE)));
        sandbox.record().destroy_at = None;
        assert_eq!(next_of(&sandbox, time), None);
    }
}
