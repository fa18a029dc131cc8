//! Streamed commands on a real local server, over a network that cuts connections.

#[path = "cases/server.rs"]
mod server;

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use daytona_core::{Config, CreateOptions, CreateParams, Daytona, ExecOptions, ExecStream, OutputStream, Sandbox};
use memchr::memmem;
use server::Server;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Hands connections on to a server and, while told to, cuts each after some bytes of an answer.
#[derive(Clone)]
struct Network {
    url: String,
    cuts: Arc<AtomicBool>,
    /// The server does not know streamed commands.
    is_old: Arc<AtomicBool>,
    count: Arc<AtomicUsize>,
}

impl Network {
    async fn to(server: &Server) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let own = listener.local_addr().unwrap().to_string();
        let (_, rest) = server.url.split_once("://").unwrap();
        let (target, path) = rest.split_once('/').unwrap();
        let url = format!("http://{own}/{path}");
        let (cuts, is_old, count) = <(Arc<AtomicBool>, Arc<AtomicBool>, Arc<AtomicUsize>)>::default();
        let network = Self { url, cuts, is_old, count };
        let (target, way) = (target.to_owned(), network.clone());
        tokio::spawn(async move {
            // Any sequence that is the same each time.
            let mut state = 0x2545_f491_4f6c_dd1d_u64;
            while let Ok((near, _)) = listener.accept().await {
                let far = TcpStream::connect(&target).await.unwrap();
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                let most = usize::try_from(state % 3_000_000).unwrap();
                tokio::spawn(way.clone().carry(near, far, most));
            }
        });
        network
    }

    async fn carry(self, near: TcpStream, far: TcpStream, most: usize) {
        let (mut near_in, mut near_out) = near.into_split();
        let (mut far_in, mut far_out) = far.into_split();
        let up = tokio::spawn(async move {
            let mut buffer = vec![0; 16 << 10];
            while let Ok(length @ 1..) = near_in.read(&mut buffer).await {
                let sent = &mut buffer[..length];
                let is_start = memmem::find(sent, b"/process/execute/stream?id=");
                if let Some(at) = is_start.filter(|_| self.is_old.load(Ordering::SeqCst)) {
                    sent[at + 9..at + 16].copy_from_slice(b"unknown");
                }
                if far_out.write_all(sent).await.is_err() {
                    break;
                }
            }
        });
        let mut buffer = vec![0; 16 << 10];
        let mut carried = 0;
        while let Ok(length @ 1..) = far_in.read(&mut buffer).await {
            carried += length;
            // The last piece arrives in part, as it may.
            if self.cuts.load(Ordering::SeqCst) && carried > most {
                let _ = near_out.write_all(&buffer[..length / 2]).await;
                self.count.fetch_add(1, Ordering::SeqCst);
                break;
            }
            if near_out.write_all(&buffer[..length]).await.is_err() {
                break;
            }
        }
        up.abort();
    }
}

async fn sandbox(url: &str, key: &str) -> Sandbox {
    let config = Config { api_key: Some(key.into()), api_url: Some(url.to_owned()), ..Config::default() };
    let client = Daytona::new(&config).unwrap();
    client.create(CreateParams::default(), &CreateOptions::default()).await.unwrap()
}

fn hex(hash: Sha256) -> String {
    let mut text = String::new();
    for byte in hash.finalize() {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// Digests of both streams.
async fn digests(stream: &ExecStream) -> [String; 2] {
    let mut hashes = [Sha256::new(), Sha256::new()];
    while let Some(chunks) = stream.next().await.unwrap() {
        for chunk in chunks {
            hashes[chunk.stream as usize].update(&chunk.bytes);
        }
    }
    hashes.map(hex)
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_doubled_however_often_connections_break() {
    let server = Server::start(None);
    let network = Network::to(&server).await;
    let sandbox = sandbox(&network.url, &server.api_key).await;
    assert!(sandbox.data().toolbox_proxy_url.starts_with(network.url.split("/api").next().unwrap()));
    network.cuts.store(true, Ordering::SeqCst);

    let command = "seq 1 2000000 | tee out.$$; seq 5 1000000 >&2; sha256sum < out.$$ > digest; \
                   seq 5 1000000 | sha256sum >> digest; rm out.$$; exit 7";
    let stream = sandbox.process().exec_stream(command, ExecOptions::default()).await.unwrap();
    let seen = digests(&stream).await;
    assert_eq!(stream.wait().await.unwrap(), 7);
    let broken = network.count.load(Ordering::SeqCst);

    let echo = sandbox.process().exec_stream("tee /dev/stderr | sha256sum", ExecOptions::default()).await.unwrap();
    let sent: Vec<u8> = (0..8_000_000_u32).map(|n| (n % 251) as u8).collect();
    let wanted = hex(Sha256::new_with_prefix(&sent));
    let writer = tokio::spawn({
        let echo = echo.clone();
        async move {
            for piece in sent.chunks(100_000) {
                echo.write_stdin(piece.to_vec().into()).await.unwrap();
            }
            echo.close_stdin().await.unwrap();
        }
    });
    let mut copy = Sha256::new();
    let mut digest = String::new();
    while let Some(chunks) = echo.next().await.unwrap() {
        for chunk in chunks {
            match chunk.stream {
                OutputStream::Stdout => digest.push_str(&chunk.text),
                OutputStream::Stderr => copy.update(&chunk.bytes),
            }
        }
    }
    writer.await.unwrap();
    let copy = hex(copy);
    assert_eq!((copy.as_str(), digest.trim_end_matches([' ', '-', '\n'])), (&wanted[..], &wanted[..]));
    network.cuts.store(false, Ordering::SeqCst);
    assert!(broken >= 5 && network.count.load(Ordering::SeqCst) > broken, "{broken} connections were cut");

    let wanted = sandbox.process().exec("cat digest", ExecOptions::default()).await.unwrap().result;
    let wanted: Vec<&str> = wanted.lines().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(wanted, seen);
    sandbox.delete(None, true).await.unwrap();
}

async fn text(stream: &ExecStream) -> [String; 2] {
    let mut texts = [String::new(), String::new()];
    while let Some(chunks) = stream.next().await.unwrap() {
        for chunk in chunks {
            texts[chunk.stream as usize].push_str(&chunk.text);
        }
    }
    texts
}

/// Waits until a command no longer runs; its number stands in the file.
async fn is_gone(sandbox: &Sandbox, file: &str) {
    let command = format!("while kill -0 $(cat {file}); do sleep 0.02; done 2>/dev/null");
    let options = ExecOptions { timeout: Some(15.0), ..ExecOptions::default() };
    assert_eq!(sandbox.process().exec(&command, options).await.unwrap().exit_code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_does_not_know_them_runs_them_in_a_session() {
    let server = Server::start(None);
    let network = Network::to(&server).await;
    let sandbox = sandbox(&network.url, &server.api_key).await;
    let process = sandbox.process();
    network.is_old.store(true, Ordering::SeqCst);

    let options = ExecOptions {
        cwd: Some("/tmp".into()),
        env: Some([("A".to_owned(), "it's\n$HOME".to_owned())].into()),
        ..ExecOptions::default()
    };
    let stream =
        process.exec_stream("pwd; echo \"$A\"; read x; echo \"<$x>\" >&2; exit 4 # end", options).await.unwrap();
    assert_eq!(process.list_sessions(None).await.unwrap().len(), 1);
    assert!(stream.next().await.unwrap().unwrap()[0].text.starts_with("/tmp"));
    stream.write_stdin("a line\n".into()).await.unwrap();
    let [stdout, stderr] = text(&stream).await;
    assert!("/tmp\nit's\n$HOME\n".ends_with(&stdout), "{stdout}");
    assert_eq!((&stderr[..], stream.wait().await.unwrap()), ("<a line>\n", 4));

    // The end of what was written, and of nothing.
    let sent: Vec<u8> = (0..100_000_u64).map(|n| (n * n).to_le_bytes()[0]).collect();
    let stream = process.exec_stream("cat", ExecOptions::default()).await.unwrap();
    stream.write_stdin(sent.clone().into()).await.unwrap();
    stream.close_stdin().await.unwrap();
    let mut hash = Sha256::new();
    while let Some(chunks) = stream.next().await.unwrap() {
        for chunk in chunks {
            hash.update(&chunk.bytes);
        }
    }
    assert_eq!((hex(hash), stream.wait().await.unwrap()), (hex(Sha256::new_with_prefix(&sent)), 0));
    let here = "cat; cat <<end\ntext\nend\ncat # a comment";
    for (command, wanted, code) in [("cat", "", 0), (here, "text\n", 0), ("read a; exit 5", "", 5), ("echo 'x", "", 2)]
    {
        for no_stdin in [true, false] {
            let options = ExecOptions { no_stdin, ..ExecOptions::default() };
            let stream = process.exec_stream(command, options).await.unwrap();
            stream.close_stdin().await.unwrap();
            assert_eq!((&text(&stream).await[0][..], stream.wait().await.unwrap()), (wanted, code), "{command}");
        }
    }

    for by_drop in [false, true] {
        let command = "echo $$ > pid; echo ready; exec sleep 1000";
        let stream = process.exec_stream(command, ExecOptions::default()).await.unwrap();
        assert_eq!(stream.next().await.unwrap().unwrap()[0].text, "ready\n");
        if by_drop {
            drop(stream);
        } else {
            stream.kill().await.unwrap();
            assert_eq!(stream.wait().await.unwrap(), 137);
        }
        is_gone(&sandbox, "pid").await;
    }
    while !process.list_sessions(None).await.unwrap().is_empty() {}
    sandbox.delete(None, true).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_ends_with_its_last_handle() {
    let server = Server::start(None);
    let sandbox = sandbox(&server.url, &server.api_key).await;
    let command = "echo $$ > pid; echo ready; sleep 1000";
    let stream = sandbox.process().exec_stream(command, ExecOptions::default()).await.unwrap();
    assert_eq!(stream.next().await.unwrap().unwrap()[0].text, "ready\n");
    let last = stream.clone();
    drop(stream);
    last.write_stdin("still there\n".into()).await.unwrap();
    assert_eq!(last.exit_code(), None);
    drop(last);
    is_gone(&sandbox, "pid").await;
    sandbox.delete(None, true).await.unwrap();
}
