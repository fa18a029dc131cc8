//! The real binary, driven over HTTP.

mod api;
mod ends;
mod lease;
mod list;
mod start;
mod support;
mod toolbox;
