//! Files inside a sandbox.

use serde::{Deserialize, Serialize};

/// One entry of the file system.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct FileInfo {
    /// Base name.
    pub name: String,
    /// Path of the entry, spelled as that of the listed folder was; only in lists deeper than one
    /// level.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Bytes.
    pub size: u64,
    /// As `ls -l` prints it: `-rw-r--r--`.
    pub mode: String,
    /// Time of the last change, as text.
    pub mod_time: String,
    /// The same, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub modified_at: Option<String>,
    /// True for a directory.
    pub is_dir: bool,
    /// User name, or the number where it has none.
    pub owner: String,
    /// Group name, or the number where it has none.
    pub group: String,
    /// Four octal digits: `0644`.
    pub permissions: String,
}

/// One line that holds what `GET /files/find` looked for.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Match {
    /// Path of the file.
    pub file: String,
    /// Line number, from 1.
    pub line: u64,
    /// The line, without its end.
    pub content: String,
}

/// The answer of `GET /files/search`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct SearchFilesResponse {
    /// Paths whose base name matches the glob.
    pub files: Vec<String>,
}

/// `POST /files/replace`
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ReplaceRequest {
    /// Paths of the files to change.
    pub files: Vec<String>,
    /// Literal text to look for. Never empty.
    pub pattern: String,
    /// What takes its place.
    pub new_value: String,
}

/// What became of one file of a [`ReplaceRequest`].
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct ReplaceResult {
    /// The path as it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// True if the file is as wanted now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub success: Option<bool>,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// `POST /files/bulk-download`
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct FilesDownloadRequest {
    /// Paths of the files wanted.
    pub paths: Vec<String>,
}

/// One file that `POST /files/bulk-upload` has written.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct UploadedFile {
    /// The path as it was asked for.
    pub path: String,
    /// Bytes written.
    pub bytes: u64,
}

/// The answer of `POST /files/bulk-upload`, with 200 and, if there are errors, with 400.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct UploadFilesResponse {
    /// One line for each file that was not written.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<String>,
    /// What was written.
    pub files: Vec<UploadedFile>,
}
