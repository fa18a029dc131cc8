//! What is stored, when the server is killed while it changes it, and the timers of the next one.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{LIMIT, Server};

/// Enough for packing and copying to take a while.
const MANY: &str = "mkdir many; for i in $(seq 2000); do echo $i > many/$i; done; head -c 30000000 /dev/urandom > big; \
                    cat many/* big | sha256sum";
const SAME: &str = "cat many/* big | sha256sum";

/// Everything of the data directory that is half made, or that nothing refers to. What is in the trash is deleted while
/// the server runs.
fn leftovers(dir: &Path, known: &[&str]) -> Vec<String> {
    let mut left = Vec::new();
    for folder in ["sandboxes", "archives", "snapshots", "lost+found"] {
        for entry in std::fs::read_dir(dir.join(folder)).into_iter().flatten().flatten() {
            let name = entry.file_name().into_string().unwrap();
            let id = name.strip_suffix(".tar.zst").unwrap_or(&name);
            if !known.contains(&id) {
                left.push(format!("{folder}/{name}"));
            }
        }
    }
    left
}

/// Kills the server so long after the request was sent.
async fn killed_during(server: &mut Server, path: &str, body: Value, after: Duration) {
    let _ = tokio::time::timeout(after, server.call("POST", path, body)).await;
    server.kill().await;
}

#[tokio::test]
async fn an_archive_is_whole_or_not_there() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::open(dir.path(), &[]).await;
    let id = server.create(json!({"name": "s"})).await;
    let sum = server.exec(&id, MANY).await;
    server.becomes("s", "stop", "stopped").await;
    for millis in [1, 15, 40, 90, 200, 400] {
        let state = server.get("s").await.expect(200)["state"].clone();
        let what = if state == "archived" { "start" } else { "archive" };
        killed_during(&mut server, &format!("/api/sandbox/s/{what}"), Value::Null, Duration::from_millis(millis)).await;
        server = Server::open(dir.path(), &[]).await;
        let now = server.get("s").await.expect(200)["state"].clone();
        assert!(now == "archived" || now == "stopped", "{now}");
        assert_eq!(leftovers(dir.path(), &[&id]), [""; 0]);
        let live = dir.path().join("sandboxes").join(&id).exists();
        let packed = dir.path().join("archives").join(format!("{id}.tar.zst")).exists();
        assert_eq!((live, packed), (now == "stopped", now == "archived"), "one of both is the truth");
    }
    server.becomes("s", "start", "started").await;
    assert_eq!(server.exec(&id, SAME).await, sum);
}

#[tokio::test]
async fn forks_and_snapshots_are_whole_or_not_there() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::open(dir.path(), &[]).await;
    let id = server.create(json!({"name": "s"})).await;
    let sum = server.exec(&id, MANY).await;
    let can_fork = server.limit_holds("freeze").await;
    for (round, millis) in [1, 10, 40, 120, 300].into_iter().enumerate() {
        let after = Duration::from_millis(millis);
        if can_fork {
            let body = json!({"name": format!("fork{round}")});
            killed_during(&mut server, "/api/sandbox/s/fork", body, after).await;
            server = Server::open(dir.path(), &[]).await;
        }
        server.becomes("s", "start", "started").await;
        server.becomes("s", "stop", "stopped").await;
        let body = json!({"name": format!("snap{round}")});
        killed_during(&mut server, "/api/sandbox/s/snapshot", body, after).await;
        server = Server::open(dir.path(), &[]).await;
        let list = server.call("GET", "/api/sandbox", Value::Null).await.expect(200);
        let snapshots = server.call("GET", "/api/snapshots", Value::Null).await.expect(200);
        let of = |page: &Value| -> Vec<Value> { page["items"].as_array().unwrap().clone() };
        let (sandboxes, snapshots) = (of(&list), of(&snapshots));
        let known: Vec<&str> = sandboxes.iter().chain(&snapshots).map(|one| one["id"].as_str().unwrap()).collect();
        assert_eq!(leftovers(dir.path(), &known), [""; 0]);
        for one in &sandboxes {
            assert_eq!(one["state"], "stopped", "{one}");
        }
        for one in snapshots.iter().filter(|one| one["general"] == false) {
            assert_eq!(one["state"], "active", "{one}");
            let made = server.create(json!({"snapshot": one["name"], "autoDeleteInterval": 0})).await;
            assert_eq!(server.exec(&made, SAME).await, sum);
            server.call("DELETE", &format!("/api/sandbox/{made}"), Value::Null).await.expect(200);
            server
                .call("DELETE", &format!("/api/snapshots/{}", one["id"].as_str().unwrap()), Value::Null)
                .await
                .expect(200);
        }
        for one in sandboxes.iter().filter(|one| one["id"] != id) {
            let fork = one["id"].as_str().unwrap();
            server.becomes(fork, "start", "started").await;
            assert_eq!(server.exec(fork, SAME).await, sum);
            server.call("DELETE", &format!("/api/sandbox/{fork}"), Value::Null).await.expect(200);
        }
        server.becomes("s", "start", "started").await;
    }
    assert_eq!(server.exec(&id, SAME).await, sum);
}

#[tokio::test]
async fn a_paused_sandbox_is_stopped_when_its_server_was_killed() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::open(dir.path(), &[]).await;
    let id = server.create(json!({"name": "p"})).await;
    if !server.limit_holds("freeze").await {
        return;
    }
    server.exec(&id, "echo kept > kept").await;
    server.becomes("p", "pause", "paused").await;
    server.kill().await;
    let server = Server::open(dir.path(), &[]).await;
    let stopped = server.get("p").await.expect(200);
    assert_eq!(stopped["state"], "stopped");
    assert!(stopped["errorReason"].as_str().unwrap().contains("memory is lost"), "{stopped}");
    server.becomes("p", "start", "started").await;
    assert_eq!(server.exec(&id, "cat kept").await, "kept\n");
}

/// The shortest times there are, a minute each: the one test that has to wait for a clock.
#[tokio::test]
async fn timers_go_on_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::open(dir.path(), &[]).await;
    server.create(json!({"name": "deleted", "autoDeleteInterval": 1})).await;
    server.create(json!({"name": "archived", "autoArchiveInterval": 1})).await;
    server.create(json!({"name": "packed and deleted", "autoDeleteInterval": 1})).await;
    server.create(json!({"name": "lived", "ttlMinutes": 1})).await;
    let forks = server.limit_holds("freeze").await;
    if forks {
        // Its time is over while its fork lives: that fails, and is tried again.
        server.create(json!({"name": "parent", "ttlMinutes": 1})).await;
        server.post("parent", "fork", json!({"name": "fork"})).await.expect(200);
    }
    for name in ["deleted", "archived", "packed%20and%20deleted"] {
        server.becomes(name, "stop", "stopped").await;
    }
    server.becomes("packed%20and%20deleted", "archive", "archived").await;
    server.kill().await;
    let mut server = Server::open(dir.path(), &[]).await;
    server.create(json!({"name": "idle", "autoStopInterval": 1})).await;
    let pauses = server.limit_holds("freeze").await;
    if pauses {
        server.create(json!({"name": "resting", "autoPauseInterval": 1})).await;
    }
    for (name, state) in [
        ("lived", "gone"),
        ("deleted", "gone"),
        ("packed%20and%20deleted", "gone"),
        ("archived", "archived"),
        ("idle", "stopped"),
    ] {
        reaches(&server, name, state).await;
    }
    if pauses {
        reaches(&server, "resting", "paused").await;
        server.becomes("resting", "start", "started").await;
        tokio::time::timeout(LIMIT, server.exec("resting", "true")).await.unwrap();
    }
    if forks {
        assert_eq!(server.get("parent").await.expect(200)["state"], "stopped");
        server.call("DELETE", "/api/sandbox/fork", Value::Null).await.expect(200);
        server.kill().await;
        // A new server does not wait before it tries.
        let server = Server::open(dir.path(), &[]).await;
        reaches(&server, "parent", "gone").await;
    }
}

/// Returns when a sandbox is in this state, or gone.
async fn reaches(server: &Server, name: &str, state: &str) {
    const PATIENCE: Duration = Duration::from_secs(110);
    let there = async {
        loop {
            let answer = server.get(name).await;
            let now = if answer.status == 404 { json!("gone") } else { answer.expect(200)["state"].clone() };
            if now == state {
                return;
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    };
    tokio::time::timeout(PATIENCE, there).await.unwrap_or_else(|_| panic!("{name} is not {state}"));
}
