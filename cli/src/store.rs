//! `store`: what to do when the store of a local server is lost.

use std::path::PathBuf;

use clap::Subcommand;
use daytona_server::{Found, Rebuild, RebuildError, Rebuilt, ServeError};

use crate::context::{Context, Failure, Outcome};
use crate::output::{Text, Tone};

/// Of `serve` too: a server runs on the data directory.
const IN_USE: u8 = 3;

/// What to do with a store.
#[derive(Subcommand, Debug)]
pub(crate) enum Store {
    /// Make a new store of the sandboxes, snapshots, volumes and archives that lie on disk.
    ///
    /// Each has a manifest, which says what it is. Nothing is deleted: a store that was there keeps lying beside the new
    /// one, and what is not taken back goes to lost+found at the next start of the server. API keys, secrets and warm
    /// pools are in the store alone: they have to be made again, unless it can be read.
    Rebuild {
        /// The data directory [default: $XDG_DATA_HOME/daytona-native or ~/.local/share/daytona-native].
        dir: Option<PathBuf>,
        /// Only show what would be taken back.
        #[arg(long)]
        dry_run: bool,
        /// Also where the store can be read: its records are kept, and what it does not know is added.
        #[arg(long)]
        force: bool,
    },
}

/// The data directory of a command that needs no server.
pub(crate) fn data_dir(given: Option<&PathBuf>) -> Outcome<PathBuf> {
    given
        .cloned()
        .or_else(daytona_server::default_dir)
        .ok_or_else(|| Failure::usage("neither XDG_DATA_HOME nor HOME is set: name the data directory"))
}

pub(crate) async fn run(context: &Context, args: &Store) -> Outcome {
    let Store::Rebuild { dir, dry_run, force } = args;
    let options = Rebuild { data_dir: data_dir(dir.as_ref())?, dry_run: *dry_run, force: *force };
    let done = daytona_server::rebuild(options).await.map_err(|error| match error {
        RebuildError::DataDir(ServeError::InUse { .. }) => Failure::Own(error.to_string(), IN_USE),
        RebuildError::Missing(_) => Failure::Own(error.to_string(), 5),
        error => Failure::new(error.to_string()),
    })?;
    if context.out.json {
        return context.out.json(&done);
    }
    show(context, &done)
}

fn show(context: &Context, done: &Rebuilt) -> Outcome {
    let row = |found: &Found| {
        let tone = if found.taken { Tone::Good } else { Tone::Busy };
        vec![
            Text::from(found.kind),
            Text::from(&*found.id),
            Text::from(&*found.name),
            Text(if found.taken { found.state.clone() } else { "left".to_owned() }, tone),
            Text::from(found.note.as_deref().unwrap_or("")),
        ]
    };
    let rows: Vec<_> = done.found.iter().map(row).collect();
    if !rows.is_empty() {
        context.out.table(&["KIND", "ID", "NAME", "STATE", "NOTE"], &[], &[], &rows)?;
    }
    let taken = done.found.iter().filter(|found| found.taken).count();
    let left = done.found.len() - taken;
    let words = if done.dry_run { "would be taken back" } else { "taken back" };
    let mut text = format!("{taken} {words}, {left} left where it is");
    if let Some(previous) = &done.previous {
        text = format!("{text}; the old store is {}", previous.display());
    }
    context.out.line(format!("{} {text}", context.out.paint(Tone::Good, "✓")))
}
