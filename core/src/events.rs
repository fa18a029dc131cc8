//! Changes of sandboxes as the server tells them: a socket.io client (protocol 5 over Engine.IO 4), websocket only.
//!
//! One connection a client, opened in the background by whoever first waits for a change and closed soon after the
//! last one has gone. It only ever makes things quicker: without it, states are polled.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use http::header::AUTHORIZATION;
use reqwest::Url;
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use crate::background::{self, PerProcess};
use crate::client::Client;
use crate::error::{Error, ErrorKind, Result};
use crate::operation::Operation;
use crate::transport::{ORGANIZATION, SOURCE, Transport};
use crate::watch::News;
use crate::ws::{End, Message, Open};

const CONNECT_LIMIT: Duration = Duration::from_secs(5);
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LAST_PAUSE: Duration = Duration::from_secs(30);
/// How long the connection outlives its last subscriber.
const LINGER: Duration = Duration::from_secs(3);
/// A server that announces no longer silence than this is still given it.
const LEAST_SILENCE: Duration = Duration::from_secs(5);
const LONGEST_SILENCE: u64 = 600_000;
/// Calls watched over are to notice soon that the network is gone; whoever polls instead finds out what is wrong.
const PING: Duration = Duration::from_millis(400);

/// A client's connection to the events.
#[derive(Default)]
pub(crate) struct Events(PerProcess<Connection>);

struct Connection(Arc<Shared>);

struct Shared {
    subscribers: watch::Sender<usize>,
    is_connected: watch::Sender<bool>,
    /// When to try next, and how long to wait after that.
    next: Mutex<(Instant, Duration)>,
    task: Mutex<Option<AbortHandle>>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(task) = lock(&self.0.task).take() {
            task.abort();
        }
    }
}

impl Events {
    /// Subscribes to all changes, which go to [`Client::tell`]; `None` where only polling is wanted.
    pub(crate) fn join(client: &Arc<Client>) -> Option<Joined> {
        if client.settings().use_deprecated_polling {
            return None;
        }
        let connection = client.events.0.get_or_make(|| {
            Connection(Arc::new(Shared {
                subscribers: watch::Sender::new(0),
                is_connected: watch::Sender::new(false),
                next: Mutex::new((Instant::now(), FIRST_PAUSE)),
                task: Mutex::new(None),
            }))
        });
        let shared = Arc::clone(&connection.0);
        let mut task = lock(&shared.task);
        shared.subscribers.send_modify(|count| *count += 1);
        if task.as_ref().is_none_or(AbortHandle::is_finished) {
            let work = run(Arc::clone(&shared), Arc::downgrade(client));
            *task = Some(background::spawn(work).abort_handle());
        }
        drop(task);
        let is_connected = shared.is_connected.subscribe();
        Some(Joined { shared, is_connected })
    }

    /// The same where the connection is there already.
    pub(crate) fn join_open(client: &Arc<Client>) -> Option<Joined> {
        let is_open = client.events.0.get().is_some_and(|connection| *connection.0.is_connected.borrow());
        is_open.then(|| Self::join(client)).flatten()
    }
}

/// A subscription; ends when dropped.
pub(crate) struct Joined {
    shared: Arc<Shared>,
    is_connected: watch::Receiver<bool>,
}

impl Joined {
    /// True while changes are told and need no polling.
    pub(crate) fn is_connected(&self) -> bool {
        *self.is_connected.borrow()
    }
}

/// Waits until the connection comes or goes.
pub(crate) async fn changed(joined: &mut Option<Joined>) {
    match joined {
        Some(joined) => {
            if joined.is_connected.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
        None => std::future::pending().await,
    }
}

impl Drop for Joined {
    fn drop(&mut self) {
        self.shared.subscribers.send_modify(|count| *count -= 1);
    }
}

/// Keeps the connection while there are subscribers.
async fn run(shared: Arc<Shared>, client: Weak<Client>) {
    let _connected = Connected(&shared);
    let mut subscribers = shared.subscribers.subscribe();
    loop {
        tokio::select! {
            () = connect(&shared, &client) => return,
            () = idle(&mut subscribers) => {}
        }
        shared.is_connected.send_replace(false);
        // Whoever joins meanwhile waits for this lock, and then starts another task.
        let mut task = lock(&shared.task);
        if *shared.subscribers.borrow() == 0 {
            *task = None;
            return;
        }
    }
}

/// However the task ends, it is no longer connected.
struct Connected<'a>(&'a Shared);

impl Drop for Connected<'_> {
    fn drop(&mut self) {
        self.0.is_connected.send_replace(false);
    }
}

async fn idle(subscribers: &mut watch::Receiver<usize>) {
    loop {
        if subscribers.wait_for(|count| *count == 0).await.is_err() {
            return;
        }
        if timeout(LINGER, subscribers.wait_for(|count| *count > 0)).await.is_err() {
            return;
        }
    }
}

/// Connects again and again, until the client is gone.
async fn connect(shared: &Shared, client: &Weak<Client>) {
    loop {
        let (at, _) = *lock(&shared.next);
        sleep_until(at).await;
        let Some(error) = follow(shared, client).await else { return };
        tracing::debug!(%error, "no events for now");
        let was_connected = shared.is_connected.send_replace(false);
        let mut next = lock(&shared.next);
        let pause = if was_connected { FIRST_PAUSE } else { next.1 };
        *next = (Instant::now() + pause, (pause * 2).min(LAST_PAUSE));
    }
}

/// One connection, until it ends; `None` when the client has gone.
async fn follow(shared: &Shared, client: &Weak<Client>) -> Option<Error> {
    let (transport, url) = match address(&*client.upgrade()?).await {
        Ok(found) => found,
        Err(error) => return Some(error),
    };
    let limit = Instant::now() + CONNECT_LIMIT;
    let open = Open { limit: Some(CONNECT_LIMIT), ping: PING, ..Open::new(Operation::EVENTS, url) };
    let mut socket = match timeout_at(limit, transport.websocket(open)).await {
        Ok(Ok(socket)) => socket,
        Ok(Err(error)) => return Some(error),
        Err(_) => return Some(silent()),
    };
    let mut silence = CONNECT_LIMIT;
    let mut due = limit;
    loop {
        let text = match timeout_at(due, socket.next()).await {
            Ok(Ok(Message::Text(text))) => text,
            Ok(Ok(_)) => continue,
            Ok(Err(End::Closed { code, reason })) => return Some(ended(&format!("{code:?} {reason}"))),
            Ok(Err(End::Broken(error))) => return Some(error),
            Err(_) => return Some(silent()),
        };
        match parse(&text) {
            Packet::Hello { silence: announced } => {
                silence = announced.max(LEAST_SILENCE);
                let token = transport.header(&AUTHORIZATION).unwrap_or_default().trim_start_matches("Bearer ");
                socket.queue(Message::Text(format!("40{}", serde_json::json!({ "token": token })).into()));
            }
            Packet::Ping => socket.queue(Message::Text("3".into())),
            Packet::Connected => {
                shared.is_connected.send_replace(true);
            }
            Packet::Change(change) => {
                let Change { id, state, sandbox } = change;
                client.upgrade()?.tell(&id, || News::read(state, sandbox));
            }
            Packet::End(reason) => return Some(ended(&reason)),
            Packet::Other => {}
        }
        if *shared.is_connected.borrow() {
            due = Instant::now() + silence;
        }
    }
}

async fn address(client: &Client) -> Result<(Arc<Transport>, Url)> {
    let link = client.link().await?;
    let mut url = link.url(&["socket.io", ""])?;
    let transport = Arc::clone(&link.background);
    let mut query = url.query_pairs_mut();
    query.extend_pairs([("EIO", "4"), ("transport", "websocket")]);
    for (name, header) in [("organizationId", ORGANIZATION), ("source", SOURCE)] {
        if let Some(value) = transport.header(&header) {
            query.append_pair(name, value);
        }
    }
    query.append_pair("sdkVersion", crate::PROTOCOL_VERSION);
    drop(query);
    Ok((transport, url))
}

fn silent() -> Error {
    Error::new(ErrorKind::ConnectionTimeout, "the server of events says nothing")
}

fn ended(reason: &str) -> Error {
    Error::new(ErrorKind::Connection, format!("the server ended the connection: {reason}"))
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a packet means to this client.
#[derive(Debug, PartialEq)]
pub(crate) enum Packet {
    /// The transport is open; so long may the server be silent.
    Hello {
        silence: Duration,
    },
    Ping,
    /// The key was good, and changes follow.
    Connected,
    Change(Change),
    End(String),
    Other,
}

/// A sandbox that was made or is in another state.
#[derive(Debug, PartialEq)]
pub(crate) struct Change {
    pub(crate) id: String,
    /// The new state, where it does not stand in `sandbox`.
    pub(crate) state: Value,
    pub(crate) sandbox: Value,
}

/// Reads one packet. Whatever is not understood is [`Packet::Other`].
pub(crate) fn parse(text: &str) -> Packet {
    match text.split_at_checked(1) {
        Some(("0", rest)) => hello(rest),
        Some(("1", _)) => Packet::End("closed".to_owned()),
        Some(("2", _)) => Packet::Ping,
        // Namespaces other than the default one have names that begin with a slash.
        Some(("4", rest)) if rest.chars().nth(1) != Some('/') => message(rest),
        _ => Packet::Other,
    }
}

fn hello(text: &str) -> Packet {
    let fields: Value = serde_json::from_str(text).unwrap_or_default();
    let millis = |name: &str| fields.get(name).and_then(Value::as_u64).unwrap_or_default();
    let silence = millis("pingInterval").saturating_add(millis("pingTimeout"));
    Packet::Hello { silence: Duration::from_millis(silence.min(LONGEST_SILENCE)) }
}

fn message(text: &str) -> Packet {
    match text.split_at_checked(1) {
        Some(("0", _)) => Packet::Connected,
        Some(("1", _)) => Packet::End("disconnected".to_owned()),
        Some(("2", rest)) => change(rest).map_or(Packet::Other, Packet::Change),
        Some(("4", rest)) => {
            let fields: Value = serde_json::from_str(rest).unwrap_or_default();
            Packet::End(format!(
                "refused: {}",
                fields.get("message").and_then(Value::as_str).unwrap_or("no reason given")
            ))
        }
        _ => Packet::Other,
    }
}

/// `["name", data]`, after the number of an acknowledgement that is wanted.
fn change(text: &str) -> Option<Change> {
    let mut parts: Vec<Value> = serde_json::from_str(text.trim_start_matches(|c: char| c.is_ascii_digit())).ok()?;
    if !matches!(parts.first()?.as_str()?, "sandbox.created" | "sandbox.state.updated") {
        return None;
    }
    let mut data = parts.get_mut(1)?.take();
    let sandbox = data.get_mut("sandbox").map(Value::take).filter(|sandbox| sandbox.get("id").is_some());
    let state = data.get_mut("newState").map(Value::take).unwrap_or_default();
    let sandbox = sandbox.unwrap_or(data);
    Some(Change { id: sandbox.get("id")?.as_str()?.to_owned(), state, sandbox })
}

#[cfg(test)]
mod tests {
    use daytona_wire::sandbox::SandboxState;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn packets() {
        let hello = r#"0{"sid":"x","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}"#;
        assert_eq!(parse(hello), Packet::Hello { silence: Duration::from_secs(45) });
        assert_eq!(parse("0"), Packet::Hello { silence: Duration::ZERO });
        assert_eq!(parse("2"), Packet::Ping);
        assert_eq!(parse(r#"40{"sid":"y"}"#), Packet::Connected);
        assert_eq!(parse(r#"40/admin,{"sid":"y"}"#), Packet::Other);
        assert_eq!(parse(r#"44{"message":"no key"}"#), Packet::End("refused: no key".to_owned()));
        assert_eq!(parse("41"), Packet::End("disconnected".to_owned()));
        for other in
            ["", "3", "6", "4", "ü", "42", "42[]", r#"42["sandbox.created"]"#, r#"42["snapshot.created",{"id":"a"}]"#]
        {
            assert_eq!(parse(other), Packet::Other, "{other}");
        }
    }

    #[test]
    fn changes_of_every_form() {
        let read = |text: &str| {
            let Packet::Change(Change { id, state, sandbox }) = parse(text) else { panic!("{text}") };
            (id, News::read(state, sandbox).map(|news| news.state))
        };
        let stopped = ("a".to_owned(), Some(SandboxState::Stopped));
        let full = r#"42["sandbox.state.updated",{"sandbox":{"id":"a","state":"stopped"},"oldState":"started","newState":"stopped"}]"#;
        assert_eq!(read(full), stopped);
        assert_eq!(read(r#"4217["sandbox.state.updated",{"id":"a","newState":"stopped"}]"#), stopped);
        assert_eq!(read(r#"42["sandbox.created",{"id":"a","state":"stopped"}]"#), stopped);
        assert_eq!(read(r#"42["sandbox.created",{"id":"a"}]"#), ("a".to_owned(), None));
        let data = r#"42["sandbox.state.updated",{"sandbox":{"id":"a","state":7},"newState":"stopped"}]"#;
        assert_eq!(read(data), stopped, "what cannot be read in full still has its state");
    }

    proptest! {
        #[test]
        fn nothing_panics(text in "[0-6]{0,3}/?.{0,40}|42[0-9]?\\[\"sandbox.created\",.{0,30}\\]") {
            if let Packet::Change(Change { state, sandbox, .. }) = parse(&text) {
                let _ = News::read(state, sandbox);
            }
        }
    }
}
