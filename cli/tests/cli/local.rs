//! The local server of this machine.

use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::run::{bare, finish};
use crate::support::LIMIT;

#[tokio::test]
async fn sandboxes_outlive_the_commands() {
    let dir = tempfile::tempdir().unwrap();
    let run = |words: &'static [&'static str]| {
        let mut command = bare(words, dir.path());
        command.env("XDG_DATA_HOME", dir.path());
        finish(command)
    };
    let ready = run(&["serve", "--detach", "--port", "0", "--json"]).await.expect(0).json();
    let pid = Pid::from_raw(i32::try_from(ready["pid"].as_i64().unwrap()).unwrap()).unwrap();
    let second = run(&["serve", "--detach", "--port", "0"]).await.expect(3);
    run(&["--local", "create", "--name", "box"]).await.expect(0);
    let started = run(&["exec", "--local", "--id", "box", "--cmd", "nohup sleep 300 >/dev/null 2>&1 & echo $!"]).await;
    let found = run(&["--local", "info", "box", "--json"]).await;
    let running = run(&["--local", "exec", "box", "--cmd", "pgrep -x sleep"]).await;
    let settings = run(&["--local", "mcp", "config"]).await;
    kill_process(pid, Signal::TERM).unwrap();
    assert!(second.stderr.contains("--local"), "{second:?}");
    assert_eq!(found.expect(0).json()["state"], "started");
    assert!(!started.expect(0).stdout.is_empty());
    running.expect(0);
    let settings = settings.expect(0).json();
    assert_eq!(settings["mcpServers"]["daytona-mcp"]["env"]["DAYTONA_API_URL"], "local");
    // Its folder goes next. A process that has ended has no command line, also where nobody has collected it yet.
    let line = format!("/proc/{}/cmdline", pid.as_raw_nonzero());
    let ended = async {
        while std::fs::read(&line).is_ok_and(|line| !line.is_empty()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LIMIT, ended).await.expect("the server goes on");
}
