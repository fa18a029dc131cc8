//! Creating sandboxes: from a snapshot, an image, or an image that is built for it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use daytona_wire::sandbox::{self as wire, SandboxState};
use tokio::time::Instant;

use crate::build_log::{Build, BuildLog, Form};
use crate::claim::{self, ByName, Claim, Made, Undo};
use crate::client::Client;
use crate::daytona::{CreateOptions, CreateParams, Daytona, LIFECYCLE_LIMIT};
use crate::error::{Error, ErrorKind, Result};
use crate::image::ImageSource;
use crate::lifecycle::{STARTED, in_time};
use crate::object_storage;
use crate::operation::Operation;
use crate::sandbox::{Sandbox, unseen_name};
use crate::transport::{Call, seconds};

/// A sandbox that is being made. It is deleted when the last clone of this is dropped before anybody has the sandbox:
/// from [`SandboxCreation::sandbox`], from [`SandboxCreation::finish`], or by its id from an error of that.
#[derive(Clone)]
pub struct SandboxCreation {
    client: Arc<Client>,
    sandbox: Sandbox,
    log: Option<BuildLog>,
    deadline: Deadline,
    claim: Arc<Mutex<Option<Claim>>>,
}

#[derive(Clone, Copy)]
struct Deadline(Option<(Instant, Duration)>);

impl Deadline {
    fn after(limit: Option<f64>) -> Result<Self> {
        let limit = seconds("timeout", limit)?.unwrap_or(LIFECYCLE_LIMIT);
        Ok(Self((!limit.is_zero()).then(|| (Instant::now() + limit, limit))))
    }

    async fn bound<T>(self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let Some((end, limit)) = self.0 else { return work.await };
        in_time(end, work).await.unwrap_or_else(|| {
            let text = format!("Function 'create' exceeded timeout of {} seconds.", limit.as_secs_f64());
            Err(Error::new(ErrorKind::Timeout, text)
                .with_hint("A sandbox that the server still makes of it is deleted"))
        })
    }
}

impl Daytona {
    /// Creates a sandbox and waits until it has started. If this is dropped before, or its time is over before the
    /// server has told the sandbox's id, what was made is deleted.
    ///
    /// # Errors
    /// `InvalidArgument` before anything is sent; the server's refusal; `Timeout`, with the sandbox's id if that is
    /// known, and then the sandbox stays; `BuildFailed` or `Other` with the reason if it could not be built or started.
    pub async fn create(&self, params: CreateParams, options: &CreateOptions) -> Result<Sandbox> {
        self.make(params, options).await?.keep()
    }

    /// The same for a caller that hands it on: until then it can still be called off.
    ///
    /// # Errors
    /// As [`Daytona::create`].
    pub async fn make(&self, params: CreateParams, options: &CreateOptions) -> Result<Made<Sandbox>> {
        let options = CreateOptions { logs: false, ..options.clone() };
        let work = async { self.start_creation(params, &options).await?.wait().await };
        self.inner.observe(Operation::CREATE, work).await
    }

    /// The same; returns as soon as the server has begun.
    ///
    /// # Errors
    /// As [`Daytona::create`].
    pub async fn begin_create(&self, params: CreateParams, options: &CreateOptions) -> Result<SandboxCreation> {
        self.inner.observe(Operation::CREATE, self.start_creation(params, options)).await
    }

    async fn start_creation(&self, params: CreateParams, options: &CreateOptions) -> Result<SandboxCreation> {
        let deadline = Deadline::after(options.timeout)?;
        let (data, claim): (wire::Sandbox, Claim) = deadline
            .bound(async {
                let image = match &params.image {
                    Some(ImageSource::Built(image)) if !image.context_list.is_empty() => Some(image.clone()),
                    _ => None,
                };
                let mut body = params.into_wire(self.target())?;
                if let (Some(image), Some(info)) = (&image, &mut body.build_info) {
                    info.context_hashes =
                        Some(object_storage::upload(&self.inner, image, options.progress.as_ref()).await?);
                }
                let by_name = by_name(&self.inner, Operation::CREATE, &mut body.name).await?;
                let link = self.inner.link().await?;
                // The whole call is bounded from outside, and a server may hold this one for 30 s.
                let call =
                    Call::post(Operation::CREATE, link.url(&["sandbox"])?).json(&body)?.limit(Some(Duration::ZERO));
                claim::make(&self.inner, call, by_name, undo(&self.inner)).await
            })
            .await?;
        let is_built = matches!(data.state, Some(SandboxState::PendingBuild | SandboxState::BuildingSnapshot));
        let sandbox = self.sandbox(data)?;
        let log = (options.logs && is_built)
            .then(|| BuildLog::follow(Arc::clone(&self.inner), Build::Sandbox(sandbox.id().to_owned()), Form::Lines));
        let claim = Arc::new(Mutex::new(Some(claim)));
        Ok(SandboxCreation { client: Arc::clone(&self.inner), sandbox, log, deadline, claim })
    }
}

/// Names a sandbox that has no name, so that it can be deleted also if its id never comes. A local server needs no
/// help with that.
pub(crate) async fn by_name(
    client: &Client,
    operation: Operation,
    name: &mut Option<String>,
) -> Result<Option<ByName>> {
    let link = client.link().await?;
    if link.is_local() || name.as_ref().is_some_and(|name| !name.is_empty()) {
        return Ok(None);
    }
    let name = name.insert(unseen_name()?);
    Ok(Some(ByName { operation, url: link.url(&["sandbox", name])? }))
}

/// How a new sandbox is deleted that nobody has.
pub(crate) fn undo(client: &Arc<Client>) -> impl FnOnce(&wire::Sandbox) -> Result<Undo> + Send + use<> {
    let client = Arc::clone(client);
    move |made| {
        let link = client.made_link()?;
        let url = link.url(&["sandbox", &made.id])?;
        Ok(claim::remove(client, Operation::DELETE, url, false))
    }
}

impl SandboxCreation {
    /// Lines of the build's log that are there by now; waits for some. `None` at its end, at once without a build.
    ///
    /// # Errors
    /// `Timeout` once the time of the whole is over.
    pub async fn next(&self) -> Result<Option<Vec<String>>> {
        let Some(log) = &self.log else { return Ok(None) };
        let next = self.deadline.bound(async {
            match log.next().await {
                // A log is no reason to give the sandbox up.
                Err(error) => {
                    log.close();
                    tracing::warn!(%error, "the log of a build broke off");
                    Ok(None)
                }
                next => next,
            }
        });
        self.client.observe(Operation::CREATE, next).await.map_err(|error| self.explain(error))
    }

    /// The sandbox, in the state that the server has begun with. It is the caller's from now on.
    #[must_use]
    pub fn sandbox(&self) -> &Sandbox {
        self.keep();
        &self.sandbox
    }

    /// Waits until it has started.
    ///
    /// # Errors
    /// As [`Daytona::create`].
    pub async fn finish(&self) -> Result<Sandbox> {
        self.made().await?.keep()
    }

    /// The same for a caller that hands it on: until then it can still be called off.
    ///
    /// # Errors
    /// As [`Daytona::create`].
    pub async fn made(&self) -> Result<Made<Sandbox>> {
        self.client.observe(Operation::CREATE, self.wait()).await
    }

    /// Ends what is told of it, and deletes it unless somebody has it.
    pub fn close(&self) {
        if let Some(log) = &self.log {
            log.close();
        }
        drop(self.take_claim());
    }

    fn take_claim(&self) -> Option<Claim> {
        self.claim.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// It is somebody's, unless the program ends.
    fn keep(&self) {
        if let Some(claim) = self.take_claim() {
            let _ = claim.keep();
        }
    }

    async fn wait(&self) -> Result<Made<Sandbox>> {
        let wait = self.deadline.bound(self.sandbox.wait_after_answer(STARTED, Operation::CREATE)).await;
        match wait {
            Ok(()) => Ok(Made::new(self.sandbox.clone(), self.take_claim())),
            Err(error) if error.kind() == ErrorKind::BuildFailed => {
                let build = Build::Sandbox(self.sandbox.id().to_owned());
                Err(self.explain(build.failed(&self.client, error).await))
            }
            Err(error) => Err(self.explain(error)),
        }
    }

    /// An error that names the sandbox, which stays.
    fn explain(&self, error: Error) -> Error {
        self.keep();
        let id = self.sandbox.id();
        if error.kind() != ErrorKind::Timeout {
            return error.with_sandbox(id);
        }
        error.with_sandbox(id).with_hint(format!(
            "Sandbox {id} was created before the timeout and may still be starting. Use get({id:?}) to follow it or \
             delete it"
        ))
    }
}
