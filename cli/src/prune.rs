//! `prune`: deletes what lies in the `lost+found` of a data directory.

use std::path::PathBuf;
use std::time::Duration;

use daytona_server::Lost;
use indicatif::HumanBytes;
use serde_json::json;

use crate::context::{Context, Failure, Outcome};
use crate::output::{Text, Tone, ago};
use crate::store::data_dir;

/// Show what a local server has moved to lost+found, and with --yes delete it.
#[derive(clap::Args, Debug)]
pub(crate) struct Prune {
    /// The data directory [default: $XDG_DATA_HOME/daytona-native or ~/.local/share/daytona-native].
    dir: Option<PathBuf>,
    /// Only what has been there for so long: `12h`, `30d`.
    #[arg(long, value_name = "TIME", value_parser = age, default_value = "0d")]
    older_than: Duration,
    /// Delete it; without this it is only shown.
    #[arg(long)]
    yes: bool,
}

fn age(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no time: use minutes, hours or days, as in 30m, 12h or 30d");
    let unit = text.chars().last().ok_or_else(wrong)?;
    let seconds = match unit {
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        _ => return Err(wrong()),
    };
    let count: u64 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
    count.checked_mul(seconds).map(Duration::from_secs).ok_or_else(wrong)
}

pub(crate) fn run(context: &Context, args: &Prune) -> Outcome {
    let dir = data_dir(args.dir.as_ref())?;
    if !dir.is_dir() {
        return Err(Failure::Own(format!("{}: there is no such data directory", dir.display()), 5));
    }
    let all: Vec<(Lost, u64)> = daytona_server::lost(&dir)
        .into_iter()
        .filter(|lost| lost.older_than(args.older_than))
        .map(|lost| {
            let bytes = lost.bytes();
            (lost, bytes)
        })
        .collect();
    if args.yes {
        for (lost, _) in &all {
            lost.delete().map_err(|error| Failure::new(format!("{}: {error}", lost.path.display())))?;
        }
    }
    let bytes: u64 = all.iter().map(|(_, bytes)| bytes).sum();
    if context.out.json {
        let entry = |(lost, bytes): &(Lost, u64)| {
            let mut entry = serde_json::to_value(lost).unwrap_or_default();
            entry["bytes"] = json!(bytes);
            entry
        };
        let entries: Vec<_> = all.iter().map(entry).collect();
        return context.out.json(&json!({
            "dataDir": dir, "deleted": args.yes, "bytes": bytes, "entries": entries,
        }));
    }
    if all.is_empty() {
        context.out.note(&format!("there is nothing to delete in {}", dir.join("lost+found").display()));
        return Ok(());
    }
    let row = |(lost, bytes): &(Lost, u64)| {
        vec![
            Text::from(&*lost.kind),
            Text::from(&*lost.from),
            Text::from(size(*bytes)),
            Text::from(ago(Some(&lost.moved_at))),
            Text::from(&*lost.reason),
        ]
    };
    let rows: Vec<_> = all.iter().map(row).collect();
    context.out.table(&["KIND", "FROM", "SIZE", "MOVED", "REASON"], &[2], &[], &rows)?;
    let total = format!("{} in lost+found, {}", rows.len(), size(bytes));
    if args.yes {
        return context.out.line(format!("{} {total}: deleted", context.out.paint(Tone::Good, "✓")));
    }
    context.out.note(&format!("{total}: nothing was deleted; add --yes to delete them"));
    Ok(())
}

/// Bytes for people.
pub(crate) fn size(bytes: u64) -> String {
    HumanBytes(bytes).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_have_a_unit() {
        assert_eq!(age("30d").unwrap(), Duration::from_secs(30 * 86_400));
        assert_eq!(age("90m").unwrap(), Duration::from_secs(5400));
        for wrong in ["", "d", "5", "-1d", "1w", "ü", "99999999999999999999d"] {
            assert!(age(wrong).is_err(), "{wrong:?}");
        }
    }
}
