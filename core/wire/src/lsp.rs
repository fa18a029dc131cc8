//! Language servers in a sandbox.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::sandbox::null_is_default;

/// `POST /lsp/start` and `POST /lsp/stop`
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LspServerRequest {
    /// `python`, `typescript` or `javascript`.
    pub language_id: String,
    /// The project's folder.
    pub path_to_project: String,
}

/// `POST /lsp/did-open` and `POST /lsp/did-close`
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LspDocumentRequest {
    /// `python`, `typescript` or `javascript`.
    pub language_id: String,
    /// The project's folder.
    pub path_to_project: String,
    /// `file://` and a path.
    pub uri: String,
}

/// A place in a document.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct LspPosition {
    /// From 0.
    pub line: u32,
    /// From 0, in UTF-16 units.
    pub character: u32,
}

/// A stretch of a document.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct LspRange {
    /// The first place of it.
    pub start: LspPosition,
    /// The first place after it.
    pub end: LspPosition,
}

/// A stretch of some document.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct LspLocation {
    /// `file://` and a path.
    pub uri: String,
    /// Where in it.
    pub range: LspRange,
}

/// A name that a program defines.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct LspSymbol {
    /// The name.
    pub name: String,
    /// `SymbolKind` of the language server protocol: 5 is a class, 12 a function, 13 a variable.
    pub kind: u32,
    /// Where it is defined.
    pub location: LspLocation,
}

/// Why completions are asked for.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CompletionContext {
    /// 1 asked for, 2 after a character, 3 for the rest of an incomplete list.
    pub trigger_kind: u32,
    /// The character.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trigger_character: Option<String>,
}

/// `POST /lsp/completions`
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LspCompletionParams {
    /// `python`, `typescript` or `javascript`.
    pub language_id: String,
    /// The project's folder.
    pub path_to_project: String,
    /// `file://` and a path.
    pub uri: String,
    /// Where.
    pub position: LspPosition,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<CompletionContext>,
}

/// One completion.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CompletionItem {
    /// What is shown, and inserted where there is no `insert_text`.
    pub label: String,
    /// `CompletionItemKind` of the language server protocol: 2 is a method, 3 a function, 6 a variable.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<u32>,
    /// Such as a signature.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// An object with `kind` (`plaintext` or `markdown`) and `value`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub documentation: Option<Value>,
    /// What to sort by; the label if `None`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sort_text: Option<String>,
    /// What to filter by; the label if `None`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter_text: Option<String>,
    /// What to insert; the label if `None`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub insert_text: Option<String>,
}

/// The answer to [`LspCompletionParams`].
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CompletionList {
    /// More typing may bring others.
    pub is_incomplete: bool,
    /// In the server's order.
    #[serde(deserialize_with = "null_is_default")]
    pub items: Vec<CompletionItem>,
}
