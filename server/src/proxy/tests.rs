//! The proxy against agents made for the purpose.

use super::*;

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UnixListener};

use crate::events::Events;
use crate::record::Record;

/// An agent that answers each connection's first request with these bytes and then echoes.
fn agent(path: &std::path::Path, answer: &'static [u8]) -> Arc<AtomicUsize> {
    let listener = UnixListener::bind(path).unwrap();
    let accepted = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&accepted);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    if stream.read_buf(&mut head).await.unwrap_or(0) == 0 {
                        return;
                    }
                }
                stream.write_all(answer).await.unwrap();
                let (mut read, mut write) = stream.split();
                let _ = tokio::io::copy(&mut read, &mut write).await;
            });
        }
    });
    accepted
}

/// A server that forwards everything to one sandbox.
async fn front(sandbox: Arc<Sandbox>) -> TcpStream {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = axum::Router::new().fallback(async move |request: Request| {
        let (mut parts, body) = request.into_parts();
        let target = format!("http://agent{}", parts.uri);
        parts.uri = target.parse().unwrap();
        let answer = forward(&sandbox, Request::from_parts(parts, body)).await;
        answer.unwrap_or_else(|error| error.render("GET", "/"))
    });
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        hyper_util::server::conn::auto::Builder::new(TokioExecutor::new())
            .serve_connection_with_upgrades(TokioIo::new(stream), hyper_util::service::TowerToHyperService::new(router))
            .await
    });
    TcpStream::connect(address).await.unwrap()
}

async fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut text = Vec::new();
    let read = async {
        while !text.ends_with(end.as_bytes()) {
            assert_ne!(stream.read_buf(&mut text).await.unwrap(), 0, "ended early");
        }
    };
    tokio::time::timeout(Duration::from_secs(60), read).await.unwrap();
    String::from_utf8(text).unwrap()
}

#[tokio::test]
async fn an_upgraded_connection_passes_bytes_both_ways_until_the_sandbox_ends() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("agent.sock");
    agent(&path, b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n");
    let sandbox = Sandbox::new(Record::sample("a"), Events::new());
    sandbox.go_live(path, None);
    let mut client = front(Arc::clone(&sandbox)).await;
    client
        .write_all(
            b"GET /pty HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\nUpgrade: \
              websocket\r\n\r\n",
        )
        .await
        .unwrap();
    let head = read_until(&mut client, "\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    assert!(head.to_lowercase().contains("upgrade: websocket"), "{head}");
    client.write_all(b"ping").await.unwrap();
    assert_eq!(read_until(&mut client, "ping").await, "ping");
    assert_eq!(sandbox.idle_since(), None, "an open connection is activity");
    drop(sandbox.end_live());
    let mut rest = Vec::new();
    let end = client.read_to_end(&mut rest);
    tokio::time::timeout(Duration::from_secs(10), end).await.unwrap().unwrap();
}

#[tokio::test]
async fn credentials_and_connection_headers_stay_behind() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("agent.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let sandbox = Sandbox::new(Record::sample("a"), Events::new());
    sandbox.go_live(path, None);
    let mut client = front(sandbox).await;
    client
        .write_all(
            b"GET /work-dir HTTP/1.1\r\nHost: outside\r\nAuthorization: Bearer key\r\nCookie: \
              c=1\r\nX-Daytona-Preview-Token: t\r\nConnection: X-Hop\r\nX-Hop: 1\r\nX-Kept: \
              1\r\n\r\n",
        )
        .await
        .unwrap();
    let (mut agent, _) = listener.accept().await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        agent.read_buf(&mut head).await.unwrap();
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    for gone in ["bearer", "cookie", "preview-token", "x-hop", "outside"] {
        assert!(!head.contains(gone), "{gone}: {head}");
    }
    assert!(head.starts_with("get /work-dir http/1.1"), "{head}");
    assert!(head.contains("x-kept: 1"), "{head}");
}

#[tokio::test]
async fn connections_to_an_agent_are_used_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("agent.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let served = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&served);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::Relaxed);
            let router = axum::Router::new().fallback(async || "hello");
            tokio::spawn(async move {
                hyper_util::server::conn::auto::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(stream), hyper_util::service::TowerToHyperService::new(router))
                    .await
            });
        }
    });
    let sandbox = Sandbox::new(Record::sample("a"), Events::new());
    sandbox.go_live(path, None);
    let mut client = front(Arc::clone(&sandbox)).await;
    for _ in 0..20 {
        client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        read_until(&mut client, "hello").await;
    }
    assert_eq!(served.load(Ordering::Relaxed), 1);
    while sandbox.idle_since().is_none() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn an_agent_that_breaks_off_is_an_error_that_names_the_sandbox() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("agent.sock");
    let listener = UnixListener::bind(&path).unwrap();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        drop(stream);
    });
    let sandbox = Sandbox::new(Record::sample("a"), Events::new());
    sandbox.go_live(path, None);
    let mut client = front(sandbox).await;
    client.write_all(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi").await.unwrap();
    let answer = read_until(&mut client, "}").await;
    assert!(answer.starts_with("HTTP/1.1 502"), "{answer}");
    assert!(answer.contains("AGENT_UNREACHABLE"), "{answer}");
    assert!(answer.contains("sandbox a"), "{answer}");
}
