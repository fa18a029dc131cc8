//! The code interpreter.

use std::cell::RefCell;

use daytona_core::{CodeRun, RunCodeOptions};
use napi::bindgen_prelude::Null;
use napi_derive::napi;

use crate::completion::{Calls, Outcome};
use crate::daytona::{json, parse};
use crate::sandbox::NativeSandbox;

#[napi]
impl NativeSandbox {
    /// Runs Python code. `env` is JSON.
    #[napi]
    pub fn run_code(
        &self,
        id: u32,
        code: String,
        context: Option<String>,
        env: Option<String>,
        timeout: Option<f64>,
        results: bool,
    ) {
        let interpreter = self.sandbox.code_interpreter();
        self.calls.spawn(id, async move {
            let env = env.as_deref().map(parse).transpose()?;
            let run = interpreter.run_code(&code, RunCodeOptions { context, env, timeout, results }).await?;
            Ok(Outcome::made(move |slots, calls| {
                let run = slots.instance(NativeRun { calls: calls.clone(), run: RefCell::new(Some(run)) })?;
                slots.pair(run, Null)
            }))
        });
    }

    /// Makes a context.
    #[napi]
    pub fn create_context(&self, id: u32, cwd: Option<String>, timeout: Option<f64>) {
        let interpreter = self.sandbox.code_interpreter();
        self.calls.spawn(id, async move { json(&interpreter.create_context(cwd.as_deref(), timeout).await?) });
    }

    /// All contexts but the default one.
    #[napi]
    pub fn list_contexts(&self, id: u32, timeout: Option<f64>) {
        let interpreter = self.sandbox.code_interpreter();
        self.calls.spawn(id, async move { json(&interpreter.list_contexts(timeout).await?) });
    }

    /// Deletes a context.
    #[napi]
    pub fn delete_context(&self, id: u32, context: String, timeout: Option<f64>) {
        let interpreter = self.sandbox.code_interpreter();
        self.calls
            .spawn(id, async move { interpreter.delete_context(&context, timeout).await.map(|()| Outcome::Unit) });
    }
}

/// Code that runs.
#[napi]
pub struct NativeRun {
    calls: Calls,
    run: RefCell<Option<CodeRun>>,
}

#[napi]
impl NativeRun {
    /// The next messages as JSON, or null at the end.
    #[napi]
    pub fn next(&self, id: u32) {
        let run = self.run.borrow().clone();
        self.calls.spawn(id, async move {
            match run {
                Some(run) => run.next().await?.map_or(Ok(Outcome::Unit), |messages| json(&messages)),
                None => Ok(Outcome::Unit),
            }
        });
    }

    /// Gives it up: code that still runs is interrupted.
    #[napi]
    pub fn close(&self) {
        self.run.take();
    }
}
