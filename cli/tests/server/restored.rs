//! A data directory that came back from a backup without some of it: what is missing is named, and nothing empty takes
//! its place.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::support::{LIMIT, Server, binary};

/// A server with the log of its start in a file.
async fn open_logged(dir: &Path, log: &Path) -> Server {
    let mut command = binary();
    command.stderr(Stdio::from(fs::File::create(log).unwrap()));
    Server::open_as(command, dir, &[]).await
}

#[tokio::test]
async fn sandboxes_without_their_files_are_in_error_until_they_are_restored() {
    let base = tempfile::tempdir().unwrap();
    let (dir, log) = (base.path().join("data"), base.path().join("log"));
    let mut server = Server::open(&dir, &[]).await;
    let stopped = server.create(json!({"name": "stopped"})).await;
    server.exec(&stopped, "echo kept > kept").await;
    server.create(json!({"name": "packed"})).await;
    let running = server.create(json!({"name": "running"})).await;
    server.exec(&running, "echo kept > kept").await;
    server.becomes("stopped", "stop", "stopped").await;
    server.becomes("packed", "stop", "stopped").await;
    server.becomes("packed", "archive", "archived").await;
    // As a backup of a running server has it.
    server.kill().await;
    let away = base.path().join("away");
    fs::create_dir(&away).unwrap();
    for folder in ["sandboxes", "archives"] {
        fs::rename(dir.join(folder), away.join(folder)).unwrap();
    }
    for _ in 0..2 {
        let mut server = open_logged(&dir, &log).await;
        for name in ["stopped", "packed", "running"] {
            let sandbox = server.get(name).await.expect(200);
            assert_eq!(sandbox["state"], "error", "{sandbox}");
            assert!(sandbox["errorReason"].as_str().unwrap().contains("its files are missing"), "{sandbox}");
            assert_eq!(sandbox["recoverable"], false, "{sandbox}");
            for what in ["start", "recover"] {
                let answer = server.call("POST", &format!("/api/sandbox/{name}/{what}"), Value::Null).await;
                assert!(answer.status >= 400, "{name} {what}: {}", answer.status);
            }
        }
        server.terminate().await;
        let text = fs::read_to_string(&log).unwrap();
        assert!(text.contains("3 sandboxes are missing") && text.contains("packed, running, stopped"), "{text}");
    }
    for folder in ["sandboxes", "archives"] {
        let _ = fs::remove_dir(dir.join(folder));
        fs::rename(away.join(folder), dir.join(folder)).unwrap();
    }
    let server = Server::open(&dir, &[]).await;
    for (name, id) in [("stopped", &stopped), ("running", &running)] {
        server.becomes(name, "start", "started").await;
        assert_eq!(server.exec(id, "cat kept").await, "kept\n");
    }
    assert_eq!(server.get("packed").await.expect(200)["state"], "archived");
    server.becomes("packed", "start", "started").await;
}

/// A copy by another user, or without `-a`.
#[tokio::test]
async fn files_that_have_lost_their_owner_are_told() {
    let base = tempfile::tempdir().unwrap();
    let dir = base.path().join("data");
    let mut server = Server::open(&dir, &[]).await;
    if server.ready["runtime"] != "ns" || !rustix::process::geteuid().is_root() {
        return;
    }
    let id = server.create(json!({"name": "s"})).await;
    server.exec(&id, "echo kept > kept").await;
    server.becomes("s", "stop", "stopped").await;
    server.terminate().await;
    let home = dir.join("sandboxes").join(&id).join("home");
    let owner = std::os::unix::fs::MetadataExt::uid(&home.metadata().unwrap());
    assert_ne!(owner, 0);
    std::os::unix::fs::chown(&home, Some(0), Some(0)).unwrap();
    let mut server = Server::open(&dir, &[]).await;
    let told = server.get("s").await.expect(200);
    assert_eq!(told["state"], "error", "{told}");
    assert!(told["errorReason"].as_str().unwrap().contains("lost their owner"), "{told}");
    server.terminate().await;
    std::os::unix::fs::chown(&home, Some(owner), Some(owner)).unwrap();
    // Without the file that says it, the sandboxes themselves know their user.
    fs::remove_file(dir.join("uid")).unwrap();
    let server = Server::open(&dir, &[]).await;
    assert_eq!(fs::read_to_string(dir.join("uid")).unwrap(), owner.to_string());
    server.becomes("s", "start", "started").await;
    assert_eq!(server.exec(&id, "cat kept; touch new").await, "kept\n");
}

#[tokio::test]
async fn files_that_go_while_the_server_runs_are_not_replaced_by_nothing() {
    let server = Server::new().await;
    let id = server.create(json!({"name": "s"})).await;
    server.becomes("s", "stop", "stopped").await;
    let folder = server.dir.join("sandboxes").join(&id);
    let away = server.dir.join("away");
    fs::rename(&folder, &away).unwrap();
    let answer = server.call("POST", "/api/sandbox/s/start", Value::Null).await;
    assert!(answer.status >= 400 && String::from_utf8_lossy(&answer.bytes).contains("its files are missing"));
    assert_eq!(server.get("s").await.expect(200)["state"], "error");
    assert!(!folder.exists());
    fs::rename(&away, &folder).unwrap();
}

#[tokio::test]
async fn a_snapshot_without_its_files_is_in_error() {
    let base = tempfile::tempdir().unwrap();
    let (dir, log) = (base.path().join("data"), base.path().join("log"));
    let mut server = Server::open(&dir, &[]).await;
    let id = server.create(json!({"name": "s"})).await;
    server.exec(&id, "echo kept > kept").await;
    server.becomes("s", "stop", "stopped").await;
    server.call("POST", "/api/sandbox/s/snapshot", json!({"name": "snap"})).await;
    server.terminate().await;
    let away = base.path().join("away");
    fs::rename(dir.join("snapshots"), &away).unwrap();
    let mut server = open_logged(&dir, &log).await;
    let snapshot = server.call("GET", "/api/snapshots/snap", Value::Null).await.expect(200);
    assert_eq!(snapshot["state"], "error", "{snapshot}");
    assert!(snapshot["errorReason"].as_str().unwrap().contains("its files are missing"), "{snapshot}");
    let answer = server.call("POST", "/api/sandbox", json!({"snapshot": "snap"})).await;
    assert!(answer.status == 400 && String::from_utf8_lossy(&answer.bytes).contains("its files are missing"));
    server.terminate().await;
    assert!(fs::read_to_string(&log).unwrap().contains("1 snapshots are missing"));
    let _ = fs::remove_dir(dir.join("snapshots"));
    fs::rename(&away, dir.join("snapshots")).unwrap();
    let server = Server::open(&dir, &[]).await;
    let made = server.create(json!({"snapshot": "snap"})).await;
    assert_eq!(server.exec(&made, "cat kept").await, "kept\n");
}

#[tokio::test]
async fn a_volume_without_its_files_is_in_error() {
    let base = tempfile::tempdir().unwrap();
    let dir = base.path().join("data");
    let mut server = Server::open(&dir, &[]).await;
    if server.ready["runtime"] != "ns" {
        return;
    }
    let volume = server.call("POST", "/api/volumes", json!({"name": "v"})).await.expect(200);
    let path = format!("/api/volumes/{}", volume["id"].as_str().unwrap());
    server.terminate().await;
    let away = base.path().join("away");
    fs::rename(dir.join("volumes"), &away).unwrap();
    let mut server = Server::open(&dir, &[]).await;
    let lost = server.call("GET", &path, Value::Null).await.expect(200);
    assert_eq!(lost["state"], "error", "{lost}");
    assert!(lost["errorReason"].as_str().unwrap().contains("its files are missing"), "{lost}");
    let body = json!({"volumes": [{"volumeId": volume["id"], "mountPath": "/data"}]});
    let answer = server.call("POST", "/api/sandbox", body.clone()).await;
    assert!(answer.status >= 400 && String::from_utf8_lossy(&answer.bytes).contains("its files are missing"));
    server.terminate().await;
    fs::rename(&away, dir.join("volumes")).unwrap();
    let server = Server::open(&dir, &[]).await;
    assert_eq!(server.call("GET", &path, Value::Null).await.expect(200)["state"], "ready");
    server.create(body).await;
}

#[tokio::test]
async fn secrets_without_their_key_are_refused() {
    let base = tempfile::tempdir().unwrap();
    let (dir, log) = (base.path().join("data"), base.path().join("log"));
    let mut server = Server::open(&dir, &[]).await;
    let secret = server.call("POST", "/api/secret", json!({"name": "token", "value": "hidden"})).await;
    let id = secret.json()["id"].as_str().unwrap().to_owned();
    server.terminate().await;
    let (key, away) = (dir.join("secrets.key"), base.path().join("key"));
    fs::rename(&key, &away).unwrap();
    for _ in 0..2 {
        let mut server = open_logged(&dir, &log).await;
        let other = json!({"name": "other", "value": "hidden too"});
        let refused = server.call("POST", "/api/secret", other).await.error(409, "SECRETS_UNREADABLE");
        assert!(refused["message"].as_str().unwrap().contains(key.to_str().unwrap()), "{refused}");
        if server.ready["runtime"] == "ns" {
            let body = json!({"secrets": [{"TOKEN": "token"}]});
            server.call("POST", "/api/sandbox", body).await.error(409, "SECRETS_UNREADABLE");
        }
        server.terminate().await;
        assert!(!key.exists(), "no other key was made");
        assert!(fs::read_to_string(&log).unwrap().contains("secrets cannot be used"));
    }
    fs::copy(&away, &key).unwrap();
    let mut server = Server::open(&dir, &[]).await;
    server.call("PATCH", &format!("/api/secret/{id}"), json!({"value": "another"})).await;
    server.terminate().await;
    assert_eq!(fs::read(&away).unwrap(), fs::read(&key).unwrap());
}

#[tokio::test]
async fn a_damaged_file_of_the_directory_is_named_and_kept() {
    let dir = tempfile::tempdir().unwrap();
    Server::open(dir.path(), &[]).await.terminate().await;
    for name in ["api-key", "ca.key", "storage-key"] {
        let path = dir.path().join(name);
        let good = fs::read(&path).unwrap();
        for bad in [&b""[..], b"\0\0 damaged"] {
            fs::write(&path, bad).unwrap();
            let output = binary().args(["serve", "--port", "0", "--data-dir"]).arg(dir.path()).output();
            let output = tokio::time::timeout(LIMIT, output).await.unwrap().unwrap();
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.code() == Some(1) && stderr.contains(name), "{name}: {stderr}");
            assert_eq!(fs::read(&path).unwrap(), bad);
        }
        fs::write(&path, good).unwrap();
    }
    Server::open(dir.path(), &[]).await.terminate().await;
}
