//! Other limits for a sandbox.

use std::sync::Arc;

use axum::http::StatusCode;
use daytona_runtime::{Enforcement, RuntimeKind};
use daytona_wire::sandbox::{ResizeSandbox, SandboxState};

use super::pause::unless_ended;
use super::{begin, finish};
use crate::App;
use crate::error::{ApiError, ApiResult, code};
use crate::record::Record;
use crate::sandbox::Sandbox;

/// What a sandbox is to have, where that changes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Change {
    cpu: Option<f64>,
    memory: Option<f64>,
    disk: Option<f64>,
}

impl Change {
    /// The rules: while it runs a sandbox gets more cores and memory only; its disk grows while it is
    /// stopped, and never shrinks.
    fn checked(asked: &ResizeSandbox, record: &Record) -> ApiResult<Self> {
        let running = record.state == SandboxState::Started;
        let refuse = |what: String| Err(ApiError::invalid(format!("Sandbox {} cannot be resized: {what}", record.id)));
        #[expect(clippy::cast_precision_loss, reason = "sizes are small")]
        let size = |value: Option<i64>| value.map(|value| value as f64);
        let change = Self { cpu: size(asked.cpu), memory: size(asked.memory), disk: size(asked.disk) };
        for (name, new, old) in [("cpu", change.cpu, record.cpu), ("memory", change.memory, record.memory)] {
            if running && new.is_some_and(|new| new < old) {
                return refuse(format!("{name} can only be increased while it runs; stop it first"));
            }
        }
        if change.disk.is_some_and(|disk| disk < record.disk) {
            return refuse("disk can only be increased".to_owned());
        }
        if running && change.disk.is_some_and(|disk| disk > record.disk) {
            return refuse("disk cannot change while it runs; stop it first".to_owned());
        }
        Ok(change)
    }

    fn apply(self, record: &mut Record) {
        record.cpu = self.cpu.unwrap_or(record.cpu);
        record.memory = self.memory.unwrap_or(record.memory);
        record.disk = self.disk.unwrap_or(record.disk);
    }
}

impl App {
    /// Changes what a started or stopped sandbox may use.
    pub(crate) async fn resize(self: &Arc<Self>, sandbox: &Arc<Sandbox>, asked: &ResizeSandbox) -> ApiResult<()> {
        let sizes = [("cpu", asked.cpu), ("memory", asked.memory), ("disk", asked.disk)];
        if sizes.iter().all(|(_, value)| value.is_none()) {
            return Err(ApiError::invalid("resize: give at least one of cpu, memory and disk"));
        }
        if let Some((name, Some(value))) = sizes.iter().find(|(_, value)| value.is_some_and(|value| value < 1)) {
            return Err(ApiError::invalid(format!("{name} must be at least 1, not {value}")));
        }
        self.can_limit(asked)?;
        let mut change = Change::default();
        let from = [SandboxState::Started, SandboxState::Stopped];
        let before = begin(sandbox, "resized", &from, SandboxState::Resizing, |record| {
            change = Change::checked(asked, record)?;
            Ok(())
        })?;
        let (app, sandbox) = (Arc::clone(self), Arc::clone(sandbox));
        finish(async move {
            let _operation = sandbox.operation.lock().await;
            let result = match before {
                SandboxState::Started => app.runtime.resize(&sandbox.id, change.cpu, change.memory).await,
                _ => Ok(()),
            };
            let pending = app.settle(&sandbox, before, |record| {
                if result.is_ok() {
                    change.apply(record);
                }
            });
            if before == SandboxState::Started {
                app.look_after(&sandbox);
            }
            result.map_err(|error| unless_ended(error, &sandbox))?;
            if let Some(pending) = pending {
                pending.stored().await?;
            }
            Ok(())
        })
        .await
    }

    /// Refuses a limit that would not hold.
    fn can_limit(&self, asked: &ResizeSandbox) -> ApiResult<()> {
        let probe = self.runtime.probe();
        let refuse = |why: String| Err(ApiError::new(StatusCode::NOT_IMPLEMENTED, code::UNSUPPORTED_BY_RUNTIME, why));
        if probe.kind == RuntimeKind::Process {
            return refuse(
                "resize: the process runtime limits nothing; run the server with --runtime ns where the machine \
                 allows it"
                    .to_owned(),
            );
        }
        for (name, asked, limit) in
            [("cpu", asked.cpu, &probe.limits.cpu), ("memory", asked.memory, &probe.limits.memory)]
        {
            if let (Some(_), Enforcement::NotEnforced { reason }) = (asked, limit) {
                return refuse(format!("resize: {name} is not limited here: {reason}"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(cpu: i64, memory: i64, disk: i64) -> ResizeSandbox {
        let given = |value: i64| (value > 0).then_some(value);
        ResizeSandbox { cpu: given(cpu), memory: given(memory), disk: given(disk) }
    }

    #[test]
    fn the_rules_depend_on_the_state() {
        let mut record = Record::sample("a");
        (record.cpu, record.memory, record.disk) = (2.0, 2.0, 3.0);
        record.state = SandboxState::Started;
        assert!(Change::checked(&asked(4, 4, 0), &record).is_ok());
        assert!(Change::checked(&asked(2, 2, 3), &record).is_ok(), "what it has already");
        for (bad, why) in [(asked(1, 0, 0), "cpu"), (asked(0, 1, 0), "memory"), (asked(0, 0, 4), "stop it first")] {
            let error = Change::checked(&bad, &record).unwrap_err();
            assert!(error.message.contains(why), "{}", error.message);
        }
        record.state = SandboxState::Stopped;
        let change = Change::checked(&asked(1, 1, 5), &record).unwrap();
        change.apply(&mut record);
        assert_eq!((record.cpu, record.memory, record.disk), (1.0, 1.0, 5.0));
        let error = Change::checked(&asked(0, 0, 4), &record).unwrap_err();
        assert!(error.message.contains("increased"), "{}", error.message);
    }
}
