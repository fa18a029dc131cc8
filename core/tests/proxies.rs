//! Which way connections take where the environment names a proxy. The environment belongs to a process, so each client
//! here is a process of its own: this program once more.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, ExitCode};
use std::sync::{Arc, Mutex};

use daytona_core::{Config, Daytona};
use libtest_mimic::{Arguments, Trial};

/// Tells a client its API URL.
const URL: &str = "PROXIES_TEST_URL";
const NAMES: [&str; 8] =
    ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy"];
const SANDBOX: &str = r#"{"id":"s1","state":"started","toolboxProxyUrl":""}"#;

fn main() -> ExitCode {
    if let Ok(url) = std::env::var(URL) {
        client(url);
        return ExitCode::SUCCESS;
    }
    let test = |name: &str, run: fn()| {
        Trial::test(name, move || {
            run();
            Ok(())
        })
    };
    let trials = vec![
        test("this_machine_is_reached_without_a_proxy", this_machine_is_reached_without_a_proxy),
        test("other_machines_are_reached_through_it", other_machines_are_reached_through_it),
        test("exceptions_are_reached_without_it", exceptions_are_reached_without_it),
        test("a_proxy_that_fails_is_named", a_proxy_that_fails_is_named),
        test("socks", socks),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

fn client(api_url: String) {
    let config = Config { api_key: Some("secret-key".into()), api_url: Some(api_url), ..Config::default() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    match runtime.block_on(async { Daytona::new(&config).unwrap().get("s1", None).await }) {
        Ok(sandbox) => println!("found {}", sandbox.id()),
        Err(error) => println!("{}: {error}\n{error:?}", error.kind().class_name()),
    }
}

/// What a client says that asks for a sandbox in this environment.
fn ask(url: &str, environment: &[(&str, &str)]) -> String {
    let mut command = Command::new(std::env::current_exe().unwrap());
    for name in NAMES {
        command.env_remove(name);
    }
    command.env_remove("REQUEST_METHOD").env(URL, url).envs(environment.iter().copied());
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{text}");
    text
}

/// A server, a proxy, or both: answers every request with this, and keeps their heads.
struct Peer {
    port: u16,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Peer {
    fn new(converse: impl Fn(TcpStream) -> Option<String> + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let heads = Arc::<Mutex<Vec<_>>>::default();
        let log = Arc::clone(&heads);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let head = converse(stream.unwrap());
                log.lock().unwrap().extend(head);
            }
        });
        Self { port, heads }
    }

    fn answering(status: &'static str, body: &'static str) -> Self {
        Self::new(move |stream| {
            let head = read_head(&stream)?;
            answer(&stream, status, body);
            Some(head)
        })
    }

    fn heads(&self) -> Vec<String> {
        std::mem::take(&mut self.heads.lock().unwrap())
    }
}

fn read_head(stream: &TcpStream) -> Option<String> {
    let mut head = String::new();
    let mut reader = BufReader::new(stream);
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    Some(head.to_ascii_lowercase())
}

fn answer(mut stream: &TcpStream, status: &str, body: &str) {
    let text = format!(
        "HTTP/1.1 {status}\r\nConnection: close\r\nRetry-After: 0\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let _ = stream.write_all(text.as_bytes());
}

fn this_machine_is_reached_without_a_proxy() {
    let server = Peer::answering("200 OK", SANDBOX);
    let proxy = Peer::answering("502 Bad Gateway", "");
    let to = format!("http://me:pass@127.0.0.1:{}", proxy.port);
    for name in &NAMES[..6] {
        for host in ["127.0.0.1", "localhost"] {
            let said = ask(&format!("http://{host}:{}/api", server.port), &[(name, &to)]);
            assert_eq!(said, "found s1\n", "{name} {host}");
            assert!(server.heads()[0].contains("authorization: bearer secret-key"));
        }
        // Nothing listens there for TLS: that is told without a word on proxies.
        let said = ask(&format!("https://127.0.0.1:{}/api", server.port), &[(name, &to)]);
        assert!(said.contains("cannot connect to 127.0.0.1") && !said.contains("through"), "{said}");
    }
    assert!(proxy.heads().is_empty());
}

fn other_machines_are_reached_through_it() {
    let proxy = Peer::answering("200 OK", SANDBOX);
    let to = format!("http://me:p%40ss@127.0.0.1:{}", proxy.port);
    for name in ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"] {
        assert_eq!(
            ask("http://api.invalid/api", &[(name, &to), ("NO_PROXY", "other.invalid")]),
            "found s1\n",
            "{name}"
        );
        let head = proxy.heads().pop().unwrap();
        assert!(head.starts_with("get http://api.invalid/api/sandbox/s1 "), "{head}");
        assert!(head.contains("proxy-authorization: basic bwu6cebzcw=="), "{head}");
    }
}

fn exceptions_are_reached_without_it() {
    let proxy = Peer::answering("200 OK", SANDBOX);
    let to = format!("http://127.0.0.1:{}", proxy.port);
    for (name, exceptions) in [
        ("NO_PROXY", "api.invalid:80"),
        ("no_proxy", "other, *.invalid"),
        ("NO_PROXY", "other .invalid"),
        ("NO_PROXY", "*"),
    ] {
        let said = ask("http://api.invalid/api", &[("HTTP_PROXY", &to), (name, exceptions)]);
        assert!(said.contains("cannot connect to api.invalid:80") && !said.contains("through"), "{exceptions}: {said}");
    }
    assert!(proxy.heads().is_empty());
}

fn a_proxy_that_fails_is_named() {
    let check = |url: &str, name: &str, proxy: &str, shown: &str, wanted: &str| {
        let said = ask(url, &[(name, proxy)]);
        assert!(said.contains(shown) && said.contains(wanted), "{wanted}: {said}");
        assert!(said.contains("NO_PROXY") && said.contains("api.invalid"), "{said}");
        assert!(!said.contains("topsecret") && !said.contains("secret-key"), "{said}");
        said
    };
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for (url, name) in [("http://api.invalid/api", "HTTP_PROXY"), ("https://api.invalid/api", "HTTPS_PROXY")] {
        let shown = format!("through the proxy http://{closed}: ");
        let said = check(url, name, &format!("http://me:topsecret@{closed}"), &shown, "refused");
        assert!(said.starts_with("DaytonaConnectionError"), "{said}");
        let unknown = "through the proxy http://proxy.invalid:3128: ";
        check(url, name, "http://me:topsecret@proxy.invalid:3128", unknown, "cannot connect to api.invalid");
        for (status, wanted) in
            [("407 Proxy Authentication Required", "DaytonaConnectionError"), ("502 Bad Gateway", "Daytona")]
        {
            let proxy = Peer::answering(status, "");
            let shown = format!("the proxy http://127.0.0.1:{}", proxy.port);
            check(url, name, &format!("http://me:topsecret@127.0.0.1:{}", proxy.port), &shown, wanted);
        }
    }
}

fn socks() {
    let proxy = Peer::new(|mut stream| {
        let mut greeting = [0; 2];
        stream.read_exact(&mut greeting).ok()?;
        let mut methods = vec![0; usize::from(greeting[1])];
        stream.read_exact(&mut methods).ok()?;
        stream.write_all(&[5, 0]).ok()?;
        let mut request = [0; 5];
        stream.read_exact(&mut request).ok()?;
        let mut name = vec![0; usize::from(request[4]) + 2];
        stream.read_exact(&mut name).ok()?;
        stream.write_all(&[5, 0, 0, 1, 127, 0, 0, 1, 0, 1]).ok()?;
        let head = read_head(&stream)?;
        answer(&stream, "200 OK", SANDBOX);
        Some(head)
    });
    assert_eq!(
        ask("http://api.invalid/api", &[("ALL_PROXY", &format!("socks5h://127.0.0.1:{}", proxy.port))]),
        "found s1\n"
    );
    assert!(proxy.heads()[0].starts_with("get /api/sandbox/s1 "));
}
