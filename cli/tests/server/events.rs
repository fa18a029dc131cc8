//! Changes of sandboxes, told over Socket.IO.

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::support::{LIMIT, Server};

const QUERY: &str = "EIO=4&transport=websocket";

async fn tcp(server: &Server) -> TcpStream {
    TcpStream::connect(server.origin.strip_prefix("http://").unwrap()).await.unwrap()
}

/// A client that follows the protocol packet by packet.
struct Client(WebSocketStream<TcpStream>);

impl Client {
    /// Connects up to the server's greeting.
    async fn open(server: &Server, headers: &[(&'static str, &str)]) -> Self {
        let url = format!("{}/api/socket.io/?{QUERY}&source=test", server.origin.replacen("http", "ws", 1));
        let mut request = url.into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        let (socket, _) = client_async(request, tcp(server).await).await.unwrap();
        let mut client = Self(socket);
        let hello = client.packet().await;
        let hello: Value = serde_json::from_str(hello.strip_prefix('0').unwrap()).unwrap();
        assert!(hello["sid"].is_string());
        assert_eq!((hello["pingInterval"].as_u64(), hello["pingTimeout"].as_u64()), (Some(25_000), Some(20_000)));
        client
    }

    /// Connects all the way.
    async fn join(server: &Server) -> Self {
        let mut client = Self::open(server, &[]).await;
        client.send(&format!("40{}", json!({ "token": server.key() }))).await;
        client.joined().await;
        client
    }

    async fn joined(&mut self) {
        let answer = self.packet().await;
        let answer: Value =
            serde_json::from_str(answer.strip_prefix("40").unwrap_or_else(|| panic!("{answer}"))).unwrap();
        assert!(answer["sid"].is_string());
    }

    async fn send(&mut self, packet: &str) {
        self.0.send(Message::text(packet)).await.unwrap();
    }

    async fn message(&mut self) -> Message {
        tokio::time::timeout(LIMIT, self.0.next()).await.expect("nothing was told").unwrap().unwrap()
    }

    async fn packet(&mut self) -> String {
        self.message().await.into_text().unwrap().to_string()
    }

    /// The next event: its name and its data.
    async fn event(&mut self) -> (String, Value) {
        let packet = self.packet().await;
        let event = packet.strip_prefix("42").unwrap_or_else(|| panic!("{packet}"));
        serde_json::from_str(event).unwrap()
    }

    /// The next change of a sandbox's state.
    async fn change(&mut self) -> (String, String, Value) {
        let (name, data) = self.event().await;
        assert_eq!(name, "sandbox.state.updated");
        assert_eq!(data["newState"], data["sandbox"]["state"]);
        let text = |field: &str| data[field].as_str().unwrap().to_owned();
        (text("oldState"), text("newState"), data["sandbox"].clone())
    }

    async fn changes(&mut self, id: &str, expected: &[(&str, &str)]) {
        for (old, new) in expected {
            let (was, is, sandbox) = self.change().await;
            assert_eq!((was.as_str(), is.as_str(), sandbox["id"].as_str()), (*old, *new, Some(id)));
        }
    }

    async fn close_code(&mut self) -> u16 {
        match self.message().await {
            Message::Close(Some(frame)) => frame.code.into(),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn every_client_hears_of_every_change_in_order() {
    let server = Server::new().await;
    let (mut one, mut other) = (Client::join(&server).await, Client::join(&server).await);
    let id = server.create(json!({"name": "s", "env": {"A": "b"}})).await;
    for client in [&mut one, &mut other] {
        let (name, sandbox) = client.event().await;
        assert_eq!(name, "sandbox.created");
        assert_eq!(sandbox["state"], "creating");
        let (was, is, sandbox) = client.change().await;
        assert_eq!((was.as_str(), is.as_str()), ("creating", "started"));
        assert_eq!(sandbox, server.get(&id).await.expect(200), "what is told is what is answered");
    }
    server.call("POST", "/api/sandbox/s/stop", Value::Null).await.expect(200);
    server.call("POST", "/api/sandbox/s/start", Value::Null).await.expect(200);
    server.call("DELETE", "/api/sandbox/s", Value::Null).await.expect(200);
    let expected = [
        ("started", "stopping"),
        ("stopping", "stopped"),
        ("stopped", "starting"),
        ("starting", "started"),
        ("started", "destroying"),
        ("destroying", "destroyed"),
    ];
    one.changes(&id, &expected).await;
    other.changes(&id, &expected).await;
}

#[tokio::test]
async fn ends_and_failures_are_told_with_their_reason() {
    let server = Server::new().await;
    let mut client = Client::join(&server).await;
    let id = server.create(json!({})).await;
    client.event().await;
    client.changes(&id, &[("creating", "started")]).await;
    server.kill_first_processes();
    let (was, is, sandbox) = client.change().await;
    assert_eq!((was.as_str(), is.as_str()), ("started", "stopped"));
    assert!(sandbox["errorReason"].as_str().unwrap().contains("ended by itself"), "{sandbox}");
    let image = json!({"buildInfo": {"dockerfileContent": "FROM 127.0.0.1:1/none\n"}});
    server.call("POST", "/api/sandbox", image).await.expect(200);
    assert_eq!(client.event().await.1["state"], "pending_build");
    let (was, is, sandbox) = client.change().await;
    assert_eq!((was.as_str(), is.as_str()), ("pending_build", "building_snapshot"));
    assert!(sandbox["errorReason"].is_null(), "{sandbox}");
    let (was, is, sandbox) = client.change().await;
    assert_eq!((was.as_str(), is.as_str()), ("building_snapshot", "build_failed"));
    assert!(sandbox["errorReason"].as_str().unwrap().contains("127.0.0.1:1 cannot be reached"), "{sandbox}");
}

#[tokio::test]
async fn only_who_has_the_key_hears_anything() {
    let server = Server::new().await;
    for auth in ["", "{}", r#"{"token":"wrong"}"#, r#"{"token":5}"#, "no json"] {
        let mut client = Client::open(&server, &[("authorization", "Bearer wrong")]).await;
        client.send(&format!("40{auth}")).await;
        let refused = client.packet().await;
        assert!(refused.starts_with("44{") && refused.contains("API key"), "{refused}");
        assert_eq!(client.close_code().await, 1008);
    }
    let mut client = Client::open(&server, &[("authorization", &format!("Bearer {}", server.key()))]).await;
    client.send("40/other,").await;
    assert_eq!(client.packet().await, r#"44/other,{"message":"Invalid namespace"}"#);
    client.send("40").await;
    client.joined().await;
    client.send("41").await;
    assert_eq!(client.close_code().await, 1000);
}

#[tokio::test]
async fn other_protocols_are_refused_with_the_reason() {
    let server = Server::new().await;
    let refused = async |query: &str, code: u64, reason: &str| {
        let answer = server.anonymous("GET", &format!("/api/socket.io/?{query}"), &[]).await.expect(400);
        assert_eq!(answer["code"], code);
        assert!(answer["message"].as_str().unwrap().contains(reason), "{answer}");
    };
    refused("EIO=4&transport=polling", 0, "websocket").await;
    refused(QUERY, 0, "websocket").await;
    refused("EIO=3&transport=websocket", 5, "version").await;
    refused("", 5, "version").await;
    let url = format!("{}/api/socket.io/?EIO=4&transport=polling", server.origin.replacen("http", "ws", 1));
    let Err(Error::Http(answer)) = client_async(url, tcp(&server).await).await else { panic!("connected") };
    assert_eq!(answer.status(), 400);
}

#[tokio::test]
async fn the_servers_end_is_told_and_waits_for_nobody() {
    let mut server = Server::new().await;
    let mut client = Client::join(&server).await;
    let idle = Client::open(&server, &[]).await;
    let id = server.create(json!({})).await;
    client.event().await;
    client.changes(&id, &[("creating", "started")]).await;
    assert_eq!(server.terminate().await.code(), Some(0));
    client.changes(&id, &[("started", "stopping"), ("stopping", "stopped")]).await;
    assert_eq!(client.close_code().await, 1001);
    drop(idle);
}

#[tokio::test]
async fn a_client_that_reads_nothing_holds_up_nobody() {
    let server = Server::new().await;
    let mut lazy = Client::join(&server).await;
    let id = server.create(json!({"env": {"LONG": "x".repeat(100_000)}})).await;
    // More than a socket's buffers hold.
    for _ in 0..40 {
        server.call("POST", &format!("/api/sandbox/{id}/stop"), Value::Null).await.expect(200);
        server.call("POST", &format!("/api/sandbox/{id}/start"), Value::Null).await.expect(200);
    }
    let mut punctual = Client::join(&server).await;
    server.call("DELETE", &format!("/api/sandbox/{id}"), Value::Null).await.expect(200);
    punctual.changes(&id, &[("started", "destroying"), ("destroying", "destroyed")]).await;
    // It was cut off, or it gets all of it.
    lazy.event().await;
    let mut state = "creating".to_owned();
    while state != "destroyed" {
        let Some(Ok(Message::Text(packet))) = tokio::time::timeout(LIMIT, lazy.0.next()).await.unwrap() else { break };
        let (_, change): (String, Value) = serde_json::from_str(&packet[2..]).unwrap();
        assert_eq!(change["oldState"], state, "nothing is left out");
        state = change["newState"].as_str().unwrap().to_owned();
    }
}
