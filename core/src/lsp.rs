//! Language servers in a sandbox.

use std::sync::Arc;
use std::time::Duration;

use daytona_wire::lsp::{
    CompletionList, LspCompletionParams, LspDocumentRequest, LspPosition, LspServerRequest, LspSymbol,
};
use http::Method;

use crate::error::{Error, ErrorKind, Result};
use crate::files::check_path;
use crate::operation::Operation;
use crate::sandbox::Sandbox;
use crate::transport::{Call, Limit, seconds};

/// A server that reads a project for the first time takes its time; so long it is waited for, unless the client or
/// the call says otherwise.
const START_LIMIT: Duration = Duration::from_secs(180);

/// The language server of one project. Clones are the same server.
///
/// Every method takes `timeout`, the seconds to wait for the answer: 0 is no limit, `None` the client's.
#[derive(Clone)]
pub struct LspServer {
    sandbox: Sandbox,
    id: Arc<LspServerRequest>,
}

impl Sandbox {
    /// The language server of a project; nothing runs before [`LspServer::start`]. `language` is `python`,
    /// `typescript` or `javascript`; a relative path starts from the work directory.
    ///
    /// # Errors
    /// `InvalidArgument` for another language; `InvalidFilePath` for an empty path.
    pub fn create_lsp_server(&self, language: String, path_to_project: String) -> Result<LspServer> {
        let checked = if matches!(&*language, "python" | "typescript" | "javascript") {
            check_path(&path_to_project)
        } else {
            Err(Error::invalid(format!(
                "there is no language server for {language:?}: use python, typescript or javascript"
            )))
        };
        checked.map_err(|error| error.with_operation(Operation::CREATE_LSP_SERVER))?;
        let id = LspServerRequest { language_id: language, path_to_project };
        Ok(LspServer { sandbox: self.clone(), id: Arc::new(id) })
    }
}

impl LspServer {
    /// The language it is for.
    pub fn language_id(&self) -> &str {
        &self.id.language_id
    }

    /// The folder it is for.
    pub fn path_to_project(&self) -> &str {
        &self.id.path_to_project
    }

    /// Starts it and waits until it is ready; fine if it runs.
    ///
    /// # Errors
    /// `ServiceUnavailable` if the language server is not installed in the sandbox, with how to install it;
    /// `FileNotFound` if there is no such folder; `Timeout`.
    pub async fn start(&self, timeout: Option<f64>) -> Result<()> {
        let operation = Operation::LSP_START;
        let work = async {
            let stated = seconds("request_timeout", timeout)?;
            let limit = stated.or(self.sandbox.inner.client.request_timeout()).or(Some(START_LIMIT));
            let call = self.call(operation, Method::POST, "start", &[], limit).await?;
            self.sandbox.done(call.json(&*self.id)?).await
        };
        self.sandbox.observe(operation, work).await
    }

    /// Stops it and all that it has started; fine if it does not run.
    ///
    /// # Errors
    /// The server's refusal.
    pub async fn stop(&self, timeout: Option<f64>) -> Result<()> {
        let operation = Operation::LSP_STOP;
        let work = async {
            let limit = seconds("request_timeout", timeout)?;
            let call = self.call(operation, Method::POST, "stop", &[], limit).await?;
            self.sandbox.done(call.json(&*self.id)?).await
        };
        self.sandbox.observe(operation, work).await
    }

    /// Tells it that a file is being worked on; it is read in the sandbox, again if it was opened before. A relative
    /// path starts from the project.
    ///
    /// # Errors
    /// `LspServerNotInitialized` if it does not run; `FileNotFound`.
    pub async fn did_open(&self, path: &str, timeout: Option<f64>) -> Result<()> {
        self.document(Operation::LSP_DID_OPEN, "did-open", path, timeout).await
    }

    /// Tells it that a file is not being worked on any more.
    ///
    /// # Errors
    /// `LspServerNotInitialized` if it does not run.
    pub async fn did_close(&self, path: &str, timeout: Option<f64>) -> Result<()> {
        self.document(Operation::LSP_DID_CLOSE, "did-close", path, timeout).await
    }

    /// What a file defines.
    ///
    /// # Errors
    /// `LspServerNotInitialized` if it does not run, or has ended meanwhile; `FileNotFound`.
    pub async fn document_symbols(&self, path: &str, timeout: Option<f64>) -> Result<Vec<LspSymbol>> {
        let operation = Operation::LSP_DOCUMENT_SYMBOLS;
        let work = async {
            let uri = uri(path)?;
            self.symbols(operation, "document-symbols", ("uri", &uri), timeout).await
        };
        self.sandbox.observe(operation, work).await
    }

    /// What the whole project defines, by a part of the name.
    ///
    /// # Errors
    /// `LspServerNotInitialized` if it does not run, or has ended meanwhile; `Unsupported` if the language server
    /// cannot do this.
    pub async fn sandbox_symbols(&self, query: &str, timeout: Option<f64>) -> Result<Vec<LspSymbol>> {
        let operation = Operation::LSP_SANDBOX_SYMBOLS;
        let work = self.symbols(operation, "workspacesymbols", ("query", query), timeout);
        self.sandbox.observe(operation, work).await
    }

    /// What may come at a place in a file.
    ///
    /// # Errors
    /// `LspServerNotInitialized` if it does not run, or has ended meanwhile; `FileNotFound`.
    pub async fn completions(&self, path: &str, position: LspPosition, timeout: Option<f64>) -> Result<CompletionList> {
        let operation = Operation::LSP_COMPLETIONS;
        let work = async {
            let LspServerRequest { language_id, path_to_project } = LspServerRequest::clone(&self.id);
            let uri = uri(path)?;
            let body = LspCompletionParams { language_id, path_to_project, uri, position, context: None };
            let limit = seconds("request_timeout", timeout)?;
            let call = self.call(operation, Method::POST, "completions", &[], limit).await?;
            self.sandbox.answer(call.json(&body)?).await
        };
        self.sandbox.observe(operation, work).await
    }

    async fn document(&self, operation: Operation, route: &str, path: &str, timeout: Option<f64>) -> Result<()> {
        let work = async {
            let LspServerRequest { language_id, path_to_project } = LspServerRequest::clone(&self.id);
            let body = LspDocumentRequest { language_id, path_to_project, uri: uri(path)? };
            let limit = seconds("request_timeout", timeout)?;
            let call = self.call(operation, Method::POST, route, &[], limit).await?;
            self.sandbox.done(call.json(&body)?).await
        };
        self.sandbox.observe(operation, work).await
    }

    async fn symbols(
        &self,
        operation: Operation,
        route: &str,
        of: (&str, &str),
        timeout: Option<f64>,
    ) -> Result<Vec<LspSymbol>> {
        let limit = seconds("request_timeout", timeout)?;
        let query = [of, ("languageId", self.language_id()), ("pathToProject", self.path_to_project())];
        let call = self.call(operation, Method::GET, route, &query, limit).await?;
        let found: Option<Vec<LspSymbol>> = self.sandbox.answer(call).await?;
        Ok(found.unwrap_or_default())
    }

    async fn call(
        &self,
        operation: Operation,
        method: Method,
        route: &str,
        query: &[(&str, &str)],
        limit: Limit,
    ) -> Result<Call<'static>> {
        let (_, mut url) = self.sandbox.toolbox(&["lsp", route]).await?;
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        Ok(Call::new(operation, method, url).limit(limit))
    }
}

/// As every client writes it: the path as it is, without escapes.
fn uri(path: &str) -> Result<String> {
    check_path(path)?;
    if path.contains(['\n', '\r']) {
        return Err(Error::new(ErrorKind::InvalidFilePath, format!("the path {path:?} holds a line break")));
    }
    Ok(format!("file://{path}"))
}
