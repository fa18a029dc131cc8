//! The local files that the `COPY` instructions of a Dockerfile name.

use std::borrow::Cow;
use std::path::Path;

use globset::{GlobBuilder, GlobMatcher};
use walkdir::WalkDir;

use super::quote::{is_space, trim, words};
use super::{Context, Dialect, Image, LocalPath, directory, file, path};
use crate::error::{Error, Result};

/// A Dockerfile, with what it copies from its directory.
pub(super) fn from_dockerfile(dialect: Dialect, local: &LocalPath, strict: bool) -> Result<Image> {
    file(local, "Dockerfile")?;
    let unreadable = |error: std::io::Error| {
        Error::invalid(format!("Dockerfile {} cannot be read as UTF-8: {error}", local.given)).with_cause(error)
    };
    let text = std::fs::read_to_string(&local.expanded).map_err(unreadable)?;
    let text = match dialect {
        Dialect::Python => text.replace("\r\n", "\n").replace('\r', "\n"),
        Dialect::TypeScript => text,
    };
    let mut dockerfile = path::normalized(&local.expanded);
    if dialect == Dialect::TypeScript && !dockerfile.starts_with('/') {
        let current = std::env::current_dir().map_err(unreadable)?;
        dockerfile = path::normalized(&format!("{}/{dockerfile}", current.display()));
    }
    let base = dockerfile.rfind('/').map_or("", |slash| &dockerfile[..=slash]);
    let context_list = Sources { dialect, base, root: strict.then_some(base) }.find(&text)?;
    Ok(Image { dockerfile: text, context_list })
}

/// Instructions, with what they copy from a directory.
pub(super) fn commands(
    dialect: Dialect,
    commands: &[String],
    context_dir: Option<&LocalPath>,
    strict: bool,
) -> Result<Image> {
    if let Some(local) = context_dir {
        directory(local, "Context directory")?;
    } else if strict {
        return Err(Error::invalid("a strict context needs the directory to which it is confined"));
    }
    let text = commands.join("\n");
    let base = context_dir.map_or("", |local| &local.expanded);
    let context_list = Sources { dialect, base, root: strict.then_some(base) }.find(&text)?;
    Ok(Image { dockerfile: text + "\n", context_list })
}

/// Where the sources of `COPY` are looked for.
struct Sources<'a> {
    dialect: Dialect,
    /// The directory that they are relative to; the current one if empty.
    base: &'a str,
    /// They must not be outside of it.
    root: Option<&'a str>,
}

impl Sources<'_> {
    fn find(&self, dockerfile: &str) -> Result<Vec<Context>> {
        let root = self.root.map(|root| real(if root.is_empty() { "." } else { root }));
        let mut found = Vec::new();
        for line in logical_lines(self.dialect, dockerfile) {
            for source in copied(self.dialect, &line).unwrap_or_default() {
                if root.is_some() {
                    refuse_outside(&source)?;
                }
                let pattern = path::join(self.dialect, self.base, &source);
                let mut matches = match self.dialect {
                    Dialect::Python => python_glob(&pattern),
                    Dialect::TypeScript => js_glob(&pattern),
                };
                if matches.is_empty() {
                    matches.push(pattern);
                }
                for one in matches {
                    if let Some(root) = &root {
                        refuse_link_outside(root, &one)?;
                    }
                    found.push(self.context(&source, one));
                }
            }
        }
        Ok(found)
    }

    fn context(&self, source: &str, found: String) -> Context {
        if path::is_absolute(self.dialect, source) || self.base.is_empty() {
            return Context { archive_path: found.clone(), source_path: found, context_dir: None };
        }
        let base = match self.dialect {
            Dialect::Python => Cow::Borrowed(self.base),
            Dialect::TypeScript => Cow::Owned(path::join(self.dialect, "", self.base)),
        };
        let relative = found.strip_prefix(base.trim_end_matches('/')).unwrap_or(source).trim_start_matches('/');
        Context { archive_path: relative.to_owned(), context_dir: Some(self.base.to_owned()), source_path: found }
    }
}

/// Lines with those that a backslash continues.
fn logical_lines(dialect: Dialect, text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut current: Option<String> = None;
    for line in physical_lines(dialect, text) {
        let is_comment = line.trim_start_matches(|c| is_space(dialect, c)).starts_with('#');
        if current.is_some() && (is_comment || trim(dialect, line).is_empty()) {
            continue;
        }
        let stripped = line.trim_end_matches(|c| is_space(dialect, c));
        let continued = if is_comment { None } else { stripped.strip_suffix('\\') };
        current.get_or_insert_default().push_str(continued.unwrap_or(line));
        if continued.is_none() {
            lines.extend(current.take());
        }
    }
    lines.extend(current);
    lines
}

fn physical_lines(dialect: Dialect, text: &str) -> Vec<&str> {
    let is_break = |c: char| match dialect {
        Dialect::Python => {
            matches!(c, '\n' | '\r' | '\x0b' | '\x0c' | '\x1c'..='\x1e' | '\u{85}' | '\u{2028}' | '\u{2029}')
        }
        Dialect::TypeScript => c == '\n',
    };
    text.split(is_break).map(|line| line.strip_suffix('\r').unwrap_or(line)).collect()
}

/// The sources of a `COPY` from the context; `None` for every other line.
fn copied(dialect: Dialect, line: &str) -> Option<Vec<String>> {
    let line = trim(dialect, line);
    let (name, rest) = line.split_at_checked(4)?;
    if !name.eq_ignore_ascii_case("copy") || !rest.starts_with(|c| is_space(dialect, c)) {
        return None;
    }
    // From another stage, or text that stands in the Dockerfile itself.
    if rest.contains("--from=") || rest.to_ascii_lowercase().contains("--from=") || rest.contains("<<") {
        return None;
    }
    let mut rest = trim(dialect, rest);
    while rest.starts_with("--") {
        rest = rest.find(|c| is_space(dialect, c)).map_or("", |end| trim(dialect, &rest[end..]));
    }
    let mut words = if rest.starts_with('[') { serde_json::from_str(rest).ok()? } else { words(dialect, rest)? };
    words.pop()?;
    Some(words)
}

/// Decided on the text, so that it is the same whether or not the file exists.
fn refuse_outside(source: &str) -> Result<()> {
    // On Windows a backslash separates.
    let folded = source.replace('\\', "/");
    let normalized = path::normalized(&folded);
    let is_outside = folded.starts_with('/')
        || source.chars().nth(1) == Some(':')
        || path::has_drive(source)
        || normalized == ".."
        || normalized.starts_with("../");
    if is_outside { Err(outside(source)) } else { Ok(()) }
}

/// A link within the context may lead out of it.
fn refuse_link_outside(root: &Path, found: &str) -> Result<()> {
    if std::fs::symlink_metadata(found).is_err() {
        return Ok(());
    }
    match std::fs::canonicalize(found) {
        Ok(target) if target.starts_with(root) => Ok(()),
        Ok(target) => Err(outside(&target.display().to_string())),
        Err(_) => Err(outside(found)),
    }
}

fn outside(path: &str) -> Error {
    Error::invalid(format!("{path} is outside the build context"))
        .with_hint("Add it with add_local_file or add_local_dir, or leave strict_context out")
}

fn real(path: &str) -> std::path::PathBuf {
    std::fs::canonicalize(path).unwrap_or_else(|_| path.into())
}

/// Paths that a pattern of Python's `glob` matches, sorted.
fn python_glob(pattern: &str) -> Vec<String> {
    let mut found = vec![String::new()];
    let parts: Vec<_> = pattern.split('/').collect();
    for (number, part) in parts.iter().enumerate() {
        let is_last = number + 1 == parts.len();
        let slash = if is_last { "" } else { "/" };
        if !part.contains(['*', '?', '[']) {
            for path in &mut found {
                path.push_str(part);
                path.push_str(slash);
            }
            continue;
        }
        let Some(matcher) = component(part) else { return Vec::new() };
        let mut next = Vec::new();
        for path in found {
            let entries = std::fs::read_dir(if path.is_empty() { "." } else { &path }).into_iter().flatten().flatten();
            let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
            let visible = names.filter(|name| part.starts_with('.') || !name.starts_with('.'));
            let matching = visible.filter(|name| matcher.is_match(name)).map(|name| format!("{path}{name}{slash}"));
            next.extend(matching.filter(|path| is_last || Path::new(path).is_dir()));
        }
        next.sort();
        found = next;
    }
    found.retain(|path| std::fs::symlink_metadata(path).is_ok());
    found
}

/// One name in a pattern of Python: `*`, `?` and `[...]`, all else as it stands.
fn component(part: &str) -> Option<GlobMatcher> {
    let chars: Vec<char> = part.chars().collect();
    let mut pattern = String::new();
    let mut at = 0;
    while let Some(&c) = chars.get(at) {
        let literal = match c {
            '[' => {
                let negation = usize::from(chars.get(at + 1) == Some(&'!'));
                let first = at + 1 + negation + usize::from(chars.get(at + 1 + negation) == Some(&']'));
                match chars.get(first..).and_then(|rest| rest.iter().position(|&c| c == ']')) {
                    Some(length) => {
                        pattern.extend(&chars[at..=first + length]);
                        at += 1 + first + length - at;
                        continue;
                    }
                    None => true,
                }
            }
            '{' | '}' => true,
            '*' if pattern.ends_with('*') => {
                at += 1;
                continue;
            }
            _ => false,
        };
        if literal {
            pattern.extend(['[', c, ']']);
        } else {
            pattern.push(c);
        }
        at += 1;
    }
    GlobBuilder::new(&pattern).backslash_escape(false).build().ok().map(|glob| glob.compile_matcher())
}

/// Files that a pattern of the usual form for Node matches, sorted.
fn js_glob(pattern: &str) -> Vec<String> {
    let is_magic = |part: &str| part.contains(['*', '?', '[', '{', '\\']);
    if !is_magic(pattern) {
        return if Path::new(pattern).is_file() { vec![pattern.to_owned()] } else { Vec::new() };
    }
    let parts: Vec<_> = pattern.split('/').collect();
    let fixed = parts.iter().position(|part| is_magic(part)).unwrap_or_default();
    let base = parts[..fixed].join("/");
    let Ok(glob) = GlobBuilder::new(pattern).literal_separator(true).build() else { return Vec::new() };
    let matcher = glob.compile_matcher();
    let depth = if pattern.contains("**") { usize::MAX } else { parts.len() - fixed };
    let start = match base.as_str() {
        "" if pattern.starts_with('/') => "/",
        "" => ".",
        base => base,
    };
    let files = WalkDir::new(start).follow_links(true).min_depth(1).max_depth(depth).sort_by_file_name().into_iter();
    files
        .flatten()
        .filter(|entry| entry.file_type().is_file())
        .filter_map(|entry| entry.path().to_str().map(|path| path.strip_prefix("./").unwrap_or(path).to_owned()))
        .filter(|path| matcher.is_match(path))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources(dockerfile: &str) -> Vec<String> {
        logical_lines(Dialect::Python, dockerfile)
            .iter()
            .flat_map(|line| copied(Dialect::Python, line).unwrap_or_default())
            .collect()
    }

    #[test]
    fn sources_of_copy() {
        assert_eq!(
            sources("COPY a b /x\ncopy --chown=1 --link c/ .\nCOPYd e\n# COPY f g\nRUN COPY h i"),
            ["a", "b", "c/"]
        );
        assert_eq!(sources("COPY a \\\n  # between\n\n  'b c' \\\n /x"), ["a", "b c"]);
        assert_eq!(sources("COPY [\"a b\", \"/x\"]\nCOPY [\"a\",\nCOPY [1, 2]\nCOPY only"), ["a b"]);
        assert_eq!(sources("COPY --from=build a b\nCOPY <<EOF /x\nCOPY a 'b"), [""; 0]);
    }

    #[test]
    fn outside_is_outside_whether_it_exists_or_not() {
        for bad in ["/x", "../x", "a/../../x", "..\\x", "C:\\x", "C:x", "\\\\host\\x", ".."] {
            assert!(refuse_outside(bad).is_err(), "{bad}");
        }
        for good in ["x", "./x", "a/../x", "..x", "a*"] {
            assert!(refuse_outside(good).is_ok(), "{good}");
        }
    }

    #[test]
    fn patterns() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a.py", "b.py", ".c.py", "d.txt", "[e].py"] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        std::fs::create_dir(folder.path().join("f.py")).unwrap();
        std::fs::write(folder.path().join("f.py/g.py"), "").unwrap();
        let base = folder.path().to_str().unwrap();
        let names = |found: Vec<String>| {
            found.iter().map(|path| path[base.len() + 1..].to_owned()).collect::<Vec<_>>().join(" ")
        };
        let python = |pattern: &str| names(python_glob(&format!("{base}/{pattern}")));
        let js = |pattern: &str| names(js_glob(&format!("{base}/{pattern}")));
        assert_eq!(python("*.py"), "[e].py a.py b.py f.py");
        assert_eq!(python("[ab].py"), "a.py b.py");
        assert_eq!(python("[!ab].*"), "d.txt f.py");
        assert_eq!([python("[e].py"), python("[[]e].py"), python("{a,b}.py"), python("[")], ["", "[e].py", "", ""]);
        assert_eq!(
            [python("f.py/"), python("*/g*"), python(".*"), python("none")],
            ["f.py/", "f.py/g.py", ".c.py", ""]
        );
        assert_eq!(js("*.py"), ".c.py [e].py a.py b.py");
        assert_eq!(
            [js("{a,b}.py"), js("**/g.py"), js("f.py"), js("f.py/*")],
            ["a.py b.py", "f.py/g.py", "", "f.py/g.py"]
        );
    }
}
