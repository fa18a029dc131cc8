//! The files of a sandbox.

use daytona_wire::files::{FileInfo, Match, ReplaceRequest, ReplaceResult, SearchFilesResponse};
use http::Method;
use reqwest::Url;

use crate::error::{Error, ErrorKind, Result};
use crate::operation::Operation;
use crate::process::refuse_nul;
use crate::sandbox::Sandbox;
use crate::transfer::{self, Download, DownloadStream, DownloadTarget, Downloaded, Transfer, Upload};
use crate::transport::{Call, Transport, seconds};
use crate::watch;

/// The files of one sandbox. Relative paths start from its work directory, `~/` is the home of its user.
#[derive(Clone)]
pub struct FileSystem {
    sandbox: Sandbox,
}

/// What to change about a file; what is `None` stays.
#[derive(Clone, Debug, Default)]
pub struct Permissions {
    /// Octal digits: `644`.
    pub mode: Option<String>,
    /// User name.
    pub owner: Option<String>,
    /// Group name.
    pub group: Option<String>,
}

/// Refuses paths that no server can take.
pub(crate) fn check_path(path: &str) -> Result<()> {
    if path.is_empty() {
        return Err(Error::new(ErrorKind::InvalidFilePath, "the path is empty"));
    }
    if path.contains('\0') {
        return Err(Error::new(ErrorKind::InvalidFilePath, format!("the path {path:?} holds a NUL character")));
    }
    Ok(())
}

fn check_mode(mode: &str) -> Result<()> {
    let octal = mode.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
    if octal && (3..=4).contains(&mode.len()) {
        return Ok(());
    }
    Err(Error::invalid(format!("{mode:?} is not a file mode: use three or four octal digits, such as 644")))
}

impl FileSystem {
    pub(crate) fn new(sandbox: Sandbox) -> Self {
        Self { sandbox }
    }

    /// Makes a folder and its parents; fine if it is there. `mode` is octal digits: `755`.
    ///
    /// # Errors
    /// `InvalidArgument` for a bad mode; `FileAccessDenied`; `InvalidFilePath`.
    pub async fn create_folder(&self, path: &str, mode: &str, timeout: Option<f64>) -> Result<()> {
        let work = async {
            check_path(path)?;
            check_mode(mode)?;
            let query = [("path", path), ("mode", mode)];
            self.empty(Operation::CREATE_FOLDER, Method::POST, "folder", &query, timeout).await
        };
        self.sandbox.observe(Operation::CREATE_FOLDER, work).await
    }

    /// Deletes a file, or with `recursive` a folder and all in it.
    ///
    /// # Errors
    /// `FileNotFound`; `Conflict` for a folder without `recursive`; `FileAccessDenied`.
    pub async fn delete_file(&self, path: &str, recursive: bool, timeout: Option<f64>) -> Result<()> {
        let operation = Operation::DELETE_FILE;
        let work = async {
            check_path(path)?;
            let query = [("path", path), ("recursive", if recursive { "true" } else { "false" })];
            self.empty(operation, Method::DELETE, "", &query, timeout).await
        };
        self.sandbox.observe(operation, work).await
    }

    /// The lines of the files beneath `path` that hold `pattern`, which is plain text.
    ///
    /// # Errors
    /// `FileNotFound`; `InvalidArgument` for an empty pattern.
    pub async fn find_files(&self, path: &str, pattern: &str, timeout: Option<f64>) -> Result<Vec<Match>> {
        let operation = Operation::FIND_FILES;
        let work = async {
            check_path(path)?;
            check_pattern(pattern)?;
            self.get(operation, "find", &[("path", path), ("pattern", pattern)], timeout).await
        };
        self.sandbox.observe(operation, work).await
    }

    /// What is known about one file or folder.
    ///
    /// # Errors
    /// `FileNotFound`; `FileAccessDenied`.
    pub async fn get_file_info(&self, path: &str, timeout: Option<f64>) -> Result<FileInfo> {
        let operation = Operation::FILE_INFO;
        let work = async {
            check_path(path)?;
            self.get(operation, "info", &[("path", path)], timeout).await
        };
        self.sandbox.observe(operation, work).await
    }

    /// The entries of a folder by name, `depth` levels deep (default 1).
    ///
    /// # Errors
    /// `FileNotFound`; `FileAccessDenied`; `InvalidArgument` for a depth below 1.
    pub async fn list_files(&self, path: &str, depth: Option<i64>, timeout: Option<f64>) -> Result<Vec<FileInfo>> {
        let operation = Operation::LIST_FILES;
        let work = async {
            check_path(path)?;
            if depth.is_some_and(|depth| depth < 1) {
                return Err(Error::invalid("depth must be at least 1"));
            }
            let depth = depth.map(|depth| depth.to_string());
            let mut query = vec![("path", path)];
            query.extend(depth.as_deref().map(|depth| ("depth", depth)));
            self.get(operation, "", &query, timeout).await
        };
        self.sandbox.observe(operation, work).await
    }

    /// Moves or renames.
    ///
    /// # Errors
    /// `FileNotFound`; `Conflict` if the destination is there.
    pub async fn move_files(&self, source: &str, destination: &str, timeout: Option<f64>) -> Result<()> {
        let operation = Operation::MOVE_FILES;
        let work = async {
            check_path(source)?;
            check_path(destination)?;
            let query = [("source", source), ("destination", destination)];
            self.empty(operation, Method::POST, "move", &query, timeout).await
        };
        self.sandbox.observe(operation, work).await
    }

    /// Replaces plain text in files; one that cannot be changed does not stop the others.
    ///
    /// # Errors
    /// `InvalidArgument` for an empty pattern.
    pub async fn replace_in_files(
        &self,
        files: Vec<String>,
        pattern: String,
        new_value: String,
        timeout: Option<f64>,
    ) -> Result<Vec<ReplaceResult>> {
        let operation = Operation::REPLACE_IN_FILES;
        let work = async {
            files.iter().try_for_each(|path| check_path(path))?;
            check_pattern(&pattern)?;
            let body = ReplaceRequest { files, pattern, new_value };
            let (transport, url) = self.url("replace", &[]).await?;
            let limit = seconds("request_timeout", timeout)?;
            watch::guard(&self.sandbox, transport.json(Call::post(operation, url).json(&body)?.limit(limit))).await
        };
        self.sandbox.observe(operation, work).await
    }

    /// The paths beneath `path` whose base name matches a glob such as `*.py`.
    ///
    /// # Errors
    /// `FileNotFound`; `BadRequest` for a bad glob.
    pub async fn search_files(&self, path: &str, pattern: &str, timeout: Option<f64>) -> Result<SearchFilesResponse> {
        let operation = Operation::SEARCH_FILES;
        let work = async {
            check_path(path)?;
            check_pattern(pattern)?;
            self.get(operation, "search", &[("path", path), ("pattern", pattern)], timeout).await
        };
        self.sandbox.observe(operation, work).await
    }

    /// Changes mode, owner and group.
    ///
    /// # Errors
    /// `FileNotFound`; `FileAccessDenied`; `InvalidArgument` for a bad mode.
    pub async fn set_file_permissions(
        &self,
        path: &str,
        permissions: &Permissions,
        timeout: Option<f64>,
    ) -> Result<()> {
        let operation = Operation::SET_PERMISSIONS;
        let work = async {
            check_path(path)?;
            permissions.mode.as_deref().map_or(Ok(()), check_mode)?;
            let all = [("mode", &permissions.mode), ("owner", &permissions.owner), ("group", &permissions.group)];
            let mut query = vec![("path", path)];
            query.extend(all.iter().filter_map(|(name, value)| Some((*name, value.as_deref()?))));
            self.empty(operation, Method::POST, "permissions", &query, timeout).await
        };
        self.sandbox.observe(operation, work).await
    }

    /// Writes one file; missing folders are made. It is there as a whole or not at all.
    ///
    /// # Errors
    /// `InvalidArgument` for a local file that cannot be read; `FileAccessDenied`; `Connection`.
    pub async fn upload_file(&self, file: Upload, options: Transfer) -> Result<()> {
        let operation = Operation::UPLOAD_FILE;
        self.sandbox
            .observe(
                operation,
                watch::guard(&self.sandbox, transfer::upload(&self.sandbox, operation, vec![file], options)),
            )
            .await
    }

    /// Writes many files in one request.
    ///
    /// # Errors
    /// As [`FileSystem::upload_file`]; those that could be written are written.
    pub async fn upload_files(&self, files: Vec<Upload>, options: Transfer) -> Result<()> {
        let operation = Operation::UPLOAD_FILES;
        self.sandbox
            .observe(operation, watch::guard(&self.sandbox, transfer::upload(&self.sandbox, operation, files, options)))
            .await
    }

    /// Reads one file into memory (`Some`), or to a local file (`None`) that is replaced as a whole
    /// or not at all.
    ///
    /// # Errors
    /// `FileNotFound`; `FileAccessDenied`; `InvalidFilePath`; `Connection`.
    pub async fn download_file(
        &self,
        path: &str,
        target: DownloadTarget,
        options: Transfer,
    ) -> Result<Option<Vec<u8>>> {
        let operation = Operation::DOWNLOAD_FILE;
        let file = Download { source: path.to_owned(), target };
        self.sandbox
            .observe(
                operation,
                watch::guard(&self.sandbox, transfer::download_one(&self.sandbox, operation, file, options)),
            )
            .await
    }

    /// Reads many files in one request, each with its own result.
    ///
    /// # Errors
    /// Only if the request as a whole fails.
    pub async fn download_files(&self, files: Vec<Download>, options: Transfer) -> Result<Vec<Downloaded>> {
        let operation = Operation::DOWNLOAD_FILES;
        self.sandbox
            .observe(
                operation,
                watch::guard(&self.sandbox, transfer::download(&self.sandbox, operation, files, options)),
            )
            .await
    }

    /// Opens one file to read it piece by piece.
    ///
    /// # Errors
    /// As [`FileSystem::download_file`].
    pub async fn download_file_stream(&self, path: &str, options: Transfer) -> Result<DownloadStream> {
        let work = watch::guard(&self.sandbox, DownloadStream::open(&self.sandbox, path, options));
        self.sandbox.observe(Operation::DOWNLOAD_FILE, work).await
    }

    async fn url(&self, route: &str, query: &[(&str, &str)]) -> Result<(&Transport, Url)> {
        let parts: &[&str] = if route.is_empty() { &["files"] } else { &["files", route] };
        let (transport, mut url) = self.sandbox.toolbox(parts).await?;
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        Ok((transport, url))
    }

    async fn get<T: serde::de::DeserializeOwned>(
        &self,
        operation: Operation,
        route: &str,
        query: &[(&str, &str)],
        timeout: Option<f64>,
    ) -> Result<T> {
        let limit = seconds("request_timeout", timeout)?;
        let (transport, url) = self.url(route, query).await?;
        watch::guard(&self.sandbox, transport.json(Call::get(operation, url).limit(limit))).await
    }

    async fn empty(
        &self,
        operation: Operation,
        method: Method,
        route: &str,
        query: &[(&str, &str)],
        timeout: Option<f64>,
    ) -> Result<()> {
        let limit = seconds("request_timeout", timeout)?;
        let (transport, url) = self.url(route, query).await?;
        watch::guard(&self.sandbox, transport.empty(Call::new(operation, method, url).limit(limit))).await
    }
}

fn check_pattern(pattern: &str) -> Result<()> {
    if pattern.is_empty() {
        return Err(Error::invalid("the pattern is empty"));
    }
    refuse_nul("pattern", pattern)
}
