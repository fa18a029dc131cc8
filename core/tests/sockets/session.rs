//! Followed logs.

use std::sync::Arc;

use daytona_core::{ErrorKind, LogStream, OutputStream, Result};
use tokio::sync::Notify;

use crate::fake::{Fake, LIMIT, Reply, Step};

async fn follow(steps: fn() -> Vec<Step>) -> (Fake, LogStream) {
    let fake = Fake::serve(move |_| Reply::Socket(steps())).await;
    let log = fake.sandbox.process().follow_session_command_logs("s", "c").await.unwrap();
    (fake, log)
}

async fn all(log: &LogStream) -> Result<[String; 2]> {
    let mut texts = [String::new(), String::new()];
    while let Some(chunks) = log.next().await? {
        for chunk in chunks {
            texts[chunk.stream as usize].push_str(&chunk.text);
        }
    }
    Ok(texts)
}

#[tokio::test]
async fn streams_are_told_apart_wherever_frames_end() {
    let (fake, log) = follow(|| {
        vec![
            Step::Bytes(b"lost\x01".to_vec()),
            Step::Bytes(b"\x01\x01out\xe2\x82".to_vec()),
            Step::Bytes(b"\x02\x02\x02".to_vec()),
            Step::Text("err"),
            Step::Bytes(b"\x01\x01\x01\xac \x02".to_vec()),
            Step::Bytes(b"\x02end\x01\x01".to_vec()),
            Step::Close(1000, ""),
        ]
    })
    .await;
    assert_eq!(all(&log).await.unwrap(), ["out\u{20ac} \u{2}\u{2}end\u{1}\u{1}", "err"]);
    assert!(log.next().await.unwrap().is_none(), "the end stays the end");
    assert_eq!(fake.lines(), ["GET /session/s/command/c/logs?follow=true"]);
    let request = &fake.requests()[0];
    assert_eq!((request.header("authorization"), request.header("x-daytona-sdk-version")), ("Bearer k", "0.226.1"));
}

#[tokio::test]
async fn adjacent_frames_of_a_stream_become_one_chunk() {
    let (_fake, log) = follow(|| {
        let mut steps: Vec<Step> = (0..100).map(|_| Step::Bytes(b"\x01\x01\x01line\n".to_vec())).collect();
        steps.push(Step::Bytes(b"\x02\x02\x02e".to_vec()));
        steps.push(Step::Close(1000, ""));
        steps
    })
    .await;
    let mut seen = Vec::new();
    while let Some(chunks) = log.next().await.unwrap() {
        assert!(!chunks.is_empty() && chunks.windows(2).all(|pair| pair[0].stream != pair[1].stream), "{chunks:?}");
        seen.extend(chunks);
    }
    let (last, lines) = seen.split_last().unwrap();
    assert_eq!((last.stream, &last.text[..]), (OutputStream::Stderr, "e"));
    assert_eq!(lines.iter().map(|chunk| chunk.bytes.len()).sum::<usize>(), 500);
}

type Ending = (fn() -> Vec<Step>, &'static str);

#[tokio::test]
async fn other_ends_are_errors_after_what_came_before() {
    let failing: [Ending; 3] = [
        (
            || vec![Step::Bytes(b"\x01\x01\x01x".to_vec()), Step::Close(1011, "disk full")],
            "disk full (close code 1011)",
        ),
        (|| vec![Step::Bytes(b"\x01\x01\x01x".to_vec()), Step::Close(4000, "")], "(close code 4000)"),
        (|| vec![Step::Bytes(b"\x01\x01\x01x".to_vec())], "ended before everything was said"),
    ];
    for (steps, message) in failing {
        let (_fake, log) = follow(steps).await;
        assert_eq!(log.next().await.unwrap().unwrap()[0].text, "x");
        for _ in 0..2 {
            let error = log.next().await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Connection, "{error}");
            assert!(error.to_string().starts_with("Failed to get session command logs: "), "{error}");
            assert!(error.message().contains(message), "{error}");
        }
    }
}

#[tokio::test]
async fn a_refusal_is_the_servers_own() {
    let body = r#"{"message":"no such command","code":"PROCESS_NOT_FOUND","statusCode":404}"#;
    let fake = Fake::serve(move |_| Reply::error("404 Not Found", body)).await;
    let error = fake.sandbox.process().follow_session_command_logs("s", "c").await.err().unwrap();
    assert_eq!((error.kind(), error.status()), (ErrorKind::ProcessNotFound, Some(404)));
    assert_eq!(error.message(), "no such command");

    let fake = Fake::serve(|_| Reply::Http("200 OK", "{}".to_owned())).await;
    let error = fake.sandbox.process().follow_entrypoint_logs().await.err().unwrap();
    assert!(error.message().contains("without opening a websocket"), "{error}");
}

#[tokio::test]
async fn a_log_that_is_let_go_closes_its_connection() {
    let gone = Arc::new(Notify::new());
    let told = Arc::clone(&gone);
    let fake = Fake::serve(move |_| {
        Reply::Socket(vec![Step::Bytes(b"\x01\x01\x01x".to_vec()), Step::HearAll, Step::Tell(Arc::clone(&told))])
    })
    .await;
    let process = fake.sandbox.process();
    let open = || async { process.follow_session_command_logs("s", "c").await.unwrap() };

    let log = open().await;
    assert!(log.next().await.unwrap().is_some());
    let other = log.clone();
    drop(log);
    other.close();
    assert!(other.next().await.unwrap().is_none());
    tokio::time::timeout(LIMIT, gone.notified()).await.unwrap();

    let log = open().await;
    let waiting = tokio::spawn(async move { while log.next().await.unwrap().is_some() {} });
    tokio::task::yield_now().await;
    waiting.abort();
    tokio::time::timeout(LIMIT, gone.notified()).await.unwrap();
}

#[tokio::test]
async fn output_that_nobody_takes_makes_the_server_wait() {
    const PIECE: usize = 64 << 10;
    const PIECES: usize = 2048;
    let sent = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counter = Arc::clone(&sent);
    let fake = Fake::serve(move |_| {
        let piece = [&[1; 3][..], &vec![b'x'; PIECE]].concat();
        let mut steps: Vec<Step> = (0..PIECES).map(|_| Step::Counted(piece.clone(), Arc::clone(&counter))).collect();
        steps.push(Step::Close(1000, ""));
        Reply::Socket(steps)
    })
    .await;
    let log = fake.sandbox.process().follow_session_command_logs("s", "c").await.unwrap();
    let before = loop {
        let before = sent.load(std::sync::atomic::Ordering::SeqCst);
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        if before > 0 && sent.load(std::sync::atomic::Ordering::SeqCst) == before {
            break before;
        }
    };
    assert!(before < PIECES / 2, "{before} pieces of {PIECES} were sent to nobody");
    let mut length = 0;
    while let Some(chunks) = log.next().await.unwrap() {
        let waiting: usize = chunks.iter().map(|chunk| chunk.bytes.len()).sum();
        assert!(waiting <= 2 << 20, "{waiting} bytes waited");
        length += waiting;
    }
    assert_eq!(length, PIECE * PIECES);
}

#[tokio::test]
async fn ids_that_no_path_can_hold_are_refused() {
    let fake = Fake::serve(|_| Reply::error("500 Internal Server Error", "")).await;
    let process = fake.sandbox.process();
    for id in ["", " ", ".", "..", "a\0"] {
        assert_eq!(process.create_session(id, None).await.unwrap_err().kind(), ErrorKind::InvalidArgument);
        let error = process.follow_session_command_logs("s", id).await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    }
    assert!(fake.lines().is_empty());
}
