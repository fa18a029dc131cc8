//! Images: what sandboxes and snapshots are made of.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{LIMIT, Server};

impl Server {
    /// The resource at this path, once it is in one of these states.
    pub(crate) async fn reaches(&self, path: &str, states: &[&str]) -> Value {
        let reached = async {
            loop {
                let now = self.call("GET", path, Value::Null).await.expect(200);
                if states.contains(&now["state"].as_str().unwrap()) {
                    return now;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(LIMIT, reached).await.unwrap_or_else(|_| panic!("{path} is never {states:?}"))
    }

    pub(crate) async fn build(&self, name: &str, dockerfile: &str) -> Value {
        let body = json!({"name": name, "buildInfo": {"dockerfileContent": dockerfile}});
        let pending = self.call("POST", "/api/sandbox", body).await.expect(200);
        assert_eq!(pending["state"], "pending_build");
        self.reaches(&format!("/api/sandbox/{name}"), &["started", "build_failed", "error"]).await
    }

    pub(crate) async fn log(&self, path: &str) -> String {
        let answer = self.call("GET", &format!("{path}/build-logs?follow=true"), Value::Null).await;
        assert_eq!(answer.status, 200);
        String::from_utf8(answer.bytes.to_vec()).unwrap()
    }
}

async fn with_host_view() -> (tempfile::TempDir, Server) {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::open(dir.path(), &["--image-fallback", "host"]).await;
    (dir, server)
}

#[tokio::test]
async fn the_host_stands_in_where_that_is_asked_for() {
    let (_dir, server) = with_host_view().await;
    let made = server.build("i", "FROM ubuntu:24.04\n").await;
    assert_eq!(made["state"], "started", "{made}");
    assert_eq!(made["labels"]["daytona-native/image"], "host view");
    assert!(server.log("/api/sandbox/i").await.contains("host view"));
    assert_eq!(server.exec("i", "echo $USER").await, "daytona\n");

    let created = server.call("POST", "/api/snapshots", json!({"name": "s", "imageName": "debian:12"})).await;
    assert_eq!(created.expect(200)["state"], "pending");
    let active = server.reaches("/api/snapshots/s", &["active", "error"]).await;
    assert_eq!((&active["state"], &active["imageName"]), (&json!("active"), &json!("debian:12")));
    assert_eq!(active["ref"], "host view");
    let id = server.create(json!({"snapshot": "s"})).await;
    let labels = &server.get(&id).await.expect(200)["labels"];
    assert_eq!(labels["daytona-native/image"], "host view");
    server.call("DELETE", "/api/snapshots/s", Value::Null).await.expect(200);
    for bad in ["debian", "debian:latest", "no image"] {
        let body = json!({"name": "bad", "imageName": bad});
        server.call("POST", "/api/snapshots", body).await.error(400, "VALIDATION_FAILED");
    }
}

#[tokio::test]
async fn a_sandbox_that_waits_too_long_is_given_up() {
    // A registry that never answers: builds wait for it.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = silent.local_addr().unwrap().port();
    let server = Server::new().await;
    let create = async |name: &str, limit: Value| {
        let dockerfile = format!("FROM 127.0.0.1:{port}/{name}:1\n");
        let body = json!({"name": name, "buildInfo": {"dockerfileContent": dockerfile}, "queueTimeout": limit});
        server.call("POST", "/api/sandbox", body).await.expect(200)["id"].as_str().unwrap().to_owned()
    };
    for name in ["one", "two"] {
        create(name, json!(1)).await;
        server.reaches(&format!("/api/sandbox/{name}"), &["building_snapshot"]).await;
    }
    let id = create("three", json!(1)).await;
    let given_up = server.reaches(&format!("/api/sandbox/{id}"), &["destroyed"]).await;
    assert!(given_up["queueTimedOutAt"].is_string(), "{given_up}");
    // Its name is free, and those whose turn had come are left alone.
    server.call("GET", "/api/sandbox/three", Value::Null).await.error(404, "SANDBOX_NOT_FOUND");
    server.call("POST", &format!("/api/sandbox/{id}/start"), Value::Null).await.error(404, "SANDBOX_NOT_FOUND");
    for name in ["one", "two"] {
        assert_eq!(server.get(name).await.expect(200)["state"], "building_snapshot");
    }
    create("three", Value::Null).await;
}
