//! Builds, and what is told of them.

use daytona_core::Dialect;
use daytona_core::{CreateOptions, CreateParams, CreateSnapshotOptions, CreateSnapshotParams, ErrorKind, Image, Step};

use crate::fake::{Fake, Piece};

fn image() -> Image {
    Image::of(Dialect::Python, &Step::Base { image: "debian:12".into() }).unwrap()
}

fn snapshot() -> CreateSnapshotParams {
    CreateSnapshotParams {
        name: "mine".into(),
        image: Some(image().into()),
        entrypoint: Some(vec!["sleep".into(), "1".into()]),
        ..CreateSnapshotParams::default()
    }
}

const LOGS: CreateSnapshotOptions = CreateSnapshotOptions { timeout: None, progress: None, logs: true };

#[tokio::test]
async fn states_and_whole_lines_of_the_log_are_told() {
    let fake = Fake::start(&["pending", "pending", "building"]).await;
    let log = fake.add_log();
    let creation = fake.client().snapshot().begin(snapshot(), &LOGS).await.unwrap();
    assert_eq!(
        fake.seen().created[0]["buildInfo"]["dockerfileContent"],
        "FROM debian:12\nENTRYPOINT [\"sleep\", \"1\"]\n"
    );
    let mut told = String::new();
    log.send(Piece::Text("first li")).ok().unwrap();
    log.send(Piece::Text("ne\nsecond\n")).ok().unwrap();
    while !told.contains("second") {
        told += &creation.log().next().await.unwrap().unwrap().join("|");
        told += "|";
    }
    fake.set_states(&["active"]);
    log.send(Piece::Text("last")).ok().unwrap();
    drop(log);
    while let Some(more) = creation.log().next().await.unwrap() {
        told += &more.join("|");
        told += "|";
    }
    assert_eq!(creation.finish().await.unwrap().name, "mine");
    let begin = "Creating snapshot mine (pending)|Creating snapshot mine (building)|";
    assert!(told.starts_with(begin), "{told}");
    let lines = told[begin.len()..].replace('|', "\n");
    for part in ["first line\nsecond\n", "last\n", "Created snapshot mine (active)\n"] {
        assert!(lines.contains(part), "{told}");
    }
}

#[tokio::test]
async fn a_log_that_breaks_off_goes_on_where_it_was() {
    let fake = Fake::start(&["building"]).await;
    let (first, second) = (fake.add_log(), fake.add_log());
    first.send(Piece::Text("one ")).ok().unwrap();
    let log = fake.client().snapshot().build_logs("mine").await.unwrap();
    assert_eq!(log.next().await.unwrap().unwrap(), ["one "]);
    first.send(Piece::Break).ok().unwrap();
    second.send(Piece::Text("one two")).ok().unwrap();
    assert_eq!(log.next().await.unwrap().unwrap(), ["two"]);
    // Broken again; but now the build is over.
    fake.set_states(&["active"]);
    second.send(Piece::Break).ok().unwrap();
    assert_eq!(log.next().await.unwrap(), None);
    assert_eq!(fake.seen().logs, [true, true]);
}

#[tokio::test]
async fn a_silent_log_of_a_build_that_is_over_ends() {
    let fake = Fake::start(&["building"]).await;
    let sender = fake.add_log();
    sender.send(Piece::Text("all")).ok().unwrap();
    let log = fake.client().snapshot().build_logs("mine").await.unwrap();
    assert_eq!(log.next().await.unwrap().unwrap(), ["all"]);
    fake.set_states(&["active"]);
    let begin = std::time::Instant::now();
    assert_eq!(log.next().await.unwrap(), None);
    assert!((4..8).contains(&begin.elapsed().as_secs()), "twice 2 s of silence: {:?}", begin.elapsed());
    drop(sender);
}

#[tokio::test]
async fn a_failed_build_tells_its_reason_and_the_end_of_its_log() {
    let fake = Fake::start(&["building", "build_failed"]).await;
    let made = fake.client().snapshot().create(snapshot(), &CreateSnapshotOptions::default()).await;
    let error = made.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BuildFailed);
    let text = error.to_string();
    assert!(text.contains("exit code 1") && text.ends_with("one\ntwo\nRUN false"), "{text}");

    let fake = Fake::start(&["pending_build", "build_failed"]).await;
    let params = CreateParams { image: Some(image().into()), ..CreateParams::default() };
    let error = fake.client().create(params, &CreateOptions::default()).await.err().unwrap();
    assert_eq!((error.kind(), error.sandbox_id()), (ErrorKind::BuildFailed, Some("b1")));
    let text = error.to_string();
    assert!(text.contains("build_failed") && text.contains("exit code 1") && text.contains("RUN false"), "{text}");
}

#[tokio::test]
async fn a_sandbox_that_is_built_tells_the_log() {
    let fake = Fake::start(&["pending_build", "pending_build", "building_snapshot"]).await;
    let log = fake.add_log();
    let params = CreateParams { image: Some(image().into()), ..CreateParams::default() };
    let options = CreateOptions { logs: true, ..CreateOptions::default() };
    let creation = fake.client().begin_create(params, &options).await.unwrap();
    log.send(Piece::Text("Step 1\n")).ok().unwrap();
    assert_eq!(creation.next().await.unwrap().unwrap(), ["Step 1"]);
    fake.set_states(&["started"]);
    drop(log);
    assert_eq!(creation.next().await.unwrap(), None);
    assert_eq!(creation.finish().await.unwrap().id(), "b1");
}

#[tokio::test]
async fn the_time_of_the_whole_bounds_the_wait_and_its_log() {
    let fake = Fake::start(&["building"]).await;
    let options = CreateSnapshotOptions { timeout: Some(1.0), ..CreateSnapshotOptions::default() };
    let error = fake.client().snapshot().create(snapshot(), &options).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Timeout && error.to_string().contains("get(\"mine\")"), "{error}");

    let fake = Fake::start(&["pending_build"]).await;
    let params = CreateParams { image: Some(image().into()), ..CreateParams::default() };
    let options = CreateOptions { logs: true, timeout: Some(1.0), ..CreateOptions::default() };
    let creation = fake.client().begin_create(params, &options).await.unwrap();
    let error = creation.next().await.unwrap_err();
    assert_eq!((error.kind(), error.sandbox_id()), (ErrorKind::Timeout, Some("b1")), "{error}");
}
