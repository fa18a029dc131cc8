//! `spin`: a sandbox with a repository in it.

use clap::ValueEnum;
use daytona_core::Sandbox;
use daytona_core::wire::git::{GitCloneRequest, Password};
use serde_json::json;

use crate::context::{Context, Failure, INTERRUPTED, Outcome};
use crate::create::{self, Shape};
use crate::output::Tone;

/// Where the repository of a sandbox lies, for `sync`.
pub(crate) const PATH_LABEL: &str = "spin/repository";

/// Which repository.
#[derive(clap::Args, Debug)]
#[command(after_help = "For a private repository, set GIT_USERNAME and GIT_PASSWORD (a token is one too): they go to \
its remote only, and are stored nowhere.\n\nIf the repository cannot be cloned, the sandbox is deleted again.")]
pub(crate) struct Spin {
    /// URL of the repository.
    #[arg(long, value_name = "URL")]
    repo: String,
    /// Branch to check out.
    #[arg(long, default_value = "main")]
    branch: String,
    /// Name of the sandbox.
    #[arg(long)]
    name: Option<String>,
    /// Who runs the sandbox.
    #[arg(long, value_enum, default_value_t = Provider::Daytona)]
    provider: Provider,
    /// Where the repository goes [default: its name, in the work dir].
    #[arg(long, value_name = "DIR")]
    path: Option<String>,
    /// Only so many commits of the history.
    #[arg(long, value_name = "N")]
    depth: Option<i64>,
    #[command(flatten)]
    shape: Shape,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Provider {
    Daytona,
}

/// Name and password for remotes, from the environment: what stands on a command line is seen by everybody.
#[derive(Clone, Default)]
pub(crate) struct Credentials {
    pub(crate) username: Option<String>,
    pub(crate) password: Option<Password>,
}

impl Credentials {
    pub(crate) fn from_environment() -> Self {
        let value = |name| std::env::var(name).ok().filter(|value: &String| !value.is_empty());
        let password = value("GIT_PASSWORD").map(Password);
        // A token wants some name, and takes any.
        let username = value("GIT_USERNAME").or_else(|| password.as_ref().map(|_| "git".to_owned()));
        Self { username: username.filter(|_| password.is_some()), password }
    }
}

/// The last part of a URL, as git names a clone after it.
pub(crate) fn folder(url: &str) -> Option<&str> {
    let name = url.trim_end_matches('/').rsplit(['/', ':']).next()?;
    let name = name.strip_suffix(".git").unwrap_or(name);
    (!name.is_empty() && name != "." && name != "..").then_some(name)
}

/// Whether a URL holds a password.
fn holds_password(url: &str) -> bool {
    let Some((_, rest)) = url.split_once("://") else { return false };
    let authority = rest.split('/').next().unwrap_or_default();
    authority.rsplit_once('@').is_some_and(|(user, _)| user.contains(':'))
}

pub(crate) async fn run(context: &Context, args: &Spin) -> Outcome<u8> {
    let Provider::Daytona = args.provider;
    if holds_password(&args.repo) {
        return Err(Failure::usage(
            "the URL holds a password, which everybody on this machine can see on a command line. Leave it out and set \
             GIT_USERNAME and GIT_PASSWORD",
        ));
    }
    let path = match args.path.as_deref().or_else(|| folder(&args.repo)) {
        Some(path) => path.to_owned(),
        None => return Err(Failure::usage("the URL names no repository: say with --path where to put it")),
    };
    let client = context.client()?;
    let spinner = context.spinner("Creating a sandbox");
    let sandbox =
        Box::pin(create::make(context, &client, args.name.clone(), &args.shape, &spinner, &[(PATH_LABEL, &path)]))
            .await?;
    spinner.set_message(format!("Cloning {}", args.repo));
    let cloned = tokio::select! {
        cloned = clone(&sandbox, args, &path) => cloned,
        _ = tokio::signal::ctrl_c() => Err(Failure::Silent(INTERRUPTED)),
    };
    spinner.finish_and_clear();
    if let Err(failure) = cloned {
        return Err(create::take_back(&sandbox, failure).await);
    }
    if context.out.json {
        let all = json!({
            "id": sandbox.id(),
            "name": sandbox.data().name,
            "repository": args.repo,
            "branch": args.branch,
            "path": path,
        });
        return context.out.json(&all).map(|()| 0);
    }
    crate::sandbox::told(context, &sandbox, &format!("has {} ({}) in {path}", args.repo, args.branch))?;
    let id = args.name.as_deref().unwrap_or(sandbox.id());
    let id = shlex::try_quote(id).unwrap_or_default();
    let path = shlex::try_quote(&path).unwrap_or_default();
    context.out.line(context.out.paint(
        Tone::Dim,
        &format!(
            "\n  daytona-native exec   --id {id} --cwd {path} --cmd 'git log -1'\n  daytona-native shell  {id} --cwd \
             {path}\n  daytona-native sync   --id {id}\n  daytona-native delete --id {id}"
        ),
    ))?;
    Ok(0)
}

async fn clone(sandbox: &Sandbox, args: &Spin, path: &str) -> Outcome {
    let Credentials { username, password } = Credentials::from_environment();
    let request = GitCloneRequest {
        url: args.repo.clone(),
        path: path.to_owned(),
        branch: Some(args.branch.clone()),
        username,
        password,
        depth: args.depth,
        ..GitCloneRequest::default()
    };
    Ok(sandbox.git().clone_repository(request, None).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clone_is_named_after_its_url() {
        assert_eq!(folder("https://host/team/tool.git"), Some("tool"));
        assert_eq!(folder("https://host/team/tool/"), Some("tool"));
        assert_eq!(folder("git@host:tool.git"), Some("tool"));
        assert_eq!(folder("https://host/.."), None);
    }

    #[test]
    fn passwords_in_urls_are_found() {
        assert!(holds_password("https://user:word@host/a"));
        assert!(!holds_password("https://user@host/a:b@c"));
        assert!(!holds_password("git@host:a/b"));
    }
}
