//! From a path as it was asked for to a path of the file system.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use crate::App;
use crate::error::{Error, Result};
use crate::names;

/// As many symbolic links as the kernel follows in one path.
const LINKS: usize = 40;

/// What to do with a symbolic link at the very end of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Last {
    /// The path means what the link points to.
    Follow,
    /// The path means the link.
    Keep,
}

/// `~` alone, or before a slash, as the home of the sandbox's user. A file of that name is `./~`.
pub(crate) fn expand<'a>(app: &App, asked: &'a OsStr) -> Cow<'a, Path> {
    match asked.as_bytes().strip_prefix(b"~") {
        Some(b"") => Cow::Owned(app.config.home.clone()),
        Some([b'/', rest @ ..]) => {
            // A second slash would make it absolute.
            let rest = rest.iter().position(|&byte| byte != b'/').map_or(&b""[..], |begin| &rest[begin..]);
            Cow::Owned(app.config.home.join(OsStr::from_bytes(rest)))
        }
        _ => Cow::Borrowed(Path::new(asked)),
    }
}

/// Whether `asked` is the home of the sandbox's user by its short name.
pub(crate) fn is_short_home(asked: &str) -> bool {
    asked.strip_prefix('~').is_some_and(|rest| rest.split('/').all(|part| part.is_empty() || part == "."))
        && (asked.len() == 1 || asked.starts_with("~/"))
}

/// The absolute path for `asked`; relative ones start at the work dir, `~/` is the home. Names that are not UTF-8 are given as lists
/// show them.
///
/// With [`confine`](crate::AgentConfig::confine) every link is resolved and the end has to lie in
/// the folder. A process of the same user can still swap a directory for a link between this
/// check and the use: the unisolated runtime guards against mistakes, not against the user, who
/// could open the file directly.
pub(crate) fn resolve(app: &App, asked: &str, last: Last) -> Result<PathBuf> {
    confine(app, absolute(app, asked)?, asked, last)
}

/// The same for a path that may be no text.
pub(crate) fn resolve_os(app: &App, asked: &OsStr, last: Last) -> Result<PathBuf> {
    match asked.to_str() {
        Some(asked) => resolve(app, asked, last),
        None if asked.as_encoded_bytes().contains(&0) => {
            Err(Error::bad_path(format!("the path {} holds a NUL byte; remove it", names::show(asked))))
        }
        None => confine(app, app.config.work_dir.join(expand(app, asked)), &names::show(asked), last),
    }
}

fn confine(app: &App, path: PathBuf, asked: &str, last: Last) -> Result<PathBuf> {
    let Some(folder) = &app.config.confine else {
        return Ok(path);
    };
    let path = real(&path, last).map_err(|error| Error::io(&error, "resolve", asked))?;
    if path.starts_with(folder) {
        Ok(path)
    } else {
        Err(Error::denied(format!(
            "{asked} lies outside the sandbox, which has no isolation and its files in {} only; \
             use a path below that",
            folder.display()
        )))
    }
}

/// As [`resolve`], with every link resolved: where a write to `asked` lands.
pub(crate) fn resolve_real(app: &App, asked: &str) -> Result<PathBuf> {
    resolve_real_os(app, OsStr::new(asked))
}

/// The same for a path that may be no text.
pub(crate) fn resolve_real_os(app: &App, asked: &OsStr) -> Result<PathBuf> {
    let path = resolve_os(app, asked, Last::Follow)?;
    if app.config.confine.is_some() {
        return Ok(path);
    }
    real(&path, Last::Follow).map_err(|error| Error::io(&error, "resolve", names::show(asked)))
}

fn absolute(app: &App, asked: &str) -> Result<PathBuf> {
    if asked.is_empty() {
        return Err(Error::bad_path("the path is empty; give the path of a file or folder"));
    }
    if asked.contains('\0') {
        return Err(Error::bad_path(format!("the path {asked:?} holds a NUL byte; remove it")));
    }
    Ok(names::find(&app.config.work_dir.join(expand(app, asked.as_ref()))).into_owned())
}

/// Follows every link of an absolute path, also where its end does not exist.
fn real(path: &Path, last: Last) -> io::Result<PathBuf> {
    let mut out = PathBuf::from("/");
    let mut links = 0;
    let mut todo = VecDeque::new();
    push_front(&mut todo, path);
    while let Some(part) = todo.pop_front() {
        match part {
            Part::Root => out = PathBuf::from("/"),
            Part::Up => {
                out.pop();
            }
            Part::Name(name) => {
                out.push(name);
                if last == Last::Keep && todo.is_empty() {
                    break;
                }
                match fs::symlink_metadata(&out) {
                    Ok(meta) if meta.is_symlink() => {
                        links += 1;
                        if links > LINKS {
                            return Err(rustix::io::Errno::LOOP.into());
                        }
                        let target = fs::read_link(&out)?;
                        out.pop();
                        push_front(&mut todo, &target);
                    }
                    Ok(_) => {}
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Err(error),
                }
            }
        }
    }
    Ok(out)
}

enum Part {
    Root,
    Up,
    Name(OsString),
}

fn push_front(todo: &mut VecDeque<Part>, path: &Path) {
    for component in path.components().rev() {
        todo.push_front(match component {
            Component::RootDir | Component::Prefix(_) => Part::Root,
            Component::CurDir => continue,
            Component::ParentDir => Part::Up,
            Component::Normal(name) => Part::Name(name.to_owned()),
        });
    }
}
