use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{BufReader, Read, Seek as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _};
use secrecy::SecretString;
use serde::Deserialize;

use crate::digest::HashRead;
use crate::error::Context as _;
use crate::image::{Config, Layer};
use crate::progress::Event;
use crate::registry::{Registry, sources};
use crate::store::{Inner, Lease};
use crate::unpack::unpack;
use crate::{Error, Image, ImageRef, Progress, Result, Store, digest, download};

/// Layers at once: more gain nothing, as unpacking is what takes the time.
const LAYERS_AT_ONCE: usize = 3;
const CONFIG_BYTES: u64 = 8 << 20;
/// An index may name an index.
const INDEX_DEPTH: usize = 3;

/// What a registry is told about who asks.
#[derive(Clone, Debug)]
pub enum Credentials {
    /// Name and password, or the token that stands for it.
    Password {
        /// Name.
        user: String,
        /// Password.
        password: SecretString,
    },
    /// A bearer token of the registry itself.
    Token(SecretString),
}

/// How to pull.
#[derive(Clone, Debug)]
pub struct PullOptions {
    /// By registry, as host and port; Docker Hub is `docker.io`. A mirror is asked with its own, never with those of the
    /// registry that it stands for.
    pub credentials: HashMap<String, Credentials>,
    /// By registry: hosts, perhaps with a port and a path before the repository, that are asked before it, in order.
    pub mirrors: HashMap<String, Vec<String>>,
    /// Registries that speak plain HTTP, as host and port. Those of loopback addresses do without being named.
    pub insecure: Vec<String>,
    /// `os/architecture[/variant]`; this machine's where none is given.
    pub platform: Option<String>,
    /// Ask the registry even where the store has an image of this name.
    pub refresh: bool,
    /// The longest silence of a registry before the connection is given up and made again; 30 s by default.
    pub idle: Duration,
    /// How often a connection is made again for one blob without a byte gained; 4 by default.
    pub retries: u32,
}

impl Default for PullOptions {
    fn default() -> Self {
        Self {
            credentials: HashMap::new(),
            mirrors: HashMap::new(),
            insecure: Vec::new(),
            platform: None,
            refresh: false,
            idle: Duration::from_secs(30),
            retries: 4,
        }
    }
}

/// What a manifest says of a blob.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    #[serde(default)]
    pub(crate) media_type: String,
    pub(crate) digest: String,
    pub(crate) size: u64,
    platform: Option<Platform>,
}

#[derive(Clone, Debug, Deserialize)]
struct Platform {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    variant: String,
}

/// A manifest of either kind.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    schema_version: u32,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    manifests: Option<Vec<Descriptor>>,
}

#[derive(Deserialize)]
struct ConfigFile {
    #[serde(default)]
    config: Option<Config>,
    rootfs: RootFs,
}

#[derive(Deserialize)]
struct RootFs {
    #[serde(default)]
    diff_ids: Option<Vec<String>>,
}

/// The manifest of one image, and who has it.
struct Resolved {
    digest: String,
    config: Descriptor,
    layers: Vec<Descriptor>,
    sources: Vec<Registry>,
}

impl Store {
    /// Brings an image into the store, under its full name. Without [`refresh`](PullOptions::refresh) one that is there
    /// is taken as it is. Dropping the future ends the work; what has arrived is of use to the next pull. Two pulls of
    /// one layer at once share the download.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Unauthorized`], [`Error::Unreachable`], [`Error::Corrupt`], [`Error::NoSpace`],
    /// [`Error::TooLarge`], [`Error::Unsupported`], [`Error::Io`].
    pub async fn pull(&self, name: &ImageRef, options: &PullOptions, progress: &dyn Progress) -> Result<Image> {
        let full = match &options.platform {
            Some(platform) if *platform != this_platform() => format!("{name} ({platform})"),
            _ => name.to_string(),
        };
        if (!options.refresh || name.digest().is_some())
            && let Some(image) = self.image(&full)
        {
            return Ok(image);
        }
        let resolved = resolve(name, options, progress).await?;
        let image = match self.open_image(&resolved.digest) {
            Some(image) => image,
            None => self.fetch(resolved, options, progress).await?,
        };
        let (store, tagged) = (self.clone(), image.clone());
        blocking(move || store.tag(&full, &tagged)).await?;
        Ok(image)
    }

    async fn fetch(&self, image: Resolved, options: &PullOptions, progress: &dyn Progress) -> Result<Image> {
        let Resolved { digest, config, layers, sources } = image;
        let config = read_config(&self.inner, &sources, &config, options).await?;
        let diff_ids = config.rootfs.diff_ids.unwrap_or_default();
        if diff_ids.len() != layers.len() || diff_ids.iter().any(|id| !digest::valid(id)) {
            return Err(Error::Corrupt {
                what: format!("the configuration of {digest}"),
                expected: format!("{} digests of layers", layers.len()),
                got: format!("{}", diff_ids.len()),
            });
        }
        let most = self.inner.options.limits.layers;
        if layers.len() > most {
            return Err(Error::TooLarge { what: format!("the image {digest}"), limit: format!("{most} layers") });
        }
        progress.event(Event::Resolved {
            digest: digest.clone(),
            layers: layers.len(),
            bytes: layers.iter().map(|layer| layer.size).sum(),
        });
        // Of equal layers the upper one shows all that the lower one does, and an overlay refuses a folder twice.
        let mut seen = HashSet::new();
        let mut wanted: Vec<_> =
            layers.into_iter().zip(diff_ids).rev().filter(|(_, diff_id)| seen.insert(diff_id.clone())).collect();
        wanted.reverse();
        let sources = &sources;
        let done: Vec<(Layer, Lease)> = futures_util::stream::iter(wanted)
            .map(|(blob, diff_id)| self.layer(sources, blob, diff_id, options, progress))
            .buffered(LAYERS_AT_ONCE)
            .try_collect()
            .await?;
        let mut lease = Lease::default();
        let mut layers = Vec::with_capacity(done.len());
        for (layer, held) in done {
            layers.push(layer);
            lease.extend(held);
        }
        let (inner, config) = (Arc::clone(&self.inner), config.config.unwrap_or_default());
        blocking(move || inner.put_image(&digest, &config, &layers, lease)).await
    }

    async fn layer(
        &self,
        sources: &[Registry],
        blob: Descriptor,
        diff_id: String,
        options: &PullOptions,
        progress: &dyn Progress,
    ) -> Result<(Layer, Lease)> {
        let inner = &self.inner;
        let guard = inner.lock(&format!("layer {diff_id}")).await;
        if let Some(found) = inner.layer(&diff_id) {
            progress.event(Event::Exists { layer: blob.digest });
            return Ok(found);
        }
        let path = download::blob(inner, sources, &blob, options, progress).await?;
        progress.event(Event::Unpacking { layer: blob.digest.clone() });
        let cancel = Cancel::default();
        let (inner, cancelled, layer) = (Arc::clone(inner), Arc::clone(&cancel.0), blob.digest.clone());
        let done = blocking(move || {
            let unpacked = unpack_blob(&inner, &path, &layer, &diff_id, &cancelled);
            if !matches!(unpacked, Err(Error::Cancelled)) {
                let _ = std::fs::remove_file(&path);
            }
            drop(guard);
            unpacked
        })
        .await?;
        progress.event(Event::Done { layer: blob.digest });
        Ok(done)
    }
}

fn unpack_blob(
    inner: &Inner,
    path: &Path,
    blob: &str,
    diff_id: &str,
    cancelled: &AtomicBool,
) -> Result<(Layer, Lease)> {
    let scratch = inner.scratch()?;
    let done = unpack_into(inner, scratch.path(), path, blob, diff_id, cancelled);
    // At once, so that who hears of a full disk finds the room given back.
    scratch.remove();
    done
}

fn unpack_into(
    inner: &Inner,
    scratch: &Path,
    path: &Path,
    blob: &str,
    diff_id: &str,
    cancelled: &AtomicBool,
) -> Result<(Layer, Lease)> {
    let folder = scratch.join("fs");
    std::fs::create_dir(&folder).context(|| format!("making {}", folder.display()))?;
    let file = File::open(path).context(|| format!("reading {}", path.display()))?;
    let mut reader = HashRead::new(decompressed(file).context(|| format!("reading {}", path.display()))?);
    let named = |error| match error {
        Error::Corrupt { expected, got, .. } => Error::Corrupt { what: format!("the layer {blob}"), expected, got },
        Error::TooLarge { limit, .. } => Error::TooLarge { what: format!("the layer {blob}"), limit },
        other => other,
    };
    let size = unpack(&mut reader, &folder, &inner.options, cancelled).map_err(named)?;
    let got = reader.finish();
    if got != diff_id {
        let what = format!("the unpacked layer {blob}");
        return Err(Error::Corrupt { what, expected: diff_id.to_owned(), got });
    }
    inner.commit(&folder, diff_id, size)
}

/// What an xz file may ask for to be unpacked, in KiB: four times as much as `xz -9` makes it ask for.
pub(crate) const XZ_MEMORY: u32 = 256 << 10;

/// What is in a packed file, or the file itself: by its first bytes, as media types are not always right.
pub(crate) fn decompressed(mut file: File) -> std::io::Result<Box<dyn Read>> {
    let mut magic = Vec::new();
    file.by_ref().take(6).read_to_end(&mut magic)?;
    file.rewind()?;
    let file = BufReader::with_capacity(256 << 10, file);
    Ok(match magic[..] {
        [0x1f, 0x8b, ..] => Box::new(flate2::bufread::MultiGzDecoder::new(file)),
        [b'B', b'Z', b'h', ..] => Box::new(bzip2::bufread::MultiBzDecoder::new(file)),
        [0xfd, b'7', b'z', b'X', b'Z', 0] => Box::new(lzma_rust2::XzReader::new_mem_limit(file, true, XZ_MEMORY)),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Box::new(zstd::stream::read::Decoder::with_buffer(file)?),
        _ => Box::new(file),
    })
}

/// Tells a thread that nobody waits for it any more.
#[derive(Default)]
pub(crate) struct Cancel(pub(crate) Arc<AtomicBool>);

impl Drop for Cancel {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Runs what blocks in a thread for it.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|_| Error::Cancelled)?
}

/// This machine, in the words of registries.
pub(crate) fn this_platform() -> String {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        other => other,
    };
    format!("linux/{architecture}")
}

async fn resolve(name: &ImageRef, options: &PullOptions, progress: &dyn Progress) -> Result<Resolved> {
    let mut sources = sources(name, options)?;
    let mut errors: Vec<Error> = Vec::new();
    let mut at = 0;
    loop {
        match manifest(&sources[at], name, options).await {
            Ok((digest, config, layers)) => {
                // Mirrors that have failed are not asked for blobs.
                sources.drain(..at);
                return Ok(Resolved { digest, config, layers, sources });
            }
            Err(error) => {
                at += 1;
                let last = at == sources.len();
                if !last {
                    progress.event(Event::Retrying { why: format!("{error}; trying {}", sources[at].host) });
                }
                errors.push(error);
                if last {
                    // What the registry itself says counts, unless a mirror knew more than that it is not there.
                    return Err(errors.pop().unwrap_or(Error::Cancelled));
                }
            }
        }
    }
}

async fn manifest(
    source: &Registry,
    name: &ImageRef,
    options: &PullOptions,
) -> Result<(String, Descriptor, Vec<Descriptor>)> {
    let platform = options.platform.clone().unwrap_or_else(this_platform);
    let mut digest = None;
    for _ in 0..INDEX_DEPTH {
        let (bytes, got) = source.manifest(digest.as_deref()).await?;
        let what = || format!("the manifest of {name}");
        let manifest: Manifest = serde_json::from_slice(&bytes).map_err(|error| Error::Corrupt {
            what: what(),
            expected: "a manifest".to_owned(),
            got: error.to_string(),
        })?;
        if manifest.schema_version != 2 {
            let what = format!("{} (schema version {})", what(), manifest.schema_version);
            return Err(Error::Unsupported { what, line: None });
        }
        if let Some(manifests) = manifest.manifests {
            digest = Some(choose(&manifests, &platform, name)?);
            continue;
        }
        let (Some(config), Some(layers)) = (manifest.config, manifest.layers) else {
            return Err(Error::Corrupt {
                what: what(),
                expected: "a configuration and layers".to_owned(),
                got: "neither an image nor an index".to_owned(),
            });
        };
        check(&config, &layers, name)?;
        return Ok((got, config, layers));
    }
    Err(Error::Unsupported { what: format!("{name}: an index of indexes of indexes"), line: None })
}

fn check(config: &Descriptor, layers: &[Descriptor], name: &ImageRef) -> Result<()> {
    if !config.media_type.is_empty() && !config.media_type.contains("image") {
        let what = format!("{name}: it is no image but {}", config.media_type);
        return Err(Error::Unsupported { what, line: None });
    }
    for blob in layers.iter().chain([config]) {
        if !digest::valid(&blob.digest) {
            let what = format!("{name}: the digest {:?}", blob.digest);
            return Err(Error::Unsupported { what, line: None });
        }
    }
    for layer in layers {
        let kind = &layer.media_type;
        if kind.contains("encrypted") || !(kind.is_empty() || kind.contains("tar")) {
            return Err(Error::Unsupported { what: format!("{name}: a layer of the type {kind}"), line: None });
        }
    }
    Ok(())
}

/// The manifest for a platform, from an index.
fn choose(manifests: &[Descriptor], platform: &str, name: &ImageRef) -> Result<String> {
    let mut parts = platform.splitn(3, '/');
    let (os, architecture) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let variant = parts.next().unwrap_or(if architecture == "arm64" { "v8" } else { "" });
    let mut fitting: Vec<_> = manifests
        .iter()
        .filter_map(|manifest| Some((manifest, manifest.platform.as_ref()?)))
        .filter(|(_, has)| has.os == os && has.architecture == architecture)
        .collect();
    fitting.sort_by_key(|(_, has)| (has.variant != variant, !has.variant.is_empty()));
    let chosen = match (fitting.first(), manifests) {
        (Some((chosen, _)), _) => chosen,
        (None, [only]) if only.platform.is_none() => only,
        _ => {
            let has: Vec<_> = manifests
                .iter()
                .filter_map(|manifest| manifest.platform.as_ref())
                .filter(|has| has.os != "unknown")
                .map(|has| format!("{}/{}", has.os, has.architecture))
                .collect();
            return Err(Error::NotFound(format!("{name} has no image for {platform}, only for {}", has.join(", "))));
        }
    };
    if !digest::valid(&chosen.digest) {
        return Err(Error::Unsupported { what: format!("{name}: the digest {:?}", chosen.digest), line: None });
    }
    Ok(chosen.digest.clone())
}

async fn read_config(
    inner: &Arc<Inner>,
    sources: &[Registry],
    config: &Descriptor,
    options: &PullOptions,
) -> Result<ConfigFile> {
    if config.size > CONFIG_BYTES {
        return Err(Error::TooLarge { what: "the configuration of the image".to_owned(), limit: "8 MiB".to_owned() });
    }
    // Whoever pulls the same at once must not find the file removed.
    let _guard = inner.lock(&format!("config {}", config.digest)).await;
    let path = download::blob(inner, sources, config, options, &crate::Quiet).await?;
    let bytes = std::fs::read(&path).context(|| format!("reading {}", path.display()))?;
    let _ = std::fs::remove_file(&path);
    serde_json::from_slice(&bytes).map_err(|error| Error::Corrupt {
        what: format!("the configuration {}", config.digest),
        expected: "the configuration of an image".to_owned(),
        got: error.to_string(),
    })
}
