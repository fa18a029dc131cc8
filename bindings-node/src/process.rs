//! Running commands and programs.

use std::future::Future;

use daytona_core::{Error, ExecOptions, Process, Result};
use napi_derive::napi;
use serde::Serialize;

use crate::completion::Outcome;
use crate::daytona::{json, parse};
use crate::sandbox::NativeSandbox;

impl NativeSandbox {
    pub(crate) fn process<F>(&self, id: u32, work: impl FnOnce(Process) -> F + Send + 'static)
    where
        F: Future<Output = Result<Outcome>> + Send,
    {
        let process = self.process.clone();
        self.calls.spawn(id, async move { work(process).await });
    }

    pub(crate) fn process_json<T: Serialize, F>(&self, id: u32, work: impl FnOnce(Process) -> F + Send + 'static)
    where
        F: Future<Output = Result<T>> + Send,
    {
        self.process(id, move |process| async move { json(&work(process).await?) });
    }
}

#[napi]
impl NativeSandbox {
    /// Runs a line in the shell. `env` is JSON.
    #[napi]
    pub fn exec(&self, id: u32, command: String, cwd: Option<String>, env: Option<String>, timeout: Option<f64>) {
        self.process(id, move |process| async move {
            let env = env.as_deref().map(parse).transpose()?;
            let options = ExecOptions { cwd, env, timeout, ..ExecOptions::default() };
            Ok(Outcome::Exec(process.exec(&command, options).await?))
        });
    }

    /// Runs a program. `argv` and `env` are JSON.
    #[napi]
    pub fn code_run(&self, id: u32, code: String, argv: Option<String>, env: Option<String>, timeout: Option<f64>) {
        self.process(id, move |process| async move {
            let argv = argv.as_deref().map(parse).transpose()?;
            let env = env.as_deref().map(parse).transpose()?;
            let answer =
                process.code_run(&code, None, ExecOptions { env, argv, timeout, ..ExecOptions::default() }).await?;
            let charts = answer.artifacts.and_then(|artifacts| artifacts.charts);
            let charts = charts.map(|charts| serde_json::to_string(&charts)).transpose();
            let charts = charts.map_err(|error| Error::caller(error.to_string()))?;
            Ok(Outcome::Texts(vec![Some(answer.result), charts], Some(answer.exit_code)))
        });
    }
}
