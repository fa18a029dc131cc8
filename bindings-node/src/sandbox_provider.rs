//! Sandboxes for an orchestrator. Arguments and results are JSON.

#![expect(clippy::needless_pass_by_value, reason = "JavaScript hands over strings of its own")]

use daytona_core::{CapabilityProfile, SandboxHandle, SandboxProvider};
use napi::bindgen_prelude::{Either, Null};
use napi_derive::napi;

use crate::completion::{Calls, NativeCalls, Outcome};
use crate::daytona::{json, parse, read_config};
use crate::session::followed;

/// A provider.
#[napi]
pub struct NativeProvider {
    calls: Calls,
    provider: SandboxProvider,
}

/// Makes a provider; an error is returned, as JSON.
#[napi]
pub fn new_provider(calls: &NativeCalls, settings: String, pool: String) -> Either<NativeProvider, String> {
    let make = || SandboxProvider::new(&parse(&pool)?, read_config(&settings)?);
    match make() {
        Ok(provider) => Either::A(NativeProvider { calls: calls.calls(), provider }),
        Err(error) => Either::B(crate::error::json(&error)),
    }
}

#[napi]
impl NativeProvider {
    /// The pool in force.
    #[napi]
    pub fn pool(&self) -> String {
        serde_json::to_string(self.provider.pool()).unwrap_or_default()
    }

    /// Makes a sandbox and gives its handle as JSON. Until the caller has that, the sandbox is removed with the call.
    #[napi]
    pub fn provision(&self, id: u32, spec: String, timeout: Option<f64>) {
        let provider = self.provider.clone();
        self.calls.spawn(id, async move {
            let provisioned = provider.provision(&parse(&spec)?, timeout).await?;
            Ok(Outcome::made(move |slots, _| {
                slots.pair(serde_json::to_string(&provisioned.keep()).unwrap_or_default(), Null)
            }))
        });
    }

    /// One operation; `args` is JSON, as is what it gives.
    #[napi]
    pub fn service(&self, id: u32, name: String, args: String, timeout: Option<f64>) {
        let provider = self.provider.clone();
        self.calls.spawn(id, async move {
            let args: serde_json::Value = parse(&args)?;
            let name = name.rsplit('.').next().unwrap_or_default();
            json(&provider.service(name, &args, timeout).await?)
        });
    }

    /// Opens what the command of a sandbox writes.
    #[napi]
    pub fn stream_logs(&self, id: u32, handle: String) {
        let provider = self.provider.clone();
        self.calls.spawn(id, async move {
            let handle = SandboxHandle::read(&parse(&handle)?)?;
            provider.stream_logs(&handle).await.map(followed)
        });
    }
}

/// The classic profile.
#[napi]
pub fn provider_profile() -> String {
    serde_json::to_string(&CapabilityProfile::classic()).unwrap_or_default()
}
