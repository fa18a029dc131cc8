//! The isolation of sandboxes: what the server does when it cannot have it, and what lives on when all that a sandbox's
//! user may end is ended.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::Command;

use crate::support::{LIMIT, Server};

/// What runs its arguments after the commands of `first`, in mounts of its own, as root or what looks like root.
fn apart(first: &str) -> Command {
    let mut command = Command::new("unshare");
    if !std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0) {
        command.args(["--user", "--map-root-user"]);
    }
    let script = format!("{first} && exec \"$@\"");
    command.args(["--mount", "--propagation", "private", "sh", "-c", &script, "sh"]);
    command.arg(env!("CARGO_BIN_EXE_daytona-native"));
    command
        .env_remove("DAYTONA_NATIVE_API_KEY")
        .env_remove("DAYTONA_NATIVE_LOG")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

/// The same where `data` lies in memory, with room for so many files.
fn in_memory(data: &Path, files: u32) -> Command {
    apart(&format!("mount -t tmpfs -o size=256m,nr_inodes={files},mode=700 data {}", data.display()))
}

/// How a start went, and the log: the server is ended again.
async fn start(mut command: Command, data: &Path, runtime: &str) -> (Option<Value>, String) {
    let mut child = command
        .args(["serve", "--port", "0", "--json", "--runtime", runtime, "--data-dir"])
        .arg(data)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut line, mut log) = (String::new(), String::new());
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut stderr = child.stderr.take().unwrap();
    let ready = async {
        stdout.read_line(&mut line).await.unwrap();
        let pid = child.id().and_then(|pid| rustix::process::Pid::from_raw(pid.try_into().unwrap()));
        if let Some(pid) = pid {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
    };
    let both = async { tokio::join!(ready, stderr.read_to_string(&mut log)) };
    tokio::time::timeout(LIMIT, both).await.expect("it neither starts nor ends").1.unwrap();
    child.wait().await.unwrap();
    (serde_json::from_str(&line).ok(), log)
}

/// Whether sandboxes are isolated here.
async fn isolated() -> bool {
    let server = Server::new().await;
    let isolated = server.ready["runtime"] == "ns";
    if !isolated {
        println!("skipped: sandboxes are not isolated on this machine");
    }
    isolated
}

#[tokio::test]
async fn a_full_disk_takes_no_isolation_away() {
    if !isolated().await {
        return;
    }
    let mut refused = 0;
    for files in [8, 12, 16, 20, 24, 32, 40, 50, 60, 80, 100, 140] {
        let data = tempfile::tempdir().unwrap();
        let (ready, log) = start(in_memory(data.path(), files), data.path(), "auto").await;
        match ready {
            Some(ready) => assert_eq!(ready["runtime"], "ns", "{files}: {log}"),
            None => refused += 1,
        }
        assert!(!log.contains("NO ISOLATION"), "{files}: {log}");
    }
    assert!(refused > 0, "all of them had room");
}

/// Where the kernel allows no namespaces.
const FORBIDDEN: &str = "echo 0 > /proc/sys/user/max_user_namespaces";

/// A server that looks like root to itself and can have no namespaces.
fn forbidden() -> Command {
    let mut command = Command::new("unshare");
    let script = format!("{FORBIDDEN} && exec \"$@\"");
    command.args(["--user", "--map-root-user", "sh", "-c", &script, "sh", env!("CARGO_BIN_EXE_daytona-native")]);
    command.kill_on_drop(true);
    command
}

#[tokio::test]
async fn only_the_kernel_takes_isolation_away() {
    let data = tempfile::tempdir().unwrap();
    let (ready, log) = start(forbidden(), data.path(), "auto").await;
    let Some(ready) = ready else {
        assert!(log.contains("unshare") || log.contains("max_user_namespaces"), "{log}");
        println!("skipped: a user namespace without others cannot be made here: {log}");
        return;
    };
    assert_eq!(ready["runtime"], "process", "{log}");
    assert!(log.contains("NO ISOLATION: what runs in a sandbox runs as the user root of this machine"), "{log}");
    if !isolated().await {
        return;
    }
    // Where sandboxes were isolated before, only a person takes that away.
    let data = tempfile::tempdir().unwrap();
    drop(Server::open(data.path(), &[]).await);
    for (runtime, starts) in [("auto", false), ("ns", false), ("process", true)] {
        let (ready, log) = start(forbidden(), data.path(), runtime).await;
        assert_eq!(ready.is_some(), starts, "{runtime}: {log}");
        assert!(starts || log.contains("`--runtime process`"), "{log}");
    }
}

#[tokio::test]
async fn without_isolation_the_answers_say_so() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::open(dir.path(), &["--runtime", "process"]).await;
    let created = server.call("POST", "/api/sandbox", json!({ "name": "s" })).await;
    let sandbox = created.expect(200);
    let said = created.headers["x-daytona-native-warning"].to_str().unwrap();
    let user = sandbox["user"].as_str().unwrap();
    assert!(said.contains("NO ISOLATION") && said.contains(&format!("the user {user} ")), "{said}");
    assert_eq!(sandbox["labels"]["daytona-native/isolation"], "none");
    server.call("POST", "/api/sandbox/s/stop", Value::Null).await.expect(200);
    let started = server.call("POST", "/api/sandbox/s/start", Value::Null).await;
    assert!(started.headers.contains_key("x-daytona-native-warning"));
    if isolated().await {
        let server = Server::new().await;
        let created = server.call("POST", "/api/sandbox", json!({})).await;
        assert!(!created.headers.contains_key("x-daytona-native-warning"));
    }
}

#[tokio::test]
async fn the_files_of_a_full_disk_can_be_deleted() {
    if !isolated().await {
        return;
    }
    let data = tempfile::tempdir().unwrap();
    let server = Server::open_as(in_memory(data.path(), 4000), data.path(), &[]).await;
    let id = server.create(json!({ "name": "full" })).await;
    let other = server.create(json!({ "name": "other" })).await;
    server.exec(&id, "i=0; while : > f$i; do i=$((i+1)); done 2>/dev/null; ! touch more 2>/dev/null").await;
    let refused = server.call("POST", "/api/sandbox", json!({ "name": "third" })).await;
    refused.error(507, "STORAGE_FAILED");
    server.call("POST", "/api/sandbox/other/stop", Value::Null).await.expect(200);
    let refused = server.call("POST", "/api/sandbox/other/start", Value::Null).await;
    refused.error(507, "STORAGE_FAILED");
    for id in [id, other] {
        server.call("DELETE", &format!("/api/sandbox/{id}"), Value::Null).await.expect(200);
    }
    let id = server.create(json!({ "name": "new" })).await;
    assert_eq!(server.exec(&id, "echo room").await, "room\n");
}

#[tokio::test]
async fn a_sandbox_outlives_its_user_killing_everything() {
    if !isolated().await {
        return;
    }
    let server = Server::new().await;
    // An ephemeral one would be deleted with its files.
    let id = server.create(json!({ "autoDeleteInterval": 0 })).await;
    server.exec(&id, "echo kept > file").await;
    let change = json!({ "set": { "CHANGED": "too" } });
    server.call("POST", &format!("/toolbox/{id}/env"), change).await.expect(200);
    for kill in ["kill -9 -1", "pkill -9 -u daytona", "pkill -9 ."] {
        let cut = server.try_exec(&id, kill).await.error(502, "AGENT_RESTARTED");
        assert!(cut["message"].as_str().unwrap().contains("its files are kept"), "{cut}");
        assert_eq!(server.get(&id).await.expect(200)["state"], "started", "{kill}");
        assert_eq!(server.exec(&id, "cat file; echo $CHANGED").await, "kept\ntoo\n", "{kill}");
    }
    server.call("DELETE", &format!("/api/sandbox/{id}"), Value::Null).await.expect(200);
}

#[tokio::test]
async fn a_program_ends_in_its_own_time() {
    let server = Server::new().await;
    let id = server.create(json!({ "name": "s" })).await;
    let program = "trap 'echo one; echo one > one; sleep 0.5; echo two; echo two > two; exit 0' TERM; echo > ready; \
                   while :; do sleep 0.01; done";
    // The call is answered when the stop begins, and what it runs goes on.
    let (called, ()) = tokio::join!(server.try_exec(&id, program), async {
        server.wait_for_file(&id, "ready").await;
        server.call("POST", "/api/sandbox/s/stop", Value::Null).await.expect(200);
    });
    called.error(502, "SANDBOX_STOPPED");
    server.call("POST", "/api/sandbox/s/start", Value::Null).await.expect(200);
    let started = async {
        while server.get("s").await.expect(200)["state"] != "started" {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LIMIT, started).await.unwrap();
    assert_eq!(server.exec(&id, "cat one two").await, "one\ntwo\n");
}
