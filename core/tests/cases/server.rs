//! One local server in a data directory of its own.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

pub(crate) struct Server {
    pub(crate) url: String,
    pub(crate) api_key: String,
    child: Child,
    _directory: TempDir,
}

impl Server {
    /// With this runtime, or the one that the environment asks for.
    pub(crate) fn start(runtime: Option<&str>) -> Self {
        let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let built = std::env::current_exe().expect("a program has a path");
        let built = built.parent().and_then(Path::parent).expect("it lies in deps").join("daytona-native");
        let binary = set("DAYTONA_NATIVE_BINARY").unwrap_or_else(|| built.to_string_lossy().into_owned());
        let runtime = runtime.map(str::to_owned).or_else(|| set("DAYTONA_NATIVE_TEST_RUNTIME"));
        let runtime = runtime.unwrap_or_else(|| "auto".to_owned());
        let directory = tempfile::Builder::new().prefix("daytona-cases-").tempdir().expect("a folder is made");
        let log_path = directory.path().join("log");
        let log = std::fs::File::create(&log_path).expect("the log is made");
        let mut child = Command::new(&binary)
            .args(["serve", "--port", "0", "--json", "--data-dir"])
            .arg(directory.path().join("data"))
            .args(["--runtime", &runtime])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("{binary} cannot be started: {error}; build it with `make build`"));
        let mut line = String::new();
        let stdout = child.stdout.take().expect("stdout is a pipe");
        BufReader::new(stdout).read_line(&mut line).expect("stdout is read");
        let ready: serde_json::Value = serde_json::from_str(&line).unwrap_or_else(|_| {
            let log = std::fs::read_to_string(&log_path).unwrap_or_default();
            panic!("{binary} did not start: {log}")
        });
        let text = |name: &str| ready[name].as_str().expect("the server says where it is").to_owned();
        Self { url: text("url"), api_key: text("apiKey"), child, _directory: directory }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        let _ = self.child.wait();
    }
}
