//! Connections of the host for the sandbox.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4};
use std::time::Duration;

use daytona_runtime::GATEWAY;
use smoltcp::wire::Icmpv4DstUnreachable;
use tokio::net::{TcpStream, UdpSocket};

use super::Shared;

/// The kernel inside gives up a moment later.
const CONNECT: Duration = Duration::from_secs(120);

/// Why a connection or a flow is not possible.
pub(super) enum Refusal {
    /// Nobody listens there.
    Reset,
    /// The rest, as ICMP says it.
    Unreachable(Icmpv4DstUnreachable),
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NetworkUnreachable => Self::Unreachable(Icmpv4DstUnreachable::NetUnreachable),
            io::ErrorKind::HostUnreachable | io::ErrorKind::TimedOut => {
                Self::Unreachable(Icmpv4DstUnreachable::HostUnreachable)
            }
            // A firewall of the host.
            io::ErrorKind::PermissionDenied => PROHIBITED,
            _ => Self::Reset,
        }
    }
}

/// Not allowed; programs say "no route to host".
pub(super) const PROHIBITED: Refusal = Refusal::Unreachable(Icmpv4DstUnreachable::CommProhibited);

/// Where a destination of the sandbox is, seen from the host.
pub(super) async fn place(shared: &Shared, outside: SocketAddrV4) -> Result<SocketAddrV4, Refusal> {
    if !shared.allows(*outside.ip()) {
        return Err(PROHIBITED);
    }
    if *outside.ip() == GATEWAY {
        let host = SocketAddrV4::new(Ipv4Addr::LOCALHOST, outside.port());
        return if shared.host_services { Ok(host) } else { Err(Refusal::Reset) };
    }
    if !shared.host_services && is_own(IpAddr::V4(*outside.ip())).await {
        return Err(PROHIBITED);
    }
    Ok(outside)
}

/// Whether an address is the host's own: then its packets would come from it too.
pub(super) async fn is_own(address: IpAddr) -> bool {
    let address = address.to_canonical();
    if address.is_loopback() || address.is_unspecified() {
        return true;
    }
    let any = if address.is_ipv4() { IpAddr::from(Ipv4Addr::UNSPECIFIED) } else { Ipv6Addr::UNSPECIFIED.into() };
    let from = async {
        let socket = UdpSocket::bind((any, 0)).await?;
        // Sends nothing.
        socket.connect((address, 9)).await?;
        socket.local_addr()
    };
    from.await.is_ok_and(|from| from.ip() == address)
}

pub(super) async fn connect(to: SocketAddr) -> Result<TcpStream, Refusal> {
    let stream = match tokio::time::timeout(CONNECT, TcpStream::connect(to)).await {
        Ok(connected) => connected?,
        Err(_) => return Err(io::Error::from(io::ErrorKind::TimedOut).into()),
    };
    let _ = stream.set_nodelay(true);
    // A peer that vanished is noticed, even if the sandbox only waits.
    let _ = rustix::net::sockopt::set_socket_keepalive(&stream, true);
    Ok(stream)
}
