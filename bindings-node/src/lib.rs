//! The Node bridge: converts arguments, calls one function of the core, converts the result.
//!
//! Private to the JavaScript layer, which gives each call a number. A finished call is put into a
//! queue that JavaScript drains as a whole ([`completion`]).

pub mod at_exit;
pub mod completion;
pub mod daytona;
pub mod error;
pub mod exec_stream;
pub mod files;
pub mod git;
pub mod image;
pub mod interpreter;
pub mod lifecycle;
pub mod lsp;
pub mod process;
pub mod pty;
pub mod sandbox;
pub mod sandbox_provider;
pub mod session;
pub mod snapshot;
pub mod telemetry;
pub mod terminal_backend;
