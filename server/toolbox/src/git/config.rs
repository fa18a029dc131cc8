//! Settings of git, and credentials that it keeps.

use std::path::PathBuf;

use axum::extract::State;
use axum::http::StatusCode;
use daytona_wire::git::{GitAuthenticateRequest, GitConfigResponse, GitConfigureUserRequest, GitSetConfigRequest};
use serde::Deserialize;

use super::run::Git;
use super::{plain, repository, text};
use crate::App;
use crate::body::{Json, Query};
use crate::error::{Error, Result};

#[derive(Deserialize)]
pub(super) struct ConfigQuery {
    key: String,
    scope: Option<String>,
    path: Option<String>,
}

/// `GET /git/config`
pub(super) async fn get(
    State(app): State<App>,
    Query(query): Query<ConfigQuery>,
) -> Result<axum::Json<GitConfigResponse>> {
    let (folder, scope) = scope(&app, query.scope.as_deref(), query.path.as_deref())?;
    let mut git = Git::new(&app, &folder, "config");
    let output = git.args([scope, "--null", "--get", plain("key", &query.key)?]).output().await?;
    let value = match output.code {
        0 => Some(String::from_utf8_lossy(output.stdout.strip_suffix(b"\0").unwrap_or(&output.stdout)).into_owned()),
        1 if output.stderr.is_empty() => None,
        _ => return Err(git.failed(&output)),
    };
    Ok(axum::Json(GitConfigResponse { value }))
}

/// `POST /git/config`
pub(super) async fn set(State(app): State<App>, Json(request): Json<GitSetConfigRequest>) -> Result<()> {
    let (folder, scope) = scope(&app, request.scope.as_deref(), request.path.as_deref())?;
    write(&app, &folder, scope, &request.key, &request.value).await
}

/// `POST /git/config/user`
pub(super) async fn user(State(app): State<App>, Json(request): Json<GitConfigureUserRequest>) -> Result<()> {
    let (folder, scope) = scope(&app, request.scope.as_deref(), request.path.as_deref())?;
    for (what, value) in [("name", &request.name), ("email", &request.email)] {
        if value.trim().is_empty() {
            return Err(Error::bad_request(format!("the {what} is blank; a commit needs one")));
        }
    }
    write(&app, &folder, scope, "user.name", &request.name).await?;
    write(&app, &folder, scope, "user.email", &request.email).await
}

/// `POST /git/credentials`: for every repository of the sandbox's user, in its home.
pub(super) async fn credentials(State(app): State<App>, Json(request): Json<GitAuthenticateRequest>) -> Result<()> {
    let protocol = request.protocol.as_deref().filter(|one| !one.is_empty()).unwrap_or("https").to_ascii_lowercase();
    if !matches!(protocol.as_str(), "http" | "https") {
        return Err(Error::bad_request(format!("credentials are for http and https, not for {protocol:?}")));
    }
    let host = request.host.as_deref().filter(|one| !one.is_empty()).unwrap_or("github.com");
    if host.contains(['/', '@']) {
        return Err(Error::bad_request(format!("{host:?} is no host; give its name, with a port where it has one")));
    }
    for (what, value) in [("host", host), ("user name", &request.username), ("password", &request.password.0)] {
        if value.is_empty() || value.contains(['\n', '\r', '\0']) {
            return Err(Error::bad_request(format!("the {what} is empty, or holds a line break or a NUL byte")));
        }
    }
    let folder = &app.config.work_dir;
    let known = Git::new(&app, folder, "config")
        .args(["--global", "--null", "--get-all", "credential.helper"])
        .output()
        .await?;
    if !known.stdout.split(|&byte| byte == 0).any(|helper| helper == b"store") {
        Git::new(&app, folder, "config").args(["--global", "--add", "credential.helper", "store"]).run().await?;
    }
    let entry =
        format!("protocol={protocol}\nhost={host}\nusername={}\npassword={}\n\n", request.username, request.password.0);
    Git::new(&app, folder, "credential-store").arg("store").stdin(entry).run().await.map(drop)
}

/// Where a setting is, as an option, and the folder to run in.
fn scope(app: &App, scope: Option<&str>, path: Option<&str>) -> Result<(PathBuf, &'static str)> {
    let path = path.filter(|path| !path.is_empty());
    match scope.filter(|scope| !scope.is_empty()).unwrap_or("global") {
        "local" => {
            let path =
                path.ok_or_else(|| Error::bad_request("the scope local is that of a repository; give its path"))?;
            Ok((repository(app, path)?, "--local"))
        }
        "global" => Ok((app.config.work_dir.clone(), "--global")),
        "system" => Ok((app.config.work_dir.clone(), "--system")),
        other => Err(Error::bad_request(format!("the scope {other:?} is none of global, local and system"))),
    }
}

async fn write(app: &App, folder: &std::path::Path, scope: &str, key: &str, value: &str) -> Result<()> {
    let mut git = Git::new(app, folder, "config");
    git.args([scope, "--replace-all", "--", plain("key", key)?, text("value", value)?]);
    let output = git.output().await?;
    if output.code == 0 {
        return Ok(());
    }
    let error = git.failed(&output);
    // 4 is a file that cannot be written.
    Err(if output.code == 4 && error.status == StatusCode::BAD_REQUEST { Error::denied(error.message) } else { error })
}
