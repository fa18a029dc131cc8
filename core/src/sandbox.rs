//! One sandbox: its data, its settings, and the way to its toolbox.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use daytona_wire::sandbox::{self as wire, SandboxLabels, SandboxState};
use http::Method;
use reqwest::Url;

use crate::client::{Client, join};
use crate::daytona::check_language;
use crate::error::{Error, Result};
use crate::files::FileSystem;
use crate::operation::Operation;
use crate::process::Process;
use crate::signing::SigningKey;
use crate::telemetry::Observed;
use crate::transport::{Call, Transport, seconds};
use crate::watch::News;

/// A name for a sandbox that is given none. Nobody sees it: such a sandbox has its id for a name.
pub(crate) fn unseen_name() -> Result<String> {
    Ok(format!("{}{}", wire::UNSEEN_NAME, crate::exec_stream::random_id()?))
}

/// What the server said of a sandbox, as its user sees it.
fn seen(mut data: wire::Sandbox) -> Arc<wire::Sandbox> {
    if wire::is_unseen_name(&data.name) {
        data.name.clone_from(&data.id);
    }
    Arc::new(data)
}

/// The label that holds the language of `code_run`.
pub const LANGUAGE_LABEL: &str = "code-toolbox-language";

/// A sandbox. Clones share their data: one that is refreshed refreshes all.
#[derive(Clone)]
pub struct Sandbox {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) client: Arc<Client>,
    id: String,
    language: String,
    data: ArcSwap<wire::Sandbox>,
    /// Where the toolbox is, for servers that do not say it in the sandbox's data.
    asked_toolbox: tokio::sync::OnceCell<String>,
    pub(crate) signing_key: Mutex<Option<SigningKey>>,
}

impl Sandbox {
    pub(crate) fn new(client: Arc<Client>, data: wire::Sandbox) -> Result<Self> {
        let language = data.labels.get(LANGUAGE_LABEL).map_or("python", String::as_str).to_owned();
        check_language(&language)?;
        let data = seen(data);
        client.tell(&data.id, || News::of(&data));
        Ok(Self {
            inner: Arc::new(Inner {
                client,
                id: data.id.clone(),
                language,
                data: ArcSwap::new(data),
                asked_toolbox: tokio::sync::OnceCell::new(),
                signing_key: Mutex::new(None),
            }),
        })
    }

    /// Its id.
    pub fn id(&self) -> &str {
        &self.inner.id
    }

    /// The language of `code_run`.
    pub fn language(&self) -> &str {
        &self.inner.language
    }

    /// What the server said of it last.
    pub fn data(&self) -> Arc<wire::Sandbox> {
        self.inner.data.load_full()
    }

    /// Its files.
    pub fn fs(&self) -> FileSystem {
        FileSystem::new(self.clone())
    }

    /// Its processes.
    pub fn process(&self) -> Process {
        Process::new(self.clone())
    }

    /// See [`Client::observe`]; its errors name this sandbox too.
    pub(crate) fn observe<T, F: Future<Output = Result<T>>>(&self, operation: Operation, work: F) -> Observed<F> {
        self.inner.client.observe(operation, work).of(self.clone())
    }

    /// Keeps what the server said, and tells it to all who wait for it on any handle of this client.
    pub(crate) fn set(&self, data: wire::Sandbox) {
        let data = seen(data);
        self.inner.client.tell(self.id(), || News::of(&data));
        self.inner.data.store(data);
    }

    pub(crate) fn set_state(&self, state: SandboxState) {
        self.set(wire::Sandbox { state: Some(state), ..wire::Sandbox::clone(&self.data()) });
    }

    /// Keeps what somebody else found out.
    pub(crate) fn learn(&self, news: &News) {
        let data = match &news.data {
            Some(data) if wire::is_unseen_name(&data.name) => seen(wire::Sandbox::clone(data)),
            Some(data) => Arc::clone(data),
            None => Arc::new(wire::Sandbox { state: Some(news.state), ..wire::Sandbox::clone(&self.data()) }),
        };
        self.inner.data.store(data);
    }

    pub(crate) fn state(&self) -> SandboxState {
        self.inner.data.load().state.unwrap_or_default()
    }

    /// Asks the server for its data.
    ///
    /// # Errors
    /// `NotFound` if it is gone.
    pub async fn refresh_data(&self, timeout: Option<f64>) -> Result<()> {
        let work = async {
            self.set(self.inner.client.get(self.id(), Operation::REFRESH, timeout).await?);
            Ok(())
        };
        self.observe(Operation::REFRESH, work).await
    }

    /// Replaces all labels, and returns those in force.
    ///
    /// # Errors
    /// The server's refusal.
    pub async fn set_labels(
        &self,
        labels: BTreeMap<String, String>,
        timeout: Option<f64>,
    ) -> Result<BTreeMap<String, String>> {
        let operation = Operation::SET_LABELS;
        let work = async {
            let limit = seconds("request_timeout", timeout)?;
            let link = self.inner.client.link().await?;
            let url = link.url(&["sandbox", self.id(), "labels"])?;
            let call = Call::new(operation, Method::PUT, url).json(&SandboxLabels { labels })?.limit(limit);
            let answer: SandboxLabels = link.transport.json(call).await?;
            let mut data = wire::Sandbox::clone(&self.data());
            data.labels.clone_from(&answer.labels);
            self.set(data);
            Ok(answer.labels)
        };
        self.observe(operation, work).await
    }

    /// Idle minutes before it stops; 0 is never.
    ///
    /// # Errors
    /// `InvalidArgument` if negative.
    pub async fn set_autostop_interval(&self, minutes: i64, timeout: Option<f64>) -> Result<()> {
        self.set_number(Operation::AUTO_STOP, "autostop", "Auto-stop interval", minutes, 0, timeout).await
    }

    /// Idle minutes before it pauses; 0 is never.
    ///
    /// # Errors
    /// `InvalidArgument` if negative.
    pub async fn set_auto_pause_interval(&self, minutes: i64, timeout: Option<f64>) -> Result<()> {
        self.set_number(Operation::AUTO_PAUSE, "autopause", "Auto-pause interval", minutes, 0, timeout).await
    }

    /// Stopped minutes before it is archived; 0 is the maximum.
    ///
    /// # Errors
    /// `InvalidArgument` if negative.
    pub async fn set_auto_archive_interval(&self, minutes: i64, timeout: Option<f64>) -> Result<()> {
        self.set_number(Operation::AUTO_ARCHIVE, "autoarchive", "Auto-archive interval", minutes, 0, timeout).await
    }

    /// Stopped minutes before it is deleted; 0 is at once, negative is never.
    ///
    /// # Errors
    /// The server's refusal.
    pub async fn set_auto_delete_interval(&self, minutes: i64, timeout: Option<f64>) -> Result<()> {
        let lowest = i64::MIN;
        self.set_number(Operation::AUTO_DELETE, "autodelete", "Auto-delete interval", minutes, lowest, timeout).await
    }

    /// Minutes it lives from now; 0 is no limit.
    ///
    /// # Errors
    /// `InvalidArgument` if negative.
    pub async fn set_ttl(&self, minutes: i64, timeout: Option<f64>) -> Result<()> {
        self.set_number(Operation::SET_TTL, "ttl", "TTL", minutes, 0, timeout).await
    }

    /// Whether previews need no token.
    ///
    /// # Errors
    /// The server's refusal.
    pub async fn set_public(&self, public: bool, timeout: Option<f64>) -> Result<()> {
        let value = if public { "true" } else { "false" };
        let work = self.set_value(Operation::SET_PUBLIC, "public", value, timeout);
        self.observe(Operation::SET_PUBLIC, work).await
    }

    /// Tells the server that it is in use.
    ///
    /// # Errors
    /// The server's refusal.
    pub async fn refresh_activity(&self, timeout: Option<f64>) -> Result<()> {
        let work = async {
            let limit = seconds("request_timeout", timeout)?;
            let link = self.inner.client.link().await?;
            let url = link.url(&["sandbox", self.id(), "last-activity"])?;
            link.transport.empty(Call::post(Operation::ACTIVITY, url).json(&serde_json::json!({}))?.limit(limit)).await
        };
        self.observe(Operation::ACTIVITY, work).await
    }

    /// The home directory of its user.
    ///
    /// # Errors
    /// As any request to a sandbox: `Conflict`, `NotFound` or `Connection` where it does not run.
    pub async fn user_home_dir(&self) -> Result<String> {
        self.directory(Operation::USER_HOME_DIR, "user-home-dir").await
    }

    /// The directory that relative paths and commands start from.
    ///
    /// # Errors
    /// As [`Sandbox::user_home_dir`].
    pub async fn work_dir(&self) -> Result<String> {
        self.directory(Operation::WORK_DIR, "work-dir").await
    }

    async fn directory(&self, operation: Operation, name: &str) -> Result<String> {
        let work = async {
            let (transport, url) = self.toolbox(&[name]).await?;
            let answer: daytona_wire::Dir = transport.json(Call::get(operation, url)).await?;
            Ok(answer.dir)
        };
        self.observe(operation, work).await
    }

    /// The URL of a toolbox path whose parts are given unescaped.
    pub(crate) async fn toolbox(&self, parts: &[&str]) -> Result<(&Transport, Url)> {
        let link = self.inner.client.link().await?;
        let data = self.inner.data.load();
        let base = if data.toolbox_proxy_url.is_empty() {
            self.inner
                .asked_toolbox
                .get_or_try_init(|| {
                    Box::pin(async {
                        let url = link.url(&["sandbox", self.id(), "toolbox-proxy-url"])?;
                        let answer: daytona_wire::Url = link.transport.json(Call::get(Operation::GET, url)).await?;
                        Ok::<_, Error>(answer.url)
                    })
                })
                .await?
        } else {
            &data.toolbox_proxy_url
        };
        let mut all = Vec::with_capacity(parts.len() + 1);
        all.push(self.id());
        all.extend_from_slice(parts);
        Ok((&link.transport, join(base, &all)?))
    }

    /// The same for a task on the background runtime.
    pub(crate) async fn background_toolbox(&self, parts: &[&str]) -> Result<(Arc<Transport>, Url)> {
        let (_, url) = self.toolbox(parts).await?;
        Ok((Arc::clone(&self.inner.client.link().await?.background), url))
    }

    async fn set_number(
        &self,
        operation: Operation,
        route: &str,
        title: &str,
        value: i64,
        lowest: i64,
        timeout: Option<f64>,
    ) -> Result<()> {
        let work = async {
            if value < lowest {
                return Err(Error::invalid(format!("{title} must be a non-negative integer")));
            }
            self.set_value(operation, route, &value.to_string(), timeout).await
        };
        self.observe(operation, work).await
    }

    async fn set_value(&self, operation: Operation, route: &str, value: &str, timeout: Option<f64>) -> Result<()> {
        let limit = seconds("request_timeout", timeout)?;
        let link = self.inner.client.link().await?;
        let url = link.url(&["sandbox", self.id(), route, value])?;
        self.set(link.transport.json(Call::post(operation, url).limit(limit)).await?);
        Ok(())
    }

    pub(crate) fn cached_signing_key(&self) -> std::sync::MutexGuard<'_, Option<SigningKey>> {
        self.inner.signing_key.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
