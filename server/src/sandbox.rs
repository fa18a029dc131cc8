//! The sandboxes of a running server: their records, their agents, their requests.

use std::collections::{HashMap, VecDeque};
use std::ops::{Deref, DerefMut};
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use axum::http::StatusCode;
use daytona_wire::sandbox::SandboxState;
use tokio::sync::watch;

use crate::access::PreviewToken;
use crate::error::{ApiError, ApiResult, code};
use crate::events::Events;
use crate::network::{self, Gateway};
use crate::preview::Ports;
use crate::proxy::Agent;
use crate::record::Record;
use crate::time::{Millis, now};

/// One sandbox.
pub(crate) struct Sandbox {
    pub(crate) id: String,
    record: Mutex<Record>,
    events: Events,
    live: Mutex<Option<Arc<Live>>>,
    /// Held by whatever starts, stops or destroys it.
    pub(crate) operation: tokio::sync::Mutex<()>,
    pub(crate) preview_token: PreviewToken,
    last_activity: AtomicI64,
    /// What a timer does has failed: not before this time again.
    pub(crate) timers_rest_until: AtomicI64,
    requests: AtomicUsize,
}

/// A running sandbox's agent.
pub(crate) struct Live {
    pub(crate) agent: Agent,
    pub(crate) ports: Ports,
    pub(crate) socket: Arc<PathBuf>,
    network: Option<Gateway>,
    ended: watch::Sender<bool>,
    gone: watch::Sender<bool>,
}

impl Live {
    /// Resolves when the sandbox is being stopped or is gone.
    pub(crate) async fn ended(&self) {
        let _ = self.ended.subscribe().wait_for(|ended| *ended).await;
    }

    /// It is being stopped, or has ended.
    pub(crate) fn is_ending(&self) -> bool {
        *self.ended.borrow()
    }

    /// Resolves when nothing runs in it any more. Until then a connection to the agent may hold a program that has
    /// its time to end.
    pub(crate) async fn gone(&self) {
        let _ = self.gone.subscribe().wait_for(|gone| *gone).await;
    }

    /// What a request to the agent gives; `None` once the sandbox is being stopped, when the request goes on for
    /// nobody.
    pub(crate) async fn while_running<F>(self: &Arc<Self>, request: F) -> Option<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        let mut request = Box::pin(request);
        tokio::select! {
            biased;
            answer = &mut request => return Some(answer),
            () = self.ended() => {}
        }
        let live = Arc::clone(self);
        tokio::spawn(async move {
            tokio::select! {
                _ = request => {}
                () = live.gone() => {}
            }
        });
        None
    }
}

/// The end of a running sandbox, from the first refused request to when nothing runs any more, which is when this is
/// dropped.
pub(crate) struct Ending(Option<Arc<Live>>);

impl Drop for Ending {
    fn drop(&mut self) {
        if let Some(live) = &self.0 {
            live.gone.send_replace(true);
        }
    }
}

impl Sandbox {
    pub(crate) fn new(record: Record, events: Events) -> Arc<Self> {
        Arc::new(Self {
            id: record.id.clone(),
            events,
            last_activity: AtomicI64::new(record.last_activity_at),
            timers_rest_until: AtomicI64::new(0),
            record: Mutex::new(record),
            live: Mutex::new(None),
            operation: tokio::sync::Mutex::new(()),
            preview_token: PreviewToken::default(),
            requests: AtomicUsize::new(0),
        })
    }

    /// The record, locked; held for a few instructions only, never across an await. A new state is
    /// announced when the lock is released.
    pub(crate) fn record(&self) -> Locked<'_> {
        let record = self.record.lock().unwrap_or_else(PoisonError::into_inner);
        Locked { sandbox: self, state: record.state, record }
    }

    /// The record as it is now, with the time of the last activity.
    pub(crate) fn snapshot(&self) -> Record {
        let mut record = self.record().clone();
        record.last_activity_at = self.last_activity();
        record
    }

    fn live_slot(&self) -> MutexGuard<'_, Option<Arc<Live>>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The agent, while the sandbox runs.
    pub(crate) fn live(&self) -> Option<Arc<Live>> {
        self.live_slot().clone()
    }

    /// The agent, while requests to it are answered: not while it is frozen.
    pub(crate) fn reachable(&self) -> Option<Arc<Live>> {
        let frozen = matches!(self.record().state, SandboxState::Pausing | SandboxState::Paused);
        self.live().filter(|_| !frozen)
    }

    /// From now on requests go to the agent behind this socket. `network` is the sandbox's own, if it has one.
    pub(crate) fn go_live(&self, socket: PathBuf, network: Option<Gateway>) {
        self.preview_token.rotate();
        let socket = Arc::new(socket);
        let live = Live {
            agent: Agent::new(Arc::clone(&socket)),
            ports: Ports::new(Arc::clone(&socket)),
            socket,
            network,
            ended: watch::Sender::new(false),
            gone: watch::Sender::new(false),
        };
        *self.live_slot() = Some(Arc::new(live));
    }

    /// Holds a running sandbox to what its record says that it may reach.
    pub(crate) fn limit_network(&self) -> ApiResult<()> {
        // Under the lock, so that the last change wins.
        let record = self.record();
        if let Some(gateway) = self.live().as_ref().and_then(|live| live.network.as_ref()) {
            gateway.limit(network::policy(&record)?);
        }
        Ok(())
    }

    /// No more requests; those under way are answered at once.
    #[must_use = "it is the end of the programs that requests wait for when this is dropped"]
    pub(crate) fn end_live(&self) -> Ending {
        let live = self.live_slot().take();
        if let Some(live) = &live {
            live.ended.send_replace(true);
        }
        Ending(live)
    }

    /// When something was last done with it.
    pub(crate) fn last_activity(&self) -> Millis {
        self.last_activity.load(Ordering::Relaxed)
    }

    /// Something is done with it now.
    pub(crate) fn touch(&self) {
        self.last_activity.store(now(), Ordering::Relaxed);
    }

    /// Since when nothing was done with it; `None` while a request runs.
    pub(crate) fn idle_since(&self) -> Option<Millis> {
        (self.requests.load(Ordering::Relaxed) == 0).then(|| self.last_activity())
    }

    /// Why a request cannot go to its agent now.
    pub(crate) fn not_running(&self) -> ApiError {
        let record = self.record();
        let id = &record.id;
        match record.state {
            SandboxState::Destroying | SandboxState::Destroyed => gone(id),
            state => {
                let way_out = match state {
                    SandboxState::Stopped => "; start it first",
                    SandboxState::Paused => "; start it first: it goes on where it was",
                    SandboxState::Archived | SandboxState::Archiving => "; start it first, which restores it",
                    SandboxState::Error if record.recoverable => "; see its errorReason, then recover it",
                    SandboxState::Error | SandboxState::BuildFailed => "; see its errorReason, then delete it",
                    _ => "; wait until it is started",
                };
                ApiError::new(
                    StatusCode::CONFLICT,
                    code::SANDBOX_NOT_RUNNING,
                    format!("Sandbox {id} is {state}{way_out}"),
                )
            }
        }
    }

    /// Why a request that was under way got no answer.
    pub(crate) fn ended_meanwhile(&self) -> ApiError {
        let record = self.record();
        let id = &record.id;
        match record.state {
            SandboxState::Destroying | SandboxState::Destroyed => gone(id),
            state => ApiError::new(
                StatusCode::BAD_GATEWAY,
                code::SANDBOX_STOPPED,
                format!(
                    "Sandbox {id} ended while the request was running; it is {state}. What the \
                     request had done until then is not undone"
                ),
            ),
        }
    }
}

/// A sandbox's record, locked.
pub(crate) struct Locked<'a> {
    sandbox: &'a Sandbox,
    record: MutexGuard<'a, Record>,
    /// The state that clients know.
    state: SandboxState,
}

impl Deref for Locked<'_> {
    type Target = Record;

    fn deref(&self) -> &Record {
        &self.record
    }
}

impl DerefMut for Locked<'_> {
    fn deref_mut(&mut self) -> &mut Record {
        &mut self.record
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        // Under the lock, so that clients see the states in their order.
        if self.record.state != self.state {
            self.sandbox
                .events
                .state(self.state, || Record { last_activity_at: self.sandbox.last_activity(), ..self.record.clone() });
        }
    }
}

fn name_taken(name: &str) -> ApiError {
    ApiError::new(StatusCode::CONFLICT, code::SANDBOX_NAME_TAKEN, format!("Sandbox with name {name} already exists"))
}

fn gone(id: &str) -> ApiError {
    ApiError::new(StatusCode::GONE, code::SANDBOX_DESTROYED, format!("Sandbox {id} was deleted"))
}

/// A request under way: keeps the sandbox from being idle until it is dropped.
pub(crate) struct Activity(Arc<Sandbox>);

impl Activity {
    pub(crate) fn begin(sandbox: &Arc<Sandbox>) -> Self {
        sandbox.touch();
        sandbox.requests.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(sandbox))
    }
}

impl Drop for Activity {
    fn drop(&mut self) {
        self.0.touch();
        self.0.requests.fetch_sub(1, Ordering::Relaxed);
    }
}

/// All sandboxes, by id and by name.
pub(crate) struct Registry {
    maps: RwLock<Maps>,
    events: Events,
}

#[derive(Default)]
struct Maps {
    by_id: HashMap<String, Arc<Sandbox>>,
    id_by_name: HashMap<String, String>,
    /// The last that waited too long: who waits for one is still to find out.
    given_up: VecDeque<Arc<Sandbox>>,
}

/// Of those so many are remembered.
const GIVEN_UP: usize = 100;

impl Registry {
    pub(crate) fn new(events: Events) -> Self {
        Self { maps: RwLock::default(), events }
    }

    fn read(&self) -> RwLockReadGuard<'_, Maps> {
        self.maps.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Maps> {
        self.maps.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds one; 409 if its name is taken.
    pub(crate) fn add(&self, record: Record) -> ApiResult<Arc<Sandbox>> {
        let mut maps = self.write();
        if maps.id_by_name.contains_key(&record.name) || maps.by_id.contains_key(&record.name) {
            return Err(name_taken(&record.name));
        }
        maps.id_by_name.insert(record.name.clone(), record.id.clone());
        self.events.created(&record);
        let sandbox = Sandbox::new(record, self.events.clone());
        maps.by_id.insert(sandbox.id.clone(), Arc::clone(&sandbox));
        Ok(sandbox)
    }

    /// Gives one another name; 409 if that is taken.
    pub(crate) fn rename(&self, sandbox: &Sandbox, name: &str) -> ApiResult<()> {
        let mut maps = self.write();
        let old = sandbox.record().name.clone();
        if old == name {
            return Ok(());
        }
        if maps.id_by_name.contains_key(name) || maps.by_id.contains_key(name) {
            return Err(name_taken(name));
        }
        maps.id_by_name.remove(&old);
        maps.id_by_name.insert(name.to_owned(), sandbox.id.clone());
        name.clone_into(&mut sandbox.record().name);
        Ok(())
    }

    /// Forgets one.
    pub(crate) fn remove(&self, sandbox: &Sandbox) {
        let name = sandbox.record().name.clone();
        let mut maps = self.write();
        maps.by_id.remove(&sandbox.id);
        maps.id_by_name.remove(&name);
    }

    /// Forgets one that waited too long, but for [`Self::show`].
    pub(crate) fn give_up(&self, sandbox: &Arc<Sandbox>) {
        let mut maps = self.write();
        if maps.given_up.len() >= GIVEN_UP {
            maps.given_up.pop_front();
        }
        maps.given_up.push_back(Arc::clone(sandbox));
    }

    /// One to look at: also one that waited too long, by its id.
    pub(crate) fn show(&self, id_or_name: &str) -> ApiResult<Arc<Sandbox>> {
        self.find(id_or_name)
            .or_else(|error| self.read().given_up.iter().find(|sandbox| sandbox.id == id_or_name).cloned().ok_or(error))
    }

    /// One by its id, or else by its name.
    pub(crate) fn find(&self, id_or_name: &str) -> ApiResult<Arc<Sandbox>> {
        let maps = self.read();
        let id = maps.id_by_name.get(id_or_name);
        maps.by_id
            .get(id_or_name)
            .or_else(|| maps.by_id.get(id?))
            .cloned()
            .ok_or_else(|| ApiError::sandbox_not_found(id_or_name))
    }

    /// All of them, in no order.
    pub(crate) fn all(&self) -> Vec<Arc<Sandbox>> {
        self.read().by_id.values().cloned().collect()
    }
}
