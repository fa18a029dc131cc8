//! One language server: its process, and JSON-RPC over its stdin and stdout.

use std::collections::HashMap;
use std::path::Path;
use std::pin::pin;
use std::process::Stdio;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use axum::http::StatusCode;
use daytona_wire::error::code;
use rustix::process::Signal;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{ChildStdin, Command};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use super::documents::Documents;
use crate::App;
use crate::error::{Error, Result};
use crate::process::{Group, LINGER, exit_code};
use crate::session::tree;

/// The longest message that is read, and the longest head of one.
const LONGEST: usize = 64 << 20;
const LONGEST_HEAD: u64 = 8 << 10;
/// What is kept of stderr, to say why a server ended.
const LAST_WORDS: usize = 4 << 10;
/// Messages on their way to the server.
const UNDER_WAY: usize = 8;
/// How long an answer may take; the first one comes with the whole project read.
const ANSWER: Duration = Duration::from_secs(45);
const INITIALIZE: Duration = Duration::from_secs(150);
/// How long it may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(2);
/// JSON-RPC: there is no such method.
const NO_METHOD: i64 = -32601;

/// A running server. Dropping it kills it and what it has started.
pub(super) struct Server {
    shared: Arc<Shared>,
    next: AtomicI64,
    capabilities: OnceLock<Value>,
    pub(super) documents: Documents,
    task: JoinHandle<()>,
}

struct Shared {
    outgoing: mpsc::Sender<Vec<u8>>,
    /// `None` once the server has ended.
    waiting: Mutex<Option<HashMap<i64, oneshot::Sender<Answered>>>>,
    /// Why it ended.
    end: OnceLock<String>,
    last_words: Mutex<Vec<u8>>,
    /// It and all that it has started.
    gone: watch::Sender<bool>,
}

type Answered = std::result::Result<Value, Value>;

impl Shared {
    fn waiting(&self) -> MutexGuard<'_, Option<HashMap<i64, oneshot::Sender<Answered>>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn last_words(&self) -> String {
        String::from_utf8_lossy(&self.last_words.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }

    /// Tells whoever waits.
    fn finish(&self, why: String) {
        let _ = self.end.set(why);
        self.waiting().take();
    }

    fn ended(&self) -> Error {
        let why = self.end.get().map_or("it ended", String::as_str);
        Error::new(
            StatusCode::BAD_REQUEST,
            code::LSP_SERVER_NOT_INITIALIZED,
            format!("the language server does not run any more: {why}; start it again"),
        )
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    /// Starts a program; it has to be initialized.
    pub(super) fn start(app: &App, mut command: Command, project: &Path) -> std::io::Result<Self> {
        let mut child = command
            .env_clear()
            .envs(app.env.get())
            .current_dir(project)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()?;
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (outgoing, messages) = mpsc::channel(UNDER_WAY);
        let shared = Arc::new(Shared {
            outgoing,
            waiting: Mutex::new(Some(HashMap::new())),
            end: OnceLock::new(),
            last_words: Mutex::default(),
            gone: watch::Sender::default(),
        });
        let mut group = Group::new(child);
        let in_task = Arc::clone(&shared);
        let task = tokio::spawn(async move {
            let mut said = pin!(listen(stderr.into_reader(), &in_task.last_words));
            let mut reading = pin!(read(BufReader::new(stdout.into_reader()), &in_task));
            let mut writing = pin!(write(stdin, messages));
            let (mut silent, mut deaf) = (false, false);
            let mut status = None;
            let broken = loop {
                tokio::select! {
                    why = &mut reading => break why,
                    ended = group.wait() => {
                        status = Some(ended);
                        // What it has started may hold its stdout.
                        break tokio::time::timeout(LINGER, &mut reading).await.unwrap_or_default();
                    }
                    () = &mut said, if !silent => silent = true,
                    // The end of what it writes tells why.
                    () = &mut writing, if !deaf => deaf = true,
                }
            };
            if status.is_none() {
                status = tokio::time::timeout(GOODBYE, group.wait()).await.ok();
            }
            if !silent {
                let _ = tokio::time::timeout(LINGER, &mut said).await;
            }
            let code = status.and_then(std::io::Result::ok).map(exit_code);
            let last = in_task.last_words().trim().to_owned();
            let why = broken.unwrap_or_else(|| {
                code.map_or_else(|| "it said no more".to_owned(), |code| format!("it ended with exit code {code}"))
            });
            in_task.finish(if last.is_empty() { why } else { format!("{why} and said: {last}") });
            if code.is_some() {
                // What it has started outlives it.
                group.running = false;
                if let Some(leader) = group.leader() {
                    tree::kill(leader, true, Signal::KILL, Duration::ZERO).await;
                }
            }
            in_task.gone.send_replace(true);
        });
        let next = AtomicI64::new(1);
        Ok(Self { shared, next, capabilities: OnceLock::new(), documents: Documents::default(), task })
    }

    /// Introduces itself.
    pub(super) async fn initialize(&self, project: &Path) -> Result<()> {
        let uri = super::documents::uri_of(project);
        let name = project.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let params = json!({
            "processId": std::process::id(),
            "clientInfo": { "name": "daytona-native" },
            "rootUri": uri,
            "rootPath": project.to_string_lossy(),
            "workspaceFolders": [{ "uri": uri, "name": name }],
            "capabilities": {
                "workspace": { "workspaceFolders": true, "configuration": true, "symbol": {} },
                "textDocument": {
                    "synchronization": { "didSave": false },
                    "documentSymbol": { "hierarchicalDocumentSymbolSupport": true },
                    "completion": {
                        "completionItem": { "documentationFormat": ["markdown", "plaintext"], "snippetSupport": false },
                        "contextSupport": true,
                    },
                },
            },
        });
        let answer: Value = self.ask_within(INITIALIZE, "initialize", params).await?;
        let _ = self.capabilities.set(answer.get("capabilities").cloned().unwrap_or_default());
        self.tell("initialized", json!({})).await
    }

    /// Whether it says that it can do this.
    pub(super) fn can(&self, capability: &str) -> bool {
        self.capabilities
            .get()
            .and_then(|all| all.get(capability))
            .is_some_and(|value| *value != false && !value.is_null())
    }

    pub(super) fn runs(&self) -> bool {
        self.shared.waiting().is_some()
    }

    /// Why it does not run.
    pub(super) fn ended(&self) -> Error {
        self.shared.ended()
    }

    /// Sends a request and waits for its answer.
    pub(super) async fn ask<T: DeserializeOwned>(&self, method: &str, params: Value) -> Result<T> {
        self.ask_within(ANSWER, method, params).await
    }

    async fn ask_within<T: DeserializeOwned>(&self, limit: Duration, method: &str, params: Value) -> Result<T> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, answer) = oneshot::channel();
        match self.shared.waiting().as_mut() {
            Some(waiting) => waiting.insert(id, sender),
            None => return Err(self.ended()),
        };
        let asked = Asked { shared: &self.shared, id };
        let work = async {
            self.send(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params })).await?;
            answer.await.map_err(|_| self.ended())
        };
        let answer = tokio::time::timeout(limit, work).await.map_err(|_| {
            Error::new(
                StatusCode::REQUEST_TIMEOUT,
                "LSP_TIMEOUT",
                format!("the language server did not answer {method} within {} s", limit.as_secs()),
            )
        })??;
        asked.done();
        match answer {
            Ok(value) => serde_json::from_value(value)
                .map_err(|error| Error::internal(format!("the language server's answer to {method} is odd: {error}"))),
            Err(error) => {
                let message = error.get("message").and_then(Value::as_str).unwrap_or("without a reason");
                let message = format!("the language server refused {method}: {message}");
                Err(if error.get("code").and_then(Value::as_i64) == Some(NO_METHOD) {
                    Error::new(StatusCode::NOT_IMPLEMENTED, "NOT_IMPLEMENTED", message)
                } else {
                    Error::new(StatusCode::INTERNAL_SERVER_ERROR, "LSP_REQUEST_FAILED", message)
                })
            }
        }
    }

    /// Sends a notification.
    pub(super) async fn tell(&self, method: &str, params: Value) -> Result<()> {
        self.send(&json!({ "jsonrpc": "2.0", "method": method, "params": params })).await
    }

    async fn send(&self, message: &Value) -> Result<()> {
        self.shared.outgoing.send(frame(message)).await.map_err(|_| self.ended())
    }

    /// Ends it: asks it to, and kills what is left.
    pub(super) async fn stop(&self) {
        let mut gone = self.shared.gone.subscribe();
        let goodbye = async {
            if self.ask::<Value>("shutdown", Value::Null).await.is_ok() && self.tell("exit", Value::Null).await.is_ok()
            {
                let _ = gone.wait_for(|gone| *gone).await;
            }
        };
        let _ = tokio::time::timeout(GOODBYE, goodbye).await;
        self.shared.finish("it was stopped".to_owned());
        self.task.abort();
    }
}

/// A request that waits for its answer; dropped early it is taken back.
struct Asked<'a> {
    shared: &'a Shared,
    id: i64,
}

impl Asked<'_> {
    fn done(self) {
        std::mem::forget(self);
    }
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        let forgotten = self.shared.waiting().as_mut().and_then(|waiting| waiting.remove(&self.id));
        if forgotten.is_some() {
            let cancel = json!({ "jsonrpc": "2.0", "method": "$/cancelRequest", "params": { "id": self.id } });
            let _ = self.shared.outgoing.try_send(frame(&cancel));
        }
    }
}

trait IntoReader {
    fn into_reader(self) -> Box<dyn AsyncRead + Send + Unpin>;
}

impl<T: AsyncRead + Send + Unpin + 'static> IntoReader for Option<T> {
    fn into_reader(self) -> Box<dyn AsyncRead + Send + Unpin> {
        self.map_or_else(|| Box::new(tokio::io::empty()) as Box<_>, |pipe| Box::new(pipe) as Box<_>)
    }
}

fn frame(message: &Value) -> Vec<u8> {
    let body = message.to_string();
    let mut frame = format!("Content-Length: {}\r\n\r\n", body.len()).into_bytes();
    frame.extend(body.into_bytes());
    frame
}

async fn write(stdin: Option<ChildStdin>, mut messages: mpsc::Receiver<Vec<u8>>) {
    let Some(mut stdin) = stdin else { return };
    while let Some(message) = messages.recv().await {
        if stdin.write_all(&message).await.is_err() || stdin.flush().await.is_err() {
            break;
        }
    }
}

/// Keeps the end of what it says on stderr.
async fn listen(mut stderr: impl AsyncRead + Unpin, last_words: &Mutex<Vec<u8>>) {
    let mut piece = vec![0; 4 << 10];
    while let Ok(n @ 1..) = stderr.read(&mut piece).await {
        let mut kept = last_words.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend_from_slice(&piece[..n]);
        let over = kept.len().saturating_sub(LAST_WORDS);
        kept.drain(..over);
    }
}

/// Reads messages to the end; says what is wrong with one that cannot be read.
async fn read(mut stdout: BufReader<impl AsyncRead + Unpin>, shared: &Shared) -> Option<String> {
    loop {
        let body = match message(&mut stdout).await {
            Ok(Some(body)) => body,
            Ok(None) => return None,
            Err(why) => return Some(why),
        };
        let Ok(mut message) = serde_json::from_slice::<Value>(&body) else {
            return Some("it sent what is no JSON".to_owned());
        };
        let id = message.get("id").cloned();
        match (message.get("method").and_then(Value::as_str), id) {
            // It asks for something.
            (Some(method), Some(id)) => {
                let answer = frame(&reply(method, &id, message.get("params")));
                if shared.outgoing.send(answer).await.is_err() {
                    return None;
                }
            }
            (None, Some(id)) => {
                let sender = shared.waiting().as_mut().and_then(|waiting| waiting.remove(&id.as_i64()?));
                let answer = match message.get_mut("error") {
                    Some(error) if !error.is_null() => Err(error.take()),
                    _ => Ok(message.get_mut("result").map(Value::take).unwrap_or_default()),
                };
                if let Some(sender) = sender {
                    let _ = sender.send(answer);
                }
            }
            // Diagnostics, progress and logs.
            _ => {}
        }
    }
}

/// The next message's body; `None` at the end.
async fn message(stdout: &mut BufReader<impl AsyncRead + Unpin>) -> std::result::Result<Option<Vec<u8>>, String> {
    let mut length = None;
    let mut head = stdout.take(LONGEST_HEAD);
    loop {
        let mut line = Vec::new();
        match head.read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) if length.is_none() && head.limit() > 0 => return Ok(None),
            Ok(n) if n > 0 && line.ends_with(b"\n") => {}
            _ => return Err("it sent what is no message".to_owned()),
        }
        let line = String::from_utf8_lossy(&line);
        let line = line.trim();
        if line.is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse::<usize>().ok();
        }
    }
    let length = length.ok_or("it sent a message without a length")?;
    if length > LONGEST {
        return Err(format!("it sent a message of {length} bytes"));
    }
    let mut body = Vec::new();
    match stdout.take(length as u64).read_to_end(&mut body).await {
        Ok(n) if n == length => Ok(Some(body)),
        _ => Ok(None),
    }
}

/// The answer to what a server asks its client for.
fn reply(method: &str, id: &Value, params: Option<&Value>) -> Value {
    let result = match method {
        "workspace/configuration" => {
            let items = params.and_then(|params| params.get("items")).and_then(Value::as_array).map_or(0, Vec::len);
            json!(vec![Value::Null; items])
        }
        "workspace/applyEdit" => json!({ "applied": false }),
        "client/registerCapability"
        | "client/unregisterCapability"
        | "window/workDoneProgress/create"
        | "window/showMessageRequest"
        | "workspace/workspaceFolders" => Value::Null,
        _ => {
            let error = json!({ "code": NO_METHOD, "message": format!("this client has no {method}") });
            return json!({ "jsonrpc": "2.0", "id": id, "error": error });
        }
    };
    json!({ "jsonrpc": "2.0", "id": id, "result": result })
}
