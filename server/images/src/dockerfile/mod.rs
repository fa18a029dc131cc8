//! Dockerfiles.

mod lines;
mod read;
#[cfg(test)]
mod tests;
pub(crate) mod words;

pub(crate) use lines::HereDoc;

use crate::{Error, Result};

/// A Dockerfile that was read and found to be feasible.
#[derive(Clone, Debug)]
pub struct Plan {
    pub(crate) escape: char,
    /// `ARG` before the first `FROM`: line, name, default.
    pub(crate) args: Vec<(usize, String, Option<String>)>,
    pub(crate) stages: Vec<Stage>,
}

#[derive(Clone, Debug)]
pub(crate) struct Stage {
    pub(crate) line: usize,
    /// As in the log.
    pub(crate) text: String,
    /// In lower case.
    pub(crate) name: Option<String>,
    pub(crate) base: String,
    pub(crate) platform: Option<String>,
    pub(crate) steps: Vec<Step>,
}

#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) line: usize,
    /// As in the log.
    pub(crate) text: String,
    pub(crate) instruction: Instruction,
}

/// Texts are as written, before variables are replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Instruction {
    Run(Run),
    Copy(Copy),
    Env(Vec<(String, String)>),
    Arg(Vec<(String, Option<String>)>),
    Label(Vec<(String, String)>),
    Workdir(String),
    User(String),
    Entrypoint(Command),
    Cmd(Command),
    Shell(Vec<String>),
    Expose(Vec<String>),
    Volume(Vec<String>),
    StopSignal(String),
    /// Accepted without effect, for the reason given.
    Noted(&'static str),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Exec(Vec<String>),
    Shell(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) command: Command,
    pub(crate) documents: Vec<HereDoc>,
    pub(crate) mounts: Vec<RunMount>,
    pub(crate) no_network: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RunMount {
    pub(crate) target: String,
    pub(crate) read_only: bool,
    pub(crate) kind: RunMountKind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RunMountKind {
    Cache { id: Option<String>, sharing: Sharing, mode: u32, owner: (u32, u32) },
    Tmpfs { size: Option<u64> },
    Bind { from: Option<String>, source: String },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sharing {
    Shared,
    Locked,
    Private,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Copy {
    /// ADD: URLs are fetched and archives unpacked.
    pub(crate) add: bool,
    pub(crate) from: Option<String>,
    pub(crate) chown: Option<String>,
    pub(crate) chmod: Option<String>,
    pub(crate) checksum: Option<String>,
    pub(crate) exclude: Vec<String>,
    pub(crate) sources: Vec<Source>,
    pub(crate) target: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Path(String),
    Document(HereDoc),
}

impl Plan {
    /// Reads a Dockerfile. What a build cannot do is refused here, by name and line.
    ///
    /// # Errors
    /// [`Error::Dockerfile`] where the text is wrong, [`Error::Unsupported`].
    pub fn parse(text: &str) -> Result<Self> {
        read::plan(text)
    }

    /// Images of registries that the build needs, as far as no build argument says otherwise.
    pub fn images(&self) -> Vec<String> {
        let default =
            |name: &str| self.args.iter().find(|(_, arg, _)| arg == name).and_then(|(_, _, value)| value.clone());
        let stage = |name: &str, before: usize| self.stage(name, before).is_some();
        let mut images = Vec::new();
        for (at, from) in self.stages.iter().enumerate() {
            let copied = from.steps.iter().filter_map(|step| match &step.instruction {
                Instruction::Copy(copy) => copy.from.as_ref(),
                _ => None,
            });
            for name in std::iter::once(&from.base).chain(copied) {
                let name = words::expand(name, self.escape, &default).unwrap_or_default();
                if !name.is_empty() && name != "scratch" && !stage(&name, at) && !images.contains(&name) {
                    images.push(name);
                }
            }
        }
        images
    }

    /// How many steps there are, of all stages.
    pub fn steps(&self) -> usize {
        self.args.len() + self.stages.iter().map(|stage| 1 + stage.steps.len()).sum::<usize>()
    }

    /// An earlier stage, by name or number.
    pub(crate) fn stage(&self, name: &str, before: usize) -> Option<usize> {
        let lower = name.to_ascii_lowercase();
        let named = self.stages[..before].iter().position(|stage| stage.name.as_deref() == Some(&lower));
        named.or_else(|| name.parse().ok().filter(|number| *number < before))
    }
}

/// Instructions that an image has for those built upon it.
pub(crate) fn trigger(text: &str) -> Result<Vec<Step>> {
    let plan = read::plan(&format!("FROM scratch\n{text}\n"))?;
    plan.stages.into_iter().next().map(|stage| stage.steps).ok_or(Error::Cancelled)
}
