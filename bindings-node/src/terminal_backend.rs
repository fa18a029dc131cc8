//! Commands in sandboxes that come and go by themselves.

#![expect(clippy::needless_pass_by_value, reason = "JavaScript hands over strings of its own")]

use std::collections::BTreeMap;
use std::future::Future;

use bytes::Bytes;
use daytona_core::{Result, TERMINAL_IMAGES, TerminalBackend, TerminalConfig, TerminalOptions};
use napi::bindgen_prelude::{Either, Null};
use napi_derive::napi;
use serde::Deserialize;

use crate::completion::{Calls, NativeCalls, Outcome};
use crate::daytona::{NativeClient, json, parse, read_config};
use crate::exec_stream::NativeExec;

#[derive(Deserialize, Default)]
#[serde(default)]
struct Options {
    cwd: Option<String>,
    env: Option<BTreeMap<String, String>>,
    timeout: Option<f64>,
}

impl From<Options> for TerminalOptions {
    fn from(Options { cwd, env, timeout }: Options) -> Self {
        Self { cwd, env, timeout }
    }
}

/// A terminal backend.
#[napi]
pub struct NativeTerminal {
    calls: Calls,
    backend: TerminalBackend,
}

fn config(text: &str, is_yaml: bool) -> Result<TerminalConfig> {
    if is_yaml { TerminalConfig::from_yaml(text) } else { TerminalConfig::read(&parse(text)?) }
}

fn made(calls: Calls, backend: Result<TerminalBackend>) -> Either<NativeTerminal, String> {
    match backend {
        Ok(backend) => Either::A(NativeTerminal { calls, backend }),
        Err(error) => Either::B(crate::error::json(&error)),
    }
}

/// Makes a backend from settings in JSON; an error is returned, as JSON.
#[napi]
pub fn new_terminal(
    calls: &NativeCalls,
    settings: String,
    text: String,
    is_yaml: bool,
) -> Either<NativeTerminal, String> {
    let make = || TerminalBackend::connect(&read_config(&settings)?, config(&text, is_yaml)?);
    made(calls.calls(), make())
}

#[napi]
impl NativeClient {
    /// Makes a backend that speaks to the same server.
    #[napi]
    pub fn terminal(&self, text: String, is_yaml: bool) -> Either<NativeTerminal, String> {
        let backend = config(&text, is_yaml).map(|config| TerminalBackend::new(&self.daytona, config));
        made(self.calls.clone(), backend)
    }
}

impl NativeTerminal {
    fn call<F>(&self, id: u32, work: impl FnOnce(TerminalBackend) -> F + Send + 'static)
    where
        F: Future<Output = Result<Outcome>> + Send,
    {
        let backend = self.backend.clone();
        self.calls.spawn(id, async move { work(backend).await });
    }
}

#[napi]
impl NativeTerminal {
    /// The configuration in force, as JSON.
    #[napi]
    pub fn config(&self) -> String {
        serde_json::to_string(self.backend.config()).unwrap_or_default()
    }

    /// Starts a command. `options` is JSON.
    #[napi]
    pub fn exec(&self, id: u32, command: String, options: String) {
        self.call(id, move |backend| async move {
            let options: Options = parse(&options)?;
            let stream = backend.exec(&command, options.into()).await?;
            Ok(Outcome::made(move |slots, calls| {
                let command = slots.instance(NativeExec::new(calls.clone(), stream))?;
                slots.pair(command, Null)
            }))
        });
    }

    /// Runs a command to its end.
    #[napi]
    pub fn run(&self, id: u32, command: String, options: String, stdin: Option<&[u8]>) {
        let stdin = stdin.map(Bytes::copy_from_slice);
        self.call(id, move |backend| async move {
            let options: Options = parse(&options)?;
            json(&backend.run(&command, options.into(), stdin).await?)
        });
    }

    /// Destroys its sandboxes.
    #[napi]
    pub fn close(&self, id: u32, timeout: Option<f64>) {
        // Begins here, as it goes on where the call is aborted.
        let closing = self.backend.close(timeout);
        self.calls.spawn(id, async move { closing.await.map(|()| Outcome::Unit) });
    }

    /// Destroys its sandboxes, the one of the task too.
    #[napi]
    pub fn destroy(&self, id: u32, timeout: Option<f64>) {
        self.call(id, move |backend| async move { backend.destroy(timeout).await.map(|()| Outcome::Unit) });
    }
}

/// The images that are made for terminals, as JSON.
#[napi]
pub fn terminal_images() -> String {
    serde_json::to_string(&TERMINAL_IMAGES).unwrap_or_default()
}
