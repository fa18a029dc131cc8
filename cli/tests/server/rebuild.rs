//! A store that is lost is made again of what lies on disk.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::{Value, json};

use crate::lost_found::run;
use crate::support::{LIMIT, Server};

fn mounts(server: &Server) -> bool {
    server.ready["runtime"] != "process"
}

/// Makes one of each, with files, names and labels; ends the server.
async fn filled(dir: &Path) -> (String, String) {
    let mut server = Server::open(dir, &[]).await;
    let volume = server.call("POST", "/api/volumes", json!({"name": "data"})).await.expect(200);
    let volumes = if mounts(&server) { json!([{"volumeId": "data", "mountPath": "/data"}]) } else { json!([]) };
    let body = json!({"name": "first", "labels": {"team": "a"}, "env": {"A": "1"}, "volumes": volumes});
    let first = server.create(body).await;
    server.exec(&first, "echo sandbox > file").await;
    if mounts(&server) {
        server.exec(&first, "echo volume > /data/file").await;
    }
    server.becomes("first", "stop", "stopped").await;
    server.post("first", "snapshot", json!({"name": "snap"})).await.expect(200);
    let second = server.create(json!({"name": "second", "snapshot": "snap", "labels": {"team": "b"}})).await;
    server.exec(&second, "echo archive > other").await;
    server.becomes("second", "stop", "stopped").await;
    server.becomes("second", "archive", "archived").await;
    let renamed = json!({"labels": {"team": "c"}});
    server.call("PUT", "/api/sandbox/first/labels", renamed).await.expect(200);
    assert!(server.terminate().await.success());
    assert!(!volume["id"].as_str().unwrap().is_empty());
    (first, second)
}

/// Checks that all of it is there.
async fn whole(server: &Server, first: &str, second: &str) {
    let shown = server.get("first").await.expect(200);
    assert_eq!((&shown["id"], &shown["state"]), (&json!(first), &json!("stopped")));
    assert_eq!((&shown["labels"]["team"], &shown["env"]["A"]), (&json!("c"), &json!("1")));
    let shown = server.get("second").await.expect(200);
    assert_eq!((&shown["id"], &shown["state"]), (&json!(second), &json!("archived")));
    assert_eq!(shown["labels"]["team"], "b");
    for name in ["first", "second"] {
        server.becomes(name, "start", "started").await;
    }
    assert_eq!(server.exec(first, "cat file").await, "sandbox\n");
    assert_eq!(server.exec(second, "cat file other").await, "sandbox\narchive\n");
    server.call("GET", "/api/volumes/by-name/data", Value::Null).await.expect(200);
    if mounts(server) {
        assert_eq!(server.exec(first, "cat /data/file").await, "volume\n");
    }
    let third = server.create(json!({"snapshot": "snap"})).await;
    assert_eq!(server.exec(&third, "cat file").await, "sandbox\n");
}

#[tokio::test]
async fn a_lost_store_is_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().to_str().unwrap();
    let (first, second) = filled(dir.path()).await;
    for manifest in [format!("sandboxes/{first}"), format!("sandboxes/{second}")] {
        let path = dir.path().join(format!("manifests/{manifest}.json"));
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
    for damage in ["gone", "empty"] {
        fs::remove_file(dir.path().join("state.redb")).unwrap();
        if damage == "empty" {
            fs::write(dir.path().join("state.redb"), "").unwrap();
        }
        let (code, _, stderr) = run(&["serve", "--port", "0", "--data-dir", data]).await;
        assert_eq!(code, Some(1), "{damage}");
        assert!(stderr.contains("state.redb") && stderr.contains("daytona-native store rebuild"), "{stderr}");
        fs::write(dir.path().join("state.redb"), "").unwrap();
    }
    fs::remove_file(dir.path().join("state.redb")).unwrap();

    let (code, stdout, stderr) = run(&["store", "rebuild", data, "--dry-run", "--json"]).await;
    assert_eq!(code, Some(0), "{stderr}");
    let found = serde_json::from_str::<Value>(&stdout).unwrap()["found"].as_array().unwrap().clone();
    assert_eq!(found.len(), 4);
    assert!(found.iter().all(|one| one["taken"] == true && one["note"].is_null()), "{found:?}");
    assert!(!dir.path().join("state.redb").exists());
    let (code, table, stderr) = run(&["store", "rebuild", data]).await;
    assert_eq!(code, Some(0), "{stderr}");
    for word in ["first", "second", "snap", "data", "archived", "4 taken back"] {
        assert!(table.contains(word), "{table}");
    }
    let mut server = Server::open(dir.path(), &[]).await;
    whole(&server, &first, &second).await;
    assert_eq!(fs::read_dir(dir.path().join("lost+found")).map_or(0, Iterator::count), 0);

    // Not under a server that runs, and not what is fine.
    let (code, _, stderr) = run(&["store", "rebuild", data, "--force"]).await;
    assert_eq!(code, Some(3), "{stderr}");
    server.terminate().await;
    let (code, _, stderr) = run(&["store", "rebuild", data]).await;
    assert_eq!(code, Some(1));
    assert!(stderr.contains("can be read") && stderr.contains("--force"), "{stderr}");
    let (code, _, stderr) = run(&["store", "rebuild", &format!("{data}/missing")]).await;
    assert_eq!(code, Some(5), "{stderr}");
}

#[tokio::test]
async fn what_is_not_taken_back_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().to_str().unwrap();
    let mut server = Server::open(dir.path(), &[]).await;
    let id = server.create(json!({"name": "known"})).await;
    let ephemeral = server.create(json!({"autoDeleteInterval": 0})).await;
    server.exec(&ephemeral, "echo kept > file").await;
    server.exec(&id, "echo kept > file").await;
    let manifest = dir.path().join(format!("manifests/sandboxes/{ephemeral}.json"));
    let written = async {
        while !manifest.exists() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LIMIT, written).await.unwrap();
    server.kill().await;
    // As made by a version without manifests.
    fs::remove_file(dir.path().join(format!("manifests/sandboxes/{id}.json"))).unwrap();
    fs::write(dir.path().join("state.redb"), "damaged").unwrap();
    let (code, table, stderr) = run(&["store", "rebuild", data]).await;
    assert_eq!(code, Some(0), "{stderr}");
    assert!(
        table.contains("no manifest") && table.contains("ephemeral") && table.contains("before-rebuild"),
        "{table}"
    );
    let server = Server::open(dir.path(), &[]).await;
    let shown = server.get(&id).await.expect(200);
    assert_eq!((&shown["name"], &shown["state"]), (&json!(id), &json!("stopped")));
    server.becomes(&id, "start", "started").await;
    assert_eq!(server.exec(&id, "cat file").await, "kept\n");
    server.get(&ephemeral).await.error(404, "SANDBOX_NOT_FOUND");
    let lost = fs::read_dir(dir.path().join("lost+found")).unwrap().flatten().next().unwrap().path();
    assert_eq!(fs::read_to_string(lost.join(&ephemeral).join("home/file")).unwrap(), "kept\n");
}
