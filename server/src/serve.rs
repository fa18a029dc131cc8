//! From the options to a listening server, and down again.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use daytona_docker::Settings as DockerSettings;
use daytona_runtime::{Exited, Launcher, RuntimeKind};
use futures_util::future::LocalBoxFuture;
use secrecy::ExposeSecret as _;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};

use crate::backend::Backend;
use crate::config::choose_key;
use crate::data_dir::DataDir;
use crate::lease::Leases;
use crate::listen::serve_http;
use crate::signals::Signals;
use crate::{App, Options, Ready, ServeError, VERSION, api, auth, settle, store, timers};

/// How long open connections are waited for at the end.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// Told once the server listens.
pub type Announce = Box<dyn FnOnce(&Ready) -> io::Result<()>>;

/// Runs a server until it is told to end: by a signal such as SIGTERM or SIGINT, or, embedded, by its last client.
///
/// `launcher` has to be started before threads are made and before the key is read. `announce` is
/// called once the server listens.
///
/// The future is in a box so that the server is compiled here, and not again wherever it is run.
pub fn serve(
    options: Options,
    launcher: Launcher,
    announce: Announce,
) -> LocalBoxFuture<'static, Result<(), ServeError>> {
    Box::pin(run(options, launcher, announce))
}

async fn run(options: Options, launcher: Launcher, announce: Announce) -> Result<(), ServeError> {
    let mut signals = Signals::take().map_err(ServeError::io("signals"))?;
    let (embedded, head) = (options.embedded, options.patience.head);
    let begun = tokio::select! {
        begun = begin(options, launcher) => begun?,
        () = signals.end() => {
            tracing::info!("stopped before it listened");
            return Ok(());
        }
    };
    let Begun { dir, app, exits, ready, listener } = begun;
    let leases = Leases::bind(&dir.path).map_err(ServeError::io("the lease socket"))?;

    announce(&ready).map_err(ServeError::Announce)?;
    tracing::info!(url = ready.url, data_dir = %dir.path.display(), "listening");
    tokio::spawn(Arc::clone(&app).watch_exits(exits));
    let timers = tokio::spawn(timers::run(Arc::clone(&app)));
    let metrics = tokio::spawn(crate::metrics::run(Arc::clone(&app)));
    let pools = tokio::spawn(crate::warm_pool::run(Arc::clone(&app)));
    let images = tokio::spawn(crate::image::collect(Arc::clone(&app)));
    let (end, ended) = watch::channel(());
    let connections = tokio::spawn(serve_http(listener, api::router(Arc::clone(&app)), head, ended));
    tokio::select! {
        () = signals.end() => {}
        () = leases.serve(hello(&ready), embedded) => {}
    }

    tracing::info!("stopping");
    dir.announce_stopping();
    for task in [timers, metrics, pools, images] {
        task.abort();
    }
    drop(end);
    app.stop_all().await;
    app.events.end().await;
    let _ = tokio::time::timeout(LAST_ANSWERS, connections).await;
    app.store.close();
    tracing::info!("stopped");
    Ok(())
}

/// A server that is about to listen.
struct Begun {
    dir: DataDir,
    app: Arc<App>,
    exits: mpsc::UnboundedReceiver<Exited>,
    ready: Ready,
    listener: TcpListener,
}

async fn begin(options: Options, launcher: Launcher) -> Result<Begun, ServeError> {
    allow_many_files();
    // Both may wait for a server that is ending.
    let (data_dir, adopt_copy) = (options.data_dir, options.adopt_copy);
    let mut dir = blocking(move || DataDir::open(data_dir, adopt_copy)).await??;
    store::make_room(&dir.path);
    let key = choose_key(options.api_key.as_ref(), &dir)?;
    let listener = listen(options.host, options.port).await?;
    let address = listener.local_addr().map_err(ServeError::io("the address"))?;
    let url = format!("http://{address}/api");
    dir.announce(&url)?;

    // Its certificate goes into the sandboxes' files.
    let authority = crate::network::Authority::open(&dir.path).map_err(ServeError::io("the certificate authority"))?;
    // Before anything else touches what lies there.
    let (mut dir, opened) = blocking(move || {
        let opened = store::open(&dir);
        (dir, opened)
    })
    .await?;
    let (store, contents) = opened?;
    dir.record_store();
    for record in &contents.sandboxes {
        dir.record_runtime(record.runtime);
    }
    crate::missing::find_user(&dir.path);
    let docker = DockerSettings { logins: options.images.credentials.logins(), ..options.docker };
    let before = dir.marker().isolated();
    let (runtime, exits) = Backend::start(launcher, options.runtime, docker, &dir.path, before, dir.id()).await?;
    if let (RuntimeKind::Process, Some(isolated)) = (runtime.kind(), dir.marker().isolated()) {
        tracing::warn!("this data directory has had the runtime {isolated}; now sandboxes run without isolation");
    }
    dir.record_runtime(runtime.kind());
    let probe = runtime.probe();
    tracing::info!(runtime = %probe.kind, "{}", probe.summary);
    for warning in &probe.warnings {
        tracing::warn!("{warning}");
    }
    let ready = Ready {
        url,
        api_key: key.clone(),
        pid: std::process::id(),
        data_dir: dir.path.clone(),
        runtime: probe.kind.to_string(),
        version: VERSION,
    };
    let settings = settle::Settings {
        host_services: options.allow_host_loopback,
        ssh_port: options.ssh_port,
        patience: options.patience,
        images: options.images,
        authority,
    };
    let app = settle::load(&dir, (store, contents), &runtime, auth::Key::new(&key), address, settings).await?;
    if app.sandboxes.all().iter().any(|sandbox| sandbox.record().access.ssh.is_some())
        && let Err(error) = app.ssh.listen(&app).await
    {
        tracing::warn!("{}", error.message);
    }
    Ok(Begun { dir, app, exits, ready, listener })
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, ServeError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| ServeError::io("the data directory")(error.into()))
}

/// A thousand clients need more than the usual 1024 open files.
fn allow_many_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::debug!(%error, "the limit of open files stays");
    }
}

/// The line that each lease begins with.
fn hello(ready: &Ready) -> String {
    let line = serde_json::json!({
        "url": ready.url,
        "apiKey": ready.api_key.expose_secret(),
        "pid": ready.pid,
        "version": ready.version,
        "runtime": ready.runtime,
        "user": user_name(),
    });
    format!("{line}\n")
}

/// The user that this server runs as.
fn user_name() -> String {
    let id = rustix::process::geteuid().as_raw();
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let named = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(id)).then(|| name.to_owned())
    });
    named.unwrap_or_else(|| id.to_string())
}

async fn listen(host: std::net::IpAddr, port: u16) -> Result<TcpListener, ServeError> {
    let address = SocketAddr::new(host, port);
    TcpListener::bind(address).await.map_err(|source| ServeError::Listen { address: address.to_string(), source })
}
