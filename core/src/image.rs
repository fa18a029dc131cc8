//! Images: Dockerfiles that are built step by step, and the local files that they copy.

mod context;
mod copy;
mod ignore;
mod path;
mod pip;
mod quote;

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};
pub(crate) use context::{Tree, hex};
pub use pip::PipOptions;

/// Whose Dockerfiles are written: the two official clients quote, sort and find files differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// As the Python client.
    Python,
    /// As the TypeScript client.
    TypeScript,
}

/// A local file or directory that a Dockerfile copies from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Context {
    /// Where it is.
    pub source_path: String,
    /// What the Dockerfile calls it, relative to the root of the build.
    pub archive_path: String,
    /// The directory whose `.dockerignore` holds for it; its own if `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context_dir: Option<String>,
}

/// A Dockerfile and the local files that it copies.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Image {
    /// Its text.
    pub dockerfile: String,
    /// What it copies, in the order in which it does.
    #[serde(default)]
    pub context_list: Vec<Context>,
}

/// What a sandbox or a snapshot is built from.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged, expecting = "an image is its name in a registry or a built one")]
pub enum ImageSource {
    /// An image, as a registry names it: `debian:12.9`.
    Name(String),
    /// One to be built.
    Built(Image),
}

impl From<String> for ImageSource {
    fn from(name: String) -> Self {
        Self::Name(name)
    }
}

impl From<&str> for ImageSource {
    fn from(name: &str) -> Self {
        Self::Name(name.to_owned())
    }
}

impl From<Image> for ImageSource {
    fn from(image: Image) -> Self {
        Self::Built(image)
    }
}

impl ImageSource {
    pub(crate) fn check(&self) -> Result<()> {
        match self {
            Self::Name(name) if name.trim().is_empty() || name.chars().any(char::is_whitespace) => {
                Err(Error::invalid(format!("{name:?} is not the name of an image")))
            }
            Self::Built(image) if image.dockerfile.trim().is_empty() => {
                Err(Error::invalid("the image has no Dockerfile. Begin with base, debian_slim or from_dockerfile"))
            }
            _ => Ok(()),
        }
    }
}

/// A local path, as the caller gave it and with `~` replaced.
#[derive(Clone, Debug, Deserialize)]
pub struct LocalPath {
    /// As given.
    pub given: String,
    /// Where it leads.
    pub expanded: String,
}

impl From<&str> for LocalPath {
    fn from(path: &str) -> Self {
        Self { given: path.to_owned(), expanded: path.to_owned() }
    }
}

/// A command of a `RUN`.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum RunCommand {
    /// For the shell.
    Shell(String),
    /// Its words.
    Words(Vec<String>),
}

/// One call of the builder.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case", rename_all_fields = "camelCase")]
#[expect(missing_docs, reason = "named as the methods of the official builders and their arguments")]
pub enum Step {
    Base {
        image: String,
    },
    DebianSlim {
        python_version: Option<String>,
    },
    FromDockerfile {
        path: LocalPath,
        #[serde(default)]
        strict_context: bool,
    },
    PipInstall {
        packages: Vec<String>,
        #[serde(default)]
        options: PipOptions,
    },
    PipInstallFromRequirements {
        path: LocalPath,
        #[serde(default)]
        options: PipOptions,
    },
    PipInstallFromPyproject {
        path: LocalPath,
        #[serde(default)]
        optional_dependencies: Vec<String>,
        #[serde(default)]
        options: PipOptions,
    },
    AddLocalFile {
        path: LocalPath,
        remote_path: String,
    },
    AddLocalDir {
        path: LocalPath,
        remote_path: String,
    },
    RunCommands {
        commands: Vec<RunCommand>,
    },
    Env {
        variables: Vec<(String, String)>,
    },
    Workdir {
        path: String,
    },
    Entrypoint {
        command: Vec<String>,
    },
    Cmd {
        command: Vec<String>,
    },
    DockerfileCommands {
        commands: Vec<String>,
        context_dir: Option<LocalPath>,
        #[serde(default)]
        strict_context: bool,
    },
}

impl Image {
    /// What one call of the builder adds to an image.
    ///
    /// # Errors
    /// `NotFound` for a local file that is not there; `InvalidArgument` for anything else that cannot be right.
    pub fn of(dialect: Dialect, step: &Step) -> Result<Self> {
        match step {
            Step::Base { image } if image.trim().is_empty() => Err(Error::invalid("the name of the image is empty")),
            Step::Base { image } => Ok(Self::text(format!("FROM {image}\n"))),
            Step::DebianSlim { python_version } => debian_slim(dialect, python_version.as_deref()).map(Self::text),
            Step::FromDockerfile { path, strict_context } => copy::from_dockerfile(dialect, path, *strict_context),
            Step::PipInstall { packages, options } => Ok(Self::text(pip::install(dialect, packages, options))),
            Step::PipInstallFromRequirements { path, options } => pip::requirements(dialect, path, options),
            Step::PipInstallFromPyproject { path, optional_dependencies, options } => {
                pip::pyproject(dialect, path, optional_dependencies, options).map(Self::text)
            }
            Step::AddLocalFile { path, remote_path } => {
                file(path, "Local")?;
                let mut remote_path = remote_path.clone();
                if remote_path.ends_with('/') {
                    remote_path.push_str(&path::base_name(dialect, &path.given));
                }
                Ok(Self::copied(dialect, path, &remote_path))
            }
            Step::AddLocalDir { path, remote_path } => {
                directory(path, "Local directory")?;
                Ok(Self::copied(dialect, path, remote_path))
            }
            Step::RunCommands { commands } => Ok(Self::text(commands.iter().map(run).collect())),
            Step::Env { variables } => env(dialect, variables).map(Self::text),
            Step::Workdir { path } => Ok(Self::text(format!("WORKDIR {}\n", quote::quote(dialect, path)))),
            Step::Entrypoint { command } => Ok(Self::text(exec_form("ENTRYPOINT", command))),
            Step::Cmd { command } => Ok(Self::text(exec_form("CMD", command))),
            Step::DockerfileCommands { commands, context_dir, strict_context } => {
                copy::commands(dialect, commands, context_dir.as_ref(), *strict_context)
            }
        }
    }

    /// Adds what one more call of the builder says.
    ///
    /// # Errors
    /// As [`Image::of`]; the image stays as it was.
    pub fn apply(&mut self, dialect: Dialect, step: &Step) -> Result<()> {
        let added = Self::of(dialect, step)?;
        self.dockerfile.push_str(&added.dockerfile);
        self.context_list.extend(added.context_list);
        Ok(())
    }

    fn text(dockerfile: String) -> Self {
        Self { dockerfile, context_list: Vec::new() }
    }

    /// A `COPY` of one local path.
    fn copied(dialect: Dialect, local: &LocalPath, remote_path: &str) -> Self {
        let archive_path = path::archive_path(dialect, &local.expanded);
        let dockerfile = match dialect {
            Dialect::Python => {
                format!("COPY [{}, {}]\n", quote::ascii_json(&archive_path), quote::ascii_json(remote_path))
            }
            Dialect::TypeScript => format!("COPY {archive_path} {remote_path}\n"),
        };
        let context = Context { source_path: local.expanded.clone(), archive_path, context_dir: None };
        Self { dockerfile, context_list: vec![context] }
    }
}

/// Each supported series of Python, and its newest version.
const PYTHONS: [(&str, &str); 5] =
    [("3.9", "3.9.22"), ("3.10", "3.10.17"), ("3.11", "3.11.12"), ("3.12", "3.12.10"), ("3.13", "3.13.3")];

fn debian_slim(dialect: Dialect, version: Option<&str>) -> Result<String> {
    let newest = PYTHONS[PYTHONS.len() - 1].0;
    let version = version.unwrap_or(newest);
    let mut parts = version.splitn(3, '.');
    let series = [parts.next(), parts.next()].map(Option::unwrap_or_default).join(".");
    let micro = parts.next();
    let known = PYTHONS.iter().find(|(known, _)| *known == series);
    let resolved = match (known, micro, dialect) {
        (Some((_, newest)), None, _) => *newest,
        (Some(_), Some(micro), Dialect::Python) if is_micro(micro) => version,
        _ => {
            let all = PYTHONS.map(|(series, _)| series).join(", ");
            return Err(Error::invalid(format!("there is no image for Python {version:?}. Pass one of {all}")));
        }
    };
    Ok(format!(
        "FROM python:{resolved}-slim-bookworm\n\
         RUN apt-get update\n\
         RUN apt-get install -y gcc gfortran build-essential\n\
         RUN pip install --upgrade pip\n\
         RUN echo 'debconf debconf/frontend select Noninteractive' | debconf-set-selections\n"
    ))
}

/// `12`, `0rc1`
fn is_micro(text: &str) -> bool {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, rest) = text.split_at(digits);
    let candidate =
        rest.strip_prefix("rc").map_or(rest, |digits| digits.trim_start_matches(|c: char| c.is_ascii_digit()));
    (1..=2).contains(&number.len()) && candidate.is_empty()
}

fn run(command: &RunCommand) -> String {
    match command {
        RunCommand::Shell(command) => format!("RUN {command}\n"),
        RunCommand::Words(words) => {
            let quoted = words.iter().map(|word| format!("\"{}\"", word.replace('"', "\\\\\\\"").replace('\'', "\\'")));
            format!("RUN {}\n", quoted.collect::<Vec<_>>().join(" "))
        }
    }
}

fn env(dialect: Dialect, variables: &[(String, String)]) -> Result<String> {
    let mut text = String::new();
    for (name, value) in variables {
        if name.is_empty() || name.contains(|c: char| c == '=' || c.is_whitespace()) {
            return Err(Error::invalid(format!("{name:?} cannot be the name of an environment variable")));
        }
        let _ = writeln!(text, "ENV {name}={}", quote::quote(dialect, value));
    }
    Ok(text)
}

fn exec_form(instruction: &str, words: &[String]) -> String {
    let words = if words.is_empty() { String::new() } else { format!("\"{}\"", words.join("\", \"")) };
    format!("{instruction} [{words}]\n")
}

/// Refuses what is not a regular file.
fn file(local: &LocalPath, what: &str) -> Result<()> {
    match std::fs::metadata(&local.expanded) {
        Ok(found) if found.is_file() => Ok(()),
        Ok(_) => Err(Error::invalid(format!("{what} path {} is not a file", local.given))),
        Err(error) => Err(missing(&format!("{what} file"), local, error)),
    }
}

/// Refuses what is not a directory.
fn directory(local: &LocalPath, what: &str) -> Result<()> {
    match std::fs::metadata(&local.expanded) {
        Ok(found) if found.is_dir() => Ok(()),
        Ok(_) => Err(Error::invalid(format!("{what} {} is not a directory", local.given))),
        Err(error) => Err(missing(what, local, error)),
    }
}

fn missing(what: &str, local: &LocalPath, error: std::io::Error) -> Error {
    let path = &local.expanded;
    match error.kind() {
        std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory => {
            Error::new(ErrorKind::NotFound, format!("{what} {path} does not exist"))
        }
        _ => Error::invalid(format!("{what} {path} cannot be read: {error}")).with_cause(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(dialect: Dialect, step: serde_json::Value) -> Result<String> {
        Image::of(dialect, &serde_json::from_value(step).unwrap()).map(|image| image.dockerfile)
    }

    #[test]
    fn versions_of_python() {
        let from = |dialect, version: Option<&str>| {
            let step = Step::DebianSlim { python_version: version.map(str::to_owned) };
            Image::of(dialect, &step).map(|image| image.dockerfile.lines().next().unwrap().to_owned())
        };
        assert_eq!(from(Dialect::TypeScript, None).unwrap(), "FROM python:3.13.3-slim-bookworm");
        assert_eq!(from(Dialect::Python, Some("3.9")).unwrap(), "FROM python:3.9.22-slim-bookworm");
        assert_eq!(from(Dialect::Python, Some("3.12.0rc1")).unwrap(), "FROM python:3.12.0rc1-slim-bookworm");
        for bad in ["", "3", "3.8", "2.7", "3.14", "3.12rc1", "3.12.", "3.12.123", "3.12.1x"] {
            assert_eq!(from(Dialect::Python, Some(bad)).unwrap_err().kind(), ErrorKind::InvalidArgument, "{bad}");
        }
        assert!(from(Dialect::TypeScript, Some("3.12.1")).is_err());
    }

    #[test]
    fn words_and_lists() {
        let run = text(Dialect::Python, serde_json::json!({"step": "run_commands", "commands": ["a b", ["x", "\"'"]]}));
        assert_eq!(run.unwrap(), "RUN a b\nRUN \"x\" \"\\\\\\\"\\'\"\n");
        let cmd = |words: &[&str]| text(Dialect::Python, serde_json::json!({"step": "cmd", "command": words})).unwrap();
        assert_eq!(cmd(&[]), "CMD []\n");
        assert_eq!(cmd(&["a", "b c"]), "CMD [\"a\", \"b c\"]\n");
    }

    #[test]
    fn what_cannot_be_right_is_refused() {
        for step in [
            serde_json::json!({"step": "base", "image": " "}),
            serde_json::json!({"step": "env", "variables": [["A B", "c"]]}),
            serde_json::json!({"step": "add_local_dir", "path": {"given": "/etc/passwd", "expanded": "/etc/passwd"}, "remotePath": "/x"}),
        ] {
            assert_eq!(text(Dialect::Python, step.clone()).unwrap_err().kind(), ErrorKind::InvalidArgument, "{step}");
        }
        let step = serde_json::json!({"step": "add_local_file", "path": {"given": "/no/x", "expanded": "/no/x"}, "remotePath": "/x"});
        assert_eq!(text(Dialect::Python, step).unwrap_err().kind(), ErrorKind::NotFound);
        assert!(ImageSource::from("a b").check().is_err() && ImageSource::from(Image::default()).check().is_err());
    }
}
