//! `mcp init` and `mcp config`: the settings of AI agents. What is in them stays as it is, to the byte.

mod edit;

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::{Agent, Entry};
use crate::context::{Context, Failure, Global, Outcome};
use crate::output::Tone;

/// Under which name agents know the server.
const NAME: &str = "daytona-mcp";
const SERVERS: &str = "mcpServers";
/// Keys may be in it.
const PRIVATE: u32 = 0o600;

impl Agent {
    /// Where it keeps its settings.
    fn file(self) -> Outcome<PathBuf> {
        let home = std::env::var_os("HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
        let home = home.ok_or_else(|| Failure::usage("HOME is not set: name the file with --file"))?;
        Ok(match self {
            Self::Claude if cfg!(target_os = "macos") => {
                home.join("Library/Application Support/Claude/claude_desktop_config.json")
            }
            Self::Claude => {
                let config = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
                config.unwrap_or_else(|| home.join(".config")).join("Claude/claude_desktop_config.json")
            }
            Self::Cursor => home.join(".cursor/mcp.json"),
            Self::Windsurf => home.join(".codeium/windsurf/mcp_config.json"),
        })
    }

    fn name(self) -> &'static str {
        match self {
            Self::Claude => "Claude",
            Self::Cursor => "Cursor",
            Self::Windsurf => "Windsurf",
        }
    }
}

/// What an agent is to start: this program as it is here.
fn entry(global: Global, entry: &Entry) -> Outcome<Map<String, Value>> {
    let exe = std::env::current_exe().map_err(|error| Failure::new(format!("the program's own file: {error}")))?;
    let mut env = Map::new();
    if global.local {
        env.insert("DAYTONA_API_URL".to_owned(), "local".into());
    }
    if let Some(runtime) = global.local_runtime {
        env.insert("DAYTONA_LOCAL_RUNTIME".to_owned(), runtime.as_str().into());
    }
    let mut names = vec!["DAYTONA_API_URL", "DAYTONA_LOCAL_RUNTIME", "DAYTONA_TARGET"];
    if entry.save_key {
        names.push("DAYTONA_API_KEY");
    }
    for name in names {
        match std::env::var(name) {
            Ok(value) if !value.is_empty() && !env.contains_key(name) => {
                env.insert(name.to_owned(), value.into());
            }
            _ if name == "DAYTONA_API_KEY" => {
                return Err(Failure::usage("DAYTONA_API_KEY not set, so it cannot be saved"));
            }
            _ => {}
        }
    }
    let mut entry = Map::new();
    entry.insert("command".to_owned(), exe.display().to_string().into());
    entry.insert("args".to_owned(), json!(["mcp"]));
    if !env.is_empty() {
        entry.insert("env".to_owned(), env.into());
    }
    Ok(entry)
}

pub(super) fn print(context: &Context, global: Global, args: &Entry) -> Outcome {
    let mut servers = Map::new();
    servers.insert(NAME.to_owned(), entry(global, args)?.into());
    let text = serde_json::to_string_pretty(&json!({ SERVERS: servers }));
    context.out.line(text.map_err(|error| Failure::new(error.to_string()))?)
}

pub(super) fn init(context: &Context, global: Global, agent: Agent, args: &Entry, file: Option<&Path>) -> Outcome {
    let entry = entry(global, args)?;
    let path = match file {
        Some(file) => std::path::absolute(file).map_err(|error| Failure::new(error.to_string()))?,
        None => agent.file()?,
    };
    let cannot = |what: &str, error: std::io::Error| Failure::new(format!("{what} {}: {error}", path.display()));
    // A link stays one: what it leads to is changed.
    let real = path.canonicalize().unwrap_or_else(|_| path.clone());
    let (before, mode) = match std::fs::read_to_string(&real) {
        Ok(text) => {
            let metadata = real.metadata().map_err(|error| cannot("read", error))?;
            (Some(text), metadata.permissions().mode() & 0o777)
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => (None, PRIVATE),
        Err(error) => return Err(cannot("read", error)),
    };
    let after = edit::with_server(before.as_deref().unwrap_or_default(), SERVERS, NAME, &entry).map_err(|reason| {
        Failure::new(format!(
            "{} was left as it is: {reason}. Add what `daytona-native mcp config` prints by hand",
            path.display()
        ))
    })?;
    let mut backup = None;
    if before.as_deref() != Some(&*after) {
        if before.is_some() {
            backup = Some(back_up(&real).map_err(|error| cannot("back up", error))?);
        }
        let mode = if args.save_key { mode & PRIVATE } else { mode };
        replace(&real, &after, mode).map_err(|error| cannot("write", error))?;
    }
    let local = entry.get("env").and_then(|env| env.get("DAYTONA_API_URL")).is_some_and(|url| url == "local");
    let needs_key = !local && !args.save_key;
    if context.out.json {
        return context.out.json(&json!({ "file": path, "backup": backup, "server": NAME, "needsKey": needs_key }));
    }
    let tick = context.out.paint(Tone::Good, "✓");
    context.out.line(format!("{tick} {} uses {NAME} now: {}", agent.name(), path.display()))?;
    if let Some(backup) = backup {
        context.out.line(context.out.paint(Tone::Dim, &format!("  as it was: {}", backup.display())))?;
    }
    context.out.line(format!("  Restart {} to see it.", agent.name()))?;
    if needs_key {
        context.out.note(
            "the key is not in the settings, and the agent does not see your shell's variables: repeat this with \
             --save-key, or with --local for the local server",
        );
    }
    Ok(())
}

/// A copy under a name that is free.
fn back_up(path: &Path) -> std::io::Result<PathBuf> {
    let mut name = path.as_os_str().to_owned();
    name.push(".bak");
    let mut number = 0;
    loop {
        let mut backup = name.clone();
        if number > 0 {
            backup.push(format!(".{number}"));
        }
        let backup = PathBuf::from(backup);
        if !backup.exists() {
            std::fs::copy(path, &backup)?;
            return Ok(backup);
        }
        number += 1;
    }
}

/// The whole file or the old one, whatever happens meanwhile.
fn replace(path: &Path, text: &str, mode: u32) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    std::fs::create_dir_all(folder)?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(text.as_bytes())?;
    file.as_file().set_permissions(std::fs::Permissions::from_mode(mode))?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}
