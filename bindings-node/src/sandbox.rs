//! One sandbox.

use std::future::Future;

use daytona_core::{FileSystem, Process, Result, Sandbox};
use napi_derive::napi;
use serde::Serialize;

use crate::completion::{Calls, Outcome};
use crate::daytona::parse;

/// The sandbox's data as JSON.
pub(crate) fn json(sandbox: &Sandbox) -> String {
    serde_json::to_string(sandbox.data().as_ref()).expect("names are strings")
}

/// A sandbox.
#[napi]
pub struct NativeSandbox {
    pub(crate) calls: Calls,
    pub(crate) sandbox: Sandbox,
    pub(crate) process: Process,
    pub(crate) fs: FileSystem,
}

impl NativeSandbox {
    pub(crate) fn new(calls: Calls, sandbox: Sandbox) -> Self {
        Self { calls, process: sandbox.process(), fs: sandbox.fs(), sandbox }
    }

    /// Starts a call that may change the sandbox; its data comes back whatever becomes of it.
    pub(crate) fn change<F>(&self, id: u32, work: impl FnOnce(Sandbox) -> F + Send + 'static)
    where
        F: Future<Output = Result<()>> + Send,
    {
        let sandbox = self.sandbox.clone();
        self.calls.spawn(id, async move {
            let done = work(sandbox.clone()).await;
            let data = json(&sandbox);
            Ok(match done {
                Ok(()) => Outcome::Json(data),
                Err(error) => Outcome::Failed(error, Some(data)),
            })
        });
    }

    /// Starts a call whose result goes as JSON.
    fn answer<T: Serialize, F>(&self, id: u32, work: impl FnOnce(Sandbox) -> F + Send + 'static)
    where
        F: Future<Output = Result<T>> + Send,
    {
        let sandbox = self.sandbox.clone();
        self.calls.spawn(id, async move {
            let answer = work(sandbox).await?;
            Ok(Outcome::Json(serde_json::to_string(&answer).expect("names are strings")))
        });
    }

    /// Starts a call that gives a text.
    fn text<F>(&self, id: u32, work: impl FnOnce(Sandbox) -> F + Send + 'static)
    where
        F: Future<Output = Result<String>> + Send,
    {
        let sandbox = self.sandbox.clone();
        self.calls.spawn(id, async move { Ok(Outcome::Text(work(sandbox).await?)) });
    }
}

#[napi]
impl NativeSandbox {
    /// Asks for its data.
    #[napi]
    pub fn refresh_data(&self, id: u32, timeout: Option<f64>) {
        self.change(id, move |sandbox| async move { sandbox.refresh_data(timeout).await });
    }

    /// Starts it.
    #[napi]
    pub fn start(&self, id: u32, timeout: Option<f64>) {
        self.change(id, move |sandbox| async move { sandbox.start(timeout).await });
    }

    /// Stops it.
    #[napi]
    pub fn stop(&self, id: u32, timeout: Option<f64>, force: bool) {
        self.change(id, move |sandbox| async move { sandbox.stop(timeout, force).await });
    }

    /// Deletes it.
    #[napi]
    pub fn delete(&self, id: u32, timeout: Option<f64>, wait: bool) {
        self.change(id, move |sandbox| async move { sandbox.delete(timeout, wait).await });
    }

    /// Waits until it has started.
    #[napi]
    pub fn wait_until_started(&self, id: u32, timeout: Option<f64>) {
        self.change(id, move |sandbox| async move { sandbox.wait_until_started(timeout).await });
    }

    /// Waits until it has stopped.
    #[napi]
    pub fn wait_until_stopped(&self, id: u32, timeout: Option<f64>) {
        self.change(id, move |sandbox| async move { sandbox.wait_until_stopped(timeout).await });
    }

    /// Replaces all labels.
    #[napi]
    pub fn set_labels(&self, id: u32, labels: String, timeout: Option<f64>) {
        self.change(id, move |sandbox| async move { sandbox.set_labels(parse(&labels)?, timeout).await.map(drop) });
    }

    /// Changes what it may reach.
    #[napi]
    pub fn update_network_settings(&self, id: u32, settings: String, timeout: Option<f64>) {
        self.change(
            id,
            move |sandbox| async move { sandbox.update_network_settings(&parse(&settings)?, timeout).await },
        );
    }

    /// Sets the auto-stop interval.
    #[napi]
    pub fn set_autostop_interval(&self, id: u32, minutes: i64, timeout: Option<f64>) {
        self.change(id, move |sandbox| async move { sandbox.set_autostop_interval(minutes, timeout).await });
    }

    /// Sets the auto-pause interval.
    #[napi]
    pub fn set_auto_pause_interval(&self, id: u32, minutes: i64, timeout: Option<f64>) {
        self.change(id, move |sandbox| async move { sandbox.set_auto_pause_interval(minutes, timeout).await });
    }

    /// Sets the auto-archive interval.
    #[napi]
    pub fn set_auto_archive_interval(&self, id: u32, minutes: i64, timeout: Option<f64>) {
        self.change(id, move |sandbox| async move { sandbox.set_auto_archive_interval(minutes, timeout).await });
    }

    /// Sets the auto-delete interval.
    #[napi]
    pub fn set_auto_delete_interval(&self, id: u32, minutes: i64, timeout: Option<f64>) {
        self.change(id, move |sandbox| async move { sandbox.set_auto_delete_interval(minutes, timeout).await });
    }

    /// Sets the time to live.
    #[napi]
    pub fn set_ttl(&self, id: u32, minutes: i64, timeout: Option<f64>) {
        self.change(id, move |sandbox| async move { sandbox.set_ttl(minutes, timeout).await });
    }

    /// Sets whether previews need a token.
    #[napi]
    pub fn set_public(&self, id: u32, public: bool, timeout: Option<f64>) {
        self.change(id, move |sandbox| async move { sandbox.set_public(public, timeout).await });
    }

    /// Says that it is in use.
    #[napi]
    pub fn refresh_activity(&self, id: u32, timeout: Option<f64>) {
        self.change(id, move |sandbox| async move { sandbox.refresh_activity(timeout).await });
    }

    /// The home directory of its user.
    #[napi]
    pub fn user_home_dir(&self, id: u32) {
        self.text(id, |sandbox| async move { sandbox.user_home_dir().await });
    }

    /// The directory that relative paths start from.
    #[napi]
    pub fn work_dir(&self, id: u32) {
        self.text(id, |sandbox| async move { sandbox.work_dir().await });
    }

    /// A URL to get a file from.
    #[napi]
    pub fn download_url(&self, id: u32, path: String, ttl: Option<i64>) {
        self.text(id, move |sandbox| async move { sandbox.download_url(&path, ttl).await });
    }

    /// Changes the environment of what starts; `set` and `unset` are JSON.
    #[napi]
    pub fn update_env(&self, id: u32, set: String, unset: String, timeout: Option<f64>) {
        let sandbox = self.sandbox.clone();
        self.calls.spawn(id, async move {
            sandbox.update_env(parse(&set)?, parse(&unset)?, timeout).await.map(|()| Outcome::Unit)
        });
    }

    /// Replaces the secrets; JSON.
    #[napi]
    pub fn update_secrets(&self, id: u32, secrets: String, timeout: Option<f64>) {
        self.change(id, move |sandbox| async move { sandbox.update_secrets(parse(&secrets)?, timeout).await });
    }

    /// What it uses.
    #[napi]
    pub fn metrics_latest(&self, id: u32, timeout: Option<f64>) {
        let sandbox = self.sandbox.clone();
        self.calls.spawn(id, async move { crate::daytona::json(&sandbox.metrics_latest(timeout).await?) });
    }

    /// What it used.
    #[napi]
    pub fn metrics(&self, id: u32, start: Option<String>, end: Option<String>, timeout: Option<f64>) {
        let sandbox = self.sandbox.clone();
        self.calls.spawn(id, async move {
            crate::daytona::json(&sandbox.metrics(start.as_deref(), end.as_deref(), timeout).await?)
        });
    }

    /// A URL to post a file to.
    #[napi]
    pub fn upload_url(&self, id: u32, path: String, ttl: Option<i64>) {
        self.text(id, move |sandbox| async move { sandbox.upload_url(&path, ttl).await });
    }

    /// Makes a new signing key.
    #[napi]
    pub fn rotate_signing_key(&self, id: u32) {
        let sandbox = self.sandbox.clone();
        self.calls.spawn(id, async move { sandbox.rotate_signing_key().await.map(|()| Outcome::Unit) });
    }

    /// Where a port can be reached.
    #[napi]
    pub fn get_preview_link(&self, id: u32, port: i64, timeout: Option<f64>) {
        self.answer(id, move |sandbox| async move { sandbox.get_preview_link(port, timeout).await });
    }

    /// A URL that leads whoever has it to a port.
    #[napi]
    pub fn create_signed_preview_url(&self, id: u32, port: i64, seconds: Option<i64>, timeout: Option<f64>) {
        let work =
            move |sandbox: Sandbox| async move { sandbox.create_signed_preview_url(port, seconds, timeout).await };
        self.answer(id, work);
    }

    /// Ends such a URL.
    #[napi]
    pub fn expire_signed_preview_url(&self, id: u32, port: i64, token: String, timeout: Option<f64>) {
        let work =
            move |sandbox: Sandbox| async move { sandbox.expire_signed_preview_url(port, &token, timeout).await };
        self.answer(id, work);
    }

    /// Lets somebody in over SSH.
    #[napi]
    pub fn create_ssh_access(&self, id: u32, minutes: Option<i64>, timeout: Option<f64>) {
        self.answer(id, move |sandbox| async move { sandbox.create_ssh_access(minutes, timeout).await });
    }

    /// Lets nobody in with it any more.
    #[napi]
    pub fn revoke_ssh_access(&self, id: u32, token: String, timeout: Option<f64>) {
        self.answer(id, move |sandbox| async move { sandbox.revoke_ssh_access(&token, timeout).await });
    }

    /// Whether a token lets in.
    #[napi]
    pub fn validate_ssh_access(&self, id: u32, token: String, timeout: Option<f64>) {
        self.answer(id, move |sandbox| async move { sandbox.validate_ssh_access(&token, timeout).await });
    }
}
