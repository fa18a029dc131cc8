//! Streamed commands: what is said, and what happens when connections break.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use daytona_core::{ErrorKind, ExecOptions, ExecStream, OutputStream, Result};
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio_tungstenite::tungstenite::Message;

use crate::fake::{Fake, LIMIT, Reply, Request, Step};

const STARTED: Step = Step::Text(r#"{"type":"started","stdin":0}"#);
const EXITED: Step = Step::Text(r#"{"type":"exited","exitCode":3}"#);

fn data(stream: u8, offset: u64, bytes: &[u8]) -> Step {
    Step::Bytes([&[stream][..], &offset.to_be_bytes(), bytes].concat())
}

/// Answers one request after the other, the last for all that follow.
async fn serve(replies: Vec<fn() -> Reply>) -> Fake {
    let count = AtomicUsize::new(0);
    Fake::serve(move |_| {
        let at = count.fetch_add(1, Ordering::SeqCst).min(replies.len() - 1);
        replies[at]()
    })
    .await
}

async fn start(fake: &Fake) -> Result<ExecStream> {
    fake.sandbox.process().exec_stream("run", ExecOptions::default()).await
}

async fn all(stream: &ExecStream) -> Result<[String; 2]> {
    let mut texts = [String::new(), String::new()];
    while let Some(chunks) = stream.next().await? {
        for chunk in chunks {
            texts[chunk.stream as usize].push_str(&chunk.text);
        }
    }
    Ok(texts)
}

fn text(message: Message) -> Value {
    let Message::Text(text) = message else { panic!("{message} is not text") };
    serde_json::from_str(&text).unwrap()
}

#[tokio::test]
async fn a_command_from_its_start_to_its_end() {
    let mut fake = serve(vec![|| {
        let output = [data(1, 0, b"out"), data(2, 3, b"err"), data(1, 6, b" more")];
        let mut steps = vec![Step::Hear, STARTED];
        steps.extend(output);
        steps.extend([EXITED, Step::HearAll]);
        Reply::Socket(steps)
    }])
    .await;
    let options = ExecOptions {
        cwd: Some("/tmp".into()),
        env: Some(BTreeMap::from([("A".to_owned(), "b c".to_owned())])),
        timeout: Some(1.5),
        ..ExecOptions::default()
    };
    let stream = fake.sandbox.process().exec_stream("run", options).await.unwrap();
    let request = json!({"type": "start", "command": "run", "cwd": "/tmp", "envs": {"A": "b c"}, "timeout": 2});
    assert_eq!(text(fake.heard().await), request);
    assert_eq!(fake.lines(), [format!("GET /execute/stream?id={}", stream.id())]);
    assert_eq!(all(&stream).await.unwrap(), ["out more", "err"]);
    assert_eq!((stream.wait().await.unwrap(), stream.exit_code()), (3, Some(3)));
    // The server may forget it.
    let mut last = text(fake.heard().await);
    while last != json!({"type": "ack", "offset": 11}) {
        last = text(fake.heard().await);
    }
    stream.signal("INT").await.unwrap();
    assert_eq!(stream.write_stdin("x".into()).await.unwrap_err().kind(), ErrorKind::CommandAlreadyCompleted);
}

#[tokio::test]
async fn it_goes_on_where_the_connection_broke() {
    let fake = serve(vec![
        || Reply::Socket(vec![Step::Hear, STARTED, data(1, 0, b"abc"), data(2, 3, b"d")]),
        || Reply::error("503 Service Unavailable", ""),
        // What was sent is sent again, and the same once more.
        || Reply::Socket(vec![STARTED, data(1, 1, b"bc"), data(2, 3, b"de"), data(2, 3, b"de"), data(1, 5, b"f")]),
        // A gap is no reason to lose something.
        || Reply::Socket(vec![STARTED, data(1, 9, b"z"), Step::HearAll]),
        || Reply::Socket(vec![STARTED, data(1, 6, b"g"), EXITED, Step::HearAll]),
    ])
    .await;
    let stream = start(&fake).await.unwrap();
    assert_eq!(all(&stream).await.unwrap(), ["abcfg", "de"]);
    assert_eq!(stream.wait().await.unwrap(), 3);
    let resumed: Vec<String> =
        fake.lines().iter().filter_map(|line| line.split_once("offset=")).map(|(_, at)| at.to_owned()).collect();
    assert_eq!(resumed, ["4", "4", "6", "6"]);
}

#[tokio::test]
async fn a_start_that_was_lost_is_repeated_and_one_that_arrived_is_not() {
    let mut fake = serve(vec![
        || Reply::Socket(vec![]),
        || Reply::error("404 Not Found", r#"{"message":"no such command"}"#),
        || Reply::Socket(vec![Step::Hear, STARTED, EXITED, Step::HearAll]),
    ])
    .await;
    let stream = start(&fake).await.unwrap();
    assert_eq!(stream.wait().await.unwrap(), 3);
    let start = format!("GET /execute/stream?id={}", stream.id());
    let resume = format!("GET /execute/stream/{}?offset=0", stream.id());
    assert_eq!(fake.lines(), [&start[..], &resume, &start]);
    assert_eq!(text(fake.heard().await)["type"], "start");

    let fake =
        serve(vec![|| Reply::Socket(vec![Step::Hear]), || Reply::Socket(vec![STARTED, EXITED, Step::HearAll])]).await;
    assert_eq!(self::start(&fake).await.unwrap().wait().await.unwrap(), 3);
    assert!(fake.lines()[1].ends_with("?offset=0"));
}

type Refusal = (fn() -> Reply, ErrorKind, &'static str);

#[tokio::test]
async fn what_cannot_go_on_says_why() {
    let cases: [Refusal; 4] = [
        (|| Reply::error("404 Not Found", ""), ErrorKind::NotFound, "does not know the command any more"),
        (|| Reply::error("410 Gone", r#"{"message":"it is stopped"}"#), ErrorKind::SandboxDied, "it is stopped"),
        (|| Reply::error("409 Conflict", r#"{"message":"it is stopped"}"#), ErrorKind::SandboxDied, "it is stopped"),
        (|| Reply::error("401 Unauthorized", r#"{"message":"who?"}"#), ErrorKind::Authentication, "who?"),
    ];
    for (reply, kind, message) in cases {
        let fake = serve(vec![|| Reply::Socket(vec![Step::Hear, STARTED, data(1, 0, b"x")]), reply]).await;
        let stream = start(&fake).await.unwrap();
        assert_eq!(stream.next().await.unwrap().unwrap()[0].text, "x");
        for error in [stream.next().await.unwrap_err(), stream.wait().await.unwrap_err()] {
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.message().contains(message), "{error}");
            assert_eq!(error.operation().unwrap().name, "process.exec_stream");
        }
        assert_eq!(stream.write_stdin("x".into()).await.unwrap_err().kind(), kind);
        assert_eq!(stream.exit_code(), None);
    }
}

#[tokio::test]
async fn what_the_server_refuses_is_an_error_of_the_start() {
    const REFUSAL: &str = r#"{"type":"error","error":{"statusCode":400,"message":"no such user"}}"#;
    let fake = serve(vec![|| Reply::Socket(vec![Step::Hear, Step::Text(REFUSAL), Step::Close(1008, "")])]).await;
    let error = start(&fake).await.err().unwrap();
    assert_eq!((error.kind(), error.status()), (ErrorKind::BadRequest, Some(400)));
    assert_eq!(error.to_string(), "Failed to execute command: no such user");

    let fake = serve(vec![|| Reply::Socket(vec![Step::Hear, Step::Text("{}"), Step::HearAll])]).await;
    let error = start(&fake).await.err().unwrap();
    assert!(error.message().contains("cannot be read"), "{error}");

    let fake = serve(vec![|| Reply::error("403 Forbidden", r#"{"message":"not yours"}"#)]).await;
    assert_eq!(start(&fake).await.err().unwrap().kind(), ErrorKind::Forbidden);
}

#[tokio::test]
async fn a_time_limit_is_a_timeout() {
    const LATE: &str = r#"{"type":"exited","exitCode":137,"timedOut":true}"#;
    let fake =
        serve(vec![|| Reply::Socket(vec![STARTED, data(1, 0, b"begun"), Step::Text(LATE), Step::HearAll])]).await;
    let stream = start(&fake).await.unwrap();
    assert_eq!(stream.next().await.unwrap().unwrap()[0].text, "begun");
    assert_eq!(stream.next().await.unwrap_err().kind(), ErrorKind::ProcessExecutionTimeout);
    assert_eq!(stream.wait().await.unwrap_err().kind(), ErrorKind::ProcessExecutionTimeout);
    assert_eq!(stream.exit_code(), Some(137));
}

#[tokio::test]
async fn a_network_that_stalls_does_not_outlast_a_time_limit() {
    let options = || ExecOptions { timeout: Some(1.0), ..ExecOptions::default() };
    let stalls: [fn() -> Reply; 2] = [
        || Reply::Socket(vec![Step::Hear, STARTED, data(1, 0, b"x"), Step::Wait(Arc::default())]),
        || Reply::Socket(vec![Step::Hear, Step::Wait(Arc::default())]),
    ];
    for (stall, is_started) in stalls.into_iter().zip([true, false]) {
        let fake = serve(vec![stall]).await;
        let error = match fake.sandbox.process().exec_stream("run", options()).await {
            Ok(stream) => {
                assert!(is_started);
                stream.wait().await.unwrap_err()
            }
            Err(error) => error,
        };
        assert_eq!(error.kind(), ErrorKind::ProcessExecutionTimeout, "{error}");
        assert!(error.message().contains("has not told its end"), "{error}");
    }
}

#[tokio::test]
async fn one_without_stdin_has_its_end_at_once() {
    let mut fake = serve(vec![|| Reply::Socket(vec![Step::Hear, STARTED, Step::Hear, EXITED, Step::HearAll])]).await;
    let options = ExecOptions { no_stdin: true, ..ExecOptions::default() };
    let stream = fake.sandbox.process().exec_stream("cat", options).await.unwrap();
    assert_eq!(text(fake.heard().await)["type"], "start");
    assert_eq!(text(fake.heard().await), json!({"type": "eof", "offset": 0}));
    assert_eq!(stream.wait().await.unwrap(), 3);
    assert_eq!(stream.write_stdin("x".into()).await.unwrap_err().kind(), ErrorKind::InvalidArgument);
}

#[tokio::test]
async fn a_command_of_an_agent_that_was_killed_before_it_is_asked_again_has_died() {
    let answer = |request: &Request| match &*request.line {
        // The connection breaks for a reason of its own.
        line if line.ends_with("/version") => Reply::Http("200 OK\r\nX-Daytona-Agent: first", "{}".to_owned()),
        line if line.contains("offset=") => Reply::Http("404 Not Found\r\nX-Daytona-Agent: second", String::new()),
        _ => Reply::Of("first", vec![Step::Hear, STARTED, data(1, 0, b"x")]),
    };
    let fake = Fake::serve(answer).await;
    let error = start(&fake).await.unwrap().wait().await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::SandboxDied, Some("AGENT_RESTARTED")), "{error}");
}

#[tokio::test]
async fn stdin_and_kill_are_sent_again_from_where_the_server_is() {
    let mut fake = serve(vec![|| Reply::Socket(vec![Step::Hear, STARTED, Step::Hear, Step::Hear]), || {
        let started = Step::Text(r#"{"type":"started","stdin":2}"#);
        Reply::Socket(vec![started, Step::Hear, Step::Hear, Step::Hear, EXITED, Step::HearAll])
    }])
    .await;
    let stream = start(&fake).await.unwrap();
    assert_eq!(text(fake.heard().await)["type"], "start");
    stream.write_stdin("hello".into()).await.unwrap();
    let frame = |offset: u64, bytes: &[u8]| Message::binary([&[0][..], &offset.to_be_bytes(), bytes].concat());
    assert_eq!(fake.heard().await, frame(0, b"hello"));
    stream.kill().await.unwrap();
    assert_eq!(text(fake.heard().await), json!({"type": "signal", "signal": "9"}));
    stream.close_stdin().await.unwrap();
    assert_eq!(text(fake.heard().await), json!({"type": "signal", "signal": "9"}));
    assert_eq!(fake.heard().await, frame(2, b"llo"));
    assert_eq!(text(fake.heard().await), json!({"type": "eof", "offset": 5}));
    assert_eq!(stream.wait().await.unwrap(), 3);
    assert_eq!(stream.write_stdin("x".into()).await.unwrap_err().kind(), ErrorKind::InvalidArgument);
}

#[tokio::test]
async fn a_writer_waits_for_the_window_and_learns_that_nobody_reads() {
    let fake = serve(vec![|| {
        let mut steps = vec![Step::Hear, STARTED];
        // A window and no more.
        steps.extend((0..16).map(|_| Step::Hear));
        steps.extend([Step::Text(r#"{"type":"ack","offset":65536}"#), Step::Hear]);
        steps.extend([Step::Text(r#"{"type":"stdinClosed"}"#), Step::HearAll]);
        Reply::Socket(steps)
    }])
    .await;
    let stream = start(&fake).await.unwrap();
    let error = stream.write_stdin(vec![b'x'; 10 << 20].into()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::CommandAlreadyCompleted);
    assert!(error.message().contains("does not read its stdin"), "{error}");
}

#[tokio::test]
async fn one_that_is_let_go_is_closed_by_a_close_frame() {
    let mut fake = serve(vec![|| Reply::Socket(vec![Step::Hear, STARTED, data(1, 0, b"x"), Step::HearAll])]).await;
    for by_close in [true, false] {
        let stream = start(&fake).await.unwrap();
        assert!(stream.next().await.unwrap().is_some());
        let waiting = tokio::spawn({
            let stream = stream.clone();
            async move { stream.wait().await }
        });
        if by_close {
            stream.close();
            assert!(stream.next().await.unwrap().is_none());
            let error = waiting.await.unwrap().unwrap_err();
            assert!(error.message().contains("closed before the command ended"), "{error}");
        } else {
            drop(stream);
            tokio::task::yield_now().await;
            waiting.abort();
        }
        while !matches!(fake.heard().await, Message::Close(Some(frame)) if u16::from(frame.code) == 1000) {}
    }
}

#[tokio::test]
async fn a_start_that_is_dropped_leaves_nothing() {
    let gone = Arc::new(Notify::new());
    let told = Arc::clone(&gone);
    let mut fake =
        Fake::serve(move |_| Reply::Socket(vec![Step::Hear, Step::HearAll, Step::Tell(Arc::clone(&told))])).await;
    let process = fake.sandbox.process();
    let starting = tokio::spawn(async move { process.exec_stream("run", ExecOptions::default()).await.map(drop) });
    assert_eq!(text(fake.heard().await)["type"], "start");
    starting.abort();
    while !matches!(fake.heard().await, Message::Close(_)) {}
    tokio::time::timeout(LIMIT, gone.notified()).await.unwrap();
}

#[tokio::test]
async fn waiting_alone_discards_what_nobody_takes() {
    let fake = serve(vec![|| {
        let piece = vec![b'x'; 64 << 10];
        let mut steps = vec![Step::Hear, STARTED];
        steps.extend((0..16).map(|n| data(1, n << 16, &piece)));
        // It needs the acknowledgement of some of that.
        steps.extend([Step::Hear, data(2, 16 << 16, b"rest"), EXITED, Step::HearAll]);
        Reply::Socket(steps)
    }])
    .await;
    let stream = start(&fake).await.unwrap();
    assert_eq!(stream.wait().await.unwrap(), 3);
    assert!(stream.next().await.unwrap().is_none());

    let fake = serve(vec![|| Reply::Socket(vec![STARTED, data(2, 0, b"little"), EXITED, Step::HearAll])]).await;
    let stream = start(&fake).await.unwrap();
    assert_eq!(stream.wait().await.unwrap(), 3);
    let chunks = stream.next().await.unwrap().unwrap();
    assert_eq!((chunks[0].stream, &chunks[0].text[..]), (OutputStream::Stderr, "little"), "it can be taken later");
}

#[tokio::test]
async fn bad_input_is_refused_before_anything_is_sent() {
    let fake = serve(vec![|| Reply::error("500 Internal Server Error", "")]).await;
    let process = fake.sandbox.process();
    let with = |env: &str| ExecOptions {
        env: Some(BTreeMap::from([(env.to_owned(), String::new())])),
        ..ExecOptions::default()
    };
    for (command, options) in [(" ", with("A")), ("a\0", with("A")), ("a", with("1"))] {
        let error = process.exec_stream(command, options).await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    }
    assert!(fake.lines().is_empty());
}
