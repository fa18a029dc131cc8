//! Runs commands to their end.

use std::path::Path;
use std::process::Stdio;

use serde_json::Value;
use tokio::process::Command;

use crate::support::{LIMIT, Server, binary};

/// How a command ended, and what it wrote.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    /// Asserts the exit code.
    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:?}");
        self
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The error on the standard error, as `--json` prints it.
    #[track_caller]
    pub(crate) fn error(&self) -> Value {
        let error: Value = serde_json::from_str(self.stderr.trim()).unwrap_or_else(|error| panic!("{error}: {self:?}"));
        error["error"].clone()
    }
}

/// Without what the tests' own environment would tell it.
pub(crate) fn bare(arguments: &[&str], folder: &Path) -> Command {
    let mut command = binary();
    command.args(arguments).current_dir(folder).stdout(Stdio::piped()).stderr(Stdio::piped());
    for name in ["DAYTONA_API_KEY", "DAYTONA_API_URL", "DAYTONA_SERVER_URL", "DAYTONA_TARGET", "NO_COLOR"] {
        command.env_remove(name);
    }
    command
}

/// With the server's address and key.
pub(crate) fn command(server: &Server, arguments: &[&str]) -> Command {
    let mut command = bare(arguments, &server.dir);
    command.env("DAYTONA_API_URL", server.ready["url"].as_str().unwrap()).env("DAYTONA_API_KEY", server.key());
    command
}

pub(crate) async fn run(server: &Server, arguments: &[&str]) -> Ran {
    finish(command(server, arguments)).await
}

pub(crate) async fn finish(mut command: Command) -> Ran {
    let output = tokio::time::timeout(LIMIT, command.output()).await.expect("it did not end").unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ran { code: output.status.code().unwrap_or(-1), stdout: text(output.stdout), stderr: text(output.stderr) }
}
