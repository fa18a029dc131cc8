//! The system calls without a safe wrapper elsewhere. All `unsafe` of the project is here.
#![expect(unsafe_code, reason = "forking and closing inherited descriptors have no safe interface")]

use std::io;
use std::os::fd::RawFd;
#[cfg(target_os = "linux")]
use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::process::Pid;

/// Which side of a fork this is.
pub(crate) enum Fork {
    Child,
    Parent(Pid),
}

fn fork_result(pid: libc::pid_t) -> io::Result<Fork> {
    match pid {
        0 => Ok(Fork::Child),
        pid => Pid::from_raw(pid).filter(|_| pid > 0).map(Fork::Parent).ok_or_else(io::Error::last_os_error),
    }
}

/// `fork(2)`. The caller has to be the only thread of its process.
pub(crate) fn fork() -> io::Result<Fork> {
    // SAFETY: every caller runs in the launcher or a child of it, which have one thread, so no lock
    // can be left held in the child.
    fork_result(unsafe { libc::fork() })
}

/// `clone3(2)` as a fork into new namespaces, optionally inside a cgroup (v2) directory.
///
/// The caller has to be the only thread of its process.
#[cfg(target_os = "linux")]
pub(crate) fn fork_into(namespaces: u64, cgroup: Option<BorrowedFd<'_>>) -> io::Result<Fork> {
    #[repr(C)]
    #[derive(Default)]
    struct CloneArgs {
        flags: u64,
        pidfd: u64,
        child_tid: u64,
        parent_tid: u64,
        exit_signal: u64,
        stack: u64,
        stack_size: u64,
        tls: u64,
        set_tid: u64,
        set_tid_size: u64,
        cgroup: u64,
    }
    const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
    let mut args =
        CloneArgs { flags: namespaces, exit_signal: libc::SIGCHLD.cast_unsigned().into(), ..CloneArgs::default() };
    if let Some(cgroup) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = u64::from(cgroup.as_raw_fd().cast_unsigned());
    }
    // SAFETY: `args` is a valid clone_args of the size given, without CLONE_VM or a stack: a plain
    // fork. The process has one thread, so no lock can be left held in the child.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of::<CloneArgs>()) };
    fork_result(libc::pid_t::try_from(pid).unwrap_or(-1))
}

/// Keeps this process and its children from sockets with abstract names that others made. Those
/// belong to the network, which a sandbox may share with the host.
///
/// Needs Linux 6.12 and `no_new_privs`; fails where it cannot be had.
#[cfg(target_os = "linux")]
pub(crate) fn leave_abstract_sockets() -> io::Result<()> {
    use std::os::fd::{FromRawFd, OwnedFd};

    #[repr(C)]
    struct RulesetAttr {
        handled_access_fs: u64,
        handled_access_net: u64,
        scoped: u64,
    }
    const SCOPE_ABSTRACT_UNIX_SOCKET: u64 = 1;
    let attr = RulesetAttr { handled_access_fs: 0, handled_access_net: 0, scoped: SCOPE_ABSTRACT_UNIX_SOCKET };
    let size = size_of::<RulesetAttr>();
    // SAFETY: `attr` is a valid landlock_ruleset_attr of the size given.
    let ruleset = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, &raw const attr, size, 0) };
    let ruleset = match RawFd::try_from(ruleset) {
        // SAFETY: the kernel just made this descriptor for us.
        Ok(fd) if fd >= 0 => unsafe { OwnedFd::from_raw_fd(fd) },
        _ => return Err(io::Error::last_os_error()),
    };
    // SAFETY: plain system call on a descriptor that is open.
    match unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Leaves the session keyring this process inherited, which may hold keys of whoever started it.
#[cfg(target_os = "linux")]
pub(crate) fn leave_keyring() {
    const JOIN_SESSION_KEYRING: libc::c_long = 1;
    let anonymous: *const libc::c_char = std::ptr::null();
    // SAFETY: a null name asks for a new keyring. Without keyrings in the kernel nothing happens.
    unsafe { libc::syscall(libc::SYS_keyctl, JOIN_SESSION_KEYRING, anonymous) };
}

/// Closes every descriptor of this process above 2 except `keep`.
///
/// Descriptors owned elsewhere in the process must not be used afterwards; the callers are fresh
/// children that use nothing but `keep`.
pub(crate) fn close_all_except(keep: &[RawFd]) -> io::Result<()> {
    let mut keep: Vec<RawFd> = keep.iter().copied().filter(|fd| *fd > 2).collect();
    keep.sort_unstable();
    let mut first = 3;
    for fd in keep {
        if fd > first {
            close_range(first, fd - 1)?;
        }
        first = fd + 1;
    }
    close_range(first, RawFd::MAX)
}

#[cfg(target_os = "linux")]
fn close_range(first: RawFd, last: RawFd) -> io::Result<()> {
    // SAFETY: see `close_all_except`: nothing uses these descriptors any more.
    match unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(not(target_os = "linux"))]
fn close_range(first: RawFd, last: RawFd) -> io::Result<()> {
    // SAFETY: see `close_all_except`: nothing uses these descriptors any more.
    unsafe {
        for fd in first..=last.min(libc::getdtablesize()) {
            libc::close(fd);
        }
    }
    Ok(())
}

/// Sends `signal` to every process this one may signal, except itself and PID 1.
#[cfg(target_os = "linux")]
pub(crate) fn kill_all(signal: i32) {
    // SAFETY: plain system call. Called by PID 1 of a PID namespace only, so it reaches no process
    // outside the sandbox.
    unsafe { libc::kill(-1, signal) };
}

/// `mount_setattr(2)`: adds attributes to the mount at `path`.
#[cfg(target_os = "linux")]
pub(crate) fn add_mount_attributes(path: &std::path::Path, attributes: u64, recursive: bool) -> io::Result<()> {
    use std::os::unix::ffi::OsStrExt;

    let path = std::ffi::CString::new(path.as_os_str().as_bytes())?;
    mount_setattr(libc::AT_FDCWD, &path, if recursive { libc::AT_RECURSIVE } else { 0 }, attributes)
}

/// The same for a mount that is not attached anywhere yet.
#[cfg(target_os = "linux")]
pub(crate) fn add_tree_attributes(tree: BorrowedFd<'_>, attributes: u64) -> io::Result<()> {
    mount_setattr(tree.as_raw_fd(), c"", libc::AT_EMPTY_PATH, attributes)
}

#[cfg(target_os = "linux")]
fn mount_setattr(dir: RawFd, path: &std::ffi::CStr, flags: i32, attributes: u64) -> io::Result<()> {
    #[repr(C)]
    struct MountAttr {
        set: u64,
        clear: u64,
        propagation: u64,
        userns_fd: u64,
    }
    let attr = MountAttr { set: attributes, clear: 0, propagation: 0, userns_fd: 0 };
    // SAFETY: `path` is terminated and `attr` is a valid mount_attr of the size given.
    let result = unsafe {
        libc::syscall(libc::SYS_mount_setattr, dir, path.as_ptr(), flags, &raw const attr, size_of::<MountAttr>())
    };
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Makes a TUN device of this name in the network namespace where `tun` was opened; `tun` is its other end.
#[cfg(target_os = "linux")]
pub(crate) fn make_tun(tun: BorrowedFd<'_>, name: &std::ffi::CStr) -> io::Result<()> {
    // SAFETY: all zeroes is a valid ifreq: numbers, and a union of numbers and pointers that are not read.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    // One place is left for the end.
    let room = request.ifr_name.len() - 1;
    for (place, byte) in request.ifr_name.iter_mut().zip(name.to_bytes().iter().take(room)) {
        *place = byte.cast_signed();
    }
    request.ifr_ifru.ifru_flags = i16::try_from(libc::IFF_TUN | libc::IFF_NO_PI).unwrap_or_default();
    // SAFETY: `request` is a valid ifreq, all that this request reads and writes.
    match unsafe { libc::ioctl(tun.as_raw_fd(), libc::TUNSETIFF, &raw mut request) } {
        0.. => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Lets `signal` do nothing (`ignore`) or its default.
pub(crate) fn ignore_signal(signal: i32, ignore: bool) {
    let action = if ignore { libc::SIG_IGN } else { libc::SIG_DFL };
    // SAFETY: neither disposition runs code of ours.
    unsafe { libc::signal(signal, action) };
}

/// Blocks or unblocks SIGCHLD for this thread, which is the process's only one.
pub(crate) fn block_child_signal(block: bool) -> io::Result<()> {
    let how = if block { libc::SIG_BLOCK } else { libc::SIG_UNBLOCK };
    let set = child_signal_set();
    // SAFETY: `set` is initialised, and a null old set is allowed.
    match unsafe { libc::pthread_sigmask(how, &raw const set, std::ptr::null_mut()) } {
        0 => Ok(()),
        errno => Err(io::Error::from_raw_os_error(errno)),
    }
}

fn child_signal_set() -> libc::sigset_t {
    let mut set = std::mem::MaybeUninit::uninit();
    // SAFETY: sigemptyset initialises the set before it is read.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        libc::sigaddset(set.as_mut_ptr(), libc::SIGCHLD);
        set.assume_init()
    }
}

/// A descriptor that is readable when a child may have ended; SIGCHLD has to be blocked.
#[cfg(target_os = "linux")]
pub(crate) fn child_events() -> io::Result<std::os::fd::OwnedFd> {
    use std::os::fd::FromRawFd;

    let set = child_signal_set();
    // SAFETY: `set` is initialised; -1 asks for a new descriptor, which nobody else owns.
    unsafe {
        match libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) {
            -1 => Err(io::Error::last_os_error()),
            fd => Ok(std::os::fd::OwnedFd::from_raw_fd(fd)),
        }
    }
}
