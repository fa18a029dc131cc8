//! Where spans and durations go: OTLP over HTTP (`http/protobuf`), as the `OTEL_*` variables say.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use opentelemetry::metrics::{Histogram, Meter, MeterProvider};
use opentelemetry::trace::{SpanId, TraceId, TracerProvider};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{MetricExporter, Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::trace::{IdGenerator, SdkTracer, SdkTracerProvider};
use tokio::runtime::{Builder, Handle, Runtime};

use crate::background::PerProcess;
use crate::config::Source;
use crate::proxies::Proxies;
use crate::transport::whole;

/// What a collector may take to answer.
const SEND_LIMIT: Duration = Duration::from_secs(10);
/// Collectors answer with a few words.
const LONGEST_ANSWER: u64 = 1 << 20;
const SCOPE: &str = "daytona-native";

/// Made with the first operation that is observed, and shared by all clients of the process.
static EXPORT: PerProcess<Option<Export>> = PerProcess::new();

/// Batches in threads of its own.
pub(crate) struct Export {
    pub(crate) tracer: SdkTracer,
    traces: SdkTracerProvider,
    meter: Meter,
    metrics: SdkMeterProvider,
    histograms: Mutex<HashMap<String, Histogram<f64>>>,
}

impl Export {
    /// `None` where it cannot be set up.
    pub(crate) fn get(source: Source) -> Arc<Option<Self>> {
        EXPORT.get_or_make(|| {
            Self::new(source)
                .inspect_err(|error| tracing::warn!(%error, "no OpenTelemetry: the exporter cannot be set up"))
                .ok()
        })
    }

    fn new(source: Source) -> Result<Self, opentelemetry_otlp::ExporterBuildError> {
        let version = env!("CARGO_PKG_VERSION");
        let mut resource = Resource::builder().with_attribute(KeyValue::new("service.version", version));
        if std::env::var_os("OTEL_SERVICE_NAME").is_none() {
            resource = resource.with_service_name(service_name(source));
        }
        let resource = resource.build();
        let sender: Arc<dyn HttpClient> = Arc::new(Sender::default());
        let spans = SpanExporter::builder()
            .with_http()
            .with_shared_http_client(Arc::clone(&sender))
            .with_protocol(Protocol::HttpBinary)
            .build()?;
        let durations = MetricExporter::builder()
            .with_http()
            .with_shared_http_client(sender)
            .with_protocol(Protocol::HttpBinary)
            .build()?;
        let traces = SdkTracerProvider::builder()
            .with_id_generator(RandomIds)
            .with_resource(resource.clone())
            .with_batch_exporter(spans)
            .build();
        let metrics = SdkMeterProvider::builder().with_resource(resource).with_periodic_exporter(durations).build();
        let scope = InstrumentationScope::builder(SCOPE).with_version(version).build();
        Ok(Self {
            tracer: traces.tracer_with_scope(scope.clone()),
            traces,
            meter: metrics.meter_with_scope(scope),
            metrics,
            histograms: Mutex::default(),
        })
    }

    pub(crate) fn record(&self, name: &str, duration: Duration, attributes: &[KeyValue]) {
        let mut histograms = self.histograms.lock().unwrap_or_else(PoisonError::into_inner);
        if !histograms.contains_key(name) {
            let histogram = self
                .meter
                .f64_histogram(format!("{name}_duration"))
                .with_description(format!("Duration of executions for {name}"))
                .with_unit("ms")
                .build();
            histograms.insert(name.to_owned(), histogram);
        }
        histograms[name].record(duration.as_secs_f64() * 1000.0, attributes);
    }
}

/// Sends what has been gathered so far, for at most `limit`; true if all of it went out. Blocks: to be called when a
/// process ends, on no thread that a runtime needs. Does nothing where nothing was observed.
pub fn flush(limit: Duration) -> bool {
    let Some(export) = EXPORT.get() else { return true };
    let (done, wait) = std::sync::mpsc::channel();
    let work = move || {
        let sent = export.as_ref().as_ref().is_none_or(|export| {
            let (traces, metrics) = (export.traces.force_flush(), export.metrics.force_flush());
            traces.is_ok() && metrics.is_ok()
        });
        let _ = done.send(sent);
    };
    let thread = std::thread::Builder::new().name("daytona-telemetry".into()).spawn(work);
    thread.is_ok() && wait.recv_timeout(limit).unwrap_or(false)
}

const fn service_name(source: Source) -> &'static str {
    match source {
        Source::PythonAsync => Source::Python.as_str(),
        other => other.as_str(),
    }
}

/// From the system, so that a forked process does not repeat its parent's.
#[derive(Debug)]
struct RandomIds;

impl IdGenerator for RandomIds {
    fn new_trace_id(&self) -> TraceId {
        TraceId::from_bytes(random())
    }

    fn new_span_id(&self) -> SpanId {
        SpanId::from_bytes(random())
    }
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    // All zeros, which this leaves if it fails, is the id that is not valid.
    let _ = getrandom::fill(&mut bytes);
    bytes
}

/// Sends batches from the threads that make them, each of which waits for its answer.
#[derive(Default)]
struct Sender(Mutex<Option<Way>>);

/// How batches go out.
struct Way {
    runtime: Runtime,
    proxies: Proxies,
    direct: reqwest::Client,
    proxied: reqwest::Client,
}

impl Way {
    fn new() -> Result<Self, HttpError> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (direct, proxied) = (client().no_proxy().build()?, client().build()?);
        Ok(Self { runtime, proxies: Proxies::from_system(), direct, proxied })
    }
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sender")
    }
}

impl Sender {
    fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        if Handle::try_current().is_ok() {
            return Err("batches are sent by threads outside of all runtimes".into());
        }
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let way = match &mut *slot {
            Some(made) => made,
            None => slot.insert(Way::new()?),
        };
        let request: reqwest::Request = request.try_into()?;
        let client = if way.proxies.of(request.url()).is_some() { &way.proxied } else { &way.direct };
        way.runtime.block_on(async {
            let answer = client.execute(request).await?;
            let (status, headers) = (answer.status(), answer.headers().clone());
            let mut response = Response::new(whole(answer, LONGEST_ANSWER).await?);
            *response.status_mut() = status;
            *response.headers_mut() = headers;
            Ok(response)
        })
    }
}

fn client() -> reqwest::ClientBuilder {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let limit = std::env::var("OTEL_EXPORTER_OTLP_TIMEOUT").ok().and_then(|millis| millis.parse().ok());
    let limit = limit.map_or(SEND_LIMIT, Duration::from_millis);
    reqwest::Client::builder().timeout(limit).redirect(reqwest::redirect::Policy::none())
}

#[async_trait::async_trait]
impl HttpClient for Sender {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let target = request.uri().clone();
        self.send(request).inspect_err(|error| tracing::debug!(%target, %error, "OpenTelemetry is not sent"))
    }
}
