//! The proxy that a sandbox's web traffic takes.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::support::Server;

/// The name of the machine in its sandboxes.
const HOST: &str = "host.daytona.internal";
/// `me:p@ss`
const AUTHORIZATION: &str = "Basic bWU6cEBzcw==";

/// What a proxy was asked for.
type Asked = Arc<Mutex<Vec<String>>>;

/// A proxy that answers requests itself, and sends back what comes through its tunnels.
async fn proxy() -> (u16, Asked) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let asked = Asked::default();
    let log = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let log = Arc::clone(&log);
            let service = service_fn(move |request| answer(request, Arc::clone(&log)));
            tokio::spawn(async move {
                let server = auto::Builder::new(TokioExecutor::new());
                let _ = server.serve_connection_with_upgrades(TokioIo::new(stream), service).await;
            });
        }
    });
    (port, asked)
}

async fn answer(mut request: Request<Incoming>, log: Asked) -> Result<Response<Full<Bytes>>, Infallible> {
    let known = request.headers().get("proxy-authorization").is_some_and(|value| value == AUTHORIZATION);
    if !known {
        let refused = Response::builder().status(StatusCode::PROXY_AUTHENTICATION_REQUIRED);
        return Ok(refused.body(Full::from("who are you?\n")).unwrap());
    }
    let line = format!("{} {}", request.method(), request.uri());
    log.lock().unwrap().push(line.clone());
    if request.method() == Method::CONNECT {
        tokio::spawn(async move {
            let upgraded = hyper::upgrade::on(&mut request).await.unwrap();
            let (mut read, mut write) = tokio::io::split(TokioIo::new(upgraded));
            let _ = tokio::io::copy(&mut read, &mut write).await;
        });
        return Ok(Response::new(Full::default()));
    }
    let body = request.into_body().collect().await.unwrap().to_bytes();
    Ok(Response::new(Full::from(format!("{line} {}\n", body.len()))))
}

#[tokio::test]
async fn programs_are_told_of_their_proxy() {
    let server = Server::new().await;
    let url = "http://me:pw@proxy.example.com:3128";
    let id = server.create(json!({"outboundProxyUrl": url, "env": {"https_proxy": "http://mine"}})).await;
    assert_eq!(server.get(&id).await.expect(200)["outboundProxyUrl"], url);
    let said = server.exec(&id, "echo $HTTP_PROXY $http_proxy $HTTPS_PROXY $https_proxy; echo $NO_PROXY").await;
    assert_eq!(said, format!("{url} {url} {url} http://mine\nlocalhost,127.0.0.1,::1\n"));
    let list = server.call("GET", "/api/sandbox", Value::Null).await;
    assert!(!String::from_utf8_lossy(&list.bytes).contains("me:pw"), "a password is in a list");
    for bad in ["proxy:3128", "socks5://proxy", "http://me:pw@proxy/path", "http://me:pw@proxy:0"] {
        let refused = server.call("POST", "/api/sandbox", json!({"outboundProxyUrl": bad})).await;
        let message = refused.error(400, "VALIDATION_FAILED")["message"].to_string();
        assert!(message.contains("outboundProxyUrl") && !message.contains("me:pw"), "{message}");
    }
}

#[tokio::test]
async fn where_names_are_limited_nothing_leads_past_it() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::open(dir.path(), &["--allow-host-loopback"]).await;
    let config = server.call("GET", "/api/config", Value::Null).await.expect(200);
    if config["runtime"]["limits"]["network"]["state"] != "enforced" {
        println!("skipped: {}", config["runtime"]["limits"]["network"]);
        return;
    }
    let (port, asked) = proxy().await;
    let url = format!("http://me:p%40ss@{HOST}:{port}");
    let id = server.create(json!({"outboundProxyUrl": url, "domainAllowList": HOST})).await;
    assert_eq!(server.exec(&id, "echo $HTTP_PROXY$https_proxy$NO_PROXY").await, "\n");
    let said = server
        .exec(
            &id,
            &format!("curl -sS -d body http://{HOST}/a?b=c -: -sS -H 'Host: elsewhere.org' http://{HOST}/d 2>&1"),
        )
        .await;
    assert_eq!(said, format!("POST http://{HOST}/a?b=c 4\nGET http://{HOST}/d 0\n"), "also with another name in it");
    // What is no request goes through a tunnel, on either port.
    let talk = |port: u16| {
        format!(
            "/usr/bin/python3 -c \"import socket; s = socket.create_connection(('{HOST}', {port})); \
             s.sendall(b'\\0ping'); s.shutdown(1); print(s.makefile().read().strip(chr(0)))\" 2>&1"
        )
    };
    for port in [443, 80] {
        asked.lock().unwrap().clear();
        assert_eq!(server.exec(&id, &talk(port)).await, "ping\n");
        assert_eq!(*asked.lock().unwrap(), [format!("CONNECT {HOST}:{port}")]);
    }
    // Other ports are nothing to it.
    asked.lock().unwrap().clear();
    let said = server.try_exec(&id, &talk(1)).await.expect(200)["result"].to_string();
    assert!(said.contains("ConnectionRefusedError") && asked.lock().unwrap().is_empty(), "{said}");

    let settings = format!("/api/sandbox/{id}/network-settings");
    server.call("POST", &settings, json!({"networkBlockAll": false})).await.expect(200);
    assert_eq!(server.exec(&id, "echo $HTTP_PROXY").await, format!("{url}\n"), "without a list it is up to programs");
    server.call("POST", &settings, json!({"domainAllowList": HOST})).await.expect(200);
    assert_eq!(server.exec(&id, "echo $HTTP_PROXY").await, "\n");

    let wrong = format!("http://me:wrong@{HOST}:{port}");
    let id = server.create(json!({"outboundProxyUrl": wrong, "domainAllowList": HOST})).await;
    let said = server.try_exec(&id, &talk(443)).await.expect(200)["result"].to_string();
    assert!(said.contains("No route to host"), "{said}");
    assert_eq!(server.exec(&id, &format!("curl -sS http://{HOST}/")).await, "who are you?\n");
}

#[tokio::test]
async fn a_proxy_is_no_way_to_the_machine() {
    let server = Server::new().await;
    let config = server.call("GET", "/api/config", Value::Null).await.expect(200);
    if config["runtime"]["limits"]["network"]["state"] != "enforced" {
        println!("skipped: {}", config["runtime"]["limits"]["network"]);
        return;
    }
    let (port, asked) = proxy().await;
    for host in ["127.0.0.1", "localhost", "0.0.0.0", "[::ffff:127.0.0.1]", "127.1.2.3", HOST] {
        let body = json!({
            "outboundProxyUrl": format!("http://me:p%40ss@{host}:{port}"),
            "domainAllowList": "example.com", "networkAllowList": "192.0.2.0/24",
        });
        let id = server.create(body).await;
        for to in [80, 443] {
            let said = server.exec(&id, &format!("bash -c 'exec 3<>/dev/tcp/192.0.2.1/{to}' 2>&1; true")).await;
            assert!(said.contains("No route to host"), "{host}: {said}");
        }
        assert!(asked.lock().unwrap().is_empty(), "{host}");
    }
}
