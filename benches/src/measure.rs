//! Time, CPU and memory of this process.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;

/// What one operation took, each time on average.
#[derive(Serialize)]
pub(crate) struct Taken {
    pub(crate) op: String,
    pub(crate) count: usize,
    pub(crate) reps: usize,
    /// Seconds.
    pub(crate) wall: f64,
    /// CPU seconds, user and system, all threads.
    pub(crate) cpu: f64,
    /// Median seconds.
    pub(crate) p50: f64,
    /// Resident before, and the most while it ran; KiB.
    pub(crate) base_kib: u64,
    pub(crate) peak_kib: u64,
}

/// CPU time of all threads of this process.
pub(crate) fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

/// A line of `/proc/self/status`, in KiB; 0 where there is no such file.
pub(crate) fn status_kib(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or_default()
}

/// Lets the kernel count the peak anew.
pub(crate) fn reset_peak() {
    // Not supported everywhere; the peak is then one of the whole process.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

/// Durations of one operation, and what it cost in all.
pub(crate) struct Watch {
    begin: Instant,
    cpu: Duration,
    base_kib: u64,
    each: Vec<f64>,
}

impl Watch {
    pub(crate) fn start() -> Self {
        reset_peak();
        Self { base_kib: status_kib("VmRSS"), each: Vec::new(), begin: Instant::now(), cpu: cpu() }
    }

    pub(crate) fn note(&mut self, since: Instant) {
        self.each.push(since.elapsed().as_secs_f64());
    }

    pub(crate) fn goes_on(&self, reps: usize, seconds: f64) -> bool {
        self.each.len() < reps || self.begin.elapsed().as_secs_f64() < seconds
    }

    #[expect(clippy::cast_precision_loss, reason = "far below 2^52 repetitions")]
    pub(crate) fn stop(self, op: &str, count: usize) -> Taken {
        let cpu = cpu().saturating_sub(self.cpu);
        let wall = self.begin.elapsed();
        let reps = self.each.len();
        Taken {
            op: op.to_owned(),
            count,
            reps,
            wall: wall.as_secs_f64() / reps as f64,
            cpu: cpu.as_secs_f64() / reps as f64,
            p50: median(self.each),
            base_kib: self.base_kib,
            peak_kib: status_kib("VmHWM"),
        }
    }
}

/// The middle value; NaN of none.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
