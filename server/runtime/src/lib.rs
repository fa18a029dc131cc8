//! How sandboxes are made and ended on this machine.
//!
//! The server starts the launcher with [`spawn_launcher`] before anything else, then gives it to
//! [`Runtime::start`].

mod error;
mod launcher;
mod runtime;
mod types;

pub use error::RuntimeError;
pub use launcher::{Launcher, launcher_main, spawn_launcher};
pub use runtime::Runtime;
pub use types::{
    Enforcement, Exited, Limits, Network, Probe, RuntimeChoice, RuntimeKind, SandboxSpec, Started,
    Stats,
};
