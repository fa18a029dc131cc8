//! What sandboxes use, now and over time.

use serde::{Deserialize, Serialize};

/// The metrics of `get_metrics`, in the order of [`Sample`]'s fields.
pub const NAMES: [&str; 7] = [
    "daytona.sandbox.cpu.limit",
    "daytona.sandbox.cpu.utilization",
    "daytona.sandbox.filesystem.total",
    "daytona.sandbox.filesystem.usage",
    "daytona.sandbox.memory.limit",
    "daytona.sandbox.memory.usage",
    "daytona.sandbox.memory.cache",
];

/// `GET {toolbox}/system/metrics`; sizes in bytes.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SystemMetrics {
    /// Cores.
    pub cpu_count: u64,
    /// Percent of these.
    pub cpu_used_pct: f64,
    /// Room that is left.
    pub disk_free: u64,
    /// All room.
    pub disk_total: u64,
    /// Room that is taken.
    pub disk_used: u64,
    /// Of the memory used, what holds files.
    pub mem_cache: u64,
    /// All memory.
    pub mem_total: u64,
    /// Memory used.
    pub mem_used: u64,
    /// RFC 3339.
    pub timestamp: String,
    /// The same in seconds since 1970.
    pub timestamp_unix: i64,
}

/// One sample of all metrics.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Sample {
    /// Cores.
    pub cpu_count: f64,
    /// Percent of these.
    pub cpu_used_pct: f64,
    /// Bytes.
    pub disk_total: f64,
    /// Bytes.
    pub disk_used: f64,
    /// Bytes.
    pub mem_total: f64,
    /// Bytes.
    pub mem_used: f64,
    /// Bytes.
    pub mem_cache: f64,
    /// RFC 3339.
    pub timestamp: String,
}

impl Sample {
    /// The field of a metric of [`NAMES`].
    pub fn field(&mut self, metric: &str) -> Option<&mut f64> {
        let index = NAMES.iter().position(|name| *name == metric)?;
        let fields = [
            &mut self.cpu_count,
            &mut self.cpu_used_pct,
            &mut self.disk_total,
            &mut self.disk_used,
            &mut self.mem_total,
            &mut self.mem_used,
            &mut self.mem_cache,
        ];
        fields.into_iter().nth(index)
    }
}

impl From<SystemMetrics> for Sample {
    #[expect(clippy::cast_precision_loss, reason = "sizes of machines are exact")]
    fn from(now: SystemMetrics) -> Self {
        Self {
            cpu_count: now.cpu_count as f64,
            cpu_used_pct: now.cpu_used_pct,
            disk_total: now.disk_total as f64,
            disk_used: now.disk_used as f64,
            mem_total: now.mem_total as f64,
            mem_used: now.mem_used as f64,
            mem_cache: now.mem_cache as f64,
            timestamp: now.timestamp,
        }
    }
}

/// `GET /sandbox/{id}/telemetry/metrics`
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct MetricsResponse {
    /// One for each metric.
    pub series: Vec<MetricSeries>,
}

/// One metric over time.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MetricSeries {
    /// Its name.
    pub metric_name: String,
    /// Oldest first.
    pub data_points: Vec<MetricDataPoint>,
}

/// One value.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct MetricDataPoint {
    /// RFC 3339.
    pub timestamp: String,
    /// At that time.
    pub value: f64,
}

/// One value as the analytics API answers it.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MetricPoint {
    /// Its metric.
    pub metric_name: String,
    /// RFC 3339.
    pub timestamp: String,
    /// At that time.
    pub value: f64,
}
