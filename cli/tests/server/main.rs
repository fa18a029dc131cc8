//! The real binary, driven over HTTP.

mod api;
mod ends;
mod events;
mod lease;
mod list;
mod start;
mod support;
mod toolbox;
