//! Language servers.

use std::future::Future;

use daytona_core::wire::lsp::LspPosition;
use daytona_core::{Error, LspServer, Result};
use napi_derive::napi;

use crate::completion::{Calls, Outcome};
use crate::daytona::json;
use crate::sandbox::NativeSandbox;

/// The language server of one project.
#[napi]
pub struct NativeLspServer {
    calls: Calls,
    /// Or why there is none, which is told when it is used: nothing is done before.
    server: Result<LspServer>,
}

#[napi]
impl NativeSandbox {
    /// The language server of a project.
    #[napi]
    pub fn lsp_server(&self, language: String, path: String) -> NativeLspServer {
        NativeLspServer { calls: self.calls.clone(), server: self.sandbox.create_lsp_server(language, path) }
    }
}

impl NativeLspServer {
    fn run<F>(&self, id: u32, work: impl FnOnce(LspServer) -> F + Send + 'static)
    where
        F: Future<Output = Result<Outcome>> + Send,
    {
        let server = self.server.clone();
        self.calls.spawn(id, async move { work(server?).await });
    }
}

#[napi]
impl NativeLspServer {
    /// Fails if there can be no such server.
    #[napi]
    pub fn check(&self, id: u32) {
        self.run(id, |_| async { Ok(Outcome::Unit) });
    }

    /// Starts it.
    #[napi]
    pub fn start(&self, id: u32, timeout: Option<f64>) {
        self.run(id, move |server| async move { server.start(timeout).await.map(|()| Outcome::Unit) });
    }

    /// Stops it.
    #[napi]
    pub fn stop(&self, id: u32, timeout: Option<f64>) {
        self.run(id, move |server| async move { server.stop(timeout).await.map(|()| Outcome::Unit) });
    }

    /// Opens a file.
    #[napi]
    pub fn did_open(&self, id: u32, path: String, timeout: Option<f64>) {
        self.run(id, move |server| async move { server.did_open(&path, timeout).await.map(|()| Outcome::Unit) });
    }

    /// Closes a file.
    #[napi]
    pub fn did_close(&self, id: u32, path: String, timeout: Option<f64>) {
        self.run(id, move |server| async move { server.did_close(&path, timeout).await.map(|()| Outcome::Unit) });
    }

    /// What a file defines.
    #[napi]
    pub fn document_symbols(&self, id: u32, path: String, timeout: Option<f64>) {
        self.run(id, move |server| async move { json(&server.document_symbols(&path, timeout).await?) });
    }

    /// What the project defines.
    #[napi]
    pub fn sandbox_symbols(&self, id: u32, query: String, timeout: Option<f64>) {
        self.run(id, move |server| async move { json(&server.sandbox_symbols(&query, timeout).await?) });
    }

    /// What may come.
    #[napi]
    pub fn completions(&self, id: u32, path: String, line: i64, character: i64, timeout: Option<f64>) {
        self.run(id, move |server| async move {
            let (Ok(line), Ok(character)) = (line.try_into(), character.try_into()) else {
                return Err(Error::invalid(format!("there is no line {line} with a character {character}")));
            };
            json(&server.completions(&path, LspPosition { line, character }, timeout).await?)
        });
    }
}
