//! Streamed commands on a server that does not know them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use daytona_core::{ErrorKind, ExecOptions, ExecStream, Result};
use serde_json::{Value, json};

use crate::fake::{Fake, Reply, Request, Step};

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
    let command = r#"export A='it'\''s'
cd -- '/a b' && "$(command -v bash || echo sh)" -c 'run '\''it'\'''"#;
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

#[tokio::test]
async fn stdin_is_sent_by_lines() {
    let fake = serve(|_| vec![Step::Bytes(b"\x01\x01\x01ready".to_vec()), Step::HearAll], None).await;
    let stream = start(&fake).await.unwrap();
    assert!(stream.next().await.unwrap().is_some());
    for text in ["on", "e\ntwo\nthr", "ee"] {
        stream.write_stdin(text.into()).await.unwrap();
    }
    let error = stream.close_stdin().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    let lines = || {
        let input = sent(&fake, "POST", "/input");
        let data = |request: &Request| serde_json::from_str::<Value>(&request.body).unwrap()["data"].clone();
        input.iter().map(|request| data(request).as_str().unwrap().to_owned()).collect::<String>()
    };
    while lines() != "one\ntwo\nthree\n" {
        assert!("one\ntwo\nthree\n".starts_with(&lines()), "{:?}", lines());
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    assert_eq!(stream.write_stdin(vec![0xff].into()).await.unwrap_err().kind(), ErrorKind::InvalidArgument);
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
