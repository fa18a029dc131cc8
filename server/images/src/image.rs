use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::store::Lease;

/// An image in the store. While a value of it lives, garbage collection leaves its layers alone.
#[derive(Clone, Debug)]
pub struct Image {
    /// Names it within the store: [`Store::open_image`](crate::Store::open_image). Of a pulled image the digest of its
    /// manifest for this machine, of a built one the digest of its configuration and layers.
    pub digest: String,
    /// How its processes are started.
    pub config: Config,
    /// From the lowest up.
    pub layers: Vec<Layer>,
    /// Bytes of all layers, unpacked.
    pub size: u64,
    /// Keeps the layers.
    pub(crate) lease: Lease,
}

impl Image {
    /// Folders of the layers for an overlay, the uppermost first as `lowerdir=` wants them.
    pub fn lowerdirs(&self) -> Vec<PathBuf> {
        self.layers.iter().rev().map(|layer| layer.path.clone()).collect()
    }
}

/// One layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// Digest of the unpacked tar of a pulled layer; of a built one a random id of the same form.
    pub diff_id: String,
    /// Unpacked folder, fit to be an overlay's lower one. Its name has 32 characters, and all lie in
    /// [`Store::layers_dir`](crate::Store::layers_dir): a mount with relative names has room for a hundred.
    pub path: PathBuf,
    /// Bytes of its files.
    pub size: u64,
}

/// What an image says about its processes, in the words of the OCI specification.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Config {
    /// `NAME=value`, in order.
    #[serde(deserialize_with = "or_default")]
    pub env: Vec<String>,
    /// What is always run; [`cmd`](Self::cmd) follows as its arguments.
    #[serde(deserialize_with = "or_default")]
    pub entrypoint: Vec<String>,
    /// Default arguments, or the default command where there is no entrypoint.
    #[serde(deserialize_with = "or_default")]
    pub cmd: Vec<String>,
    /// Working directory; empty means `/`.
    #[serde(deserialize_with = "or_default")]
    pub working_dir: String,
    /// `user[:group]`, names or numbers; empty means root.
    #[serde(deserialize_with = "or_default")]
    pub user: String,
    /// Labels.
    #[serde(deserialize_with = "or_default")]
    pub labels: BTreeMap<String, String>,
    /// `80/tcp` and the like; the values are empty.
    #[serde(deserialize_with = "or_default")]
    pub exposed_ports: BTreeMap<String, serde_json::Value>,
    /// Paths of volumes; the values are empty.
    #[serde(deserialize_with = "or_default")]
    pub volumes: BTreeMap<String, serde_json::Value>,
    /// Signal that ends it; empty means SIGTERM.
    #[serde(deserialize_with = "or_default")]
    pub stop_signal: String,
    /// Shell of RUN, CMD and ENTRYPOINT in their shell form; empty means `/bin/sh -c`.
    #[serde(deserialize_with = "or_default")]
    pub shell: Vec<String>,
    /// Instructions for images built upon it.
    #[serde(deserialize_with = "or_default")]
    pub on_build: Vec<String>,
}

/// Registries write null where there is nothing.
fn or_default<'de, D: serde::Deserializer<'de>, T: Default + Deserialize<'de>>(from: D) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(from)?.unwrap_or_default())
}

impl Config {
    /// Value of a variable.
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.env.iter().rev().find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
    }

    pub(crate) fn set_variable(&mut self, name: &str, value: &str) {
        let pair = format!("{name}={value}");
        match self.env.iter_mut().find(|have| have.split('=').next() == Some(name)) {
            Some(have) => *have = pair,
            None => self.env.push(pair),
        }
    }
}

/// What the store knows of an image without opening it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageInfo {
    /// See [`Image::digest`].
    pub digest: String,
    /// Names that lead to it.
    pub names: Vec<String>,
    /// Bytes of all layers, unpacked.
    pub size: u64,
    /// Diff ids and bytes of the layers, from the lowest up.
    pub layers: Vec<(String, u64)>,
    /// Seconds since 1970 when it was stored.
    pub created: u64,
}
