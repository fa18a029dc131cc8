//! Waiting for a state, and what ends it otherwise.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use daytona_core::wire::sandbox::SandboxState;
use daytona_core::{Error, ErrorKind, Resources, Result, Sandbox};
use serde_json::{Value, json};

use crate::fake::{Events, Fake};

/// Starts a call and lets it wait.
async fn waiting<F: Future<Output = Result<()>> + Send + 'static>(
    call: impl FnOnce(Sandbox) -> F,
) -> (Arc<Fake>, Sandbox, tokio::task::JoinHandle<Result<()>>) {
    let fake = Fake::start(Events::None).await;
    let sandbox = fake.client().get("s1", None).await.unwrap();
    let before = fake.looks.load(Ordering::SeqCst);
    let task = tokio::spawn(call(sandbox.clone()));
    while fake.looks() == before {
        tokio::task::yield_now().await;
    }
    (fake, sandbox, task)
}

async fn ended_with(state: &'static str, more: Value) -> Error {
    let (fake, _, call) = waiting(|sandbox| async move { sandbox.start(None).await }).await;
    fake.more.send_replace(more);
    fake.set_state(state);
    call.await.unwrap().expect_err("it never starts")
}

#[tokio::test]
async fn a_wait_for_capacity_that_was_too_long_is_told() {
    let error = ended_with("destroyed", json!({ "queueTimedOutAt": "2026-01-01T00:00:00Z" })).await;
    assert_eq!(error.kind(), ErrorKind::QueueTimeout, "{error}");
    assert!(error.kind().is(ErrorKind::Timeout) && error.to_string().contains("queue_timeout"), "{error}");
    let error = ended_with("destroyed", json!({ "spotEvictedAt": "2026-01-01T00:00:00Z" })).await;
    assert_eq!(error.kind(), ErrorKind::SpotEvicted, "{error}");
    let error = ended_with("error", json!({})).await;
    assert!(error.kind() == ErrorKind::Other && error.message().contains("because"), "{error}");
}

#[tokio::test]
async fn a_change_is_over_when_its_state_is() {
    let one = Resources { cpu: Some(1), ..Resources::default() };
    for (number, after) in ["paused", "started", "started"].into_iter().enumerate() {
        let one = one.clone();
        let (fake, sandbox, call) = waiting(|sandbox| async move {
            match number {
                0 => sandbox.pause(None).await,
                1 => sandbox.resize(&one, None).await,
                _ => sandbox.create_snapshot("name", None).await,
            }
        })
        .await;
        assert!(!call.is_finished());
        fake.set_state(after);
        call.await.unwrap().unwrap();
        let expected = if number == 0 { SandboxState::Paused } else { SandboxState::Started };
        assert_eq!(sandbox.data().state, Some(expected));
    }
    let (fake, _, call) = waiting(|sandbox| async move { sandbox.pause(None).await }).await;
    fake.set_state("error");
    let error = call.await.unwrap().expect_err("it failed");
    assert!(error.message().contains("because"), "{error}");
}
