//! What a client sends on one channel, on its way into the sandbox.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use daytona_wire::tunnel::Size;
use tokio::sync::Notify;

/// Bytes that wait before the connection is slowed down.
const ENOUGH: usize = 2 << 20;
/// How long the connection then waits before it takes the next packet. Not for ever: what it waits for may wait for
/// something else on the connection.
const PAUSE: Duration = Duration::from_millis(500);

/// One thing a client says.
pub(super) enum Order {
    Data(Bytes),
    Eof,
    Resize(Size),
    Signal(String),
}

#[derive(Default)]
pub(super) struct Input {
    state: Mutex<State>,
    news: Notify,
    room: Notify,
}

#[derive(Default)]
struct State {
    orders: VecDeque<Order>,
    bytes: usize,
    closed: bool,
}

impl Input {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn push(&self, order: Order) {
        let mut state = self.lock();
        if let Order::Data(data) = &order {
            state.bytes += data.len();
        }
        if !state.closed {
            state.orders.push_back(order);
        }
        self.news.notify_one();
    }

    /// Slows the client down if it is far ahead.
    pub(super) async fn pace(&self) {
        if self.lock().bytes > ENOUGH {
            let _ = tokio::time::timeout(PAUSE, self.room.notified()).await;
        }
    }

    /// The client wants nothing more of it.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        state.orders.clear();
        self.news.notify_one();
        self.room.notify_one();
    }

    /// The next order; `None` when it is closed. One task asks.
    pub(super) async fn next(&self) -> Option<Order> {
        loop {
            {
                let mut state = self.lock();
                if state.closed {
                    return None;
                }
                if let Some(order) = state.orders.pop_front() {
                    if let Order::Data(data) = &order {
                        state.bytes -= data.len();
                        if state.bytes <= ENOUGH {
                            self.room.notify_one();
                        }
                    }
                    return Some(order);
                }
            }
            self.news.notified().await;
        }
    }

    /// Returns when it is closed, while nobody takes orders.
    pub(super) async fn closed(&self) {
        while !self.lock().closed {
            self.news.notified().await;
        }
    }
}
