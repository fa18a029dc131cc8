//! Deleting what a sandbox left, whatever it did to it.

use std::ffi::CStr;
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, Mode, OFlags, chmodat, openat, renameat, unlinkat};
use rustix::io::Errno;

/// Deletes a folder and everything in it; one that does not exist is fine.
///
/// Folders without permissions are made accessible, links are not followed, and the depth of the
/// tree does not matter: what is nested is moved up first.
pub fn remove_tree(path: &Path) -> io::Result<()> {
    let root = match open_dir(CWD, path) {
        Ok(root) => root,
        Err(Errno::NOENT) => return Ok(()),
        Err(Errno::NOTDIR | Errno::LOOP) => return fs::remove_file(path),
        Err(error) => return Err(error.into()),
    };
    let mut moved = 0_u64;
    let prefix = format!(".{}-", crate::random_name());
    loop {
        let names = names(&root)?;
        if names.is_empty() {
            break;
        }
        for name in names {
            if remove_entry(&root, &name)? {
                continue;
            }
            let folder = open_dir(&root, name.as_c_str())?;
            for inner in self::names(&folder)? {
                if remove_entry(&folder, &inner)? {
                    continue;
                }
                // Moving a folder needs the right to write to it.
                drop(open_dir(&folder, inner.as_c_str())?);
                moved += 1;
                match renameat(&folder, &inner, &root, format!("{prefix}{moved}")) {
                    // No room for one more name.
                    Err(Errno::NOSPC | Errno::DQUOT) => remove_deep(&folder, &inner, DEPTH)?,
                    other => other?,
                }
            }
            unlinkat(&root, &name, AtFlags::REMOVEDIR)?;
        }
    }
    fs::remove_dir(path)
}

/// How deep a tree is removed without moving anything.
const DEPTH: u32 = 500;

/// Removes a folder with all that is in it, from its depth up.
fn remove_deep(folder: &OwnedFd, name: &CStr, depth: u32) -> io::Result<()> {
    let inside = open_dir(folder, name)?;
    for entry in names(&inside)? {
        if !remove_entry(&inside, &entry)? {
            let left = depth.checked_sub(1).ok_or(io::ErrorKind::StorageFull)?;
            remove_deep(&inside, &entry, left)?;
        }
    }
    Ok(unlinkat(folder, name, AtFlags::REMOVEDIR)?)
}

/// Removes a file or an empty folder; false for a folder with something in it.
fn remove_entry(folder: &OwnedFd, name: &CStr) -> io::Result<bool> {
    match unlinkat(folder, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(true),
        // EPERM is what POSIX says for a folder.
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(error) => return Err(error.into()),
    }
    match unlinkat(folder, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(true),
        Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Opens a folder, giving its owner all rights first where they are missing.
fn open_dir<P: rustix::path::Arg + Copy>(at: impl AsFd, path: P) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let at = at.as_fd();
    let opened = openat(at, path, flags, Mode::empty());
    let all = Mode::RWXU;
    match opened {
        Ok(folder) => {
            let mode = Mode::from_raw_mode(rustix::fs::fstat(&folder)?.st_mode);
            if !mode.contains(all) {
                rustix::fs::fchmod(&folder, all)?;
            }
            Ok(folder)
        }
        Err(Errno::ACCESS) => {
            chmodat(at, path, all, AtFlags::empty())?;
            openat(at, path, flags, Mode::empty())
        }
        Err(error) => Err(error),
    }
}

fn names(folder: &OwnedFd) -> io::Result<Vec<std::ffi::CString>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if name != c"." && name != c".." {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn removes_whatever_is_there() {
        let dir = tempfile::tempdir().expect("a folder");
        let outside = dir.path().join("outside");
        fs::create_dir(&outside).expect("a folder");
        fs::write(outside.join("kept"), "x").expect("a file");
        let tree = dir.path().join("tree");
        fs::create_dir_all(tree.join("closed/inner/deep")).expect("folders");
        fs::write(tree.join("closed/inner/file"), "x").expect("a file");
        symlink(&outside, tree.join("link")).expect("a link");
        symlink("nowhere", tree.join("closed/dangling")).expect("a link");
        for name in ["closed/inner/deep", "closed/inner", "closed"] {
            fs::set_permissions(tree.join(name), fs::Permissions::from_mode(0o0)).expect("chmod");
        }
        remove_tree(&tree).expect("removed");
        assert!(!tree.exists());
        assert!(outside.join("kept").exists());
        remove_tree(&tree).expect("nothing to remove");
    }

    #[test]
    fn removes_without_moving() {
        let dir = tempfile::tempdir().expect("a folder");
        fs::create_dir_all(dir.path().join("tree/closed/inner/deep")).expect("folders");
        fs::write(dir.path().join("tree/closed/inner/file"), "x").expect("a file");
        fs::set_permissions(dir.path().join("tree/closed"), fs::Permissions::from_mode(0o0)).expect("chmod");
        let at = open_dir(CWD, dir.path()).expect("open");
        assert!(remove_deep(&at, c"tree", 1).is_err(), "deeper than that");
        remove_deep(&at, c"tree", DEPTH).expect("removed");
        assert!(!dir.path().join("tree").exists());
    }

    #[test]
    fn removes_a_tree_deeper_than_a_path_may_be_long() {
        let dir = tempfile::tempdir().expect("a folder");
        let tree = dir.path().join("tree");
        fs::create_dir(&tree).expect("a folder");
        let mut at = open_dir(CWD, &tree).expect("open");
        for _ in 0..3000 {
            rustix::fs::mkdirat(&at, "nested", Mode::RWXU).expect("mkdir");
            at = open_dir(&at, c"nested").expect("open");
        }
        drop(at);
        remove_tree(&tree).expect("removed");
        assert!(!tree.exists());
    }
}
