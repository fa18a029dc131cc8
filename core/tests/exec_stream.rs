//! Streamed commands on a real local server, over a network that cuts connections.

#[path = "cases/server.rs"]
mod server;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use daytona_core::{Config, CreateOptions, CreateParams, Daytona, ExecOptions, ExecStream, OutputStream, Sandbox};
use server::Server;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Hands connections on to a server and, while told to, cuts each after some bytes of an answer.
struct Network {
    url: String,
    cuts: Arc<AtomicBool>,
    count: Arc<AtomicUsize>,
}

impl Network {
    async fn to(server: &Server) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let own = listener.local_addr().unwrap().to_string();
        let (_, rest) = server.url.split_once("://").unwrap();
        let (target, path) = rest.split_once('/').unwrap();
        let url = format!("http://{own}/{path}");
        let (cuts, count) = <(Arc<AtomicBool>, Arc<AtomicUsize>)>::default();
        let (target, switch, counter) = (target.to_owned(), Arc::clone(&cuts), Arc::clone(&count));
        tokio::spawn(async move {
            // Any sequence that is the same each time.
            let mut state = 0x2545_f491_4f6c_dd1d_u64;
            while let Ok((near, _)) = listener.accept().await {
                let far = TcpStream::connect(&target).await.unwrap();
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                let most = usize::try_from(state % 3_000_000).unwrap();
                tokio::spawn(carry(near, far, most, Arc::clone(&switch), Arc::clone(&counter)));
            }
        });
        Self { url, cuts, count }
    }
}

async fn carry(near: TcpStream, far: TcpStream, most: usize, cuts: Arc<AtomicBool>, count: Arc<AtomicUsize>) {
    let (mut near_in, mut near_out) = near.into_split();
    let (mut far_in, mut far_out) = far.into_split();
    let up = tokio::spawn(async move {
        let _ = tokio::io::copy(&mut near_in, &mut far_out).await;
    });
    let mut buffer = vec![0; 16 << 10];
    let mut carried = 0;
    while let Ok(length @ 1..) = far_in.read(&mut buffer).await {
        carried += length;
        // The last piece arrives in part, as it may.
        if cuts.load(Ordering::SeqCst) && carried > most {
            let _ = near_out.write_all(&buffer[..length / 2]).await;
            count.fetch_add(1, Ordering::SeqCst);
            break;
        }
        if near_out.write_all(&buffer[..length]).await.is_err() {
            break;
        }
    }
    up.abort();
}

async fn sandbox(url: &str, key: &str) -> Sandbox {
    let config = Config { api_key: Some(key.into()), api_url: Some(url.to_owned()), ..Config::default() };
    let client = Daytona::new(&config).unwrap();
    client.create(CreateParams::default(), &CreateOptions::default()).await.unwrap()
}

/// Digests of both streams.
async fn digests(stream: &ExecStream) -> [String; 2] {
    let mut hashes = [Sha256::new(), Sha256::new()];
    while let Some(chunks) = stream.next().await.unwrap() {
        for chunk in chunks {
            hashes[chunk.stream as usize].update(&chunk.bytes);
        }
    }
    hashes.map(|hash| hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_doubled_however_often_connections_break() {
    let server = Server::start();
    let network = Network::to(&server).await;
    let sandbox = sandbox(&network.url, &server.api_key).await;
    assert!(sandbox.data().toolbox_proxy_url.starts_with(network.url.split("/api").next().unwrap()));
    network.cuts.store(true, Ordering::SeqCst);

    let command = "seq 1 2000000 | tee /tmp/out.$$; seq 5 1000000 >&2; sha256sum < /tmp/out.$$ > /tmp/digest; \
                   seq 5 1000000 | sha256sum >> /tmp/digest; rm /tmp/out.$$; exit 7";
    let stream = sandbox.process().exec_stream(command, ExecOptions::default()).await.unwrap();
    let seen = digests(&stream).await;
    assert_eq!(stream.wait().await.unwrap(), 7);
    let broken = network.count.load(Ordering::SeqCst);

    let echo = sandbox.process().exec_stream("tee /dev/stderr | sha256sum", ExecOptions::default()).await.unwrap();
    let sent: Vec<u8> = (0..8_000_000_u32).map(|n| (n % 251) as u8).collect();
    let wanted: String = Sha256::digest(&sent).iter().map(|byte| format!("{byte:02x}")).collect();
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
    let copy: String = copy.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!((copy.as_str(), digest.trim_end_matches([' ', '-', '\n'])), (&wanted[..], &wanted[..]));
    network.cuts.store(false, Ordering::SeqCst);
    assert!(broken >= 5 && network.count.load(Ordering::SeqCst) > broken, "{broken} connections were cut");

    let wanted = sandbox.process().exec("cat /tmp/digest", ExecOptions::default()).await.unwrap().result;
    let wanted: Vec<&str> = wanted.lines().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(wanted, seen);
    sandbox.delete(None, true).await.unwrap();
}
