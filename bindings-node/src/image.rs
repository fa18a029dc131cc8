//! Images, and what is built from them.

#![expect(clippy::needless_pass_by_value, reason = "JavaScript hands over strings of its own")]

use daytona_core::{
    BuildLog, CreateOptions, CreateParams, CreateSnapshotOptions, CreateSnapshotParams, Dialect, Error, Image,
    SandboxCreation, SnapshotCreation, Step,
};
use napi::bindgen_prelude::{Either, Null};
use napi_derive::napi;

use crate::completion::{Calls, Outcome};
use crate::daytona::{NativeClient, parse};

/// What a call of the builder adds.
#[napi(object)]
pub struct NativeStep {
    /// JSON.
    pub added: String,
}

/// What one call of the builder, in JSON, adds to an image; an error is returned, as JSON.
#[napi]
pub fn image_step(step: String) -> Either<NativeStep, String> {
    let added = parse::<Step>(&step).and_then(|step| Image::of(Dialect::TypeScript, &step));
    match added.map(|added| serde_json::to_string(&added)) {
        Ok(added) => Either::A(NativeStep { added: added.unwrap_or_default() }),
        Err(error) => Either::B(crate::error::json(&error)),
    }
}

fn lines(lines: Option<Vec<String>>) -> Outcome {
    lines.map_or(Outcome::Unit, |lines| Outcome::Texts(lines.into_iter().map(Some).collect(), None))
}

#[napi]
impl NativeClient {
    /// Begins to create a sandbox whose build's log is wanted. `params` is JSON.
    #[napi]
    pub fn begin_create(&self, id: u32, params: String, timeout: Option<f64>, progress: bool) {
        let daytona = self.daytona.clone();
        let progress = progress.then(|| self.calls.progress(id));
        self.calls.spawn(id, async move {
            let params: CreateParams = parse(&params)?;
            let options = CreateOptions { timeout, progress, logs: true };
            let creation = daytona.begin_create(params, &options).await?;
            Ok(Outcome::made(move |slots, calls| {
                let made = slots.instance(NativeSandboxCreation { calls: calls.clone(), creation })?;
                slots.pair(made, Null)
            }))
        });
    }

    /// Begins to make a snapshot. `params` is JSON; `logs` says whether lines are wanted.
    #[napi]
    pub fn begin_snapshot(&self, id: u32, params: String, logs: bool, timeout: Option<f64>, progress: bool) {
        let snapshots = self.daytona.snapshot();
        let progress = progress.then(|| self.calls.progress(id));
        self.calls.spawn(id, async move {
            let params: CreateSnapshotParams = parse(&params)?;
            let options = CreateSnapshotOptions { timeout, progress, logs };
            let creation = snapshots.begin(params, &options).await?;
            Ok(Outcome::made(move |slots, calls| {
                let made = slots.instance(NativeSnapshotCreation { calls: calls.clone(), creation })?;
                slots.pair(made, Null)
            }))
        });
    }

    /// Opens the log of a snapshot's build.
    #[napi]
    pub fn build_logs(&self, id: u32, id_or_name: String) {
        let snapshots = self.daytona.snapshot();
        self.calls.spawn(id, async move {
            let log = snapshots.build_logs(&id_or_name).await?;
            Ok(Outcome::made(move |slots, calls| {
                let made = slots.instance(NativeBuildLog { calls: calls.clone(), log })?;
                slots.pair(made, Null)
            }))
        });
    }
}

/// The log of a build.
#[napi]
pub struct NativeBuildLog {
    calls: Calls,
    log: BuildLog,
}

#[napi]
impl NativeBuildLog {
    /// The next pieces of text, or nothing at the end.
    #[napi]
    pub fn next(&self, id: u32) {
        let log = self.log.clone();
        self.calls.spawn(id, async move { log.next().await.map(lines) });
    }

    /// Ends it early.
    #[napi]
    pub fn close(&self) {
        self.log.close();
    }
}

/// A sandbox that is being made.
#[napi]
pub struct NativeSandboxCreation {
    calls: Calls,
    creation: SandboxCreation,
}

#[napi]
impl NativeSandboxCreation {
    /// The next lines, or nothing at the end.
    #[napi]
    pub fn next(&self, id: u32) {
        let creation = self.creation.clone();
        self.calls.spawn(id, async move { creation.next().await.map(lines) });
    }

    /// The sandbox, once it has started.
    #[napi]
    pub fn finish(&self, id: u32) {
        let creation = self.creation.clone();
        self.calls.spawn(id, async move { creation.made().await.map(Outcome::Created) });
    }

    /// Ends what is told of it, and deletes it unless the caller has it.
    #[napi]
    pub fn close(&self) {
        self.creation.close();
    }
}

/// A snapshot that is being made.
#[napi]
pub struct NativeSnapshotCreation {
    calls: Calls,
    creation: SnapshotCreation,
}

#[napi]
impl NativeSnapshotCreation {
    /// The next lines, or nothing at the end.
    #[napi]
    pub fn next(&self, id: u32) {
        let log = self.creation.log().clone();
        self.calls.spawn(id, async move { log.next().await.map(lines) });
    }

    /// The snapshot, once it is active.
    #[napi]
    pub fn finish(&self, id: u32) {
        let creation = self.creation.clone();
        self.calls.spawn(id, async move {
            let made = creation.made().await?;
            let text = serde_json::to_string(made.get()).map_err(|error| Error::caller(error.to_string()))?;
            Ok(Outcome::Kept(made.map(|_| Ok(text))?))
        });
    }

    /// Ends what is told of it, and the waiting, and deletes it unless the caller has it.
    #[napi]
    pub fn close(&self) {
        self.creation.close();
    }
}
