//! The host's view in the place of an image: opted in, and said everywhere.

use std::sync::Arc;

use super::log::BuildLog;
use crate::App;
use crate::image::{HOST_VIEW, Root};
use crate::record::Build;

impl App {
    /// What sandboxes of this machine's own programs begin with.
    pub(super) async fn host_root(self: &Arc<Self>, build: &Build, log: &BuildLog) -> Result<Root, String> {
        log.line(HOST_VIEW);
        for line in build.dockerfile.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let word = line.split_whitespace().next().unwrap_or_default();
            match word.to_ascii_uppercase().as_str() {
                "FROM" => log.line(&format!("{line} -> the host view")),
                _ => {
                    return Err(format!(
                        "{word}: the host view (--image-fallback host) stands in for the name of an image only, and \
                         runs no build steps yet; use an image's name alone"
                    ));
                }
            }
        }
        Ok(Root { host: true, ..Root::default() })
    }
}
