//! Steps that install packages with pip.

use std::fmt::Write as _;

use serde::Deserialize;
use toml::{Table, Value};

use super::{Context, Dialect, Image, LocalPath, file, path, quote};
use crate::error::{Error, Result};

/// What is said to pip.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PipOptions {
    /// Where to look for archives.
    pub find_links: Option<Vec<String>>,
    /// The index in place of the usual one.
    pub index_url: Option<String>,
    /// More indexes.
    pub extra_index_urls: Option<Vec<String>>,
    /// Take versions that are not final, too.
    pub pre: bool,
    /// More options, as the shell is to read them.
    pub extra_options: Option<String>,
}

impl PipOptions {
    fn text(&self, dialect: Dialect) -> String {
        let mut text = String::new();
        let mut option = |name: &str, value: &str| {
            let _ = write!(text, " --{name} {}", quote::quote(dialect, value));
        };
        self.find_links.iter().flatten().for_each(|link| option("find-links", link));
        self.index_url.iter().filter(|url| !url.is_empty()).for_each(|url| option("index-url", url));
        self.extra_index_urls.iter().flatten().for_each(|url| option("extra-index-url", url));
        if self.pre {
            text.push_str(" --pre");
        }
        if let Some(extra) = self.extra_options.as_deref().filter(|extra| !extra.is_empty()) {
            let _ = write!(text, " {}", quote::trim(dialect, extra));
        }
        text
    }
}

pub(super) fn install(dialect: Dialect, packages: &[String], options: &PipOptions) -> String {
    if packages.is_empty() {
        return String::new();
    }
    let mut packages = packages.to_vec();
    match dialect {
        Dialect::Python => packages.sort(),
        Dialect::TypeScript => packages.sort_by(|a, b| a.encode_utf16().cmp(b.encode_utf16())),
    }
    let quoted: Vec<_> = packages.iter().map(|package| quote::quote(dialect, package)).collect();
    format!("RUN python -m pip install {}{}\n", quoted.join(" "), options.text(dialect))
}

pub(super) fn requirements(dialect: Dialect, local: &LocalPath, options: &PipOptions) -> Result<Image> {
    file(local, "Requirements")?;
    let archive_path = path::archive_path(dialect, &local.expanded);
    let dockerfile = format!(
        "COPY {archive_path} /.requirements.txt\nRUN python -m pip install -r /.requirements.txt{}\n",
        options.text(dialect)
    );
    let context = Context { source_path: local.expanded.clone(), archive_path, context_dir: None };
    Ok(Image { dockerfile, context_list: vec![context] })
}

pub(super) fn pyproject(
    dialect: Dialect,
    local: &LocalPath,
    groups: &[String],
    options: &PipOptions,
) -> Result<String> {
    file(local, "pyproject.toml")?;
    let wrong = |what: &str| Error::invalid(format!("{}: {what}", local.given));
    let text = std::fs::read_to_string(&local.expanded).map_err(|error| wrong(&error.to_string()))?;
    let table: Table = text.parse().map_err(|error: toml::de::Error| wrong(error.message()))?;
    let project =
        table.get("project").and_then(Value::as_table).ok_or_else(|| wrong("there is no [project] section"))?;
    let own = project
        .get("dependencies")
        .and_then(Value::as_array)
        .ok_or_else(|| wrong("[project] has no list of dependencies"))?;
    let mut found = vec![own];
    if !groups.is_empty()
        && let Some(optional) = project.get("optional-dependencies")
    {
        let optional = optional.as_table().ok_or_else(|| wrong("optional-dependencies must be a table of lists"))?;
        found.extend(groups.iter().filter_map(|group| optional.get(group)?.as_array()));
    }
    let packages: Vec<String> = found
        .into_iter()
        .flatten()
        .map(|package| package.as_str().map(str::to_owned).ok_or_else(|| wrong("a dependency must be a string")))
        .collect::<Result<_>>()?;
    Ok(install(dialect, &packages, options))
}
