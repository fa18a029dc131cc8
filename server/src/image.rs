//! What the roots of sandboxes are made of.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use daytona_docker::Login;
use daytona_images::{Credentials, GcOptions, Image, PullOptions, Store, StoreOptions};
use daytona_runtime::{ImageSpec, RuntimeError, RuntimeKind};
use serde::{Deserialize, Serialize};

use crate::App;
use crate::backend::Backend;
use crate::config::ImageOptions;

/// The images of a server.
pub(crate) struct Images {
    options: ImageOptions,
    /// None where sandboxes have no file system of their own.
    store: Option<Store>,
}

impl Images {
    /// Opens the store; blocks.
    pub(crate) fn open(data_dir: &Path, options: ImageOptions, runtime: &Backend) -> Result<Self, String> {
        let root = runtime.probe().root;
        let store = match runtime.kind() {
            RuntimeKind::Ns => {
                let settings = StoreOptions { user_xattr: !root, keep_owners: root, ..StoreOptions::default() };
                Some(Store::open(data_dir.join("images"), settings).map_err(|error| error.to_string())?)
            }
            RuntimeKind::Process | RuntimeKind::Docker => None,
        };
        Ok(Self { options, store })
    }

    /// This machine's own programs stand in for every base image.
    pub(crate) fn host_fallback(&self) -> bool {
        self.options.host_fallback
    }

    /// The store, or why there is none.
    pub(crate) fn store(&self) -> Result<&Store, String> {
        self.store.as_ref().ok_or_else(|| {
            "images need sandboxes with a file system of their own, and the runtime `process` has none: run the server \
             with --runtime ns where the machine allows that"
                .to_owned()
        })
    }

    /// How images are pulled.
    pub(crate) fn pull_options(&self) -> PullOptions {
        let mut options = PullOptions::default();
        if !self.options.mirrors.is_empty() {
            options.mirrors.insert("docker.io".to_owned(), self.options.mirrors.clone());
        }
        options.credentials = self.options.credentials.iter().map(|(name, own)| (name.clone(), own.clone())).collect();
        options
    }

    /// What the runtime needs to know of a root.
    pub(crate) fn spec(&self, root: &Root) -> Result<ImageSpec, RuntimeError> {
        let layers = match &root.image {
            None => Vec::new(),
            Some(digest) => {
                let store = self.store().map_err(RuntimeError::Invalid)?;
                let gone = || RuntimeError::Invalid(format!("its image {digest} is not in the store any more"));
                store.open_image(digest).ok_or_else(gone)?.lowerdirs()
            }
        };
        Ok(ImageSpec {
            layers,
            host: root.host,
            env: root.env.clone(),
            work_dir: root.work_dir.as_ref().map(Into::into),
            command: root.command.clone(),
        })
    }
}

/// Credentials by registry, for the log: without them.
#[derive(Clone, Default)]
pub struct RegistryCredentials(HashMap<String, Credentials>);

impl std::fmt::Debug for RegistryCredentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl RegistryCredentials {
    /// What an engine of its own is to be told.
    pub(crate) fn logins(&self) -> HashMap<String, Login> {
        let login = |(host, own): (&String, &Credentials)| match own {
            Credentials::Password { user, password } => {
                Some((host.clone(), Login { user: user.clone(), password: password.clone() }))
            }
            Credentials::Token(_) => None,
        };
        self.0.iter().filter_map(login).collect()
    }

    fn iter(&self) -> impl Iterator<Item = (&String, &Credentials)> {
        self.0.iter()
    }

    /// Reads a file in the form of the Docker client's `config.json`: `{"auths": {"registry": {"auth": "base64 of
    /// user:password"}}}`.
    ///
    /// # Errors
    /// What is wrong with it, without its content.
    pub fn read(path: &Path) -> Result<Self, String> {
        use base64::Engine as _;
        use base64::engine::general_purpose::STANDARD;

        #[derive(Deserialize)]
        struct File {
            #[serde(default)]
            auths: BTreeMap<String, Auth>,
        }
        #[derive(Deserialize)]
        struct Auth {
            auth: Option<String>,
        }
        let named = |why: &dyn std::fmt::Display| format!("{}: {why}", path.display());
        let text = std::fs::read(path).map_err(|error| named(&error))?;
        let file: File = serde_json::from_slice(&text).map_err(|_| named(&"is not in the form of a config.json"))?;
        let mut found = HashMap::new();
        for (registry, Auth { auth }) in file.auths {
            let Some(auth) = auth else { continue };
            let pair = STANDARD.decode(auth.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
            let (user, password) = pair
                .as_deref()
                .and_then(|pair| pair.split_once(':'))
                .ok_or_else(|| named(&format!("the auth of {registry} is not the base64 of user:password")))?;
            let name = registry.trim_start_matches("https://").trim_start_matches("http://");
            let name = name.split('/').next().unwrap_or_default();
            // What the Docker client calls its own registry.
            let name = if name == "index.docker.io" { "docker.io" } else { name };
            let credentials = Credentials::Password { user: user.to_owned(), password: password.to_owned().into() };
            found.insert(name.to_owned(), credentials);
        }
        Ok(Self(found))
    }
}

/// What a build has left, and what a sandbox begins with.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Root {
    /// This machine's own programs, in the place of the base image.
    #[serde(default)]
    pub(crate) host: bool,
    /// The image's name in a Docker engine.
    #[serde(default)]
    pub(crate) docker: Option<String>,
    /// Digest of the image in the store; none for the host's view alone.
    #[serde(default)]
    pub(crate) image: Option<String>,
    #[serde(default)]
    pub(crate) size: u64,
    #[serde(default)]
    pub(crate) env: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) work_dir: Option<String>,
    #[serde(default)]
    pub(crate) user: Option<String>,
    /// Entrypoint and its arguments.
    #[serde(default)]
    pub(crate) command: Vec<String>,
}

impl Root {
    pub(crate) fn new(image: &Image, host: bool) -> Self {
        let config = &image.config;
        let given = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
        let pairs = config.env.iter().filter_map(|pair| pair.split_once('='));
        Self {
            host,
            docker: None,
            image: (!image.layers.is_empty()).then(|| image.digest.clone()),
            size: image.size,
            env: pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
            work_dir: given(&config.working_dir),
            user: given(&config.user),
            command: config.entrypoint.iter().chain(&config.cmd).cloned().collect(),
        }
    }
}

impl App {
    /// Removes images that no sandbox and no snapshot is made of; with `all` also the names of those that were pulled,
    /// and the layers of build steps that a next build could use. Blocks.
    pub(crate) fn prune_images(&self, all: bool) -> Result<daytona_images::Freed, String> {
        let Some(store) = &self.images.store else {
            return Ok(daytona_images::Freed::default());
        };
        let mut keep: Vec<String> =
            self.sandboxes.all().iter().filter_map(|one| digest(one.record().image.as_ref())).collect();
        keep.extend(self.snapshots.all().iter().filter_map(|one| digest(one.image.as_ref())));
        keep.extend(crate::lost_found::images(&self.data_dir).0);
        let mut options = GcOptions::default();
        if all {
            options.cache_age = Duration::ZERO;
            for image in store.images() {
                for name in image.names {
                    store.untag(&name).map_err(|error| error.to_string())?;
                }
            }
        }
        store.gc(&keep, &options).map_err(|error| error.to_string())
    }
}

/// How often what nothing needs any more is removed by itself; not at once, when a start has more to do.
const COLLECTION: Duration = Duration::from_secs(6 * 3600);
const FIRST_COLLECTION: Duration = Duration::from_secs(60);

/// Removes images and contexts that nothing needs any more, and what is in `lost+found` for long, now and again; runs
/// until it is dropped.
pub(crate) async fn collect(app: Arc<App>) {
    tokio::time::sleep(FIRST_COLLECTION).await;
    loop {
        let blocking = Arc::clone(&app);
        let collected = tokio::task::spawn_blocking(move || {
            blocking.storage.clean();
            blocking.prune_images(false)
        });
        match collected.await.map_err(|error| error.to_string()).flatten() {
            Ok(freed) if freed.layers > 0 => tracing::info!(layers = freed.layers, bytes = freed.bytes, "collected"),
            Ok(_) => {}
            Err(error) => tracing::warn!(error, "images that nothing needs could not be removed"),
        }
        crate::leftovers::expire(&app).await;
        tokio::time::sleep(COLLECTION).await;
    }
}

fn digest(root: Option<&Root>) -> Option<String> {
    root?.image.clone()
}

/// The user of a sandbox where none is asked for.
pub(crate) fn user(root: &Root, roots: bool) -> String {
    match &root.user {
        Some(user) => user.clone(),
        // The engine's to say: an image may have no list of users.
        None if root.docker.is_some() => String::new(),
        // As in the default snapshot.
        None if root.host => "daytona".to_owned(),
        // As a container's engine does it.
        None if roots => "root".to_owned(),
        None => "daytona".to_owned(),
    }
}

/// What is said where this machine's own programs stand in for an image.
pub(crate) const HOST_VIEW: &str = "host view: this machine's own programs stand in for the base image \
                                    (--image-fallback host)";

/// An image name that may be asked for: with a tag or a digest, and not `latest`, which means another image
/// every day.
pub(crate) fn check_name(name: &str) -> Result<(), String> {
    let fine = |c: char| c.is_ascii_alphanumeric() || "._-/:@+".contains(c);
    if name.is_empty() || name.len() > 512 || !name.chars().all(fine) {
        return Err(format!("{name:?} is no name of an image"));
    }
    if name.contains('@') {
        return Ok(());
    }
    let last = name.rsplit('/').next().unwrap_or_default();
    match last.split_once(':') {
        Some((_, "latest")) => {
            Err(format!("the tag \"latest\" of {name} is not allowed: name a version, e.g. debian:12.9"))
        }
        Some((repository, tag)) if !repository.is_empty() && !tag.is_empty() => Ok(()),
        _ => Err(format!("the image {name} needs a tag or a digest, e.g. debian:12.9")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn image_names_carry_a_version() {
        for good in ["debian:12.9", "127.0.0.1:5000/debian:12", "a/b@sha256:00", "ghcr.io/a/b:v1"] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for bad in ["", "debian", "debian:latest", "127.0.0.1:5000/debian", "a b:1", "x:"] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }
}
