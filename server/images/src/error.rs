use std::io;

/// Why an image could not be pulled, built or found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The reference is not a valid image name.
    #[error("{name:?} is not an image name: {why}")]
    BadName {
        /// What was given.
        name: String,
        /// What is wrong with it.
        why: String,
    },
    /// The registry has no such image, or none for this machine.
    #[error("{0}")]
    NotFound(String),
    /// The registry wants credentials, or refuses those given. Many registries say so of images that do not exist.
    #[error("{0}")]
    Unauthorized(String),
    /// No registry could be reached: name lookup, connection, TLS, or an answer that is the server's fault.
    #[error("{registry} cannot be reached: {why}")]
    Unreachable {
        /// Host and port that were tried last.
        registry: String,
        /// What happened.
        why: String,
    },
    /// What arrived is not what its digest promised.
    #[error("{what} is corrupt: expected {expected}, got {got}")]
    Corrupt {
        /// The blob, layer or manifest.
        what: String,
        /// What it should have been.
        expected: String,
        /// What it was.
        got: String,
    },
    /// The disk of the store is full, or what its user may take of it. The value says what was tried.
    #[error("no space left on the disk: {0}")]
    NoSpace(String),
    /// Larger than the limits of the store allow.
    #[error("{what} exceeds the limit of {limit}")]
    TooLarge {
        /// The layer, blob or context.
        what: String,
        /// Which limit, with its unit.
        limit: String,
    },
    /// Known, but not done here.
    #[error("{what} is not supported{}", line.map(|line| format!(" (line {line})")).unwrap_or_default())]
    Unsupported {
        /// The feature, as its user wrote it.
        what: String,
        /// Line of the Dockerfile, from 1.
        line: Option<usize>,
    },
    /// The Dockerfile is wrong.
    #[error("Dockerfile line {line}: {why}")]
    Dockerfile {
        /// Line, from 1.
        line: usize,
        /// What is wrong and what would be right.
        why: String,
    },
    /// A step of a build failed.
    #[error("{step}: {why}")]
    Step {
        /// The instruction, as in the log.
        step: String,
        /// What happened.
        why: String,
        /// Exit code of a RUN step; none for others.
        exit_code: Option<i32>,
    },
    /// Another process has the store open.
    #[error("the image store {0} is in use by another process")]
    Busy(String),
    /// The work was given up: whoever waited for it has gone.
    #[error("cancelled")]
    Cancelled,
    /// A file operation in the store failed.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// What the kernel said.
        source: io::Error,
    },
}

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Of a file operation; a full disk has its own kind.
    pub(crate) fn io(what: impl Into<String>, source: io::Error) -> Self {
        let what = what.into();
        if matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
            return Self::NoSpace(what);
        }
        match source.downcast::<Self>() {
            Ok(inner) => inner,
            Err(source) => Self::Io { what, source },
        }
    }
}

/// Names what an I/O error was about.
pub(crate) trait Context<T> {
    fn context(self, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T> Context<T> for io::Result<T> {
    fn context(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|source| Error::io(what(), source))
    }
}

impl<T> Context<T> for std::result::Result<T, rustix::io::Errno> {
    fn context(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|errno| Error::io(what(), errno.into()))
    }
}
