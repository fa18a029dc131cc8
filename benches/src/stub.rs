//! A server with canned answers, fast enough that the client is what is measured.

use std::convert::Infallible;

use bytes::{Bytes, BytesMut};
use daytona_core::wire::files::FilesDownloadRequest;
use daytona_core::wire::session::SessionExecuteRequest;
use futures_util::stream;
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;

use crate::Result;
use crate::sockets::{self, Kind};

const PIECE: usize = 256 * 1024;
const FRAME: usize = 16 * 1024;
const PAGE: usize = 100;
const PAGES: usize = 10;
const BOUNDARY: &str = "stub-boundary-4b1d2c9e";

type Body = UnsyncBoxBody<Bytes, Infallible>;

struct Stub {
    sandbox: Bytes,
    /// Pages of a list, each with more to come and as the last.
    pages: Vec<[Bytes; 2]>,
    noise: Bytes,
}

/// Serves until standard input ends.
pub(crate) async fn serve() -> Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let base = format!("http://{}", listener.local_addr()?);
    println!("{}", json!({ "url": format!("{base}/api") }));
    let toolbox = format!("{base}/toolbox");
    let stub: &'static Stub = Box::leak(Box::new(Stub {
        sandbox: sandbox(0, &toolbox).to_string().into(),
        pages: (0..PAGES).map(|index| [page(index, true, &toolbox), page(index, false, &toolbox)]).collect(),
        noise: noise(PIECE),
    }));
    let mut stdin = tokio::io::stdin();
    let mut byte = [0];
    let end = async { while stdin.read(&mut byte).await.is_ok_and(|read| read > 0) {} };
    let work = async {
        loop {
            let Ok((stream, _)) = listener.accept().await else { continue };
            let _ = stream.set_nodelay(true);
            tokio::spawn(async move {
                let service = service_fn(|request| answer(stub, request));
                let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).with_upgrades().await;
            });
        }
    };
    tokio::select! {
        () = end => {}
        () = work => {}
    }
    // Standard input is read on a thread of its own, which would be waited for.
    std::process::exit(0);
}

async fn answer(stub: &'static Stub, request: Request<Incoming>) -> std::result::Result<Response<Body>, hyper::Error> {
    let path = request.uri().path().to_owned();
    let post = request.method() == Method::POST;
    let query = request.uri().query().unwrap_or_default().to_owned();
    if let Some(key) = request.headers().get("sec-websocket-key")
        && let Some(kind) = Kind::of(&path, &query)
    {
        let accept = sockets::accept(key.as_bytes());
        return Ok(upgrade(request, kind, &accept));
    }
    let mut body = request.into_body();
    if post && path.contains("/process/session") {
        let asked = body.collect().await?.to_bytes();
        return Ok(session(&path, &asked));
    }
    if post && path.ends_with("/files/bulk-download") {
        let wanted = body.collect().await?.to_bytes();
        let paths = serde_json::from_slice::<FilesDownloadRequest>(&wanted).map(|wanted| wanted.paths);
        return Ok(download(stub, paths.unwrap_or_default()));
    }
    while let Some(frame) = body.frame().await {
        frame?;
    }
    Ok(if post && path.ends_with("/process/execute") {
        json_answer(Bytes::from_static(br#"{"exitCode":0,"result":"hi\n"}"#))
    } else if post && path.ends_with("/files/bulk-upload") {
        json_answer(Bytes::from_static(br#"{"files":[]}"#))
    } else if let Some(count) = path.strip_prefix("/list/").and_then(|rest| rest.strip_suffix("/api/sandbox")) {
        json_answer(list(stub, count, &query))
    } else if path.starts_with("/api/sandbox") {
        json_answer(stub.sandbox.clone())
    } else {
        let mut response = json_answer(Bytes::from_static(br#"{"statusCode":404,"message":"not in the stub"}"#));
        *response.status_mut() = StatusCode::NOT_FOUND;
        response
    })
}

/// A session's command says what its log is to be: see [`Kind::of`].
fn session(path: &str, asked: &[u8]) -> Response<Body> {
    let command = serde_json::from_slice::<SessionExecuteRequest>(asked).map(|asked| asked.command);
    let mut response = if path.ends_with("/exec") {
        let command = command.unwrap_or_default();
        let id = command.split_whitespace().nth(1).unwrap_or_default().trim_end_matches(';');
        json_answer(json!({ "cmdId": id }).to_string().into())
    } else {
        json_answer(Bytes::new())
    };
    *response.status_mut() = if path.ends_with("/exec") { StatusCode::ACCEPTED } else { StatusCode::CREATED };
    response
}

fn upgrade(request: Request<Incoming>, kind: Kind, accept: &str) -> Response<Body> {
    let protocol = request.headers().get("sec-websocket-protocol").cloned();
    tokio::spawn(async move {
        if let Ok(upgraded) = hyper::upgrade::on(request).await
            && let Err(error) = sockets::serve(upgraded, kind).await
        {
            eprintln!("daytona-bench: a websocket ended: {error}");
        }
    });
    let mut response = Response::new(Full::new(Bytes::new()).boxed_unsync());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert("connection", http::HeaderValue::from_static("upgrade"));
    headers.insert("upgrade", http::HeaderValue::from_static("websocket"));
    if let Ok(accept) = accept.parse() {
        headers.insert("sec-websocket-accept", accept);
    }
    let first = protocol.as_ref().and_then(|offered| offered.to_str().ok()?.split(',').next());
    if let Some(Ok(chosen)) = first.map(|name| name.trim().parse()) {
        headers.insert("sec-websocket-protocol", chosen);
    }
    response
}

fn json_answer(body: Bytes) -> Response<Body> {
    let mut response = Response::new(Full::new(body).boxed_unsync());
    let json = http::HeaderValue::from_static("application/json");
    response.headers_mut().insert(http::header::CONTENT_TYPE, json);
    response
}

fn page(index: usize, more: bool, toolbox: &str) -> Bytes {
    let items: Vec<Value> = (index * PAGE..(index + 1) * PAGE).map(|index| sandbox(index, toolbox)).collect();
    let next = if more { json!((index + 1).to_string()) } else { Value::Null };
    json!({ "items": items, "nextCursor": next }).to_string().into()
}

/// One page of a list of so many sandboxes; the cursor is the page's number.
fn list(stub: &Stub, count: &str, query: &str) -> Bytes {
    let count: usize = count.parse().unwrap_or(PAGE);
    let cursor = query.split('&').find_map(|pair| pair.strip_prefix("cursor="));
    let index = cursor.and_then(|cursor| cursor.parse().ok()).unwrap_or(0).min(PAGES - 1);
    stub.pages[index][usize::from((index + 1) * PAGE >= count)].clone()
}

/// What a listed sandbox looks like, with the fields that a real one has.
fn sandbox(index: usize, toolbox: &str) -> Value {
    json!({
        "id": format!("8c5a2f0e-41c6-4b63-9a3e-{index:012}"),
        "organizationId": "5d0f8f6a-3c0d-4d6a-8a52-0b1f6f2f9c11",
        "name": format!("sandbox-{index}"),
        "snapshot": "default",
        "user": "daytona",
        "env": {},
        "labels": { "code-toolbox-language": "python", "team": "bench" },
        "public": false,
        "networkBlockAll": false,
        "kvm": false,
        "target": "local",
        "cpu": 1, "gpu": 0, "memory": 1, "disk": 3,
        "state": "started",
        "desiredState": "started",
        "backupState": "None",
        "autoStopInterval": 15,
        "autoArchiveInterval": 10080,
        "autoDeleteInterval": -1,
        "volumes": [],
        "createdAt": "2025-01-01T00:00:00.000Z",
        "updatedAt": "2025-01-01T00:00:00.000Z",
        "lastActivityAt": "2025-01-01T00:00:00.000Z",
        "sandboxClass": "container",
        "daemonVersion": "0.1.0",
        "toolboxProxyUrl": toolbox,
    })
}

/// Bytes without a pattern.
fn noise(length: usize) -> Bytes {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    };
    std::iter::repeat_with(next).take(length).collect()
}

/// The size that a path asks for: `.../b{size}-{index}`.
fn size_of(path: &str) -> usize {
    let name = path.rsplit('/').next().unwrap_or_default();
    let size = name.strip_prefix('b').and_then(|rest| rest.split('-').next());
    size.and_then(|size| size.parse().ok()).unwrap_or_default()
}

/// Small pieces together, as a server with a write buffer sends them.
fn gather(mut pieces: impl Iterator<Item = Bytes>) -> impl Iterator<Item = Bytes> {
    let mut waiting = BytesMut::new();
    std::iter::from_fn(move || {
        for piece in pieces.by_ref() {
            if waiting.is_empty() && piece.len() >= FRAME {
                return Some(piece);
            }
            waiting.extend_from_slice(&piece);
            if waiting.len() >= FRAME {
                return Some(waiting.split().freeze());
            }
        }
        (!waiting.is_empty()).then(|| waiting.split().freeze())
    })
}

fn download(stub: &'static Stub, paths: Vec<String>) -> Response<Body> {
    let parts = paths.into_iter().flat_map(move |path| {
        let size = size_of(&path);
        let head = format!(
            "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{path}\"\r\n\
             Content-Type: application/octet-stream\r\nContent-Length: {size}\r\n\r\n"
        );
        let whole = std::iter::repeat_n(stub.noise.clone(), size / PIECE);
        let rest = stub.noise.slice(..size % PIECE);
        std::iter::once(Bytes::from(head)).chain(whole).chain([rest, Bytes::from_static(b"\r\n")])
    });
    let end = Bytes::from(format!("--{BOUNDARY}--\r\n"));
    let frames = gather(parts.chain([end])).map(|piece| Ok(Frame::data(piece)));
    let mut response = Response::new(StreamBody::new(stream::iter(frames)).boxed_unsync());
    let kind = format!("multipart/form-data; boundary={BOUNDARY}");
    if let Ok(kind) = kind.parse() {
        response.headers_mut().insert(http::header::CONTENT_TYPE, kind);
    }
    response
}
