//! What is stored of a sandbox, and how the API shows it.

use std::collections::{BTreeMap, BTreeSet};

use daytona_runtime::{Limits, RuntimeKind};
use daytona_wire::sandbox::{BuildInfo, Sandbox, SandboxState};
use serde::{Deserialize, Serialize};

use crate::access::Access;
use crate::image::Root;
use crate::time::{Millis, rfc3339};
use crate::volume::Mount;

/// The one organization of a local server.
pub(crate) const ORGANIZATION: &str = "local";
/// The region where none was asked for.
pub(crate) const REGION: &str = "local";
/// The class of every local sandbox.
pub(crate) const CLASS: &str = "container";
/// Version of the agent; what it speaks is the protocol of these clients.
pub(crate) const DAEMON_VERSION: &str = env!("CARGO_PKG_VERSION");
/// Labels with this prefix are the server's own.
const LABEL_PREFIX: &str = "daytona-native/";

/// Where a sandbox is meant to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Desired {
    Started,
    Stopped,
    Paused,
    Archived,
    Destroyed,
}

impl Desired {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Stopped => "stopped",
            Self::Paused => "paused",
            Self::Archived => "archived",
            Self::Destroyed => "destroyed",
        }
    }
}

/// The image to build.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Build {
    pub(crate) dockerfile: String,
    pub(crate) context_hashes: Vec<String>,
}

/// One sandbox as it is stored. Not `Debug`: it holds its signing key and environment.
#[derive(Clone, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is a setting of its own")]
pub(crate) struct Record {
    pub(crate) id: String,
    pub(crate) name: String,
    /// The runtime that has made it; no other one may run it.
    pub(crate) runtime: RuntimeKind,
    pub(crate) snapshot: Option<String>,
    /// The stored snapshot that its files come from.
    #[serde(default)]
    pub(crate) snapshot_id: Option<String>,
    /// The sandbox it was forked from.
    #[serde(default)]
    pub(crate) parent: Option<String>,
    /// The sandbox it goes with.
    #[serde(default)]
    pub(crate) linked: Option<String>,
    pub(crate) user: String,
    pub(crate) env: BTreeMap<String, String>,
    /// The user's own; see [`View::labels`].
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) public: bool,
    pub(crate) network_block_all: bool,
    #[serde(default)]
    pub(crate) network_allow_list: Option<String>,
    #[serde(default)]
    pub(crate) domain_allow_list: Option<String>,
    /// It may hold a password.
    #[serde(default)]
    pub(crate) outbound_proxy_url: Option<String>,
    pub(crate) target: String,
    pub(crate) cpu: f64,
    pub(crate) memory: f64,
    pub(crate) disk: f64,
    pub(crate) state: SandboxState,
    pub(crate) desired: Desired,
    pub(crate) error_reason: Option<String>,
    /// Trying again may help.
    #[serde(default)]
    pub(crate) recoverable: bool,
    /// It has had files: nothing empty may take their place.
    #[serde(default)]
    pub(crate) made: bool,
    /// Minutes; 0 is off.
    pub(crate) auto_stop: i64,
    /// Minutes; 0 is off.
    #[serde(default)]
    pub(crate) auto_pause: i64,
    /// Minutes.
    pub(crate) auto_archive: i64,
    /// Minutes; 0 on stop, negative is off.
    pub(crate) auto_delete: i64,
    pub(crate) destroy_at: Option<Millis>,
    pub(crate) build: Option<Build>,
    pub(crate) created_at: Millis,
    pub(crate) updated_at: Millis,
    pub(crate) last_activity_at: Millis,
    /// When it stopped; kept while it is archived.
    pub(crate) stopped_at: Option<Millis>,
    #[serde(default)]
    pub(crate) archived_at: Option<Millis>,
    /// Seconds.
    #[serde(default)]
    pub(crate) queue_timeout: Option<i64>,
    /// When it was given up because it had waited that long.
    #[serde(default)]
    pub(crate) queue_timed_out_at: Option<Millis>,
    pub(crate) signing_key: String,
    #[serde(default)]
    pub(crate) access: Access,
    #[serde(default)]
    pub(crate) volumes: Vec<Mount>,
    /// Environment variable to id of the secret whose placeholder it holds.
    #[serde(default)]
    pub(crate) secrets: BTreeMap<String, String>,
    /// Variables of the runtime's own that were removed.
    #[serde(default)]
    pub(crate) unset_env: BTreeSet<String>,
    /// The warm pool that it waits in.
    #[serde(default)]
    pub(crate) warm_pool: Option<String>,
    /// The repository that was cloned last through `POST /sandbox/{id}/clone`.
    #[serde(default)]
    pub(crate) cloned: Option<String>,
    /// What it was made of, where that is an image.
    #[serde(default)]
    pub(crate) image: Option<Root>,
    /// The user was asked for, and is not the image's.
    #[serde(default)]
    pub(crate) user_given: bool,
}

impl Record {
    /// A stop destroys it.
    pub(crate) fn ephemeral(&self) -> bool {
        self.auto_delete == 0
    }

    /// On its way from one state to another.
    pub(crate) fn changing(&self) -> bool {
        use SandboxState as S;
        matches!(
            self.state,
            S::Creating
                | S::Starting
                | S::Stopping
                | S::Destroying
                | S::Pausing
                | S::Resuming
                | S::Archiving
                | S::Restoring
                | S::Resizing
                | S::Snapshotting
                | S::Forking
                | S::PendingBuild
                | S::BuildingSnapshot
        )
    }

    /// When the next timer is due, and what it does. `idle_since` is `None` while a request runs.
    pub(crate) fn next_timer(&self, idle_since: Option<Millis>) -> Option<(Millis, Timer)> {
        let minutes = |count: i64| count.saturating_mul(crate::time::MINUTE);
        let after = |at: Option<Millis>, count: i64, timer| at.map(|at| (at.saturating_add(minutes(count)), timer));
        let started = self.state == SandboxState::Started;
        let stopped = self.state == SandboxState::Stopped;
        let stop = (started && self.auto_stop > 0).then(|| after(idle_since, self.auto_stop, Timer::Stop));
        let pause = (started && self.auto_pause > 0).then(|| after(idle_since, self.auto_pause, Timer::Pause));
        let archive = (stopped && !self.ephemeral() && self.auto_archive > 0)
            .then(|| after(self.stopped_at, self.auto_archive, Timer::Archive));
        let delete = ((stopped || self.state == SandboxState::Archived) && self.auto_delete >= 0)
            .then(|| after(self.stopped_at, self.auto_delete, Timer::Destroy));
        let ttl = self.destroy_at.filter(|_| self.state != SandboxState::Destroying).map(|at| (at, Timer::Destroy));
        [stop, pause, archive, delete, Some(ttl)].into_iter().flatten().flatten().min()
    }
}

/// What a timer does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    Destroy,
    Archive,
    Stop,
    Pause,
}

/// What is the same for all sandboxes of a server.
#[derive(Clone)]
pub(crate) struct View {
    limits: String,
}

impl View {
    pub(crate) fn new(limits: &Limits) -> Self {
        let limits = [
            ("cpu", &limits.cpu),
            ("memory", &limits.memory),
            ("pids", &limits.pids),
            ("disk", &limits.disk),
            ("network", &limits.network),
        ];
        let enforced = limits.into_iter().filter_map(|(name, limit)| limit.holds().then_some(name));
        let enforced = enforced.collect::<Vec<_>>().join(",");
        let enforced = if enforced.is_empty() { "none".to_owned() } else { enforced };
        Self { limits: enforced }
    }

    /// The server's own labels.
    fn own_labels<'a>(&'a self, record: &Record) -> impl Iterator<Item = (&'static str, &'a str)> {
        let (runtime, isolation) = match record.runtime {
            RuntimeKind::Ns => ("ns", None),
            RuntimeKind::Process => ("process", Some("none")),
            RuntimeKind::Docker => ("docker", None),
        };
        [
            ("daytona-native/runtime", Some(runtime)),
            ("daytona-native/limits", Some(self.limits.as_str())),
            ("daytona-native/isolation", isolation),
            ("daytona-native/image", record.image.as_ref().filter(|root| root.host).map(|_| "host view")),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
    }

    /// The labels as shown: the user's and the server's own.
    pub(crate) fn labels(&self, record: &Record) -> BTreeMap<String, String> {
        let mut labels = record.labels.clone();
        let own = self.own_labels(record);
        labels.extend(own.map(|(name, value)| (name.to_owned(), value.to_owned())));
        labels
    }

    /// One label as shown.
    pub(crate) fn label<'a>(&'a self, record: &'a Record, name: &str) -> Option<&'a str> {
        let own = self.own_labels(record).find(|(own, _)| *own == name);
        own.map(|(_, value)| value).or_else(|| record.labels.get(name).map(String::as_str))
    }

    /// What `GET /sandbox` shows. `base` is the server's URL without a path.
    pub(crate) fn list_item(&self, record: &Record, base: &str) -> Sandbox {
        #[expect(clippy::cast_precision_loss, reason = "minutes are small")]
        let minutes = |count: i64| Some(count as f64);
        Sandbox {
            id: record.id.clone(),
            organization_id: ORGANIZATION.to_owned(),
            name: record.name.clone(),
            snapshot: record.snapshot.clone(),
            user: record.user.clone(),
            labels: self.labels(record),
            public: record.public,
            network_block_all: Some(record.network_block_all),
            network_allow_list: record.network_allow_list.clone(),
            domain_allow_list: record.domain_allow_list.clone(),
            target: record.target.clone(),
            cpu: record.cpu,
            memory: record.memory,
            disk: record.disk,
            state: Some(record.state),
            desired_state: Some(record.desired.as_str().to_owned()),
            error_reason: record.error_reason.clone(),
            recoverable: Some(record.recoverable),
            backup_state: Some(backup_state(record.state).to_owned()),
            backup_created_at: record.archived_at.map(rfc3339),
            auto_stop_interval: minutes(record.auto_stop),
            auto_pause_interval: minutes(record.auto_pause),
            auto_archive_interval: minutes(record.auto_archive),
            auto_delete_interval: minutes(record.auto_delete),
            auto_destroy_at: record.destroy_at.map(rfc3339),
            queue_timeout: record.queue_timeout,
            queue_timed_out_at: record.queue_timed_out_at.map(rfc3339),
            created_at: Some(rfc3339(record.created_at)),
            updated_at: Some(rfc3339(record.updated_at)),
            last_activity_at: Some(rfc3339(record.last_activity_at)),
            sandbox_class: Some(CLASS.to_owned()),
            daemon_version: Some(DAEMON_VERSION.to_owned()),
            warm_pool_id: record.warm_pool.clone(),
            toolbox_proxy_url: toolbox_url(base),
            ..Sandbox::default()
        }
    }

    /// All of a sandbox.
    pub(crate) fn full(&self, record: &Record, base: &str) -> Sandbox {
        Sandbox {
            env: Some(record.env.clone()),
            outbound_proxy_url: record.outbound_proxy_url.clone(),
            kvm: Some(false),
            spot: Some(false),
            linked_sandbox_id: record.linked.clone(),
            volumes: Some(record.volumes.iter().map(Into::into).collect()),
            build_info: record.build.as_ref().map(|build| BuildInfo {
                dockerfile_content: Some(build.dockerfile.clone()),
                context_hashes: Some(build.context_hashes.clone()),
                created_at: rfc3339(record.created_at),
                updated_at: rfc3339(record.updated_at),
                snapshot_ref: format!("build/{}", record.id),
            }),
            ..self.list_item(record, base)
        }
    }
}

fn backup_state(state: SandboxState) -> &'static str {
    match state {
        SandboxState::Archiving => "InProgress",
        SandboxState::Archived | SandboxState::Restoring => "Completed",
        _ => "None",
    }
}

/// Where the toolbox of every sandbox is.
pub(crate) fn toolbox_url(base: &str) -> String {
    format!("{base}/toolbox")
}

/// The user's labels without the server's own, which a client may send back.
pub(crate) fn user_labels(mut labels: BTreeMap<String, String>) -> BTreeMap<String, String> {
    labels.retain(|name, _| !name.starts_with(LABEL_PREFIX));
    labels
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Record {
        pub(crate) fn sample(id: &str) -> Self {
            Self {
                id: id.to_owned(),
                name: format!("name-{id}"),
                runtime: RuntimeKind::Process,
                snapshot: Some("host".to_owned()),
                snapshot_id: None,
                parent: None,
                linked: None,
                user: "daytona".to_owned(),
                env: BTreeMap::new(),
                labels: BTreeMap::new(),
                public: false,
                network_block_all: false,
                network_allow_list: None,
                domain_allow_list: None,
                outbound_proxy_url: None,
                target: REGION.to_owned(),
                cpu: 1.0,
                memory: 1.0,
                disk: 3.0,
                state: SandboxState::Started,
                desired: Desired::Started,
                error_reason: None,
                recoverable: false,
                made: false,
                auto_stop: 15,
                auto_pause: 0,
                auto_archive: 10_080,
                auto_delete: -1,
                destroy_at: None,
                build: None,
                created_at: 0,
                updated_at: 0,
                last_activity_at: 0,
                stopped_at: None,
                archived_at: None,
                queue_timeout: None,
                queue_timed_out_at: None,
                signing_key: "key".to_owned(),
                access: Access::default(),
                volumes: Vec::new(),
                secrets: BTreeMap::new(),
                unset_env: BTreeSet::new(),
                warm_pool: None,
                cloned: None,
                image: None,
                user_given: false,
            }
        }
    }

    #[test]
    fn idle_sandboxes_stop() {
        let mut record = Record::sample("a");
        assert_eq!(record.next_timer(Some(1000)), Some((901_000, Timer::Stop)));
        assert_eq!(record.next_timer(None), None);
        record.auto_stop = 0;
        assert_eq!(record.next_timer(Some(1000)), None);
    }

    #[test]
    fn idle_sandboxes_pause() {
        let mut record = Record::sample("a");
        (record.auto_stop, record.auto_pause) = (0, 2);
        assert_eq!(record.next_timer(Some(1000)), Some((121_000, Timer::Pause)));
        assert_eq!(record.next_timer(None), None);
        record.state = SandboxState::Paused;
        assert_eq!(record.next_timer(Some(1000)), None);
    }

    #[test]
    fn stopped_sandboxes_are_archived_and_deleted() {
        let mut record = Record::sample("a");
        record.state = SandboxState::Stopped;
        record.stopped_at = Some(500);
        record.auto_archive = 3;
        assert_eq!(record.next_timer(Some(0)), Some((180_500, Timer::Archive)));
        record.auto_delete = 2;
        assert_eq!(record.next_timer(Some(0)), Some((120_500, Timer::Destroy)));
        record.auto_delete = 4;
        assert_eq!(record.next_timer(Some(0)), Some((180_500, Timer::Archive)));
        record.state = SandboxState::Archived;
        assert_eq!(record.next_timer(Some(0)), Some((240_500, Timer::Destroy)));
        record.auto_delete = -1;
        assert_eq!(record.next_timer(Some(0)), None);
    }

    #[test]
    fn records_of_earlier_versions_are_read() {
        let mut old = serde_json::to_value(Record::sample("a")).unwrap();
        let fields = old.as_object_mut().unwrap();
        let new =
            ["snapshot_id", "parent", "linked", "recoverable", "auto_pause", "archived_at", "queue_timeout", "image"];
        fields.retain(|name, _| !new.contains(&name.as_str()));
        assert!(serde_json::from_value::<Record>(old).is_ok());
    }

    #[test]
    fn the_time_to_live_ends_in_any_state() {
        let mut record = Record::sample("a");
        record.destroy_at = Some(7);
        assert_eq!(record.next_timer(Some(0)), Some((7, Timer::Destroy)));
        record.state = SandboxState::BuildFailed;
        assert_eq!(record.next_timer(Some(0)), Some((7, Timer::Destroy)));
        record.state = SandboxState::Destroying;
        assert_eq!(record.next_timer(Some(0)), None);
    }
}
