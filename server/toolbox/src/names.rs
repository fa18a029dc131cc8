//! Names of files that are not UTF-8, as text and back.
//!
//! Each byte that is not UTF-8 is shown as `\x` and two digits, and whoever gives such a name back gets the file. A
//! file whose name has these characters themselves comes first.

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

/// The name as text.
pub(crate) fn show(name: &(impl AsRef<OsStr> + ?Sized)) -> String {
    let bytes = name.as_ref().as_bytes();
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

/// The name that this text shows, if it may be that of a name that is not UTF-8.
pub(crate) fn read(text: &str) -> Option<OsString> {
    let mut name = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        if let Some(byte) = escaped(rest) {
            name.push(byte);
            rest = &rest[4..];
        } else {
            name.push(first);
            rest = after;
        }
    }
    // Nothing else is shown this way.
    std::str::from_utf8(&name).is_err().then(|| OsString::from_vec(name))
}

fn escaped(text: &[u8]) -> Option<u8> {
    let digits = text.get(..4)?.strip_prefix(b"\\x")?;
    let byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    (byte >= 0x80).then_some(byte)
}

/// `path` with those of its names that are there only as [`read`] gives them so.
pub(crate) fn find(path: &Path) -> Cow<'_, Path> {
    if !path.as_os_str().as_bytes().windows(2).any(|pair| pair == b"\\x") {
        return Cow::Borrowed(path);
    }
    let mut found = PathBuf::new();
    for part in path.components() {
        let Component::Normal(name) = part else {
            found.push(part);
            continue;
        };
        let literal = found.join(name);
        let other = name.to_str().and_then(read).map(|name| found.join(name));
        found = match other {
            Some(other) if literal.symlink_metadata().is_err() && other.symlink_metadata().is_ok() => other,
            _ => literal,
        };
    }
    Cow::Owned(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_no_text_go_there_and_back() {
        for name in [&b"caf\xe9.txt"[..], b"\xff", b"a\xc3(b\x80", b"tab\t\nline\xf0\x9f\x98"] {
            let name = OsStr::from_bytes(name);
            assert_eq!(read(&show(name)).as_deref(), Some(name));
        }
        assert_eq!(show(OsStr::from_bytes(b"caf\xe9.txt")), r"caf\xe9.txt");
    }

    #[test]
    fn text_stays_text() {
        for name in ["plain", "ünï \u{1f600}", r"\x41", r"\x", r"\xzz", r"\xc3\xa9"] {
            assert_eq!(show(name), name);
            assert_eq!(read(name), None, "{name}");
        }
    }
}
