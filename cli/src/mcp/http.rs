//! Streamable HTTP, for this machine alone: a loopback address, a token, and no web pages but those that were named.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use daytona_server::Draining;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;
use subtle::ConstantTimeEq as _;

use super::LAST_WORD;
use super::tools::Tools;
use crate::context::{Context, Failure, Outcome};

const PATH: &str = "/mcp";
const TOKEN_VARIABLE: &str = "DAYTONA_MCP_TOKEN";
/// Random bytes of a token.
const TOKEN_SIZE: usize = 32;
/// A file of the largest size in base64, and the rest of the request.
const LARGEST_REQUEST: usize = 16 * 1024 * 1024;

pub(super) async fn serve(context: &Context, tools: Tools, address: SocketAddr, origins: &[String]) -> Outcome {
    if !address.ip().is_loopback() {
        return Err(Failure::usage(format!(
            "{address} can be reached from other machines, and the traffic is not encrypted: use a loopback address such \
             as 127.0.0.1:3987"
        )));
    }
    let (token, given) = token()?;
    let cannot = |error: std::io::Error| Failure::new(format!("cannot listen on {address}: {error}"));
    let listener = tokio::net::TcpListener::bind(address).await.map_err(cannot)?;
    let url = format!("http://{}{PATH}", listener.local_addr().map_err(cannot)?);
    let mut config = StreamableHttpServerConfig::default()
        .with_allowed_origins(origins)
        .enforce_origin_validation()
        .with_max_request_body_bytes(LARGEST_REQUEST);
    config.allowed_hosts.push("[::1]".to_owned());
    let (service, stop) = (tools.clone(), config.cancellation_token.clone());
    let service =
        StreamableHttpService::new(move || Ok(service.fresh()), Arc::new(LocalSessionManager::default()), config);
    announce(context, &url, &token, given)?;
    // Refusals do not wait for what is refused; the connection goes on all the same.
    let router = Router::new()
        .nest_service(PATH, service)
        .layer(middleware::from_fn_with_state(Arc::new(token), check))
        .layer(middleware::map_request(async |request: Request| request.map(Draining::wrap)));
    // Never told: the end of the program ends it.
    let (_end, open) = tokio::sync::watch::channel(());
    let served = tokio::select! {
        () = daytona_server::serve_http(listener, router, daytona_server::HEAD_TIME, open) => Ok(()),
        ended = super::ended() => ended,
    };
    stop.cancel();
    tools.close(LAST_WORD).await;
    served
}

/// The token, and whether it was given: one that was is not printed.
fn token() -> Outcome<(SecretString, bool)> {
    if let Ok(text) = std::env::var(TOKEN_VARIABLE) {
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Failure::usage(format!("{TOKEN_VARIABLE} has to be visible ASCII characters without blanks")));
        }
        return Ok((text.into(), true));
    }
    let mut bytes = [0; TOKEN_SIZE];
    getrandom::fill(&mut bytes).map_err(|error| Failure::new(format!("no random token: {error}")))?;
    let text = bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    });
    Ok((text.into(), false))
}

fn announce(context: &Context, url: &str, token: &SecretString, given: bool) -> Outcome {
    let shown = if given { None } else { Some(token.expose_secret()) };
    if context.out.json {
        // For programs, on a line of its own whoever looks.
        let line = json!({ "url": url, "token": shown });
        let mut stdout = std::io::stdout().lock();
        return writeln!(stdout, "{line}").and_then(|()| stdout.flush()).map_err(crate::output::closed);
    }
    context.out.line(format!("MCP over HTTP on {url}"))?;
    match shown {
        Some(token) => context.out.line(format!("Authorization: Bearer {token}")),
        None => context.out.line(format!("Authorization: Bearer, with the token of {TOKEN_VARIABLE}")),
    }
}

async fn check(State(token): State<Arc<SecretString>>, request: Request, next: Next) -> Response {
    let given = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let given = given.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
    if bool::from(given.as_bytes().ct_eq(token.expose_secret().as_bytes())) {
        return next.run(request).await;
    }
    let text = "send the token that the server has printed at its start: Authorization: Bearer TOKEN\n";
    (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, "Bearer")], text).into_response()
}
