//! What a sandbox uses, now and over time.

use std::collections::BTreeMap;

use daytona_wire::metrics::{MetricPoint, MetricsResponse, NAMES, Sample, SystemMetrics};
use http::Method;
use serde::Deserialize;

use crate::error::{Error, ErrorKind, Result};
use crate::operation::Operation;
use crate::sandbox::Sandbox;
use crate::transport::{Call, seconds};

/// What of `GET /config` matters here.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ServerConfig {
    analytics_api_url: Option<String>,
}

impl Sandbox {
    /// What it uses at present.
    ///
    /// # Errors
    /// As any request to a sandbox: `Conflict`, `NotFound` or `Connection` where it does not run.
    pub async fn metrics_latest(&self, timeout: Option<f64>) -> Result<Sample> {
        let operation = Operation::METRICS_LATEST;
        let work = async {
            let limit = seconds("request_timeout", timeout)?;
            let (transport, url) = self.toolbox(&["system", "metrics"]).await?;
            let now: SystemMetrics = transport.json(Call::get(operation, url).limit(limit)).await?;
            Ok(now.into())
        };
        self.observe(operation, work).await
    }

    /// What it used from `start` to `end`, oldest first. Both are RFC 3339 texts; they default to its creation and to
    /// now.
    ///
    /// # Errors
    /// `BadRequest` for a time that the server refuses.
    pub async fn metrics(&self, start: Option<&str>, end: Option<&str>, timeout: Option<f64>) -> Result<Vec<Sample>> {
        let operation = Operation::METRICS;
        let work = async {
            let end = end.map_or_else(now, str::to_owned);
            let created = self.data().created_at.clone();
            let start = start.map(str::to_owned).or(created).unwrap_or_else(|| end.clone());
            let client = &self.inner.client;
            let config: ServerConfig = client.ask(operation, Method::GET, &["config"], timeout).await?;
            let analytics = config.analytics_api_url.filter(|url| !url.is_empty());
            let points: Vec<MetricPoint> = if let Some(base) = analytics {
                let path = ["organization", &self.data().organization_id, "sandbox", self.id(), "telemetry", "metrics"];
                let mut url = crate::client::join(&base, &path)?;
                url.query_pairs_mut().extend_pairs([
                    ("from", &*start),
                    ("to", &*end),
                    ("metricNames", &NAMES.join(",")),
                ]);
                let limit = seconds("request_timeout", timeout)?;
                client.link().await?.transport.json(Call::get(operation, url).limit(limit)).await?
            } else {
                let link = client.link().await?;
                let mut url = link.url(&["sandbox", self.id(), "telemetry", "metrics"])?;
                url.query_pairs_mut()
                    .extend_pairs([("from", &*start), ("to", &*end)])
                    .extend_pairs(NAMES.map(|name| ("metricNames", name)));
                let limit = seconds("request_timeout", timeout)?;
                let answer: MetricsResponse = link.transport.json(Call::get(operation, url).limit(limit)).await?;
                let points = |series: daytona_wire::metrics::MetricSeries| {
                    let name = series.metric_name;
                    series.data_points.into_iter().map(move |point| MetricPoint {
                        metric_name: name.clone(),
                        timestamp: point.timestamp,
                        value: point.value,
                    })
                };
                answer.series.into_iter().flat_map(points).collect()
            };
            samples(points)
        };
        self.observe(operation, work).await
    }
}

fn now() -> String {
    jiff::Timestamp::now().to_string()
}

/// One sample for each time.
fn samples(points: Vec<MetricPoint>) -> Result<Vec<Sample>> {
    let mut samples: BTreeMap<jiff::Timestamp, Sample> = BTreeMap::new();
    for point in points {
        let time = point.timestamp.parse().map_err(|error| {
            Error::new(ErrorKind::Other, format!("the server answered {:?} as a time: {error}", point.timestamp))
        })?;
        let new = || Sample { timestamp: point.timestamp.clone(), ..Sample::default() };
        if let Some(field) = samples.entry(time).or_insert_with(new).field(&point.metric_name) {
            *field = point.value;
        }
    }
    Ok(samples.into_values().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_one_time_are_one_sample() {
        let point = |name: &str, timestamp: &str, value| MetricPoint {
            metric_name: name.to_owned(),
            timestamp: timestamp.to_owned(),
            value,
        };
        let late = "2026-01-01T00:01:00Z";
        let found = samples(vec![
            point("daytona.sandbox.memory.usage", late, 7.0),
            point("daytona.sandbox.cpu.utilization", "2026-01-01T01:00:00+01:00", 50.0),
            point("daytona.sandbox.memory.usage", "2026-01-01T00:00:00Z", 5.0),
            point("something.else", late, 1.0),
        ]);
        let found = found.unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].cpu_used_pct, found[0].mem_used), (50.0, 5.0));
        assert_eq!((found[1].mem_used, found[1].timestamp.as_str()), (7.0, late));
        assert!(samples(vec![point("daytona.sandbox.cpu.limit", "noon", 1.0)]).is_err());
    }
}
