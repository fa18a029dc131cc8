//! A server of one sandbox that does what a test tells it to.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Json;
use axum::Router;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use daytona_core::{Config, Daytona};
use serde_json::{Value, json};
use tokio::sync::watch;

/// How it serves events.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Events {
    /// Not at all: 404.
    None,
    /// It accepts, and never answers.
    Silent,
    /// As it should be.
    Good,
}

pub(crate) struct Fake {
    pub(crate) url: String,
    events: Events,
    /// The sandbox's state; empty if there is no sandbox.
    pub(crate) state: watch::Sender<&'static str>,
    /// Requests for the sandbox so far.
    pub(crate) looks: AtomicUsize,
    /// Executions under way.
    pub(crate) running: watch::Sender<usize>,
    /// Connections for events that are open.
    pub(crate) listeners: watch::Sender<usize>,
    /// Queries and keys these were opened with.
    pub(crate) greetings: watch::Sender<Vec<String>>,
    /// What the API answers, if not the sandbox.
    pub(crate) refusal: watch::Sender<Option<StatusCode>>,
    /// The header `traceparent` of each execution.
    pub(crate) parents: watch::Sender<Vec<Option<String>>>,
    /// Lets executions end.
    pub(crate) finish: watch::Sender<bool>,
    /// Ends executions without an answer.
    pub(crate) cut: watch::Sender<bool>,
    /// The network behind it: from now on nothing is answered, and events stand still.
    pub(crate) silent: watch::Sender<bool>,
    /// Where its toolbox is, if not here.
    pub(crate) toolbox: watch::Sender<Option<String>>,
    /// More of what is said of the sandbox.
    pub(crate) more: watch::Sender<Value>,
}

impl Fake {
    pub(crate) async fn start(events: Events) -> Arc<Self> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let fake = Arc::new(Self {
            url: format!("http://{}/api", listener.local_addr().unwrap()),
            events,
            state: watch::Sender::new("started"),
            looks: AtomicUsize::new(0),
            running: watch::Sender::new(0),
            listeners: watch::Sender::new(0),
            greetings: watch::Sender::new(Vec::new()),
            refusal: watch::Sender::new(None),
            parents: watch::Sender::new(Vec::new()),
            finish: watch::Sender::new(false),
            cut: watch::Sender::new(false),
            silent: watch::Sender::new(false),
            toolbox: watch::Sender::new(None),
            more: watch::Sender::new(json!({})),
        });
        let routes = Router::new()
            .route("/api/sandbox/s1", get(look).delete(delete))
            .route("/api/sandbox/s1/start", post(start))
            .route("/api/sandbox/s1/stop", post(stop))
            .route("/api/sandbox/s1/{change}", post(change))
            .route("/toolbox/s1/process/{what}", post(run))
            .route("/api/socket.io/", get(listen))
            .with_state(Arc::clone(&fake));
        tokio::spawn(async move { axum::serve(listener, routes).await });
        fake
    }

    pub(crate) fn client(&self) -> Daytona {
        self.client_with(Config::default())
    }

    pub(crate) fn client_with(&self, config: Config) -> Daytona {
        Daytona::new(&Config { api_key: Some("key".into()), api_url: Some(self.url.clone()), ..config }).unwrap()
    }

    pub(crate) fn set_state(&self, state: &'static str) {
        self.state.send_replace(state);
    }

    pub(crate) fn looks(&self) -> usize {
        self.looks.load(Ordering::SeqCst)
    }

    fn sandbox(&self) -> Value {
        let toolbox = self.toolbox.borrow().clone().unwrap_or_else(|| self.url.replace("/api", "/toolbox"));
        let mut data =
            json!({ "id": "s1", "state": *self.state.borrow(), "errorReason": "because", "toolboxProxyUrl": toolbox });
        for (name, value) in self.more.borrow().as_object().unwrap() {
            data[name] = value.clone();
        }
        data
    }
}

pub(crate) async fn until<T>(value: &watch::Sender<T>, is: impl FnMut(&T) -> bool) {
    let mut receiver = value.subscribe();
    let waited = tokio::time::timeout(Duration::from_secs(20), receiver.wait_for(is)).await;
    assert!(waited.is_ok(), "it does not come to that");
}

struct Counted<'a>(&'a watch::Sender<usize>);

impl<'a> Counted<'a> {
    fn new(count: &'a watch::Sender<usize>) -> Self {
        count.send_modify(|count| *count += 1);
        Self(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

async fn look(State(fake): State<Arc<Fake>>) -> Response {
    fake.looks.fetch_add(1, Ordering::SeqCst);
    if *fake.silent.borrow() {
        std::future::pending::<()>().await;
    }
    if let Some(status) = *fake.refusal.borrow() {
        return status.into_response();
    }
    if fake.state.borrow().is_empty() {
        return (StatusCode::NOT_FOUND, Json(json!({ "message": "no such sandbox", "statusCode": 404 })))
            .into_response();
    }
    Json(fake.sandbox()).into_response()
}

async fn start(State(fake): State<Arc<Fake>>) -> Json<Value> {
    fake.set_state("starting");
    Json(fake.sandbox())
}

/// Begins what is not finished before the test says so.
async fn change(State(fake): State<Arc<Fake>>, Path(change): Path<String>) -> Json<Value> {
    fake.set_state(match change.as_str() {
        "pause" => "pausing",
        "resize" => "resizing",
        "snapshot" => "snapshotting",
        _ => "starting",
    });
    Json(fake.sandbox())
}

async fn stop(State(fake): State<Arc<Fake>>) -> Json<Value> {
    fake.set_state("stopped");
    Json(fake.sandbox())
}

async fn delete(State(fake): State<Arc<Fake>>) -> StatusCode {
    fake.set_state("");
    StatusCode::OK
}

async fn run(State(fake): State<Arc<Fake>>, Path(_): Path<String>, headers: HeaderMap) -> Response {
    let parent = headers.get("traceparent").map(|value| value.to_str().unwrap().to_owned());
    fake.parents.send_modify(|all| all.push(parent));
    let _running = Counted::new(&fake.running);
    tokio::select! {
        () = until_true(&fake.finish) => Json(json!({ "exitCode": 0, "result": "done" })).into_response(),
        () = until_true(&fake.cut) => StatusCode::BAD_GATEWAY.into_response(),
    }
}

async fn until_true(value: &watch::Sender<bool>) {
    let _ = value.subscribe().wait_for(|value| *value).await;
}

async fn listen(
    State(fake): State<Arc<Fake>>,
    Query(query): Query<Vec<(String, String)>>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    if fake.events == Events::None {
        return StatusCode::NOT_FOUND.into_response();
    }
    fake.greetings.send_modify(|all| all.push(format!("{query:?} {:?}", headers.get("x-daytona-source"))));
    upgrade.on_upgrade(async move |socket| tell(fake, socket).await)
}

async fn tell(fake: Arc<Fake>, mut socket: WebSocket) {
    let _listener = Counted::new(&fake.listeners);
    if fake.events == Events::Silent {
        while socket.recv().await.is_some_and(|message| message.is_ok()) {}
        return;
    }
    let hello = r#"0{"sid":"e","upgrades":[],"pingInterval":300,"pingTimeout":200,"maxPayload":1000000}"#;
    if socket.send(Message::Text(hello.into())).await.is_err() {
        return;
    }
    let mut state = fake.state.subscribe();
    let mut is_open = false;
    let mut tick = tokio::time::interval(Duration::from_millis(300));
    loop {
        let packet = tokio::select! {
            biased;
            () = until_true(&fake.silent) => std::future::pending().await,
            message = socket.recv() => match message {
                Some(Ok(Message::Text(text))) if text.starts_with("40") => {
                    fake.greetings.send_modify(|all| all.push(text.to_string()));
                    is_open = true;
                    r#"40{"sid":"s"}"#.to_owned()
                }
                Some(Ok(Message::Text(text))) => {
                    fake.greetings.send_modify(|all| all.push(text.to_string()));
                    continue;
                }
                Some(Ok(_)) => continue,
                Some(Err(_)) | None => return,
            },
            _ = tick.tick() => "2".to_owned(),
            changed = state.changed(), if is_open => {
                if changed.is_err() {
                    return;
                }
                let now = *state.borrow_and_update();
                let now = if now.is_empty() { "destroyed" } else { now };
                format!("42{}", json!(["sandbox.state.updated", {
                    "sandbox": { "id": "s1", "state": now }, "oldState": "started", "newState": now
                }]))
            }
        };
        if socket.send(Message::Text(packet.into())).await.is_err() {
            return;
        }
    }
}
