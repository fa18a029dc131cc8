//! The real binary, driven over HTTP.

mod api;
mod broken_builds;
mod builds;
mod docker;
mod docker_engine;
mod ends;
mod events;
mod image_clients;
mod images;
mod lease;
mod lifecycle;
mod list;
mod network;
mod preview;
mod registry;
mod resources;
mod secrets;
mod shell;
mod snapshots;
mod ssh;
mod start;
mod support;
mod survives;
mod toolbox;
