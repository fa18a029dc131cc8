//! What a team administers: API keys, organizations, regions, registries, audit logs and webhooks.

use std::sync::Arc;

use daytona_wire::admin::{
    ApiKey, AuditLogs, AuditQuery, CreateApiKey, CreatedApiKey, Organization, OrganizationUsage, Region, Registry,
    RegistryParams, UpdateDefaultRegion, WebhookPortal, WebhookStatus,
};
use http::Method;

use crate::claim::{self, Made};
use crate::client::Client;
use crate::error::{Error, Result};
use crate::operation::Operation;
use crate::session::check_id;

/// Administration. All methods fail with the server's refusal: `Forbidden` where the API key may not do that,
/// `NotFound` for what is not there, `Unsupported` where the server does not have it.
#[derive(Clone)]
pub struct Admin {
    pub(crate) client: Arc<Client>,
}

impl Admin {
    /// The API keys of the user.
    ///
    /// # Errors
    /// See [`Admin`].
    pub async fn list_api_keys(&self, timeout: Option<f64>) -> Result<Vec<ApiKey>> {
        let operation = Operation::LIST_API_KEYS;
        self.client.observe(operation, self.client.ask(operation, Method::GET, &["api-keys"], timeout)).await
    }

    /// The API key that this client uses.
    ///
    /// # Errors
    /// See [`Admin`].
    pub async fn current_api_key(&self, timeout: Option<f64>) -> Result<ApiKey> {
        let operation = Operation::CURRENT_API_KEY;
        self.client.observe(operation, self.client.ask(operation, Method::GET, &["api-keys", "current"], timeout)).await
    }

    /// An API key by its name.
    ///
    /// # Errors
    /// See [`Admin`].
    pub async fn get_api_key(&self, name: &str, timeout: Option<f64>) -> Result<ApiKey> {
        let operation = Operation::GET_API_KEY;
        let work = async {
            check_id("API key", name)?;
            self.client.ask(operation, Method::GET, &["api-keys", name], timeout).await
        };
        self.client.observe(operation, work).await
    }

    /// Makes an API key; its value is not shown again. If this is dropped before, the key is deleted.
    ///
    /// # Errors
    /// `Conflict` if the name is taken; see [`Admin`].
    pub async fn create_api_key(&self, params: &CreateApiKey, timeout: Option<f64>) -> Result<CreatedApiKey> {
        self.make_api_key(params, timeout).await?.keep()
    }

    pub(crate) async fn make_api_key(
        &self,
        params: &CreateApiKey,
        timeout: Option<f64>,
    ) -> Result<Made<CreatedApiKey>> {
        let operation = Operation::CREATE_API_KEY;
        let work = async {
            if params.name.is_empty() {
                return Err(Error::invalid("the name of the API key is empty"));
            }
            let name = params.name.clone();
            let made_at = |_: &CreatedApiKey| vec!["api-keys".to_owned(), name];
            claim::make_at(&self.client, operation, &["api-keys"], params, timeout, made_at).await
        };
        self.client.observe(operation, work).await
    }

    /// Deletes an API key, which stops working at once.
    ///
    /// # Errors
    /// See [`Admin`].
    pub async fn delete_api_key(&self, name: &str, timeout: Option<f64>) -> Result<()> {
        let operation = Operation::DELETE_API_KEY;
        let work = async {
            check_id("API key", name)?;
            self.client.tell_server(operation, Method::DELETE, &["api-keys", name], None::<&()>, timeout).await
        };
        self.client.observe(operation, work).await
    }

    /// The organizations that the user is in.
    ///
    /// # Errors
    /// See [`Admin`].
    pub async fn list_organizations(&self, timeout: Option<f64>) -> Result<Vec<Organization>> {
        let operation = Operation::LIST_ORGANIZATIONS;
        self.client.observe(operation, self.client.ask(operation, Method::GET, &["organizations"], timeout)).await
    }

    /// An organization.
    ///
    /// # Errors
    /// See [`Admin`].
    pub async fn get_organization(&self, id: &str, timeout: Option<f64>) -> Result<Organization> {
        let operation = Operation::GET_ORGANIZATION;
        let work = async {
            check_id("organization", id)?;
            self.client.ask(operation, Method::GET, &["organizations", id], timeout).await
        };
        self.client.observe(operation, work).await
    }

    /// What an organization uses at present.
    ///
    /// # Errors
    /// See [`Admin`].
    pub async fn organization_usage(&self, id: &str, timeout: Option<f64>) -> Result<OrganizationUsage> {
        let operation = Operation::ORGANIZATION_USAGE;
        let work = async {
            check_id("organization", id)?;
            self.client.ask(operation, Method::GET, &["organizations", id, "usage"], timeout).await
        };
        self.client.observe(operation, work).await
    }

    /// Sets the region of what is created without one.
    ///
    /// # Errors
    /// See [`Admin`].
    pub async fn set_default_region(&self, id: &str, region_id: &str, timeout: Option<f64>) -> Result<()> {
        let operation = Operation::SET_DEFAULT_REGION;
        let work = async {
            check_id("organization", id)?;
            check_id("region", region_id)?;
            let body = UpdateDefaultRegion { default_region_id: region_id.to_owned() };
            self.client
                .tell_server(operation, Method::PATCH, &["organizations", id, "default-region"], Some(&body), timeout)
                .await
        };
        self.client.observe(operation, work).await
    }

    /// The regions that the organization may use.
    ///
    /// # Errors
    /// See [`Admin`].
    pub async fn list_regions(&self, timeout: Option<f64>) -> Result<Vec<Region>> {
        let operation = Operation::LIST_REGIONS;
        self.client.observe(operation, self.client.ask(operation, Method::GET, &["regions"], timeout)).await
    }

    /// A region.
    ///
    /// # Errors
    /// See [`Admin`].
    pub async fn get_region(&self, id: &str, timeout: Option<f64>) -> Result<Region> {
        let operation = Operation::GET_REGION;
        let work = async {
            check_id("region", id)?;
            self.client.ask(operation, Method::GET, &["regions", id], timeout).await
        };
        self.client.observe(operation, work).await
    }

    /// The registries of the organization.
    ///
    /// # Errors
    /// See [`Admin`].
    pub async fn list_registries(&self, timeout: Option<f64>) -> Result<Vec<Registry>> {
        let operation = Operation::LIST_REGISTRIES;
        self.client.observe(operation, self.client.ask(operation, Method::GET, &["docker-registry"], timeout)).await
    }

    /// A registry.
    ///
    /// # Errors
    /// See [`Admin`].
    pub async fn get_registry(&self, id: &str, timeout: Option<f64>) -> Result<Registry> {
        let operation = Operation::GET_REGISTRY;
        let work = async {
            check_id("registry", id)?;
            self.client.ask(operation, Method::GET, &["docker-registry", id], timeout).await
        };
        self.client.observe(operation, work).await
    }

    /// Adds a registry; needs a password.
    ///
    /// # Errors
    /// See [`Admin`].
    pub async fn create_registry(&self, params: &RegistryParams, timeout: Option<f64>) -> Result<Registry> {
        self.make_registry(params, timeout).await?.keep()
    }

    pub(crate) async fn make_registry(&self, params: &RegistryParams, timeout: Option<f64>) -> Result<Made<Registry>> {
        let operation = Operation::CREATE_REGISTRY;
        let work = async {
            if params.password.is_none() {
                return Err(Error::invalid("the registry needs a password"));
            }
            let made_at = |made: &Registry| vec!["docker-registry".to_owned(), made.id.clone()];
            claim::make_at(&self.client, operation, &["docker-registry"], params, timeout, made_at).await
        };
        self.client.observe(operation, work).await
    }

    /// Replaces the settings of a registry; without a password the old one stays.
    ///
    /// # Errors
    /// See [`Admin`].
    pub async fn update_registry(&self, id: &str, params: &RegistryParams, timeout: Option<f64>) -> Result<Registry> {
        let operation = Operation::UPDATE_REGISTRY;
        let work = async {
            check_id("registry", id)?;
            self.client.send(operation, Method::PATCH, &["docker-registry", id], params, timeout).await
        };
        self.client.observe(operation, work).await
    }

    /// Removes a registry.
    ///
    /// # Errors
    /// See [`Admin`].
    pub async fn delete_registry(&self, id: &str, timeout: Option<f64>) -> Result<()> {
        let operation = Operation::DELETE_REGISTRY;
        let work = async {
            check_id("registry", id)?;
            self.client.tell_server(operation, Method::DELETE, &["docker-registry", id], None::<&()>, timeout).await
        };
        self.client.observe(operation, work).await
    }

    /// One page of what was done in an organization.
    ///
    /// # Errors
    /// See [`Admin`].
    pub async fn audit_logs(&self, organization: &str, query: &AuditQuery, timeout: Option<f64>) -> Result<AuditLogs> {
        let operation = Operation::AUDIT_LOGS;
        let work = async {
            check_id("organization", organization)?;
            let (page, limit) = (query.page.map(|page| page.to_string()), query.limit.map(|limit| limit.to_string()));
            let pairs = [
                ("page", page.as_deref()),
                ("limit", limit.as_deref()),
                ("from", query.from.as_deref()),
                ("to", query.to.as_deref()),
                ("nextToken", query.next_token.as_deref()),
            ];
            self.client.ask_with(operation, &["audit", "organizations", organization], &pairs, timeout).await
        };
        self.client.observe(operation, work).await
    }

    /// Whether webhooks are set up.
    ///
    /// # Errors
    /// See [`Admin`].
    pub async fn webhook_status(&self, organization: &str, timeout: Option<f64>) -> Result<WebhookStatus> {
        let operation = Operation::WEBHOOK_STATUS;
        let work = async {
            check_id("organization", organization)?;
            self.client
                .ask(
                    operation,
                    Method::GET,
                    &["webhooks", "organizations", organization, "initialization-status"],
                    timeout,
                )
                .await
        };
        self.client.observe(operation, work).await
    }

    /// Sets webhooks up.
    ///
    /// # Errors
    /// See [`Admin`].
    pub async fn initialize_webhooks(&self, organization: &str, timeout: Option<f64>) -> Result<WebhookStatus> {
        let operation = Operation::INITIALIZE_WEBHOOKS;
        let work = async {
            check_id("organization", organization)?;
            self.client
                .ask(operation, Method::POST, &["webhooks", "organizations", organization, "initialize"], timeout)
                .await
        };
        self.client.observe(operation, work).await
    }

    /// The page where webhooks are managed; it lets in who has it.
    ///
    /// # Errors
    /// See [`Admin`].
    pub async fn webhook_portal(&self, organization: &str, timeout: Option<f64>) -> Result<WebhookPortal> {
        let operation = Operation::WEBHOOK_PORTAL;
        let work = async {
            check_id("organization", organization)?;
            self.client
                .ask(
                    operation,
                    Method::POST,
                    &["webhooks", "organizations", organization, "app-portal-access"],
                    timeout,
                )
                .await
        };
        self.client.observe(operation, work).await
    }

    /// Has the server look again whether there are webhooks.
    ///
    /// # Errors
    /// See [`Admin`].
    pub async fn refresh_webhooks(&self, organization: &str, timeout: Option<f64>) -> Result<()> {
        let operation = Operation::REFRESH_WEBHOOKS;
        let work = async {
            check_id("organization", organization)?;
            self.client
                .tell_server(
                    operation,
                    Method::POST,
                    &["webhooks", "organizations", organization, "refresh-endpoints"],
                    None::<&()>,
                    timeout,
                )
                .await
        };
        self.client.observe(operation, work).await
    }
}
