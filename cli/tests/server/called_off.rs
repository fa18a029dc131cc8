//! A client that goes before it has the answer leaves no sandbox behind.

use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::support::{LIMIT, Server, binary};

/// Sends a request and waits for nothing; whoever drops this has hung up.
async fn send(server: &Server, path: &str, body: &Value) -> TcpStream {
    let address = server.origin.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let body = body.to_string();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n",
        server.key(),
        body.len()
    );
    stream.write_all(&[head.as_bytes(), body.as_bytes()].concat()).await.unwrap();
    stream
}

/// Ids and states of all sandboxes but one.
async fn others(server: &Server, id: &str) -> Vec<(String, String)> {
    let all = server.call("GET", "/api/sandbox", Value::Null).await.expect(200);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let all = all["items"].as_array().unwrap().iter().map(|one| (text(&one["id"]), text(&one["state"])));
    all.filter(|(other, _)| other != id).collect()
}

async fn until(server: &Server, id: &str, is: impl Fn(&[(String, String)]) -> bool) {
    let waited = async {
        while !is(&others(server, id).await) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let waited = tokio::time::timeout(LIMIT, waited).await;
    assert!(waited.is_ok(), "it does not come to that: {:?}", others(server, id).await);
}

/// Returns when a fork that was called off holds it no longer.
async fn until_started(server: &Server, id: &str) {
    let waited = async {
        while server.get(id).await.expect(200)["state"] != "started" {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(LIMIT, waited).await.is_ok(), "it does not start again");
}

fn is_being_made(all: &[(String, String)]) -> bool {
    all.iter().any(|(_, state)| state == "creating")
}

/// Nothing can be frozen without cgroups.
fn can_fork(server: &Server) -> bool {
    server.ready["runtime"] == "ns"
}

/// A server with a sandbox of so many files that copying them takes a while, and a snapshot of it.
async fn crowded() -> (Server, String) {
    let server = Server::new().await;
    let id = server.create(json!({})).await;
    server.exec(&id, "mkdir tree; seq 5000 | split -d -l 1 -a 5 - tree/f").await;
    server.call("POST", &format!("/api/sandbox/{id}/snapshot"), json!({ "name": "crowded" })).await.expect(200);
    (server, id)
}

#[tokio::test]
async fn a_client_that_hangs_up_takes_its_new_sandbox_along() {
    let (server, id) = crowded().await;
    let mut all = vec![("/api/sandbox".to_owned(), json!({ "snapshot": "crowded" }))];
    if can_fork(&server) {
        all.push((format!("/api/sandbox/{id}/fork"), json!({})));
    }
    for (path, body) in all {
        let stream = send(&server, &path, &body).await;
        until(&server, &id, is_being_made).await;
        drop(stream);
        until(&server, &id, <[_]>::is_empty).await;
        until_started(&server, &id).await;
    }
    // The fork does not hold its parent.
    server.call("DELETE", &format!("/api/sandbox/{id}"), Value::Null).await.expect(200);
}

#[tokio::test]
async fn a_program_that_is_killed_or_interrupted_takes_its_new_sandbox_along() {
    use rustix::process::{Pid, Signal, kill_process};
    let (server, id) = crowded().await;
    let mut all = vec![vec!["create", "--snapshot", "crowded"]];
    if can_fork(&server) {
        all.push(vec!["fork", &id]);
    }
    for args in all {
        for signal in [Signal::KILL, Signal::INT] {
            let mut program = binary()
                .args(&args)
                .env("DAYTONA_API_URL", format!("{}/api", server.origin))
                .env("DAYTONA_API_KEY", server.key())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            until(&server, &id, is_being_made).await;
            let pid = Pid::from_raw(i32::try_from(program.id().unwrap()).unwrap()).unwrap();
            kill_process(pid, signal).unwrap();
            let status = tokio::time::timeout(LIMIT, program.wait()).await.expect("it does not end").unwrap();
            if signal == Signal::INT {
                assert_eq!(status.code(), Some(130));
            }
            until(&server, &id, <[_]>::is_empty).await;
            until_started(&server, &id).await;
        }
    }
    server.call("DELETE", &format!("/api/sandbox/{id}"), Value::Null).await.expect(200);
}

#[tokio::test]
async fn an_answered_one_stays() {
    let server = Server::new().await;
    let id = server.create(json!({})).await;
    let fork = server.call("POST", &format!("/api/sandbox/{id}/fork"), json!({})).await;
    // What cannot fork says so.
    if fork.status == 200 {
        assert_eq!(others(&server, &id).await.len(), 1);
    }
    assert_eq!(server.get(&id).await.expect(200)["state"], "started");
}
