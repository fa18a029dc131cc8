//! Standard streams that are closed, full, or read by nobody any more; and signals.

use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::run::{bare, command, finish};
use crate::support::{LIMIT, Server};

/// Of a program that has written for nobody.
const UNREAD: i32 = 141;
/// Writes without end, from two processes.
const YES: &str = "yes & exec yes";

/// Where nobody reads.
fn unread() -> Stdio {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    writer.into()
}

/// Where there is no room.
fn full() -> Stdio {
    std::fs::File::options().write(true).open("/dev/full").unwrap().into()
}

async fn output(child: Child) -> (Option<i32>, String, String) {
    let output = tokio::time::timeout(LIMIT, child.wait_with_output()).await.expect("it did not end").unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

fn pid(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap()).unwrap()
}

impl Server {
    /// Waits until no program of this name is in a sandbox: much less long than one outlives its client.
    async fn lost(&self, id: &str, name: &str) {
        let look = format!("while grep -qx {name} /proc/[0-9]*/comm 2>/dev/null; do :; done");
        tokio::time::timeout(LIMIT, self.exec(id, &look)).await.unwrap_or_else(|_| panic!("{name} still runs"));
    }
}

#[tokio::test]
async fn a_command_ends_with_its_reader() {
    let server = Server::new().await;
    let id = server.create(json!({})).await;
    let to_stderr = format!("({YES}) >&2");
    let quiet = (Some(UNREAD), String::new(), String::new());
    for arguments in [&["exec", &id, "--", "sh", "-c", YES][..], &["exec", &id, "--cmd", YES]] {
        assert_eq!(output(command(&server, arguments).stdout(unread()).spawn().unwrap()).await, quiet);
        server.lost(&id, "yes").await;
    }
    // One that takes some of it first.
    let mut child = command(&server, &["exec", &id, "--", "yes"]).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(lines.next_line().await.unwrap().as_deref(), Some("y"));
    drop(lines);
    assert_eq!(output(child).await, quiet);
    server.lost(&id, "yes").await;

    let child = command(&server, &["exec", &id, "--cmd", &to_stderr]).stderr(unread()).spawn().unwrap();
    assert_eq!(output(child).await, quiet);
    let child = command(&server, &["exec", &id, "--json", "--", "echo", "word"]).stdout(unread()).spawn().unwrap();
    assert_eq!(output(child).await, quiet);

    let mut shell = command(&server, &["shell", &id]).stdin(Stdio::piped()).stdout(unread()).spawn().unwrap();
    let mut stdin = shell.stdin.take().unwrap();
    stdin.write_all(format!("{YES}\n").as_bytes()).await.unwrap();
    assert_eq!(output(shell).await, quiet);
    drop(stdin);
    server.lost(&id, "yes").await;
}

#[tokio::test]
async fn a_log_that_is_silent_ends_with_its_reader() {
    let server = Server::new().await;
    let id = server.create(json!({})).await;
    let path = format!("/toolbox/{id}/process/session");
    server.call("POST", &path, json!({ "sessionId": "work" })).await.expect(201);
    let line = json!({ "command": "echo first; sleep 600", "runAsync": true });
    server.call("POST", &format!("{path}/work/exec"), line).await;
    let mut follow = command(&server, &["logs", "-f", &id, "--session", "work"]).spawn().unwrap();
    let mut lines = BufReader::new(follow.stdout.take().unwrap()).lines();
    assert_eq!(lines.next_line().await.unwrap().as_deref(), Some("first"));
    drop(lines);
    assert_eq!(output(follow).await, (Some(UNREAD), String::new(), String::new()));
}

#[tokio::test]
async fn every_command_says_that_its_output_is_lost() {
    let server = Server::new().await;
    let id = server.create(json!({})).await;
    let commands: [(&[&str], i32); 14] = [
        (&["list"], 1),
        (&["list", "--json"], 1),
        (&["list", "--quiet"], 1),
        (&["info", &id], 1),
        (&["exec", &id, "--", "echo", "word"], 255),
        (&["exec", &id, "--json", "--", "echo", "word"], 255),
        (&["preview", &id, "3000"], 1),
        (&["snapshots", "list", "--json"], 1),
        (&["cost"], 1),
        (&["mcp", "config"], 1),
        (&["completions", "bash"], 1),
        (&["--help"], 1),
        (&["exec", "--help"], 1),
        (&["--version"], 1),
    ];
    for (arguments, code) in commands {
        let child = command(&server, arguments).stdout(full()).spawn().unwrap();
        let (ended, _, stderr) = output(child).await;
        assert!(ended == Some(code) && stderr.contains("cannot be written"), "{arguments:?}: {ended:?} {stderr}");
        let child = command(&server, arguments).stdout(unread()).spawn().unwrap();
        assert_eq!(output(child).await, (Some(UNREAD), String::new(), String::new()), "{arguments:?}");
    }
    // Without a place to say it.
    for arguments in [&["info", "nowhere"][..], &["info", "nowhere", "--json"]] {
        for nowhere in [full(), unread()] {
            let child = command(&server, arguments).stderr(nowhere).spawn().unwrap();
            assert_eq!(output(child).await.0, Some(5), "{arguments:?}");
        }
    }
    let mut shell = command(&server, &["shell", &id]).stdin(Stdio::piped()).stdout(full()).spawn().unwrap();
    shell.stdin.take().unwrap().write_all(b"echo word; exec sleep 600\n").await.unwrap();
    let (ended, _, stderr) = output(shell).await;
    assert!(ended == Some(255) && stderr.contains("cannot be written"), "{ended:?} {stderr}");
    server.lost(&id, "sleep").await;
}

#[tokio::test]
async fn streams_that_are_closed_at_the_start_are_empty() {
    let server = Server::new().await;
    let id = server.create(json!({})).await;
    let exe = env!("CARGO_BIN_EXE_daytona-native");
    let lines = [
        ("list >&-", 0),
        ("list --json >&- 2>&- <&-", 0),
        ("exec $ID -- echo word >&-", 0),
        ("exec $ID --cmd 'echo word >&2; exit 3' 2>&-", 3),
        ("exec -i $ID -- cat <&-", 0),
        ("shell $ID <&-", 0),
        ("info nowhere 2>&-", 5),
        ("info nowhere --json >&- 2>&-", 5),
        ("completions bash >&-", 0),
        ("--help >&- 2>&-", 0),
    ];
    for (line, code) in lines {
        let mut shell = command(&server, &[]);
        let environment: Vec<_> = shell
            .as_std_mut()
            .get_envs()
            .map(|(name, value)| (name.to_owned(), value.map(ToOwned::to_owned)))
            .collect();
        let mut shell = Command::new("sh");
        for (name, value) in environment {
            match value {
                Some(value) => shell.env(name, value),
                None => shell.env_remove(name),
            };
        }
        shell.args(["-c", &format!("'{exe}' {line}")]).env("ID", &id).stdin(Stdio::null());
        shell.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        finish(shell).await.expect(code);
    }
}

#[tokio::test]
async fn signals_end_a_command_and_are_told() {
    let server = Server::new().await;
    let id = server.create(json!({})).await;
    let signals = [(Signal::TERM, 143), (Signal::HUP, 129), (Signal::QUIT, 131), (Signal::INT, 130)];
    for (number, (signal, code)) in signals.into_iter().enumerate() {
        // Without a child of the shell, for which it would put SIGINT off.
        let line = format!(": > /tmp/ready{number}; exec sleep 600");
        let exec = command(&server, &["exec", &id, "--cmd", &line]).spawn().unwrap();
        server.wait_for_file(&id, &format!("/tmp/ready{number}")).await;
        kill_process(pid(&exec), signal).unwrap();
        assert_eq!(output(exec).await, (Some(code), String::new(), String::new()));
        server.lost(&id, "sleep").await;

        let mut shell = command(&server, &["shell", &id]).stdin(Stdio::piped()).spawn().unwrap();
        let mut stdin = shell.stdin.take().unwrap();
        let line = format!("touch /tmp/shell{number}; exec sleep 600\n");
        stdin.write_all(line.as_bytes()).await.unwrap();
        server.wait_for_file(&id, &format!("/tmp/shell{number}")).await;
        kill_process(pid(&shell), signal).unwrap();
        assert_eq!(output(shell).await, (Some(code), String::new(), String::new()));
        drop(stdin);
        server.lost(&id, "sleep").await;
    }
}

/// At any moment, also while the command is being started.
#[tokio::test]
async fn an_interrupt_leaves_no_command_behind() {
    let server = Server::new().await;
    let id = server.create(json!({})).await;
    for pause in [2, 5, 10, 20, 40, 80] {
        let exec = command(&server, &["exec", &id, "--", "sleep", "600"]).spawn().unwrap();
        tokio::time::sleep(Duration::from_millis(pause)).await;
        kill_process(pid(&exec), Signal::INT).unwrap();
        let (code, stdout, stderr) = output(exec).await;
        // Without a code it had not begun.
        assert!(code.is_none_or(|code| code == 130) && stdout.is_empty() && stderr.is_empty(), "{code:?} {stderr}");
        server.lost(&id, "sleep").await;
    }
}

/// The client of an MCP server goes, or only one end of it.
#[tokio::test]
async fn an_mcp_server_ends_with_its_client() {
    let server = Server::new().await;
    let id = server.create(json!({})).await;
    for (number, (keep_stdin, keep_stdout)) in [(true, false), (false, true), (false, false)].into_iter().enumerate() {
        let mut mcp = command(&server, &["mcp"]).stdin(Stdio::piped()).spawn().unwrap();
        let mut stdin = mcp.stdin.take().unwrap();
        let mut stdout = BufReader::new(mcp.stdout.take().unwrap()).lines();
        let begin = json!({ "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": { "name": "t", "version": "1" } });
        let ready = format!("/tmp/mcp{number}");
        let run = json!({ "id": id, "command": format!("touch {ready}; exec sleep 600") });
        let messages = [
            json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": begin }),
            json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }),
            json!({ "jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": { "name": "execute_command", "arguments": run } }),
        ];
        for message in messages {
            stdin.write_all(format!("{message}\n").as_bytes()).await.unwrap();
        }
        let answer: Value = serde_json::from_str(&stdout.next_line().await.unwrap().unwrap()).unwrap();
        assert_eq!(answer["id"], 1, "{answer}");
        server.wait_for_file(&id, &ready).await;
        let stdin = keep_stdin.then_some(stdin);
        let stdout = keep_stdout.then_some(stdout);
        let (code, _, stderr) = output(mcp).await;
        assert_eq!((code, stderr.as_str()), (Some(0), ""));
        drop((stdin, stdout));
        server.lost(&id, "sleep").await;
    }
}

#[tokio::test]
async fn a_server_in_the_background_that_nobody_hears_of_ends() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let arguments = ["serve", "--detach", "--port", "0", "--data-dir", data.to_str().unwrap()];
    let (code, _, stderr) = output(bare(&arguments, dir.path()).stdout(full()).spawn().unwrap()).await;
    assert!(code == Some(1) && stderr.contains("cannot be written"), "{code:?} {stderr}");
    // The next one is not in its way.
    let arguments = ["serve", "--port", "0", "--data-dir", data.to_str().unwrap()];
    let (code, _, stderr) = output(bare(&arguments, dir.path()).stdout(full()).spawn().unwrap()).await;
    assert!(code == Some(1) && !stderr.contains("in use"), "{code:?} {stderr}");
}
