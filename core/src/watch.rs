//! What becomes known of a sandbox, for those who wait for a state and for calls that must not outlive it.
//!
//! A call in flight for more than a second is watched over: events tell of the sandbox's end, and where there are
//! none the API is asked every second. One task does that for all calls of a sandbox, and goes with the last of them.
//!
//! What counts as the end:
//! - The API says so, now: the sandbox is stopped, deleted, archived or failed, or on its way there. An event, or a
//!   `stop()` of this client, is taken for a hint and checked first, because it may be older than the call.
//! - What ran in it may be killed and the sandbox go on: another agent answers then. That is the end of what was under
//!   way too.
//! - Only if the API cannot be asked is a hint taken at its word.
//! - An API that is slow, restarts or answers with errors says nothing about a sandbox: the call goes on. So it does
//!   where the API refuses connections.
//! - Where the API is slow or out of reach, and nothing at all answers where the sandbox's proxy is, the network is
//!   gone, and the call ends with a connection error. TCP keepalive tells it too, later.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use daytona_wire::sandbox::{self as wire, SandboxState};
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::{Sleep, sleep};

use crate::background::{self, Driven, PerProcess};
use crate::client::Client;
use crate::error::{Error, ErrorKind, Result};
use crate::events::{self, Events, Joined};
use crate::operation::Operation;
use crate::reach::Reach;
use crate::sandbox::Sandbox;
use crate::transport::{Call, Transport, agent_of};

/// Shorter calls are not watched over.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often the API is asked without events, and with them.
const PROBE_PAUSE: Duration = Duration::from_secs(1);
const QUIET_PAUSE: Duration = Duration::from_secs(10);
/// After so long without an answer it is asked whether there is a network at all.
const SLOW: Duration = Duration::from_millis(200);
const PROBE_LIMIT: Duration = Duration::from_secs(10);
/// What checking a hint, or the cause of a failure, may take.
const CHECK_LIMIT: Duration = Duration::from_millis(750);
/// How often the cause is asked for: first pause, which doubles; how long where nothing but the state of the sandbox can
/// tell; and how long at most, which is more than the server takes to see that an agent or a sandbox has ended.
const FIRST_AGAIN: Duration = Duration::from_millis(100);
const SETTLED: Duration = Duration::from_secs(1);
const KNOWN_LIMIT: Duration = Duration::from_secs(10);

/// What became known of a sandbox.
#[derive(Clone, Debug)]
pub(crate) struct News {
    pub(crate) state: SandboxState,
    pub(crate) data: Option<Arc<wire::Sandbox>>,
}

impl News {
    /// Of an answer.
    pub(crate) fn of(data: &Arc<wire::Sandbox>) -> Option<Self> {
        Some(Self { state: data.state?, data: Some(Arc::clone(data)) })
    }

    /// Of an event; `None` if there is no state in it.
    pub(crate) fn read(state: Value, sandbox: Value) -> Option<Self> {
        let named = sandbox.get("state").cloned().unwrap_or_default();
        let read = |state: Value| serde_json::from_value::<SandboxState>(state).ok();
        let state = read(named).or_else(|| read(state))?;
        // Some events name a sandbox rather than describe it.
        let is_whole = sandbox.get("toolboxProxyUrl").is_some();
        let data = is_whole.then(|| serde_json::from_value(sandbox).ok()).flatten().map(Arc::new);
        Some(Self { state, data })
    }

    fn is_end(&self) -> bool {
        is_end(self.state)
    }
}

/// Nothing that ran in the sandbox goes on in this state.
fn is_end(state: SandboxState) -> bool {
    use SandboxState as S;
    matches!(
        state,
        S::Stopped
            | S::Stopping
            | S::Destroyed
            | S::Destroying
            | S::Error
            | S::BuildFailed
            | S::Archived
            | S::Archiving
    )
}

/// The sandboxes of a client that somebody waits for.
#[derive(Default)]
pub(crate) struct Rooms(PerProcess<Mutex<HashMap<String, Weak<Room>>>>);

struct Room {
    news: watch::Sender<Option<News>>,
    watcher: Mutex<Weak<Watcher>>,
}

/// The task that watches over a sandbox, and what it found.
type Watcher = Driven<watch::Receiver<Option<Error>>>;

impl Client {
    /// Tells all who wait for this sandbox.
    pub(crate) fn tell(&self, id: &str, news: impl FnOnce() -> Option<News>) {
        let Some(rooms) = self.rooms.0.get() else { return };
        let room = lock(&rooms).get(id).and_then(Weak::upgrade);
        if let Some(room) = room
            && let Some(news) = news()
        {
            room.news.send_replace(Some(news));
        }
    }
}

/// Somebody who waits for news of one sandbox.
pub(crate) struct Seat {
    client: Arc<Client>,
    id: String,
    room: Option<Arc<Room>>,
    news: watch::Receiver<Option<News>>,
}

impl Seat {
    pub(crate) fn take(client: &Arc<Client>, id: &str) -> Self {
        let rooms = client.rooms.0.get_or_make(Mutex::default);
        let mut rooms = lock(&rooms);
        let room = rooms.get(id).and_then(Weak::upgrade).unwrap_or_else(|| {
            let room = Arc::new(Room { news: watch::Sender::new(None), watcher: Mutex::new(Weak::new()) });
            rooms.insert(id.to_owned(), Arc::downgrade(&room));
            room
        });
        let news = room.news.subscribe();
        Self { client: Arc::clone(client), id: id.to_owned(), room: Some(room), news }
    }

    /// The next news; those between two calls are one.
    pub(crate) async fn news(&mut self) -> News {
        while self.news.changed().await.is_ok() {
            if let Some(news) = self.news.borrow_and_update().clone() {
                return news;
            }
        }
        std::future::pending().await
    }

    /// The next news of its end.
    async fn end(&mut self) -> News {
        loop {
            let news = self.news().await;
            if news.is_end() {
                return news;
            }
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let Some(rooms) = self.client.rooms.0.get() else { return };
        let mut rooms = lock(&rooms);
        drop(self.room.take());
        if rooms.get(&self.id).is_some_and(|room| room.strong_count() == 0) {
            rooms.remove(&self.id);
        }
    }
}

pin_project_lite::pin_project! {
    /// A call that ends with its sandbox.
    #[must_use = "futures do nothing unless awaited"]
    pub(crate) struct Guarded<'a, F> {
        #[pin]
        work: F,
        #[pin]
        patience: Sleep,
        sandbox: &'a Sandbox,
        phase: Phase,
    }
}

enum Phase {
    Young,
    Watched(Pin<Box<dyn Future<Output = Error> + Send>>),
    /// It has failed: the cause is looked for.
    Failed(Pin<Box<dyn Future<Output = Error> + Send>>),
}

/// Runs a request to a sandbox, which fails soon after the sandbox has ended.
pub(crate) fn guard<T, F: Future<Output = Result<T>>>(sandbox: &Sandbox, work: F) -> Guarded<'_, F> {
    Guarded { work, patience: sleep(PATIENCE), sandbox, phase: Phase::Young }
}

impl<T, F: Future<Output = Result<T>>> Future for Guarded<'_, F> {
    type Output = Result<T>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if !matches!(this.phase, Phase::Failed(_))
            && let Poll::Ready(result) = this.work.poll(context)
        {
            match result {
                Err(error) if may_be_its_end(&error) => {
                    let sandbox = this.sandbox.clone();
                    *this.phase = Phase::Failed(Box::pin(async move {
                        match sandbox.inner.client.link().await {
                            Ok(link) => cause(&sandbox, &link.transport, error).await,
                            Err(_) => error,
                        }
                    }));
                }
                result => return Poll::Ready(result),
            }
        }
        if matches!(this.phase, Phase::Young) {
            ready!(this.patience.poll(context));
            *this.phase = Phase::Watched(Box::pin(watched(this.sandbox.clone())));
        }
        match this.phase {
            Phase::Young => Poll::Pending,
            Phase::Watched(error) | Phase::Failed(error) => error.as_mut().poll(context).map(Err),
        }
    }
}

/// Waits until the sandbox has ended, and gives the error that says so. Nothing happens in the first second.
pub(crate) fn ended(sandbox: &Sandbox) -> impl Future<Output = Error> + Send + use<> {
    let sandbox = sandbox.clone();
    async move {
        sleep(PATIENCE).await;
        watched(sandbox).await
    }
}

/// The error of a stream that broke: that of its sandbox's end if that is the cause, else the one given. For tasks on
/// the background runtime.
pub(crate) async fn why(sandbox: &Sandbox, error: Error) -> Error {
    let error = error.of_sandbox(sandbox.id());
    match sandbox.inner.client.link().await {
        Ok(link) if may_be_its_end(&error) => cause(sandbox, &link.background, error).await,
        _ => error,
    }
}

fn may_be_its_end(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Connection | ErrorKind::BadGateway | ErrorKind::ServiceUnavailable)
}

/// The same for the task that has driven the call.
pub(crate) async fn explain(sandbox: &Sandbox, error: Error) -> Error {
    let error = error.of_sandbox(sandbox.id());
    match sandbox.inner.client.link().await {
        Ok(link) if may_be_its_end(&error) => cause(sandbox, &link.transport, error).await,
        _ => error,
    }
}

/// Asks until it is known what has ended a call, or that nothing but the connection has.
async fn cause(sandbox: &Sandbox, transport: &Transport, error: Error) -> Error {
    let begin = Instant::now();
    let mut pause = FIRST_AGAIN;
    loop {
        let again_until = match check(sandbox, transport).await {
            Checked::Ended(news) => return died(sandbox, &news).after(error),
            // Its end shows later than in what it broke. Whether another agent answers shows at once.
            Checked::Lives => match error.agent() {
                None => SETTLED,
                Some(agent) => match answering(sandbox, transport).await {
                    Ok(now) if now.as_deref() == Some(agent) => return error,
                    Ok(_) => return Error::killed(sandbox.id()).after(error),
                    Err(end) if end.kind() == ErrorKind::SandboxDied && begin.elapsed() > SETTLED => {
                        return end.of_sandbox(sandbox.id()).with_cause(error);
                    }
                    Err(_) => KNOWN_LIMIT,
                },
            },
            Checked::Unknown { is_slow: true } => KNOWN_LIMIT,
            Checked::Unknown { is_slow: false } => return error,
        };
        if begin.elapsed() + pause > again_until {
            return error;
        }
        sleep(pause).await;
        pause *= 2;
    }
}

/// Which agent answers now. The server waits for one that is just being started again.
async fn answering(sandbox: &Sandbox, transport: &Transport) -> Result<Option<String>> {
    let (_, url) = sandbox.toolbox(&["version"]).await?;
    let call = Call::get(Operation::WATCH, url).single().limit(Some(KNOWN_LIMIT));
    let (headers, _) = transport.bytes(&call).await?;
    Ok(agent_of(&headers))
}

async fn watched(sandbox: Sandbox) -> Error {
    loop {
        let watcher = watcher(&sandbox);
        if let Ok(found) = watcher.get()
            && let Ok(error) = found.clone().wait_for(Option::is_some).await.map(|error| error.clone())
            && let Some(error) = error
        {
            return error;
        }
        // Its runtime has ended.
        sleep(PATIENCE).await;
    }
}

fn watcher(sandbox: &Sandbox) -> Arc<Watcher> {
    let seat = Seat::take(&sandbox.inner.client, sandbox.id());
    let room = seat.room.clone().expect("it is left only when dropped");
    let mut slot = lock(&room.watcher);
    if let Some(watcher) = slot.upgrade()
        && watcher.get().is_ok_and(|found| found.has_changed().is_ok() && found.borrow().is_none())
    {
        return watcher;
    }
    let (sender, found) = watch::channel(None);
    let task = background::spawn(watch_over(sandbox.clone(), seat, sender));
    let watcher = Arc::new(Driven::with_task(found, &task));
    *slot = Arc::downgrade(&watcher);
    watcher
}

async fn watch_over(sandbox: Sandbox, mut seat: Seat, found: watch::Sender<Option<Error>>) {
    let Ok(link) = sandbox.inner.client.link().await else { return };
    let mut events = Events::join(&sandbox.inner.client);
    let reach = match sandbox.toolbox(&[]).await {
        Ok((_, url)) => Reach::of(&url).await,
        Err(_) => None,
    };
    let mut pace = Pace::default();
    let error = loop {
        let begin = Instant::now();
        let hint = tokio::select! {
            answer = look(&sandbox, &link.background, PROBE_LIMIT) => {
                let is_silent = answer.as_ref().is_err_and(|error| error.status().is_none());
                if let Some(error) = pace.judge(&sandbox, answer, begin.elapsed()) {
                    break error;
                }
                if is_silent && let Some(reach) = &reach && reach.is_lost(pace.usual).await {
                    break no_network(&sandbox);
                }
                tokio::select! {
                    () = sleep(pace.pause(events.as_ref().is_some_and(Joined::is_connected))) => continue,
                    () = events::changed(&mut events) => continue,
                    hint = seat.end() => hint,
                }
            }
            hint = seat.end() => hint,
            () = lost(reach.as_ref(), pace.usual) => break no_network(&sandbox),
        };
        match check(&sandbox, &link.background).await {
            Checked::Ended(news) => break died(&sandbox, &news),
            Checked::Unknown { .. } => break died(&sandbox, &hint),
            Checked::Lives => {}
        }
    };
    found.send_replace(Some(error));
}

/// Resolves when nothing answers any more; looks again and again.
async fn lost(reach: Option<&Reach>, usual: Duration) {
    let Some(reach) = reach else { return std::future::pending().await };
    loop {
        sleep(SLOW.max(usual)).await;
        if reach.is_lost(usual).await {
            return;
        }
    }
}

fn no_network(sandbox: &Sandbox) -> Error {
    let text = format!("the connection to Sandbox {} is lost: there is no network to it", sandbox.id());
    Error::new(ErrorKind::Connection, text).with_hint("Check the network")
}

/// How the probes went.
#[derive(Default)]
struct Pace {
    /// What the last one that was answered took.
    usual: Duration,
    pause: Option<Duration>,
}

impl Pace {
    fn pause(&self, has_events: bool) -> Duration {
        self.pause.unwrap_or(if has_events { QUIET_PAUSE } else { PROBE_PAUSE })
    }

    /// The error that calls in flight end with, if they do.
    fn judge(&mut self, sandbox: &Sandbox, answer: Result<wire::Sandbox>, took: Duration) -> Option<Error> {
        match read(answer) {
            Ok(news) => {
                *self = Self { usual: took, pause: None };
                sandbox.inner.client.tell(sandbox.id(), || Some(news.clone()));
                news.is_end().then(|| died(sandbox, &news))
            }
            Err(error) => {
                // A server that refuses is not pressed.
                self.pause = error.status().map(|_| self.pause.map_or(PROBE_PAUSE, |pause| pause * 2).min(QUIET_PAUSE));
                tracing::debug!(sandbox = sandbox.id(), %error, "no news of the sandbox");
                None
            }
        }
    }
}

async fn look(sandbox: &Sandbox, transport: &Transport, limit: Duration) -> Result<wire::Sandbox> {
    let url = sandbox.inner.client.link().await?.url(&["sandbox", sandbox.id()])?;
    transport.json(Call::get(Operation::WATCH, url).single().limit(Some(limit))).await
}

fn read(answer: Result<wire::Sandbox>) -> Result<News> {
    match answer {
        Ok(data) => {
            let data = Arc::new(data);
            Ok(News { state: data.state.unwrap_or_default(), data: Some(data) })
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(News { state: SandboxState::Destroyed, data: None }),
        Err(error) => Err(error),
    }
}

enum Checked {
    Ended(News),
    Lives,
    /// The API cannot be asked, or is slow.
    Unknown {
        is_slow: bool,
    },
}

async fn check(sandbox: &Sandbox, transport: &Transport) -> Checked {
    match read(look(sandbox, transport, CHECK_LIMIT).await) {
        Ok(news) if news.is_end() => Checked::Ended(news),
        Ok(_) => Checked::Lives,
        Err(error) => Checked::Unknown { is_slow: error.kind() == ErrorKind::ConnectionTimeout },
    }
}

/// Notes the end of a sandbox and names it.
fn died(sandbox: &Sandbox, news: &News) -> Error {
    sandbox.learn(news);
    let id = sandbox.id();
    let data = news.data.as_deref();
    let reason = data.and_then(|data| data.error_reason.as_deref()).filter(|reason| !reason.is_empty());
    let (what, hint) = match news.state {
        _ if data.is_some_and(|data| data.spot_evicted_at.is_some()) => {
            ("was taken back by the provider", "Create another one")
        }
        SandboxState::Destroyed | SandboxState::Destroying => ("was deleted", "Create another one"),
        SandboxState::Error | SandboxState::BuildFailed => ("failed", "Recover it or create another one"),
        SandboxState::Archived | SandboxState::Archiving => ("was archived", "Start it and call again"),
        _ => ("was stopped", "Start it and call again"),
    };
    let reason = reason.map(|reason| format!(", error reason: {reason}")).unwrap_or_default();
    let text = format!("Sandbox {id} {what} while the call was under way (state: {}{reason})", news.state);
    Error::new(ErrorKind::SandboxDied, text).with_hint(hint).with_sandbox(id)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
