//! `.dockerignore` and `--exclude`.

use std::path::Path;

use globset::{GlobBuilder, GlobMatcher};

/// Patterns; the last one that matches a path, or a folder above it, decides.
#[derive(Debug, Default)]
pub(crate) struct Ignore {
    rules: Vec<(GlobMatcher, bool)>,
}

impl Ignore {
    /// One pattern a line; `!` takes back, `#` comments. Lines that are no pattern match nothing.
    pub(crate) fn new<'a>(lines: impl IntoIterator<Item = &'a str>) -> Self {
        let rule = |line: &str| {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                return None;
            }
            let (pattern, back) = line.strip_prefix('!').map_or((line, false), |pattern| (pattern.trim(), true));
            let pattern = pattern.trim_start_matches("./").trim_matches('/');
            let glob = GlobBuilder::new(pattern).literal_separator(true).backslash_escape(true).build().ok()?;
            Some((glob.compile_matcher(), back))
        };
        Self { rules: lines.into_iter().filter_map(rule).collect() }
    }

    pub(crate) fn ignores(&self, path: &Path) -> bool {
        let path = path.strip_prefix("/").unwrap_or(path);
        let mut ignored = false;
        for (matcher, back) in &self.rules {
            let hit = path.ancestors().filter(|path| !path.as_os_str().is_empty()).any(|path| matcher.is_match(path));
            if hit {
                ignored = !back;
            }
        }
        ignored
    }

    /// Whether neither a path nor, if it is a folder, anything in it is wanted.
    pub(crate) fn leaves_out(&self, path: &Path, folder: bool) -> bool {
        self.ignores(path) && !(folder && self.rules.iter().any(|(_, back)| *back))
    }
}
