//! COPY and ADD.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use sha2::{Digest as _, Sha256};

use super::ignore::Ignore;
use super::items::{self, Collector, Content, Item, Overrides};
use super::stage::{Making, cached, clean};
use super::{Build, fetch, field, users};
use crate::dockerfile::{Copy, Source, Step, words};
use crate::error::Context as _;
use crate::image::Layer;
use crate::pull::{Cancel, XZ_MEMORY, blocking, decompressed};
use crate::store::{Inner, Lease, Scratch, StoreOptions};
use crate::unpack::unpack;
use crate::view::{Node, View};
use crate::{Error, Result, digest};

/// The files of the build, unpacked.
#[derive(Debug)]
pub(super) struct Context {
    scratch: Scratch,
    ignore: Ignore,
}

impl Context {
    pub(super) fn view(&self) -> View {
        View::folder(self.scratch.path().to_owned())
    }
}

/// The context, unpacked at its first use.
pub(super) async fn context(build: &mut Build<'_>) -> Result<Arc<Context>> {
    if let Some(context) = &build.context {
        return Ok(Arc::clone(context));
    }
    let (inner, tars) = (Arc::clone(&build.store.inner), build.contexts.to_vec());
    let cancel = Cancel::default();
    let cancelled = Arc::clone(&cancel.0);
    let context = blocking(move || {
        let scratch = inner.scratch()?;
        let options = StoreOptions { keep_owners: false, ..inner.options.clone() };
        for tar in tars {
            let what = || format!("reading the context {}", tar.display());
            let file = File::open(&tar).context(what)?;
            unpack(decompressed(file).context(what)?, scratch.path(), &options, &cancelled).map_err(
                |error| match error {
                    Error::Corrupt { expected, got, .. } => {
                        Error::Corrupt { what: "the context".to_owned(), expected, got }
                    }
                    other => other,
                },
            )?;
        }
        let text = std::fs::read_to_string(scratch.path().join(".dockerignore")).unwrap_or_default();
        Ok(Arc::new(Context { ignore: Ignore::new(text.lines()), scratch }))
    })
    .await?;
    build.context = Some(Arc::clone(&context));
    Ok(context)
}

/// Where a copy comes from; values that keep it there go along.
pub(super) async fn source(
    build: &mut Build<'_>,
    making: &Making,
    from: Option<&str>,
    line: usize,
) -> Result<(View, Option<Arc<Context>>, Lease)> {
    let Some(from) = from else {
        let context = context(build).await?;
        return Ok((context.view(), Some(context), Lease::default()));
    };
    let from = build.global(from, line)?;
    let base = build.base(&from, making.at).await?;
    Ok((base.view(build.store), None, base.lease))
}

pub(super) async fn copy(build: &mut Build<'_>, making: &mut Making, copy: &Copy, step: &Step) -> Result<()> {
    let line = step.line;
    let mut paths = Vec::new();
    for source in &copy.sources {
        paths.push(match source {
            Source::Path(path) => Source::Path(making.expand(build, path, line)?),
            Source::Document(document) => {
                let mut document = document.clone();
                if document.expand {
                    let expanded = words::expand_body(&document.body, &|name| making.value(name));
                    document.body = expanded.map_err(|error| Error::Dockerfile { line, why: format!("{error:?}") })?;
                }
                Source::Document(document)
            }
        });
    }
    let expand = |text: &Option<String>| text.as_ref().map(|text| making.expand(build, text, line)).transpose();
    let (target, chown, chmod) =
        (making.expand(build, &copy.target, line)?, expand(&copy.chown)?, expand(&copy.chmod)?);
    let checksum = expand(&copy.checksum)?;
    let bad = |why: String| Error::Dockerfile { line, why };
    let mode = chmod.map(|mode| u32::from_str_radix(&mode, 8).map_err(|_| bad(format!("--chmod={mode} is not octal"))));
    let only_data = paths.iter().all(|path| match path {
        Source::Path(path) => copy.add && is_url(path),
        Source::Document(_) => true,
    });
    // What is written in the Dockerfile itself needs no context.
    let (view, context, lease) = if only_data {
        let view = View::new(Vec::new(), build.store.inner.options.user_xattr);
        (view, None, Lease::default())
    } else {
        source(build, making, copy.from.as_deref(), line).await?
    };
    let mut work = Work {
        inner: Arc::clone(&build.store.inner),
        source: view,
        context,
        _lease: lease,
        image: making.view(build),
        target: making.workdir().join(&target),
        folder: target.ends_with('/') || target.ends_with("/.") || target == "." || target == ".." || paths.len() > 1,
        chown,
        mode: mode.transpose()?,
        exclude: copy.exclude.clone(),
        add: copy.add,
        step: step.text.clone(),
        scratches: Vec::new(),
        downloads: Vec::new(),
    };
    for path in &paths {
        if let Source::Path(url) = path
            && copy.add
            && is_url(url)
        {
            let scratch = build.store.inner.scratch()?;
            let file = scratch.path().join("download");
            let limit = build.store.inner.options.limits.layer_bytes;
            fetch::fetch(url, &file, limit, checksum.as_deref(), &build.options.allow_address).await?;
            work.scratches.push(scratch);
            work.downloads.push((url.clone(), file));
        }
    }
    let (items, work) = blocking(move || work.collect(&paths)).await?;
    let mut hash = Sha256::new();
    making.parents(&mut hash);
    field(&mut hash, "COPY");
    let (items, key) = blocking(move || {
        items::hash(&items, &mut hash).context(|| "reading what is to be copied".to_owned())?;
        Ok((items, digest::text(hash)))
    })
    .await?;
    let layer = layer(build, &key, items, work.image.clone(), work.scratches).await?;
    making.push(build, layer)
}

fn is_url(path: &str) -> bool {
    path.starts_with("http://") || path.starts_with("https://")
}

/// Makes a layer of items, unless the step was done before.
pub(super) async fn layer(
    build: &Build<'_>,
    step: &str,
    items: Vec<Item>,
    view: View,
    sources: Vec<Scratch>,
) -> Result<(Layer, Lease)> {
    let inner = Arc::clone(&build.store.inner);
    let guard = inner.lock(step).await;
    if let Some(found) = cached(build, step).await {
        return Ok(found);
    }
    let step = step.to_owned();
    blocking(move || {
        let scratch = inner.scratch()?;
        let folder = scratch.path().join("fs");
        let what = || "writing the copied files".to_owned();
        let done = std::fs::create_dir(&folder)
            .and_then(|()| items::write(&items, &folder, &view, inner.options.keep_owners))
            .context(what)
            .and_then(|size| commit(&inner, &step, &folder, size));
        scratch.remove();
        drop((sources, guard));
        done
    })
    .await
}

/// Stores the folder that a step has made under a new id, and notes it for the next build.
pub(super) fn commit(inner: &Inner, step: &str, folder: &Path, size: u64) -> Result<(Layer, Lease)> {
    let mut nonce = [0; 16];
    let what = || "naming a layer".to_owned();
    File::open("/dev/urandom").and_then(|mut random| random.read_exact(&mut nonce)).context(what)?;
    let mut hash = Sha256::new_with_prefix(step);
    hash.update(nonce);
    let diff_id = digest::text(hash);
    let done = inner.commit(folder, &diff_id, size)?;
    inner.note_step(digest::hex(step), &diff_id)?;
    Ok(done)
}

/// All that is needed to say which files a COPY or ADD makes.
struct Work {
    inner: Arc<Inner>,
    source: View,
    context: Option<Arc<Context>>,
    _lease: Lease,
    image: View,
    target: PathBuf,
    /// The target is a folder, as written.
    folder: bool,
    chown: Option<String>,
    mode: Option<u32>,
    exclude: Vec<String>,
    add: bool,
    step: String,
    scratches: Vec<Scratch>,
    downloads: Vec<(String, PathBuf)>,
}

impl Work {
    fn fail(&self, why: impl Into<String>) -> Error {
        Error::Step { step: self.step.clone(), why: why.into(), exit_code: None }
    }

    fn collect(mut self, sources: &[Source]) -> Result<(Vec<Item>, Self)> {
        let what = || "collecting what is to be copied".to_owned();
        let owner = match &self.chown {
            Some(owner) => users::owner(&self.image, owner).map_err(|why| self.fail(why))?,
            None => (0, 0),
        };
        let overrides = Overrides { mode: self.mode, owner: Some(owner) };
        let target = self.image.resolve(&clean_end(&self.target)).context(what)?;
        let there = self.image.find(&target, true).context(what)?;
        let folder = self.folder || there.is_some_and(|node| node.is_dir());
        let (context, none) = (self.context.clone(), Ignore::default());
        let ignore = context.as_ref().map_or(&none, |context| &context.ignore);
        let exclude = Ignore::new(self.exclude.iter().map(String::as_str));
        let (source, image) = (self.source.clone(), self.image.clone());
        let mut collector =
            Collector { source: &source, target: &image, ignore, exclude: &exclude, overrides, items: Vec::new() };
        let place = |name: &str| if folder { target.join(name) } else { target.clone() };
        for source in sources {
            match source {
                Source::Document(document) => collector.items.push(Item {
                    target: place(&document.name),
                    content: Content::Data(document.body.clone().into_bytes()),
                    mode: self.mode.unwrap_or(0o644),
                    owner,
                    time: None,
                }),
                Source::Path(url) if self.add && is_url(url) => {
                    let path = url.split(['?', '#']).next().unwrap_or(url);
                    let name = path.rsplit('/').next().unwrap_or_default();
                    if folder && name.is_empty() {
                        return Err(
                            self.fail(format!("{url} has no name of a file, and {} is a folder", target.display()))
                        );
                    }
                    let found = self.downloads.iter().find(|(from, _)| from == url);
                    let (_, file) = found.ok_or_else(|| self.fail("the download is missing"))?;
                    collector.items.push(Item {
                        target: place(name),
                        content: Content::File(file.clone()),
                        mode: self.mode.unwrap_or(0o600),
                        owner,
                        time: None,
                    });
                }
                Source::Path(path) => {
                    let nodes: Vec<Node> = items::expand(collector.source, path).context(what)?;
                    let nodes: Vec<_> =
                        nodes.into_iter().filter(|node| !ignore.leaves_out(&node.path, node.is_dir())).collect();
                    if nodes.is_empty() {
                        let whence = if self.context.is_some() { "the build context" } else { "the source" };
                        return Err(self.fail(format!("{path:?} was not found in {whence}")));
                    }
                    if nodes.len() > 1 && !folder {
                        return Err(self.fail(format!("{path:?} is several files: the target must end with /")));
                    }
                    for node in nodes {
                        self.node(&mut collector, &node, &target, folder)?;
                    }
                }
            }
        }
        Ok((collector.items, self))
    }

    fn node(&mut self, collector: &mut Collector<'_>, node: &Node, target: &Path, folder: bool) -> Result<()> {
        let what = || format!("copying {}", node.path.display());
        if node.is_dir() {
            return collector.folder(node, target).context(what);
        }
        if self.add
            && node.meta.is_file()
            && let Some(scratch) = self.extract(&node.real[0])?
        {
            let view = View::folder(scratch.path().to_owned());
            let root = view.root().context(what)?.ok_or(Error::Cancelled)?;
            let all = Ignore::default();
            // Files of an archive keep their owners, unless the instruction says otherwise.
            let overrides = Overrides {
                owner: if self.chown.is_some() { collector.overrides.owner } else { None },
                ..collector.overrides
            };
            let mut inner = Collector {
                source: &view,
                target: collector.target,
                ignore: &all,
                exclude: &all,
                overrides,
                items: Vec::new(),
            };
            inner.folder(&root, target).context(what)?;
            collector.items.append(&mut inner.items);
            self.scratches.push(scratch);
            return Ok(());
        }
        let name = node.path.file_name().unwrap_or_default();
        let place = if folder { target.join(name) } else { target.to_owned() };
        collector.file(node, place).context(what)
    }

    /// Unpacks a file if it is an archive.
    fn extract(&self, path: &Path) -> Result<Option<Scratch>> {
        let what = || format!("reading {}", path.display());
        let open = || File::open(path).and_then(decompressed);
        let mut head = Vec::new();
        match open().context(what)?.take(512).read_to_end(&mut head) {
            Ok(_) if head.get(257..262) == Some(b"ustar") => {}
            Err(error) if error.kind() == io::ErrorKind::OutOfMemory => {
                let limit = XZ_MEMORY >> 10;
                let what = format!("{}: ADD of an archive that takes more than {limit} MiB to unpack", self.step);
                return Err(Error::Unsupported { what, line: None });
            }
            // A file that only looks like a packed one is no archive.
            _ => return Ok(None),
        }
        let scratch = self.inner.scratch()?;
        unpack(open().context(what)?, scratch.path(), &self.inner.options, &AtomicBool::new(false))?;
        Ok(Some(scratch))
    }
}

/// Without a slash or dot at the end.
fn clean_end(path: &Path) -> PathBuf {
    // `..` after a link leads elsewhere than it reads: only plain paths are cleaned.
    if path.components().any(|part| part == std::path::Component::ParentDir) { path.to_owned() } else { clean(path) }
}
