//! `create`: a new sandbox.

use std::collections::BTreeMap;

use daytona_core::wire::sandbox::SandboxVolume;
use daytona_core::{CreateOptions, CreateParams, Daytona, ErrorKind, Resources, Sandbox, SandboxCreation};
use indicatif::ProgressBar;

use crate::context::{Context, Failure, INTERRUPTED, Outcome, pair, variable};
use crate::output::printable;
use crate::sandbox;

/// What the sandbox is to be like.
#[derive(clap::Args, Debug, Default)]
pub(crate) struct Create {
    /// Unique name.
    #[arg(long)]
    name: Option<String>,
    #[command(flatten)]
    shape: Shape,
    /// Print the id alone.
    #[arg(long, short)]
    quiet: bool,
}

/// What every way of making a sandbox takes.
#[derive(clap::Args, Debug, Default)]
pub(crate) struct Shape {
    /// Snapshot to start from.
    #[arg(long, conflicts_with = "image")]
    snapshot: Option<String>,
    /// Image to start from, as a registry names it.
    #[arg(long)]
    image: Option<String>,
    /// Cores; with --image.
    #[arg(long, requires = "image", value_name = "N")]
    cpu: Option<i64>,
    /// Memory in GiB; with --image.
    #[arg(long, requires = "image", value_name = "GIB")]
    memory: Option<i64>,
    /// Disk in GiB; with --image.
    #[arg(long, requires = "image", value_name = "GIB")]
    disk: Option<i64>,
    /// Language of code that is run without a file: python, typescript or javascript.
    #[arg(long)]
    language: Option<String>,
    /// User that commands run as.
    #[arg(long)]
    user: Option<String>,
    /// Environment variable; NAME alone takes its value from here. May be repeated.
    #[arg(long, short, value_name = "NAME[=VALUE]", value_parser = variable)]
    env: Vec<(String, String)>,
    /// Label; may be repeated.
    #[arg(long, short, value_name = "NAME=VALUE", value_parser = pair)]
    label: Vec<(String, String)>,
    /// Secret to hold in an environment variable; may be repeated.
    #[arg(long, value_name = "VARIABLE=SECRET", value_parser = pair)]
    secret: Vec<(String, String)>,
    /// Volume to mount, by id; may be repeated.
    #[arg(long, value_name = "ID:/PATH", value_parser = mount)]
    volume: Vec<SandboxVolume>,
    /// Region.
    #[arg(long)]
    target: Option<String>,
    /// Idle minutes before it stops; 0 is never.
    #[arg(long, value_name = "MINUTES")]
    auto_stop: Option<i64>,
    /// Stopped minutes before it is archived; 0 is the maximum.
    #[arg(long, value_name = "MINUTES")]
    auto_archive: Option<i64>,
    /// Stopped minutes before it is deleted; 0 is at once, -1 never.
    #[arg(long, value_name = "MINUTES", allow_negative_numbers = true)]
    auto_delete: Option<i64>,
    /// Minutes it lives at most.
    #[arg(long, value_name = "MINUTES")]
    ttl: Option<i64>,
    /// Delete it when it stops.
    #[arg(long)]
    ephemeral: bool,
    /// Previews need no token.
    #[arg(long)]
    public: bool,
    /// No network at all.
    #[arg(long)]
    no_network: bool,
    /// Seconds to wait until it has started; 0 is no limit [default: 60].
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<f64>,
}

fn mount(text: &str) -> Result<SandboxVolume, String> {
    match text.split_once(':') {
        Some((id, path)) if !id.is_empty() && path.starts_with('/') => {
            Ok(SandboxVolume { volume_id: id.to_owned(), mount_path: path.to_owned(), subpath: None })
        }
        _ => Err("use ID:/PATH".to_owned()),
    }
}

impl Shape {
    pub(crate) fn params(&self, name: Option<String>) -> CreateParams {
        let given = |pairs: &[(String, String)]| -> Option<BTreeMap<String, String>> {
            (!pairs.is_empty()).then(|| pairs.iter().cloned().collect())
        };
        let resources = Resources { cpu: self.cpu, memory: self.memory, disk: self.disk, ..Resources::default() };
        CreateParams {
            name,
            snapshot: self.snapshot.clone(),
            image: self.image.clone().map(Into::into),
            resources: (resources != Resources::default()).then_some(resources),
            language: self.language.clone(),
            os_user: self.user.clone(),
            env_vars: given(&self.env),
            labels: given(&self.label),
            secrets: given(&self.secret),
            volumes: (!self.volume.is_empty()).then(|| self.volume.clone()),
            target: self.target.clone(),
            auto_stop_interval: self.auto_stop,
            auto_archive_interval: self.auto_archive,
            auto_delete_interval: self.auto_delete,
            ttl_minutes: self.ttl,
            ephemeral: self.ephemeral.then_some(true),
            public: self.public.then_some(true),
            network_block_all: self.no_network.then_some(true),
            ..CreateParams::default()
        }
    }

    pub(crate) fn options(&self) -> CreateOptions {
        CreateOptions { timeout: self.timeout, logs: true, ..CreateOptions::default() }
    }
}

/// Makes a sandbox and waits for it. What does not start is deleted again, so that its name is free; so is what Ctrl-C
/// ends, where a second one leaves it to the server.
pub(crate) async fn make(
    context: &Context,
    client: &Daytona,
    name: Option<String>,
    shape: &Shape,
    spinner: &ProgressBar,
    labels: &[(&str, &str)],
) -> Outcome<Sandbox> {
    let mut params = shape.params(name);
    if !labels.is_empty() {
        let all = params.labels.get_or_insert_default();
        all.extend(labels.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())));
    }
    let options = shape.options();
    let creating = client.begin_create(params, &options);
    tokio::pin!(creating);
    let creation = tokio::select! {
        biased;
        _ = tokio::signal::ctrl_c() => {
            spinner.set_message("Taking it back");
            // Only the answer tells what there is to delete.
            return tokio::select! {
                begun = creating => Err(take_back(begun?.sandbox(), Failure::Silent(INTERRUPTED)).await),
                _ = tokio::signal::ctrl_c() => Err(Failure::Silent(INTERRUPTED)),
            };
        }
        begun = &mut creating => begun?,
    };
    context.tell(client);
    let failure = tokio::select! {
        made = finish(&creation, spinner) => match made {
            Err(Failure::Api(error)) if !error.kind().is(ErrorKind::Timeout) => Failure::Api(error),
            made => return made,
        },
        _ = tokio::signal::ctrl_c() => Failure::Silent(INTERRUPTED),
    };
    spinner.set_message("Taking it back");
    tokio::select! {
        failure = take_back(creation.sandbox(), failure) => Err(failure),
        _ = tokio::signal::ctrl_c() => Err(Failure::Silent(INTERRUPTED)),
    }
}

async fn finish(creation: &SandboxCreation, spinner: &ProgressBar) -> Outcome<Sandbox> {
    while let Some(lines) = creation.next().await? {
        for line in lines {
            spinner.println(printable(line.trim_end()));
        }
    }
    Ok(creation.finish().await?)
}

/// Deletes what is of no use to anybody, and says why it is not.
pub(crate) async fn take_back(sandbox: &Sandbox, failure: Failure) -> Failure {
    match sandbox.delete(None, false).await {
        Ok(()) => failure,
        Err(error) => {
            let told = format!("Sandbox {} was not deleted either: {error}", sandbox.id());
            let message = failure.message();
            let message = if message.is_empty() { told } else { format!("{message}. {told}") };
            Failure::Own(message, failure.code())
        }
    }
}

pub(crate) async fn run(context: &Context, args: &Create) -> Outcome {
    let client = context.client()?;
    let spinner = context.spinner("Creating a sandbox");
    let created = Box::pin(make(context, &client, args.name.clone(), &args.shape, &spinner, &[])).await?;
    spinner.finish_and_clear();
    // Of the local server of this machine its client tells.
    let user = client.settings().api_url.value.as_ref().and_then(|_| {
        let data = created.data();
        (data.labels.get("daytona-native/isolation").map(String::as_str) == Some("none")).then(|| data.user.clone())
    });
    if let Some(user) = user {
        context.out.note(&format!("No isolation: commands run as the user {user} of the server's machine"));
    }
    if args.quiet && !context.out.json {
        return context.out.line(created.id());
    }
    sandbox::told(context, &created, "created")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_has_an_id_and_an_absolute_path() {
        let volume = mount("abc:/data").unwrap();
        assert_eq!((volume.volume_id.as_str(), volume.mount_path.as_str()), ("abc", "/data"));
        assert!(mount("abc:data").is_err() && mount("/data").is_err());
    }
}
