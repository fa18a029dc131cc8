//! One server's worth of runtime for one test.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use daytona_runtime::{Exited, Runtime, RuntimeChoice, RuntimeKind, SandboxSpec, Started, spawn_launcher};
use tempfile::TempDir;
use tokio::sync::mpsc;

use crate::support;

pub(crate) type Outcome = Result<(), Box<dyn std::error::Error>>;

/// A runtime with its data directory; everything of it is gone afterwards.
pub(crate) struct World {
    pub(crate) runtime: Runtime,
    pub(crate) exits: mpsc::UnboundedReceiver<Exited>,
    pub(crate) data: TempDir,
    pub(crate) launcher: u32,
}

impl World {
    pub(crate) async fn new(kind: RuntimeKind) -> Result<Self, Box<dyn std::error::Error>> {
        Self::at(kind, tempfile::Builder::new().prefix("runtime-").tempdir()?).await
    }

    pub(crate) async fn at(kind: RuntimeKind, data: TempDir) -> Result<Self, Box<dyn std::error::Error>> {
        let launcher = spawn_launcher(&std::env::current_exe()?)?;
        let pid = launcher.pid();
        let choice = match kind {
            RuntimeKind::Ns => RuntimeChoice::Ns,
            RuntimeKind::Process => RuntimeChoice::Process,
            RuntimeKind::Docker => RuntimeChoice::Docker,
        };
        let (runtime, exits) = Runtime::start(launcher, choice, data.path(), None).await?;
        Ok(Self { runtime, exits, data, launcher: pid })
    }

    pub(crate) async fn start(&self, id: &str) -> Result<Sandbox, Box<dyn std::error::Error>> {
        self.start_with(support::spec(id)).await
    }

    pub(crate) async fn start_with(&self, spec: SandboxSpec) -> Result<Sandbox, Box<dyn std::error::Error>> {
        let started = self.runtime.create(spec).await?;
        Ok(Sandbox { started })
    }

    pub(crate) fn isolated(&self) -> bool {
        self.runtime.kind() == RuntimeKind::Ns
    }

    /// The sandbox's home, from the host.
    pub(crate) fn home(&self, id: &str) -> PathBuf {
        self.runtime.sandbox_dir(id).join("home")
    }

    /// Waits for the sandbox to end by itself.
    pub(crate) async fn exit(&mut self) -> Result<Exited, Box<dyn std::error::Error>> {
        let exit = tokio::time::timeout(Duration::from_secs(20), self.exits.recv()).await?;
        exit.ok_or_else(|| "the runtime is gone".into())
    }

    /// Ends it, and deletes what a temporary folder cannot.
    pub(crate) async fn end(self) {
        let sandboxes = fs::read_dir(self.data.path().join("sandboxes"));
        for sandbox in sandboxes.into_iter().flatten().flatten() {
            let destroyed = self.runtime.destroy(&sandbox.file_name().to_string_lossy()).await;
            destroyed.expect("destroyed");
        }
        self.runtime.shutdown().await;
        self.data.close().expect("deleted");
    }
}

/// A started sandbox.
pub(crate) struct Sandbox {
    pub(crate) started: Started,
}

impl Sandbox {
    /// The output of a command that has to succeed.
    pub(crate) async fn run(&self, command: &str) -> Result<String, Box<dyn std::error::Error>> {
        match self.try_run(command).await? {
            (0, output) => Ok(output),
            (code, output) => Err(format!("{command}: {code}: {output}").into()),
        }
    }

    /// Exit code and output.
    pub(crate) async fn try_run(&self, command: &str) -> Result<(i64, String), Box<dyn std::error::Error>> {
        Ok(support::exec(&self.started, command).await?)
    }
}

/// Host processes whose command line has `marker` in it.
pub(crate) fn processes(marker: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Ok(line) = fs::read(entry.path().join("cmdline")) else {
            continue;
        };
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        // A zombie has no command line.
        if line.contains(marker) && entry.file_name().to_string_lossy().parse::<u32>().is_ok() {
            found.push(format!("{} {line}", entry.file_name().display()));
        }
    }
    found
}

/// Direct children of a process.
pub(crate) fn children(parent: u32) -> Vec<u32> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let of = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1)?.parse().ok());
        if of == Some(parent) {
            found.extend(entry.file_name().to_str().and_then(|pid| pid.parse::<u32>().ok()));
        }
    }
    found
}

/// Waits until `done`, or fails with what `what` says.
pub(crate) async fn eventually(what: impl Fn() -> String, done: impl Fn() -> bool) -> Outcome {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !done() {
        if Instant::now() > deadline {
            return Err(what().into());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

/// Mounts of any process that lie in `folder`.
pub(crate) fn mounts(folder: &Path) -> Vec<String> {
    let folder = folder.display().to_string();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let text = fs::read_to_string(entry.path().join("mountinfo")).unwrap_or_default();
        let lines = text.lines().filter(|line| line.contains(&folder));
        found.extend(lines.map(str::to_owned));
    }
    found
}

/// A marker for the command line of a process, and a command that leaves it running detached: in
/// its own session, adopted by nobody we know.
pub(crate) fn daemon(name: &str) -> (String, String) {
    let unique = std::process::id();
    let marker = format!("marker-{name}-{unique}");
    let command = format!(
        "(setsid sh -c '(exec -a {marker} sleep 1000 || sleep 1000) & sleep 1000 # {marker}' \
         </dev/null >/dev/null 2>&1 &)"
    );
    (marker, command)
}
