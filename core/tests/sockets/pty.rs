use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bytes::Bytes;
use daytona_core::{ErrorKind, Pty, PtyExit, PtyOptions, Result};
use tokio::sync::Notify;
use tokio_tungstenite::tungstenite::Message;

use crate::fake::{Fake, LIMIT, Reply, Request, Step};

const CONNECTED: &str = r#"{"type":"control","status":"connected"}"#;
const INFO: &str =
    r#"{"id":"p","active":true,"cols":80,"rows":24,"createdAt":"","cwd":"/","envs":{},"lazyStart":false}"#;

async fn connect(steps: fn() -> Vec<Step>) -> (Fake, Result<Pty>) {
    let fake = Fake::serve(move |_| Reply::Socket(steps())).await;
    let pty = fake.sandbox.process().connect_pty_session("p", false).await;
    (fake, pty)
}

async fn output(pty: &Pty) -> Result<Vec<u8>> {
    let mut all = Vec::new();
    while let Some(bytes) = pty.next().await? {
        all.extend_from_slice(&bytes);
    }
    Ok(all)
}

fn exit(code: i32) -> PtyExit {
    PtyExit { exit_code: Some(code), error: None }
}

#[tokio::test]
async fn one_websocket_creates_and_connects() {
    let steps = || {
        vec![
            Step::Text(CONNECTED),
            Step::Hear,
            Step::Bytes(b"\0\xff".to_vec()),
            Step::Text("{\"not\": \"control\"}"),
            Step::Text(r#"{"type":"control","status":"exited","exitCode":3,"exitReason":"bye"}"#),
            Step::Close(1011, r#"{"exitCode":3,"exitReason":"bye"}"#),
        ]
    };
    let mut fake = Fake::serve(move |_| Reply::Socket(steps())).await;
    let env = BTreeMap::from([("NAME".to_owned(), "välue?>".to_owned())]);
    let options = PtyOptions { cwd: Some("/a b".into()), env: Some(env), cols: Some(100), rows: None };
    let pty = fake.sandbox.process().create_pty_session("p/1", options).await.unwrap();
    assert!(pty.is_connected());
    pty.send_input(Bytes::from_static(b"ls\0\xfe\n")).await.unwrap();
    assert_eq!(fake.heard().await, Message::binary(b"ls\0\xfe\n".to_vec()));
    assert_eq!(output(&pty).await.unwrap(), b"\0\xff{\"not\": \"control\"}");
    let exited = PtyExit { exit_code: Some(3), error: Some("bye".into()) };
    assert_eq!(pty.wait(None).await.unwrap(), exited);
    assert_eq!((pty.is_connected(), pty.exit_code(), pty.error()), (false, Some(3), Some("bye".into())));
    let refused = pty.send_input(Bytes::from_static(b"x")).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Connection);

    let requests = fake.requests();
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].line, "GET /pty/create-connect?id=p%2F1&cols=100&rows=24&cwd=%2Fa+b");
    let (exit_control, envs) = requests[0].header("sec-websocket-protocol").split_once(", ").unwrap();
    assert_eq!(exit_control, "X-Daytona-Pty-Exit-Control");
    let envs = BASE64_URL_SAFE_NO_PAD.decode(envs.strip_prefix("X-Daytona-Pty-Envs~").unwrap()).unwrap();
    assert_eq!(envs, r#"{"NAME":"välue?>"}"#.as_bytes());
    assert_eq!(requests[0].header("authorization"), "Bearer k");
}

/// Answers as a server without `create-connect`, which takes that for an id.
fn older(request: &Request) -> Reply {
    match request.line.as_str() {
        "POST /pty" => Reply::Http("201 Created", r#"{"sessionId":"p"}"#.into()),
        "GET /pty/p/connect" => Reply::Socket(vec![Step::Text(CONNECTED), Step::Close(1000, "")]),
        _ => Reply::error("404 Not Found", r#"{"message":"PTY session create-connect not found","statusCode":404}"#),
    }
}

#[tokio::test]
async fn an_older_server_is_asked_in_two_steps() {
    let fake = Fake::serve(older).await;
    let options = PtyOptions { rows: Some(50), ..PtyOptions::default() };
    let pty = fake.sandbox.process().create_pty_session("p", options).await.unwrap();
    assert_eq!(pty.wait(None).await.unwrap(), exit(0));
    assert_eq!(fake.lines(), ["GET /pty/create-connect?id=p&cols=80&rows=50", "POST /pty", "GET /pty/p/connect"]);
    let body: serde_json::Value = serde_json::from_str(&fake.requests()[1].body).unwrap();
    assert_eq!(body, serde_json::json!({"id": "p", "cols": 80, "rows": 50, "lazyStart": true}));
}

#[tokio::test]
async fn an_environment_too_long_for_a_header_goes_in_a_body() {
    let fake = Fake::serve(older).await;
    let env = BTreeMap::from([("LONG".to_owned(), "x".repeat(100_000))]);
    let options = PtyOptions { env: Some(env), ..PtyOptions::default() };
    fake.sandbox.process().create_pty_session("p", options).await.unwrap();
    assert_eq!(fake.lines(), ["POST /pty", "GET /pty/p/connect"]);
    assert!(fake.requests()[0].body.len() > 100_000);
}

#[tokio::test]
async fn refusals_are_not_taken_for_an_older_server() {
    for (status, body, kind) in [
        ("404 Not Found", r#"{"message":"no sandbox","code":"SANDBOX_NOT_FOUND"}"#, ErrorKind::NotFound),
        ("404 Not Found", r#"{"message":"no sandbox","source":"DAYTONA_PROXY"}"#, ErrorKind::NotFound),
        ("409 Conflict", r#"{"message":"taken"}"#, ErrorKind::Conflict),
        ("502 Bad Gateway", r#"{"message":"it ended","code":"SANDBOX_STOPPED"}"#, ErrorKind::SandboxDied),
    ] {
        let fake = Fake::serve(move |_| Reply::error(status, body)).await;
        let error = fake.sandbox.process().create_pty_session("p", PtyOptions::default()).await.err().unwrap();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().starts_with("Failed to create PTY session: "), "{error}");
        assert_eq!(fake.lines().len(), 1, "{body}");
    }
}

#[tokio::test]
async fn a_terminal_nobody_has_a_handle_of_is_deleted() {
    let fake = Fake::serve(|request| match request.line.as_str() {
        "POST /pty" | "DELETE /pty/p" => Reply::Http("200 OK", r#"{"sessionId":"p"}"#.into()),
        "GET /pty/p/connect" => Reply::Socket(vec![Step::Close(1011, r#"{"error":"no shell"}"#)]),
        _ => Reply::error("404 Not Found", ""),
    })
    .await;
    let error = fake.sandbox.process().create_pty_session("p", PtyOptions::default()).await.err().unwrap();
    assert_eq!((error.kind(), error.message().as_str()), (ErrorKind::Connection, "no shell"));
    assert_eq!(fake.lines().last().unwrap(), "DELETE /pty/p");
}

#[tokio::test]
async fn bad_input_is_refused_before_anything_is_sent() {
    let fake = Fake::serve(|_| Reply::error("500 Internal Server Error", "")).await;
    let process = fake.sandbox.process();
    let refused = |result: Result<()>| assert_eq!(result.unwrap_err().kind(), ErrorKind::InvalidArgument);
    for id in ["", " \t", ".", "..", "a\0b"] {
        refused(process.create_pty_session(id, PtyOptions::default()).await.map(drop));
        refused(process.connect_pty_session(id, true).await.map(drop));
        refused(process.get_pty_session_info(id, None).await.map(drop));
        refused(process.kill_pty_session(id, None).await);
        refused(process.resize_pty_session(id, 80, 24, None).await.map(drop));
    }
    for (cols, rows) in [(0, 24), (80, 0), (1001, 24), (80, 1001)] {
        let options = PtyOptions { cols: Some(cols), rows: Some(rows), ..PtyOptions::default() };
        refused(process.create_pty_session("p", options).await.map(drop));
        refused(process.resize_pty_session("p", cols, rows, None).await.map(drop));
    }
    let env = |name: &str, value: &str| Some(BTreeMap::from([(name.to_owned(), value.to_owned())]));
    for env in [env("A-B", ""), env("A", "\0")] {
        refused(process.create_pty_session("p", PtyOptions { env, ..PtyOptions::default() }).await.map(drop));
    }
    let options = PtyOptions { cwd: Some("a\0".into()), ..PtyOptions::default() };
    refused(process.create_pty_session("p", options).await.map(drop));
    assert!(fake.lines().is_empty());
}

#[tokio::test]
async fn replay_is_asked_for() {
    let fake = Fake::serve(|_| Reply::Socket(vec![Step::Text(CONNECTED), Step::HearAll])).await;
    fake.sandbox.process().connect_pty_session("p", true).await.unwrap();
    assert_eq!(fake.lines(), ["GET /pty/p/connect?replay=true"]);
}

#[tokio::test]
async fn an_unknown_id_is_not_found_however_the_server_says_it() {
    let refusal = r#"{"type":"control","status":"error","error":"PTY session p not found"}"#;
    let fake = Fake::serve(move |request| match request.line.as_str() {
        "GET /pty/p/connect" => Reply::Socket(vec![Step::Text(refusal), Step::Close(1000, "")]),
        _ => Reply::error("404 Not Found", r#"{"message":"PTY session p not found"}"#),
    })
    .await;
    let error = fake.sandbox.process().connect_pty_session("p", false).await.err().unwrap();
    assert_eq!((error.kind(), error.status()), (ErrorKind::NotFound, Some(404)));

    let fake = Fake::serve(move |request| match request.line.as_str() {
        "GET /pty/p/connect" => Reply::Socket(vec![Step::Text(r#"{"type":"control","status":"error"}"#)]),
        _ => Reply::Http("200 OK", INFO.into()),
    })
    .await;
    let error = fake.sandbox.process().connect_pty_session("p", false).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Connection);
    assert_eq!(error.to_string(), "Failed to connect PTY session: unknown connection error");
}

#[tokio::test]
async fn a_silent_server_is_not_waited_for() {
    let fake = Fake::serve(|_| Reply::Socket(vec![Step::HearAll])).await;
    let error = fake.sandbox.process().connect_pty_session("p", false).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(error.message().starts_with("PTY connection timeout"), "{error}");
}

#[tokio::test]
async fn ways_to_end() {
    let cases: [(fn() -> Step, PtyExit); 5] = [
        (|| Step::Close(1000, ""), exit(0)),
        (|| Step::Close(1000, "not JSON"), exit(0)),
        (|| Step::Close(1011, r#"{"exitCode":7}"#), exit(7)),
        (
            || Step::Close(1011, r#"{"exitCode":137,"exitReason":"SIGKILL"}"#),
            PtyExit { exit_code: Some(137), error: Some("SIGKILL".into()) },
        ),
        (
            || Step::Close(1011, r#"{"error":"read failed"}"#),
            PtyExit { exit_code: None, error: Some("read failed".into()) },
        ),
    ];
    for (close, expected) in cases {
        let fake =
            Fake::serve(move |_| Reply::Socket(vec![Step::Text(CONNECTED), Step::Bytes(b"out".into()), close()])).await;
        let pty = fake.sandbox.process().connect_pty_session("p", false).await.unwrap();
        assert_eq!(output(&pty).await.unwrap(), b"out");
        assert_eq!(pty.wait(None).await.unwrap(), expected);
        assert_eq!((pty.exit_code(), pty.error()), (expected.exit_code, expected.error));
    }
}

type Breaking = (fn() -> Vec<Step>, &'static str);

#[tokio::test]
async fn what_breaks_is_said_after_the_output_before_it() {
    let cases: [Breaking; 3] = [
        (|| vec![Step::Text(CONNECTED), Step::Bytes(b"out".into()), Step::Close(1008, "")], "not read fast enough"),
        (
            || vec![Step::Text(CONNECTED), Step::Bytes(b"out".into()), Step::Close(1001, "going")],
            "going (close code 1001)",
        ),
        (|| vec![Step::Text(CONNECTED), Step::Bytes(b"out".into())], "ended before everything was said"),
    ];
    for (steps, message) in cases {
        let (_fake, pty) = connect(steps).await;
        let pty = pty.unwrap();
        assert_eq!(pty.next().await.unwrap().unwrap(), b"out".as_slice());
        for error in [pty.next().await.unwrap_err(), pty.wait(None).await.unwrap_err()] {
            assert_eq!(error.kind(), ErrorKind::Connection);
            assert!(error.message().contains(message), "{error}");
            assert!(error.to_string().starts_with("The PTY session failed: "), "{error}");
        }
        assert!(pty.error().unwrap().contains(message));
    }
}

#[tokio::test]
async fn an_exit_that_is_told_counts_even_if_the_close_does_not_come() {
    let exited = r#"{"type":"control","status":"exited","exitCode":0}"#;
    let fake = Fake::serve(move |_| Reply::Socket(vec![Step::Text(exited), Step::HearAll])).await;
    let pty = fake.sandbox.process().connect_pty_session("p", false).await.unwrap();
    assert!(!pty.is_connected());
    assert_eq!(pty.wait(Some(LIMIT.as_secs_f64())).await.unwrap(), exit(0));
}

#[tokio::test]
async fn leaving_sends_what_was_typed_and_says_goodbye() {
    for drops in [false, true] {
        let mut fake = Fake::serve(|_| Reply::Socket(vec![Step::Text(CONNECTED), Step::HearAll])).await;
        let pty = fake.sandbox.process().connect_pty_session("p", false).await.unwrap();
        let typed = vec![b'x'; 100_000];
        pty.send_input(typed.clone().into()).await.unwrap();
        if drops {
            drop(pty);
        } else {
            pty.disconnect();
            assert!(!pty.is_connected());
            assert_eq!(pty.next().await.unwrap(), None);
            assert_eq!(pty.wait(None).await.unwrap(), PtyExit::default());
        }
        let mut heard = Vec::new();
        loop {
            match fake.heard().await {
                Message::Binary(part) => heard.extend_from_slice(&part),
                message => break assert!(message.is_close(), "{message:?}"),
            }
        }
        assert_eq!(heard, typed);
    }
}

#[tokio::test]
async fn a_time_limit_of_wait_leaves_the_connection() {
    let (mut fake, pty) = connect(|| vec![Step::Text(CONNECTED), Step::HearAll]).await;
    let pty = pty.unwrap();
    let error = pty.wait(Some(0.05)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert_eq!(pty.wait(Some(-1.0)).await.unwrap_err().kind(), ErrorKind::InvalidArgument);
    pty.send_input(Bytes::from_static(b"still")).await.unwrap();
    assert_eq!(fake.heard().await, Message::binary(b"still".to_vec()));
}

#[tokio::test]
async fn output_nobody_takes_is_held_back_and_input_goes_on() {
    let go = Arc::new(Notify::new());
    let gate = Arc::clone(&go);
    let mut fake = Fake::serve(move |_| {
        let mut steps = vec![Step::Text(CONNECTED)];
        steps.extend((0..4).map(|_| Step::Bytes(vec![b'o'; 1 << 20])));
        steps.extend([Step::Hear, Step::Wait(Arc::clone(&gate))]);
        steps.extend((0..64).map(|_| Step::Bytes(vec![b'o'; 1 << 20])));
        steps.push(Step::Close(1000, r#"{"exitCode":9}"#));
        Reply::Socket(steps)
    })
    .await;
    let pty = fake.sandbox.process().connect_pty_session("p", false).await.unwrap();
    pty.send_input(Bytes::from_static(b"\x03")).await.unwrap();
    // Some of it fits into the buffers on the way.
    let mut taken = pty.next().await.unwrap().unwrap().len();
    while taken < 4 << 20 {
        taken += pty.next().await.unwrap().unwrap().len();
    }
    assert_eq!(fake.heard().await, Message::binary(b"\x03".to_vec()));
    // Nobody reads the rest, and `wait` does not hang.
    go.notify_one();
    assert_eq!(pty.wait(Some(LIMIT.as_secs_f64())).await.unwrap(), exit(9));
}

#[tokio::test]
async fn input_of_many_windows_arrives_whole() {
    let mut fake = Fake::serve(|_| Reply::Socket(vec![Step::Text(CONNECTED), Step::HearAll])).await;
    let pty = fake.sandbox.process().connect_pty_session("p", false).await.unwrap();
    let typing = tokio::spawn(async move {
        for _ in 0..64 {
            pty.send_input(vec![b'i'; 256 << 10].into()).await.unwrap();
        }
        pty
    });
    let mut length = 0;
    while length < 16 << 20 {
        length += fake.heard().await.len();
    }
    assert_eq!(length, 16 << 20);
    drop(typing.await.unwrap());
}
