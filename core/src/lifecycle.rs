//! A sandbox's life: what changes its state, and waiting for that.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use daytona_wire::sandbox::{self as wire, CreateSandboxSnapshot, ForkSandbox, ResizeSandbox, SandboxState};
use futures_util::FutureExt as _;
use http::Method;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::claim::{self, Claim, Made};
use crate::create;
use crate::daytona::{LIFECYCLE_LIMIT, Resources};
use crate::error::{Error, ErrorKind, Result};
use crate::events::{self, Events, Joined};
use crate::operation::Operation;
use crate::sandbox::Sandbox;
use crate::transport::{Call, seconds};
use crate::watch::{News, Seat};

const FIRST_POLL: Duration = Duration::from_millis(100);
const LAST_POLL: Duration = Duration::from_secs(1);
/// How long events may take to tell what an answer has not.
const EVENTS_FIRST: Duration = Duration::from_millis(25);
/// Polls stay quick for this long.
const QUICK_POLLS: Duration = Duration::from_secs(5);

/// Where a wait is to end.
#[derive(Clone, Copy)]
pub(crate) enum Goal {
    /// In one of these states.
    Reach(&'static [SandboxState]),
    /// In any good state but this one.
    Leave(SandboxState),
}

pub(crate) const STARTED: Goal = Goal::Reach(&[SandboxState::Started]);
const STOPPED: Goal = Goal::Reach(&[SandboxState::Stopped, SandboxState::Destroyed]);
const DESTROYED: Goal = Goal::Reach(&[SandboxState::Destroyed]);

impl Goal {
    fn is_met(self, state: SandboxState) -> bool {
        use SandboxState as S;
        match self {
            Self::Reach(states) => states.contains(&state),
            Self::Leave(left) => {
                state != left && !matches!(state, S::Error | S::BuildFailed | S::Destroying | S::Destroyed)
            }
        }
    }
}

impl Sandbox {
    /// Starts it and waits until it has started.
    ///
    /// # Errors
    /// `Timeout` after `timeout` seconds (default 60, 0 is none); `Other` with the reason if it fails.
    pub async fn start(&self, timeout: Option<f64>) -> Result<()> {
        self.lifecycle("start", Operation::START, timeout, async {
            self.change(Operation::START, Method::POST, &["start"], &[]).await?;
            self.wait_for(STARTED, Operation::START).await
        })
        .await
    }

    /// Stops it and waits until it has stopped; an ephemeral sandbox is destroyed by that.
    ///
    /// # Errors
    /// As [`Sandbox::start`].
    pub async fn stop(&self, timeout: Option<f64>, force: bool) -> Result<()> {
        self.lifecycle("stop", Operation::STOP, timeout, async {
            let query: &[(&str, &str)] = if force { &[("force", "true")] } else { &[] };
            self.change(Operation::STOP, Method::POST, &["stop"], query).await?;
            self.wait_for(STOPPED, Operation::STOP).await
        })
        .await
    }

    /// Deletes it; with `wait`, returns only when it is destroyed.
    ///
    /// # Errors
    /// As [`Sandbox::start`].
    pub async fn delete(&self, timeout: Option<f64>, wait: bool) -> Result<()> {
        self.lifecycle("delete", Operation::DELETE, timeout, async {
            match self.change(Operation::DELETE, Method::DELETE, &[], &[]).await {
                // An earlier request, whose answer was lost, may be what stands in the way of its repetition.
                Err(error)
                    if error.attempts() > 1
                        && error.kind().is(ErrorKind::Conflict)
                        && self.is_being_deleted().await => {}
                done => done?,
            }
            self.inner.client.tell(self.id(), || Some(News { state: SandboxState::Destroying, data: None }));
            if wait { self.wait_for(DESTROYED, Operation::DELETE).await } else { Ok(()) }
        })
        .await
    }

    /// Waits until it has started.
    ///
    /// # Errors
    /// As [`Sandbox::start`].
    pub async fn wait_until_started(&self, timeout: Option<f64>) -> Result<()> {
        let operation = Operation::WAIT_START;
        self.lifecycle("wait_for_sandbox_start", operation, timeout, self.wait_for(STARTED, operation)).await
    }

    /// Waits until it has stopped or is destroyed.
    ///
    /// # Errors
    /// As [`Sandbox::start`].
    pub async fn wait_until_stopped(&self, timeout: Option<f64>) -> Result<()> {
        let operation = Operation::WAIT_STOP;
        self.lifecycle("wait_for_sandbox_stop", operation, timeout, self.wait_for(STOPPED, operation)).await
    }

    /// Freezes everything that runs in it and waits until it has; memory is kept. [`Sandbox::start`] lets it go on.
    ///
    /// # Errors
    /// As [`Sandbox::start`]; `BadRequest` unless it is started; `Unsupported` where nothing can be frozen.
    pub async fn pause(&self, timeout: Option<f64>) -> Result<()> {
        self.lifecycle("pause", Operation::PAUSE, timeout, async {
            self.change(Operation::PAUSE, Method::POST, &["pause"], &[]).await?;
            self.wait_for(Goal::Leave(SandboxState::Pausing), Operation::PAUSE).await
        })
        .await
    }

    /// Packs a stopped sandbox away, to save room; does not wait until that is done. [`Sandbox::start`] brings it back.
    ///
    /// # Errors
    /// `BadRequest` unless it is stopped and not ephemeral.
    pub async fn archive(&self, timeout: Option<f64>) -> Result<()> {
        let operation = Operation::ARCHIVE;
        let work = async {
            let limit = seconds("request_timeout", timeout)?;
            let link = self.inner.client.link().await?;
            let url = link.url(&["sandbox", self.id(), "archive"])?;
            let data: Option<wire::Sandbox> =
                link.transport.json_if_any(Call::post(operation, url).limit(limit)).await?;
            let data = match data {
                Some(data) => data,
                None => self.inner.client.get(self.id(), operation, timeout).await?,
            };
            self.set(data);
            Ok(())
        };
        self.observe(operation, work).await.map_err(|error| error.with_sandbox(self.id()))
    }

    /// Brings it back from an error that it can come back from, and waits until it has started. `accept_loss` lets it
    /// begin again without the files that it has lost; only servers of this project know that.
    ///
    /// # Errors
    /// As [`Sandbox::start`]; `BadRequest` unless it is in such an error; `Conflict` if its files are lost, which says
    /// what it would begin with.
    pub async fn recover(&self, timeout: Option<f64>, accept_loss: bool) -> Result<()> {
        self.lifecycle("recover", Operation::RECOVER, timeout, async {
            let query: &[_] = if accept_loss { &[("acceptLoss", "true")] } else { &[] };
            self.change(Operation::RECOVER, Method::POST, &["recover"], query).await?;
            self.wait_for(STARTED, Operation::RECOVER).await
        })
        .await
    }

    /// Gives it more or fewer cores, memory or disk, and waits until it has them. While it runs only more cores and
    /// memory; a disk grows while it is stopped.
    ///
    /// # Errors
    /// As [`Sandbox::start`]; `InvalidArgument` if nothing is given, a value is below 1, or with a GPU; `BadRequest`
    /// for what its state forbids.
    pub async fn resize(&self, resources: &Resources, timeout: Option<f64>) -> Result<()> {
        self.lifecycle("resize", Operation::RESIZE, timeout, async {
            let Resources { cpu, memory, disk, gpu, gpu_type } = resources;
            if gpu.is_some() || gpu_type.is_some() {
                return Err(Error::invalid("a GPU cannot be resized. Create another sandbox with it"));
            }
            let sizes = [("cpu", cpu), ("memory", memory), ("disk", disk)];
            if sizes.iter().all(|(_, size)| size.is_none()) {
                return Err(Error::invalid("resources must have at least one of cpu, memory and disk"));
            }
            if let Some((name, _)) = sizes.iter().find(|(_, size)| size.is_some_and(|size| size < 1)) {
                return Err(Error::invalid(format!("{name} must be a positive integer")));
            }
            let body = ResizeSandbox { cpu: *cpu, memory: *memory, disk: *disk };
            self.set(self.post(Operation::RESIZE, "resize", &body).await?);
            self.wait_for(Goal::Leave(SandboxState::Resizing), Operation::RESIZE).await
        })
        .await
    }

    /// Waits until it is no longer being resized.
    ///
    /// # Errors
    /// As [`Sandbox::start`].
    pub async fn wait_for_resize_complete(&self, timeout: Option<f64>) -> Result<()> {
        let operation = Operation::WAIT_RESIZE;
        self.lifecycle("wait_for_resize_complete", operation, timeout, async {
            if self.state() != SandboxState::Resizing {
                return Ok(());
            }
            self.wait_for(Goal::Leave(SandboxState::Resizing), operation).await
        })
        .await
    }

    /// Makes another sandbox with its files as they are now and with its settings, and waits until that has started.
    /// Nothing that runs in it runs in the other one. If this is dropped before, or its time is over before the server
    /// has told the fork's id, the fork is deleted.
    ///
    /// # Errors
    /// As [`Sandbox::start`], with the fork's id once that is known, and then the fork stays; `BadRequest` unless it is
    /// started; `Conflict` if the name is taken.
    pub async fn fork(&self, name: Option<String>, timeout: Option<f64>) -> Result<Self> {
        self.make_fork(name, timeout).await?.keep()
    }

    /// The same for a caller that hands it on: until then it can still be called off.
    ///
    /// # Errors
    /// As [`Sandbox::fork`].
    pub async fn make_fork(&self, name: Option<String>, timeout: Option<f64>) -> Result<Made<Self>> {
        let made = OnceLock::new();
        let claim = Mutex::new(None);
        let take = || claim.lock().unwrap_or_else(PoisonError::into_inner).take();
        let work = bounded("fork", timeout, async {
            if name.as_ref().is_some_and(|name| name.trim().is_empty()) {
                return Err(Error::invalid("the name of a fork must not be empty. Leave it out to have one made"));
            }
            let client = &self.inner.client;
            let mut body = ForkSandbox { name };
            let by_name = create::by_name(client, Operation::FORK, &mut body.name).await?;
            let call = self.call(Operation::FORK, "fork", &body).await?;
            let (data, owned): (wire::Sandbox, Claim) =
                claim::make(client, call, by_name, create::undo(client)).await?;
            let _ = made.set(data.id.clone());
            *claim.lock().unwrap_or_else(PoisonError::into_inner) = Some(owned);
            let fork = Self::new(Arc::clone(client), data)?;
            fork.wait_for(STARTED, Operation::FORK).await?;
            Ok(fork)
        });
        let error = match self.observe(Operation::FORK, work).await {
            Ok(fork) => return Ok(Made::new(fork, take())),
            Err(error) => error,
        };
        // An error that names the fork hands it over.
        if let Some(claim) = take() {
            let _ = claim.keep();
        }
        let is_late = error.kind() == ErrorKind::Timeout;
        Err(match made.get() {
            Some(id) if is_late => error.with_sandbox(id).with_hint(format!(
                "The fork {id} was created before the timeout and may still be starting. Use get({id:?}) to follow it \
                 or delete it"
            )),
            Some(id) => error.with_sandbox(id),
            None if is_late => {
                error.with_sandbox(self.id()).with_hint("A fork that the server still makes of it is deleted")
            }
            None => error.with_sandbox(self.id()),
        })
    }

    /// Makes a snapshot of its files, from which sandboxes can be created, and waits until it is in its former state
    /// again. If this is dropped before, or its time is over before the server has begun, the snapshot is deleted.
    ///
    /// # Errors
    /// As [`Sandbox::start`]; `InvalidArgument` for a blank name; `Conflict` if the name is taken; `BadRequest` unless
    /// it is started or stopped.
    pub async fn create_snapshot(&self, name: &str, timeout: Option<f64>) -> Result<()> {
        self.make_snapshot(name, timeout).await?.keep()
    }

    /// The same for a caller that hands it on: until then it can still be called off.
    ///
    /// # Errors
    /// As [`Sandbox::create_snapshot`].
    pub async fn make_snapshot(&self, name: &str, timeout: Option<f64>) -> Result<Made<()>> {
        let operation = Operation::CREATE_SANDBOX_SNAPSHOT;
        let claim = Mutex::new(None);
        let take = || claim.lock().unwrap_or_else(PoisonError::into_inner).take();
        let work = self.lifecycle("create_snapshot", operation, timeout, async {
            if name.trim().is_empty() {
                return Err(Error::invalid("the name of a snapshot must not be empty"));
            }
            let body = CreateSandboxSnapshot { name: name.to_owned(), include_memory: None };
            let client = Arc::clone(&self.inner.client);
            let call = self.call(operation, "snapshot", &body).await?;
            let undo = {
                let (client, name) = (Arc::clone(&client), name.to_owned());
                move |_: &wire::Sandbox| Ok(crate::snapshot::undo(client, name))
            };
            let (data, owned) = claim::make(&client, call, None, undo).await?;
            *claim.lock().unwrap_or_else(PoisonError::into_inner) = Some(owned);
            self.set(data);
            self.wait_for(Goal::Leave(SandboxState::Snapshotting), operation).await
        });
        match work.await {
            Ok(()) => Ok(Made::new((), take())),
            Err(error) => {
                // It has the name that the caller chose.
                if let Some(claim) = take() {
                    let _ = claim.keep();
                }
                Err(error)
            }
        }
    }

    /// A POST with a body, bounded from outside, together with the waiting.
    async fn post(&self, operation: Operation, path: &str, body: &impl serde::Serialize) -> Result<wire::Sandbox> {
        let call = self.call(operation, path, body).await?;
        self.inner.client.link().await?.transport.json(call).await
    }

    async fn call(&self, operation: Operation, path: &str, body: &impl serde::Serialize) -> Result<Call<'static>> {
        let url = self.inner.client.link().await?.url(&["sandbox", self.id(), path])?;
        Ok(Call::post(operation, url).json(body)?.limit(Some(Duration::ZERO)))
    }

    async fn change(&self, operation: Operation, method: Method, path: &[&str], query: &[(&str, &str)]) -> Result<()> {
        let link = self.inner.client.link().await?;
        let mut url = link.url(&[&["sandbox", self.id()], path].concat())?;
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        // Bounded from outside, together with the waiting.
        let call = Call::new(operation, method, url).limit(Some(Duration::ZERO));
        if let Some(data) = link.transport.json_if_any(call).await? {
            self.set(data);
        }
        Ok(())
    }

    async fn is_being_deleted(&self) -> bool {
        match self.inner.client.get(self.id(), Operation::DELETE, None).await {
            Ok(data) => matches!(data.state, Some(SandboxState::Destroying | SandboxState::Destroyed)),
            Err(error) => error.kind().is(ErrorKind::NotFound),
        }
    }

    async fn lifecycle<T>(
        &self,
        name: &str,
        operation: Operation,
        timeout: Option<f64>,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let work = self.observe(operation, bounded(name, timeout, work));
        work.await.map_err(|error| error.with_sandbox(self.id()))
    }

    /// Waits until it is there; the caller bounds the time. Told by events, or by whoever finds out
    /// first; polled for every second with events, else more often.
    pub(crate) async fn wait_for(&self, goal: Goal, operation: Operation) -> Result<()> {
        self.wait(goal, operation, None).await
    }

    /// The same right after an answer that told all there was to tell: where events come already, they have a moment to
    /// tell the rest before the server is asked.
    pub(crate) async fn wait_after_answer(&self, goal: Goal, operation: Operation) -> Result<()> {
        self.wait(goal, operation, Events::join_open(&self.inner.client)).await
    }

    async fn wait(&self, goal: Goal, operation: Operation, mut events: Option<Joined>) -> Result<()> {
        if goal.is_met(self.state()) {
            return Ok(());
        }
        let client = &self.inner.client;
        let mut seat = Seat::take(client, self.id());
        if events.is_some() {
            let _ = timeout(EVENTS_FIRST, self.learn_until(goal, &mut seat)).await;
            if goal.is_met(self.state()) {
                return Ok(());
            }
        }
        let begin = Instant::now();
        let mut pause = FIRST_POLL;
        loop {
            match client.get(self.id(), operation, None).await {
                Ok(data) => self.set(data),
                Err(error) if error.kind() == ErrorKind::NotFound => self.set_state(SandboxState::Destroyed),
                Err(error) => return Err(error),
            }
            let has_events = events.as_ref().is_some_and(Joined::is_connected);
            let next = sleep(if has_events { LAST_POLL } else { pause });
            tokio::pin!(next);
            loop {
                if goal.is_met(self.state()) {
                    return Ok(());
                }
                self.refuse_end(goal)?;
                tokio::select! {
                    news = seat.news() => self.learn(&news),
                    () = events::changed(&mut events) => break,
                    () = &mut next => break,
                }
            }
            // Most waits are over by now, without a connection for events.
            events = events.or_else(|| Events::join(client));
            if begin.elapsed() > QUICK_POLLS {
                pause = (pause.mul_f64(1.1)).min(LAST_POLL);
            }
        }
    }

    /// Learns what events tell until that is a state to be waited for, or one from which that will not come.
    async fn learn_until(&self, goal: Goal, seat: &mut Seat) {
        while !goal.is_met(self.state()) && self.refuse_end(goal).is_ok() {
            let news = seat.news().await;
            self.learn(&news);
        }
    }

    /// A state from which the wanted one will not come.
    fn refuse_end(&self, goal: Goal) -> Result<()> {
        let data = self.data();
        let id = self.id();
        match self.state() {
            state @ (SandboxState::Error | SandboxState::BuildFailed) if !matches!(goal, Goal::Reach(states) if states.contains(&SandboxState::Destroyed)) =>
            {
                let reason = data.error_reason.as_deref().unwrap_or("none given");
                let text = format!("Sandbox {id} entered error state: {state}, error reason: {reason}");
                let is_build = state == SandboxState::BuildFailed;
                Err(Error::new(if is_build { ErrorKind::BuildFailed } else { ErrorKind::Other }, text))
            }
            SandboxState::Destroyed => Err(if data.queue_timed_out_at.is_some() {
                Error::new(ErrorKind::QueueTimeout, format!("Sandbox {id} waited too long for capacity"))
                    .with_hint("Raise queue_timeout or try another target")
            } else if data.spot_evicted_at.is_some() {
                Error::new(ErrorKind::SpotEvicted, format!("Sandbox {id} was taken back by the provider"))
            } else {
                Error::new(ErrorKind::Other, format!("Sandbox {id} was destroyed meanwhile"))
            }),
            _ => Ok(()),
        }
    }
}

/// Bounds a whole operation to so many seconds, 60 where nothing is said.
pub(crate) async fn bounded<T>(name: &str, limit: Option<f64>, work: impl Future<Output = Result<T>>) -> Result<T> {
    match seconds("timeout", limit)?.or(Some(LIFECYCLE_LIMIT)).filter(|limit| !limit.is_zero()) {
        None => work.await,
        Some(limit) => in_time(Instant::now() + limit, work).await.unwrap_or_else(|| {
            let text = format!("Function '{name}' exceeded timeout of {} seconds.", limit.as_secs_f64());
            Err(Error::new(ErrorKind::Timeout, text))
        }),
    }
}

/// What comes of some work until `end`. What comes later is no result any more, also if it is there by the time that
/// somebody looks.
pub(crate) fn in_time<T>(
    end: Instant,
    work: impl Future<Output = Result<T>>,
) -> impl Future<Output = Option<Result<T>>> {
    // Not an async function, which would hold the work twice.
    timeout_at(end, work).map(move |done| done.ok().filter(|done| done.is_err() || Instant::now() < end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_comes_late_is_no_result() {
        // Ready at once, but the time was over before.
        let over = Instant::now();
        assert!(in_time(over, async { Ok(()) }).await.is_none());
        assert!(in_time(over, async { Err::<(), _>(Error::invalid("no")) }).await.is_some_and(|done| done.is_err()));
        assert!(in_time(over + LIFECYCLE_LIMIT, async { Ok(()) }).await.is_some());
    }

    #[test]
    fn a_wait_to_leave_a_state_does_not_end_in_a_bad_one() {
        let goal = Goal::Leave(SandboxState::Pausing);
        assert!(goal.is_met(SandboxState::Paused) && goal.is_met(SandboxState::Started));
        for state in [SandboxState::Pausing, SandboxState::Error, SandboxState::Destroying, SandboxState::Destroyed] {
            assert!(!goal.is_met(state), "{state}");
        }
    }
}
