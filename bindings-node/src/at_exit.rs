//! The end of a program.

use std::time::Duration;

use napi_derive::napi;

use crate::completion::spawn;

/// How long it waits for sandboxes to be given back.
const LIMIT: Duration = Duration::from_secs(3);

/// Lets sandboxes be given back. Blocks.
#[napi]
pub fn finish_work() {
    if !daytona_core::work_is_left() {
        return;
    }
    let (done, finished) = std::sync::mpsc::channel();
    spawn(async move {
        daytona_core::finish_work().await;
        let _ = done.send(());
    });
    let _ = finished.recv_timeout(LIMIT);
}
