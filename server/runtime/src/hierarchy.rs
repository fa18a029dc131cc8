//! Finding the cgroup hierarchies, and this server's places in them.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::cgroup::{PARENTS, remove_group, thaw};
use crate::table;

/// The controllers in use.
const CONTROLLERS: [&str; 3] = ["cpu", "memory", "pids"];

/// How the groups of a server are named: after the folder that it serves, which no copy of the folder has in common
/// with it, and after its launcher, with which all that is in the groups ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    device: u64,
    inode: u64,
    launcher: u32,
    started: u64,
}

impl Owner {
    pub(crate) fn new(data_dir: &Path, launcher: u32) -> io::Result<Self> {
        let folder = fs::metadata(data_dir)?;
        let started = table::started(launcher).unwrap_or_default();
        Ok(Self { device: folder.dev(), inode: folder.ino(), launcher, started })
    }

    pub(crate) fn name(&self) -> String {
        let Self { device, inode, launcher, started } = self;
        format!("{PREFIX}{device:x}-{inode:x}-{launcher}-{started}")
    }

    fn parse(name: &str) -> Option<Self> {
        let mut parts = name.strip_prefix(PREFIX)?.split('-');
        let owner = Self {
            device: u64::from_str_radix(parts.next()?, 16).ok()?,
            inode: u64::from_str_radix(parts.next()?, 16).ok()?,
            launcher: parts.next()?.parse().ok()?,
            started: parts.next()?.parse().ok()?,
        };
        parts.next().is_none().then_some(owner)
    }

    /// Whether groups of this name were made for the same folder by a server that is gone.
    fn is_followed_by(&self, next: &Self) -> bool {
        self.is_of_folder_of(next) && table::started(self.launcher) != Some(self.started)
    }

    fn is_of_folder_of(&self, other: &Self) -> bool {
        (self.device, self.inode) == (other.device, other.inode)
    }

    /// The same, after a while: the launcher of a server that was killed ends a moment later, and `next` holds the
    /// folder alone.
    fn gives_way_to(&self, next: &Self) -> bool {
        let end = Instant::now() + ENDING;
        while self.is_of_folder_of(next) && !self.is_followed_by(next) && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(5));
        }
        self.is_followed_by(next)
    }
}

const PREFIX: &str = "daytona-native-";
/// How long the launcher of a killed server may take to end.
const ENDING: Duration = Duration::from_secs(5);

/// Removes the groups an earlier server on this data directory left, ending what runs in them. The file says where to
/// look, and no more: it may be a copy of another server's.
pub(crate) fn clean(data_dir: &Path, owner: &Owner) {
    let file = data_dir.join(PARENTS);
    let parents: Vec<PathBuf> =
        fs::read(&file).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
    for parent in parents {
        let made_by = parent.file_name().and_then(|name| Owner::parse(name.to_str()?));
        if !made_by.is_some_and(|made_by| made_by.gives_way_to(owner)) || !is_group(&parent) {
            continue;
        }
        let children = fs::read_dir(&parent).into_iter().flatten().flatten();
        for dir in children.map(|child| child.path()).filter(|path| path.is_dir()) {
            thaw(&dir);
            let _ = fs::write(dir.join("cgroup.kill"), "1");
            remove_group(&dir);
        }
        let _ = fs::remove_dir(&parent);
    }
    let _ = fs::remove_file(file);
}

/// The groups of servers that are gone and have left them: killed together with their launchers, and not started again.
pub fn left_groups() -> Vec<PathBuf> {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mounts = mounts.lines().filter_map(Mount::parse).filter(|mount| mount.kind.starts_with("cgroup"));
    let places: BTreeSet<PathBuf> = mounts
        .flat_map(|mount| {
            let controllers = mount.options.iter().map(String::as_str).chain([""]);
            let mut places: Vec<_> = controllers.map(|controller| mount.own_group(&own, controller)).collect();
            places.push(mount.point);
            places
        })
        .collect();
    let groups = places.iter().flat_map(|place| fs::read_dir(place).into_iter().flatten().flatten());
    groups
        .filter(|group| {
            let owner = group.file_name().to_str().and_then(Owner::parse);
            owner.is_some_and(|owner| table::started(owner.launcher) != Some(owner.started))
        })
        .map(|group| group.path())
        .collect()
}

/// Whether the kernel's groups are there, and not just any folder.
#[cfg(target_os = "linux")]
fn is_group(path: &Path) -> bool {
    // CGROUP_SUPER_MAGIC and CGROUP2_SUPER_MAGIC.
    rustix::fs::statfs(path).is_ok_and(|found| matches!(found.f_type, 0x0027_e0eb | 0x6367_7270))
}

#[cfg(not(target_os = "linux"))]
fn is_group(_: &Path) -> bool {
    false
}

/// One line of mountinfo.
pub(crate) struct Mount {
    root: String,
    point: PathBuf,
    pub(crate) kind: String,
    pub(crate) options: Vec<String>,
}

impl Mount {
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let (left, right) = line.split_once(" - ")?;
        let mut left = left.split(' ').skip(3);
        let (root, point) = (left.next()?, left.next()?);
        let mut right = right.split(' ');
        let kind = right.next()?.to_owned();
        let options = right.nth(1)?.split(',').map(str::to_owned).collect();
        Some(Self { root: root.to_owned(), point: point.into(), kind, options })
    }

    /// The group this process is in, in this hierarchy; `controller` is empty for v2.
    pub(crate) fn own_group(&self, own: &str, controller: &str) -> PathBuf {
        let path = own.lines().find_map(|line| {
            let (_, rest) = line.split_once(':')?;
            let (controllers, path) = rest.split_once(':')?;
            controllers.split(',').any(|name| name == controller).then_some(path)
        });
        let path = path.unwrap_or("/");
        // A bind of a subtree shows only what is below its root.
        let below = path.strip_prefix(self.root.trim_end_matches('/')).unwrap_or(path);
        let group = self.point.join(below.trim_start_matches('/'));
        if group.exists() { group } else { self.point.clone() }
    }
}

/// Makes the parent in the v2 hierarchy, with as many controllers as can be had.
pub(crate) fn v2_parent(mount: &Mount, own: &str, name: &str) -> io::Result<(PathBuf, Vec<String>)> {
    let own = mount.own_group(own, "");
    let available = fs::read_to_string(own.join("cgroup.controllers"))?;
    let available: Vec<&str> = available.split_whitespace().collect();
    let wanted: Vec<&str> = CONTROLLERS.into_iter().filter(|name| available.contains(name)).collect();
    let mut best: io::Result<(PathBuf, Vec<String>)> = Err(io::ErrorKind::NotFound.into());
    let mut places = vec![own, mount.point.clone()];
    places.dedup();
    for place in places {
        let parent = place.join(name);
        match fs::create_dir(&parent) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                best = best.or(Err(error));
                continue;
            }
            _ => {}
        }
        let enabled = enable(&place, &parent, &wanted);
        match &best {
            Ok((_, before)) if before.len() >= enabled.len() => drop(fs::remove_dir(&parent)),
            worse => {
                if let Ok((before, _)) = worse {
                    let _ = fs::remove_dir(before);
                }
                let complete = enabled.len() == wanted.len();
                best = Ok((parent, enabled));
                if complete {
                    break;
                }
            }
        }
    }
    best
}

/// Passes controllers on from `place` to `parent` and from there to its children; those that were.
fn enable(place: &Path, parent: &Path, wanted: &[&str]) -> Vec<String> {
    let pass_on =
        |group: &Path, controller: &str| fs::write(group.join("cgroup.subtree_control"), format!("+{controller}"));
    let mut enabled = Vec::new();
    for controller in wanted {
        let passed = pass_on(place, controller).or_else(|error| {
            // A group with processes in it cannot; when they are this server's they can move.
            if error.kind() == io::ErrorKind::ResourceBusy && step_aside(place).is_ok() {
                pass_on(place, controller)
            } else {
                Err(error)
            }
        });
        if passed.and_then(|()| pass_on(parent, controller)).is_ok() {
            enabled.push((*controller).to_owned());
        }
    }
    enabled
}

/// Moves this server and its launcher from `place` to a group below, if nobody else is there.
fn step_aside(place: &Path) -> io::Result<()> {
    let all = fs::read_to_string(place.join("cgroup.procs"))?;
    let ours = crate::process::tree_of(i32::try_from(std::process::id()).ok());
    let ours: Vec<String> = ours.iter().map(|pid| pid.as_raw_nonzero().to_string()).collect();
    if !all.lines().all(|pid| ours.iter().any(|own| own == pid)) {
        return Err(io::ErrorKind::ResourceBusy.into());
    }
    let aside = place.join("daytona-native-server");
    match fs::create_dir(&aside) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    all.lines().try_for_each(|pid| fs::write(aside.join("cgroup.procs"), pid))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str =
        "42 24 0:38 /docker/abc /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate";

    #[test]
    fn groups_are_known_by_folder_and_launcher() {
        let (folder, other) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        let own = Owner::new(folder.path(), std::process::id()).expect("an owner");
        assert_eq!(Owner::parse(&own.name()), Some(own));
        let gone = Owner { started: own.started + 1, ..own };
        assert!(gone.is_followed_by(&own), "its launcher is gone");
        assert!(!own.is_followed_by(&gone), "its launcher runs");
        let copy = Owner::new(other.path(), std::process::id()).expect("an owner");
        assert!(!gone.is_followed_by(&copy), "another folder");
        for name in ["daytona-native-server", "daytona-native-0011223344556677", "daytona-native-1-2-3-4-5", "x"] {
            assert_eq!(Owner::parse(name), None, "{name}");
        }
        assert!(!is_group(folder.path()));
    }

    #[test]
    fn mounts_are_read() {
        let mount = Mount::parse(LINE).expect("a mount");
        assert_eq!((mount.kind.as_str(), mount.root.as_str()), ("cgroup2", "/docker/abc"));
        assert_eq!(mount.point, Path::new("/sys/fs/cgroup/unified"));
        assert_eq!(mount.options, ["rw", "nsdelegate"]);
        assert!(Mount::parse("nonsense").is_none());
    }

    #[test]
    fn own_group_is_looked_for_below_the_mount() {
        let root = tempfile::tempdir().expect("a folder");
        fs::create_dir(root.path().join("inner")).expect("a folder");
        let mount = Mount {
            root: "/docker/abc".to_owned(),
            point: root.path().to_owned(),
            kind: "cgroup2".to_owned(),
            options: Vec::new(),
        };
        let own = "4:cpu,cpuacct:/other\n0::/docker/abc/inner\n";
        assert_eq!(mount.own_group(own, ""), root.path().join("inner"));
        // One that cannot be seen from here: the top of what can.
        assert_eq!(mount.own_group(own, "cpu"), root.path());
    }

    /// `hugetlb` stands for the controllers that a machine with cgroup v1 does not have in v2.
    #[test]
    fn a_server_alone_in_its_group_steps_aside() {
        let point = Path::new("/sys/fs/cgroup/unified");
        let text = |path: PathBuf| fs::read_to_string(path).unwrap_or_default();
        if !text(point.join("cgroup.controllers")).contains("hugetlb") {
            println!("skipped: no spare controller in a cgroup v2 hierarchy at {}", point.display());
            return;
        }
        let place = point.join(format!("daytona-test-{}", crate::random_name()));
        if fs::create_dir(&place).is_err() {
            println!("skipped: this user cannot make cgroups");
            return;
        }
        let had = text(point.join("cgroup.subtree_control")).contains("hugetlb");
        fs::write(point.join("cgroup.subtree_control"), "+hugetlb").expect("passed on by the root");
        let mut other = std::process::Command::new("sleep").arg("60").spawn().expect("a process");
        fs::write(place.join("cgroup.procs"), other.id().to_string()).expect("moved");
        let parent = place.join("parent");
        fs::create_dir(&parent).expect("a group");
        assert_eq!(enable(&place, &parent, &["hugetlb", "unheard-of"]), ["hugetlb"]);
        assert_eq!(text(place.join("daytona-native-server/cgroup.procs")).trim(), other.id().to_string());
        let child = parent.join("child");
        fs::create_dir(&child).expect("a group");
        assert!(child.join("hugetlb.2MB.max").exists());
        other.kill().and_then(|()| other.wait()).expect("ended");
        for dir in [child, parent, place.join("daytona-native-server"), place] {
            remove_group(&dir);
        }
        if !had {
            let _ = fs::write(point.join("cgroup.subtree_control"), "-hugetlb");
        }
    }
}
