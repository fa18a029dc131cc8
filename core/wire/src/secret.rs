//! Secrets: values that sandboxes use without seeing them.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What is known of a secret; its value is never read back.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Secret {
    /// Unique, never reused.
    pub id: String,
    /// Unique in the organization.
    pub name: String,
    /// Free text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// RFC 3339.
    pub created_at: String,
    /// What sandboxes see in its place.
    pub placeholder: String,
    /// Hosts its value may be sent to; all if empty.
    pub hosts: Vec<String>,
    /// RFC 3339.
    pub updated_at: String,
}

/// `POST /secret`
#[derive(Clone, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CreateSecret {
    /// Letters, digits, `_` and `-`, starting with a letter or `_`; unique in the organization.
    pub name: String,
    /// The value; not empty.
    pub value: String,
    /// Free text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Host names, or `*.` and a domain; all hosts if absent or empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hosts: Option<Vec<String>>,
}

impl fmt::Debug for CreateSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CreateSecret").field("name", &self.name).field("hosts", &self.hosts).finish_non_exhaustive()
    }
}

/// `PATCH /secret/{id}`; what is absent stays.
#[derive(Clone, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct UpdateSecret {
    /// The new value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// The new description.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The new hosts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hosts: Option<Vec<String>>,
}

impl fmt::Debug for UpdateSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpdateSecret").field("hosts", &self.hosts).finish_non_exhaustive()
    }
}

/// One page of `GET /secret/paginated`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ListSecretsResponse {
    /// The secrets of this page.
    pub items: Vec<Secret>,
    /// How many match, on all pages.
    pub total: u64,
    /// Opaque; null on the last page.
    pub next_cursor: Option<String>,
}

/// `PUT /sandbox/{idOrName}/secrets`
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct UpdateSandboxSecrets {
    /// The whole set. Each entry is one pair: environment variable, name of the secret.
    pub secrets: Vec<std::collections::BTreeMap<String, String>>,
}
