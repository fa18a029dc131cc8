use std::fmt;
use std::str::FromStr;

use oci_client::Reference;

use crate::{Error, Result};

/// Name of an image: `debian:12`, `ghcr.io/me/app`, `127.0.0.1:5000/x@sha256:…`. Without a registry it is Docker Hub's,
/// without a tag `latest`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ImageRef {
    pub(crate) reference: Reference,
    tagged: bool,
}

impl ImageRef {
    /// Parses a name.
    ///
    /// # Errors
    /// [`Error::BadName`].
    pub fn parse(name: &str) -> Result<Self> {
        let bad = |why: String| Error::BadName { name: name.to_owned(), why };
        let reference = Reference::from_str(name.trim()).map_err(|error| bad(error.to_string()))?;
        if let Some(digest) = reference.digest()
            && !crate::digest::valid(digest)
        {
            return Err(bad("a digest is sha256: and 64 hexadecimal digits".to_owned()));
        }
        let last = name.rsplit('/').next().unwrap_or(name);
        Ok(Self { tagged: last.contains([':', '@']), reference })
    }

    /// Whether the name as written says which version: a tag or a digest.
    pub fn is_explicit(&self) -> bool {
        self.tagged
    }

    /// The tag; `latest` where neither tag nor digest was written.
    pub fn tag(&self) -> Option<&str> {
        self.reference.tag()
    }

    /// The digest, where the name has one: such an image never changes.
    pub fn digest(&self) -> Option<&str> {
        self.reference.digest()
    }

    /// Host and port of the registry.
    pub fn registry(&self) -> &str {
        self.reference.registry()
    }

    /// The name without registry, tag and digest.
    pub fn repository(&self) -> &str {
        self.reference.repository()
    }
}

impl fmt::Display for ImageRef {
    /// In full, with registry and tag: equal images have equal texts.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reference.whole())
    }
}

impl FromStr for ImageRef {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::parse(name)
    }
}
