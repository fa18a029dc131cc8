//! What commands print, and how they end.

use std::io::{BufRead as _, Read as _, Write as _};
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tokio::io::AsyncWriteExt as _;

use crate::run::{bare, command, finish, run};
use crate::support::{LIMIT, Server};

#[tokio::test]
async fn a_sandbox_from_its_making_to_its_end() {
    let server = Server::new().await;
    let made = run(&server, &["create", "--name", "box", "--label", "team=a", "--env", "WORD=x y", "--json"]).await;
    let made = made.expect(0).json();
    assert_eq!((made["name"].as_str(), made["state"].as_str()), (Some("box"), Some("started")));
    let id = made["id"].as_str().unwrap();

    let listed = run(&server, &["list", "--label", "team=a", "--json"]).await.expect(0).json();
    assert_eq!(listed.as_array().unwrap().len(), 1);
    assert_eq!(listed[0]["id"], id);
    let other = run(&server, &["list", "--label", "team=b", "--json"]).await.expect(0).json();
    assert_eq!(other, json!([]));
    assert_eq!(run(&server, &["list", "--quiet"]).await.expect(0).stdout.trim(), id);

    let table = run(&server, &["list"]).await.expect(0).stdout;
    let lines: Vec<&str> = table.lines().collect();
    assert!(lines[0].starts_with("ID ") && lines[0].contains("STATE") && lines[0].ends_with("CREATED"), "{table}");
    assert!(lines[1].starts_with(id) && lines[1].contains(" box ") && lines[1].contains(" started "), "{table}");

    let info = run(&server, &["info", "--id", "box"]).await.expect(0).stdout;
    assert!(info.contains("State") && info.contains("started") && info.contains("team=a"), "{info}");
    assert_eq!(run(&server, &["exec", "box", "--", "sh", "-c", "echo \"<$WORD>\""]).await.stdout, "<x y>\n");

    assert_eq!(run(&server, &["stop", "box", "--json"]).await.expect(0).json()["state"], "stopped");
    let started = run(&server, &["start", "box"]).await.expect(0).stdout;
    assert!(started.contains(&format!("{id} (box) started")), "{started}");

    let gone = run(&server, &["delete", "--id", "box", "--json"]).await.expect(0).json();
    assert_eq!(gone, json!({ "id": id, "deleted": true }));
    let error = run(&server, &["info", "box", "--json"]).await.expect(5).error();
    assert_eq!(
        (&error["type"], &error["status"], &error["exitCode"]),
        (&json!("DaytonaNotFoundError"), &json!(404), &json!(5))
    );
    assert!(error["requestId"].is_string());
}

#[tokio::test]
async fn what_does_not_start_leaves_nothing() {
    let server = Server::new().await;
    let registry = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let image = format!("127.0.0.1:{}/none:1", registry.local_addr().unwrap().port());
    let words = ["create", "--name", "box", "--image", &image];
    let child = command(&server, &words).spawn().unwrap();
    // The registry never says a word.
    let silent = tokio::time::timeout(LIMIT, registry.accept()).await.expect("the image is asked for").unwrap();
    kill_process(Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap()).unwrap(), Signal::INT).unwrap();
    let output = tokio::time::timeout(LIMIT, child.wait_with_output()).await.unwrap().unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(130), b"".as_slice()));
    assert_eq!(run(&server, &["list", "--quiet"]).await.expect(0).stdout, "");

    drop((silent, registry));
    let ran = run(&server, &words).await.expect(1);
    assert!(ran.stderr.contains("127.0.0.1"), "{ran:?}");
    run(&server, &["create", "--name", "box"]).await.expect(0);
    let ran = run(&server, &["archive", "box", "--json"]).await.expect(6).error();
    assert!(ran["message"].as_str().unwrap().contains("stop it first"), "{ran}");
}

#[tokio::test]
async fn exec_is_as_if_it_ran_here() {
    let server = Server::new().await;
    let id = server.create(json!({})).await;
    let ran = run(&server, &["exec", "--id", &id, "--cmd", "echo out; echo err >&2; exit 7"]).await;
    assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (7, "out\n", "err\n"));
    let ran = run(&server, &["exec", "--id", &id, "--cmd", "printf a; exit 3", "--json"]).await;
    assert_eq!(ran.json(), json!({ "exitCode": 3, "stdout": "a", "stderr": "" }));
    assert_eq!(ran.code, 3);
    // Words are words, whatever is in them.
    let ran = run(&server, &["exec", &id, "--", "printf", "%s|", "a b", "$HOME", "it's"]).await.expect(0);
    assert_eq!(ran.stdout, "a b|$HOME|it's|");
    let ran = run(&server, &["exec", &id, "--cmd", "sleep 30", "--timeout", "1"]).await.expect(7);
    assert!(ran.stderr.contains("time"), "{ran:?}");
    let nowhere = run(&server, &["exec", "--id", "nowhere", "--cmd", "true"]).await.expect(255);
    assert!(nowhere.stderr.starts_with("daytona-native: ") && nowhere.stderr.contains("nowhere"), "{nowhere:?}");
    let missing = run(&server, &["exec", &id, "--cmd", "true", "--cwd", "/not/there"]).await.expect(255);
    assert!(missing.stderr.contains("/not/there does not exist"), "{missing:?}");
    let large = format!("BIG={}", "x".repeat(100_000));
    let ran = run(&server, &["exec", &id, "--cmd", "echo ${#BIG}", "--env", &large]).await.expect(0);
    assert_eq!(ran.stdout, "100000\n");

    let mut child =
        command(&server, &["exec", "-i", &id, "--cmd", "cat; echo done"]).stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"given\n").await.unwrap();
    drop(stdin);
    let output = tokio::time::timeout(LIMIT, child.wait_with_output()).await.unwrap().unwrap();
    assert_eq!(output.stdout, b"given\ndone\n");
}

#[tokio::test]
async fn an_interrupt_is_for_the_command() {
    let server = Server::new().await;
    let id = server.create(json!({})).await;
    let line = "trap 'echo caught; exit 9' INT; touch /tmp/ready; while :; do sleep 0.02; done";
    let child = command(&server, &["exec", "--id", &id, "--cmd", line]).spawn().unwrap();
    server.wait_for_file(&id, "/tmp/ready").await;
    let pid = Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap()).unwrap();
    kill_process(pid, Signal::INT).unwrap();
    let output = tokio::time::timeout(LIMIT, child.wait_with_output()).await.unwrap().unwrap();
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(9), b"caught\n".as_slice()));
}

#[tokio::test]
async fn colours_are_for_those_who_want_them() {
    let server = Server::new().await;
    server.create(json!({})).await;
    let escape = '\u{1b}';
    assert!(!run(&server, &["list"]).await.stdout.contains(escape));
    assert!(run(&server, &["list", "--color", "always"]).await.stdout.contains(escape));
    // On a terminal, that is.
    let on_terminal = |variable: Option<&'static str>| {
        let mut inner = command(&server, &[]);
        let exe = env!("CARGO_BIN_EXE_daytona-native");
        let mut terminal = tokio::process::Command::new("script");
        for (name, value) in inner.as_std_mut().get_envs() {
            if let Some(value) = value {
                terminal.env(name, value);
            }
        }
        terminal.args(["-qec", &format!("'{exe}' list"), "/dev/null"]).env("TERM", "xterm").stdin(Stdio::null());
        match variable {
            Some(value) => terminal.env("NO_COLOR", value),
            None => terminal.env_remove("NO_COLOR"),
        };
        terminal.stdout(Stdio::piped()).stderr(Stdio::piped());
        finish(terminal)
    };
    assert!(on_terminal(None).await.expect(0).stdout.contains(escape));
    assert!(!on_terminal(Some("1")).await.expect(0).stdout.contains(escape));
}

#[tokio::test]
async fn what_is_missing_is_named_with_its_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let ran = finish(bare(&["list"], dir.path())).await.expect(4);
    assert!(ran.stderr.starts_with("daytona-native: DAYTONA_API_KEY not set. "), "{ran:?}");
    assert!(ran.stderr.contains("--local") && ran.stderr.lines().count() == 1, "{ran:?}");

    let mut command = bare(&["list", "--local"], dir.path());
    command.env("XDG_DATA_HOME", dir.path());
    let ran = finish(command).await.expect(8);
    assert!(ran.stderr.contains("no local server runs") && ran.stderr.contains("serve"), "{ran:?}");

    let mut command = bare(&["list", "--json"], dir.path());
    command.env("DAYTONA_API_KEY", "k").env("DAYTONA_API_URL", "http://127.0.0.1:9/api");
    let error = finish(command).await.expect(8).error();
    assert!(error["message"].as_str().unwrap().contains("doctor"), "{error}");

    let server = Server::new().await;
    let mut refused = crate::run::command(&server, &["list"]);
    refused.env("DAYTONA_API_KEY", "wrong-key");
    let ran = finish(refused).await.expect(4);
    assert!(ran.stderr.contains("DAYTONA_API_KEY") && !ran.stderr.contains("wrong-key"), "{ran:?}");

    for wrong in [&["exec", "--id", "a"][..], &["delete"], &["spin"], &["info", "a", "--id", "b"], &["cp", "a"]] {
        finish(bare(wrong, dir.path())).await.expect(2);
    }
}

/// Refuses every request with this status and message; gives its URL.
fn refusing(status: u16, message: &'static str) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/api", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut reader = std::io::BufReader::new(stream.unwrap());
            let (mut line, mut length) = (String::new(), 0);
            while reader.read_line(&mut line).unwrap_or(0) > 2 {
                if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
                line.clear();
            }
            let _ = reader.read_exact(&mut vec![0; length]);
            let body = json!({ "statusCode": status, "message": message }).to_string();
            let head = "content-type: application/json\r\nconnection: close";
            let answer = format!("HTTP/1.1 {status} No\r\n{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            let _ = reader.get_mut().write_all(answer.as_bytes());
        }
    });
    url
}

#[tokio::test]
async fn a_quota_that_is_used_up_comes_with_the_way_out() {
    let dir = tempfile::tempdir().unwrap();
    let url = refusing(403, "Total CPU limit exceeded. Maximum allowed: 10");
    let mut create = bare(&["create"], dir.path());
    create.env("DAYTONA_API_URL", url).env("DAYTONA_API_KEY", "key-of-this-test");
    let ran = finish(create).await.expect(1);
    for words in ["Maximum allowed: 10", "daytona-native list", "--cpu", "dashboard/limits"] {
        assert!(ran.stderr.contains(words), "{ran:?}");
    }
    assert!(!ran.stderr.contains("key-of-this-test"), "{ran:?}");
}

#[tokio::test]
async fn completions_are_scripts_that_shells_read() {
    let dir = tempfile::tempdir().unwrap();
    let script = finish(bare(&["completions", "bash"], dir.path())).await.expect(0).stdout;
    let mut file = tempfile::NamedTempFile::new_in(dir.path()).unwrap();
    file.write_all(script.as_bytes()).unwrap();
    let path = file.path().display();
    let mut bash = tokio::process::Command::new("bash");
    let line = format!(
        "source {path}; COMP_WORDS=(daytona-native sn); COMP_CWORD=1; \
         $(complete -p daytona-native | sed 's/.*-F \\([^ ]*\\).*/\\1/') daytona-native sn daytona-native; \
         echo \"${{COMPREPLY[@]}}\""
    );
    bash.args(["--norc", "-c", &line]).stdout(Stdio::piped()).stderr(Stdio::piped());
    assert_eq!(finish(bash).await.expect(0).stdout.trim(), "snapshots");
    for shell in ["zsh", "fish"] {
        let script = finish(bare(&["completions", shell], dir.path())).await.expect(0).stdout;
        assert!(script.contains("daytona-native") && script.contains("snapshots"), "{shell}");
    }
}

#[tokio::test]
async fn other_things_that_are_kept() {
    let server = Server::new().await;
    let volume = run(&server, &["volumes", "create", "data", "--json"]).await.expect(0).json();
    assert!(run(&server, &["volumes", "list"]).await.expect(0).stdout.contains("data"));
    run(&server, &["volumes", "delete", "data"]).await.expect(0);
    assert!(volume["id"].is_string());

    let mut create = command(&server, &["secrets", "create", "token", "--host", "api.example.com", "--json"]);
    let mut child = create.stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"very-secret\n").await.unwrap();
    let output = tokio::time::timeout(LIMIT, child.wait_with_output()).await.unwrap().unwrap();
    assert!(output.status.success() && !String::from_utf8_lossy(&output.stdout).contains("very-secret"));
    let listed = run(&server, &["secrets", "list", "--json"]).await.expect(0).json();
    assert_eq!((&listed[0]["name"], &listed[0]["hosts"]), (&json!("token"), &json!(["api.example.com"])));
    run(&server, &["secrets", "delete", "token"]).await.expect(0);

    run(&server, &["snapshots", "list", "--json"]).await.expect(0).json();
    let id = server.create(json!({})).await;
    let link = run(&server, &["preview", &id, "3000", "--json"]).await.expect(0).json();
    assert!(link["url"].as_str().unwrap().contains("3000") && link["token"].is_string());
    let signed = run(&server, &["preview", &id, "3000", "--signed=90"]).await.expect(0).stdout;
    assert!(signed.starts_with("http"), "{signed}");

    let cost = run(&server, &["cost", "--json"]).await.expect(0).json();
    assert!(cost["perHour"].as_f64().unwrap() > 0.0 && cost["prices"]["date"].is_string(), "{cost}");
    let cost = run(&server, &["cost", "--cpu", "2", "--memory", "4", "--disk", "10", "--hours", "10"]).await.expect(0);
    assert!(
        cost.stdout.contains("$0.1667") && cost.stdout.contains("$1.67") && cost.stdout.contains("2026-"),
        "{cost:?}"
    );

    let doctor = run(&server, &["doctor", "--json"]).await.expect(0).json();
    assert_eq!(doctor["ok"], true, "{doctor}");
    let names: Vec<&str> =
        doctor["checks"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    for name in ["version", "server", "key", "reachable", "server version", "runtime"] {
        assert!(names.contains(&name), "{names:?}");
    }
}

#[tokio::test]
async fn logs_of_a_session_are_followed_to_their_end() {
    let server = Server::new().await;
    let id = server.create(json!({})).await;
    let none = run(&server, &["logs", &id]).await.expect(5);
    assert!(none.stderr.contains("no entrypoint") && none.stderr.contains("exec"), "{none:?}");
    let path = format!("/toolbox/{id}/process/session");
    server.call("POST", &path, json!({ "sessionId": "work" })).await.expect(201);
    let line = "echo first; until [ -e /tmp/go ]; do sleep 0.02; done; echo last; echo err >&2";
    server.call("POST", &format!("{path}/work/exec"), json!({ "command": line, "runAsync": true })).await;
    let follow = command(&server, &["logs", "-f", &id, "--session", "work"]).spawn().unwrap();
    server.exec(&id, "touch /tmp/go").await;
    let output = tokio::time::timeout(LIMIT, follow.wait_with_output()).await.unwrap().unwrap();
    assert_eq!(
        (output.stdout.as_slice(), output.stderr.as_slice()),
        (b"first\nlast\n".as_slice(), b"err\n".as_slice())
    );
    let shown = run(&server, &["logs", &id, "--session", "work"]).await.expect(0);
    assert_eq!((shown.stdout.as_str(), shown.stderr.as_str()), ("first\nlast\n", "err\n"));
}
