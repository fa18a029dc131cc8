//! Secrets in requests that leave a sandbox.

use std::convert::Infallible;
use std::os::fd::AsFd as _;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::support::{Server, binary};

/// The name of the machine in its sandboxes.
const HOST: &str = "host.daytona.internal";
const VALUE: &str = "the/value&1";

/// What a host is asked, as text: version, target, headers. With `Upgrade`, it sends back what it gets.
async fn echo(mut request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    use std::fmt::Write as _;
    let mut text = format!("{} {:?} {}\n", request.method(), request.version(), request.uri());
    for (name, value) in request.headers() {
        let _ = writeln!(text, "{name}: {}", String::from_utf8_lossy(value.as_bytes()));
    }
    if request.headers().contains_key("upgrade") {
        tokio::spawn(async move {
            let upgraded = hyper::upgrade::on(&mut request).await.unwrap();
            let (mut read, mut write) = tokio::io::split(TokioIo::new(upgraded));
            let _ = tokio::io::copy(&mut read, &mut write).await;
        });
        let answer = Response::builder().status(StatusCode::SWITCHING_PROTOCOLS);
        let answer =
            answer.header("connection", "upgrade").header("upgrade", "echo").header("x-seen", text.replace('\n', "|"));
        return Ok(answer.body(Full::default()).unwrap());
    }
    if request.uri().path() != "/early" {
        request.into_body().collect().await.unwrap();
    }
    Ok(Response::new(Full::from(text)))
}

/// A proxy that answers plain requests with what it is asked, and carries tunnels to the port that is named.
async fn proxy(mut request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    if request.method() != Method::CONNECT {
        return echo(request).await;
    }
    let asked = format!("{:?}", request.headers());
    if asked.contains(VALUE) {
        return Ok(Response::builder().status(StatusCode::FORBIDDEN).body(Full::default()).unwrap());
    }
    let port = request.uri().port_u16().unwrap();
    tokio::spawn(async move {
        let upgraded = hyper::upgrade::on(&mut request).await.unwrap();
        let mut host = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let _ = tokio::io::copy_bidirectional(&mut TokioIo::new(upgraded), &mut host).await;
    });
    Ok(Response::new(Full::default()))
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, as_proxy: bool) {
    let builder = auto::Builder::new(TokioExecutor::new());
    let stream = TokioIo::new(stream);
    let _ = if as_proxy {
        builder.serve_connection_with_upgrades(stream, service_fn(proxy)).await
    } else {
        builder.serve_connection_with_upgrades(stream, service_fn(echo)).await
    };
}

/// A host on the machine's loopback; gives its port.
async fn host(tls: Option<TlsAcceptor>, as_proxy: bool) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let ended = Arc::new(Mutex::new(Vec::new()));
        while let Ok((stream, _)) = listener.accept().await {
            let (tls, ended) = (tls.clone(), Arc::clone(&ended));
            tokio::spawn(async move {
                // Shut down only: a socket that is closed before all was read is reset, and an answer may be lost.
                let socket = stream.as_fd().try_clone_to_owned().unwrap();
                match tls {
                    Some(tls) => {
                        let Ok(stream) = tls.accept(stream).await else { return };
                        serve(stream, as_proxy).await;
                    }
                    None => serve(stream, as_proxy).await,
                }
                ended.lock().unwrap().push(socket);
            });
        }
    });
    port
}

/// Hosts, an authority for them, and a server that trusts it.
struct World {
    server: Server,
    plain: u16,
    tls: u16,
    proxy: u16,
    _dir: TempDir,
}

impl World {
    /// `None` where sandboxes have no network of their own.
    async fn new() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let file = dir.path().join("hosts.crt");
        std::fs::write(&file, authority.pem()).unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new([HOST.to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let mut config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let mut command = binary();
        command.env("SSL_CERT_FILE", &file);
        let server = Server::open_as(command, &dir.path().join("data"), &["--allow-host-loopback"]).await;
        let runtime = server.call("GET", "/api/config", Value::Null).await.expect(200)["runtime"].clone();
        if runtime["limits"]["network"]["state"] != "enforced" {
            println!("skipped: {}", runtime["limits"]["network"]);
            return None;
        }
        Some(Self {
            server,
            plain: host(None, false).await,
            tls: host(Some(TlsAcceptor::from(Arc::new(config))), false).await,
            proxy: host(None, true).await,
            _dir: dir,
        })
    }

    /// A secret for these hosts; gives its placeholder.
    async fn secret(&self, name: &str, hosts: &[&str]) -> String {
        let body = json!({"name": name, "value": VALUE, "hosts": hosts});
        let secret = self.server.call("POST", "/api/secret", body).await.expect(201);
        secret["placeholder"].as_str().unwrap().to_owned()
    }

    async fn sandbox(&self, name: &str) -> String {
        self.server.create(json!({"secrets": [{"KEY": name}]})).await
    }

    /// What a command says, also when it fails.
    async fn says(&self, id: &str, command: &str) -> String {
        self.server.try_exec(id, command).await.expect(200)["result"].as_str().unwrap().to_owned()
    }
}

#[tokio::test]
async fn programs_send_values_that_they_do_not_see() {
    let Some(world) = World::new().await else { return };
    let placeholder = world.secret("name", &[HOST]).await;
    let id = world.sandbox("name").await;
    let (plain, tls) = (world.plain, world.tls);
    for (url, version) in
        [(format!("http://{HOST}:{plain}"), "HTTP/1.1"), (format!("https://{HOST}:{tls}"), "HTTP/2.0")]
    {
        let said =
            world.says(&id, &format!("curl -sS -H \"X-Key: Bearer $KEY\" -u me:$KEY '{url}/a?k='$KEY 2>&1")).await;
        assert!(said.starts_with(&format!("GET {version} ")), "{said}");
        assert!(said.contains("/a?k=the%2Fvalue%261\n"), "{said}");
        assert!(said.contains(&format!("x-key: Bearer {VALUE}\n")), "{said}");
        assert!(said.contains("authorization: Basic bWU6dGhlL3ZhbHVlJjE=\n"), "{said}");
        assert!(!said.contains(&placeholder), "{said}");
        // One connection for several requests, with a body and without; also when the host hangs up on a body.
        for path in ["a", "early"] {
            let body = "head -c 300000 /dev/zero | curl -sS --http1.1 -H \"x-key: $KEY\" -T -";
            let said = world.says(&id, &format!("{body} {url}/{path} -o - {url}/b 2>&1")).await;
            assert_eq!(said.matches(&format!("x-key: {VALUE}\n")).count(), 2, "{path}: {said}");
            assert!(said.contains("transfer-encoding: chunked"), "{said}");
        }
    }
    let url = format!("https://{HOST}:{tls}/");
    let python = format!(
        "import os, urllib.request as u\n\
         print(u.urlopen(u.Request('{url}', headers={{'x-key': os.environ['KEY']}})).read().decode())"
    );
    let node =
        format!("fetch('{url}', {{headers: {{'x-key': process.env.KEY}}}}).then(r => r.text()).then(console.log)");
    for command in [format!("/usr/bin/python3 -c \"{python}\" 2>&1"), format!("node -e \"{node}\" 2>&1")] {
        if command.starts_with("node") && world.says(&id, "command -v node").await.is_empty() {
            println!("skipped: no node");
            continue;
        }
        let said = world.says(&id, &command).await;
        assert!(said.contains(&format!("x-key: {VALUE}\n")), "{command}: {said}");
    }
    let said = world.says(&id, "env; cat /proc/self/environ /etc/daytona-native/* | tr '\\0' '\\n'").await;
    assert!(said.contains(&placeholder) && !said.contains(VALUE) && !said.contains("PRIVATE KEY"), "{said}");
    // A user's own choice stays.
    let env = json!({"secrets": [{"KEY": "name"}], "env": {"SSL_CERT_FILE": "/mine"}});
    let other = world.server.create(env).await;
    let said = world.says(&other, "echo $SSL_CERT_FILE $CURL_CA_BUNDLE").await;
    assert_eq!(said, "/mine /etc/daytona-native/ca-bundle.crt\n");
    assert_eq!(world.says(&world.server.create(json!({})).await, "echo $CURL_CA_BUNDLE").await, "\n");
}

#[tokio::test]
async fn other_hosts_get_the_placeholder() {
    let Some(world) = World::new().await else { return };
    let placeholder = world.secret("elsewhere", &["api.example.com", "*.example.org"]).await;
    let id = world.sandbox("elsewhere").await;
    let (plain, tls) = (world.plain, world.tls);
    let address = "$(getent ahostsv4 host.daytona.internal | head -n 1 | cut -d ' ' -f 1)";
    for command in [
        format!("curl -sS -H \"x-key: $KEY\" http://{HOST}:{plain}/ 2>&1"),
        format!("curl -sS -k -H \"x-key: $KEY\" https://{HOST}:{tls}/ 2>&1"),
        // Whoever calls itself by the name is not the host.
        format!("curl -sS -H 'Host: api.example.com' -H \"x-key: $KEY\" http://{HOST}:{plain}/ 2>&1"),
        format!(
            "curl -sS --resolve api.example.com:{plain}:{address} -H \"x-key: $KEY\" http://api.example.com:{plain}/ 2>&1"
        ),
        format!(
            "curl -sS -k --resolve a.example.org:{tls}:{address} -H \"x-key: $KEY\" https://a.example.org:{tls}/ 2>&1"
        ),
        // Nor does a proxy get what is for a host behind it.
        format!("curl -sS -x http://{HOST}:{} -H \"x-key: $KEY\" http://api.example.com/ 2>&1", world.proxy),
    ] {
        let said = world.says(&id, &command).await;
        assert!(said.contains(&format!("x-key: {placeholder}\n")) && !said.contains(VALUE), "{command}: {said}");
    }
    // A certificate that is not valid for the host is seen as it is.
    let said = world.says(&id, &format!("curl -sS https://{HOST}:{tls}/ 2>&1")).await;
    assert!(said.contains("certificate"), "{said}");
    // A value that is for one host is not for another behind the same address.
    let both = world.secret("here", &[HOST]).await;
    let id = world.sandbox("here").await;
    for url in [format!("http://{HOST}:{plain}/"), format!("https://{HOST}:{tls}/")] {
        let said = world
            .says(
                &id,
                &format!(
                    "curl -sS -H \"x-key: $KEY\" {url} -: -sS -H 'Host: evil.example.com' -H \"x-key: $KEY\" {url} 2>&1"
                ),
            )
            .await;
        assert!(said.contains(&format!("x-key: {VALUE}\n")) && said.contains(&format!("x-key: {both}\n")), "{said}");
    }
}

#[tokio::test]
async fn secrets_change_while_the_sandbox_runs() {
    let Some(world) = World::new().await else { return };
    let placeholder = world.secret("late", &[HOST]).await;
    let id = world.server.create(json!({})).await;
    let ask = format!("curl -sS -H 'x-key: {placeholder}' https://{HOST}:{}/ 2>&1", world.tls);
    let secrets = format!("/api/sandbox/{id}/secrets");
    let path = format!("/toolbox/{id}/env");
    let said = world.says(&id, &format!("{ask} -k")).await;
    assert!(said.contains(&placeholder), "{said}");
    world.server.call("PUT", &secrets, json!({"secrets": [{"KEY": "late"}]})).await.expect(200);
    let said = world.says(&id, &ask).await;
    assert!(said.contains(VALUE), "{said}");
    world.server.call("POST", &path, json!({"set": {}, "unset": ["KEY"]})).await.expect(200);
    let said = world.says(&id, &format!("{ask} -k")).await;
    assert!(said.contains(&placeholder), "{said}");
    world.server.call("PUT", &secrets, json!({"secrets": [{"KEY": "late"}]})).await.expect(200);
    world.server.call("POST", &format!("/api/sandbox/{id}/stop"), Value::Null).await.expect(200);
    world.server.call("POST", &format!("/api/sandbox/{id}/start"), Value::Null).await.expect(200);
    let said = world.says(&id, &ask).await;
    assert!(said.contains(VALUE), "{said}");
    let found = world.server.call("GET", "/api/secret", Value::Null).await.expect(200);
    let secret = found[0]["id"].as_str().unwrap();
    let line = json!({"value": "one\nX-Evil: two"});
    world.server.call("PATCH", &format!("/api/secret/{secret}"), line).await.expect(200);
    let said = world.says(&id, &ask).await;
    assert!(said.contains("line breaks") && !said.contains("one"), "{said}");
    world.server.call("DELETE", &format!("/api/secret/{secret}"), Value::Null).await.expect(204);
    let said = world.says(&id, &format!("{ask} -k")).await;
    assert!(said.contains(&placeholder), "{said}");
}

#[tokio::test]
async fn upgrades_tunnels_and_other_protocols_pass() {
    let Some(world) = World::new().await else { return };
    world.secret("any", &[]).await;
    let id = world.sandbox("any").await;
    let program = |tls: bool, port: u16| {
        let wrap = if tls { "s = ssl.create_default_context().wrap_socket(s, server_hostname=host)\n" } else { "" };
        format!(
            "cat > talk.py <<'END'\n\
             import os, socket, ssl\n\
             host = '{HOST}'\n\
             s = socket.create_connection((host, {port}))\n\
             {wrap}\
             key = os.environ['KEY'].encode()\n\
             s.sendall(b'GET /' + key + b' HTTP/1.1\\r\\nHost: ' + host.encode() + b'\\r\\nConnection: Upgrade\\r\\nUpgrade: echo\\r\\n\\r\\n')\n\
             f = s.makefile('rb')\n\
             head = b''\n\
             while not head.endswith(b'\\r\\n\\r\\n'): head += f.readline()\n\
             print(head.decode())\n\
             s.sendall(b'ping ' + key)\n\
             print(f.read(5).decode(), f.read(len(key)) == key)\n\
             END\n\
             /usr/bin/python3 talk.py 2>&1"
        )
    };
    for (tls, port) in [(false, world.plain), (true, world.tls)] {
        let said = world.says(&id, &program(tls, port)).await;
        assert!(said.starts_with("HTTP/1.1 101") && said.contains("/the%2Fvalue%261"), "{said}");
        assert!(said.ends_with("ping  True\n"), "{said}");
    }
    // In a tunnel through a proxy, which sees the placeholder only.
    let tunnel = format!(
        "curl -sS -p -x http://{HOST}:{} --proxy-header \"x-key: $KEY\" -H \"x-key: $KEY\" https://{HOST}:{}/ 2>&1",
        world.proxy, world.tls
    );
    let said = world.says(&id, &tunnel).await;
    assert!(said.contains(&format!("x-key: {VALUE}\n")), "{said}");
    // What is no HTTP, and who speaks first.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let _ = stream.write_all(b"220 me\r\n").await;
                let mut text = Vec::new();
                let _ = stream.read_to_end(&mut text).await;
                let _ = stream.write_all(&text).await;
            });
        }
    });
    let talk = format!(
        "/usr/bin/python3 -c \"import os, socket; s = socket.create_connection(('{HOST}', {port})); print(s.recv(99)); \
         s.sendall(b'EHLO ' + os.environ['KEY'].encode()); s.shutdown(1); print(s.makefile().read())\" 2>&1"
    );
    let said = world.says(&id, &talk).await;
    assert!(said.starts_with("b'220 me\\r\\n'\nEHLO dtn_secret_"), "{said}");
}

#[tokio::test]
async fn values_and_keys_are_out_of_reach() {
    let Some(world) = World::new().await else { return };
    let (first, second) = (world.secret("first", &[HOST]).await, world.secret("second", &[HOST]).await);
    let users: &[&str] = if rustix::process::geteuid().is_root() { &["daytona", "root"] } else { &["daytona"] };
    let owner = world.sandbox("first").await;
    for user in users {
        for secrets in [json!([]), json!([{"KEY": "second"}])] {
            let holds = secrets != json!([]);
            let id = world.server.create(json!({"user": user, "secrets": secrets})).await;
            // Another sandbox's placeholder stands for nothing here.
            for url in [format!("http://{HOST}:{}/", world.plain), format!("https://{HOST}:{}/", world.tls)] {
                let said = world.says(&id, &format!("curl -sSk -H 'one: {first}' -H 'two: {second}' {url} 2>&1")).await;
                assert!(said.contains(&format!("one: {first}\n")), "{said}");
                assert_eq!(said.contains(&format!("two: {VALUE}\n")), holds, "{said}");
            }
            let data = world.server.dir.display();
            for file in ["ca.key", "secrets.key", "api-key", "state.redb"] {
                let said = world.says(&id, &format!("cat '{data}/{file}' 2>&1")).await;
                assert!(said.contains("No such file") || said.contains("Permission denied"), "{file}: {said}");
            }
            let said = world.says(&id, "grep -rl 'PRIVATE KEY' /etc /run /tmp /home /root 2>/dev/null").await;
            assert_eq!(said, "");
        }
    }
    // Nothing of the API tells the value, nor what is shown of the sandbox.
    for path in ["/api/secret".to_owned(), format!("/api/sandbox/{owner}"), "/api/sandbox".to_owned()] {
        let answer = world.server.call("GET", &path, Value::Null).await;
        assert!(!String::from_utf8_lossy(&answer.bytes).contains(VALUE), "{path}");
    }
}
