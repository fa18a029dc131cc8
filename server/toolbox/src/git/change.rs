//! Changes to a repository itself.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use axum::extract::State;
use axum::http::StatusCode;
use daytona_wire::git::{
    GitAddRequest, GitBranchRequest, GitCheckoutRequest, GitCommitRequest, GitCommitResponse, GitInitRequest,
    GitResetRequest, GitRestoreRequest,
};

use super::run::Git;
use super::{plain, repository, text};
use crate::App;
use crate::body::Json;
use crate::error::{Error, Result};
use crate::files::path::{Last, resolve};
use crate::names;

/// `POST /git/add`
pub(super) async fn add(State(app): State<App>, Json(request): Json<GitAddRequest>) -> Result<()> {
    let folder = repository(&app, &request.path)?;
    let mut git = Git::new(&app, &folder, "add");
    files(&mut git, &folder, &request.files)?.run().await.map(drop)
}

/// `POST /git/commit`
pub(super) async fn commit(
    State(app): State<App>,
    Json(request): Json<GitCommitRequest>,
) -> Result<axum::Json<GitCommitResponse>> {
    let folder = repository(&app, &request.path)?;
    for (what, value) in [("message", &request.message), ("author", &request.author), ("email", &request.email)] {
        if text(what, value)?.trim().is_empty() {
            return Err(Error::bad_request(format!("the {what} is blank; a commit needs one")));
        }
    }
    let mut git = Git::new(&app, &folder, "commit");
    git.args(["--quiet", "--cleanup=whitespace", "--file=-"]).switch(request.allow_empty, "--allow-empty");
    git.env("GIT_AUTHOR_NAME", &request.author).env("GIT_AUTHOR_EMAIL", &request.email);
    git.env("GIT_COMMITTER_NAME", &request.author).env("GIT_COMMITTER_EMAIL", &request.email);
    git.stdin(request.message).run().await?;
    let hash = Git::new(&app, &folder, "rev-parse").args(["--verify", "HEAD"]).run().await?;
    Ok(axum::Json(GitCommitResponse { hash: String::from_utf8_lossy(&hash).trim().to_owned() }))
}

/// `POST /git/branches`
pub(super) async fn create_branch(State(app): State<App>, Json(request): Json<GitBranchRequest>) -> Result<StatusCode> {
    let folder = repository(&app, &request.path)?;
    let name = plain("branch", &request.name)?;
    let mut born = Git::new(&app, &folder, "rev-parse");
    if born.args(["--verify", "--quiet", "HEAD"]).output().await?.code != 0 {
        return Err(Error::conflict("the repository has no commit yet for a branch to start from; commit first"));
    }
    Git::new(&app, &folder, "branch").args(["--no-track", "--", name]).run().await?;
    Ok(StatusCode::CREATED)
}

/// `DELETE /git/branches`
pub(super) async fn delete_branch(State(app): State<App>, Json(request): Json<GitBranchRequest>) -> Result<StatusCode> {
    let folder = repository(&app, &request.path)?;
    let name = plain("branch", &request.name)?;
    let mut git = Git::new(&app, &folder, "branch");
    let output = git.args(["--delete", "--force", "--", name]).output().await?;
    if output.code == 0 {
        return Ok(StatusCode::NO_CONTENT);
    }
    if String::from_utf8_lossy(&output.stderr).contains("not found") {
        let why = format!("there is no branch {name}");
        return Err(Error::new(StatusCode::NOT_FOUND, daytona_wire::error::code::GIT_BRANCH_NOT_FOUND, why));
    }
    Err(git.failed(&output))
}

/// `POST /git/checkout`
pub(super) async fn checkout(State(app): State<App>, Json(request): Json<GitCheckoutRequest>) -> Result<()> {
    let folder = repository(&app, &request.path)?;
    let branch = plain("branch", &request.branch)?;
    // The last argument says that this is no file.
    Git::new(&app, &folder, "checkout").args(["--quiet", branch, "--"]).run().await.map(drop)
}

/// `POST /git/init`
pub(super) async fn init(State(app): State<App>, Json(request): Json<GitInitRequest>) -> Result<StatusCode> {
    let folder = resolve(&app, &request.path, Last::Follow)?;
    let mut git = Git::new(&app, &app.config.work_dir, "init");
    git.arg("--quiet").switch(request.bare, "--bare");
    if let Some(branch) = request.initial_branch.as_deref().filter(|branch| !branch.is_empty()) {
        git.arg(format!("--initial-branch={}", plain("branch", branch)?));
    }
    git.arg("--").arg(folder).run().await?;
    Ok(StatusCode::CREATED)
}

/// `POST /git/reset`
pub(super) async fn reset(State(app): State<App>, Json(request): Json<GitResetRequest>) -> Result<()> {
    let folder = repository(&app, &request.path)?;
    let mode = request.mode.as_deref().filter(|mode| !mode.is_empty());
    if mode.is_some_and(|mode| !["soft", "mixed", "hard", "merge", "keep"].contains(&mode)) {
        let mode = mode.unwrap_or_default();
        return Err(Error::bad_request(format!("the mode {mode:?} is none of soft, mixed, hard, merge and keep")));
    }
    let paths = request.files.filter(|files| !files.is_empty());
    if let (Some(mode), true) = (mode.filter(|mode| *mode != "mixed"), paths.is_some()) {
        return Err(Error::bad_request(format!(
            "single files are reset in the index only, not {mode}; leave the mode away, or use restore"
        )));
    }
    let target = request.target.as_deref().filter(|target| !target.is_empty());
    let target = target.map(|target| plain("target", target)).transpose()?;
    let mut git = Git::new(&app, &folder, "reset");
    git.arg("--quiet");
    if let Some(paths) = paths {
        // Without a commit yet there is no HEAD to name.
        git.args.extend(target.map(Into::into));
        return files(&mut git, &folder, &paths)?.run().await.map(drop);
    }
    git.arg(format!("--{}", mode.unwrap_or("mixed")));
    git.args.extend(target.map(Into::into));
    git.arg("--").run().await.map(drop)
}

/// `POST /git/restore`
pub(super) async fn restore(State(app): State<App>, Json(request): Json<GitRestoreRequest>) -> Result<()> {
    let folder = repository(&app, &request.path)?;
    if request.worktree == Some(false) && request.staged != Some(true) {
        return Err(Error::bad_request("neither the index nor the working tree is to be restored; say which is"));
    }
    let mut git = Git::new(&app, &folder, "restore");
    git.arg("--quiet").switch(request.staged, "--staged").switch(request.worktree, "--worktree");
    if let Some(source) = request.source.as_deref().filter(|source| !source.is_empty()) {
        git.arg(format!("--source={}", plain("source", source)?));
    }
    files(&mut git, &folder, &request.files)?.run().await.map(drop)
}

/// Hands over names of files, which are nothing but that: no patterns, no options.
fn files<'g, 'a>(git: &'g mut Git<'a>, folder: &Path, files: &[String]) -> Result<&'g mut Git<'a>> {
    if files.is_empty() {
        return Err(Error::bad_request("no files are given; give their paths, or . for everything"));
    }
    let mut list = Vec::new();
    for file in files {
        if text("path of a file", file)?.is_empty() {
            return Err(Error::bad_request("the path of a file is empty; use . for everything"));
        }
        // Also one that is deleted.
        let other = names::read(file).filter(|_| folder.join(file).symlink_metadata().is_err());
        list.extend(other.as_deref().map_or(file.as_bytes(), OsStrExt::as_bytes));
        list.push(0);
    }
    git.env("GIT_LITERAL_PATHSPECS", "1");
    Ok(git.args(["--pathspec-from-file=-", "--pathspec-file-nul"]).stdin(list))
}
