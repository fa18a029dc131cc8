//! Contexts on their way to the object storage.

use std::io::Read;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use axum::http::StatusCode;
use daytona_core::wire::snapshot::Snapshot;
use daytona_core::{CreateSnapshotOptions, CreateSnapshotParams, ErrorKind, Image, Result};

use crate::fake::{Fake, copies};

async fn create(fake: &Fake, image: Image, options: &CreateSnapshotOptions) -> Result<Snapshot> {
    let params =
        CreateSnapshotParams { name: "mine".into(), image: Some(image.into()), ..CreateSnapshotParams::default() };
    fake.client().snapshot().create(params, options).await
}

fn folder(sizes: &[usize]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (number, size) in sizes.iter().enumerate() {
        let contents: Vec<u8> = (0..=250).cycle().take(*size).collect();
        std::fs::write(folder.path().join(format!("f{number}")), contents).unwrap();
    }
    folder
}

#[tokio::test]
async fn a_small_context_is_one_request_and_none_the_second_time() {
    let fake = Fake::start(&["active"]).await;
    let folder = folder(&[10, 20]);
    let made = create(&fake, copies(folder.path()), &CreateSnapshotOptions::default()).await.unwrap();
    assert_eq!(made.name, "mine");
    assert_eq!(fake.seen().requests, ["HEAD", "PUT"]);
    let hash = fake.seen().created[0]["buildInfo"]["contextHashes"][0].as_str().unwrap().to_owned();
    let archive = fake.seen().objects[&format!("org/{hash}/context.tar")].clone();
    let mut names = Vec::new();
    for entry in tar::Archive::new(&archive[..]).entries().unwrap() {
        let mut entry = entry.unwrap();
        let mut contents = Vec::new();
        entry.read_to_end(&mut contents).unwrap();
        names.push((entry.path().unwrap().file_name().unwrap().to_str().unwrap().to_owned(), contents.len()));
    }
    assert_eq!(names[1..], [("f0".to_owned(), 10), ("f1".to_owned(), 20)]);

    create(&fake, copies(folder.path()), &CreateSnapshotOptions::default()).await.unwrap();
    assert_eq!(fake.seen().requests[2..], ["HEAD"]);
    assert_eq!(fake.seen().created[1]["buildInfo"]["contextHashes"][0], hash);
}

#[tokio::test]
async fn a_large_context_goes_in_parts_and_tells_its_progress() {
    let fake = Fake::start(&["active"]).await;
    let folder = folder(&[12 << 20, 7 << 20]);
    let told = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&told);
    let options = CreateSnapshotOptions {
        progress: Some(Arc::new(move |sent, total| seen.lock().unwrap().push((sent, total.unwrap())))),
        ..CreateSnapshotOptions::default()
    };
    create(&fake, copies(folder.path()), &options).await.unwrap();
    let requests = fake.seen().requests.clone();
    assert_eq!(requests[..2], ["HEAD", "BEGIN"]);
    assert_eq!(requests[2..requests.len() - 1], ["PUT part"; 4]);
    assert_eq!(requests.last().unwrap(), "COMPLETE");
    let size = fake.seen().objects.values().next().unwrap().len() as u64;
    let told = told.lock().unwrap();
    assert_eq!((told.len(), *told.last().unwrap()), (4, (size, size)));
    assert!(told.is_sorted());
}

#[tokio::test]
async fn what_a_storage_does_not_tell_is_asked_for_otherwise() {
    let fake = Fake::start(&["active"]).await;
    fake.seen().refuse.insert("HEAD", StatusCode::FORBIDDEN);
    let folder = folder(&[10]);
    create(&fake, copies(folder.path()), &CreateSnapshotOptions::default()).await.unwrap();
    create(&fake, copies(folder.path()), &CreateSnapshotOptions::default()).await.unwrap();
    let kinds: Vec<_> =
        fake.seen().requests.iter().map(|request| request.split(' ').next().unwrap().to_owned()).collect();
    assert_eq!(kinds, ["HEAD", "LIST", "PUT", "HEAD", "LIST"]);
}

#[tokio::test]
async fn a_refused_upload_is_told_and_taken_back() {
    let fake = Fake::start(&["active"]).await;
    fake.seen().refuse.insert("PUT part", StatusCode::FORBIDDEN);
    let folder = folder(&[12 << 20]);
    let error = create(&fake, copies(folder.path()), &CreateSnapshotOptions::default()).await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::Forbidden, Some("AccessDenied")), "{error}");
    assert!(error.to_string().contains("not for you") && !format!("{error:?}").contains("very secret"), "{error:?}");
    while !fake.seen().requests.iter().any(|request| request == "ABORT") {
        fake.asked.notified().await;
    }
    assert!(fake.seen().created.is_empty());
}

#[tokio::test]
async fn a_cancelled_upload_is_taken_back() {
    let fake = Fake::start(&["active"]).await;
    fake.stuck.store(true, Ordering::SeqCst);
    let folder = folder(&[12 << 20]);
    let image = copies(folder.path());
    let task = tokio::spawn({
        let fake = Arc::clone(&fake);
        async move { create(&fake, image, &CreateSnapshotOptions::default()).await }
    });
    while !fake.seen().requests.iter().any(|request| request == "PUT part") {
        fake.asked.notified().await;
    }
    task.abort();
    while !fake.seen().requests.iter().any(|request| request == "ABORT") {
        fake.asked.notified().await;
    }
    assert!(task.await.unwrap_err().is_cancelled());
}

#[tokio::test]
async fn the_time_of_the_whole_bounds_an_upload() {
    let fake = Fake::start(&["active"]).await;
    fake.stuck.store(true, Ordering::SeqCst);
    let folder = folder(&[60 << 20]);
    let options = CreateSnapshotOptions { timeout: Some(3.0), ..CreateSnapshotOptions::default() };
    let error = create(&fake, copies(folder.path()), &options).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    assert_eq!(fake.seen().under_way.1, 4, "of a storage that stalls not more is asked");
}

#[tokio::test]
async fn a_storage_that_is_busy_is_asked_again() {
    let fake = Fake::start(&["active"]).await;
    fake.seen().busy = vec!["HEAD", "PUT part"];
    let folder = folder(&[12 << 20]);
    create(&fake, copies(folder.path()), &CreateSnapshotOptions::default()).await.unwrap();
    let requests = fake.seen().requests.clone();
    assert_eq!(requests.iter().filter(|request| *request == "PUT part").count(), 4, "{requests:?}");
    assert_eq!((&requests[..2], fake.seen().objects.len()), (&["HEAD".to_owned(), "HEAD".to_owned()][..], 1));
}

#[tokio::test]
async fn a_storage_that_is_not_there_is_named() {
    let fake = Fake::start(&["active"]).await;
    fake.seen().storage = Some("http://127.0.0.1:1/storage".to_owned());
    let folder = folder(&[10]);
    let error = create(&fake, copies(folder.path()), &CreateSnapshotOptions::default()).await.unwrap_err();
    let text = error.to_string();
    assert_eq!(error.kind(), ErrorKind::Connection, "{text}");
    assert!(text.contains("127.0.0.1:1") && text.contains("object storage") && !text.contains("Signature"), "{text}");
    assert!(fake.seen().created.is_empty());
}

#[tokio::test]
async fn nothing_is_sent_for_a_file_that_is_not_there() {
    let fake = Fake::start(&["active"]).await;
    let folder = folder(&[]);
    let image = copies(&folder.path().join("none"));
    let error = create(&fake, image, &CreateSnapshotOptions::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    let nameless = CreateSnapshotParams { image: Some("x".into()), ..CreateSnapshotParams::default() };
    let error = fake.client().snapshot().create(nameless, &CreateSnapshotOptions::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
    assert!(fake.seen().requests.is_empty() && fake.seen().created.is_empty());
}
