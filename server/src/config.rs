//! What the server is started with, and why it does not start.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use daytona_docker::Settings as DockerSettings;
use daytona_runtime::{RuntimeChoice, RuntimeError};
use secrecy::{ExposeSecret as _, SecretString};

use crate::data_dir::DataDir;
use crate::image::RegistryCredentials;
use crate::listen::HEAD_TIME;

/// The port where none is given.
pub const DEFAULT_PORT: u16 = 3986;

/// How the server is to run.
#[derive(Debug)]
pub struct Options {
    /// Address to listen on.
    pub host: IpAddr,
    /// Port to listen on; 0 is any free one.
    pub port: u16,
    /// Port for SSH; 2222 or, where that is taken, any free one if absent.
    pub ssh_port: Option<u16>,
    /// Where everything is kept; the user's own directory if absent.
    pub data_dir: Option<PathBuf>,
    /// Take a data directory that is a copy of another for one of its own.
    pub adopt_copy: bool,
    /// The key clients have to send; one made for the data directory if absent.
    pub api_key: Option<SecretString>,
    /// How sandboxes are made.
    pub runtime: RuntimeChoice,
    /// How containers are made, with [`RuntimeChoice::Docker`].
    pub docker: DockerSettings,
    /// End after the last lease was given back.
    pub embedded: bool,
    /// Let sandboxes reach the services of this machine, by the name `host.daytona.internal`.
    pub allow_host_loopback: bool,
    /// Where images come from.
    pub images: ImageOptions,
    /// How clients are waited for that have not said who they are.
    pub patience: Patience,
}

/// How clients are waited for that have not said who they are.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// From the beginning of an HTTP connection, or its last answer, to the whole head of a request.
    pub head: Duration,
    /// From the beginning of an SSH connection to a token that is let in.
    pub login: Duration,
    /// SSH connections at once that no token has let in.
    pub logins: usize,
}

impl Default for Patience {
    fn default() -> Self {
        Self { head: HEAD_TIME, login: Duration::from_secs(30), logins: 64 }
    }
}

/// Where images come from.
#[derive(Clone, Debug, Default)]
pub struct ImageOptions {
    /// Let this machine's own programs stand in for every base image.
    pub host_fallback: bool,
    /// Registries that are asked before Docker Hub, in order: a host, perhaps with a port and a path.
    pub mirrors: Vec<String>,
    /// What registries are told about who asks.
    pub credentials: RegistryCredentials,
}

/// Where a server listens, told once it does.
#[derive(Clone, Debug)]
pub struct Ready {
    /// Base URL of the API, e.g. `http://127.0.0.1:3986/api`.
    pub url: String,
    /// The key clients have to send.
    pub api_key: SecretString,
    /// The server's process.
    pub pid: u32,
    /// The data directory in use.
    pub data_dir: PathBuf,
    /// `ns`, `process` or `docker`.
    pub runtime: String,
    /// The server's version.
    pub version: &'static str,
}

/// Why a server did not start or had to end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// Another server uses the data directory.
    #[error(
        "the data directory {} is in use by another server{holder}; use that one, stop it, or \
         choose another with --data-dir", dir.display()
    )]
    InUse {
        /// The data directory.
        dir: PathBuf,
        /// Process and URL of the other server, as far as known.
        holder: String,
    },
    /// The data directory cannot be used.
    #[error("the data directory {}: {reason}; choose another with --data-dir", dir.display())]
    DataDir {
        /// The data directory.
        dir: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The data directory is a copy of another one.
    #[error(
        "the data directory {} is a copy of {original}, or was moved or restored from there by copying: served as it \
         is, it would take what the original runs for its own. If this one is to be used, start the server on it once \
         with --adopt-copy, which gives it an identifier of its own", dir.display()
    )]
    Copied {
        /// The data directory.
        dir: PathBuf,
        /// Where the original was when it was last served.
        original: String,
    },
    /// The store was lost or damaged.
    #[error(
        "the store {} {reason}. Nothing was changed: {} holds {holdings}. Either restore the file, {restore}; or let \
         `daytona-native store rebuild {}` make a new one of what lies there",
        path.display(), dir.display(), dir.display()
    )]
    StoreLost {
        /// Its file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
        /// What lies in the data directory.
        holdings: String,
        /// Where a copy of it is.
        restore: String,
        /// The data directory.
        dir: PathBuf,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}; choose another with --host and --port")]
    Listen {
        /// Host and port.
        address: String,
        /// The system's answer.
        source: io::Error,
    },
    /// The given API key cannot be sent in a header.
    #[error("the API key has to be 1 to 512 visible ASCII characters without blanks")]
    BadKey,
    /// The runtime did not start.
    #[error("sandboxes cannot be run here: {0}")]
    Runtime(#[from] RuntimeError),
    /// Nobody could be told where the server listens.
    #[error("the server's address cannot be written to the standard output: {0}")]
    Announce(#[source] io::Error),
    /// Anything else.
    #[error("{what}: {source}")]
    Io {
        /// What was being done.
        what: &'static str,
        /// The system's answer.
        source: io::Error,
    },
}

impl ServeError {
    pub(crate) fn io(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { what, source }
    }
}

/// So many random bytes, made the first time and kept where only the owner reads them.
pub(crate) fn private_bytes(path: &Path, length: usize) -> io::Result<Vec<u8>> {
    match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let mut bytes = vec![0; length];
            getrandom::fill(&mut bytes)?;
            write_private(path, &bytes)?;
            Ok(bytes)
        }
        Ok(bytes) if bytes.len() != length => {
            Err(io::Error::other(format!("{} is damaged: it does not have {length} bytes", path.display())))
        }
        read => read,
    }
}

/// Written whole or not at all, readable by the owner only.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("new");
    let _ = fs::remove_file(&temporary);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, path)
}

/// A key that fits into a header.
pub(crate) fn check_key(text: &str) -> Result<SecretString, ServeError> {
    let fits = (1..=512).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    fits.then(|| SecretString::from(text)).ok_or(ServeError::BadKey)
}

/// The key to use: the given one, else that of the data directory.
pub(crate) fn choose_key(given: Option<&SecretString>, dir: &DataDir) -> Result<SecretString, ServeError> {
    match given {
        Some(key) => check_key(key.expose_secret().trim()),
        None => dir.api_key(),
    }
}

/// `$XDG_DATA_HOME/daytona-native` or `~/.local/share/daytona-native`.
pub fn default_dir() -> Option<PathBuf> {
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_DATA_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/share")))
        .map(|base| base.join("daytona-native"))
}

/// What a sandbox gets where nothing is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Defaults {
    /// Cores: those of the machine, at most 4.
    pub(crate) cpu: f64,
    /// GiB: half of the machine's memory, 1 to 4.
    pub(crate) memory: f64,
    /// GiB: 10.
    pub(crate) disk: f64,
}

impl Defaults {
    pub(crate) fn of_this_machine() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let gib = fs::read_to_string("/proc/meminfo")
            .ok()
            .and_then(|text| {
                let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
                line.split_whitespace().next()?.parse::<u64>().ok()
            })
            .map_or(2, |kib| kib >> 21);
        #[expect(clippy::cast_precision_loss, reason = "both are at most 4")]
        Self { cpu: cores.min(4) as f64, memory: gib.clamp(1, 4) as f64, disk: 10.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_fit_into_a_header() {
        assert!(check_key("abc").is_ok());
        for bad in ["", "a b", "ü", "a\nb"] {
            assert!(check_key(bad).is_err(), "{bad:?}");
        }
    }
}
