//! What sandboxes use: looked at once a minute, kept for a day.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use daytona_runtime::Stats;
use daytona_wire::metrics::{MetricDataPoint, MetricSeries, MetricsResponse, NAMES, Sample, SystemMetrics};

use crate::App;
use crate::error::ApiResult;
use crate::record::Record;
use crate::sandbox::Sandbox;
use crate::time::{MINUTE, Millis, now, rfc3339};

/// A new sandbox is first looked at within this time.
const LOOK: Duration = Duration::from_secs(15);
/// Points of one sandbox: a day.
const KEPT: usize = 1440;
/// How long the size of a sandbox's files is taken to be the same: to add them up takes a while.
const DISK_LIFE: Millis = 5 * MINUTE;
const GIB: f64 = 1_073_741_824.0;

/// The points of all sandboxes.
#[derive(Default)]
pub(crate) struct Metrics(Mutex<HashMap<String, History>>);

#[derive(Default)]
struct History {
    points: VecDeque<Point>,
    /// CPU time used so far, and when that was.
    cpu: Option<(Duration, Millis)>,
    /// Bytes on disk, and when they were counted.
    disk: Option<(u64, Millis)>,
}

/// One look.
#[derive(Clone, Copy)]
struct Point {
    at: Millis,
    cpu_limit: f64,
    cpu_percent: f64,
    memory_limit: f64,
    memory: f64,
    cache: f64,
    disk_limit: f64,
    disk: f64,
}

impl Point {
    fn sample(self) -> Sample {
        Sample {
            cpu_count: self.cpu_limit,
            cpu_used_pct: self.cpu_percent,
            disk_total: self.disk_limit,
            disk_used: self.disk,
            mem_total: self.memory_limit,
            mem_used: self.memory,
            mem_cache: self.cache,
            timestamp: rfc3339(self.at),
        }
    }
}

impl History {
    #[expect(clippy::cast_precision_loss, reason = "sizes of machines are exact")]
    fn take(&mut self, stats: Stats, record: &Record, at: Millis) -> Point {
        let spent = self.cpu.filter(|(cpu, since)| *since < at && *cpu <= stats.cpu);
        let cpu_percent = spent.map_or(0.0, |(cpu, since)| {
            let share = stats.cpu.saturating_sub(cpu).as_secs_f64() * 1000.0 / (at - since) as f64;
            // More than the limit is an error of measurement.
            (share / record.cpu.max(0.01) * 100.0).clamp(0.0, 100.0)
        });
        self.cpu = Some((stats.cpu, at));
        let point = Point {
            at,
            cpu_limit: record.cpu,
            cpu_percent,
            memory_limit: record.memory * GIB,
            memory: stats.memory_bytes as f64,
            cache: stats.cache_bytes as f64,
            disk_limit: record.disk * GIB,
            disk: self.disk.map_or(0.0, |(bytes, _)| bytes as f64),
        };
        if self.points.len() == KEPT {
            self.points.pop_front();
        }
        self.points.push_back(point);
        point
    }
}

impl Metrics {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, History>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When a sandbox was looked at last.
    fn last(&self, id: &str) -> Option<Millis> {
        self.lock().get(id)?.points.back().map(|point| point.at)
    }

    /// The points of a sandbox in a window, as the API has them.
    pub(crate) fn history(&self, id: &str, from: Millis, to: Millis, names: &[String]) -> MetricsResponse {
        let histories = self.lock();
        let points = histories.get(id).into_iter().flat_map(|history| &history.points);
        let samples: Vec<Sample> =
            points.filter(|point| (from..=to).contains(&point.at)).map(|point| point.sample()).collect();
        let wanted = NAMES.iter().filter(|name| names.is_empty() || names.iter().any(|one| one == *name));
        let series = wanted.map(|name| MetricSeries {
            metric_name: (*name).to_owned(),
            data_points: samples
                .iter()
                .cloned()
                .filter_map(|mut sample| {
                    let value = *sample.field(name)?;
                    Some(MetricDataPoint { timestamp: sample.timestamp, value })
                })
                .collect(),
        });
        MetricsResponse { series: series.collect() }
    }
}

impl App {
    /// Looks at a running sandbox.
    async fn look(&self, sandbox: &Sandbox) -> ApiResult<Point> {
        let at = now();
        let counted = self.metrics.lock().get(&sandbox.id).and_then(|history| history.disk);
        let count = counted.is_none_or(|(_, since)| at - since > DISK_LIFE);
        let stats = self.runtime.usage(&sandbox.id, count).await?;
        let record = sandbox.snapshot();
        let mut histories = self.metrics.lock();
        let history = histories.entry(sandbox.id.clone()).or_default();
        if count {
            history.disk = Some((stats.disk_bytes, at));
        }
        Ok(history.take(stats, &record, at))
    }

    /// What a running sandbox uses at present; the CPU since the last look.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "sizes are positive and exact")]
    pub(crate) async fn usage_now(&self, sandbox: &Sandbox) -> ApiResult<SystemMetrics> {
        if self.metrics.last(&sandbox.id).is_none() {
            // A share needs two looks.
            self.look(sandbox).await?;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let point = self.look(sandbox).await?;
        let free = (point.disk_limit - point.disk).max(0.0);
        Ok(SystemMetrics {
            cpu_count: point.cpu_limit.ceil() as u64,
            cpu_used_pct: point.cpu_percent,
            disk_free: free as u64,
            disk_total: point.disk_limit as u64,
            disk_used: point.disk as u64,
            mem_cache: point.cache as u64,
            mem_total: point.memory_limit as u64,
            mem_used: point.memory as u64,
            timestamp: rfc3339(point.at),
            timestamp_unix: point.at / 1000,
        })
    }
}

/// Looks at all running sandboxes, for ever.
pub(crate) async fn run(app: Arc<App>) {
    loop {
        let sandboxes = app.sandboxes.all();
        for sandbox in sandboxes.iter().filter(|sandbox| sandbox.live().is_some()) {
            if app.metrics.last(&sandbox.id).is_none_or(|at| now() - at >= MINUTE - 1000)
                && let Err(error) = app.look(sandbox).await
            {
                tracing::debug!(sandbox = %sandbox.id, error = error.message, "not measured");
            }
        }
        // To look takes a while: there may be new ones, which have been looked at.
        let sandboxes = app.sandboxes.all();
        app.metrics.lock().retain(|id, _| sandboxes.iter().any(|sandbox| sandbox.id == *id));
        tokio::time::sleep(LOOK).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stats(cpu_ms: u64) -> Stats {
        Stats { cpu: Duration::from_millis(cpu_ms), memory_bytes: 7, ..Stats::default() }
    }

    #[test]
    fn the_cpus_share_is_that_since_the_last_look() {
        let mut record = Record::sample("a");
        record.cpu = 2.0;
        let mut history = History::default();
        let close = |point: Point, wanted: f64| (point.cpu_percent - wanted).abs() < 1e-9;
        assert!(close(history.take(stats(500), &record, 1000), 0.0));
        assert!(close(history.take(stats(1500), &record, 2000), 50.0));
        // It was started again meanwhile.
        assert!(close(history.take(stats(10), &record, 3000), 0.0));
        for at in 0..2000 {
            history.take(stats(10), &record, 4000 + at);
        }
        assert_eq!(history.points.len(), KEPT);
    }

    #[test]
    fn a_window_of_the_history_is_shown() {
        let metrics = Metrics::default();
        let record = Record::sample("a");
        for at in [1000, 2000, 3000] {
            metrics.lock().entry("a".to_owned()).or_default().take(stats(0), &record, at);
        }
        let names = ["daytona.sandbox.memory.usage".to_owned()];
        let found = metrics.history("a", 1500, 3000, &names).series;
        assert_eq!(found.len(), 1);
        let times: Vec<_> = found[0].data_points.iter().map(|point| point.timestamp.as_str()).collect();
        assert_eq!(times, ["1970-01-01T00:00:02.000Z", "1970-01-01T00:00:03.000Z"]);
        assert_eq!(metrics.history("a", 0, 9000, &[]).series.len(), NAMES.len());
        assert!(metrics.history("b", 0, 9000, &names).series[0].data_points.is_empty());
    }
}
