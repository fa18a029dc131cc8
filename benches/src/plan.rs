//! Plans: which operations to repeat how often. Every client, in every language, follows the same.

use std::path::PathBuf;
use std::time::Instant;

use serde::Deserialize;

use crate::Result;
use crate::measure::Watch;

/// What to do, against which server.
#[derive(Deserialize)]
pub(crate) struct Plan {
    pub(crate) api_url: String,
    pub(crate) key: String,
    pub(crate) sandbox: String,
    /// Bytes of the large file; its name says its size to the stub.
    pub(crate) bytes: u64,
    /// The large file here, and where to put it.
    pub(crate) local: PathBuf,
    pub(crate) target: PathBuf,
    pub(crate) ops: Vec<Op>,
}

/// One operation, repeated at least `reps` times and for at least `seconds`.
#[derive(Deserialize)]
pub(crate) struct Op {
    #[serde(rename = "op")]
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) count: usize,
    pub(crate) reps: usize,
    #[serde(default)]
    pub(crate) seconds: f64,
    /// Uncounted repetitions before.
    #[serde(default)]
    pub(crate) warm: usize,
}

impl Plan {
    /// Path of the large file in the sandbox.
    pub(crate) fn large(&self) -> String {
        format!("bench/b{}-0", self.bytes)
    }

    /// The API of the stub that lists this many sandboxes.
    pub(crate) fn list_url(&self, count: usize) -> String {
        self.api_url.replacen("/api", &format!("/list/{count}/api"), 1)
    }
}

/// Bytes of each small file.
pub(crate) const SMALL: usize = 1024;

/// Path of a small file in the sandbox.
pub(crate) fn small(index: usize) -> String {
    format!("bench/b{SMALL}-{index}")
}

/// A client to be measured.
pub(crate) trait Subject {
    /// One command.
    async fn exec(&self) -> Result<()>;
    /// As many commands at once.
    async fn burst(&self, count: usize) -> Result<()>;
    /// As many small files in one request.
    async fn upload_small(&self, count: usize) -> Result<()>;
    async fn download_small(&self, count: usize) -> Result<()>;
    /// All sandboxes, page by page.
    async fn list(&self, count: usize) -> Result<()>;
    /// The large file, from a file, from a stream of pieces, to a file, to memory, piece by piece.
    async fn upload_file(&self) -> Result<()>;
    async fn upload_stream(&self) -> Result<()>;
    async fn download_file(&self) -> Result<()>;
    async fn download_memory(&self) -> Result<()>;
    async fn download_stream(&self) -> Result<()>;
    /// So many MB of a command's log, followed to its end.
    async fn log(&self, command: Log, mb: usize) -> Result<()>;
    /// So many MB that a terminal shows.
    async fn pty_output(&self, mb: usize) -> Result<()>;
    /// One key typed into a terminal and shown by it, so many times.
    async fn pty_echo(&self, count: usize) -> Result<()>;
    /// One line of code in the interpreter.
    async fn interpret(&self) -> Result<()>;
}

/// What a log consists of.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Log {
    /// Each line in a frame of its own.
    Lines,
    /// Many lines in one frame.
    Frames,
}

impl Log {
    /// The command whose log it is: the stub looks at its second word, a real shell runs it.
    pub(crate) fn command(self, mb: usize) -> String {
        let kind = if self == Self::Lines { "lines" } else { "frames" };
        let line = "l".repeat(crate::sockets::LINE - 1);
        format!(": {kind}-{mb}; yes {line} | head -c {mb}000000")
    }
}

/// Follows a plan and prints what it took.
pub(crate) async fn follow<S: Subject>(text: &str, make: impl AsyncFn(Plan) -> Result<S>) -> Result<()> {
    let mut plan: Plan = serde_json::from_str(text)?;
    let ops = std::mem::take(&mut plan.ops);
    let subject = make(plan).await?;
    let mut all = Vec::new();
    for op in &ops {
        for _ in 0..op.warm {
            run(&subject, op).await?;
        }
        let mut watch = Watch::start();
        while watch.goes_on(op.reps, op.seconds) {
            let begin = Instant::now();
            run(&subject, op).await?;
            watch.note(begin);
        }
        all.push(watch.stop(&op.name, op.count));
    }
    println!("{}", serde_json::json!({ "taken": all }));
    Ok(())
}

async fn run(subject: &impl Subject, op: &Op) -> Result<()> {
    match op.name.as_str() {
        "exec" => subject.exec().await,
        "burst" => subject.burst(op.count).await,
        "upload_small" => subject.upload_small(op.count).await,
        "download_small" => subject.download_small(op.count).await,
        "list" => subject.list(op.count).await,
        "upload_file" => subject.upload_file().await,
        "upload_stream" => subject.upload_stream().await,
        "download_file" => subject.download_file().await,
        "download_memory" => subject.download_memory().await,
        "download_stream" => subject.download_stream().await,
        "log_lines" => subject.log(Log::Lines, op.count).await,
        "log_frames" => subject.log(Log::Frames, op.count).await,
        "pty_output" => subject.pty_output(op.count).await,
        "pty_echo" => subject.pty_echo(op.count).await,
        "interpret" => subject.interpret().await,
        other => Err(format!("no such operation: {other}").into()),
    }
}
