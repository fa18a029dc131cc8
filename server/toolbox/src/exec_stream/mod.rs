//! Commands whose output, input and signals go over a websocket; the protocol is in [`daytona_wire::exec_stream`].

mod command;
mod connection;
mod output;
mod reader;
mod running;
pub(crate) mod signal;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::extract::ws::{Message, WebSocket};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use daytona_wire::error::code;
use daytona_wire::exec_stream::ToServer;
use serde::Deserialize;

use crate::App;
use crate::body::Query;
use crate::error::{Error, Result};
use crate::websocket::Upgrade;
use running::Running;

const PATH: &str = "/process/execute/stream";

pub(crate) fn routes() -> Router<App> {
    Router::new().route(PATH, get(start)).route("/process/execute/stream/{id}", get(go_on))
}

/// The commands that run, and those whose end is not known to their client yet.
#[derive(Clone, Default)]
pub(crate) struct Streams(Arc<Mutex<HashMap<String, Arc<Running>>>>);

impl Streams {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<Running>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, id: &str) -> Result<Arc<Running>> {
        self.lock().get(id).cloned().ok_or_else(|| {
            Error::new(
                StatusCode::NOT_FOUND,
                code::PROCESS_NOT_FOUND,
                format!("no command runs under the id {id:?}: it was never started, or it has ended; start it anew"),
            )
        })
    }

    fn check_free(&self, id: &str) -> Result<()> {
        if self.lock().contains_key(id) {
            return Err(Error::conflict(format!(
                "a command runs under the id {id:?} already; go on with it through {PATH}/{id} or use another id"
            )));
        }
        Ok(())
    }
}

#[derive(Deserialize)]
struct Id {
    id: String,
}

#[derive(Deserialize)]
struct From {
    #[serde(default)]
    offset: u64,
}

fn check_id(id: &str) -> Result<()> {
    let valid = (16..=64).contains(&id.len()) && id.bytes().all(|b| b == b'-' || b.is_ascii_alphanumeric());
    if valid { Ok(()) } else { Err(Error::bad_request("the id of a stream is 16 to 64 letters, digits and '-'")) }
}

/// `GET /process/execute/stream?id=`
async fn start(State(app): State<App>, Query(Id { id }): Query<Id>, upgrade: Upgrade) -> Result<Response> {
    check_id(&id)?;
    app.streams.check_free(&id)?;
    Ok(upgrade.run(&[], move |mut socket| async move {
        let Some(first) = first_message(&mut socket).await else {
            return;
        };
        match first.and_then(|request| command::start(&app, &id, request)) {
            Ok(running) => connection::serve(socket, &running, 0).await,
            Err(error) => connection::refuse(socket, &error).await,
        }
    }))
}

/// `GET /process/execute/stream/{id}?offset=`
async fn go_on(
    State(app): State<App>,
    Path(id): Path<String>,
    Query(From { offset }): Query<From>,
    upgrade: Upgrade,
) -> Result<Response> {
    check_id(&id)?;
    let running = app.streams.find(&id)?;
    running.check_offset(offset)?;
    Ok(upgrade.run(&[], move |socket| async move { connection::serve(socket, &running, offset).await }))
}

/// What is to be started; `None` if the client goes without saying.
async fn first_message(socket: &mut WebSocket) -> Option<Result<ToServer>> {
    loop {
        match socket.recv().await?.ok()? {
            Message::Text(text) => return Some(connection::parse(&text)),
            Message::Binary(_) => {
                return Some(Err(Error::bad_request("the first message of a stream says what to start")));
            }
            Message::Ping(_) | Message::Pong(_) => {}
            Message::Close(_) => return None,
        }
    }
}
