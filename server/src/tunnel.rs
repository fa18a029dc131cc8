//! Connections through the agent into a sandbox.

use std::io;
use std::path::Path;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use daytona_wire::error::ErrorBody;
use daytona_wire::tunnel::{CODE_UNREACHABLE, PROTOCOL};
use http_body_util::{BodyExt as _, Limited};
use hyper::client::conn::http1;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

/// The longest error that is read.
const ERROR_LIMIT: usize = 64 << 10;

/// Bytes to and from the inside of a sandbox.
pub(crate) type Tunnel = TokioIo<Upgraded>;

/// Connects to an agent's socket.
pub(crate) async fn connect(socket: &Path) -> io::Result<UnixStream> {
    let mut pause = Duration::from_millis(1);
    loop {
        match UnixStream::connect(socket).await {
            Ok(stream) => return Ok(stream),
            // The agent has not accepted the connections before this one yet.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(Duration::from_millis(50));
            }
            Err(error) => return Err(error),
        }
    }
}

/// Opens a private route of an agent. The error says why it does not, `ConnectionRefused` that nothing is at its end.
pub(crate) async fn open(socket: &Path, route: &str) -> io::Result<Tunnel> {
    let stream = connect(socket).await?;
    let (mut sender, connection) = http1::handshake::<_, Body>(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    tokio::spawn(connection.with_upgrades());
    let request = Request::get(route)
        .header(header::HOST, "sandbox")
        .header(header::CONNECTION, "upgrade")
        .header(header::UPGRADE, PROTOCOL)
        .body(Body::empty())
        .map_err(io::Error::other)?;
    let response = sender.send_request(request).await.map_err(io::Error::other)?;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        let upgraded = hyper::upgrade::on(response).await.map_err(io::Error::other)?;
        return Ok(TokioIo::new(upgraded));
    }
    let status = response.status();
    let body = Limited::new(response.into_body(), ERROR_LIMIT).collect().await.map_err(io::Error::other)?;
    let error: ErrorBody = serde_json::from_slice(&body.to_bytes()).unwrap_or_default();
    let unreachable = error.code.as_deref() == Some(CODE_UNREACHABLE);
    let message = if error.message.is_empty() { format!("the agent answered {status}") } else { error.message };
    let kind = if unreachable { io::ErrorKind::ConnectionRefused } else { io::ErrorKind::Other };
    Err(io::Error::new(kind, message))
}
