//! Creating sandboxes: from a snapshot, an image, or an image that is built for it.

use std::sync::Arc;
use std::time::Duration;

use daytona_wire::sandbox::{self as wire, SandboxState};
use tokio::time::{Instant, timeout_at};

use crate::build_log::{Build, BuildLog, Form};
use crate::client::Client;
use crate::daytona::{CreateOptions, CreateParams, Daytona, LIFECYCLE_LIMIT};
use crate::error::{Error, ErrorKind, Result};
use crate::image::ImageSource;
use crate::lifecycle::STARTED;
use crate::object_storage;
use crate::operation::Operation;
use crate::sandbox::Sandbox;
use crate::transport::{Call, seconds};

/// A sandbox that is being made. Dropping it ends the waiting; the server goes on.
#[derive(Clone)]
pub struct SandboxCreation {
    client: Arc<Client>,
    sandbox: Sandbox,
    log: Option<BuildLog>,
    deadline: Deadline,
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
        timeout_at(end, work).await.unwrap_or_else(|_| {
            let text = format!("Function 'create' exceeded timeout of {} seconds.", limit.as_secs_f64());
            Err(Error::new(ErrorKind::Timeout, text))
        })
    }
}

impl Daytona {
    /// Creates a sandbox and waits until it has started.
    ///
    /// # Errors
    /// `InvalidArgument` before anything is sent; the server's refusal; `Timeout`, with the sandbox's
    /// id if it was made; `BuildFailed` or `Other` with the reason if it could not be built or started.
    pub async fn create(&self, params: CreateParams, options: &CreateOptions) -> Result<Sandbox> {
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
        let data: wire::Sandbox = deadline
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
                let link = self.inner.link().await?;
                // The whole call is bounded from outside, and a server may hold this one for 30 s.
                let call =
                    Call::post(Operation::CREATE, link.url(&["sandbox"])?).json(&body)?.limit(Some(Duration::ZERO));
                link.transport.json(call).await
            })
            .await?;
        let is_built = matches!(data.state, Some(SandboxState::PendingBuild | SandboxState::BuildingSnapshot));
        let sandbox = self.sandbox(data)?;
        let log = (options.logs && is_built)
            .then(|| BuildLog::follow(Arc::clone(&self.inner), Build::Sandbox(sandbox.id().to_owned()), Form::Lines));
        Ok(SandboxCreation { client: Arc::clone(&self.inner), sandbox, log, deadline })
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

    /// The sandbox, in the state that the server has begun with.
    #[must_use]
    pub fn sandbox(&self) -> &Sandbox {
        &self.sandbox
    }

    /// Waits until it has started.
    ///
    /// # Errors
    /// As [`Daytona::create`].
    pub async fn finish(&self) -> Result<Sandbox> {
        self.client.observe(Operation::CREATE, self.wait()).await
    }

    /// Ends what is told of it.
    pub fn close(&self) {
        if let Some(log) = &self.log {
            log.close();
        }
    }

    async fn wait(&self) -> Result<Sandbox> {
        let wait = self.deadline.bound(self.sandbox.wait_after_answer(STARTED, Operation::CREATE)).await;
        match wait {
            Ok(()) => Ok(self.sandbox.clone()),
            Err(error) if error.kind() == ErrorKind::BuildFailed => {
                let build = Build::Sandbox(self.sandbox.id().to_owned());
                Err(self.explain(build.failed(&self.client, error).await))
            }
            Err(error) => Err(self.explain(error)),
        }
    }

    fn explain(&self, error: Error) -> Error {
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
