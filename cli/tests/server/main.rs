//! The real binary, driven over HTTP.

mod api;
mod ends;
mod events;
mod lease;
mod list;
mod shell;
mod start;
mod support;
mod toolbox;
