//! What a team administers: API keys, organizations, regions, registries, audit logs and webhooks.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::sandbox::{null_is_default, number, opt_number};

/// `POST /api-keys`
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CreateApiKey {
    /// Unique for its user.
    pub name: String,
    /// What it may do: `write:sandboxes`, `delete:sandboxes`, `read:volumes`, ...
    pub permissions: Vec<String>,
    /// RFC 3339; never if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
}

/// A new API key; the only time that its value is seen.
#[derive(Clone, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CreatedApiKey {
    /// Its name.
    pub name: String,
    /// The key.
    pub value: String,
    /// RFC 3339.
    pub created_at: String,
    /// What it may do.
    pub permissions: Vec<String>,
    /// RFC 3339; `None` is never.
    pub expires_at: Option<String>,
}

impl fmt::Debug for CreatedApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CreatedApiKey").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What is known of an API key.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ApiKey {
    /// Its name.
    pub name: String,
    /// Its beginning and end.
    pub value: String,
    /// RFC 3339.
    pub created_at: String,
    /// What it may do.
    pub permissions: Vec<String>,
    /// RFC 3339.
    pub last_used_at: Option<String>,
    /// RFC 3339; `None` is never.
    pub expires_at: Option<String>,
    /// Who made it.
    pub user_id: String,
}

/// An organization; of its limits those that a program asks for.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
#[expect(clippy::struct_excessive_bools, reason = "the API's fields")]
pub struct Organization {
    /// Unique.
    pub id: String,
    /// For people.
    pub name: String,
    /// The user who made it.
    #[serde(deserialize_with = "null_is_default")]
    pub created_by: String,
    /// True if it is one user's own.
    pub personal: bool,
    /// RFC 3339.
    pub created_at: String,
    /// RFC 3339.
    pub updated_at: String,
    /// True if it may do nothing at present.
    pub suspended: bool,
    /// RFC 3339.
    pub suspended_at: Option<String>,
    /// Why it is suspended.
    pub suspension_reason: Option<String>,
    /// RFC 3339.
    pub suspended_until: Option<String>,
    /// Hours until a suspended organization is cleaned up.
    pub suspension_cleanup_grace_period_hours: Option<f64>,
    /// Cores.
    #[serde(deserialize_with = "null_is_default", serialize_with = "number")]
    pub max_cpu_per_sandbox: f64,
    /// GiB.
    #[serde(deserialize_with = "null_is_default", serialize_with = "number")]
    pub max_memory_per_sandbox: f64,
    /// GiB.
    #[serde(deserialize_with = "null_is_default", serialize_with = "number")]
    pub max_disk_per_sandbox: f64,
    /// How many secrets it may have.
    #[serde(serialize_with = "opt_number")]
    pub secret_quota: Option<f64>,
    /// How many secrets a sandbox may use.
    #[serde(serialize_with = "opt_number")]
    pub max_secrets_per_sandbox: Option<f64>,
    /// Minutes after which an unused snapshot is deactivated.
    #[serde(serialize_with = "opt_number")]
    pub snapshot_deactivation_timeout_minutes: Option<f64>,
    /// True if new sandboxes have a limited network.
    pub sandbox_limited_network_egress: bool,
    /// True if previews begin with a warning.
    pub preview_warning_enabled: bool,
    /// True if it may have identity providers of its own.
    pub sso_enabled: bool,
    /// The region of what is created without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_region_id: Option<String>,
    /// Requests a minute.
    #[serde(serialize_with = "opt_number")]
    pub authenticated_rate_limit: Option<f64>,
    /// Creations a minute.
    #[serde(serialize_with = "opt_number")]
    pub sandbox_create_rate_limit: Option<f64>,
    /// Starts, stops and the like a minute.
    #[serde(serialize_with = "opt_number")]
    pub sandbox_lifecycle_rate_limit: Option<f64>,
    /// Settings that may change.
    pub experimental_config: Option<Value>,
    /// Where telemetry is sent.
    pub otel_config: Option<Value>,
    /// Seconds that the limit of requests counts.
    #[serde(serialize_with = "opt_number")]
    pub authenticated_rate_limit_ttl_seconds: Option<f64>,
    /// Seconds that the limit of creations counts.
    #[serde(serialize_with = "opt_number")]
    pub sandbox_create_rate_limit_ttl_seconds: Option<f64>,
    /// Seconds that the limit of starts and stops counts.
    #[serde(serialize_with = "opt_number")]
    pub sandbox_lifecycle_rate_limit_ttl_seconds: Option<f64>,
}

/// What an organization uses of what it may.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OrganizationUsage {
    /// Region by region.
    pub region_usage: Vec<RegionUsage>,
    /// Snapshots it may have.
    #[serde(serialize_with = "number")]
    pub total_snapshot_quota: f64,
    /// Snapshots it has.
    #[serde(serialize_with = "number")]
    pub current_snapshot_usage: f64,
    /// Volumes it may have.
    #[serde(serialize_with = "number")]
    pub total_volume_quota: f64,
    /// Volumes it has.
    #[serde(serialize_with = "number")]
    pub current_volume_usage: f64,
}

/// The same in one region.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RegionUsage {
    /// The region.
    pub region_id: String,
    /// `container`, `linux-vm` or `windows`.
    pub sandbox_class: String,
    /// Cores it may use.
    #[serde(serialize_with = "number")]
    pub total_cpu_quota: f64,
    /// Cores it uses.
    #[serde(serialize_with = "number")]
    pub current_cpu_usage: f64,
    /// GiB it may use.
    #[serde(serialize_with = "number")]
    pub total_memory_quota: f64,
    /// GiB it uses.
    #[serde(serialize_with = "number")]
    pub current_memory_usage: f64,
    /// GiB it may use.
    #[serde(serialize_with = "number")]
    pub total_disk_quota: f64,
    /// GiB it uses.
    #[serde(serialize_with = "number")]
    pub current_disk_usage: f64,
    /// GPUs it may use.
    #[serde(serialize_with = "number")]
    pub total_gpu_quota: f64,
    /// GPUs it uses.
    #[serde(serialize_with = "number")]
    pub current_gpu_usage: f64,
    /// Cores of one sandbox.
    #[serde(serialize_with = "opt_number")]
    pub max_cpu_per_sandbox: Option<f64>,
    /// GiB of one sandbox.
    #[serde(serialize_with = "opt_number")]
    pub max_memory_per_sandbox: Option<f64>,
    /// GiB of one sandbox.
    #[serde(serialize_with = "opt_number")]
    pub max_disk_per_sandbox: Option<f64>,
    /// GiB of one sandbox that outlives its stop.
    #[serde(serialize_with = "opt_number")]
    pub max_disk_per_non_ephemeral_sandbox: Option<f64>,
    /// Cores for each GPU.
    #[serde(serialize_with = "opt_number")]
    pub max_cpu_per_gpu: Option<f64>,
    /// GiB for each GPU.
    #[serde(serialize_with = "opt_number")]
    pub max_memory_per_gpu: Option<f64>,
    /// GiB for each GPU.
    #[serde(serialize_with = "opt_number")]
    pub max_disk_per_gpu: Option<f64>,
}

/// `PATCH /organizations/{id}/default-region`
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct UpdateDefaultRegion {
    /// Id of the region.
    pub default_region_id: String,
}

/// A region.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Region {
    /// Unique.
    pub id: String,
    /// For people.
    pub name: String,
    /// The organization it belongs to; `None` if it is shared.
    pub organization_id: Option<String>,
    /// `shared`, `dedicated` or `custom`.
    pub region_type: String,
    /// RFC 3339.
    pub created_at: String,
    /// RFC 3339.
    pub updated_at: String,
    /// Where previews are.
    pub proxy_url: Option<String>,
    /// Where SSH is.
    pub ssh_gateway_url: Option<String>,
    /// Where snapshots are kept.
    pub snapshot_manager_url: Option<String>,
    /// Where telemetry is sent.
    pub otel_endpoint: Option<String>,
}

/// A registry of images.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Registry {
    /// Unique.
    pub id: String,
    /// For people.
    pub name: String,
    /// Its URL.
    pub url: String,
    /// Who logs in.
    pub username: String,
    /// The project in it.
    #[serde(deserialize_with = "null_is_default")]
    pub project: String,
    /// `internal`, `organization`, `transient` or `backup`.
    pub registry_type: String,
    /// RFC 3339.
    pub created_at: String,
    /// RFC 3339.
    pub updated_at: String,
}

/// `POST /docker-registry`, and `PATCH /docker-registry/{id}`, where the password may be absent.
#[derive(Clone, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct RegistryParams {
    /// For people.
    pub name: String,
    /// Its URL.
    pub url: String,
    /// Who logs in.
    pub username: String,
    /// With what.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// The project in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
}

impl fmt::Debug for RegistryParams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegistryParams").field("name", &self.name).field("url", &self.url).finish_non_exhaustive()
    }
}

/// Something that was done.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AuditLog {
    /// Unique.
    pub id: String,
    /// Who did it.
    pub actor_id: String,
    /// Who did it.
    pub actor_email: String,
    /// In which organization.
    pub organization_id: Option<String>,
    /// What was done.
    pub action: String,
    /// To what kind of thing.
    pub target_type: Option<String>,
    /// To which.
    pub target_id: Option<String>,
    /// The HTTP status of the answer.
    #[serde(serialize_with = "opt_number")]
    pub status_code: Option<f64>,
    /// Why it failed.
    pub error_message: Option<String>,
    /// From where.
    pub ip_address: Option<String>,
    /// With what.
    pub user_agent: Option<String>,
    /// With what kind of client.
    pub source: Option<String>,
    /// What else is known.
    pub metadata: Option<Value>,
    /// RFC 3339.
    pub created_at: String,
}

/// One page of `GET /audit/organizations/{id}`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AuditLogs {
    /// The entries of this page.
    pub items: Vec<AuditLog>,
    /// Of all pages.
    #[serde(serialize_with = "number")]
    pub total: f64,
    /// This page, from 1.
    #[serde(serialize_with = "number")]
    pub page: f64,
    /// Number of pages.
    #[serde(serialize_with = "number")]
    pub total_pages: f64,
    /// Opaque; absent on the last page.
    pub next_token: Option<String>,
}

/// Which entries to list.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AuditQuery {
    /// From 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub page: Option<i64>,
    /// Entries a page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<i64>,
    /// RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// Of the page before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_token: Option<String>,
}

/// Where the webhooks of an organization are set up.
#[derive(Clone, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct WebhookPortal {
    /// Lets its bearer in.
    pub token: String,
    /// The page, which lets its bearer in.
    pub url: String,
}

impl fmt::Debug for WebhookPortal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebhookPortal").finish_non_exhaustive()
    }
}

/// Whether webhooks are set up.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WebhookStatus {
    /// The organization.
    pub organization_id: String,
    /// What sends them; `None` before they are set up.
    pub svix_application_id: Option<String>,
    /// Why the last attempt to set them up failed.
    pub last_error: Option<String>,
    /// How many attempts were made.
    #[serde(serialize_with = "number")]
    pub retry_count: f64,
    /// RFC 3339.
    pub created_at: String,
    /// RFC 3339.
    pub updated_at: String,
}
