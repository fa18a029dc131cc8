use std::collections::BTreeMap;

use daytona_core::wire::interpreter::RunMessage;
use daytona_core::{ErrorKind, Result, RunCodeOptions};
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use crate::fake::{Fake, Reply, Step};

const COMPLETED: &str = r#"{"type":"control","text":"completed"}"#;

/// Runs code against these steps, and gives all messages or how it failed.
async fn run(steps: fn() -> Vec<Step>) -> Result<Vec<RunMessage>> {
    let fake = Fake::serve(move |_| Reply::Socket(steps())).await;
    let run = fake.sandbox.code_interpreter().run_code("1", RunCodeOptions::default()).await?;
    let mut all = Vec::new();
    while let Some(messages) = run.next().await? {
        all.extend(messages);
    }
    Ok(all)
}

#[tokio::test]
async fn the_request_is_one_text_frame() {
    let mut fake = Fake::serve(|_| Reply::Socket(vec![Step::Hear, Step::Close(1000, "")])).await;
    let options = RunCodeOptions {
        context: Some("c1".into()),
        env: Some(BTreeMap::from([("A".to_owned(), "b".to_owned())])),
        timeout: Some(1.5),
        results: true,
    };
    let run = fake.sandbox.code_interpreter().run_code("print(1)", options).await.unwrap();
    let Message::Text(text) = fake.heard().await else { panic!("not text") };
    let request: serde_json::Value = serde_json::from_str(&text).unwrap();
    let expected = json!({"code": "print(1)", "contextId": "c1", "timeout": 2, "envs": {"A": "b"}, "results": true});
    assert_eq!(request, expected);
    assert!(run.next().await.unwrap().is_none());
    assert_eq!(fake.lines(), ["GET /interpreter/execute"]);

    let run = fake.sandbox.code_interpreter().run_code("1", RunCodeOptions::default()).await.unwrap();
    let Message::Text(text) = fake.heard().await else { panic!("not text") };
    assert_eq!(text.as_str(), r#"{"code":"1"}"#);
    assert!(run.next().await.unwrap().is_none());
}

#[tokio::test]
async fn messages_in_order_without_control_and_unknown_ones() {
    let all = run(|| {
        vec![
            Step::Text(r#"{"type":"stdout","text":"out"}"#),
            Step::Text(r#"{"type":"of the future","x":1}"#),
            Step::Bytes(br#"{"type":"stderr","text":"err"}"#.to_vec()),
            Step::Text(r#"{"type":"error","name":"E"}"#),
            Step::Text(r#"{"type":"result","data":{"text/plain":"1"},"isMain":true}"#),
            Step::Text(COMPLETED),
            Step::Close(1001, "going away"),
        ]
    })
    .await
    .unwrap();
    let all = serde_json::to_value(all).unwrap();
    let expected = json!([
        {"type": "stdout", "text": "out"},
        {"type": "stderr", "text": "err"},
        {"type": "error", "name": "E", "value": "", "traceback": ""},
        {"type": "result", "data": {"text/plain": "1"}, "isMain": true},
    ]);
    assert_eq!(all, expected);
}

type Failing = (fn() -> Vec<Step>, ErrorKind, &'static str);

#[tokio::test]
async fn ways_to_fail() {
    let cases: [Failing; 7] = [
        (|| vec![Step::Close(4008, "")], ErrorKind::ProcessExecutionTimeout, "Execution timed out"),
        (
            || vec![Step::Text(r#"{"type":"control","text":"interrupted"}"#), Step::Close(4008, "")],
            ErrorKind::ProcessExecutionTimeout,
            "Execution timed out",
        ),
        (
            || vec![Step::Close(4008, "killed; the state of the default context is lost")],
            ErrorKind::ProcessExecutionTimeout,
            "configured `timeout`: killed; the state of the default context is lost. Provide a larger value",
        ),
        (|| vec![Step::Close(1008, "no such context")], ErrorKind::Connection, "no such context (close code 1008)"),
        (|| vec![Step::Close(1001, "")], ErrorKind::Connection, "the server closed the connection (close code 1001)"),
        (|| vec![Step::Hear], ErrorKind::Connection, "ended before everything was said"),
        (|| vec![Step::Text("<html>"), Step::HearAll], ErrorKind::Other, "cannot be read"),
    ];
    for (steps, kind, message) in cases {
        let error = run(steps).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.message().contains(message), "{error}");
        assert!(error.to_string().starts_with("Failed to run code: "), "{error}");
        assert!(error.sandbox_id().is_some(), "{error:?}");
    }
    // Cut after the code has ended.
    assert!(run(|| vec![Step::Text(COMPLETED)]).await.unwrap().is_empty());
}

#[tokio::test]
async fn interrupting_and_dropping() {
    let interrupted = r#"{"type":"control","text":"interrupted"}"#;
    let mut fake = Fake::serve(move |_| {
        Reply::Socket(vec![Step::Hear, Step::Hear, Step::Text(interrupted), Step::Close(1000, "")])
    })
    .await;
    let run = fake.sandbox.code_interpreter().run_code("1", RunCodeOptions::default()).await.unwrap();
    run.interrupt().await.unwrap();
    assert!(run.next().await.unwrap().is_none());
    assert!(run.interrupted());
    run.interrupt().await.unwrap();
    fake.heard().await;
    assert_eq!(fake.heard().await, Message::text(r#"{"type":"interrupt"}"#));

    let mut fake = Fake::serve(move |_| Reply::Socket(vec![Step::HearAll])).await;
    let run = fake.sandbox.code_interpreter().run_code("1", RunCodeOptions::default()).await.unwrap();
    fake.heard().await;
    drop(run);
    assert_eq!(fake.heard().await, Message::text(r#"{"type":"interrupt"}"#));
    assert!(fake.heard().await.is_close());
}

#[tokio::test]
async fn a_server_that_forgets_the_limit_is_not_waited_for() {
    let mut fake = Fake::serve(move |_| Reply::Socket(vec![Step::HearAll])).await;
    let options = RunCodeOptions { timeout: Some(1.0), ..RunCodeOptions::default() };
    let run = fake.sandbox.code_interpreter().run_code("1", options).await.unwrap();
    fake.heard().await;
    let error = run.next().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ProcessExecutionTimeout);
    assert!(error.message().contains("did not say whether"), "{error}");
    assert!(error.sandbox_id().is_some(), "{error:?}");
    assert_eq!(fake.heard().await, Message::text(r#"{"type":"interrupt"}"#));
}

#[tokio::test]
async fn contexts() {
    let context = r#"{"id":"c1","cwd":"/tmp","createdAt":"","active":true,"language":"python"}"#;
    let fake = Fake::serve(move |request| match request.line.as_str() {
        "POST /interpreter/context" => Reply::Http("200 OK", context.into()),
        "GET /interpreter/context" => Reply::Http("200 OK", format!(r#"{{"contexts":[{context}]}}"#)),
        "DELETE /interpreter/context/c1" => Reply::Http("200 OK", "{}".into()),
        _ => Reply::error("404 Not Found", ""),
    })
    .await;
    let interpreter = fake.sandbox.code_interpreter();
    assert_eq!(interpreter.create_context(Some("/tmp"), None).await.unwrap().id, "c1");
    assert_eq!(fake.requests()[0].body, r#"{"cwd":"/tmp"}"#);
    assert_eq!(interpreter.list_contexts(None).await.unwrap()[0].cwd, "/tmp");
    interpreter.delete_context("c1", None).await.unwrap();
    assert_eq!(interpreter.delete_context("c2", None).await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn bad_input_is_refused_before_anything_is_sent() {
    let fake = Fake::serve(|_| Reply::error("500 Internal Server Error", "")).await;
    let interpreter = fake.sandbox.code_interpreter();
    let base = RunCodeOptions::default;
    for (code, options) in [
        ("", base()),
        ("1", RunCodeOptions { context: Some(" ".into()), ..base() }),
        ("1", RunCodeOptions { env: Some(BTreeMap::from([("A-B".to_owned(), String::new())])), ..base() }),
        ("1", RunCodeOptions { timeout: Some(-1.0), ..base() }),
    ] {
        assert_eq!(interpreter.run_code(code, options).await.err().unwrap().kind(), ErrorKind::InvalidArgument);
    }
    for id in ["", "..", "\0"] {
        assert_eq!(interpreter.delete_context(id, None).await.unwrap_err().kind(), ErrorKind::InvalidArgument);
    }
    assert!(fake.lines().is_empty());
}
