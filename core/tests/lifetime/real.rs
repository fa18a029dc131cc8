//! The same against the local server.

use std::time::{Duration, Instant};

use daytona_core::{Config, CreateOptions, CreateParams, Daytona, Error, ErrorKind, ExecOptions, Sandbox};

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
