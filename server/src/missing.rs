//! What the store speaks of and the data directory lacks: it came back from a backup without it, or somebody removed it.
//! Such a thing is in the state `error` until its files are there again; nothing empty takes their place.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use daytona_runtime::RuntimeKind;
use daytona_wire::sandbox::SandboxState;
use daytona_wire::snapshot::SnapshotState;

use crate::backend::Backend;
use crate::config::write_private;
use crate::record::{Desired, Record};
use crate::snapshot;
use crate::volume::Volume;

/// How the reason of such an error begins.
const MISSING: &str = "its files are missing";
/// Also after a copy by a user who is not root, or without `-a`.
const STRANGE: &str = "its files have lost their owner";
/// The file that holds the id of the sandboxes' user.
const USER: &str = "uid";
/// So many are named in one line of the log.
const NAMED: usize = 5;

fn reason(path: &Path) -> String {
    format!("{MISSING}: {} is not there. Restore it and start the server again, or delete this", path.display())
}

fn is_missing(reason: Option<&String>) -> bool {
    reason.is_some_and(|reason| reason.starts_with(MISSING) || reason.starts_with(STRANGE))
}

/// What is wrong with the folder of a sandbox.
fn lack(record: &Record, dir: &Path, data_dir: &Path) -> Option<String> {
    if !dir.is_dir() {
        return Some(reason(dir));
    }
    let container = dir.join("docker.json");
    if record.runtime == RuntimeKind::Docker && record.made && !container.is_file() {
        return Some(reason(&container));
    }
    // In a root of layers its place depends on the image; without a view of its own a sandbox may move its home away.
    if record.image.is_some() || record.runtime != RuntimeKind::Ns {
        return None;
    }
    let home = dir.join("home");
    let Ok(metadata) = home.symlink_metadata() else { return Some(reason(&home)) };
    let server = rustix::process::geteuid();
    let owner = match (server.is_root(), record.user.as_str()) {
        // It may give its files away.
        (true, "root") => None,
        (true, _) => user_in(data_dir),
        (false, _) => Some(server.as_raw()),
    }?;
    (metadata.uid() != owner).then(|| {
        format!(
            "{STRANGE}: {} belongs to the user with the id {}, not to {owner}. Restore it with its owners (as root, with \
             `cp -a` or `tar -p`), or give it to that user, and start the server again",
            home.display(),
            metadata.uid()
        )
    })
}

/// The id that the user of sandboxes has in this data directory.
fn user_in(data_dir: &Path) -> Option<u32> {
    fs::read_to_string(data_dir.join(USER)).ok()?.trim().parse().ok()
}

/// Where that id is lost, most sandboxes know it. To be called before the runtime starts, which would choose another.
pub(crate) fn find_user(data_dir: &Path) {
    if !rustix::process::geteuid().is_root() || user_in(data_dir).is_some() {
        return;
    }
    let mut owners = BTreeMap::new();
    for sandbox in fs::read_dir(data_dir.join("sandboxes")).into_iter().flatten().flatten() {
        if let Ok(home) = sandbox.path().join("home").symlink_metadata()
            && home.uid() != 0
        {
            *owners.entry(home.uid()).or_insert(0_usize) += 1;
        }
    }
    let Some((owner, _)) = owners.into_iter().max_by_key(|(_, count)| *count) else { return };
    match write_private(&data_dir.join(USER), owner.to_string().as_bytes()) {
        Ok(()) => tracing::warn!(owner, "the file {USER} was missing: it was made again from the owner of sandboxes"),
        Err(error) => tracing::warn!(%error, "the file {USER} is missing and could not be written"),
    }
}

/// Looks for what a sandbox needs. True if that has changed the record.
pub(crate) fn sandbox(record: &mut Record, runtime: &Backend, data_dir: &Path) -> bool {
    if record.desired == Desired::Destroyed || record.runtime != runtime.kind() {
        return false;
    }
    let was_missing = record.state == SandboxState::Error && is_missing(record.error_reason.as_ref());
    let archived = record.desired == Desired::Archived;
    let good = match record.state {
        SandboxState::Archived => SandboxState::Archived,
        SandboxState::Stopped => SandboxState::Stopped,
        SandboxState::Error if was_missing && archived => SandboxState::Archived,
        SandboxState::Error if was_missing => SandboxState::Stopped,
        _ => return false,
    };
    let lack = if good == SandboxState::Archived {
        let archive = runtime.archive_file(&record.id);
        (!archive.exists()).then(|| reason(&archive))
    } else {
        lack(record, &runtime.sandbox_dir(&record.id), data_dir)
    };
    match (lack, was_missing) {
        (None, false) => !std::mem::replace(&mut record.made, true),
        (None, true) => {
            (record.state, record.error_reason, record.made) = (good, None, true);
            true
        }
        (Some(_), true) => false,
        (Some(reason), false) => {
            (record.state, record.recoverable) = (SandboxState::Error, false);
            record.error_reason = Some(reason);
            true
        }
    }
}

/// Looks for the files of a snapshot. True if that has changed the record.
pub(crate) fn snapshot(record: &mut snapshot::Record, data_dir: &Path) -> bool {
    // One that is an image and nothing more has no files of its own.
    let has_files = record.image.is_none() || record.source_sandbox.is_some();
    if !has_files {
        return false;
    }
    let was_missing = record.state == SnapshotState::Error && is_missing(record.error_reason.as_ref());
    let path = snapshot::folder(data_dir).join(&record.id);
    match record.state {
        SnapshotState::Active | SnapshotState::Inactive if !path.is_dir() => {
            record.state = SnapshotState::Error;
            record.error_reason = Some(reason(&path));
            true
        }
        SnapshotState::Error if was_missing && path.is_dir() => {
            (record.state, record.error_reason) = (SnapshotState::Active, None);
            true
        }
        _ => false,
    }
}

/// Looks for the files of a volume.
pub(crate) fn volume(volume: &mut Volume, data_dir: &Path) {
    let path = data_dir.join("volumes").join(&volume.id);
    let lost = !volume.deleting && !path.is_dir();
    volume.missing = lost.then(|| reason(&path));
}

/// Tells what is missing now.
pub(crate) fn tell(sandboxes: &[Record], snapshots: &[snapshot::Record], volumes: &[Volume]) {
    let lost = |reason: Option<&String>| is_missing(reason);
    let sandboxes = sandboxes.iter().filter(|one| one.state == SandboxState::Error && lost(one.error_reason.as_ref()));
    tell_kind("sandboxes", sandboxes.map(|one| one.name.as_str()).collect());
    let snapshots = snapshots.iter().filter(|one| one.state == SnapshotState::Error && lost(one.error_reason.as_ref()));
    tell_kind("snapshots", snapshots.map(|one| one.name.as_str()).collect());
    let volumes = volumes.iter().filter(|one| lost(one.missing.as_ref()));
    tell_kind("volumes", volumes.map(|one| one.name.as_str()).collect());
}

fn tell_kind(kind: &str, mut names: Vec<&str>) {
    if names.is_empty() {
        return;
    }
    names.sort_unstable();
    let more = names.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let count = names.len();
    names.truncate(NAMED);
    tracing::warn!(
        "the files of {count} {kind} are missing, or not theirs any more ({}{more}): they are in the state error until \
         they are restored",
        names.join(", ")
    );
}
