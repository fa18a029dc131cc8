//! A server whose every answer is given by the test.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use daytona_core::{Config, Daytona, Sandbox};
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role};

/// Far more than anything here takes.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// What the server does with an open websocket; at the end of the list it cuts the connection.
pub(crate) enum Step {
    Text(&'static str),
    Bytes(Vec<u8>),
    /// Waits for one message, which the test can look at.
    Hear,
    /// The same until the client closes.
    HearAll,
    Close(u16, &'static str),
    /// Goes on when the test says so.
    Wait(Arc<tokio::sync::Notify>),
    Tell(Arc<tokio::sync::Notify>),
    /// Counted once it is sent.
    Counted(Vec<u8>, Arc<AtomicUsize>),
}

pub(crate) enum Reply {
    Http(&'static str, String),
    Socket(Vec<Step>),
    /// The same of the agent with this name.
    Of(&'static str, Vec<Step>),
}

impl Reply {
    pub(crate) fn error(status: &'static str, body: &str) -> Self {
        Self::Http(status, body.to_owned())
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// Method and path with the query.
    pub(crate) line: String,
    /// Lower case names.
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.head.split("\r\n").find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).unwrap_or_default()
    }
}

pub(crate) struct Fake {
    pub(crate) sandbox: Sandbox,
    requests: Arc<Mutex<Vec<Request>>>,
    heard: mpsc::UnboundedReceiver<Message>,
}

impl Fake {
    pub(crate) async fn serve(answer: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (ear, heard) = mpsc::unbounded_channel();
        let toolbox = format!("{origin}/toolbox");
        let answer = Arc::new(answer);
        let log = Arc::clone(&requests);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (answer, log, ear, toolbox) = (Arc::clone(&answer), Arc::clone(&log), ear.clone(), toolbox.clone());
                tokio::spawn(async move { converse(stream, &*answer, &log, &ear, &toolbox).await });
            }
        });
        let config = Config { api_key: Some("k".into()), api_url: Some(format!("{origin}/api")), ..Config::default() };
        let sandbox = Daytona::new(&config).unwrap().get("s1", None).await.unwrap();
        Self { sandbox, requests, heard }
    }

    /// What came for the sandbox.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.requests().into_iter().map(|request| request.line).collect()
    }

    pub(crate) async fn heard(&mut self) -> Message {
        tokio::time::timeout(LIMIT, self.heard.recv()).await.expect("nothing was heard").unwrap()
    }
}

async fn converse(
    mut stream: TcpStream,
    answer: &(impl Fn(&Request) -> Reply + Send + Sync),
    log: &Mutex<Vec<Request>>,
    ear: &mpsc::UnboundedSender<Message>,
    toolbox: &str,
) {
    while let Some(request) = read(&mut stream).await {
        let reply = if let Some(line) = request.line.strip_prefix("GET /api/") {
            assert_eq!(line, "sandbox/s1");
            let body = serde_json::json!({ "id": "s1", "state": "started", "toolboxProxyUrl": toolbox });
            Reply::Http("200 OK", body.to_string())
        } else {
            let mut request = request.clone();
            request.line = request.line.replace("/toolbox/s1/process", "");
            log.lock().unwrap().push(request.clone());
            answer(&request)
        };
        match reply {
            Reply::Http(status, body) => {
                let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
                stream.write_all(head.as_bytes()).await.unwrap();
            }
            Reply::Socket(steps) => return open(stream, &request, "", steps, ear).await,
            Reply::Of(agent, steps) => {
                return open(stream, &request, &format!("X-Daytona-Agent: {agent}\r\n"), steps, ear).await;
            }
        }
    }
}

async fn open(
    mut stream: TcpStream,
    request: &Request,
    more: &str,
    steps: Vec<Step>,
    ear: &mpsc::UnboundedSender<Message>,
) {
    let key = derive_accept_key(request.header("sec-websocket-key").as_bytes());
    let head = format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         {more}Sec-WebSocket-Accept: {key}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    play(WebSocketStream::from_raw_socket(stream, Role::Server, None).await, steps, ear).await;
}

async fn read(stream: &mut TcpStream) -> Option<Request> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).unwrap();
    let (first, headers) = head.split_once("\r\n").unwrap();
    let line = first.strip_suffix(" HTTP/1.1").unwrap().to_owned();
    let head: Vec<String> = headers
        .split("\r\n")
        .map(|header| {
            header
                .split_once(':')
                .map_or_else(String::new, |(name, value)| format!("{}:{value}", name.to_ascii_lowercase()))
        })
        .collect();
    let mut request = Request { line, head: head.join("\r\n"), body: String::new() };
    let mut body = vec![0; request.header("content-length").parse().unwrap_or(0)];
    stream.read_exact(&mut body).await.ok()?;
    request.body = String::from_utf8(body).unwrap();
    Some(request)
}

async fn play(mut socket: WebSocketStream<TcpStream>, steps: Vec<Step>, ear: &mpsc::UnboundedSender<Message>) {
    for step in steps {
        let sent = match step {
            Step::Text(text) => socket.send(Message::text(text)).await,
            Step::Bytes(bytes) => socket.send(Message::binary(bytes)).await,
            Step::Close(code, reason) => {
                let frame = CloseFrame { code: code.into(), reason: reason.into() };
                let sent = socket.close(Some(frame)).await;
                while socket.next().await.is_some_and(|message| message.is_ok()) {}
                sent
            }
            Step::Hear => {
                while let Some(Ok(message)) = socket.next().await {
                    if !message.is_ping() {
                        let _ = ear.send(message);
                        break;
                    }
                }
                Ok(())
            }
            Step::HearAll => {
                while let Some(Ok(message)) = socket.next().await {
                    if !message.is_ping() {
                        let _ = ear.send(message);
                    }
                }
                Ok(())
            }
            Step::Tell(told) => {
                told.notify_one();
                Ok(())
            }
            Step::Counted(bytes, count) => {
                let sent = socket.send(Message::binary(bytes)).await;
                count.fetch_add(1, Ordering::SeqCst);
                sent
            }
            Step::Wait(go) => {
                go.notified().await;
                Ok(())
            }
        };
        if sent.is_err() {
            return;
        }
    }
}
