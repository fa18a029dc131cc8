//! A data directory on a disk that is full.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::support::{LIMIT, Server, binary};

/// A small file system of its own, or none where this user cannot mount one.
struct Disk {
    dir: tempfile::TempDir,
}

impl Disk {
    fn new() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=64m,mode=0700", "tmpfs"])
            .arg(dir.path())
            .stderr(Stdio::null())
            .status();
        if mounted.is_ok_and(|status| status.success()) {
            return Some(Self { dir });
        }
        println!("skipped: this user cannot mount a file system");
        None
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Writes until nothing more can be written.
    fn fill(&self) {
        let mut file = File::options().append(true).create(true).open(self.path().join("fill")).unwrap();
        for size in [1 << 20, 4096, 1] {
            let bytes = vec![1; size];
            while file.write_all(&bytes).is_ok() {}
        }
    }

    async fn reserve_is_there(&self) {
        let path = self.path().join("store.reserve");
        let there = async {
            while !path.exists() {
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(LIMIT, there).await.expect("no room was reserved");
        // Counted by the file system: no hole.
        let blocks = std::os::unix::fs::MetadataExt::blocks(&path.metadata().unwrap());
        assert!(blocks * 512 >= 4 << 20, "{blocks} blocks");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}

#[tokio::test]
async fn stopping_deleting_and_starting_work_on_a_full_disk() {
    let Some(disk) = Disk::new() else { return };
    // The top of a file system is no data directory before the server makes one of it.
    let mut server = Server::open(disk.path(), &[]).await;
    for name in ["a", "b", "c", "d"] {
        server.create(json!({ "name": name })).await;
    }
    disk.reserve_is_there().await;
    disk.fill();
    let delete = |name: &str| format!("/api/sandbox/{name}");
    server.becomes("a", "stop", "stopped").await;
    server.call("DELETE", &delete("b"), Value::Null).await.expect(200);
    assert_eq!(server.get("b").await.status, 404);
    disk.fill();
    assert_eq!(server.terminate().await.code(), Some(0));
    disk.fill();

    let log = tempfile::NamedTempFile::new().unwrap();
    let mut command = binary();
    command.stderr(Stdio::from(log.reopen().unwrap()));
    let mut server = Server::open_as(command, disk.path(), &[]).await;
    let text = fs::read_to_string(log.path()).unwrap();
    assert!(text.contains("full") && text.contains("stopping and deleting work"), "{text}");
    for name in ["a", "c", "d"] {
        assert_eq!(server.get(name).await.expect(200)["state"], "stopped");
    }
    assert_eq!(server.get("b").await.status, 404, "it stays deleted");
    server.call("DELETE", &delete("c"), Value::Null).await.expect(200);
    disk.fill();
    server.call("DELETE", &delete("d"), Value::Null).await.expect(200);
    server.terminate().await;

    // With room again, everything works, and some is kept.
    fs::remove_file(disk.path().join("fill")).unwrap();
    let mut server = Server::open(disk.path(), &[]).await;
    assert_eq!(server.get("c").await.status, 404);
    assert_eq!(server.get("d").await.status, 404);
    server.becomes("a", "start", "started").await;
    server.create(json!({"name": "e"})).await;
    disk.reserve_is_there().await;
    server.terminate().await;
}
