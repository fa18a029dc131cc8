//! What a program does at its end, so that it leaves no sandboxes behind.

use crate::{sandbox_provider, terminal_backend};

/// Whether a terminal backend of this process holds a sandbox, or something makes one that would be left over.
pub fn work_is_left() -> bool {
    terminal_backend::are_open() || sandbox_provider::is_making()
}

/// Destroys what all terminal backends of this process hold, and what nobody waits for any more.
pub async fn finish_work() {
    tokio::join!(terminal_backend::close_all(), sandbox_provider::made());
}
