//! Streamed commands on a server that does not know them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use daytona_core::{ErrorKind, ExecOptions, ExecStream, Result};
use serde_json::{Value, json};

use crate::fake::{Fake, Reply, Request, Step};

/// What brings the input of a session to the command, until it is over.
const FEED: &str = r#"{ while IFS= read -r line && [ "$line" != '\' ]; do printf %b "$line" || break; done <&3 3<&- 2>/dev/null & } 3<&0 | "#;

/// An old server: its answers about the one command, whose log is what `log` makes for the nth connection.
async fn serve(log: fn(usize) -> Vec<Step>, exit_code: Option<i32>) -> Fake {
    let logs = AtomicUsize::new(0);
    Fake::serve(move |request| {
        let what = request.line.rsplit('/').next().unwrap_or_default();
        match request.line.split_once(' ').unwrap_or_default() {
            (_, path) if path.starts_with("/execute/") => Reply::error("404 Not Found", "404 page not found"),
            ("POST", "/session") => Reply::Http("201 Created", String::new()),
            ("DELETE", _) => Reply::Http("204 No Content", String::new()),
            ("POST", _) if what == "exec" => Reply::Http("202 Accepted", json!({ "cmdId": "c" }).to_string()),
            ("POST", _) if what == "input" => Reply::Http("204 No Content", String::new()),
            ("GET", _) if what == "logs?follow=true" => Reply::Socket(log(logs.fetch_add(1, Ordering::SeqCst))),
            ("GET", _) if what == "c" => Reply::Http("200 OK", json!({ "id": "c", "exitCode": exit_code }).to_string()),
            _ => Reply::error("500 Internal Server Error", &request.line),
        }
    })
    .await
}

async fn start(fake: &Fake) -> Result<ExecStream> {
    fake.sandbox.process().exec_stream("run 'it'", ExecOptions::default()).await
}

fn sent(fake: &Fake, method: &str, end: &str) -> Vec<Request> {
    let is_it = |request: &Request| request.line.starts_with(method) && request.line.ends_with(end);
    fake.requests().into_iter().filter(is_it).collect()
}

/// Waits for what is sent after the last answer was given.
async fn deleted(fake: &Fake) {
    while sent(fake, "DELETE", "").is_empty() {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn it_runs_in_a_session_of_its_own() {
    let log = |_| vec![Step::Bytes(b"\x01\x01\x01out\x02\x02\x02err".to_vec()), Step::Close(1000, "")];
    let fake = serve(log, Some(3)).await;
    let options = ExecOptions {
        cwd: Some("/a b".into()),
        env: Some(BTreeMap::from([("A".to_owned(), "it's".to_owned())])),
        ..ExecOptions::default()
    };
    let stream = fake.sandbox.process().exec_stream("run 'it'", options).await.unwrap();
    let mut texts = [String::new(), String::new()];
    while let Some(chunks) = stream.next().await.unwrap() {
        for chunk in chunks {
            texts[chunk.stream as usize].push_str(&chunk.text);
        }
    }
    assert_eq!(texts, ["out", "err"]);
    assert_eq!(stream.wait().await.unwrap(), 3);
    deleted(&fake).await;
    let session = format!("exec-stream-{}", stream.id());
    let create: Value = serde_json::from_str(&sent(&fake, "POST", "/session")[0].body).unwrap();
    assert_eq!(create, json!({ "sessionId": session }));
    let exec: Value = serde_json::from_str(&sent(&fake, "POST", "/exec")[0].body).unwrap();
    let cd = r"export A='it'\''s'
cd -- '/a b' && ";
    let run = r#""$(command -v bash || echo sh)" -c 'run '\''it'\'''"#;
    let command = format!("{cd}{FEED}{run}");
    assert_eq!(exec, json!({ "command": command, "runAsync": true, "suppressInputEcho": true }));
    assert_eq!(sent(&fake, "DELETE", "")[0].line, format!("DELETE /session/{session}"));
}

#[tokio::test]
async fn a_log_that_broke_is_read_again_without_what_was_seen() {
    let log = |nth| match nth {
        0 => vec![Step::Bytes(b"\x01\x01\x01abc\x02\x02\x02de\x01".to_vec())],
        1 => vec![Step::Bytes(b"\x01\x01\x01ab".to_vec())],
        _ => vec![
            Step::Bytes(b"\x01\x01\x01abc\x02\x02\x02de\x01\x01\x01fgh\x02\x02\x02i".to_vec()),
            Step::Close(1000, ""),
        ],
    };
    let fake = serve(log, Some(0)).await;
    let stream = start(&fake).await.unwrap();
    let mut texts = [String::new(), String::new()];
    while let Some(chunks) = stream.next().await.unwrap() {
        for chunk in chunks {
            texts[chunk.stream as usize].push_str(&chunk.text);
        }
    }
    assert_eq!(texts, ["abcfgh", "dei"]);
    assert_eq!(stream.exit_code(), Some(0));
}

fn input(fake: &Fake) -> String {
    let input = sent(fake, "POST", "/input");
    let data = |request: &Request| serde_json::from_str::<Value>(&request.body).unwrap()["data"].clone();
    input.iter().map(|request| data(request).as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn stdin_is_any_bytes_and_has_an_end() {
    let fake = serve(|_| vec![Step::Bytes(b"\x01\x01\x01ready".to_vec()), Step::HearAll], None).await;
    let stream = start(&fake).await.unwrap();
    assert!(stream.next().await.unwrap().is_some());
    for bytes in [&b"on"[..], b" e\n\\", b"\xff\0"] {
        stream.write_stdin(bytes.to_vec().into()).await.unwrap();
    }
    stream.close_stdin().await.unwrap();
    stream.close_stdin().await.unwrap();
    while !input(&fake).ends_with("\\\n") {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let lines = input(&fake);
    let (data, _) = lines.rsplit_once("\\\n").unwrap();
    assert_eq!(data.replace('\n', ""), r"on e\0012\0134\0377\0000");
    assert_eq!(stream.write_stdin("x".into()).await.unwrap_err().kind(), ErrorKind::InvalidArgument);
}

#[tokio::test]
async fn one_without_stdin_reads_from_nowhere() {
    let log = |_| vec![Step::Bytes(b"\x01\x01\x01out".to_vec()), Step::Close(1000, "")];
    let fake = serve(log, Some(0)).await;
    let options = ExecOptions { no_stdin: true, ..ExecOptions::default() };
    let stream = fake.sandbox.process().exec_stream("cat # 'all", options).await.unwrap();
    assert_eq!(stream.write_stdin("x".into()).await.unwrap_err().kind(), ErrorKind::InvalidArgument);
    stream.close_stdin().await.unwrap();
    assert_eq!(stream.wait().await.unwrap(), 0);
    deleted(&fake).await;
    let exec: Value = serde_json::from_str(&sent(&fake, "POST", "/exec")[0].body).unwrap();
    assert_eq!(exec["command"], r#""$(command -v bash || echo sh)" -c 'cat # '\''all' </dev/null"#);
    assert_eq!(input(&fake), "");
}

/// Answers input with the refusals, one after the other, and then takes it.
async fn refusing(refusals: &'static [&'static str]) -> Fake {
    let count = AtomicUsize::new(0);
    Fake::serve(move |request| match request.line.rsplit('/').next().unwrap_or_default() {
        "input" => match refusals.get(count.fetch_add(1, Ordering::SeqCst)) {
            Some(text) => Reply::error("500 Internal Server Error", &json!({ "message": text }).to_string()),
            None => Reply::Http("204 No Content", String::new()),
        },
        "session" => Reply::Http("201 Created", String::new()),
        "exec" => Reply::Http("202 Accepted", json!({ "cmdId": "c" }).to_string()),
        "logs?follow=true" => Reply::Socket(vec![Step::Bytes(b"\x01\x01\x01ready".to_vec()), Step::HearAll]),
        _ if request.line.starts_with("DELETE") => Reply::Http("204 No Content", String::new()),
        _ => Reply::error("404 Not Found", "404 page not found"),
    })
    .await
}

const NO_PIPE: &str = "failed to open input pipe: open /s/c/input.pipe: no such file or directory";

#[tokio::test]
async fn input_is_offered_again_until_its_pipe_is_there() {
    let fake = refusing(&[NO_PIPE, NO_PIPE, NO_PIPE]).await;
    fake.sandbox.process().send_session_command_input("s", "c", "line", None).await.unwrap();
    assert_eq!(sent(&fake, "POST", "/input").len(), 4);

    let fake = refusing(&[NO_PIPE, NO_PIPE]).await;
    let stream = start(&fake).await.unwrap();
    stream.write_stdin("x".into()).await.unwrap();
    while sent(&fake, "POST", "/input").len() < 3 {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn other_refusals_of_input_are_told_at_once() {
    const BROKEN: &str = "failed to write to input pipe: write /s/c/input.pipe: broken pipe";
    for text in [BROKEN, "out of memory"] {
        let fake = refusing(Box::leak(Box::new([text]))).await;
        let error = fake.sandbox.process().send_session_command_input("s", "c", "line", None).await.unwrap_err();
        assert_eq!((error.status(), &error.message()[..]), (Some(500), text));
        assert_eq!(sent(&fake, "POST", "/input").len(), 1);
    }
    // A pipe that never comes is told of before long.
    let fake = refusing(&[NO_PIPE; 1000]).await;
    let error = fake.sandbox.process().send_session_command_input("s", "c", "line", Some(0.5)).await.unwrap_err();
    assert_eq!(error.operation().unwrap().name, "process.send_session_command_input");
    assert!(sent(&fake, "POST", "/input").len() < 100);
}

#[tokio::test]
async fn killing_deletes_the_session_and_other_signals_are_unsupported() {
    for (signal, exit_code) in [("SIGKILL", 137), ("term", 143)] {
        let fake = serve(|_| vec![Step::Bytes(b"\x01\x01\x01ready".to_vec()), Step::HearAll], None).await;
        let stream = start(&fake).await.unwrap();
        assert!(stream.next().await.unwrap().is_some());
        let error = stream.signal("INT").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        stream.signal(signal).await.unwrap();
        assert_eq!(stream.wait().await.unwrap(), exit_code);
        assert!(!sent(&fake, "DELETE", "").is_empty());
    }
}

#[tokio::test]
async fn one_that_is_let_go_or_late_is_ended() {
    let log = |_| vec![Step::Bytes(b"\x01\x01\x01ready".to_vec()), Step::HearAll];
    let fake = serve(log, None).await;
    drop(start(&fake).await.unwrap());
    deleted(&fake).await;

    let fake = serve(log, None).await;
    let options = ExecOptions { timeout: Some(1.0), ..ExecOptions::default() };
    let stream = fake.sandbox.process().exec_stream("run", options).await.unwrap();
    assert_eq!(stream.wait().await.unwrap_err().kind(), ErrorKind::ProcessExecutionTimeout);
    deleted(&fake).await;
}
