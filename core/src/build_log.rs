//! Logs of builds, as they are written.

use std::sync::Arc;
use std::time::Duration;

use daytona_wire::sandbox::{Sandbox, SandboxState};
use daytona_wire::snapshot::{Snapshot, SnapshotState};
use reqwest::Url;
use serde::Deserialize;
use tokio::time::{sleep, timeout};

use crate::background::{self, Driven};
use crate::client::Client;
use crate::error::{Error, ErrorKind, Result};
use crate::inbox::Inbox;
use crate::operation::Operation;
use crate::output::Decoder;
use crate::transport::{Call, Transport, broken};

/// After so much silence the build's state is asked for, which twice in a row ends the log of a finished build.
const SILENCE: Duration = Duration::from_secs(2);
/// How often a build is asked for that has not begun.
const FIRST_POLL: Duration = Duration::from_millis(100);
const LAST_POLL: Duration = Duration::from_secs(1);
/// How often a log that broke off is opened again.
const REOPENED: u32 = 3;
/// What an error shows of a log, and how long that may take.
const TAIL_LINES: usize = 20;
const TAIL_BYTES: usize = 16 << 10;
const TAIL_LIMIT: Duration = Duration::from_secs(10);
/// A line without an end is not waited for beyond this.
const LONGEST_LINE: usize = 1 << 20;
const OPERATION: Operation = Operation::BUILD_LOGS;

/// Whose image is built.
#[derive(Clone, Debug)]
pub(crate) enum Build {
    Sandbox(String),
    Snapshot(String),
}

/// Where a build is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Waiting,
    Running,
    Over,
}

#[derive(Deserialize)]
struct LogUrl {
    url: String,
}

/// How text is handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// As it comes.
    Text,
    /// Whole lines, without the line break at their end.
    Lines,
}

/// The log of a build that is followed. Clones share it: each piece goes to one of them. Dropping the last one closes
/// its connection.
#[derive(Clone)]
pub struct BuildLog {
    inner: Arc<Driven<Arc<Inbox<String>>>>,
}

impl BuildLog {
    /// All text that is there by now; waits for some. `None` at the end of the log.
    ///
    /// # Errors
    /// `NotFound` if there is no such build or no log; `Connection` if the connection broke again and again.
    pub async fn next(&self) -> Result<Option<Vec<String>>> {
        Ok(self.inner.get()?.take().await?.map(Vec::from))
    }

    /// Waits for the end; what nobody takes is discarded.
    pub(crate) async fn ended(&self) -> Result<()> {
        self.inner.get()?.wait_for_end().await
    }

    /// Ends it early: after what is there already, `next` gives `None`.
    pub fn close(&self) {
        if let Ok(inbox) = self.inner.get() {
            inbox.end(Ok(()));
            self.inner.abort();
        }
    }

    /// The log that a task writes.
    pub(crate) fn driven<F>(work: impl FnOnce(Arc<Inbox<String>>) -> F) -> Self
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        let inbox = Arc::new(Inbox::default());
        let work = work(Arc::clone(&inbox));
        let filled = Arc::clone(&inbox);
        let task = background::spawn(async move {
            let ends = filled.filling();
            let end = work.await;
            filled.end(end);
            drop(ends);
        });
        Self { inner: Arc::new(Driven::with_task(inbox, &task)) }
    }

    /// Follows the log of a build from its beginning to its end.
    pub(crate) fn follow(client: Arc<Client>, build: Build, form: Form) -> Self {
        Self::driven(|inbox| async move {
            let followed = follow(&client, &build, form, &inbox).await;
            followed.map_err(|error| error.with_operation(OPERATION))
        })
    }
}

/// Puts the log of a build into an inbox, once the build has begun.
pub(crate) async fn follow(client: &Client, build: &Build, form: Form, inbox: &Inbox<String>) -> Result<()> {
    let link = client.link().await?;
    let transport = &*link.background;
    let mut pause = FIRST_POLL;
    while build.stage(client, transport).await? == Stage::Waiting {
        sleep(pause).await;
        pause = pause.mul_f64(1.2).min(LAST_POLL);
    }
    let mut url = build.log_url(client, transport).await?;
    url.query_pairs_mut().append_pair("follow", "true");
    let mut log = Log { decoder: Decoder::default(), form, pending: String::new(), seen: 0, inbox };
    for _ in 0..=REOPENED {
        match read(client, build, transport, url.clone(), &mut log).await? {
            End::Orderly => break,
            // A server that ends a log so may have said all of it.
            End::Broken(_) if build.stage(client, transport).await? == Stage::Over => break,
            End::Broken(error) => {
                tracing::debug!(%error, "the log of a build broke off and is opened again");
            }
        }
    }
    log.finish();
    Ok(())
}

enum End {
    Orderly,
    Broken(Error),
}

async fn read(client: &Client, build: &Build, transport: &Transport, url: Url, log: &mut Log<'_>) -> Result<End> {
    let mut answer = transport.open(Call::get(OPERATION, url)).await?;
    // From its beginning again: what has been read is skipped.
    let mut again = log.seen;
    let mut is_over = false;
    loop {
        log.inbox.wait_for_room().await;
        // A read that is given up here has taken nothing.
        match timeout(SILENCE, answer.response.chunk()).await {
            Ok(Ok(Some(chunk))) => {
                is_over = false;
                let old = usize::try_from(again).unwrap_or(usize::MAX).min(chunk.len());
                again -= old as u64;
                log.push(&chunk[old..]);
            }
            Ok(Ok(None)) => return Ok(End::Orderly),
            Ok(Err(error)) => return Ok(End::Broken(broken(error))),
            Err(_) => {
                log.flush();
                let was_over = is_over;
                is_over = build.stage(client, transport).await? == Stage::Over;
                if was_over && is_over {
                    return Ok(End::Orderly);
                }
            }
        }
    }
}

/// Text on its way to the inbox.
struct Log<'a> {
    decoder: Decoder,
    form: Form,
    /// The beginning of a line.
    pending: String,
    seen: u64,
    inbox: &'a Inbox<String>,
}

impl Log<'_> {
    fn push(&mut self, bytes: &[u8]) {
        self.seen += bytes.len() as u64;
        self.pending += &self.decoder.decode(bytes);
        if self.form == Form::Text || self.pending.len() > LONGEST_LINE {
            self.flush();
        } else if let Some(end) = self.pending.rfind('\n') {
            let rest = self.pending.split_off(end + 1);
            self.flush();
            self.pending = rest;
        }
    }

    fn flush(&mut self) {
        let mut text = std::mem::take(&mut self.pending);
        if self.form == Form::Lines {
            text.truncate(text.trim_end().len());
        }
        if !text.is_empty() {
            let size = text.len();
            self.inbox.push(text, size);
        }
    }

    fn finish(&mut self) {
        self.pending.extend(self.decoder.finish());
        self.flush();
    }
}

impl Build {
    const fn path<'a>(&'a self, rest: &'static str) -> [&'a str; 3] {
        match self {
            Self::Sandbox(id) => ["sandbox", id.as_str(), rest],
            Self::Snapshot(id) => ["snapshots", id.as_str(), rest],
        }
    }

    async fn stage(&self, client: &Client, transport: &Transport) -> Result<Stage> {
        let url = client.link().await?.url(&self.path("")[..2])?;
        let call = Call::get(OPERATION, url);
        match self {
            Self::Sandbox(_) => {
                let sandbox: Sandbox = transport.json(call).await?;
                Ok(match sandbox.state.unwrap_or_default() {
                    SandboxState::PendingBuild => Stage::Waiting,
                    SandboxState::BuildingSnapshot
                    | SandboxState::Creating
                    | SandboxState::PullingSnapshot
                    | SandboxState::Restoring => Stage::Running,
                    _ => Stage::Over,
                })
            }
            Self::Snapshot(_) => {
                let snapshot: Snapshot = transport.json(call).await?;
                Ok(match snapshot.state {
                    SnapshotState::Pending => Stage::Waiting,
                    SnapshotState::Building | SnapshotState::Pulling | SnapshotState::Snapshotting => Stage::Running,
                    _ => Stage::Over,
                })
            }
        }
    }

    async fn log_url(&self, client: &Client, transport: &Transport) -> Result<Url> {
        let url = client.link().await?.url(&self.path("build-logs-url"))?;
        let found: LogUrl = transport.json(Call::get(OPERATION, url)).await?;
        Url::parse(&found.url)
            .map_err(|error| Error::new(ErrorKind::Other, format!("the server's URL of the build log: {error}")))
    }

    /// The error of a build, with the end of its log where that is in reach.
    pub(crate) async fn failed(&self, client: &Client, error: Error) -> Error {
        match timeout(TAIL_LIMIT, self.tail(client)).await {
            Ok(Ok(tail)) if !tail.is_empty() => error.with_hint(format!("The end of the build log:\n{tail}")),
            _ => error,
        }
    }

    async fn tail(&self, client: &Client) -> Result<String> {
        let transport = &client.link().await?.transport;
        let url = self.log_url(client, transport).await?;
        let mut answer = transport.open(Call::get(OPERATION, url)).await?;
        let mut end = Vec::new();
        while let Ok(Some(chunk)) = answer.response.chunk().await {
            end.extend_from_slice(&chunk);
            end.drain(..end.len().saturating_sub(TAIL_BYTES));
        }
        let text = String::from_utf8_lossy(&end);
        let lines: Vec<_> = text.trim_end().lines().collect();
        Ok(lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n"))
    }
}
