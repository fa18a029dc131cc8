//! What the roots of sandboxes are made of.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What a build has left, and what a sandbox begins with.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Root {
    /// This machine's own programs, in the place of an image.
    #[serde(default)]
    pub(crate) host: bool,
    /// The image's name in a Docker engine.
    #[serde(default)]
    pub(crate) docker: Option<String>,
    /// Bytes, where an engine has told.
    #[serde(default)]
    pub(crate) size: u64,
    /// Digests of its layers, lowest first.
    #[serde(default)]
    pub(crate) layers: Vec<String>,
    /// The folder of what build steps have changed in the host's view.
    #[serde(default)]
    pub(crate) files: Option<String>,
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

/// The user of a sandbox where none is asked for.
pub(crate) fn user(root: &Root, roots: bool) -> String {
    match &root.user {
        Some(user) => user.clone(),
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
