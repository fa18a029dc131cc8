//! Repositories elsewhere.

use std::path::Path;

use axum::extract::State;
use axum::http::StatusCode;
use daytona_wire::git::{
    GitAddRemoteRequest, GitCloneRequest, GitPullRequest, GitPushRequest, GitRemote, ListRemotesResponse, Password,
};

use super::credentials::{Credentials, Url};
use super::run::Git;
use super::{PathQuery, branch_of, plain, repository};
use crate::App;
use crate::body::{Json, Query};
use crate::error::{Error, Result};
use crate::files::path::{Last, resolve};

/// `POST /git/clone`
pub(super) async fn clone(State(app): State<App>, Json(request): Json<GitCloneRequest>) -> Result<()> {
    let url = Url::parse(&request.url)?;
    let folder = resolve(&app, &request.path, Last::Follow)?;
    let credentials = Credentials::new(&url, request.username, request.password.map(|password| password.0))?;
    let branch = given(request.branch.as_deref()).map(|branch| plain("branch", branch)).transpose()?;
    let commit = given(request.commit_id.as_deref()).map(|commit| plain("commit", commit)).transpose()?;
    let depth = request.depth.filter(|&depth| depth != 0);
    if depth.is_some_and(|depth| depth < 0) {
        return Err(Error::bad_request("the depth is negative; leave it away for the whole history"));
    }
    let start = |command: &str, folder: &Path| {
        let mut git = Git::new(&app, folder, command);
        if request.insecure_skip_tls == Some(true) {
            git.setting("http.sslVerify=false");
        }
        git.remote(credentials.clone());
        git
    };
    let mut git = start("clone", &app.config.work_dir);
    if let Some(branch) = branch {
        git.args(["--branch", branch]);
    }
    if let Some(depth) = depth {
        // Of a repository on the same disk git would take all of it.
        git.arg(format!("--depth={depth}")).arg("--no-local");
    }
    if commit.is_some() {
        git.arg("--no-checkout");
    }
    let was_there = folder.exists();
    git.args(["--", &url.text]).arg(&folder).run().await?;
    let Some(commit) = commit else { return Ok(()) };
    let found = async {
        let known = format!("{commit}^{{commit}}");
        let mut look = Git::new(&app, &folder, "rev-parse");
        if look.args(["--verify", "--quiet", &known]).output().await?.code != 0 {
            // None of the branches has it, or not at this depth.
            let depth = format!("--depth={}", depth.unwrap_or(i64::from(i32::MAX)));
            start("fetch", &folder).args(["--quiet", &depth, "origin", commit]).run().await?;
        }
        let mut checkout = Git::new(&app, &folder, "checkout");
        checkout.args(["--quiet", "--detach", commit, "--"]).run().await
    };
    if let Err(error) = found.await {
        // As when the clone itself fails.
        let _ = tokio::task::spawn_blocking(move || clean(&folder, was_there)).await;
        return Err(error);
    }
    Ok(())
}

/// Takes a clone back.
fn clean(folder: &Path, was_there: bool) {
    if !was_there {
        let _ = std::fs::remove_dir_all(folder);
        return;
    }
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let _ = std::fs::remove_dir_all(&path).or_else(|_| std::fs::remove_file(&path));
    }
}

/// `POST /git/push`
pub(super) async fn push(State(app): State<App>, Json(request): Json<GitPushRequest>) -> Result<()> {
    let folder = repository(&app, &request.path)?;
    let remote = plain("remote", given(request.remote.as_deref()).unwrap_or("origin"))?;
    let branch = match given(request.branch.as_deref()) {
        Some(branch) => plain("branch", branch)?.to_owned(),
        None => branch_of(&app, &folder).await?.ok_or_else(detached)?,
    };
    let credentials = known(&app, &folder, remote, true, request.username, request.password).await?;
    let mut git = Git::new(&app, &folder, "push");
    git.switch(request.set_upstream, "--set-upstream");
    let refs = format!("refs/heads/{branch}:refs/heads/{branch}");
    git.remote(credentials).args(["--", remote, &refs]).run().await.map(drop)
}

/// `POST /git/pull`
pub(super) async fn pull(State(app): State<App>, Json(request): Json<GitPullRequest>) -> Result<()> {
    let folder = repository(&app, &request.path)?;
    let current = branch_of(&app, &folder).await?;
    let (mut upstream, mut merged) = (None, None);
    if let Some(current) = &current {
        upstream = setting(&app, &folder, &format!("branch.{current}.remote")).await?;
        merged = setting(&app, &folder, &format!("branch.{current}.merge")).await?;
    }
    let remote = given(request.remote.as_deref()).or(upstream.as_deref()).unwrap_or("origin").to_owned();
    let remote = plain("remote", &remote)?;
    let branch = match given(request.branch.as_deref()) {
        Some(branch) => plain("branch", branch)?.to_owned(),
        None => merged.filter(|_| upstream.as_deref() == Some(remote)).or(current).ok_or_else(detached)?,
    };
    let credentials = known(&app, &folder, remote, false, request.username, request.password).await?;
    let mut git = Git::new(&app, &folder, "pull");
    git.arg("--no-edit");
    // Histories that have both gone on are merged, unless the settings have it otherwise.
    let mut chosen = Git::new(&app, &folder, "config");
    if chosen.args(["--get-regexp", r"^(pull\.(rebase|ff)|branch\..*\.rebase)$"]).output().await?.code != 0 {
        git.arg("--no-rebase");
    }
    git.remote(credentials).args(["--", remote, &branch]).run().await.map(drop)
}

fn detached() -> Error {
    Error::bad_request("no branch is checked out; name a branch, or check one out")
}

/// An empty text is as good as none.
fn given(text: Option<&str>) -> Option<&str> {
    text.filter(|text| !text.is_empty())
}

/// The value of a setting, wherever it is set.
async fn setting(app: &App, folder: &Path, key: &str) -> Result<Option<String>> {
    Git::new(app, folder, "config").args(["--get", key]).line().await
}

/// The credentials for a remote that is known by its name.
async fn known(
    app: &App,
    folder: &Path,
    remote: &str,
    push: bool,
    username: Option<String>,
    password: Option<Password>,
) -> Result<Option<Credentials>> {
    // The repository itself.
    if remote == "." {
        return Ok(None);
    }
    let mut git = Git::new(app, folder, "remote");
    let text = git.arg("get-url").switch(Some(push), "--push").args(["--", remote]).run().await?;
    let text = String::from_utf8_lossy(&text);
    Credentials::new(&Url::parse(text.trim())?, username, password.map(|password| password.0))
}

/// `GET /git/remotes`
pub(super) async fn list(
    State(app): State<App>,
    Query(PathQuery { path }): Query<PathQuery>,
) -> Result<axum::Json<ListRemotesResponse>> {
    let folder = repository(&app, &path)?;
    let mut git = Git::new(&app, &folder, "config");
    let output = git.args(["--local", "--null", "--get-regexp", r"^remote\..*\.url$"]).output().await?;
    if output.code > 1 {
        return Err(git.failed(&output));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let mut remotes: Vec<GitRemote> = Vec::new();
    for (key, url) in text.split('\0').filter_map(|entry| entry.split_once('\n')) {
        let name = key.trim_start_matches("remote.").trim_end_matches(".url");
        // Of several URLs the first is the one that is fetched from.
        if !remotes.iter().any(|remote| remote.name == name) {
            remotes.push(GitRemote { name: name.to_owned(), url: url.to_owned() });
        }
    }
    remotes.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(axum::Json(ListRemotesResponse { remotes }))
}

/// `POST /git/remotes`
pub(super) async fn add(State(app): State<App>, Json(request): Json<GitAddRemoteRequest>) -> Result<StatusCode> {
    let folder = repository(&app, &request.path)?;
    let name = plain("remote", &request.name)?;
    let url = Url::parse(&request.url)?;
    let before = setting(&app, &folder, &format!("remote.{name}.url")).await?;
    if before.is_some() && request.overwrite != Some(true) {
        let why = format!("there is a remote {name} already; pass overwrite to change where it leads");
        return Err(Error::new(StatusCode::CONFLICT, "GIT_REMOTE_EXISTS", why));
    }
    let set = |url: String| {
        let mut git = Git::new(&app, &folder, "config");
        git.args(["--replace-all", "--", &format!("remote.{name}.url"), &url]);
        git
    };
    if before.is_some() {
        set(url.text.clone()).run().await?;
        // One that leads elsewhere when pushed to is not replaced by half.
        let pushed = format!("remote.{name}.pushurl");
        Git::new(&app, &folder, "config").args(["--unset-all", "--", &pushed]).output().await?;
    } else {
        Git::new(&app, &folder, "remote").args(["add", "--", name, &url.text]).run().await?;
    }
    if request.fetch == Some(true) {
        let credentials = Credentials::new(&url, None, None)?;
        let mut git = Git::new(&app, &folder, "fetch");
        if let Err(error) = git.remote(credentials).args(["--quiet", "--prune", "--", name]).run().await {
            match before {
                Some(before) => set(before).run().await?,
                None => Git::new(&app, &folder, "remote").args(["remove", "--", name]).run().await?,
            };
            return Err(Error::new(error.status, error.code, format!("{error}; the remote was not added")));
        }
    }
    Ok(StatusCode::CREATED)
}
