//! From lines to instructions.

use std::collections::HashMap;

use super::lines::{Line, split};
use super::words::{self, WordError};
use super::{Command, Copy, Instruction, Plan, Run, RunMount, RunMountKind, Sharing, Source, Stage, Step};
use crate::{Error, Result, digest};

pub(super) fn plan(text: &str) -> Result<Plan> {
    let (lines, escape) = split(text)?;
    let mut plan = Plan { escape, args: Vec::new(), stages: Vec::new() };
    for line in &lines {
        let reader = Reader { line, escape };
        let text = format!("{} {}", line.keyword, line.rest);
        if line.keyword == "FROM" {
            let stage = reader.from(text)?;
            if let Some(name) = &stage.name
                && plan.stages.iter().any(|other| other.name.as_ref() == Some(name))
            {
                return Err(reader.bad(format!("two stages have the name {name}")));
            }
            plan.stages.push(stage);
            continue;
        }
        let instruction = reader.instruction()?;
        match (plan.stages.last_mut(), instruction) {
            (Some(stage), instruction) => stage.steps.push(Step { line: line.number, text, instruction }),
            (None, Instruction::Arg(args)) => {
                plan.args.extend(args.into_iter().map(|(name, value)| (line.number, name, value)));
            }
            (None, _) => return Err(reader.bad(format!("{} before FROM: only ARG may be there", line.keyword))),
        }
    }
    if plan.stages.is_empty() {
        return Err(Error::Dockerfile { line: 1, why: "there is no FROM: a build begins with an image".to_owned() });
    }
    Ok(plan)
}

struct Reader<'a> {
    line: &'a Line,
    escape: char,
}

/// `--name=value` before the arguments.
type Flags = Vec<(String, Option<String>)>;

impl Reader<'_> {
    fn bad(&self, why: impl Into<String>) -> Error {
        Error::Dockerfile { line: self.line.number, why: why.into() }
    }

    fn unsupported(&self, what: impl Into<String>) -> Error {
        Error::Unsupported { what: what.into(), line: Some(self.line.number) }
    }

    /// Sees to it that the variables of a text can be replaced later.
    fn checked(&self, text: &str) -> Result<String> {
        match words::expand(text, self.escape, &|_| Some("x".to_owned())) {
            Ok(_) => Ok(text.to_owned()),
            Err(WordError::Bad(why)) => Err(self.bad(why)),
            Err(WordError::Unsupported(what)) => Err(self.unsupported(what)),
        }
    }

    fn whole(&self) -> Result<String> {
        if self.line.rest.is_empty() {
            return Err(self.bad(format!("{} needs an argument", self.line.keyword)));
        }
        self.checked(&self.line.rest)
    }

    fn from(&self, text: String) -> Result<Stage> {
        let (flags, rest) = self.flags();
        let mut platform = None;
        for (name, value) in flags {
            match (name.as_str(), value) {
                ("platform", Some(value)) => platform = Some(self.checked(&value)?),
                _ => return Err(self.bad(format!("FROM has no option --{name}"))),
            }
        }
        let words: Vec<_> = rest.split_whitespace().collect();
        let (base, name) = match words[..] {
            [base] => (base, None),
            [base, r#as, name] if r#as.eq_ignore_ascii_case("as") => (base, Some(name.to_ascii_lowercase())),
            _ => return Err(self.bad("FROM is followed by an image, or by an image, AS and a name")),
        };
        let named = |name: &String| {
            name.starts_with(|c: char| c.is_ascii_lowercase())
                && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_.".contains(&b))
        };
        if let Some(name) = name.as_ref().filter(|name| !named(name)) {
            return Err(self.bad(format!("{name:?} is no name of a stage: letters, digits, - _ and . after a letter")));
        }
        let base = self.checked(base)?;
        Ok(Stage { line: self.line.number, text, name, base, platform, steps: Vec::new() })
    }

    fn instruction(&self) -> Result<Instruction> {
        let rest = self.line.rest.as_str();
        if rest.is_empty() {
            return Err(match self.line.keyword.as_str() {
                known if KEYWORDS.contains(&known) => self.bad(format!("{known} needs an argument")),
                unknown => self.bad(format!("unknown instruction {unknown}")),
            });
        }
        Ok(match self.line.keyword.as_str() {
            "RUN" => Instruction::Run(self.run()?),
            "COPY" => Instruction::Copy(self.copy(false)?),
            "ADD" => Instruction::Copy(self.copy(true)?),
            "ENV" => Instruction::Env(self.pairs()?),
            "LABEL" => Instruction::Label(self.pairs()?),
            "ARG" => Instruction::Arg(self.args()?),
            "WORKDIR" => Instruction::Workdir(self.whole()?),
            "USER" => Instruction::User(self.whole()?),
            "STOPSIGNAL" => Instruction::StopSignal(self.whole()?),
            "ENTRYPOINT" => Instruction::Entrypoint(command(rest)),
            "CMD" => Instruction::Cmd(command(rest)),
            "SHELL" => match json(rest) {
                Some(shell) if !shell.is_empty() => Instruction::Shell(shell),
                _ => return Err(self.bad("SHELL needs a JSON list of strings: [\"/bin/bash\", \"-c\"]")),
            },
            "EXPOSE" => Instruction::Expose(self.list(rest)?),
            "VOLUME" => Instruction::Volume(match json(rest) {
                Some(paths) => paths,
                None => self.list(rest)?,
            }),
            "HEALTHCHECK" => Instruction::Noted("sandboxes have no health checks"),
            "MAINTAINER" => Instruction::Noted("a LABEL says the same"),
            "ONBUILD" => return Err(self.unsupported("ONBUILD")),
            unknown => return Err(self.bad(format!("unknown instruction {unknown}"))),
        })
    }

    fn list(&self, text: &str) -> Result<Vec<String>> {
        text.split_whitespace().map(|word| self.checked(word)).collect()
    }

    /// `name=value …`, or in the old form `name value`.
    fn pairs(&self) -> Result<Vec<(String, String)>> {
        let words = words::split(&self.line.rest, self.escape);
        if !words[0].contains('=') {
            let (name, value) =
                self.line.rest.split_once(char::is_whitespace).ok_or_else(|| {
                    self.bad(format!("{} {} has no value: {}=…", self.line.keyword, words[0], words[0]))
                })?;
            return Ok(vec![(name.to_owned(), self.checked(value.trim_start())?)]);
        }
        let pair = |word: &String| {
            let (name, value) = word.split_once('=').unwrap_or((word, ""));
            if name.is_empty() || !word.contains('=') {
                return Err(self.bad(format!("{word:?} is not name=value: values with spaces need quotes")));
            }
            Ok((self.checked(name)?, self.checked(value)?))
        };
        words.iter().map(pair).collect()
    }

    fn args(&self) -> Result<Vec<(String, Option<String>)>> {
        let words = words::split(&self.line.rest, self.escape);
        let arg = |word: &String| {
            let (name, value) = match word.split_once('=') {
                Some((name, value)) => (name, Some(self.checked(value)?)),
                None => (word.as_str(), None),
            };
            if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
                return Err(self.bad(format!("{word:?} is not name or name=default")));
            }
            Ok((name.to_owned(), value))
        };
        words.iter().map(arg).collect()
    }

    fn flags(&self) -> (Flags, &str) {
        let mut rest = self.line.rest.as_str();
        let mut flags = Vec::new();
        while let Some(flag) = rest.strip_prefix("--") {
            let (flag, after) = flag.split_once(char::is_whitespace).unwrap_or((flag, ""));
            flags.push(match flag.split_once('=') {
                Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                None => (flag.to_owned(), None),
            });
            rest = after.trim_start();
        }
        (flags, rest)
    }

    fn run(&self) -> Result<Run> {
        let (flags, rest) = self.flags();
        let mut run = Run { command: command(rest), documents: Vec::new(), mounts: Vec::new(), no_network: false };
        for (name, value) in flags {
            let value = value.unwrap_or_default();
            match (name.as_str(), value.as_str()) {
                ("mount", _) => run.mounts.push(self.mount(&value)?),
                ("network", "none") => run.no_network = true,
                ("network", "default") | ("security", "sandbox") => {}
                ("network" | "security" | "device", _) => {
                    return Err(self.unsupported(format!("RUN --{name}={value}")));
                }
                _ => return Err(self.bad(format!("RUN has no option --{name}"))),
            }
        }
        if rest.is_empty() {
            return Err(self.bad("RUN needs a command"));
        }
        run.documents.clone_from(&self.line.documents);
        Ok(run)
    }

    fn mount(&self, text: &str) -> Result<RunMount> {
        let mut options: HashMap<&str, &str> = HashMap::new();
        for part in text.split(',') {
            let (name, value) = part.split_once('=').unwrap_or((part, "true"));
            let name = match name {
                "dst" | "destination" => "target",
                "src" => "source",
                "ro" => "readonly",
                "rw" => "readwrite",
                other => other,
            };
            options.insert(name, value);
        }
        let kind = options.remove("type").unwrap_or("bind");
        if matches!(kind, "secret" | "ssh") {
            return Err(self.unsupported(format!("RUN --mount=type={kind}")));
        }
        let number = |value: &str, radix| {
            u64::from_str_radix(value, radix)
                .map_err(|_| self.bad(format!("{value:?} is no number, in --mount={text}")))
        };
        let small = |value: &str, radix| number(value, radix).map(|n| u32::try_from(n).unwrap_or(u32::MAX));
        let target = options.remove("target").ok_or_else(|| self.bad(format!("--mount={text} has no target=")))?;
        let target = self.checked(target)?;
        let flag = |value: Option<&str>| value.is_some_and(|value| value != "false");
        let (ro, rw) = (flag(options.remove("readonly")), flag(options.remove("readwrite")));
        let (kind, read_only) = match kind {
            "cache" => {
                let sharing = match options.remove("sharing") {
                    None | Some("shared") => Sharing::Shared,
                    Some("locked") => Sharing::Locked,
                    Some("private") => Sharing::Private,
                    Some(other) => return Err(self.bad(format!("unknown sharing={other}"))),
                };
                if options.contains_key("from") || options.contains_key("source") {
                    return Err(self.unsupported("RUN --mount=type=cache with from or source"));
                }
                let id = options.remove("id").map(|id| self.checked(id)).transpose()?;
                let mode = options.remove("mode").map_or(Ok(0o755), |mode| small(mode, 8))?;
                let owner = (
                    options.remove("uid").map_or(Ok(0), |id| small(id, 10))?,
                    options.remove("gid").map_or(Ok(0), |id| small(id, 10))?,
                );
                (RunMountKind::Cache { id, sharing, mode, owner }, ro)
            }
            "tmpfs" => {
                let size =
                    options.remove("size").map(|size| bytes(size).ok_or_else(|| self.bad(format!("size={size}"))));
                (RunMountKind::Tmpfs { size: size.transpose()? }, ro)
            }
            "bind" => {
                let from = options.remove("from").map(|from| self.checked(from)).transpose()?;
                let source = self.checked(options.remove("source").unwrap_or("/"))?;
                (RunMountKind::Bind { from, source }, !rw)
            }
            other => return Err(self.bad(format!("unknown --mount=type={other}"))),
        };
        if let Some(name) = options.keys().next() {
            return Err(self.bad(format!("unknown option {name} in --mount={text}")));
        }
        Ok(RunMount { target, read_only, kind })
    }

    fn copy(&self, add: bool) -> Result<Copy> {
        let (flags, rest) = self.flags();
        let mut copy = Copy {
            add,
            from: None,
            chown: None,
            chmod: None,
            checksum: None,
            exclude: Vec::new(),
            sources: Vec::new(),
            target: String::new(),
        };
        let keyword = &self.line.keyword;
        for (name, value) in flags {
            let value = value.map(|value| self.checked(&value)).transpose()?;
            match (name.as_str(), value) {
                ("from", Some(from)) if !add => copy.from = Some(from),
                ("chown", Some(owner)) => copy.chown = Some(owner),
                ("chmod", Some(mode)) if mode.contains('$') || u32::from_str_radix(&mode, 8).is_ok() => {
                    copy.chmod = Some(mode);
                }
                ("chmod", Some(mode)) => return Err(self.unsupported(format!("--chmod={mode} (octal modes are)"))),
                ("checksum", Some(sum)) if add => {
                    if !sum.contains('$') && !digest::valid(&sum) {
                        return Err(self.unsupported(format!("--checksum={sum} (sha256:… is)")));
                    }
                    copy.checksum = Some(sum);
                }
                ("exclude", Some(pattern)) => copy.exclude.push(pattern),
                // A layer of its own is what every COPY makes here.
                ("link", None) => {}
                ("link", Some(value)) if value == "true" || value == "false" => {}
                ("parents" | "keep-git-dir" | "unpack", _) => {
                    return Err(self.unsupported(format!("{keyword} --{name}")));
                }
                _ => return Err(self.bad(format!("{keyword} has no option --{name}"))),
            }
        }
        let mut words = json(rest).unwrap_or_else(|| rest.split_whitespace().map(str::to_owned).collect());
        let target = words.pop().unwrap_or_default();
        if words.is_empty() {
            return Err(self.bad(format!("{keyword} needs a source and a target")));
        }
        if words.len() > 1 && !target.ends_with('/') && target != "." && target != ".." && !target.ends_with("/.") {
            return Err(self.bad(format!("{keyword} of several sources needs a folder as target: {target}/")));
        }
        copy.target = self.checked(&target)?;
        let mut documents = self.line.documents.iter();
        for word in words {
            if word.starts_with("<<")
                && let Some(document) = documents.next()
            {
                copy.sources.push(Source::Document(document.clone()));
                continue;
            }
            if add && is_git(&word) {
                return Err(self.unsupported(format!("ADD of the git repository {word}")));
            }
            copy.sources.push(Source::Path(self.checked(&word)?));
        }
        Ok(copy)
    }
}

const KEYWORDS: &[&str] = &[
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

pub(crate) fn is_git(source: &str) -> bool {
    let bare = source.split('#').next().unwrap_or(source);
    source.starts_with("git@")
        || source.starts_with("git://")
        || source.starts_with("ssh://")
        || (source.starts_with("http://") || source.starts_with("https://")) && bare.strip_suffix(".git").is_some()
}

/// A JSON list of strings, or a line for the shell.
fn command(text: &str) -> Command {
    json(text).map_or_else(|| Command::Shell(text.to_owned()), Command::Exec)
}

fn json(text: &str) -> Option<Vec<String>> {
    text.starts_with('[').then(|| serde_json::from_str(text).ok()).flatten()
}

/// `64m` and the like.
fn bytes(text: &str) -> Option<u64> {
    let lower = text.to_ascii_lowercase();
    let lower = lower.trim_end_matches('b');
    let digits = lower.trim_end_matches(['k', 'm', 'g']);
    let shift = match &lower[digits.len()..] {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_shl(shift)
}
