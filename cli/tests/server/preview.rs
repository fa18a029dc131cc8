//! Previews: a real program in a sandbox, reached from outside.

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;

use crate::support::{LIMIT, Server};

const BROWSER: [(&str, &str); 1] = [("accept", "text/html,*/*;q=0.8")];

/// Starts the program and gives its port.
pub(crate) async fn start(server: &Server, id: &str) -> u16 {
    start_as(server, id, "port").await
}

async fn start_as(server: &Server, id: &str, file: &str) -> u16 {
    let program = include_str!("preview.py");
    let command = format!("cat > program.py <<'END'\n{program}\nEND\n(python3 program.py {file} >/dev/null 2>&1 &)");
    server.exec(id, &command).await;
    server.wait_for_file(id, file).await;
    server.exec(id, &format!("cat {file}")).await.trim().parse().unwrap()
}

/// The path of a preview URL and its token.
async fn link(server: &Server, id: &str, port: u16) -> (String, String) {
    let path = format!("/api/sandbox/{id}/ports/{port}/preview-url");
    let link = server.call("GET", &path, Value::Null).await.expect(200);
    assert_eq!(link["sandboxId"], id);
    let path = link["url"].as_str().unwrap().strip_prefix(&server.origin).unwrap();
    (path.to_owned(), link["token"].as_str().unwrap().to_owned())
}

async fn signed(server: &Server, id: &str, port: u16, query: &str) -> (String, String) {
    let path = format!("/api/sandbox/{id}/ports/{port}/signed-preview-url{query}");
    let link = server.call("GET", &path, Value::Null).await.expect(200);
    assert_eq!((&link["sandboxId"], &link["port"]), (&json!(id), &json!(port)));
    let path = link["url"].as_str().unwrap().strip_prefix(&server.origin).unwrap();
    (path.to_owned(), link["token"].as_str().unwrap().to_owned())
}

/// One request to the name that a browser would resolve to the server.
async fn by_host(server: &Server, name: &str, path: &str, headers: &str) -> String {
    let address = server.origin.strip_prefix("http://").unwrap();
    let port = address.rsplit(':').next().unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {name}.localhost:{port}\r\nConnection: close\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    tokio::time::timeout(LIMIT, stream.read_to_string(&mut text)).await.unwrap().unwrap();
    text
}

#[tokio::test]
async fn every_place_for_the_token_lets_in_and_is_not_passed_on() {
    let server = Server::new().await;
    let id = server.create(json!({})).await;
    let port = start(&server, &id).await;
    let (path, token) = link(&server, &id, port).await;
    let refused = server.anonymous("GET", &path, &[]).await.error(401, "UNAUTHORIZED");
    assert_eq!(refused["source"], "DAYTONA_PROXY");
    let bearer = format!("Bearer {token}");
    let key = format!("Bearer {}", server.key());
    let cookie = format!("own=1; daytona-sandbox-auth-{id}={token}");
    let places = [
        ("x-daytona-preview-token", token.as_str()),
        ("authorization", bearer.as_str()),
        ("authorization", key.as_str()),
        ("cookie", cookie.as_str()),
    ];
    for place in places {
        let seen = server.anonymous("GET", &format!("{path}/a/b?c=1&d=%20"), &[place]).await.expect(200);
        assert_eq!(seen["path"], "/a/b?c=1&d=%20");
        let text = seen.to_string();
        assert!(!text.contains(&token) && !text.contains(server.key()), "{text}");
    }
    let own = server.anonymous("GET", &path, &[("cookie", cookie.as_str())]).await.expect(200);
    assert_eq!(own["headers"]["cookie"], "own=1");
    let query = format!("{path}/x?DAYTONA_SANDBOX_AUTH_KEY={token}&y=1");
    assert_eq!(server.anonymous("GET", &query, &[]).await.expect(200)["path"], "/x?y=1");
    let basic = [("x-daytona-preview-token", token.as_str()), ("authorization", "Basic abc")];
    let seen = server.anonymous("GET", &path, &basic).await.expect(200);
    assert_eq!(seen["headers"]["authorization"], "Basic abc", "the program's own stays");
    for wrong in ["x", &token[1..], ""] {
        server.anonymous("GET", &path, &[("x-daytona-preview-token", wrong)]).await.error(401, "UNAUTHORIZED");
    }
    // The same token opens the toolbox.
    let toolbox = format!("/toolbox/{id}/work-dir");
    server.anonymous("GET", &toolbox, &[("x-daytona-preview-token", &token)]).await.expect(200);
    server.anonymous("GET", &format!("{toolbox}?DAYTONA_SANDBOX_AUTH_KEY={token}"), &[]).await.expect(200);
    server.anonymous("GET", &format!("/preview/2280-{id}/work-dir"), &[places[0]]).await.expect(200);
}

#[tokio::test]
async fn a_browser_keeps_the_token_as_a_cookie() {
    let server = Server::new().await;
    let id = server.create(json!({})).await;
    let port = start(&server, &id).await;
    let (path, token) = link(&server, &id, port).await;
    let opened = server.anonymous("GET", &format!("{path}/p?DAYTONA_SANDBOX_AUTH_KEY={token}&q=1"), &BROWSER).await;
    assert_eq!(opened.status, 307);
    assert_eq!(opened.headers["location"], format!("{path}/p?q=1"));
    let cookie = opened.headers["set-cookie"].to_str().unwrap();
    assert!(cookie.contains("HttpOnly") && cookie.contains(&format!("Path={path}/")), "{cookie}");
    let cookie = cookie.split(';').next().unwrap();
    let headers = [BROWSER[0], ("cookie", cookie)];
    assert_eq!(server.anonymous("GET", &format!("{path}/p?q=1"), &headers).await.expect(200)["path"], "/p?q=1");
    // Relative links need the slash.
    assert_eq!(server.anonymous("GET", &path, &headers).await.headers["location"], format!("{path}/"));
    // What resolves names below localhost by itself gets an origin for the sandbox alone.
    let chrome = [BROWSER[0], ("user-agent", "Mozilla/5.0 Chrome/130.0")];
    let moved = server.anonymous("GET", &format!("{path}/p?q=1"), &chrome).await;
    let name = server.origin.rsplit(':').next().unwrap();
    assert_eq!(moved.headers["location"], format!("http://{port}-{id}.localhost:{name}/p?q=1"));
    let behind = [chrome[0], chrome[1], ("x-forwarded-host", "preview.example.com"), ("cookie", cookie)];
    server.anonymous("GET", &format!("{path}/p"), &behind).await.expect(200);
}

#[tokio::test]
async fn the_name_of_the_host_leads_to_the_port() {
    let server = Server::new().await;
    let id = server.create(json!({})).await;
    let port = start(&server, &id).await;
    let (_, token) = link(&server, &id, port).await;
    let name = format!("{port}-{id}");
    assert!(by_host(&server, &name, "/", "").await.starts_with("HTTP/1.1 401"));
    let header = format!("X-Daytona-Preview-Token: {token}\r\nX-Forwarded-For: 10.1.1.1\r\n");
    let seen = by_host(&server, &name, "/api/sandbox?x=1", &header).await;
    assert!(seen.contains("\"/api/sandbox?x=1\""), "the path is the program's alone: {seen}");
    assert!(seen.contains(&format!("\"x-forwarded-host\": \"{name}.localhost")), "{seen}");
    assert!(seen.contains("10.1.1.1, 127.0.0.1"), "{seen}");
    let (_, signed) = signed(&server, &id, port, "").await;
    assert!(by_host(&server, &format!("{port}-{signed}"), "/", "").await.starts_with("HTTP/1.1 200"));
    assert!(by_host(&server, &format!("1-{signed}"), "/", "").await.starts_with("HTTP/1.1 403"));
    let query = format!("/?DAYTONA_SANDBOX_AUTH_KEY={token}");
    let opened = by_host(&server, &name, &query, "Accept: text/html\r\n").await.to_lowercase();
    assert!(opened.starts_with("http/1.1 307") && opened.contains("location: /\r\n"), "{opened}");
    let nobody = by_host(&server, &format!("{port}-00000000-0000-4000-8000-000000000000"), "/", &header).await;
    assert!(nobody.starts_with("HTTP/1.1 404") && nobody.contains("SANDBOX_NOT_FOUND"), "{nobody}");
}

#[tokio::test]
async fn answers_and_bodies_are_streamed() {
    let server = Server::new().await;
    let id = server.create(json!({})).await;
    let port = start(&server, &id).await;
    let (path, token) = link(&server, &id, port).await;
    let address = server.origin.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!("GET {path}/stream HTTP/1.1\r\nHost: {address}\r\nX-Daytona-Preview-Token: {token}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut text = Vec::new();
    let first = async {
        while !String::from_utf8_lossy(&text).contains("one") {
            assert_ne!(stream.read_buf(&mut text).await.unwrap(), 0);
        }
    };
    tokio::time::timeout(LIMIT, first).await.expect("the first piece comes before the second is made");
    let headers = [("x-daytona-preview-token", token.as_str())];
    assert_eq!(server.anonymous("GET", &format!("{path}/go"), &headers).await.bytes, "gone");
    let rest = async {
        while !String::from_utf8_lossy(&text).contains("two") {
            assert_ne!(stream.read_buf(&mut text).await.unwrap(), 0);
        }
    };
    tokio::time::timeout(LIMIT, rest).await.unwrap();
    let body = Bytes::from(vec![7; 20 << 20]);
    let digest = format!("{:x}", Sha256::digest(&body));
    let posted = server.send("POST", &format!("{path}/upload"), &headers, body).await;
    assert_eq!(posted.bytes, digest);
    let moved = server.anonymous("GET", &format!("{path}/redirect"), &headers).await;
    assert_eq!(moved.headers["location"], format!("{path}/there"));
    assert_eq!(moved.headers["set-cookie"], format!("own=1; Path={path}/"));
}

#[tokio::test]
async fn websockets_pass_and_end_with_the_sandbox() {
    let server = Server::new().await;
    let id = server.create(json!({})).await;
    let port = start(&server, &id).await;
    let (path, token) = signed(&server, &id, port, "").await;
    let url = format!("{}{path}/ws", server.origin.replace("http", "ws"));
    let address = server.origin.strip_prefix("http://").unwrap();
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut socket, _) = tokio_tungstenite::client_async(&url, stream).await.unwrap();
    for text in ["hello", "again"] {
        socket.send(Message::text(text)).await.unwrap();
        let echo = tokio::time::timeout(LIMIT, socket.next()).await.unwrap().unwrap().unwrap();
        assert_eq!(echo, Message::text(text));
    }
    // An open one does not outlive its sandbox, nor does its token lose it.
    let expire = format!("/api/sandbox/{id}/ports/{port}/signed-preview-url/{token}/expire");
    server.call("POST", &expire, Value::Null).await.expect(200);
    server.call("POST", &format!("/api/sandbox/{id}/stop"), Value::Null).await.expect(200);
    let end = tokio::time::timeout(LIMIT, socket.next()).await.unwrap();
    assert!(!matches!(end, Some(Ok(Message::Text(_)))), "{end:?}");
}

#[tokio::test]
async fn signed_urls_hold_for_their_port_and_time() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::open(dir.path(), &[]).await;
    let id = server.create(json!({})).await;
    let port = start(&server, &id).await;
    let (path, token) = signed(&server, &id, port, "?expiresInSeconds=3600").await;
    assert_eq!(token.len(), 16);
    assert!(token.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_lowercase()), "{token}");
    server.anonymous("GET", &path, &[]).await.expect(200);
    let other = path.replace(&format!("{port}-"), "1-");
    server.anonymous("GET", &other, &[]).await.error(403, "PREVIEW_TOKEN_INVALID");
    let base = format!("/api/sandbox/{id}/ports/{port}/signed-preview-url");
    for bad in ["0", "-1", "86401", "soon", "1.5"] {
        let path = format!("{base}?expiresInSeconds={bad}");
        server.call("GET", &path, Value::Null).await.error(400, "VALIDATION_FAILED");
    }
    server.call("GET", &format!("{base}?expiresInSeconds=86400"), Value::Null).await.expect(200);
    for bad in ["0", "65536", "http"] {
        let path = format!("/api/sandbox/{id}/ports/{bad}/preview-url");
        server.call("GET", &path, Value::Null).await.error(400, "VALIDATION_FAILED");
    }
    let (short, _) = signed(&server, &id, port, "?expiresInSeconds=1").await;
    let over = async {
        while server.anonymous("GET", &short, &[]).await.status == 200 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(LIMIT, over).await.unwrap();
    server.anonymous("GET", &short, &[]).await.error(403, "PREVIEW_TOKEN_INVALID");
    // It outlives a crash of the server and a start of the sandbox, unlike the standard token.
    let (plain, standard) = link(&server, &id, port).await;
    server.kill().await;
    let server = Server::open(dir.path(), &[]).await;
    server.anonymous("GET", &path, &[]).await.error(409, "SANDBOX_NOT_RUNNING");
    server.call("POST", &format!("/api/sandbox/{id}/start"), Value::Null).await.expect(200);
    server.anonymous("GET", &plain, &[("x-daytona-preview-token", &standard)]).await.error(401, "UNAUTHORIZED");
    let sleeping = server.anonymous("GET", &path, &[]).await.error(502, "PORT_UNREACHABLE");
    let message = sleeping["message"].as_str().unwrap();
    assert!(message.contains("nothing listens") && message.contains(&port.to_string()), "{message}");
    let expire = format!("{base}/{token}/expire");
    server.call("POST", &expire, Value::Null).await.expect(200);
    server.call("POST", &expire, Value::Null).await.error(404, "PREVIEW_TOKEN_INVALID");
    server.anonymous("GET", &path, &[]).await.error(403, "PREVIEW_TOKEN_INVALID");
}

#[tokio::test]
async fn a_public_sandbox_shows_its_programs_and_not_its_toolbox() {
    let server = Server::new().await;
    let id = server.create(json!({"public": true})).await;
    let port = start(&server, &id).await;
    let (path, token) = link(&server, &id, port).await;
    server.anonymous("GET", &path, &[]).await.expect(200);
    for own in [2280, 22220, 22222, 33333] {
        let path = format!("/preview/{own}-{id}/work-dir");
        server.anonymous("GET", &path, &[]).await.error(401, "UNAUTHORIZED");
    }
    server.anonymous("GET", &format!("/toolbox/{id}/work-dir"), &[]).await.error(401, "UNAUTHORIZED");
    let toolbox = format!("/preview/2280-{id}/private/dial?port={port}");
    let dial = [("x-daytona-preview-token", token.as_str()), ("upgrade", "daytona-tunnel"), ("connection", "upgrade")];
    server.anonymous("GET", &toolbox, &dial).await.error(404, "NOT_FOUND");
    server.anonymous("GET", &format!("/toolbox/{id}/private/run"), &dial).await.error(404, "NOT_FOUND");
    server.call("POST", &format!("/api/sandbox/{id}/public/false"), Value::Null).await.expect(200);
    server.anonymous("GET", &path, &[]).await.error(401, "UNAUTHORIZED");
    // The server's own port, where a sandbox shares the machine's network.
    let own = server.origin.rsplit(':').next().unwrap();
    let looped = format!("/preview/{own}-{id}/preview/{own}-{id}/preview/{own}-{id}");
    let headers = [("x-daytona-preview-token", token.as_str())];
    let answer = server.anonymous("GET", &looped, &headers).await;
    assert!([401, 502, 508].contains(&answer.status), "{answer:?}");
}

#[tokio::test]
async fn what_a_proxy_of_ones_own_asks() {
    let server = Server::new().await;
    let id = server.create(json!({})).await;
    let (_, token) = link(&server, &id, 3000).await;
    let (_, signed) = signed(&server, &id, 3000, "").await;
    let ask = async |path: &str| server.anonymous("GET", &format!("/api/preview/{path}"), &[]).await;
    assert_eq!(ask(&format!("{id}/public")).await.expect(200), false);
    assert_eq!(ask(&format!("{id}/validate/{token}")).await.expect(200), true);
    assert_eq!(ask(&format!("{id}/validate/other")).await.expect(200), false);
    assert_eq!(ask(&format!("{signed}/3000/sandbox-id")).await.expect(200), json!(id));
    ask(&format!("{signed}/3001/sandbox-id")).await.error(403, "PREVIEW_TOKEN_INVALID");
    assert_eq!(ask(&format!("{id}/preview-warning")).await.expect(200)["enabled"], false);
    ask("nobody/public").await.error(404, "SANDBOX_NOT_FOUND");
    for private in ["access", "signing-key"] {
        ask(&format!("{id}/{private}")).await.error(401, "UNAUTHORIZED");
        server.call("GET", &format!("/api/preview/{id}/{private}"), Value::Null).await.expect(200);
    }
}

#[tokio::test]
async fn previews_are_activity_unless_they_say_otherwise() {
    let server = Server::new().await;
    let id = server.create(json!({})).await;
    let port = start(&server, &id).await;
    let (path, token) = link(&server, &id, port).await;
    let at = async || server.get(&id).await.expect(200)["lastActivityAt"].as_str().unwrap().to_owned();
    let before = at().await;
    let skip = [("x-daytona-preview-token", token.as_str()), ("x-daytona-skip-last-activity-update", "true")];
    server.anonymous("GET", &path, &skip).await.expect(200);
    assert_eq!(at().await, before);
    while at().await == before {
        server.anonymous("GET", &path, &skip[..1]).await.expect(200);
    }
}

#[tokio::test]
async fn ports_in_use_are_told() {
    let server = Server::new().await;
    let id = server.create(json!({})).await;
    let port = start(&server, &id).await;
    let list = server.call("GET", &format!("/toolbox/{id}/port"), Value::Null).await.expect(200);
    assert!(list["ports"].as_array().unwrap().contains(&json!(port)), "{list}");
    let in_use = async |port: &str| server.call("GET", &format!("/toolbox/{id}/port/{port}/in-use"), Value::Null).await;
    assert_eq!(in_use(&port.to_string()).await.expect(200)["isInUse"], true);
    server.exec(&id, "pkill -f '[p]rogram.py'; while pgrep -f '[p]rogram.py' >/dev/null; do sleep 0.01; done").await;
    assert_eq!(in_use(&port.to_string()).await.expect(200)["isInUse"], false);
    in_use("0").await.error(400, "BAD_REQUEST");
    // The routes of older clients.
    let old = format!("/api/toolbox/{id}/toolbox/port");
    server.call("GET", &old, Value::Null).await.expect(200);
    server.anonymous("GET", &old, &[]).await.error(401, "UNAUTHORIZED");
}
