//! The interfaces of a sandbox with its own network, made through rtnetlink.

use std::fs::File;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

use crate::protocol::{Failure, Step};
use crate::sys;
use crate::types::{ADDRESS, GATEWAY, MTU};

/// `lo` has this index in every network namespace.
const LOOPBACK: u32 = 1;
/// The interface programs expect.
const NAME: &str = "eth0";
/// Bits of an address that name the network.
const PREFIX: u8 = 24;
const TUN: &str = "/dev/net/tun";

/// Brings up the loopback interface.
pub(super) fn loopback_up() -> io::Result<()> {
    Netlink::open()?.send(&[up(LOOPBACK, None)])
}

/// Makes the interface that leads out, and everything that makes it the way out; the descriptor is its other end.
///
/// Needs the host's `/dev`, or may make a device node in `dir` for a moment.
pub(super) fn connect(dir: &Path) -> Result<OwnedFd, Failure> {
    let tun = open(dir).step_with(|| format!("open {TUN}"))?;
    sys::make_tun(tun.as_fd(), c"eth0").step("make a TUN device")?;
    let netlink = Netlink::open().step("open a netlink socket")?;
    let index = rustix::net::netdevice::name_to_index(&netlink.socket, NAME).step("find the TUN device")?;
    // Refused where the kernel has no IPv6.
    let _ = netlink.send(&[no_ipv6(index)]);
    netlink
        .send(&[up(LOOPBACK, None), up(index, Some(MTU)), address(index), route(index)])
        .step("set up the TUN device")?;
    Ok(tun)
}

fn open(dir: &Path) -> io::Result<OwnedFd> {
    let open = |path: &Path| File::options().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(path);
    match open(Path::new(TUN)) {
        // Containers of others often lack the node but not the right to make it.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let node = dir.join("tun");
            let mode = Mode::from_raw_mode(0o600);
            mknodat(CWD, &node, FileType::CharacterDevice, mode, makedev(10, 200)).map_err(|_| error)?;
            let tun = open(&node);
            let _ = std::fs::remove_file(&node);
            Ok(tun?.into())
        }
        result => Ok(result?.into()),
    }
}

/// A connection to the kernel's network configuration.
struct Netlink {
    socket: OwnedFd,
}

impl Netlink {
    fn open() -> io::Result<Self> {
        let socket = rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
        Ok(Self { socket })
    }

    /// Sends requests, which the kernel has done, or refused, when it returns.
    fn send(&self, requests: &[Request]) -> io::Result<()> {
        let kernel = SocketAddrNetlink::new(0, 0);
        let mut answer = [0_u8; 1024];
        for Request(bytes) in requests {
            rustix::net::sendto(&self.socket, bytes, SendFlags::empty(), &kernel)?;
            let (length, _) = rustix::net::recv(&self.socket, &mut answer, RecvFlags::empty())?;
            // nlmsgerr: the negative error follows the header
            let error = answer[..length].get(16..20).and_then(|bytes| bytes.try_into().ok()).map(i32::from_ne_bytes);
            match error {
                Some(0) => {}
                Some(errno) => return Err(io::Error::from_raw_os_error(-errno)),
                None => return Err(io::ErrorKind::InvalidData.into()),
            }
        }
        Ok(())
    }
}

/// One message: a header, a fixed part, attributes.
struct Request(Vec<u8>);

impl Request {
    fn new(kind: u16, more: i32, fixed: &[u8]) -> Self {
        let flags = u16::try_from(libc::NLM_F_REQUEST | libc::NLM_F_ACK | more).unwrap_or_default();
        // nlmsghdr: length, type, flags, sequence, port
        let mut bytes = vec![0; 4];
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(flags.to_ne_bytes());
        bytes.extend([0; 8]);
        bytes.extend(fixed);
        Self(bytes).measured()
    }

    fn with(mut self, kind: u16, value: &[u8]) -> Self {
        self.0.extend(attribute(kind, value));
        self.measured()
    }

    fn measured(mut self) -> Self {
        let length = u32::try_from(self.0.len()).unwrap_or_default();
        self.0[..4].copy_from_slice(&length.to_ne_bytes());
        self
    }
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len() + 4).unwrap_or_default();
    let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// ifinfomsg: family and type, index, flags, mask of the flags to change.
fn link(index: u32, flags: u32) -> Vec<u8> {
    [0, index, flags, flags].map(u32::to_ne_bytes).concat()
}

fn up(index: u32, mtu: Option<u16>) -> Request {
    let request = Request::new(libc::RTM_NEWLINK, 0, &link(index, libc::IFF_UP.cast_unsigned()));
    match mtu {
        Some(mtu) => request.with(libc::IFLA_MTU, &u32::from(mtu).to_ne_bytes()),
        None => request,
    }
}

/// No address of IPv6, which leads nowhere, and no search for its routers.
fn no_ipv6(index: u32) -> Request {
    const ADDRESS_MODE: u16 = 8;
    const NO_ADDRESS: u8 = 1;
    let family = u16::try_from(libc::AF_INET6).unwrap_or_default();
    let inner = attribute(family, &attribute(ADDRESS_MODE, &[NO_ADDRESS]));
    Request::new(libc::RTM_NEWLINK, 0, &link(index, 0)).with(libc::IFLA_AF_SPEC, &inner)
}

const IPV4: u8 = 2;

fn address(index: u32) -> Request {
    // ifaddrmsg: family, prefix, flags, scope, index
    let fixed = [[IPV4, PREFIX, 0, 0], index.to_ne_bytes()].concat();
    Request::new(libc::RTM_NEWADDR, libc::NLM_F_CREATE, &fixed)
        .with(libc::IFA_LOCAL, &octets(ADDRESS))
        .with(libc::IFA_ADDRESS, &octets(ADDRESS))
}

fn route(index: u32) -> Request {
    // rtmsg: family, prefixes and service of the destination and source, table, protocol, scope, type, flags
    let fixed = [IPV4, 0, 0, 0, libc::RT_TABLE_MAIN, libc::RTPROT_BOOT, libc::RT_SCOPE_UNIVERSE, libc::RTN_UNICAST];
    Request::new(libc::RTM_NEWROUTE, libc::NLM_F_CREATE, &[&fixed[..], &[0; 4]].concat())
        .with(libc::RTA_OIF, &index.to_ne_bytes())
        .with(libc::RTA_GATEWAY, &octets(GATEWAY))
}

fn octets(address: Ipv4Addr) -> [u8; 4] {
    address.octets()
}
