//! The control plane's routes.

use serde_json::{Value, json};

use crate::support::Server;

#[tokio::test]
async fn nothing_is_answered_without_the_key() {
    let server = Server::new().await;
    let id = server.create(json!({})).await;
    let toolbox = format!("/toolbox/{id}/work-dir");
    let by_file = format!("/toolbox/{id}/files/download?path=x");
    for path in ["/api/sandbox", "/api/health", "/api/nowhere", "/", &toolbox, &by_file] {
        for headers in [
            &[][..],
            &[("authorization", "Bearer wrong")],
            &[("authorization", "Basic c2VjcmV0")],
            &[("x-daytona-preview-token", "wrong")],
        ] {
            let answer = server.anonymous("GET", path, headers).await;
            answer.error(401, "UNAUTHORIZED");
        }
    }
    server.anonymous("POST", "/api/sandbox", &[]).await.error(401, "UNAUTHORIZED");
    server.anonymous("DELETE", &format!("/api/sandbox/{id}"), &[]).await.error(401, "UNAUTHORIZED");
    server.get(&id).await.expect(200);
}

#[tokio::test]
async fn a_sandbox_is_shown_whole() {
    let server = Server::new().await;
    let body = json!({
        "name": "my box", "env": {"A": "b"}, "labels": {"k": "v"}, "public": true,
        "target": "eu", "autoStopInterval": 0, "autoArchiveInterval": 0, "ttlMinutes": 10,
        "queueTimeout": 5, "volumes": [], "secrets": [], "networkAllowList": null,
    });
    let created = server.call("POST", "/api/sandbox", body).await.expect(200);
    let expected = json!({
        "name": "my box", "env": {"A": "b"}, "public": true, "target": "eu", "snapshot": "host",
        "networkBlockAll": false, "state": "started", "desiredState": "started",
        "autoStopInterval": 0, "autoArchiveInterval": 43200, "autoDeleteInterval": -1, "gpu": 0,
        "sandboxClass": "container", "backupState": "None", "volumes": [],
    });
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(&created[name], value, "{name}");
    }
    assert_eq!(created["labels"]["k"], "v");
    let runtime = &server.ready["runtime"];
    assert_eq!(&created["labels"]["daytona-native/runtime"], runtime);
    assert_eq!(created["labels"].get("daytona-native/isolation").is_some(), runtime == "process");
    assert_eq!(created["toolboxProxyUrl"], format!("{}/toolbox", server.origin));
    for field in
        ["id", "organizationId", "user", "createdAt", "updatedAt", "lastActivityAt", "autoDestroyAt", "daemonVersion"]
    {
        assert!(created[field].as_str().is_some_and(|text| !text.is_empty()), "{field}");
    }
    for field in ["cpu", "memory", "disk"] {
        assert!(created[field].as_i64().is_some_and(|size| size > 0), "{field}");
    }
    let by_name = server.get("my%20box").await.expect(200);
    assert_eq!(by_name["id"], created["id"]);
    let unnamed = server.create(json!({})).await;
    assert_eq!(server.get(&unnamed).await.expect(200)["name"], unnamed);
}

#[tokio::test]
async fn bad_and_unsupported_creates_are_refused_with_the_reason() {
    let server = Server::new().await;
    let build = json!({"dockerfileContent": "FROM debian:12\n"});
    let invalid = [
        (json!({"name": "a/b"}), "name must be"),
        (json!({"name": 5}), "name: invalid type"),
        (json!([1]), "invalid type"),
        (json!({"cpu": 2}), "Cannot specify Sandbox resources when using a snapshot"),
        (json!({"snapshot": "host", "memory": 2}), "Cannot specify Sandbox resources"),
        (json!({"buildInfo": build, "cpu": -1}), "cpu must be at least 1"),
        (json!({"buildInfo": build, "snapshot": "host"}), "Cannot specify a snapshot"),
        (json!({"buildInfo": {"dockerfileContent": " "}}), "must not be empty"),
        (json!({"autoStopInterval": -1}), "autoStopInterval must be at least 0"),
        (json!({"autoStopInterval": "soon"}), "autoStopInterval: invalid type"),
        (json!({"autoArchiveInterval": 50_000}), "at most 43200"),
        (json!({"ttlMinutes": -5}), "ttlMinutes must be at least 0"),
        (json!({"env": {"1A": "x"}}), "is no name of an environment variable"),
        (json!({"env": {"A": "x\u{0}"}}), "has a NUL byte"),
        (json!({"labels": {"a": 1}}), "labels.a: invalid type"),
        (json!({"networkAllowList": "10.0.0.0/8,10.0.0.1"}), "\"10.0.0.1\" is no IPv4 network"),
        (json!({"domainAllowList": "*"}), "\"*\" is no domain"),
    ];
    for (body, reason) in invalid {
        let error = server.call("POST", "/api/sandbox", body.clone()).await.error(400, "VALIDATION_FAILED");
        let message = error["message"].as_str().unwrap();
        assert!(message.contains(reason), "{body}: {message}");
        assert_eq!(error["source"], "DAYTONA_API");
        assert_eq!(error["error"], "Bad Request");
    }
    let unknown = server.call("POST", "/api/sandbox", json!({"snapshot": "mine"})).await;
    let message = unknown.error(400, "SNAPSHOT_NOT_FOUND")["message"].to_string();
    assert!(message.contains("Snapshot mine not found."), "{message}");
    server.call("POST", "/api/sandbox", json!({"user": "somebody"})).await.error(400, "UNSUPPORTED_BY_RUNTIME");
    let missing = [
        json!({"gpu": 1}),
        json!({"gpuType": ["H100"]}),
        json!({"kvm": true}),
        json!({"otelEndpointOverride": "http://o"}),
    ];
    for body in missing {
        server.call("POST", "/api/sandbox", body.clone()).await.error(501, "NOT_IMPLEMENTED");
    }
    let list = server.call("GET", "/api/sandbox", Value::Null).await.expect(200);
    assert_eq!(list["items"], json!([]), "a refused create leaves nothing");
}

#[tokio::test]
async fn names_are_unique_while_their_sandbox_lives() {
    let server = Server::new().await;
    let id = server.create(json!({"name": "one"})).await;
    server.call("POST", "/api/sandbox", json!({"name": "one"})).await.error(409, "SANDBOX_NAME_TAKEN");
    server.call("POST", "/api/sandbox", json!({"name": id})).await.error(409, "SANDBOX_NAME_TAKEN");
    let deleted = server.call("DELETE", "/api/sandbox/one", Value::Null).await.expect(200);
    assert_eq!(deleted["state"], "destroyed");
    server.get("one").await.error(404, "SANDBOX_NOT_FOUND");
    server.get(&id).await.error(404, "SANDBOX_NOT_FOUND");
    server.call("DELETE", "/api/sandbox/one", Value::Null).await.error(404, "SANDBOX_NOT_FOUND");
    assert!(!server.dir.join("sandboxes").join(&id).exists());
    server.create(json!({"name": "one"})).await;
}

#[tokio::test]
async fn states_follow_each_other() {
    let server = Server::new().await;
    let id = server.create(json!({"name": "s"})).await;
    server.exec(&id, "echo kept > kept.txt").await;
    let started = server.call("POST", "/api/sandbox/s/start", Value::Null).await.expect(200);
    assert_eq!(started["state"], "started", "starting a started sandbox succeeds");
    let stopped = server.call("POST", "/api/sandbox/s/stop", Value::Null).await.expect(200);
    assert_eq!(stopped["state"], "stopped");
    let refused = server.try_exec(&id, "true").await.error(409, "SANDBOX_NOT_RUNNING");
    assert!(refused["message"].as_str().unwrap().contains("is stopped"), "{refused}");
    assert_eq!(refused["source"], "DAYTONA_PROXY");
    server.call("POST", "/api/sandbox/s/stop", Value::Null).await.error(400, "SANDBOX_STATE_INVALID");
    server.call("POST", "/api/sandbox/s/stop?force=perhaps", Value::Null).await.error(400, "VALIDATION_FAILED");
    server.call("POST", "/api/sandbox/s/start", Value::Null).await.expect(200);
    assert_eq!(server.exec(&id, "cat kept.txt").await, "kept\n");
    let stopped = server.call("POST", "/api/sandbox/s/stop?force=true", Value::Null).await.expect(200);
    assert_eq!(stopped["state"], "stopped");
}

#[tokio::test]
async fn an_ephemeral_sandbox_is_deleted_by_its_stop() {
    let server = Server::new().await;
    let id = server.create(json!({"autoDeleteInterval": 0})).await;
    let stopped = server.call("POST", &format!("/api/sandbox/{id}/stop"), Value::Null).await.expect(200);
    assert_eq!(stopped["state"], "destroyed");
    server.get(&id).await.error(404, "SANDBOX_NOT_FOUND");
}

#[tokio::test]
async fn an_image_fails_to_build_and_says_why() {
    let server = Server::new().await;
    let body = json!({"name": "i", "cpu": 2, "buildInfo": {"dockerfileContent": "FROM debian:12\nRUN true\n", "contextHashes": ["h"]}});
    let created = server.call("POST", "/api/sandbox", body).await.expect(200);
    assert_eq!(created["state"], "pending_build");
    assert_eq!(created["cpu"], 2);
    assert_eq!(created["buildInfo"]["contextHashes"], json!(["h"]));
    server.call("GET", "/api/sandbox/i/build-logs?follow=true", Value::Null).await;
    let failed = server.get("i").await.expect(200);
    assert_eq!(failed["state"], "build_failed");
    let reason = failed["errorReason"].as_str().unwrap();
    assert!(reason.contains("the context h is not there") && reason.contains("Create again"), "{reason}");
    let url = server.call("GET", "/api/sandbox/i/build-logs-url", Value::Null).await.expect(200);
    let path = url["url"].as_str().unwrap().strip_prefix(&server.origin).unwrap().to_owned();
    let logs = server.call("GET", &format!("{path}?follow=true"), Value::Null).await;
    assert_eq!(logs.status, 200);
    let logs = String::from_utf8_lossy(&logs.bytes).into_owned();
    assert!(logs.contains("FROM debian:12") && logs.contains(reason), "{logs}");
    server.call("POST", "/api/sandbox/i/start", Value::Null).await.error(400, "SANDBOX_STATE_INVALID");
    server.try_exec("i", "true").await.error(409, "SANDBOX_NOT_RUNNING");
    server.call("DELETE", "/api/sandbox/i", Value::Null).await.expect(200);
}

#[tokio::test]
async fn settings_are_changed_and_checked() {
    let server = Server::new().await;
    server.create(json!({"name": "s", "labels": {"a": "1", "b": "2"}})).await;
    let set = async |path: &str| {
        let answer = server.call("POST", &format!("/api/sandbox/s/{path}"), Value::Null).await;
        answer.expect(200)
    };
    assert_eq!(set("autostop/30").await["autoStopInterval"], 30);
    assert_eq!(set("autoarchive/0").await["autoArchiveInterval"], 43_200);
    assert_eq!(set("autodelete/-1").await["autoDeleteInterval"], -1);
    assert_eq!(set("autodelete/60").await["autoDeleteInterval"], 60);
    assert_eq!(set("autopause/0").await["autoPauseInterval"], 0);
    assert_eq!(set("public/true").await["public"], true);
    assert!(set("ttl/5").await["autoDestroyAt"].is_string());
    assert!(set("ttl/0").await.get("autoDestroyAt").is_none());
    for bad in ["autostop/-1", "autostop/x", "autostop/1.5", "ttl/-1", "public/maybe", "autoarchive/99999"] {
        server.call("POST", &format!("/api/sandbox/s/{bad}"), Value::Null).await.error(400, "VALIDATION_FAILED");
    }
    let labels = json!({"labels": {"c": "3", "daytona-native/runtime": "mine"}});
    let labels = server.call("PUT", "/api/sandbox/s/labels", labels).await.expect(200);
    assert_eq!(labels["labels"]["c"], "3");
    assert!(labels["labels"].get("a").is_none());
    assert_eq!(labels["labels"]["daytona-native/runtime"], server.ready["runtime"]);
    let before = server.get("s").await.expect(200);
    server.call("POST", "/api/sandbox/s/last-activity", json!({"activityType": "x"})).await.expect(201);
    let after = server.get("s").await.expect(200);
    assert!(after["lastActivityAt"].as_str() >= before["lastActivityAt"].as_str());
    server.call("POST", "/api/sandbox/other/autostop/1", Value::Null).await.error(404, "SANDBOX_NOT_FOUND");
}

#[tokio::test]
async fn the_rest_of_the_api_says_what_it_is() {
    let server = Server::new().await;
    server.create(json!({"name": "s"})).await;
    let missing = [("GET", "/api/docker-registry"), ("POST", "/api/organizations"), ("GET", "/api/sandbox/s/secrets")];
    for (method, path) in missing {
        let error = server.call(method, path, Value::Null).await.error(501, "NOT_IMPLEMENTED");
        assert!(error["message"].as_str().unwrap().contains("not available on a local server"));
    }
    server.call("POST", "/api/snapshots", json!({})).await.error(400, "VALIDATION_FAILED");
    server.call("PATCH", "/api/sandbox", Value::Null).await.error(405, "METHOD_NOT_ALLOWED");
    for path in ["/api/nowhere", "/nowhere", "/api", "/api/sandbox/s/nowhere"] {
        server.call("GET", path, Value::Null).await.error(404, "NOT_FOUND");
    }
    let config = server.call("GET", "/api/config", Value::Null).await.expect(200);
    assert_eq!(config["defaultSnapshot"], "host");
    assert_eq!(config["proxyToolboxUrl"], format!("{}/toolbox", server.origin));
    let health = server.call("GET", "/api/health", Value::Null).await.expect(200);
    assert_eq!(health["status"], "ok");
    let snapshots = server.call("GET", "/api/snapshots?limit=1", Value::Null).await.expect(200);
    assert_eq!(snapshots["total"], 1);
    let id = snapshots["items"][0]["id"].as_str().unwrap();
    let snapshot = server.call("GET", &format!("/api/snapshots/{id}"), Value::Null).await.expect(200);
    assert_eq!(snapshot["name"], "host");
    assert_eq!(snapshot["state"], "active");
    server.call("GET", "/api/snapshots/other", Value::Null).await.error(404, "SNAPSHOT_NOT_FOUND");
    let url = server.call("GET", "/api/sandbox/s/toolbox-proxy-url", Value::Null).await.expect(200);
    assert_eq!(url["url"], format!("{}/toolbox", server.origin));
}

#[tokio::test]
async fn the_urls_in_an_answer_are_those_the_client_used() {
    let server = Server::new().await;
    let bearer = format!("Bearer {}", server.key());
    let headers = [("authorization", bearer.as_str()), ("host", "boxes.example:8080")];
    let config = server.anonymous("GET", "/api/config", &headers).await.expect(200);
    assert_eq!(config["proxyToolboxUrl"], "http://boxes.example:8080/toolbox");
}
