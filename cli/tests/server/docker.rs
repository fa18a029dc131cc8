//! Sandboxes as containers, where a Docker engine answers.

use serde_json::{Value, json};

use crate::docker_engine::Engine;
use crate::support::{Server, wait_until_gone};

/// A server whose sandboxes are made of the tests' image; nothing where there is no engine.
pub(crate) async fn with_engine() -> Option<(&'static Engine, tempfile::TempDir, Server)> {
    let engine = Engine::get()?;
    let dir = tempfile::tempdir().unwrap();
    let server = engine.server(dir.path(), &["--docker-image", engine.image()]).await;
    Some((engine, dir, server))
}

impl Server {
    pub(crate) async fn build_in_docker(&self, name: &str, dockerfile: &str) -> Value {
        let body = json!({"name": name, "buildInfo": {"dockerfileContent": dockerfile}});
        self.call("POST", "/api/sandbox", body).await.expect(200);
        self.reaches(&format!("/api/sandbox/{name}"), &["started", "build_failed", "error"]).await
    }
}

#[tokio::test]
async fn a_container_lives_as_a_sandbox_does() {
    let Some((engine, _dir, server)) = with_engine().await else { return };
    let id = server.create(json!({"name": "c", "env": {"GIVEN": "one"}})).await;
    let shown = server.get("c").await.expect(200);
    assert_eq!((&shown["user"], &shown["labels"]["daytona-native/runtime"]), (&json!("daytona"), &json!("docker")));
    assert_eq!(server.exec(&id, "echo $GIVEN $HOME $USER; id -u").await, "one /home/daytona daytona\n1000\n");
    assert_eq!(server.exec(&id, "touch kept; cat /proc/1/comm").await, "agent\n");

    server.becomes("c", "stop", "stopped").await;
    assert!(engine.containers(&id, false).is_empty() && engine.containers(&id, true).len() == 1);
    server.becomes("c", "start", "started").await;
    assert_eq!(server.exec(&id, "ls kept").await, "kept\n");

    server.becomes("c", "pause", "paused").await;
    server.becomes("c", "start", "started").await;
    assert_eq!(server.exec(&id, "ls kept").await, "kept\n");

    let resized = server.post("c", "resize", json!({"cpu": 4, "memory": 6})).await.expect(200);
    assert_eq!((&resized["cpu"], &resized["memory"]), (&json!(4), &json!(6)));

    // Whatever ends it, it is known, and it starts again.
    engine.docker(&["kill", &engine.containers(&id, false)[0]]).unwrap();
    let ended = server.reaches("/api/sandbox/c", &["stopped", "error"]).await;
    assert!(ended["errorReason"].as_str().unwrap().contains("killed by signal 9"), "{ended}");
    server.post("c", if ended["state"] == "stopped" { "start" } else { "recover" }, Value::Null).await.expect(200);
    assert_eq!(server.exec(&id, "ls kept").await, "kept\n");

    server.call("DELETE", "/api/sandbox/c", Value::Null).await.expect(200);
    server.is_gone(&id, engine).await;
}

impl Server {
    pub(crate) async fn is_gone(&self, id: &str, engine: &Engine) {
        let gone = async {
            while !engine.containers(id, true).is_empty() || self.get(id).await.status != 404 {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(crate::support::LIMIT, gone).await.expect("its container is removed");
    }
}

#[tokio::test]
async fn nothing_outlives_a_killed_server() {
    let Some((engine, dir, mut server)) = with_engine().await else { return };
    let id = server.create(json!({"name": "k"})).await;
    let marker = format!("9{}", std::process::id());
    server.exec(&id, &format!("touch kept; sleep {marker} >/dev/null 2>&1 </dev/null &")).await;
    server.kill().await;
    wait_until_gone(&format!("sleep\0{marker}")).await;

    let server = engine.server(dir.path(), &["--docker-image", engine.image()]).await;
    assert_eq!(server.get("k").await.expect(200)["state"], "stopped");
    assert!(engine.containers(&id, false).is_empty());
    server.becomes("k", "start", "started").await;
    assert_eq!(server.exec(&id, "ls").await, "kept\n");
    server.call("DELETE", "/api/sandbox/k", Value::Null).await.expect(200);
    server.is_gone(&id, engine).await;
}

#[tokio::test]
async fn the_engine_builds_images() {
    let Some((engine, _dir, server)) = with_engine().await else { return };
    let base = engine.image();
    let dockerfile = format!(
        "FROM {base}\nUSER root\nENV MADE=\"in the build\"\nRUN echo built-$((40 + 2)) > /made\nWORKDIR /tmp\n\
         CMD [\"sh\", \"-c\", \"touch /tmp/entered; sleep 1000\"]\n"
    );
    let made = server.build_in_docker("b", &dockerfile).await;
    assert_eq!((&made["state"], &made["user"]), (&json!("started"), &json!("root")), "{made}");
    let id = made["id"].as_str().unwrap();
    assert_eq!(server.exec(id, "cat /made; pwd; echo $MADE").await, "built-42\n/tmp\nin the build\n");
    server.wait_for_file(id, "/tmp/entered").await;
    let log = server.call("GET", "/api/sandbox/b/build-logs?follow=true", Value::Null).await;
    let log = String::from_utf8_lossy(&log.bytes).into_owned();
    assert!(log.contains("RUN echo built-") && log.contains("Successfully built"), "{log}");

    let failed = server.build_in_docker("f", &format!("FROM {base}\nRUN echo saying why; exit 7\n")).await;
    assert_eq!(failed["state"], "build_failed");
    assert!(failed["errorReason"].as_str().unwrap().contains("returned a non-zero code: 7"), "{failed}");
    let missing = server.build_in_docker("m", "FROM 127.0.0.1:1/nothing:1\n").await;
    assert_eq!(missing["state"], "build_failed");
    assert!(missing["errorReason"].as_str().unwrap().contains("127.0.0.1:1"), "{missing}");

    let snapshot = json!({"name": "s", "buildInfo": {"dockerfileContent": dockerfile}});
    server.call("POST", "/api/snapshots", snapshot).await.expect(200);
    let active = server.reaches("/api/snapshots/s", &["active", "build_failed", "error"]).await;
    assert!(active["state"] == "active" && active["size"].as_f64().unwrap() > 0.0, "{active}");
    let id = server.create(json!({"snapshot": "s"})).await;
    assert_eq!(server.exec(&id, "cat /made").await, "built-42\n");
}

#[tokio::test]
async fn files_go_into_forks_snapshots_and_archives() {
    let Some((engine, _dir, server)) = with_engine().await else { return };
    let id = server.create(json!({"name": "f"})).await;
    server.exec(&id, "touch mine; mkdir -p deep/er").await;
    let fork = server.post("f", "fork", json!({"name": "twin"})).await.expect(200);
    let twin = fork["id"].as_str().unwrap().to_owned();
    server.reaches("/api/sandbox/twin", &["started"]).await;
    assert_eq!(server.exec(&twin, "ls; touch theirs").await, "deep\nmine\n");
    assert_eq!(server.exec(&id, "ls").await, "deep\nmine\n");

    server.post("f", "snapshot", json!({"name": "shot"})).await.expect(200);
    server.reaches("/api/snapshots/shot", &["active"]).await;
    let copy = server.create(json!({"snapshot": "shot", "name": "copy"})).await;
    assert_eq!(server.exec(&copy, "ls; id -u").await, "deep\nmine\n1000\n");
    server.call("DELETE", "/api/snapshots/shot", Value::Null).await.expect(200);
    server.becomes("copy", "stop", "stopped").await;
    server.becomes("copy", "start", "started").await;
    assert_eq!(server.exec(&copy, "ls").await, "deep\nmine\n");

    server.becomes("f", "stop", "stopped").await;
    server.post("f", "archive", Value::Null).await.expect(200);
    server.reaches("/api/sandbox/f", &["archived"]).await;
    assert!(engine.containers(&id, true).is_empty());
    server.post("f", "start", Value::Null).await.expect(200);
    server.reaches("/api/sandbox/f", &["started"]).await;
    assert_eq!(server.exec(&id, "ls").await, "deep\nmine\n");
    // What has forks goes after them.
    for id in [copy, twin, id] {
        server.call("DELETE", &format!("/api/sandbox/{id}"), Value::Null).await.expect(200);
        server.is_gone(&id, engine).await;
    }
}

#[tokio::test]
async fn volumes_are_shared_and_lead_nowhere_else() {
    let Some((_engine, dir, server)) = with_engine().await else { return };
    server.call("POST", "/api/volumes", json!({"name": "v"})).await.expect(200);
    let mount = |path: &str, sub: Option<&str>| json!([{"volumeId": "v", "mountPath": path, "subpath": sub}]);
    let one = server.create(json!({"volumes": mount("/data", None)})).await;
    server.exec(&one, "mkdir -p /data/part; touch /data/part/shared; ln -s / /data/out").await;
    let other = server.create(json!({"volumes": mount("/mnt", Some("part"))})).await;
    assert_eq!(server.exec(&other, "ls /mnt").await, "shared\n");
    let out = json!({"volumes": mount("/mnt", Some(&format!("out{}", dir.path().display())))});
    let refused = server.call("POST", "/api/sandbox", out).await.error(400, "SANDBOX_START_FAILED");
    assert!(refused["message"].as_str().unwrap().contains("not links"), "{refused}");
}

#[tokio::test]
async fn what_cannot_be_is_refused_with_the_way_out() {
    let Some((engine, _dir, server)) = with_engine().await else { return };
    let listed = json!({"networkAllowList": "192.0.2.0/24"});
    server.call("POST", "/api/sandbox", listed).await.error(400, "UNSUPPORTED_BY_RUNTIME");
    let alone = server.create(json!({"networkBlockAll": true})).await;
    assert_eq!(server.exec(&alone, "ls /sys/class/net").await, "lo\n");

    let dir = tempfile::tempdir().unwrap();
    let without = engine.server(dir.path(), &[]).await;
    let refused = without.call("POST", "/api/sandbox", json!({})).await.error(400, "SANDBOX_START_FAILED");
    assert!(refused["message"].as_str().unwrap().contains("--docker-image"), "{refused}");
}

#[tokio::test]
async fn an_image_without_programs_has_an_agent() {
    let Some(engine) = Engine::get() else { return };
    let dir = tempfile::tempdir().unwrap();
    let server = engine.server(dir.path(), &["--docker-image", engine.bare_image()]).await;
    let id = server.create(json!({})).await;
    let made = server.call("POST", &format!("/toolbox/{id}/files/folder?path=made&mode=755"), Value::Null).await;
    assert!(made.status < 300, "{made:?}");
    let found = server.call("GET", &format!("/toolbox/{id}/files?path=/tmp"), Value::Null).await.expect(200);
    assert_eq!(found[0]["name"], "made", "{found}");
    let refused = server.try_exec(&id, "true").await;
    assert!(refused.status >= 400 || refused.json()["exitCode"] != 0, "{refused:?}");
}
