//! What lies in a folder that is named as the data directory; looked at without touching any of it.

use std::fs;
use std::io::{self, Read as _};
use std::path::Path;

use daytona_wire::data_dir::{FILE_SYSTEMS_OWN, FOLDERS, Holder, LOCK, MARKER, may_precede};

use super::marker::{FORMAT, Marker};

/// The name under which the marker is written before it gets its own.
const UNFINISHED: &str = "daytona-native.new";
/// Neither marker nor lock file is longer.
const LIMIT: u64 = 64 << 10;
/// So many names of other files are told.
const NAMED: usize = 4;

#[derive(Debug)]
pub(super) enum Content {
    /// Nothing, or what clients make before they start the server.
    Empty,
    /// The data directory of a version that made no marker.
    Earlier,
    Marked(Marker),
}

/// What lies there, or why it is refused.
pub(super) fn inspect(dir: &Path) -> Result<Content, String> {
    let marker = dir.join(MARKER);
    match fs::symlink_metadata(&marker) {
        Ok(_) => return read_marker(&marker).map(Content::Marked),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(format!("{MARKER}: {error}")),
    }
    let unreadable = |error: io::Error| format!("cannot be read: {error}");
    let mut others = Vec::new();
    for entry in fs::read_dir(dir).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let name = entry.file_name();
        let kind = entry.file_type().map_err(unreadable)?;
        let ours = name.to_str().is_some_and(|name| match name {
            FILE_SYSTEMS_OWN => kind.is_dir() && is_empty(&entry.path(), true),
            name if FOLDERS.contains(&name) => kind.is_dir() && is_empty(&entry.path(), false),
            UNFINISHED => kind.is_file(),
            LOCK => kind.is_file() && names_a_server(&entry.path(), true),
            name => kind.is_file() && may_precede(name),
        });
        if !ours {
            others.push(name.to_string_lossy().into_owned());
        }
    }
    if others.is_empty() {
        return Ok(Content::Empty);
    }
    let lock = dir.join(LOCK);
    if fs::symlink_metadata(&lock).is_ok_and(|metadata| metadata.is_file()) && names_a_server(&lock, false) {
        return Ok(Content::Earlier);
    }
    others.sort();
    let more = others.len().saturating_sub(NAMED);
    others.truncate(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    Err(format!(
        "is no data directory of daytona-native: it bears no {MARKER} and holds other files ({}{more}); nothing in it \
         was touched",
        others.join(", ")
    ))
}

/// Of a file system's own folder nothing can be seen by users.
fn is_empty(dir: &Path, or_closed: bool) -> bool {
    fs::read_dir(dir).map_or_else(
        |error| or_closed && error.kind() == io::ErrorKind::PermissionDenied,
        |mut entries| entries.next().is_none(),
    )
}

/// Whether a lock file is one that a server has written, or has just made.
fn names_a_server(path: &Path, or_empty: bool) -> bool {
    read(path).is_ok_and(|text| {
        (or_empty && text.is_empty()) || serde_json::from_slice::<Holder>(&text).is_ok_and(|holder| holder.pid > 0)
    })
}

fn read_marker(path: &Path) -> Result<Marker, String> {
    #[derive(serde::Deserialize)]
    struct Format {
        format: u32,
        #[serde(default)]
        version: String,
    }
    let damaged = |why: String| {
        format!(
            "its marker {} cannot be read: {why}. Restore that file; or move it away, and the folder is taken for one \
             of a version without markers and gets a new identifier",
            path.display()
        )
    };
    if !fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_file()) {
        return Err(damaged("it is no regular file".to_owned()));
    }
    let text = read(path).map_err(|error| damaged(error.to_string()))?;
    let Format { format, version } = serde_json::from_slice(&text).map_err(|error| damaged(error.to_string()))?;
    if format > FORMAT {
        return Err(format!(
            "was used by a newer server ({version}), which keeps it in a format ({format}) that this one ({}) does not \
             know; use that version",
            crate::VERSION
        ));
    }
    serde_json::from_slice(&text).map_err(|error| damaged(error.to_string()))
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    fs::File::open(path)?.take(LIMIT).read_to_end(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_empty_or_ours_is_taken() {
        let base = tempfile::tempdir().unwrap();
        let dir = |name: &str, files: &[(&str, &str)]| {
            let dir = base.path().join(name);
            fs::create_dir(&dir).unwrap();
            for (file, text) in files {
                let path = dir.join(file);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
            }
            inspect(&dir)
        };
        let holder = r#"{"pid":1,"url":"","stopping":false}"#;
        assert!(matches!(dir("a", &[]), Ok(Content::Empty)));
        assert!(matches!(dir("b", &[("server.log", "text"), ("start.lock", ""), (LOCK, "")]), Ok(Content::Empty)));
        assert!(matches!(dir("c", &[(LOCK, holder)]), Ok(Content::Empty)));
        assert!(matches!(dir("d", &[(LOCK, holder), ("state.redb", "")]), Ok(Content::Earlier)));
        for (name, files) in [
            ("project", &[("README.md", "text"), ("snapshots/a", "b")][..]),
            ("server", &[(LOCK, "yarn"), ("package.json", "")]),
            ("lock only", &[(LOCK, "yarn")]),
            ("database", &[("state.redb", "redb")]),
            ("found", &[("lost+found/a", "b")]),
            ("images", &[("images/a.png", "b")]),
        ] {
            let error = dir(name, files).unwrap_err();
            assert!(error.contains("no data directory") && error.contains("nothing"), "{error}");
        }
        fs::create_dir_all(base.path().join("mounted/images")).unwrap();
        assert!(matches!(inspect(&base.path().join("mounted")), Ok(Content::Empty)));
        let newer = r#"{"format":2,"version":"9.9","id":5}"#;
        assert!(dir("newer", &[(MARKER, newer)]).unwrap_err().contains("9.9"));
        for (name, text) in [("1", ""), ("2", "[]"), ("3", r#"{"format":1}"#), ("4", "\0\0\0")] {
            assert!(dir(name, &[(MARKER, text)]).unwrap_err().contains(MARKER), "{text:?}");
        }
    }
}
