//! The gateway: what a sandbox reaches through it, and what not.

use std::net::{IpAddr, UdpSocket};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::support::{LIMIT, Server};

/// A server whose sandboxes have networks of their own, or none where that is not possible.
async fn server(options: &[&str]) -> Option<(tempfile::TempDir, Server)> {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::open(dir.path(), options).await;
    let config = server.call("GET", "/api/config", Value::Null).await.expect(200);
    if config["runtime"]["limits"]["network"]["state"] == "enforced" {
        return Some((dir, server));
    }
    println!("skipped: {}", config["runtime"]["limits"]["network"]);
    None
}

/// A service on the machine's loopback that reads to the end and answers with the length and what it has read first.
async fn service() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut text = Vec::new();
                if stream.read_to_end(&mut text).await.is_ok() {
                    let answer = format!("{} {}", text.len(), String::from_utf8_lossy(&text[..text.len().min(5)]));
                    let _ = stream.write_all(answer.as_bytes()).await;
                }
            });
        }
    });
    port
}

/// An address of this machine that is not a loopback one.
fn own_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    Some(socket.local_addr().ok()?.ip())
}

const CONNECT: &str = "connect() { bash -c \"exec 3<>/dev/tcp/$1/$2 && echo open\" 2>&1 | tail -n 1; }; ";

#[tokio::test]
async fn the_machine_is_out_of_reach() {
    let Some((_dir, server)) = server(&[]).await else { return };
    let id = server.create(json!({})).await;
    let port = service().await;
    for host in ["127.0.0.1", "10.0.2.2", "localhost"] {
        let said = server.exec(&id, &format!("{CONNECT} connect {host} {port}")).await;
        assert!(said.contains("Connection refused"), "{host}: {said}");
    }
    let said = server.exec(&id, &format!("{CONNECT} connect host.daytona.internal {port}")).await;
    assert!(said.contains("not known") || said.contains("resolution") || said.contains("Invalid"), "{said}");
    for host in own_address().map(|address| address.to_string()).into_iter().chain(["169.254.169.254".to_owned()]) {
        let said = server.exec(&id, &format!("{CONNECT} connect {host} {port}")).await;
        assert!(said.contains("No route to host"), "{host}: {said}");
    }
}

#[tokio::test]
async fn services_of_the_machine_are_reached_when_they_may_be() {
    let Some((_dir, server)) = server(&["--allow-host-loopback"]).await else { return };
    let id = server.create(json!({})).await;
    let port = service().await;
    let program = format!(
        "cat > talk.py <<'END'\n\
         import socket\n\
         for size in (0, 5, 3000000):\n    \
             one = socket.create_connection(('host.daytona.internal', {port}))\n    \
             one.sendall(b'hello' * (size // 5))\n    \
             one.shutdown(socket.SHUT_WR)\n    \
             print(one.makefile().read())\n\
         END\n\
         /usr/bin/python3 talk.py"
    );
    // Half of each connection is closed before the answer comes.
    assert_eq!(server.exec(&id, &program).await, "0 \n5 hello\n3000000 hello\n");
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let said = server.exec(&id, &format!("{CONNECT} connect host.daytona.internal {closed}")).await;
    assert!(said.contains("Connection refused"), "{said}");
}

#[tokio::test]
async fn limits_end_what_they_do_not_allow() {
    let Some((_dir, server)) = server(&["--allow-host-loopback"]).await else { return };
    let id = server.create(json!({"domainAllowList": "host.daytona.internal"})).await;
    let port = service().await;
    let wait = format!(
        "cat > wait.py <<'END'\n\
         import socket\n\
         one = socket.create_connection(('host.daytona.internal', {port}))\n\
         print('open', flush=True)\n\
         try:\n    print(one.recv(1))\nexcept OSError as error:\n    print(type(error).__name__, flush=True)\n\
         END\n\
         mkfifo said; (/usr/bin/python3 wait.py > said 2>&1 &); exec 4< said; read -u 4 line; echo $line; cat <&4"
    );
    let body = json!({"command": wait, "timeout": 25});
    let path = format!("/toolbox/{id}/process/execute");
    let waiting = server.call("POST", &path, body);
    let settings = format!("/api/sandbox/{id}/network-settings");
    let change = async {
        // Whenever the connection is made, it ends, or is refused.
        tokio::time::sleep(Duration::from_millis(1500)).await;
        server.call("POST", &settings, json!({"domainAllowList": "example.com"})).await.expect(200)
    };
    let (answer, _) = tokio::time::timeout(LIMIT, async { tokio::join!(waiting, change) }).await.unwrap();
    assert_eq!(answer.expect(200)["result"], "open\nConnectionResetError\n");
    let said = server.exec(&id, "getent hosts host.daytona.internal || echo none").await;
    assert_eq!(said, "none\n");
    server.call("POST", &settings, json!({"networkAllowList": "10.0.2.2/32"})).await.expect(200);
    let said = server.exec(&id, &format!("{CONNECT} connect 10.0.2.2 {port}; connect 192.0.2.1 80")).await;
    assert!(said.starts_with("open\n") && said.contains("No route to host"), "{said}");
    // They hold after a stop and a start, too.
    server.call("POST", &settings, json!({"networkBlockAll": true})).await.expect(200);
    server.call("POST", &format!("/api/sandbox/{id}/stop"), Value::Null).await.expect(200);
    server.call("POST", &format!("/api/sandbox/{id}/start"), Value::Null).await.expect(200);
    let said = server.exec(&id, &format!("{CONNECT} connect 10.0.2.2 {port}")).await;
    assert!(said.contains("No route to host"), "{said}");
}

#[tokio::test]
async fn a_gateway_ends_with_its_sandbox() {
    let Some((_dir, server)) = server(&[]).await else { return };
    let open = || std::fs::read_dir(format!("/proc/{}/fd", server.ready["pid"])).unwrap().count();
    let first = server.create(json!({})).await;
    server.exec(&first, "true").await;
    let before = open();
    for _ in 0..5 {
        let id = server.create(json!({})).await;
        server.exec(&id, "(bash -c 'exec 3<>/dev/tcp/192.0.2.1/80' &) >/dev/null 2>&1; echo").await;
        server.call("DELETE", &format!("/api/sandbox/{id}"), Value::Null).await.expect(200);
    }
    let closed = async {
        while open() > before {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(LIMIT, closed).await.expect("descriptors are left");
}

#[tokio::test]
async fn the_process_runtime_refuses_limits() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::open(dir.path(), &["--runtime", "process"]).await;
    let limits = [
        json!({"networkBlockAll": true}),
        json!({"networkAllowList": "10.0.0.0/8"}),
        json!({"domainAllowList": "a.b"}),
    ];
    let id = server.create(json!({})).await;
    for limit in limits {
        for path in ["/api/sandbox".to_owned(), format!("/api/sandbox/{id}/network-settings")] {
            let error = server.call("POST", &path, limit.clone()).await.error(400, "UNSUPPORTED_BY_RUNTIME");
            assert!(error["message"].as_str().unwrap().contains("--runtime ns"), "{error}");
        }
    }
    let open = json!({"networkBlockAll": false});
    server.call("POST", &format!("/api/sandbox/{id}/network-settings"), open).await.expect(200);
}
