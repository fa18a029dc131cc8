//! Which layer a build step has made.

use std::fs::{self, File};
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use crate::Result;
use crate::image::Layer;
use crate::store::{Inner, Lease};

/// The time of a note is brought up to date this often: collection goes by the last use.
const FRESH: Duration = Duration::from_secs(60);

impl Inner {
    fn step_note(&self, step: &str) -> PathBuf {
        self.dir.join("cache").join(format!("{step}.json"))
    }

    /// Notes it for this process and the next. Blocks.
    pub(crate) fn note_step(&self, step: &str, diff_id: &str) -> Result<()> {
        self.write(&format!("cache/{step}.json"), &diff_id)?;
        self.state().steps.insert(step.to_owned(), (diff_id.to_owned(), Instant::now()));
        Ok(())
    }

    /// Of a step that this process has met lately: without a look at the disk, which a build that is all cached would
    /// otherwise mostly wait for.
    pub(crate) fn known_step(&self, step: &str) -> Option<(Layer, Lease)> {
        let diff_id = {
            let state = self.state();
            let (diff_id, used) = state.steps.get(step)?;
            (used.elapsed() < FRESH).then(|| diff_id.clone())?
        };
        self.layer(&diff_id)
    }

    /// Of a step that any process has noted. Blocks.
    pub(crate) fn noted_step(&self, step: &str) -> Option<(Layer, Lease)> {
        let path = self.step_note(step);
        let diff_id: String = serde_json::from_slice(&fs::read(&path).ok()?).ok()?;
        let found = self.layer(&diff_id)?;
        if let Ok(file) = File::options().write(true).open(&path) {
            let _ = file.set_modified(SystemTime::now());
        }
        self.state().steps.insert(step.to_owned(), (diff_id, Instant::now()));
        Some(found)
    }
}
