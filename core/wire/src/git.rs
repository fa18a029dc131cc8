//! Git repositories in a sandbox.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::sandbox::null_is_default;

/// What nobody who prints a request gets to see.
#[derive(Clone, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Password(pub String);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"***\"")
    }
}

/// `POST /git/add`
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct GitAddRequest {
    /// The repository's folder.
    pub path: String,
    /// Files and folders in it; `.` is everything.
    pub files: Vec<String>,
}

/// `POST` and `DELETE /git/branches`
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct GitBranchRequest {
    /// The repository's folder.
    pub path: String,
    /// The branch.
    pub name: String,
}

/// `GET /git/branches`
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct ListBranchResponse {
    /// Local branches by name.
    #[serde(deserialize_with = "null_is_default")]
    pub branches: Vec<String>,
    /// The branch that is checked out; empty where `HEAD` is detached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current: Option<String>,
}

/// `POST /git/checkout`
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct GitCheckoutRequest {
    /// The repository's folder.
    pub path: String,
    /// A branch, or a commit.
    pub branch: String,
}

/// `POST /git/clone`
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct GitCloneRequest {
    /// Where it comes from.
    pub url: String,
    /// The folder to make; missing ones above it are made too.
    pub path: String,
    /// The branch or tag to check out instead of the remote's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// The commit to check out, with a detached `HEAD`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit_id: Option<String>,
    /// For remotes that ask for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// For remotes that ask for one; a token is one too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Password>,
    /// Take any certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub insecure_skip_tls: Option<bool>,
    /// Only so many commits of the history.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub depth: Option<i64>,
}

/// `POST /git/commit`
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct GitCommitRequest {
    /// The repository's folder.
    pub path: String,
    /// The message.
    pub message: String,
    /// Name of author and committer.
    pub author: String,
    /// Their mail address.
    pub email: String,
    /// Commit also where nothing is staged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_empty: Option<bool>,
}

/// The answer to [`GitCommitRequest`].
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct GitCommitResponse {
    /// The commit.
    pub hash: String,
}

/// One commit of `GET /git/history`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct GitCommitInfo {
    /// The commit.
    pub hash: String,
    /// The author's name.
    pub author: String,
    /// The author's mail address.
    pub email: String,
    /// The whole message.
    pub message: String,
    /// When it was written, RFC 3339.
    pub timestamp: String,
}

/// `POST /git/push`
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct GitPushRequest {
    /// The repository's folder.
    pub path: String,
    /// For remotes that ask for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// For remotes that ask for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Password>,
    /// The branch; the current one if `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// The remote's name; `origin` if `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote: Option<String>,
    /// Make it the branch's upstream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set_upstream: Option<bool>,
}

/// `POST /git/pull`
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct GitPullRequest {
    /// The repository's folder.
    pub path: String,
    /// For remotes that ask for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// For remotes that ask for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Password>,
    /// The remote's branch; the upstream of the current one if `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// The remote's name; that of the upstream, else `origin`, if `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote: Option<String>,
}

/// What became of a file since the last commit, or since it was staged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub enum FileState {
    /// The same.
    #[default]
    Unmodified,
    /// Not known to git.
    Untracked,
    /// Other contents or another mode.
    Modified,
    /// New.
    Added,
    /// Gone.
    Deleted,
    /// Under another name than before.
    Renamed,
    /// A copy of another file.
    Copied,
    /// In conflict.
    #[serde(rename = "Updated but unmerged")]
    UpdatedButUnmerged,
    /// A name of a later version.
    #[serde(rename = "unknown_default_open_api", other)]
    Unknown,
}

impl FileState {
    /// As it is on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unmodified => "Unmodified",
            Self::Untracked => "Untracked",
            Self::Modified => "Modified",
            Self::Added => "Added",
            Self::Deleted => "Deleted",
            Self::Renamed => "Renamed",
            Self::Copied => "Copied",
            Self::UpdatedButUnmerged => "Updated but unmerged",
            Self::Unknown => "unknown_default_open_api",
        }
    }
}

/// A file that is not as it was committed.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct FileStatus {
    /// Its path in the repository.
    pub name: String,
    /// Where it was before it was renamed; else empty.
    pub extra: String,
    /// What is staged.
    pub staging: FileState,
    /// What is not.
    pub worktree: FileState,
}

/// `GET /git/status`
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GitStatus {
    /// The branch that is checked out; `HEAD` where that is detached.
    pub current_branch: String,
    /// The files that are not as they were committed.
    #[serde(deserialize_with = "null_is_default")]
    pub file_status: Vec<FileStatus>,
    /// Commits that the upstream lacks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ahead: Option<u64>,
    /// Commits of the upstream that are not here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub behind: Option<u64>,
    /// The remote has the branch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub branch_published: Option<bool>,
    /// `HEAD` is a commit, not a branch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detached: Option<bool>,
    /// Such as `origin/main`; empty where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream: Option<String>,
}

/// `POST /git/init`
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct GitInitRequest {
    /// The folder; made where it is missing.
    pub path: String,
    /// Without a working tree.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bare: Option<bool>,
    /// Name of the first branch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initial_branch: Option<String>,
}

/// `POST /git/reset`
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct GitResetRequest {
    /// The repository's folder.
    pub path: String,
    /// `soft`, `mixed`, `hard`, `merge` or `keep`; `mixed` if `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// The revision; `HEAD` if `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Only these, in the index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<Vec<String>>,
}

/// `POST /git/restore`
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct GitRestoreRequest {
    /// The repository's folder.
    pub path: String,
    /// Files and folders in it.
    pub files: Vec<String>,
    /// In the index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub staged: Option<bool>,
    /// In the working tree; so it is where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worktree: Option<bool>,
    /// A revision to take them from, instead of the index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
}

/// `POST /git/remotes`
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct GitAddRemoteRequest {
    /// The repository's folder.
    pub path: String,
    /// Its name.
    pub name: String,
    /// Where it is.
    pub url: String,
    /// Fetch from it at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fetch: Option<bool>,
    /// Put it in the place of one of that name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overwrite: Option<bool>,
}

/// A remote.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct GitRemote {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub url: String,
}

/// `GET /git/remotes`
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct ListRemotesResponse {
    /// By name.
    #[serde(deserialize_with = "null_is_default")]
    pub remotes: Vec<GitRemote>,
}

/// `POST /git/config`
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct GitSetConfigRequest {
    /// Such as `pull.rebase`.
    pub key: String,
    /// Its value.
    pub value: String,
    /// `global`, `local` or `system`; `global` if `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// The repository's folder, for the scope `local`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}

/// `GET /git/config`
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct GitConfigResponse {
    /// `None` where it is not set.
    #[serde(default)]
    pub value: Option<String>,
}

/// `POST /git/config/user`
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct GitConfigureUserRequest {
    /// Name of author and committer.
    pub name: String,
    /// Their mail address.
    pub email: String,
    /// As in [`GitSetConfigRequest`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// As in [`GitSetConfigRequest`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}

/// `POST /git/credentials`
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct GitAuthenticateRequest {
    /// The user name.
    pub username: String,
    /// The password, or a token.
    pub password: Password,
    /// `github.com` if `None`; may have a port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// `https` if `None`, or `http`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
}
