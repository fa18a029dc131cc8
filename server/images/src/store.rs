//! The store: content-addressed layers, images and their names, as files.
//!
//! `layers/{32 digits}` is an unpacked layer and `layers/{32 digits}.json` the note that it is whole and on the disk; a
//! folder without its note is what a crash left. `images` holds a record an image, `names.json` what leads to them,
//! `cache` which layer a build step made, `downloads` what has arrived of a blob, `mounts` the folders of cache mounts.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::fs::{FlockOperation, flock, syncfs};
use serde::{Deserialize, Serialize};
use tokio::sync::OwnedMutexGuard;

use crate::error::Context as _;
use crate::files::remove_tree;
use crate::image::{Config, Image, ImageInfo, Layer};
use crate::{Error, Result, digest};

/// Bounds on what comes from outside.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes of one layer, unpacked.
    pub layer_bytes: u64,
    /// Files, folders and links of one layer.
    pub layer_entries: u64,
    /// Layers of one image; an overlay of the kernel takes at most 500.
    pub layers: usize,
}

impl Default for Limits {
    /// 64 GiB and four million entries a layer, 127 layers.
    fn default() -> Self {
        Self { layer_bytes: 64 << 30, layer_entries: 4_000_000, layers: 127 }
    }
}

/// How a store unpacks.
#[derive(Clone, Debug, Default)]
pub struct StoreOptions {
    /// Mark opaque folders for an overlay that is mounted with `userxattr`: `user.overlay.opaque` instead of
    /// `trusted.overlay.opaque`.
    pub user_xattr: bool,
    /// Give files the owners that their layer names; needs root. Else all belong to the user of the process, without
    /// set-uid bits, and readable for it.
    pub keep_owners: bool,
    /// Bounds.
    pub limits: Limits,
}

/// A folder of layers and images that one process has open. Clones share it.
#[derive(Clone, Debug)]
pub struct Store {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) dir: PathBuf,
    pub(crate) options: StoreOptions,
    _lock: File,
    state: Mutex<State>,
    locks: Mutex<HashMap<String, Weak<tokio::sync::Mutex<()>>>>,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) layers: HashMap<String, LayerState>,
    pub(crate) images: HashMap<String, Record>,
    pub(crate) names: BTreeMap<String, String>,
    /// Layers of build steps, with when their notes were last used.
    pub(crate) steps: HashMap<String, (String, Instant)>,
    /// Of layers and images, by digest.
    leases: HashMap<String, Weak<Held>>,
}

#[derive(Clone, Debug)]
pub(crate) struct LayerState {
    pub(crate) size: u64,
    made: Instant,
    /// Its note is written.
    durable: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) digest: String,
    pub(crate) config: Config,
    pub(crate) layers: Vec<String>,
    pub(crate) created: u64,
}

#[derive(Serialize, Deserialize)]
struct Note {
    diff_id: String,
    size: u64,
}

/// Keeps what it was given for from being collected.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lease(Vec<Arc<Held>>);

#[derive(Debug)]
pub(crate) struct Held;

impl Lease {
    pub(crate) fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }
}

impl State {
    fn lease(&mut self, key: &str) -> Lease {
        if let Some(held) = self.leases.get(key).and_then(Weak::upgrade) {
            return Lease(vec![held]);
        }
        let held = Arc::new(Held);
        self.leases.insert(key.to_owned(), Arc::downgrade(&held));
        Lease(vec![held])
    }

    pub(crate) fn leased(&self, key: &str) -> bool {
        self.leases.get(key).is_some_and(|held| held.strong_count() > 0)
    }

    pub(crate) fn forget_leases(&mut self) {
        self.leases.retain(|_, held| held.strong_count() > 0);
    }
}

/// A folder below `tmp` that goes with its value.
#[derive(Debug)]
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Removes it in this thread. Blocks.
    pub(crate) fn remove(mut self) {
        let _ = remove_tree(&std::mem::take(&mut self.0));
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let path = std::mem::take(&mut self.0);
        if path.as_os_str().is_empty() {
            return;
        }
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn_blocking(move || remove_tree(&path));
        } else {
            let _ = remove_tree(&path);
        }
    }
}

impl Store {
    /// Opens or makes the store in `dir`, and removes what a crash has left. Blocks.
    ///
    /// # Errors
    /// [`Error::Busy`] where another process has it open; [`Error::Io`].
    pub fn open(dir: impl Into<PathBuf>, options: StoreOptions) -> Result<Self> {
        let dir = dir.into();
        let named = || format!("opening the image store {}", dir.display());
        for name in ["", "layers", "images", "cache", "downloads", "mounts"] {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(dir.join(name)).context(named)?;
        }
        let lock = File::create(dir.join("lock")).context(named)?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(Error::Busy(dir.display().to_string())),
            Err(errno) => return Err(Error::io(named(), errno.into())),
        }
        remove_tree(&dir.join("tmp")).context(named)?;
        fs::DirBuilder::new().mode(0o700).create(dir.join("tmp")).context(named)?;
        let state = load(&dir).context(named)?;
        Ok(Self {
            inner: Arc::new(Inner { dir, options, _lock: lock, state: Mutex::new(state), locks: Mutex::default() }),
        })
    }

    /// The folder in which all layers lie.
    pub fn layers_dir(&self) -> PathBuf {
        self.inner.dir.join("layers")
    }

    /// The image that a name leads to. Names that were pulled lead there in their full form, as
    /// [`ImageRef`](crate::ImageRef) writes it.
    pub fn image(&self, name: &str) -> Option<Image> {
        let mut state = self.inner.state();
        let digest = state.names.get(name)?.clone();
        self.inner.image(&mut state, &digest)
    }

    /// An image by its digest.
    pub fn open_image(&self, digest: &str) -> Option<Image> {
        self.inner.known_image(digest)
    }

    /// All images.
    pub fn images(&self) -> Vec<ImageInfo> {
        let state = self.inner.state();
        let mut images: Vec<_> = state
            .images
            .values()
            .map(|record| {
                let size = |id: &String| state.layers.get(id).map_or(0, |layer| layer.size);
                let layers: Vec<_> = record.layers.iter().map(|id| (id.clone(), size(id))).collect();
                ImageInfo {
                    digest: record.digest.clone(),
                    names: state.names.iter().filter(|(_, d)| **d == record.digest).map(|(n, _)| n.clone()).collect(),
                    size: layers.iter().map(|(_, size)| size).sum(),
                    layers,
                    created: record.created,
                }
            })
            .collect();
        images.sort_by(|a, b| (a.created, &a.digest).cmp(&(b.created, &b.digest)));
        images
    }

    /// Gives an image a name, which no longer leads elsewhere. An image with a name is kept.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::NoSpace`].
    pub fn tag(&self, name: &str, image: &Image) -> Result<()> {
        let mut state = self.inner.state();
        if state.names.get(name) == Some(&image.digest) {
            return Ok(());
        }
        let mut names = state.names.clone();
        names.insert(name.to_owned(), image.digest.clone());
        self.inner.write("names.json", &names)?;
        state.names = names;
        Ok(())
    }

    /// Takes a name away; true if there was one. Its image goes with the next collection, unless something else keeps
    /// it.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::NoSpace`].
    pub fn untag(&self, name: &str) -> Result<bool> {
        let mut state = self.inner.state();
        let mut names = state.names.clone();
        if names.remove(name).is_none() {
            return Ok(false);
        }
        self.inner.write("names.json", &names)?;
        state.names = names;
        Ok(true)
    }
}

impl Inner {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until nobody else works on what the key names.
    pub(crate) async fn lock(&self, key: &str) -> OwnedMutexGuard<()> {
        let lock = {
            let mut locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
            locks.retain(|_, lock| lock.strong_count() > 0);
            let found = locks.get(key).and_then(Weak::upgrade);
            found.unwrap_or_else(|| {
                let lock = Arc::default();
                locks.insert(key.to_owned(), Arc::downgrade(&lock));
                lock
            })
        };
        lock.lock_owned().await
    }

    pub(crate) fn layer_path(&self, diff_id: &str) -> PathBuf {
        self.dir.join("layers").join(short(diff_id))
    }

    /// Keeps what a key names from being collected.
    pub(crate) fn hold(&self, key: &str) -> Lease {
        self.state().lease(key)
    }

    /// A new folder of its own, on the same file system as the layers.
    pub(crate) fn scratch(&self) -> Result<Scratch> {
        let made = tempfile::Builder::new().prefix("w").rand_bytes(12).tempdir_in(self.dir.join("tmp"));
        Ok(Scratch(made.context(|| format!("making a folder in {}", self.dir.display()))?.keep()))
    }

    pub(crate) fn layer(&self, diff_id: &str) -> Option<(Layer, Lease)> {
        let mut state = self.state();
        let size = state.layers.get(diff_id)?.size;
        Some((Layer { diff_id: diff_id.to_owned(), path: self.layer_path(diff_id), size }, state.lease(diff_id)))
    }

    /// Moves an unpacked folder to its place. It is found from now on, and after a crash once it was
    /// [flushed](Self::flush).
    pub(crate) fn commit(&self, folder: &Path, diff_id: &str, size: u64) -> Result<(Layer, Lease)> {
        let path = self.layer_path(diff_id);
        let mut state = self.state();
        if !state.layers.contains_key(diff_id) {
            if path.exists() {
                // Only two digests with the same beginning get here.
                return Err(Error::Corrupt {
                    what: format!("the store at {}", path.display()),
                    expected: "no folder".to_owned(),
                    got: "one of another layer".to_owned(),
                });
            }
            fs::rename(folder, &path).context(|| format!("storing the layer {diff_id}"))?;
            state.layers.insert(diff_id.to_owned(), LayerState { size, made: Instant::now(), durable: false });
        }
        let size = state.layers[diff_id].size;
        let lease = state.lease(diff_id);
        Ok((Layer { diff_id: diff_id.to_owned(), path, size }, lease))
    }

    /// Layers that a crash would take.
    pub(crate) fn volatile(&self) -> Vec<String> {
        let state = self.state();
        state.layers.iter().filter(|(_, layer)| !layer.durable).map(|(id, _)| id.clone()).collect()
    }

    /// Brings layers to the disk and notes that they are there. Blocks.
    pub(crate) fn flush(&self, diff_ids: &[String]) -> Result<()> {
        let volatile: Vec<_> = {
            let state = self.state();
            let pending = |id: &&String| state.layers.get(*id).is_some_and(|layer| !layer.durable);
            diff_ids.iter().filter(pending).map(|id| (id.clone(), state.layers[id].made)).collect()
        };
        if volatile.is_empty() {
            return Ok(());
        }
        let named = || format!("syncing {}", self.dir.display());
        let layers = File::open(self.dir.join("layers")).context(named)?;
        syncfs(&layers).context(named)?;
        for (diff_id, made) in volatile {
            let mut state = self.state();
            // Meanwhile it may have been collected, and even made again.
            let layer = state.layers.get_mut(&diff_id).filter(|layer| !layer.durable && layer.made == made);
            if let Some(layer) = layer {
                let name = format!("layers/{}.json", short(&diff_id));
                self.write(&name, &Note { diff_id, size: layer.size })?;
                layer.durable = true;
            }
        }
        Ok(())
    }

    /// An image that was stored earlier, with all its layers.
    pub(crate) fn known_image(&self, digest: &str) -> Option<Image> {
        self.image(&mut self.state(), digest)
    }

    /// Stores an image whose layers are in the store. Blocks.
    pub(crate) fn put_image(&self, digest: &str, config: &Config, layers: &[Layer], mut lease: Lease) -> Result<Image> {
        let ids: Vec<_> = layers.iter().map(|layer| layer.diff_id.clone()).collect();
        self.flush(&ids)?;
        let mut state = self.state();
        if !state.images.contains_key(digest) {
            let record = Record { digest: digest.to_owned(), config: config.clone(), layers: ids, created: now() };
            self.write(&format!("images/{}.json", digest::hex(digest)), &record)?;
            state.images.insert(digest.to_owned(), record);
        }
        lease.extend(state.lease(digest));
        Ok(Image {
            digest: digest.to_owned(),
            config: config.clone(),
            size: layers.iter().map(|layer| layer.size).sum(),
            layers: layers.to_vec(),
            lease,
        })
    }

    fn image(&self, state: &mut State, digest: &str) -> Option<Image> {
        let record = state.images.get(digest)?.clone();
        let mut lease = state.lease(digest);
        let mut layers = Vec::with_capacity(record.layers.len());
        for diff_id in &record.layers {
            let size = state.layers.get(diff_id)?.size;
            lease.extend(state.lease(diff_id));
            layers.push(Layer { diff_id: diff_id.clone(), path: self.layer_path(diff_id), size });
        }
        let size = layers.iter().map(|layer| layer.size).sum();
        Some(Image { digest: record.digest, config: record.config, layers, size, lease })
    }

    /// Writes a small file whole, or not at all.
    pub(crate) fn write(&self, name: &str, value: &impl Serialize) -> Result<()> {
        let path = self.dir.join(name);
        let folder = path.parent().unwrap_or(&self.dir);
        let write = || {
            let mut file = tempfile::NamedTempFile::new_in(self.dir.join("tmp"))?;
            serde_json::to_writer(&mut file, value)?;
            file.flush()?;
            file.as_file().sync_all()?;
            file.persist(&path).map_err(|error| error.error)?;
            File::open(folder)?.sync_all()
        };
        write().context(|| format!("writing {}", path.display()))
    }
}

/// Names the lease of a folder of cache mounts.
pub(crate) fn mount_key(name: &str) -> String {
    format!("mount {name}")
}

/// The part of a digest that names files.
pub(crate) fn short(diff_id: &str) -> &str {
    &digest::hex(diff_id)[..32]
}

pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs()
}

fn read<T: for<'de> Deserialize<'de>>(path: &Path) -> Option<T> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

fn load(dir: &Path) -> std::io::Result<State> {
    let mut state = State::default();
    let mut folders = Vec::new();
    for entry in fs::read_dir(dir.join("layers"))? {
        let path = entry?.path();
        if path.extension().is_none() {
            folders.push(path);
        } else if let Some(note) = read::<Note>(&path).filter(|note| digest::valid(&note.diff_id))
            && path.with_extension("").is_dir()
        {
            state.layers.insert(note.diff_id, LayerState { size: note.size, made: Instant::now(), durable: true });
        } else {
            fs::remove_file(&path)?;
        }
    }
    for folder in folders {
        if !folder.with_extension("json").exists() {
            remove_tree(&folder)?;
        }
    }
    for entry in fs::read_dir(dir.join("images"))? {
        let path = entry?.path();
        match read::<Record>(&path) {
            Some(record) if record.layers.iter().all(|id| state.layers.contains_key(id)) => {
                state.images.insert(record.digest.clone(), record);
            }
            _ => fs::remove_file(&path)?,
        }
    }
    let names: BTreeMap<String, String> = read(&dir.join("names.json")).unwrap_or_default();
    state.names = names.into_iter().filter(|(_, digest)| state.images.contains_key(digest)).collect();
    Ok(state)
}
