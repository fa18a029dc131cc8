//! What is there: listing folders and describing entries.

use std::collections::HashMap;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use axum::extract::State;
use daytona_wire::files::FileInfo;
use serde::Deserialize;
use walkdir::WalkDir;

use super::path::{Last, resolve};
use super::{blocking, walk_error};
use crate::App;
use crate::body::Query;
use crate::error::{Error, Result};
use crate::names;

/// Entries one list may hold.
const LIST_LIMIT: usize = 500_000;

#[derive(Deserialize)]
pub(crate) struct ListQuery {
    path: Option<String>,
    depth: Option<i64>,
}

#[derive(Deserialize)]
pub(crate) struct InfoQuery {
    path: String,
}

/// `GET /files`: sorted by name, links described as links.
///
/// With a depth over 1 each folder is followed by what is in it, and entries have a `path`.
pub(crate) async fn list(State(app): State<App>, Query(query): Query<ListQuery>) -> Result<axum::Json<Vec<FileInfo>>> {
    let depth = usize::try_from(query.depth.unwrap_or(1))
        .ok()
        .filter(|&depth| depth >= 1)
        .ok_or_else(|| Error::bad_request("depth is not at least 1"))?;
    let asked = query.path.filter(|p| !p.is_empty()).unwrap_or(".".into());
    blocking(move || {
        let root = resolve(&app, &asked, Last::Follow)?;
        entries(&root, &asked, depth)
    })
    .await?
    .map(axum::Json)
}

/// `GET /files/info`: links are followed.
pub(crate) async fn info(
    State(app): State<App>,
    Query(InfoQuery { path: asked }): Query<InfoQuery>,
) -> Result<axum::Json<FileInfo>> {
    blocking(move || {
        let path = resolve(&app, &asked, Last::Follow)?;
        let meta = fs::metadata(&path).map_err(|e| Error::io(&e, "look at", &asked))?;
        let name = resolve(&app, &asked, Last::Keep)?;
        Ok(describe(base_name(&name), &meta, &mut Names::default()))
    })
    .await?
    .map(axum::Json)
}

fn entries(root: &Path, asked: &str, depth: usize) -> Result<Vec<FileInfo>> {
    // walkdir takes a file for a tree of one.
    fs::read_dir(root).map_err(|error| Error::io(&error, "list", asked))?;
    let mut names = Names::default();
    let mut list = Vec::new();
    let walk = WalkDir::new(root).min_depth(1).max_depth(depth).sort_by_file_name();
    for entry in walk {
        let found = entry.and_then(|entry| entry.metadata().map(|meta| (entry, meta)));
        let (entry, meta) = match found {
            Ok(found) => found,
            // Gone or closed since; the rest is still worth listing.
            Err(error) if error.depth() > 0 => continue,
            Err(error) => return Err(walk_error(&error, "list", asked)),
        };
        if list.len() == LIST_LIMIT {
            return Err(Error::too_large(format!(
                "{asked} holds over {LIST_LIMIT} entries; list with a smaller depth"
            )));
        }
        let mut info = describe(names::show(entry.file_name()), &meta, &mut names);
        if depth > 1 {
            info.path = Some(super::under(asked, root, entry.path()));
        }
        list.push(info);
    }
    Ok(list)
}

fn base_name(path: &Path) -> String {
    path.file_name().map_or_else(|| "/".into(), names::show)
}

fn describe(name: String, meta: &Metadata, names: &mut Names) -> FileInfo {
    let time = jiff::Timestamp::new(meta.mtime(), i32::try_from(meta.mtime_nsec()).unwrap_or(0)).unwrap_or_default();
    FileInfo {
        name,
        path: None,
        size: meta.size(),
        mode: mode_text(meta.mode()),
        mod_time: time.strftime("%Y-%m-%d %H:%M:%S%.f +0000 UTC").to_string(),
        modified_at: Some(time.to_string()),
        is_dir: meta.is_dir(),
        owner: names.user(meta.uid()),
        group: names.group(meta.gid()),
        permissions: format!("{:04o}", meta.mode() & 0o7777),
    }
}

/// The kind and the special bits, each as one letter, then the nine permissions.
fn mode_text(mode: u32) -> String {
    let kind = match mode & 0o170_000 {
        0o040_000 => "d",
        0o120_000 => "L",
        0o060_000 => "D",
        0o020_000 => "Dc",
        0o010_000 => "p",
        0o140_000 => "S",
        _ => "",
    };
    let mut text = String::from(kind);
    for (bit, letter) in [(0o4000, 'u'), (0o2000, 'g'), (0o1000, 't')] {
        if mode & bit != 0 {
            text.push(letter);
        }
    }
    if text.is_empty() {
        text.push('-');
    }
    for (shift, letter) in (0..9).rev().zip("rwxrwxrwx".chars()) {
        text.push(if mode >> shift & 1 == 1 { letter } else { '-' });
    }
    text
}

/// Names of users and groups, read when the first one is needed and kept for one request.
#[derive(Default)]
pub(super) struct Names {
    users: Option<HashMap<u32, String>>,
    groups: Option<HashMap<u32, String>>,
}

impl Names {
    fn user(&mut self, id: u32) -> String {
        name(&mut self.users, "/etc/passwd", id)
    }

    fn group(&mut self, id: u32) -> String {
        name(&mut self.groups, "/etc/group", id)
    }
}

fn name(names: &mut Option<HashMap<u32, String>>, file: &str, id: u32) -> String {
    names
        .get_or_insert_with(|| accounts(file).into_iter().map(|(name, id)| (id, name)).collect())
        .get(&id)
        .cloned()
        .unwrap_or_else(|| id.to_string())
}

/// The id of the user or group `name`, from `/etc/passwd` or `/etc/group`.
pub(super) fn id_of(file: &str, name: &str) -> Option<u32> {
    name.parse().ok().or_else(|| accounts(file).into_iter().find_map(|(found, id)| (found == name).then_some(id)))
}

/// Names and ids; the last line of a shared id comes first.
fn accounts(file: &str) -> Vec<(String, u32)> {
    let text = fs::read(PathBuf::from(file)).unwrap_or_default();
    String::from_utf8_lossy(&text)
        .lines()
        .rev()
        .filter_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?;
            Some((name.to_owned(), fields.nth(1)?.parse().ok()?))
        })
        .collect()
}
