//! A new host name for a sandbox that runs.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::process::Pid;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::names;
use crate::protocol::{Failure, Step};

/// The namespaces that a host name is in.
#[derive(Debug)]
pub(crate) struct Namespaces {
    user: File,
    uts: File,
    mount: File,
}

impl Namespaces {
    /// Those of a sandbox's first process. Without privileges that is possible only until it has given up its own.
    pub(crate) fn of(first: Pid) -> io::Result<Self> {
        let open = |name: &str| File::open(format!("/proc/{}/ns/{name}", first.as_raw_nonzero()));
        Ok(Self { user: open("user")?, uts: open("uts")?, mount: open("mnt")? })
    }

    /// Enters them, for good, and sets the name there and in the files of `/etc`. The calling process is to have one
    /// thread.
    pub(crate) fn rename(&self, hostname: &str) -> Result<(), Failure> {
        let enter = |namespace: &File, kind| move_into_link_name_space(namespace.as_fd(), Some(kind));
        let own = File::open("/proc/self/ns/user").and_then(|own| own.metadata()).step("look at user namespaces")?;
        // Its own cannot be entered.
        if self.user.metadata().step("look at user namespaces")?.ino() != own.ino() {
            enter(&self.user, LinkNameSpaceType::User).step("enter the user namespace")?;
        }
        enter(&self.uts, LinkNameSpaceType::HostNameAndNISDomainName).step("enter the UTS namespace")?;
        rustix::system::sethostname(hostname.as_bytes()).step("set the host name")?;
        enter(&self.mount, LinkNameSpaceType::Mount).step("enter the mount namespace")?;
        names::rewrite(Path::new("/"), hostname).step("write the host name")
    }
}
