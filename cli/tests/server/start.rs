//! How a server starts, or says why not.

use std::process::Stdio;

use serde_json::Value;

use crate::support::{LIMIT, Server, binary};

async fn output(arguments: &[&str], variables: &[(&str, &str)]) -> (Option<i32>, String, String) {
    let output = binary().args(arguments).envs(variables.iter().copied()).output();
    let output = tokio::time::timeout(LIMIT, output).await.unwrap().unwrap();
    (
        output.status.code(),
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

#[tokio::test]
async fn the_command_line_is_checked() {
    let (code, stdout, _) = output(&["--version"], &[]).await;
    assert_eq!((code, stdout.as_str()), (Some(0), concat!("daytona-native ", env!("CARGO_PKG_VERSION"), "\n")));
    let (code, stdout, _) = output(&["--help"], &[]).await;
    assert_eq!(code, Some(0));
    assert!(stdout.contains("serve") && !stdout.contains("launcher"), "{stdout}");
    let bad: [&[&str]; 6] = [
        &[],
        &["serve", "--runtime", "magic"],
        &["serve", "--port", "99999"],
        &["serve", "--host", "0.0.0.0"],
        &["serve", "--host", "nowhere"],
        &["serve", "--api-key", "secret"],
    ];
    for arguments in bad {
        let (code, _, stderr) = output(arguments, &[]).await;
        assert_eq!(code, Some(2), "{arguments:?}: {stderr}");
    }
    let (_, _, stderr) = output(&["serve", "--host", "0.0.0.0"], &[]).await;
    assert!(stderr.contains("--allow-remote"), "{stderr}");
}

#[tokio::test]
async fn a_second_server_on_the_same_directory_is_refused() {
    let server = Server::new().await;
    let dir = server.dir.to_str().unwrap();
    let (code, stdout, stderr) = output(&["serve", "--port", "0", "--data-dir", dir], &[]).await;
    assert_eq!(code, Some(3), "{stderr}");
    assert_eq!(stdout, "");
    assert!(stderr.contains(&server.ready["pid"].to_string()), "{stderr}");
    assert!(stderr.contains(server.ready["url"].as_str().unwrap()), "{stderr}");
    server.call("GET", "/api/health", Value::Null).await.expect(200);
}

#[tokio::test]
async fn a_taken_port_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let dir = tempfile::tempdir().unwrap();
    let arguments = ["serve", "--port", &port, "--data-dir", dir.path().to_str().unwrap()];
    let (code, _, stderr) = output(&arguments, &[]).await;
    assert_eq!(code, Some(1));
    assert!(stderr.contains(&port) && stderr.contains("--port"), "{stderr}");
}

#[tokio::test]
async fn an_unusable_data_directory_is_named() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().join("inside");
    let arguments = ["serve", "--port", "0", "--data-dir", path.to_str().unwrap()];
    let (code, _, stderr) = output(&arguments, &[]).await;
    assert_eq!(code, Some(1));
    assert!(stderr.contains("inside") && stderr.contains("--data-dir"), "{stderr}");
}

#[tokio::test]
async fn the_key_is_kept_or_given_but_never_shown() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::open(dir.path(), &[]).await;
    let made = server.key().to_owned();
    assert!(made.len() > 40);
    server.terminate().await;
    let mut server = Server::open(dir.path(), &[]).await;
    assert_eq!(server.key(), made);
    server.terminate().await;

    let file = dir.path().join("key");
    std::fs::write(&file, "given-key\n").unwrap();
    let server = Server::open(dir.path(), &["--api-key-file", file.to_str().unwrap()]).await;
    assert_eq!(server.key(), "given-key");
    server.call("GET", "/api/health", Value::Null).await.expect(200);
    let old = [("authorization", format!("Bearer {made}"))];
    let old = old.each_ref().map(|(name, value)| (*name, value.as_str()));
    server.anonymous("GET", "/api/health", &old).await.error(401, "UNAUTHORIZED");
    let line = std::fs::read(format!("/proc/{}/cmdline", server.ready["pid"])).unwrap();
    assert!(!String::from_utf8_lossy(&line).contains("given-key"));
    drop(server);

    let arguments = ["serve", "--port", "0", "--data-dir", dir.path().to_str().unwrap()];
    let (code, _, stderr) = output(&arguments, &[("DAYTONA_NATIVE_API_KEY", "not a key")]).await;
    assert_eq!(code, Some(1));
    assert!(stderr.contains("API key") && !stderr.contains("not a key"), "{stderr}");
    // A folder, and what would never end.
    for path in [dir.path().to_str().unwrap(), "/dev/zero"] {
        let (code, _, stderr) = output(&[&arguments[..], &["--api-key-file", path]].concat(), &[]).await;
        assert_eq!(code, Some(1));
        assert!(stderr.contains(&format!("--api-key-file {path}: it is no regular file")), "{stderr}");
    }
}

#[tokio::test]
async fn a_closed_standard_output_ends_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let child = binary()
        .args(["serve", "--port", "0", "--json", "--data-dir"])
        .arg(dir.path())
        .stdout(Stdio::from(writer))
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let output = tokio::time::timeout(LIMIT, child.wait_with_output()).await.unwrap().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("standard output"), "{stderr}");
}

#[tokio::test]
async fn the_log_is_json_where_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = binary()
        .args(["serve", "--port", "0", "--json", "--log-format", "json", "--data-dir"])
        .arg(dir.path())
        .env("DAYTONA_NATIVE_API_KEY", "very-secret")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let pid = i32::try_from(child.id().unwrap()).unwrap();
    let mut stdout = tokio::io::BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    tokio::io::AsyncBufReadExt::read_line(&mut stdout, &mut line).await.unwrap();
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let output = tokio::time::timeout(LIMIT, child.wait_with_output()).await.unwrap().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!log.contains("very-secret"), "{log}");
    let messages: Vec<String> = log
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect(line))
        .map(|line| line["fields"]["message"].as_str().unwrap_or_default().to_owned())
        .collect();
    assert!(messages.iter().any(|message| message == "listening"), "{log}");
    assert!(messages.iter().any(|message| message == "stopped"), "{log}");
}
