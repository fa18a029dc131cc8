//! Reading and making IP packets.

use std::net::{Ipv4Addr, SocketAddrV4};

use daytona_runtime::GATEWAY;
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    Icmpv4DstUnreachable, Icmpv4Packet, Icmpv4Repr, IpAddress, IpProtocol, Ipv4Packet, Ipv4Repr, TcpPacket, UdpPacket,
    UdpRepr,
};

/// Bytes of an IPv4 header without options.
const HEADER: usize = 20;

/// Both ends of a connection or a flow, as the sandbox names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Ends {
    pub(super) inside: SocketAddrV4,
    pub(super) outside: SocketAddrV4,
}

/// What the sandbox sends, as far as it matters here.
pub(super) enum Sent<'a> {
    /// The first packet of a connection.
    Connect(Ends),
    /// Any other packet of one.
    Tcp,
    Udp(Ends, &'a [u8]),
    /// Nothing that leads out.
    Other,
}

pub(super) fn read(packet: &[u8]) -> Sent<'_> {
    read_checked(packet).unwrap_or(Sent::Other)
}

fn read_checked(packet: &[u8]) -> Option<Sent<'_>> {
    let ip = Ipv4Packet::new_checked(packet).ok().filter(|ip| ip.version() == 4)?;
    // The largest packet fits the wire, so that there are no fragments but forged ones.
    if ip.more_frags() || ip.frag_offset() != 0 {
        return None;
    }
    let ends = |from: u16, to: u16| Ends {
        inside: SocketAddrV4::new(ip.src_addr(), from),
        outside: SocketAddrV4::new(ip.dst_addr(), to),
    };
    match ip.next_header() {
        IpProtocol::Tcp => {
            let tcp = TcpPacket::new_checked(ip.payload()).ok()?;
            let first = tcp.syn() && !tcp.ack() && !tcp.rst();
            Some(if first { Sent::Connect(ends(tcp.src_port(), tcp.dst_port())) } else { Sent::Tcp })
        }
        IpProtocol::Udp => {
            let udp = UdpPacket::new_checked(ip.payload()).ok()?;
            let (from, to) = (udp.src_port(), udp.dst_port());
            let (start, end) =
                (usize::from(ip.header_len()) + 8, usize::from(ip.header_len()) + usize::from(udp.len()));
            Some(Sent::Udp(ends(from, to), packet.get(start..end)?))
        }
        _ => None,
    }
}

/// A datagram to the sandbox.
pub(super) fn udp(ends: Ends, payload: &[u8]) -> Vec<u8> {
    let udp = UdpRepr { src_port: ends.outside.port(), dst_port: ends.inside.port() };
    let (from, to) = (*ends.outside.ip(), *ends.inside.ip());
    packet(from, to, IpProtocol::Udp, 8 + payload.len(), |buffer, checksums| {
        let (from, to) = (IpAddress::Ipv4(from), IpAddress::Ipv4(to));
        let copy = |buffer: &mut [u8]| buffer.copy_from_slice(payload);
        udp.emit(&mut UdpPacket::new_unchecked(buffer), &from, &to, payload.len(), copy, checksums);
    })
}

/// Tells the sandbox that a packet of its own cannot be delivered.
pub(super) fn unreachable(sent: &[u8], reason: Icmpv4DstUnreachable) -> Option<Vec<u8>> {
    let checksums = ChecksumCapabilities::ignored();
    let ip = Ipv4Packet::new_checked(sent).ok()?;
    let header = Ipv4Repr::parse(&ip, &checksums).ok()?;
    // The ports are all that is needed to find the socket.
    let data = ip.payload().get(..8)?;
    let icmp = Icmpv4Repr::DstUnreachable { reason, header, data };
    Some(packet(GATEWAY, header.src_addr, IpProtocol::Icmp, icmp.buffer_len(), |buffer, checksums| {
        icmp.emit(&mut Icmpv4Packet::new_unchecked(buffer), checksums);
    }))
}

fn packet(
    from: Ipv4Addr,
    to: Ipv4Addr,
    protocol: IpProtocol,
    length: usize,
    fill: impl FnOnce(&mut [u8], &ChecksumCapabilities),
) -> Vec<u8> {
    let checksums = ChecksumCapabilities::default();
    let header = Ipv4Repr { src_addr: from, dst_addr: to, next_header: protocol, payload_len: length, hop_limit: 64 };
    let mut bytes = vec![0; HEADER + length];
    fill(&mut bytes[HEADER..], &checksums);
    header.emit(&mut Ipv4Packet::new_unchecked(&mut bytes), &checksums);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENDS: Ends = Ends {
        inside: SocketAddrV4::new(Ipv4Addr::new(10, 0, 2, 15), 5000),
        outside: SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 1), 53),
    };

    #[test]
    fn datagrams_come_back_as_they_were() {
        let bytes = udp(ENDS, b"hello");
        let Sent::Udp(ends, payload) = read(&bytes) else { panic!("a datagram") };
        assert_eq!((ends.inside, ends.outside, payload), (ENDS.outside, ENDS.inside, &b"hello"[..]));
        assert!(Ipv4Packet::new_unchecked(&bytes[..]).verify_checksum());
    }

    #[test]
    fn refusals_name_the_packet() {
        let refusal = unreachable(&udp(ENDS, b""), Icmpv4DstUnreachable::PortUnreachable).unwrap();
        assert_eq!(refusal.len(), HEADER + 8 + HEADER + 8);
        assert!(matches!(read(&refusal), Sent::Other));
    }

    #[test]
    fn nonsense_is_no_packet() {
        let whole = udp(ENDS, b"hello");
        for length in 0..whole.len() {
            assert!(matches!(read(&whole[..length]), Sent::Other), "{length}");
        }
        let mut fragment = whole.clone();
        fragment[6] |= 0x20;
        assert!(matches!(read(&fragment), Sent::Other));
        let mut other = whole;
        other[0] = 0x65;
        assert!(matches!(read(&other), Sent::Other));
    }
}
