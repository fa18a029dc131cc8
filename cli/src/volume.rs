//! `volumes`.

use clap::Subcommand;
use serde_json::json;

use crate::context::{Context, Outcome};
use crate::output::{Text, Tone, ago};

/// What to do with volumes.
#[derive(Subcommand, Debug)]
pub(crate) enum Volumes {
    /// List all volumes.
    #[command(alias = "ls")]
    List,
    /// Create a volume.
    Create {
        /// Unique name.
        name: String,
    },
    /// Delete a volume and all in it.
    #[command(alias = "rm")]
    Delete {
        /// Id or name.
        #[arg(value_name = "ID")]
        id: String,
    },
}

pub(crate) async fn run(context: &Context, args: &Volumes) -> Outcome {
    let service = context.client()?.volume();
    match args {
        Volumes::List => {
            let all = service.list(None).await?;
            if context.out.json {
                return context.out.json(&all);
            }
            if all.is_empty() {
                context.out.note("there are no volumes. Make one with `daytona-native volumes create NAME`");
                return Ok(());
            }
            let rows = all.iter().map(|volume| {
                let tone = match volume.state.as_str() {
                    "ready" => Tone::Good,
                    "error" => Tone::Bad,
                    _ => Tone::Busy,
                };
                vec![
                    Text::from(&*volume.id),
                    Text::from(&*volume.name),
                    Text(volume.state.clone(), tone),
                    Text::from(ago(Some(&volume.created_at))),
                    Text::from(ago(volume.last_used_at.as_deref())),
                ]
            });
            context.out.table(&["ID", "NAME", "STATE", "CREATED", "LAST USED"], &[], &[4, 3], &rows.collect::<Vec<_>>())
        }
        Volumes::Create { name } => {
            let volume = service.create(name, None).await?;
            if context.out.json {
                return context.out.json(&volume);
            }
            let tick = context.out.paint(Tone::Good, "✓");
            context.out.line(format!("{tick} {} ({}) created", volume.id, volume.name))
        }
        Volumes::Delete { id } => {
            let all = service.list(None).await?;
            let known =
                all.iter().find(|volume| volume.id == *id).or_else(|| all.iter().find(|volume| volume.name == *id));
            let id = known.map_or(id.as_str(), |volume| &volume.id);
            service.delete(id, None).await?;
            if context.out.json {
                return context.out.json(&json!({ "id": id, "deleted": true }));
            }
            context.out.line(format!("{} {id} deleted", context.out.paint(Tone::Good, "✓")))
        }
    }
}
