//! What every public operation runs through: its errors name it, and OpenTelemetry sees it.
//!
//! Off by default. Then nothing of it is made, and an operation costs one look at a flag. On, each operation is a
//! span and counts into a histogram of durations, each HTTP request is a child span, and requests carry the
//! `traceparent` that W3C Trace Context defines.

mod export;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Waker, Poll, ready};
use std::time::Instant;

use http::StatusCode;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::trace::{
    FutureExt, Span as _, SpanContext, SpanId, SpanKind, Status, TraceContextExt, TraceFlags, TraceId, TraceState,
    Tracer,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::Span;

pub use export::flush;

use self::export::Export;
use crate::config::Source;
use crate::error::{Error, Result};
use crate::operation::Operation;
use crate::sandbox::Sandbox;
use crate::transport::Call;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

pin_project_lite::pin_project! {
    /// One public operation under way.
    #[must_use = "futures do nothing unless awaited"]
    pub(crate) struct Observed<F> {
        #[pin]
        work: F,
        operation: Operation,
        sandbox: Option<Sandbox>,
        seen: Option<Box<Seen>>,
    }
}

impl<F> Observed<F> {
    /// Its errors name this sandbox too.
    pub(crate) fn of(self, sandbox: Sandbox) -> Self {
        Self { sandbox: Some(sandbox), ..self }
    }
}

/// Runs a public operation, seen by OpenTelemetry if `source` says for whom. Operations do not nest: what one does
/// inside is not observed by itself.
pub(crate) fn observe<T, F>(source: Option<Source>, operation: Operation, work: F) -> Observed<F>
where
    F: Future<Output = Result<T>>,
{
    Observed { work, operation, sandbox: None, seen: source.and_then(|source| Seen::begin(source, operation)) }
}

impl<T, F: Future<Output = Result<T>>> Future for Observed<F> {
    type Output = Result<T>;

    fn poll(self: Pin<&mut Self>, waker: &mut Waker<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let current = this.seen.as_ref().map(|seen| seen.context.clone().attach());
        let result = ready!(this.work.poll(waker));
        drop(current);
        let result = result.map_err(|error| {
            let error = error.with_operation(*this.operation);
            match this.sandbox {
                Some(sandbox) => error.of_sandbox(sandbox.id()),
                None => error,
            }
        });
        if let Some(seen) = this.seen.take() {
            (*seen).end(result.as_ref().err());
        }
        Poll::Ready(result)
    }
}

/// What OpenTelemetry is told of an operation.
struct Seen {
    export: Arc<Option<Export>>,
    context: Context,
    begin: Instant,
    name: String,
    attributes: [KeyValue; 2],
    is_over: bool,
}

impl Seen {
    fn begin(source: Source, operation: Operation) -> Option<Box<Self>> {
        let export = Export::get(source);
        let (class, method) = names(source, operation);
        let name = format!("{class}.{method}");
        let attributes = [KeyValue::new("component", class), KeyValue::new("method", method)];
        let tracer = &export.as_ref().as_ref()?.tracer;
        let span = tracer.span_builder(name.clone()).with_attributes(attributes.clone()).start(tracer);
        let context = Context::current_with_span(span);
        Some(Box::new(Self { export, context, begin: Instant::now(), name, attributes, is_over: false }))
    }

    fn end(mut self, error: Option<&Error>) {
        let status = match error {
            None => Status::Ok,
            Some(error) => {
                let kind = KeyValue::new("exception.type", error.kind().class_name());
                let message = KeyValue::new("exception.message", error.to_string());
                self.context.span().add_event("exception", vec![kind, message]);
                Status::error(error.to_string())
            }
        };
        self.close(status, if error.is_none() { "success" } else { "error" });
    }

    fn close(&mut self, status: Status, word: &'static str) {
        self.is_over = true;
        self.context.span().set_status(status);
        self.context.span().end();
        if let Some(export) = &*self.export {
            let [component, method] = self.attributes.clone();
            let attributes = [component, method, KeyValue::new("status", word)];
            export.record(&snake(&self.name), self.begin.elapsed(), &attributes);
        }
    }
}

/// An operation that is dropped has been cancelled.
impl Drop for Seen {
    fn drop(&mut self) {
        if !self.is_over {
            self.close(Status::error("cancelled"), "error");
        }
    }
}

/// One HTTP request as OpenTelemetry sees it.
pub(crate) struct RequestSpan(Box<Span>);

impl RequestSpan {
    /// `None` outside of an observed operation.
    pub(crate) fn begin(source: Option<Source>, call: &Call<'_>) -> Option<Self> {
        // What is asked for the client's own sake would fill the span of every long call.
        let is_own = call.operation == Operation::WATCH || call.operation == Operation::EVENTS;
        let export = source.filter(|_| !is_own && is_within()).map(Export::get)?;
        let tracer = &export.as_ref().as_ref()?.tracer;
        let method = call.method.as_str().to_owned();
        let mut url = call.url.clone();
        url.set_query(None);
        let mut attributes = vec![KeyValue::new("http.request.method", method.clone())];
        attributes.extend(url.host_str().map(|host| KeyValue::new("server.address", host.to_owned())));
        attributes.extend(url.port_or_known_default().map(|port| KeyValue::new("server.port", i64::from(port))));
        attributes.push(KeyValue::new("url.full", String::from(url)));
        let span = tracer.span_builder(method).with_kind(SpanKind::Client).with_attributes(attributes).start(tracer);
        Some(Self(Box::new(span)))
    }

    /// Names this span to the server as the parent of what it does.
    pub(crate) fn inject(&self, headers: &mut HeaderMap) {
        let context = self.0.span_context();
        let flags = context.trace_flags() & TraceFlags::SAMPLED;
        let parent = format!("00-{}-{}-{:02x}", context.trace_id(), context.span_id(), flags);
        headers.extend(HeaderValue::from_str(&parent).ok().map(|value| (TRACEPARENT, value)));
        let state = context.trace_state().header();
        if !state.is_empty() {
            headers.extend(HeaderValue::from_str(&state).ok().map(|value| (TRACESTATE, value)));
        }
    }

    /// With what came of it; a request that is dropped ends without.
    pub(crate) fn end(mut self, outcome: Result<StatusCode, &Error>) {
        match outcome {
            Ok(status) => {
                self.0.set_attribute(KeyValue::new("http.response.status_code", i64::from(status.as_u16())));
                if status.is_client_error() || status.is_server_error() {
                    self.0.set_attribute(KeyValue::new("error.type", status.as_str().to_owned()));
                    self.0.set_status(Status::error(""));
                }
            }
            Err(error) => {
                self.0.set_attribute(KeyValue::new("error.type", error.kind().class_name()));
                self.0.set_status(Status::error(error.to_string()));
            }
        }
        self.0.end();
    }
}

/// The operation that is being run, for the tasks it starts.
pub(crate) fn current() -> Option<Context> {
    is_within().then(Context::current)
}

fn is_within() -> bool {
    Context::map_current(Context::has_active_span)
}

/// Runs calls of this crate as children of a span of the program's own, named as in the header `traceparent`. What
/// cannot be read is no parent.
pub fn with_parent<F: Future>(traceparent: &str, future: F) -> impl Future<Output = F::Output> {
    let context = Context::current();
    future.with_context(match remote(traceparent) {
        Some(parent) => context.with_remote_span_context(parent),
        None => context,
    })
}

fn remote(traceparent: &str) -> Option<SpanContext> {
    let parts: Vec<&str> = traceparent.trim().split('-').collect();
    let [version, trace, span, flags, ..] = parts[..] else { return None };
    if version.len() != 2 || version == "ff" || trace.len() != 32 || span.len() != 16 || flags.len() != 2 {
        return None;
    }
    let trace = TraceId::from_hex(trace).ok()?;
    let span = SpanId::from_hex(span).ok()?;
    let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?) & TraceFlags::SAMPLED;
    let context = SpanContext::new(trace, span, flags, true, TraceState::NONE);
    context.is_valid().then_some(context)
}

/// Class and method, as the official client of that language names them.
fn names(source: Source, operation: Operation) -> (String, String) {
    let (class, method) = operation.name.split_once('.').unwrap_or(("", operation.name));
    let class = if class == "fs" { "FileSystem".to_owned() } else { pascal(class) };
    match source {
        Source::PythonAsync => (format!("Async{class}"), python(method)),
        Source::Node => (class, node(method)),
        Source::Python | Source::Rust => (class, python(method)),
    }
}

fn python(method: &str) -> String {
    if method == "list" { "list.fetch_page" } else { method }.to_owned()
}

fn node(method: &str) -> String {
    let other = match method {
        "list" => "list.fetchPage",
        "exec" => "executeCommand",
        "exec_stream" => "executeCommandStream",
        "create_pty_session" => "createPty",
        "connect_pty_session" => "connectPty",
        "get_file_info" => "getFileDetails",
        "wait_for_sandbox_start" => "waitUntilStarted",
        "wait_for_sandbox_stop" => "waitUntilStopped",
        _ => "",
    };
    if !other.is_empty() {
        return other.to_owned();
    }
    let pascal = pascal(method);
    pascal[..1].to_ascii_lowercase() + &pascal[1..]
}

fn pascal(snake: &str) -> String {
    snake.split('_').map(|word| word[..1].to_ascii_uppercase() + &word[1..]).collect()
}

/// `FileSystem.uploadFile` as `file_system_upload_file`.
fn snake(name: &str) -> String {
    let mut text = String::with_capacity(name.len() + 4);
    for (at, character) in name.chars().enumerate() {
        if character.is_ascii_uppercase() && at > 0 && !text.ends_with('_') {
            text.push('_');
        }
        text.push(if character == '.' { '_' } else { character.to_ascii_lowercase() });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_official_clients() {
        let name = |source, operation| {
            let (class, method) = names(source, operation);
            format!("{class}.{method}")
        };
        assert_eq!(name(Source::Python, Operation::EXEC), "Process.exec");
        assert_eq!(name(Source::PythonAsync, Operation::UPLOAD_FILE), "AsyncFileSystem.upload_file");
        assert_eq!(name(Source::PythonAsync, Operation::LIST), "AsyncDaytona.list.fetch_page");
        assert_eq!(name(Source::Node, Operation::EXEC), "Process.executeCommand");
        assert_eq!(name(Source::Node, Operation::WAIT_START), "Sandbox.waitUntilStarted");
        assert_eq!(name(Source::Node, Operation::RUN_CODE), "CodeInterpreter.runCode");
        assert_eq!(snake("FileSystem.uploadFile"), "file_system_upload_file");
        assert_eq!(snake("AsyncDaytona.list.fetch_page"), "async_daytona_list_fetch_page");
    }

    #[test]
    fn parents_are_read_as_the_standard_says() {
        let good = remote("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").unwrap();
        assert!(good.is_remote() && good.is_sampled());
        assert_eq!(good.span_id().to_string(), "00f067aa0ba902b7");
        for bad in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473ü-00f067aa0ba902b7-01",
        ] {
            assert!(remote(bad).is_none(), "{bad}");
        }
    }
}
