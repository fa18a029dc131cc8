//! Images built by the engine.

use std::collections::{HashMap, HashSet};
use std::io::{self as stdio, Read as _, Write as _};
use std::path::{Path, PathBuf};

use bollard::query_parameters::{BuildImageOptionsBuilder, ListImagesOptionsBuilder};
use bytes::Bytes;
use daytona_runtime::RuntimeError;
use futures_util::StreamExt as _;

use crate::image::{Progress, idle};
use crate::plain::PLAIN;
use crate::run::random;
use crate::{Docker, Inner, LABEL_DATA, failed, io};

/// What an image is built of.
#[derive(Clone, Debug)]
pub struct Build {
    /// The text of the Dockerfile.
    pub dockerfile: String,
    /// Tar archives whose files `COPY` and `ADD` take, later ones over earlier ones.
    pub contexts: Vec<PathBuf>,
}

/// The name of the Dockerfile among the files of the contexts.
const DOCKERFILE: &str = ".daytona.Dockerfile";
/// How tags of built images begin.
const BUILT: &str = "build-";
/// Bytes of the context that are sent at once.
const PIECE: usize = 256 << 10;

/// An image that the engine has.
#[derive(Clone, Debug)]
pub struct Image {
    /// Its name.
    pub name: String,
    /// The user it names.
    pub user: Option<String>,
    /// What it runs.
    pub command: Vec<String>,
    /// Bytes.
    pub size: u64,
}

impl Docker {
    /// Has the engine build an image; `log` gets the output as it comes.
    ///
    /// The engine's own cache makes an equal build quick, with the same image as its result. Dropping the future ends
    /// the build.
    pub async fn build(&self, build: &Build, mut log: impl FnMut(&str) + Send) -> Result<Image, RuntimeError> {
        let inner = &self.inner;
        let context = tempfile(&inner.data_dir, build).await?;
        let labels = HashMap::from([(LABEL_DATA.to_owned(), inner.names.id.clone())]);
        // What a sandbox may reach, its build may.
        let network = inner.settings.network.as_deref().filter(|network| *network != "bridge").unwrap_or("default");
        let options = BuildImageOptionsBuilder::new()
            .dockerfile(DOCKERFILE)
            .labels(&labels)
            .networkmode(network)
            .rm(true)
            .forcerm(true)
            .build();
        let body = bollard::body_try_stream(pieces(context));
        let mut steps = std::pin::pin!(inner.engine.build_image(options, Some(inner.logins()), Some(body)));
        let broken = |error| failed("build the image")(bollard::errors::Error::DockerStreamError { error });
        let mut id = None;
        let mut said = Progress::default();
        while let Some(step) = steps.next().await {
            let step = step.map_err(failed("build the image"))?;
            if let Some(detail) = step.error_detail {
                return Err(broken(detail.message.unwrap_or_default()));
            }
            id = step.aux.and_then(|image| image.id).or(id);
            if let Some(text) = step.stream.or_else(|| said.line(step.id, step.status)) {
                log(&text);
            }
        }
        let id = id.ok_or_else(|| broken("the engine does not name the image that it has built".to_owned()))?;
        inner.keep(&id).await
    }

    /// Notes that a new sandbox begins with an image, and what it runs.
    pub async fn begin(&self, image: &str, command: &[String], id: &str) -> Result<(), RuntimeError> {
        crate::check_id(id)?;
        let mut state = self.inner.state_of(image, false).await?;
        state.entrypoint = (!idle(command)).then(|| command.to_vec());
        state.write(&self.inner.sandbox_dir(id))
    }

    /// Notes that what was made of a built image is deleted; [`Docker::keep_built`] removes it, unless it is among those
    /// to keep.
    pub async fn let_go_of(&self, image: &str) {
        let (path, line) = (self.unneeded(), format!("{image}\n"));
        let note = crate::run::blocking(move || {
            let append = |mut file: std::fs::File| file.write_all(line.as_bytes());
            let opened = std::fs::File::options().append(true).create(true).open(&path);
            opened.and_then(append).map_err(io("write", &path))
        });
        if let Err(error) = note.await {
            tracing::warn!("{error}");
        }
    }

    /// Removes what was built, was let go of and is not among these. What nobody has let go of stays: records may be
    /// older than it is, where they were restored.
    pub async fn keep_built(&self, names: &HashSet<&str>) {
        let path = self.unneeded();
        let noted = std::fs::read_to_string(&path).unwrap_or_default();
        for name in noted.lines().filter(|name| !names.contains(name)) {
            self.inner.remove_image(name).await;
        }
        if !noted.is_empty() {
            let _ = std::fs::remove_file(path);
        }
        // What a container is made of stays.
        let options = ListImagesOptionsBuilder::new().filters(&self.inner.own()).build();
        let prefix = self.inner.own_image(PLAIN);
        for image in self.inner.engine.list_images(Some(options)).await.unwrap_or_default() {
            for name in image.repo_tags.iter().filter(|name| name.starts_with(&prefix)) {
                self.inner.remove_image(name).await;
            }
        }
    }

    fn unneeded(&self) -> PathBuf {
        self.inner.data_dir.join("docker").join("unneeded-images")
    }
}

impl Inner {
    /// Gives an image a name of this server's, with which it stays until [`Docker::keep_built`].
    pub(crate) async fn keep(&self, id: &str) -> Result<Image, RuntimeError> {
        let short: String = id.trim_start_matches("sha256:").chars().take(24).collect();
        let name = self.tag(id, &format!("{BUILT}{short}")).await?;
        let gone = || RuntimeError::Invalid(format!("the image {id} was removed from the Docker engine"));
        let found = self.image(&name).await?.ok_or_else(gone)?;
        let size = u64::try_from(found.size.unwrap_or(0)).unwrap_or(0);
        let config = found.config.unwrap_or_default();
        let user = config.user.filter(|user| !user.is_empty());
        let command = [config.entrypoint, config.cmd].into_iter().flatten().flatten().collect();
        Ok(Image { name, user, command, size })
    }
}

/// One archive of all contexts and the Dockerfile, in a file without a name.
async fn tempfile(data_dir: &Path, build: &Build) -> Result<std::fs::File, RuntimeError> {
    let (dir, build) = (data_dir.to_owned(), build.clone());
    crate::run::blocking(move || {
        let what = dir.join("build context");
        join(&dir, &build).map_err(io("write", &what))
    })
    .await
}

fn join(dir: &Path, build: &Build) -> stdio::Result<std::fs::File> {
    let path = dir.join(format!("context-{}", random()));
    let file = std::fs::File::options().read(true).write(true).create_new(true).open(&path)?;
    std::fs::remove_file(&path)?;
    let mut joined = tar::Builder::new(file);
    let mut header = tar::Header::new_gnu();
    header.set_size(build.dockerfile.len() as u64);
    header.set_mode(0o644);
    joined.append_data(&mut header, DOCKERFILE, build.dockerfile.as_bytes())?;
    let mut seen = HashSet::from([PathBuf::from(DOCKERFILE)]);
    for context in build.contexts.iter().rev() {
        let mut archive = tar::Archive::new(std::fs::File::open(context)?);
        for entry in archive.entries()? {
            let mut entry = entry?;
            let path = entry.path()?.into_owned();
            if !seen.insert(path.clone()) {
                continue;
            }
            let mut header = entry.header().clone();
            match entry.link_name()?.map(std::borrow::Cow::into_owned) {
                Some(target) => joined.append_link(&mut header, &path, target)?,
                None => joined.append_data(&mut header, &path, &mut entry)?,
            }
        }
    }
    let mut file = joined.into_inner()?;
    stdio::Seek::rewind(&mut file)?;
    Ok(file)
}

/// The bytes of a file, read where waiting does no harm.
fn pieces(file: std::fs::File) -> impl futures_util::Stream<Item = Result<Bytes, stdio::Error>> + Send + 'static {
    futures_util::stream::unfold(Some(file), |file| async {
        let mut file = file?;
        let read = tokio::task::spawn_blocking(move || {
            let mut piece = vec![0; PIECE];
            let read = file.read(&mut piece);
            (
                file,
                read.map(|read| {
                    piece.truncate(read);
                    Bytes::from(piece)
                }),
            )
        });
        match read.await {
            Ok((_, Ok(piece))) if piece.is_empty() => None,
            Ok((file, Ok(piece))) => Some((Ok(piece), Some(file))),
            Ok((_, Err(error))) => Some((Err(error), None)),
            Err(error) => Some((Err(error.into()), None)),
        }
    })
}
