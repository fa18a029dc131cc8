//! Paths as text, as the two languages write them.

use super::Dialect;

/// Without `.`, `..` after a name, and doubled slashes; empty for the directory itself.
pub(super) fn normalized(path: &str) -> String {
    let is_absolute = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => drop(parts.pop()),
            ".." if is_absolute => {}
            part => parts.push(part),
        }
    }
    let joined = parts.join("/");
    if is_absolute { format!("/{joined}") } else { joined }
}

/// The same beneath a root: nothing is above that.
pub(crate) fn rooted(path: &str) -> String {
    normalized(&format!("/{path}"))[1..].to_owned()
}

/// What the Dockerfile calls a local path that is added.
pub(super) fn archive_path(dialect: Dialect, path: &str) -> String {
    match dialect {
        Dialect::TypeScript => path.to_owned(),
        Dialect::Python => {
            let normalized = normalized(path);
            let relative = normalized.trim_start_matches('/').trim_start_matches('\\');
            let is_here = normalized.is_empty();
            if is_here { ".".to_owned() } else { relative.to_owned() }
        }
    }
}

/// The last part of a path.
pub(super) fn base_name(dialect: Dialect, path: &str) -> String {
    let folded = if dialect == Dialect::TypeScript { path.replace('\\', "/") } else { path.to_owned() };
    let is_name = |part: &&str| !part.is_empty() && (dialect == Dialect::TypeScript || *part != ".");
    folded.rsplit('/').find(is_name).unwrap_or_default().to_owned()
}

/// `a` and `b` with one slash between them, unless `b` is absolute.
pub(super) fn join(dialect: Dialect, base: &str, path: &str) -> String {
    match dialect {
        Dialect::Python if path.starts_with('/') || base.is_empty() => path.to_owned(),
        Dialect::Python if base.ends_with('/') => format!("{base}{path}"),
        Dialect::Python => format!("{base}/{path}"),
        Dialect::TypeScript if is_absolute(dialect, path) => path.to_owned(),
        Dialect::TypeScript => {
            let joined = if base.is_empty() { path.to_owned() } else { format!("{base}/{path}") };
            let normalized = normalized(&joined.replace('\\', "/"));
            let normalized = if normalized.is_empty() { ".".to_owned() } else { normalized };
            let has_slash = joined.ends_with('/') && !normalized.ends_with('/');
            if has_slash { normalized + "/" } else { normalized }
        }
    }
}

pub(super) fn is_absolute(dialect: Dialect, path: &str) -> bool {
    path.starts_with('/') || (dialect == Dialect::TypeScript && (path.starts_with('\\') || has_drive(path)))
}

/// `C:`
pub(super) fn has_drive(path: &str) -> bool {
    let mut chars = path.chars();
    chars.next().is_some_and(|c| c.is_ascii_alphabetic()) && chars.next() == Some(':')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_in_archives() {
        let python = |path| archive_path(Dialect::Python, path);
        assert_eq!([python("/a/./b//c/"), python("../x"), python("."), python("/")], ["a/b/c", "../x", ".", ""]);
        assert_eq!(archive_path(Dialect::TypeScript, "./a/"), "./a/");
        assert_eq!([rooted("../x"), rooted("/a/../../b/"), rooted(".")], ["x", "b", ""]);
    }

    #[test]
    fn names_and_joins() {
        assert_eq!(base_name(Dialect::Python, "a/b/."), "b");
        assert_eq!(base_name(Dialect::TypeScript, "a/b/."), ".");
        assert_eq!(join(Dialect::Python, "ctx", "./a"), "ctx/./a");
        assert_eq!(join(Dialect::TypeScript, "ctx/", "./a/"), "ctx/a/");
        assert_eq!(join(Dialect::TypeScript, "/c", "../x"), "/x");
    }
}
