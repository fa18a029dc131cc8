//! `list`, `info`, `start`, `stop`, `archive`, `pause`, `fork`, `delete`.

use std::collections::BTreeMap;

use daytona_core::wire::sandbox::{Sandbox as Data, SandboxState};
use daytona_core::{LANGUAGE_LABEL, ListQuery, Sandbox};
use serde_json::json;

use crate::context::{Context, Outcome, Target, Targets, pair};
use crate::output::{Text, Tone, ago, number};

/// Minutes.
const DAY: f64 = 1440.0;

/// Which sandboxes to list.
#[derive(clap::Args, Debug)]
pub(crate) struct List {
    /// Only those with this label; may be repeated.
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    label: Vec<(String, String)>,
    /// Only those in this state, such as started or stopped; may be repeated.
    #[arg(long)]
    state: Vec<String>,
    /// So many at most.
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Print ids alone.
    #[arg(long, short)]
    quiet: bool,
}

/// One sandbox or more, and how long to wait.
#[derive(clap::Args, Debug)]
pub(crate) struct Change {
    #[command(flatten)]
    targets: Targets,
    /// Seconds to wait for it; 0 is no limit [default: 60].
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<f64>,
}

#[derive(clap::Args, Debug)]
pub(crate) struct Stop {
    #[command(flatten)]
    change: Change,
    /// Kill what runs in it instead of asking it to end.
    #[arg(long)]
    force: bool,
}

#[derive(clap::Args, Debug)]
pub(crate) struct Fork {
    #[command(flatten)]
    target: Target,
    /// Name of the new sandbox.
    #[arg(long)]
    name: Option<String>,
    /// Seconds to wait for it; 0 is no limit [default: 60].
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<f64>,
}

/// A call that changes a sandbox.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Verb {
    Start,
    Archive,
    Pause,
    Delete,
}

impl Verb {
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Start => ("Starting", "started"),
            Self::Archive => ("Archiving", "archived"),
            Self::Pause => ("Pausing", "paused"),
            Self::Delete => ("Deleting", "deleted"),
        }
    }
}

pub(crate) async fn list(context: &Context, args: &List) -> Outcome {
    let client = context.client()?;
    let labels: BTreeMap<String, String> = args.label.iter().cloned().collect();
    let query = ListQuery {
        labels: (!labels.is_empty()).then_some(labels),
        states: (!args.state.is_empty()).then(|| args.state.clone()),
        ..ListQuery::default()
    };
    let mut all: Vec<Sandbox> = Vec::new();
    let mut cursor = None;
    let wanted = args.limit.unwrap_or(usize::MAX);
    while all.len() < wanted {
        let page = client.list(&query, cursor.as_deref(), None).await?;
        all.extend(page.items);
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    all.truncate(wanted);
    if args.quiet {
        return all.iter().try_for_each(|sandbox| context.out.line(sandbox.id()));
    }
    let all: Vec<_> = all.iter().map(Sandbox::data).collect();
    if context.out.json {
        return context.out.json(&all.iter().map(|data| Data::clone(data)).collect::<Vec<_>>());
    }
    if all.is_empty() {
        context.out.note("there are no such sandboxes. Make one with `daytona-native create`");
        return Ok(());
    }
    let rows = all.iter().map(|data| {
        let state = data.state.unwrap_or_default();
        vec![
            Text::from(&*data.id),
            name(data).into(),
            Text(state.to_string(), Tone::of(state)),
            number(data.cpu).into(),
            number(data.memory).into(),
            number(data.disk).into(),
            data.snapshot.as_deref().unwrap_or("-").into(),
            ago(data.created_at.as_deref()).into(),
        ]
    });
    let header = ["ID", "NAME", "STATE", "CPU", "MEM GiB", "DISK GiB", "SNAPSHOT", "CREATED"];
    context.out.table(&header, &[3, 4, 5], &[5, 4, 3, 6, 7], &rows.collect::<Vec<_>>())
}

/// A sandbox without a name of its own is called by its id.
fn name(data: &Data) -> &str {
    if data.name == data.id || data.name.is_empty() { "-" } else { &data.name }
}

pub(crate) async fn info(context: &Context, target: &Target) -> Outcome {
    let sandbox = context.sandbox(target.id()).await?;
    show(context, &sandbox)
}

pub(crate) fn show(context: &Context, sandbox: &Sandbox) -> Outcome {
    let data = sandbox.data();
    if context.out.json {
        return context.out.json(&*data);
    }
    let state = data.state.unwrap_or_default();
    let mut pairs: Vec<(&str, Text)> = vec![
        ("Id", (&*data.id).into()),
        ("Name", name(&data).into()),
        ("State", Text(state.to_string(), Tone::of(state))),
    ];
    if let Some(reason) = data.error_reason.as_deref().filter(|reason| !reason.is_empty()) {
        pairs.push(("Reason", Text(reason.to_owned(), Tone::Bad)));
    }
    let size = format!("{} CPU, {} GiB memory, {} GiB disk", number(data.cpu), number(data.memory), number(data.disk));
    pairs.push(("Resources", size.into()));
    for (title, value) in [("Snapshot", &data.snapshot), ("Class", &data.sandbox_class)] {
        if let Some(value) = value.as_deref().filter(|value| !value.is_empty()) {
            pairs.push((title, value.into()));
        }
    }
    for (title, value) in [("Region", &data.target), ("User", &data.user)] {
        if !value.is_empty() {
            pairs.push((title, value.as_str().into()));
        }
    }
    pairs.push(("Language", sandbox.language().into()));
    let labels: Vec<String> = data
        .labels
        .iter()
        .filter(|(key, _)| *key != LANGUAGE_LABEL)
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    if !labels.is_empty() {
        pairs.push(("Labels", labels.join(", ").into()));
    }
    pairs.push(("Network", network(&data).into()));
    for volume in data.volumes.iter().flatten() {
        pairs.push(("Volume", format!("{} at {}", volume.volume_id, volume.mount_path).into()));
    }
    pairs.push(("Stops", minutes(data.auto_stop_interval, "after", "idle").into()));
    pairs.push(("Is archived", minutes(data.auto_archive_interval, "after", "stopped").into()));
    if data.auto_delete_interval.is_some_and(|minutes| minutes >= 0.0) {
        let when = match data.auto_delete_interval {
            Some(0.0) => "when it stops".to_owned(),
            other => minutes(other, "after", "stopped"),
        };
        pairs.push(("Is deleted", when.into()));
    }
    if let Some(time) = &data.auto_destroy_at {
        pairs.push(("Lives until", time.as_str().into()));
    }
    pairs.push(("Previews", if data.public { "public" } else { "with a token" }.into()));
    pairs.push(("Created", ago(data.created_at.as_deref()).into()));
    pairs.push(("Last used", ago(data.last_activity_at.as_deref()).into()));
    context.out.pairs(&pairs)
}

fn network(data: &Data) -> String {
    if data.network_block_all == Some(true) {
        return "none".to_owned();
    }
    let lists = [&data.network_allow_list, &data.domain_allow_list];
    let allowed: Vec<&str> = lists.into_iter().flatten().map(String::as_str).filter(|list| !list.is_empty()).collect();
    if allowed.is_empty() { "open".to_owned() } else { format!("only {}", allowed.join(", ")) }
}

fn minutes(interval: Option<f64>, before: &str, after: &str) -> String {
    match interval {
        None => "as the server has it".to_owned(),
        Some(0.0) => "never".to_owned(),
        Some(minutes) if minutes >= DAY && minutes % DAY == 0.0 => {
            let days = number(minutes / DAY);
            format!("{before} {days} {} {after}", if days == "1" { "day" } else { "days" })
        }
        Some(minutes) => format!("{before} {} min {after}", number(minutes)),
    }
}

pub(crate) async fn change(context: &Context, args: &Change, verb: Verb) -> Outcome {
    let client = context.client()?;
    for id in args.targets.all() {
        let (doing, done) = verb.words();
        let spinner = context.spinner(format!("{doing} {id}"));
        let sandbox = client.get(id, None).await?;
        match verb {
            Verb::Start => sandbox.start(args.timeout).await?,
            Verb::Archive => sandbox.archive(args.timeout).await?,
            Verb::Pause => sandbox.pause(args.timeout).await?,
            Verb::Delete => sandbox.delete(args.timeout, true).await?,
        }
        spinner.finish_and_clear();
        if matches!(verb, Verb::Delete) && context.out.json {
            context.out.json(&json!({ "id": sandbox.id(), "deleted": true }))?;
        } else {
            told(context, &sandbox, done)?;
        }
    }
    Ok(())
}

pub(crate) async fn stop(context: &Context, args: &Stop) -> Outcome {
    let client = context.client()?;
    for id in args.change.targets.all() {
        let spinner = context.spinner(format!("Stopping {id}"));
        let sandbox = client.get(id, None).await?;
        sandbox.stop(args.change.timeout, args.force).await?;
        spinner.finish_and_clear();
        // An ephemeral one is deleted by it.
        let gone = matches!(sandbox.data().state, Some(SandboxState::Destroyed | SandboxState::Destroying));
        told(context, &sandbox, if gone { "stopped, and so deleted" } else { "stopped" })?;
    }
    Ok(())
}

pub(crate) async fn fork(context: &Context, args: &Fork) -> Outcome {
    let sandbox = context.sandbox(args.target.id()).await?;
    let spinner = context.spinner(format!("Forking {}", args.target.id()));
    let fork = sandbox.fork(args.name.clone(), args.timeout).await?;
    spinner.finish_and_clear();
    told(context, &fork, "forked")
}

/// The result of a change: the sandbox for programs, its id for scripts, and a word for people.
pub(crate) fn told(context: &Context, sandbox: &Sandbox, done: &str) -> Outcome {
    if context.out.json {
        return context.out.json(&*sandbox.data());
    }
    let what = format!("{} {}", context.out.paint(Tone::Good, "✓"), sandbox.id());
    let name = sandbox.data();
    let name =
        if name.name == sandbox.id() || name.name.is_empty() { String::new() } else { format!(" ({})", name.name) };
    context.out.line(format!("{what}{} {done}", crate::output::printable(&name)))
}
