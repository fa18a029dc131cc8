//! Why isolated sandboxes do not start: only what no person can mend by making room lets the server go on without.

use std::io;
use std::path::Path;

use crate::RuntimeError;

/// Steps of a start in which the kernel gives, or refuses, what isolates a sandbox.
const KERNEL: [&str; 11] = [
    "create the namespaces",
    "map the user",
    "make ",
    "mount ",
    "bind ",
    "mask ",
    "pivot_root",
    "set ",
    "drop capabilities",
    "bring up ",
    "link /dev",
];
/// Steps that make a network of a sandbox's own.
const NETWORK: [&str; 5] =
    ["open /dev/net/tun", "make a TUN device", "open a netlink socket", "find the TUN device", "set up the TUN device"];

/// Whether the kernel or the rights of this process forbid what a start needs: no time, space or repair changes that.
pub(crate) fn forbidden(error: &RuntimeError) -> bool {
    let (step, source) = match error {
        RuntimeError::Launch { step, source } => (step, source),
        // Owners and modes that only the root of the whole machine may give.
        RuntimeError::Io { what, source } if what.starts_with("prepare ") => {
            return matches!(source.raw_os_error(), Some(libc::EPERM | libc::EINVAL));
        }
        _ => return false,
    };
    if !KERNEL.iter().any(|kernel| step.starts_with(kernel)) {
        return false;
    }
    match source.raw_os_error() {
        // How an administrator turns namespaces off: none at all may be there.
        Some(libc::ENOSPC) => step == "create the namespaces" && are_off(&NAMESPACES),
        errno => errno.is_some_and(is_refusal),
    }
}

/// Whether this machine, or the rights of this process, have no network for a sandbox.
pub(crate) fn no_network(error: &RuntimeError) -> bool {
    let RuntimeError::Launch { step, source } = error else {
        return false;
    };
    if step == "create the namespaces" && source.raw_os_error() == Some(libc::ENOSPC) {
        return are_off(&["net"]);
    }
    // Without network namespaces all fails at once.
    let step = NETWORK.contains(&step.as_str()) || step == "create the namespaces" || step.starts_with("bring up ");
    let missing = |errno| is_refusal(errno) || matches!(errno, libc::ENOENT | libc::ENXIO | libc::EAFNOSUPPORT);
    step && source.raw_os_error().is_some_and(missing)
}

fn is_refusal(errno: i32) -> bool {
    matches!(errno, libc::EPERM | libc::EACCES | libc::ENOSYS | libc::EINVAL | libc::EOPNOTSUPP | libc::ENODEV)
}

const NAMESPACES: [&str; 5] = ["user", "mnt", "pid", "uts", "ipc"];

/// Whether an administrator allows none of one of these kinds.
fn are_off(kinds: &[&str]) -> bool {
    let off = |kind: &&str| {
        let limit = std::fs::read_to_string(format!("/proc/sys/user/max_{kind}_namespaces"));
        limit.is_ok_and(|limit| limit.trim() == "0")
    };
    kinds.iter().any(off)
}

/// Whether there is no room left to make a sandbox in.
pub(crate) fn no_room(error: &RuntimeError) -> bool {
    let (RuntimeError::Launch { source, .. } | RuntimeError::Io { source, .. }) = error else {
        return false;
    };
    matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// What a person can do about it.
pub(crate) fn way_out(error: &RuntimeError, data_dir: &Path) -> String {
    let (RuntimeError::Launch { source, .. } | RuntimeError::Io { source, .. }) = error else {
        return "see what it says".to_owned();
    };
    let dir = data_dir.display();
    match source.raw_os_error().unwrap_or_default() {
        _ if no_room(error) => format!(
            "free some space or some files (`df -h {dir}; df -i {dir}`), or raise the kernel's limits of namespaces \
             (`sysctl user`)"
        ),
        libc::EMFILE | libc::ENFILE => "raise the limit of open files (`ulimit -n`)".to_owned(),
        libc::ENOMEM | libc::EAGAIN => "free some memory, or end some processes".to_owned(),
        libc::EROFS => format!("make {dir} writable"),
        _ => "see what it says, and try again".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn launch(step: &str, errno: i32) -> RuntimeError {
        RuntimeError::Launch { step: step.to_owned(), source: io::Error::from_raw_os_error(errno) }
    }

    const STEPS: [&str; 10] = [
        "create the namespaces",
        "map the user",
        "make mounts private",
        "mount overlay /usr",
        "bind the home",
        "mask /proc/keys",
        "make device /dev/null",
        "pivot_root",
        "set the host name",
        "drop capabilities",
    ];

    #[test]
    fn what_the_kernel_forbids_is_no_want_of_anything() {
        for step in STEPS {
            for errno in [libc::EPERM, libc::EACCES, libc::ENOSYS, libc::EINVAL, libc::EOPNOTSUPP, libc::ENODEV] {
                assert!(forbidden(&launch(step, errno)), "{step}: {errno}");
            }
            for errno in [
                libc::EDQUOT,
                libc::ENOMEM,
                libc::EMFILE,
                libc::ENFILE,
                libc::EAGAIN,
                libc::EIO,
                libc::EROFS,
                libc::EBUSY,
                libc::EINTR,
                libc::ENOENT,
                libc::ESTALE,
                libc::ETIMEDOUT,
                libc::ENAMETOOLONG,
            ] {
                assert!(!forbidden(&launch(step, errno)), "{step}: {errno}");
            }
            let late = RuntimeError::Launch { step: step.to_owned(), source: io::ErrorKind::TimedOut.into() };
            assert!(!forbidden(&late), "{step}");
            assert!(step == "create the namespaces" || !forbidden(&launch(step, libc::ENOSPC)), "{step}");
        }
        assert_eq!(forbidden(&launch("create the namespaces", libc::ENOSPC)), are_off(&NAMESPACES));
    }

    #[test]
    fn what_is_not_of_the_kernel_is_no_reason() {
        for step in
            ["enter the sandbox's folder", "enter cgroup /x", "fork the agent", "open /dev/null", "start the agent"]
        {
            assert!(!forbidden(&launch(step, libc::EACCES)), "{step}");
        }
        let path = Path::new("/data");
        let io = |errno| RuntimeError::io("make", path, io::Error::from_raw_os_error(errno));
        for error in [io(libc::EACCES), io(libc::ENOSPC), RuntimeError::LauncherGone, RuntimeError::Invalid("x".into())]
        {
            assert!(!forbidden(&error), "{error}");
        }
        let prepare = |errno| RuntimeError::io("prepare", path, io::Error::from_raw_os_error(errno));
        assert!(forbidden(&prepare(libc::EINVAL)) && !forbidden(&prepare(libc::ENOSPC)));
        assert!(way_out(&io(libc::ENOSPC), path).contains("df -i /data"));
        assert!(way_out(&launch("fork", libc::EMFILE), path).contains("ulimit -n"));
    }

    #[test]
    fn a_network_is_missing_only_where_there_is_none() {
        for errno in [libc::ENOENT, libc::EACCES, libc::EPERM, libc::ENODEV] {
            assert!(no_network(&launch("open /dev/net/tun", errno)), "{errno}");
        }
        for errno in [libc::EMFILE, libc::ENOMEM, libc::ENOSPC, libc::EBUSY] {
            assert!(!no_network(&launch("open /dev/net/tun", errno)), "{errno}");
        }
        assert!(!no_network(&launch("mount overlay /usr", libc::EPERM)));
    }
}
