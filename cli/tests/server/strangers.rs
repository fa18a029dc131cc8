//! Connections of clients that never say who they are.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use russh::client;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::Child;

use crate::ssh::{access, output, run, ssh};
use crate::ssh_details::Trusting;
use crate::support::{LIMIT, Server};

/// Waits until the other side has closed the connection.
async fn closed(mut stream: TcpStream, what: &str) {
    let rest = async {
        let mut scrap = [0; 4096];
        while matches!(stream.read(&mut scrap).await, Ok(1..)) {}
    };
    tokio::time::timeout(LIMIT, rest).await.unwrap_or_else(|_| panic!("{what}: the connection stays open"));
}

/// Sends `text` again and again, byte by byte, until nobody takes it.
async fn trickle(mut stream: TcpStream, text: &[u8], what: &str) {
    let sending = async {
        for byte in text.iter().cycle() {
            if stream.write_all(&[*byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(LIMIT, sending).await.unwrap_or_else(|_| panic!("{what}: the connection stays open"));
}

async fn begun(address: &str, text: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(text).await.unwrap();
    stream
}

#[tokio::test]
async fn a_request_without_a_whole_head_is_not_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::open(dir.path(), &["--head-time", "3"]).await;
    let id = server.create(json!({})).await;
    let address = server.origin.strip_prefix("http://").unwrap();
    let settings = [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &[0, 0, 0, 4, 0, 0, 0, 0, 0]].concat();
    // HEADERS of a stream that never end: END_HEADERS is missing.
    let headers = [&settings[..], &[0, 0, 1, 1, 0, 0, 0, 0, 1, 0x82]].concat();
    let silent = [
        ("nothing", &b""[..]),
        ("the first letter of either protocol", b"P"),
        ("half a preface of HTTP/2", b"PRI * HTTP/2.0\r\n"),
        ("half a head", b"POST /api/sandbox HTTP/1.1\r\nHost: x\r\n"),
        ("HTTP/2 without a request", &settings),
        ("HTTP/2 with half a head", &headers),
    ];
    let silent = join_all(silent.map(async |(what, text)| closed(begun(address, text).await, what).await));
    let slow = [
        ("a slow preface", &b""[..], &b"PRI * HTTP/2.0\r\n\r\nSM\r"[..]),
        ("a slow head", b"GET / HTTP/1.1\r\n", b"X-Slow: very\r\n"),
    ];
    let slow = join_all(slow.map(async |(what, text, rest)| trickle(begun(address, text).await, rest, what).await));
    // An answer takes as long as it takes.
    let (_, _, answer) = tokio::join!(silent, slow, server.exec(&id, "sleep 8; echo on"));
    assert_eq!(answer, "on\n");
}

/// The address that SSH clients connect to.
async fn ssh_address(server: &Server) -> String {
    let id = server.create(json!({})).await;
    let (command, _) = access(server, &id, "").await;
    let port = command.split_whitespace().skip_while(|word| *word != "-p").nth(1).unwrap();
    format!("127.0.0.1:{port}")
}

#[tokio::test]
async fn an_ssh_client_has_to_show_its_token_in_time() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::open(dir.path(), &["--ssh-port", "0", "--login-time", "5"]).await;
    let address = ssh_address(&server).await;
    let silent = [
        ("nothing", &b""[..]),
        ("no key exchange", b"SSH-2.0-x\r\n"),
        ("half a packet", b"SSH-2.0-x\r\n\0\0\x02\0\x06"),
    ];
    let silent = join_all(silent.map(async |(what, text)| closed(begun(&address, text).await, what).await));
    let slow = async { trickle(begun(&address, b"").await, b"SSH-2.0-", "a slow name").await };
    let attempts = async {
        let config = Arc::new(client::Config { inactivity_timeout: None, ..client::Config::default() });
        let mut session = client::connect(config, address.as_str(), Trusting).await.unwrap();
        while !session.is_closed() {
            let Ok(attempt) = session.authenticate_password("nobody", "wrong").await else { return };
            assert!(!attempt.success());
        }
    };
    let attempts = tokio::time::timeout(LIMIT, attempts);
    let (_, (), attempts) = tokio::join!(silent, slow, attempts);
    attempts.expect("passwords are tried for ever");

    let id = server.create(json!({})).await;
    let (command, _) = access(&server, &id, "").await;
    assert_eq!(run(&command, "'sleep 6; echo on'").await, "on\n");
}

/// A client that was let in.
async fn guest(command: &str) -> Child {
    let mut child = ssh(command, "", "'echo in; exec cat'")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
    let line = tokio::time::timeout(LIMIT, lines.next_line()).await.expect("nobody is let in").unwrap();
    assert_eq!(line.as_deref(), Some("in"));
    child
}

#[tokio::test]
async fn few_ssh_clients_at_once_may_be_without_a_token() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::open(dir.path(), &["--ssh-port", "0", "--logins", "2"]).await;
    let address = ssh_address(&server).await;
    let id = server.create(json!({})).await;
    let (command, _) = access(&server, &id, "").await;
    // Those who are let in take nobody's place.
    let mut guests = Vec::new();
    for _ in 0..3 {
        guests.push(guest(&command).await);
    }
    let mut silent = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(&address).await.unwrap();
        let mut name = [0; 8];
        tokio::time::timeout(LIMIT, stream.read_exact(&mut name)).await.expect("no answer").unwrap();
        assert_eq!(&name, b"SSH-2.0-");
        silent.push(stream);
    }
    closed(TcpStream::connect(&address).await.unwrap(), "one too many").await;
    assert_eq!(output(ssh(&command, "", "true")).await.status.code(), Some(255));
    for guest in &mut guests {
        // It ends as its input does.
        drop(guest.stdin.take());
        let status = tokio::time::timeout(LIMIT, guest.wait()).await.expect("a guest hangs").unwrap();
        assert!(status.success(), "{status:?}");
    }
    drop(silent.pop());
    let again = async {
        while !output(ssh(&command, "", "true")).await.status.success() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(LIMIT, again).await.expect("the place stays taken");
    server.call("GET", "/api/sandbox", Value::Null).await.expect(200);
}
