//! Which language server a language has, and where it is found.

use std::path::{Path, PathBuf};

use axum::http::StatusCode;
use tokio::process::Command;

use super::server::Server;
use crate::App;
use crate::code::{find, find_python, search_path};
use crate::error::{Error, Result};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Language {
    Python,
    TypeScript,
    JavaScript,
}

impl Language {
    pub(super) fn named(name: &str) -> Result<Self> {
        match name {
            "python" => Ok(Self::Python),
            "typescript" => Ok(Self::TypeScript),
            "javascript" => Ok(Self::JavaScript),
            other => Err(Error::bad_request(format!(
                "there is no language server for {other:?}; use python, typescript or javascript"
            ))),
        }
    }

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Python => "python",
            Self::TypeScript => "typescript",
            Self::JavaScript => "javascript",
        }
    }

    /// Whether a file is one of this language's, by its name.
    pub(super) fn has(self, path: &Path) -> bool {
        let extensions: &[&str] = match self {
            Self::Python => &["py", "pyi"],
            Self::TypeScript => &["ts", "tsx", "mts", "cts"],
            Self::JavaScript => &["js", "jsx", "mjs", "cjs"],
        };
        path.extension().and_then(|one| one.to_str()).is_some_and(|one| extensions.contains(&one))
    }

    /// Starts its server in a project, and waits until it is ready.
    pub(super) async fn start(self, app: &App, project: &Path) -> Result<Server> {
        let command = match self {
            Self::Python => python(app, project),
            Self::TypeScript | Self::JavaScript => typescript(app, project),
        };
        let command = command.ok_or_else(|| self.missing())?;
        let server = Server::start(app, command, project)
            .map_err(|error| Error::internal(format!("cannot start the {} language server: {error}", self.as_str())))?;
        server.initialize(project).await.map_err(|error| {
            let lacks = ["No module named pylsp", "valid TypeScript installation", "Could not find TypeScript"];
            if lacks.iter().any(|what| error.message.contains(what)) { self.missing() } else { error }
        })?;
        Ok(server)
    }

    fn missing(self) -> Error {
        let message = match self {
            Self::Python => {
                "the Python language server is not installed in this sandbox; install the package python-lsp-server, \
                 with `pip install python-lsp-server`"
            }
            Self::TypeScript | Self::JavaScript => {
                "the TypeScript language server, which is for JavaScript too, is not installed in this sandbox; \
                 install the packages typescript and typescript-language-server, with \
                 `npm install typescript typescript-language-server` in the project or a folder above it, or with `-g`"
            }
        };
        Error::new(StatusCode::SERVICE_UNAVAILABLE, "LSP_SERVER_NOT_INSTALLED", message)
    }
}

/// In the project's own environment, on the path, or as a module.
fn python(app: &App, project: &Path) -> Option<Command> {
    let path = search_path(&app.config.env);
    let own = [".venv", "venv"].map(|name| project.join(name).join("bin/pylsp"));
    if let Some(found) = own.into_iter().find(|file| file.is_file()).or_else(|| find(path, &["pylsp"])) {
        return Some(Command::new(found));
    }
    let mut command = Command::new(find_python(path)?);
    command.args(["-m", "pylsp"]);
    Some(command)
}

/// In the project or a folder above it, or on the path.
fn typescript(app: &App, project: &Path) -> Option<Command> {
    const NAME: &str = "typescript-language-server";
    let own = |folder: &Path| -> Option<PathBuf> {
        let file = folder.join("node_modules/.bin").join(NAME);
        file.is_file().then_some(file)
    };
    let found = project.ancestors().find_map(own).or_else(|| find(search_path(&app.config.env), &[NAME]))?;
    let mut command = Command::new(found);
    command.arg("--stdio");
    Some(command)
}
