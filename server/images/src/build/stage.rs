//! One stage: its instructions in order.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::Digest as _;

use super::items::{Content, Item};
use super::{Build, Built, copy, expand, field, key, platform_arg, run, users};
use crate::dockerfile::{Command, Instruction, Step, trigger};
use crate::image::Layer;
use crate::pull::blocking;
use crate::store::Lease;
use crate::view::View;
use crate::{Error, Result, digest};

/// A stage in the making.
pub(super) struct Making {
    pub(super) built: Built,
    /// Which stage, in the plan.
    pub(super) at: usize,
    /// CMD was given here: ENTRYPOINT leaves it.
    own_cmd: bool,
}

pub(super) async fn run(build: &mut Build<'_>, at: usize) -> Result<Built> {
    let stage = &build.plan.stages[at];
    let name = build.global(&stage.base, stage.line)?;
    build.announce(&stage.text);
    let base = build.base(&name, at).await?;
    let mut making = Making { built: base, at, own_cmd: false };
    made(build, &making);
    for text in std::mem::take(&mut making.built.config.on_build) {
        build.say(&format!("# Executing build trigger: {text}"));
        for step in trigger(&text)? {
            making.step(build, &step).await?;
        }
    }
    for step in &stage.steps {
        build.announce(&step.text);
        making.step(build, step).await?;
        made(build, &making);
    }
    Ok(making.built)
}

/// The line of the log that ends a step: what the image would be called now.
fn made(build: &Build<'_>, making: &Making) {
    let record = serde_json::to_vec(&making.built.config).unwrap_or_default();
    let id = key(|hash| {
        hash.update(&record);
        making.parents(hash);
    });
    build.say(&format!(" ---> {}", &digest::hex(&id)[..12]));
}

impl Making {
    pub(super) fn view(&self, build: &Build<'_>) -> View {
        self.built.view(build.store)
    }

    /// The value of a variable: ENV comes before ARG.
    pub(super) fn value(&self, name: &str) -> Option<String> {
        self.built.config.variable(name).map(str::to_owned).or_else(|| self.built.args.get(name).cloned())
    }

    pub(super) fn expand(&self, build: &Build<'_>, text: &str, line: usize) -> Result<String> {
        expand(text, build.plan.escape, line, &|name| self.value(name))
    }

    pub(super) fn parents(&self, hash: &mut sha2::Sha256) {
        for layer in &self.built.layers {
            field(hash, &layer.diff_id);
        }
    }

    pub(super) fn push(&mut self, build: &Build<'_>, (layer, lease): (Layer, Lease)) -> Result<()> {
        self.built.layers.push(layer);
        self.built.lease.extend(lease);
        let most = build.store.inner.options.limits.layers;
        if self.built.layers.len() > most {
            return Err(Error::TooLarge { what: "the image".to_owned(), limit: format!("{most} layers") });
        }
        Ok(())
    }

    /// The directory that relative paths begin at.
    pub(super) fn workdir(&self) -> PathBuf {
        Path::new("/").join(&self.built.config.working_dir)
    }

    async fn step(&mut self, build: &mut Build<'_>, step: &Step) -> Result<()> {
        let line = step.line;
        let done = match &step.instruction {
            Instruction::Run(run) => run::run(build, self, run, step).await,
            Instruction::Copy(copy) => copy::copy(build, self, copy, step).await,
            Instruction::Workdir(path) => self.set_workdir(build, path, line).await,
            Instruction::Arg(args) => self.arg(build, args, line),
            other => self.configure(build, other, line),
        };
        done.map_err(|error| match error {
            // What a file operation could not do belongs to its step.
            Error::Io { what, source } => {
                Error::Step { step: step.text.clone(), why: format!("{what}: {source}"), exit_code: None }
            }
            other => other,
        })
    }

    fn arg(&mut self, build: &mut Build<'_>, args: &[(String, Option<String>)], line: usize) -> Result<()> {
        for (name, default) in args {
            let given = build.options.args.get(name).cloned();
            if given.is_some() {
                build.used.insert(name.clone());
            }
            let value = match (given, default) {
                (Some(value), _) => Some(value),
                (None, Some(default)) => Some(self.expand(build, default, line)?),
                (None, None) => build.globals.get(name).cloned().or_else(|| platform_arg(name)),
            };
            match value {
                Some(value) => self.built.args.insert(name.clone(), value),
                None => self.built.args.remove(name),
            };
        }
        Ok(())
    }

    /// Instructions that change the configuration alone.
    fn configure(&mut self, build: &Build<'_>, instruction: &Instruction, line: usize) -> Result<()> {
        match instruction {
            Instruction::Env(pairs) => {
                for (name, value) in self.pairs(build, pairs, line)? {
                    self.built.config.set_variable(&name, &value);
                }
            }
            Instruction::Label(pairs) => {
                let pairs = self.pairs(build, pairs, line)?;
                self.built.config.labels.extend(pairs);
            }
            Instruction::User(user) => self.built.config.user = self.expand(build, user, line)?,
            Instruction::StopSignal(signal) => self.built.config.stop_signal = self.expand(build, signal, line)?,
            Instruction::Entrypoint(command) => {
                self.built.config.entrypoint = self.command(command);
                if !self.own_cmd {
                    self.built.config.cmd.clear();
                }
            }
            Instruction::Cmd(command) => {
                self.built.config.cmd = self.command(command);
                self.own_cmd = true;
            }
            Instruction::Shell(shell) => self.built.config.shell.clone_from(shell),
            Instruction::Expose(ports) => {
                for port in ports {
                    let mut port = self.expand(build, port, line)?;
                    if !port.contains('/') {
                        port.push_str("/tcp");
                    }
                    self.built.config.exposed_ports.insert(port, serde_json::json!({}));
                }
            }
            Instruction::Volume(paths) => {
                for path in paths {
                    let path = self.expand(build, path, line)?;
                    self.built.config.volumes.insert(path, serde_json::json!({}));
                }
            }
            Instruction::Noted(why) => build.say(&format!(" ---> [Warning] without effect: {why}")),
            Instruction::Run(_) | Instruction::Copy(_) | Instruction::Workdir(_) | Instruction::Arg(_) => {}
        }
        Ok(())
    }

    /// Values are those from before the instruction, also of names that it sets.
    fn pairs(&self, build: &Build<'_>, pairs: &[(String, String)], line: usize) -> Result<Vec<(String, String)>> {
        let pair =
            |(name, value): &(String, String)| Ok((self.expand(build, name, line)?, self.expand(build, value, line)?));
        pairs.iter().map(pair).collect()
    }

    pub(super) fn command(&self, command: &Command) -> Vec<String> {
        match command {
            Command::Exec(argv) => argv.clone(),
            Command::Shell(text) => self.shell(text),
        }
    }

    pub(super) fn shell(&self, text: &str) -> Vec<String> {
        let shell = &self.built.config.shell;
        let mut argv = if shell.is_empty() { vec!["/bin/sh".to_owned(), "-c".to_owned()] } else { shell.clone() };
        argv.push(text.to_owned());
        argv
    }

    async fn set_workdir(&mut self, build: &Build<'_>, path: &str, line: usize) -> Result<()> {
        let path = self.expand(build, path, line)?;
        let path = clean(&self.workdir().join(path));
        self.built.config.working_dir = path.display().to_string();
        self.make_workdir(build).await
    }

    /// Makes the working directory where it is missing, for the user who is to work there.
    async fn make_workdir(&mut self, build: &Build<'_>) -> Result<()> {
        let (view, path) = (self.view(build), self.workdir());
        let named = |error| Error::io("looking for the working directory", error);
        // In this thread: it takes less time than to hand it to another.
        if view.find(&path, true).map_err(named)?.is_some() {
            return Ok(());
        }
        let target = view.resolve(&path).map_err(named)?;
        // A user whom the image does not know is named by the first step that runs as one.
        let owner = users::owner(&view, &self.built.config.user).unwrap_or((0, 0));
        let step = key(|hash| {
            self.parents(hash);
            field(hash, "WORKDIR");
            field(hash, &format!("{} {owner:?}", target.display()));
        });
        let mut folders: Vec<_> = target.ancestors().filter(|folder| *folder != Path::new("/")).collect();
        folders.reverse();
        let folder = |target: &Path| Item {
            target: target.to_owned(),
            content: Content::Folder,
            mode: 0o755,
            owner,
            time: None,
        };
        let items = folders.into_iter().map(folder).collect();
        let layer = copy::layer(build, &step, items, view, Vec::new()).await?;
        self.push(build, layer)
    }
}

/// Without `.` and `..`.
pub(super) fn clean(path: &Path) -> PathBuf {
    let mut clean = PathBuf::from("/");
    for part in path.components() {
        match part {
            std::path::Component::Normal(name) => clean.push(name),
            std::path::Component::ParentDir => {
                clean.pop();
            }
            _ => {}
        }
    }
    clean
}

/// The layer that a step has made earlier.
pub(super) async fn cached(build: &Build<'_>, step: &str) -> Option<(Layer, Lease)> {
    if build.options.no_cache {
        return None;
    }
    let (inner, step) = (Arc::clone(&build.store.inner), digest::hex(step).to_owned());
    let found = match inner.known_step(&step) {
        Some(found) => Some(found),
        None => blocking(move || Ok(inner.noted_step(&step))).await.ok().flatten(),
    };
    if found.is_some() {
        build.say(" ---> Using cache");
    }
    found
}
