//! Git repositories of one sandbox.

use daytona_core::wire::git::{
    GitAddRemoteRequest, GitAuthenticateRequest, GitCloneRequest, GitCommitRequest, GitConfigureUserRequest,
    GitInitRequest, GitPullRequest, GitPushRequest, GitResetRequest, GitRestoreRequest, GitSetConfigRequest, GitStatus,
    Password,
};
use pyo3::prelude::*;

use crate::call::Mode;
use crate::convert::{none, value};

/// The git repositories of one sandbox.
#[pyclass(frozen, module = "daytona_native._native")]
pub(crate) struct Git {
    inner: daytona_core::Git,
    mode: Mode,
}

impl Git {
    pub(crate) fn new(inner: daytona_core::Git, mode: Mode) -> Self {
        Self { inner, mode }
    }
}

#[pymethods]
impl Git {
    #[pyo3(signature = (path, files, timeout=None))]
    fn add(&self, py: Python<'_>, path: String, files: Vec<String>, timeout: Option<f64>) -> PyResult<Py<PyAny>> {
        let git = self.inner.clone();
        self.mode.run(py, async move { git.add(&path, files, timeout).await }, none)
    }

    #[pyo3(signature = (path, timeout=None))]
    fn branches(&self, py: Python<'_>, path: String, timeout: Option<f64>) -> PyResult<Py<PyAny>> {
        let git = self.inner.clone();
        self.mode.run(py, async move { git.branches(&path, timeout).await }, |py, found| {
            value(py, (found.branches, found.current))
        })
    }

    #[expect(clippy::too_many_arguments, reason = "the official parameters")]
    #[pyo3(signature = (url, path, branch=None, commit_id=None, username=None, password=None, insecure_skip_tls=None, depth=None, timeout=None))]
    fn clone(
        &self,
        py: Python<'_>,
        url: String,
        path: String,
        branch: Option<String>,
        commit_id: Option<String>,
        username: Option<String>,
        password: Option<String>,
        insecure_skip_tls: Option<bool>,
        depth: Option<i64>,
        timeout: Option<f64>,
    ) -> PyResult<Py<PyAny>> {
        let git = self.inner.clone();
        let request = GitCloneRequest {
            url,
            path,
            branch,
            commit_id,
            username,
            password: password.map(Password),
            insecure_skip_tls,
            depth,
        };
        self.mode.run(py, async move { git.clone_repository(request, timeout).await }, none)
    }

    #[expect(clippy::too_many_arguments, reason = "the official parameters")]
    #[pyo3(signature = (path, message, author, email, allow_empty=None, timeout=None))]
    fn commit(
        &self,
        py: Python<'_>,
        path: String,
        message: String,
        author: String,
        email: String,
        allow_empty: Option<bool>,
        timeout: Option<f64>,
    ) -> PyResult<Py<PyAny>> {
        let git = self.inner.clone();
        let request = GitCommitRequest { path, message, author, email, allow_empty };
        self.mode.run(py, async move { git.commit(request, timeout).await }, |py, done| value(py, done.hash))
    }

    #[expect(clippy::too_many_arguments, reason = "the official parameters")]
    #[pyo3(signature = (path, username=None, password=None, branch=None, remote=None, set_upstream=None, timeout=None))]
    fn push(
        &self,
        py: Python<'_>,
        path: String,
        username: Option<String>,
        password: Option<String>,
        branch: Option<String>,
        remote: Option<String>,
        set_upstream: Option<bool>,
        timeout: Option<f64>,
    ) -> PyResult<Py<PyAny>> {
        let git = self.inner.clone();
        let request = GitPushRequest { path, username, password: password.map(Password), branch, remote, set_upstream };
        self.mode.run(py, async move { git.push(request, timeout).await }, none)
    }

    #[expect(clippy::too_many_arguments, reason = "the official parameters")]
    #[pyo3(signature = (path, username=None, password=None, branch=None, remote=None, timeout=None))]
    fn pull(
        &self,
        py: Python<'_>,
        path: String,
        username: Option<String>,
        password: Option<String>,
        branch: Option<String>,
        remote: Option<String>,
        timeout: Option<f64>,
    ) -> PyResult<Py<PyAny>> {
        let git = self.inner.clone();
        let request = GitPullRequest { path, username, password: password.map(Password), branch, remote };
        self.mode.run(py, async move { git.pull(request, timeout).await }, none)
    }

    #[pyo3(signature = (path, timeout=None))]
    fn status(&self, py: Python<'_>, path: String, timeout: Option<f64>) -> PyResult<Py<PyAny>> {
        let git = self.inner.clone();
        self.mode.run(py, async move { git.status(&path, timeout).await }, status)
    }

    #[pyo3(signature = (path, branch, timeout=None))]
    fn checkout_branch(
        &self,
        py: Python<'_>,
        path: String,
        branch: String,
        timeout: Option<f64>,
    ) -> PyResult<Py<PyAny>> {
        let git = self.inner.clone();
        self.mode.run(py, async move { git.checkout_branch(&path, &branch, timeout).await }, none)
    }

    #[pyo3(signature = (path, name, timeout=None))]
    fn create_branch(&self, py: Python<'_>, path: String, name: String, timeout: Option<f64>) -> PyResult<Py<PyAny>> {
        let git = self.inner.clone();
        self.mode.run(py, async move { git.create_branch(&path, &name, timeout).await }, none)
    }

    #[pyo3(signature = (path, name, timeout=None))]
    fn delete_branch(&self, py: Python<'_>, path: String, name: String, timeout: Option<f64>) -> PyResult<Py<PyAny>> {
        let git = self.inner.clone();
        self.mode.run(py, async move { git.delete_branch(&path, &name, timeout).await }, none)
    }

    #[pyo3(signature = (path, bare=None, initial_branch=None, timeout=None))]
    fn init(
        &self,
        py: Python<'_>,
        path: String,
        bare: Option<bool>,
        initial_branch: Option<String>,
        timeout: Option<f64>,
    ) -> PyResult<Py<PyAny>> {
        let git = self.inner.clone();
        let request = GitInitRequest { path, bare, initial_branch };
        self.mode.run(py, async move { git.init(request, timeout).await }, none)
    }

    #[pyo3(signature = (path, mode=None, target=None, files=None, timeout=None))]
    fn reset(
        &self,
        py: Python<'_>,
        path: String,
        mode: Option<String>,
        target: Option<String>,
        files: Option<Vec<String>>,
        timeout: Option<f64>,
    ) -> PyResult<Py<PyAny>> {
        let git = self.inner.clone();
        let request = GitResetRequest { path, mode, target, files };
        self.mode.run(py, async move { git.reset(request, timeout).await }, none)
    }

    #[expect(clippy::too_many_arguments, reason = "the official parameters")]
    #[pyo3(signature = (path, files, staged=None, worktree=None, source=None, timeout=None))]
    fn restore(
        &self,
        py: Python<'_>,
        path: String,
        files: Vec<String>,
        staged: Option<bool>,
        worktree: Option<bool>,
        source: Option<String>,
        timeout: Option<f64>,
    ) -> PyResult<Py<PyAny>> {
        let git = self.inner.clone();
        let request = GitRestoreRequest { path, files, staged, worktree, source };
        self.mode.run(py, async move { git.restore(request, timeout).await }, none)
    }

    #[expect(clippy::too_many_arguments, reason = "the official parameters")]
    #[pyo3(signature = (path, name, url, fetch=None, overwrite=None, timeout=None))]
    fn remote_add(
        &self,
        py: Python<'_>,
        path: String,
        name: String,
        url: String,
        fetch: Option<bool>,
        overwrite: Option<bool>,
        timeout: Option<f64>,
    ) -> PyResult<Py<PyAny>> {
        let git = self.inner.clone();
        let request = GitAddRemoteRequest { path, name, url, fetch, overwrite };
        self.mode.run(py, async move { git.remote_add(request, timeout).await }, none)
    }

    #[pyo3(signature = (path, timeout=None))]
    fn remotes(&self, py: Python<'_>, path: String, timeout: Option<f64>) -> PyResult<Py<PyAny>> {
        let git = self.inner.clone();
        self.mode.run(py, async move { git.remotes(&path, timeout).await }, |py, found| {
            value(py, found.remotes.into_iter().map(|remote| (remote.name, remote.url)).collect::<Vec<_>>())
        })
    }

    #[pyo3(signature = (path, name, timeout=None))]
    fn remote_get(&self, py: Python<'_>, path: String, name: String, timeout: Option<f64>) -> PyResult<Py<PyAny>> {
        let git = self.inner.clone();
        self.mode.run(py, async move { git.remote_get(&path, &name, timeout).await }, value)
    }

    #[pyo3(signature = (key, value, scope=None, path=None, timeout=None))]
    fn set_config(
        &self,
        py: Python<'_>,
        key: String,
        value: String,
        scope: Option<String>,
        path: Option<String>,
        timeout: Option<f64>,
    ) -> PyResult<Py<PyAny>> {
        let git = self.inner.clone();
        let request = GitSetConfigRequest { key, value, scope, path };
        self.mode.run(py, async move { git.set_config(request, timeout).await }, none)
    }

    #[pyo3(signature = (key, scope=None, path=None, timeout=None))]
    fn get_config(
        &self,
        py: Python<'_>,
        key: String,
        scope: Option<String>,
        path: Option<String>,
        timeout: Option<f64>,
    ) -> PyResult<Py<PyAny>> {
        let git = self.inner.clone();
        self.mode.run(py, async move { git.get_config(&key, scope.as_deref(), path.as_deref(), timeout).await }, value)
    }

    #[pyo3(signature = (name, email, scope=None, path=None, timeout=None))]
    fn configure_user(
        &self,
        py: Python<'_>,
        name: String,
        email: String,
        scope: Option<String>,
        path: Option<String>,
        timeout: Option<f64>,
    ) -> PyResult<Py<PyAny>> {
        let git = self.inner.clone();
        let request = GitConfigureUserRequest { name, email, scope, path };
        self.mode.run(py, async move { git.configure_user(request, timeout).await }, none)
    }

    #[pyo3(signature = (username, password, host=None, protocol=None, timeout=None))]
    fn dangerously_authenticate(
        &self,
        py: Python<'_>,
        username: String,
        password: String,
        host: Option<String>,
        protocol: Option<String>,
        timeout: Option<f64>,
    ) -> PyResult<Py<PyAny>> {
        let git = self.inner.clone();
        let request = GitAuthenticateRequest { username, password: Password(password), host, protocol };
        self.mode.run(py, async move { git.dangerously_authenticate(request, timeout).await }, none)
    }
}

/// In the order of the fields of the Python class.
fn status(py: Python<'_>, status: GitStatus) -> PyResult<Py<PyAny>> {
    let GitStatus { current_branch, file_status, ahead, behind, branch_published, detached, upstream } = status;
    let files: Vec<_> = file_status
        .into_iter()
        .map(|file| (file.extra, file.name, file.staging.as_str(), file.worktree.as_str()))
        .collect();
    value(py, (ahead, behind, branch_published, current_branch, detached, files, upstream))
}
