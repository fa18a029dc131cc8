//! `secrets`. Values come from the standard input or the environment, never from the command line.

use std::io::{self, IsTerminal as _, Read as _};

use clap::Subcommand;
use daytona_core::wire::secret::{CreateSecret, Secret, UpdateSecret};
use daytona_core::{ListSecretsQuery, SecretService};
use serde_json::json;

use crate::context::{Context, Failure, Outcome};
use crate::output::{Text, Tone, ago};

/// What to do with secrets.
#[derive(Subcommand, Debug)]
pub(crate) enum Secrets {
    /// List all secrets, without their values.
    #[command(alias = "ls")]
    List,
    /// Create a secret; its value is read from the standard input, without the newline at its end.
    Create {
        /// Letters, digits, `_` and `-`.
        name: String,
        #[command(flatten)]
        value: Value,
        /// Text for people.
        #[arg(long)]
        description: Option<String>,
        /// Host that its value may be sent to; all if none is given. May be repeated.
        #[arg(long)]
        host: Vec<String>,
    },
    /// Give a secret another value.
    Update {
        /// Id or name.
        #[arg(value_name = "ID")]
        id: String,
        #[command(flatten)]
        value: Value,
    },
    /// Delete a secret.
    #[command(alias = "rm")]
    Delete {
        /// Id or name.
        #[arg(value_name = "ID")]
        id: String,
    },
}

/// Where a value comes from.
#[derive(clap::Args, Debug)]
pub(crate) struct Value {
    /// Take the value from this environment variable instead.
    #[arg(long, value_name = "VARIABLE")]
    from_env: Option<String>,
}

impl Value {
    fn read(&self) -> Outcome<String> {
        if let Some(name) = &self.from_env {
            let value = std::env::var(name).map_err(|error| Failure::usage(format!("{name}: {error}")))?;
            return Ok(value);
        }
        if io::stdin().is_terminal() {
            return Err(Failure::usage(
                "a value typed here would be seen: pipe it in (`daytona-native secrets create NAME < file`), or name a \
                 variable with --from-env",
            ));
        }
        let mut text = String::new();
        io::stdin().read_to_string(&mut text).map_err(|error| Failure::new(format!("the standard input: {error}")))?;
        let value = text.strip_suffix('\n').unwrap_or(&text);
        Ok(value.strip_suffix('\r').unwrap_or(value).to_owned())
    }
}

pub(crate) async fn run(context: &Context, args: &Secrets) -> Outcome {
    let service = context.client()?.secret();
    match args {
        Secrets::List => {
            let all = all(&service).await?;
            if context.out.json {
                return context.out.json(&all);
            }
            if all.is_empty() {
                context.out.note("there are no secrets. Make one with `daytona-native secrets create NAME`");
                return Ok(());
            }
            let rows = all.iter().map(|secret| {
                let hosts = if secret.hosts.is_empty() { "any".to_owned() } else { secret.hosts.join(", ") };
                vec![
                    Text::from(&*secret.id),
                    Text::from(&*secret.name),
                    Text::from(hosts),
                    Text::from(secret.description.as_deref().unwrap_or("-")),
                    Text::from(ago(Some(&secret.updated_at))),
                ]
            });
            context.out.table(
                &["ID", "NAME", "HOSTS", "DESCRIPTION", "UPDATED"],
                &[],
                &[4, 3],
                &rows.collect::<Vec<_>>(),
            )
        }
        Secrets::Create { name, value, description, host } => {
            let params = CreateSecret {
                name: name.clone(),
                value: value.read()?,
                description: description.clone(),
                hosts: (!host.is_empty()).then(|| host.clone()),
            };
            told(context, &service.create(&params, None).await?, "created")
        }
        Secrets::Update { id, value } => {
            let params = UpdateSecret { value: Some(value.read()?), ..UpdateSecret::default() };
            let id = resolve(&service, id).await?;
            told(context, &service.update(&id, &params, None).await?, "updated")
        }
        Secrets::Delete { id } => {
            let id = resolve(&service, id).await?;
            service.delete(&id, None).await?;
            if context.out.json {
                return context.out.json(&json!({ "id": id, "deleted": true }));
            }
            context.out.line(format!("{} {id} deleted", context.out.paint(Tone::Good, "✓")))
        }
    }
}

async fn all(service: &SecretService) -> Outcome<Vec<Secret>> {
    let mut query = ListSecretsQuery::default();
    let mut all = Vec::new();
    loop {
        let page = service.list(&query, None).await?;
        all.extend(page.items);
        query.cursor = page.next_cursor.filter(|cursor| !cursor.is_empty());
        if query.cursor.is_none() {
            return Ok(all);
        }
    }
}

/// The id of a secret that is named by its id or its name.
async fn resolve(service: &SecretService, id: &str) -> Outcome<String> {
    let all = all(service).await?;
    let known = all.iter().find(|secret| secret.id == id).or_else(|| all.iter().find(|secret| secret.name == id));
    Ok(known.map_or(id, |secret| &secret.id).to_owned())
}

fn told(context: &Context, secret: &Secret, done: &str) -> Outcome {
    if context.out.json {
        return context.out.json(secret);
    }
    let tick = context.out.paint(Tone::Good, "✓");
    context.out.line(format!("{tick} {} ({}) {done}", secret.id, secret.name))
}
