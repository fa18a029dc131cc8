//! What no record knows is kept in `lost+found`, and only what has a mark is deleted.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::{LIMIT, Server, binary};

/// As the server makes them; of nothing that it knows.
const ID: &str = "8167a48d-1032-41c3-a188-1791142cbc10";

/// Runs a command to its end.
pub(crate) async fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = binary().args(arguments).output();
    let output = tokio::time::timeout(LIMIT, output).await.unwrap().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

fn file(dir: &Path, path: &str) {
    let path = dir.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, "precious").unwrap();
}

/// What is in `lost+found`, as `prune` tells it.
async fn lost(dir: &Path, more: &[&str]) -> Vec<Value> {
    let mut arguments = vec!["prune", dir.to_str().unwrap(), "--json"];
    arguments.extend(more);
    let (code, stdout, stderr) = run(&arguments).await;
    assert_eq!(code, Some(0), "{stderr}");
    serde_json::from_str::<Value>(&stdout).unwrap()["entries"].as_array().unwrap().clone()
}

#[tokio::test]
async fn what_no_record_knows_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::open(dir.path(), &[]).await;
    let id = server.create(json!({"name": "known"})).await;
    server.exec(&id, "echo kept > file").await;
    server.terminate().await;
    let things = [
        ("sandboxes/leftover", "/home/file"),
        ("sandboxes/a file", ""),
        ("snapshots/leftover", "/home/file"),
        ("volumes/leftover", "/file"),
        ("archives/leftover.tar.zst", ""),
        ("trash/notes", "/file"),
        ("steps/notes", "/file"),
        ("base/notes", "/file"),
        ("sockets/notes", ""),
        ("build-logs/notes", ""),
    ];
    for (thing, inside) in things {
        file(dir.path(), &format!("{thing}{inside}"));
    }
    let mut server = Server::open(dir.path(), &[]).await;
    let found = lost(dir.path(), &[]).await;
    assert_eq!(found.len(), things.len(), "{found:?}");
    for (thing, inside) in things {
        assert!(!dir.path().join(thing).exists(), "{thing}");
        let one = found.iter().find(|one| one["from"] == thing).unwrap_or_else(|| panic!("{thing} is not kept"));
        let name = one["name"].as_str().unwrap();
        let path = format!("{}/{name}{inside}", one["path"].as_str().unwrap());
        assert_eq!(fs::read(&path).unwrap(), b"precious", "{path}");
        assert!(one["bytes"].as_u64().unwrap() > 0 && !one["reason"].as_str().unwrap().is_empty(), "{one}");
    }
    server.becomes("known", "start", "started").await;
    assert_eq!(server.exec(&id, "cat file").await, "kept\n");
    let data = dir.path().to_str().unwrap();
    let (_, doctor, _) = run(&["doctor", "--json", "--data-dir", data]).await;
    let doctor: Value = serde_json::from_str(&doctor).unwrap();
    let check = doctor["checks"].as_array().unwrap().iter().find(|check| check["name"] == "lost+found").unwrap();
    assert_eq!(check["state"], "warning");
    assert!(check["found"].as_str().unwrap().starts_with("10 things"), "{check}");
    assert!(check["remedy"].as_str().unwrap().contains("prune"), "{check}");
    server.terminate().await;

    // Nothing is found twice.
    drop(Server::open(dir.path(), &[]).await);
    assert_eq!(lost(dir.path(), &["--older-than", "1h", "--yes"]).await.len(), 0);
    let (code, table, note) = run(&["prune", data]).await;
    assert_eq!(code, Some(0));
    assert!(table.contains("sandboxes/leftover") && note.contains("--yes"), "{table}{note}");
    assert_eq!(lost(dir.path(), &["--yes"]).await.len(), things.len());
    assert_eq!(lost(dir.path(), &[]).await.len(), 0);
    assert_eq!(fs::read_dir(dir.path().join("lost+found")).unwrap().count(), 0);
}

#[tokio::test]
async fn what_was_never_acknowledged_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    Server::open(dir.path(), &[]).await.terminate().await;
    let copy = format!("{ID}.0123456789abcdef");
    for (folder, name) in [
        ("sandboxes", ID),
        ("sandboxes", &copy),
        ("snapshots", ID),
        ("snapshots", &copy),
        ("volumes", ID),
        ("steps", "build-0123456789abcdef"),
        ("trash", "0123456789abcdef"),
    ] {
        file(dir.path(), &format!("{folder}/{name}/file"));
    }
    file(dir.path(), &format!("archives/{ID}.tar.partial"));
    file(dir.path(), &format!("build-logs/{ID}.log"));
    // The ways in which something comes to be known to nobody.
    for mark in ["sandboxes/ID.creating", "snapshots/ID.deleting", "volumes/ID.creating"] {
        file(dir.path(), &format!("manifests/{}", mark.replace("ID", ID)));
    }
    let _server = Server::open(dir.path(), &[]).await;
    for folder in ["sandboxes", "snapshots", "volumes", "steps", "archives", "build-logs", "manifests/sandboxes"] {
        let left: Vec<_> = fs::read_dir(dir.path().join(folder)).unwrap().flatten().collect();
        assert!(left.is_empty(), "{folder}: {left:?}");
    }
    assert_eq!(lost(dir.path(), &[]).await, [Value::Null; 0]);
    // Not before the server listens: it may be much.
    let emptied = async {
        while fs::read_dir(dir.path().join("trash")).unwrap().count() > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LIMIT, emptied).await.unwrap();
}

#[tokio::test]
async fn an_archive_is_deleted_only_where_it_is_known_to_be_a_copy() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::open(dir.path(), &[]).await;
    let id = server.create(json!({"name": "s"})).await;
    server.exec(&id, "echo kept > file").await;
    server.becomes("s", "stop", "stopped").await;
    let mark = format!("manifests/sandboxes/{id}.moving");
    let archive = format!("archives/{id}.tar.zst");
    for copy in [true, false] {
        server.terminate().await;
        file(dir.path(), &archive);
        if copy {
            file(dir.path(), &mark);
        }
        server = Server::open(dir.path(), &[]).await;
        assert!(!dir.path().join(&archive).exists() && !dir.path().join(&mark).exists());
        assert_eq!(lost(dir.path(), &[]).await.len(), usize::from(!copy));
    }
    server.becomes("s", "archive", "archived").await;
    let folder = format!("sandboxes/{id}");
    assert!(!dir.path().join(&folder).exists() && !dir.path().join(&mark).exists());
    for copy in [true, false] {
        server.terminate().await;
        file(dir.path(), &format!("{folder}/home/other"));
        if copy {
            file(dir.path(), &mark);
        }
        server = Server::open(dir.path(), &[]).await;
        assert!(!dir.path().join(&folder).exists());
        assert_eq!(lost(dir.path(), &[]).await.len(), if copy { 1 } else { 2 });
    }
    // What somebody puts there while it runs is not thrown away either.
    file(dir.path(), &format!("{folder}/home/other"));
    server.becomes("s", "start", "started").await;
    assert_eq!(lost(dir.path(), &[]).await.len(), 3);
    assert_eq!(server.exec(&id, "ls").await, "file\n");
    assert!(!dir.path().join(&mark).exists());
}

#[tokio::test]
async fn what_was_lost_for_long_is_deleted() {
    let dir = tempfile::tempdir().unwrap();
    Server::open(dir.path(), &[]).await.terminate().await;
    for name in ["old", "new"] {
        file(dir.path(), &format!("volumes/{name}/file"));
    }
    Server::open(dir.path(), &[]).await.terminate().await;
    let found = lost(dir.path(), &[]).await;
    let path = |name: &str| {
        let one = found.iter().find(|one| one["name"] == name).unwrap();
        Path::new(one["path"].as_str().unwrap()).to_owned()
    };
    let note = path("old").join("note.json");
    let text = fs::read_to_string(&note).unwrap();
    let moved = found[0]["movedAt"].as_str().unwrap();
    fs::write(&note, text.replace(&moved[..4], "2001")).unwrap();
    let _server = Server::open(dir.path(), &[]).await;
    let gone = async {
        while path("old").exists() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LIMIT, gone).await.unwrap();
    assert_eq!(fs::read(path("new").join("new/file")).unwrap(), b"precious");
}
