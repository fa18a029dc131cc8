//! Images without volumes of their own.
//!
//! What lies at a path that an image names as `VOLUME` lies in no container, and so in no copy of one: it would be
//! missing in forks, snapshots and archives, and wherever a container is made anew. Sandboxes are made of the same
//! image without that.

use std::collections::HashMap;

use bollard::models::{ContainerConfig, ContainerCreateBody, ImageConfig, ImageInspect};
use bollard::query_parameters::{CreateContainerOptions, CreateImageOptionsBuilder, ImportImageOptionsBuilder};
use bytes::Bytes;
use daytona_runtime::RuntimeError;
use daytona_toolbox::container::PROGRAM;
use futures_util::{Stream, StreamExt as _};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::run::random;
use crate::{Inner, LABEL_DATA, LABEL_PART, failed, io};

/// How tags of these images begin.
pub(crate) const PLAIN: &str = "plain-";

/// An image to make containers of.
#[derive(Debug)]
pub(crate) struct Plain {
    pub(crate) name: String,
    /// What the image that it stands for names as its volumes: folders of the container, which have to be there.
    pub(crate) folders: Vec<String>,
}

impl Inner {
    /// The image itself, or what stands for it because it has volumes.
    pub(crate) async fn without_volumes(&self, image: &str) -> Result<Plain, RuntimeError> {
        let missing = || RuntimeError::Invalid(format!("the Docker engine has no image {image}"));
        let found = self.image(image).await?.ok_or_else(missing)?;
        let folders = volumes(&found).to_vec();
        if folders.is_empty() {
            return Ok(Plain { name: image.to_owned(), folders });
        }
        let id = found.id.clone().ok_or_else(missing)?;
        let short: String = id.trim_start_matches("sha256:").chars().take(24).collect();
        let tag = format!("{PLAIN}{short}");
        let name = self.own_image(&tag);
        let _one_at_a_time = self.deriving.lock().await;
        if !self.is_plain(&name).await? {
            if let Err(error) = self.describe_anew(&found, &name).await {
                tracing::debug!(image, %error, "the engine does not take a description alone");
            }
            if !self.is_plain(&name).await? {
                Box::pin(self.copy_anew(&id, found.config.unwrap_or_default(), &tag)).await?;
            }
        }
        Ok(Plain { name, folders })
    }

    async fn is_plain(&self, name: &str) -> Result<bool, RuntimeError> {
        Ok(self.image(name).await?.is_some_and(|image| volumes(&image).is_empty()))
    }

    /// Has the engine load the description of the image, changed; it has the layers. An engine that keeps images in
    /// containerd does not take that.
    async fn describe_anew(&self, image: &ImageInspect, name: &str) -> Result<(), RuntimeError> {
        let layers = image.root_fs.as_ref().and_then(|root| root.layers.clone()).unwrap_or_default();
        let mut config = image.config.clone().unwrap_or_default();
        self.adopt(&mut config);
        let description = json!({
            "architecture": image.architecture,
            "variant": image.variant,
            "os": image.os,
            "created": image.created,
            "author": image.author,
            "config": without_nothing(serde_json::to_value(config).unwrap_or_default()),
            "rootfs": {"type": "layers", "diff_ids": layers},
        });
        let description = without_nothing(description).to_string();
        let digest = Sha256::digest(&description).iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
        let file = format!("{digest}.json");
        let names: Vec<String> = (0..layers.len()).map(|number| format!("{number}/layer.tar")).collect();
        let manifest = json!([{"Config": file, "RepoTags": [name], "Layers": names}]).to_string();
        let pack = || {
            let mut archive = tar::Builder::new(Vec::new());
            for (name, text) in [(file.as_str(), &description), ("manifest.json", &manifest)] {
                let mut header = tar::Header::new_gnu();
                header.set_size(text.len() as u64);
                header.set_mode(0o644);
                archive.append_data(&mut header, name, text.as_bytes())?;
            }
            archive.into_inner()
        };
        let archive = pack().map_err(io("pack", "an image".as_ref()))?;
        let quiet = ImportImageOptionsBuilder::new().quiet(true).build();
        let mut steps = std::pin::pin!(self.engine.import_image(quiet, bollard::body_full(archive.into()), None));
        while let Some(step) = steps.next().await {
            let step = step.map_err(failed("load an image without volumes"))?;
            if let Some(error) = step.error_detail.and_then(|detail| detail.message) {
                let error = bollard::errors::Error::DockerStreamError { error };
                return Err(failed("load an image without volumes")(error));
            }
        }
        Ok(())
    }

    /// Has the engine make an image of the files of another: a copy of all of them.
    async fn copy_anew(&self, image: &str, mut config: ImageConfig, tag: &str) -> Result<(), RuntimeError> {
        const WHAT: &str = "copy an image without its volumes";
        let part = |image: &str| ContainerCreateBody {
            image: Some(image.to_owned()),
            entrypoint: Some(vec![PROGRAM.to_owned()]),
            labels: Some(self.part()),
            ..ContainerCreateBody::default()
        };
        let made = self.engine.create_container(None::<CreateContainerOptions>, part(image)).await;
        let source = made.map_err(failed(WHAT))?.id;
        let copied = format!("{tag}-{}", random());
        let copy = async {
            let options = CreateImageOptionsBuilder::new().from_src("-").repo(&self.repo()).tag(&copied).build();
            let files = bollard::body_try_stream(self.files_of(source.clone()));
            let mut steps = std::pin::pin!(self.engine.create_image(Some(options), Some(files), None));
            while let Some(step) = steps.next().await {
                let step = step.map_err(failed(WHAT))?;
                if let Some(error) = step.error_detail.and_then(|detail| detail.message) {
                    return Err(failed(WHAT)(bollard::errors::Error::DockerStreamError { error }));
                }
            }
            Ok(())
        };
        let copy = copy.await;
        self.remove_container(&source).await?;
        copy?;
        self.adopt(&mut config);
        let copied = self.own_image(&copied);
        let body = ContainerCreateBody {
            user: config.user,
            env: config.env,
            cmd: config.cmd,
            // Without one it would have to run the command.
            entrypoint: config.entrypoint,
            working_dir: config.working_dir,
            labels: config.labels,
            stop_signal: config.stop_signal,
            exposed_ports: config.exposed_ports,
            image: Some(copied.clone()),
            ..ContainerCreateBody::default()
        };
        let described = async {
            let made =
                self.engine.create_container(None::<CreateContainerOptions>, body).await.map_err(failed(WHAT))?;
            let named = self.commit_as(&made.id, ContainerConfig::default(), tag).await;
            self.remove_container(&made.id).await?;
            named.map(drop)
        };
        let described = described.await;
        self.untag(&copied).await;
        described
    }

    /// An archive of all files of a container.
    fn files_of(&self, container: String) -> impl Stream<Item = std::io::Result<Bytes>> + Send + 'static {
        let (sender, pieces) = tokio::sync::mpsc::channel(8);
        let engine = self.engine.clone();
        tokio::spawn(async move {
            let mut files = std::pin::pin!(engine.export_container(&container));
            while let Some(piece) = files.next().await {
                if sender.send(piece.map_err(std::io::Error::other)).await.is_err() {
                    return;
                }
            }
        });
        futures_util::stream::unfold(pieces, |mut pieces| async { Some((pieces.recv().await?, pieces)) })
    }

    /// Takes the volumes from the description of an image, and makes it this data directory's.
    fn adopt(&self, config: &mut ImageConfig) {
        config.volumes = None;
        config.labels.get_or_insert_default().insert(LABEL_DATA.to_owned(), self.names.id.clone());
    }

    /// The labels of a container in which nothing is to run.
    pub(crate) fn part(&self) -> HashMap<String, String> {
        [(LABEL_DATA, self.names.id.as_str()), (LABEL_PART, "true")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into()
    }
}

fn volumes(image: &ImageInspect) -> &[String] {
    image.config.as_ref().and_then(|config| config.volumes.as_deref()).unwrap_or_default()
}

/// The same without fields that say nothing.
fn without_nothing(mut value: Value) -> Value {
    if let Some(fields) = value.as_object_mut() {
        fields.retain(|_, value| !value.is_null());
    }
    value
}
