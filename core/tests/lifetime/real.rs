//! The same against the local server.

use std::time::{Duration, Instant};

use bytes::Bytes;
use daytona_core::{
    Config, CreateOptions, CreateParams, Daytona, DownloadTarget, Error, ErrorKind, ExecOptions, Sandbox, Transfer,
    Upload, UploadSource,
};
use futures_util::stream::{self, StreamExt as _};

use crate::host::kill_above;
use crate::server::Server;

async fn create(server: &Server) -> (Daytona, Sandbox) {
    let config =
        Config { api_key: Some(server.api_key.clone().into()), api_url: Some(server.url.clone()), ..Config::default() };
    let client = Daytona::new(&config).unwrap();
    let sandbox = client.create(CreateParams::default(), &CreateOptions::default()).await.unwrap();
    (client, sandbox)
}

/// A command that runs until its sandbox ends, once it runs.
async fn run(sandbox: &Sandbox) -> tokio::task::JoinHandle<Error> {
    let process = sandbox.process();
    let call = tokio::spawn(async move {
        process.exec("touch begun; sleep 1d", ExecOptions::default()).await.expect_err("it never ends")
    });
    while sandbox.fs().get_file_info("begun", None).await.is_err() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    call
}

fn assert_died(error: &Error, sandbox: &Sandbox) {
    assert_eq!(error.kind(), ErrorKind::SandboxDied, "{error:?}");
    assert!(error.message().contains(sandbox.id()), "{error:?}");
}

#[tokio::test]
async fn a_stopped_or_deleted_sandbox_ends_its_calls() {
    let server = Server::start(None);
    for is_stop in [true, false] {
        let (client, sandbox) = create(&server).await;
        let call = run(&sandbox).await;
        let other = client.get(sandbox.id(), None).await.unwrap();
        let since = Instant::now();
        if is_stop {
            other.stop(None, false).await.unwrap();
        } else {
            other.delete(None, true).await.unwrap();
        }
        assert_died(&call.await.unwrap(), &sandbox);
        assert!(since.elapsed() < Duration::from_secs(2), "{:?}", since.elapsed());
    }
}

/// However a sandbox dies, the transfers under way say so. The calls that `tests/cases/died.json` has are there.
#[tokio::test]
async fn a_killed_sandbox_ends_its_transfers() {
    let server = Server::start(None);
    // The agent, the first process of the sandbox, and the launcher of the server.
    for up in 1..=3 {
        let (client, sandbox) = create(&server).await;
        let marker = format!("mark-{}-", sandbox.id());
        sandbox.process().exec("truncate -s 4G big", ExecOptions::default()).await.unwrap();
        let process = sandbox.process();
        let command = format!("touch begun; sleep 300; : {marker}");
        let exec = tokio::spawn(async move { process.exec(&command, ExecOptions::default()).await.unwrap_err() });

        let files = sandbox.fs();
        let (sent, sending) = tokio::sync::oneshot::channel();
        let mut sent = Some(sent);
        let source = stream::once(async { Ok(Bytes::from_static(b"begun")) })
            .chain(stream::poll_fn(move |_| {
                let _ = sent.take().map(|sent| sent.send(()));
                std::task::Poll::Pending
            }))
            .boxed();
        let upload = tokio::spawn(async move {
            let file = Upload { source: UploadSource::Stream(source), destination: "up".into() };
            files.upload_file(file, Transfer::default()).await.unwrap_err()
        });
        let mut stream = sandbox.fs().download_file_stream("big", Transfer::default()).await.unwrap();
        assert!(stream.next().await.unwrap().is_some());
        let directory = tempfile::tempdir().unwrap();
        let (moved, moving) = tokio::sync::oneshot::channel();
        let moved = std::sync::Mutex::new(Some(moved));
        let progress: daytona_core::Progress = std::sync::Arc::new(move |_, _| {
            let _ = moved.lock().unwrap().take().map(|moved| moved.send(()));
        });
        let files = sandbox.fs();
        let target = DownloadTarget::File(directory.path().join("big"));
        let download = tokio::spawn(async move {
            let options = Transfer { progress: Some(progress), ..Transfer::default() };
            files.download_file("big", target, options).await.unwrap_err()
        });
        sending.await.unwrap();
        moving.await.unwrap();

        kill_above(marker, up).await;
        assert_died(&exec.await.unwrap(), &sandbox);
        assert_died(&upload.await.unwrap(), &sandbox);
        assert_died(&download.await.unwrap(), &sandbox);
        let streamed = loop {
            match stream.next().await {
                Ok(piece) => assert!(piece.is_some(), "it was cut off"),
                Err(error) => break error,
            }
        };
        assert_died(&streamed, &sandbox);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "nothing half is left");
        if up > 1 {
            sandbox.refresh_data(None).await.unwrap();
            sandbox.start(None).await.unwrap();
        }
        let found = sandbox.process().exec("ls -s big", ExecOptions::default()).await.unwrap();
        assert!(found.result.contains("big"), "{}", found.result);
        drop(client);
    }
}
