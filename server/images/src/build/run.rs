//! RUN, and the log of pulls.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::PathBuf;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::items::{self, Collector, Overrides};
use super::stage::{Making, cached};
use super::{Build, LogSink, Mount, MountSource, Network, RunStep, copy, field, users};
use crate::dockerfile::{Command, Run, RunMount, RunMountKind, Sharing, Step};
use crate::error::Context as _;
use crate::progress::Event;
use crate::pull::blocking;
use crate::store::{Scratch, mount_key};
use crate::view::View;
use crate::{Error, ImageRef, Result, digest};

/// Build arguments that every RUN step sees without an ARG. They do not count for the cache.
const PROXIES: &[&str] = &["ALL_PROXY", "FTP_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY"];
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Mounts of a step, and what keeps them there.
#[derive(Default)]
struct Mounts {
    list: Vec<Mount>,
    locks: Vec<tokio::sync::OwnedMutexGuard<()>>,
    leases: crate::store::Lease,
    scratches: Vec<Scratch>,
    contexts: Vec<Arc<copy::Context>>,
}

pub(super) async fn run(build: &mut Build<'_>, making: &mut Making, run: &Run, step: &Step) -> Result<()> {
    let argv = argv(making, run);
    let mut env = environment(build, making);
    let user = making.built.config.user.clone();
    let workdir = making.workdir().display().to_string();
    let mut hash = Sha256::new();
    making.parents(&mut hash);
    field(&mut hash, "RUN");
    for text in argv.iter().chain([&user, &workdir]) {
        field(&mut hash, text);
    }
    field(&mut hash, &format!("{:?} {}", env, run.no_network));
    let mut mounts = Mounts::default();
    for mount in &run.mounts {
        bind(build, making, mount, step, &mut hash, &mut mounts).await?;
    }
    let key = digest::text(hash);
    for (name, value) in build.options.args.iter().filter(|(name, _)| is_proxy(name)) {
        if !env.iter().any(|(have, _)| have == name) {
            env.push((name.clone(), value.clone()));
        }
    }
    let inner = Arc::clone(&build.store.inner);
    let guard = inner.lock(&key).await;
    if let Some(found) = cached(build, &key).await {
        return making.push(build, found);
    }
    for mount in &run.mounts {
        cache(build, making, mount, step, &mut mounts).await?;
    }
    let scratch = inner.scratch()?;
    let (upper, work) = (scratch.path().join("fs"), scratch.path().join("work"));
    let view = making.view(build);
    let prepare = || {
        fs::create_dir(&upper)?;
        fs::create_dir(&work)?;
        items::root(&upper, &view, inner.options.keep_owners)
    };
    prepare().context(|| "preparing a layer".to_owned())?;
    build.say(&format!(" ---> Running in {}", &digest::hex(&key)[..12]));
    let lower: Vec<PathBuf> = making.built.layers.iter().rev().map(|layer| layer.path.clone()).collect();
    let network = if run.no_network { Network::None } else { Network::Default };
    let what = RunStep {
        lower: &lower,
        upper: &upper,
        work: &work,
        argv: &argv,
        env: &env,
        user: &user,
        workdir: &workdir,
        mounts: &mounts.list,
        network,
    };
    let code = build.runner.run(what, build.log).await?;
    if code != 0 {
        let why = format!("the command returned a non-zero code: {code}");
        build.say(&format!("The command '{}' returned a non-zero code: {code}", argv.join(" ")));
        return Err(Error::Step { step: step.text.clone(), why, exit_code: Some(code) });
    }
    let layer = blocking(move || {
        let size = size(&upper).context(|| "measuring a layer".to_owned())?;
        let done = copy::commit(&inner, &key, &upper, size);
        drop((scratch, guard, mounts));
        done
    })
    .await?;
    // What a command took long for outlives this process; nobody waits for the disk.
    let (inner, ids) = (Arc::clone(&build.store.inner), [layer.0.diff_id.clone()]);
    drop(tokio::task::spawn_blocking(move || inner.flush(&ids)));
    making.push(build, layer)
}

pub(super) fn is_proxy(name: &str) -> bool {
    PROXIES.iter().any(|proxy| *proxy == name || proxy.to_ascii_lowercase() == name)
}

/// The command, with its here-documents.
fn argv(making: &Making, run: &Run) -> Vec<String> {
    let text = match (&run.command, run.documents.split_first()) {
        (Command::Exec(argv), _) => return argv.clone(),
        (Command::Shell(text), None) => return making.shell(text),
        (Command::Shell(text), Some((first, rest))) => {
            let alone = rest.is_empty() && text.starts_with("<<") && !text.contains(char::is_whitespace);
            if alone && first.body.starts_with("#!") {
                // A script with an interpreter of its own is a file, for as long as it runs.
                let end = end_of(&first.body);
                format!(
                    "f=$(mktemp) || exit; cat >\"$f\" <<'{end}'\n{}{end}\nchmod 700 \"$f\"; \"$f\"; c=$?; rm -f \"$f\"; exit $c",
                    first.body
                )
            } else if alone {
                first.body.clone()
            } else {
                let mut text = text.clone();
                for document in &run.documents {
                    text.push('\n');
                    text.push_str(&document.body);
                    text.push_str(&document.name);
                }
                text
            }
        }
    };
    making.shell(&text)
}

/// A line that a text does not have.
fn end_of(text: &str) -> String {
    let mut end = "END".to_owned();
    while text.lines().any(|line| line == end) {
        end.push('_');
    }
    end
}

fn environment(build: &Build<'_>, making: &Making) -> Vec<(String, String)> {
    let config = &making.built.config;
    let mut env: Vec<(String, String)> = config
        .env
        .iter()
        .filter_map(|pair| pair.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned())))
        .collect();
    for (name, value) in &making.built.args {
        if config.variable(name).is_none() {
            env.push((name.clone(), value.clone()));
        }
    }
    let missing = |env: &[(String, String)], name: &str| !env.iter().any(|(have, _)| have == name);
    if missing(&env, "PATH") {
        env.push(("PATH".to_owned(), PATH.to_owned()));
    }
    if missing(&env, "HOME") {
        let name = config.user.split(':').next().unwrap_or_default();
        let home = users::user(&making.view(build), name).map(|user| user.home).filter(|home| !home.is_empty());
        env.push(("HOME".to_owned(), home.unwrap_or_else(|| "/".to_owned())));
    }
    env
}

/// Feeds a mount to the key of the step, and readies it where its content counts.
async fn bind(
    build: &mut Build<'_>,
    making: &Making,
    mount: &RunMount,
    step: &Step,
    hash: &mut Sha256,
    mounts: &mut Mounts,
) -> Result<()> {
    let target = target(build, making, mount, step)?;
    field(hash, &format!("mount {target} {}", mount.read_only));
    let RunMountKind::Bind { from, source } = &mount.kind else {
        field(hash, &format!("{:?}", mount.kind));
        return Ok(());
    };
    let source = making.expand(build, source, step.line)?;
    let (view, context, lease) = copy::source(build, making, from.as_deref(), step.line).await?;
    mounts.leases.extend(lease);
    mounts.contexts.extend(context);
    let (inner, text) = (Arc::clone(&build.store.inner), step.text.clone());
    let (path, sum, scratch) = blocking(move || {
        let what = || format!("mounting {source}");
        let found = view.find(&super::stage::clean(std::path::Path::new(&source)), true).context(what)?;
        let node = found.ok_or_else(|| Error::Step {
            step: text,
            why: format!("{source:?}, which is to be mounted, was not found"),
            exit_code: None,
        })?;
        let scratch = inner.scratch()?;
        let empty = View::new(Vec::new(), inner.options.user_xattr);
        let all = super::ignore::Ignore::default();
        let mut collector = Collector {
            source: &view,
            target: &empty,
            ignore: &all,
            exclude: &all,
            overrides: Overrides::default(),
            items: Vec::new(),
        };
        let place = scratch.path().join("fs");
        fs::create_dir(&place).context(what)?;
        let path = if node.is_dir() {
            collector.folder(&node, std::path::Path::new("/")).context(what)?;
            place.clone()
        } else {
            collector.file(&node, PathBuf::from("/file")).context(what)?;
            place.join("file")
        };
        let mut sum = Sha256::default();
        items::hash(&collector.items, &mut sum).context(what)?;
        items::write(&collector.items, &place, &empty, inner.options.keep_owners).context(what)?;
        Ok((path, digest::text(sum), scratch))
    })
    .await?;
    field(hash, &sum);
    mounts.scratches.push(scratch);
    mounts.list.push(Mount { target, source: MountSource::Host(path), read_only: mount.read_only });
    Ok(())
}

fn target(build: &Build<'_>, making: &Making, mount: &RunMount, step: &Step) -> Result<String> {
    let target = making.expand(build, &mount.target, step.line)?;
    Ok(super::stage::clean(&making.workdir().join(target)).display().to_string())
}

/// Readies mounts whose content does not count: caches and memory.
async fn cache(build: &Build<'_>, making: &Making, mount: &RunMount, step: &Step, mounts: &mut Mounts) -> Result<()> {
    let target = target(build, making, mount, step)?;
    let source = match &mount.kind {
        RunMountKind::Bind { .. } => return Ok(()),
        RunMountKind::Tmpfs { size } => MountSource::Tmpfs { size: *size },
        RunMountKind::Cache { id, sharing, mode, owner } => {
            let inner = &build.store.inner;
            let id = id.as_ref().map(|id| making.expand(build, id, step.line)).transpose()?;
            let name = digest::hex(&digest::of(id.as_ref().unwrap_or(&target).as_bytes()))[..32].to_owned();
            mounts.leases.extend(inner.hold(&mount_key(&name)));
            if *sharing != Sharing::Shared {
                mounts.locks.push(inner.lock(&mount_key(&name)).await);
            }
            let path = inner.dir.join("mounts").join(name);
            let what = || format!("making the folder of the cache {target}");
            if !path.exists() {
                fs::create_dir_all(&path).context(what)?;
                fs::set_permissions(&path, fs::Permissions::from_mode(*mode)).context(what)?;
                if inner.options.keep_owners {
                    std::os::unix::fs::chown(&path, Some(owner.0), Some(owner.1)).context(what)?;
                }
            }
            fs::File::open(&path).and_then(|folder| folder.set_modified(std::time::SystemTime::now())).context(what)?;
            MountSource::Host(path)
        }
    };
    mounts.list.push(Mount { target, source, read_only: mount.read_only });
    Ok(())
}

/// Bytes of the files below a folder, of links to one file once.
fn size(folder: &std::path::Path) -> std::io::Result<u64> {
    let mut seen = std::collections::HashSet::new();
    let mut size = 0;
    for entry in walkdir::WalkDir::new(folder) {
        let Ok(entry) = entry else { continue };
        let meta = entry.metadata()?;
        if meta.is_file() && (meta.nlink() == 1 || seen.insert(meta.ino())) {
            size += meta.size();
        }
    }
    Ok(size)
}

/// The log of a pull, one line for what a reader wants to know.
pub(super) fn pulled(log: &dyn LogSink, image: &ImageRef, event: Event) {
    let short = |digest: &str| digest::hex(digest)[..12].to_owned();
    let line = match event {
        Event::Resolved { digest, layers, bytes } => {
            let tag = image.tag().unwrap_or("latest");
            format!(
                "{tag}: Pulling from {}/{} ({layers} layers, {bytes} bytes)\nDigest: {digest}",
                image.registry(),
                image.repository()
            )
        }
        Event::Exists { layer } => format!("{}: Already exists", short(&layer)),
        Event::Done { layer } => format!("{}: Pull complete", short(&layer)),
        Event::Retrying { why } => format!("[Warning] {why}"),
        Event::Downloading { .. } | Event::Unpacking { .. } => return,
    };
    log.write(format!("{line}\n").as_bytes());
}
