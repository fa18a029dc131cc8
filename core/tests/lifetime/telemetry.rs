//! What a collector and the server get to see of a program, with OpenTelemetry on and off.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use daytona_core::{Config, Daytona, ErrorKind, ExecOptions, telemetry};
use futures_util::FutureExt;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use opentelemetry_proto::tonic::metrics::v1::{Metric, metric::Data};
use opentelemetry_proto::tonic::trace::v1::{Span, span::SpanKind, status::StatusCode};
use prost::Message;

use crate::fake::{Events, Fake};

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// The program under observation, in a process of its own with the environment of the test that starts it.
#[tokio::test]
#[ignore = "the other tests run it"]
async fn program() {
    let client = Daytona::new(&Config::default()).unwrap();
    let sandbox = client.get("s1", None).await.unwrap();
    sandbox.process().exec("secret command", ExecOptions::default()).await.unwrap();
    let error = client.get("missing", None).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let process = sandbox.process();
    telemetry::with_parent(PARENT, process.exec("true", ExecOptions::default())).await.unwrap();
    assert!(sandbox.refresh_data(None).now_or_never().is_none(), "it is cancelled");
    let sent = tokio::task::spawn_blocking(|| telemetry::flush(Duration::from_secs(10))).await.unwrap();
    assert!(sent);
}

#[derive(Default)]
struct Collected {
    requests: usize,
    spans: Vec<Span>,
    metrics: Vec<Metric>,
    resource: Vec<KeyValue>,
    keys: Vec<String>,
}

type Collector = Arc<Mutex<Collected>>;

async fn collect(State(collector): State<Collector>, uri: Uri, headers: HeaderMap, body: Bytes) {
    let mut collected = collector.lock().unwrap();
    collected.requests += 1;
    assert_eq!(headers["content-type"], "application/x-protobuf");
    collected.keys.push(headers["x-collector-key"].to_str().unwrap().to_owned());
    if uri.path() == "/base/v1/traces" {
        for resource in ExportTraceServiceRequest::decode(body).unwrap().resource_spans {
            collected.resource = resource.resource.unwrap().attributes;
            collected.spans.extend(resource.scope_spans.into_iter().flat_map(|scope| scope.spans));
        }
    } else {
        assert_eq!(uri.path(), "/base/v1/metrics");
        for resource in ExportMetricsServiceRequest::decode(body).unwrap().resource_metrics {
            collected.metrics.extend(resource.scope_metrics.into_iter().flat_map(|scope| scope.metrics));
        }
    }
}

/// Runs the program against a server and a collector.
async fn observe(switch: &[(&str, &str)]) -> (Arc<Fake>, Collector) {
    let collector = Collector::default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}/base", listener.local_addr().unwrap());
    let routes = Router::new().fallback(collect).with_state(Arc::clone(&collector));
    tokio::spawn(async move { axum::serve(listener, routes).await });
    let fake = Fake::start(Events::None).await;
    fake.finish.send_replace(true);
    let program = tokio::process::Command::new(std::env::current_exe().unwrap())
        .args(["telemetry::program", "--exact", "--ignored"])
        .current_dir(tempfile::tempdir().unwrap().path())
        .env_clear()
        .env("DAYTONA_API_KEY", "secret-key")
        .env("DAYTONA_API_URL", &fake.url)
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
        .env("OTEL_EXPORTER_OTLP_HEADERS", "x-collector-key=abc")
        .envs(switch.iter().copied())
        .output()
        .await
        .unwrap();
    assert!(program.status.success(), "{}", String::from_utf8_lossy(&program.stdout));
    (fake, collector)
}

fn attributes(all: &[KeyValue]) -> HashMap<&str, String> {
    let text = |value: &KeyValue| match value.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text.clone()),
        Value::IntValue(number) => Some(number.to_string()),
        _ => None,
    };
    all.iter().filter_map(|value| Some((value.key.as_str(), text(value)?))).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

#[tokio::test]
async fn operations_and_requests_are_spans_and_durations() {
    let (fake, collector) = observe(&[("DAYTONA_OTEL_ENABLED", "true")]).await;
    let collected = collector.lock().unwrap();
    assert!(collected.keys.iter().all(|key| key == "abc"));
    let resource = attributes(&collected.resource);
    assert_eq!(resource["service.name"], "daytona-native-rust");
    assert_eq!(resource["service.version"], env!("CARGO_PKG_VERSION"));

    let named = |name: &str| -> Vec<&Span> { collected.spans.iter().filter(|span| span.name == name).collect() };
    let (gets, execs) = (named("Daytona.get"), named("Process.exec"));
    assert_eq!((gets.len(), execs.len(), named("Sandbox.refresh_data").len()), (2, 2, 1));
    assert!(gets[0].parent_span_id.is_empty() && execs[0].parent_span_id.is_empty());
    assert_ne!(gets[0].trace_id, execs[0].trace_id);
    assert_eq!(attributes(&execs[0].attributes)["component"], "Process");
    assert_eq!(attributes(&execs[0].attributes)["method"], "exec");
    assert_eq!(execs[0].status.as_ref().unwrap().code(), StatusCode::Ok);
    let failed = gets[1].status.as_ref().unwrap();
    assert_eq!(failed.code(), StatusCode::Error);
    assert!(failed.message.starts_with("Failed to get sandbox"), "{}", failed.message);
    assert_eq!(attributes(&gets[1].events[0].attributes)["exception.type"], "DaytonaNotFoundError");
    assert_eq!(named("Sandbox.refresh_data")[0].status.as_ref().unwrap().message, "cancelled");

    let request_of = |parent: &Span| {
        let mut children = collected.spans.iter().filter(|span| span.parent_span_id == parent.span_id);
        let child = children.next().expect("its request");
        assert!(children.next().is_none());
        assert_eq!((child.kind(), &child.trace_id), (SpanKind::Client, &parent.trace_id));
        child
    };
    let request = request_of(execs[0]);
    assert_eq!(request.name, "POST");
    let about = attributes(&request.attributes);
    assert_eq!(about["url.full"], format!("{}/s1/process/execute", fake.url.replace("/api", "/toolbox")));
    assert_eq!(about["http.request.method"], "POST");
    assert_eq!(about["http.response.status_code"], "200");
    assert_eq!(attributes(&request_of(gets[1]).attributes)["http.response.status_code"], "404");
    assert!(request.start_time_unix_nano >= execs[0].start_time_unix_nano);
    assert!(request.end_time_unix_nano <= execs[0].end_time_unix_nano);

    // The program's own span is the parent of the second one.
    assert_eq!(hex(&execs[1].trace_id), PARENT[3..35]);
    assert_eq!(hex(&execs[1].parent_span_id), PARENT[36..52]);
    let told: Vec<_> = execs.iter().map(|exec| request_of(exec)).collect();
    let told = told.iter().map(|span| Some(format!("00-{}-{}-01", hex(&span.trace_id), hex(&span.span_id))));
    assert_eq!(*fake.parents.borrow(), told.collect::<Vec<_>>());

    let durations = |name: &str| {
        let metric = collected.metrics.iter().find(|metric| metric.name == name).expect(name);
        assert_eq!(metric.unit, "ms");
        let Some(Data::Histogram(histogram)) = &metric.data else { panic!("{name} is not a histogram") };
        let points = histogram.data_points.iter();
        points.map(|point| (attributes(&point.attributes)["status"].clone(), (point.count, point.sum()))).collect()
    };
    let execs: HashMap<String, (u64, f64)> = durations("process_exec_duration");
    assert_eq!(execs.len(), 1);
    let (count, sum) = execs["success"];
    assert!(count == 2 && sum > 0.0 && sum < 10_000.0, "{sum} ms");
    let gets = durations("daytona_get_duration");
    assert_eq!((gets["success"].0, gets["error"].0), (1, 1));

    let all = format!("{:?} {:?}", collected.spans, collected.metrics);
    assert!(!all.contains("secret"), "neither keys nor commands are sent");
}

#[tokio::test]
async fn both_names_of_the_switch_are_known() {
    let (_, collector) = observe(&[("DAYTONA_EXPERIMENTAL_OTEL_ENABLED", "true"), ("OTEL_SERVICE_NAME", "mine")]).await;
    assert_eq!(attributes(&collector.lock().unwrap().resource)["service.name"], "mine");
}

#[tokio::test]
async fn nothing_is_sent_when_it_is_off() {
    for switch in [&[][..], &[("DAYTONA_OTEL_ENABLED", "false")]] {
        let (fake, collector) = observe(switch).await;
        assert_eq!(collector.lock().unwrap().requests, 0);
        assert_eq!(*fake.parents.borrow(), [None, None]);
    }
}
