//! `POST /sandbox`: what may be asked for, and what comes of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use daytona_runtime::RuntimeKind;
use daytona_wire::environment::{is_name, too_long};
use daytona_wire::sandbox::{CreateSandbox, Sandbox as Dto, SandboxState, is_unseen_name};

use super::extract::{Base, Json, at_least};
use super::sandbox::dto;
use super::settings::{check_auto_archive, check_pauses, destroy_at};
use crate::App;
use crate::build::checked;
use crate::error::{ApiError, ApiResult, code};
use crate::record::{Build, Desired, REGION, Record, user_labels};
use crate::signing;
use crate::snapshot::{self, Snapshot, is_default};
use crate::time::now;
use crate::volume;

const NAME_LIMIT: usize = 128;

pub(super) async fn create(
    State(app): State<Arc<App>>,
    base: Base,
    Json(body): Json<CreateSandbox>,
) -> ApiResult<axum::Json<Dto>> {
    refuse_unsupported(&body)?;
    let record = record(&app, body)?;
    app.check_limits(&record, None)?;
    let sandbox = if record.build.is_some() {
        // The answer shows the pending build; who asks again sees how it goes on.
        let pending = record.clone();
        app.create_from_image(record).await?;
        return Ok(axum::Json(app.view.full(&pending, &base.0)));
    } else if let Some(waiting) = app.hand_over(&record).await? {
        waiting
    } else {
        app.create(record).await?
    };
    Ok(dto(&app, &sandbox, &base))
}

/// What this server cannot do is refused, never ignored.
fn refuse_unsupported(body: &CreateSandbox) -> ApiResult<()> {
    let given = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
    let refused = [
        (
            body.gpu.is_some_and(|count| count > 0) || body.gpu_type.as_ref().is_some_and(|types| !types.is_empty()),
            "gpu: a local sandbox has no GPU; leave gpu and gpuType out",
        ),
        (body.kvm == Some(true), "kvm: not available locally; leave it out"),
        (given(&body.otel_endpoint_override), "otelEndpointOverride: a local sandbox sends no telemetry; leave it out"),
    ];
    if let Some((_, message)) = refused.into_iter().find(|(refused, _)| *refused) {
        return Err(ApiError::not_implemented(message));
    }
    Ok(())
}

pub(crate) fn record(app: &App, body: CreateSandbox) -> ApiResult<Record> {
    let build = build(&body)?;
    let resources = [("cpu", body.cpu), ("memory", body.memory), ("disk", body.disk), ("gpu", body.gpu)];
    for (name, value) in resources {
        let Some(value) = value.filter(|value| *value != 0) else {
            continue;
        };
        at_least(name, value, 1)?;
        if build.is_none() {
            return Err(ApiError::invalid(format!("Cannot specify Sandbox resources when using a snapshot: {name}")));
        }
    }
    let snapshot = match body.snapshot.filter(|name| !name.is_empty() && !is_default(name)) {
        Some(name) => Some(app.snapshots.usable(&name, app.runtime.kind())?),
        None => None,
    };
    let queue_timeout = body.queue_timeout.map(|limit| at_least("queueTimeout", limit, 0)).transpose()?;
    let auto_delete = body.auto_delete_interval.unwrap_or(-1).max(-1);
    let auto_pause = at_least("autoPauseInterval", body.auto_pause_interval.unwrap_or(0), 0)?;
    // A sandbox that pauses does not stop, unless it is asked to.
    let auto_stop = body.auto_stop_interval.unwrap_or(if auto_pause > 0 { 0 } else { 15 });
    let auto_stop = at_least("autoStopInterval", auto_stop, 0)?;
    check_pauses(app, auto_stop, auto_pause, auto_delete)?;
    let linked = linked(app, body.linked_sandbox, auto_delete)?;
    let ttl = at_least("ttlMinutes", body.ttl_minutes.unwrap_or(0), 0)?;
    let time = now();
    let id = new_id()?;
    let own = snapshot.as_ref().map(|snapshot| {
        let record = snapshot.record();
        (record.cpu, record.memory, record.disk)
    });
    let size = |value: Option<i64>, default: f64| {
        #[expect(clippy::cast_precision_loss, reason = "sizes are small")]
        value.filter(|value| *value != 0).map_or(default, |value| value as f64)
    };
    let env = env(body.env.unwrap_or_default())?;
    let secrets = app.secrets.attached(body.secrets.unwrap_or_default(), &env)?;
    if !secrets.is_empty() && !app.replaces_placeholders() {
        tracing::warn!("a sandbox is made with secrets: without a network of its own, placeholders are not replaced");
    }
    Ok(Record {
        name: name(chosen(body.name))?.unwrap_or_else(|| id.clone()),
        id,
        runtime: app.runtime.kind(),
        snapshot: match &snapshot {
            _ if build.is_some() => None,
            Some(snapshot) => Some(snapshot.record().name.clone()),
            None => Some(snapshot::DEFAULT.to_owned()),
        },
        image: snapshot.as_ref().and_then(|snapshot| snapshot.record().image.clone()),
        user_given: body.user.as_ref().is_some_and(|user| !user.is_empty()),
        snapshot_id: snapshot.as_ref().map(|snapshot| snapshot.id.clone()),
        parent: None,
        linked,
        user: user(app, body.user, snapshot.as_deref(), build.is_some())?,
        env,
        labels: user_labels(body.labels.unwrap_or_default()),
        public: body.public.unwrap_or(false),
        network_block_all: body.network_block_all.unwrap_or(false),
        network_allow_list: list(body.network_allow_list),
        domain_allow_list: list(body.domain_allow_list),
        outbound_proxy_url: list(body.outbound_proxy_url),
        target: body.target.filter(|target| !target.is_empty()).unwrap_or_else(|| REGION.to_owned()),
        cpu: size(body.cpu, own.map_or(app.defaults.cpu, |own| own.0)),
        memory: size(body.memory, own.map_or(app.defaults.memory, |own| own.1)),
        disk: size(body.disk, own.map_or(app.defaults.disk, |own| own.2)),
        state: if build.is_some() { SandboxState::PendingBuild } else { SandboxState::Creating },
        desired: Desired::Started,
        error_reason: None,
        recoverable: false,
        auto_stop,
        auto_pause,
        auto_archive: check_auto_archive(body.auto_archive_interval.unwrap_or(10_080))?,
        auto_delete,
        destroy_at: destroy_at(ttl),
        build,
        created_at: time,
        updated_at: time,
        last_activity_at: time,
        stopped_at: None,
        archived_at: None,
        queue_timeout,
        queue_timed_out_at: None,
        made: false,
        signing_key: new_signing_key()?,
        access: crate::access::Access::default(),
        volumes: volume::mounts(app, &body.volumes.unwrap_or_default())?,
        secrets,
        unset_env: BTreeSet::new(),
        warm_pool: None,
        cloned: None,
    })
}

fn list(text: Option<String>) -> Option<String> {
    text.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
}

fn build(body: &CreateSandbox) -> ApiResult<Option<Build>> {
    let Some(build) = &body.build_info else {
        return Ok(None);
    };
    if body.snapshot.as_ref().is_some_and(|name| !name.is_empty()) {
        return Err(ApiError::invalid("Cannot specify a snapshot when using a build info entry"));
    }
    checked(&build.dockerfile_content, build.context_hashes.as_deref()).map(Some)
}

/// The id of the sandbox that the new one goes with.
fn linked(app: &App, target: Option<String>, auto_delete: i64) -> ApiResult<Option<String>> {
    let Some(target) = target.filter(|target| !target.is_empty()) else {
        return Ok(None);
    };
    if auto_delete != 0 {
        return Err(ApiError::invalid(
            "linkedSandbox: a linked sandbox must be ephemeral: set autoDeleteInterval to 0",
        ));
    }
    let target = app.sandboxes.find(&target)?;
    let record = target.record();
    if record.linked.is_some() {
        return Err(ApiError::invalid(format!(
            "linkedSandbox: {} is itself linked to another sandbox; link to that one",
            record.id
        )));
    }
    if record.desired == Desired::Destroyed {
        return Err(ApiError::sandbox_not_found(&record.id));
    }
    Ok(Some(record.id.clone()))
}

/// The record of a fork.
pub(super) fn twin(of: &Record, given_name: Option<String>) -> ApiResult<Record> {
    let time = now();
    let id = new_id()?;
    Ok(Record {
        name: name(chosen(given_name))?.unwrap_or_else(|| id.clone()),
        id,
        parent: Some(of.id.clone()),
        state: SandboxState::Creating,
        desired: Desired::Started,
        error_reason: None,
        recoverable: false,
        created_at: time,
        updated_at: time,
        last_activity_at: time,
        stopped_at: None,
        archived_at: None,
        // Its life is its own.
        destroy_at: None,
        signing_key: new_signing_key()?,
        access: crate::access::Access::default(),
        warm_pool: None,
        ..of.clone()
    })
}

/// A name for a new snapshot.
pub(super) fn snapshot_name(given: String) -> ApiResult<String> {
    name(Some(given))?.ok_or_else(|| ApiError::invalid("name must not be empty"))
}

/// A name that a user chose: what a client needed for itself is none.
fn chosen(name: Option<String>) -> Option<String> {
    name.filter(|name| !is_unseen_name(name))
}

fn name(name: Option<String>) -> ApiResult<Option<String>> {
    let Some(name) = name.filter(|name| !name.is_empty()) else {
        return Ok(None);
    };
    let bad = name.trim() != name
        || name.len() > NAME_LIMIT
        || name == "."
        || name == ".."
        || name == "paginated"
        || name == "for-runner"
        || name.chars().any(|letter| letter.is_control() || matches!(letter, '/' | '\\' | '?' | '#'));
    if bad {
        return Err(ApiError::invalid(format!(
            "name must be 1 to {NAME_LIMIT} bytes without blanks at its ends, control characters, \
             / \\ ? and #, and none of \".\", \"..\", \"paginated\", \"for-runner\""
        )));
    }
    Ok(Some(name))
}

fn user(app: &App, user: Option<String>, snapshot: Option<&Snapshot>, built: bool) -> ApiResult<String> {
    let user = user.filter(|user| !user.is_empty());
    if let Some(snapshot) = snapshot {
        let record = snapshot.record();
        let differs = user.as_ref().is_some_and(|user| *user != record.user);
        // One that was built has no files of a user yet.
        if differs && record.runtime == RuntimeKind::Ns && record.build.is_none() {
            return Err(ApiError::invalid(format!(
                "user: Snapshot {} has the files of {}; leave user out",
                record.name, record.user
            )));
        }
        // An image knows its users.
        let user = user.filter(|_| record.runtime == RuntimeKind::Docker || record.build.is_some());
        return user.map_or_else(|| Ok(record.user.clone()), of_image);
    }
    if app.runtime.kind() == RuntimeKind::Docker {
        return Ok(user.unwrap_or_default());
    }
    if let Some(user) = user.clone().filter(|_| built && app.runtime.kind() == RuntimeKind::Ns) {
        return of_image(user);
    }
    match user {
        None => Ok("daytona".to_owned()),
        Some(user) if user == "daytona" => Ok(user),
        Some(user) if user == "root" && app.runtime.probe().root => Ok(user),
        Some(user) => {
            let roots = if app.runtime.probe().root { " and root" } else { "" };
            Err(ApiError::new(
                StatusCode::BAD_REQUEST,
                code::UNSUPPORTED_BY_RUNTIME,
                format!("user: there is no user {user:?} in a local sandbox, only daytona{roots}"),
            ))
        }
    }
}

/// A user that an image may have, `name[:group]`: whether it does shows when it is built.
fn of_image(user: String) -> ApiResult<String> {
    let fine = user.len() <= NAME_LIMIT && user.chars().all(|c| c.is_alphanumeric() || "._-:$".contains(c));
    if fine { Ok(user) } else { Err(ApiError::invalid(format!("user: {user:?} is no name of a user"))) }
}

fn env(env: BTreeMap<String, String>) -> ApiResult<BTreeMap<String, String>> {
    for (name, value) in &env {
        if !is_name(name) {
            return Err(ApiError::invalid(format!(
                "env: {name:?} is no name of an environment variable: letters, digits and _, not \
                 starting with a digit"
            )));
        }
        if value.contains('\0') {
            return Err(ApiError::invalid(format!("env: the value of {name} has a NUL byte")));
        }
        if let Some(why) = too_long(name, value) {
            return Err(ApiError::invalid(format!("env: {why}")));
        }
    }
    Ok(env)
}

pub(crate) fn new_id() -> ApiResult<String> {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes).map_err(no_randomness)?;
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex = format!("{:032x}", u128::from_be_bytes(bytes));
    Ok([&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-"))
}

pub(super) fn new_signing_key() -> ApiResult<String> {
    signing::new_key().map_err(no_randomness)
}

pub(crate) fn no_randomness(error: getrandom::Error) -> ApiError {
    ApiError::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        code::RUNTIME_FAILED,
        format!("the system gives no random numbers: {error}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_random_uuids() {
        let (one, other) = (new_id().unwrap(), new_id().unwrap());
        assert_ne!(one, other);
        assert_eq!(one.len(), 36);
        assert_eq!(&one[14..15], "4");
    }

    #[test]
    fn names_that_cannot_be_in_a_path_are_refused() {
        for good in ["a", "My Sandbox", "Zürich", "x.y-z_1"] {
            assert_eq!(name(Some(good.to_owned())).unwrap().as_deref(), Some(good));
        }
        for bad in [" a", "a/b", "..", "a\nb", "paginated", &"x".repeat(129)] {
            assert!(name(Some(bad.to_owned())).is_err(), "{bad:?}");
        }
        assert!(name(Some(String::new())).unwrap().is_none());
        let unseen = format!("unnamed-{}", "0a".repeat(16));
        assert!(chosen(Some(unseen)).is_none() && chosen(Some("unnamed-1".to_owned())).is_some());
    }

    #[test]
    fn environment_names_are_checked() {
        let one = |name: &str| env(BTreeMap::from([(name.to_owned(), "v".to_owned())]));
        assert!(one("A_1").is_ok());
        for bad in ["", "1A", "A-B", "A=B", "ä"] {
            assert!(one(bad).is_err(), "{bad:?}");
        }
    }
}
