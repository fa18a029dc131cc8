//! What goes through the proxy.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use hmac::{Hmac, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::{LIMIT, Server};

#[tokio::test]
async fn commands_and_files_reach_the_sandbox() {
    let server = Server::new().await;
    let id = server.create(json!({"env": {"GREETING": "hello"}})).await;
    assert_eq!(server.exec(&id, "echo $GREETING").await, "hello\n");
    let failed = server.try_exec(&id, "exit 3").await.expect(200);
    assert_eq!(failed["exitCode"], 3);
    let part = "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\nbody text\r\n--b--\r\n";
    let bearer = format!("Bearer {}", server.key());
    let headers = [("authorization", bearer.as_str()), ("content-type", "multipart/form-data; boundary=b")];
    let path = format!("/toolbox/{id}/files/upload?path=a%20dir/f.txt");
    let uploaded = server.send("POST", &path, &headers, Bytes::from_static(part.as_bytes())).await;
    assert_eq!(uploaded.status, 200, "{uploaded:?}");
    let path = format!("/toolbox/{id}/files/download?path=a%20dir/f.txt");
    let file = server.call("GET", &path, Value::Null).await;
    assert_eq!((file.status, &file.bytes[..]), (200, &b"body text"[..]));
    let path = format!("/toolbox/{id}/files/download?path=missing");
    let missing = server.call("GET", &path, Value::Null).await.error(404, "FILE_NOT_FOUND");
    assert_eq!(missing["source"], "DAYTONA_DAEMON");
    server.call("GET", "/toolbox/nobody/work-dir", Value::Null).await.error(404, "SANDBOX_NOT_FOUND");
}

#[tokio::test]
async fn a_call_ends_when_its_sandbox_stops() {
    let server = Server::new().await;
    for (change, method, path, status, code) in
        [("stop", "POST", "/stop", 502, "SANDBOX_STOPPED"), ("delete", "DELETE", "", 410, "SANDBOX_DESTROYED")]
    {
        let id = server.create(json!({})).await;
        let running = server.try_exec(&id, "touch began; sleep 1000");
        let stop = async {
            server.wait_for_file(&id, "began").await;
            let path = format!("/api/sandbox/{id}{path}");
            server.call(method, &path, Value::Null).await.expect(200);
        };
        let (answer, ()) = tokio::join!(running, stop);
        let error = answer.error(status, code);
        assert!(error["message"].as_str().unwrap().contains(&id), "{change}: {error}");
    }
}

#[tokio::test]
async fn running_calls_count_as_activity() {
    let server = Server::new().await;
    let id = server.create(json!({})).await;
    let at = async || server.get(&id).await.expect(200)["lastActivityAt"].as_str().unwrap().to_owned();
    let before = at().await;
    let bearer = format!("Bearer {}", server.key());
    let path = format!("/toolbox/{id}/work-dir");
    let skipping = [("authorization", bearer.as_str()), ("x-daytona-skip-last-activity-update", "true")];
    assert_eq!(server.anonymous("GET", &path, &skipping).await.status, 200);
    assert_eq!(at().await, before);
    while at().await == before {
        server.exec(&id, "true").await;
    }
}

fn signed(key: &str, id: &str, method: &str, path: &str, expires: i64) -> String {
    let canonical = format!("v1:files:{method}:{path}:{expires}");
    let mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).unwrap();
    let digest = mac.chain_update(canonical).finalize().into_bytes();
    let signature = URL_SAFE_NO_PAD.encode(digest);
    let operation = if method == "GET" { "download" } else { "upload-v2" };
    format!("/toolbox/{id}/files/{operation}?path={path}&expires={expires}&signature=v1_{signature}")
}

#[tokio::test]
async fn signed_urls_give_one_file_without_the_key() {
    let server = Server::new().await;
    let id = server.create(json!({})).await;
    server.exec(&id, "echo secret > f.txt").await;
    let path = format!("/api/sandbox/{id}/signing-key");
    let key = server.call("GET", &path, Value::Null).await.expect(200);
    let key = key.as_str().unwrap();
    let url = signed(key, &id, "GET", "f.txt", 0);
    let file = server.anonymous("GET", &url, &[]).await;
    assert_eq!((file.status, &file.bytes[..]), (200, &b"secret\n"[..]));

    let part = "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\nnew\r\n--b--\r\n";
    let headers = [("content-type", "multipart/form-data; boundary=b")];
    let put = signed(key, &id, "POST", "g.txt", 9_999_999_999);
    let stored = server.send("POST", &put, &headers, Bytes::from_static(part.as_bytes())).await;
    assert!(stored.status < 300, "{stored:?}");
    assert_eq!(server.exec(&id, "cat g.txt").await, "new");

    let refused = async |method: &str, url: &str, code: &str| {
        server.anonymous(method, url, &[]).await.error(403, code);
    };
    refused("GET", &url.replace("f.txt", "g.txt"), "SIGNATURE_INVALID").await;
    refused("GET", &format!("{url}&path=g.txt"), "SIGNATURE_INVALID").await;
    refused("POST", &url.replace("download", "upload-v2"), "SIGNATURE_INVALID").await;
    refused("GET", &url.replace("files/download", "work-dir"), "SIGNATURE_INVALID").await;
    refused("GET", &url.replace(&id, "nobody"), "SIGNATURE_INVALID").await;
    let old = signed(key, &id, "GET", "f.txt", 1_000_000);
    refused("GET", &old, "SIGNATURE_EXPIRED").await;

    let path = format!("/api/sandbox/{id}/signing-key/rotate");
    let rotated = server.call("POST", &path, Value::Null).await.expect(200);
    assert_ne!(rotated, key);
    refused("GET", &url, "SIGNATURE_INVALID").await;
}

#[tokio::test]
async fn http2_without_tls_is_spoken_too() {
    let server = Server::new().await;
    let client = hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new())
        .http2_only(true)
        .build_http::<http_body_util::Full<Bytes>>();
    let request = hyper::Request::get(format!("{}/api/health", server.origin))
        .header("authorization", format!("Bearer {}", server.key()))
        .body(http_body_util::Full::default())
        .unwrap();
    let response = client.request(request).await.unwrap();
    assert_eq!((response.version(), response.status().as_u16()), (hyper::Version::HTTP_2, 200));
}

/// Sends raw bytes and gives the answer, up to the end of its JSON or of the connection.
async fn raw(server: &Server, bytes: &[u8]) -> String {
    let address = server.origin.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    let read = async { while matches!(stream.read_buf(&mut answer).await, Ok(1..)) && !answer.ends_with(b"}") {} };
    tokio::time::timeout(LIMIT, read).await.expect("no end");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn broken_and_huge_requests_get_a_clear_answer() {
    let server = Server::new().await;
    let answer = raw(&server, b"NONSENSE\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    let head = format!(
        "POST /api/sandbox HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {}\r\n",
        server.key()
    );
    let answer = raw(&server, format!("{head}Content-Length: 7\r\n\r\n{{\"name\"").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("VALIDATION_FAILED"), "{answer}");
    let answer = raw(&server, format!("{head}Content-Length: 20000000\r\n\r\n").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413") && answer.contains("BODY_TOO_LARGE"), "{answer}");
    // A body that breaks off leaves no sandbox behind.
    let address = server.origin.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(format!("{head}Content-Length: 50\r\n\r\n{{").as_bytes()).await.unwrap();
    drop(stream);
    let list = server.call("GET", "/api/sandbox", Value::Null).await.expect(200);
    assert_eq!(list["items"], json!([]));
}

#[tokio::test]
async fn an_idle_connection_holds_nobody_up() {
    let server = Server::new().await;
    let address = server.origin.strip_prefix("http://").unwrap();
    let mut idle = Vec::new();
    for _ in 0..50 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"POST /api/sandbox HT").await.unwrap();
        idle.push(stream);
    }
    server.create(json!({})).await;
}

#[tokio::test]
async fn a_connection_is_used_again_after_a_body_nobody_wanted() {
    let server = Server::new().await;
    let address = server.origin.strip_prefix("http://").unwrap();
    let key = server.key();
    let answers = async |stream: &mut TcpStream, status: &str| {
        let mut text = Vec::new();
        let read = async {
            while !text.ends_with(b"}") {
                assert_ne!(stream.read_buf(&mut text).await.unwrap(), 0, "closed");
            }
        };
        tokio::time::timeout(LIMIT, read).await.expect("no answer");
        let text = String::from_utf8_lossy(&text);
        assert!(text.starts_with(&format!("HTTP/1.1 {status}")), "{text}");
    };
    for (line, key, status) in [
        ("PUT /api/sandbox/nobody/labels", key, "404"),
        ("POST /toolbox/nobody/process/execute", key, "404"),
        ("POST /api/nowhere", key, "404"),
        ("POST /api/sandbox", "wrong", "401"),
        ("POST /toolbox/nobody/process/execute", "wrong", "401"),
    ] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let head = format!("{line} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n");
        let head = format!("{head}Content-Length: 12\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        answers(&mut stream, status).await;
        // Only now the body, as a client that sends it apart from the head may do.
        stream.write_all(b"{          }").await.unwrap();
        let next = "GET /api/health HTTP/1.1\r\nHost: x\r\n";
        let next = format!("{next}Authorization: Bearer {}\r\n\r\n", server.key());
        stream.write_all(next.as_bytes()).await.unwrap();
        answers(&mut stream, "200").await;
    }
}
