//! The runtime of the local server: seen and demanded by the Rust client and the command line.

use daytona_core::{Config, CreateOptions, CreateParams, Daytona, ErrorKind, WarningKind};
use serde_json::{Value, json};

use crate::support::{Server, binary};

fn config(server: &Server, runtime: Option<&str>) -> Config {
    Config {
        api_url: Some("local".to_owned()),
        server_binary: Some(env!("CARGO_BIN_EXE_daytona-native").into()),
        local_data_dir: Some(server.dir.clone()),
        local_runtime: runtime.map(str::to_owned),
        environment: Some(std::collections::BTreeMap::new()),
        ..Config::default()
    }
}

#[tokio::test]
async fn a_client_sees_it_and_can_demand_another() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::open(dir.path(), &["--runtime", "process"]).await;
    let error = Daytona::new(&config(&server, Some("ns"))).unwrap().runtime().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.message().contains("serve --runtime ns"), "{error}");
    let error = Daytona::new(&config(&server, Some("vm"))).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");

    let demanded = Daytona::new(&config(&server, Some("process"))).unwrap();
    assert_eq!(demanded.runtime().await.unwrap().as_deref(), Some("process"));
    assert_eq!(demanded.notices(), Some(Vec::new()));

    let client = Daytona::new(&config(&server, None)).unwrap();
    assert_eq!(client.notices(), None);
    let sandbox = client.create(CreateParams::default(), &CreateOptions::default()).await.unwrap();
    let notices = client.notices().unwrap();
    assert_eq!(notices.len(), 1, "{notices:?}");
    assert_eq!(notices[0].kind, WarningKind::Isolation);
    assert!(notices[0].message.contains("isolates nothing"), "{notices:?}");
    // Once in a process.
    let other = Daytona::new(&config(&server, None)).unwrap();
    assert_eq!(other.runtime().await.unwrap().as_deref(), Some("process"));
    assert_eq!(other.notices(), Some(Vec::new()));
    sandbox.delete(None, true).await.unwrap();

    let of_url = Config {
        api_url: Some(format!("{}/api", server.origin)),
        api_key: Some(server.key().to_owned().into()),
        ..config(&server, None)
    };
    assert_eq!(Daytona::new(&of_url).unwrap().runtime().await.unwrap(), None);
    let error = Daytona::new(&Config { local_runtime: Some("ns".to_owned()), ..of_url }).err().unwrap();
    assert!(error.message().contains("for the local server only"), "{error}");
}

#[tokio::test]
async fn the_command_line_demands_it() {
    // Where it looks for the server when nothing is said.
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("daytona-native");
    std::fs::create_dir(&dir).unwrap();
    let server = Server::open(&dir, &["--runtime", "process"]).await;
    let run = |args: &'static [&'static str]| {
        let mut command = binary();
        command.args(args).env("XDG_DATA_HOME", home.path()).env_remove("DAYTONA_API_URL");
        async move { command.output().await.unwrap() }
    };
    let refused = run(&["--local", "--local-runtime", "ns", "create"]).await;
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(6), "{text}");
    assert!(text.contains("runtime process, and ns is asked for"), "{text}");
    let all = server.call("GET", "/api/sandbox", Value::Null).await.expect(200);
    assert_eq!(all["items"], json!([]));

    let made = run(&["--local", "create", "-q"]).await;
    let text = String::from_utf8_lossy(&made.stderr).into_owned();
    assert!(made.status.success() && text.contains("isolates nothing"), "{text}");
    let quiet = run(&["--local", "--local-runtime", "process", "create", "-q"]).await;
    assert_eq!((quiet.status.code(), String::from_utf8_lossy(&quiet.stderr).into_owned()), (Some(0), String::new()));
}
