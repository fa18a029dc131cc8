//! Auto-stop, auto-pause, auto-archive, auto-delete and time to live: one task for all sandboxes.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::App;
use crate::record::Timer;
use crate::time::{MINUTE, now};

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

/// Does what is due and says when to look again.
fn look(app: &Arc<App>) -> Duration {
    let time = now();
    let mut next = time + LONGEST;
    for sandbox in app.sandboxes.all() {
        let Some((at, timer)) = sandbox.record().next_timer(sandbox.idle_since()) else {
            continue;
        };
        let at = at.max(sandbox.timers_rest_until.load(Ordering::Relaxed));
        if at > time {
            next = next.min(at);
            continue;
        }
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
                sandbox.timers_rest_until.store(now() + MINUTE, Ordering::Relaxed);
                tracing::warn!(sandbox = %sandbox.id, error = %error.message, "a timer failed");
            }
        });
    }
    Duration::from_millis(u64::try_from(next - time).unwrap_or(0).max(50))
}
