//! Images built by the engine.

use std::collections::HashSet;
use std::io::{self as stdio, Read as _};
use std::path::{Path, PathBuf};

use bollard::query_parameters::BuildImageOptionsBuilder;
use bytes::Bytes;
use daytona_runtime::RuntimeError;
use futures_util::StreamExt as _;

use crate::run::random;
use crate::{Docker, LABEL_DATA, failed, io};

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
/// Bytes of the context that are sent at once.
const PIECE: usize = 256 << 10;

impl Docker {
    /// Has the engine build an image and notes it in the new folder `dest`; `log` gets the output as it comes.
    ///
    /// The engine's own cache makes an equal build quick. Dropping the future ends the build.
    pub async fn build(
        &self,
        build: &Build,
        dest: &Path,
        mut log: impl FnMut(&str) + Send,
    ) -> Result<(), RuntimeError> {
        let context = tempfile(&self.inner.data_dir, build).await?;
        let tag = format!("build-{}", random());
        let name = self.inner.own_image(&tag);
        let labels = std::collections::HashMap::from([(LABEL_DATA.to_owned(), self.inner.name.clone())]);
        let network = self.inner.settings.network.as_deref().unwrap_or("default");
        let network = if network == "bridge" { "default" } else { network };
        let options = BuildImageOptionsBuilder::new()
            .dockerfile(DOCKERFILE)
            .t(&name)
            .labels(&labels)
            .networkmode(network)
            .rm(true)
            .forcerm(true)
            .build();
        let body = bollard::body_try_stream(pieces(context));
        let mut steps = std::pin::pin!(self.inner.engine.build_image(options, None, Some(body)));
        while let Some(step) = steps.next().await {
            let step = step.map_err(failed("build the image"))?;
            if let Some(detail) = step.error_detail {
                let error = detail.message.unwrap_or_default();
                return Err(failed("build the image")(bollard::errors::Error::DockerStreamError { error }));
            }
            if let Some(text) = step.stream.or_else(|| step.status.map(|status| format!("{status}\n"))) {
                log(&text);
            }
        }
        self.inner.state_of(&name, true).await?.write(dest)
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
