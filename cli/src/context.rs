//! What every command shares: the client, and how its failure becomes a message and an exit code.

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::ValueEnum;
use daytona_core::{Config, Daytona, Error, ErrorKind, Sandbox};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use crate::output::{Color, Output};

/// The environment variables, and the exit codes of every command that does not say otherwise.
pub(crate) const HELP: &str = "\
Which server: that of DAYTONA_API_URL with the key in DAYTONA_API_KEY. `--local`, or DAYTONA_API_URL=local, is the \
server that `daytona-native serve` runs on this machine; it needs no key.

Exit codes: 0 done, 1 failed, 2 wrong usage, 4 no or refused credentials, 5 not found, 6 conflict, 7 timed out, 8 the \
server is out of reach, 130 interrupted, 141 the reader of the output has gone. exec, shell and ssh exit as what they run \
does, with 255 if they could not run it; exec with 7 if it ran over its --timeout.";

/// Ends the codes of errors that some servers call bad requests.
const WRONG_STATE: &str = "_STATE_INVALID";
/// What a shell says of a program that Ctrl-C has ended.
pub(crate) const INTERRUPTED: u8 = 130;
const LIMITS: &str = "https://app.daytona.io/dashboard/limits";
const KEYS: &str = "https://app.daytona.io/dashboard/keys";

/// Options of every command.
#[derive(clap::Args, Clone, Copy, Debug)]
pub(crate) struct Global {
    /// Print JSON: an object, an array for a list; errors too, on the standard error.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Use the local server of this machine (`daytona-native serve`); the same as `DAYTONA_API_URL=local`.
    #[arg(long, global = true)]
    pub(crate) local: bool,
    /// Fail unless the local server makes sandboxes so (`process` isolates nothing); the same as `DAYTONA_LOCAL_RUNTIME`.
    #[arg(long, global = true, value_enum, value_name = "RUNTIME")]
    pub(crate) local_runtime: Option<LocalRuntime>,
    /// Colours; `auto` is none if `NO_COLOR` is set or the output is not a terminal.
    #[arg(long, global = true, value_name = "WHEN", value_enum, default_value_t = Color::Auto)]
    pub(crate) color: Color,
}

/// How a local server may have to make sandboxes.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum LocalRuntime {
    Ns,
    Docker,
    Process,
}

impl LocalRuntime {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Ns => "ns",
            Self::Docker => "docker",
            Self::Process => "process",
        }
    }
}

/// Why a command ends without success.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The client's error.
    Api(Error),
    /// Ours, with its exit code.
    Own(String, u8),
    /// There is nothing left to say.
    Silent(u8),
}

pub(crate) type Outcome<T = ()> = Result<T, Failure>;

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Api(error)
    }
}

impl Failure {
    /// A failure of the machine we run on, or of the user's input.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self::Own(message.into(), 1)
    }

    /// What makes no sense as it was asked for.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::Own(message.into(), 2)
    }

    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::Own(_, code) | Self::Silent(code) => *code,
            Self::Api(error) => {
                let is = |kind| error.kind().is(kind);
                if is_quota(error) {
                    return 1;
                }
                // Some kinds are of two families: the one that says more comes first.
                if is(ErrorKind::Authentication) || error.kind() == ErrorKind::Forbidden {
                    4
                } else if is(ErrorKind::InvalidArgument) {
                    2
                } else if is(ErrorKind::NotFound) {
                    5
                } else if is(ErrorKind::Conflict) || error.code().is_some_and(|code| code.ends_with(WRONG_STATE)) {
                    6
                } else if is(ErrorKind::Timeout) || is(ErrorKind::ConnectionTimeout) {
                    7
                } else if is(ErrorKind::Connection) {
                    8
                } else {
                    1
                }
            }
        }
    }

    /// For a person, with what to do about it.
    pub(crate) fn message(&self) -> String {
        let Self::Api(error) = self else {
            return match self {
                Self::Own(message, _) => message.clone(),
                _ => String::new(),
            };
        };
        let text = error.to_string();
        if error.kind() == ErrorKind::Authentication && error.status().is_none() && text.contains("DAYTONA_API_KEY") {
            return format!(
                "DAYTONA_API_KEY not set. Make a key at {KEYS} and export it; or run `daytona-native serve` and add \
                 --local, which needs no key"
            );
        }
        if error.kind() == ErrorKind::Authentication && error.status() == Some(401) {
            return format!(
                "{text}. It is that of DAYTONA_API_KEY: make a new one at {KEYS}; `daytona-native doctor` shows where \
                 key and URL come from"
            );
        }
        if is_quota(error) {
            return format!(
                "{text}. Delete or archive sandboxes (`daytona-native list`), ask for less with --cpu, --memory and --disk, \
                 or raise the limits at {LIMITS}"
            );
        }
        if error.kind() == ErrorKind::GitAuthFailed {
            return format!("{text}. They are taken from GIT_USERNAME and GIT_PASSWORD");
        }
        if error.kind() == ErrorKind::Connection && error.status().is_none() && !text.contains("serve") {
            return format!("{text}. `daytona-native doctor` looks for the cause");
        }
        text
    }

    /// Says it, and gives the exit code.
    pub(crate) fn report(&self, json: bool, code: Option<u8>) -> ExitCode {
        // A command that ran over its limit could be run: its code is that of all that timed out.
        let own = match self {
            Self::Silent(_) => true,
            Self::Api(error) => error.kind().is(ErrorKind::ProcessExecutionTimeout),
            Self::Own(..) => false,
        };
        let code = code.filter(|_| !own).unwrap_or_else(|| self.code());
        if matches!(self, Self::Silent(_)) {
            return ExitCode::from(code);
        }
        if json {
            let api = match self {
                Self::Api(error) => Some(error),
                _ => None,
            };
            let text = json!({ "error": {
                "type": api.map(|error| error.kind().class_name()),
                "message": self.message(),
                "status": api.and_then(Error::status),
                "code": api.and_then(Error::code),
                "requestId": api.and_then(Error::request_id),
                "exitCode": code,
            }});
            let _ = writeln!(io::stderr(), "{text}");
            return ExitCode::from(code);
        }
        crate::fail(&crate::output::printable(&self.message()), code)
    }
}

/// Whether the organization's limits are what is in the way. Servers say so in words, with the status of a refusal.
fn is_quota(error: &Error) -> bool {
    let text = error.to_string().to_ascii_lowercase();
    matches!(error.status(), Some(400 | 403 | 409 | 429)) && (text.contains("quota") || text.contains("limit exceeded"))
}

/// What a command works with.
pub(crate) struct Context {
    pub(crate) out: Output,
    local: bool,
    local_runtime: Option<LocalRuntime>,
}

impl Context {
    pub(crate) fn new(global: Global) -> Self {
        Self { out: Output::new(global.json, global.color), local: global.local, local_runtime: global.local_runtime }
    }

    /// The client's configuration. A local server has to run already: one that this program starts would end with it,
    /// and stop the sandboxes.
    pub(crate) fn config(&self) -> Config {
        Config {
            api_url: self.local.then(|| "local".to_owned()),
            server_binary: std::env::current_exe().ok(),
            local_no_start: true,
            local_runtime: self.local_runtime.map(|runtime| runtime.as_str().to_owned()),
            ..Config::default()
        }
    }

    pub(crate) fn client(&self) -> Outcome<Daytona> {
        let client = Daytona::new(&self.config())?;
        for warning in &client.settings().warnings {
            self.out.note(&warning.message);
        }
        Ok(client)
    }

    /// Says what there is to know of the server that a client has reached.
    pub(crate) fn tell(&self, client: &Daytona) {
        for notice in client.notices().unwrap_or_default() {
            self.out.note(&notice.message);
        }
    }

    pub(crate) async fn sandbox(&self, id: &str) -> Outcome<Sandbox> {
        Ok(self.client()?.get(id, None).await?)
    }

    /// Turns while something is waited for, on a terminal.
    pub(crate) fn spinner(&self, what: impl Into<String>) -> ProgressBar {
        if !self.out.progress {
            return ProgressBar::hidden();
        }
        let bar = ProgressBar::new_spinner();
        let style =
            if self.out.color_err { "{spinner:.cyan} {msg} {elapsed:.dim}" } else { "{spinner} {msg} {elapsed}" };
        bar.set_style(ProgressStyle::with_template(style).expect("the template is well-formed"));
        bar.set_message(what.into());
        bar.enable_steady_tick(std::time::Duration::from_millis(100));
        bar
    }
}

/// One sandbox: `ID`, or `--id ID`.
#[derive(clap::Args, Clone, Debug)]
#[group(required = true, multiple = false)]
pub(crate) struct Target {
    /// Id or name of the sandbox.
    #[arg(value_name = "ID")]
    sandbox: Option<String>,
    /// The same.
    #[arg(long = "id", value_name = "ID")]
    id: Option<String>,
}

impl Target {
    pub(crate) fn id(&self) -> &str {
        self.sandbox.as_deref().or(self.id.as_deref()).unwrap_or_default()
    }
}

/// Some sandboxes: `ID...`, or `--id ID`, as often as wanted.
#[derive(clap::Args, Clone, Debug)]
#[group(required = true, multiple = true)]
pub(crate) struct Targets {
    /// Ids or names of sandboxes.
    #[arg(value_name = "ID")]
    sandboxes: Vec<String>,
    /// The same.
    #[arg(long = "id", value_name = "ID")]
    ids: Vec<String>,
}

impl Targets {
    pub(crate) fn all(&self) -> impl Iterator<Item = &str> {
        self.sandboxes.iter().chain(&self.ids).map(String::as_str)
    }
}

/// `NAME=VALUE` pairs as they are given on a command line.
pub(crate) fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("use NAME=VALUE".to_owned()),
    }
}

/// `NAME=VALUE`, or `NAME` for the value that it has here: that one is in nobody's list of processes.
pub(crate) fn variable(text: &str) -> Result<(String, String), String> {
    if text.contains('=') {
        return pair(text);
    }
    let value = std::env::var(text).map_err(|_| format!("{text} is not set here; use NAME=VALUE"))?;
    Ok((text.to_owned(), value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_taken_apart_at_the_first_sign() {
        assert_eq!(pair("A=b=c"), Ok(("A".to_owned(), "b=c".to_owned())));
        assert!(pair("=b").is_err());
        assert!(pair("A").is_err());
    }
}
