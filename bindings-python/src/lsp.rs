//! Language servers of one sandbox.

use daytona_core::wire::lsp::{CompletionItem, CompletionList, LspPosition, LspSymbol};
use daytona_core::{Error, Result};
use pyo3::prelude::*;

use crate::call::Mode;
use crate::convert::{none, value};
use crate::error::raise;

/// The language server of one project.
#[pyclass(frozen, module = "daytona_native._native")]
pub(crate) struct LspServer {
    inner: daytona_core::LspServer,
    mode: Mode,
}

impl LspServer {
    pub(crate) fn new(py: Python<'_>, result: Result<daytona_core::LspServer>, mode: Mode) -> PyResult<Self> {
        result.map(|inner| Self { inner, mode }).map_err(|error| raise(py, &error))
    }
}

#[pymethods]
impl LspServer {
    #[pyo3(signature = (timeout=None))]
    fn start(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Py<PyAny>> {
        let server = self.inner.clone();
        self.mode.run(py, async move { server.start(timeout).await }, none)
    }

    #[pyo3(signature = (timeout=None))]
    fn stop(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Py<PyAny>> {
        let server = self.inner.clone();
        self.mode.run(py, async move { server.stop(timeout).await }, none)
    }

    #[pyo3(signature = (path, timeout=None))]
    fn did_open(&self, py: Python<'_>, path: String, timeout: Option<f64>) -> PyResult<Py<PyAny>> {
        let server = self.inner.clone();
        self.mode.run(py, async move { server.did_open(&path, timeout).await }, none)
    }

    #[pyo3(signature = (path, timeout=None))]
    fn did_close(&self, py: Python<'_>, path: String, timeout: Option<f64>) -> PyResult<Py<PyAny>> {
        let server = self.inner.clone();
        self.mode.run(py, async move { server.did_close(&path, timeout).await }, none)
    }

    #[pyo3(signature = (path, timeout=None))]
    fn document_symbols(&self, py: Python<'_>, path: String, timeout: Option<f64>) -> PyResult<Py<PyAny>> {
        let server = self.inner.clone();
        self.mode.run(py, async move { server.document_symbols(&path, timeout).await }, symbols)
    }

    #[pyo3(signature = (query, timeout=None))]
    fn sandbox_symbols(&self, py: Python<'_>, query: String, timeout: Option<f64>) -> PyResult<Py<PyAny>> {
        let server = self.inner.clone();
        self.mode.run(py, async move { server.sandbox_symbols(&query, timeout).await }, symbols)
    }

    #[pyo3(signature = (path, line, character, timeout=None))]
    fn completions(
        &self,
        py: Python<'_>,
        path: String,
        line: i64,
        character: i64,
        timeout: Option<f64>,
    ) -> PyResult<Py<PyAny>> {
        let server = self.inner.clone();
        let (Ok(line), Ok(character)) = (line.try_into(), character.try_into()) else {
            return Err(raise(py, &Error::invalid(format!("there is no line {line} with a character {character}"))));
        };
        let position = LspPosition { line, character };
        self.mode.run(py, async move { server.completions(&path, position, timeout).await }, completions)
    }
}

/// Name, kind, URI, and first and last place of each.
fn symbols(py: Python<'_>, found: Vec<LspSymbol>) -> PyResult<Py<PyAny>> {
    let place = |at: LspPosition| (at.line, at.character);
    let one = |symbol: LspSymbol| {
        let LspSymbol { name, kind, location } = symbol;
        (name, kind, location.uri, place(location.range.start), place(location.range.end))
    };
    value(py, found.into_iter().map(one).collect::<Vec<_>>())
}

/// In the order of the fields of the Python classes; documentation is JSON text.
fn completions(py: Python<'_>, list: CompletionList) -> PyResult<Py<PyAny>> {
    let one = |item: CompletionItem| {
        let CompletionItem { label, kind, detail, documentation, sort_text, filter_text, insert_text } = item;
        (detail, documentation.map(|json| json.to_string()), filter_text, insert_text, kind, label, sort_text)
    };
    value(py, (list.is_incomplete, list.items.into_iter().map(one).collect::<Vec<_>>()))
}
