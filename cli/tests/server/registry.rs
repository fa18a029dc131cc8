//! A registry of images on loopback.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use tempfile::TempDir;

use crate::support::Server;

/// Of a script that cannot be run here.
const SKIPPED: i32 = 77;

/// A registry with the images `debian:12` and `small:1`; it ends with its value, or with the tests.
pub(crate) struct Registry {
    process: Child,
    address: String,
    storage: Option<TempDir>,
}

impl Registry {
    /// The one that the tests share, which nobody changes; nothing where there can be none, and why is said once.
    pub(crate) fn shared() -> Option<&'static Self> {
        static SHARED: OnceLock<Option<Registry>> = OnceLock::new();
        SHARED.get_or_init(|| Self::start(None)).as_ref()
    }

    /// One whose files may be replaced.
    pub(crate) fn own() -> Option<Self> {
        Self::shared()?;
        // The images are linked, which needs the same file system.
        Self::start(Some(tempfile::tempdir_in(root().join("target")).unwrap()))
    }

    fn start(storage: Option<TempDir>) -> Option<Self> {
        let mut process = Command::new("python3")
            .arg(root().join("tests/images/registry.py"))
            .args(storage.as_ref().map(TempDir::path))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("python3 runs");
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        if let Some(address) = line.trim_end().strip_prefix("ready ") {
            return Some(Self { address: address.to_owned(), process, storage });
        }
        let mut why = String::new();
        process.stderr.take().unwrap().read_to_string(&mut why).unwrap();
        let code = process.wait().unwrap().code();
        assert_eq!(code, Some(SKIPPED), "the registry did not start: {why}");
        eprintln!("skipped: no registry of images: {}", why.trim_end());
        None
    }

    /// The full name of an image.
    pub(crate) fn image(&self, name: &str) -> String {
        format!("{}/{name}", self.address)
    }

    /// The digest that a tag leads to.
    pub(crate) fn digest(&self, repository: &str, tag: &str) -> String {
        let link = format!("docker/registry/v2/repositories/{repository}/_manifests/tags/{tag}/current/link");
        std::fs::read_to_string(self.storage().join(link)).unwrap()
    }

    /// Digest and file of the only layer of an image.
    pub(crate) fn layer(&self, repository: &str, tag: &str) -> (String, PathBuf) {
        let manifest = std::fs::read(self.blob(&self.digest(repository, tag))).unwrap();
        let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
        let digest = manifest["layers"][0]["digest"].as_str().unwrap().to_owned();
        let file = self.blob(&digest);
        (digest, file)
    }

    /// The file of a blob.
    pub(crate) fn blob(&self, digest: &str) -> PathBuf {
        let hex = digest.strip_prefix("sha256:").unwrap();
        self.storage().join(format!("docker/registry/v2/blobs/sha256/{}/{hex}/data", &hex[..2]))
    }

    fn storage(&self) -> &Path {
        self.storage.as_ref().expect("its files are its own").path()
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

/// A server and the registry; nothing where there is no registry, or where sandboxes are made of no images.
pub(crate) async fn with_registry() -> Option<(&'static Registry, TempDir, Server)> {
    let registry = Registry::shared()?;
    let dir = tempfile::tempdir().unwrap();
    let server = Server::open(dir.path(), &[]).await;
    if server.ready["runtime"] != "ns" {
        eprintln!("skipped: the runtime {} makes no sandboxes of images", server.ready["runtime"]);
        return None;
    }
    Some((registry, dir, server))
}

/// Where this repository is.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}
