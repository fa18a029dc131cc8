//! The tools, by their names and parameters; what they do is in the modules beside this one.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use daytona_core::{Config, Daytona, Sandbox};
use rmcp::handler::server::tool::{ToolCallContext, schema_for_output};
use rmcp::handler::server::wrapper::Parameters;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, Implementation, ProgressNotificationParam,
    ServerCapabilities, ServerConfig,
};
use rmcp::service::RequestContext;
use rmcp::{ErrorData, Json, RoleServer, ServerHandler, tool, tool_handler, tool_router};
use tokio::sync::watch;

use super::{arguments, command, files, sandboxes};
use crate::context::Failure;

const TICK: Duration = Duration::from_secs(1);
const INSTRUCTIONS: &str = "Isolated sandboxes to run code and commands in. Make one with create_sandbox and give its id \
to the other tools. Relative paths start from the sandbox's work directory. Delete it with \
destroy_sandbox and its id when you are done.";

/// What a tool answers where it fails; the model reads it.
pub(super) type Answer<T> = Result<T, String>;

/// The tools of one client.
#[derive(Clone)]
pub(super) struct Tools {
    inner: Arc<Inner>,
}

struct Inner {
    /// Or why there is none: the first call says so, because nobody reads what a server says at its start.
    client: Result<Daytona, String>,
    /// The sandbox made last, where no other is named.
    latest: Mutex<Option<String>>,
    /// Calls under way.
    running: watch::Sender<usize>,
    closing: watch::Sender<bool>,
}

impl Tools {
    pub(super) fn new(config: &Config) -> Self {
        let client = Daytona::new(config).map_err(|error| Failure::from(error).message());
        Self::with(client)
    }

    fn with(client: Result<Daytona, String>) -> Self {
        let (running, closing) = (watch::Sender::new(0), watch::Sender::new(false));
        Self { inner: Arc::new(Inner { client, latest: Mutex::default(), running, closing }) }
    }

    /// The same server for a client of its own.
    pub(super) fn fresh(&self) -> Self {
        let inner = Inner {
            client: self.inner.client.clone(),
            latest: Mutex::default(),
            running: self.inner.running.clone(),
            closing: self.inner.closing.clone(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Ends what runs, and waits for that.
    pub(super) async fn close(&self, limit: Duration) {
        self.inner.closing.send_replace(true);
        let mut running = self.inner.running.subscribe();
        let _ = tokio::time::timeout(limit, running.wait_for(|running| *running == 0)).await;
    }

    /// The end of the program waits while it lives.
    pub(super) fn counted(&self) -> Counted<'_> {
        self.inner.running.send_modify(|running| *running += 1);
        Counted(&self.inner.running)
    }

    pub(super) fn client(&self) -> Answer<&Daytona> {
        self.inner.client.as_ref().map_err(Clone::clone)
    }

    pub(super) fn remember(&self, id: Option<&str>) {
        *self.inner.latest.lock().unwrap_or_else(PoisonError::into_inner) = id.map(str::to_owned);
    }

    pub(super) fn latest(&self) -> Option<String> {
        self.inner.latest.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The sandbox that is meant.
    pub(super) async fn sandbox(&self, id: Option<&str>) -> Answer<Sandbox> {
        let client = self.client()?;
        let id = id.map(str::to_owned).or_else(|| self.latest());
        let id =
            id.ok_or("there is no sandbox yet over this connection: give the id of one, or call create_sandbox first")?;
        client.get(&id, None).await.map_err(told)
    }

    /// Does something for a client that can see how it goes and can call it off; dropping the work ends it.
    async fn attend<T>(
        &self,
        context: &RequestContext<RoleServer>,
        doing: impl Fn() -> String,
        work: impl Future<Output = Answer<T>>,
    ) -> Answer<T> {
        let _counted = self.counted();
        let mut closing = self.inner.closing.subscribe();
        let begun = Instant::now();
        let token = context.meta.get_progress_token();
        let report = async {
            let Some(token) = token else { return std::future::pending().await };
            let mut tick = tokio::time::interval_at(tokio::time::Instant::now() + TICK, TICK);
            loop {
                tick.tick().await;
                let mut progress = ProgressNotificationParam::new(token.clone(), begun.elapsed().as_secs_f64());
                progress.message = Some(doing());
                // A client that does not listen is told of the end all the same.
                let _ = context.peer.notify_progress(progress).await;
            }
        };
        tokio::select! {
            done = work => done,
            () = context.ct.cancelled() => Err("cancelled".to_owned()),
            _ = closing.wait_for(|closing| *closing) => Err("the server is ending".to_owned()),
            never = report => never,
        }
    }
}

/// One more call under way.
pub(super) struct Counted<'a>(&'a watch::Sender<usize>);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|running| *running -= 1);
    }
}

/// An error in words, with what to do about it.
pub(super) fn told(error: daytona_core::Error) -> String {
    Failure::from(error).message()
}

// `Json` in a written-out `Result` is what gives a tool its schema of answers.
#[tool_router(vis = "pub(super)")]
impl Tools {
    #[tool(
        description = "Create a new sandbox: an isolated Linux computer. Returns its id, which the other tools take.",
        annotations(title = "Create sandbox", read_only_hint = false, destructive_hint = false)
    )]
    async fn create_sandbox(
        &self,
        Parameters(args): Parameters<sandboxes::Create>,
        context: RequestContext<RoleServer>,
    ) -> Result<Json<sandboxes::Created>, String> {
        let work = sandboxes::create(self, args);
        self.attend(&context, || "creating the sandbox".to_owned(), work).await.map(Json)
    }

    #[tool(
        description = "Delete a sandbox and everything in it.",
        annotations(title = "Destroy sandbox", read_only_hint = false, destructive_hint = true)
    )]
    async fn destroy_sandbox(
        &self,
        Parameters(args): Parameters<sandboxes::Destroy>,
        context: RequestContext<RoleServer>,
    ) -> Result<Json<sandboxes::Destroyed>, String> {
        let work = sandboxes::destroy(self, args);
        self.attend(&context, || "deleting the sandbox".to_owned(), work).await.map(Json)
    }

    #[tool(
        description = "Run a command in the sandbox's shell. Returns its exit code, stdout and stderr; the command gets \
                       no input. Call it off to stop the command.",
        annotations(title = "Execute command", read_only_hint = false, destructive_hint = true),
        output_schema = schema_for_output::<command::Ran>()
    )]
    async fn execute_command(
        &self,
        Parameters(args): Parameters<command::Execute>,
        context: RequestContext<RoleServer>,
    ) -> Answer<CallToolResult> {
        let run = command::Run::default();
        let _counted = self.counted();
        let work = run.to_end(self, args);
        let ran = self.attend(&context, || run.last_line(), work).await;
        run.stop().await;
        ran.map(|ran| ran.answer())
    }

    #[tool(
        description = "Write a file in the sandbox; missing folders are made. An existing file is replaced only with \
                       overwrite.",
        annotations(title = "Upload file", read_only_hint = false, destructive_hint = true)
    )]
    async fn file_upload(
        &self,
        Parameters(args): Parameters<files::FileUpload>,
        context: RequestContext<RoleServer>,
    ) -> Result<Json<files::Written>, String> {
        let work = files::upload(self, args);
        self.attend(&context, || "uploading".to_owned(), work).await.map(Json)
    }

    #[tool(
        description = "Read a file of the sandbox. Text comes as it is, images as images, other files in base64.",
        annotations(title = "Download file", read_only_hint = true),
        output_schema = schema_for_output::<files::Contents>()
    )]
    async fn file_download(
        &self,
        Parameters(args): Parameters<files::FilePath>,
        context: RequestContext<RoleServer>,
    ) -> Answer<CallToolResult> {
        let work = files::download(self, args);
        self.attend(&context, || "downloading".to_owned(), work).await
    }

    #[tool(
        description = "Get size, permissions, owner and time of a file or folder in the sandbox.",
        annotations(title = "Get file info", read_only_hint = true)
    )]
    async fn get_file_info(
        &self,
        Parameters(args): Parameters<files::FilePath>,
        context: RequestContext<RoleServer>,
    ) -> Result<Json<files::Entry>, String> {
        self.attend(&context, || "looking".to_owned(), files::info(self, args)).await.map(Json)
    }

    #[tool(
        description = "List the files and folders in a folder of the sandbox.",
        annotations(title = "List files", read_only_hint = true)
    )]
    async fn list_files(
        &self,
        Parameters(args): Parameters<files::ListFiles>,
        context: RequestContext<RoleServer>,
    ) -> Result<Json<files::Listing>, String> {
        self.attend(&context, || "listing".to_owned(), files::list(self, args)).await.map(Json)
    }

    #[tool(
        description = "Move or rename a file or folder in the sandbox.",
        annotations(title = "Move file", read_only_hint = false, destructive_hint = true)
    )]
    async fn move_file(
        &self,
        Parameters(args): Parameters<files::MoveFile>,
        context: RequestContext<RoleServer>,
    ) -> Result<Json<files::Moved>, String> {
        self.attend(&context, || "moving".to_owned(), files::rename(self, args)).await.map(Json)
    }

    #[tool(
        description = "Delete a file in the sandbox, or with recursive a folder and all in it.",
        annotations(title = "Delete file", read_only_hint = false, destructive_hint = true)
    )]
    async fn delete_file(
        &self,
        Parameters(args): Parameters<files::DeleteFile>,
        context: RequestContext<RoleServer>,
    ) -> Result<Json<files::Deleted>, String> {
        self.attend(&context, || "deleting".to_owned(), files::delete(self, args)).await.map(Json)
    }

    #[tool(
        description = "Make a folder and its parents in the sandbox; fine if it is there.",
        annotations(title = "Create folder", read_only_hint = false, destructive_hint = false, idempotent_hint = true)
    )]
    async fn create_folder(
        &self,
        Parameters(args): Parameters<files::CreateFolder>,
        context: RequestContext<RoleServer>,
    ) -> Result<Json<files::Folder>, String> {
        self.attend(&context, || "making the folder".to_owned(), files::create_folder(self, args)).await.map(Json)
    }

    #[tool(
        description = "Get a URL under which a web server in the sandbox can be reached from outside.",
        annotations(title = "Preview link", read_only_hint = true)
    )]
    async fn preview_link(
        &self,
        Parameters(args): Parameters<sandboxes::PreviewLink>,
        context: RequestContext<RoleServer>,
    ) -> Result<Json<sandboxes::Preview>, String> {
        self.attend(&context, || "asking for the URL".to_owned(), sandboxes::preview(self, args)).await.map(Json)
    }

    #[tool(
        description = "Clone a git repository into the sandbox.",
        annotations(title = "Git clone", read_only_hint = false, destructive_hint = false)
    )]
    async fn git_clone(
        &self,
        Parameters(args): Parameters<sandboxes::GitClone>,
        context: RequestContext<RoleServer>,
    ) -> Result<Json<sandboxes::Cloned>, String> {
        self.attend(&context, || "cloning".to_owned(), sandboxes::git_clone(self, args)).await.map(Json)
    }
}

#[tool_handler]
impl ServerHandler for Tools {
    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let router = Self::tool_router();
        if let Some(tool) = router.get(&request.name) {
            let given = request.arguments.clone().unwrap_or_default();
            if let Err(message) = arguments::check(&request.name, &tool.input_schema, &given) {
                // As the answer of the tool: models do not see errors of the protocol.
                return Ok(CallToolResult::error(vec![ContentBlock::text(message)]).into());
            }
        }
        router.call(ToolCallContext::new(self, request, context)).await
    }

    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(Implementation::new("daytona-native", env!("CARGO_PKG_VERSION")))
            .with_instructions(INSTRUCTIONS)
    }
}
