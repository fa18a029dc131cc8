//! `create_sandbox`, `destroy_sandbox`, `preview_link`, `git_clone`.

use std::collections::BTreeMap;

use daytona_core::wire::git::{GitCloneRequest, Password};
use daytona_core::{CreateOptions, CreateParams, Resources};
use rmcp::schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use super::tools::{Answer, Tools, told};

/// Seconds that a URL for a browser is good for.
const SIGNED: i64 = 3600;

/// What the sandbox is to be like.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
#[serde(deny_unknown_fields)]
pub(super) struct Create {
    /// Unique name.
    name: Option<String>,
    /// Region; the server's default if absent.
    target: Option<String>,
    /// Snapshot to start from.
    snapshot: Option<String>,
    /// Image to start from, as a registry names it; excludes snapshot.
    image: Option<String>,
    /// Cores; with an image.
    cpu: Option<i64>,
    /// GiB of memory; with an image.
    memory: Option<i64>,
    /// GiB of disk; with an image.
    disk: Option<i64>,
    /// Environment of everything that runs in it.
    env: Option<BTreeMap<String, String>>,
    /// Free key-value pairs.
    labels: Option<BTreeMap<String, String>>,
    /// Previews need no token.
    public: Option<bool>,
    /// Idle minutes before it stops; 0 is never. Servers default to 15.
    auto_stop_interval: Option<i64>,
    /// Stopped minutes before it is archived; 0 is the maximum. Servers default to 10080.
    auto_archive_interval: Option<i64>,
    /// Stopped minutes before it is deleted; 0 is at once, -1 never.
    auto_delete_interval: Option<i64>,
}

/// The new sandbox.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
#[serde(rename_all = "camelCase")]
pub(super) struct Created {
    /// Its id.
    id: String,
    /// Its name.
    name: String,
    /// Its state.
    state: String,
    /// Where relative paths start from.
    work_dir: Option<String>,
}

/// Deletes a sandbox that nobody has learned of.
struct Orphan(Option<daytona_core::Sandbox>);

impl Drop for Orphan {
    fn drop(&mut self) {
        if let Some(sandbox) = self.0.take() {
            tokio::spawn(async move { sandbox.delete(None, false).await });
        }
    }
}

pub(super) async fn create(tools: &Tools, args: Create) -> Answer<Created> {
    let client = tools.client()?.clone();
    let resources = Resources { cpu: args.cpu, memory: args.memory, disk: args.disk, ..Resources::default() };
    let params = CreateParams {
        name: args.name,
        target: args.target,
        snapshot: args.snapshot,
        image: args.image.map(Into::into),
        resources: (resources != Resources::default()).then_some(resources),
        env_vars: args.env,
        labels: args.labels,
        public: args.public,
        auto_stop_interval: args.auto_stop_interval,
        auto_archive_interval: args.auto_archive_interval,
        auto_delete_interval: args.auto_delete_interval,
        ..CreateParams::default()
    };
    // A task of its own, that the end of the program waits for: one that is called off meanwhile does not stay behind.
    let (send, made) = oneshot::channel();
    let server = tools.clone();
    tokio::spawn(async move {
        let _counted = server.counted();
        let created = client.create(params, &CreateOptions::default()).await;
        if let Err(Ok(mut orphan)) = send.send(created.map(|sandbox| Orphan(Some(sandbox))))
            && let Some(sandbox) = orphan.0.take()
        {
            let _ = sandbox.delete(None, false).await;
        }
    });
    let mut created = made.await.map_err(|error| error.to_string())?.map_err(told)?;
    let work_dir = match &created.0 {
        Some(sandbox) => sandbox.work_dir().await.ok(),
        None => None,
    };
    let sandbox = created.0.take().ok_or("the sandbox is gone")?;
    tools.remember(Some(sandbox.id()));
    let data = sandbox.data();
    let state = data.state.unwrap_or_default().to_string();
    Ok(Created { id: data.id.clone(), name: data.name.clone(), state, work_dir })
}

/// Which sandbox.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
#[serde(deny_unknown_fields)]
pub(super) struct Destroy {
    /// Id or name of the sandbox.
    id: String,
}

/// It is gone.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
pub(super) struct Destroyed {
    /// Its id.
    id: String,
    /// True.
    destroyed: bool,
}

pub(super) async fn destroy(tools: &Tools, args: Destroy) -> Answer<Destroyed> {
    let sandbox = tools.sandbox(Some(&args.id)).await?;
    sandbox.delete(None, true).await.map_err(told)?;
    if tools.latest().as_deref() == Some(sandbox.id()) {
        tools.remember(None);
    }
    Ok(Destroyed { id: sandbox.id().to_owned(), destroyed: true })
}

/// Which port.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
#[serde(deny_unknown_fields)]
pub(super) struct PreviewLink {
    /// Id or name of the sandbox; the one made last if absent.
    id: Option<String>,
    /// Port that the web server listens on, 1 to 65535.
    port: i64,
    /// What is shown there, for the answer.
    description: Option<String>,
    /// Fail if nothing listens on the port.
    check_server: Option<bool>,
}

/// Where it can be reached.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
#[serde(rename_all = "camelCase")]
#[expect(clippy::struct_field_names, reason = "named as the answer of the API is")]
pub(super) struct Preview {
    /// For a browser: good for an hour, without a token.
    url: String,
    /// For programs: wants the token, in the header x-daytona-preview-token.
    preview_url: String,
    /// Of `previewUrl`.
    token: String,
    /// The port.
    port: i64,
    /// As it was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    /// Something listens on the port; absent if nobody asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    listening: Option<bool>,
}

pub(super) async fn preview(tools: &Tools, args: PreviewLink) -> Answer<Preview> {
    let sandbox = tools.sandbox(args.id.as_deref()).await?;
    let listening = args.check_server == Some(true);
    if listening && !sandbox.is_port_in_use(args.port, None).await.map_err(told)? {
        return Err(format!(
            "nothing in the sandbox listens on port {}: start the web server in the background first, on 0.0.0.0",
            args.port
        ));
    }
    let link = sandbox.get_preview_link(args.port, None).await.map_err(told)?;
    // Servers of an older kind have no signed URLs.
    let signed = sandbox.create_signed_preview_url(args.port, Some(SIGNED), None).await;
    Ok(Preview {
        url: signed.map_or_else(|_| link.url.clone(), |signed| signed.url),
        preview_url: link.url,
        token: link.token,
        port: args.port,
        description: args.description,
        listening: listening.then_some(true),
    })
}

/// Which repository.
#[derive(Deserialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
#[serde(deny_unknown_fields)]
pub(super) struct GitClone {
    /// Id or name of the sandbox; the one made last if absent.
    id: Option<String>,
    /// URL of the repository.
    url: String,
    /// Folder to make; the repository's name in the work directory if absent.
    path: Option<String>,
    /// Branch to check out; the repository's default if absent.
    branch: Option<String>,
    /// Commit to check out, with a detached HEAD.
    commit_id: Option<String>,
    /// For private repositories.
    username: Option<String>,
    /// For private repositories; a token is one too.
    password: Option<String>,
}

/// It is there.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
#[serde(rename_all = "camelCase")]
pub(super) struct Cloned {
    /// The repository's folder.
    path: String,
    /// The branch that is checked out.
    branch: Option<String>,
}

pub(super) async fn git_clone(tools: &Tools, args: GitClone) -> Answer<Cloned> {
    let sandbox = tools.sandbox(args.id.as_deref()).await?;
    let path = args.path.filter(|path| !path.is_empty()).or_else(|| crate::spin::folder(&args.url).map(str::to_owned));
    let path = path.ok_or("the URL names no repository: give a path")?;
    let given = |text: Option<String>| text.filter(|text| !text.is_empty());
    let request = GitCloneRequest {
        url: args.url,
        path: path.clone(),
        branch: given(args.branch),
        commit_id: given(args.commit_id),
        username: given(args.username),
        password: given(args.password).map(Password),
        ..GitCloneRequest::default()
    };
    let git = sandbox.git();
    git.clone_repository(request, None).await.map_err(told)?;
    let branch = git.status(&path, None).await.ok().map(|status| status.current_branch);
    Ok(Cloned { path, branch })
}
