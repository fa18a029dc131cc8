//! CPU, memory and process limits, freezing and accounting through cgroups, v2 or v1.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::{Enforcement, Limits, RuntimeError, SandboxSpec};

/// Processes and threads a sandbox may have.
const MAX_PIDS: u64 = 2048;
/// The period of the CPU quota, in microseconds.
const CPU_PERIOD: f64 = 100_000.0;
/// The file in the data directory that remembers where groups were made.
const PARENTS: &str = "cgroups.json";

/// The controllers in use.
const CONTROLLERS: [&str; 3] = ["cpu", "memory", "pids"];

/// Where this server's groups are made.
#[derive(Debug, Default)]
pub(crate) struct Cgroups {
    /// A cgroup v2 directory, with the controllers enabled for its children.
    v2: Option<(PathBuf, Vec<String>)>,
    /// cgroup v1 directories by controller; `cpuacct` for accounting, `freezer` for freezing.
    v1: BTreeMap<&'static str, PathBuf>,
    /// Why there is no group for a controller.
    reason: String,
}

/// The groups of one sandbox; removed by [`Group::remove`].
#[derive(Clone, Debug, Default)]
pub(crate) struct Group {
    v2: Option<PathBuf>,
    v2_controllers: Vec<String>,
    v1: BTreeMap<&'static str, PathBuf>,
}

impl Cgroups {
    /// Finds and makes the parent groups, after removing what a killed server left.
    pub(crate) fn probe(data_dir: &Path) -> Self {
        clean(data_dir);
        let mut found = Self::default();
        let (Ok(mounts), Ok(own)) =
            (fs::read_to_string("/proc/self/mountinfo"), fs::read_to_string("/proc/self/cgroup"))
        else {
            "this system has no cgroups".clone_into(&mut found.reason);
            return found;
        };
        let name = format!("daytona-native-{}", crate::random_name());
        let mut reasons = Vec::new();
        for mount in mounts.lines().filter_map(Mount::parse) {
            if mount.kind == "cgroup2" && found.v2.is_none() {
                match v2_parent(&mount, &own, &name) {
                    Ok(parent) => found.v2 = Some(parent),
                    Err(error) => reasons.push(format!("cgroup v2: {error}")),
                }
            }
            if mount.kind == "cgroup" {
                for controller in ["cpu", "cpuacct", "memory", "pids", "freezer"] {
                    if !mount.options.iter().any(|option| option == controller) || found.v1.contains_key(controller) {
                        continue;
                    }
                    let parent = mount.own_group(&own, controller).join(&name);
                    match fs::create_dir(&parent) {
                        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                            reasons.push(format!("cgroup v1: {error}"));
                        }
                        _ => drop(found.v1.insert(controller, parent)),
                    }
                }
            }
        }
        if reasons.is_empty() {
            "no cgroup with this controller is mounted".clone_into(&mut found.reason);
        } else {
            reasons.sort();
            reasons.dedup();
            found.reason = format!(
                "{}; run the server as root, or under `systemd-run --user --scope -p Delegate=yes`",
                reasons.join("; ")
            );
        }
        if let Some((parent, _)) = &found.v2 {
            // Entering a v1 group takes time, and v2 can do both.
            for (controller, file) in [("freezer", "cgroup.freeze"), ("cpuacct", "cpu.stat")] {
                if parent.join(file).exists()
                    && let Some(path) = found.v1.remove(controller)
                    && !found.v1.values().any(|other| *other == path)
                {
                    let _ = fs::remove_dir(path);
                }
            }
        }
        let parents: Vec<_> = found.parents().cloned().collect();
        if let Ok(text) = serde_json::to_vec(&parents) {
            let _ = fs::write(data_dir.join(PARENTS), text);
        }
        found
    }

    fn parents(&self) -> impl Iterator<Item = &PathBuf> {
        let v2 = self.v2.iter().map(|(parent, _)| parent);
        v2.chain(self.v1.values())
    }

    /// Removes the parent groups; their children have to be gone.
    pub(crate) fn remove(&self) {
        for parent in self.parents() {
            let _ = fs::remove_dir(parent);
        }
    }

    /// Which limits hold.
    pub(crate) fn limits(&self) -> Limits {
        Limits {
            cpu: self.enforcement("cpu"),
            memory: self.enforcement("memory"),
            pids: self.enforcement("pids"),
            disk: Enforcement::NotEnforced {
                reason: "needs a file system with project quotas, which this one is not set up for".to_owned(),
            },
            freeze: self.enforcement("freezer"),
        }
    }

    fn enforcement(&self, controller: &str) -> Enforcement {
        let by = match &self.v2 {
            Some((_, controllers)) if controller == "freezer" || controllers.iter().any(|c| c == controller) => {
                "cgroup v2"
            }
            _ if self.v1.contains_key(controller) => "cgroup v1",
            _ => {
                return Enforcement::NotEnforced { reason: self.reason.clone() };
            }
        };
        Enforcement::Enforced { by: by.to_owned() }
    }

    /// Makes the groups of a sandbox with its limits.
    pub(crate) fn create(&self, spec: &SandboxSpec) -> Result<Group, RuntimeError> {
        let mut group = Group::default();
        let made = (|| {
            if let Some((parent, controllers)) = &self.v2 {
                let path = make(&parent.join(&spec.id))?;
                group.v2_controllers.clone_from(controllers);
                group.v2 = Some(path);
            }
            for (controller, parent) in &self.v1 {
                group.v1.insert(controller, make(&parent.join(&spec.id))?);
            }
            group.limit(spec)
        })();
        match made {
            Ok(()) => Ok(group),
            Err(error) => {
                group.remove();
                Err(error)
            }
        }
    }
}

fn make(path: &Path) -> Result<PathBuf, RuntimeError> {
    match fs::create_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(RuntimeError::io("make cgroup", path, error)),
        _ => Ok(path.to_owned()),
    }
}

impl Group {
    /// The v2 directory to be born in.
    pub(crate) fn v2(&self) -> Option<PathBuf> {
        self.v2.clone()
    }

    /// The v1 files to enter through.
    pub(crate) fn procs(&self) -> Vec<PathBuf> {
        let mut files: Vec<_> = self.v1.values().map(|dir| dir.join("cgroup.procs")).collect();
        files.dedup();
        files
    }

    fn has_v2(&self, controller: &str) -> Option<&Path> {
        let v2 = self.v2.as_deref()?;
        self.v2_controllers.iter().any(|c| c == controller).then_some(v2)
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "limits were checked to be finite and not negative; fractions of bytes do not matter"
    )]
    fn limit(&self, spec: &SandboxSpec) -> Result<(), RuntimeError> {
        let write = |dir: &Path, file: &str, value: String| {
            let path = dir.join(file);
            fs::write(&path, value).map_err(|error| RuntimeError::io("write", &path, error))
        };
        if spec.cpu > 0.0 {
            let quota = (spec.cpu * CPU_PERIOD).max(1000.0) as u64;
            if let Some(dir) = self.has_v2("cpu") {
                write(dir, "cpu.max", format!("{quota} {CPU_PERIOD}"))?;
            } else if let Some(dir) = self.v1.get("cpu") {
                write(dir, "cpu.cfs_period_us", CPU_PERIOD.to_string())?;
                write(dir, "cpu.cfs_quota_us", quota.to_string())?;
            }
        }
        if spec.memory_gib > 0.0 {
            let bytes = (spec.memory_gib * f64::from(1 << 30)) as u64;
            if let Some(dir) = self.has_v2("memory") {
                write(dir, "memory.max", bytes.to_string())?;
                // Absent without swap.
                let _ = write(dir, "memory.swap.max", "0".to_owned());
            } else if let Some(dir) = self.v1.get("memory") {
                write(dir, "memory.limit_in_bytes", bytes.to_string())?;
                let _ = write(dir, "memory.memsw.limit_in_bytes", bytes.to_string());
            }
        }
        if let Some(dir) = self.has_v2("pids").or(self.v1.get("pids").map(PathBuf::as_path)) {
            write(dir, "pids.max", MAX_PIDS.to_string())?;
        }
        Ok(())
    }

    /// Freezes or thaws, and returns when the kernel says it is done.
    pub(crate) fn freeze(&self, frozen: bool) -> Result<(), RuntimeError> {
        let v2 = self.v2.as_ref().map(|dir| dir.join("cgroup.freeze"));
        let (file, value, state, done) = if let Some(file) = v2.filter(|file| file.exists()) {
            let events = file.with_file_name("cgroup.events");
            let done = if frozen { "frozen 1" } else { "frozen 0" };
            (file, if frozen { "1" } else { "0" }, events, done)
        } else if let Some(dir) = self.v1.get("freezer") {
            let file = dir.join("freezer.state");
            let value = if frozen { "FROZEN" } else { "THAWED" };
            (file.clone(), value, file, value)
        } else {
            return Err(RuntimeError::Unsupported {
                op: "freeze",
                reason: "no cgroup freezer can be used here; stop the sandbox instead".to_owned(),
            });
        };
        fs::write(&file, value).map_err(|error| RuntimeError::io("write", &file, error))?;
        let deadline = Instant::now() + Duration::from_secs(5);
        loop {
            let now = fs::read_to_string(&state).map_err(|error| RuntimeError::io("read", &state, error))?;
            if now.lines().any(|line| line == done) {
                return Ok(());
            }
            if Instant::now() > deadline {
                let _ = fs::write(&file, if file.ends_with("freezer.state") { "THAWED" } else { "0" });
                return Err(RuntimeError::io("freeze", &file, io::ErrorKind::TimedOut.into()));
            }
            std::thread::sleep(Duration::from_micros(200));
        }
    }

    /// Memory in bytes, CPU time and processes, each where a controller counts it.
    pub(crate) fn usage(&self) -> (Option<u64>, Option<Duration>, Option<u64>) {
        let number = |path: PathBuf| fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
        let v1 = |controller: &str, file: &str| number(self.v1.get(controller)?.join(file));
        let v2 = |controller: &str, file: &str| number(self.has_v2(controller)?.join(file));
        let memory = v2("memory", "memory.current").or_else(|| v1("memory", "memory.usage_in_bytes"));
        let pids = v2("pids", "pids.current").or_else(|| v1("pids", "pids.current"));
        let cpu = v1("cpuacct", "cpuacct.usage").map(Duration::from_nanos).or_else(|| {
            // Counted in every v2 group, with or without the controller.
            let stat = fs::read_to_string(self.v2.as_ref()?.join("cpu.stat")).ok()?;
            let usage = stat.lines().find_map(|line| line.strip_prefix("usage_usec "))?;
            Some(Duration::from_micros(usage.parse().ok()?))
        });
        (memory, cpu, pids)
    }

    /// Whether the kernel ended a process because the memory limit was reached.
    pub(crate) fn ran_out_of_memory(&self) -> bool {
        let file = match self.has_v2("memory") {
            Some(dir) => dir.join("memory.events"),
            None => self.v1.get("memory").map(|dir| dir.join("memory.oom_control")).unwrap_or_default(),
        };
        let text = fs::read_to_string(file).unwrap_or_default();
        text.lines().any(|line| line.strip_prefix("oom_kill ").is_some_and(|count| count != "0"))
    }

    /// Removes the groups; what ran in them has to be gone or going.
    pub(crate) fn remove(&self) {
        for dir in self.v2.iter().chain(self.v1.values()) {
            remove_group(dir);
        }
    }
}

/// Removes one group. The kernel may need a moment after the last process.
fn remove_group(dir: &Path) {
    for _ in 0..200 {
        match fs::remove_dir(dir) {
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                std::thread::sleep(Duration::from_millis(1));
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!("cannot remove cgroup {}: {error}", dir.display());
                return;
            }
            _ => return,
        }
    }
    tracing::warn!("cgroup {} stays busy", dir.display());
}

/// Removes the groups an earlier server on this data directory left, ending what runs in them.
fn clean(data_dir: &Path) {
    let file = data_dir.join(PARENTS);
    let parents: Vec<PathBuf> =
        fs::read(&file).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
    for parent in parents {
        let ours = |part: &str| part.starts_with("daytona-native-");
        if !parent.file_name().and_then(|name| name.to_str()).is_some_and(ours) {
            continue;
        }
        let children = fs::read_dir(&parent).into_iter().flatten().flatten();
        for dir in children.map(|child| child.path()).filter(|path| path.is_dir()) {
            // A group frozen when its server was killed never ends by itself.
            let _ = fs::write(dir.join("freezer.state"), "THAWED");
            let _ = fs::write(dir.join("cgroup.freeze"), "0");
            let _ = fs::write(dir.join("cgroup.kill"), "1");
            remove_group(&dir);
        }
        let _ = fs::remove_dir(&parent);
    }
    let _ = fs::remove_file(file);
}

/// One line of mountinfo.
struct Mount {
    root: String,
    point: PathBuf,
    kind: String,
    options: Vec<String>,
}

impl Mount {
    fn parse(line: &str) -> Option<Self> {
        let (left, right) = line.split_once(" - ")?;
        let mut left = left.split(' ').skip(3);
        let (root, point) = (left.next()?, left.next()?);
        let mut right = right.split(' ');
        let kind = right.next()?.to_owned();
        let options = right.nth(1)?.split(',').map(str::to_owned).collect();
        Some(Self { root: root.to_owned(), point: point.into(), kind, options })
    }

    /// The group this process is in, in this hierarchy; `controller` is empty for v2.
    fn own_group(&self, own: &str, controller: &str) -> PathBuf {
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
fn v2_parent(mount: &Mount, own: &str, name: &str) -> io::Result<(PathBuf, Vec<String>)> {
    let own = mount.own_group(own, "");
    let available = fs::read_to_string(own.join("cgroup.controllers"))?;
    let available: Vec<&str> = available.split_whitespace().collect();
    let wanted: Vec<&str> = CONTROLLERS.into_iter().filter(|name| available.contains(name)).collect();
    let mut best: io::Result<(PathBuf, Vec<String>)> = Err(io::ErrorKind::NotFound.into());
    for place in [own, mount.point.clone()] {
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
