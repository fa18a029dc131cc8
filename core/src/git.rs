//! Git repositories in a sandbox.

use std::time::Duration;

use daytona_wire::git::{
    GitAddRemoteRequest, GitAddRequest, GitAuthenticateRequest, GitBranchRequest, GitCheckoutRequest, GitCloneRequest,
    GitCommitRequest, GitCommitResponse, GitConfigResponse, GitConfigureUserRequest, GitInitRequest, GitPullRequest,
    GitPushRequest, GitResetRequest, GitRestoreRequest, GitSetConfigRequest, GitStatus, ListBranchResponse,
    ListRemotesResponse, Password,
};
use http::Method;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Result};
use crate::files::check_path;
use crate::operation::Operation;
use crate::process::refuse_nul;
use crate::sandbox::Sandbox;
use crate::transport::{Call, Limit, seconds};
use crate::watch;

/// How long repositories elsewhere are waited for, unless the client or the call says otherwise.
const REMOTE_LIMIT: Duration = Duration::from_secs(30 * 60);

/// The git repositories of one sandbox. Relative paths start from its work directory; that of a repository is its root.
///
/// Every method takes `timeout`, the seconds to wait for the answer: 0 is no limit, `None` the client's, and half an
/// hour for those that talk to a remote. Giving a call up ends the git that it started.
#[derive(Clone)]
pub struct Git {
    sandbox: Sandbox,
}

impl Sandbox {
    /// Its git repositories.
    pub fn git(&self) -> Git {
        Git { sandbox: self.clone() }
    }
}

impl Git {
    /// Stages files for the next commit; `.` is everything. Names are taken literally.
    ///
    /// # Errors
    /// `InvalidArgument` without files; `GitRepoNotFound`; `FileNotFound`.
    pub async fn add(&self, path: &str, files: Vec<String>, timeout: Option<f64>) -> Result<()> {
        let operation = Operation::GIT_ADD;
        let work = async {
            check_files(&files)?;
            self.change(operation, "add", path, &GitAddRequest { path: path.to_owned(), files }, timeout).await
        };
        self.sandbox.observe(operation, work).await
    }

    /// The local branches, and which of them is checked out.
    ///
    /// # Errors
    /// `GitRepoNotFound`.
    pub async fn branches(&self, path: &str, timeout: Option<f64>) -> Result<ListBranchResponse> {
        let work = self.read(Operation::GIT_BRANCHES, "branches", path, timeout);
        self.sandbox.observe(Operation::GIT_BRANCHES, work).await
    }

    /// Makes a copy of a repository. Credentials go to the remote and are stored nowhere.
    ///
    /// # Errors
    /// `InvalidArgument` for a depth below 1; `GitAuthFailed`; `GitRepoNotFound`; `GitBranchNotFound`; `Conflict` if
    /// the folder holds something; `GitTransportFailed`.
    pub async fn clone_repository(&self, request: GitCloneRequest, timeout: Option<f64>) -> Result<()> {
        let operation = Operation::GIT_CLONE;
        let work = async {
            if request.url.trim().is_empty() {
                return Err(Error::invalid("the URL is blank"));
            }
            if request.depth.is_some_and(|depth| depth < 1) {
                return Err(Error::invalid("depth must be at least 1"));
            }
            check_credentials(request.username.as_deref(), request.password.as_ref())?;
            check_path(&request.path)?;
            self.post(operation, "clone", &request, self.remote_limit(timeout)?).await
        };
        self.sandbox.observe(operation, work).await
    }

    /// Commits what is staged.
    ///
    /// # Errors
    /// `InvalidArgument` for a blank message, author or address; `GitRepoNotFound`; `BadRequest` if nothing is staged;
    /// `GitMergeConflict` while conflicts are left.
    pub async fn commit(&self, request: GitCommitRequest, timeout: Option<f64>) -> Result<GitCommitResponse> {
        let operation = Operation::GIT_COMMIT;
        let work = async {
            check_path(&request.path)?;
            for (what, text) in [("message", &request.message), ("author", &request.author), ("email", &request.email)]
            {
                check_text(what, text)?;
            }
            let limit = seconds("request_timeout", timeout)?;
            let call = self.call(operation, Method::POST, "commit", &[], limit).await?;
            self.sandbox.answer(call.json(&request)?).await
        };
        self.sandbox.observe(operation, work).await
    }

    /// Sends a branch to a remote.
    ///
    /// # Errors
    /// `GitRepoNotFound`; `GitBranchNotFound`; `GitAuthFailed`; `GitPushRejected` if the remote has commits that are
    /// missing here; `GitRemoteRejected`; `GitTransportFailed`; `NotFound` for an unknown remote.
    pub async fn push(&self, request: GitPushRequest, timeout: Option<f64>) -> Result<()> {
        let operation = Operation::GIT_PUSH;
        let work = async {
            check_credentials(request.username.as_deref(), request.password.as_ref())?;
            check_path(&request.path)?;
            self.post(operation, "push", &request, self.remote_limit(timeout)?).await
        };
        self.sandbox.observe(operation, work).await
    }

    /// Fetches a branch of a remote and merges it into the current one, or as the settings of git say.
    ///
    /// # Errors
    /// `GitRepoNotFound`; `GitBranchNotFound`; `GitAuthFailed`; `GitDirtyWorktree`; `GitMergeConflict`, after which
    /// the conflicts are in the working tree; `GitTransportFailed`; `NotFound` for an unknown remote.
    pub async fn pull(&self, request: GitPullRequest, timeout: Option<f64>) -> Result<()> {
        let operation = Operation::GIT_PULL;
        let work = async {
            check_credentials(request.username.as_deref(), request.password.as_ref())?;
            check_path(&request.path)?;
            self.post(operation, "pull", &request, self.remote_limit(timeout)?).await
        };
        self.sandbox.observe(operation, work).await
    }

    /// What is checked out and what has changed.
    ///
    /// # Errors
    /// `GitRepoNotFound`.
    pub async fn status(&self, path: &str, timeout: Option<f64>) -> Result<GitStatus> {
        let work = self.read(Operation::GIT_STATUS, "status", path, timeout);
        self.sandbox.observe(Operation::GIT_STATUS, work).await
    }

    /// Checks out a branch, or a commit with a detached `HEAD`.
    ///
    /// # Errors
    /// `GitRepoNotFound`; `GitBranchNotFound`; `GitDirtyWorktree`.
    pub async fn checkout_branch(&self, path: &str, branch: &str, timeout: Option<f64>) -> Result<()> {
        let operation = Operation::GIT_CHECKOUT;
        let work = async {
            check_text("branch", branch)?;
            let body = GitCheckoutRequest { path: path.to_owned(), branch: branch.to_owned() };
            self.change(operation, "checkout", path, &body, timeout).await
        };
        self.sandbox.observe(operation, work).await
    }

    /// Makes a branch at the current commit; it is not checked out.
    ///
    /// # Errors
    /// `GitRepoNotFound`; `GitBranchExists`; `BadRequest` for a name that git does not take.
    pub async fn create_branch(&self, path: &str, name: &str, timeout: Option<f64>) -> Result<()> {
        let operation = Operation::GIT_CREATE_BRANCH;
        let work = async {
            check_text("branch", name)?;
            let body = GitBranchRequest { path: path.to_owned(), name: name.to_owned() };
            self.change(operation, "branches", path, &body, timeout).await
        };
        self.sandbox.observe(operation, work).await
    }

    /// Deletes a local branch, merged or not.
    ///
    /// # Errors
    /// `GitRepoNotFound`; `GitBranchNotFound`; `Conflict` if it is checked out.
    pub async fn delete_branch(&self, path: &str, name: &str, timeout: Option<f64>) -> Result<()> {
        let operation = Operation::GIT_DELETE_BRANCH;
        let work = async {
            check_path(path)?;
            check_text("branch", name)?;
            let body = GitBranchRequest { path: path.to_owned(), name: name.to_owned() };
            let limit = seconds("request_timeout", timeout)?;
            // Asked for twice, the second time would not find it.
            let call = self.call(operation, Method::DELETE, "branches", &[], limit).await?.once();
            self.sandbox.done(call.json(&body)?).await
        };
        self.sandbox.observe(operation, work).await
    }

    /// Makes a repository, and its folder where that is missing. One that is there stays as it is.
    ///
    /// # Errors
    /// `BadRequest` for a name that git does not take; `FileAccessDenied`.
    pub async fn init(&self, request: GitInitRequest, timeout: Option<f64>) -> Result<()> {
        let operation = Operation::GIT_INIT;
        let work = self.change(operation, "init", &request.path, &request, timeout);
        self.sandbox.observe(operation, work).await
    }

    /// Moves the branch, the index and the working tree to another commit, as far as the mode says, or single files of
    /// the index.
    ///
    /// # Errors
    /// `InvalidArgument` for an unknown mode; `GitRepoNotFound`; `GitBranchNotFound` for an unknown target.
    pub async fn reset(&self, request: GitResetRequest, timeout: Option<f64>) -> Result<()> {
        let operation = Operation::GIT_RESET;
        let work = async {
            const MODES: [&str; 5] = ["soft", "mixed", "hard", "merge", "keep"];
            if let Some(mode) = request.mode.as_deref().filter(|mode| !MODES.contains(mode)) {
                return Err(Error::invalid(format!("{mode:?} is none of the modes {}", MODES.join(", "))));
            }
            self.change(operation, "reset", &request.path, &request, timeout).await
        };
        self.sandbox.observe(operation, work).await
    }

    /// Takes changes of files back.
    ///
    /// # Errors
    /// `InvalidArgument` without files; `GitRepoNotFound`; `FileNotFound`; `GitBranchNotFound` for an unknown source.
    pub async fn restore(&self, request: GitRestoreRequest, timeout: Option<f64>) -> Result<()> {
        let operation = Operation::GIT_RESTORE;
        let work = async {
            check_files(&request.files)?;
            self.change(operation, "restore", &request.path, &request, timeout).await
        };
        self.sandbox.observe(operation, work).await
    }

    /// Adds a remote. Credentials in its URL are used for the fetch and not stored.
    ///
    /// # Errors
    /// `GitRepoNotFound`; `Conflict` if there is one of that name and `overwrite` is not set; with `fetch` as
    /// [`Git::pull`], and then the remote is not added.
    pub async fn remote_add(&self, request: GitAddRemoteRequest, timeout: Option<f64>) -> Result<()> {
        let operation = Operation::GIT_REMOTE_ADD;
        let work = async {
            check_path(&request.path)?;
            check_text("remote", &request.name)?;
            check_text("URL", &request.url)?;
            let limit = match request.fetch {
                Some(true) => self.remote_limit(timeout)?,
                _ => seconds("request_timeout", timeout)?,
            };
            self.post(operation, "remotes", &request, limit).await
        };
        self.sandbox.observe(operation, work).await
    }

    /// The remotes by name.
    ///
    /// # Errors
    /// `GitRepoNotFound`.
    pub async fn remotes(&self, path: &str, timeout: Option<f64>) -> Result<ListRemotesResponse> {
        let work = self.read(Operation::GIT_REMOTES, "remotes", path, timeout);
        self.sandbox.observe(Operation::GIT_REMOTES, work).await
    }

    /// The URL of one remote; `None` if there is no such.
    ///
    /// # Errors
    /// `GitRepoNotFound`.
    pub async fn remote_get(&self, path: &str, name: &str, timeout: Option<f64>) -> Result<Option<String>> {
        let operation = Operation::GIT_REMOTE_GET;
        let work = async {
            let all: ListRemotesResponse = self.read(operation, "remotes", path, timeout).await?;
            Ok(all.remotes.into_iter().find(|remote| remote.name == name).map(|remote| remote.url))
        };
        self.sandbox.observe(operation, work).await
    }

    /// Sets one setting of git.
    ///
    /// # Errors
    /// `InvalidArgument` for an unknown scope, or the scope `local` without a path; `BadRequest` for a bad key.
    pub async fn set_config(&self, request: GitSetConfigRequest, timeout: Option<f64>) -> Result<()> {
        let operation = Operation::GIT_SET_CONFIG;
        let work = async {
            check_text("key", &request.key)?;
            refuse_nul("value", &request.value)?;
            check_scope(request.scope.as_deref(), request.path.as_deref())?;
            self.post(operation, "config", &request, seconds("request_timeout", timeout)?).await
        };
        self.sandbox.observe(operation, work).await
    }

    /// Reads one setting of git; `None` where it is not set.
    ///
    /// # Errors
    /// As [`Git::set_config`].
    pub async fn get_config(
        &self,
        key: &str,
        scope: Option<&str>,
        path: Option<&str>,
        timeout: Option<f64>,
    ) -> Result<Option<String>> {
        let operation = Operation::GIT_GET_CONFIG;
        let work = async {
            check_text("key", key)?;
            check_scope(scope, path)?;
            let mut query = vec![("key", key)];
            query.extend(scope.map(|scope| ("scope", scope)));
            query.extend(path.map(|path| ("path", path)));
            let limit = seconds("request_timeout", timeout)?;
            let call = self.call(operation, Method::GET, "config", &query, limit).await?;
            let answer: GitConfigResponse = self.sandbox.answer(call).await?;
            Ok(answer.value)
        };
        self.sandbox.observe(operation, work).await
    }

    /// Sets who commits.
    ///
    /// # Errors
    /// As [`Git::set_config`]; `InvalidArgument` for a blank name or address.
    pub async fn configure_user(&self, request: GitConfigureUserRequest, timeout: Option<f64>) -> Result<()> {
        let operation = Operation::GIT_CONFIGURE_USER;
        let work = async {
            check_text("name", &request.name)?;
            check_text("email", &request.email)?;
            check_scope(request.scope.as_deref(), request.path.as_deref())?;
            self.post(operation, "config/user", &request, seconds("request_timeout", timeout)?).await
        };
        self.sandbox.observe(operation, work).await
    }

    /// Has git keep credentials for a host, for everything in the sandbox and readable by everything in it.
    ///
    /// # Errors
    /// `InvalidArgument` for a blank name or password; `BadRequest` for another protocol than http and https.
    pub async fn dangerously_authenticate(&self, request: GitAuthenticateRequest, timeout: Option<f64>) -> Result<()> {
        let operation = Operation::GIT_AUTHENTICATE;
        let work = async {
            if request.username.is_empty() || request.password.0.is_empty() {
                return Err(Error::invalid("the user name or the password is empty"));
            }
            check_credentials(Some(&request.username), Some(&request.password))?;
            self.post(operation, "credentials", &request, seconds("request_timeout", timeout)?).await
        };
        self.sandbox.observe(operation, work).await
    }

    fn remote_limit(&self, timeout: Option<f64>) -> Result<Limit> {
        let stated = seconds("request_timeout", timeout)?;
        Ok(stated.or(self.sandbox.inner.client.request_timeout()).or(Some(REMOTE_LIMIT)))
    }

    async fn call(
        &self,
        operation: Operation,
        method: Method,
        route: &str,
        query: &[(&str, &str)],
        limit: Limit,
    ) -> Result<Call<'static>> {
        let parts: Vec<&str> = std::iter::once("git").chain(route.split('/')).collect();
        let (_, mut url) = self.sandbox.toolbox(&parts).await?;
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        Ok(Call::new(operation, method, url).limit(limit))
    }

    async fn read<T: DeserializeOwned>(
        &self,
        operation: Operation,
        route: &str,
        path: &str,
        timeout: Option<f64>,
    ) -> Result<T> {
        check_path(path)?;
        let limit = seconds("request_timeout", timeout)?;
        let call = self.call(operation, Method::GET, route, &[("path", path)], limit).await?;
        self.sandbox.answer(call).await
    }

    async fn post(&self, operation: Operation, route: &str, body: &impl Serialize, limit: Limit) -> Result<()> {
        let call = self.call(operation, Method::POST, route, &[], limit).await?;
        self.sandbox.done(call.json(body)?).await
    }

    async fn change(
        &self,
        operation: Operation,
        route: &str,
        path: &str,
        body: &impl Serialize,
        timeout: Option<f64>,
    ) -> Result<()> {
        check_path(path)?;
        self.post(operation, route, body, seconds("request_timeout", timeout)?).await
    }
}

impl Sandbox {
    /// Sends a request to the toolbox and reads its answer, unless the sandbox ends first.
    pub(crate) async fn answer<T: DeserializeOwned>(&self, call: Call<'_>) -> Result<T> {
        let link = self.inner.client.link().await?;
        watch::guard(self, link.transport.json(call)).await
    }

    /// The same for answers without a body.
    pub(crate) async fn done(&self, call: Call<'_>) -> Result<()> {
        let link = self.inner.client.link().await?;
        watch::guard(self, link.transport.empty(call)).await
    }
}

fn check_text(what: &str, text: &str) -> Result<()> {
    if text.trim().is_empty() {
        return Err(Error::invalid(format!("the {what} is blank")));
    }
    refuse_nul(what, text)
}

fn check_files(files: &[String]) -> Result<()> {
    if files.is_empty() {
        return Err(Error::invalid("there are no files"));
    }
    files.iter().try_for_each(|file| check_path(file))
}

fn check_scope(scope: Option<&str>, path: Option<&str>) -> Result<()> {
    match scope {
        Some("local") if path.is_none_or(str::is_empty) => {
            Err(Error::invalid("the scope local is that of a repository: give its path"))
        }
        None | Some("global" | "local" | "system") => Ok(()),
        Some(other) => Err(Error::invalid(format!("{other:?} is none of the scopes global, local and system"))),
    }
}

fn check_credentials(username: Option<&str>, password: Option<&Password>) -> Result<()> {
    for (what, text) in [("user name", username), ("password", password.map(|password| password.0.as_str()))] {
        if text.is_some_and(|text| text.contains(['\n', '\r', '\0'])) {
            return Err(Error::invalid(format!("the {what} holds a line break or a NUL character")));
        }
    }
    Ok(())
}
