//! The host name in the files of a sandbox that was made from another's.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, fchmod, fstat, openat, unlinkat};
use rustix::io::Errno;

/// Larger files are nobody's list of hosts.
const HOSTS_LIMIT: u64 = 1 << 20;

/// Puts the host name into `/etc/hostname` and `/etc/hosts` of this upper layer.
///
/// What lies there was written by a sandbox, and may be links to anywhere: none is followed.
pub(super) fn rewrite(upper: &Path, hostname: &str) -> io::Result<()> {
    let folder = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::PATH | OFlags::CLOEXEC;
    let upper = openat(CWD, upper, folder, Mode::empty())?;
    let etc = match openat(&upper, "etc", folder, Mode::empty()) {
        Ok(etc) => etc,
        // The sandbox has put something else there.
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    replace(&etc, "hostname", format!("{hostname}\n").as_bytes())?;
    let Some(hosts) = read(&etc, "hosts")? else {
        return Ok(());
    };
    let own = |line: &[u8]| line.starts_with(b"127.0.1.1\t") || line.starts_with(b"127.0.1.1 ");
    let line = format!("127.0.1.1\t{hostname}\n");
    let hosts = hosts.split_inclusive(|byte| *byte == b'\n');
    let hosts: Vec<&[u8]> = hosts.map(|old| if own(old) { line.as_bytes() } else { old }).collect();
    replace(&etc, "hosts", &hosts.concat())
}

/// A plain file's content.
fn read(folder: &OwnedFd, name: &str) -> io::Result<Option<Vec<u8>>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let Ok(file) = openat(folder, name, flags, Mode::empty()) else {
        return Ok(None);
    };
    if FileType::from_raw_mode(fstat(&file)?.st_mode) != FileType::RegularFile {
        return Ok(None);
    }
    let mut content = Vec::new();
    let read = File::from(file).take(HOSTS_LIMIT + 1).read_to_end(&mut content)?;
    Ok((read as u64 <= HOSTS_LIMIT).then_some(content))
}

/// Puts a new file in the place of whatever is there.
fn replace(folder: &OwnedFd, name: &str, content: &[u8]) -> io::Result<()> {
    match unlinkat(folder, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        // A folder of this name.
        Err(Errno::ISDIR) => return Ok(()),
        Err(error) => return Err(error.into()),
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = File::from(openat(folder, name, flags, Mode::from_raw_mode(0o644))?);
    fchmod(&file, Mode::from_raw_mode(0o644))?;
    file.write_all(content)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn names_are_replaced() {
        let upper = tempfile::tempdir().unwrap();
        let etc = upper.path().join("etc");
        fs::create_dir(&etc).unwrap();
        fs::write(etc.join("hostname"), "old\n").unwrap();
        fs::write(etc.join("hosts"), "127.0.0.1\tlocalhost\n127.0.1.1\told\n10.0.0.1 mine\n").unwrap();
        rewrite(upper.path(), "new").unwrap();
        assert_eq!(fs::read_to_string(etc.join("hostname")).unwrap(), "new\n");
        let hosts = fs::read_to_string(etc.join("hosts")).unwrap();
        assert_eq!(hosts, "127.0.0.1\tlocalhost\n127.0.1.1\tnew\n10.0.0.1 mine\n");
    }

    #[test]
    fn links_are_not_followed() {
        let outside = tempfile::tempdir().unwrap();
        for name in ["hostname", "hosts"] {
            fs::write(outside.path().join(name), "127.0.1.1\tthe host's\n").unwrap();
        }
        let untouched = || {
            ["hostname", "hosts"]
                .iter()
                .all(|name| fs::read_to_string(outside.path().join(name)).unwrap() == "127.0.1.1\tthe host's\n")
        };
        let upper = tempfile::tempdir().unwrap();
        symlink(outside.path(), upper.path().join("etc")).unwrap();
        rewrite(upper.path(), "new").unwrap();
        assert!(untouched());
        fs::remove_file(upper.path().join("etc")).unwrap();
        fs::create_dir(upper.path().join("etc")).unwrap();
        for name in ["hostname", "hosts"] {
            symlink(outside.path().join(name), upper.path().join("etc").join(name)).unwrap();
        }
        rewrite(upper.path(), "new").unwrap();
        assert!(untouched());
    }
}
