//! `snapshots`.

use std::collections::HashMap;

use clap::Subcommand;
use daytona_core::wire::snapshot::{Snapshot, SnapshotState};
use daytona_core::{Daytona, SnapshotQuery};
use indicatif::HumanBytes;
use serde_json::json;

use crate::context::{Context, Outcome};
use crate::image;
use crate::output::{Text, Tone, ago, number};

/// Bytes.
const GIB: f64 = 1_073_741_824.0;

/// What to do with snapshots.
#[derive(Subcommand, Debug)]
pub(crate) enum Snapshots {
    /// List all snapshots.
    #[command(alias = "ls")]
    List,
    /// Show one snapshot.
    Info {
        /// Id or name.
        #[arg(value_name = "ID")]
        id: String,
    },
    /// Make a snapshot of a sandbox, its files as they are now.
    Create {
        /// Unique name.
        name: String,
        /// Id or name of the sandbox.
        #[arg(long, value_name = "ID")]
        sandbox: String,
        /// Seconds to wait for it; 0 is no limit [default: 60].
        #[arg(long, value_name = "SECONDS")]
        timeout: Option<f64>,
    },
    /// Make an inactive snapshot usable again.
    Activate {
        /// Id or name.
        #[arg(value_name = "ID")]
        id: String,
    },
    /// Delete a snapshot; sandboxes made from it live on.
    #[command(alias = "rm")]
    Delete {
        /// Id or name.
        #[arg(value_name = "ID")]
        id: String,
    },
}

pub(crate) async fn run(context: &Context, args: &Snapshots) -> Outcome {
    let client = context.client()?;
    let service = client.snapshot();
    match args {
        Snapshots::List => {
            let mut query = SnapshotQuery { page: Some(1), ..SnapshotQuery::default() };
            let mut all = Vec::new();
            loop {
                let page = service.list(&query, None).await?;
                let last = page.items.is_empty() || page.page >= page.total_pages;
                all.extend(page.items);
                if last {
                    break;
                }
                query.page = query.page.map(|page| page + 1);
            }
            let layers = layers(&client, &all).await;
            list(context, &all, &layers)
        }
        Snapshots::Info { id } => {
            let snapshot = service.get(id, None).await?;
            let layers = layers(&client, std::slice::from_ref(&snapshot)).await;
            show(context, &snapshot, &layers)
        }
        Snapshots::Create { name, sandbox, timeout } => {
            let sandbox = client.get(sandbox, None).await?;
            let spinner = context.spinner(format!("Making {name}"));
            sandbox.create_snapshot(name, *timeout).await?;
            spinner.finish_and_clear();
            told(context, &service.get(name, None).await?, "created")
        }
        Snapshots::Activate { id } => told(context, &service.activate(id, None).await?, "activated"),
        Snapshots::Delete { id } => {
            service.delete(id, None).await?;
            if context.out.json {
                return context.out.json(&json!({ "id": id, "deleted": true }));
            }
            context.out.line(format!("{} {id} deleted", context.out.paint(Tone::Good, "✓")))
        }
    }
}

fn state(snapshot: &Snapshot) -> Text {
    let tone = match snapshot.state {
        SnapshotState::Active => Tone::Good,
        SnapshotState::Inactive => Tone::Dim,
        SnapshotState::Error | SnapshotState::BuildFailed => Tone::Bad,
        _ => Tone::Busy,
    };
    Text(snapshot.state.to_string(), tone)
}

pub(crate) fn size(snapshot: &Snapshot) -> String {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bytes of a snapshot")]
    let bytes = |gib: f64| HumanBytes((gib * GIB).round() as u64).to_string();
    snapshot.size.map_or_else(|| "-".to_owned(), bytes)
}

/// Numbers of layers by what snapshots name as their image, where the server says so.
async fn layers(client: &Daytona, all: &[Snapshot]) -> HashMap<String, usize> {
    // Another server than the local one names none in this form, and is not asked.
    let named = |snapshot: &Snapshot| snapshot.reference.as_ref().is_some_and(|name| name.starts_with("sha256:"));
    if !all.iter().any(named) {
        return HashMap::new();
    }
    let images = image::all(client).await.unwrap_or_default();
    images.into_iter().map(|image| (image.digest, image.layers.len())).collect()
}

fn list(context: &Context, all: &[Snapshot], layers: &HashMap<String, usize>) -> Outcome {
    if context.out.json {
        return context.out.json(&all);
    }
    if all.is_empty() {
        context.out.note("there are no snapshots. Make one with `daytona-native snapshots create NAME --sandbox ID`");
        return Ok(());
    }
    let rows = all.iter().map(|snapshot| {
        vec![
            Text::from(&*snapshot.name),
            state(snapshot),
            Text::from(size(snapshot)),
            Text::from(layers_of(snapshot, layers).map_or_else(|| "-".to_owned(), |count| count.to_string())),
            Text::from(number(snapshot.cpu)),
            Text::from(number(snapshot.mem)),
            Text::from(number(snapshot.disk)),
            Text::from(snapshot.image_name.as_deref().filter(|name| !name.is_empty()).unwrap_or("-")),
            Text::from(ago(Some(&snapshot.created_at))),
        ]
    });
    let header = ["NAME", "STATE", "SIZE", "LAYERS", "CPU", "MEM GiB", "DISK GiB", "IMAGE", "CREATED"];
    context.out.table(&header, &[2, 3, 4, 5, 6], &[6, 5, 4, 3, 2, 7], &rows.collect::<Vec<_>>())
}

fn layers_of(snapshot: &Snapshot, layers: &HashMap<String, usize>) -> Option<usize> {
    layers.get(snapshot.reference.as_ref()?).copied()
}

fn show(context: &Context, snapshot: &Snapshot, layers: &HashMap<String, usize>) -> Outcome {
    if context.out.json {
        return context.out.json(snapshot);
    }
    let resources = format!(
        "{} CPU, {} GiB memory, {} GiB disk",
        number(snapshot.cpu),
        number(snapshot.mem),
        number(snapshot.disk)
    );
    let mut pairs: Vec<(&str, Text)> = vec![
        ("Id", (&*snapshot.id).into()),
        ("Name", (&*snapshot.name).into()),
        ("State", state(snapshot)),
        ("Size", size(snapshot).into()),
        ("Resources", resources.into()),
    ];
    for (title, value) in [
        ("Reason", &snapshot.error_reason),
        ("Image", &snapshot.image_name),
        ("Sandbox", &snapshot.source_sandbox_id),
        ("Class", &snapshot.sandbox_class),
    ] {
        if let Some(value) = value.as_deref().filter(|value| !value.is_empty()) {
            pairs.push((title, value.into()));
        }
    }
    if let Some(count) = layers_of(snapshot, layers) {
        pairs.push(("Layers", count.to_string().into()));
    }
    if let Some(words) = snapshot.entrypoint.as_ref().filter(|words| !words.is_empty()) {
        pairs.push(("Entrypoint", words.join(" ").into()));
    }
    pairs.push(("Created", ago(Some(&snapshot.created_at)).into()));
    pairs.push(("Last used", ago(snapshot.last_used_at.as_deref()).into()));
    context.out.pairs(&pairs)
}

pub(crate) fn told(context: &Context, snapshot: &Snapshot, done: &str) -> Outcome {
    if context.out.json {
        return context.out.json(snapshot);
    }
    let tick = context.out.paint(Tone::Good, "✓");
    context.out.line(format!("{tick} {} {done}", crate::output::printable(&snapshot.name)))
}
