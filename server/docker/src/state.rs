//! What the server's side of a sandbox, snapshot or archive knows of the engine's.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use daytona_runtime::{Network, RuntimeError};
use serde::{Deserialize, Serialize};

use crate::io;

const FILE: &str = "docker.json";

/// Which files a sandbox has, and in which container.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct State {
    /// The image that it begins with.
    pub(crate) image: String,
    /// The image was made for it alone, and goes with it.
    pub(crate) own: bool,
    /// What the image runs, as the agent takes its place.
    pub(crate) entrypoint: Option<Vec<String>>,
    /// Bytes of the image.
    #[serde(default)]
    pub(crate) size: u64,
    /// Its container, once it was started, and how that was made.
    #[serde(default)]
    pub(crate) container: Option<(String, Shape)>,
}

/// What cannot be changed in a container.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Shape {
    /// The data directory; not noted by earlier versions.
    #[serde(default)]
    pub(crate) place: Option<PathBuf>,
    pub(crate) user: String,
    pub(crate) network: Network,
    /// Host folder and path.
    pub(crate) volumes: Vec<(String, String)>,
}

impl Shape {
    /// Whether a container that was made like this is one that is to be like `other`.
    pub(crate) fn is(&self, other: &Self) -> bool {
        let place = self.place.clone().or_else(|| other.place.clone());
        Self { place, ..self.clone() } == *other
    }
}

impl State {
    /// What is noted in a folder.
    pub(crate) fn read(folder: &Path) -> Result<Option<Self>, RuntimeError> {
        let path = folder.join(FILE);
        match fs::read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(io("read", &path)(error)),
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|error| io("read", &path)(error.into())),
        }
    }

    /// Notes it, as a whole or not at all; makes the folder where it is missing.
    pub(crate) fn write(&self, folder: &Path) -> Result<(), RuntimeError> {
        let path = folder.join(FILE);
        let partial = folder.join("docker.json.new");
        let text = serde_json::to_vec(self).map_err(|error| io("write", &path)(error.into()))?;
        make_folder(folder)
            .and_then(|()| fs::write(&partial, text))
            .and_then(|()| fs::File::open(&partial)?.sync_all())
            .and_then(|()| fs::rename(&partial, &path))
            .map_err(io("write", &path))
    }
}

/// Makes a folder that is nobody else's business.
pub(crate) fn make_folder(path: &Path) -> std::io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}
