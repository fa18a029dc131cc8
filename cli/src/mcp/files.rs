//! The tools for files.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use daytona_core::wire::files::FileInfo;
use daytona_core::{DownloadTarget, ErrorKind, Transfer, Upload, UploadSource};
use rmcp::model::{CallToolResult, ContentBlock};
use rmcp::schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::tools::{Answer, Tools, told};

/// The largest file that goes through a model's context, in bytes.
const LARGEST: u64 = 10 * 1024 * 1024;

/// Which file.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
#[serde(deny_unknown_fields)]
pub(super) struct FilePath {
    /// Id or name of the sandbox; the one made last if absent.
    id: Option<String>,
    /// Path of the file in the sandbox.
    file_path: String,
}

/// How `content` is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
#[serde(rename_all = "lowercase")]
enum Encoding {
    /// As it is.
    #[default]
    #[serde(alias = "utf-8", alias = "utf8")]
    Text,
    /// For what is not text.
    Base64,
}

/// What to write.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
#[serde(deny_unknown_fields)]
pub(super) struct FileUpload {
    /// Id or name of the sandbox; the one made last if absent.
    id: Option<String>,
    /// Path of the file in the sandbox.
    file_path: String,
    /// What it is to hold.
    content: String,
    /// How content is written: text (the default) or base64.
    encoding: Option<Encoding>,
    /// Replace a file that is there.
    overwrite: Option<bool>,
}

/// It is there.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
pub(super) struct Written {
    /// Path of the file.
    path: String,
    /// Bytes.
    size: usize,
}

pub(super) async fn upload(tools: &Tools, args: FileUpload) -> Answer<Written> {
    let bytes = match args.encoding.unwrap_or_default() {
        Encoding::Text => args.content.into_bytes(),
        Encoding::Base64 => {
            STANDARD.decode(args.content.trim()).map_err(|error| format!("content is not base64: {error}"))?
        }
    };
    let fs = tools.sandbox(args.id.as_deref()).await?.fs();
    if args.overwrite != Some(true) {
        match fs.get_file_info(&args.file_path, None).await {
            Ok(info) if info.is_dir => return Err(format!("{} is a folder", args.file_path)),
            Ok(_) => return Err(format!("{} is there already: pass overwrite to replace it", args.file_path)),
            Err(error) if error.kind().is(ErrorKind::NotFound) => {}
            Err(error) => return Err(told(error)),
        }
    }
    let size = bytes.len();
    let file = Upload { source: UploadSource::Bytes(bytes.into()), destination: args.file_path.clone() };
    fs.upload_file(file, Transfer::default()).await.map_err(told)?;
    Ok(Written { path: args.file_path, size })
}

/// A file's contents.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
#[serde(rename_all = "camelCase")]
pub(super) struct Contents {
    /// Path of the file.
    path: String,
    /// Bytes.
    size: usize,
    /// Such as text/plain or image/png.
    mime_type: String,
    /// How it comes: text, base64, or image, which is in the content of the answer.
    encoding: String,
    /// The contents; absent for an image.
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<String>,
}

/// Images that models see, by how they begin.
fn image(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [0x89, b'P', b'N', b'G', ..] => Some("image/png"),
        [0xff, 0xd8, 0xff, ..] => Some("image/jpeg"),
        [b'G', b'I', b'F', b'8', ..] => Some("image/gif"),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some("image/webp"),
        _ => None,
    }
}

pub(super) async fn download(tools: &Tools, args: FilePath) -> Answer<CallToolResult> {
    let sandbox = tools.sandbox(args.id.as_deref()).await?;
    let (fs, path) = (sandbox.fs(), args.file_path);
    let info = fs.get_file_info(&path, None).await.map_err(told)?;
    if info.is_dir {
        return Err(format!("{path} is a folder: list it with list_files"));
    }
    if info.size > LARGEST {
        return Err(format!(
            "{path} has {} bytes, and {LARGEST} are the most: take a part of it with execute_command (head, tail, sed), \
             or copy it with `daytona-native cp {}:{path} .`",
            info.size,
            sandbox.id()
        ));
    }
    let bytes = fs.download_file(&path, DownloadTarget::Memory, Transfer::default()).await.map_err(told)?;
    Ok(contents(path, bytes.unwrap_or_default()))
}

fn contents(path: String, bytes: Vec<u8>) -> CallToolResult {
    let size = bytes.len();
    let (content, mime_type, encoding, kept) = match (image(&bytes), String::from_utf8(bytes)) {
        (Some(mime), text) => {
            let bytes = text.map_or_else(std::string::FromUtf8Error::into_bytes, String::into_bytes);
            (ContentBlock::image(STANDARD.encode(bytes), mime), mime, "image", None)
        }
        (None, Ok(text)) => (ContentBlock::text(text.clone()), "text/plain", "text", Some(text)),
        (None, Err(error)) => {
            let text = STANDARD.encode(error.into_bytes());
            (ContentBlock::text(text.clone()), "application/octet-stream", "base64", Some(text))
        }
    };
    let mut result = CallToolResult::success(vec![content]);
    let about = Contents { path, size, mime_type: mime_type.to_owned(), encoding: encoding.to_owned(), content: kept };
    result.structured_content = serde_json::to_value(about).ok();
    result
}

/// One file or folder.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
#[serde(rename_all = "camelCase")]
pub(super) struct Entry {
    /// Its name.
    name: String,
    /// Bytes.
    size: u64,
    /// It is a folder.
    is_dir: bool,
    /// As `ls -l` prints them.
    mode: String,
    /// Octal digits.
    permissions: String,
    /// User.
    owner: String,
    /// Group.
    group: String,
    /// Time of the last change.
    modified_at: String,
}

impl From<FileInfo> for Entry {
    fn from(info: FileInfo) -> Self {
        Self {
            name: info.name,
            size: info.size,
            is_dir: info.is_dir,
            mode: info.mode,
            permissions: info.permissions,
            owner: info.owner,
            group: info.group,
            modified_at: info.modified_at.unwrap_or(info.mod_time),
        }
    }
}

pub(super) async fn info(tools: &Tools, args: FilePath) -> Answer<Entry> {
    let fs = tools.sandbox(args.id.as_deref()).await?.fs();
    fs.get_file_info(&args.file_path, None).await.map(Entry::from).map_err(told)
}

/// Which folder.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
#[serde(deny_unknown_fields)]
pub(super) struct ListFiles {
    /// Id or name of the sandbox; the one made last if absent.
    id: Option<String>,
    /// The folder; the work directory if absent.
    path: Option<String>,
}

/// What is in a folder.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
pub(super) struct Listing {
    /// The folder.
    path: String,
    /// Its entries, by name.
    files: Vec<Entry>,
}

pub(super) async fn list(tools: &Tools, args: ListFiles) -> Answer<Listing> {
    let fs = tools.sandbox(args.id.as_deref()).await?.fs();
    let path = args.path.filter(|path| !path.is_empty()).unwrap_or_else(|| ".".to_owned());
    let files = fs.list_files(&path, None, None).await.map_err(told)?;
    Ok(Listing { path, files: files.into_iter().map(Entry::from).collect() })
}

/// From where to where.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
#[serde(deny_unknown_fields)]
pub(super) struct MoveFile {
    /// Id or name of the sandbox; the one made last if absent.
    id: Option<String>,
    /// Path as it is.
    source_path: String,
    /// Path as it is to be; nothing may be there.
    dest_path: String,
}

/// Where it is now.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
pub(super) struct Moved {
    /// The old path.
    source_path: String,
    /// The new one.
    dest_path: String,
}

pub(super) async fn rename(tools: &Tools, args: MoveFile) -> Answer<Moved> {
    let fs = tools.sandbox(args.id.as_deref()).await?.fs();
    fs.move_files(&args.source_path, &args.dest_path, None).await.map_err(told)?;
    Ok(Moved { source_path: args.source_path, dest_path: args.dest_path })
}

/// What to delete.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
#[serde(deny_unknown_fields)]
pub(super) struct DeleteFile {
    /// Id or name of the sandbox; the one made last if absent.
    id: Option<String>,
    /// Path of the file or folder.
    file_path: String,
    /// Also a folder, with all in it.
    recursive: Option<bool>,
}

/// It is gone.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
pub(super) struct Deleted {
    /// Its path.
    path: String,
    /// True.
    deleted: bool,
}

pub(super) async fn delete(tools: &Tools, args: DeleteFile) -> Answer<Deleted> {
    let fs = tools.sandbox(args.id.as_deref()).await?.fs();
    fs.delete_file(&args.file_path, args.recursive == Some(true), None).await.map_err(told)?;
    Ok(Deleted { path: args.file_path, deleted: true })
}

/// What to make.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
#[serde(deny_unknown_fields)]
pub(super) struct CreateFolder {
    /// Id or name of the sandbox; the one made last if absent.
    id: Option<String>,
    /// Path of the folder.
    folder_path: String,
    /// Octal digits of its permissions; 755 if absent.
    mode: Option<String>,
}

/// It is there.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
pub(super) struct Folder {
    /// Its path.
    path: String,
}

pub(super) async fn create_folder(tools: &Tools, args: CreateFolder) -> Answer<Folder> {
    let fs = tools.sandbox(args.id.as_deref()).await?.fs();
    let mode = args.mode.filter(|mode| !mode.is_empty()).unwrap_or_else(|| "755".to_owned());
    fs.create_folder(&args.folder_path, &mode, None).await.map_err(told)?;
    Ok(Folder { path: args.folder_path })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_come_as_what_they_are() {
        let kind =
            |bytes: &[u8]| contents("a".to_owned(), bytes.to_vec()).structured_content.unwrap()["encoding"].clone();
        assert_eq!(kind(b"text"), "text");
        assert_eq!(kind(b"\x89PNG\r\n\x1a\n"), "image");
        assert_eq!(kind(b"\xff\xfe\x00"), "base64");
        let image = contents("a".to_owned(), b"\x89PNG\r\n\x1a\n".to_vec());
        assert_eq!(image.content[0].as_image().unwrap().mime_type, "image/png");
    }
}
