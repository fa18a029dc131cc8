//! What of SSH is rarer than a shell, a command and a file: sizes, signals, expiry, odd names, and what is not offered.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use russh::keys::PublicKeyOrCertificate;
use russh::{ChannelMsg, Sig, client};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::Command;

use crate::shell::{Terminal, set_size};
use crate::ssh::{QUIET, access, output, run, ssh};
use crate::support::{LIMIT, Server};

#[tokio::test]
async fn a_terminal_is_told_of_a_new_size() {
    let server = Server::new().await;
    let id = server.create(json!({})).await;
    let (command, _) = access(&server, &id, "").await;
    let mut terminal = Terminal::run(|mut shell| {
        let ssh = ssh(&command, "", "");
        shell.arg(ssh.as_std().get_program()).args(ssh.as_std().get_args());
        shell.env_remove("SSH_AUTH_SOCK").kill_on_drop(true);
        shell
    });
    terminal.type_in("stty size\n");
    terminal.until("33 91\r\n").await;
    set_size(&terminal.master, 100, 40);
    terminal.type_in("until test \"$(stty size)\" = '40 100'; do sleep 0.02; done; echo re''sized; exit 4\n");
    terminal.until("resized\r\n").await;
    assert_eq!(terminal.ended().await.code(), Some(4));
}

/// A client that takes any server.
pub(crate) struct Trusting;

impl client::Handler for Trusting {
    type Error = russh::Error;

    async fn check_server_key(&mut self, _: &PublicKeyOrCertificate) -> Result<bool, russh::Error> {
        Ok(true)
    }
}

/// OpenSSH's client sends no signals: this is another one.
#[tokio::test]
async fn signals_reach_what_runs() {
    let server = Server::new().await;
    let id = server.create(json!({})).await;
    let (command, token) = access(&server, &id, "").await;
    let words: Vec<&str> = command.split_whitespace().collect();
    let port = words[words.iter().position(|word| *word == "-p").unwrap() + 1].parse::<u16>().unwrap();
    let talk = async {
        let config = Arc::new(client::Config::default());
        let mut session = client::connect(config, ("127.0.0.1", port), Trusting).await.unwrap();
        assert!(session.authenticate_none(token).await.unwrap().success());
        for (signal, expected) in [(Sig::USR1, 3), (Sig::TERM, 143), (Sig::Custom("USR2".to_owned()), 140)] {
            let mut channel = session.channel_open_session().await.unwrap();
            channel.exec(true, "trap 'exit 3' USR1; echo ready; while :; do sleep 0.05; done").await.unwrap();
            let mut code = None;
            while let Some(message) = channel.wait().await {
                match message {
                    ChannelMsg::Data { .. } => channel.signal(signal.clone()).await.unwrap(),
                    ChannelMsg::ExitStatus { exit_status } => code = Some(exit_status),
                    _ => {}
                }
            }
            assert_eq!(code, Some(expected), "{signal:?}");
        }
    };
    tokio::time::timeout(LIMIT, talk).await.expect("a signal is lost");
}

#[tokio::test]
async fn a_token_that_expires_leaves_those_who_are_in_alone() {
    let server = Server::new().await;
    let id = server.create(json!({})).await;
    let (command, token) = access(&server, &id, "?expiresInMinutes=0.1").await;
    let mut child = ssh(&command, "", "cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut echo = async |line: &str| {
        stdin.write_all(format!("{line}\n").as_bytes()).await.unwrap();
        let answer = tokio::time::timeout(LIMIT, lines.next_line()).await.unwrap().unwrap();
        assert_eq!(answer.as_deref(), Some(line));
    };
    echo("before").await;
    let path = format!("/api/sandbox/ssh-access/validate?token={token}");
    let expired = async {
        while server.call("GET", &path, Value::Null).await.expect(200)["valid"] == true {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(LIMIT, expired).await.expect("the token does not expire");
    echo("after").await;
    assert_eq!(output(ssh(&command, "", "true")).await.status.code(), Some(255));
    let (next, _) = access(&server, &id, "").await;
    // The new token takes the old one back, expired or not.
    assert_eq!(tokio::time::timeout(LIMIT, child.wait()).await.unwrap().unwrap().code(), Some(255));
    assert_eq!(run(&next, "'echo in'").await, "in\n");
}

#[tokio::test]
async fn what_is_not_offered_is_refused_and_harms_nothing() {
    let server = Server::new().await;
    let id = server.create(json!({})).await;
    let (command, _) = access(&server, &id, "").await;
    let back = "-R 127.0.0.1:0:127.0.0.1:1";
    let refused = output(ssh(&command, &format!("-N -o ExitOnForwardFailure=yes {back}"), "")).await;
    assert_eq!(refused.status.code(), Some(255), "{refused:?}");
    for options in [back, "-A", "-X"] {
        let went_on = output(ssh(&command, options, "'echo on; env | grep -c -e SSH_AUTH_SOCK -e DISPLAY'")).await;
        assert_eq!(went_on.stdout, b"on\n0\n", "{options}: {went_on:?}");
    }
}

#[tokio::test]
async fn names_that_are_no_text_go_there_and_back() {
    let server = Server::new().await;
    let id = server.create(json!({})).await;
    let (command, token) = access(&server, &id, "").await;
    let local = tempfile::tempdir().unwrap();
    let folder = local.path().join("folder");
    let names: [&[u8]; 4] = [b"caf\xe9 one", b"\xff\xfe", "ünï\u{10ffe9}".as_bytes(), b"plain"];
    std::fs::create_dir(&folder).unwrap();
    for name in names {
        std::fs::write(folder.join(OsStr::from_bytes(name)), name).unwrap();
    }
    let batch = local.path().join("batch");
    let here = local.path().display();
    let (put, get) = (format!("put -r {here}/folder up"), format!("get -r up {here}/down"));
    let lines: [&[u8]; 7] = [
        put.as_bytes(),
        b"rename \"up/caf\xe9 one\" up/\xe9",
        b"symlink \xe9 up/link\xe8",
        b"mkdir up/\xe0",
        b"rm up/\xff\xfe",
        get.as_bytes(),
        b"-ls up/\xe9",
    ];
    std::fs::write(&batch, lines.join(&b'\n')).unwrap();
    let options = command.strip_prefix("ssh ").unwrap().rsplit_once(' ').unwrap().0.replace("-p ", "-P ");
    let mut shell = Command::new("bash");
    let line = format!("exec sftp {} {options} -b {} {token}@127.0.0.1", QUIET.join(" "), batch.display());
    shell.arg("-c").arg(line).stdin(Stdio::null()).env_remove("SSH_AUTH_SOCK").kill_on_drop(true);
    let moved = output(shell).await;
    assert!(moved.status.success(), "{moved:?}");
    let listed = |path: &Path| {
        let mut names: Vec<_> =
            std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name().as_bytes().to_vec()).collect();
        names.sort();
        names
    };
    let down = local.path().join("down");
    // OpenSSH's client leaves links out.
    let expected: [&[u8]; 4] = [b"plain", "ünï\u{10ffe9}".as_bytes(), b"\xe0", b"\xe9"];
    assert_eq!(listed(&down), expected);
    assert_eq!(std::fs::read(down.join(OsStr::from_bytes(b"\xe9"))).unwrap(), b"caf\xe9 one");
    let inside = server.exec(&id, "cd up && ls | LC_ALL=C sort | od -An -c -w99; readlink link* | od -An -tx1").await;
    assert!(inside.contains("l   i   n   k 350") && inside.ends_with(" e9 0a\n"), "{inside}");
    // The files of the API show them as they always do.
    let list = server.call("GET", &format!("/toolbox/{id}/files?path=up"), Value::Null).await.expect(200);
    assert!(list.as_array().unwrap().iter().any(|entry| entry["name"] == r"\xe9"), "{list}");
}
