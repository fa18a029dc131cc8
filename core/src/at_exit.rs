//! What a program does at its end, so that it leaves no sandboxes behind.

use crate::{claim, sandbox_provider, terminal_backend};

/// Whether a terminal backend of this process holds a sandbox, or something was made, or is being made, that nobody
/// has and that would be left over.
pub fn work_is_left() -> bool {
    claim::is_open() || terminal_backend::are_open() || sandbox_provider::is_making()
}

/// Destroys what all terminal backends of this process hold, and what was made and is nobody's: by calls that were
/// called off, and by those still under way, which fail. Waits until that is done: who calls this sets a limit.
pub async fn finish_work() {
    tokio::join!(claim::finish(), terminal_backend::close_all(), sandbox_provider::made());
}
