//! Looking for names and text, and replacing text.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::State;
use daytona_wire::files::{Match, ReplaceRequest, ReplaceResult, SearchFilesResponse};
use glob::Pattern;
use memchr::memmem::Finder;
use serde::Deserialize;
use walkdir::{DirEntry, WalkDir};

use super::path::{Last, resolve, resolve_real};
use super::write::Pending;
use super::{blocking, open_regular, under, walk_error};
use crate::App;
use crate::body::{Json, Query};
use crate::error::{Error, Result};
use crate::names;

/// Bytes of paths and lines one answer may hold.
const ANSWER_LIMIT: usize = 64 << 20;

/// A file with a longer line is no text.
const LINE_LIMIT: u64 = 8 << 20;

/// A NUL in the first so many bytes makes a file binary.
const SNIFF: usize = 8 << 10;

/// The largest file text is replaced in.
const REPLACE_LIMIT: u64 = 256 << 20;

#[derive(Deserialize)]
pub(crate) struct SearchQuery {
    path: String,
    pattern: String,
}

/// `GET /files/search`: a glob on base names; links are not followed.
pub(crate) async fn search(
    State(app): State<App>,
    Query(SearchQuery { path: asked, pattern }): Query<SearchQuery>,
) -> Result<axum::Json<SearchFilesResponse>> {
    if pattern.is_empty() {
        return Err(Error::bad_request("the pattern is empty; give a glob such as *.py"));
    }
    // Negation is spelled both ways; the matcher knows one.
    let glob = Pattern::new(&pattern.replace("[^", "[!"))
        .map_err(|error| Error::bad_request(format!("the pattern {pattern:?} is no glob: {}", error.msg)))?;
    let (stop, stopped) = Stop::new();
    let files = blocking(move || {
        let root = resolve(&app, &asked, Last::Follow)?;
        let mut answer = Answer::default();
        let mut files = Vec::new();
        for entry in walk(&root, &asked, &stopped)? {
            let is_root = entry.depth() == 0 && entry.file_type().is_dir();
            if !is_root && glob.matches(&names::show(entry.file_name())) {
                let path = under(&asked, &root, entry.path());
                answer.add(path.len())?;
                files.push(path);
            }
        }
        Ok(files)
    })
    .await??;
    drop(stop);
    Ok(axum::Json(SearchFilesResponse { files }))
}

/// `GET /files/find`: plain text in the lines of a file or of all files of a tree.
pub(crate) async fn find(
    State(app): State<App>,
    Query(SearchQuery { path: asked, pattern }): Query<SearchQuery>,
) -> Result<axum::Json<Vec<Match>>> {
    if pattern.is_empty() {
        return Err(Error::bad_request("the pattern is empty; give the text to find"));
    }
    let (stop, stopped) = Stop::new();
    let matches = blocking(move || {
        let root = resolve(&app, &asked, Last::Follow)?;
        let finder = Finder::new(pattern.as_bytes());
        let mut answer = Answer::default();
        let mut matches = Vec::new();
        for entry in walk(&root, &asked, &stopped)? {
            if !entry.file_type().is_file() && entry.depth() > 0 {
                continue;
            }
            // A file that cannot be read is no reason to lose what is in the others.
            let Ok((file, _)) = open_regular(entry.path(), &asked) else {
                continue;
            };
            let name = under(&asked, &root, entry.path());
            let found = lines(file, &finder, &stopped, |line, content| {
                answer.add(name.len() + content.len())?;
                matches.push(Match { file: name.clone(), line, content });
                Ok(())
            });
            found?;
        }
        Ok(matches)
    })
    .await??;
    drop(stop);
    Ok(axum::Json(matches))
}

/// Calls `found` for each line of a text file that holds the text.
fn lines(
    file: File,
    finder: &Finder<'_>,
    stopped: &AtomicBool,
    mut found: impl FnMut(u64, String) -> Result<()>,
) -> Result<()> {
    let mut reader = BufReader::with_capacity(64 << 10, file);
    match reader.fill_buf() {
        Ok(start) if memchr::memchr(0, &start[..start.len().min(SNIFF)]).is_none() => {}
        _ => return Ok(()),
    }
    let mut line = Vec::new();
    let mut number = 0;
    while !stopped.load(Ordering::Relaxed) {
        line.clear();
        match (&mut reader).take(LINE_LIMIT).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => break,
            Ok(n) if n as u64 == LINE_LIMIT => break,
            Ok(_) => number += 1,
        }
        if finder.find(&line).is_some() {
            while line.last().is_some_and(|b| matches!(b, b'\n' | b'\r')) {
                line.pop();
            }
            found(number, String::from_utf8_lossy(&line).into_owned())?;
        }
    }
    Ok(())
}

/// `POST /files/replace`: literal text, file by file; a file fails for itself.
pub(crate) async fn replace(
    State(app): State<App>,
    Json(request): Json<ReplaceRequest>,
) -> Result<axum::Json<Vec<ReplaceResult>>> {
    if request.pattern.is_empty() {
        return Err(Error::bad_request("the pattern is empty; give the text to replace"));
    }
    if request.files.is_empty() {
        return Err(Error::bad_request("files is empty; give the paths of files to change"));
    }
    let (stop, stopped) = Stop::new();
    let results = blocking(move || {
        let finder = Finder::new(request.pattern.as_bytes());
        let mut results = Vec::with_capacity(request.files.len());
        for file in &request.files {
            if stopped.load(Ordering::Relaxed) {
                break;
            }
            let done = replace_in(&app, file, &finder, request.new_value.as_bytes());
            results.push(ReplaceResult {
                file: Some(file.clone()),
                success: Some(done.is_ok()),
                error: done.err().map(|error| error.message.into_owned()),
            });
        }
        results
    })
    .await?;
    drop(stop);
    Ok(axum::Json(results))
}

fn replace_in(app: &App, asked: &str, finder: &Finder<'_>, new: &[u8]) -> Result<()> {
    let path = resolve_real(app, asked)?;
    let (file, meta) = open_regular(&path, asked)?;
    if meta.len() > REPLACE_LIMIT {
        return Err(Error::too_large(format!(
            "{asked} is over {} MiB; change it with a command such as sed",
            REPLACE_LIMIT >> 20
        )));
    }
    let mut old = Vec::new();
    file.take(REPLACE_LIMIT).read_to_end(&mut old).map_err(|error| Error::io(&error, "read", asked))?;
    if finder.find(&old).is_none() {
        return Ok(());
    }
    let mut pending = Pending::new(path, asked)?;
    let mut rest = 0;
    for at in finder.find_iter(&old) {
        pending.write(&old[rest..at])?;
        pending.write(new)?;
        rest = at + finder.needle().len();
    }
    pending.write(&old[rest..])?;
    pending.commit(true)
}

/// The entries of a tree, in order; what cannot be read is left out, a bad root is an error.
fn walk<'a>(root: &Path, asked: &str, stopped: &'a AtomicBool) -> Result<impl Iterator<Item = DirEntry> + 'a> {
    let meta = fs::metadata(root).map_err(|error| Error::io(&error, "search", asked))?;
    let mut entries = WalkDir::new(root).sort_by_file_name().into_iter().peekable();
    if meta.is_dir()
        && let Some(Err(error)) = entries.peek()
    {
        return Err(walk_error(error, "search", asked));
    }
    Ok(entries.take_while(|_| !stopped.load(Ordering::Relaxed)).filter_map(std::result::Result::ok))
}

/// Ends work on a blocking thread when the request is dropped.
struct Stop(Arc<AtomicBool>);

impl Stop {
    fn new() -> (Self, Arc<AtomicBool>) {
        let flag = Arc::new(AtomicBool::new(false));
        (Self(Arc::clone(&flag)), flag)
    }
}

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Bounds the size of an answer.
#[derive(Default)]
struct Answer {
    bytes: usize,
}

impl Answer {
    fn add(&mut self, bytes: usize) -> Result<()> {
        self.bytes += bytes + 32;
        if self.bytes > ANSWER_LIMIT {
            return Err(Error::too_large(format!(
                "over {} MiB match; give a narrower path or pattern",
                ANSWER_LIMIT >> 20
            )));
        }
        Ok(())
    }
}
