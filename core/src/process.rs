//! Running commands and programs in a sandbox.

use std::collections::BTreeMap;
use std::time::Duration;

use daytona_wire::environment::{LONGEST_TEXT, too_long};
use daytona_wire::process::{CodeRunRequest, CodeRunResponse, ExecuteRequest, ExecuteResponse};

use crate::error::{Error, Result};
use crate::operation::Operation;
use crate::sandbox::Sandbox;
use crate::transport::{Call, Limit};
use crate::watch;

/// How much longer than the command itself the answer may take.
const GRACE: Duration = Duration::from_secs(5);
/// The limit of a command that has none: long enough for a build, and not for ever.
const UNSTATED_LIMIT: Duration = Duration::from_secs(3600);

/// Runs commands and programs in one sandbox.
#[derive(Clone)]
pub struct Process {
    pub(crate) sandbox: Sandbox,
}

/// How to run a command or program.
#[derive(Clone, Debug, Default)]
pub struct ExecOptions {
    /// Working directory; the sandbox's work dir if `None`. Commands only.
    pub cwd: Option<String>,
    /// Added to the sandbox's environment.
    pub env: Option<BTreeMap<String, String>>,
    /// Arguments of the program, each passed whole. Programs only.
    pub argv: Option<Vec<String>>,
    /// Seconds after which the command is killed, rounded up; 0 is no limit. Without one the server
    /// sets none, and this client waits for the answer for the client's request timeout or an hour.
    pub timeout: Option<f64>,
    /// Its stdin is at its end from the start, as that of every command of [`Process::exec`]. Streamed commands only.
    pub no_stdin: bool,
}

impl Process {
    pub(crate) fn new(sandbox: Sandbox) -> Self {
        Self { sandbox }
    }

    /// Runs a line in the sandbox's shell and returns its exit code and merged output.
    ///
    /// # Errors
    /// `InvalidArgument` for a blank command or a bad variable name; `ProcessExecutionTimeout` or
    /// `Timeout` when the command ran over its limit; `Connection` when the sandbox went away.
    pub async fn exec(&self, command: &str, options: ExecOptions) -> Result<ExecuteResponse> {
        let work = async {
            if command.trim().is_empty() {
                return Err(Error::invalid("the command is blank"));
            }
            refuse_nul("command", command)?;
            options.env.as_ref().map_or(Ok(()), check_env)?;
            let (timeout, limit) = self.limits(options.timeout)?;
            let body =
                ExecuteRequest { command: command.to_owned(), cwd: options.cwd, timeout, envs: non_empty(options.env) };
            let (transport, url) = self.sandbox.toolbox(&["process", "execute"]).await?;
            let call = Call::post(Operation::EXEC, url).json(&body)?.limit(limit);
            watch::guard(&self.sandbox, transport.json(call)).await
        };
        self.sandbox.observe(Operation::EXEC, work).await
    }

    /// Runs a whole program in the sandbox's language, or in `language`.
    ///
    /// # Errors
    /// As [`Process::exec`].
    pub async fn code_run(&self, code: &str, language: Option<&str>, options: ExecOptions) -> Result<CodeRunResponse> {
        let work = async {
            options.env.as_ref().map_or(Ok(()), check_env)?;
            if let Some(long) = options.argv.iter().flatten().position(|word| word.len() >= LONGEST_TEXT) {
                return Err(Error::invalid(format!(
                    "argv[{long}] is too long: Linux starts nothing with {LONGEST_TEXT} bytes (128 KiB) or more in one \
                     argument. Write it to a file, and give the file's path"
                )));
            }
            let language = language.unwrap_or_else(|| self.sandbox.language());
            crate::daytona::check_language(language)?;
            let (timeout, limit) = self.limits(options.timeout)?;
            let body = CodeRunRequest {
                code: code.to_owned(),
                language: language.to_owned(),
                argv: options.argv,
                envs: non_empty(options.env),
                timeout,
            };
            let (transport, url) = self.sandbox.toolbox(&["process", "code-run"]).await?;
            let call = Call::post(Operation::CODE_RUN, url).json(&body)?.limit(limit);
            watch::guard(&self.sandbox, transport.json(call)).await
        };
        self.sandbox.observe(Operation::CODE_RUN, work).await
    }

    /// The limit for the server, in whole seconds, and the one for the answer.
    pub(crate) fn limits(&self, timeout: Option<f64>) -> Result<(Option<u64>, Limit)> {
        match crate::transport::seconds("timeout", timeout)? {
            None => Ok((None, self.sandbox.inner.client.request_timeout().or(Some(UNSTATED_LIMIT)))),
            Some(Duration::ZERO) => Ok((Some(0), Some(Duration::ZERO))),
            Some(limit) => {
                let whole = limit.as_secs() + u64::from(limit.subsec_nanos() > 0);
                Ok((Some(whole), Some(Duration::from_secs(whole) + GRACE)))
            }
        }
    }
}

pub(crate) fn non_empty(env: Option<BTreeMap<String, String>>) -> Option<BTreeMap<String, String>> {
    env.filter(|env| !env.is_empty())
}

pub(crate) fn refuse_nul(what: &str, text: &str) -> Result<()> {
    if text.contains('\0') {
        return Err(Error::invalid(format!("the {what} holds a NUL character")));
    }
    Ok(())
}

/// Names as shells accept them: `^[A-Za-z_][A-Za-z0-9_]*$`.
pub(crate) fn check_env(env: &BTreeMap<String, String>) -> Result<()> {
    for (name, value) in env {
        let mut bytes = name.bytes();
        let begins = bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
        if !begins || !bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            return Err(Error::invalid(format!(
                "{name:?} is not the name of an environment variable: use letters, digits and _, not a digit first"
            )));
        }
        refuse_nul("environment", value)?;
        if let Some(why) = too_long(name, value) {
            return Err(Error::invalid(why));
        }
    }
    Ok(())
}
