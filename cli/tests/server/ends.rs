//! What is left when a server ends, in whatever way.

use serde_json::{Value, json};

use crate::support::{LIMIT, Server, runs, wait_until_gone};

/// A command line that no other test and no other run has.
fn marker(dir: &std::path::Path) -> String {
    let name = dir.file_name().unwrap().to_string_lossy();
    format!("marker-{}", name.replace('.', ""))
}

/// Runs something that goes on for ever under this name.
async fn run_for_ever(server: &Server, id: &str, marker: &str) {
    let command = format!("(exec -a {marker} sleep 1000) >/dev/null 2>&1 </dev/null & echo begun");
    assert_eq!(server.exec(id, &command).await, "begun\n");
    let begun = async {
        while !runs(marker) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LIMIT, begun).await.unwrap();
}

fn mounted(dir: &std::path::Path) -> bool {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    mounts.contains(&*dir.to_string_lossy())
}

#[tokio::test]
async fn a_killed_server_loses_nothing_and_leaves_nothing_running() {
    for runtime in ["auto", "process"] {
        kill_and_look(runtime).await;
    }
}

async fn kill_and_look(runtime: &str) {
    let options = ["--runtime", runtime];
    let dir = tempfile::tempdir().unwrap();
    let marker = marker(dir.path());
    let mut server = Server::open(dir.path(), &options).await;
    let id = server.create(json!({"name": "kept", "labels": {"a": "b"}})).await;
    let ephemeral = server.create(json!({"autoDeleteInterval": 0})).await;
    let stopped = server.create(json!({})).await;
    server.call("POST", &format!("/api/sandbox/{stopped}/stop"), Value::Null).await.expect(200);
    let deleted = server.create(json!({})).await;
    server.call("DELETE", &format!("/api/sandbox/{deleted}"), Value::Null).await.expect(200);
    server.exec(&id, "echo kept > kept.txt").await;
    run_for_ever(&server, &id, &marker).await;
    server.call("POST", "/api/sandbox/kept/autostop/77", Value::Null).await.expect(200);
    let path = format!("/api/sandbox/{id}/signing-key/rotate");
    let key = server.call("POST", &path, Value::Null).await.expect(200);
    server.kill().await;
    // Never acknowledged: marked, and a record of it is nowhere.
    std::fs::create_dir_all(dir.path().join("sandboxes/leftover/upper")).unwrap();
    std::fs::write(dir.path().join("manifests/sandboxes/leftover.creating"), "").unwrap();

    let server = Server::open(dir.path(), &options).await;
    wait_until_gone(&marker).await;
    assert!(!mounted(dir.path()));
    let kept = server.get("kept").await.expect(200);
    assert_eq!(kept["id"], id);
    assert_eq!(kept["state"], "stopped");
    assert_eq!(kept["labels"]["a"], "b");
    assert_eq!(kept["autoStopInterval"], 77);
    let path = format!("/api/sandbox/{id}/signing-key");
    assert_eq!(server.call("GET", &path, Value::Null).await.expect(200), key);
    assert_eq!(server.get(&stopped).await.expect(200)["state"], "stopped");
    server.get(&deleted).await.error(404, "SANDBOX_NOT_FOUND");
    assert!(!dir.path().join("sandboxes/leftover").exists() && !dir.path().join("lost+found").exists());
    let gone = async {
        while server.get(&ephemeral).await.status != 404 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LIMIT, gone).await.expect("an ephemeral sandbox outlived its stop");
    server.call("POST", "/api/sandbox/kept/start", Value::Null).await.expect(200);
    assert_eq!(server.exec(&id, "cat kept.txt").await, "kept\n");
}

#[tokio::test]
async fn a_server_killed_again_and_again_keeps_what_it_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let mut known: Vec<String> = Vec::new();
    let mut runtimes = None;
    for round in 0..4 {
        let mut server = Server::open(dir.path(), &[]).await;
        let runtime = &server.ready["runtime"];
        assert_eq!(runtimes.get_or_insert_with(|| runtime.clone()), runtime);
        for id in &known {
            server.get(id).await.expect(200);
        }
        known.push(server.create(json!({})).await);
        // Creates that are under way when the server dies: known if acknowledged, else not there.
        let path = "/api/sandbox";
        let doomed = async {
            let _ =
                tokio::time::timeout(std::time::Duration::from_millis(round * 4), server.call("POST", path, json!({})))
                    .await;
        };
        doomed.await;
        server.kill().await;
    }
    let server = Server::open(dir.path(), &[]).await;
    let list = server.call("GET", "/api/sandbox", Value::Null).await.expect(200);
    for item in list["items"].as_array().unwrap() {
        let state = item["state"].as_str().unwrap();
        assert!(["stopped", "error"].contains(&state), "{item}");
    }
    for id in &known {
        assert_eq!(server.get(id).await.expect(200)["state"], "stopped");
    }
}

#[tokio::test]
async fn sigterm_ends_everything_in_order() {
    for runtime in ["auto", "process"] {
        terminate_and_look(runtime).await;
    }
}

async fn terminate_and_look(runtime: &str) {
    let options = ["--runtime", runtime];
    let dir = tempfile::tempdir().unwrap();
    let marker = marker(dir.path());
    let mut server = Server::open(dir.path(), &options).await;
    let id = server.create(json!({"name": "t"})).await;
    server.create(json!({"name": "e", "autoDeleteInterval": 0})).await;
    server.exec(&id, "echo kept > kept.txt").await;
    run_for_ever(&server, &id, &marker).await;
    let status = server.terminate().await;
    assert_eq!(status.code(), Some(0));
    assert!(!runs(&marker));
    assert!(!mounted(dir.path()));
    let server = Server::open(dir.path(), &options).await;
    let list = server.call("GET", "/api/sandbox", Value::Null).await.expect(200);
    assert_eq!(list["items"].as_array().unwrap().len(), 1, "{list}");
    assert_eq!(list["items"][0]["name"], "t");
    assert_eq!(list["items"][0]["state"], "stopped");
    server.call("POST", "/api/sandbox/t/start", Value::Null).await.expect(200);
    assert_eq!(server.exec(&id, "cat kept.txt").await, "kept\n");
}

#[tokio::test]
async fn sigterm_answers_the_calls_under_way() {
    let mut server = Server::new().await;
    let id = server.create(json!({})).await;
    let running = server.try_exec(&id, "touch began; sleep 1000");
    let end = async {
        server.wait_for_file(&id, "began").await;
        server.signal(rustix::process::Signal::TERM);
    };
    let (answer, ()) = tokio::join!(running, end);
    answer.error(502, "SANDBOX_STOPPED");
    assert_eq!(server.ended().await.code(), Some(0));
}

#[tokio::test]
async fn stopping_a_sandbox_ends_all_that_ran_in_it() {
    for runtime in ["auto", "process"] {
        stop_and_look(runtime).await;
    }
}

async fn stop_and_look(runtime: &str) {
    let options = ["--runtime", runtime];
    let dir = tempfile::tempdir().unwrap();
    let marker = marker(dir.path());
    let server = Server::open(dir.path(), &options).await;
    let id = server.create(json!({})).await;
    run_for_ever(&server, &id, &marker).await;
    server.call("POST", &format!("/api/sandbox/{id}/stop"), Value::Null).await.expect(200);
    assert!(!runs(&marker));
}

#[tokio::test]
async fn a_sandbox_that_ends_by_itself_is_stopped_and_says_so() {
    for runtime in ["auto", "process"] {
        let dir = tempfile::tempdir().unwrap();
        let server = Server::open(dir.path(), &["--runtime", runtime]).await;
        let id = server.create(json!({})).await;
        let (answer, ()) = tokio::join!(server.try_exec(&id, "touch runs; sleep 1000"), async {
            server.wait_for_file(&id, "runs").await;
            server.kill_first_processes();
        });
        assert_eq!(answer.expect(502)["source"], "DAYTONA_PROXY");
        let stopped = async {
            loop {
                let sandbox = server.get(&id).await.expect(200);
                if sandbox["state"] == "stopped" {
                    return sandbox;
                }
            }
        };
        let sandbox = tokio::time::timeout(LIMIT, stopped).await.unwrap();
        let reason = sandbox["errorReason"].as_str().unwrap();
        assert!(reason.contains("ended by itself"), "{reason}");
        let path = format!("/api/sandbox/{id}/start");
        let started = server.call("POST", &path, Value::Null).await.expect(200);
        assert!(started.get("errorReason").is_none(), "{started}");
        server.exec(&id, "true").await;
    }
}
