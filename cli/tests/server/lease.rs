//! The lease socket of an embedded server.

use std::path::{Path, PathBuf};

use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::UnixStream;

use crate::support::{LIMIT, Server};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

async fn lease(path: &Path) -> (BufReader<UnixStream>, Value) {
    let mut stream = BufReader::new(UnixStream::connect(path).await.unwrap());
    let mut line = String::new();
    let read = stream.read_line(&mut line);
    tokio::time::timeout(LIMIT, read).await.unwrap().unwrap();
    (stream, serde_json::from_str(&line).unwrap())
}

#[tokio::test]
async fn an_embedded_server_ends_after_its_last_lease() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::open(dir.path(), &["--embedded"]).await;
    let path = dir.path().canonicalize().unwrap().join("lease.sock");
    let (first, hello) = lease(&path).await;
    for field in ["url", "apiKey", "pid", "version", "runtime"] {
        assert_eq!(hello[field], server.ready[field], "{field}");
    }
    let (second, _) = lease(&path).await;
    drop(first);
    let (third, _) = lease(&path).await;
    drop(second);
    server.call("GET", "/api/health", Value::Null).await.expect(200);
    drop(third);
    assert_eq!(server.ended().await.code(), Some(0));
    assert!(!path.exists());
}

#[tokio::test]
async fn a_lease_taken_in_time_keeps_the_server() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::open(dir.path(), &["--embedded"]).await;
    let path = dir.path().canonicalize().unwrap().join("lease.sock");
    let mut held = lease(&path).await;
    for _ in 0..5 {
        drop(held);
        held = lease(&path).await;
    }
    server.call("GET", "/api/health", Value::Null).await.expect(200);
}

#[tokio::test]
async fn without_embedded_leases_end_nothing() {
    let mut server = Server::new().await;
    let path = server.dir.canonicalize().unwrap().join("lease.sock");
    let (held, hello) = lease(&path).await;
    assert_eq!(hello["url"], server.ready["url"]);
    drop(held);
    server.call("GET", "/api/health", Value::Null).await.expect(200);
    assert_eq!(server.terminate().await.code(), Some(0));
}

#[tokio::test]
async fn a_data_directory_with_a_long_path_has_its_socket_elsewhere() {
    let base = tempfile::tempdir().unwrap();
    let dir = base.path().join("d".repeat(110));
    let server = Server::open(&dir, &[]).await;
    let canonical = dir.canonicalize().unwrap();
    let digest = Sha256::digest(canonical.as_os_str().as_encoded_bytes());
    let name = hex(&digest[..8]);
    let user = rustix::process::geteuid().as_raw();
    let path = PathBuf::from(format!("/tmp/daytona-native-{user}/{name}.sock"));
    let (_held, hello) = lease(&path).await;
    assert_eq!(hello["pid"], server.ready["pid"]);
    server.create(serde_json::json!({})).await;
}

#[tokio::test]
async fn the_socket_is_for_its_owner_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let server = Server::new().await;
    let path = server.dir.canonicalize().unwrap().join("lease.sock");
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
}
