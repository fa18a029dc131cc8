//! Running a command with its output as it comes.

use std::future::Future;

use bytes::Bytes;
use daytona_core::{ExecOptions, ExecStream, Result};
use napi::bindgen_prelude::Null;
use napi_derive::napi;

use crate::completion::{Calls, Outcome};
use crate::daytona::parse;
use crate::sandbox::NativeSandbox;

#[napi]
impl NativeSandbox {
    /// Starts a command. `env` is JSON.
    #[napi]
    pub fn exec_stream(
        &self,
        id: u32,
        command: String,
        cwd: Option<String>,
        env: Option<String>,
        timeout: Option<f64>,
    ) {
        self.process(id, move |process| async move {
            let env = env.as_deref().map(parse).transpose()?;
            let stream =
                process.exec_stream(&command, ExecOptions { cwd, env, timeout, ..ExecOptions::default() }).await?;
            Ok(Outcome::made(move |slots, calls| {
                let command = slots.instance(NativeExec { calls: calls.clone(), stream })?;
                slots.pair(command, Null)
            }))
        });
    }
}

/// A command that runs.
#[napi]
pub struct NativeExec {
    calls: Calls,
    stream: ExecStream,
}

impl NativeExec {
    pub(crate) fn new(calls: Calls, stream: ExecStream) -> Self {
        Self { calls, stream }
    }

    fn call<F>(&self, id: u32, work: impl FnOnce(ExecStream) -> F + Send + 'static)
    where
        F: Future<Output = Result<Outcome>> + Send,
    {
        let stream = self.stream.clone();
        self.calls.spawn(id, async move { work(stream).await });
    }
}

#[napi]
impl NativeExec {
    /// The next batch of output.
    #[napi]
    pub fn next(&self, id: u32) {
        self.call(id, |stream| async move { stream.next().await.map(Outcome::Output) });
    }

    /// Waits for the exit code.
    #[napi]
    pub fn wait(&self, id: u32) {
        self.call(id, |stream| async move { stream.wait().await.map(Outcome::Code) });
    }

    /// The exit code, once it is known.
    #[napi]
    pub fn exit_code(&self) -> Option<i32> {
        self.stream.exit_code()
    }

    /// Writes to stdin.
    #[napi]
    pub fn write_stdin(&self, id: u32, piece: &[u8]) {
        let piece = Bytes::copy_from_slice(piece);
        self.call(id, |stream| async move { stream.write_stdin(piece).await.map(|()| Outcome::Unit) });
    }

    /// Closes stdin.
    #[napi]
    pub fn close_stdin(&self, id: u32) {
        self.call(id, |stream| async move { stream.close_stdin().await.map(|()| Outcome::Unit) });
    }

    /// Sends a signal.
    #[napi]
    pub fn signal(&self, id: u32, name: String) {
        self.call(id, move |stream| async move { stream.signal(&name).await.map(|()| Outcome::Unit) });
    }

    /// Sends SIGKILL.
    #[napi]
    pub fn kill(&self, id: u32) {
        self.call(id, |stream| async move { stream.kill().await.map(|()| Outcome::Unit) });
    }

    /// Gives it up.
    #[napi]
    pub fn close(&self) {
        self.stream.close();
    }
}
