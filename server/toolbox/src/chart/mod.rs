//! Charts that a Python program shows with matplotlib.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};

use daytona_wire::chart::{Chart, CodeRunArtifacts};
use tempfile::TempDir;

use crate::error::{Error, Result};

const HOOK: &str = concat!(include_str!("../after_import.py"), include_str!("hook.py"));
/// Charts beyond this are left out.
const LIMIT: u64 = 64 << 20;

/// A folder that makes a program note its charts.
pub(crate) struct Charts(TempDir);

impl Charts {
    /// Whether a program may draw something: cheap, and wrong rather too often than too rarely.
    pub(crate) fn wanted(code: &str) -> bool {
        ["matplotlib", "pylab"].iter().any(|name| code.contains(name))
    }

    /// Prepares the environment of a program.
    pub(crate) fn prepare(env: &mut BTreeMap<String, String>) -> Result<Self> {
        let failed = |error| Error::io(&error, "write a temporary file in", std::env::temp_dir());
        let folder = tempfile::Builder::new().prefix("charts").tempdir().map_err(failed)?;
        fs::write(folder.path().join("sitecustomize.py"), HOOK).map_err(failed)?;
        let mut path = folder.path().to_string_lossy().into_owned();
        if let Some(before) = env.get("PYTHONPATH").filter(|before| !before.is_empty()) {
            path.push(':');
            path.push_str(before);
        }
        env.insert("PYTHONPATH".to_owned(), path);
        env.entry("MPLBACKEND".to_owned()).or_insert_with(|| "agg".to_owned());
        Ok(Self(folder))
    }

    /// What the program has noted.
    pub(crate) fn collect(self) -> Option<CodeRunArtifacts> {
        let file = File::open(self.0.path().join("charts")).ok()?;
        let lines = BufReader::new(file.take(LIMIT)).split(b'\n');
        let charts: Vec<Chart> =
            lines.map_while(std::result::Result::ok).filter_map(|line| serde_json::from_slice(&line).ok()).collect();
        (!charts.is_empty()).then_some(CodeRunArtifacts { charts: Some(charts) })
    }
}
