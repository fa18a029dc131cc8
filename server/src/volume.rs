//! Volumes: their records; the runtime keeps their files.

use axum::http::StatusCode;
use daytona_runtime::{RuntimeError, RuntimeKind, VolumeMount};
use daytona_wire::sandbox::SandboxVolume;
use daytona_wire::volume::Volume as Dto;
use serde::{Deserialize, Serialize};

use crate::App;
use crate::error::{ApiError, ApiResult, code};
use crate::manifest::Mark;
use crate::record::{ORGANIZATION, Record};
use crate::rows::Rows;
use crate::store::Stored;
use crate::time::{Millis, now, rfc3339};

const NAME_LIMIT: usize = 128;
/// Folders of a sandbox that are the system's: nothing is mounted there or beneath.
const RESERVED: [&str; 11] =
    ["/bin", "/boot", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/libx32", "/proc", "/sbin", "/sys"];
/// Folders that may not be covered as a whole.
const KEPT: [&str; 9] = ["/", "/home", "/home/daytona", "/opt", "/root", "/run", "/tmp", "/usr", "/var"];

/// One volume as it is stored.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Volume {
    pub(crate) id: String,
    pub(crate) name: String,
    created_at: Millis,
    updated_at: Millis,
    #[serde(default)]
    last_used_at: Option<Millis>,
    /// No sandbox can be made with it any more.
    #[serde(default)]
    pub(crate) deleting: bool,
    /// Why its files cannot be used; found out at each start.
    #[serde(skip)]
    pub(crate) missing: Option<String>,
}

impl Stored for Volume {
    const TABLE: &'static str = "volumes";

    fn id(&self) -> &str {
        &self.id
    }
}

/// A volume in a sandbox, as it is stored there.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Mount {
    pub(crate) volume_id: String,
    pub(crate) path: String,
    pub(crate) subpath: Option<String>,
}

impl Volume {
    /// One whose files are there, and nothing else.
    pub(crate) fn of_files(id: &str, time: Millis) -> Self {
        Self {
            id: id.to_owned(),
            name: id.to_owned(),
            created_at: time,
            updated_at: time,
            last_used_at: None,
            deleting: false,
            missing: None,
        }
    }

    pub(crate) fn dto(&self) -> Dto {
        Dto {
            id: self.id.clone(),
            name: self.name.clone(),
            organization_id: ORGANIZATION.to_owned(),
            state: match (self.deleting, &self.missing) {
                (true, _) => "deleting",
                (false, Some(_)) => "error",
                (false, None) => "ready",
            }
            .to_owned(),
            created_at: rfc3339(self.created_at),
            updated_at: rfc3339(self.updated_at),
            last_used_at: self.last_used_at.map(rfc3339),
            error_reason: self.missing.clone(),
        }
    }
}

impl From<&Mount> for SandboxVolume {
    fn from(mount: &Mount) -> Self {
        Self { volume_id: mount.volume_id.clone(), mount_path: mount.path.clone(), subpath: mount.subpath.clone() }
    }
}

pub(crate) fn not_found(id_or_name: &str) -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, code::VOLUME_NOT_FOUND, format!("Volume {id_or_name} not found"))
}

/// The volumes that a new sandbox is to have.
pub(crate) fn mounts(app: &App, asked: &[SandboxVolume]) -> ApiResult<Vec<Mount>> {
    if !asked.is_empty() && app.runtime.kind() == RuntimeKind::Process {
        return Err(ApiError::new(
            StatusCode::BAD_REQUEST,
            code::UNSUPPORTED_BY_RUNTIME,
            "volumes: the process runtime has no file system of its own to mount them in; run the server with \
             --runtime ns where the machine allows it, or upload the files",
        ));
    }
    let mut mounts: Vec<Mount> = Vec::new();
    for one in asked {
        let volume = find(&app.volumes, &one.volume_id).ok_or_else(|| not_found(&one.volume_id))?;
        if volume.deleting {
            return Err(ApiError::state(format!("Volume {} is being deleted", volume.name)));
        }
        if let Some(reason) = &volume.missing {
            return Err(ApiError::state(format!("Volume {} cannot be used: {reason}", volume.name)));
        }
        let path = mount_path(&one.mount_path)?;
        if let Some(other) = mounts.iter().find(|other| beneath(&other.path, &path)) {
            return Err(ApiError::invalid(format!(
                "volumes: {path} and {} cover each other; mount them side by side",
                other.path
            )));
        }
        let subpath = one.subpath.as_deref().filter(|path| !path.is_empty()).map(subpath).transpose()?;
        mounts.push(Mount { volume_id: volume.id, path, subpath });
    }
    Ok(mounts)
}

/// By its id, or else by its name.
pub(crate) fn find(volumes: &Rows<Volume>, id_or_name: &str) -> Option<Volume> {
    volumes.get(id_or_name).or_else(|| volumes.find(|volume| volume.name == id_or_name))
}

/// One is the other, or in it.
fn beneath(one: &str, other: &str) -> bool {
    let within = |inner: &str, outer: &str| {
        inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    within(one, other) || within(other, one)
}

/// An absolute path in a sandbox that a volume may cover, without slashes that say nothing.
fn mount_path(path: &str) -> ApiResult<String> {
    let refused = |why: &str| Err(ApiError::invalid(format!("volumes: mountPath {path:?} {why}")));
    if !path.starts_with('/') {
        return refused("must be absolute");
    }
    if path.contains('\0') || path.len() > 1024 {
        return refused("must have at most 1024 bytes and no NUL byte");
    }
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    if parts.iter().any(|part| matches!(*part, "." | "..")) {
        return refused("must not contain . or ..");
    }
    let path = format!("/{}", parts.join("/"));
    let taken = KEPT.contains(&path.as_str())
        || RESERVED
            .iter()
            .any(|folder| path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')));
    if taken {
        return Err(ApiError::invalid(format!(
            "volumes: mountPath {path:?} belongs to the system; use a folder such as /data or /home/daytona/data"
        )));
    }
    Ok(path)
}

/// A relative path that stays in the volume.
fn subpath(path: &str) -> ApiResult<String> {
    let parts: Vec<&str> = path.trim_end_matches('/').split('/').collect();
    let fine = !path.contains('\0')
        && path.len() <= 1024
        && parts.iter().all(|part| !part.is_empty() && !matches!(*part, "." | ".."));
    if fine {
        return Ok(parts.join("/"));
    }
    Err(ApiError::invalid(format!(
        "volumes: subpath {path:?} must be relative, without ., .. and empty parts, as in \"users/7\""
    )))
}

fn name(name: String) -> ApiResult<String> {
    let bad = name.is_empty()
        || name.trim() != name
        || name.len() > NAME_LIMIT
        || matches!(name.as_str(), "." | ".." | "by-name")
        || name.chars().any(|letter| letter.is_control() || matches!(letter, '/' | '\\' | '?' | '#'));
    if bad {
        return Err(ApiError::invalid(format!(
            "name must be 1 to {NAME_LIMIT} bytes without blanks at its ends, control characters, / \\ ? and #"
        )));
    }
    Ok(name)
}

impl App {
    /// Makes a volume.
    pub(crate) async fn create_volume(&self, given: String) -> ApiResult<Volume> {
        let name = name(given)?;
        let id = crate::api::new_id()?;
        let time = now();
        let volume = Volume { name, ..Volume::of_files(&id, time) };
        // Files first: a record without them could not be used, and files with this mark and no record are cleaned up.
        self.manifests.mark::<Volume>(&id, Mark::Creating);
        if let Err(error) = self.runtime.create_volume(&id).await {
            self.manifests.unmark::<Volume>(&id, Mark::Creating);
            return Err(error.into());
        }
        let added = self
            .volumes
            .add(&self.store, volume.clone(), |others| {
                if others.values().any(|other| other.name == volume.name) {
                    return Err(ApiError::new(
                        StatusCode::CONFLICT,
                        code::VOLUME_NAME_TAKEN,
                        format!("Volume with name {} already exists", volume.name),
                    ));
                }
                Ok(())
            })
            .await;
        if let Err(error) = added {
            if self.runtime.delete_volume(&id).await.is_ok() {
                self.manifests.unmark::<Volume>(&id, Mark::Creating);
            }
            return Err(error);
        }
        Ok(volume)
    }

    /// Deletes a volume and its files, unless a sandbox has it.
    pub(crate) async fn delete_volume(&self, id: &str) -> ApiResult<()> {
        let mark = |deleting: bool| {
            self.volumes.update(&self.store, id, move |volume| {
                volume.deleting = deleting;
                volume.updated_at = now();
                Ok(())
            })
        };
        // Marked first, so that a sandbox that is just being made either is seen here or does not start.
        let volume = mark(true).await?.ok_or_else(|| not_found(id))?;
        let users: Vec<String> = self
            .sandboxes
            .all()
            .iter()
            .filter_map(|sandbox| {
                let record = sandbox.record();
                record.volumes.iter().any(|mount| mount.volume_id == id).then(|| record.id.clone())
            })
            .collect();
        if let Some(first) = users.first() {
            mark(false).await?;
            return Err(ApiError::new(
                StatusCode::CONFLICT,
                code::VOLUME_IN_USE,
                format!(
                    "Volume {} is in use by {} sandboxes, such as {first}; delete them first, stopped ones too",
                    volume.name,
                    users.len()
                ),
            ));
        }
        self.runtime.delete_volume(id).await?;
        self.volumes.remove(&self.store, id).await?;
        Ok(())
    }

    /// Finishes deletions that the last server began.
    pub(crate) async fn settle_volumes(&self) {
        for volume in self.volumes.all().into_iter().filter(|volume| volume.deleting) {
            if let Err(error) = self.delete_volume(&volume.id).await {
                tracing::warn!(volume = volume.id, error = error.message, "a volume could not be deleted");
            }
        }
    }

    /// Notes that volumes are used now, unless they are no longer there.
    pub(crate) async fn use_volumes(&self, volumes: &[VolumeMount]) -> Result<(), RuntimeError> {
        for VolumeMount { volume: id, .. } in volumes {
            let change = |volume: &mut Volume| {
                volume.last_used_at = Some(now());
                if volume.deleting { Err(not_found(id)) } else { Ok(()) }
            };
            match self.volumes.update(&self.store, id, change).await {
                Ok(Some(_)) => {}
                Ok(None) => return Err(RuntimeError::Invalid(format!("its volume {id} was deleted"))),
                Err(error) => return Err(RuntimeError::Invalid(format!("its volume {id}: {}", error.message))),
            }
        }
        Ok(())
    }
}

/// How the runtime is told.
pub(crate) fn spec(record: &Record) -> Vec<VolumeMount> {
    let one = |mount: &Mount| VolumeMount {
        volume: mount.volume_id.clone(),
        subpath: mount.subpath.clone(),
        path: mount.path.clone(),
    };
    record.volumes.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_paths_stay_away_from_the_system() {
        for (good, clean) in [("/data", "/data"), ("/home/daytona/d/", "/home/daytona/d"), ("//mnt//x", "/mnt/x")] {
            assert_eq!(mount_path(good).unwrap(), clean);
        }
        for bad in ["", "data", "/", "//", "/proc", "/proc/self", "/etc/x", "/data/../etc", "/home", "/tmp/", "/a/./b"]
        {
            assert!(mount_path(bad).is_err(), "{bad:?}");
        }
        assert!(mount_path("/processes").is_ok());
    }

    #[test]
    fn subpaths_stay_in_the_volume() {
        assert_eq!(subpath("users/7/").unwrap(), "users/7");
        for bad in ["/a", "..", "a/../b", "a//b", ".", "a/."] {
            assert!(subpath(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn mounts_that_cover_each_other_are_seen() {
        assert!(beneath("/a", "/a"));
        assert!(beneath("/a/b", "/a"));
        assert!(beneath("/a", "/a/b"));
        assert!(!beneath("/a", "/ab"));
    }
}
