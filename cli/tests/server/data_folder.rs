//! Which folders the server takes for a data directory, and what it leaves alone.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::{Value, json};
use tokio::process::Command;

use crate::support::{LIMIT, Server, binary};

const MARKER: &str = "daytona-native.json";

/// What a start answers that is refused.
pub(crate) async fn refused(dir: &Path, options: &[&str]) -> String {
    let output = binary().args(["serve", "--port", "0", "--data-dir"]).arg(dir).args(options).output();
    let output = tokio::time::timeout(LIMIT, output).await.unwrap().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(output.stdout.is_empty());
    stderr
}

/// Every file of a folder with its contents, mode and time of change.
pub(crate) fn everything(dir: &Path) -> BTreeMap<PathBuf, (u32, i64, Vec<u8>)> {
    let mut all = BTreeMap::new();
    let mut left = vec![dir.to_owned()];
    while let Some(path) = left.pop() {
        let metadata = fs::symlink_metadata(&path).unwrap();
        let mut text = Vec::new();
        if metadata.is_dir() {
            left.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if metadata.is_file() {
            text = fs::read(&path).unwrap();
        }
        all.insert(path, (metadata.mode(), metadata.mtime_nsec(), text));
    }
    all
}

pub(crate) async fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-a").arg(from).arg(to).status().await.unwrap();
    assert!(status.success());
}

fn marker(dir: &Path) -> Value {
    serde_json::from_slice(&fs::read(dir.join(MARKER)).unwrap()).unwrap()
}

#[tokio::test]
async fn a_folder_of_something_else_is_refused_and_not_touched() {
    let base = tempfile::tempdir().unwrap();
    let project = base.path().join("project");
    for folder in ["sandboxes", "snapshots", "volumes", "archives", "base", "sockets", "steps", "trash", "images"] {
        fs::create_dir_all(project.join(folder)).unwrap();
        fs::write(project.join(folder).join("mine.txt"), "mine").unwrap();
    }
    fs::write(project.join("README.md"), "mine").unwrap();
    fs::set_permissions(&project, fs::Permissions::from_mode(0o755)).unwrap();
    let other = base.path().join("other");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("server.lock"), "yarn").unwrap();
    fs::write(other.join("state.redb"), "redb").unwrap();
    let linked = base.path().join("linked");
    fs::create_dir(&linked).unwrap();
    symlink(project.join("README.md"), linked.join("server.log")).unwrap();
    let before = everything(base.path());
    for dir in [&project, &other, &linked] {
        for options in [&[][..], &["--embedded"], &["--adopt-copy"]] {
            let stderr = refused(dir, options).await;
            assert!(stderr.contains(dir.to_str().unwrap()) && stderr.contains("--data-dir"), "{stderr}");
            assert!(stderr.contains("nothing in it was touched") && stderr.contains(MARKER), "{stderr}");
        }
        let stderr = refused(dir, &["--detach"]).await;
        assert!(stderr.contains("nothing in it was touched"), "{stderr}");
        let output = binary().args(["list", "--local", "--data-dir"]).arg(dir).output().await.unwrap();
        assert!(!output.status.success());
    }
    assert_eq!(everything(base.path()), before);
}

#[tokio::test]
async fn what_comes_before_the_server_counts_as_nothing() {
    let base = tempfile::tempdir().unwrap();
    let dir = base.path().join("data");
    fs::create_dir(&dir).unwrap();
    fs::create_dir(dir.join("lost+found")).unwrap();
    for name in ["server.log", "start.lock", "server.lock"] {
        fs::write(dir.join(name), "").unwrap();
    }
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap();
    let mut server = Server::open(&dir, &[]).await;
    assert_eq!(dir.metadata().unwrap().mode() & 0o777, 0o700);
    let marked = marker(&dir);
    assert_eq!((&marked["format"], &marked["version"]), (&json!(1), &json!(env!("CARGO_PKG_VERSION"))));
    assert_eq!(marked["id"].as_str().unwrap().len(), 32);
    assert_eq!(marked["runtimes"], json!([server.ready["runtime"]]));
    server.terminate().await;
    // Moved within its file system it is the same.
    let moved = base.path().join("moved");
    fs::rename(&dir, &moved).unwrap();
    let mut server = Server::open(&moved, &[]).await;
    assert_eq!(marker(&moved)["id"], marked["id"]);
    server.terminate().await;
}

#[tokio::test]
async fn directories_of_earlier_versions_get_a_marker() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::open(dir.path(), &[]).await;
    let id = server.create(json!({"name": "kept"})).await;
    server.exec(&id, "echo kept > kept").await;
    server.becomes("kept", "stop", "stopped").await;
    server.terminate().await;
    let first = marker(dir.path())["id"].clone();
    fs::remove_file(dir.path().join(MARKER)).unwrap();
    let mut server = Server::open(dir.path(), &[]).await;
    server.becomes("kept", "start", "started").await;
    assert_eq!(server.exec(&id, "cat kept").await, "kept\n");
    assert_ne!(marker(dir.path())["id"], first);
    server.terminate().await;
}

#[tokio::test]
async fn newer_and_damaged_markers_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    Server::open(dir.path(), &[]).await.terminate().await;
    let path = dir.path().join(MARKER);
    let mut newer = marker(dir.path());
    newer["format"] = json!(2);
    newer["version"] = json!("77.0.0");
    fs::write(&path, newer.to_string()).unwrap();
    let before = everything(dir.path());
    let stderr = refused(dir.path(), &[]).await;
    assert!(stderr.contains("77.0.0") && stderr.contains("newer"), "{stderr}");
    assert_eq!(everything(dir.path()), before);
    for text in ["", "{", "[1]", "{\"format\":1}", "\0\0\0\0"] {
        fs::write(&path, text).unwrap();
        let stderr = refused(dir.path(), &[]).await;
        assert!(stderr.contains(MARKER) && stderr.contains("restore") | stderr.contains("Restore"), "{stderr}");
        assert_eq!(fs::read(&path).unwrap(), text.as_bytes());
    }
}

#[tokio::test]
async fn a_hot_copy_is_refused_until_it_is_adopted() {
    let base = tempfile::tempdir().unwrap();
    let (original, copied) = (base.path().join("original"), base.path().join("copied"));
    let server = Server::open(&original, &[]).await;
    let id = server.create(json!({"name": "s"})).await;
    server.exec(&id, "echo one > file; (while :; do date >> beats; sleep 0.05; done) > /dev/null 2>&1 &").await;
    copy(&original, &copied).await;
    let before = everything(&copied);
    let stderr = refused(&copied, &[]).await;
    assert!(stderr.contains("--adopt-copy") && stderr.contains(original.to_str().unwrap()), "{stderr}");
    assert_eq!(everything(&copied), before, "the copy itself is left alone too");
    assert_eq!(server.exec(&id, "cat file").await, "one\n");

    let copy = Server::open(&copied, &["--adopt-copy"]).await;
    assert_ne!(marker(&copied)["id"], marker(&original)["id"]);
    copy.becomes("s", "start", "started").await;
    copy.exec(&id, "echo two > file").await;
    assert_eq!(server.exec(&id, "cat file").await, "one\n");
    server.exec(&id, "n=$(wc -l < beats); sleep 0.3; [ $(wc -l < beats) -gt $n ]").await;
    drop(copy);
    // Adopted once is enough.
    drop(Server::open(&copied, &[]).await);
    assert_eq!(server.exec(&id, "cat file").await, "one\n");
    server.create(json!({"name": "more"})).await;
}

#[tokio::test]
async fn a_copy_of_hard_links_is_not_adopted() {
    let base = tempfile::tempdir().unwrap();
    let (original, linked) = (base.path().join("original"), base.path().join("linked"));
    Server::open(&original, &[]).await.terminate().await;
    let status = Command::new("cp").arg("-al").args([&original, &linked]).status().await.unwrap();
    assert!(status.success());
    let before = everything(base.path());
    for options in [&[][..], &["--adopt-copy"]] {
        let stderr = refused(&linked, options).await;
        assert!(stderr.contains("--adopt-copy") || stderr.contains("hard links"), "{stderr}");
    }
    assert_eq!(everything(base.path()), before);
    Server::open(&original, &[]).await.terminate().await;
}

/// Many starts, each the moment the server before it was killed.
#[tokio::test]
async fn a_start_waits_for_a_server_that_is_just_ending() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::open(dir.path(), &[]).await;
    server.create(json!({"name": "s"})).await;
    for round in 0..6 {
        let signal = if round % 2 == 0 { rustix::process::Signal::KILL } else { rustix::process::Signal::TERM };
        server.signal(signal);
        let mut next = binary()
            .args(["serve", "--port", "0", "--json", "--data-dir"])
            .arg(dir.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut stdout = tokio::io::BufReader::new(next.stdout.take().unwrap());
        let read = tokio::io::AsyncBufReadExt::read_line(&mut stdout, &mut line);
        tokio::time::timeout(LIMIT, read).await.unwrap().unwrap();
        if line.is_empty() {
            let output = next.wait_with_output().await.unwrap();
            let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(3), "in use is all it may say: {stderr}");
            assert!(stderr.contains("in use"), "{stderr}");
        } else {
            let pid = rustix::process::Pid::from_raw(i32::try_from(next.id().unwrap()).unwrap()).unwrap();
            rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
            next.wait_with_output().await.unwrap();
        }
        server.ended().await;
        server = Server::open(dir.path(), &[]).await;
        assert_eq!(server.get("s").await.expect(200)["name"], "s");
    }
}

/// The store is still open where the lock is already free.
#[tokio::test]
async fn a_start_waits_for_the_store() {
    let dir = tempfile::tempdir().unwrap();
    Server::open(dir.path(), &[]).await.terminate().await;
    let store = fs::File::open(dir.path().join("state.redb")).unwrap();
    store.lock().unwrap();
    let dir_path = dir.path().to_owned();
    let mut starting = tokio::spawn(async move { Server::open(&dir_path, &[]).await });
    let early = tokio::time::timeout(std::time::Duration::from_millis(700), &mut starting).await;
    assert!(early.is_err(), "it does not start on a store that is in use");
    drop(store);
    starting.await.unwrap().terminate().await;
}
