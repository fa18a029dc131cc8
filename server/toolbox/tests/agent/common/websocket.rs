//! A websocket client.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use serde_json::Value;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message, WebSocket, client};

use super::{Agent, Answer, PATIENCE, read_answer};

pub(crate) struct Socket {
    inner: WebSocket<UnixStream>,
    /// The subprotocol that the agent chose.
    pub(crate) protocol: Option<String>,
}

/// What comes from the agent.
#[derive(Debug, PartialEq)]
pub(crate) enum Received {
    Text(Value),
    Binary(Vec<u8>),
    /// Code and reason.
    Closed(u16, String),
    /// The end without a close frame.
    Lost,
    /// Nothing, for as long as anyone waits.
    Nothing,
}

impl Agent {
    pub(crate) fn socket(&self, target: &str) -> Socket {
        self.socket_with(target, &[])
    }

    /// A websocket on which subprotocols are offered.
    pub(crate) fn socket_with(&self, target: &str, protocols: &[&str]) -> Socket {
        let mut request = format!("ws://agent{target}").into_client_request().unwrap();
        if !protocols.is_empty() {
            request.headers_mut().insert("Sec-WebSocket-Protocol", protocols.join(", ").parse().unwrap());
        }
        let (inner, answer) = client(request, self.connect()).unwrap();
        let protocol = answer.headers().get("Sec-WebSocket-Protocol").map(|p| p.to_str().unwrap().to_owned());
        Socket { inner, protocol }
    }

    /// A plain websocket, asked for with `headers`.
    pub(crate) fn websocket(&self, target: &str, headers: &[(&'static str, &str)]) -> WebSocket<UnixStream> {
        let mut request = format!("ws://agent{target}").into_client_request().unwrap();
        for &(name, value) in headers {
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        client(request, self.connect()).unwrap().0
    }

    /// The answer to a request for a websocket that is refused.
    pub(crate) fn refused_socket(&self, target: &str) -> Answer {
        let mut stream = self.connect();
        let head = format!(
            "GET {target} HTTP/1.1\r\nHost: agent\r\nConnection: Upgrade, close\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        read_answer(&mut stream)
    }
}

impl Socket {
    pub(crate) fn send(&mut self, message: &Value) {
        self.inner.send(Message::text(message.to_string())).unwrap();
    }

    pub(crate) fn send_text(&mut self, text: &str) {
        self.inner.send(Message::text(text)).unwrap();
    }

    pub(crate) fn send_bytes(&mut self, bytes: impl Into<Vec<u8>>) {
        self.inner.send(Message::binary(bytes.into())).unwrap();
    }

    /// The next message.
    pub(crate) fn next(&mut self) -> Received {
        loop {
            match self.inner.read() {
                Ok(Message::Text(text)) => {
                    let text = text.as_str();
                    return Received::Text(serde_json::from_str(text).unwrap_or_else(|_| text.into()));
                }
                Ok(Message::Binary(bytes)) => return Received::Binary(bytes.to_vec()),
                Ok(Message::Close(frame)) => {
                    let (code, reason) = frame.map_or((1005, String::new()), |f| (f.code.into(), f.reason.to_string()));
                    // Answers it.
                    let _ = self.inner.flush();
                    return Received::Closed(code, reason);
                }
                Ok(_) => {}
                Err(Error::Io(error)) if error.kind() == std::io::ErrorKind::WouldBlock => return Received::Nothing,
                Err(_) => return Received::Lost,
            }
        }
    }

    /// The next message, if one comes within `patience`.
    pub(crate) fn next_within(&mut self, patience: Duration) -> Option<Received> {
        self.inner.get_ref().set_read_timeout(Some(patience)).unwrap();
        let read = self.inner.read();
        self.inner.get_ref().set_read_timeout(Some(PATIENCE)).unwrap();
        match read {
            Ok(Message::Text(text)) => Some(Received::Text(serde_json::from_str(text.as_str()).unwrap())),
            Ok(Message::Binary(bytes)) => Some(Received::Binary(bytes.to_vec())),
            Ok(other) => panic!("{other:?}"),
            Err(Error::Io(error)) if error.kind() == std::io::ErrorKind::WouldBlock => None,
            Err(_) => Some(Received::Lost),
        }
    }

    pub(crate) fn text(&mut self) -> Value {
        match self.next() {
            Received::Text(value) => value,
            other => panic!("no text but {other:?}"),
        }
    }

    /// Sends a close frame and reads on to the end.
    pub(crate) fn close(mut self) {
        let frame = CloseFrame { code: 1000.into(), reason: "".into() };
        self.inner.close(Some(frame)).unwrap();
        while !matches!(self.next(), Received::Closed(..) | Received::Lost) {}
    }
}
