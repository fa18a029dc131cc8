//! Flows of datagrams.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use smoltcp::wire::Icmpv4DstUnreachable;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::open::{self, Refusal};
use super::packet::{self, Ends};
use super::{Done, Shared};

/// Flows at the same time; the datagrams of more are lost.
const LIMIT: usize = 1024;
/// Datagrams of one flow that wait to be sent; more are lost.
const QUEUE: usize = 64;
/// A flow without datagrams ends.
const IDLE: Duration = Duration::from_secs(60);
/// The largest payload.
const LARGEST: usize = 65_507;

/// The flows of a sandbox, each with its socket on the host.
#[derive(Default)]
pub(super) struct Flows(HashMap<Ends, mpsc::Sender<Vec<u8>>>);

impl Flows {
    /// Takes a datagram; `packet` is all of it.
    pub(super) fn take(
        &mut self,
        shared: &Arc<Shared>,
        tasks: &mut JoinSet<Done>,
        ends: Ends,
        packet: &[u8],
        payload: &[u8],
    ) {
        if let Some(flow) = self.0.get(&ends) {
            let _ = flow.try_send(payload.to_owned());
            return;
        }
        if self.0.len() >= LIMIT {
            return;
        }
        let (flow, queue) = mpsc::channel(QUEUE);
        let _ = flow.try_send(payload.to_owned());
        self.0.insert(ends, flow);
        // The headers are enough to answer that it cannot be delivered.
        let head = packet[..packet.len().min(68)].to_owned();
        let shared = Arc::clone(shared);
        tasks.spawn(async move {
            if let Err(Refusal::Unreachable(reason)) = run(&shared, ends, queue).await
                && let Some(refusal) = packet::unreachable(&head, reason)
            {
                shared.device.send(&refusal);
            }
            Done::Flow(ends)
        });
    }

    pub(super) fn remove(&mut self, ends: Ends) {
        self.0.remove(&ends);
    }
}

async fn run(shared: &Shared, ends: Ends, mut queue: mpsc::Receiver<Vec<u8>>) -> Result<(), Refusal> {
    let mut changed = shared.changed();
    let place = match open::place(shared, ends.outside).await {
        Err(Refusal::Reset) => return Err(closed()),
        place => place?,
    };
    let socket = UdpSocket::bind("0.0.0.0:0").await?;
    socket.connect(place).await?;
    let mut buffer = vec![0; LARGEST];
    loop {
        let result = tokio::select! {
            payload = queue.recv() => match payload {
                Some(payload) => socket.send(&payload).await.map(drop),
                None => return Ok(()),
            },
            received = socket.recv(&mut buffer) => {
                received.map(|length| shared.device.send(&packet::udp(ends, &buffer[..length])))
            }
            () = changed.none(shared, *ends.outside.ip()) => return Ok(()),
            () = tokio::time::sleep(IDLE) => return Ok(()),
        };
        match result {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => return Err(closed()),
            // Too large, or no room right now: lost, as datagrams may be.
            _ => {}
        }
    }
}

fn closed() -> Refusal {
    Refusal::Unreachable(Icmpv4DstUnreachable::PortUnreachable)
}
