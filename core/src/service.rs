//! The services by the names of their operations, for bindings that hand JSON over.

use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::admin::Admin;
use crate::api::Api;
use crate::claim::Made;
use crate::daytona::Daytona;
use crate::error::{Error, Result};
use crate::secret::SecretService;
use crate::volume::VolumeService;
use crate::warm_pool::WarmPoolService;

impl Daytona {
    /// Volumes.
    pub fn volume(&self) -> VolumeService {
        VolumeService { client: Arc::clone(&self.inner) }
    }

    /// Secrets.
    pub fn secret(&self) -> SecretService {
        SecretService { client: Arc::clone(&self.inner) }
    }

    /// Warm pools.
    pub fn warm_pool(&self) -> WarmPoolService {
        WarmPoolService { client: Arc::clone(&self.inner) }
    }

    /// Administration.
    pub fn admin(&self) -> Admin {
        Admin { client: Arc::clone(&self.inner) }
    }

    /// Everything else.
    pub fn api(&self) -> Api {
        Api { client: Arc::clone(&self.inner) }
    }

    /// One operation of a service by its name, `volume.create`, with its arguments in a JSON object under their
    /// camelCase names. What it makes is deleted unless the result is [kept](Made::keep).
    ///
    /// # Errors
    /// `InvalidArgument` for arguments of the wrong type; those of the operation.
    pub async fn service(&self, name: &str, args: &Value, timeout: Option<f64>) -> Result<Made<Value>> {
        match name.split_once('.') {
            Some(("volume", method)) => self.on_volume(method, args, timeout).await,
            Some(("secret", method)) => self.on_secret(method, args, timeout).await,
            Some(("warm_pool", method)) => self.on_warm_pool(method, args, timeout).await,
            Some(("api", "request")) => {
                let (method, path): (String, String) = (arg(args, "method")?, arg(args, "path")?);
                let query: Option<Vec<(String, String)>> = arg(args, "query")?;
                let body: Option<Value> = arg(args, "body")?;
                let query = query.unwrap_or_default();
                self.api()
                    .request(&method, &path, &query, body.as_ref(), timeout)
                    .await
                    .map(|value| Made::new(value, None))
            }
            Some(("api", method)) => self.on_admin(method, args, timeout).await,
            _ => Err(unknown(name)),
        }
    }

    async fn on_volume(&self, method: &str, args: &Value, timeout: Option<f64>) -> Result<Made<Value>> {
        let volumes = self.volume();
        let text = |name| arg::<String>(args, name);
        match method {
            "list" => json(&volumes.list(timeout).await?),
            "get" => made(volumes.get_or_make(&text("name")?, arg(args, "create")?, timeout).await?),
            "create" => made(volumes.make(&text("name")?, timeout).await?),
            "delete" => json(&volumes.delete(&text("id")?, timeout).await?),
            _ => Err(unknown(method)),
        }
    }

    async fn on_secret(&self, method: &str, args: &Value, timeout: Option<f64>) -> Result<Made<Value>> {
        let secrets = self.secret();
        let id = || arg::<String>(args, "id");
        match method {
            "list" => json(&secrets.list(&arg(args, "query")?, timeout).await?),
            "get" => json(&secrets.get(&id()?, timeout).await?),
            "create" => made(secrets.make(&arg(args, "params")?, timeout).await?),
            "update" => json(&secrets.update(&id()?, &arg(args, "params")?, timeout).await?),
            "delete" => json(&secrets.delete(&id()?, timeout).await?),
            _ => Err(unknown(method)),
        }
    }

    async fn on_warm_pool(&self, method: &str, args: &Value, timeout: Option<f64>) -> Result<Made<Value>> {
        let pools = self.warm_pool();
        let id = || arg::<String>(args, "id");
        match method {
            "list" => json(&pools.list(timeout).await?),
            "create" => made(pools.make(&arg(args, "params")?, timeout).await?),
            "update" => json(&pools.update(&id()?, arg(args, "pool")?, timeout).await?),
            "delete" => json(&pools.delete(&id()?, timeout).await?),
            _ => Err(unknown(method)),
        }
    }

    async fn on_admin(&self, method: &str, args: &Value, timeout: Option<f64>) -> Result<Made<Value>> {
        let admin = self.admin();
        let text = |name| arg::<String>(args, name);
        match method {
            "list_api_keys" => json(&admin.list_api_keys(timeout).await?),
            "current_api_key" => json(&admin.current_api_key(timeout).await?),
            "get_api_key" => json(&admin.get_api_key(&text("name")?, timeout).await?),
            "create_api_key" => made(admin.make_api_key(&arg(args, "params")?, timeout).await?),
            "delete_api_key" => json(&admin.delete_api_key(&text("name")?, timeout).await?),
            "list_organizations" => json(&admin.list_organizations(timeout).await?),
            "get_organization" => json(&admin.get_organization(&text("id")?, timeout).await?),
            "organization_usage" => json(&admin.organization_usage(&text("id")?, timeout).await?),
            "set_default_region" => json(&admin.set_default_region(&text("id")?, &text("regionId")?, timeout).await?),
            "list_regions" => json(&admin.list_regions(timeout).await?),
            "get_region" => json(&admin.get_region(&text("id")?, timeout).await?),
            "list_registries" => json(&admin.list_registries(timeout).await?),
            "get_registry" => json(&admin.get_registry(&text("id")?, timeout).await?),
            "create_registry" => made(admin.make_registry(&arg(args, "params")?, timeout).await?),
            "update_registry" => json(&admin.update_registry(&text("id")?, &arg(args, "params")?, timeout).await?),
            "delete_registry" => json(&admin.delete_registry(&text("id")?, timeout).await?),
            "audit_logs" => json(&admin.audit_logs(&text("id")?, &arg(args, "query")?, timeout).await?),
            "webhook_status" => json(&admin.webhook_status(&text("id")?, timeout).await?),
            "initialize_webhooks" => json(&admin.initialize_webhooks(&text("id")?, timeout).await?),
            "webhook_portal" => json(&admin.webhook_portal(&text("id")?, timeout).await?),
            "refresh_webhooks" => json(&admin.refresh_webhooks(&text("id")?, timeout).await?),
            _ => Err(unknown(method)),
        }
    }
}

fn arg<T: DeserializeOwned>(args: &Value, name: &str) -> Result<T> {
    let value = args.get(name).cloned().unwrap_or_default();
    serde_json::from_value(value).map_err(|error| Error::invalid(format!("{name}: {error}")))
}

fn json(value: &impl Serialize) -> Result<Made<Value>> {
    made(Made::new(value, None))
}

fn made<T: Serialize>(made: Made<T>) -> Result<Made<Value>> {
    made.map(|value| serde_json::to_value(value).map_err(|error| Error::caller(error.to_string())))
}

fn unknown(name: &str) -> Error {
    Error::caller(format!("there is no operation {name}"))
}
