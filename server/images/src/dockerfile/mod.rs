//! Dockerfiles.

use crate::{Error, Result};

/// A Dockerfile that was read and found to be feasible.
#[derive(Clone, Debug)]
pub struct Plan {}

impl Plan {
    /// Reads a Dockerfile. What a build cannot do is refused here, by name and line.
    ///
    /// # Errors
    /// [`Error::Dockerfile`] where the text is wrong, [`Error::Unsupported`].
    pub fn parse(text: &str) -> Result<Self> {
        if text.is_empty() {
            return Err(Error::Dockerfile { line: 1, why: "it is empty: it needs at least FROM".to_owned() });
        }
        Ok(Self {})
    }

    /// Images of registries that the build needs, as far as no build argument says otherwise.
    pub fn images(&self) -> Vec<String> {
        Vec::new()
    }

    /// How many steps the log will count.
    pub fn steps(&self) -> usize {
        0
    }
}
