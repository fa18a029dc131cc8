//! The bundled local server: found, started or shared, and kept alive by a lease.
//!
//! A server holds a lock on its data directory and listens on a lease socket. Whoever connects is
//! told, in one line of JSON, where the API is; the server lives until the last of these connections
//! closes. The kernel closes them when a client process ends, however it ends.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use daytona_wire::data_dir;
use secrecy::SecretString;
use sha2::{Digest, Sha256};

use crate::config::Credential;
use crate::error::{Error, ErrorKind, Result};

/// The runtime without isolation.
const OPEN_RUNTIME: &str = "process";
const BINARY: &str = "daytona-native";
/// A first start may have to clean up after a crash.
const START_LIMIT: Duration = Duration::from_secs(30);
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// What fits into a socket address, with room to spare.
const LONGEST_SOCKET_PATH: usize = 100;

/// A server that lives at least as long as this.
pub(crate) struct Lease {
    pub(crate) url: String,
    /// How the server makes sandboxes.
    pub(crate) runtime: String,
    /// Who it runs as, where it says so.
    user: Option<String>,
    key: SecretString,
    _connection: UnixStream,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Greeting {
    url: String,
    api_key: String,
    runtime: String,
    user: Option<String>,
}

/// What a client wants of a local server.
#[derive(Clone, Default)]
pub(crate) struct Wanted<'a> {
    /// Where its sandboxes are; the per-user default if `None`.
    pub(crate) data_dir: Option<&'a Path>,
    /// How it has to make them.
    pub(crate) runtime: Option<&'a str>,
}

impl Lease {
    pub(crate) fn credential(&self) -> Credential {
        Credential::ApiKey(self.key.clone())
    }

    /// What the user of a server should know that isolates nothing; `None` for others.
    pub(crate) fn warning(&self) -> Option<String> {
        let user = self.user.as_deref().map_or_else(|| "its own user".into(), |user| format!("the user {user}"));
        (self.runtime == OPEN_RUNTIME).then(|| {
            format!(
                "The local server isolates nothing (runtime {OPEN_RUNTIME}): commands in its sandboxes run as {user} and \
                 may do what that user may. Pass runtime=\"ns\" or \"docker\" to Daytona.local() to have isolation or \
                 an error, or runtime=\"{OPEN_RUNTIME}\" to end this warning; `{BINARY} doctor` tells what is missing"
            )
        })
    }

    fn check(self, wanted: Option<&str>, directory: &Path) -> Result<Self> {
        let Some(wanted) = wanted.filter(|wanted| *wanted != self.runtime) else { return Ok(self) };
        let text = format!(
            "the local server on {} makes sandboxes with the runtime {}, and {wanted} is asked for",
            directory.display(),
            self.runtime
        );
        Err(Error::new(ErrorKind::Conflict, text).with_hint(format!(
            "End the programs that use it, or the server itself, and start it with `{BINARY} serve --runtime {wanted}`; \
             or use another data directory"
        )))
    }
}

/// Connects to the server of a data directory, after starting it from the bundled binary, or the one on `PATH`, if
/// there is none; with `None` for the binary nothing is started.
#[expect(clippy::option_option, reason = "nothing is started, or what is found, or what is named")]
pub(crate) async fn lease(binary: Option<Option<&Path>>, wanted: Wanted<'_>) -> Result<Lease> {
    let binary = binary.map(find_binary).transpose()?;
    let directory = match wanted.data_dir {
        Some(path) => std::path::absolute(path).map_err(|error| failed("find", path, &error))?,
        None => default_data_dir()?,
    };
    let log = directory.join(data_dir::LOG);
    let runtime = wanted.runtime.map(str::to_owned);
    let work = tokio::task::spawn_blocking(move || {
        let lease = match binary {
            Some(binary) => start(&binary, &directory, runtime.as_deref()),
            None => running(&directory),
        };
        lease?.check(runtime.as_deref(), &directory)
    });
    match tokio::time::timeout(START_LIMIT, work).await {
        Ok(Ok(result)) => result,
        Ok(Err(error)) => Err(Error::new(ErrorKind::Other, format!("starting the local server failed: {error}"))),
        Err(_) => Err(Error::new(
            ErrorKind::Timeout,
            format!("the local server did not start within {} s", START_LIMIT.as_secs()),
        )
        .with_hint(format!("See {}", log.display()))),
    }
}

/// The server's binary: the bundled one, else the one on `PATH`.
pub(crate) fn find_binary(bundled: Option<&Path>) -> Result<PathBuf> {
    let search = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&search).map(|directory| directory.join(BINARY));
    bundled.map(Path::to_owned).into_iter().chain(on_path).find(|path| path.is_file()).ok_or_else(|| {
        let bundled = bundled.map_or_else(|| "no bundled binary".into(), |path| path.display().to_string());
        Error::new(
            ErrorKind::Other,
            format!("the server binary is neither in the package ({bundled}) nor, as {BINARY}, on PATH"),
        )
        .with_hint("Install a package that bundles it, or build it and put it on PATH")
    })
}

fn default_data_dir() -> Result<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value: &OsString| !value.is_empty()).map(PathBuf::from);
    set("XDG_DATA_HOME")
        .filter(|path| path.is_absolute())
        .or_else(|| Some(set("HOME")?.join(".local/share")))
        .map(|base| base.join(BINARY))
        .ok_or_else(|| {
            Error::new(ErrorKind::Other, "neither XDG_DATA_HOME nor HOME is set, so there is no data directory")
                .with_hint("Set one of them, or pass data_dir")
        })
}

/// The server that runs on a data directory.
fn running(directory: &Path) -> Result<Lease> {
    let real = directory.canonicalize().ok();
    real.map_or(Ok(None), |directory| connect(&socket_path(&directory)))?.ok_or_else(|| {
        Error::new(ErrorKind::Connection, format!("no local server runs on {}", directory.display()))
            .with_hint(format!("Start one with `{BINARY} serve`, in another terminal or with --detach"))
    })
}

fn start(binary: &Path, directory: &Path, runtime: Option<&str>) -> Result<Lease> {
    refuse_foreign(directory)?;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(|error| failed("create", directory, &error))?;
    let directory = directory.canonicalize().map_err(|error| failed("find", directory, &error))?;
    let socket = socket_path(&directory);
    if let Some(lease) = connect(&socket)? {
        return Ok(lease);
    }
    // One client starts the server, the others wait for it here.
    let lock_path = directory.join(data_dir::START_LOCK);
    let lock = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(&lock_path)
        .map_err(|error| failed("open", &lock_path, &error))?;
    lock.lock().map_err(|error| failed("lock", &lock_path, &error))?;
    if let Some(lease) = connect(&socket)? {
        return Ok(lease);
    }
    let log_path = directory.join(data_dir::LOG);
    let mut server = spawn(binary, &directory, &log_path, runtime)?;
    let mut line = String::new();
    let output = server.stdout.take().expect("stdout is piped");
    let read = BufReader::new(output).read_line(&mut line);
    if read.is_err() || !line.ends_with('\n') {
        let status = server.wait().map_or_else(|error| error.to_string(), |status| status.to_string());
        let tail = last_lines(&log_path);
        return Err(Error::new(
            ErrorKind::Other,
            format!("the local server ended before it listened ({status}): {tail}"),
        )
        .with_hint(format!("See {}", log_path.display())));
    }
    reap(server);
    connect(&socket)?.ok_or_else(|| {
        Error::new(ErrorKind::Connection, "the local server listens and does not answer")
            .with_hint(format!("See {}", log_path.display()))
    })
}

fn spawn(binary: &Path, directory: &Path, log_path: &Path, runtime: Option<&str>) -> Result<Child> {
    let log = OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o600)
        .open(log_path)
        .map_err(|error| failed("open", log_path, &error))?;
    Command::new(binary)
        .args(["serve", "--embedded", "--json", "--port", "0", "--data-dir"])
        .arg(directory)
        .args(runtime.into_iter().flat_map(|runtime| ["--runtime", runtime]))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .current_dir("/")
        // Ctrl-C in the client's terminal is for the client.
        .process_group(0)
        .spawn()
        .map_err(|error| failed("start", binary, &error))
}

/// Makes nothing in a folder that the server will not take for a data directory: one that holds other files.
fn refuse_foreign(directory: &Path) -> Result<()> {
    let entries = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(|error| failed("read", directory, &error))?,
    };
    let entries: Vec<(String, bool)> = entries
        .flatten()
        .map(|entry| {
            // A link could lead to a file of somebody else.
            let plain = entry.file_type().is_ok_and(|kind| kind.is_file() || kind.is_dir());
            (entry.file_name().to_string_lossy().into_owned(), plain)
        })
        .collect();
    let has = |name: &str| entries.iter().any(|(other, plain)| other == name && *plain);
    let lock = std::fs::read(directory.join(data_dir::LOCK)).unwrap_or_default();
    let was_served = has(data_dir::LOCK) && serde_json::from_slice::<data_dir::Holder>(&lock).is_ok();
    if has(data_dir::MARKER) || was_served {
        return Ok(());
    }
    let is_empty = |name: &str| std::fs::read_dir(directory.join(name)).is_ok_and(|mut left| left.next().is_none());
    let precedes = |name: &str| {
        data_dir::may_precede(name)
            || (name == data_dir::LOCK && lock.is_empty())
            || (data_dir::FOLDERS.contains(&name) && is_empty(name))
    };
    let other = entries.iter().find(|(name, plain)| !(*plain && precedes(name)));
    let Some((other, _)) = other else { return Ok(()) };
    Err(Error::new(
        ErrorKind::Other,
        format!(
            "{} is no data directory of {BINARY}: it bears no {} and holds other files, such as {other}; nothing in it \
             was touched",
            directory.display(),
            data_dir::MARKER
        ),
    )
    .with_hint("Pass a data directory that is new or empty"))
}

/// The server may end while this process goes on: without a wait it would stay as a zombie.
fn reap(mut server: Child) {
    let _ = std::thread::Builder::new().name("daytona-native-server".into()).spawn(move || server.wait());
}

/// A lease from the server that listens there, or `None` if none does.
fn connect(socket: &Path) -> Result<Option<Lease>> {
    let Ok(connection) = UnixStream::connect(socket) else { return Ok(None) };
    let _ = connection.set_read_timeout(Some(ANSWER_LIMIT));
    let mut line = String::new();
    let mut limited = BufReader::new((&connection).take(64 * 1024));
    match limited.read_line(&mut line) {
        // It was ending.
        Ok(0) => return Ok(None),
        Ok(_) => {}
        Err(error) => return Err(failed("read from", socket, &error)),
    }
    let greeting: Greeting = serde_json::from_str(&line).map_err(|error| {
        Error::new(ErrorKind::Other, format!("the local server's greeting cannot be read: {error}"))
    })?;
    Ok(Some(Lease {
        url: greeting.url,
        runtime: greeting.runtime,
        user: greeting.user,
        key: greeting.api_key.into(),
        _connection: connection,
    }))
}

/// Where the server of a data directory listens for leases.
fn socket_path(directory: &Path) -> PathBuf {
    let path = directory.join("lease.sock");
    if path.as_os_str().len() <= LONGEST_SOCKET_PATH {
        return path;
    }
    let digest = Sha256::digest(directory.as_os_str().as_bytes());
    let name = u64::from_be_bytes(digest[..8].try_into().expect("a digest is longer"));
    let user = rustix::process::getuid().as_raw();
    PathBuf::from(format!("/tmp/{BINARY}-{user}/{name:016x}.sock"))
}

fn last_lines(path: &Path) -> String {
    let mut text = String::new();
    if let Ok(file) = File::open(path) {
        let _ = file.take(64 * 1024).read_to_string(&mut text);
    }
    let lines: Vec<&str> = text.lines().rev().take(5).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join(" | ")
}

fn failed(what: &str, path: &Path, error: &std::io::Error) -> Error {
    Error::new(ErrorKind::Other, format!("cannot {what} {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_names_both_places() {
        let error = find_binary(Some(Path::new("/nowhere/bin/daytona-native"))).err();
        // A developer may have it on PATH.
        if let Some(error) = error {
            assert!(error.message().contains("/nowhere/bin/daytona-native"));
            assert!(error.message().contains("PATH"));
        }
    }

    #[test]
    fn nothing_is_made_in_a_folder_of_something_else() {
        let base = tempfile::tempdir().unwrap();
        let base = base.path();
        assert!(refuse_foreign(base).is_ok(), "an empty one can be used");
        assert!(refuse_foreign(&base.join("new")).is_ok());
        std::fs::write(base.join("README.md"), "text").unwrap();
        let error = start(Path::new("/nowhere"), base, None).err().unwrap();
        assert!(error.message().contains("README.md") && error.message().contains("nothing"), "{}", error.message());
        assert_eq!(std::fs::read_dir(base).unwrap().count(), 1);
        std::fs::write(base.join(data_dir::MARKER), "{}").unwrap();
        assert!(refuse_foreign(base).is_ok());
    }

    #[test]
    fn long_directories_get_a_short_socket() {
        let long = PathBuf::from(format!("/{}", "d/".repeat(100)));
        assert!(socket_path(&long).as_os_str().len() <= LONGEST_SOCKET_PATH);
        assert_eq!(socket_path(Path::new("/data")), Path::new("/data/lease.sock"));
    }
}
