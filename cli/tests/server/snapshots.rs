//! Snapshots of sandboxes, and sandboxes of snapshots.

use serde_json::{Value, json};

use crate::support::{Answer, Server};

impl Server {
    async fn snapshots(&self, method: &str, path: &str) -> Answer {
        self.call(method, &format!("/api/snapshots{path}"), Value::Null).await
    }
}

fn names(page: &Value) -> Vec<&str> {
    page["items"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_snapshot_makes_sandboxes() {
    let server = Server::new().await;
    let id = server.create(json!({"name": "source"})).await;
    server.exec(&id, "mkdir d; echo kept > d/file; ln -s d/file link").await;
    let isolated = server.ready["runtime"] == "ns";
    if isolated {
        server.exec(&id, "echo t > /tmp/t").await;
    }
    if server.limit_holds("freeze").await {
        let done = server.post("source", "snapshot", json!({"name": "mine"})).await.expect(200);
        assert_eq!((&done["state"], &done["id"]), (&json!("started"), &json!(id)));
        assert_eq!(server.exec(&id, "echo goes on").await, "goes on\n");
    } else {
        server.post("source", "snapshot", json!({"name": "mine"})).await.error(501, "UNSUPPORTED_BY_RUNTIME");
        server.becomes("source", "stop", "stopped").await;
        server.post("source", "snapshot", json!({"name": "mine"})).await.expect(200);
        server.becomes("source", "start", "started").await;
    }
    server.exec(&id, "echo later > d/file").await;

    let snapshot = server.snapshots("GET", "/mine").await.expect(200);
    assert_eq!((&snapshot["state"], &snapshot["sourceSandboxId"]), (&json!("active"), &json!(id)));
    assert_eq!((&snapshot["lastUsedAt"], &snapshot["general"]), (&Value::Null, &json!(false)));
    assert!(snapshot["size"].as_f64().unwrap() > 0.0);
    let by_id = format!("/{}", snapshot["id"].as_str().unwrap());
    assert_eq!(server.snapshots("GET", &by_id).await.expect(200)["name"], "mine");

    for given in ["mine", &by_id[1..]] {
        let made = server.create(json!({"snapshot": given})).await;
        assert_eq!(server.get(&made).await.expect(200)["snapshot"], "mine");
        let seen = server.exec(&made, "cat link; echo own > d/file; cat d/file").await;
        assert_eq!(seen, "kept\nown\n");
        if isolated {
            assert_eq!(server.exec(&made, "cat /tmp/t; cat /etc/hostname").await, format!("t\n{made}\n"));
        }
        server.becomes(&made, "stop", "stopped").await;
        server.becomes(&made, "start", "started").await;
        assert_eq!(server.exec(&made, "cat d/file").await, "own\n");
    }
    assert!(server.snapshots("GET", "/mine").await.expect(200)["lastUsedAt"].is_string());
    let refused = server.call("POST", "/api/sandbox", json!({"snapshot": "mine", "cpu": 2})).await;
    refused.error(400, "VALIDATION_FAILED");
    server.snapshots("DELETE", "/mine").await.expect(200);
    server.snapshots("GET", "/mine").await.error(404, "SNAPSHOT_NOT_FOUND");
    server.call("POST", "/api/sandbox", json!({"snapshot": "mine"})).await.error(400, "SNAPSHOT_NOT_FOUND");
    assert_eq!(std::fs::read_dir(server.dir.join("snapshots")).unwrap().count(), 0);
}

#[tokio::test]
async fn snapshots_are_named_listed_and_switched() {
    let server = Server::new().await;
    let id = server.create(json!({"name": "s"})).await;
    server.becomes("s", "stop", "stopped").await;
    for name in ["first", "second"] {
        let done = server.post("s", "snapshot", json!({"name": name})).await.expect(200);
        assert_eq!(done["state"], "stopped");
    }
    server.post("s", "snapshot", json!({"name": "first"})).await.error(409, "SNAPSHOT_NAME_TAKEN");
    server.post("s", "snapshot", json!({"name": "host"})).await.error(409, "SNAPSHOT_NAME_TAKEN");
    for bad in [json!({}), json!({"name": "a/b"})] {
        server.post("s", "snapshot", bad).await.error(400, "VALIDATION_FAILED");
    }
    let memory = json!({"name": "third", "includeMemory": true});
    server.post("s", "snapshot", memory).await.error(501, "UNSUPPORTED_BY_RUNTIME");
    assert_eq!(server.get("s").await.expect(200)["state"], "stopped", "a refusal changes nothing");

    let list = async |query: &str| server.snapshots("GET", query).await.expect(200);
    assert_eq!(names(&list("?sort=name&order=asc").await), ["first", "host", "second"]);
    let page = list("?sort=name&order=desc&limit=2&page=2").await;
    assert_eq!((names(&page), &page["total"], &page["totalPages"]), (vec!["first"], &json!(3), &json!(2)));
    assert_eq!(names(&list("?name=SECO").await), ["second"]);
    assert_eq!(names(&list(&format!("?sourceSandboxId={id}&sort=createdAt&order=asc")).await), ["first", "second"]);
    assert_eq!(names(&list("?sourceSandboxId=other").await), [""; 0]);
    for bad in ["?page=0", "?limit=0", "?limit=201", "?sort=size", "?order=up"] {
        server.snapshots("GET", bad).await.error(400, "VALIDATION_FAILED");
    }

    server.snapshots("POST", "/first/activate").await.error(400, "SNAPSHOT_STATE_INVALID");
    assert_eq!(server.snapshots("POST", "/first/deactivate").await.status, 204);
    let refused = server.call("POST", "/api/sandbox", json!({"snapshot": "first"})).await;
    let message = refused.error(400, "SNAPSHOT_STATE_INVALID")["message"].to_string();
    assert!(message.contains("Snapshot first is inactive"), "{message}");
    assert_eq!(server.snapshots("POST", "/first/activate").await.expect(200)["state"], "active");
    server.create(json!({"snapshot": "first"})).await;
    for (method, path) in [("DELETE", "/host"), ("POST", "/host/deactivate"), ("POST", "/host/activate")] {
        server.snapshots(method, path).await.error(403, "SNAPSHOT_GENERAL");
    }
    server.snapshots("DELETE", "/none").await.error(404, "SNAPSHOT_NOT_FOUND");
}
