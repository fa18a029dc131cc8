//! New sandboxes whose client does not know of them yet.

use std::sync::Arc;

use tokio::runtime::Handle;

use crate::App;
use crate::sandbox::Sandbox;

/// A sandbox that is being made for a client. A client that goes before it has an answer, because it was killed or has
/// called it off, takes this along, and the sandbox is deleted: nobody has its id.
pub(crate) struct Unanswered {
    new: Option<(Arc<App>, Arc<Sandbox>)>,
}

impl Unanswered {
    pub(crate) fn begin(app: &Arc<App>, sandbox: &Arc<Sandbox>) -> Self {
        Self { new: Some((Arc::clone(app), Arc::clone(sandbox))) }
    }

    /// Nothing is waited for any more, whatever the answer is.
    pub(crate) fn answered(mut self) {
        self.new = None;
    }
}

impl Drop for Unanswered {
    fn drop(&mut self) {
        let Some((app, sandbox)) = self.new.take() else { return };
        let Ok(runtime) = Handle::try_current() else { return };
        tracing::info!(sandbox = %sandbox.id, "its client has gone before the answer: it is deleted");
        runtime.spawn(async move {
            if let Err(error) = app.destroy(&sandbox).await {
                tracing::warn!(sandbox = %sandbox.id, error = error.message, "it was not deleted");
            }
        });
    }
}
