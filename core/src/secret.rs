//! Secrets: values that sandboxes use without seeing them.

use std::collections::BTreeMap;
use std::sync::Arc;

use daytona_wire::sandbox as wire;
use daytona_wire::secret::{CreateSecret, ListSecretsResponse, Secret, UpdateSandboxSecrets, UpdateSecret};
use http::Method;

use crate::claim::{self, Made};
use crate::client::{Client, check_cursor};
use crate::error::{Error, Result};
use crate::operation::Operation;
use crate::sandbox::Sandbox;
use crate::session::check_id;

/// The secrets of an organization.
#[derive(Clone)]
pub struct SecretService {
    pub(crate) client: Arc<Client>,
}

/// Which secrets to list. Everything is optional.
#[derive(Clone, Debug, Default, serde::Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ListSecretsQuery {
    /// From the page before.
    pub cursor: Option<String>,
    /// Secrets a page, 1 to 200; the server's default is 100.
    pub limit: Option<i64>,
    /// A part of the name.
    pub name: Option<String>,
    /// `name`, `createdAt` (the default) or `updatedAt`.
    pub sort: Option<String>,
    /// `asc` or `desc` (the default).
    pub order: Option<String>,
}

impl SecretService {
    /// One page of the secrets that match, without their values.
    ///
    /// # Errors
    /// `InvalidArgument` for a limit below 1; `BadRequest` for a value the server refuses.
    pub async fn list(&self, query: &ListSecretsQuery, timeout: Option<f64>) -> Result<ListSecretsResponse> {
        let operation = Operation::LIST_SECRETS;
        let work = async {
            if query.limit.is_some_and(|limit| limit < 1) {
                return Err(Error::invalid("limit must be a positive integer"));
            }
            let limit = query.limit.map(|limit| limit.to_string());
            let pairs = [
                ("cursor", query.cursor.as_deref()),
                ("limit", limit.as_deref()),
                ("name", query.name.as_deref()),
                ("sort", query.sort.as_deref()),
                ("order", query.order.as_deref()),
            ];
            let page: ListSecretsResponse =
                self.client.ask_with(operation, &["secret", "paginated"], &pairs, timeout).await?;
            check_cursor(query.cursor.as_deref(), page.next_cursor.as_deref())?;
            Ok(page)
        };
        self.client.observe(operation, work).await
    }

    /// A secret, without its value.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn get(&self, id: &str, timeout: Option<f64>) -> Result<Secret> {
        let operation = Operation::GET_SECRET;
        let work = async {
            check_id("secret", id)?;
            self.client.ask(operation, Method::GET, &["secret", id], timeout).await
        };
        self.client.observe(operation, work).await
    }

    /// Creates a secret; what comes back does not have its value. If this is dropped before, the secret is deleted.
    ///
    /// # Errors
    /// `Conflict` if the name is taken; `InvalidArgument` for an empty name or value; `BadRequest` for others that
    /// the server refuses.
    pub async fn create(&self, params: &CreateSecret, timeout: Option<f64>) -> Result<Secret> {
        self.make(params, timeout).await?.keep()
    }

    pub(crate) async fn make(&self, params: &CreateSecret, timeout: Option<f64>) -> Result<Made<Secret>> {
        let operation = Operation::CREATE_SECRET;
        let work = async {
            if params.name.is_empty() || params.value.is_empty() {
                return Err(Error::invalid("a secret needs a name and a value"));
            }
            let made_at = |made: &Secret| vec!["secret".to_owned(), made.id.clone()];
            claim::make_at(&self.client, operation, &["secret"], params, timeout, made_at).await
        };
        self.client.observe(operation, work).await
    }

    /// Changes a secret; what is `None` stays.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn update(&self, id: &str, params: &UpdateSecret, timeout: Option<f64>) -> Result<Secret> {
        let operation = Operation::UPDATE_SECRET;
        let work = async {
            check_id("secret", id)?;
            self.client.send(operation, Method::PATCH, &["secret", id], params, timeout).await
        };
        self.client.observe(operation, work).await
    }

    /// Deletes a secret; placeholders in sandboxes stand for nothing from then on.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn delete(&self, id: &str, timeout: Option<f64>) -> Result<()> {
        let operation = Operation::DELETE_SECRET;
        let work = async {
            check_id("secret", id)?;
            self.client.tell_server(operation, Method::DELETE, &["secret", id], None::<&()>, timeout).await
        };
        self.client.observe(operation, work).await
    }
}

impl Sandbox {
    /// Replaces the secrets it holds: environment variable to name of the secret. Commands that start from then on
    /// see the placeholders.
    ///
    /// # Errors
    /// `InvalidArgument` for what is no name of a variable; `BadRequest` for a secret that does not exist.
    pub async fn update_secrets(&self, secrets: BTreeMap<String, String>, timeout: Option<f64>) -> Result<()> {
        let operation = Operation::UPDATE_SECRETS;
        let work = async {
            crate::process::check_env(&secrets)?;
            let body =
                UpdateSandboxSecrets { secrets: secrets.into_iter().map(|pair| BTreeMap::from([pair])).collect() };
            let path = ["sandbox", self.id(), "secrets"];
            let data: wire::Sandbox = self.inner.client.send(operation, Method::PUT, &path, &body, timeout).await?;
            self.set(data);
            Ok(())
        };
        self.observe(operation, work).await
    }
}
