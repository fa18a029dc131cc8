//! What the server is started with: options, data directory, API key.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use daytona_docker::Settings as DockerSettings;
use daytona_runtime::{RuntimeChoice, RuntimeError};
use rustix::fs::{FlockOperation, flock};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};

use crate::image::RegistryCredentials;

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

/// Whom a lock file names.
#[derive(Default, Deserialize, Serialize)]
struct Holder {
    pid: u32,
    url: String,
    /// The server is on its way out: wait for it.
    stopping: bool,
}

/// The data directory, held alone.
pub(crate) struct DataDir {
    pub(crate) path: PathBuf,
    lock: File,
    url: String,
}

impl DataDir {
    /// Makes the directory where it is missing and locks it.
    pub(crate) fn open(path: Option<PathBuf>) -> Result<Self, ServeError> {
        let path = match path {
            Some(path) => path,
            None => default_dir().ok_or_else(|| ServeError::DataDir {
                dir: PathBuf::from("~/.local/share/daytona-native"),
                reason: "neither XDG_DATA_HOME nor HOME is set".to_owned(),
            })?,
        };
        let fail = |reason: String| ServeError::DataDir { dir: path.clone(), reason };
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&path)
            .map_err(|error| fail(format!("cannot be made: {error}")))?;
        let path = path.canonicalize().map_err(|error| fail(error.to_string()))?;
        let metadata = path.metadata().map_err(|error| fail(error.to_string()))?;
        if metadata.uid() != rustix::process::geteuid().as_raw() {
            return Err(fail("belongs to another user".to_owned()));
        }
        if metadata.mode() & 0o077 != 0 {
            fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o700))
                .map_err(|error| fail(format!("cannot be closed to others: {error}")))?;
        }
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path.join("server.lock"))
            .map_err(|error| fail(format!("is not writable: {error}")))?;
        acquire(&mut lock, &path)?;
        let dir = Self { path, lock, url: String::new() };
        dir.write_holder(false)?;
        Ok(dir)
    }

    /// Names the server in the lock file.
    pub(crate) fn announce(&mut self, url: &str) -> Result<(), ServeError> {
        url.clone_into(&mut self.url);
        self.write_holder(false)
    }

    /// Tells a successor that waiting pays.
    pub(crate) fn announce_stopping(&self) {
        if let Err(error) = self.write_holder(true) {
            tracing::warn!(%error, "the lock file was not updated");
        }
    }

    fn write_holder(&self, stopping: bool) -> Result<(), ServeError> {
        let holder = Holder { pid: std::process::id(), url: self.url.clone(), stopping };
        let write = || {
            let text = serde_json::to_vec(&holder)?;
            let mut file = &self.lock;
            file.set_len(0)?;
            file.rewind()?;
            file.write_all(&text)
        };
        write().map_err(|error| ServeError::DataDir {
            dir: self.path.clone(),
            reason: format!("is not writable: {error}"),
        })
    }

    /// The key of this directory, made at the first start.
    pub(crate) fn api_key(&self) -> Result<SecretString, ServeError> {
        let path = self.path.join("api-key");
        let fail = |error: io::Error| ServeError::DataDir {
            dir: self.path.clone(),
            reason: format!("the API key cannot be kept in it: {error}"),
        };
        match fs::read_to_string(&path) {
            Ok(text) => {
                if let Ok(key) = check_key(text.trim()) {
                    return Ok(key);
                }
                tracing::warn!("the stored API key is damaged: making a new one");
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(fail(error)),
        }
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).map_err(|error| fail(error.into()))?;
        let key = format!("dtn_local_{}", URL_SAFE_NO_PAD.encode(bytes));
        write_private(&path, key.as_bytes()).map_err(fail)?;
        Ok(SecretString::from(key))
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

fn acquire(lock: &mut File, dir: &Path) -> Result<(), ServeError> {
    const PATIENCE: Duration = Duration::from_secs(10);
    let begin = Instant::now();
    loop {
        match flock(&*lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(()),
            Err(rustix::io::Errno::WOULDBLOCK) => {}
            Err(error) => {
                return Err(ServeError::DataDir { dir: dir.to_owned(), reason: format!("cannot be locked: {error}") });
            }
        }
        let mut text = String::new();
        let read = lock.rewind().and_then(|()| lock.read_to_string(&mut text));
        let holder: Option<Holder> = read.ok().and_then(|_| serde_json::from_str(&text).ok());
        if holder.as_ref().is_some_and(|holder| holder.stopping) && begin.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(20));
            continue;
        }
        let holder = holder.map_or_else(String::new, |holder| {
            let url = Some(holder.url).filter(|url| !url.is_empty());
            let url = url.map_or_else(String::new, |url| format!(", {url}"));
            format!(" (process {}{url})", holder.pid)
        });
        return Err(ServeError::InUse { dir: dir.to_owned(), holder });
    }
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
    fn the_directory_is_held_alone_and_keeps_its_key() {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join("data");
        let mut dir = DataDir::open(Some(path.clone())).unwrap();
        dir.announce("http://127.0.0.1:1/api").unwrap();
        let key = dir.api_key().unwrap();
        assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o700);
        assert_eq!(path.join("api-key").metadata().unwrap().mode() & 0o777, 0o600);
        let error = DataDir::open(Some(path.clone())).err().unwrap().to_string();
        assert!(error.contains(&std::process::id().to_string()), "{error}");
        assert!(error.contains("http://127.0.0.1:1/api"), "{error}");
        drop(dir);
        let again = DataDir::open(Some(path)).unwrap().api_key().unwrap();
        assert_eq!(key.expose_secret(), again.expose_secret());
    }

    #[test]
    fn a_stopping_server_is_waited_for() {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().to_owned();
        let dir = DataDir::open(Some(path.clone())).unwrap();
        dir.announce_stopping();
        let waiter = std::thread::spawn(move || DataDir::open(Some(path)).map(|_| ()));
        drop(dir);
        waiter.join().unwrap().unwrap();
    }

    #[test]
    fn keys_fit_into_a_header() {
        assert!(check_key("abc").is_ok());
        for bad in ["", "a b", "ü", "a\nb"] {
            assert!(check_key(bad).is_err(), "{bad:?}");
        }
    }
}
