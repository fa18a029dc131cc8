//! Git repositories of the sandbox, over the git program in it.
//!
//! Each route runs git in formats made for programs, with names that are told from options, without prompts, pagers
//! and translations. What it says when it fails becomes an error with a code ([`failure`]).

mod change;
mod config;
mod credentials;
mod failure;
mod remote;
mod run;
mod status;

use std::path::{Path, PathBuf};

use axum::Router;
use axum::http::StatusCode;
use axum::routing::{get, post};
use daytona_wire::error::code;
use serde::Deserialize;

use self::run::Git;
use crate::App;
use crate::error::{Error, Result};
use crate::files::path::{Last, resolve};

pub(crate) fn routes() -> Router<App> {
    Router::new()
        .route("/git/add", post(change::add))
        .route("/git/branches", get(status::branches).post(change::create_branch).delete(change::delete_branch))
        .route("/git/checkout", post(change::checkout))
        .route("/git/clone", post(remote::clone))
        .route("/git/commit", post(change::commit))
        .route("/git/config", get(config::get).post(config::set))
        .route("/git/config/user", post(config::user))
        .route("/git/credentials", post(config::credentials))
        .route("/git/history", get(status::history))
        .route("/git/init", post(change::init))
        .route("/git/pull", post(remote::pull))
        .route("/git/push", post(remote::push))
        .route("/git/remotes", get(remote::list).post(remote::add))
        .route("/git/reset", post(change::reset))
        .route("/git/restore", post(change::restore))
        .route("/git/status", get(status::status))
}

#[derive(Deserialize)]
struct PathQuery {
    path: String,
}

/// The folder of a repository, with a working tree or bare.
fn repository(app: &App, asked: &str) -> Result<PathBuf> {
    let folder = resolve(app, asked, Last::Follow)?;
    // git sees real names only.
    let folder = folder.canonicalize().unwrap_or(folder);
    let bare = || folder.join("HEAD").exists() && folder.join("objects").is_dir() && folder.join("refs").is_dir();
    if folder.join(".git").exists() || bare() {
        return Ok(folder);
    }
    Err(Error::new(
        StatusCode::NOT_FOUND,
        code::GIT_REPO_NOT_FOUND,
        format!("{asked} is not a git repository; give the root folder of one, or make one with init or clone"),
    ))
}

/// Refuses what git would take for an option, or for something else than a name.
fn plain<'a>(what: &str, value: &'a str) -> Result<&'a str> {
    let why = if value.trim().is_empty() {
        "is empty"
    } else if value.starts_with('-') {
        "starts with -"
    } else if value.contains(char::is_control) {
        "holds a control character"
    } else {
        return Ok(value);
    };
    Err(Error::bad_request(format!("the {what} {value:?} {why}")))
}

/// Text without NUL bytes, which no program takes.
fn text<'a>(what: &str, value: &'a str) -> Result<&'a str> {
    if value.contains('\0') {
        return Err(Error::bad_request(format!("the {what} holds a NUL byte; remove it")));
    }
    Ok(value)
}

/// The branch that is checked out; `None` where `HEAD` is detached.
async fn branch_of(app: &App, folder: &Path) -> Result<Option<String>> {
    Git::new(app, folder, "symbolic-ref").args(["--quiet", "--short", "HEAD"]).line().await
}
