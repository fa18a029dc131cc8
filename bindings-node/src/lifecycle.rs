//! What a sandbox can become besides started and stopped.

use daytona_core::Resources;
use napi_derive::napi;

use crate::completion::Outcome;
use crate::daytona::parse;
use crate::sandbox::{NativeSandbox, json};

#[napi]
impl NativeSandbox {
    /// Freezes it.
    #[napi]
    pub fn pause(&self, id: u32, timeout: Option<f64>) {
        self.change(id, move |sandbox| async move { sandbox.pause(timeout).await });
    }

    /// Packs it away.
    #[napi]
    pub fn archive(&self, id: u32, timeout: Option<f64>) {
        self.change(id, move |sandbox| async move { sandbox.archive(timeout).await });
    }

    /// Brings it back from an error.
    #[napi]
    pub fn recover(&self, id: u32, timeout: Option<f64>, accept_loss: bool) {
        self.change(id, move |sandbox| async move { sandbox.recover(timeout, accept_loss).await });
    }

    /// Changes what it may use. `resources` is JSON.
    #[napi]
    pub fn resize(&self, id: u32, resources: String, timeout: Option<f64>) {
        self.change(id, move |sandbox| async move {
            let resources: Resources = parse(&resources)?;
            sandbox.resize(&resources, timeout).await
        });
    }

    /// Waits until it is no longer being resized.
    #[napi]
    pub fn wait_for_resize_complete(&self, id: u32, timeout: Option<f64>) {
        self.change(id, move |sandbox| async move { sandbox.wait_for_resize_complete(timeout).await });
    }

    /// Makes another one with its files.
    #[napi]
    pub fn fork(&self, id: u32, name: Option<String>, timeout: Option<f64>) {
        let sandbox = self.sandbox.clone();
        self.calls.spawn(id, async move { Ok(Outcome::Created(sandbox.make_fork(name, timeout).await?)) });
    }

    /// Makes a snapshot of its files.
    #[napi]
    pub fn create_snapshot(&self, id: u32, name: String, timeout: Option<f64>) {
        let sandbox = self.sandbox.clone();
        self.calls.spawn(id, async move {
            Ok(match sandbox.make_snapshot(&name, timeout).await {
                Ok(made) => Outcome::Kept(made.map(|()| Ok(json(&sandbox)))?),
                Err(error) => Outcome::Failed(error, Some(json(&sandbox))),
            })
        });
    }
}
