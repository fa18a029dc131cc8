//! The other end of the sandbox's TCP connections.

use std::io;
use std::net::SocketAddrV4;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use daytona_runtime::{GATEWAY, MTU};
use smoltcp::iface::{Config, Interface, PollResult, SocketHandle, SocketSet};
use smoltcp::phy::{Checksum, Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp::{RecvError, Socket, SocketBuffer, State};
use smoltcp::time::Instant;
use smoltcp::wire::{HardwareAddress, IpAddress, IpCidr, IpEndpoint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::packet::Ends;
use super::{Device as Tun, Shared};

/// Bytes buffered in each direction of a connection. Memory is taken as it is used.
const BUFFER: usize = 256 << 10;
/// A lost acknowledgement is asked for again after this.
const KEEP_ALIVE: smoltcp::time::Duration = smoltcp::time::Duration::from_secs(15);

/// A closed connection that the sandbox does not close on its side is reset after this.
const ORPHANED: Duration = Duration::from_secs(10);

/// All connections of a sandbox.
pub(super) struct Stack {
    interface: Interface,
    sockets: SocketSet<'static>,
    /// Sockets without a [`Connection`], to be removed once the sandbox knows that they are closed, and when they are
    /// given up.
    left: Vec<(SocketHandle, std::time::Instant)>,
    buffer: Vec<u8>,
}

impl Stack {
    pub(super) fn new() -> io::Result<Self> {
        let mut config = Config::new(HardwareAddress::Ip);
        config.random_seed = getrandom::u64()?;
        let mut buffer = Vec::new();
        let mut interface =
            Interface::new(config, &mut Link { device: None, packet: None, buffer: &mut buffer }, now());
        // Every address is this interface's.
        interface.set_any_ip(true);
        interface.update_ip_addrs(|addresses| {
            let _ = addresses.push(IpCidr::new(IpAddress::Ipv4(GATEWAY), 24));
        });
        let _ = interface.routes_mut().add_default_ipv4_route(GATEWAY);
        Ok(Self { interface, sockets: SocketSet::new(Vec::new()), left: Vec::new(), buffer })
    }

    /// How many connections there are.
    pub(super) fn len(&self) -> usize {
        self.sockets.iter().count()
    }

    /// Whether a packet belongs to a connection that there is.
    pub(super) fn knows(&self, ends: Ends) -> bool {
        let (outside, inside) = (endpoint(ends.outside), endpoint(ends.inside));
        self.sockets.iter().any(|(_, socket)| {
            let smoltcp::socket::Socket::Tcp(socket) = socket;
            socket.local_endpoint() == Some(outside) && socket.remote_endpoint() == Some(inside)
        })
    }

    /// Takes a packet of the sandbox. One that belongs to no connection is answered with a reset.
    pub(super) fn take(&mut self, device: &Tun, packet: &[u8]) {
        let Self { interface, sockets, buffer, .. } = self;
        interface.poll_ingress_single(now(), &mut Link { device: Some(device), packet: Some(packet), buffer }, sockets);
    }

    /// Accepts a connection with its first packet.
    pub(super) fn accept(&mut self, device: &Tun, ends: Ends, packet: &[u8]) -> Option<SocketHandle> {
        let buffer = || SocketBuffer::new(vec![0; BUFFER]);
        let mut socket = Socket::new(buffer(), buffer());
        // The other end is in the memory of this machine: waiting for more saves nothing.
        socket.set_nagle_enabled(false);
        socket.set_ack_delay(None);
        socket.set_keep_alive(Some(KEEP_ALIVE));
        socket.listen(endpoint(ends.outside)).ok()?;
        let handle = self.sockets.add(socket);
        self.take(device, packet);
        Some(handle)
    }

    /// Sends what there is to send and says when to come again.
    pub(super) fn send(&mut self, device: &Tun) -> Option<Duration> {
        let Self { interface, sockets, left, buffer } = self;
        let mut link = Link { device: Some(device), packet: None, buffer };
        while interface.poll_egress(now(), &mut link, sockets) == PollResult::SocketStateChanged {}
        let time = std::time::Instant::now();
        left.retain(|(handle, end)| {
            let socket: &mut Socket<'_> = sockets.get_mut(*handle);
            let over = matches!(socket.state(), State::Closed | State::TimeWait | State::Listen);
            if over {
                sockets.remove(*handle);
            } else if *end <= time {
                socket.abort();
            } else {
                // What nobody reads must not keep the other side from reading what was sent to it.
                let _ = socket.recv(|bytes| (bytes.len(), ()));
            }
            !over
        });
        let wait = interface.poll_delay(now(), sockets);
        let wait = wait.map(|wait| Duration::from_micros(wait.total_micros()));
        let end = left.iter().map(|(_, end)| end.saturating_duration_since(time)).min();
        wait.into_iter().chain(end).min()
    }

    fn socket(&mut self, handle: SocketHandle) -> &mut Socket<'static> {
        self.sockets.get_mut(handle)
    }
}

fn now() -> Instant {
    Instant::now()
}

fn endpoint(address: SocketAddrV4) -> IpEndpoint {
    IpEndpoint::new(IpAddress::Ipv4(*address.ip()), address.port())
}

/// The device as the stack uses it: at most one packet to read.
struct Link<'a> {
    device: Option<&'a Tun>,
    packet: Option<&'a [u8]>,
    buffer: &'a mut Vec<u8>,
}

impl Device for Link<'_> {
    type RxToken<'a>
        = Received<'a>
    where
        Self: 'a;
    type TxToken<'a>
        = ToSend<'a>
    where
        Self: 'a;

    fn receive(&mut self, _: Instant) -> Option<(Received<'_>, ToSend<'_>)> {
        let packet = self.packet.take()?;
        Some((Received(packet), ToSend { device: self.device, buffer: self.buffer }))
    }

    fn transmit(&mut self, _: Instant) -> Option<ToSend<'_>> {
        Some(ToSend { device: self.device, buffer: self.buffer })
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = MTU.into();
        // The kernel has made what comes in.
        capabilities.checksum.ipv4 = Checksum::Tx;
        capabilities.checksum.tcp = Checksum::Tx;
        capabilities
    }
}

struct Received<'a>(&'a [u8]);

impl RxToken for Received<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, take: F) -> R {
        take(self.0)
    }
}

struct ToSend<'a> {
    device: Option<&'a Tun>,
    buffer: &'a mut Vec<u8>,
}

impl TxToken for ToSend<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, fill: F) -> R {
        if self.buffer.len() < length {
            self.buffer.resize(length, 0);
        }
        let packet = &mut self.buffer[..length];
        let result = fill(packet);
        if let Some(device) = self.device {
            // What is lost is sent again.
            device.send(packet);
        }
        result
    }
}

/// A connection of the sandbox; dropped before it is shut down, it is reset.
pub(super) struct Connection {
    shared: Arc<Shared>,
    handle: SocketHandle,
}

impl Connection {
    pub(super) fn new(shared: Arc<Shared>, handle: SocketHandle) -> Self {
        Self { shared, handle }
    }
}

/// Not yet, or no more.
fn unusable(state: State) -> Poll<io::Error> {
    match state {
        State::SynReceived => Poll::Pending,
        _ => Poll::Ready(io::ErrorKind::ConnectionReset.into()),
    }
}

impl AsyncRead for Connection {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut stack = self.shared.stack();
        let socket = stack.socket(self.handle);
        if !socket.may_recv() {
            match (socket.recv(|_| (0, ())), unusable(socket.state())) {
                (Err(RecvError::Finished), _) => return Poll::Ready(Ok(())),
                (_, Poll::Ready(error)) => return Poll::Ready(Err(error)),
                (_, Poll::Pending) => {}
            }
        } else if socket.can_recv() {
            let read = socket.recv_slice(buffer.initialize_unfilled()).unwrap_or(0);
            buffer.advance(read);
            drop(stack);
            self.shared.wake.notify_one();
            return Poll::Ready(Ok(()));
        }
        socket.register_recv_waker(context.waker());
        Poll::Pending
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut stack = self.shared.stack();
        let socket = stack.socket(self.handle);
        if !socket.may_send() {
            if let Poll::Ready(error) = unusable(socket.state()) {
                return Poll::Ready(Err(error));
            }
        } else if socket.can_send() {
            let written = socket.send_slice(bytes).unwrap_or(0);
            drop(stack);
            self.shared.wake.notify_one();
            return Poll::Ready(Ok(written));
        }
        socket.register_send_waker(context.waker());
        Poll::Pending
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut stack = self.shared.stack();
        let socket = stack.socket(self.handle);
        if socket.state() == State::SynReceived {
            socket.register_send_waker(context.waker());
            return Poll::Pending;
        }
        socket.close();
        drop(stack);
        self.shared.wake.notify_one();
        Poll::Ready(Ok(()))
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let mut stack = self.shared.stack();
        let socket = stack.socket(self.handle);
        // Once its own side is closed, what it has sent still arrives.
        if !matches!(
            socket.state(),
            State::FinWait1 | State::FinWait2 | State::LastAck | State::Closing | State::TimeWait
        ) {
            socket.abort();
        }
        stack.left.push((self.handle, std::time::Instant::now() + ORPHANED));
        drop(stack);
        self.shared.wake.notify_one();
    }
}
