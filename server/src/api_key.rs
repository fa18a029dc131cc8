//! API keys beside the server's own: what they may do, and since when they are used. Their values are not stored.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use axum::http::{Method, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use daytona_wire::admin::{ApiKey as Dto, CreateApiKey, CreatedApiKey};
use serde::{Deserialize, Serialize};

use crate::App;
use crate::error::{ApiError, ApiResult, code};
use crate::rows::Rows;
use crate::store::Stored;
use crate::time::{Millis, now, parse, rfc3339};

/// The user that all keys belong to.
pub(crate) const USER: &str = "local";
/// The name of the server's own key.
pub(crate) const OWN: &str = "default";
const PERMISSIONS: [&str; 21] = [
    "write:registries",
    "delete:registries",
    "write:snapshots",
    "delete:snapshots",
    "write:sandboxes",
    "delete:sandboxes",
    "read:volumes",
    "write:volumes",
    "delete:volumes",
    "write:regions",
    "delete:regions",
    "read:runners",
    "write:runners",
    "delete:runners",
    "read:audit_logs",
    "manage:api_keys",
    "manage:secrets",
    "read:limits",
    "manage:sso",
    "read:billing",
    "manage:billing",
];
/// What lets into sandboxes.
pub(crate) const SANDBOXES: &str = "write:sandboxes";

pub(crate) type Digest = [u8; 32];

/// One key as it is stored.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct ApiKey {
    name: String,
    /// SHA-256 of the value, which is random.
    digest: Digest,
    /// Its beginning and end.
    hint: String,
    permissions: Vec<String>,
    created_at: Millis,
    expires_at: Option<Millis>,
}

impl Stored for ApiKey {
    const TABLE: &'static str = "api-keys";

    fn id(&self) -> &str {
        &self.name
    }
}

/// Who sends a request.
#[derive(Clone)]
pub(crate) enum Caller {
    /// Has the server's own key, which may do everything.
    Owner,
    Key(Arc<Known>),
}

/// A key that is accepted.
pub(crate) struct Known {
    pub(crate) name: String,
    permissions: Vec<String>,
    expires_at: Option<Millis>,
    last_used_at: AtomicI64,
}

impl Caller {
    pub(crate) fn may(&self, permission: &str) -> bool {
        match self {
            Self::Owner => true,
            Self::Key(key) => key.permissions.iter().any(|own| own == permission),
        }
    }
}

/// The keys that are accepted, by the digests of their values.
#[derive(Default)]
pub(crate) struct KnownKeys(RwLock<HashMap<Digest, Arc<Known>>>);

impl KnownKeys {
    pub(crate) fn find(&self, digest: &Digest) -> Option<Caller> {
        let keys = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let key = keys.get(digest).filter(|key| key.expires_at.is_none_or(|at| at > now()))?;
        key.last_used_at.store(now(), Ordering::Relaxed);
        Some(Caller::Key(Arc::clone(key)))
    }

    pub(crate) fn add(&self, key: &ApiKey) {
        let known = Known {
            name: key.name.clone(),
            permissions: key.permissions.clone(),
            expires_at: key.expires_at,
            last_used_at: AtomicI64::new(0),
        };
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(key.digest, Arc::new(known));
    }

    fn remove(&self, key: &ApiKey) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).remove(&key.digest);
    }

    fn last_used(&self, key: &ApiKey) -> Option<Millis> {
        let keys = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let at = keys.get(&key.digest)?.last_used_at.load(Ordering::Relaxed);
        (at > 0).then_some(at)
    }
}

/// The permission that an operation of the API needs; `None` for those that everybody may do who has a key.
pub(crate) fn needed(method: &Method, path: &str) -> Option<&'static str> {
    let mut parts = path.strip_prefix("/api/").unwrap_or_default().split('/');
    let resource = parts.next().unwrap_or_default();
    let reads = matches!(*method, Method::GET | Method::HEAD);
    let deletes = method == Method::DELETE;
    match resource {
        "sandbox" | "workspace" => {
            // These hand out what lets in.
            let opens = matches!(parts.nth(1), Some("signing-key" | "ports" | "ssh-access" | "secrets"));
            match (reads, deletes) {
                (true, _) if !opens => None,
                (_, true) if !opens => Some("delete:sandboxes"),
                _ => Some(SANDBOXES),
            }
        }
        "preview" => Some(SANDBOXES),
        "warm-pools" if !reads => Some(SANDBOXES),
        "volumes" if reads => Some("read:volumes"),
        "volumes" if deletes => Some("delete:volumes"),
        "volumes" => Some("write:volumes"),
        "snapshots" if deletes => Some("delete:snapshots"),
        "snapshots" if !reads => Some("write:snapshots"),
        "secret" => Some("manage:secrets"),
        "api-keys" if !reads => Some("manage:api_keys"),
        "organizations" | "regions" if !reads => Some("write:regions"),
        _ => None,
    }
}

pub(crate) fn forbidden(permission: &str) -> ApiError {
    ApiError::new(
        StatusCode::FORBIDDEN,
        code::FORBIDDEN,
        format!("this API key has no permission {permission}: use another one, or make one that has it"),
    )
}

fn not_found(name: &str) -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, code::NOT_FOUND, format!("API key {name} not found"))
}

impl App {
    fn shown(&self, key: &ApiKey) -> Dto {
        Dto {
            name: key.name.clone(),
            value: key.hint.clone(),
            created_at: rfc3339(key.created_at),
            permissions: key.permissions.clone(),
            last_used_at: self.key.known().last_used(key).map(rfc3339),
            expires_at: key.expires_at.map(rfc3339),
            user_id: USER.to_owned(),
        }
    }

    /// The server's own key.
    fn own_key(&self) -> Dto {
        Dto {
            name: OWN.to_owned(),
            value: "*".repeat(8),
            created_at: rfc3339(self.started_at),
            permissions: PERMISSIONS.map(str::to_owned).to_vec(),
            last_used_at: Some(rfc3339(now())),
            expires_at: None,
            user_id: USER.to_owned(),
        }
    }

    pub(crate) fn list_api_keys(&self) -> Vec<Dto> {
        let more = self.api_keys.all();
        std::iter::once(self.own_key()).chain(more.iter().map(|key| self.shown(key))).collect()
    }

    pub(crate) fn get_api_key(&self, name: &str) -> ApiResult<Dto> {
        if name == OWN {
            return Ok(self.own_key());
        }
        self.api_keys.get(name).map(|key| self.shown(&key)).ok_or_else(|| not_found(name))
    }

    pub(crate) async fn create_api_key(&self, caller: &Caller, given: CreateApiKey) -> ApiResult<CreatedApiKey> {
        let CreateApiKey { name, permissions, expires_at } = given;
        let bad = name.is_empty()
            || name.trim() != name
            || name.len() > 128
            || matches!(name.as_str(), "." | ".." | "current" | OWN)
            || name.chars().any(|letter| letter.is_control() || matches!(letter, '/' | '\\' | '?' | '#'));
        if bad {
            return Err(ApiError::invalid(format!(
                "name must be 1 to 128 bytes without blanks at its ends, control characters, / \\ ? and #, and neither \
                 \"current\" nor {OWN:?}"
            )));
        }
        if let Some(unknown) = permissions.iter().find(|one| !PERMISSIONS.contains(&one.as_str())) {
            return Err(ApiError::invalid(format!("permissions: {unknown:?} is none of {}", PERMISSIONS.join(", "))));
        }
        if let Some(more) = permissions.iter().find(|one| !caller.may(one)) {
            return Err(forbidden(more));
        }
        let expires_at = match expires_at.filter(|text| !text.is_empty()) {
            None => None,
            Some(text) => Some(
                parse(&text)
                    .filter(|at| *at > now())
                    .ok_or_else(|| ApiError::invalid(format!("expiresAt: {text:?} is no RFC 3339 time to come")))?,
            ),
        };
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).map_err(super::api::no_randomness)?;
        let value = format!("dtn_local_{}", URL_SAFE_NO_PAD.encode(bytes));
        let key = ApiKey {
            digest: crate::auth::digest(value.as_bytes()),
            hint: format!("{}********{}", &value[..13], &value[value.len() - 3..]),
            permissions,
            created_at: now(),
            expires_at,
            name,
        };
        let taken = |others: &std::collections::BTreeMap<String, ApiKey>| {
            if others.contains_key(&key.name) {
                return Err(ApiError::new(
                    StatusCode::CONFLICT,
                    code::API_KEY_NAME_TAKEN,
                    format!("API key with name {} already exists", key.name),
                ));
            }
            Ok(())
        };
        self.api_keys.add(&self.store, key.clone(), taken).await?;
        self.key.known().add(&key);
        Ok(CreatedApiKey {
            name: key.name,
            value,
            created_at: rfc3339(key.created_at),
            permissions: key.permissions,
            expires_at: key.expires_at.map(rfc3339),
        })
    }

    pub(crate) async fn delete_api_key(&self, name: &str) -> ApiResult<()> {
        if name == OWN {
            return Err(ApiError::invalid(
                "the server's own key belongs to its data directory: stop the server and delete the file api-key there",
            ));
        }
        let key = self.api_keys.get(name).ok_or_else(|| not_found(name))?;
        // At once, also if it then cannot be stored: another try deletes it.
        self.key.known().remove(&key);
        self.api_keys.remove(&self.store, name).await?;
        Ok(())
    }
}

/// Accepts the keys that are stored.
pub(crate) fn accept(rows: &Rows<ApiKey>, known: &KnownKeys) {
    for key in rows.all() {
        known.add(&key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_need_their_permissions() {
        let get = |path: &str| needed(&Method::GET, path);
        assert_eq!(get("/api/sandbox"), None);
        assert_eq!(get("/api/sandbox/a"), None);
        assert_eq!(get("/api/sandbox/a/signing-key"), Some(SANDBOXES));
        assert_eq!(get("/api/sandbox/a/ports/3000/preview-url"), Some(SANDBOXES));
        assert_eq!(get("/api/volumes"), Some("read:volumes"));
        assert_eq!(get("/api/secret/paginated"), Some("manage:secrets"));
        assert_eq!(get("/api/api-keys"), None);
        assert_eq!(needed(&Method::POST, "/api/sandbox"), Some(SANDBOXES));
        assert_eq!(needed(&Method::DELETE, "/api/sandbox/a"), Some("delete:sandboxes"));
        assert_eq!(needed(&Method::DELETE, "/api/sandbox/a/ssh-access"), Some(SANDBOXES));
        assert_eq!(needed(&Method::DELETE, "/api/volumes/a"), Some("delete:volumes"));
        assert_eq!(needed(&Method::POST, "/api/api-keys"), Some("manage:api_keys"));
    }

    #[test]
    fn keys_expire() {
        let keys = KnownKeys::default();
        let key = |name: &str, digest, expires_at| ApiKey {
            name: name.to_owned(),
            digest,
            hint: String::new(),
            permissions: vec![SANDBOXES.to_owned()],
            created_at: 0,
            expires_at,
        };
        keys.add(&key("good", [1; 32], Some(now() + 100_000)));
        keys.add(&key("late", [2; 32], Some(now() - 1)));
        assert!(keys.find(&[1; 32]).is_some_and(|caller| caller.may(SANDBOXES) && !caller.may("manage:secrets")));
        assert!(keys.find(&[2; 32]).is_none());
        assert!(keys.find(&[3; 32]).is_none());
    }
}
