//! Sandboxes whose root is an image, in the place of the host's view.
//!
//! What lies in the layers comes from registries, and what lies in an upper layer from earlier runs: nothing there is
//! followed when this process looks for a file, and nothing is written where a sandbox has been.

use std::fs::{self, File, Permissions};
use std::io::{self, Read as _};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2};

use super::base::{User, View, give, like, make_folder, make_private};
use super::names;
use crate::RuntimeError;
use crate::stored::UNNAMED;

/// Folders that a sandbox needs, with their modes, beneath every image.
const FOLDERS: [(&str, u32); 10] = [
    ("dev", 0o755),
    ("etc", 0o755),
    ("home", 0o755),
    ("proc", 0o555),
    ("root", 0o700),
    ("run", 0o755),
    ("sys", 0o555),
    ("tmp", 0o1777),
    ("var", 0o755),
    ("var/tmp", 0o1777),
];
/// Larger files list no accounts.
const ACCOUNTS_LIMIT: u64 = 4 << 20;
/// The user of sandboxes that no image has to have.
const OWN_USER: &str = "daytona";

/// The folder with what a sandbox needs, made where it is missing.
pub(crate) fn skeleton(data_dir: &Path) -> io::Result<PathBuf> {
    let path = data_dir.join("skeleton");
    if path.is_dir() {
        return Ok(path);
    }
    let new = data_dir.join(format!("skeleton.{}", crate::random_name()));
    make_folder(&new, 0o755)?;
    for (name, mode) in FOLDERS {
        make_folder(&new.join(name), mode)?;
    }
    match fs::rename(&new, &path) {
        // Somebody else was quicker.
        Err(_) if path.is_dir() => crate::destroy::remove_tree(&new)?,
        other => other?,
    }
    Ok(path)
}

/// Links the layers into `dir`, and says how an overlay's option names them: short, relative to `dir`, free of
/// characters that would need quoting. `layers` begins with the uppermost; `lowest` lies beneath them.
pub(crate) fn link_layers(dir: &Path, layers: &[PathBuf], lowest: &Path) -> io::Result<String> {
    let folder = dir.join("lower");
    crate::destroy::remove_tree(&folder)?;
    make_private(&folder)?;
    let mut names = Vec::with_capacity(layers.len() + 1);
    for (index, layer) in layers.iter().map(PathBuf::as_path).chain([lowest]).enumerate() {
        symlink(layer, folder.join(index.to_string()))?;
        names.push(format!("lower/{index}"));
    }
    Ok(names.join(":"))
}

/// Puts what the layers have of the host's folders upon them. They have been linked into the sandbox's folder.
pub(crate) fn stack(view: &mut View, layers: &[PathBuf]) {
    for host in &mut view.overlays {
        let path = host.path.trim_start_matches('/');
        let has = |layer: &PathBuf| open(layer, path).is_some_and(|found| found.metadata().is_ok_and(|m| m.is_dir()));
        let above = layers.iter().enumerate().filter(|(_, layer)| has(layer));
        let mut lower: Vec<String> = above.map(|(index, _)| format!("lower/{index}/{path}")).collect();
        if !lower.is_empty() {
            lower.push(host.path.clone());
            host.lower = Some(lower.join(":"));
        }
    }
}

/// Gives a sandbox in which nothing has run yet a home within its root.
pub(crate) fn make_home(dir: &Path, home: &str, user: User) -> io::Result<()> {
    let upper = dir.join("upper/root");
    let own = upper.join(home);
    if let Some(parent) = own.parent().filter(|parent| *parent != upper) {
        make_folder(parent, 0o755)?;
    }
    make_folder(&own, if user.uid == 0 { 0o700 } else { 0o755 })?;
    give(&own, user)
}

/// Makes what a sandbox of an image stores, or completes it. Answers the overlay's `lowerdir`.
pub(crate) fn prepare(
    data_dir: &Path,
    dir: &Path,
    layers: &[PathBuf],
    resolver: &Path,
    hostname: &str,
    account: &Account,
) -> io::Result<String> {
    for name in ["", "mnt", "upper", "work", "work/root"] {
        make_private(&dir.join(name))?;
    }
    let skeleton = skeleton(data_dir)?;
    let lower = link_layers(dir, layers, &skeleton)?;
    let upper = dir.join("upper/root");
    let first = !upper.exists();
    // What ran is gone, and with it its sockets and locks.
    let _ = crate::destroy::remove_tree(&upper.join("run"));
    if first {
        // Complete or absent, whenever this is interrupted.
        let new = dir.join("upper/new");
        let _ = crate::destroy::remove_tree(&new);
        like(layers.first().unwrap_or(&skeleton), &new)?;
        write_settings(&new, layers, resolver, hostname, account)?;
        fs::rename(&new, &upper)?;
    } else if dir.join(UNNAMED).exists() {
        names::rewrite(&upper, hostname)?;
    }
    match fs::remove_file(dir.join(UNNAMED)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(lower),
    }
}

/// What differs from sandbox to sandbox, and the user that the image may not have.
fn write_settings(
    upper: &Path,
    layers: &[PathBuf],
    resolver: &Path,
    hostname: &str,
    account: &Account,
) -> io::Result<()> {
    let etc = upper.join("etc");
    make_folder(&etc, 0o755)?;
    let write = |name: &str, text: &[u8]| {
        fs::write(etc.join(name), text)?;
        fs::set_permissions(etc.join(name), Permissions::from_mode(0o644))
    };
    write("hostname", format!("{hostname}\n").as_bytes())?;
    write("hosts", hosts(hostname).as_bytes())?;
    write("resolv.conf", &fs::read(resolver).unwrap_or_default())?;
    if !account.new {
        return Ok(());
    }
    let shell = if has_bash(layers) { "/bin/bash" } else { "/bin/sh" };
    let Account { name, user, home, .. } = account;
    let home = home.display();
    for (file, line) in [
        ("passwd", format!("{name}:x:{}:{}:{name}:{home}:{shell}\n", user.uid, user.gid)),
        ("group", format!("{name}:x:{}:\n", user.gid)),
    ] {
        let mut text = read(layers, &format!("etc/{file}"))?.unwrap_or_default();
        if text.is_empty() {
            text.push_str(if file == "passwd" { "root:x:0:0:root:/root:/bin/sh\n" } else { "root:x:0:\n" });
        }
        if !text.ends_with('\n') {
            text.push('\n');
        }
        write(file, (text + &line).as_bytes())?;
    }
    make_folder(&upper.join("home"), 0o755)?;
    let own = upper.join(account.home.strip_prefix("/").unwrap_or(&account.home));
    make_folder(&own, 0o755)?;
    give(&own, *user)
}

/// The text of `/etc/hosts`.
pub(crate) fn hosts(hostname: &str) -> String {
    format!("127.0.0.1\tlocalhost\n127.0.1.1\t{hostname}\n::1\tlocalhost ip6-localhost ip6-loopback\n")
}

/// Who a sandbox of an image runs as.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    pub(crate) name: String,
    pub(crate) user: User,
    pub(crate) home: PathBuf,
    /// The image does not have it.
    new: bool,
}

impl Account {
    /// Looks up `name[:group]`, names or numbers, in what lies in `layers`, the uppermost first. The user `daytona` is
    /// there in any case, and so are numbers and `root`.
    pub(crate) fn find(layers: &[PathBuf], asked: &str, own: User) -> Result<Self, RuntimeError> {
        let failed = |error| RuntimeError::Io { what: "look up the user in the image".to_owned(), source: error };
        let (name, group) = asked.split_once(':').map_or((asked, None), |(name, group)| (name, Some(group)));
        let passwd = read(layers, "etc/passwd").map_err(failed)?.unwrap_or_default();
        let mut account = Self::listed(&passwd, name).or_else(|| Self::known(name, own)).ok_or_else(|| {
            RuntimeError::Invalid(format!("there is no user {name:?} in the image: name one that it has, or a number"))
        })?;
        if let Some(group) = group {
            let groups = read(layers, "etc/group").map_err(failed)?.unwrap_or_default();
            let listed = groups.lines().find_map(|line| {
                let mut fields = line.split(':');
                (fields.next()? == group).then(|| fields.nth(1)?.parse().ok()).flatten()
            });
            account.user.gid = listed.or_else(|| group.parse().ok()).ok_or_else(|| {
                RuntimeError::Invalid(format!("there is no group {group:?} in the image: name one that it has"))
            })?;
        }
        Ok(account)
    }

    fn listed(passwd: &str, name: &str) -> Option<Self> {
        let number = name.parse::<u32>().ok();
        passwd.lines().find_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            let [own, _, uid, gid, _, home, ..] = fields[..] else {
                return None;
            };
            let (uid, gid) = (uid.parse().ok()?, gid.parse().ok()?);
            if own != name && number != Some(uid) {
                return None;
            }
            let home = if home.starts_with('/') { home } else { "/" };
            Some(Self { name: own.to_owned(), user: User { uid, gid }, home: home.into(), new: false })
        })
    }

    /// Those that no image has to list.
    fn known(name: &str, own: User) -> Option<Self> {
        let new = |name: &str, user, home: &str, new| Self { name: name.to_owned(), user, home: home.into(), new };
        match name {
            "root" | "0" => Some(new("root", User { uid: 0, gid: 0 }, "/root", false)),
            OWN_USER => Some(new(OWN_USER, own, "/home/daytona", true)),
            _ => name.parse().ok().map(|uid| new(name, User { uid, gid: 0 }, "/", false)),
        }
    }
}

/// Whether the layers have bash.
pub(crate) fn has_bash(layers: &[PathBuf]) -> bool {
    ["usr/bin/bash", "bin/bash"].iter().any(|path| layers.iter().any(|layer| open(layer, path).is_some()))
}

/// The text of a file of the uppermost layer that has it.
fn read(layers: &[PathBuf], path: &str) -> io::Result<Option<String>> {
    let Some(file) = layers.iter().find_map(|layer| open(layer, path)) else {
        return Ok(None);
    };
    let metadata = file.metadata()?;
    // Another kind of file is how a layer takes one away.
    if !metadata.is_file() || metadata.len() > ACCOUNTS_LIMIT {
        return Ok(None);
    }
    let mut text = Vec::new();
    file.take(ACCOUNTS_LIMIT).read_to_end(&mut text)?;
    Ok(Some(String::from_utf8_lossy(&text).into_owned()))
}

/// Opens what is at this path of a layer, unless links lead there.
fn open(layer: &Path, path: &str) -> Option<File> {
    let folder = OFlags::DIRECTORY | OFlags::PATH | OFlags::CLOEXEC;
    let layer = openat(CWD, layer, folder, Mode::empty()).ok()?;
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let within = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    openat2(layer, path, flags, Mode::empty(), within).ok().map(File::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: User = User { uid: 1000, gid: 1000 };

    fn layer(passwd: &str) -> tempfile::TempDir {
        let layer = tempfile::tempdir().unwrap();
        fs::create_dir(layer.path().join("etc")).unwrap();
        fs::write(layer.path().join("etc/passwd"), passwd).unwrap();
        layer
    }

    #[test]
    fn users_are_looked_up() {
        let lower = layer("root:x:0:0:r:/root:/bin/sh\nweb:x:33:34:w:/srv:/bin/sh\n");
        fs::write(lower.path().join("etc/group"), "staff:x:50:\n").unwrap();
        let layers = [lower.path().to_owned()];
        let find = |asked: &str| Account::find(&layers, asked, OWN);
        for (asked, name, uid, gid, home) in [
            ("web", "web", 33, 34, "/srv"),
            ("33", "web", 33, 34, "/srv"),
            ("web:staff", "web", 33, 50, "/srv"),
            ("7:8", "7", 7, 8, "/"),
            ("root", "root", 0, 0, "/root"),
            ("daytona", "daytona", 1000, 1000, "/home/daytona"),
        ] {
            let found = find(asked).unwrap();
            let ids = (found.user.uid, found.user.gid);
            assert_eq!((found.name.as_str(), ids, found.home), (name, (uid, gid), home.into()), "{asked}");
        }
        for bad in ["nobody-here", "web:nothing"] {
            assert!(find(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn links_in_layers_are_not_followed() {
        let host = layer("host:x:1:1::/:\n");
        let evil = tempfile::tempdir().unwrap();
        symlink(host.path().join("etc"), evil.path().join("etc")).unwrap();
        assert!(Account::find(&[evil.path().to_owned()], "host", OWN).is_err());
    }

    #[test]
    fn a_sandbox_gets_its_user() {
        let lower = layer("root:x:0:0:r:/root:/bin/sh");
        let data = tempfile::tempdir().unwrap();
        let layers = [lower.path().to_owned()];
        let ids = User { uid: rustix::process::getuid().as_raw(), gid: rustix::process::getgid().as_raw() };
        let account = Account::find(&layers, "daytona", ids).unwrap();
        let dir = data.path().join("s");
        let lower = prepare(data.path(), &dir, &layers, Path::new("/dev/null"), "name", &account).unwrap();
        assert_eq!(lower, "lower/0:lower/1");
        let etc = |name: &str| fs::read_to_string(dir.join("upper/root/etc").join(name)).unwrap();
        assert!(etc("passwd").starts_with("root:x:0:0:r:/root:/bin/sh\ndaytona:x:"), "{}", etc("passwd"));
        assert_eq!(etc("hostname"), "name\n");
        assert!(dir.join("upper/root/home/daytona").is_dir());
    }
}
