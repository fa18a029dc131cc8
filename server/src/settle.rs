//! What a server makes of what the one before it has left, however that one ended.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use daytona_wire::sandbox::SandboxState;
use tokio::sync::Notify;

use crate::backend::Backend;
use crate::build::Builds;
use crate::config::{Defaults, ImageOptions, Patience};
use crate::data_dir::DataDir;
use crate::events::Events;
use crate::image::Images;
use crate::manifest::Manifests;
use crate::metrics::Metrics;
use crate::network::{Authority, Interceptor};
use crate::object_storage::ObjectStorage;
use crate::record::{Desired, Record, View};
use crate::rows::Rows;
use crate::sandbox::Registry;
use crate::secret::Secrets;
use crate::snapshot::{self, Snapshots};
use crate::ssh::Ssh;
use crate::store::{Contents, Store, StoreError, Stored};
use crate::warm_pool::WarmPools;
use crate::{App, ServeError, api, auth, leftovers, missing, time};

/// What the operator has chosen.
pub(crate) struct Settings {
    pub(crate) host_services: bool,
    pub(crate) ssh_port: Option<u16>,
    pub(crate) patience: Patience,
    pub(crate) images: ImageOptions,
    pub(crate) authority: Authority,
}

/// Brings what was stored in line with what is left after the last server.
pub(crate) async fn load(
    dir: &DataDir,
    (store, mut contents): (Store, Contents),
    runtime: &Backend,
    key: auth::Key,
    address: SocketAddr,
    settings: Settings,
) -> Result<Arc<App>, ServeError> {
    let fail = |error: StoreError| ServeError::DataDir {
        dir: dir.path.clone(),
        reason: format!("its state cannot be read or written: {error}"),
    };
    let settled = |record: &mut Record| {
        let changed = settle(record, runtime);
        missing::sandbox(record, runtime, &dir.path) || changed
    };
    let changed: Vec<&Record> =
        contents.sandboxes.iter_mut().filter_map(|record| settled(record).then_some(&*record)).collect();
    store_settled(&store, &changed).await;
    let snapshots = contents.snapshots.iter_mut();
    let changed: Vec<&snapshot::Record> =
        snapshots.filter_map(|record| missing::snapshot(record, &dir.path).then_some(&*record)).collect();
    store_settled(&store, &changed).await;
    for volume in &mut contents.volumes {
        missing::volume(volume, &dir.path);
    }
    missing::tell(&contents.sandboxes, &contents.snapshots, &contents.volumes);
    leftovers::sort_out(&dir.path, runtime, &contents).await;
    let trash = leftovers::trash(&dir.path);
    let Contents { sandboxes: records, snapshots, volumes, secrets, api_keys, warm_pools } = contents;
    if let Backend::Docker(docker) = runtime {
        let images = records.iter().map(|record| &record.image).chain(snapshots.iter().map(|snapshot| &snapshot.image));
        let (_, lost) = crate::lost_found::images(&dir.path);
        let images = images.flatten().filter_map(|image| image.docker.as_deref());
        docker.keep_built(&images.chain(lost.iter().map(String::as_str)).collect()).await;
    }
    let images = {
        let (path, options, runtime) = (dir.path.clone(), settings.images, runtime.clone());
        let opened = tokio::task::spawn_blocking(move || Images::open(&path, options, &runtime)).await;
        opened.map_err(StoreError::new).and_then(|opened| opened.map_err(StoreError::new)).map_err(fail)?
    };
    let events = Events::new();
    let api_keys = Rows::new(api_keys);
    crate::api_key::accept(&api_keys, key.known());
    let secrets = Arc::new(Secrets::new(secrets, &dir.path));
    let app = Arc::new(App {
        key,
        volumes: Rows::new(volumes),
        interceptor: Arc::new(Interceptor::new(Arc::clone(&secrets), settings.authority)),
        secrets,
        api_keys,
        pools: WarmPools::new(warm_pools),
        metrics: Metrics::default(),
        runtime: runtime.clone(),
        store,
        data_dir: dir.path.clone(),
        manifests: Manifests::new(&dir.path),
        sandboxes: Registry::new(events.clone()),
        snapshots: Snapshots::new(&dir.path, snapshots),
        events,
        view: View::new(&runtime.probe().limits),
        defaults: Defaults::of_this_machine(),
        address,
        host_services: settings.host_services,
        builds: Builds::new(&dir.path),
        images,
        storage: ObjectStorage::open(&dir.path).map_err(ServeError::io("the object storage"))?,
        ssh: Ssh::new(address, settings.ssh_port, settings.patience, &dir.path),
        started_at: time::now(),
        request_ids: api::RequestIds::new().map_err(|error| ServeError::io("random numbers")(error.into()))?,
        timers: Notify::new(),
        stopping: AtomicBool::new(false),
    });
    for record in records {
        let state = record.state;
        let Ok(sandbox) = app.sandboxes.add(record) else {
            continue;
        };
        if state == SandboxState::Destroying {
            let app = Arc::clone(&app);
            app.builds.forget(&sandbox.id);
            tokio::spawn(async move { app.destroy_now(&sandbox).await });
        } else if state == SandboxState::PendingBuild {
            app.build_sandbox(&sandbox, None);
        }
    }
    app.notice_losses().await;
    for snapshot in app.snapshots.unbuilt() {
        app.build_snapshot(&snapshot);
    }
    app.settle_volumes().await;
    leftovers::tidy(&app, trash);
    Ok(app)
}

/// On a full disk it is settled again by the next start.
async fn store_settled<R: Stored>(store: &Store, changed: &[&R]) {
    if changed.is_empty() {
        return;
    }
    if let Err(error) = store.put_all(changed.iter().copied()).stored().await {
        tracing::warn!(%error, "what this start has found out could not be stored");
    }
}

/// Nothing runs when a server starts: what was running has stopped, what was changing is decided.
/// True if that has changed the record.
fn settle(record: &mut Record, runtime: &Backend) -> bool {
    use SandboxState as S;
    let live = !matches!(
        record.state,
        S::Stopped
            | S::Archived
            | S::Archiving
            | S::Restoring
            | S::PendingBuild
            | S::BuildingSnapshot
            | S::BuildFailed
            | S::Error
    );
    if record.desired == Desired::Destroyed || (live && record.ephemeral()) {
        record.state = S::Destroying;
        record.desired = Desired::Destroyed;
        return true;
    }
    match record.state {
        // What waits for its build is built again.
        S::Stopped | S::Archived | S::BuildFailed | S::Error | S::PendingBuild => return false,
        // Its folder is whole until it is archived.
        S::Archiving => (record.state, record.desired) = (S::Stopped, Desired::Stopped),
        // And its archive until it starts.
        S::Restoring => (record.state, record.desired) = (S::Archived, Desired::Archived),
        S::BuildingSnapshot => record.state = S::PendingBuild,
        _ if runtime.sandbox_dir(&record.id).is_dir() => {
            record.error_reason = (record.state == S::Paused)
                .then(|| "the server ended while it was paused: its files are kept, its memory is lost".to_owned());
            (record.state, record.desired) = (S::Stopped, Desired::Stopped);
            record.stopped_at = Some(time::now());
        }
        _ => {
            (record.state, record.desired) = (S::Error, Desired::Stopped);
            // Made again it would be empty, whatever had been in it.
            record.recoverable = false;
            record.error_reason = Some(format!(
                "its files are missing: {} is not there. Either the server ended before the sandbox was made: delete it \
                 then; or restore them and start the server again",
                runtime.sandbox_dir(&record.id).display()
            ));
        }
    }
    true
}
