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
    #[error("{step}: {source}{}", hint(step, source))]
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
    /// Files of a sandbox are gone: it is not started without them.
    #[error("{0}")]
    Lost(Loss),
    /// What makes the sandboxes does not answer at the moment; the text names the way out.
    #[error("{0}")]
    Unavailable(String),
    /// The launcher has ended, and no other one could be started yet.
    #[error("the server's launcher, the process that makes sandboxes, has ended and is being started again; try again")]
    LauncherGone,
}

/// Files that a sandbox had and that are gone.
#[derive(Clone, Debug)]
pub struct Loss {
    /// What is gone, and why, as far as known.
    pub what: String,
    /// What it can begin with again, if anything: "with ...".
    pub instead: Option<String>,
}

impl std::fmt::Display for Loss {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.what)?;
        match &self.instead {
            Some(instead) => write!(f, "; it could only begin again, {instead}"),
            None => f.write_str("; nothing is left that it could begin again with"),
        }
    }
}

/// What a failed step means and what helps.
fn hint(step: &str, source: &io::Error) -> &'static str {
    let namespaces = step == "create the namespaces";
    match source.kind() {
        io::ErrorKind::InvalidInput if step.starts_with("mount overlay") => {
            "; the data directory has to be on a file system an overlay can write to: not on another overlay, as in \
             a container without a volume"
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::Unsupported if namespaces => {
            "; the kernel, a container or a security profile forbids namespaces: `--runtime process` works without"
        }
        io::ErrorKind::StorageFull if namespaces => "; the kernel's limit of namespaces is reached: see `sysctl user`",
        io::ErrorKind::PermissionDenied => "; `--runtime process` works without these rights",
        _ => "",
    }
}

impl RuntimeError {
    pub(crate) fn io(what: impl AsRef<str>, path: &Path, source: io::Error) -> Self {
        Self::Io { what: format!("{} {}", what.as_ref(), path.display()), source }
    }
}
