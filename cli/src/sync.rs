//! `sync`: what was done in a sandbox's repository goes to its remote.

use std::collections::BTreeMap;

use daytona_core::wire::git::{GitCommitRequest, GitPushRequest};
use daytona_core::{ErrorKind, ExecOptions, Sandbox};
use serde_json::json;

use crate::context::{Context, Failure, Outcome, Target};
use crate::spin::{Credentials, PATH_LABEL};

/// As `Conflict` of the server.
const CONFLICT: u8 = 6;
/// How often a push is tried that somebody else's push was faster than.
const TRIES: u32 = 3;
/// Asks the remote of the credentials that the environment has; nothing of them is in an argument.
const HELPER: &str =
    r#"!f() { test "$1" = get && printf 'username=%s\npassword=%s\n' "$SYNC_USERNAME" "$SYNC_PASSWORD"; }; f"#;
/// What `git ls-remote --exit-code` ends with where there is no such branch.
const NO_BRANCH: i32 = 2;

/// Which repository, and where it goes.
#[derive(clap::Args, Debug)]
#[command(after_help = "Commits everything, takes in what the remote has (git pull --rebase) and pushes.\n\nFor a \
private repository, set GIT_USERNAME and GIT_PASSWORD (a token is one too).\n\nExits with 6 if the changes conflict: \
the message says how to go on and how to give up.")]
pub(crate) struct Sync {
    #[command(flatten)]
    target: Target,
    /// Branch to commit to and to push [default: the one that is checked out].
    #[arg(long)]
    branch: Option<String>,
    /// Message of the commit.
    #[arg(long, short, default_value = "Changes made in the sandbox")]
    message: String,
    /// Folder of the repository [default: that of `spin`].
    #[arg(long, value_name = "DIR")]
    path: Option<String>,
}

/// A repository in a sandbox.
struct Repository {
    sandbox: Sandbox,
    path: String,
    credentials: Credentials,
    /// `https://host` of the remote that they are for.
    remote_host: Option<String>,
    /// Name and address of who commits.
    identity: [String; 2],
    /// The options that name it again.
    again: String,
}

pub(crate) async fn run(context: &Context, args: &Sync) -> Outcome {
    let sandbox = context.sandbox(args.target.id()).await?;
    let path =
        args.path.clone().or_else(|| sandbox.data().labels.get(PATH_LABEL).cloned()).ok_or_else(|| {
            Failure::usage("the sandbox was not made by `spin`: say with --path where its repository is")
        })?;
    let spinner = context.spinner("Committing");
    let remote = sandbox.git().remote_get(&path, "origin", None).await?.ok_or_else(|| {
        Failure::Own(format!("the repository {path} has no remote called origin: add one with `git remote add`"), 5)
    })?;
    let identity = [
        setting(&sandbox, &path, "user.name", "daytona-native").await?,
        setting(&sandbox, &path, "user.email", "daytona-native@localhost").await?,
    ];
    let id = sandbox.id().to_owned();
    let again = match &args.path {
        Some(path) => format!("--id {id} --path {}", shlex::try_quote(path).unwrap_or_default()),
        None => format!("--id {id}"),
    };
    let credentials = Credentials::from_environment();
    let repository = Repository { sandbox, path, credentials, remote_host: host(&remote), identity, again };
    repository.go_on().await?;
    let branch = repository.check_out(args.branch.as_deref()).await?;
    let commit = repository.commit(&args.message).await?;
    spinner.set_message(format!("Syncing {branch}"));
    repository.exchange(&branch).await?;
    let head = repository.git(&["rev-parse", "HEAD"]).await?.1;
    spinner.finish_and_clear();
    let (id, head) = (repository.sandbox.id(), head.trim());
    if context.out.json {
        return context.out.json(&json!({
            "id": id, "path": repository.path, "branch": branch, "committed": commit.is_some(), "head": head,
        }));
    }
    let made = if commit.is_some() { "committed and pushed" } else { "nothing to commit; pushed" };
    let short = head.get(..10).unwrap_or(head);
    crate::sandbox::told(context, &repository.sandbox, &format!("{made} {branch} at {short}"))
}

/// What git is set to in the repository, or else.
async fn setting(sandbox: &Sandbox, path: &str, key: &str, or: &str) -> Outcome<String> {
    let value = sandbox.git().get_config(key, None, Some(path), None).await?;
    Ok(value.filter(|value| !value.trim().is_empty()).unwrap_or_else(|| or.to_owned()))
}

/// Scheme and authority of a URL over HTTP, without a user.
fn host(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://").filter(|(scheme, _)| matches!(*scheme, "http" | "https"))?;
    let authority = rest.split('/').next()?;
    Some(format!("{scheme}://{}", authority.rsplit_once('@').map_or(authority, |(_, host)| host)))
}

impl Repository {
    /// Runs git in the sandbox and gives its exit code and output.
    async fn git(&self, words: &[&str]) -> Outcome<(i32, String)> {
        let mut all = vec!["git"];
        let helper;
        let mut env = BTreeMap::from([
            ("GIT_EDITOR".to_owned(), "true".to_owned()),
            ("GIT_TERMINAL_PROMPT".to_owned(), "0".to_owned()),
            ("LC_ALL".to_owned(), "C".to_owned()),
            ("GIT_COMMITTER_NAME".to_owned(), self.identity[0].clone()),
            ("GIT_COMMITTER_EMAIL".to_owned(), self.identity[1].clone()),
        ]);
        if let (Some(host), Some(password)) = (&self.remote_host, &self.credentials.password) {
            helper = format!("credential.{host}.helper={HELPER}");
            all.extend(["-c", &helper]);
            env.insert("SYNC_USERNAME".to_owned(), self.credentials.username.clone().unwrap_or_default());
            env.insert("SYNC_PASSWORD".to_owned(), password.0.clone());
        }
        all.extend(words);
        let command = shlex::try_join(all).map_err(|error| Failure::usage(error.to_string()))?;
        let options = ExecOptions { cwd: Some(self.path.clone()), env: Some(env), ..ExecOptions::default() };
        let answer = self.sandbox.process().exec(&command, options).await?;
        Ok((answer.exit_code, answer.result))
    }

    /// Finishes a rebase that an earlier sync began, if its conflicts are resolved.
    async fn go_on(&self) -> Outcome {
        if !self.rebasing().await? {
            return Ok(());
        }
        self.refuse_conflicts().await?;
        let (code, output) = self.git(&["rebase", "--continue"]).await?;
        if code != 0 {
            self.refuse_conflicts().await?;
            return Err(self.failed("git rebase --continue", &output));
        }
        Ok(())
    }

    async fn rebasing(&self) -> Outcome<bool> {
        for name in ["rebase-merge", "rebase-apply"] {
            let (_, folder) = self.git(&["rev-parse", "--path-format=absolute", "--git-path", name]).await?;
            match self.sandbox.fs().get_file_info(folder.trim(), None).await {
                Ok(_) => return Ok(true),
                Err(error) if error.kind().is(ErrorKind::NotFound) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(false)
    }

    /// Fails with the way out while files are in conflict.
    async fn refuse_conflicts(&self) -> Outcome {
        let (_, files) = self.git(&["diff", "--name-only", "--diff-filter=U"]).await?;
        let files: Vec<&str> = files.lines().filter(|line| !line.is_empty()).collect();
        if files.is_empty() {
            return Ok(());
        }
        let (id, path, again) = (self.sandbox.id(), shlex::try_quote(&self.path).unwrap_or_default(), &self.again);
        Err(Failure::Own(
            format!(
                "conflict in {}: the remote has changed the same lines. Your commit is safe; the rebase waits in the \
                 sandbox.\n  1. daytona-native shell {id} --cwd {path}\n  2. edit the files, then: git add -A\n  3. \
                 daytona-native sync {again}\nOr give the rebase up: daytona-native exec --id {id} --cwd {path} --cmd \
                 'git rebase --abort'",
                files.join(", ")
            ),
            CONFLICT,
        ))
    }

    /// The branch to work on, checked out; a new one starts here.
    async fn check_out(&self, wanted: Option<&str>) -> Outcome<String> {
        let git = self.sandbox.git();
        let status = git.status(&self.path, None).await?;
        let current = status.current_branch;
        let Some(wanted) = wanted.filter(|wanted| *wanted != current) else {
            if status.detached == Some(true) {
                return Err(Failure::usage("no branch is checked out there: name one with --branch"));
            }
            return Ok(current);
        };
        let known = git.branches(&self.path, None).await?.branches;
        if !known.iter().any(|branch| branch == wanted) {
            git.create_branch(&self.path, wanted, None).await?;
        }
        git.checkout_branch(&self.path, wanted, None).await?;
        Ok(wanted.to_owned())
    }

    /// Commits what has changed, if anything has.
    async fn commit(&self, message: &str) -> Outcome<Option<String>> {
        let git = self.sandbox.git();
        if git.status(&self.path, None).await?.file_status.is_empty() {
            return Ok(None);
        }
        git.add(&self.path, vec![".".to_owned()], None).await?;
        let [author, email] = self.identity.clone();
        let request =
            GitCommitRequest { path: self.path.clone(), message: message.to_owned(), author, email, allow_empty: None };
        Ok(Some(git.commit(request, None).await?.hash))
    }

    /// Takes in what the remote has, and pushes.
    async fn exchange(&self, branch: &str) -> Outcome {
        let mut tries = 0;
        loop {
            let (code, output) = self.git(&["ls-remote", "--exit-code", "--heads", "origin", branch]).await?;
            match code {
                0 => self.pull(branch).await?,
                NO_BRANCH => {}
                _ => return Err(self.failed("git ls-remote", &output)),
            }
            let Credentials { username, password } = self.credentials.clone();
            let request = GitPushRequest {
                path: self.path.clone(),
                username,
                password,
                branch: Some(branch.to_owned()),
                remote: Some("origin".to_owned()),
                set_upstream: Some(true),
            };
            tries += 1;
            match self.sandbox.git().push(request, None).await {
                Err(error) if error.kind() == ErrorKind::GitPushRejected && tries < TRIES => {}
                pushed => return Ok(pushed?),
            }
        }
    }

    async fn pull(&self, branch: &str) -> Outcome {
        let (code, output) = self.git(&["pull", "--rebase", "origin", branch]).await?;
        if code == 0 {
            return Ok(());
        }
        self.refuse_conflicts().await?;
        Err(self.failed("git pull --rebase", &output))
    }

    fn failed(&self, what: &str, output: &str) -> Failure {
        let text = output.trim();
        let auth = ["Authentication failed", "could not read Username", "returned error: 401", "returned error: 403"];
        if auth.iter().any(|words| text.contains(words)) {
            let hint = "Set GIT_USERNAME and GIT_PASSWORD (a token is one too) to what the remote takes";
            return Failure::Own(format!("{what} failed in {}: {text}. {hint}", self.path), 4);
        }
        Failure::new(format!("{what} failed in {}: {text}", self.path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_for_one_host() {
        assert_eq!(host("https://me@git.example:8443/a/b.git").as_deref(), Some("https://git.example:8443"));
        assert_eq!(host("git@git.example:a/b.git"), None);
    }
}
