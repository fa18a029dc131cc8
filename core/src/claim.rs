//! What a call makes on the server, until its caller has it.
//!
//! A request that makes something is sent by a task of the background runtime, and the caller waits for that task. If
//! the caller stops waiting (a cancelled future, a time limit, the end of the program), the task still takes the answer
//! and deletes what was made: nothing runs that nobody has a handle to. The end of a program waits for that, within
//! bounds ([`crate::finish_work`]); of a program that was killed, the local server notices that the connection is gone.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use http::Method;
use reqwest::Url;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep, timeout};

use crate::background::{self, PerProcess};
use crate::client::Client;
use crate::error::{Error, ErrorKind, Result};
use crate::operation::Operation;
use crate::transport::{Call, seconds};

/// How long an answer that nobody waits for any more is waited for.
const LATE_ANSWER: Duration = Duration::from_secs(300);
/// How long the server may refuse a deletion because what is to be deleted is still being made.
const DELETE_LIMIT: Duration = Duration::from_secs(60);
/// How long a server that gave no answer may take to show what it has made.
const SHOWN_LIMIT: Duration = Duration::from_secs(10);
const REQUEST_LIMIT: Duration = Duration::from_secs(30);
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LAST_PAUSE: Duration = Duration::from_millis(500);
/// How often a server out of reach is asked to delete something.
const UNREACHED: u32 = 4;

static OPEN: PerProcess<Open> = PerProcess::new();

/// Deletes what was made.
pub(crate) type Undo = BoxFuture<'static, ()>;

/// What was made and is nobody's yet, and what is being deleted.
#[derive(Default)]
struct Open {
    slots: Mutex<HashMap<u64, Slot>>,
    next: AtomicU64,
    count: watch::Sender<usize>,
}

enum Slot {
    /// Asked for. It may be possible to delete it without the answer.
    Asked(Option<Undo>),
    /// Asked for, and not wanted any more.
    Unwanted,
    Made(Undo),
    Deleting,
}

impl Open {
    fn here() -> Arc<Self> {
        OPEN.get_or_make(Self::default)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ask(self: &Arc<Self>, undo: Option<Undo>) -> Asked {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let mut slots = self.lock();
        slots.insert(id, Slot::Asked(undo));
        self.count.send_replace(slots.len());
        Asked(Some(Entry { open: Arc::clone(self), id }))
    }

    fn close(&self, id: u64) {
        let mut slots = self.lock();
        slots.remove(&id);
        self.count.send_replace(slots.len());
    }

    /// Deletes something, and is open until that is done.
    fn delete(self: &Arc<Self>, runtime: &Handle, id: u64, undo: Undo) {
        let entry = Asked(Some(Entry { open: Arc::clone(self), id }));
        drop(runtime.spawn(async move {
            undo.await;
            drop(entry);
        }));
    }
}

struct Entry {
    open: Arc<Open>,
    id: u64,
}

/// A place in the list, which is left when this is dropped.
struct Asked(Option<Entry>);

impl Drop for Asked {
    fn drop(&mut self) {
        if let Some(Entry { open, id }) = &self.0 {
            open.close(*id);
        }
    }
}

/// Deletes what was made when it is dropped, unless it is kept.
pub(crate) struct Claim {
    entry: Entry,
    runtime: Handle,
    process: u32,
}

impl Claim {
    /// The caller has it now.
    ///
    /// # Errors
    /// The program is ending and has begun to delete it.
    pub(crate) fn keep(self) -> Result<()> {
        let Entry { open, id } = &self.entry;
        let mut slots = open.lock();
        if !matches!(slots.get(id), Some(Slot::Made(_))) {
            return Err(background::stopped());
        }
        slots.remove(id);
        open.count.send_replace(slots.len());
        Ok(())
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // A fork has a copy of what is its parent's.
        if self.process != std::process::id() {
            return;
        }
        let Entry { open, id } = &self.entry;
        let mut slots = open.lock();
        let Some(slot) = slots.get_mut(id) else { return };
        match std::mem::replace(slot, Slot::Deleting) {
            Slot::Made(undo) => {
                drop(slots);
                open.delete(&self.runtime, *id, undo);
            }
            other => *slot = other,
        }
    }
}

/// Something that was made and that nobody has yet: dropping it deletes it.
#[must_use = "dropping it deletes what was made"]
pub struct Made<T> {
    value: T,
    claim: Option<Claim>,
}

impl<T> Made<T> {
    pub(crate) fn new(value: T, claim: Option<Claim>) -> Self {
        Self { value, claim }
    }

    /// Hands it over: from now on it stays.
    ///
    /// # Errors
    /// `Connection` if the program is ending and it is being deleted already.
    pub fn keep(self) -> Result<T> {
        if let Some(claim) = self.claim {
            claim.keep()?;
        }
        Ok(self.value)
    }

    /// What was made.
    pub fn get(&self) -> &T {
        &self.value
    }

    /// The same in another form, which is made.
    ///
    /// # Errors
    /// Those of `change`; what was made is deleted then.
    pub fn map<U>(self, change: impl FnOnce(T) -> Result<U>) -> Result<Made<U>> {
        Ok(Made { value: change(self.value)?, claim: self.claim })
    }
}

/// How something is deleted of which there is no answer.
pub(crate) struct ByName {
    pub(crate) operation: Operation,
    pub(crate) url: Url,
}

/// Sends a request that makes something. `undo` tells how to delete what its answer names, `by_name` how to delete it
/// where there is no answer: only given if nobody else can have chosen that name.
pub(crate) async fn make<T>(
    client: &Arc<Client>,
    mut call: Call<'static>,
    by_name: Option<ByName>,
    undo: impl FnOnce(&T) -> Result<Undo> + Send + 'static,
) -> Result<(T, Claim)>
where
    T: DeserializeOwned + Send + 'static,
{
    let link = client.link().await?;
    let limit = link.transport.limit_of(call.limit);
    let operation = call.operation;
    // The task waits longer than the caller does.
    call.limit = Some(Duration::ZERO);
    let runtime = background::handle();
    let is_here = Handle::current().id() == runtime.id();
    let waiting = async {
        let slot = if is_here { None } else { link.transport.reserve(&call.url).await? };
        let nameless = by_name.map(|ByName { operation, url }| remove(Arc::clone(client), operation, url, true));
        let asked = Open::here().ask(nameless);
        let (tell, told) = oneshot::channel();
        let task = ask(Arc::clone(client), call, is_here, asked, runtime, undo, tell);
        background::spawn(async move {
            task.await;
            drop(slot);
        });
        told.await.unwrap_or_else(|_| Err(background::stopped()))
    };
    if limit.is_zero() {
        return waiting.await;
    }
    let late = || Err(crate::transport::late_answer(limit).with_operation(operation));
    timeout(limit, waiting).await.unwrap_or_else(|_| late())
}

async fn ask<T: DeserializeOwned>(
    client: Arc<Client>,
    call: Call<'static>,
    is_here: bool,
    mut asked: Asked,
    runtime: Handle,
    undo: impl FnOnce(&T) -> Result<Undo>,
    mut tell: oneshot::Sender<Result<(T, Claim)>>,
) {
    if tell.is_closed() {
        return;
    }
    let request = async {
        let link = client.link().await?;
        let transport = if is_here { &link.transport } else { &*link.background };
        transport.json::<T>(call).await
    };
    let answer = tokio::select! {
        answer = request => answer,
        () = async {
            tell.closed().await;
            sleep(LATE_ANSWER).await;
        } => Err(background::stopped()),
    };
    let made = answer.and_then(|made| Ok((undo(&made)?, made)));
    let Some(Entry { open, id }) = &asked.0 else { return };
    let slot = open.lock().insert(*id, Slot::Deleting);
    match (made, slot) {
        (Ok((undo, made)), Some(Slot::Asked(_))) => {
            open.lock().insert(*id, Slot::Made(undo));
            let Some(entry) = asked.0.take() else { return };
            let claim = Claim { entry, runtime, process: std::process::id() };
            // Where nobody waits for it, it is dropped.
            drop(tell.send(Ok((made, claim))));
        }
        (Ok((undo, _)), _) => {
            drop(tell.send(Err(background::stopped())));
            undo.await;
        }
        (Err(error), slot) => {
            let may_be_there = may_be_there(&error);
            drop(tell.send(Err(error)));
            if let Some(Slot::Asked(Some(undo))) = slot
                && may_be_there
            {
                undo.await;
            }
        }
    }
}

/// Whether what was asked for may have been made in spite of an error.
pub(crate) fn may_be_there(error: &Error) -> bool {
    !error.was_not_sent()
        && (matches!(error.status(), None | Some(408 | 502..=504)) && error.kind() != ErrorKind::InvalidArgument)
}

/// Deletes one thing, also if it is still being made; one that is gone is fine. With `may_come` it may be there only
/// later.
pub(crate) fn remove(client: Arc<Client>, operation: Operation, url: Url, may_come: bool) -> Undo {
    Box::pin(async move {
        let begin = Instant::now();
        let (mut pause, mut unreached) = (FIRST_PAUSE, 0);
        let error = loop {
            let deleted = async {
                let call = Call::new(operation, Method::DELETE, url.clone()).single().limit(Some(REQUEST_LIMIT));
                client.link().await?.background.empty(call).await
            };
            let Err(error) = deleted.await else { return };
            let waits = match error.status() {
                Some(404 | 410) if !may_come => return,
                Some(404 | 410) if begin.elapsed() >= SHOWN_LIMIT => return,
                Some(404 | 410) => true,
                Some(400 | 408 | 409 | 429 | 500..) => begin.elapsed() < DELETE_LIMIT,
                None => {
                    unreached += 1;
                    unreached < UNREACHED
                }
                Some(_) => false,
            };
            if !waits {
                break error;
            }
            sleep(pause).await;
            pause = (pause * 2).min(LAST_PAUSE);
        };
        tracing::warn!(%error, %url, "what a call made that was called off was not deleted");
    })
}

/// Sends a request that makes something which has a path of its own.
pub(crate) async fn make_at<T>(
    client: &Arc<Client>,
    operation: Operation,
    path: &[&str],
    body: &impl Serialize,
    timeout: Option<f64>,
    made_at: impl FnOnce(&T) -> Vec<String> + Send + 'static,
) -> Result<Made<T>>
where
    T: DeserializeOwned + Send + 'static,
{
    let limit = seconds("request_timeout", timeout)?;
    let link = client.link().await?;
    let call = Call::post(operation, link.url(path)?).json(body)?.limit(limit);
    let base = link.base().to_owned();
    let owner = Arc::clone(client);
    let undo = move |made: &T| {
        let path = made_at(made);
        let url = crate::client::join(&base, &path.iter().map(String::as_str).collect::<Vec<_>>())?;
        Ok(remove(owner, operation, url, false))
    };
    let (made, claim) = make(client, call, None, undo).await?;
    Ok(Made::new(made, Some(claim)))
}

/// Whether this process has made something that nobody has, or is deleting it.
pub(crate) fn is_open() -> bool {
    OPEN.get().is_some_and(|open| !open.lock().is_empty())
}

/// Deletes all that nobody has by now, and waits until that is done.
pub(crate) async fn finish() {
    let Some(open) = OPEN.get() else { return };
    let runtime = background::handle();
    let ids: Vec<u64> = open.lock().keys().copied().collect();
    for id in ids {
        let mut slots = open.lock();
        let Some(slot) = slots.get_mut(&id) else { continue };
        match std::mem::replace(slot, Slot::Deleting) {
            Slot::Made(undo) => {
                drop(slots);
                open.delete(&runtime, id, undo);
            }
            Slot::Asked(undo) => {
                *slot = Slot::Unwanted;
                drop(slots);
                if let Some(undo) = undo {
                    // What is gone before the answer comes needs no answer.
                    open.delete(&runtime, id, undo);
                }
            }
            other => *slot = other,
        }
    }
    let _ = open.count.subscribe().wait_for(|count| *count == 0).await;
}
