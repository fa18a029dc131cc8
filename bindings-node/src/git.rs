//! Git repositories.

use std::future::Future;

use daytona_core::wire::git::GitCommitResponse;
use daytona_core::{Git, Result};
use napi_derive::napi;
use serde::Serialize;

use crate::completion::Outcome;
use crate::daytona::{json, parse};
use crate::sandbox::NativeSandbox;

impl NativeSandbox {
    fn git<F>(&self, id: u32, work: impl FnOnce(Git) -> F + Send + 'static)
    where
        F: Future<Output = Result<()>> + Send,
    {
        let git = self.sandbox.git();
        self.calls.spawn(id, async move { work(git).await.map(|()| Outcome::Unit) });
    }

    fn git_json<T: Serialize, F>(&self, id: u32, work: impl FnOnce(Git) -> F + Send + 'static)
    where
        F: Future<Output = Result<T>> + Send,
    {
        let git = self.sandbox.git();
        self.calls.spawn(id, async move { json(&work(git).await?) });
    }
}

/// Requests are JSON.
#[napi]
impl NativeSandbox {
    /// Stages files. `files` is JSON.
    #[napi]
    pub fn git_add(&self, id: u32, path: String, files: String, timeout: Option<f64>) {
        self.git(id, move |git| async move { git.add(&path, parse(&files)?, timeout).await });
    }

    /// The branches.
    #[napi]
    pub fn git_branches(&self, id: u32, path: String, timeout: Option<f64>) {
        self.git_json(id, move |git| async move { git.branches(&path, timeout).await });
    }

    /// Clones.
    #[napi]
    pub fn git_clone(&self, id: u32, request: String, timeout: Option<f64>) {
        self.git(id, move |git| async move { git.clone_repository(parse(&request)?, timeout).await });
    }

    /// Commits.
    #[napi]
    pub fn git_commit(&self, id: u32, request: String, timeout: Option<f64>) {
        self.git_json(id, move |git| async move {
            let GitCommitResponse { hash } = git.commit(parse(&request)?, timeout).await?;
            Ok(hash)
        });
    }

    /// Pushes.
    #[napi]
    pub fn git_push(&self, id: u32, request: String, timeout: Option<f64>) {
        self.git(id, move |git| async move { git.push(parse(&request)?, timeout).await });
    }

    /// Pulls.
    #[napi]
    pub fn git_pull(&self, id: u32, request: String, timeout: Option<f64>) {
        self.git(id, move |git| async move { git.pull(parse(&request)?, timeout).await });
    }

    /// Makes a repository.
    #[napi]
    pub fn git_init(&self, id: u32, request: String, timeout: Option<f64>) {
        self.git(id, move |git| async move { git.init(parse(&request)?, timeout).await });
    }

    /// Resets.
    #[napi]
    pub fn git_reset(&self, id: u32, request: String, timeout: Option<f64>) {
        self.git(id, move |git| async move { git.reset(parse(&request)?, timeout).await });
    }

    /// Restores files.
    #[napi]
    pub fn git_restore(&self, id: u32, request: String, timeout: Option<f64>) {
        self.git(id, move |git| async move { git.restore(parse(&request)?, timeout).await });
    }

    /// Adds a remote.
    #[napi]
    pub fn git_remote_add(&self, id: u32, request: String, timeout: Option<f64>) {
        self.git(id, move |git| async move { git.remote_add(parse(&request)?, timeout).await });
    }

    /// Sets a setting.
    #[napi]
    pub fn git_set_config(&self, id: u32, request: String, timeout: Option<f64>) {
        self.git(id, move |git| async move { git.set_config(parse(&request)?, timeout).await });
    }

    /// Sets who commits.
    #[napi]
    pub fn git_configure_user(&self, id: u32, request: String, timeout: Option<f64>) {
        self.git(id, move |git| async move { git.configure_user(parse(&request)?, timeout).await });
    }

    /// Keeps credentials.
    #[napi]
    pub fn git_dangerously_authenticate(&self, id: u32, request: String, timeout: Option<f64>) {
        self.git(id, move |git| async move { git.dangerously_authenticate(parse(&request)?, timeout).await });
    }

    /// What has changed.
    #[napi]
    pub fn git_status(&self, id: u32, path: String, timeout: Option<f64>) {
        self.git_json(id, move |git| async move { git.status(&path, timeout).await });
    }

    /// Checks out.
    #[napi]
    pub fn git_checkout_branch(&self, id: u32, path: String, branch: String, timeout: Option<f64>) {
        self.git(id, move |git| async move { git.checkout_branch(&path, &branch, timeout).await });
    }

    /// Makes a branch.
    #[napi]
    pub fn git_create_branch(&self, id: u32, path: String, name: String, timeout: Option<f64>) {
        self.git(id, move |git| async move { git.create_branch(&path, &name, timeout).await });
    }

    /// Deletes a branch.
    #[napi]
    pub fn git_delete_branch(&self, id: u32, path: String, name: String, timeout: Option<f64>) {
        self.git(id, move |git| async move { git.delete_branch(&path, &name, timeout).await });
    }

    /// The remotes.
    #[napi]
    pub fn git_remotes(&self, id: u32, path: String, timeout: Option<f64>) {
        self.git_json(id, move |git| async move { git.remotes(&path, timeout).await });
    }

    /// The URL of one.
    #[napi]
    pub fn git_remote_get(&self, id: u32, path: String, name: String, timeout: Option<f64>) {
        self.git_json(id, move |git| async move { git.remote_get(&path, &name, timeout).await });
    }

    /// A setting.
    #[napi]
    pub fn git_get_config(
        &self,
        id: u32,
        key: String,
        scope: Option<String>,
        path: Option<String>,
        timeout: Option<f64>,
    ) {
        self.git_json(
            id,
            move |git| async move { git.get_config(&key, scope.as_deref(), path.as_deref(), timeout).await },
        );
    }
}
