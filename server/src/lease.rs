//! The lease socket: each client process holds one connection; the kernel closes it when the
//! process ends, however it ends.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::time::timeout;

/// How long an embedded server waits for its first lease.
const FIRST: Duration = Duration::from_secs(15);
/// How long it waits for another one after the last.
const LINGER: Duration = Duration::from_millis(500);
/// Longer paths do not fit into a socket's address everywhere.
const PATH_LIMIT: usize = 100;

/// The socket that hands out leases.
pub(crate) struct Leases {
    listener: UnixListener,
    path: PathBuf,
    count: Arc<watch::Sender<Count>>,
}

#[derive(Clone, Copy, Default)]
struct Count {
    open: usize,
    ever: bool,
}

impl Leases {
    /// Listens at the place of this data directory, which has to be held.
    pub(crate) fn bind(data_dir: &Path) -> io::Result<Self> {
        let path = socket_path(data_dir)?;
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        // Both possible directories are closed to others, before and after this.
        let listener = UnixListener::bind(&path)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        Ok(Self { listener, path, count: Arc::new(watch::Sender::new(Count::default())) })
    }

    /// Serves `hello` to each client. Ends, where `embedded`, when nobody needs the server.
    pub(crate) async fn serve(self, hello: String, embedded: bool) {
        let hello: Arc<str> = hello.into();
        let mut counts = self.count.subscribe();
        let unused = async {
            if !embedded {
                std::future::pending::<()>().await;
            }
            let first = counts.wait_for(|count| count.ever);
            if timeout(FIRST, first).await.is_err() {
                return;
            }
            loop {
                let _ = counts.wait_for(|count| count.open == 0).await;
                let another = counts.wait_for(|count| count.open > 0);
                if timeout(LINGER, another).await.is_err() {
                    return;
                }
            }
        };
        tokio::select! {
            () = unused => tracing::info!("nobody needs the server any more"),
            () = self.accept(&hello) => {}
        }
    }

    async fn accept(&self, hello: &Arc<str>) {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    let (hello, count) = (Arc::clone(hello), Arc::clone(&self.count));
                    count.send_modify(|count| {
                        count.open += 1;
                        count.ever = true;
                    });
                    tokio::spawn(async move {
                        hold(stream, &hello).await;
                        count.send_modify(|count| count.open -= 1);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "a lease could not be given");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

impl Drop for Leases {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Tells the client where the server is and waits until it lets go.
async fn hold(mut stream: UnixStream, hello: &str) {
    if stream.write_all(hello.as_bytes()).await.is_err() {
        return;
    }
    let mut ignored = [0; 64];
    while matches!(stream.read(&mut ignored).await, Ok(count) if count > 0) {}
}

/// `{data dir}/lease.sock`, or a place in `/tmp` named after a data directory too long for that.
fn socket_path(data_dir: &Path) -> io::Result<PathBuf> {
    let path = data_dir.join("lease.sock");
    if path.as_os_str().len() <= PATH_LIMIT {
        return Ok(path);
    }
    let user = rustix::process::geteuid().as_raw();
    let dir = PathBuf::from(format!("/tmp/daytona-native-{user}"));
    match fs::DirBuilder::new().mode(0o700).create(&dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let metadata = fs::symlink_metadata(&dir)?;
    if !metadata.is_dir() || metadata.uid() != user || metadata.mode() & 0o077 != 0 {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!("{} is not a private directory of this user", dir.display()),
        ));
    }
    let digest = Sha256::digest(data_dir.as_os_str().as_encoded_bytes());
    let name = hex(&digest[..8]);
    Ok(dir.join(format!("{name}.sock")))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_paths_get_a_short_place() {
        let short = Path::new("/srv/data");
        assert_eq!(socket_path(short).unwrap(), Path::new("/srv/data/lease.sock"));
        let long = PathBuf::from(format!("/{}", "x".repeat(120)));
        let path = socket_path(&long).unwrap();
        assert!(path.as_os_str().len() < PATH_LIMIT);
        assert!(path.starts_with(format!("/tmp/daytona-native-{}", rustix::process::geteuid().as_raw())));
    }
}
