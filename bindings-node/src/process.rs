//! Running commands and programs.

use daytona_core::ExecOptions;
use daytona_core::wire::process::ExecuteResponse;
use napi_derive::napi;

use crate::completion::Outcome;
use crate::daytona::parse;
use crate::sandbox::NativeSandbox;

#[napi]
impl NativeSandbox {
    /// Runs a line in the shell. `env` is JSON.
    #[napi]
    pub fn exec(&self, id: u32, command: String, cwd: Option<String>, env: Option<String>, timeout: Option<f64>) {
        let process = self.process.clone();
        self.calls.spawn(id, async move {
            let env = env.as_deref().map(parse).transpose()?;
            let options = ExecOptions { cwd, env, argv: None, timeout };
            Ok(Outcome::Exec(process.exec(&command, options).await?))
        });
    }

    /// Runs a program. `argv` and `env` are JSON.
    #[napi]
    pub fn code_run(&self, id: u32, code: String, argv: Option<String>, env: Option<String>, timeout: Option<f64>) {
        let process = self.process.clone();
        self.calls.spawn(id, async move {
            let argv = argv.as_deref().map(parse).transpose()?;
            let env = env.as_deref().map(parse).transpose()?;
            let answer = process.code_run(&code, None, ExecOptions { cwd: None, env, argv, timeout }).await?;
            Ok(Outcome::Exec(ExecuteResponse { exit_code: answer.exit_code, result: answer.result }))
        });
    }
}
