//! Volumes: folders beneath the data directory that containers mount.

use std::fs::{self, Permissions};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use bollard::models::ContainerCreateBody;
use bollard::query_parameters::{
    CreateContainerOptions, DownloadFromContainerOptionsBuilder, UploadToContainerOptionsBuilder,
};
use daytona_runtime::{RuntimeError, VolumeMount};
use daytona_toolbox::container::PROGRAM;
use futures_util::StreamExt as _;
use rustix::fs::{CWD, Mode, OFlags, fchmod, fstat, mkdirat, openat};
use rustix::io::Errno;

use crate::plain::Plain;
use crate::state::make_folder;
use crate::{Docker, Inner, check_id, failed, io, is_missing};

/// Bytes of an archive that hold the first entry's head.
const HEAD: usize = 4096;

/// What a container is to see of a volume.
pub(crate) struct Source {
    /// The folder on the host.
    pub(crate) host: String,
    /// The path in the container.
    pub(crate) path: String,
    /// Device and inode of the folder: a link that is put in its place meanwhile leads elsewhere.
    pub(crate) identity: (u64, u64),
}

fn folder(data_dir: &Path, id: &str) -> Result<PathBuf, RuntimeError> {
    check_id(id)?;
    Ok(data_dir.join("volumes").join(id))
}

impl Docker {
    /// Makes the folder of a volume, which every user of a container may write to. `id` is as a sandbox's.
    pub async fn create_volume(&self, id: &str) -> Result<(), RuntimeError> {
        let path = folder(&self.inner.data_dir, id)?;
        crate::run::blocking(move || {
            make_folder(path.parent().unwrap_or(&path))
                .and_then(|()| fs::create_dir(&path))
                .and_then(|()| fs::set_permissions(&path, Permissions::from_mode(0o777)))
                .map_err(io("make", &path))
        })
        .await
    }

    /// Deletes the folder of a volume and all in it. No running sandbox may have it. One that is not there is fine.
    pub async fn delete_volume(&self, id: &str) -> Result<(), RuntimeError> {
        let path = folder(&self.inner.data_dir, id)?;
        self.delete_folder(&path).await
    }
}

impl Inner {
    /// Makes the folders that lead to the volumes of a new container the user's in whose folder they are; the engine
    /// would make them root's. And those that the image names as its own volumes, as the engine would.
    pub(crate) async fn lead_to(
        &self,
        container: &str,
        image: &Plain,
        volumes: &[(String, String)],
    ) -> Result<(), RuntimeError> {
        let parents: Vec<_> = volumes.iter().filter_map(|(_, path)| Path::new(path).parent()).collect();
        if parents.is_empty() && image.folders.is_empty() {
            return Ok(());
        }
        // A look into the container itself would mount its volumes, and make their folders.
        let body = ContainerCreateBody {
            image: Some(image.name.clone()),
            entrypoint: Some(vec![PROGRAM.to_owned()]),
            labels: Some(self.part()),
            ..ContainerCreateBody::default()
        };
        let made = self.engine.create_container(None::<CreateContainerOptions>, body).await;
        let without = made.map_err(failed("look into the image"))?.id;
        let result = async {
            for path in parents {
                for there in path.ancestors() {
                    let Some((uid, gid)) = self.owner_of(&without, there).await? else { continue };
                    if uid != 0 && there != path {
                        self.make_folders(container, there, path, (uid, gid)).await?;
                    }
                    break;
                }
            }
            for path in image.folders.iter().map(Path::new) {
                for there in path.ancestors() {
                    if self.owner_of(&without, there).await?.is_none() {
                        continue;
                    }
                    if there != path {
                        self.make_folders(container, there, path, (0, 0)).await?;
                    }
                    break;
                }
            }
            Ok(())
        };
        let result = result.await;
        self.remove_container(&without).await?;
        result
    }

    /// Who owns a folder of a container; nothing where it is not there, root where it is no folder.
    async fn owner_of(&self, container: &str, path: &Path) -> Result<Option<(u64, u64)>, RuntimeError> {
        let options = DownloadFromContainerOptionsBuilder::new().path(&path.to_string_lossy()).build();
        let mut archive = std::pin::pin!(self.engine.download_from_container(container, Some(options)));
        let mut head = Vec::new();
        while head.len() < HEAD {
            match archive.next().await {
                Some(Ok(bytes)) => head.extend_from_slice(&bytes),
                Some(Err(error)) if is_missing(&error) => return Ok(None),
                Some(Err(error)) => return Err(failed("look into the container")(error)),
                None => break,
            }
        }
        let owner = || -> std::io::Result<(u64, u64)> {
            let mut archive = tar::Archive::new(&head[..]);
            let entry = archive.entries()?.next().transpose()?;
            match entry.as_ref().map(tar::Entry::header).filter(|header| header.entry_type().is_dir()) {
                Some(header) => Ok((header.uid()?, header.gid()?)),
                None => Ok((0, 0)),
            }
        };
        owner().map(Some).map_err(io("look at the container's", path))
    }

    async fn make_folders(
        &self,
        container: &str,
        there: &Path,
        path: &Path,
        (uid, gid): (u64, u64),
    ) -> Result<(), RuntimeError> {
        let pack = || {
            let mut archive = tar::Builder::new(Vec::new());
            let mut folder = PathBuf::new();
            for name in path.strip_prefix(there).unwrap_or(path) {
                folder.push(name);
                let mut header = tar::Header::new_gnu();
                header.set_entry_type(tar::EntryType::Directory);
                header.set_mode(0o755);
                header.set_size(0);
                header.set_uid(uid);
                header.set_gid(gid);
                archive.append_data(&mut header, &folder, std::io::empty())?;
            }
            archive.into_inner()
        };
        let archive = pack().map_err(io("pack", path))?;
        let options = UploadToContainerOptionsBuilder::new().path(&there.to_string_lossy()).build();
        let sent = self.engine.upload_to_container(container, Some(options), bollard::body_full(archive.into())).await;
        sent.map_err(failed("make the folders of volumes"))
    }
}

impl Source {
    /// Looks at the folder without following links, and makes what is missing of its subpath.
    pub(crate) fn open(data_dir: &Path, volume: &VolumeMount) -> Result<Self, RuntimeError> {
        let root = folder(data_dir, &volume.volume)?;
        let mut host = root.clone();
        let mut open = step(CWD, &root, false)
            .map_err(|_| RuntimeError::Invalid(format!("there is no volume {}", volume.volume)))?;
        for name in volume.subpath.iter().flat_map(|path| path.split('/')).filter(|name| !name.is_empty()) {
            if matches!(name, "." | "..") {
                return Err(RuntimeError::Invalid(format!("the subpath of volume {} leads out of it", volume.volume)));
            }
            host.push(name);
            open = step(&open, Path::new(name), true).map_err(|error| {
                RuntimeError::Invalid(format!(
                    "the subpath {:?} of volume {} cannot be mounted: {error}; it has to be folders, not links",
                    volume.subpath.as_deref().unwrap_or_default(),
                    volume.volume
                ))
            })?;
        }
        let found = fstat(&open).map_err(|error| io("look at", &host)(error.into()))?;
        Ok(Self {
            host: host.to_string_lossy().into_owned(),
            path: volume.path.clone(),
            identity: (found.st_dev, found.st_ino),
        })
    }
}

fn step(at: impl std::os::fd::AsFd, name: &Path, missing_too: bool) -> Result<OwnedFd, Errno> {
    let at = at.as_fd();
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match openat(at, name, flags, Mode::empty()) {
        Err(Errno::NOENT) if missing_too => {
            mkdirat(at, name, Mode::from_raw_mode(0o777))?;
            let made = openat(at, name, flags, Mode::empty())?;
            // Whatever the umask is.
            fchmod(&made, Mode::from_raw_mode(0o777))?;
            Ok(made)
        }
        result => result,
    }
}
