//! SSH, with OpenSSH's clients.

use std::path::Path;
use std::process::{Output, Stdio};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::preview;
use crate::support::{LIMIT, Server, runs, wait_until_gone};

/// What nobody's own configuration changes, and nobody is asked for.
pub(crate) const QUIET: [&str; 7] = ["-F", "none", "-o", "BatchMode=yes", "-o", "ConnectTimeout=20", "-q"];

/// The words of the command that the API gives, as a shell reads them, and the token.
pub(crate) async fn access(server: &Server, id: &str, query: &str) -> (String, String) {
    let path = format!("/api/sandbox/{id}/ssh-access{query}");
    let access = server.call("POST", &path, Value::Null).await.expect(200);
    assert_eq!(access["sandboxId"], id);
    assert!(access["expiresAt"].as_str() > access["createdAt"].as_str(), "{access}");
    let text = |name: &str| access[name].as_str().unwrap().to_owned();
    (text("sshCommand"), text("token"))
}

/// `command` with more options and words, through a shell as a user runs it.
pub(crate) fn ssh(command: &str, options: &str, words: &str) -> Command {
    let rest = command.strip_prefix("ssh ").unwrap();
    let mut shell = Command::new("bash");
    shell.arg("-c").arg(format!("exec ssh {} {options} {rest} {words}", QUIET.join(" ")));
    shell.env_remove("SSH_AUTH_SOCK").stdin(Stdio::null()).kill_on_drop(true);
    shell
}

pub(crate) async fn output(mut command: Command) -> Output {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    tokio::time::timeout(LIMIT, command.output()).await.expect("the client did not end").unwrap()
}

/// Runs a command that has to succeed, and gives its output.
pub(crate) async fn run(command: &str, words: &str) -> String {
    let output = output(ssh(command, "", words)).await;
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{words}: {:?} {errors}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

/// Writes to a client and gives what it wrote.
async fn with_input(mut command: Command, input: Vec<u8>) -> Output {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let write = tokio::spawn(async move {
        let _ = stdin.write_all(&input).await;
    });
    let output = tokio::time::timeout(LIMIT * 2, child.wait_with_output()).await.expect("it did not end").unwrap();
    write.await.unwrap();
    output
}

#[tokio::test]
async fn commands_run_with_their_input_output_and_exit_code() {
    let server = Server::new().await;
    let id = server.create(json!({"env": {"GREETING": "hello"}})).await;
    let (command, token) = access(&server, &id, "").await;
    assert!(command.contains(&format!("{token}@127.0.0.1")), "{command}");
    assert_eq!(run(&command, "'echo $GREETING; pwd'").await, server.exec(&id, "echo $GREETING; pwd").await);
    let failed = output(ssh(&command, "", "'echo out; echo err >&2; exit 7'")).await;
    assert_eq!(failed.status.code(), Some(7));
    assert_eq!((&failed.stdout[..], &failed.stderr[..]), (&b"out\n"[..], &b"err\n"[..]));
    // A shell without a terminal reads its commands from stdin.
    let shell = with_input(ssh(&command, "", ""), b"cd /\npwd\nexit 3\n".to_vec()).await;
    assert_eq!((shell.status.code(), &shell.stdout[..]), (Some(3), &b"/\n"[..]));
    // More than any buffer on the way holds, both ways at once.
    let input: Vec<u8> = (0..20 << 20).map(|at: u32| at.to_le_bytes()[1]).collect();
    let echoed = with_input(ssh(&command, "", "cat"), input.clone()).await;
    assert!(echoed.status.success() && echoed.stdout == input, "{} bytes", echoed.stdout.len());
    let large = output(ssh(&command, "", "'head -c 50000000 /dev/zero; sleep 0.1; echo end'")).await;
    assert_eq!(large.stdout.len(), 50_000_004);
    // One that reads nothing holds nobody up.
    let deaf = with_input(ssh(&command, "", "true"), input).await;
    assert_eq!(deaf.status.code(), Some(0));
    let mut sent = ssh(&command, "-o SendEnv=LC_MINE", "'echo $LC_MINE'");
    sent.env("LC_MINE", "mine");
    assert_eq!(output(sent).await.stdout, b"mine\n");
}

#[tokio::test]
async fn a_terminal_has_a_size_and_job_control() {
    let server = Server::new().await;
    let id = server.create(json!({})).await;
    let (command, _) = access(&server, &id, "").await;
    let mut terminal = ssh(&command, "-tt", "").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = terminal.stdin.take().unwrap();
    let mut stdout = terminal.stdout.take().unwrap();
    let mut seen = String::new();
    let mut expect = async |text: &str| {
        let mut buffer = [0; 4096];
        while !seen.contains(text) {
            let length = stdout.read(&mut buffer).await.unwrap();
            assert_ne!(length, 0, "{seen}");
            seen.push_str(&String::from_utf8_lossy(&buffer[..length]));
        }
        seen.clear();
    };
    let talk = async {
        stdin.write_all(b"tty >/dev/null && echo on-\"\"terminal $TERM\n").await.unwrap();
        expect("on-terminal").await;
        // Told by what ctrl+c is to end: a shell between two programs hears it itself.
        stdin.write_all(b"sh -c 'echo be\"\"gin; exec sleep 1000'\n").await.unwrap();
        expect("begin\r\n").await;
        stdin.write_all(b"\x03").await.unwrap();
        stdin.write_all(b"echo code-$?-\n").await.unwrap();
        expect("code-130-").await;
        stdin.write_all(b"exit 5\n").await.unwrap();
        terminal.wait().await.unwrap()
    };
    let status = tokio::time::timeout(LIMIT, talk).await.expect("the terminal hangs");
    assert_eq!(status.code(), Some(5));
}

#[tokio::test]
async fn files_go_there_and_back() {
    let server = Server::new().await;
    let id = server.create(json!({})).await;
    let (command, token) = access(&server, &id, "").await;
    let local = tempfile::tempdir().unwrap();
    let content: Vec<u8> =
        (0..30 << 20).map(|at: u32| (at.wrapping_mul(2_654_435_761) >> 24).to_le_bytes()[0]).collect();
    let path = local.path().join("large");
    std::fs::write(&path, &content).unwrap();
    let options = command.strip_prefix("ssh ").unwrap().rsplit_once(' ').unwrap().0.replace("-p ", "-P ");
    let host = format!("{token}@127.0.0.1");
    let client = |words: String| {
        let mut shell = Command::new("bash");
        shell.arg("-c").arg(words).stdin(Stdio::null()).env_remove("SSH_AUTH_SOCK").kill_on_drop(true);
        shell
    };
    let quiet = QUIET.join(" ");
    let batch = local.path().join("batch");
    let lines = [
        format!("put {} up", path.display()),
        "mkdir folder".to_owned(),
        "rename up folder/moved".to_owned(),
        "chmod 600 folder/moved".to_owned(),
        "symlink moved folder/link".to_owned(),
        "ls -l folder".to_owned(),
        format!("get folder/link {}", local.path().join("down").display()),
        "-get missing".to_owned(),
    ];
    std::fs::write(&batch, lines.join("\n")).unwrap();
    let moved = output(client(format!("exec sftp {quiet} {options} -b {} {host}", batch.display()))).await;
    assert!(moved.status.success(), "{moved:?}");
    assert!(String::from_utf8_lossy(&moved.stdout).contains("moved"), "{moved:?}");
    assert!(std::fs::read(local.path().join("down")).unwrap() == content, "the file came back changed");
    assert_eq!(
        server.exec(&id, "stat -c '%a %s' folder/moved; readlink folder/link").await,
        format!("600 {}\nmoved\n", content.len())
    );
    let copied = client(format!("exec scp {quiet} {options} -p -r {} {host}:copies", local.path().display()));
    let copied = output(copied).await;
    assert!(copied.status.success(), "{copied:?}");
    assert_eq!(server.exec(&id, "stat -c %s copies/large").await, format!("{}\n", content.len()));
    let back =
        output(client(format!("exec scp {quiet} {options} {host}:folder/moved {}/back", local.path().display()))).await;
    assert!(back.status.success(), "{back:?}");
    assert!(std::fs::read(local.path().join("back")).unwrap() == content);
    let refused =
        output(client(format!("exec sftp {quiet} {options} {host}:/etc/shadow {}/s", local.path().display()))).await;
    assert!(!refused.status.success(), "another root than the sandbox's: {refused:?}");
}

/// A client that listens on a port of this machine.
async fn forward(command: &str, port: u16) -> (Child, u16) {
    let local = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let options = format!("-N -o ExitOnForwardFailure=yes -L 127.0.0.1:{local}:localhost:{port}");
    let child = ssh(command, &options, "").spawn().unwrap();
    let listening = async {
        while TcpStream::connect(("127.0.0.1", local)).await.is_err() {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(LIMIT, listening).await.unwrap();
    (child, local)
}

#[tokio::test]
async fn ports_are_forwarded() {
    let server = Server::new().await;
    let id = server.create(json!({})).await;
    let port = preview::start(&server, &id).await;
    let (command, _) = access(&server, &id, "").await;
    let (_client, local) = forward(&command, port).await;
    let ask = async |path: &str| {
        let mut stream = TcpStream::connect(("127.0.0.1", local)).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut text = String::new();
        tokio::time::timeout(LIMIT, stream.read_to_string(&mut text)).await.unwrap().unwrap();
        text
    };
    let (one, other) = tokio::join!(ask("/one"), ask("/other"));
    assert!(one.contains("\"/one\"") && other.contains("\"/other\""), "{one} {other}");
    let (_client, closed) = forward(&command, 1).await;
    let mut stream = TcpStream::connect(("127.0.0.1", closed)).await.unwrap();
    let mut rest = Vec::new();
    // The end or a reset, as the system likes.
    let _ = tokio::time::timeout(LIMIT, stream.read_to_end(&mut rest)).await.expect("a closed port hangs");
    assert!(rest.is_empty());
}

/// A command that says that it runs and goes on for ever.
async fn endless(command: &str, marker: &str) -> Child {
    let words = format!("'echo begun; exec -a {marker} sleep 1000'");
    let mut child = ssh(command, "", &words).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    tokio::time::timeout(LIMIT, stdout.read_line(&mut line)).await.unwrap().unwrap();
    assert_eq!(line, "begun\n");
    child
}

async fn ended(mut child: Child) -> Option<i32> {
    tokio::time::timeout(LIMIT, child.wait()).await.expect("the client did not end").unwrap().code()
}

fn marker(dir: &Path, name: &str) -> String {
    format!("ssh-{name}-{}", dir.file_name().unwrap().to_string_lossy().replace('.', ""))
}

#[tokio::test]
async fn a_token_that_is_taken_back_or_replaced_ends_what_its_holder_does() {
    let server = Server::new().await;
    let id = server.create(json!({})).await;
    let validate = async |token: &str| {
        let path = format!("/api/sandbox/ssh-access/validate?token={token}");
        server.call("GET", &path, Value::Null).await.expect(200)
    };
    let (first, old) = access(&server, &id, "").await;
    assert_eq!(validate(&old).await, json!({"valid": true, "sandboxId": id}));
    let marker = marker(&server.dir, "revoked");
    let running = endless(&first, &marker).await;
    let (second, token) = access(&server, &id, "?expiresInMinutes=1").await;
    assert_eq!(ended(running).await, Some(255));
    wait_until_gone(&marker).await;
    assert_eq!(validate(&old).await, json!({"valid": false, "sandboxId": ""}));
    assert_eq!(output(ssh(&first, "", "true")).await.status.code(), Some(255));
    let running = endless(&second, &marker).await;
    let revoke = format!("/api/sandbox/{id}/ssh-access?token=");
    server.call("DELETE", &format!("{revoke}{old}"), Value::Null).await.expect(200);
    assert_eq!(run(&second, "'echo still'").await, "still\n");
    assert!(runs(&marker));
    server.call("DELETE", &format!("{revoke}{token}"), Value::Null).await.expect(200);
    assert_eq!(ended(running).await, Some(255));
    assert_eq!(output(ssh(&second, "", "true")).await.status.code(), Some(255));
    for bad in ["0", "-1", "x"] {
        let path = format!("/api/sandbox/{id}/ssh-access?expiresInMinutes={bad}");
        server.call("POST", &path, Value::Null).await.error(400, "VALIDATION_FAILED");
    }
}

#[tokio::test]
async fn a_stop_ends_it_and_a_token_outlives_the_server() {
    let temporary = tempfile::tempdir().unwrap();
    let dir = temporary.path().join("a folder");
    let mut server = Server::open(&dir, &["--ssh-port", "0"]).await;
    let id = server.create(json!({})).await;
    let (command, token) = access(&server, &id, "").await;
    let marker = marker(&dir, "stopped").replace(' ', "");
    let running = endless(&command, &marker).await;
    server.call("POST", &format!("/api/sandbox/{id}/stop"), Value::Null).await.expect(200);
    assert_eq!(ended(running).await, Some(255));
    wait_until_gone(&marker).await;
    let stopped = output(ssh(&command, "", "true")).await;
    assert_eq!(stopped.status.code(), Some(255));
    let why = String::from_utf8_lossy(&stopped.stderr).into_owned();
    assert!(why.contains("is stopped") && why.contains("start it"), "{why}");
    server.terminate().await;
    let server = Server::open(&dir, &["--ssh-port", "0"]).await;
    let validated = server.call("GET", &format!("/api/sandbox/ssh-access/validate?token={token}"), Value::Null).await;
    assert_eq!(validated.expect(200)["valid"], true);
    server.call("POST", &format!("/api/sandbox/{id}/start"), Value::Null).await.expect(200);
    // The port is another one, the host key is not.
    let (again, _) = access(&server, &id, "").await;
    assert_eq!(run(&again, "'echo again'").await, "again\n");
    assert!(!std::fs::read_to_string(dir.join("ssh-known-hosts")).unwrap().is_empty());
}
