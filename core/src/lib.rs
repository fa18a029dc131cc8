//! The Daytona client.
//!
//! [`Daytona`] creates and finds sandboxes; a [`Sandbox`] runs commands ([`Process`]) and moves files
//! ([`FileSystem`]). Every method is one cancellable future: dropping it drops the request. Clients
//! and sandboxes are cheap to clone and need no closing.
//!
//! The language bindings convert arguments and results and call exactly one function of this crate;
//! whatever is a decision lives here.
//!
//! What a call makes belongs to its caller once the call has returned. A call that is dropped before deletes what it
//! made, in a task of the background runtime; a program that ends waits for these with [`finish_work`].

mod admin;
mod api;
mod at_exit;
mod background;
mod build_log;
mod claim;
mod client;
mod config;
mod create;
mod daytona;
mod environment;
mod error;
mod events;
mod exec_stream;
mod files;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod git;
mod image;
mod inbox;
mod interpreter;
mod lifecycle;
mod local;
mod lsp;
mod metrics;
mod multipart;
mod network;
mod object_storage;
mod operation;
mod output;
mod preview;
mod process;
mod proxies;
mod pty;
mod reach;
mod sandbox;
mod sandbox_provider;
mod secret;
mod section;
mod service;
mod session;
mod signing;
mod small_file;
mod snapshot;
mod ssh;
pub mod telemetry;
mod terminal_backend;
mod transfer;
mod transport;
mod volume;
mod warm_pool;
mod watch;
mod ws;

pub use admin::Admin;
pub use api::Api;
pub use at_exit::{finish_work, work_is_left};
pub use background::set_background;
pub use build_log::BuildLog;
pub use claim::Made;
pub use config::{Config, Origin, Setting, Settings, Source, Warning, WarningKind};
pub use create::SandboxCreation;
pub use daytona::{CreateOptions, CreateParams, Daytona, ListPage, ListQuery, Resources};
pub use daytona_wire as wire;
pub use error::{Error, ErrorKind, Result};
pub use exec_stream::ExecStream;
pub use files::{FileSystem, Permissions};
pub use git::Git;
pub use image::{Context, Dialect, Image, ImageSource, LocalPath, PipOptions, RunCommand, Step};
pub use interpreter::{CodeInterpreter, CodeRun, RunCodeOptions};
pub use lsp::LspServer;
pub use operation::Operation;
pub use output::{OutputChunk, OutputStream};
pub use process::{ExecOptions, Process};
pub use pty::{Pty, PtyExit, PtyOptions};
pub use sandbox::{LANGUAGE_LABEL, Sandbox};
pub use sandbox_provider::{
    CapabilityProfile, Capacity, CapacityRegion, PoolConfig, ProviderStatus, Provisioned, Quota, SandboxHandle,
    SandboxProvider,
};
pub use secret::{ListSecretsQuery, SecretService};
pub use section::{nearest, suggestion};
pub use session::LogStream;
pub use small_file::read as read_small_file;
pub use snapshot::{
    CreateSnapshotOptions, CreateSnapshotParams, SnapshotCreation, SnapshotQuery, SnapshotService, is_snapshot_id,
};
pub use terminal_backend::{
    TERMINAL_IMAGES, TerminalBackend, TerminalConfig, TerminalImage, TerminalOptions, TerminalResult,
};
pub use transfer::{Download, DownloadStream, DownloadTarget, Downloaded, Progress, Transfer, Upload, UploadSource};
pub use volume::VolumeService;
pub use warm_pool::WarmPoolService;

/// The version of the protocol this client speaks, sent as `X-Daytona-SDK-Version`.
/// Servers choose the form of their answers by it.
pub const PROTOCOL_VERSION: &str = "0.226.1";
