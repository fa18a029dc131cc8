//! Routes for the server alone; see [`daytona_wire::tunnel`].

mod dial;
mod run;
mod sftp;
mod sftp_names;

use std::future::Future;
use std::io;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use axum::routing::get;
use bytes::Bytes;
use daytona_wire::tunnel::{DIAL, PROTOCOL, RUN, SFTP};
use hyper::upgrade::OnUpgrade;
use tokio::net::UnixStream;

use crate::App;
use crate::error::{Error, Result};
use crate::serve::raw;

pub(crate) fn routes() -> Router<App> {
    Router::new().route(DIAL, get(dial::dial)).route(RUN, get(run::run)).route(SFTP, get(sftp::sftp))
}

/// The connection that a request asks to switch.
fn upgrade(request: &mut Request) -> Result<OnUpgrade> {
    let wanted = request.headers().get(header::UPGRADE).is_some_and(|protocol| protocol == PROTOCOL);
    if !wanted {
        return Err(Error::new(StatusCode::UPGRADE_REQUIRED, "UPGRADE_REQUIRED", "this route is for the server alone"));
    }
    Ok(hyper::upgrade::on(request))
}

/// Answers that the protocol is switched, and serves the stream from then on; its first bytes may be there already.
fn switch<F, Fut>(connection: OnUpgrade, serve: F) -> Response
where
    F: FnOnce(Bytes, UnixStream) -> Fut + Send + 'static,
    Fut: Future<Output = io::Result<()>> + Send + 'static,
{
    tokio::spawn(async move {
        let raw = connection.await.ok().and_then(|upgraded| raw(upgraded).ok());
        if let Some((early, stream)) = raw {
            // A connection that breaks takes along what ran on it.
            let _ = serve(early, stream).await;
        }
    });
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    response.headers_mut().insert(header::UPGRADE, HeaderValue::from_static(PROTOCOL));
    response
}
