//! Changes of sandboxes, told to clients as they happen.
//!
//! The protocol is Socket.IO 4 over Engine.IO 4 on a websocket, as far as its clients need it: the
//! default namespace, text packets, no other transport.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade, close_code};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use daytona_wire::sandbox::SandboxState;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::time::{Instant, timeout, timeout_at};

use crate::App;
use crate::api::Base;
use crate::auth::Key;
use crate::record::{Record, View};

/// The version of Engine.IO that is spoken.
const ENGINE: &str = "4";
const PING_INTERVAL: Duration = Duration::from_secs(25);
const PING_TIMEOUT: Duration = Duration::from_secs(20);
/// How long a client may take to present its key, and to take one message.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long the end of the server waits for clients to take what they have not been told yet.
const LAST_WORD: Duration = Duration::from_secs(1);
/// Clients send nothing that is longer.
const PACKET_LIMIT: usize = 64 << 10;
/// Changes that wait for a client; one that is further behind is cut off and comes back.
const BACKLOG: usize = 4096;

/// What clients are told.
#[derive(Clone)]
enum Event {
    Created(Arc<Record>),
    State {
        record: Arc<Record>,
        old: SandboxState,
    },
    /// The server ends.
    End,
}

/// Where changes are announced. Announcing never waits for a client.
#[derive(Clone)]
pub(crate) struct Events(broadcast::Sender<Event>);

impl Events {
    pub(crate) fn new() -> Self {
        Self(broadcast::Sender::new(BACKLOG))
    }

    fn send(&self, event: impl FnOnce() -> Event) {
        if self.0.receiver_count() > 0 {
            let _ = self.0.send(event());
        }
    }

    /// There is a new sandbox.
    pub(crate) fn created(&self, record: &Record) {
        self.send(|| Event::Created(Arc::new(record.clone())));
    }

    /// A sandbox has left the state `old`.
    pub(crate) fn state(&self, old: SandboxState, record: impl FnOnce() -> Record) {
        self.send(|| Event::State { record: Arc::new(record()), old });
    }

    /// Ends all connections, and waits a moment until all have been told.
    pub(crate) async fn end(&self) {
        self.send(|| Event::End);
        let _ = timeout(LAST_WORD, self.0.closed()).await;
    }
}

/// `GET /api/socket.io/`
pub(crate) async fn connect(
    State(app): State<Arc<App>>,
    base: Base,
    uri: Uri,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    let query: Vec<_> = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()).collect();
    let asked = |name: &str| query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_ref());
    if asked("EIO") != Some(ENGINE) {
        return refuse(5, "Unsupported protocol version: use a client of Socket.IO 3 or newer (EIO=4)");
    }
    match upgrade {
        Ok(upgrade) if asked("transport") == Some("websocket") => {
            let client = Client {
                known: app.key.allows(&headers),
                key: app.key.clone(),
                view: app.view.clone(),
                base: base.0,
                events: app.events.0.clone(),
            };
            upgrade
                .max_message_size(PACKET_LIMIT)
                .max_frame_size(PACKET_LIMIT)
                .on_upgrade(|socket| client.serve(Socket(socket)))
        }
        _ => refuse(0, "Transport unknown: this server speaks websocket only (transports: [\"websocket\"])"),
    }
}

/// The error of a handshake, as Engine.IO has it.
fn refuse(code: u8, message: &str) -> Response {
    (StatusCode::BAD_REQUEST, Json(json!({ "code": code, "message": message }))).into_response()
}

/// One connection. Holds nothing of the app, whose end waits for nobody.
struct Client {
    /// It has shown the key with its request.
    known: bool,
    key: Key,
    view: View,
    base: String,
    events: broadcast::Sender<Event>,
}

/// A connection that is over.
struct Closed;

impl Client {
    async fn serve(self, mut socket: Socket) {
        if let Ok(id) = self.open(&mut socket).await {
            // What happens from now on is told: a client that then looks at a state misses nothing.
            let events = self.events.subscribe();
            if socket.text(format!("40{}", json!({ "sid": id }))).await.is_ok() {
                let _ = self.tell(&mut socket, events).await;
            }
        }
    }

    /// Waits until the client has joined and shown the key.
    async fn open(&self, socket: &mut Socket) -> Result<String, Closed> {
        let mut id = [0; 15];
        getrandom::fill(&mut id).map_err(|_| Closed)?;
        let id = URL_SAFE_NO_PAD.encode(id);
        let hello = json!({
            "sid": id,
            "upgrades": [],
            "pingInterval": PING_INTERVAL.as_millis(),
            "pingTimeout": PING_TIMEOUT.as_millis(),
            "maxPayload": PACKET_LIMIT,
        });
        socket.text(format!("0{hello}")).await?;
        let end = Instant::now() + PATIENCE;
        while let Some(packet) = socket.packet(end).await? {
            let Some(join) = packet.strip_prefix("40") else {
                continue;
            };
            if let Some(rest) = join.strip_prefix('/') {
                let space = rest.split(',').next().unwrap_or_default();
                socket.text(format!("44/{space},{}", json!({ "message": "Invalid namespace" }))).await?;
                continue;
            }
            let auth: Value = serde_json::from_str(join).unwrap_or_default();
            if self.known || auth["token"].as_str().is_some_and(|token| self.key.is(token.as_bytes())) {
                return Ok(id);
            }
            let message = "the API key is missing or wrong: connect with auth {\"token\": key}, with the key that \
                           `daytona-native serve` printed";
            socket.text(format!("44{}", json!({ "message": message }))).await?;
            break;
        }
        Err(socket.close(close_code::POLICY, "the key was not shown").await)
    }

    async fn tell(&self, socket: &mut Socket, mut events: broadcast::Receiver<Event>) -> Result<(), Closed> {
        let mut alive = Heartbeat::Next(Instant::now() + PING_INTERVAL);
        loop {
            tokio::select! {
                event = events.recv() => match event {
                    Ok(Event::Created(record)) => {
                        socket.text(emit("sandbox.created", &self.view.full(&record, &self.base))).await?;
                    }
                    Ok(Event::State { record, old }) => {
                        let sandbox = self.view.full(&record, &self.base);
                        let change = json!({ "sandbox": sandbox, "oldState": old, "newState": record.state });
                        socket.text(emit("sandbox.state.updated", &change)).await?;
                    }
                    Ok(Event::End) | Err(RecvError::Closed) => {
                        return Err(socket.close(close_code::AWAY, "the server is being stopped").await);
                    }
                    Err(RecvError::Lagged(_)) => {
                        return Err(socket.close(close_code::AGAIN, "too far behind; connect again").await);
                    }
                },
                packet = socket.packet(alive.due()) => match packet? {
                    Some(packet) if packet == "3" => alive = Heartbeat::Next(Instant::now() + PING_INTERVAL),
                    Some(packet) if packet == "1" || packet == "41" => {
                        return Err(socket.close(close_code::NORMAL, "").await);
                    }
                    // Nobody listens to what clients tell.
                    Some(_) => {}
                    None => match alive {
                        Heartbeat::Next(_) => {
                            socket.text("2".to_owned()).await?;
                            alive = Heartbeat::Answer(Instant::now() + PING_TIMEOUT);
                        }
                        Heartbeat::Answer(_) => return Err(socket.close(close_code::AWAY, "no answer to a ping").await),
                    },
                },
            }
        }
    }
}

/// When something has to happen on a connection that is otherwise silent.
enum Heartbeat {
    /// The next ping is sent.
    Next(Instant),
    /// The last one is answered.
    Answer(Instant),
}

impl Heartbeat {
    fn due(&self) -> Instant {
        match self {
            Self::Next(at) | Self::Answer(at) => *at,
        }
    }
}

/// An event's packet.
fn emit(name: &str, data: &impl Serialize) -> String {
    let mut packet = String::from("42");
    packet.push_str(&json!([name, data]).to_string());
    packet
}

/// A websocket of text packets.
struct Socket(WebSocket);

impl Socket {
    /// A client that does not take it in time is cut off.
    async fn text(&mut self, text: String) -> Result<(), Closed> {
        match timeout(PATIENCE, self.0.send(Message::Text(text.into()))).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Closed),
        }
    }

    /// The next packet; `None` if there is none until `end`. Cancel safe.
    async fn packet(&mut self, end: Instant) -> Result<Option<Utf8Bytes>, Closed> {
        loop {
            match timeout_at(end, self.0.recv()).await {
                Ok(Some(Ok(Message::Text(text)))) => return Ok(Some(text)),
                Ok(Some(Ok(Message::Ping(_) | Message::Pong(_)))) => {}
                Ok(Some(Ok(Message::Binary(_) | Message::Close(_)) | Err(_)) | None) => return Err(Closed),
                Err(_) => return Ok(None),
            }
        }
    }

    async fn close(&mut self, code: u16, reason: &'static str) -> Closed {
        let frame = CloseFrame { code, reason: reason.into() };
        let _ = timeout(PATIENCE, self.0.send(Message::Close(Some(frame)))).await;
        Closed
    }
}
