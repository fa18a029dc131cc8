//! The lowest layer of every sandbox, made once per server start, and a sandbox's own folders.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::etc;
use crate::RuntimeError;

/// Folders of the host that hold programs. Whichever is a folder is laid under the sandbox as a
/// layer; whichever is a link is a link in the sandbox.
const SYSTEM: [&str; 9] = [
    "usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32", "opt", "nix",
];
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
}

/// The base of this server's sandboxes.
#[derive(Debug)]
pub(crate) struct Base {
    pub(crate) path: PathBuf,
    pub(crate) view: View,
    pub(crate) user: User,
    /// Ids of `/`, `/usr` and so on, for the sandbox's own layers.
    owner: (u32, u32),
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

    /// Builds the base beneath `data_dir`, replacing the one of an earlier server.
    pub(crate) fn build(data_dir: &Path, user: User) -> Result<Self, RuntimeError> {
        let parent = data_dir.join("base");
        let _ = crate::destroy::remove_tree(&parent);
        let path = parent.join(crate::random_name());
        fs::create_dir_all(&path).map_err(|error| RuntimeError::io("make", &path, error))?;
        let mut base = Self {
            path,
            view: View::default(),
            user,
            owner: (
                rustix::process::getuid().as_raw(),
                rustix::process::getgid().as_raw(),
            ),
        };
        base.fill(data_dir)
            .map_err(|error| RuntimeError::io("build the base", &base.path, error))?;
        Ok(base)
    }

    fn fill(&mut self, data_dir: &Path) -> io::Result<()> {
        for (name, mode) in FOLDERS {
            make_folder(&self.path.join(name), mode)?;
        }
        make_folder(&self.path, 0o755)?;
        symlink("/run", self.path.join("var/run"))?;
        symlink("/run/lock", self.path.join("var/lock"))?;
        let data_dir = fs::canonicalize(data_dir)?;
        for name in SYSTEM.into_iter().chain(PACKAGES) {
            let host = Path::new("/").join(name);
            let Ok(metadata) = fs::symlink_metadata(&host) else {
                continue;
            };
            if metadata.is_symlink() {
                symlink(fs::read_link(&host)?, self.path.join(name))?;
            } else if metadata.is_dir() {
                fs::create_dir_all(self.path.join(name))?;
                // An overlay over an empty folder is the same as the empty folder.
                if fs::read_dir(&host)?.next().is_some() {
                    self.add_layer(&host, &data_dir);
                }
            }
        }
        etc::build(&self.path.join("etc"), self.user)
    }

    fn add_layer(&mut self, host: &Path, data_dir: &Path) {
        let path = host.display().to_string();
        if data_dir.starts_with(host) {
            // A layer may not lie beneath the one it is put on.
            self.view.read_only.push(path);
            self.view.masked.push(data_dir.display().to_string());
        } else {
            let name = path.trim_start_matches('/').replace('/', "-");
            self.view.overlays.push(Layer { path, name });
        }
    }

    /// Makes what a sandbox stores, or completes it; nothing that exists is changed.
    pub(crate) fn prepare_sandbox(&self, dir: &Path, hostname: &str) -> Result<(), RuntimeError> {
        let step = |result: io::Result<()>| {
            result.map_err(|error| RuntimeError::io("prepare", dir, error))
        };
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
        if first {
            step(self.write_names(dir, hostname))?;
        }
        step(self.make_home(&dir.join("home")))
    }

    /// The host name's files, which differ from sandbox to sandbox.
    fn write_names(&self, dir: &Path, hostname: &str) -> io::Result<()> {
        let etc = dir.join("upper/root/etc");
        like(&self.path.join("etc"), &etc)?;
        fs::write(etc.join("hostname"), format!("{hostname}\n"))?;
        fs::write(
            etc.join("hosts"),
            format!(
                "127.0.0.1\tlocalhost\n127.0.1.1\t{hostname}\n\
                 ::1\tlocalhost ip6-localhost ip6-loopback\n"
            ),
        )?;
        for name in ["hostname", "hosts"] {
            fs::set_permissions(etc.join(name), Permissions::from_mode(0o644))?;
        }
        Ok(())
    }

    fn make_home(&self, home: &Path) -> io::Result<()> {
        if home.exists() {
            return Ok(());
        }
        // Complete or absent, whenever this is interrupted.
        let new = home.with_extension("new");
        let _ = crate::destroy::remove_tree(&new);
        make_folder(&new, 0o755)?;
        let skeleton = fs::read_dir(self.path.join("etc/skel"));
        for entry in skeleton.into_iter().flatten().flatten() {
            if entry.file_type()?.is_file() {
                let file = new.join(entry.file_name());
                fs::copy(entry.path(), &file)?;
                self.give(&file)?;
            }
        }
        self.give(&new)?;
        fs::rename(new, home)
    }

    /// Gives a file to the sandbox's user where this process may.
    fn give(&self, path: &Path) -> io::Result<()> {
        if self.owner.0 == 0 {
            chown(path, Some(self.user.uid), Some(self.user.gid))?;
        }
        Ok(())
    }
}

/// Makes a folder of this mode, whatever the umask is.
pub(crate) fn make_folder(path: &Path, mode: u32) -> io::Result<()> {
    fs::create_dir_all(path)?;
    fs::set_permissions(path, Permissions::from_mode(mode))
}

fn make_private(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

/// Makes a folder with the mode and, where this process may, the owner of another.
fn like(model: &Path, path: &Path) -> io::Result<()> {
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
