//! The same image, built by every client of this project and by the official ones.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use tokio::process::Command;

use crate::registry::{root, with_registry};

/// Of a program whose needs are not there.
const SKIPPED: i32 = 77;
/// The first build fetches a package of Python from the internet.
const LIMIT: Duration = Duration::from_secs(240);

/// The clients that are installed: names, programs and first arguments.
fn clients(url: &str) -> Vec<(&'static str, Command)> {
    let root = root();
    let official = root.join("target/official");
    let script = |name: &str| root.join("tests/images").join(name);
    let found = |path: PathBuf| Some(path).filter(|path| path.exists());
    let python = |program: &Path, module: &str| {
        let mut command = Command::new(program);
        command.arg(script("client.py")).arg(module);
        command.env("PYTHONPATH", root.join("bindings-python/python"));
        command
    };
    // It uploads over TLS only.
    let official_python = |program: PathBuf| {
        let mut command = Command::new(&program);
        command.arg(script("behind_tls.py")).arg(url).arg(program).arg(script("client.py")).arg("daytona");
        command
    };
    let node = |package: &Path| {
        let mut command = Command::new("node");
        command.arg(script("client.mjs")).arg(package);
        command
    };
    let own = found(root.join(".venv/bin/python")).unwrap_or_else(|| "python3".into());
    let native = |suffix: &str| {
        let folder = if suffix == "so" { "bindings-python/python/daytona_native" } else { "bindings-node" };
        let files = std::fs::read_dir(root.join(folder)).unwrap();
        files.flatten().any(|file| file.path().extension().is_some_and(|own| own == suffix))
    };
    let all = [
        ("Python", native("so").then(|| python(&own, "daytona_native"))),
        ("Node", native("node").then(|| node(&root.join("bindings-node")))),
        ("official Python", found(official.join("venv/bin/python")).map(official_python)),
        ("official Node", found(official.join("node_modules/@daytona/sdk")).map(|package| node(&package))),
    ];
    let mut clients = Vec::new();
    for (name, command) in all {
        match command {
            Some(command) => clients.push((name, command)),
            None => eprintln!("skipped: the {name} client is not there: run `make build` and `make test`"),
        }
    }
    clients
}

async fn finish(mut command: Command, folder: &Path, name: &str) -> Output {
    command.arg(folder).arg(name);
    command.env_remove("DAYTONA_API_URL").env_remove("DAYTONA_API_KEY").stdin(Stdio::null()).kill_on_drop(true);
    tokio::time::timeout(LIMIT, command.output()).await.expect("it ends").unwrap()
}

#[tokio::test]
async fn every_client_builds_the_same_image() {
    let Some((registry, dir, server)) = with_registry().await else { return };
    let folder = dir.path().join("app");
    std::fs::create_dir_all(folder.join("sub")).unwrap();
    std::fs::write(folder.join("main.txt"), "main\n").unwrap();
    std::fs::write(folder.join("sub/other.txt"), "other\n").unwrap();
    std::fs::write(folder.join("run.sh"), "#!/bin/sh\n").unwrap();
    std::fs::set_permissions(folder.join("run.sh"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let url = server.ready["url"].as_str().unwrap();
    for (number, (client, mut command)) in clients(url).into_iter().enumerate() {
        command.args([url, server.key(), &registry.image("debian:12")]);
        let output = finish(command, &folder, &format!("made-{number}")).await;
        let said = String::from_utf8_lossy(&output.stderr);
        if output.status.code() == Some(SKIPPED) {
            eprintln!("skipped: the {client} client: {said}");
            continue;
        }
        assert!(output.status.success(), "{client}: {said}");
        let answer: Value =
            serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{client}: {error}: {said}"));
        let text = |name: &str| answer[name].as_str().unwrap_or_else(|| panic!("{client}: {name}: {answer}"));
        assert_eq!(text("plain"), "12\n", "{client}");
        for name in ["built", "snapshot"] {
            assert_eq!(text(name), "/app\nbuilt\nsix two words\nmain\nother\n755\n", "{client}: {name}");
        }
        assert_eq!(text("state"), "active", "{client}");
        // Who comes first builds; whoever comes later has it from the cache, its context too.
        let count = |name: &str, line: &str| text(name).lines().filter(|have| have.starts_with(line)).count();
        let (ran, used) = (count("logs", " ---> Running in"), count("logs", " ---> Using cache"));
        assert_eq!((ran, used), if number == 0 { (3, 0) } else { (0, 5) }, "{client}: {}", text("logs"));
        // The official ones miss the log of a build that is shorter than the second between two looks.
        let told = client.starts_with("official") || text("snapshotLogs").contains("Successfully built");
        assert!(told, "{client}: {}", text("snapshotLogs"));
        assert_eq!(count("snapshotLogs", " ---> Running in"), 0, "{client}: {}", text("snapshotLogs"));
        let seconds = |name: &str| answer["seconds"][name].as_f64().unwrap();
        eprintln!(
            "{client}: a create with an image takes {:.2} times a plain one, with its snapshot {:.2} times",
            seconds("image") / seconds("host"),
            seconds("snapshot") / seconds("host"),
        );
    }
}
