//! One command of a build, on a root of its own.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe;

use crate::ns::bind::{Bind, Source};
use crate::ns::{self, image};
use crate::probe::Mode;
use crate::protocol::{Command, Plan, Request};
use crate::runtime::{Inner, Prepared, Ran, Runtime, STEP, blocking};
use crate::{RuntimeError, SandboxSpec, StepMount, StepSource, StepSpec, Wire, lock};

/// Bytes of output that are read at once.
const PIECE: usize = 32 << 10;
const HOST_NAME: &str = "build";

/// A running step. Dropping it ends the command and all that it has started.
#[derive(Debug)]
pub struct Step {
    /// With [`Network::Wire`], the other end of its network.
    pub wire: Option<Wire>,
    output: pipe::Receiver,
    code: tokio::sync::watch::Receiver<Option<i32>>,
    gone: tokio::sync::watch::Receiver<Option<String>>,
    guard: Guard,
}

/// Ends the step when it is dropped, and removes what it needed.
#[derive(Debug)]
struct Guard {
    runtime: Runtime,
    id: String,
    dir: PathBuf,
}

impl Drop for Guard {
    fn drop(&mut self) {
        let (runtime, id, dir) = (self.runtime.clone(), std::mem::take(&mut self.id), std::mem::take(&mut self.dir));
        if let Some(live) = lock(&runtime.inner.live).get_mut(&id) {
            live.stopping = true;
            let _ = runtime.inner.link.send(&Request::Stop { seq: live.seq, force: true }, Vec::new());
        }
        if let Ok(handle) = tokio::runtime::Handle::try_current() {
            handle.spawn(async move {
                runtime.inner.ended(&id).await;
                let _ = blocking(move || {
                    let _ = crate::destroy::remove_tree(&dir);
                    Ok(())
                })
                .await;
            });
        }
    }
}

impl Step {
    /// More of what the command writes to stdout and stderr; `None` when it has ended.
    pub async fn output(&mut self) -> Option<Vec<u8>> {
        let mut piece = vec![0; PIECE];
        match self.output.read(&mut piece).await {
            Ok(0) | Err(_) => None,
            Ok(read) => {
                piece.truncate(read);
                Some(piece)
            }
        }
    }

    /// The exit code, or 128 and the signal, once nothing of the command runs any more.
    pub async fn ended(mut self) -> Result<i32, RuntimeError> {
        let _ = self.gone.wait_for(Option::is_some).await;
        let code = *self.code.borrow();
        let dir = self.guard.dir.clone();
        blocking(move || {
            let _ = crate::destroy::remove_tree(&dir);
            Ok(())
        })
        .await?;
        code.ok_or_else(|| RuntimeError::Launch {
            step: "run the command".to_owned(),
            source: io::Error::other(self.gone.borrow().clone().unwrap_or_default()),
        })
    }
}

impl Runtime {
    /// Starts one command of a build on layers of its own; it has the limits of `spec`.
    pub async fn step(&self, spec: StepSpec) -> Result<Step, RuntimeError> {
        let id = format!("{STEP}{}", crate::random_name());
        let dir = self.inner.data_dir.join("steps").join(&id);
        let failed = |error| RuntimeError::Launch { step: "make a pipe".to_owned(), source: error };
        let (output, input) =
            pipe::pipe().and_then(|(input, output)| Ok((output, input.into_blocking_fd()?))).map_err(failed)?;
        let guard = Guard { runtime: self.clone(), id: id.clone(), dir: dir.clone() };
        let prepare_dir = dir.clone();
        let step_id = id.clone();
        let prepare = move |inner: &Inner| prepare(inner, &step_id, &prepare_dir, &spec, input);
        let Ran { device, code, gone, .. } = self.inner.run(&id, prepare).await?;
        let wire = device.map(|device| Wire { device, gone: gone.clone() });
        Ok(Step { wire, output, code, gone, guard })
    }
}

fn prepare(inner: &Inner, id: &str, dir: &Path, spec: &StepSpec, output: OwnedFd) -> Result<Prepared, RuntimeError> {
    let Mode::Ns { base, userns } = &inner.outcome().1 else {
        return Err(RuntimeError::Unsupported {
            op: "a step of a build",
            reason: "the runtime `process` has no file system of its own; use `ns`".to_owned(),
        });
    };
    base.fill()?;
    // The host's own accounts are in the base.
    let named: Vec<PathBuf> = spec.lower.iter().cloned().chain(spec.host.then(|| base.path().to_owned())).collect();
    let account = image::Account::find(&named, if spec.user.is_empty() { "root" } else { &spec.user }, base.user)?;
    let mut view = ns::base::View::default();
    if spec.host {
        view = base.view.clone();
        image::stack(&mut view, &spec.lower);
    }
    let made = || -> io::Result<String> {
        fs::create_dir_all(dir)?;
        for name in ["mnt", "upper", "work"] {
            fs::create_dir(dir.join(name))?;
        }
        symlink(&spec.upper, dir.join("upper/root"))?;
        fs::create_dir(spec.work.join("root"))?;
        symlink(spec.work.join("root"), dir.join("work/root"))?;
        for layer in &view.overlays {
            let changed = like_all(&spec.upper, &layer.path)?;
            symlink(changed, dir.join("upper").join(&layer.name))?;
            fs::create_dir(spec.work.join(&layer.name))?;
            symlink(spec.work.join(&layer.name), dir.join("work").join(&layer.name))?;
        }
        fs::write(dir.join("hosts"), image::hosts(HOST_NAME))?;
        let lowest = if spec.host { base.path().to_owned() } else { image::skeleton(&inner.data_dir)? };
        image::link_layers(dir, &spec.lower, &lowest)
    };
    let lower = made().map_err(|error| RuntimeError::io("prepare", dir, error))?;
    let own = |source: PathBuf, target: &str| Bind {
        source: Source::Host(source),
        target: target.to_owned(),
        read_only: true,
    };
    let mut binds = vec![own(base.resolver(), "/etc/resolv.conf"), own(dir.join("hosts"), "/etc/hosts")];
    binds.extend(spec.mounts.iter().map(|StepMount { source, target, read_only }| Bind {
        source: match source {
            StepSource::Host(path) => Source::Host(path.clone()),
            StepSource::Memory(size) => Source::Memory(*size),
        },
        target: target.clone(),
        read_only: *read_only,
    }));
    let limits = SandboxSpec {
        id: id.to_owned(),
        user: if account.user.uid == 0 { "root" } else { "other" }.to_owned(),
        cpu: spec.cpu,
        memory_gib: spec.memory_gib,
        ..SandboxSpec::default()
    };
    let group = inner.cgroups().create(&limits)?;
    let mut env: BTreeMap<String, String> =
        [("HOME", account.home.display().to_string()), ("PATH", crate::probe::PATH.to_owned())]
            .map(|(name, value)| (name.to_owned(), value))
            .into();
    env.extend(spec.env.iter().cloned());
    let plan = ns::Plan {
        dir: dir.to_owned(),
        base: lower,
        view,
        home: None,
        binds,
        hostname: HOST_NAME.to_owned(),
        uid: account.user.uid,
        gid: account.user.gid,
        userns: *userns,
        network: spec.network,
        volumes: Vec::new(),
        cgroup: group.v2(),
        cgroup_procs: group.procs(),
        groups: group.dirs(),
    };
    let command = Command { argv: spec.argv.clone(), env, work_dir: spec.work_dir.clone() };
    let (plan, log) = (Plan::Ns(Box::new(plan)), File::from(output));
    Ok(Prepared { plan, agent: None, command: Some(command), group: Some(group), log })
}

/// Makes a folder of the host in an upper layer, with all above it.
fn like_all(upper: &Path, host: &str) -> io::Result<PathBuf> {
    let mut model = PathBuf::from("/");
    let mut path = upper.to_owned();
    for part in host.split('/').filter(|part| !part.is_empty()) {
        model.push(part);
        path.push(part);
        ns::base::like(&model, &path)?;
    }
    Ok(path)
}
