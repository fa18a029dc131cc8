//! The launcher is killed: the server starts another one, and what died is stopped and can be started.

use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde_json::{Value, json};

use crate::signals::find_child;
use crate::support::{LIMIT, Server, wait_until_gone};

impl Server {
    fn process(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.ready["pid"].as_u64().unwrap()).unwrap()).unwrap()
    }

    /// Kills the launcher, once there is one, and waits until it is gone.
    async fn kill_launcher(&self) {
        let pause = || tokio::time::sleep(Duration::from_millis(2));
        let killed = async {
            let launcher = loop {
                match find_child(self.process(), "launcher") {
                    Some(launcher) => break launcher,
                    None => pause().await,
                }
            };
            kill_process(launcher, Signal::KILL).unwrap();
            while test_kill_process(launcher).is_ok() {
                pause().await;
            }
        };
        tokio::time::timeout(LIMIT, killed).await.expect("it ends and is collected");
    }
}

#[tokio::test]
async fn sandboxes_outlive_it_stopped_and_others_are_made() {
    for options in [&[][..], &["--runtime", "process"]] {
        let dir = tempfile::tempdir().unwrap();
        let mut server = Server::open(dir.path(), options).await;
        // Twice: the second launcher is one like the first.
        for round in ["first", "second"] {
            let id = server.create(json!({ "name": round })).await;
            server.exec(&id, "echo kept > file").await;
            let marker = format!("{:x}{round}", std::process::id());
            let under_way = format!("touch begun; sleep 300; : {marker}");
            let (cut, made) = tokio::join!(server.try_exec(&id, &under_way), async {
                server.wait_for_file(&id, "begun").await;
                server.kill_launcher().await;
                server.create(json!({})).await
            });
            let cut = cut.error(502, "SANDBOX_STOPPED");
            assert!(cut["message"].as_str().unwrap().contains(&id), "{cut}");
            assert_eq!(server.exec(&made, "echo new").await, "new\n");
            let stopped = server.reaches(&format!("/api/sandbox/{id}"), &["stopped"]).await;
            let reason = stopped["errorReason"].as_str().unwrap();
            assert!(reason.contains("launcher") && reason.contains("files are kept"), "{reason}");
            wait_until_gone(&marker).await;
            server.call("POST", &format!("/api/sandbox/{id}/start"), Value::Null).await.expect(200);
            server.reaches(&format!("/api/sandbox/{id}"), &["started"]).await;
            assert_eq!(server.exec(&id, "cat file").await, "kept\n");
        }
        assert!(server.terminate().await.success());
    }
}

#[tokio::test]
async fn creates_under_way_are_made_by_the_next() {
    let mut server = Server::new().await;
    let creates = futures_util::future::join_all((0..12).map(|_| server.create(json!({}))));
    let (made, ()) = tokio::join!(creates, async {
        for _ in 0..2 {
            tokio::time::sleep(Duration::from_millis(30)).await;
            server.kill_launcher().await;
        }
    });
    let id = server.create(json!({})).await;
    assert_eq!(server.exec(&id, "echo on").await, "on\n");
    for id in made {
        let state = server.get(&id).await.expect(200)["state"].clone();
        assert!(state == "started" || state == "stopped", "{state}");
    }
    assert!(server.terminate().await.success());
}

#[tokio::test]
async fn a_frozen_sandbox_goes_with_it_too() {
    let server = Server::new().await;
    let id = server.create(json!({ "name": "paused" })).await;
    server.exec(&id, "echo kept > file").await;
    if server.call("POST", "/api/sandbox/paused/pause", Value::Null).await.status != 200 {
        println!("skipped: nothing is frozen here");
        return;
    }
    server.reaches(&format!("/api/sandbox/{id}"), &["paused"]).await;
    server.kill_launcher().await;
    server.reaches(&format!("/api/sandbox/{id}"), &["stopped"]).await;
    server.call("POST", "/api/sandbox/paused/start", Value::Null).await.expect(200);
    server.reaches(&format!("/api/sandbox/{id}"), &["started"]).await;
    assert_eq!(server.exec(&id, "cat file").await, "kept\n");
}
