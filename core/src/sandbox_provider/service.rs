//! The provider's operations by their names, for bindings that hand JSON over.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{SandboxHandle, SandboxProvider};
use crate::error::{Error, Result};

impl SandboxProvider {
    /// Runs an operation by its name, `provision`, with its arguments in a JSON object.
    ///
    /// # Errors
    /// `InvalidArgument` for arguments of the wrong type; those of the operation.
    pub async fn service(&self, name: &str, args: &Value, timeout: Option<f64>) -> Result<Value> {
        match name {
            "provision" => json(&self.provision(args.get("spec").unwrap_or(&Value::Null), timeout).await?.keep()),
            "status" => json(&self.status(&handle(args)?, timeout).await?),
            "terminate" => {
                let force = args.get("force").and_then(Value::as_bool).unwrap_or(false);
                json(&self.terminate(&handle(args)?, force).await?)
            }
            "pause" => json(&self.pause(&handle(args)?, timeout).await?),
            "resume" => json(&self.resume(&handle(args)?, timeout).await?),
            "capacity" => json(&self.capacity(timeout).await?),
            "capabilities" => json(&self.capabilities(timeout).await?),
            _ => Err(Error::caller(format!("there is no operation {name}"))),
        }
    }
}

impl SandboxHandle {
    /// Reads a handle that was kept as JSON.
    ///
    /// # Errors
    /// `InvalidArgument` for what is no handle.
    pub fn read(value: &Value) -> Result<Self> {
        read(value).map_err(|error| Error::invalid(format!("this is no handle of a sandbox: {error}")))
    }
}

fn handle(args: &Value) -> Result<SandboxHandle> {
    SandboxHandle::read(args.get("handle").unwrap_or(&Value::Null))
}

fn read<T: DeserializeOwned>(value: &Value) -> serde_json::Result<T> {
    T::deserialize(value)
}

fn json(value: &impl Serialize) -> Result<Value> {
    serde_json::to_value(value).map_err(|error| Error::caller(error.to_string()))
}
