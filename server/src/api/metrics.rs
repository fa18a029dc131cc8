//! What sandboxes used over time.

use std::sync::Arc;

use axum::extract::State;
use daytona_wire::metrics::MetricsResponse;

use super::extract::{Named, Query};
use crate::App;
use crate::error::{ApiError, ApiResult};
use crate::time;

pub(super) async fn history(
    State(app): State<Arc<App>>,
    Named(sandbox): Named,
    Query(query): Query,
) -> ApiResult<axum::Json<MetricsResponse>> {
    let when = |wanted: &str| {
        let text = query.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str());
        let text = text.ok_or_else(|| ApiError::invalid(format!("{wanted} must be given, as an RFC 3339 time")))?;
        time::parse(text).ok_or_else(|| ApiError::invalid(format!("{wanted} must be an RFC 3339 time, not {text:?}")))
    };
    let (from, to) = (when("from")?, when("to")?);
    let names: Vec<String> = query
        .iter()
        .filter(|(name, _)| name.trim_end_matches("[]") == "metricNames")
        .flat_map(|(_, value)| value.split(','))
        .map(str::to_owned)
        .collect();
    Ok(axum::Json(app.metrics.history(&sandbox.id, from, to, &names)))
}
