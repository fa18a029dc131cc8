//! Python code in contexts that keep their state.

mod run;
mod worker;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::ws::{Message, WebSocket, close_code};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{delete, get};
use bytes::Bytes;
use daytona_wire::interpreter::{
    CreateContextRequest, InterpreterContext, ListContextsResponse, RunControl, RunRequest,
};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use serde_json::error::Category;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};

use self::run::{Run, Settings};
use self::worker::Worker;
use crate::body::Json;
use crate::error::{Error, Result};
use crate::websocket::{self, Upgrade};
use crate::{App, code as programs, process};

/// Name of the context of runs that name none.
const DEFAULT: &str = "default";
/// Messages on their way to a client. Each holds a piece of output at most.
const UNDER_WAY: usize = 2;
/// How long a client may take to ask for something, and to say goodbye.
const PATIENCE: Duration = Duration::from_secs(30);
const GOODBYE: Duration = Duration::from_secs(5);
/// A client that takes nothing for so long is gone.
const STALLED: Duration = Duration::from_secs(300);

type Sink = SplitSink<WebSocket, Message>;
type Stream = SplitStream<WebSocket>;
type Queue = mpsc::UnboundedSender<Run>;

pub(crate) fn routes() -> Router<App> {
    Router::new()
        .route("/process/interpreter/context", get(list).post(create))
        .route("/process/interpreter/context/{id}", delete(remove))
        .route("/process/interpreter/execute", get(execute))
}

/// All contexts of a sandbox.
#[derive(Clone, Default)]
pub(crate) struct Contexts(Arc<Mutex<Map>>);

#[derive(Default)]
struct Map {
    default: Option<Context>,
    others: HashMap<String, Context>,
}

/// One context. Dropping it ends its worker and what runs in it.
struct Context {
    shown: InterpreterContext,
    active: Arc<AtomicBool>,
    queue: Queue,
    task: JoinHandle<()>,
}

impl Drop for Context {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Context {
    fn new(id: String, settings: Settings, worker: Option<Worker>) -> Self {
        let shown = InterpreterContext {
            id,
            cwd: settings.cwd.to_string_lossy().into_owned(),
            created_at: jiff::Timestamp::now().to_string(),
            active: false,
            language: "python".to_owned(),
        };
        let active = Arc::new(AtomicBool::new(worker.is_some()));
        let (queue, waiting) = mpsc::unbounded_channel();
        let name = if shown.id == DEFAULT { "the default context".to_owned() } else { format!("context {}", shown.id) };
        let task = tokio::spawn(run::serve(name, settings, Arc::clone(&active), worker, waiting));
        Self { shown, active, queue, task }
    }

    fn show(&self) -> InterpreterContext {
        InterpreterContext { active: self.active.load(Ordering::Relaxed), ..self.shown.clone() }
    }
}

impl Contexts {
    fn lock(&self) -> MutexGuard<'_, Map> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where a run in this context is asked for.
    fn queue(&self, id: &str, settings: Settings) -> Option<Queue> {
        let mut map = self.lock();
        let context = match id {
            "" | DEFAULT => map.default.get_or_insert_with(|| Context::new(DEFAULT.to_owned(), settings, None)),
            id => map.others.get(id)?,
        };
        Some(context.queue.clone())
    }
}

/// What a worker in `cwd` is started with.
fn settings(app: &App, cwd: PathBuf) -> Result<Settings> {
    let env = app.env.get();
    let python = programs::find_python(programs::search_path(&env))
        .ok_or_else(|| Error::new(StatusCode::SERVICE_UNAVAILABLE, "PYTHON_NOT_INSTALLED", programs::NO_PYTHON))?;
    Ok(Settings { python, cwd, env })
}

/// `POST /process/interpreter/context`
///
/// The worker starts at once: what is wrong with it shows here, and the first code does not wait for it.
async fn create(
    State(app): State<App>,
    Json(request): Json<CreateContextRequest>,
) -> Result<axum::Json<InterpreterContext>> {
    if let Some(language) = request.language.filter(|language| !matches!(language.as_str(), "" | "python")) {
        return Err(Error::bad_request(format!("unknown language {language:?}; contexts run python")));
    }
    let cwd = process::working_dir(&app, request.cwd.as_deref())?.components().collect();
    let settings = settings(&app, cwd)?;
    let worker = settings.start().map_err(|why| Error::bad_request(why.to_string()))?;
    let mut id = [0; 16];
    getrandom::fill(&mut id).map_err(|error| Error::internal(format!("no random number for an id: {error}")))?;
    let id = format!("{:032x}", u128::from_ne_bytes(id));
    let context = Context::new(id.clone(), settings, Some(worker));
    let shown = context.show();
    app.interpreter.lock().others.insert(id, context);
    Ok(axum::Json(shown))
}

/// `GET /process/interpreter/context`
async fn list(State(app): State<App>) -> axum::Json<ListContextsResponse> {
    let mut contexts: Vec<_> = app.interpreter.lock().others.values().map(Context::show).collect();
    contexts.sort_by(|a, b| (&a.created_at, &a.id).cmp(&(&b.created_at, &b.id)));
    axum::Json(ListContextsResponse { contexts })
}

/// `DELETE /process/interpreter/context/{id}`
async fn remove(State(app): State<App>, Path(id): Path<String>) -> Result<axum::Json<HashMap<&'static str, String>>> {
    if id == DEFAULT {
        return Err(Error::bad_request("the default context cannot be deleted; create one to have one to delete"));
    }
    let removed = app.interpreter.lock().others.remove(&id);
    if removed.is_none() {
        return Err(Error::new(StatusCode::NOT_FOUND, "CONTEXT_NOT_FOUND", unknown(&id)));
    }
    Ok(axum::Json(HashMap::from([("message", format!("context {id} is deleted"))])))
}

fn unknown(id: &str) -> String {
    format!("there is no context {id}; create one, or list those there are")
}

/// `GET /process/interpreter/execute`
async fn execute(State(app): State<App>, upgrade: Upgrade) -> Result<Response> {
    let settings = settings(&app, app.config.work_dir.clone())?;
    Ok(upgrade.run(&[], |socket| serve(app, settings, socket)))
}

async fn serve(app: App, settings: Settings, socket: WebSocket) {
    let (mut sink, mut stream) = socket.split();
    let end = match first(&app, settings, &mut stream).await {
        Some(Ok((request, queue))) => converse(request, &queue, &mut sink, &mut stream).await,
        Some(Err(refusal)) => Some(refusal),
        None => None,
    };
    if let Some(end) = end {
        websocket::finish(&mut sink, &mut stream, end, GOODBYE).await;
    }
}

/// What the client asks for, or how it is refused; `None` if it goes away.
async fn first(
    app: &App,
    settings: Settings,
    stream: &mut Stream,
) -> Option<std::result::Result<(RunRequest, Queue), Message>> {
    let end = Instant::now() + PATIENCE;
    let bytes = loop {
        match timeout_at(end, stream.next()).await {
            Ok(Some(Ok(Message::Text(text)))) => break Bytes::from(text),
            Ok(Some(Ok(Message::Binary(bytes)))) => break bytes,
            Ok(Some(Ok(Message::Ping(_) | Message::Pong(_)))) => {}
            Ok(Some(Ok(Message::Close(_)) | Err(_)) | None) => return None,
            Err(_) => {
                let why = format!("no code came within {} s", PATIENCE.as_secs());
                return Some(Err(websocket::close(close_code::POLICY, &why)));
            }
        }
    };
    Some(check(app, settings, &bytes).map_err(|(code, why)| websocket::close(code, &why)))
}

fn check(app: &App, settings: Settings, message: &[u8]) -> std::result::Result<(RunRequest, Queue), (u16, String)> {
    let mut request: RunRequest = serde_json::from_slice(message).map_err(|error| match error.classify() {
        Category::Data => (close_code::POLICY, format!("not what this takes: {error}")),
        _ => (close_code::PROTOCOL, format!("not JSON: {error}")),
    })?;
    if request.code.trim().is_empty() {
        return Err((close_code::POLICY, "there is no code; send {\"code\": ...}".to_owned()));
    }
    process::environment(app, request.envs.clone()).map_err(|error| (close_code::POLICY, error.to_string()))?;
    let id = request.context_id.take().unwrap_or_default();
    let queue = app.interpreter.queue(&id, settings).ok_or_else(|| (close_code::POLICY, unknown(&id)))?;
    Ok((request, queue))
}

/// Has it run and passes on what comes. Gives the close frame, if there is still a client.
async fn converse(request: RunRequest, queue: &Queue, sink: &mut Sink, stream: &mut Stream) -> Option<Message> {
    let (client, mut messages) = mpsc::channel(UNDER_WAY);
    let (interrupt, interrupts) = mpsc::channel(1);
    let deleted = || websocket::close(close_code::AWAY, "the context was deleted");
    if queue.send(Run { request, client, interrupts }).is_err() {
        return Some(deleted());
    }
    let listen = async {
        while let Some(Ok(message)) = stream.next().await {
            if let Message::Text(text) = message
                && let Ok(RunControl::Interrupt) = serde_json::from_str(&text)
            {
                // One that waits already does as well.
                let _ = interrupt.try_send(());
            }
        }
    };
    let tell = async {
        while let Some(message) = websocket::or_ping(sink, messages.recv()).await? {
            if let Message::Close(_) = message {
                return Some(message);
            }
            timeout(STALLED, sink.send(message)).await.ok()?.ok()?;
        }
        Some(deleted())
    };
    tokio::select! {
        () = listen => None,
        end = tell => end,
    }
}
