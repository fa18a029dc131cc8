//! `spin`, `exec`, `sync`, `delete` with a repository on a loopback port.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::run::{Ran, command, finish};
use crate::support::Server;

/// A server of sandboxes, one of repositories, and a repository in it.
struct Setting {
    server: Server,
    _git: Child,
    url: String,
    /// A clone on this machine, of somebody else.
    other: PathBuf,
    _dir: tempfile::TempDir,
}

async fn git(folder: &Path, words: &[&str]) -> String {
    let mut git = Command::new("git");
    git.args(["-c", "user.name=Other", "-c", "user.email=other@example.com", "-c", "safe.directory=*"]).args(words);
    git.current_dir(folder).stdout(Stdio::piped()).stderr(Stdio::piped());
    finish(git).await.expect(0).stdout
}

impl Setting {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        let server = Server::open(&data, &["--allow-host-loopback"]).await;
        let (root, other) = (dir.path().join("repos"), dir.path().join("other"));
        std::fs::create_dir_all(root.join("team")).unwrap();
        git(dir.path(), &["init", "-q", "--bare", "-b", "main", "repos/team/tool.git"]).await;
        git(dir.path(), &["clone", "-q", "repos/team/tool.git", "other"]).await;
        std::fs::write(other.join("file.txt"), "one\n").unwrap();
        git(&other, &["checkout", "-q", "-B", "main"]).await;
        git(&other, &["add", "."]).await;
        git(&other, &["commit", "-qm", "first"]).await;
        git(&other, &["push", "-q", "origin", "main"]).await;
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cli/git_server.py");
        let mut child = Command::new("python3")
            .args([script, root.to_str().unwrap()])
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut port = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut port).await.unwrap();
        // Where sandboxes have a network of their own, this machine has a name in it.
        let probe = server.create(json!({})).await;
        let found = server.try_exec(&probe, "getent hosts host.daytona.internal").await.expect(200);
        let host = if found["exitCode"] == 0 { "host.daytona.internal" } else { "127.0.0.1" };
        let url = format!("http://{host}:{}/team/tool.git", port.trim());
        Self { server, _git: child, url, other, _dir: dir }
    }

    async fn run(&self, words: &[&str]) -> Ran {
        let mut command = command(&self.server, words);
        command.env("GIT_USERNAME", "user").env("GIT_PASSWORD", "s3cret-word");
        finish(command).await
    }

    async fn remote_file(&self, branch: &str) -> String {
        git(&self.other, &["fetch", "-q", "origin"]).await;
        git(&self.other, &["show", &format!("origin/{branch}:file.txt")]).await
    }
}

#[tokio::test]
async fn a_repository_is_worked_on_and_synced() {
    let setting = Setting::new().await;
    let spun =
        setting.run(&["spin", "--repo", &setting.url, "--name", "work", "--provider", "daytona", "--json"]).await;
    let spun = spun.expect(0).json();
    assert_eq!((&spun["path"], &spun["branch"], &spun["name"]), (&json!("tool"), &json!("main"), &json!("work")));
    let id = spun["id"].as_str().unwrap();

    setting.run(&["exec", "--id", id, "--cmd", "echo two >> tool/file.txt"]).await.expect(0);
    let synced = setting.run(&["sync", "--id", id, "--message", "mine", "--json"]).await.expect(0).json();
    assert_eq!((&synced["committed"], &synced["branch"]), (&json!(true), &json!("main")));
    assert_eq!(setting.remote_file("main").await, "one\ntwo\n");
    let again = setting.run(&["sync", "--id", id, "--json"]).await.expect(0).json();
    assert_eq!((&again["committed"], &again["head"]), (&json!(false), &synced["head"]));

    // Somebody else pushes another file meanwhile.
    git(&setting.other, &["pull", "-q", "--rebase"]).await;
    std::fs::write(setting.other.join("more.txt"), "more\n").unwrap();
    git(&setting.other, &["add", "."]).await;
    git(&setting.other, &["commit", "-qm", "theirs"]).await;
    git(&setting.other, &["push", "-q"]).await;
    setting.run(&["exec", "--id", id, "--cmd", "echo three >> tool/file.txt"]).await.expect(0);
    let synced = setting.run(&["sync", "--id", id]).await.expect(0).stdout;
    assert!(synced.contains("committed and pushed main at"), "{synced}");
    git(&setting.other, &["pull", "-q", "--rebase"]).await;
    assert_eq!(git(&setting.other, &["log", "--format=%s", "-2"]).await, "Changes made in the sandbox\ntheirs\n");

    setting.run(&["exec", "--id", id, "--cmd", "echo four >> tool/file.txt"]).await.expect(0);
    setting.run(&["sync", "--id", id, "--branch", "topic"]).await.expect(0);
    assert_eq!(setting.remote_file("topic").await, "one\ntwo\nthree\nfour\n");
    assert_eq!(setting.remote_file("main").await, "one\ntwo\nthree\n");

    setting.run(&["delete", "--id", id]).await.expect(0);
    setting.run(&["info", id]).await.expect(5);
}

#[tokio::test]
async fn a_conflict_comes_with_the_way_out() {
    let setting = Setting::new().await;
    let spun = setting.run(&["spin", "--repo", &setting.url, "--json"]).await.expect(0).json();
    let id = spun["id"].as_str().unwrap();
    std::fs::write(setting.other.join("file.txt"), "theirs\n").unwrap();
    git(&setting.other, &["commit", "-qam", "theirs"]).await;
    git(&setting.other, &["push", "-q"]).await;
    setting.run(&["exec", "--id", id, "--cmd", "echo mine > tool/file.txt"]).await.expect(0);
    for _ in 0..2 {
        let ran = setting.run(&["sync", "--id", id]).await.expect(6);
        for words in ["conflict in file.txt", "git add -A", "git rebase --abort", "daytona-native sync --id"] {
            assert!(ran.stderr.contains(words), "{ran:?}");
        }
    }
    setting.run(&["exec", "--id", id, "--cwd", "tool", "--cmd", "echo both > file.txt; git add -A"]).await.expect(0);
    setting.run(&["sync", "--id", id]).await.expect(0);
    assert_eq!(setting.remote_file("main").await, "both\n");
}

#[tokio::test]
async fn a_clone_that_fails_leaves_nothing() {
    let setting = Setting::new().await;
    let before = setting.run(&["list", "--quiet"]).await.expect(0).stdout;
    let wrong = finish({
        let mut command = command(&setting.server, &["spin", "--repo", &setting.url, "--json"]);
        command.env("GIT_PASSWORD", "wrong");
        command
    });
    let error = wrong.await.expect(4).error();
    assert_eq!(error["type"], "DaytonaGitAuthFailedError");
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("GIT_PASSWORD") && !message.contains("API key"), "{message}");
    setting.run(&["spin", "--repo", &setting.url, "--branch", "none"]).await.expect(5);
    let with_password = setting.url.replace("http://", "http://user:s3cret-word@");
    let ran = setting.run(&["spin", "--repo", &with_password]).await.expect(2);
    assert!(ran.stderr.contains("GIT_PASSWORD") && !ran.stderr.contains("s3cret"), "{ran:?}");
    assert_eq!(setting.run(&["list", "--quiet"]).await.expect(0).stdout, before);
}
