//! What the sandbox uses of the machine.

use std::collections::HashMap;
use std::fs;

use axum::extract::State;
use serde::Serialize;

use crate::App;
use crate::error::{Error, Result};

/// The answer of `GET /system/metrics`; sizes in bytes.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Metrics {
    cpu_count: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    mem_total: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mem_used: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mem_cache: Option<u64>,
    disk_total: u64,
    disk_used: u64,
    disk_free: u64,
    timestamp: String,
    timestamp_unix: i64,
}

/// `GET /system/metrics`
///
/// What the sandbox sees: its own file system, and the machine's memory. The share of the CPU is
/// left out, as it would need a sampler that runs all the time.
pub(crate) async fn metrics(State(app): State<App>) -> Result<axum::Json<Metrics>> {
    let now = jiff::Timestamp::now();
    let disk = rustix::fs::statvfs(&app.config.work_dir)
        .map_err(|error| Error::io(&error.into(), "look at", &app.config.work_dir))?;
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let memory: HashMap<&str, u64> = memory
        .lines()
        .filter_map(|line| {
            let (name, rest) = line.split_once(':')?;
            let kib: u64 = rest.split_whitespace().next()?.parse().ok()?;
            Some((name, kib << 10))
        })
        .collect();
    let total = memory.get("MemTotal").copied();
    let available = memory.get("MemAvailable").copied();
    Ok(axum::Json(Metrics {
        cpu_count: std::thread::available_parallelism().map_or(1, usize::from),
        mem_total: total,
        mem_used: total.zip(available).map(|(t, a)| t.saturating_sub(a)),
        mem_cache: memory.get("Cached").copied(),
        disk_total: disk.f_blocks * disk.f_frsize,
        disk_used: (disk.f_blocks - disk.f_bfree) * disk.f_frsize,
        disk_free: disk.f_bavail * disk.f_frsize,
        timestamp: now.to_string(),
        timestamp_unix: now.as_second(),
    }))
}
