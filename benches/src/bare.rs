//! The least a Rust client can do: reqwest, bodies built by hand, nothing checked but the status.

use std::io::Write as _;
use std::path::Path;

use bytes::{Bytes, BytesMut};
use daytona_core::PROTOCOL_VERSION;
use daytona_core::wire::files::FilesDownloadRequest;
use daytona_core::wire::process::{ExecuteRequest, ExecuteResponse};
use daytona_core::wire::sandbox::{ListSandboxesResponse, Sandbox};
use daytona_core::wire::session::SessionExecuteResponse;
use futures_util::future::try_join_all;
use futures_util::stream::{self, Stream};
use futures_util::{SinkExt as _, StreamExt as _, TryStreamExt as _};
use reqwest::{Client, RequestBuilder, Response};
use serde_json::json;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

use crate::Result;
use crate::plan::{Log, Plan, SMALL, Subject, small};
use crate::sockets::{ECHO_READY, ECHO_SETUP};

/// Bytes read from a file at once.
pub(crate) const PIECE: usize = 1024 * 1024;
/// Requests in flight at once: the default of every client here.
const IN_FLIGHT: usize = 250;
const BOUNDARY: &str = "bench-boundary-7d0c5a1f";

/// reqwest and one sandbox.
pub(crate) struct Bare {
    plan: Plan,
    http: Client,
    toolbox: String,
    slots: Semaphore,
}

/// A local file, piece by piece.
pub(crate) async fn pieces_of(
    path: &Path,
    piece: usize,
) -> Result<impl Stream<Item = std::io::Result<Bytes>> + Send + use<>> {
    let mut file = tokio::fs::File::open(path).await?;
    file.set_max_buf_size(piece);
    Ok(stream::try_unfold(file, move |mut file| async move {
        let mut buffer = BytesMut::with_capacity(piece);
        let read = file.read_buf(&mut buffer).await?;
        Ok((read > 0).then(|| (buffer.freeze(), file)))
    }))
}

fn head(body: &mut Vec<u8>, index: usize, path: &str) -> Result<()> {
    write!(
        body,
        "--{BOUNDARY}\r\ncontent-disposition: form-data; name=\"files[{index}].path\"\r\n\r\n{path}\r\n\
         --{BOUNDARY}\r\ncontent-disposition: form-data; name=\"files[{index}].file\"; filename=\"{path}\"\r\n\
         content-type: application/octet-stream\r\n\r\n"
    )?;
    Ok(())
}

impl Bare {
    pub(crate) async fn new(plan: Plan) -> Result<Self> {
        // Never used, and reqwest does not start without one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = Client::builder().no_proxy().http1_only().build()?;
        let url = format!("{}/sandbox/{}", plan.api_url, plan.sandbox);
        let sandbox: Sandbox = http.get(url).bearer_auth(&plan.key).send().await?.error_for_status()?.json().await?;
        let toolbox = format!("{}/{}", sandbox.toolbox_proxy_url, sandbox.id);
        Ok(Self { plan, http, toolbox, slots: Semaphore::new(IN_FLIGHT) })
    }

    fn post(&self, path: &str) -> RequestBuilder {
        self.http.post(format!("{}{path}", self.toolbox)).bearer_auth(&self.plan.key)
    }

    async fn connect(&self, path: &str) -> Result<WebSocketStream<TcpStream>> {
        let url = format!("{}{path}", self.toolbox).replacen("http", "ws", 1);
        let mut request = url.into_client_request()?;
        request.headers_mut().insert("authorization", format!("Bearer {}", self.plan.key).parse()?);
        request.headers_mut().insert("x-daytona-sdk-version", PROTOCOL_VERSION.parse()?);
        let host = request.uri().authority().ok_or("a host")?.to_string();
        let stream = TcpStream::connect(host).await?;
        stream.set_nodelay(true)?;
        Ok(tokio_tungstenite::client_async(request, stream).await?.0)
    }

    async fn upload(&self, body: reqwest::Body) -> Result<()> {
        let content_type = format!("multipart/form-data; boundary={BOUNDARY}");
        let request = self.post("/files/bulk-upload").header("content-type", content_type).body(body);
        request.send().await?.error_for_status()?.bytes().await?;
        Ok(())
    }

    async fn upload_large(&self) -> Result<()> {
        let mut begin = Vec::new();
        head(&mut begin, 0, &self.plan.large())?;
        let end = format!("\r\n--{BOUNDARY}--\r\n");
        let begin = stream::iter([Ok(Bytes::from(begin))]);
        let end = stream::iter([Ok(Bytes::from(end))]);
        let pieces = pieces_of(&self.plan.local, PIECE).await?;
        self.upload(reqwest::Body::wrap_stream(begin.chain(pieces).chain(end))).await
    }

    async fn download(&self, paths: Vec<String>) -> Result<Response> {
        let request = self.post("/files/bulk-download").json(&FilesDownloadRequest { paths });
        Ok(request.send().await?.error_for_status()?)
    }
}

impl Subject for Bare {
    async fn exec(&self) -> Result<()> {
        let _slot = self.slots.acquire().await?;
        let body = ExecuteRequest { command: "echo hi".into(), ..ExecuteRequest::default() };
        let response = self.post("/process/execute").json(&body).send().await?.error_for_status()?;
        let answer: ExecuteResponse = response.json().await?;
        if answer.exit_code == 0 { Ok(()) } else { Err(answer.result.into()) }
    }

    async fn burst(&self, count: usize) -> Result<()> {
        try_join_all((0..count).map(|_| self.exec())).await.map(drop)
    }

    async fn upload_small(&self, count: usize) -> Result<()> {
        let mut body = Vec::with_capacity(count * (SMALL + 300));
        for index in 0..count {
            head(&mut body, index, &small(index))?;
            body.extend_from_slice(&[7; SMALL]);
            body.extend_from_slice(b"\r\n");
        }
        write!(body, "--{BOUNDARY}--\r\n")?;
        self.upload(body.into()).await
    }

    async fn download_small(&self, count: usize) -> Result<()> {
        // The parts are not taken apart: what is left is the cost of the bytes.
        self.download((0..count).map(small).collect()).await?.bytes().await?;
        Ok(())
    }

    async fn list(&self, count: usize) -> Result<()> {
        let url = format!("{}/sandbox", self.plan.list_url(count));
        let (mut cursor, mut seen) = (String::new(), 0);
        loop {
            let request = self.http.get(&url).bearer_auth(&self.plan.key).query(&[("cursor", &cursor)]);
            let page: ListSandboxesResponse = request.send().await?.error_for_status()?.json().await?;
            seen += page.items.len();
            cursor = page.next_cursor.unwrap_or_default();
            if cursor.is_empty() {
                break;
            }
        }
        if seen == count { Ok(()) } else { Err(format!("{seen} sandboxes of {count}").into()) }
    }

    async fn upload_file(&self) -> Result<()> {
        self.upload_large().await
    }

    async fn upload_stream(&self) -> Result<()> {
        self.upload_large().await
    }

    async fn download_file(&self) -> Result<()> {
        let mut pieces = self.download(vec![self.plan.large()]).await?.bytes_stream();
        let mut file = std::fs::File::create(&self.plan.target)?;
        while let Some(piece) = pieces.try_next().await? {
            file.write_all(&piece)?;
        }
        Ok(())
    }

    async fn download_memory(&self) -> Result<()> {
        let mut pieces = self.download(vec![self.plan.large()]).await?.bytes_stream();
        let mut memory = Vec::with_capacity(usize::try_from(self.plan.bytes)? + 4096);
        while let Some(piece) = pieces.try_next().await? {
            memory.extend_from_slice(&piece);
        }
        Ok(())
    }

    async fn download_stream(&self) -> Result<()> {
        let mut pieces = self.download(vec![self.plan.large()]).await?.bytes_stream();
        let mut length = 0;
        while let Some(piece) = pieces.try_next().await? {
            length += piece.len() as u64;
        }
        if length >= self.plan.bytes { Ok(()) } else { Err(format!("{length} bytes").into()) }
    }

    async fn log(&self, command: Log, mb: usize) -> Result<()> {
        let session = format!("bare-{}", std::process::id());
        // Another round may have made it.
        self.post("/process/session").json(&json!({ "sessionId": session })).send().await?;
        let request = json!({ "command": command.command(mb), "runAsync": true });
        let answer = self.post(&format!("/process/session/{session}/exec")).json(&request).send().await?;
        let SessionExecuteResponse { cmd_id, .. } = answer.error_for_status()?.json().await?;
        let path = format!("/process/session/{session}/command/{cmd_id}/logs?follow=true");
        let mut socket = self.connect(&path).await?;
        // The streams are not told apart: what is left is the cost of the frames.
        let mut length = 0;
        while let Some(message) = socket.next().await {
            length += message?.len();
        }
        if length >= mb * 1_000_000 { Ok(()) } else { Err(format!("{length} bytes").into()) }
    }

    async fn pty_output(&self, mb: usize) -> Result<()> {
        let mut socket = self.connect(&format!("/process/pty/create-connect?id=output-{mb}")).await?;
        socket.send(Message::binary("go\n")).await?;
        let mut length = 0;
        while let Some(message) = socket.next().await {
            length += message?.len();
        }
        if length >= mb * 1_000_000 { Ok(()) } else { Err(format!("{length} bytes").into()) }
    }

    async fn pty_echo(&self, count: usize) -> Result<()> {
        let mut socket = self.connect(&format!("/process/pty/create-connect?id=echo-{}", std::process::id())).await?;
        socket.send(Message::binary(ECHO_SETUP)).await?;
        let mut shown = Vec::new();
        while !shown.ends_with(ECHO_READY.as_bytes()) {
            shown.extend_from_slice(&socket.next().await.ok_or("it is not connected")??.into_data());
        }
        for _ in 0..count {
            socket.send(Message::binary("k")).await?;
            socket.next().await.ok_or("no echo")??;
        }
        Ok(socket.close(None).await?)
    }

    async fn interpret(&self) -> Result<()> {
        let mut socket = self.connect("/process/interpreter/execute").await?;
        socket.send(Message::text(r#"{"code":"print('hi')"}"#)).await?;
        let first = socket.next().await.ok_or("no answer")??;
        while socket.next().await.is_some_and(|message| message.is_ok()) {}
        if first.to_text()?.contains("hi") { Ok(()) } else { Err(first.to_string().into()) }
    }
}
