//! Builds that go wrong: each ends with a reason, leaves nothing behind, and the next one works.

use std::path::Path;

use serde_json::{Value, json};

use crate::registry::{Registry, with_registry};
use crate::support::{Server, binary, runs, wait_until_gone};

impl Server {
    /// Builds what has to fail, and gives the reason.
    async fn fails(&self, name: &str, dockerfile: &str) -> String {
        let failed = self.build(name, dockerfile).await;
        assert_eq!(failed["state"], "build_failed", "{failed}");
        self.is_clean().await;
        failed["errorReason"].as_str().unwrap().to_owned()
    }

    async fn works(&self, name: &str, dockerfile: &str) {
        let made = self.build(name, dockerfile).await;
        assert_eq!(made["state"], "started", "{made}");
        assert_eq!(self.exec(made["id"].as_str().unwrap(), "echo works").await, "works\n");
    }
}

/// Puts something else in the place of a file, which may be linked to from elsewhere.
fn replace(file: &Path, change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let before = std::fs::read(file).unwrap();
    let mut after = before.clone();
    change(&mut after);
    std::fs::remove_file(file).unwrap();
    std::fs::write(file, after).unwrap();
    before
}

#[tokio::test]
async fn what_is_not_what_its_digest_says_is_not_used() {
    let Some((_, _dir, server)) = with_registry().await else { return };
    let registry = Registry::own().unwrap();
    let from = format!("FROM {}\n", registry.image("small:1"));

    let (digest, layer) = registry.layer("small", "1");
    let whole = replace(&layer, |bytes| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
    });
    let why = server.fails("changed", &from).await;
    assert!(why.contains("corrupt") && why.contains(&digest), "{why}");
    replace(&layer, |bytes| bytes.truncate(bytes.len() / 2));
    let why = server.fails("short", &from).await;
    assert!(why.contains(&digest) || why.contains("cannot be reached"), "{why}");
    std::fs::remove_file(&layer).unwrap();
    let why = server.fails("missing", &from).await;
    assert!(why.contains(&digest) && why.contains("was not found"), "{why}");
    std::fs::write(&layer, whole).unwrap();

    let right = registry.digest("small", "1");
    let wrong = format!("{}{}", &right[..right.len() - 1], if right.ends_with('0') { '1' } else { '0' });
    let at = |digest: &str| from.replace("small:1", &format!("small@{digest}"));
    let why = server.fails("unknown", &at(&wrong)).await;
    assert!(why.contains(&wrong) && why.contains("was not found"), "{why}");
    // White space changes the digest and nothing else.
    let manifest = replace(&registry.blob(&right), |bytes| bytes.push(b' '));
    let why = server.fails("other", &at(&right)).await;
    assert!(why.contains("corrupt") && why.contains(&right), "{why}");
    replace(&registry.blob(&right), |bytes| *bytes = manifest);

    server.works("whole", &at(&right)).await;
    server.works("tagged", &from).await;
}

#[tokio::test]
async fn without_a_registry_the_ways_out_are_named() {
    let Some((registry, _dir, server)) = with_registry().await else { return };
    let why = server.fails("nowhere", "FROM 127.0.0.1:1/none:1\nRUN true\n").await;
    for part in ["127.0.0.1:1 cannot be reached", "--registry-mirror", "--image-fallback host"] {
        assert!(why.contains(part), "{why}");
    }
    let why = server.fails("none", &format!("FROM {}\n", registry.image("none:1"))).await;
    assert!(why.contains("none:1 was not found") && !why.contains("--image-fallback"), "{why}");
    let snapshot = json!({"name": "s", "imageName": "127.0.0.1:1/none:1"});
    server.call("POST", "/api/snapshots", snapshot).await.expect(200);
    let failed = server.reaches("/api/snapshots/s", &["active", "error", "build_failed"]).await;
    assert_eq!(failed["state"], "error");
    assert!(failed["errorReason"].as_str().unwrap().contains("--registry-mirror"), "{failed}");
    let refused =
        server.call("POST", "/api/sandbox", json!({"snapshot": "s"})).await.error(400, "SNAPSHOT_STATE_INVALID");
    assert!(refused["message"].as_str().unwrap().contains("cannot be reached"), "{refused}");
}

#[tokio::test]
async fn a_full_disk_is_named_and_leaves_room() {
    // The folder outlives the server.
    let Some((registry, _dir, _server)) = with_registry().await else { return };
    let dir = tempfile::tempdir().unwrap();
    // Mounted for the server alone; it goes with it.
    let mut command = tokio::process::Command::new("unshare");
    let script = "mkdir -p \"$1/images\" && mount -t tmpfs -o size=16m none \"$1/images\" && shift && exec \"$@\"";
    command.args(["-m", "sh", "-c", script, "sh"]).arg(dir.path()).arg(binary().as_std().get_program());
    command.stdin(std::process::Stdio::null()).kill_on_drop(true);
    let server = Server::open_as(command, dir.path(), &["--runtime", "ns"]).await;
    let small = format!("FROM {}\n", registry.image("small:1"));
    let why = server.fails("large", &format!("FROM {}\n", registry.image("debian:12"))).await;
    assert!(why.contains("no space left on the disk: "), "{why}");
    let why = server.fails("step", &format!("{small}RUN dd if=/dev/zero of=/large bs=1M count=20\n")).await;
    assert!(why.contains("non-zero code: 1"), "{why}");
    let log = server.log("/api/sandbox/step").await;
    assert!(log.contains("No space left on device"), "{log}");
    server.works("small", &format!("{small}RUN echo fits > /file\n")).await;
}

#[tokio::test]
async fn a_killed_build_leaves_nothing() {
    let Some((registry, dir, mut server)) = with_registry().await else { return };
    let marker = format!("7{}", std::process::id());
    let dockerfile = format!(
        "FROM {}\nRUN echo one > /one\nRUN --mount=type=cache,target=/c touch /c/begun; [ -e /c/twice ] || \
         {{ touch /c/twice; sleep {marker}; }}; cat /one\n",
        registry.image("small:1")
    );
    let body = json!({"name": "k", "buildInfo": {"dockerfileContent": dockerfile}});
    server.call("POST", "/api/sandbox", body.clone()).await.expect(200);
    let snapshot = json!({"name": "s", "buildInfo": {"dockerfileContent": dockerfile}});
    server.call("POST", "/api/snapshots", snapshot).await.expect(200);
    let sleeps = format!("sleep\0{marker}");
    let begun = async {
        while !runs(&sleeps) {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(crate::support::LIMIT, begun).await.expect("the step runs");
    server.kill().await;
    wait_until_gone(&sleeps).await;
    drop(server);

    let server = Server::open(dir.path(), &[]).await;
    // What was begun is done by the next server.
    let snapshot = server.reaches("/api/snapshots/s", &["active", "build_failed", "error"]).await;
    assert_eq!(snapshot["state"], "active", "{snapshot}");
    let sandbox = server.reaches("/api/sandbox/k", &["started", "stopped", "build_failed", "error"]).await;
    assert_eq!(sandbox["state"], "started", "{sandbox}");
    assert_eq!(server.exec(sandbox["id"].as_str().unwrap(), "cat /one").await, "one\n");
    server.works("next", &dockerfile).await;
    server.is_clean().await;
}

#[tokio::test]
async fn equal_builds_at_once_are_one() {
    let Some((registry, _dir, server)) = with_registry().await else { return };
    let dockerfile =
        format!("FROM {}\nRUN cat /proc/sys/kernel/random/uuid > /once; sleep 1\n", registry.image("small:1"));
    let (one, other) = tokio::join!(server.build("one", &dockerfile), server.build("other", &dockerfile));
    let mut seen = Vec::new();
    for made in [one, other] {
        assert_eq!(made["state"], "started", "{made}");
        seen.push(server.exec(made["id"].as_str().unwrap(), "cat /once").await);
    }
    assert_eq!(seen[0], seen[1]);
    let logs = [server.log("/api/sandbox/one").await, server.log("/api/sandbox/other").await];
    let ran = |log: &&String| log.contains("---> Running in");
    assert_eq!(logs.iter().filter(ran).count(), 1, "{logs:?}");
    let images = server.call("GET", "/api/images", Value::Null).await.expect(200);
    // The one that was pulled, and the one that was built.
    assert_eq!(images.as_array().unwrap().len(), 2, "{images}");
}
