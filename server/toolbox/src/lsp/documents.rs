//! The files that a language server works on.

use std::collections::HashMap;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};
use serde_json::json;
use tokio::sync::Mutex;

use super::server::Server;
use crate::App;
use crate::error::{Error, Result};
use crate::files::path::{Last, expand, resolve};

/// The largest file that is handed to a language server.
const LARGEST: u64 = 16 << 20;
/// As editors write URIs.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Versions and contents, as the server knows them, by URI.
#[derive(Default)]
pub(super) struct Documents(Mutex<HashMap<String, (i32, String)>>);

/// The URI of a path.
pub(super) fn uri_of(path: &Path) -> String {
    format!("file://{}", percent_encode(path.as_os_str().as_bytes(), ESCAPED))
}

/// The file that a client means: `file://` and a path, with escapes or without. Relative ones start from the project,
/// or, if that has none of that name, from the work directory.
pub(super) fn file(app: &App, project: &Path, uri: &str) -> Result<PathBuf> {
    let path = uri.strip_prefix("file://").unwrap_or(uri);
    let decoded = percent_decode_str(path).decode_utf8_lossy();
    let mut found = None;
    for path in [path, &*decoded] {
        for folder in [project, &app.config.work_dir] {
            let joined = folder.join(expand(app, path.as_ref()));
            let asked = joined.to_str().ok_or_else(|| Error::bad_path(format!("{uri:?} is no text")))?;
            let resolved = resolve(app, asked, Last::Follow)?;
            if resolved.exists() {
                return Ok(resolved);
            }
            found.get_or_insert(resolved);
        }
    }
    found.ok_or_else(|| Error::bad_path("there is no path"))
}

impl Documents {
    /// Tells the server what is in the file now, and gives its URI.
    pub(super) async fn sync(&self, server: &Server, path: &Path, language: &str) -> Result<String> {
        let shown = path.to_owned();
        let text = tokio::task::spawn_blocking(move || read(&shown))
            .await
            .map_err(|_| Error::internal("reading the file broke off; try again"))??;
        let uri = uri_of(path);
        let mut open = self.0.lock().await;
        match open.get_mut(&uri) {
            None => {
                let item = json!({ "uri": uri, "languageId": kind(path, language), "version": 1, "text": text });
                server.tell("textDocument/didOpen", json!({ "textDocument": item })).await?;
                open.insert(uri.clone(), (1, text));
            }
            Some((version, known)) if *known != text => {
                *version += 1;
                let document = json!({ "uri": uri, "version": *version });
                let change = json!({ "textDocument": document, "contentChanges": [{ "text": text }] });
                server.tell("textDocument/didChange", change).await?;
                *known = text;
            }
            Some(_) => {}
        }
        Ok(uri)
    }

    pub(super) async fn close(&self, server: &Server, path: &Path) -> Result<()> {
        let uri = uri_of(path);
        if self.0.lock().await.remove(&uri).is_some() {
            server.tell("textDocument/didClose", json!({ "textDocument": { "uri": uri } })).await?;
        }
        Ok(())
    }

    pub(super) async fn is_empty(&self) -> bool {
        self.0.lock().await.is_empty()
    }
}

fn read(path: &Path) -> Result<String> {
    let (file, meta) = crate::files::open_regular(path, &path.to_string_lossy())?;
    if meta.len() > LARGEST {
        let size = LARGEST >> 20;
        return Err(Error::too_large(format!("{} is over {size} MiB, which is no program", path.display())));
    }
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut std::io::Read::take(file, LARGEST), &mut bytes)
        .map_err(|error| Error::io(&error, "read", path))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// What language servers call the language of a file.
fn kind<'a>(path: &Path, language: &'a str) -> &'a str {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("tsx") => "typescriptreact",
        Some("jsx") => "javascriptreact",
        Some("ts" | "mts" | "cts") => "typescript",
        Some("js" | "mjs" | "cjs") => "javascript",
        _ => language,
    }
}
