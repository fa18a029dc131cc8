//! What can go wrong between the server and a sandbox.

use std::io;
use std::path::Path;

/// Why an operation of the runtime failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RuntimeError {
    /// This machine or the chosen runtime cannot do it; `reason` names the way out.
    #[error("{op} is not supported here: {reason}")]
    Unsupported {
        /// The operation that was asked for.
        op: &'static str,
        /// Why not, and what to do instead.
        reason: String,
    },
    /// A sandbox did not start.
    #[error("{step}: {source}{}", hint(source))]
    Launch {
        /// The step that failed, e.g. `mount overlay /usr`.
        step: String,
        /// The system's answer.
        source: io::Error,
    },
    /// There is no sandbox with this id.
    #[error("sandbox {id} not found")]
    NotFound {
        /// The id that was asked for.
        id: String,
    },
    /// The request makes no sense: a bad id, a value out of range, a sandbox in the wrong state.
    #[error("{0}")]
    Invalid(String),
    /// A file operation on the sandbox's stored state failed.
    #[error("{what}: {source}")]
    Io {
        /// What was being done, with the path.
        what: String,
        /// The system's answer.
        source: io::Error,
    },
    /// The launcher is gone; no sandbox can be started until the server is restarted.
    #[error("the launcher process has ended; restart the server")]
    LauncherGone,
}

fn hint(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::PermissionDenied => "; `--runtime process` works without these rights",
        _ => "",
    }
}

impl RuntimeError {
    pub(crate) fn io(what: impl AsRef<str>, path: &Path, source: io::Error) -> Self {
        Self::Io { what: format!("{} {}", what.as_ref(), path.display()), source }
    }
}
