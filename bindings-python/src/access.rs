//! What preview and SSH calls return, in the order of the fields of the Python classes.

use daytona_core::wire::preview::{PortPreviewUrl, SignedPortPreviewUrl};
use daytona_core::wire::ssh::{SshAccess, SshAccessValidation};
use pyo3::prelude::*;

use crate::convert::value;

pub(crate) fn preview(py: Python<'_>, link: PortPreviewUrl) -> PyResult<Py<PyAny>> {
    value(py, (link.sandbox_id, link.url, link.token))
}

pub(crate) fn signed_preview(py: Python<'_>, link: SignedPortPreviewUrl) -> PyResult<Py<PyAny>> {
    value(py, (link.sandbox_id, link.port, link.token, link.url))
}

pub(crate) fn ssh(py: Python<'_>, access: SshAccess) -> PyResult<Py<PyAny>> {
    let SshAccess { id, sandbox_id, token, expires_at, created_at, updated_at, ssh_command } = access;
    value(py, (id, sandbox_id, token, expires_at, created_at, updated_at, ssh_command))
}

pub(crate) fn validation(py: Python<'_>, answer: SshAccessValidation) -> PyResult<Py<PyAny>> {
    value(py, (answer.valid, answer.sandbox_id))
}
