//! A small client for the agents: one HTTP request on a Unix socket.

use std::path::Path;

use daytona_runtime::{Network, SandboxSpec, Started};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

/// A sandbox without limits, as `daytona`.
pub(crate) fn spec(id: &str) -> SandboxSpec {
    SandboxSpec {
        id: id.to_owned(),
        name: format!("host-{id}"),
        user: "daytona".to_owned(),
        unset_env: std::collections::BTreeSet::new(),
        image: None,
        volumes: Vec::new(),
        env: [("GREETING".to_owned(), "hello".to_owned())].into(),
        cpu: 0.0,
        memory_gib: 0.0,
        disk_gib: 0.0,
        network: Network::Host,
        version: "test".to_owned(),
    }
}

/// Runs a shell command through the agent; its exit code and output.
pub(crate) async fn exec(started: &Started, command: &str) -> std::io::Result<(i64, String)> {
    let body = json!({ "command": command }).to_string();
    let answer = request(&started.socket, "POST", "/process/execute", &body).await?;
    let answer: Value = serde_json::from_str(&answer)?;
    let code = answer["exitCode"].as_i64();
    let result = answer["result"].as_str();
    match (code, result) {
        (Some(code), Some(result)) => Ok((code, result.trim_end().to_owned())),
        _ => Err(std::io::Error::other(answer.to_string())),
    }
}

/// The body of the answer.
pub(crate) async fn request(socket: &Path, method: &str, path: &str, body: &str) -> std::io::Result<String> {
    let mut stream = UnixStream::connect(socket).await?;
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: agent\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    stream.write_all(head.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    match answer.split_once("\r\n\r\n") {
        Some((_, body)) => Ok(body.to_owned()),
        None => Err(std::io::ErrorKind::UnexpectedEof.into()),
    }
}
