//! The environment of what a sandbox starts from now on.

use std::collections::BTreeMap;

use daytona_wire::environment::{UpdateEnvRequest, is_name};

use crate::error::{Error, Result};
use crate::operation::Operation;
use crate::sandbox::Sandbox;
use crate::transport::{Call, seconds};

impl Sandbox {
    /// Removes and then sets variables of what starts from now on: commands, sessions, terminals, interpreters. What
    /// runs keeps what it has.
    ///
    /// # Errors
    /// `InvalidArgument` for what is no name of a variable, before anything is sent.
    pub async fn update_env(
        &self,
        set: BTreeMap<String, String>,
        unset: Vec<String>,
        timeout: Option<f64>,
    ) -> Result<()> {
        let operation = Operation::UPDATE_ENV;
        let work = async {
            crate::process::check_env(&set)?;
            if let Some(bad) = unset.iter().find(|name| !is_name(name)) {
                return Err(Error::invalid(format!("{bad:?} is not the name of an environment variable")));
            }
            let limit = seconds("request_timeout", timeout)?;
            let (transport, url) = self.toolbox(&["env"]).await?;
            let body = UpdateEnvRequest { set, unset, unset_value_prefix: None };
            transport.empty(Call::post(operation, url).json(&body)?.limit(limit)).await
        };
        self.observe(operation, work).await
    }
}
