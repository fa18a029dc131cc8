//! What language servers answer, in the forms of the protocol.

use std::path::{Path, PathBuf};

use daytona_wire::lsp::{CompletionItem, CompletionList, LspLocation, LspRange, LspSymbol};
use serde::Deserialize;
use serde_json::{Value, json};
use walkdir::WalkDir;

use super::documents::uri_of;
use super::language::Language;
use super::server::Server;
use crate::error::{Error, Result};

/// Files of a project that are looked through for a server that cannot do it itself.
const MOST_FILES: usize = 5000;

/// Both forms that there are: with a location, or with a range and what is inside.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Found {
    name: String,
    kind: u32,
    location: Option<FoundLocation>,
    selection_range: Option<LspRange>,
    range: Option<LspRange>,
    #[serde(default)]
    children: Vec<Found>,
}

#[derive(Deserialize)]
struct FoundLocation {
    uri: String,
    range: Option<LspRange>,
}

/// What a document defines, outer symbols before what is in them.
pub(super) async fn of_document(server: &Server, uri: &str) -> Result<Vec<LspSymbol>> {
    let params = json!({ "textDocument": { "uri": uri } });
    let found: Option<Vec<Found>> = server.ask("textDocument/documentSymbol", params).await?;
    let mut symbols = Vec::new();
    flatten(found.unwrap_or_default(), uri, &mut symbols);
    Ok(symbols)
}

fn flatten(found: Vec<Found>, document: &str, symbols: &mut Vec<LspSymbol>) {
    for Found { name, kind, location, selection_range, range, children } in found {
        let (uri, within) = match location {
            Some(location) => (location.uri, location.range),
            None => (document.to_owned(), None),
        };
        let range = within.or(range).or(selection_range).unwrap_or_default();
        symbols.push(LspSymbol { name, kind, location: LspLocation { uri, range } });
        flatten(children, document, symbols);
    }
}

/// What a whole project defines.
pub(super) async fn of_project(
    server: &Server,
    language: Language,
    project: &Path,
    query: &str,
) -> Result<Vec<LspSymbol>> {
    let folder = project.to_owned();
    let own = server.can("workspaceSymbolProvider");
    // The TypeScript server knows a project by its open files.
    let wanted = match (own, server.documents.is_empty().await) {
        (true, false) => 0,
        (true, true) => 1,
        (false, _) => MOST_FILES + 1,
    };
    let files = tokio::task::spawn_blocking(move || sources(&folder, language, wanted))
        .await
        .map_err(|_| Error::internal("looking through the project broke off; try again"))?;
    if own {
        if let Some(file) = files.first() {
            server.documents.sync(server, file, language.as_str()).await?;
        }
        let found: Option<Vec<Found>> = server.ask("workspace/symbol", json!({ "query": query })).await?;
        let mut symbols = Vec::new();
        flatten(found.unwrap_or_default(), "", &mut symbols);
        return Ok(symbols);
    }
    if files.len() > MOST_FILES {
        return Err(Error::too_large(format!(
            "the project has over {MOST_FILES} files, which this language server cannot search; ask for a part of it"
        )));
    }
    let query = query.to_lowercase();
    let mut symbols = Vec::new();
    for file in files {
        let found = of_document(server, &uri_of(&file)).await?;
        symbols.extend(found.into_iter().filter(|symbol| symbol.name.to_lowercase().contains(&query)));
    }
    Ok(symbols)
}

/// The first files of a language in a project, without those of packages.
fn sources(project: &Path, language: Language, count: usize) -> Vec<PathBuf> {
    const OTHERS: [&str; 4] = ["node_modules", "__pycache__", "venv", "site-packages"];
    let kept = |entry: &walkdir::DirEntry| {
        let name = entry.file_name().to_string_lossy();
        entry.depth() == 0 || !(name.starts_with('.') || OTHERS.contains(&&*name))
    };
    let walk = WalkDir::new(project).sort_by_file_name().into_iter().filter_entry(kept);
    let files = walk.filter_map(std::result::Result::ok).filter(|entry| entry.file_type().is_file());
    files.map(walkdir::DirEntry::into_path).filter(|path| language.has(path)).take(count).collect()
}

/// Completions in either form; text documentation becomes an object.
pub(super) fn completions(mut answer: Value) -> CompletionList {
    let is_incomplete = answer.get("isIncomplete").and_then(Value::as_bool).unwrap_or_default();
    let items = match answer.get_mut("items") {
        Some(items) => items.take(),
        None => answer,
    };
    let Value::Array(items) = items else { return CompletionList { is_incomplete, ..CompletionList::default() } };
    let item = |mut item: Value| {
        let text = |name: &str| item.get(name).and_then(Value::as_str).map(str::to_owned);
        let edit = || item.get("textEdit").and_then(|edit| edit.get("newText")?.as_str().map(str::to_owned));
        let made = CompletionItem {
            label: text("label")?,
            kind: item.get("kind").and_then(Value::as_u64).and_then(|kind| u32::try_from(kind).ok()),
            detail: text("detail"),
            sort_text: text("sortText"),
            filter_text: text("filterText"),
            insert_text: text("insertText").or_else(edit),
            documentation: None,
        };
        let documentation = match item.get_mut("documentation").map(Value::take) {
            Some(Value::String(text)) => Some(json!({ "kind": "plaintext", "value": text })),
            Some(object @ Value::Object(_)) => Some(object),
            _ => None,
        };
        Some(CompletionItem { documentation, ..made })
    };
    CompletionList { is_incomplete, items: items.into_iter().filter_map(item).collect() }
}
