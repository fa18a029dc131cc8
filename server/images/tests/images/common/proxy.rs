//! A proxy before a registry that does what networks and registries do at their worst.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};

/// What a client asked for.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) path: String,
    head: String,
}

impl Request {
    /// A header's value.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    pub(crate) fn is_blob(&self, digest: &str) -> bool {
        self.path.ends_with(&format!("/blobs/{digest}"))
    }
}

/// What becomes of a request.
#[derive(Clone, Debug)]
pub(crate) enum Fate {
    /// The registry answers.
    Pass,
    /// The registry answers, and the connection breaks after so many bytes of its body.
    Cut(usize),
    /// The registry answers, and nothing more comes after so many bytes of its body, until the proxy ends.
    Stall(usize),
    /// This is the answer: status line and headers, and the body.
    Answer(String, Vec<u8>),
}

type Rule = Box<dyn Fn(&Request) -> Fate + Send + Sync>;

#[derive(Default)]
struct Seen {
    requests: Mutex<Vec<Request>>,
    /// Answers that stand still.
    stalled: Mutex<usize>,
    more: Condvar,
}

pub(crate) struct Proxy {
    pub(crate) host: String,
    seen: Arc<Seen>,
}

impl Proxy {
    pub(crate) fn start(upstream: &str, rule: impl Fn(&Request) -> Fate + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let (seen, upstream, rule): (Arc<Seen>, _, Arc<Rule>) =
            (Arc::default(), upstream.to_owned(), Arc::new(Box::new(rule)));
        let shared = Arc::clone(&seen);
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (client, shared, upstream, rule) =
                    (client.unwrap(), Arc::clone(&shared), upstream.clone(), Arc::clone(&rule));
                // A client that goes away is none of the test's business.
                std::thread::spawn(move || drop(serve(client, &shared, &upstream, &rule)));
            }
        });
        Self { host, seen }
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.seen.requests.lock().unwrap().clone()
    }

    pub(crate) fn blob_requests(&self, digest: &str) -> Vec<Request> {
        self.requests().into_iter().filter(|request| request.is_blob(digest)).collect()
    }

    /// Waits until so many answers stand still.
    pub(crate) fn wait_stalled(&self, answers: usize) {
        let stalled = self.seen.stalled.lock().unwrap();
        drop(self.seen.more.wait_while(stalled, |stalled| *stalled < answers).unwrap());
    }
}

/// One request a connection, as both sides are told.
fn serve(mut client: TcpStream, seen: &Seen, upstream: &str, rule: &Rule) -> std::io::Result<()> {
    let head = head(&mut client)?;
    let path = head.split_whitespace().nth(1).unwrap_or_default().to_owned();
    let request = Request { path, head: head.clone() };
    seen.requests.lock().unwrap().push(request.clone());
    let (bytes, ending) = match rule(&request) {
        Fate::Answer(head, body) => {
            let length = body.len();
            write!(client, "HTTP/1.1 {head}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n")?;
            return client.write_all(&body);
        }
        Fate::Pass => (usize::MAX, None),
        Fate::Cut(bytes) => (bytes, Some(Fate::Cut(bytes))),
        Fate::Stall(bytes) => (bytes, Some(Fate::Stall(bytes))),
    };
    let mut server = TcpStream::connect(upstream)?;
    server.write_all(head.replacen("\r\n", "\r\nConnection: close\r\n", 1).as_bytes())?;
    let answer = self::head(&mut server)?;
    client.write_all(answer.as_bytes())?;
    let sent = std::io::copy(&mut (&server).take(bytes as u64), &mut client)?;
    match ending {
        Some(Fate::Stall(bytes)) if sent == bytes as u64 => {
            *seen.stalled.lock().unwrap() += 1;
            seen.more.notify_all();
            // Until the client goes.
            let _ = client.read(&mut [0]);
        }
        _ => client.shutdown(Shutdown::Both)?,
    }
    Ok(())
}

fn head(stream: &mut TcpStream) -> std::io::Result<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}
