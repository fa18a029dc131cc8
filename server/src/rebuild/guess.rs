//! What files say of themselves where no manifest does.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use daytona_runtime::RuntimeKind;
use daytona_wire::sandbox::SandboxState;
use daytona_wire::snapshot::SnapshotState;

use crate::access::Access;
use crate::config::Defaults;
use crate::record::{Desired, REGION, Record};
use crate::snapshot::{self, DEFAULT};
use crate::time::now;

/// What made the files of a sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Ns,
    Process,
    Docker,
    /// Changes to an image's files: worth nothing without it.
    Image,
}

impl Shape {
    fn runtime(self) -> RuntimeKind {
        match self {
            Self::Ns | Self::Image => RuntimeKind::Ns,
            Self::Process => RuntimeKind::Process,
            Self::Docker => RuntimeKind::Docker,
        }
    }

    /// The user where none is asked for: containers have their image's.
    fn user(self) -> &'static str {
        if self == Self::Docker { "" } else { "daytona" }
    }
}

/// That of a folder or an archive; none where there is nothing of a sandbox in it.
pub(super) fn shape(path: &Path) -> Option<Shape> {
    let parts = if path.is_dir() {
        crate::leftovers::names_in(path)
    } else {
        daytona_runtime::archived_parts(path).unwrap_or_default()
    };
    let has = |name: &str| parts.iter().any(|part| part == name);
    match (has("docker.json"), has("upper"), has("home")) {
        (true, _, _) => Some(Shape::Docker),
        (_, true, _) if has("lower") => Some(Shape::Image),
        (_, true, true) => Some(Shape::Ns),
        (_, true, false) => Some(Shape::Image),
        (_, false, true) => Some(Shape::Process),
        (_, false, false) => None,
    }
}

/// A sandbox of which only the files are known. What it may have been forbidden to reach is not among them: it gets no
/// network.
pub(super) fn default_sandbox(id: &str, shape: Shape) -> Record {
    let (defaults, time) = (Defaults::of_this_machine(), now());
    Record {
        id: id.to_owned(),
        name: id.to_owned(),
        runtime: shape.runtime(),
        snapshot: Some(DEFAULT.to_owned()),
        snapshot_id: None,
        parent: None,
        linked: None,
        user: shape.user().to_owned(),
        env: BTreeMap::new(),
        labels: BTreeMap::new(),
        public: false,
        // The process runtime refuses it, and has no network of its own.
        network_block_all: shape != Shape::Process,
        network_allow_list: None,
        domain_allow_list: None,
        outbound_proxy_url: None,
        target: REGION.to_owned(),
        cpu: defaults.cpu,
        memory: defaults.memory,
        disk: defaults.disk,
        state: SandboxState::Stopped,
        desired: Desired::Stopped,
        error_reason: None,
        recoverable: false,
        made: true,
        auto_stop: 15,
        auto_pause: 0,
        auto_archive: 10_080,
        auto_delete: -1,
        destroy_at: None,
        build: None,
        created_at: time,
        updated_at: time,
        last_activity_at: time,
        stopped_at: Some(time),
        archived_at: None,
        queue_timeout: None,
        queue_timed_out_at: None,
        // Without random numbers nothing else would work either: no link is valid then.
        signing_key: crate::signing::new_key().unwrap_or_default(),
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

/// A snapshot of which only the files are known.
pub(super) fn default_snapshot(id: &str, shape: Shape, size: u64) -> snapshot::Record {
    let (defaults, time) = (Defaults::of_this_machine(), now());
    snapshot::Record {
        id: id.to_owned(),
        name: id.to_owned(),
        state: SnapshotState::Active,
        runtime: shape.runtime(),
        user: shape.user().to_owned(),
        cpu: defaults.cpu,
        memory: defaults.memory,
        disk: defaults.disk,
        size,
        source_sandbox: None,
        created_at: time,
        updated_at: time,
        last_used_at: None,
        image: None,
        image_name: None,
        build: None,
        entrypoint: None,
        error_reason: None,
    }
}
