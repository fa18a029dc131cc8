//! How sandboxes are made and ended on this machine.
//!
//! The server starts the launcher with [`spawn_launcher`] before anything else, then gives it to
//! [`Runtime::start`].

#![cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "groups and trials are for namespaces"))]

mod archive;
mod attributes;
mod cause;
mod cgroup;
mod child;
mod destroy;
mod error;
mod hierarchy;
mod init;
mod launcher;
mod link;
#[cfg(target_os = "linux")]
mod ns;
mod outcome;
mod probe;
mod process;
mod protocol;
mod rename;
mod room;
mod runtime;
mod snapshot;
mod sockets;
mod stats;
#[cfg(target_os = "linux")]
mod step;
mod stored;
mod sys;
mod table;
mod types;
mod volumes;

pub use archive::archived_parts;
pub use destroy::remove_tree;
pub use error::{Loss, RuntimeError};
pub use hierarchy::left_groups;
pub use launcher::{Launcher, launcher_main, spawn_launcher};
pub use runtime::Runtime;
pub use sockets::remove_sockets;
pub use stats::disk as disk_usage;
#[cfg(target_os = "linux")]
pub use step::Step;
pub use types::{
    CA_BUNDLE, CA_CERTIFICATE, Enforcement, Exited, GATEWAY, ImageSpec, Limits, MTU, Network, Probe, RuntimeChoice,
    RuntimeKind, SandboxSpec, Started, Stats, StepMount, StepSource, StepSpec, VolumeMount, Wire,
};

/// Where a data directory has the certificate, in PEM, that sandboxes made in it trust besides those of the system.
///
/// It is read when the runtime starts; there may be none.
pub fn certificate_authority(data_dir: &std::path::Path) -> std::path::PathBuf {
    data_dir.join("ca.crt")
}

/// Locks what no panic can leave half changed.
fn lock<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// A name nobody has chosen before.
pub fn random_name() -> String {
    let mut bytes = [0; 8];
    // Without randomness the process and the time have to do.
    if getrandom::fill(&mut bytes).is_err() {
        let time = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        let mixed = time.as_nanos() ^ u128::from(std::process::id()).rotate_left(32);
        bytes.copy_from_slice(&mixed.to_le_bytes()[..8]);
    }
    format!("{:016x}", u64::from_le_bytes(bytes))
}
