//! The client: creates and finds sandboxes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use daytona_wire::sandbox::{self as wire, CreateBuildInfo, CreateSandbox, SandboxVolume};
use reqwest::Url;

use crate::client::{self, Client};
use crate::config::{Config, Settings, Warning};
use crate::error::{Error, Result};
use crate::image::ImageSource;
use crate::local;
use crate::operation::Operation;
use crate::sandbox::{LANGUAGE_LABEL, Sandbox};
use crate::snapshot::SnapshotService;
use crate::transfer::Progress;
use crate::transport::{Call, seconds};

/// What a call to create, start, stop or delete may take where nothing else is said.
pub(crate) const LIFECYCLE_LIMIT: Duration = Duration::from_secs(60);
const LANGUAGES: [&str; 3] = ["python", "typescript", "javascript"];

/// A client of one Daytona API. Cheap to clone; making one does no I/O.
#[derive(Clone)]
pub struct Daytona {
    pub(crate) inner: Arc<Client>,
}

/// CPU, memory, disk and GPU of a sandbox.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Resources {
    /// Cores.
    pub cpu: Option<i64>,
    /// GiB.
    pub memory: Option<i64>,
    /// GiB.
    pub disk: Option<i64>,
    /// GPUs.
    pub gpu: Option<i64>,
    /// Acceptable GPU models.
    pub gpu_type: Option<Vec<String>>,
}

/// What a new sandbox is to be like. Everything is optional.
#[derive(Clone, Debug, Default, serde::Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CreateParams {
    /// Unique name; the id if `None`.
    pub name: Option<String>,
    /// Language of `code_run`: `python` (the default), `typescript` or `javascript`.
    pub language: Option<String>,
    /// User that commands run as.
    pub os_user: Option<String>,
    /// Environment of everything that runs in it.
    pub env_vars: Option<BTreeMap<String, String>>,
    /// Free key-value pairs.
    pub labels: Option<BTreeMap<String, String>>,
    /// Previews need no token.
    pub public: Option<bool>,
    /// Idle minutes before it stops; 0 is never. Servers default to 15.
    pub auto_stop_interval: Option<i64>,
    /// Idle minutes before it pauses; 0 is never.
    pub auto_pause_interval: Option<i64>,
    /// Stopped minutes before it is archived; 0 is the maximum.
    pub auto_archive_interval: Option<i64>,
    /// Stopped minutes before it is deleted; 0 is at once, negative is never.
    pub auto_delete_interval: Option<i64>,
    /// Minutes it lives at most; 0 is no limit.
    pub ttl_minutes: Option<i64>,
    /// Seconds it may wait for capacity, at least 1.
    pub queue_timeout: Option<i64>,
    /// Volumes to mount.
    pub volumes: Option<Vec<SandboxVolume>>,
    /// Environment variable to name of the secret it holds.
    pub secrets: Option<BTreeMap<String, String>>,
    /// No network at all.
    pub network_block_all: Option<bool>,
    /// `/dev/kvm`.
    pub kvm: Option<bool>,
    /// Comma separated CIDR blocks.
    pub network_allow_list: Option<String>,
    /// Comma separated domains.
    pub domain_allow_list: Option<String>,
    /// Proxy for its traffic.
    pub outbound_proxy_url: Option<String>,
    /// Where its telemetry goes.
    pub otel_endpoint_override: Option<String>,
    /// Deleted when stopped; the same as an auto-delete interval of 0.
    pub ephemeral: Option<bool>,
    /// May be taken back by the provider.
    pub spot: Option<bool>,
    /// Id or name of another sandbox to go with; ephemeral sandboxes only.
    pub linked_sandbox: Option<String>,
    /// Region; the client's target if `None`.
    pub target: Option<String>,
    /// Snapshot to start from; excludes `image`.
    pub snapshot: Option<String>,
    /// Image to make it from; excludes `snapshot`.
    pub image: Option<ImageSource>,
    /// With an image only.
    pub resources: Option<Resources>,
}

/// How to create.
#[derive(Clone, Default)]
pub struct CreateOptions {
    /// Seconds until the sandbox must have started, uploads and builds included; 0 is no limit. Default 60.
    pub timeout: Option<f64>,
    /// Told what of the image's files has been uploaded.
    pub progress: Option<Progress>,
    /// The log of the build is wanted: [`SandboxCreation::next`](crate::SandboxCreation::next).
    pub logs: bool,
}

impl CreateParams {
    fn check(&self) -> Result<()> {
        let not_negative = |name: &str, value: Option<i64>| match value {
            Some(value) if value < 0 => Err(Error::invalid(format!("{name} must be a non-negative integer"))),
            _ => Ok(()),
        };
        not_negative("auto_stop_interval", self.auto_stop_interval)?;
        not_negative("auto_pause_interval", self.auto_pause_interval)?;
        not_negative("auto_archive_interval", self.auto_archive_interval)?;
        not_negative("ttl_minutes", self.ttl_minutes)?;
        let pauses = self.auto_pause_interval.is_some_and(|minutes| minutes != 0);
        if pauses && self.auto_stop_interval.is_some_and(|minutes| minutes != 0) {
            return Err(Error::invalid(
                "auto_stop_interval and auto_pause_interval are mutually exclusive. Set at most one of them to a \
                 non-zero value",
            ));
        }
        if pauses && self.auto_delete() == Some(0) {
            return Err(Error::invalid(
                "Ephemeral sandboxes cannot have auto-pause enabled. Set auto_pause_interval to 0",
            ));
        }
        if self.queue_timeout.is_some_and(|limit| limit < 1) {
            return Err(Error::invalid("queue_timeout must be a positive integer"));
        }
        if self.snapshot.is_some() && self.image.is_some() {
            return Err(Error::invalid("snapshot and image exclude each other. Pass one of them"));
        }
        if self.resources.is_some() && self.image.is_none() {
            return Err(Error::invalid("resources can only be given with an image: a snapshot has its own"));
        }
        if let Some(image) = &self.image {
            image.check()?;
        }
        self.env_vars.as_ref().map_or(Ok(()), crate::process::check_env)
    }

    fn auto_delete(&self) -> Option<i64> {
        if self.ephemeral == Some(true) { Some(0) } else { self.auto_delete_interval }
    }

    pub(crate) fn into_wire(self, default_target: Option<&str>) -> Result<CreateSandbox> {
        self.check()?;
        let auto_delete_interval = self.auto_delete();
        let language = self.language.unwrap_or_else(|| LANGUAGES[0].to_owned());
        check_language(&language)?;
        let mut labels = self.labels.unwrap_or_default();
        labels.insert(LANGUAGE_LABEL.to_owned(), language);
        let resources = self.resources.unwrap_or_default();
        Ok(CreateSandbox {
            name: self.name,
            snapshot: self.snapshot,
            user: self.os_user,
            env: Some(self.env_vars.unwrap_or_default()),
            labels: Some(labels),
            public: self.public,
            network_block_all: self.network_block_all,
            kvm: self.kvm,
            network_allow_list: self.network_allow_list,
            domain_allow_list: self.domain_allow_list,
            outbound_proxy_url: self.outbound_proxy_url,
            otel_endpoint_override: self.otel_endpoint_override,
            target: self.target.or_else(|| default_target.map(str::to_owned)),
            cpu: resources.cpu,
            gpu: resources.gpu,
            gpu_type: resources.gpu_type,
            spot: self.spot,
            memory: resources.memory,
            disk: resources.disk,
            auto_stop_interval: self.auto_stop_interval,
            auto_pause_interval: self.auto_pause_interval,
            auto_archive_interval: self.auto_archive_interval,
            auto_delete_interval,
            ttl_minutes: self.ttl_minutes,
            queue_timeout: self.queue_timeout,
            volumes: Some(self.volumes.unwrap_or_default()),
            build_info: self.image.map(|image| CreateBuildInfo {
                dockerfile_content: match image {
                    ImageSource::Name(name) => format!("FROM {name}\n"),
                    ImageSource::Built(image) => image.dockerfile,
                },
                context_hashes: None,
            }),
            linked_sandbox: self.linked_sandbox,
            secrets: self
                .secrets
                .filter(|secrets| !secrets.is_empty())
                .map(|secrets| secrets.into_iter().map(|pair| BTreeMap::from([pair])).collect()),
        })
    }
}

pub(crate) fn check_language(language: &str) -> Result<()> {
    if LANGUAGES.contains(&language) {
        return Ok(());
    }
    Err(Error::invalid(format!("Invalid {LANGUAGE_LABEL}: {language}. Supported: {}", LANGUAGES.join(", "))))
}

/// Which sandboxes to list. Everything is optional; what is given must all hold.
#[derive(Clone, Debug, Default, serde::Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[expect(missing_docs, reason = "the fields are the API's query parameters")]
pub struct ListQuery {
    /// Sandboxes a page, 1 to 200; the server's default is 100.
    pub limit: Option<i64>,
    pub id: Option<String>,
    pub name: Option<String>,
    pub labels: Option<BTreeMap<String, String>>,
    pub states: Option<Vec<String>>,
    pub snapshots: Option<Vec<String>>,
    pub targets: Option<Vec<String>>,
    pub sandbox_classes: Option<Vec<String>>,
    pub min_cpu: Option<f64>,
    pub max_cpu: Option<f64>,
    pub min_memory_gib: Option<f64>,
    pub max_memory_gib: Option<f64>,
    pub min_disk_gib: Option<f64>,
    pub max_disk_gib: Option<f64>,
    pub is_public: Option<bool>,
    pub is_recoverable: Option<bool>,
    /// RFC 3339, as all times below.
    pub created_at_after: Option<String>,
    pub created_at_before: Option<String>,
    pub last_activity_after: Option<String>,
    pub last_activity_before: Option<String>,
    pub auto_destroy_at_after: Option<String>,
    pub auto_destroy_at_before: Option<String>,
    /// `name`, `cpu`, `memoryGib`, `diskGib`, `lastActivityAt` or `createdAt`.
    pub sort: Option<String>,
    /// `asc` or `desc`.
    pub order: Option<String>,
}

impl ListQuery {
    fn append_to(&self, url: &mut Url, cursor: Option<&str>) -> Result<()> {
        if self.limit.is_some_and(|limit| limit < 1) {
            return Err(Error::invalid("limit must be a positive integer"));
        }
        let number = |value: Option<f64>| value.map(|value| value.to_string());
        let flag = |value: Option<bool>| value.map(|value| value.to_string());
        let labels = self.labels.as_ref().filter(|labels| !labels.is_empty()).map(serde_json::to_string);
        let labels = labels.transpose().map_err(|error| Error::invalid(format!("labels: {error}")))?;
        let single = [
            ("cursor", cursor.map(str::to_owned)),
            ("limit", self.limit.map(|limit| limit.to_string())),
            ("id", self.id.clone()),
            ("name", self.name.clone()),
            ("labels", labels),
            ("minCpu", number(self.min_cpu)),
            ("maxCpu", number(self.max_cpu)),
            ("minMemoryGiB", number(self.min_memory_gib)),
            ("maxMemoryGiB", number(self.max_memory_gib)),
            ("minDiskGiB", number(self.min_disk_gib)),
            ("maxDiskGiB", number(self.max_disk_gib)),
            ("isPublic", flag(self.is_public)),
            ("isRecoverable", flag(self.is_recoverable)),
            ("createdAtAfter", self.created_at_after.clone()),
            ("createdAtBefore", self.created_at_before.clone()),
            ("lastEventAfter", self.last_activity_after.clone()),
            ("lastEventBefore", self.last_activity_before.clone()),
            ("autoDestroyAtAfter", self.auto_destroy_at_after.clone()),
            ("autoDestroyAtBefore", self.auto_destroy_at_before.clone()),
            ("sort", self.sort.clone()),
            ("order", self.order.clone()),
        ];
        let many = [
            ("states", &self.states),
            ("snapshots", &self.snapshots),
            ("regionIds", &self.targets),
            ("sandboxClasses", &self.sandbox_classes),
        ];
        let mut pairs = url.query_pairs_mut();
        for (name, value) in single {
            if let Some(value) = value {
                pairs.append_pair(name, &value);
            }
        }
        for (name, values) in many {
            for value in values.iter().flatten() {
                pairs.append_pair(name, value);
            }
        }
        Ok(())
    }
}

/// One page of a list.
pub struct ListPage {
    /// The sandboxes, without environment, volumes and build information.
    pub items: Vec<Sandbox>,
    /// Pass it to get the next page; `None` on the last.
    pub next_cursor: Option<String>,
}

impl Daytona {
    /// A client with the settings found; nothing is sent and nothing is started yet.
    ///
    /// # Errors
    /// As [`Config::resolve`]; with the local server, if its binary is not found.
    pub fn new(config: &Config) -> Result<Self> {
        let settings = config.resolve()?;
        if settings.api_url.value.is_none() {
            local::find_binary(settings.server_binary.as_deref())
                .map_err(|error| error.with_operation(Operation::LOCAL))?;
        }
        Ok(Self { inner: Arc::new(Client::new(settings)) })
    }

    /// The settings in force and where each came from.
    pub fn settings(&self) -> &Settings {
        self.inner.settings()
    }

    /// The API's base URL; starts the local server if that is what is configured.
    pub async fn api_url(&self) -> Result<String> {
        Ok(self.inner.link().await?.base().to_owned())
    }

    /// How the local server makes sandboxes: `ns`, `docker`, or `process`, which isolates nothing; starts the server if
    /// none runs. `None` for a server that is given by its URL.
    ///
    /// # Errors
    /// `Conflict` if another runtime was [asked for](Config::local_runtime); `Other` if it does not start.
    pub async fn runtime(&self) -> Result<Option<String>> {
        let work = async { Ok(self.inner.link().await?.lease.as_ref().map(|lease| lease.runtime.clone())) };
        self.inner.observe(Operation::LOCAL, work).await
    }

    /// What the user should know of the server that was reached, each once in a process, to be shown in the language's
    /// own way; `None` before one was reached.
    pub fn notices(&self) -> Option<Vec<Warning>> {
        self.inner.take_notices()
    }

    /// Finds a sandbox by its id or name.
    ///
    /// # Errors
    /// `NotFound` if there is none.
    pub async fn get(&self, id_or_name: &str, timeout: Option<f64>) -> Result<Sandbox> {
        let work = async { self.sandbox(self.inner.get(id_or_name, Operation::GET, timeout).await?) };
        self.inner.observe(Operation::GET, work).await
    }

    /// One page of the sandboxes that match, from the start or from a cursor.
    ///
    /// # Errors
    /// `BadRequest` for a value the server refuses.
    pub async fn list(&self, query: &ListQuery, cursor: Option<&str>, timeout: Option<f64>) -> Result<ListPage> {
        let work = async {
            let limit = seconds("request_timeout", timeout)?;
            let link = self.inner.link().await?;
            let mut url = link.url(&["sandbox"])?;
            query.append_to(&mut url, cursor)?;
            let page: wire::ListSandboxesResponse =
                link.transport.json(Call::get(Operation::LIST, url).limit(limit)).await?;
            let items = page.items.into_iter().map(|data| self.sandbox(data)).collect::<Result<_>>()?;
            let next_cursor = page.next_cursor.filter(|cursor| !cursor.is_empty());
            client::check_cursor(cursor, next_cursor.as_deref())?;
            Ok(ListPage { items, next_cursor })
        };
        self.inner.observe(Operation::LIST, work).await
    }

    /// What sandboxes can be made from.
    pub fn snapshot(&self) -> SnapshotService {
        SnapshotService::new(Arc::clone(&self.inner))
    }

    pub(crate) fn target(&self) -> Option<&str> {
        self.inner.settings().target.as_ref().map(|setting| setting.value.as_str())
    }

    pub(crate) fn sandbox(&self, data: wire::Sandbox) -> Result<Sandbox> {
        Sandbox::new(Arc::clone(&self.inner), data)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ephemeral_is_an_auto_delete_interval_of_zero() {
        let params = CreateParams { ephemeral: Some(true), ..CreateParams::default() };
        let body = params.into_wire(Some("eu")).unwrap();
        assert_eq!(body.auto_delete_interval, Some(0));
        assert_eq!(body.target.as_deref(), Some("eu"));
        assert_eq!(body.labels.unwrap()[LANGUAGE_LABEL], "python");
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        let refused = |params: CreateParams| params.into_wire(None).unwrap_err().message();
        let base = CreateParams::default;
        assert!(refused(CreateParams { auto_stop_interval: Some(-1), ..base() }).contains("auto_stop_interval"));
        assert!(refused(CreateParams { queue_timeout: Some(0), ..base() }).contains("queue_timeout"));
        assert!(refused(CreateParams { language: Some("cobol".into()), ..base() }).contains("cobol"));
        let both = CreateParams { snapshot: Some("a".into()), image: Some("b:1".into()), ..base() };
        assert!(refused(both).contains("exclude"));
        let names = BTreeMap::from([("A B".to_owned(), String::new())]);
        assert!(refused(CreateParams { env_vars: Some(names), ..base() }).contains("A B"));
    }
}
