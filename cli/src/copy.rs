//! `cp`: files and folders into a sandbox and out of it.

mod down;
mod up;

use std::path::PathBuf;
use std::sync::Arc;

use daytona_core::{Sandbox, Transfer};
use indicatif::{HumanBytes, ProgressBar, ProgressStyle};
use serde_json::json;

use crate::context::{Context, Failure, Outcome};
use crate::output::Tone;

/// Files in one request.
const BATCH: usize = 200;

/// From where to where.
#[derive(clap::Args, Debug)]
#[command(
    after_help = "`ID:PATH` is a path in a sandbox, from its work dir where it does not start with `/`; `./a:b` is a \
local file with a colon. Folders go with all they hold. A destination that is a folder, or ends with `/`, gets what is \
copied under its own name.\n\n  daytona-native cp src.tar box:/tmp/\n  daytona-native cp box:results ./results"
)]
pub(crate) struct Copy {
    /// What to copy, and last where to: one side is in a sandbox.
    #[arg(value_name = "PATH", required = true, num_args = 2..)]
    paths: Vec<String>,
}

/// A path here or there.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    Local(PathBuf),
    Remote { id: String, path: String },
}

impl Place {
    fn parse(text: &str) -> Self {
        match text.split_once(':') {
            Some((id, path)) if !id.is_empty() && !id.contains('/') => {
                Self::Remote { id: id.to_owned(), path: if path.is_empty() { "." } else { path }.to_owned() }
            }
            _ => Self::Local(PathBuf::from(text)),
        }
    }
}

/// What was copied.
#[derive(Debug, Default)]
struct Copied {
    files: u64,
    bytes: u64,
    /// What could not be, and why.
    failed: Vec<String>,
}

pub(crate) async fn run(context: &Context, args: &Copy) -> Outcome {
    let (last, sources) = args.paths.split_last().ok_or_else(|| Failure::usage("say what to copy, and where to"))?;
    if args.paths.iter().any(|path| path == "-") {
        return Err(Failure::usage(
            "- is no file: `daytona-native exec ID -- cat PATH` writes one to the standard output; ./- is a file of that \
             name",
        ));
    }
    let sources: Vec<Place> = sources.iter().map(|text| Place::parse(text)).collect();
    let copied = match Place::parse(last) {
        Place::Remote { id, path } => {
            let mut local = Vec::new();
            for source in sources {
                match source {
                    Place::Local(source) => local.push(source),
                    Place::Remote { .. } => {
                        return Err(Failure::usage("copy from one sandbox to another in two steps, by a local folder"));
                    }
                }
            }
            let sandbox = context.sandbox(&id).await?;
            up::copy(context, &sandbox, &local, &path).await?
        }
        Place::Local(destination) => {
            let mut remote = Vec::new();
            for source in sources {
                match source {
                    Place::Remote { id, path } => remote.push((id, path)),
                    Place::Local(_) => {
                        return Err(Failure::usage("neither side is in a sandbox: write ID:PATH for one of them"));
                    }
                }
            }
            let client = context.client()?;
            let mut sandboxes: Vec<(Sandbox, String)> = Vec::new();
            for (id, path) in remote {
                sandboxes.push((client.get(&id, None).await?, path));
            }
            down::copy(context, &sandboxes, &destination).await?
        }
    };
    for failure in &copied.failed {
        context.out.note(failure);
    }
    if context.out.json {
        context.out.json(&json!({ "files": copied.files, "bytes": copied.bytes, "failed": copied.failed }))?;
    } else if copied.failed.is_empty() {
        let files = if copied.files == 1 { "1 file".to_owned() } else { format!("{} files", copied.files) };
        let tick = context.out.paint(Tone::Good, "✓");
        context.out.line(format!("{tick} {files}, {} copied to {last}", HumanBytes(copied.bytes)))?;
    }
    match copied.failed.len() {
        0 => Ok(()),
        failed => Err(Failure::new(format!("{failed} of {} files were not copied", copied.files + failed as u64))),
    }
}

/// A bar over all that is copied, on a terminal.
fn bar(context: &Context, total: u64) -> ProgressBar {
    if !context.out.progress {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(total);
    let template = if context.out.color_err {
        "{bar:20.green/dim} {binary_bytes:>10} of {binary_total_bytes} {binary_bytes_per_sec:>12} {wide_msg:.dim}"
    } else {
        "{bar:20} {binary_bytes:>10} of {binary_total_bytes} {binary_bytes_per_sec:>12} {wide_msg}"
    };
    bar.set_style(ProgressStyle::with_template(template).expect("the template is well-formed").progress_chars("━╸─"));
    bar
}

/// One request's part of the whole.
fn transfer(bar: &ProgressBar, before: u64) -> Transfer {
    let bar = bar.clone();
    Transfer { progress: Some(Arc::new(move |moved, _| bar.set_position(before + moved))), ..Transfer::default() }
}

/// A path in a sandbox beneath another.
fn join(folder: &str, name: &str) -> String {
    match folder {
        // Alone, it would be the home.
        "" | "." if name.starts_with('~') => format!("./{name}"),
        "" | "." => name.to_owned(),
        _ => format!("{}/{name}", folder.trim_end_matches('/')),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_colon_after_a_name_means_a_sandbox() {
        let remote = |id: &str, path: &str| Place::Remote { id: id.to_owned(), path: path.to_owned() };
        assert_eq!(Place::parse("box:/tmp/a"), remote("box", "/tmp/a"));
        assert_eq!(Place::parse("box:"), remote("box", "."));
        assert_eq!(Place::parse("./a:b"), Place::Local("./a:b".into()));
        assert_eq!(Place::parse("plain"), Place::Local("plain".into()));
    }

    #[test]
    fn paths_are_joined_once() {
        assert_eq!(join("/tmp/", "a"), "/tmp/a");
        assert_eq!(join(".", "a"), "a");
        assert_eq!(join("/", "a"), "/a");
        assert_eq!(join(".", "~"), "./~");
        assert_eq!(join("~/", "a"), "~/a");
    }
}
