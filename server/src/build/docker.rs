//! Builds by a Docker engine.

use daytona_docker::Docker;

use super::log::BuildLog;
use crate::App;
use crate::image::Root;
use crate::record::{Build, Record};
use daytona_runtime::RuntimeError;

impl App {
    /// Has the engine build it.
    pub(super) async fn docker_root(&self, docker: &Docker, build: &Build, log: &BuildLog) -> Result<Root, String> {
        let write = |text: &str| log.add(text.as_bytes());
        let image = if let Some(name) = super::only_name(&build.dockerfile).filter(|name| !name.contains('$')) {
            docker.fetch(name, write).await
        } else {
            let contexts = self.storage.contexts(&build.context_hashes)?;
            docker.build(&daytona_docker::Build { dockerfile: build.dockerfile.clone(), contexts }, write).await
        };
        let image = image.map_err(|error| error.to_string())?;
        Ok(Root {
            docker: Some(image.name),
            size: image.size,
            user: image.user,
            command: image.command,
            ..Root::default()
        })
    }

    /// Gives a sandbox that has no files yet those of its image in the engine.
    pub(crate) async fn begin_in_docker(&self, docker: &Docker, record: &Record) -> Result<(), RuntimeError> {
        let Some((root, image)) = record.image.as_ref().and_then(|root| Some((root, root.docker.as_ref()?))) else {
            return Ok(());
        };
        if docker.sandbox_dir(&record.id).exists() {
            return Ok(());
        }
        docker.begin(image, &root.command, &record.id).await
    }
}
