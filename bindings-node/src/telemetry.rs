//! OpenTelemetry: the program's own span, and the end of the program.

use std::time::Duration;

use daytona_core::{Error, telemetry};
use napi_derive::napi;
use tokio::task::spawn_blocking;

use crate::completion::Outcome;
use crate::daytona::NativeClient;

/// How long the end of a program waits for what is still to be sent.
const END_LIMIT: Duration = Duration::from_secs(2);

/// Runs a call as a child of the program's own span, which is named as in the header `traceparent`.
pub(crate) async fn within<F: Future>(parent: String, call: F) -> F::Output {
    telemetry::with_parent(&parent, call).await
}

/// Sends what is left. Blocks, for the end of a process.
#[napi]
pub fn flush_telemetry() {
    telemetry::flush(END_LIMIT);
}

#[napi]
impl NativeClient {
    /// Whether its calls are shown to OpenTelemetry.
    #[napi]
    pub fn is_observed(&self) -> bool {
        self.daytona.settings().otel_enabled
    }

    /// Sends what there is by now.
    #[napi]
    pub fn flush(&self, id: u32) {
        self.calls.spawn(id, async {
            let sent = spawn_blocking(|| telemetry::flush(END_LIMIT)).await;
            sent.map(|_| Outcome::Unit).map_err(|error| Error::caller(error.to_string()))
        });
    }
}
