//! `images`.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Subcommand;
use daytona_core::wire::snapshot::Snapshot;
use daytona_core::{
    CreateSnapshotOptions, CreateSnapshotParams, Daytona, Dialect, ErrorKind, Image, ImageSource, LocalPath, Resources,
    Step,
};
use indicatif::HumanBytes;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::context::{Context, Failure, Outcome};
use crate::output::{Text, Tone, ago};
use crate::snapshot;

/// What to do with images.
#[derive(Subcommand, Debug)]
pub(crate) enum Images {
    /// List the images that a local server has.
    #[command(alias = "ls")]
    List,
    /// Build a Dockerfile, and name what comes of it: a snapshot to make sandboxes from.
    Build(Build),
    /// Delete the images and layers of a local server that nothing is made of.
    Prune {
        /// Also images that were pulled, and what the next build could use.
        #[arg(long)]
        all: bool,
    },
}

/// What to build.
#[derive(clap::Args, Debug)]
pub(crate) struct Build {
    /// Name of the snapshot.
    #[arg(long, short = 't', alias = "tag")]
    name: String,
    /// Dockerfile, or the folder of one; the files that it copies lie beside it.
    #[arg(value_name = "PATH", default_value = ".")]
    path: PathBuf,
    /// Cores of its sandboxes.
    #[arg(long, value_name = "N")]
    cpu: Option<i64>,
    /// Memory of its sandboxes in GiB.
    #[arg(long, value_name = "GIB")]
    memory: Option<i64>,
    /// Disk of its sandboxes in GiB.
    #[arg(long, value_name = "GIB")]
    disk: Option<i64>,
    /// No build log, only what comes of it.
    #[arg(long, short)]
    quiet: bool,
    /// Seconds until it must be there; 0 is no limit [default: 0].
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<f64>,
}

/// An image of a local server.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Stored {
    pub(crate) digest: String,
    names: Vec<String>,
    size: u64,
    pub(crate) layers: Vec<Layer>,
    created_at: String,
    sandboxes: Vec<String>,
    snapshots: Vec<String>,
}

/// One of its layers.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Layer {
    pub(crate) id: String,
    pub(crate) size: u64,
}

pub(crate) async fn run(context: &Context, args: &Images) -> Outcome {
    let client = context.client()?;
    match args {
        Images::List => list(context, &all(&client).await?),
        Images::Build(args) => build(context, &client, args).await,
        Images::Prune { all } => prune(context, &client, *all).await,
    }
}

/// The images of a local server.
pub(crate) async fn all(client: &Daytona) -> Outcome<Vec<Stored>> {
    let images = request(client, "GET", "/images", None).await?;
    serde_json::from_value(images).map_err(|error| Failure::new(format!("the server's list of images: {error}")))
}

async fn request(client: &Daytona, method: &str, path: &str, body: Option<&Value>) -> Outcome<Value> {
    client.api().request(method, path, &[], body, None).await.map_err(|error| {
        if error.kind().is(ErrorKind::NotFound) {
            let text = "only a local server says which images it has: add --local. `daytona-native snapshots list` \
                        shows what sandboxes can be made from";
            return Failure::Own(text.to_owned(), 5);
        }
        error.into()
    })
}

fn list(context: &Context, all: &[Stored]) -> Outcome {
    if context.out.json {
        return context.out.json(&all);
    }
    if all.is_empty() {
        context
            .out
            .note("there are no images. `daytona-native create --image NAME` pulls one, `images build` builds one");
        return Ok(());
    }
    let rows = all.iter().map(|image| {
        let name = if image.names.is_empty() { "-".to_owned() } else { image.names.join(", ") };
        let count = |count: usize, what: &str| match count {
            0 => None,
            1 => Some(format!("1 {what}")),
            count => Some(format!("{count} {what}es")),
        };
        let snapshots = (!image.snapshots.is_empty()).then(|| image.snapshots.join(", "));
        let used: Vec<String> = snapshots.into_iter().chain(count(image.sandboxes.len(), "sandbox")).collect();
        let used = if used.is_empty() { Text("-".to_owned(), Tone::Dim) } else { Text::from(used.join(", ")) };
        vec![
            Text::from(name),
            Text::from(short(&image.digest)),
            Text::from(HumanBytes(image.size).to_string()),
            Text::from(image.layers.len().to_string()),
            used,
            Text::from(ago(Some(&image.created_at))),
        ]
    });
    context.out.table(
        &["NAME", "DIGEST", "SIZE", "LAYERS", "USED BY", "CREATED"],
        &[2, 3],
        &[1, 5, 3],
        &rows.collect::<Vec<_>>(),
    )
}

/// Enough of a digest to tell it from others.
fn short(digest: &str) -> &str {
    digest.split_once(':').map_or(digest, |(_, hex)| &hex[..hex.len().min(12)])
}

async fn build(context: &Context, client: &Daytona, args: &Build) -> Outcome {
    let file = if args.path.is_dir() { args.path.join("Dockerfile") } else { args.path.clone() };
    let path = LocalPath::from(&*file.to_string_lossy());
    let image = Image::of(Dialect::Python, &Step::FromDockerfile { path, strict_context: true })?;
    let resources = Resources { cpu: args.cpu, memory: args.memory, disk: args.disk, ..Resources::default() };
    let params = CreateSnapshotParams {
        name: args.name.clone(),
        image: Some(ImageSource::Built(image)),
        resources: (resources != Resources::default()).then_some(resources),
        ..CreateSnapshotParams::default()
    };
    let spinner = context.spinner(format!("Building {}", args.name));
    let bar = spinner.clone();
    let options = CreateSnapshotOptions {
        timeout: args.timeout,
        progress: Some(Arc::new(move |sent, whole| {
            let whole = whole.map(|whole| format!(" of {}", HumanBytes(whole))).unwrap_or_default();
            bar.set_message(format!("Uploading files: {}{whole}", HumanBytes(sent)));
        })),
        logs: !args.quiet,
    };
    let making = client.snapshot().begin(params, &options).await?;
    spinner.set_message(format!("Building {}", args.name));
    while let Some(pieces) = making.log().next().await? {
        for line in pieces {
            // The log is not the result; a bar on the terminal is drawn again beneath it.
            spinner.suspend(|| context.out.aside(&line));
        }
    }
    let done = making.finish().await;
    spinner.finish_and_clear();
    let done: Snapshot = done?;
    if context.out.json {
        return context.out.json(&done);
    }
    snapshot::told(context, &done, &format!("built, {}", snapshot::size(&done)))
}

async fn prune(context: &Context, client: &Daytona, all: bool) -> Outcome {
    #[derive(Deserialize)]
    struct Pruned {
        images: u64,
        layers: u64,
        bytes: u64,
    }
    let freed = request(client, "POST", "/images/prune", Some(&json!({ "all": all }))).await?;
    let Pruned { images, layers, bytes } = serde_json::from_value(freed.clone())
        .map_err(|error| Failure::new(format!("what the server says was pruned: {error}")))?;
    if context.out.json {
        return context.out.json(&freed);
    }
    let tick = context.out.paint(Tone::Good, "✓");
    let many = |count: u64, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    let (images, layers) = (many(images, "image"), many(layers, "layer"));
    context.out.line(format!("{tick} {images} and {layers} deleted, {} freed", HumanBytes(bytes)))
}
