//! Certificates that the programs in a sandbox trust.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::base::make_folder;
use crate::{CA_BUNDLE, CA_CERTIFICATE};

/// Where systems have their certificates in one file.
const BUNDLES: [&str; 5] = [
    "etc/ssl/certs/ca-certificates.crt",
    "etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "etc/pki/tls/certs/ca-bundle.crt",
    "etc/ssl/ca-bundle.pem",
    "etc/ssl/cert.pem",
];

/// Adds one to those of the file system at `root`, and puts all of them where they can be named to programs.
pub(crate) fn add(root: &Path, certificate: &str) -> io::Result<()> {
    let mut all = String::new();
    for bundle in BUNDLES {
        let path = root.join(bundle);
        // Not through links, which may lead out of it.
        if !path.is_file() || path.canonicalize()? != root.canonicalize()?.join(bundle) {
            continue;
        }
        let together = joined(&fs::read_to_string(&path)?, certificate);
        fs::write(&path, &together)?;
        if all.is_empty() {
            all = together;
        }
    }
    if all.is_empty() {
        // It may lie where the view has it from the host.
        let host = BUNDLES.iter().find_map(|bundle| fs::read_to_string(Path::new("/").join(bundle)).ok());
        all = joined(&host.unwrap_or_default(), certificate);
    }
    make_folder(&root.join(CA_BUNDLE.trim_start_matches('/')).with_file_name(""), 0o755)?;
    for (path, text) in [(CA_BUNDLE, all.as_str()), (CA_CERTIFICATE, certificate)] {
        let path = root.join(path.trim_start_matches('/'));
        fs::write(&path, text)?;
        fs::set_permissions(&path, Permissions::from_mode(0o644))?;
    }
    Ok(())
}

fn joined(bundle: &str, certificate: &str) -> String {
    let gap = if bundle.is_empty() || bundle.ends_with('\n') { "" } else { "\n" };
    format!("{bundle}{gap}{certificate}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_added_within_the_root() {
        let dir = tempfile::tempdir().unwrap();
        let (root, outside) = (dir.path().join("root"), dir.path().join("outside"));
        fs::create_dir_all(root.join("etc/ssl/certs")).unwrap();
        fs::write(root.join("etc/ssl/certs/ca-certificates.crt"), "theirs").unwrap();
        fs::write(&outside, "outside").unwrap();
        std::os::unix::fs::symlink(&outside, root.join("etc/ssl/cert.pem")).unwrap();
        add(&root, "ours\n").unwrap();
        for path in ["etc/ssl/certs/ca-certificates.crt", "etc/daytona-native/ca-bundle.crt"] {
            assert_eq!(fs::read_to_string(root.join(path)).unwrap(), "theirs\nours\n", "{path}");
        }
        assert_eq!(fs::read_to_string(root.join("etc/daytona-native/ca.crt")).unwrap(), "ours\n");
        assert_eq!(fs::read_to_string(outside).unwrap(), "outside");
    }
}
