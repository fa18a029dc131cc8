//! Bytes to and from a port inside the sandbox.

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;

use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::Response;
use daytona_wire::tunnel::CODE_UNREACHABLE;
use serde::Deserialize;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::{switch, upgrade};
use crate::body::Query;
use crate::container;
use crate::error::{Error, Result};

#[derive(Deserialize)]
pub(super) struct Target {
    port: u16,
    #[serde(default)]
    host: Option<String>,
}

/// `GET /private/dial`
pub(super) async fn dial(Query(target): Query<Target>, mut request: Request) -> Result<Response> {
    let connection = upgrade(&mut request)?;
    let mut port = connect(&target).await.map_err(|error| unreachable(&target, &error))?;
    let _ = port.set_nodelay(true);
    Ok(switch(connection, async move |early, mut client| {
        port.write_all(&early).await?;
        tokio::io::copy_bidirectional(&mut client, &mut port).await.map(|_| ())
    }))
}

async fn connect(target: &Target) -> io::Result<TcpStream> {
    let host = target.host.as_deref().unwrap_or("localhost");
    if !matches!(host, "localhost" | "127.0.0.1" | "::1" | "0.0.0.0" | "") {
        if container::in_container() && host.parse::<IpAddr>().is_err() {
            return connect_named(host, target.port).await;
        }
        return TcpStream::connect((host, target.port)).await;
    }
    // Programs listen on one of them, or on both.
    match TcpStream::connect(("127.0.0.1", target.port)).await {
        Ok(stream) => Ok(stream),
        Err(error) => TcpStream::connect(("::1", target.port)).await.map_err(|_| error),
    }
}

/// Connects to the first address that answers; the container's own programs look the name up.
async fn connect_named(host: &str, port: u16) -> io::Result<TcpStream> {
    let found = tokio::process::Command::new("getent").args(["ahosts", "--", host]).output().await;
    let found =
        found.map_err(|error| io::Error::new(error.kind(), format!("names need getent in the image: {error}")))?;
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "no such host");
    let text = String::from_utf8_lossy(&found.stdout);
    let addresses: BTreeSet<IpAddr> =
        text.lines().filter_map(|line| line.split_whitespace().next()?.parse().ok()).collect();
    for address in addresses {
        match TcpStream::connect((address, port)).await {
            Ok(stream) => return Ok(stream),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

fn unreachable(target: &Target, error: &io::Error) -> Error {
    let port = target.port;
    let message = match &target.host {
        None if error.kind() == io::ErrorKind::ConnectionRefused => {
            format!("nothing listens on port {port} in the sandbox; start a server there, on 127.0.0.1, ::1 or 0.0.0.0")
        }
        None => format!("port {port} in the sandbox cannot be reached: {error}"),
        Some(host) => format!("{host}:{port} cannot be reached from the sandbox: {error}"),
    };
    Error::new(StatusCode::BAD_GATEWAY, CODE_UNREACHABLE, message)
}
