//! Calls end with their sandbox, and states are waited for, against servers with and without events.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::http::StatusCode;
use daytona_core::wire::sandbox::SandboxState;
use daytona_core::{Config, Error, ErrorKind, ExecOptions, Sandbox};

use crate::fake::{Events, Fake, until};

const SOON: Duration = Duration::from_secs(2);

/// A command that runs on for ever.
fn run(sandbox: &Sandbox) -> tokio::task::JoinHandle<Error> {
    let process = sandbox.process();
    let options = ExecOptions { timeout: Some(0.0), ..ExecOptions::default() };
    tokio::spawn(async move { process.exec("sleep 1d", options).await.expect_err("it never ends") })
}

async fn soon(call: tokio::task::JoinHandle<Error>, since: Instant) -> Error {
    let error = call.await.unwrap();
    assert!(since.elapsed() < SOON, "it took {:?}: {error}", since.elapsed());
    error
}

async fn sandbox(fake: &Fake) -> Sandbox {
    fake.client().get("s1", None).await.unwrap()
}

#[tokio::test]
async fn a_call_ends_with_its_sandbox_on_a_server_without_events() {
    for (state, word) in [("stopped", "stopped"), ("", "deleted"), ("error", "failed"), ("stopping", "stopped")] {
        let fake = Fake::start(Events::None).await;
        let sandbox = sandbox(&fake).await;
        let call = run(&sandbox);
        // One that is young, and one that is being watched.
        until(&fake.running, |count| *count == 1).await;
        if state != "stopping" {
            while fake.looks() < 3 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        let since = Instant::now();
        fake.set_state(state);
        let error = soon(call, since).await;
        assert_eq!(error.kind(), ErrorKind::SandboxDied, "{error}");
        assert!(error.message().contains(word) && error.message().contains("s1"), "{error}");
        assert_eq!(error.message().contains("error reason: because"), !state.is_empty(), "{error}");
        assert_eq!(error.operation().unwrap().name, "process.exec");
        until(&fake.running, |count| *count == 0).await;
    }
}

#[tokio::test]
async fn calls_of_one_sandbox_share_their_watcher_and_it_goes_with_the_last() {
    let fake = Fake::start(Events::None).await;
    let sandbox = sandbox(&fake).await;
    let calls: Vec<_> = (0..50).map(|_| run(&sandbox)).collect();
    until(&fake.running, |count| *count == 50).await;
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert!((2..=4).contains(&(fake.looks() - 1)), "{} probes of 50 calls", fake.looks() - 1);
    fake.finish.send_replace(true);
    for call in calls {
        assert!(call.await.is_err_and(|panic| panic.is_panic()), "they succeeded");
    }
    let looks = fake.looks();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(fake.looks(), looks, "nobody is left to ask for");
}

#[tokio::test]
async fn an_event_ends_a_call_after_it_was_confirmed() {
    let fake = Fake::start(Events::Good).await;
    let sandbox = sandbox(&fake).await;
    let call = run(&sandbox);
    until(&fake.greetings, |all| all.iter().any(|text| text == "3")).await;
    let looks = fake.looks();
    let since = Instant::now();
    fake.set_state("stopped");
    assert_eq!(soon(call, since).await.kind(), ErrorKind::SandboxDied);
    assert!(since.elapsed() < Duration::from_millis(500), "no probe was due: {:?}", since.elapsed());
    assert_eq!(fake.looks(), looks + 1);
    assert_eq!(sandbox.data().state, Some(SandboxState::Stopped));
    let greetings = fake.greetings.borrow().clone();
    assert!(greetings[0].contains(r#"("EIO", "4"), ("transport", "websocket"), ("source", "daytona-native-rust")"#));
    assert_eq!(greetings[1], r#"40{"token":"key"}"#);
    // The last subscriber has gone, and soon the connection has too.
    until(&fake.listeners, |count| *count == 0).await;
}

#[tokio::test]
async fn a_dropped_client_leaves_no_connection() {
    let fake = Fake::start(Events::Good).await;
    let sandbox = sandbox(&fake).await;
    let call = run(&sandbox);
    until(&fake.listeners, |count| *count == 1).await;
    drop(sandbox);
    let since = Instant::now();
    call.abort();
    until(&fake.listeners, |count| *count == 0).await;
    assert!(since.elapsed() < Duration::from_secs(1), "{:?}", since.elapsed());
}

#[tokio::test]
async fn a_server_of_events_that_never_answers_does_no_harm() {
    let fake = Fake::start(Events::Silent).await;
    let sandbox = sandbox(&fake).await;
    let call = run(&sandbox);
    until(&fake.listeners, |count| *count == 1).await;
    let since = Instant::now();
    fake.set_state("stopped");
    assert_eq!(soon(call, since).await.kind(), ErrorKind::SandboxDied);
}

#[tokio::test]
async fn stop_and_delete_on_any_handle_release_a_call() {
    for is_stop in [true, false] {
        let fake = Fake::start(Events::None).await;
        let client = fake.client();
        let (one, other) = (client.get("s1", None).await.unwrap(), client.get("s1", None).await.unwrap());
        let call = run(&one);
        while fake.looks() < 3 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let since = Instant::now();
        if is_stop {
            other.stop(None, false).await.unwrap();
        } else {
            other.delete(None, false).await.unwrap();
        }
        assert_eq!(call.await.unwrap().kind(), ErrorKind::SandboxDied);
        assert!(since.elapsed() < Duration::from_millis(500), "no probe was due: {:?}", since.elapsed());
    }
}

#[tokio::test]
async fn an_api_that_fails_does_not_end_a_call() {
    let fake = Fake::start(Events::None).await;
    let sandbox = sandbox(&fake).await;
    let process = sandbox.process();
    let call = tokio::spawn(async move { process.exec("make", ExecOptions::default()).await });
    until(&fake.running, |count| *count == 1).await;
    fake.refusal.send_replace(Some(StatusCode::INTERNAL_SERVER_ERROR));
    while fake.looks() < 3 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    fake.refusal.send_replace(None);
    let looks = fake.looks();
    while fake.looks() == looks {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(!call.is_finished());
    fake.finish.send_replace(true);
    assert_eq!(call.await.unwrap().unwrap().result, "done");
}

/// A port that answers one request with silence, and after that nothing: its queue of connections is full.
async fn port_of_one_call() -> (String, tokio::net::TcpListener, tokio::net::TcpStream) {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = socket.local_addr().unwrap();
    let listener = socket.listen(1).unwrap();
    let first = tokio::net::TcpStream::connect(address).await.unwrap();
    (format!("http://{address}/toolbox"), listener, first)
}

#[tokio::test]
async fn a_network_that_falls_silent_ends_a_call() {
    for events in [Events::None, Events::Good] {
        let fake = Fake::start(events).await;
        let (toolbox, listener, first) = port_of_one_call().await;
        fake.toolbox.send_replace(Some(toolbox.clone()));
        let sandbox = sandbox(&fake).await;
        let (_first, _) = (first, listener.accept().await.unwrap());
        let call = run(&sandbox);
        let (_call, _) = listener.accept().await.unwrap();
        while fake.looks() < 2 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        if events == Events::Good {
            until(&fake.greetings, |all| all.iter().any(|text| text == "3")).await;
        }
        let address = toolbox.trim_start_matches("http://").trim_end_matches("/toolbox").to_owned();
        let mut waiting = Vec::new();
        let connect = || tokio::time::timeout(Duration::from_millis(50), tokio::net::TcpStream::connect(&address));
        while let Ok(connected) = connect().await {
            waiting.push(connected.unwrap());
        }
        let since = Instant::now();
        fake.silent.send_replace(true);
        let error = soon(call, since).await;
        assert_eq!(error.kind(), ErrorKind::Connection, "{error}");
        assert!(error.message().contains("no network"), "{error}");
        assert_eq!(error.operation().unwrap().name, "process.exec");
    }
}

#[tokio::test]
async fn an_api_that_falls_silent_does_not_end_a_call() {
    let fake = Fake::start(Events::Good).await;
    let sandbox = sandbox(&fake).await;
    let process = sandbox.process();
    let call = tokio::spawn(async move { process.exec("make", ExecOptions::default()).await });
    until(&fake.greetings, |all| all.iter().any(|text| text == "3")).await;
    let looks = fake.looks();
    fake.silent.send_replace(true);
    // The connection of events is given up, and the API asked without an answer.
    while fake.looks() == looks {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    tokio::time::sleep(SOON).await;
    assert!(!call.is_finished());
    fake.finish.send_replace(true);
    assert_eq!(call.await.unwrap().unwrap().result, "done");
}

#[tokio::test]
async fn a_call_that_breaks_says_whether_the_sandbox_died() {
    for (state, kind) in [("stopped", ErrorKind::SandboxDied), ("started", ErrorKind::BadGateway)] {
        let fake = Fake::start(Events::None).await;
        let sandbox = sandbox(&fake).await;
        let call = run(&sandbox);
        until(&fake.running, |count| *count == 1).await;
        fake.set_state(state);
        fake.cut.send_replace(true);
        assert_eq!(call.await.unwrap().kind(), kind);
    }
}

#[tokio::test]
async fn a_state_is_waited_for_with_events_or_without() {
    for (events, polling, pause) in [
        (Events::Good, false, 300),
        (Events::None, false, 1200),
        (Events::Good, true, 1200),
        (Events::Silent, false, 1200),
    ] {
        let fake = Fake::start(events).await;
        let config = Config { use_deprecated_polling: Some(polling), ..Config::default() };
        let sandbox = Arc::new(fake.client_with(config).get("s1", None).await.unwrap());
        fake.set_state("starting");
        sandbox.refresh_data(None).await.unwrap();
        let waiter = Arc::clone(&sandbox);
        let call = tokio::spawn(async move { waiter.wait_until_started(Some(20.0)).await });
        if events == Events::Good && !polling {
            until(&fake.greetings, |all| all.iter().any(|text| text == "3")).await;
        } else {
            while fake.looks() < 6 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        assert!(!call.is_finished());
        let since = Instant::now();
        fake.set_state("started");
        call.await.unwrap().unwrap();
        assert!(since.elapsed() < Duration::from_millis(pause), "{:?}", since.elapsed());
        assert_eq!(fake.greetings.borrow().is_empty(), polling || events == Events::None);
        assert_eq!(sandbox.data().state, Some(SandboxState::Started));
    }
}

#[tokio::test]
async fn what_one_handle_finds_out_reaches_those_that_wait() {
    let fake = Fake::start(Events::Good).await;
    let client = fake.client();
    let sandbox = client.get("s1", None).await.unwrap();
    let since = Instant::now();
    let call = tokio::spawn(async move { sandbox.wait_until_stopped(Some(20.0)).await });
    until(&fake.greetings, |all| all.iter().any(|text| text == "3")).await;
    client.get("s1", None).await.unwrap().stop(None, false).await.unwrap();
    call.await.unwrap().unwrap();
    assert!(since.elapsed() < SOON);
}

#[tokio::test]
async fn a_state_from_which_the_wanted_one_will_not_come_ends_the_wait() {
    let fake = Fake::start(Events::None).await;
    let sandbox = sandbox(&fake).await;
    fake.set_state("starting");
    sandbox.refresh_data(None).await.unwrap();
    let call = tokio::spawn(async move { sandbox.wait_until_started(Some(20.0)).await });
    fake.set_state("error");
    let error = call.await.unwrap().unwrap_err();
    assert!(error.message().contains("entered error state: error, error reason: because"), "{error}");
}
