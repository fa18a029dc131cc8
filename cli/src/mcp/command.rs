//! `execute_command`.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use daytona_core::{ExecOptions, ExecStream, OutputStream};
use rmcp::model::{CallToolResult, ContentBlock};
use rmcp::schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::capture::Capture;
use super::tools::{Answer, Tools, told};

/// What to run.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
#[serde(deny_unknown_fields)]
pub(super) struct Execute {
    /// Id or name of the sandbox; the one made last if absent.
    id: Option<String>,
    /// A line for the sandbox's shell.
    command: String,
    /// Where it runs; the sandbox's work directory if absent.
    cwd: Option<String>,
    /// Environment variables.
    env: Option<BTreeMap<String, String>>,
    /// Seconds after which it is killed; no limit if absent or 0.
    timeout: Option<f64>,
}

/// What became of it.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
#[serde(rename_all = "camelCase")]
pub(super) struct Ran {
    /// 0 is success; 128 and a signal's number if one has ended it.
    exit_code: i32,
    /// What it wrote to the standard output.
    stdout: String,
    /// What it wrote to the standard error.
    stderr: String,
    /// The middle of a long output was left out.
    truncated: bool,
}

/// A command under way.
#[derive(Default)]
pub(super) struct Run {
    stream: Mutex<Option<ExecStream>>,
    output: Mutex<[Capture; 2]>,
}

impl Run {
    fn output(&self) -> std::sync::MutexGuard<'_, [Capture; 2]> {
        self.output.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) async fn to_end(&self, tools: &Tools, args: Execute) -> Answer<Ran> {
        let sandbox = tools.sandbox(args.id.as_deref()).await?;
        let timeout = Some(args.timeout.unwrap_or(0.0));
        let options = ExecOptions { cwd: args.cwd, env: args.env, timeout, no_stdin: true, ..ExecOptions::default() };
        let stream = sandbox.process().exec_stream(&args.command, options).await.map_err(told)?;
        *self.stream.lock().unwrap_or_else(PoisonError::into_inner) = Some(stream.clone());
        while let Some(chunks) = stream.next().await.map_err(told)? {
            let mut output = self.output();
            for chunk in chunks {
                output[usize::from(chunk.stream == OutputStream::Stderr)].add(&chunk.bytes);
            }
        }
        let exit_code = stream.wait().await.map_err(told)?;
        let output = self.output();
        let truncated = output.iter().any(Capture::is_cut);
        Ok(Ran { exit_code, stdout: output[0].text(), stderr: output[1].text(), truncated })
    }

    /// For people who wait.
    pub(super) fn last_line(&self) -> String {
        let output = self.output();
        output[0].last_line().or_else(|| output[1].last_line()).unwrap_or_else(|| "running".to_owned())
    }

    /// Kills it if it runs still, and waits for that: nobody is interested in it any more.
    pub(super) async fn stop(&self) {
        let stream = self.stream.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(stream) = stream {
            crate::exec::end(&stream).await;
        }
    }
}

impl Ran {
    pub(super) fn answer(&self) -> CallToolResult {
        let mut text = self.stdout.clone();
        for (title, part) in [("stderr:\n", self.stderr.as_str()), ("exit code ", &self.exit_code.to_string())] {
            if part.is_empty() || (title == "exit code " && part == "0") {
                continue;
            }
            if !text.is_empty() && !text.ends_with('\n') {
                text.push('\n');
            }
            text.push_str(title);
            text.push_str(part);
        }
        if text.is_empty() {
            "done, without output".clone_into(&mut text);
        }
        let mut result = CallToolResult::success(vec![ContentBlock::text(text)]);
        result.structured_content = serde_json::to_value(self).ok();
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_names_what_is_not_as_usual() {
        let text = |exit_code, stdout: &str, stderr: &str| {
            let ran = Ran { exit_code, stdout: stdout.to_owned(), stderr: stderr.to_owned(), truncated: false };
            ran.answer().content[0].as_text().unwrap().text.clone()
        };
        assert_eq!(text(0, "out\n", ""), "out\n");
        assert_eq!(text(3, "out", "err"), "out\nstderr:\nerr\nexit code 3");
        assert_eq!(text(0, "", ""), "done, without output");
    }
}
