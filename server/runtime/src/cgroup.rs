//! CPU, memory and process limits, freezing and accounting through cgroups, v2 or v1.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::hierarchy::{Mount, Owner, clean, v2_parent};
use crate::{Enforcement, Limits, RuntimeError, SandboxSpec};

/// Processes and threads a sandbox may have.
const MAX_PIDS: u64 = 2048;
/// The period of the CPU quota, in microseconds.
const CPU_PERIOD: f64 = 100_000.0;
/// The file in the data directory that says where groups were made.
pub(crate) const PARENTS: &str = "cgroups.json";

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
    /// Processes live one group further down, see [`INSIDE`].
    nested: bool,
}

/// The group in which the processes of `root` live. With a user and cgroup namespace of its own `root` can mount its
/// group and write to it; the limits are in the group above, which it cannot see.
const INSIDE: &str = "inside";

impl Cgroups {
    /// Finds and makes the parent groups, after removing what a killed server left.
    pub(crate) fn probe(data_dir: &Path, owner: &Owner) -> Self {
        clean(data_dir, owner);
        let mut found = Self::default();
        let (Ok(mounts), Ok(own)) =
            (fs::read_to_string("/proc/self/mountinfo"), fs::read_to_string("/proc/self/cgroup"))
        else {
            "this system has no cgroups".clone_into(&mut found.reason);
            return found;
        };
        let name = owner.name();
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

    pub(crate) fn parents(&self) -> impl Iterator<Item = &PathBuf> {
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
    pub(crate) fn limits(&self, network: Enforcement) -> Limits {
        Limits {
            cpu: self.enforcement("cpu"),
            memory: self.enforcement("memory"),
            pids: self.enforcement("pids"),
            disk: Enforcement::NotEnforced {
                reason: "not implemented: a sandbox can fill the file system of the data directory".to_owned(),
            },
            freeze: self.enforcement("freezer"),
            network,
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
            group.limit(spec)?;
            group.nested = spec.user == "root";
            if group.nested {
                if let Some(memory) = group.v1.get("memory") {
                    // The rule since Linux 5.11.
                    let _ = fs::write(memory.join("memory.use_hierarchy"), "1");
                }
                for dir in group.v2.iter().chain(group.v1.values()) {
                    make(&dir.join(INSIDE))?;
                }
            }
            Ok(())
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

fn write(dir: &Path, file: &str, value: String) -> Result<(), RuntimeError> {
    let path = dir.join(file);
    fs::write(&path, value).map_err(|error| RuntimeError::io("write", &path, error))
}

impl Group {
    /// The v2 directory to be born in.
    pub(crate) fn v2(&self) -> Option<PathBuf> {
        self.v2.as_ref().map(|dir| self.inside(dir))
    }

    fn inside(&self, dir: &Path) -> PathBuf {
        if self.nested { dir.join(INSIDE) } else { dir.to_owned() }
    }

    /// All its groups.
    pub(crate) fn dirs(&self) -> Vec<PathBuf> {
        self.v2.iter().chain(self.v1.values()).cloned().collect()
    }

    /// The v1 files to enter through.
    pub(crate) fn procs(&self) -> Vec<PathBuf> {
        let mut files: Vec<_> = self.v1.values().map(|dir| self.inside(dir).join("cgroup.procs")).collect();
        files.dedup();
        files
    }

    fn has_v2(&self, controller: &str) -> Option<&Path> {
        let v2 = self.v2.as_deref()?;
        self.v2_controllers.iter().any(|c| c == controller).then_some(v2)
    }

    fn limit(&self, spec: &SandboxSpec) -> Result<(), RuntimeError> {
        self.resize(Some(spec.cpu), Some(spec.memory_gib))?;
        if let Some(dir) = self.has_v2("pids").or(self.v1.get("pids").map(PathBuf::as_path)) {
            write(dir, "pids.max", MAX_PIDS.to_string())?;
        }
        Ok(())
    }

    /// Sets cores and GiB, each where it is given; 0 is no limit and changes nothing.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "limits were checked to be finite and not negative; fractions of bytes do not matter"
    )]
    pub(crate) fn resize(&self, cpu: Option<f64>, memory_gib: Option<f64>) -> Result<(), RuntimeError> {
        if let Some(cpu) = cpu.filter(|cpu| *cpu > 0.0) {
            let quota = (cpu * CPU_PERIOD).max(1000.0) as u64;
            if let Some(dir) = self.has_v2("cpu") {
                write(dir, "cpu.max", format!("{quota} {CPU_PERIOD}"))?;
            } else if let Some(dir) = self.v1.get("cpu") {
                write(dir, "cpu.cfs_period_us", CPU_PERIOD.to_string())?;
                write(dir, "cpu.cfs_quota_us", quota.to_string())?;
            }
        }
        if let Some(memory) = memory_gib.filter(|memory| *memory > 0.0) {
            let bytes = (memory * f64::from(1 << 30)) as u64;
            if let Some(dir) = self.has_v2("memory") {
                write(dir, "memory.max", bytes.to_string())?;
                // Absent without swap.
                let _ = write(dir, "memory.swap.max", "0".to_owned());
            } else if let Some(dir) = self.v1.get("memory") {
                // Memory and swap together may not be less than memory: this is for more, the other for less.
                let _ = write(dir, "memory.memsw.limit_in_bytes", bytes.to_string());
                write(dir, "memory.limit_in_bytes", bytes.to_string())?;
                let _ = write(dir, "memory.memsw.limit_in_bytes", bytes.to_string());
            }
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

    /// Of the memory in use, the bytes that hold files.
    pub(crate) fn cache(&self) -> Option<u64> {
        let (dir, name) = match self.has_v2("memory") {
            Some(dir) => (dir, "file "),
            None => (self.v1.get("memory")?.as_path(), "cache "),
        };
        let stat = fs::read_to_string(dir.join("memory.stat")).ok()?;
        stat.lines().find_map(|line| line.strip_prefix(name))?.trim().parse().ok()
    }

    /// Whether the kernel ended a process because the memory limit was reached.
    pub(crate) fn ran_out_of_memory(&self) -> bool {
        let file = match self.has_v2("memory") {
            Some(dir) => dir.join("memory.events"),
            // Counted where the process was.
            None => self.v1.get("memory").map(|dir| self.inside(dir).join("memory.oom_control")).unwrap_or_default(),
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

/// Thaws one group: what was killed in a frozen one never ends by itself.
pub(crate) fn thaw(dir: &Path) {
    for (file, value) in [("freezer.state", "THAWED"), ("cgroup.freeze", "0")] {
        let file = dir.join(file);
        if file.exists() {
            let _ = fs::write(file, value);
        }
    }
}

/// Removes one group and all below it. The kernel may need a moment after the last process.
pub(crate) fn remove_group(dir: &Path) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_group(&entry.path());
        }
    }
    for _ in 0..200 {
        match fs::remove_dir(dir) {
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                thaw(dir);
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
