//! The lowest layer of every sandbox, and a sandbox's own folders.

use std::fs::{self, DirBuilder, Permissions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use serde::{Deserialize, Serialize};

use super::{etc, names, trust};
use crate::stored::UNNAMED;
use crate::{Network, RuntimeError};

/// Folders of the host that hold programs. Whichever is a folder is laid under the sandbox as a
/// layer; whichever is a link is a link in the sandbox.
const SYSTEM: [&str; 9] = ["usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32", "opt", "nix"];
/// What package managers know of the programs in there.
const PACKAGES: [&str; 3] = ["var/lib/dpkg", "var/lib/rpm", "var/lib/pacman"];
/// The folders every system has, with their modes.
const FOLDERS: [(&str, u32); 30] = [
    ("dev", 0o755),
    ("etc", 0o755),
    ("home", 0o755),
    ("home/daytona", 0o755),
    ("media", 0o755),
    ("mnt", 0o755),
    ("proc", 0o555),
    ("root", 0o700),
    ("run", 0o755),
    ("srv", 0o755),
    ("sys", 0o555),
    ("tmp", 0o1777),
    ("var", 0o755),
    ("var/cache", 0o755),
    ("var/cache/apt", 0o755),
    ("var/cache/apt/archives", 0o755),
    ("var/cache/apt/archives/partial", 0o755),
    ("var/cache/debconf", 0o755),
    ("var/cache/ldconfig", 0o700),
    ("var/lib", 0o755),
    ("var/lib/apt", 0o755),
    ("var/lib/apt/lists", 0o755),
    ("var/lib/apt/lists/partial", 0o755),
    ("var/lib/misc", 0o755),
    ("var/log", 0o755),
    ("var/log/apt", 0o755),
    ("var/mail", 0o755),
    ("var/opt", 0o755),
    ("var/spool", 0o755),
    ("var/tmp", 0o1777),
];

/// What is mounted over the base.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct View {
    /// Host folders as writable layers.
    pub(crate) overlays: Vec<Layer>,
    /// Host folders that cannot be layers, because the data directory lies in them.
    pub(crate) read_only: Vec<String>,
    /// Folders covered by an empty one.
    pub(crate) masked: Vec<String>,
}

/// A host folder as the lowest layer of the same folder in the sandbox.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Layer {
    pub(crate) path: String,
    /// Names its upper and work folders.
    pub(crate) name: String,
    /// The lower layers as an overlay's option names them, where there are others than the host's folder.
    #[serde(default)]
    pub(crate) lower: Option<String>,
}

/// The base of this server's sandboxes.
#[derive(Debug)]
pub(crate) struct Base {
    path: PathBuf,
    pub(crate) view: View,
    pub(crate) user: User,
    network: Network,
    /// A certificate to trust.
    authority: Option<String>,
    /// Filled, once that has succeeded.
    filled: Mutex<bool>,
}

/// The ids of `daytona`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct User {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// The ids `daytona` has in the sandboxes of this data directory, the same at every start: its
/// files carry them. In a user namespace they are mapped, so any would do.
pub(crate) fn user(data_dir: &Path, userns: Option<(u32, u32)>) -> Result<User, RuntimeError> {
    let fixed = |id| User { uid: id, gid: id };
    if userns.is_some() {
        return Ok(fixed(1000));
    }
    let path = data_dir.join("uid");
    if let Some(id) = fs::read_to_string(&path).ok().and_then(|text| text.trim().parse().ok()) {
        return Ok(fixed(id));
    }
    let id = etc::choose_id();
    fs::write(&path, id.to_string()).map_err(|error| RuntimeError::io("write", &path, error))?;
    Ok(fixed(id))
}

impl Base {
    /// The base from a sandbox's folder.
    pub(crate) fn relative(&self) -> String {
        let name = self.path.file_name().unwrap_or_default();
        format!("../../base/{}", name.display())
    }

    /// How names are looked up in the sandboxes.
    pub(crate) fn resolver(&self) -> PathBuf {
        self.path.join("etc/resolv.conf")
    }

    /// The base beneath `data_dir`, that of an earlier server when the host has not changed since. With
    /// [`Network::Wire`] its resolver is the gateway.
    pub(crate) fn new(data_dir: &Path, user: User, network: Network) -> Result<Self, RuntimeError> {
        let authority = fs::read_to_string(crate::certificate_authority(data_dir)).ok();
        let name = format!("{:016x}", fingerprint(user, network, authority.as_deref()));
        Self::named(data_dir, user, network, authority, &name)
    }

    /// A base without settings, for a trial.
    pub(crate) fn trial(data_dir: &Path, user: User) -> Result<Self, RuntimeError> {
        let mut base = Self::named(data_dir, user, Network::Host, None, "trial")?;
        let _ = crate::destroy::remove_tree(&base.path);
        fill(&base.path).map_err(|error| RuntimeError::io("build the base", &base.path, error))?;
        base.filled = Mutex::new(true);
        Ok(base)
    }

    fn named(
        data_dir: &Path,
        user: User,
        network: Network,
        authority: Option<String>,
        name: &str,
    ) -> Result<Self, RuntimeError> {
        let path = data_dir.join("base").join(name);
        let view = View::of_host(data_dir).map_err(|error| RuntimeError::io("look at the host for", &path, error))?;
        Ok(Self { path, view, user, network, authority, filled: Mutex::default() })
    }

    /// Fills the base unless that is done; takes a moment the first time. What failed may succeed later, when there is
    /// room again.
    pub(crate) fn fill(&self) -> Result<(), RuntimeError> {
        let mut filled = crate::lock(&self.filled);
        if !*filled {
            self.build().map_err(|error| RuntimeError::io("build the base", &self.path, error))?;
            *filled = true;
        }
        Ok(())
    }

    fn build(&self) -> io::Result<()> {
        if self.path.exists() {
            return Ok(());
        }
        let parent = self.path.parent().unwrap_or(&self.path);
        remove_old(parent)?;
        // Complete or absent, whenever this is interrupted.
        let new = parent.join("new");
        fill(&new)?;
        etc::build(&new.join("etc"), self.user, self.network)?;
        if let Some(authority) = &self.authority {
            trust::add(&new, authority)?;
        }
        fs::rename(&new, &self.path)
    }

    /// The folder with the lowest layer.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes what a sandbox stores, or completes it; nothing that exists is changed.
    /// A new home is made for `user`.
    /// With `home_inside` that is in the root, else a folder of its own.
    pub(crate) fn prepare_sandbox(
        &self,
        dir: &Path,
        hostname: &str,
        user: User,
        home_inside: Option<&str>,
    ) -> Result<(), RuntimeError> {
        self.fill()?;
        let step = |result: io::Result<()>| result.map_err(|error| RuntimeError::io("prepare", dir, error));
        let first = !dir.join("upper/root").exists();
        for name in ["", "mnt", "upper", "work"] {
            step(make_private(&dir.join(name)))?;
        }
        let layers = &self.view.overlays;
        let layers = layers.iter().map(|layer| (layer.name.as_str(), Path::new(&layer.path)));
        for (name, lower) in layers.chain([("root", self.path.as_path())]) {
            step(make_private(&dir.join("work").join(name)))?;
            step(like(lower, &dir.join("upper").join(name)))?;
        }
        // What ran is gone, and with it its sockets and locks.
        let _ = crate::destroy::remove_tree(&dir.join("upper/root/run"));
        if let Some(home) = home_inside.filter(|_| first) {
            step(super::image::make_home(dir, home, user))?;
        }
        if first {
            step(self.write_names(dir, hostname))?;
        } else if dir.join(UNNAMED).exists() {
            step(names::rewrite(&dir.join("upper/root"), hostname))?;
            step(fs::remove_file(dir.join(UNNAMED)))?;
        }
        if home_inside.is_some() { Ok(()) } else { step(self.make_home(&dir.join("home"), user)) }
    }

    /// The host name's files, which differ from sandbox to sandbox.
    fn write_names(&self, dir: &Path, hostname: &str) -> io::Result<()> {
        let etc = dir.join("upper/root/etc");
        like(&self.path.join("etc"), &etc)?;
        fs::write(etc.join("hostname"), format!("{hostname}\n"))?;
        fs::write(etc.join("hosts"), super::image::hosts(hostname))?;
        for name in ["hostname", "hosts"] {
            fs::set_permissions(etc.join(name), Permissions::from_mode(0o644))?;
        }
        Ok(())
    }

    fn make_home(&self, home: &Path, user: User) -> io::Result<()> {
        if home.exists() {
            return Ok(());
        }
        // Complete or absent, whenever this is interrupted.
        let new = home.with_extension("new");
        let _ = crate::destroy::remove_tree(&new);
        make_folder(&new, if user.uid == 0 { 0o700 } else { 0o755 })?;
        let skeleton = fs::read_dir(self.path.join("etc/skel"));
        for entry in skeleton.into_iter().flatten().flatten() {
            if entry.file_type()?.is_file() {
                let file = new.join(entry.file_name());
                fs::copy(entry.path(), &file)?;
                give(&file, user)?;
            }
        }
        give(&new, user)?;
        fs::rename(new, home)
    }
}

/// Removes the bases of earlier servers, by the names that are given here.
fn remove_old(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let fingerprint = name.len() == 16 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
        if fingerprint || matches!(&*name, "new" | "trial") {
            crate::destroy::remove_tree(&entry.path())?;
        }
    }
    Ok(())
}

/// Gives a file to the sandbox's user where this process may.
pub(super) fn give(path: &Path, user: User) -> io::Result<()> {
    if rustix::process::geteuid().is_root() {
        chown(path, Some(user.uid), Some(user.gid))?;
    }
    Ok(())
}

impl View {
    /// What `root` sees: it could read what only root may read in there, and programs of their own
    /// in /opt, unlike packages, have settings and keys beside them.
    pub(crate) fn for_root(mut self) -> Self {
        self.overlays.retain(|layer| layer.path != "/opt");
        self.read_only.retain(|path| path != "/opt");
        self.masked.retain(|path| !path.starts_with("/opt/"));
        self
    }

    fn of_host(data_dir: &Path) -> io::Result<Self> {
        let mut view = Self::default();
        for name in SYSTEM.into_iter().chain(PACKAGES) {
            let host = Path::new("/").join(name);
            // An overlay over an empty folder is the same as the empty folder.
            let folder = fs::symlink_metadata(&host).is_ok_and(|metadata| metadata.is_dir());
            if !folder || fs::read_dir(&host)?.next().is_none() {
                continue;
            }
            let path = host.display().to_string();
            if data_dir.starts_with(&host) {
                // A layer may not lie beneath the one it is put on.
                view.read_only.push(path);
                view.masked.push(data_dir.display().to_string());
            } else {
                let name = name.replace('/', "-");
                view.overlays.push(Layer { path, name, lower: None });
            }
        }
        Ok(view)
    }
}

/// Changes with whatever the base is made of.
fn fingerprint(user: User, network: Network, authority: Option<&str>) -> u64 {
    let mut hasher = DefaultHasher::new();
    (env!("CARGO_PKG_VERSION"), user.uid, user.gid, network == Network::Wire, authority).hash(&mut hasher);
    for name in SYSTEM.into_iter().chain(PACKAGES) {
        let host = Path::new("/").join(name);
        let kind = fs::symlink_metadata(&host).map(|metadata| metadata.mode());
        (kind.ok(), fs::read_link(&host).ok()).hash(&mut hasher);
    }
    etc::fingerprint(&mut hasher);
    hasher.finish()
}

/// Fills a new base, except for its settings.
fn fill(base: &Path) -> io::Result<()> {
    make_folder(base, 0o755)?;
    for (name, mode) in FOLDERS {
        make_folder(&base.join(name), mode)?;
    }
    symlink("/run", base.join("var/run"))?;
    symlink("/run/lock", base.join("var/lock"))?;
    for name in SYSTEM.into_iter().chain(PACKAGES) {
        let host = Path::new("/").join(name);
        let Ok(metadata) = fs::symlink_metadata(&host) else {
            continue;
        };
        if metadata.is_symlink() {
            symlink(fs::read_link(&host)?, base.join(name))?;
        } else if metadata.is_dir() {
            make_folder(&base.join(name), 0o755)?;
        }
    }
    Ok(())
}

/// Makes a folder of this mode, whatever the umask is.
pub(crate) fn make_folder(path: &Path, mode: u32) -> io::Result<()> {
    fs::create_dir_all(path)?;
    fs::set_permissions(path, Permissions::from_mode(mode))
}

pub(super) fn make_private(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

/// Makes a folder with the mode and, where this process may, the owner of another.
pub(crate) fn like(model: &Path, path: &Path) -> io::Result<()> {
    if path.exists() {
        return Ok(());
    }
    let model = fs::metadata(model)?;
    make_folder(path, model.mode() & 0o7777)?;
    if rustix::process::geteuid().is_root() {
        // In unprivileged mode it stays with the server's user, who is `daytona` inside.
        chown(path, Some(model.uid()), Some(model.gid()))?;
    }
    Ok(())
}
