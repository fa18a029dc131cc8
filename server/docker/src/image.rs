//! Images: pulled, made of containers, removed.

use std::collections::HashMap;

use bollard::auth::DockerCredentials;
use bollard::models::{ContainerConfig, ContainerInspectResponse, ImageInspect};
use bollard::query_parameters::{
    CommitContainerOptionsBuilder, CreateImageOptionsBuilder, ListImagesOptionsBuilder, RemoveImageOptionsBuilder,
    TagImageOptionsBuilder,
};
use daytona_runtime::{Loss, RuntimeError};
use futures_util::StreamExt as _;
use secrecy::ExposeSecret as _;

use crate::state::State;
use crate::{Docker, Inner, Login, failed, is_missing, status};

/// Programs that end at once without a terminal: an image that runs one of them runs nothing.
const SHELLS: [&str; 6] = ["sh", "bash", "ash", "zsh", "python3", "node"];

/// Whether a command ends at once without a terminal.
pub(crate) fn idle(command: &[String]) -> bool {
    let shell = |program: &String| SHELLS.contains(&program.rsplit('/').next().unwrap_or_default());
    command.is_empty() || (command.len() == 1 && command.first().is_some_and(shell))
}

/// How a download goes: it says the same for every piece.
#[derive(Default)]
pub(crate) struct Progress(HashMap<Option<String>, String>);

impl Progress {
    /// The line that has not been said yet.
    pub(crate) fn line(&mut self, id: Option<String>, status: Option<String>) -> Option<String> {
        let status = status?;
        let line = id.as_ref().map_or_else(|| format!("{status}\n"), |id| format!("{id}: {status}\n"));
        (self.0.insert(id, status.clone()).as_ref() != Some(&status)).then_some(line)
    }
}

/// The host name of an image's registry.
fn registry(image: &str) -> &str {
    match image.split_once('/') {
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => host,
        _ => "docker.io",
    }
}

impl Docker {
    /// An image by its name, which the engine fetches where it does not have it; `log` gets the output as it comes.
    pub async fn fetch(&self, image: &str, log: impl FnMut(&str) + Send) -> Result<crate::Image, RuntimeError> {
        let inner = &self.inner;
        if inner.image(image).await?.is_none() {
            inner.pull(image, log).await?;
        }
        let gone = || RuntimeError::Invalid(format!("the Docker engine has no image {image}"));
        let id = inner.image(image).await?.and_then(|found| found.id).ok_or_else(gone)?;
        inner.keep(&id).await
    }
}

impl Inner {
    /// The state of a sandbox that is made without an image.
    pub(crate) async fn default_state(&self) -> Result<State, RuntimeError> {
        let Some(image) = &self.settings.image else {
            return Err(RuntimeError::Unsupported {
                op: "a sandbox without an image",
                reason: "the docker runtime has no view of this machine to make it of: create it with image=..., or \
                         start the server with --docker-image IMAGE"
                    .to_owned(),
            });
        };
        if self.image(image).await?.is_none() {
            self.pull(image, |_| {}).await?;
        }
        self.state_of(image, false).await
    }

    /// The state of a sandbox that begins with an image which the engine has.
    pub(crate) async fn state_of(&self, image: &str, own: bool) -> Result<State, RuntimeError> {
        let Some(found) = self.image(image).await? else {
            return Err(RuntimeError::Invalid(format!("the Docker engine has no image {image}")));
        };
        let size = u64::try_from(found.size.unwrap_or(0)).unwrap_or(0);
        let config = found.config.unwrap_or_default();
        let mut command = config.entrypoint.unwrap_or_default();
        command.extend(config.cmd.unwrap_or_default());
        let entrypoint = (!idle(&command)).then_some(command);
        Ok(State { image: image.to_owned(), own, entrypoint, size, container: None })
    }

    pub(crate) async fn image(&self, image: &str) -> Result<Option<ImageInspect>, RuntimeError> {
        match self.engine.inspect_image(image).await {
            Ok(found) => Ok(Some(found)),
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => Err(failed(format!("find the image {image}"))(error)),
        }
    }

    /// What the engine is to say to registries.
    pub(crate) fn logins(&self) -> HashMap<String, DockerCredentials> {
        let named = |(host, login): (&String, &Login)| {
            let address = if host == "docker.io" { "https://index.docker.io/v1/" } else { host.as_str() }.to_owned();
            let credentials = DockerCredentials {
                username: Some(login.user.clone()),
                password: Some(login.password.expose_secret().to_owned()),
                serveraddress: Some(address.clone()),
                ..DockerCredentials::default()
            };
            (address, credentials)
        };
        self.settings.logins.iter().map(named).collect()
    }

    async fn pull(&self, image: &str, mut log: impl FnMut(&str)) -> Result<(), RuntimeError> {
        // Without a tag the engine would fetch all of them.
        let (name, tag) = match image.split_once('@') {
            Some(_) => (image, ""),
            None => match image.rsplit_once(':') {
                Some((name, tag)) if !tag.contains('/') => (name, tag),
                _ => (image, "latest"),
            },
        };
        let options = CreateImageOptionsBuilder::new().from_image(name).tag(tag).build();
        let host = match registry(image) {
            "docker.io" => "https://index.docker.io/v1/",
            host => host,
        };
        let login = self.logins().remove(host);
        let mut progress = std::pin::pin!(self.engine.create_image(Some(options), None, login));
        let mut said = Progress::default();
        while let Some(step) = progress.next().await {
            let step = step.map_err(failed(format!("pull the image {image}")))?;
            if let Some(message) = step.error_detail.and_then(|detail| detail.message) {
                return Err(failed(format!("pull the image {image}"))(bollard::errors::Error::DockerStreamError {
                    error: message,
                }));
            }
            if let Some(line) = said.line(step.id, step.status) {
                log(&line);
            }
        }
        Ok(())
    }

    /// How images of this data directory are named.
    pub(crate) fn repo(&self) -> String {
        format!("daytona-native/{}", self.names.id)
    }

    /// The name of an image of this data directory.
    pub(crate) fn own_image(&self, tag: &str) -> String {
        format!("{}:{tag}", self.repo())
    }

    /// Makes an image of what a container has stored; nothing may move in it.
    pub(crate) async fn commit(&self, found: &ContainerInspectResponse, tag: &str) -> Result<String, RuntimeError> {
        let mounts = found.mounts.iter().flatten().filter(|mount| mount.typ.as_deref() == Some("volume"));
        let outside: Vec<&str> = mounts.filter_map(|mount| mount.destination.as_deref()).collect();
        if !outside.is_empty() {
            return Err(RuntimeError::Invalid(format!(
                "its files in {} are in volumes of the Docker engine, as the version that made its container let them \
                 be, and would be missing in a copy of it: copy them to another folder of it first, or leave it as it is",
                outside.join(", ")
            )));
        }
        self.commit_as(found.id.as_deref().unwrap_or_default(), ContainerConfig::default(), tag).await
    }

    pub(crate) async fn commit_as(
        &self,
        container: &str,
        config: ContainerConfig,
        tag: &str,
    ) -> Result<String, RuntimeError> {
        let options = CommitContainerOptionsBuilder::new().container(container).repo(&self.repo()).tag(tag);
        let made = self.engine.commit_container(options.pause(false).build(), config).await;
        made.map_err(failed("make an image of the container"))?;
        Ok(self.own_image(tag))
    }

    /// Gives an image another name, of this data directory.
    pub(crate) async fn tag(&self, image: &str, tag: &str) -> Result<String, RuntimeError> {
        let options = TagImageOptionsBuilder::new().repo(&self.repo()).tag(tag).build();
        match self.engine.tag_image(image, Some(options)).await {
            Ok(()) => Ok(self.own_image(tag)),
            Err(error) if is_missing(&error) => Err(RuntimeError::Lost(Loss {
                what: format!("its image {image} was removed from the Docker engine"),
                instead: None,
            })),
            Err(error) => Err(failed(format!("name the image {image}"))(error)),
        }
    }

    /// Removes the name of an image of this data directory, and the image where nothing is left that needs it.
    pub(crate) async fn remove_image(&self, image: &str) {
        if image.strip_prefix(&self.repo()).is_some_and(|rest| rest.starts_with(':')) {
            self.untag(image).await;
        }
    }

    /// The same for any name.
    pub(crate) async fn untag(&self, image: &str) {
        // What a container is made of, running or not, stays.
        let options = RemoveImageOptionsBuilder::new().build();
        match self.engine.remove_image(image, Some(options), None).await {
            Ok(_) => {}
            Err(error) if matches!(status(&error), Some(404 | 409)) => {}
            Err(error) => tracing::warn!(image, %error, "an image could not be removed"),
        }
    }

    /// Removes images without a name that were made here and are not needed any more.
    pub(crate) async fn sweep_images(&self) {
        let mut filters = self.own();
        filters.insert("dangling".to_owned(), vec!["true".to_owned()]);
        let options = ListImagesOptionsBuilder::new().filters(&filters).build();
        for image in self.engine.list_images(Some(options)).await.unwrap_or_default() {
            // What a container or another image needs stays.
            let options = RemoveImageOptionsBuilder::new().build();
            let _ = self.engine.remove_image(&image.id, Some(options), None).await;
        }
    }
}
