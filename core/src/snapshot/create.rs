//! Making snapshots from images.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use daytona_wire::sandbox::CreateBuildInfo;
use daytona_wire::snapshot::{CreateSnapshot, Snapshot, SnapshotState};
use tokio::time::{Instant, sleep};

use super::SnapshotService;
use crate::build_log::{self, Build, BuildLog, Form};
use crate::claim::{self, Claim, Made};
use crate::client::Client;
use crate::daytona::Resources;
use crate::error::{Error, ErrorKind, Result};
use crate::image::{Dialect, Image, ImageSource, Step};
use crate::inbox::Inbox;
use crate::lifecycle::in_time;
use crate::object_storage;
use crate::operation::Operation;
use crate::transfer::Progress;
use crate::transport::{Call, seconds};

const OPERATION: Operation = Operation::CREATE_SNAPSHOT;
const FIRST_POLL: Duration = Duration::from_millis(100);
const LAST_POLL: Duration = Duration::from_secs(1);

/// What a new snapshot is to be like.
#[derive(Clone, Debug, Default, serde::Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CreateSnapshotParams {
    /// Unique name.
    pub name: String,
    /// The image it is made from; needed.
    pub image: Option<ImageSource>,
    /// What its sandboxes get.
    pub resources: Option<Resources>,
    /// What its sandboxes run, in the place of what the image says.
    pub entrypoint: Option<Vec<String>>,
    /// Region to have it in; the client's target if `None`.
    pub region_id: Option<String>,
    /// `container`, `linux-vm` or `windows`.
    pub sandbox_class: Option<String>,
}

/// How to create a snapshot.
#[derive(Clone, Default)]
pub struct CreateSnapshotOptions {
    /// Seconds until it must be there, uploads included; 0 is no limit, which is the default: each request has one.
    pub timeout: Option<f64>,
    /// Told what of the image's files has been uploaded.
    pub progress: Option<Progress>,
    /// The log of the build is wanted: see [`SnapshotCreation::log`].
    pub logs: bool,
}

/// A snapshot that is being made. It is deleted when the last clone of this is dropped before [`Self::finish`] has told
/// how it ended.
#[derive(Clone)]
pub struct SnapshotCreation {
    client: Arc<Client>,
    log: BuildLog,
    made: Arc<OnceLock<Snapshot>>,
    claim: Arc<Mutex<Option<Claim>>>,
}

impl SnapshotCreation {
    /// What there is to be told: states, and lines of the build's log.
    pub fn log(&self) -> &BuildLog {
        &self.log
    }

    /// Waits until it is active.
    ///
    /// # Errors
    /// As [`SnapshotService::create`].
    pub async fn finish(&self) -> Result<Snapshot> {
        self.made().await?.keep()
    }

    /// The same for a caller that hands it on: until then it can still be called off.
    ///
    /// # Errors
    /// As [`SnapshotService::create`].
    pub async fn made(&self) -> Result<Made<Snapshot>> {
        let work = async {
            let ended = self.log.ended().await;
            let Some(made) = self.made.get().cloned() else {
                ended?;
                return Err(Error::new(ErrorKind::Other, "the wait for the snapshot was ended on this side"));
            };
            Ok(Made::new(made, take(&self.claim)))
        };
        self.client.observe(OPERATION, work).await
    }

    /// Ends what is told of it, and the waiting, and deletes it unless its end was told.
    pub fn close(&self) {
        self.log.close();
        drop(take(&self.claim));
    }
}

fn take(claim: &Mutex<Option<Claim>>) -> Option<Claim> {
    claim.lock().unwrap_or_else(PoisonError::into_inner).take()
}

impl SnapshotService {
    /// Makes a snapshot from an image, which is pulled or built for it, and waits until it is active. If this is
    /// dropped before, or its time is over before the server has begun, the snapshot is deleted.
    ///
    /// # Errors
    /// `InvalidArgument` or `NotFound` before anything is sent; `Conflict` if the name is taken; `BuildFailed` with
    /// the reason and the end of the log; `Timeout` after `timeout` seconds, when it may still be being made.
    pub async fn create(&self, params: CreateSnapshotParams, options: &CreateSnapshotOptions) -> Result<Snapshot> {
        self.begin(params, options).await?.finish().await
    }

    /// The same; returns as soon as the server has begun.
    ///
    /// # Errors
    /// As [`SnapshotService::create`].
    pub async fn begin(
        &self,
        params: CreateSnapshotParams,
        options: &CreateSnapshotOptions,
    ) -> Result<SnapshotCreation> {
        let limit = seconds("timeout", options.timeout)?.filter(|limit| !limit.is_zero());
        let deadline = limit.map(|limit| (Instant::now() + limit, limit));
        let work = async {
            let target = self.client.settings().target.as_ref().map(|setting| setting.value.as_str());
            let (mut body, image) = params.into_wire(target)?;
            if let (Some(info), Some(image)) = (&mut body.build_info, &image) {
                let hashes = object_storage::upload(&self.client, image, options.progress.as_ref()).await?;
                info.context_hashes = Some(hashes);
            }
            let link = self.client.link().await?;
            let request = Call::post(OPERATION, link.url(&["snapshots"])?).json(&body)?;
            let owner = Arc::clone(&self.client);
            let undo = move |made: &Snapshot| {
                let url = owner.made_link()?.url(&["snapshots", &made.id])?;
                Ok(claim::remove(owner, Operation::DELETE_SNAPSHOT, url, false))
            };
            let (created, claim): (Snapshot, Claim) = claim::make(&self.client, request, None, undo).await?;
            let claim = Arc::new(Mutex::new(Some(claim)));
            let made = Arc::new(OnceLock::new());
            let (client, cell, failed) = (Arc::clone(&self.client), Arc::clone(&made), Arc::clone(&claim));
            let logs = options.logs.then_some(body.build_info.is_some());
            let log = BuildLog::driven(|inbox| async move {
                let name = created.name.clone();
                let work = drive(&client, created, logs, &inbox);
                let done = within(deadline, &name, work).await;
                // It has the name that the caller chose, and its end is told: it stays, with its reason and log.
                if done.is_err()
                    && let Some(claim) = take(&failed)
                {
                    let _ = claim.keep();
                }
                let _ = cell.set(done.map_err(|error| error.with_operation(OPERATION))?);
                Ok(())
            });
            Ok(SnapshotCreation { client: Arc::clone(&self.client), log, made, claim })
        };
        self.client.observe(OPERATION, within(deadline, "", work)).await
    }
}

async fn within<T>(
    deadline: Option<(Instant, Duration)>,
    name: &str,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    let Some((end, limit)) = deadline else { return work.await };
    in_time(end, work).await.unwrap_or_else(|| {
        let text = format!("Function 'create' exceeded timeout of {} seconds.", limit.as_secs_f64());
        let error = Error::new(ErrorKind::Timeout, text);
        Err(if name.is_empty() {
            error.with_hint("A snapshot that the server still makes of it is deleted")
        } else {
            error.with_hint(format!("The snapshot may still be being made. Use get({name:?}) to follow it"))
        })
    })
}

/// Waits for the end of it. `logs` says whether anything is to be told, and whether there is a build's log.
async fn drive(client: &Client, created: Snapshot, logs: Option<bool>, inbox: &Inbox<String>) -> Result<Snapshot> {
    let tell = |text: String| {
        if logs.is_some() {
            let size = text.len();
            inbox.push(text, size);
        }
    };
    tell(format!("Creating snapshot {} ({})", created.name, created.state));
    let build = Build::Snapshot(created.id.clone());
    let log = async {
        if logs == Some(true)
            && let Err(error) = build_log::follow(client, &build, Form::Lines, inbox).await
        {
            tell(format!("The build log cannot be followed: {}", error.message()));
        }
    };
    let (done, ()) = tokio::join!(wait(client, created, &tell), log);
    let done = done?;
    if done.state != SnapshotState::Active {
        let reason = done.error_reason.as_deref().filter(|reason| !reason.is_empty()).unwrap_or("none given");
        let text = format!("Failed to create snapshot {} ({}), reason: {reason}", done.name, done.state);
        let is_failed = done.state == SnapshotState::BuildFailed;
        let error = Error::new(if is_failed { ErrorKind::BuildFailed } else { ErrorKind::Other }, text);
        return Err(if is_failed { build.failed(client, error).await } else { error });
    }
    tell(format!("Created snapshot {} ({})", done.name, done.state));
    Ok(done)
}

async fn wait(client: &Client, mut snapshot: Snapshot, tell: &impl Fn(String)) -> Result<Snapshot> {
    use SnapshotState as S;
    let link = client.link().await?;
    let mut pause = FIRST_POLL;
    loop {
        if matches!(snapshot.state, S::Active | S::Error | S::BuildFailed | S::Inactive | S::Removing) {
            return Ok(snapshot);
        }
        sleep(pause).await;
        pause = pause.mul_f64(1.2).min(LAST_POLL);
        let call = Call::get(OPERATION, link.url(&["snapshots", &snapshot.id])?);
        let now: Snapshot = link.background.json(call).await?;
        if now.state != snapshot.state && !matches!(now.state, S::Active | S::Error | S::BuildFailed) {
            tell(format!("Creating snapshot {} ({})", now.name, now.state));
        }
        snapshot = now;
    }
}

impl CreateSnapshotParams {
    fn into_wire(self, target: Option<&str>) -> Result<(CreateSnapshot, Option<Image>)> {
        if self.name.trim().is_empty() {
            return Err(Error::invalid("the name of a snapshot must not be empty"));
        }
        let image = self.image.ok_or_else(|| Error::invalid("a snapshot needs an image"))?;
        image.check()?;
        let resources = self.resources.unwrap_or_default();
        let mut body = CreateSnapshot {
            name: self.name,
            cpu: resources.cpu,
            gpu: resources.gpu,
            gpu_type: resources.gpu_type,
            memory: resources.memory,
            disk: resources.disk,
            region_id: self.region_id.or_else(|| target.map(str::to_owned)),
            sandbox_class: self.sandbox_class,
            ..CreateSnapshot::default()
        };
        match image {
            ImageSource::Name(name) => {
                body.image_name = Some(name);
                body.entrypoint = self.entrypoint;
                Ok((body, None))
            }
            ImageSource::Built(mut image) => {
                if let Some(command) = self.entrypoint.filter(|command| !command.is_empty()) {
                    image.apply(Dialect::Python, &Step::Entrypoint { command })?;
                }
                let dockerfile_content = std::mem::take(&mut image.dockerfile);
                body.build_info = Some(CreateBuildInfo { dockerfile_content, context_hashes: None });
                Ok((body, Some(image)))
            }
        }
    }
}
