//! Where build contexts are uploaded to.

use serde::{Deserialize, Serialize};

/// `GET /object-storage/push-access`: credentials for an hour. Not `Debug`: they are secret.
#[derive(Clone, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StorageAccess {
    /// Access key of S3.
    pub access_key: String,
    /// Its secret.
    pub secret: String,
    /// To be sent with every request.
    pub session_token: String,
    /// URL of the storage, which takes paths that begin with the bucket.
    pub storage_url: String,
    /// Objects are below this.
    pub organization_id: String,
    /// Name of the bucket.
    pub bucket: String,
    /// What signatures are made for.
    pub region: String,
}
