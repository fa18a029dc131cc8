//! Garbage collection.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::error::Context as _;
use crate::files::remove_tree;
use crate::store::{Store, short};
use crate::{Result, digest};

/// What a collection leaves.
#[derive(Clone, Debug)]
pub struct GcOptions {
    /// Layers of build steps, and folders of cache mounts, that were used within this time stay though no image has
    /// them. Zero: none.
    pub cache_age: Duration,
}

impl Default for GcOptions {
    /// A week.
    fn default() -> Self {
        Self { cache_age: Duration::from_secs(7 * 24 * 3600) }
    }
}

/// What a collection removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Freed {
    /// Images.
    pub images: usize,
    /// Layers.
    pub layers: usize,
    /// Bytes of those layers.
    pub bytes: u64,
}

/// What has arrived of a blob is of use for this long.
const DOWNLOAD_AGE: Duration = Duration::from_secs(24 * 3600);

impl Store {
    /// Removes images without a name that are not among `keep` (by [`digest`](crate::Image::digest)), and layers that no
    /// image has. What an [`Image`](crate::Image) value stands for, or a pull or build works on, stays. Blocks.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io); what was not removed then is removed by the next collection.
    pub fn gc<S: AsRef<str>>(&self, keep: &[S], options: &GcOptions) -> Result<Freed> {
        let inner = &self.inner;
        let mut freed = Freed::default();
        let mut rubbish = Vec::new();
        {
            let mut state = inner.state();
            let mut wanted: HashSet<String> = keep.iter().map(|digest| digest.as_ref().to_owned()).collect();
            wanted.extend(state.names.values().cloned());
            let dead: Vec<_> = state
                .images
                .keys()
                .filter(|digest| !wanted.contains(*digest) && !state.leased(digest))
                .cloned()
                .collect();
            for digest in dead {
                let path = inner.dir.join("images").join(format!("{}.json", digest::hex(&digest)));
                fs::remove_file(&path).context(|| format!("removing {}", path.display()))?;
                state.images.remove(&digest);
                freed.images += 1;
            }
            let mut used: HashSet<String> =
                state.images.values().flat_map(|record| record.layers.iter().cloned()).collect();
            used.extend(self.cached_layers(options.cache_age));
            let dead: Vec<_> =
                state.layers.keys().filter(|id| !used.contains(*id) && !state.leased(id)).cloned().collect();
            for diff_id in dead {
                let scratch = inner.scratch()?;
                // The note first: a folder without one is removed at the next start.
                let path = inner.layer_path(&diff_id);
                let _ = fs::remove_file(inner.dir.join("layers").join(format!("{}.json", short(&diff_id))));
                fs::rename(&path, scratch.path().join("fs")).context(|| format!("removing {}", path.display()))?;
                rubbish.push(scratch);
                freed.layers += 1;
                freed.bytes += state.layers.remove(&diff_id).map_or(0, |layer| layer.size);
            }
            state.forget_leases();
            state.steps.retain(|_, (_, used)| used.elapsed() < options.cache_age);
        }
        for scratch in &rubbish {
            remove_tree(scratch.path()).context(|| format!("removing {}", scratch.path().display()))?;
        }
        for path in older(&inner.dir.join("downloads"), DOWNLOAD_AGE) {
            let _ = fs::remove_file(path);
        }
        for path in older(&inner.dir.join("mounts"), options.cache_age) {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if !inner.state().leased(&crate::store::mount_key(&name)) {
                remove_tree(&path).context(|| format!("removing {}", path.display()))?;
            }
        }
        Ok(freed)
    }

    /// Layers of build steps that were used within `age`; notes of older ones go.
    fn cached_layers(&self, age: Duration) -> Vec<String> {
        let folder = self.inner.dir.join("cache");
        for path in older(&folder, age) {
            let _ = fs::remove_file(path);
        }
        let notes = fs::read_dir(folder).into_iter().flatten().flatten();
        notes.filter_map(|note| serde_json::from_slice(&fs::read(note.path()).ok()?).ok()).collect()
    }
}

/// Entries of a folder that were not used for `age`.
fn older(folder: &Path, age: Duration) -> Vec<PathBuf> {
    let now = SystemTime::now();
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter(|entry| {
            let used = entry.metadata().and_then(|meta| meta.modified());
            used.is_ok_and(|used| now.duration_since(used).unwrap_or_default() >= age)
        })
        .map(|entry| entry.path())
        .collect()
}
