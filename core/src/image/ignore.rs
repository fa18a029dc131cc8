//! `.dockerignore`: what a context leaves out.

use std::path::Path;

use globset::{GlobBuilder, GlobMatcher};

use super::path;
use crate::error::{Error, Result};

/// The rules of one file; the last one that matches decides.
#[derive(Debug, Default)]
pub(super) struct Ignore {
    rules: Vec<(GlobMatcher, bool)>,
    has_exceptions: bool,
}

impl Ignore {
    /// The rules of a directory; none where it has no such file.
    pub(super) fn of(directory: &Path) -> Result<Self> {
        let file = directory.join(".dockerignore");
        match crate::small_file::read(&file) {
            Ok(text) => {
                Self::parse(&text).map_err(|error| Error::invalid(format!("{}: {}", file.display(), error.message())))
            }
            Err(error) if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => {
                Ok(Self::default())
            }
            Err(error) => Err(Error::invalid(format!("{} cannot be read: {error}", file.display())).with_cause(error)),
        }
    }

    fn parse(text: &str) -> Result<Self> {
        let mut ignore = Self::default();
        for line in text.trim_start_matches('\u{feff}').lines().filter(|line| !line.starts_with('#')) {
            let line = line.trim();
            let (line, is_exception) = line.strip_prefix('!').map_or((line, false), |rest| (rest.trim(), true));
            let pattern = path::rooted(line);
            if pattern.is_empty() {
                continue;
            }
            let glob = GlobBuilder::new(&pattern).literal_separator(true).build();
            let glob = glob.map_err(|error| Error::invalid(format!("{line:?} is no pattern: {}", error.kind())))?;
            ignore.has_exceptions |= is_exception;
            ignore.rules.push((glob.compile_matcher(), is_exception));
        }
        Ok(ignore)
    }

    /// Whether a path, relative to the directory, is left out: a rule for a directory is one for all in it.
    pub(super) fn leaves_out(&self, path: &Path) -> bool {
        let matches =
            |rule: &GlobMatcher| path.ancestors().any(|part| !part.as_os_str().is_empty() && rule.is_match(part));
        self.rules.iter().rev().find(|(rule, _)| matches(rule)).is_some_and(|(_, is_exception)| !is_exception)
    }

    /// The same for all in a directory.
    pub(super) fn leaves_out_all(&self, directory: &Path) -> bool {
        !self.has_exceptions && self.leaves_out(directory)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_rule_decides() {
        let ignore =
            Ignore::parse("# no comment\n*.log\n/build/\n**/cache\nsrc/*.tmp\n!keep.log\n!build/kept\n").unwrap();
        let out = |path: &str| ignore.leaves_out(Path::new(path));
        for path in ["a.log", "build", "build/x/y", "cache", "a/b/cache/c", "src/a.tmp"] {
            assert!(out(path), "{path}");
        }
        for path in ["keep.log", "build/kept", "build/kept/x", "a/b.log", "a.tmp", "src/a/b.tmp", "builds"] {
            assert!(!out(path), "{path}");
        }
        assert!(!ignore.leaves_out_all(Path::new("build")));
        assert!(Ignore::parse("a\n").unwrap().leaves_out_all(Path::new("a/b")));
        assert!(Ignore::parse("a[").is_err());
    }
}
