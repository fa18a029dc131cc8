//! An SSH server whose user names are tokens, each for one sandbox.
//!
//! It listens from the first token on: who uses no SSH has no port open for it.

mod channel;
mod connection;
mod input;

use std::io;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::{Arc, Weak};
use std::time::Duration;

use axum::http::StatusCode;
use russh::keys::PrivateKey;
use russh::keys::ssh_key::LineEnding;
use russh::keys::ssh_key::private::Ed25519Keypair;
use russh::server::Config;
use russh::{MethodKind, MethodSet};
use tokio::net::TcpListener;
use tokio::sync::{OnceCell, OwnedSemaphorePermit, Semaphore, oneshot, watch};

use self::connection::Client;
use crate::App;
use crate::config::{Patience, write_private};
use crate::error::{ApiError, ApiResult, code};

/// The port where none is given and it is free.
const USUAL_PORT: u16 = 2222;
/// The name of every local server in the files of known hosts: ports change.
const ALIAS: &str = "daytona-native";
const KEY_FILE: &str = "ssh-host-key";
const KNOWN_HOSTS_FILE: &str = "ssh-known-hosts";

/// How SSH clients are served.
pub(crate) struct Ssh {
    /// Where the API listens.
    api: SocketAddr,
    port: Option<u16>,
    patience: Patience,
    dir: PathBuf,
    listening: OnceCell<SocketAddr>,
    /// A token may have been taken back.
    revoked: watch::Sender<()>,
}

impl Ssh {
    pub(crate) fn new(api: SocketAddr, port: Option<u16>, patience: Patience, dir: &Path) -> Self {
        let (listening, revoked) = (OnceCell::new(), watch::Sender::new(()));
        Self { api, port, patience, dir: dir.to_owned(), listening, revoked }
    }

    /// Looks after connections whose token was taken back.
    pub(crate) fn revoked(&self) {
        self.revoked.send_replace(());
    }

    /// Told when a token may have been taken back.
    fn subscribe(&self) -> watch::Receiver<()> {
        self.revoked.subscribe()
    }

    /// Listens, if it does not already.
    pub(crate) async fn listen(&self, app: &Arc<App>) -> ApiResult<SocketAddr> {
        let listen = async || {
            let key = self.host_key()?;
            let listener = self.bind().await?;
            let address = listener.local_addr()?;
            tracing::info!(%address, "listening for SSH");
            tokio::spawn(accept(listener, Arc::new(config(key)), self.patience, Arc::downgrade(app)));
            io::Result::Ok(address)
        };
        self.listening.get_or_try_init(listen).await.copied().map_err(|error| {
            let way_out = "; choose another port with --ssh-port and start the server again";
            ApiError::new(
                StatusCode::SERVICE_UNAVAILABLE,
                code::SSH_UNAVAILABLE,
                format!("SSH cannot be served: {error}{way_out}"),
            )
        })
    }

    async fn bind(&self) -> io::Result<TcpListener> {
        let host = self.api.ip();
        match self.port {
            Some(port) => TcpListener::bind((host, port)).await,
            None => match TcpListener::bind((host, USUAL_PORT)).await {
                Ok(listener) => Ok(listener),
                Err(_) => TcpListener::bind((host, 0)).await,
            },
        }
    }

    /// The key of this data directory, made when it is first needed; clients find it in a file of known hosts.
    fn host_key(&self) -> io::Result<PrivateKey> {
        let path = self.dir.join(KEY_FILE);
        let key = match std::fs::read_to_string(&path) {
            Ok(text) => PrivateKey::from_openssh(text).map_err(io::Error::other)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let mut seed = [0; 32];
                getrandom::fill(&mut seed)?;
                let key = PrivateKey::from(Ed25519Keypair::from_seed(&seed));
                let text = key.to_openssh(LineEnding::LF).map_err(io::Error::other)?;
                write_private(&path, text.as_bytes())?;
                key
            }
            Err(error) => return Err(error),
        };
        let public = key.public_key().to_openssh().map_err(io::Error::other)?;
        write_private(&self.dir.join(KNOWN_HOSTS_FILE), format!("{ALIAS} {public}\n").as_bytes())?;
        Ok(key)
    }

    /// What opens a shell with OpenSSH's client, without a question. `host` is what the caller calls this machine.
    pub(crate) fn command(&self, address: SocketAddr, host: &str, token: &str) -> String {
        let port = address.port();
        if !address.ip().is_loopback() {
            // On another machine there is no file of known hosts.
            return format!("ssh -p {port} {token}@{host}");
        }
        let known = known_hosts_option(&self.dir.join(KNOWN_HOSTS_FILE));
        let host = address.ip();
        format!("ssh -p {port} -o HostKeyAlias={ALIAS} -o {known} -o StrictHostKeyChecking=yes {token}@{host}")
    }
}

/// `UserKnownHostsFile=PATH`, safe from the shell and from what ssh makes of blanks, quotes and percent signs.
fn known_hosts_option(path: &Path) -> String {
    let path = path.to_string_lossy();
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "/._-+,@".contains(letter);
    if path.chars().all(plain) {
        return format!("UserKnownHostsFile={path}");
    }
    let path = path.replace('%', "%%").replace('\\', "\\\\").replace('"', "\\\"").replace('\'', r"'\''");
    format!("'UserKnownHostsFile=\"{path}\"'")
}

fn config(key: PrivateKey) -> Config {
    Config {
        methods: MethodSet::from(&[MethodKind::None, MethodKind::Password][..]),
        auth_rejection_time: Duration::from_secs(1),
        // Most clients ask first which methods there are.
        auth_rejection_time_initial: Some(Duration::ZERO),
        keys: vec![key],
        inactivity_timeout: None,
        keepalive_interval: Some(Duration::from_secs(60)),
        nodelay: true,
        ..Config::default()
    }
}

/// A connection that no token has let in. Dropped when one does.
struct Stranger {
    _place: OwnedSemaphorePermit,
    _known: oneshot::Sender<()>,
}

async fn accept(listener: TcpListener, config: Arc<Config>, patience: Patience, app: Weak<App>) {
    let places = Arc::new(Semaphore::new(patience.logins));
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        if app.strong_count() == 0 {
            return;
        }
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            tracing::debug!("an SSH connection was closed: too many have shown no token yet");
            continue;
        };
        let Ok(socket) = stream.as_fd().try_clone_to_owned() else { continue };
        let (known, is_known) = oneshot::channel();
        let client = Client::new(app.clone(), Stranger { _place: place, _known: known });
        let config = Arc::clone(&config);
        tokio::spawn(async move {
            let _ = stream.set_nodelay(true);
            let mut serving = pin!(async { russh::server::run_stream(config, stream, client).await?.await });
            let result = tokio::select! {
                result = serving.as_mut() => result,
                () = overdue(socket, is_known, patience.login) => serving.await,
            };
            if let Err(error) = result {
                tracing::debug!(%error, "an SSH connection failed");
            }
        });
    }
}

/// Closes a connection that is a stranger's for too long, whatever it does: russh bounds the time between two bytes and
/// the number of attempts, not the whole. Its own task ends with the connection.
async fn overdue(socket: OwnedFd, known: oneshot::Receiver<()>, limit: Duration) {
    if tokio::time::timeout(limit, known).await.is_ok() {
        drop(socket);
        return std::future::pending().await;
    }
    let _ = std::net::TcpStream::from(socket).shutdown(Shutdown::Both);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_survive_the_shell_and_ssh() {
        let option = |path: &str| known_hosts_option(Path::new(path));
        assert_eq!(option("/home/a/.local/x-1"), "UserKnownHostsFile=/home/a/.local/x-1");
        assert_eq!(option("/a b/c"), "'UserKnownHostsFile=\"/a b/c\"'");
        assert_eq!(option("/a'b%"), r#"'UserKnownHostsFile="/a'\''b%%"'"#);
    }

    #[test]
    fn the_host_key_is_made_once() {
        let dir = tempfile::tempdir().unwrap();
        let ssh = || Ssh::new(SocketAddr::from(([127, 0, 0, 1], 1)), None, Patience::default(), dir.path());
        let first = ssh().host_key().unwrap();
        assert_eq!(first.public_key(), ssh().host_key().unwrap().public_key());
        let mode = std::os::unix::fs::MetadataExt::mode(&dir.path().join(KEY_FILE).metadata().unwrap());
        assert_eq!(mode & 0o777, 0o600);
    }
}
