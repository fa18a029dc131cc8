//! What sandboxes in containers have stored stays theirs, whatever else happens on the engine and to the data directory.

use std::path::Path;

use serde_json::{Value, json};

use crate::docker::with_engine;
use crate::docker_engine::Engine;
use crate::support::Server;

/// Copies a folder with all that is in it.
fn copy(from: &Path, to: &Path) {
    let copied = std::process::Command::new("cp").arg("-a").args([from, to]).status().unwrap();
    assert!(copied.success());
}

impl Server {
    async fn stopped(&self, name: &str) {
        self.becomes(name, "stop", "stopped").await;
    }

    async fn started(&self, name: &str) {
        self.post(name, "start", Value::Null).await.expect(200);
        self.reaches(&format!("/api/sandbox/{name}"), &["started"]).await;
    }

    /// The reason of its error, once it has one.
    async fn error_of(&self, name: &str) -> String {
        let shown = self.reaches(&format!("/api/sandbox/{name}"), &["error"]).await;
        assert_eq!(shown["recoverable"], true, "{shown}");
        shown["errorReason"].as_str().unwrap().to_owned()
    }
}

#[tokio::test]
async fn files_in_an_images_volumes_are_the_sandboxs_own() {
    let Some((engine, _dir, server)) = with_engine().await else { return };
    let dockerfile = format!(
        "FROM {}\nUSER root\nENV KEPT=\"a \\\"b\\\" c\"\nRUN mkdir /data && echo seed > /data/seed\n\
         VOLUME /data /only/named\nWORKDIR /data\n",
        engine.image()
    );
    let made = server.build_in_docker("v", &dockerfile).await;
    assert_eq!(made["state"], "started", "{made}");
    let id = made["id"].as_str().unwrap().to_owned();
    assert_eq!(server.exec(&id, "pwd; echo $KEPT; cat seed").await, "/data\na \"b\" c\nseed\n");
    let container = &engine.containers(&id, true)[0];
    let mounts = engine.docker(&["inspect", "-f", "{{range .Mounts}}{{.Type}} {{end}}", container]).unwrap();
    assert!(!mounts.contains("volume"), "{mounts}");
    server.exec(&id, "echo mine > /data/mine; echo too > /only/named/too; rm /data/seed").await;
    let all = "cat /only/named/too; ls /data; cat /data/mine";
    let whole = "too\nmine\nmine\n";

    let fork = server.post("v", "fork", json!({"name": "twin"})).await.expect(200);
    server.reaches("/api/sandbox/twin", &["started"]).await;
    assert_eq!(server.exec(fork["id"].as_str().unwrap(), all).await, whole, "a fork");
    server.post("v", "snapshot", json!({"name": "shot"})).await.expect(200);
    server.reaches("/api/snapshots/shot", &["active"]).await;
    let copy = server.create(json!({"snapshot": "shot"})).await;
    assert_eq!(server.exec(&copy, all).await, whole, "a snapshot");

    server.stopped("v").await;
    server.call("POST", "/api/sandbox/v/network-settings", json!({"networkBlockAll": true})).await.expect(200);
    server.started("v").await;
    assert_eq!(server.exec(&id, all).await, whole, "another network");
    server.stopped("v").await;
    server.post("v", "archive", Value::Null).await.expect(200);
    server.reaches("/api/sandbox/v", &["archived"]).await;
    server.started("v").await;
    assert_eq!(server.exec(&id, all).await, whole, "an archive");
}

#[tokio::test]
async fn a_removed_container_is_an_error_and_nothing_begins_again_unasked() {
    let Some((engine, dir, mut server)) = with_engine().await else { return };
    let id = server.create(json!({"name": "r"})).await;
    server.exec(&id, "echo old > old").await;
    server.stopped("r").await;
    server.call("POST", "/api/sandbox/r/network-settings", json!({"networkBlockAll": true})).await.expect(200);
    server.started("r").await;
    server.exec(&id, "echo new > new").await;
    server.stopped("r").await;

    let remove = || engine.docker(&["rm", "-f", &engine.containers(&id, true)[0]]).unwrap();
    remove();
    let reason = server.error_of("r").await;
    assert!(reason.contains("container was removed") && reason.contains("older files"), "{reason}");
    server.post("r", "start", Value::Null).await.error(400, "SANDBOX_STATE_INVALID");
    let refused = server.post("r", "recover", Value::Null).await.error(409, "SANDBOX_FILES_LOST");
    let message = refused["message"].as_str().unwrap();
    assert!(message.contains("container was removed") && message.contains("acceptLoss=true"), "{message}");
    assert!(engine.containers(&id, true).is_empty());
    server.post("r", "recover?acceptLoss=true", Value::Null).await.expect(200);
    server.reaches("/api/sandbox/r", &["started"]).await;
    assert_eq!(server.exec(&id, "ls").await, "old\n");

    // While it runs.
    remove();
    assert!(server.error_of("r").await.contains("container was removed"));
    server.post("r", "recover?acceptLoss=true", Value::Null).await.expect(200);
    server.stopped("r").await;
    // While no server is there.
    server.terminate().await;
    remove();
    let server = engine.server(dir.path(), &["--docker-image", engine.image()]).await;
    assert!(server.get("r").await.expect(200)["errorReason"].as_str().unwrap().contains("container was removed"));
    server.post("r", "recover", Value::Null).await.error(409, "SANDBOX_FILES_LOST");
    server.call("DELETE", "/api/sandbox/r", Value::Null).await.expect(200);
    server.is_gone(&id, engine).await;
}

#[tokio::test]
async fn containers_belong_to_a_data_directory_and_not_to_its_path() {
    let Some(engine) = Engine::get() else { return };
    let temporary = tempfile::tempdir().unwrap();
    let dir = temporary.path().join("data");
    let open = async |dir: &Path, more: &[&str]| {
        let options = [&["--docker-image", engine.image()], more].concat();
        engine.server(dir, &options).await
    };
    let mut server = open(&dir, &[]).await;
    let id = server.create(json!({"name": "b"})).await;
    server.exec(&id, "echo mine > mine").await;
    server.stopped("b").await;
    server.terminate().await;

    // It is not mounted for one start.
    let away = temporary.path().join("away");
    std::fs::rename(&dir, &away).unwrap();
    std::fs::create_dir(&dir).unwrap();
    let mut other = open(&dir, &[]).await;
    assert_eq!(other.get("b").await.status, 404);
    other.terminate().await;
    std::fs::remove_dir_all(&dir).unwrap();
    std::fs::rename(&away, &dir).unwrap();
    let mut server = open(&dir, &[]).await;
    server.started("b").await;
    assert_eq!(server.exec(&id, "cat mine").await, "mine\n");

    // A copy that is served beside it.
    let twice = temporary.path().join("twice");
    copy(&dir, &twice);
    let running = engine.containers(&id, false);
    let twin = open(&twice, &["--adopt-copy"]).await;
    assert_eq!(engine.containers(&id, false), running);
    let refused = twin.post("b", "start", Value::Null).await.error(400, "SANDBOX_START_FAILED");
    assert!(refused["message"].as_str().unwrap().contains("another data directory"), "{refused}");
    server.stopped("b").await;
    twin.started("b").await;
    twin.exec(&id, "cat mine; echo theirs > theirs").await;
    twin.call("DELETE", "/api/sandbox/b", Value::Null).await.expect(200);
    server.started("b").await;
    assert_eq!(server.exec(&id, "ls").await, "mine\n");

    // What no sandbox names any more is kept.
    server.stopped("b").await;
    server.terminate().await;
    let container = engine.containers(&id, true);
    std::fs::remove_dir_all(dir.join("sandboxes")).unwrap();
    drop(open(&dir, &[]).await);
    assert_eq!(engine.containers(&id, true), container);
    let noted = std::fs::read_dir(dir.join("lost+found")).unwrap().flatten();
    let noted: Vec<_> = noted.map(|entry| entry.file_name().into_string().unwrap()).collect();
    assert!(noted.iter().any(|name| name.contains("container") && name.contains(&id)), "{noted:?}");
    drop(open(&dir, &[]).await);
    assert_eq!(engine.containers(&id, true), container);
    assert_eq!(std::fs::read_dir(dir.join("lost+found")).unwrap().count(), noted.len(), "once only");
    engine.docker(&["rm", &container[0]]).unwrap();
}

#[tokio::test]
async fn nothing_in_a_container_ends_its_sandbox() {
    let Some((engine, _dir, server)) = with_engine().await else { return };
    for user in ["", "root"] {
        let id = server.create(json!({"name": format!("k{user}"), "user": user})).await;
        let set = json!({"set": {"ADDED": "later"}, "unset": []});
        server.call("POST", &format!("/toolbox/{id}/env"), set).await.expect(200);
        server.exec(&id, "echo mine > mine; sleep 98765 >/dev/null 2>&1 </dev/null &").await;
        let container = engine.containers(&id, false);
        for _ in 0..3 {
            // Its agent is among those that this ends, so there may be no answer.
            server.try_exec(&id, "kill -9 -1").await;
            assert_eq!(server.exec(&id, "cat mine; echo $ADDED").await, "mine\nlater\n");
        }
        let left = "for p in /proc/[0-9]*; do read -r -d '' name < $p/cmdline; echo $name; done 2>/dev/null";
        assert!(!server.exec(&id, left).await.contains("sleep"));
        assert_eq!(server.get(&id).await.expect(200)["state"], "started");
        assert_eq!(engine.containers(&id, false), container);
    }
}

#[tokio::test]
async fn a_program_that_ends_has_its_time_and_its_pipes() {
    let Some((_engine, _dir, server)) = with_engine().await else { return };
    let id = server.create(json!({"name": "g"})).await;
    let program = "trap 'echo ending; touch first; sleep 0.5; echo ended; touch second; exit' TERM; touch ready; \
                   while :; do sleep 0.01; done";
    let stop = async {
        server.wait_for_file(&id, "/home/daytona/ready").await;
        server.stopped("g").await;
    };
    tokio::join!(server.try_exec(&id, program), stop);
    server.started("g").await;
    assert_eq!(server.exec(&id, "ls").await, "first\nready\nsecond\n");
}
