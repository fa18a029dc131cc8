//! A server of its own for each test, and a small client.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{HeaderMap, Request};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

/// Far more than anything here takes.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

/// The binary under test, without what the tests' own environment would tell it.
pub(crate) fn binary() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_daytona-native"));
    command
        .env_remove("DAYTONA_NATIVE_API_KEY")
        .env_remove("DAYTONA_NATIVE_LOG")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

/// A running server.
pub(crate) struct Server {
    child: Child,
    pub(crate) ready: Value,
    pub(crate) origin: String,
    pub(crate) dir: PathBuf,
    client: Client<HttpConnector, Full<Bytes>>,
    temporary: Option<TempDir>,
}

/// An answer, read whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) bytes: Bytes,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes)
            .unwrap_or_else(|error| panic!("{error}: {} {:?}", self.status, String::from_utf8_lossy(&self.bytes)))
    }

    /// Asserts the status and gives the body.
    #[track_caller]
    pub(crate) fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", String::from_utf8_lossy(&self.bytes));
        if self.bytes.is_empty() { Value::Null } else { self.json() }
    }

    /// Asserts the status and the error's code.
    #[track_caller]
    pub(crate) fn error(&self, status: u16, code: &str) -> Value {
        let body = self.expect(status);
        assert_eq!(body["code"], code, "{body}");
        assert_eq!(body["statusCode"], status);
        assert!(body["timestamp"].is_string() && body["path"].is_string(), "{body}");
        assert!(self.headers.contains_key("x-request-id"));
        body
    }
}

impl Server {
    /// A server on a data directory of its own.
    pub(crate) async fn new() -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let mut server = Self::open(temporary.path(), &[]).await;
        server.temporary = Some(temporary);
        server
    }

    /// A server on this data directory.
    pub(crate) async fn open(dir: &Path, options: &[&str]) -> Self {
        Self::open_as(binary(), dir, options).await
    }

    /// The same with these variables in its environment.
    pub(crate) async fn open_with(dir: &Path, options: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut command = binary();
        command.envs(variables.iter().copied());
        Self::open_as(command, dir, options).await
    }

    /// The same with an environment of its own.
    pub(crate) async fn open_as(mut command: Command, dir: &Path, options: &[&str]) -> Self {
        let mut child = command
            .args(["serve", "--port", "0", "--json", "--data-dir"])
            .arg(dir)
            .args(options)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let stdout = child.stdout.take().unwrap();
        let mut stdout = BufReader::new(stdout);
        let read = stdout.read_line(&mut line);
        let read = tokio::time::timeout(LIMIT, read).await;
        assert!(matches!(read, Ok(Ok(1..))), "the server did not start");
        let ready: Value = serde_json::from_str(&line).unwrap();
        let origin = ready["url"].as_str().unwrap().strip_suffix("/api").unwrap();
        Self {
            child,
            origin: origin.to_owned(),
            dir: dir.to_owned(),
            client: Client::builder(TokioExecutor::new()).build_http(),
            ready,
            temporary: None,
        }
    }

    pub(crate) fn key(&self) -> &str {
        self.ready["apiKey"].as_str().unwrap()
    }

    /// One request without the key.
    pub(crate) async fn anonymous(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.send(method, path, headers, Bytes::new()).await
    }

    /// One request with a JSON body, or none for `Null`.
    pub(crate) async fn call(&self, method: &str, path: &str, body: Value) -> Answer {
        let bytes = if body.is_null() { Bytes::new() } else { body.to_string().into() };
        let bearer = format!("Bearer {}", self.key());
        let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
        self.send(method, path, &headers, bytes).await
    }

    pub(crate) async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Bytes) -> Answer {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.origin));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body)).unwrap();
        let answer = async {
            let response = self.client.request(request).await.unwrap();
            let (parts, body) = response.into_parts();
            Answer {
                status: parts.status.as_u16(),
                headers: parts.headers,
                bytes: body.collect().await.unwrap().to_bytes(),
            }
        };
        tokio::time::timeout(LIMIT, answer).await.unwrap_or_else(|_| panic!("{method} {path} was not answered"))
    }

    /// Makes a sandbox and gives its id.
    pub(crate) async fn create(&self, body: Value) -> String {
        let created = self.call("POST", "/api/sandbox", body).await.expect(200);
        assert_eq!(created["state"], "started", "{created}");
        created["id"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn get(&self, id: &str) -> Answer {
        self.call("GET", &format!("/api/sandbox/{id}"), Value::Null).await
    }

    /// Runs a command that has to succeed, and gives its output.
    pub(crate) async fn exec(&self, id: &str, command: &str) -> String {
        let answer = self.try_exec(id, command).await.expect(200);
        assert_eq!(answer["exitCode"], 0, "{answer}");
        answer["result"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn try_exec(&self, id: &str, command: &str) -> Answer {
        let path = format!("/toolbox/{id}/process/execute");
        self.call("POST", &path, json!({ "command": command })).await
    }

    /// Returns when the file is in the sandbox.
    pub(crate) async fn wait_for_file(&self, id: &str, path: &str) {
        let path = format!("/toolbox/{id}/files/info?path={path}");
        let there = async {
            while self.call("GET", &path, Value::Null).await.status != 200 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(LIMIT, there).await.unwrap();
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = i32::try_from(self.child.id().unwrap()).unwrap();
        let pid = rustix::process::Pid::from_raw(pid).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Ends the first process of every sandbox the way the kernel does for want of memory.
    pub(crate) fn kill_first_processes(&self) {
        let parent = |pid: u32| {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse::<u32>().ok()
        };
        for entry in std::fs::read_dir("/proc").unwrap().flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|pid| pid.parse::<u32>().ok()) else {
                continue;
            };
            if parent(pid).and_then(parent) == self.child.id() {
                let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
                rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
            }
        }
    }

    pub(crate) async fn ended(&mut self) -> ExitStatus {
        tokio::time::timeout(LIMIT, self.child.wait()).await.expect("the server did not end").unwrap()
    }

    /// Ends it the way a crash does.
    pub(crate) async fn kill(&mut self) {
        self.signal(rustix::process::Signal::KILL);
        self.ended().await;
    }

    /// Ends it the way an operator does.
    pub(crate) async fn terminate(&mut self) -> ExitStatus {
        self.signal(rustix::process::Signal::TERM);
        self.ended().await
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Sandboxes end before their files are removed.
        if self.child.id().is_some() {
            self.signal(rustix::process::Signal::TERM);
            for _ in 0..6000 {
                if matches!(self.child.try_wait(), Ok(Some(_)) | Err(_)) {
                    return;
                }
                std::thread::sleep(Duration::from_millis(10));
            }
            eprintln!("the server has not ended within a minute");
        }
    }
}

/// Whether a process runs on this machine whose command line has this text.
pub(crate) fn runs(marker: &str) -> bool {
    std::fs::read_dir("/proc").unwrap().flatten().any(|entry| {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(marker)
    })
}

/// Returns when no process has this text in its command line any more.
pub(crate) async fn wait_until_gone(marker: &str) {
    let gone = async {
        while runs(marker) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LIMIT, gone).await.unwrap_or_else(|_| panic!("{marker} still runs"));
}
