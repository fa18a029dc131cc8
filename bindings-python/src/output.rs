//! Output that comes while a call is not under way.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use daytona_core::{Error, OutputStream, Result};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};

use crate::call::Mode;
use crate::convert::value;

/// Some output, as it came. Its parts are made when they are asked for.
#[pyclass(frozen, module = "daytona_native")]
pub(crate) struct OutputChunk(pub(crate) daytona_core::OutputChunk);

#[pymethods]
impl OutputChunk {
    /// `"stdout"` or `"stderr"`.
    #[getter]
    fn stream<'py>(&self, py: Python<'py>) -> &Bound<'py, PyString> {
        match self.0.stream {
            OutputStream::Stdout => intern!(py, "stdout"),
            OutputStream::Stderr => intern!(py, "stderr"),
        }
    }

    /// Its text: a character that is split over two chunks is whole in the later one, what is not
    /// UTF-8 is U+FFFD.
    #[getter]
    fn text(&self) -> &str {
        &self.0.text
    }

    /// Its bytes.
    #[getter]
    fn data<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.0.bytes)
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let text = PyString::new(py, &self.0.text).repr()?;
        Ok(format!("OutputChunk(stream='{}', text={text})", self.stream(py)))
    }
}

/// What was there for a caller who had gone by then, for the next one.
pub(crate) struct Left<T>(Arc<Mutex<VecDeque<Result<Option<T>>>>>);

impl<T> Default for Left<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T> Clone for Left<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: Send + 'static> Left<T> {
    /// Waits for the next of what a handle gives; nothing is lost when the wait is cancelled.
    pub(crate) fn next(
        &self,
        py: Python<'_>,
        mode: Mode,
        next: impl Future<Output = Result<Option<T>>> + Send + 'static,
        convert: impl FnOnce(Python<'_>, T) -> PyResult<Py<PyAny>> + Send + 'static,
    ) -> PyResult<Py<PyAny>> {
        let left = self.clone();
        let work = async move {
            let known = left.take();
            let result = match known {
                Some(result) => result,
                None => next.await,
            };
            Ok::<_, Error>(Taken { result: Some(result), left })
        };
        mode.run(py, work, |py, mut taken| match taken.result.take() {
            Some(Ok(Some(one))) => convert(py, one),
            Some(Err(error)) => Err(crate::error::raise(py, &error)),
            Some(Ok(None)) | None => Ok(py.None()),
        })
    }

    fn take(&self) -> Option<Result<Option<T>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    /// Forgets it.
    pub(crate) fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// On its way to the caller.
struct Taken<T> {
    result: Option<Result<Option<T>>>,
    left: Left<T>,
}

impl<T> Drop for Taken<T> {
    fn drop(&mut self) {
        if let Some(result) = self.result.take() {
            self.left.0.lock().unwrap_or_else(PoisonError::into_inner).push_front(result);
        }
    }
}

pub(crate) fn chunks(py: Python<'_>, chunks: Vec<daytona_core::OutputChunk>) -> PyResult<Py<PyAny>> {
    value(py, chunks.into_iter().map(OutputChunk).collect::<Vec<_>>())
}
