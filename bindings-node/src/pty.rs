//! Terminals.

use std::future::Future;

use bytes::Bytes;
use daytona_core::wire::pty::MAX_SIZE;
use daytona_core::{Error, Pty, PtyOptions, Result};
use napi::bindgen_prelude::Null;
use napi_derive::napi;

use crate::completion::{Calls, Outcome};
use crate::daytona::{json, parse};
use crate::sandbox::NativeSandbox;

/// Columns or rows; which sizes there are is for the core.
fn size(name: &str, count: i64) -> Result<u16> {
    u16::try_from(count)
        .map_err(|_| Error::invalid(format!("{name} must be an integer from 1 to {MAX_SIZE}, not {count}")))
}

fn opened(pty: Pty) -> Outcome {
    Outcome::made(move |slots, calls| {
        let terminal = slots.instance(NativePty { calls: calls.clone(), pty })?;
        slots.pair(terminal, Null)
    })
}

#[napi]
impl NativeSandbox {
    /// Starts a terminal. `env` is JSON.
    #[napi]
    pub fn create_pty(
        &self,
        id: u32,
        session_id: String,
        cwd: Option<String>,
        env: Option<String>,
        cols: Option<i64>,
        rows: Option<i64>,
    ) {
        self.process(id, move |process| async move {
            let env = env.as_deref().map(parse).transpose()?;
            let cols = cols.map(|cols| size("cols", cols)).transpose()?;
            let rows = rows.map(|rows| size("rows", rows)).transpose()?;
            process.create_pty_session(&session_id, PtyOptions { cwd, env, cols, rows }).await.map(opened)
        });
    }

    /// Connects to a terminal.
    #[napi]
    pub fn connect_pty(&self, id: u32, session_id: String, replay: bool) {
        self.process(
            id,
            move |process| async move { process.connect_pty_session(&session_id, replay).await.map(opened) },
        );
    }

    /// All terminals.
    #[napi]
    pub fn list_pty_sessions(&self, id: u32, timeout: Option<f64>) {
        self.process_json(id, move |process| async move { process.list_pty_sessions(timeout).await });
    }

    /// What is known of a terminal.
    #[napi]
    pub fn get_pty_session_info(&self, id: u32, session_id: String, timeout: Option<f64>) {
        self.process_json(id, move |process| async move { process.get_pty_session_info(&session_id, timeout).await });
    }

    /// Kills a terminal.
    #[napi]
    pub fn kill_pty_session(&self, id: u32, session_id: String, timeout: Option<f64>) {
        self.process(id, move |process| async move {
            process.kill_pty_session(&session_id, timeout).await.map(|()| Outcome::Unit)
        });
    }

    /// Changes the size of a terminal.
    #[napi]
    pub fn resize_pty_session(&self, id: u32, session_id: String, cols: i64, rows: i64, timeout: Option<f64>) {
        self.process_json(id, move |process| async move {
            process.resize_pty_session(&session_id, size("cols", cols)?, size("rows", rows)?, timeout).await
        });
    }
}

/// A connection to a terminal.
#[napi]
pub struct NativePty {
    calls: Calls,
    pty: Pty,
}

impl NativePty {
    fn call<F>(&self, id: u32, work: impl FnOnce(Pty) -> F + Send + 'static)
    where
        F: Future<Output = Result<Outcome>> + Send,
    {
        let pty = self.pty.clone();
        self.calls.spawn(id, async move { work(pty).await });
    }
}

#[napi]
impl NativePty {
    /// Its id.
    #[napi]
    pub fn session_id(&self) -> &str {
        self.pty.session_id()
    }

    /// Whether input can be sent.
    #[napi]
    pub fn is_connected(&self) -> bool {
        self.pty.is_connected()
    }

    /// The exit code of its shell, once it is known.
    #[napi]
    pub fn exit_code(&self) -> Option<i32> {
        self.pty.exit_code()
    }

    /// Why it ended.
    #[napi]
    pub fn error(&self) -> Option<String> {
        self.pty.error()
    }

    /// Waits until it is ready.
    #[napi]
    pub fn wait_for_connection(&self, id: u32, timeout: Option<f64>) {
        self.call(id, move |pty| async move { pty.wait_for_connection(timeout).await.map(|()| Outcome::Unit) });
    }

    /// Types.
    #[napi]
    pub fn send_input(&self, id: u32, piece: &[u8]) {
        let piece = Bytes::copy_from_slice(piece);
        self.call(id, |pty| async move { pty.send_input(piece).await.map(|()| Outcome::Unit) });
    }

    /// Changes its size.
    #[napi]
    pub fn resize(&self, id: u32, cols: i64, rows: i64) {
        self.call(id, move |pty| async move { json(&pty.resize(size("cols", cols)?, size("rows", rows)?).await?) });
    }

    /// Kills it.
    #[napi]
    pub fn kill(&self, id: u32) {
        self.call(id, |pty| async move { pty.kill().await.map(|()| Outcome::Unit) });
    }

    /// `next` will be called to the end.
    #[napi]
    pub fn keep_output(&self) {
        self.pty.keep_output();
    }

    /// The next output.
    #[napi]
    pub fn next(&self, id: u32) {
        self.call(id, |pty| async move { pty.next().await.map(Outcome::Piece) });
    }

    /// Waits for its end: exit code and reason.
    #[napi]
    pub fn wait(&self, id: u32, timeout: Option<f64>) {
        self.call(id, move |pty| async move {
            let exit = pty.wait(timeout).await?;
            Ok(Outcome::made(move |slots, _| slots.pair(exit.exit_code, exit.error)))
        });
    }

    /// Closes the connection.
    #[napi]
    pub fn disconnect(&self) {
        self.pty.disconnect();
    }
}
