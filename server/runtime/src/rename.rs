//! Another host name for a sandbox that runs.

use std::time::Duration;

use crate::outcome::Outcome;
use crate::probe::host_name;
use crate::protocol::{Report, Request};
use crate::{Runtime, RuntimeError, RuntimeKind};

/// Far more than it takes.
const LIMIT: Duration = Duration::from_secs(10);

impl Runtime {
    /// Gives a running sandbox the host name that goes with this name; without isolation it has none of its own.
    pub async fn rename(&self, id: &str, name: &str) -> Result<(), RuntimeError> {
        let seq = self.inner.get(id)?.seq;
        if self.kind() == RuntimeKind::Process {
            return Ok(());
        }
        let failed = |source| RuntimeError::Io { what: format!("name sandbox {id}"), source };
        let (mut outcome, report) = Outcome::pair().map_err(failed)?;
        self.inner.link.send(&Request::Rename { seq, hostname: host_name(name) }, vec![report])?;
        let _ = tokio::time::timeout(LIMIT, outcome.read()).await;
        match outcome.into_parts().0 {
            Some(Report::Ready) => Ok(()),
            Some(Report::Failed(failure)) => Err(failure.into_error()),
            None => Err(failed(std::io::ErrorKind::NotFound.into())),
        }
    }
}
