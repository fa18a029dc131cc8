//! The local Daytona server: control plane, store and proxy on one loopback port.

mod access;
mod api;
mod api_key;
mod auth;
mod backend;
mod body;
mod build;
mod config;
mod credentials;
mod data_dir;
mod environment;
mod error;
mod events;
mod image;
mod lease;
mod leftovers;
mod lifecycle;
mod listen;
mod lost_found;
mod manifest;
mod metrics;
mod missing;
mod network;
mod object_storage;
mod preview;
mod proxy;
mod rebuild;
mod record;
mod rows;
mod sandbox;
mod secret;
mod serve;
mod settle;
mod signals;
mod signing;
mod snapshot;
mod ssh;
mod store;
mod time;
mod timers;
mod tunnel;
mod volume;
mod warm_pool;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use tokio::sync::Notify;

pub use body::Draining;
pub use config::{DEFAULT_PORT, ImageOptions, Options, Patience, Ready, ServeError, default_dir};
pub use data_dir::check as check_data_dir;
pub use daytona_docker::Settings as DockerSettings;
pub use image::RegistryCredentials;
pub use listen::{HEAD_TIME, serve_http};
pub use lost_found::{LOST_KEPT, Lost, lost};
pub use rebuild::{Found, Rebuild, RebuildError, Rebuilt, rebuild};
pub use serve::{Announce, serve};

/// The server's version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What all requests share.
struct App {
    key: auth::Key,
    runtime: backend::Backend,
    store: store::Store,
    data_dir: std::path::PathBuf,
    manifests: manifest::Manifests,
    sandboxes: sandbox::Registry,
    snapshots: snapshot::Snapshots,
    volumes: rows::Rows<volume::Volume>,
    secrets: Arc<secret::Secrets>,
    interceptor: Arc<network::Interceptor>,
    api_keys: rows::Rows<api_key::ApiKey>,
    pools: warm_pool::WarmPools,
    metrics: metrics::Metrics,
    events: events::Events,
    view: record::View,
    builds: build::Builds,
    images: image::Images,
    storage: object_storage::ObjectStorage,
    defaults: config::Defaults,
    address: SocketAddr,
    /// Sandboxes may reach the host's loopback ports, by the name `host.daytona.internal`.
    host_services: bool,
    ssh: ssh::Ssh,
    started_at: time::Millis,
    request_ids: api::RequestIds,
    /// A timer may have to be set anew.
    timers: Notify,
    /// Nothing new is begun.
    stopping: AtomicBool,
}
