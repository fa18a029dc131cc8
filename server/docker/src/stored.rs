//! What a sandbox stored: copied, packed away, brought back, deleted.
//!
//! The files are in the engine: a copy is an image made of the container, which costs what has changed in it.

use std::fs;
use std::path::{Path, PathBuf};

use daytona_runtime::RuntimeError;

use crate::run::{blocking, random};
use crate::state::State;
use crate::{Docker, Inner, check_id, io};

impl Docker {
    /// Makes an image of the files of a stopped or frozen sandbox and notes it in the new folder `dest`.
    pub async fn snapshot(&self, id: &str, dest: &Path) -> Result<(), RuntimeError> {
        if dest.exists() {
            return Err(io("copy to", dest)(std::io::ErrorKind::AlreadyExists.into()));
        }
        self.inner.copied(id, &format!("snapshot-{}", random())).await?.write(dest)
    }

    /// Notes that a new sandbox begins with what [`Docker::snapshot`] has noted.
    pub async fn adopt(&self, from: &Path, id: &str) -> Result<(), RuntimeError> {
        check_id(id)?;
        let missing = || io("copy from", from)(std::io::ErrorKind::NotFound.into());
        let mut state = State::read(from)?.ok_or_else(missing)?;
        state.image = self.inner.tag(&state.image, &format!("sandbox-{id}-{}", random())).await?;
        (state.own, state.container) = (true, None);
        state.write(&self.sandbox_dir(id))
    }

    /// Notes that a new sandbox begins with the files of a stopped or frozen one.
    pub async fn copy(&self, id: &str, new: &str) -> Result<(), RuntimeError> {
        check_id(new)?;
        self.inner.copied(id, &format!("sandbox-{new}-{}", random())).await?.write(&self.sandbox_dir(new))
    }

    /// Packs a stopped sandbox away: into an image, without a container. The sandbox itself stays.
    pub async fn pack(&self, id: &str) -> Result<(), RuntimeError> {
        self.delete_archive(id).await?;
        self.inner.copied(id, &format!("archive-{id}-{}", random())).await?.write(&self.archive_file(id))
    }

    /// Makes the stored state of a sandbox from its archive, which stays.
    pub async fn unpack(&self, id: &str) -> Result<(), RuntimeError> {
        self.adopt(&self.archive_file(id), id).await
    }

    /// Deletes the archive of a sandbox. One that does not exist is fine.
    pub async fn delete_archive(&self, id: &str) -> Result<(), RuntimeError> {
        check_id(id)?;
        self.delete_folder(&self.archive_file(id)).await
    }

    /// Deletes what a sandbox that does not run has stored. None is fine.
    pub async fn delete_stored(&self, id: &str) -> Result<(), RuntimeError> {
        check_id(id)?;
        self.delete_folder(&self.sandbox_dir(id)).await
    }

    /// Ends a sandbox and deletes what it stored and its archive. One that does not exist is fine.
    pub async fn destroy(&self, id: &str) -> Result<(), RuntimeError> {
        self.stop(id, true).await?;
        self.delete_stored(id).await?;
        self.delete_archive(id).await
    }

    /// Deletes a folder of the data directory, and what it notes in the engine. One that does not exist is fine.
    pub async fn delete_folder(&self, dir: &Path) -> Result<(), RuntimeError> {
        let state = State::read(dir).ok().flatten();
        if let Some((container, _)) = state.as_ref().and_then(|state| state.container.as_ref()) {
            self.inner.remove_own(container).await?;
        }
        let (path, trash) = (dir.to_owned(), self.inner.data_dir.join("trash"));
        blocking(move || {
            let trash = trash.join(random());
            fs::create_dir_all(&trash).map_err(io("delete", &path))?;
            match fs::rename(&path, trash.join("it")) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(io("delete", &path)(error)),
                _ => {}
            }
            daytona_runtime::remove_tree(&trash).map_err(io("delete", &path))
        })
        .await?;
        if let Some(state) = state.filter(|state| state.own) {
            self.inner.remove_image(&state.image).await;
        }
        Ok(())
    }

    /// Bytes that what a folder of the data directory notes takes on disk.
    pub async fn size_of(&self, dir: &Path) -> Result<u64, RuntimeError> {
        let dir = dir.to_owned();
        blocking(move || Ok(State::read(&dir)?.map_or(0, |state| state.size))).await
    }

    /// Where sandboxes are packed away.
    pub fn archives(&self) -> PathBuf {
        self.inner.data_dir.join("archives")
    }

    /// Where a sandbox is packed away.
    pub fn archive_file(&self, id: &str) -> PathBuf {
        self.archives().join(id)
    }
}

impl Inner {
    /// Makes an image of a sandbox in which nothing moves.
    async fn copied(&self, id: &str, tag: &str) -> Result<State, RuntimeError> {
        check_id(id)?;
        if self.live().get(id).is_some_and(|live| !live.frozen) {
            return Err(RuntimeError::Invalid(format!("sandbox {id} is running: stop or freeze it first")));
        }
        let not_found = || RuntimeError::NotFound { id: id.to_owned() };
        let mut state = State::read(&self.sandbox_dir(id))?.ok_or_else(not_found)?;
        state.image = match &state.container {
            Some((container, _)) => match self.find(container).await? {
                Some(found) => self.commit(&found, tag).await?,
                None => return Err(RuntimeError::Lost(self.loss(&state).await?)),
            },
            None => self.tag(&state.image, tag).await?,
        };
        (state.own, state.container) = (true, None);
        let size = self.image(&state.image).await?.and_then(|image| image.size).unwrap_or(0);
        state.size = u64::try_from(size).unwrap_or(0);
        Ok(state)
    }
}
