//! The way out of a sandbox with a network of its own: a gateway in user space.
//!
//! What the sandbox sends arrives as IP packets. Each new TCP connection and each new flow of datagrams is held
//! against the sandbox's policy and then made from the host; a connection is accepted only once the host has it, so
//! that programs see why one fails. Everything of a gateway ends with its sandbox.

mod dns;
mod intercept;
mod open;
mod outbound;
mod packet;
mod policy;
mod sandbox;
mod tcp;
mod udp;

use std::collections::HashSet;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use daytona_runtime::{GATEWAY, MTU, Wire};
use tokio::net::unix::pipe;
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

pub(crate) use self::intercept::{Authority, Interceptor};
pub(crate) use self::policy::Policy;
pub(crate) use self::sandbox::policy;

use self::open::Refusal;
use self::outbound::Route;
use self::packet::{Ends, Sent};
use self::policy::Answers;
use self::tcp::{Connection, Stack};

/// Connections of a sandbox at the same time; more are reset.
const LIMIT: usize = 1024;
/// Lookups at the same time; more are lost, and asked for again.
const LOOKUPS: usize = 256;
/// Packets read before something is sent.
const BATCH: usize = 32;
/// Bytes copied at once in each direction of a connection.
const CHUNK: usize = 64 << 10;

/// A running sandbox's gateway. It lives as long as the sandbox, not as long as this.
pub(crate) struct Gateway {
    shared: Weak<Shared>,
}

impl Gateway {
    /// Serves a sandbox's network until nothing of the sandbox runs any more.
    pub(crate) fn start(
        wire: Wire,
        policy: Policy,
        interceptor: &Arc<Interceptor>,
        host_services: bool,
    ) -> io::Result<Self> {
        let (device, ended) = wire.into_parts();
        let shared = Arc::new(Shared {
            device: Device::new(device)?,
            stack: Mutex::new(Stack::new()?),
            policy: watch::Sender::new(Arc::new(policy)),
            known: Mutex::default(),
            wake: Notify::new(),
            interceptor: Arc::clone(interceptor),
            host_services,
        });
        let gateway = Self { shared: Arc::downgrade(&shared) };
        tokio::spawn(async move {
            tokio::select! {
                () = serve(&shared) => {}
                () = ended => {}
            }
        });
        Ok(gateway)
    }

    /// From now on this holds. Connections that it does not allow end.
    pub(crate) fn limit(&self, policy: Policy) {
        if let Some(shared) = self.shared.upgrade() {
            shared.policy.send_replace(Arc::new(policy));
        }
    }
}

/// The sandbox's network device: there until it is dropped.
struct Device(
    /// Not a pipe, but a descriptor that can be waited for and read like one.
    Option<pipe::Receiver>,
);

impl Device {
    fn new(device: OwnedFd) -> io::Result<Self> {
        Ok(Self(Some(pipe::Receiver::from_owned_fd_unchecked(device)?)))
    }

    fn open(&self) -> io::Result<&pipe::Receiver> {
        self.0.as_ref().ok_or_else(|| io::ErrorKind::BrokenPipe.into())
    }

    /// Sends a packet to the sandbox, or loses it.
    fn send(&self, packet: &[u8]) {
        if let Ok(device) = self.open() {
            let _ = rustix::io::write(device, packet);
        }
    }

    /// Resolves when there may be a packet.
    async fn readable(&self) -> io::Result<()> {
        self.open()?.readable().await
    }

    /// Receives a packet of the sandbox, if there is one.
    fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.open()?.try_read(buffer)
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        // Closing it takes the kernel its time, which no other task should have to wait for.
        if let (Some(device), Ok(runtime)) = (self.0.take(), Handle::try_current()) {
            runtime.spawn_blocking(move || device.into_nonblocking_fd());
        }
    }
}

/// What all tasks of a gateway have in common.
struct Shared {
    device: Device,
    stack: Mutex<Stack>,
    policy: watch::Sender<Arc<Policy>>,
    known: Mutex<Answers>,
    /// The stack has something to send.
    wake: Notify,
    interceptor: Arc<Interceptor>,
    /// The gateway's address leads to the host's loopback.
    host_services: bool,
}

impl Shared {
    /// Held for a few instructions only.
    fn stack(&self) -> MutexGuard<'_, Stack> {
        self.stack.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn known(&self) -> MutexGuard<'_, Answers> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn policy(&self) -> Arc<Policy> {
        Arc::clone(&self.policy.borrow())
    }

    fn allows(&self, address: Ipv4Addr) -> bool {
        self.policy().allows(address, &self.known())
    }

    fn changed(&self) -> Changes {
        Changes(self.policy.subscribe())
    }
}

/// Changes of the policy.
struct Changes(watch::Receiver<Arc<Policy>>);

impl Changes {
    /// Resolves when an address may no longer be reached.
    async fn none(&mut self, shared: &Shared, address: Ipv4Addr) {
        loop {
            if self.0.changed().await.is_err() || !shared.allows(address) {
                return;
            }
        }
    }
}

/// A task that has ended.
enum Done {
    Connection(Ends),
    Flow(Ends),
    Lookup,
}

/// What is under way.
#[derive(Default)]
struct Work {
    tasks: JoinSet<Done>,
    /// Connections, from their first packet on.
    connections: HashSet<Ends>,
    flows: udp::Flows,
    lookups: usize,
}

/// Moves packets. Ends when the device is gone; its tasks end with it.
async fn serve(shared: &Arc<Shared>) {
    let mut buffer = vec![0; MTU.into()];
    let mut work = Work::default();
    let mut wait = None;
    loop {
        let timer = async {
            match wait {
                Some(wait) => tokio::time::sleep(wait).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            ready = shared.device.readable() => {
                if ready.is_err() {
                    return;
                }
                for _ in 0..BATCH {
                    match shared.device.receive(&mut buffer) {
                        Ok(length) if length > 0 => take(shared, &mut work, &buffer[..length]),
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                        _ => return,
                    }
                }
            }
            () = shared.wake.notified() => {}
            Some(done) = work.tasks.join_next(), if !work.tasks.is_empty() => match done {
                Ok(Done::Connection(ends)) => _ = work.connections.remove(&ends),
                Ok(Done::Flow(ends)) => work.flows.remove(ends),
                Ok(Done::Lookup) => work.lookups -= 1,
                Err(error) => tracing::error!(%error, "a task of a sandbox's network failed"),
            },
            () = timer => {}
        }
        wait = shared.stack().send(&shared.device);
    }
}

fn take(shared: &Arc<Shared>, work: &mut Work, packet: &[u8]) {
    match packet::read(packet) {
        Sent::Tcp => shared.stack().take(&shared.device, packet),
        Sent::Connect(ends) => begin(shared, work, ends, packet),
        Sent::Udp(ends, payload) if *ends.outside.ip() == GATEWAY && ends.outside.port() == dns::PORT => {
            look_up(shared, work, ends, payload.to_owned());
        }
        Sent::Udp(ends, payload) => work.flows.take(shared, &mut work.tasks, ends, packet, payload),
        Sent::Other => {}
    }
}

fn look_up(shared: &Arc<Shared>, work: &mut Work, ends: Ends, question: Vec<u8>) {
    if work.lookups >= LOOKUPS {
        return;
    }
    work.lookups += 1;
    let shared = Arc::clone(shared);
    work.tasks.spawn(async move {
        if let Some(answer) = dns::answer(&shared, &question, dns::Way::Udp).await {
            shared.device.send(&packet::udp(ends, &answer));
        }
        Done::Lookup
    });
}

/// Takes the first packet of a connection, or the same again.
fn begin(shared: &Arc<Shared>, work: &mut Work, ends: Ends, packet: &[u8]) {
    if work.connections.contains(&ends) {
        let mut stack = shared.stack();
        if stack.knows(ends) {
            stack.take(&shared.device, packet);
        }
        return;
    }
    let mut stack = shared.stack();
    if work.connections.len().max(stack.len()) >= LIMIT {
        // Nobody listens: a reset.
        stack.take(&shared.device, packet);
        return;
    }
    drop(stack);
    work.connections.insert(ends);
    let (shared, packet) = (Arc::clone(shared), packet.to_owned());
    work.tasks.spawn(async move {
        connection(&shared, ends, &packet).await;
        Done::Connection(ends)
    });
}

/// One connection from its first packet to its end.
async fn connection(shared: &Arc<Shared>, ends: Ends, packet: &[u8]) {
    let mut changed = shared.changed();
    let accept = || {
        let handle = shared.stack().accept(&shared.device, ends, packet);
        shared.wake.notify_one();
        handle.map(|handle| Connection::new(Arc::clone(shared), handle))
    };
    if *ends.outside.ip() == GATEWAY && ends.outside.port() == dns::PORT {
        if let Some(inside) = accept() {
            let _ = dns::serve(shared, inside).await;
        }
        return;
    }
    let opened = async {
        let route = Route::new(shared, ends.outside, open::place(shared, ends.outside).await?);
        Ok((route.open(shared).await?, route))
    };
    let opened = tokio::select! {
        opened = opened => opened,
        () = changed.none(shared, *ends.outside.ip()) => Err(open::PROHIBITED),
    };
    match opened {
        Ok((mut outside, route)) => {
            let Some(mut inside) = accept() else { return };
            let address = *ends.outside.ip();
            let carried = async {
                if shared.policy().secrets().is_empty() && route.forward().is_none() {
                    let _ = tokio::io::copy_bidirectional_with_sizes(&mut inside, &mut outside, CHUNK, CHUNK).await;
                } else if let Err(error) = intercept::carry(shared, Box::new(inside), outside, address, route).await {
                    tracing::debug!(%error, "a connection of a sandbox with secrets or a proxy failed");
                }
            };
            tokio::select! {
                () = carried => {}
                () = changed.none(shared, *ends.outside.ip()) => {}
            }
        }
        Err(Refusal::Reset) => shared.stack().take(&shared.device, packet),
        Err(Refusal::Unreachable(reason)) => {
            if let Some(refusal) = packet::unreachable(packet, reason) {
                shared.device.send(&refusal);
            }
        }
    }
}
