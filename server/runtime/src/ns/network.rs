//! The loopback interface of a sandbox with its own network.

use std::io;

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

/// `lo` has this index in every network namespace.
const LOOPBACK: i32 = 1;

/// Brings up the loopback interface through rtnetlink.
pub(super) fn loopback_up() -> io::Result<()> {
    let socket = rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
    let up = libc::IFF_UP.cast_unsigned();
    let flags = u16::try_from(libc::NLM_F_REQUEST | libc::NLM_F_ACK).unwrap_or_default();
    let mut request = Vec::with_capacity(32);
    // nlmsghdr: length, type, flags, sequence, port
    request.extend(32_u32.to_ne_bytes());
    request.extend(libc::RTM_NEWLINK.to_ne_bytes());
    request.extend(flags.to_ne_bytes());
    request.extend([0; 8]);
    // ifinfomsg: family and type, index, flags, mask of the flags to change
    request.extend([0; 4]);
    request.extend(LOOPBACK.to_ne_bytes());
    request.extend(up.to_ne_bytes());
    request.extend(up.to_ne_bytes());
    let kernel = SocketAddrNetlink::new(0, 0);
    rustix::net::sendto(&socket, &request, SendFlags::empty(), &kernel)?;
    let mut answer = [0_u8; 256];
    let (length, _) = rustix::net::recv(&socket, &mut answer, RecvFlags::empty())?;
    // nlmsgerr: the negative error follows the header
    match answer[..length].get(16..20) {
        Some(error) => match i32::from_ne_bytes([error[0], error[1], error[2], error[3]]) {
            0 => Ok(()),
            errno => Err(io::Error::from_raw_os_error(-errno)),
        },
        None => Err(io::ErrorKind::InvalidData.into()),
    }
}
