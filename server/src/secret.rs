//! Secrets: values that sandboxes use without seeing them.
//!
//! A sandbox's environment holds placeholders only. [`Secrets::reveal`] gives the values to what carries a sandbox's
//! requests out, for the hosts they are meant for.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use axum::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use daytona_wire::environment::is_name;
use daytona_wire::secret::{CreateSecret, Secret as Dto, UpdateSecret};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use crate::App;
use crate::config::private_bytes;
use crate::error::{ApiError, ApiResult, code};
use crate::record::Record;
use crate::rows::Rows;
use crate::store::{StoreError, Stored};
use crate::time::{Millis, now, rfc3339};

/// What every placeholder begins with.
pub(crate) const PLACEHOLDER: &str = "dtn_secret_";
const VALUE_LIMIT: usize = 64 << 10;
const KEY_FILE: &str = "secrets.key";
const KEY_LENGTH: usize = 32;

/// One secret as it is stored.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Secret {
    id: String,
    pub(crate) name: String,
    description: Option<String>,
    /// Nonce and encrypted value.
    sealed: String,
    placeholder: String,
    hosts: Vec<String>,
    pub(crate) created_at: Millis,
    pub(crate) updated_at: Millis,
}

impl Secret {
    pub(crate) fn dto(&self) -> Dto {
        Dto {
            id: self.id.clone(),
            name: self.name.clone(),
            description: self.description.clone(),
            created_at: rfc3339(self.created_at),
            placeholder: self.placeholder.clone(),
            hosts: self.hosts.clone(),
            updated_at: rfc3339(self.updated_at),
        }
    }
}

impl Secret {
    /// Without hosts it is for every one.
    fn is_for(&self, host: &str) -> bool {
        !host.is_empty() && (self.hosts.is_empty() || self.hosts.iter().any(|allowed| covers(allowed, host)))
    }
}

impl Stored for Secret {
    const TABLE: &'static str = "secrets";

    fn id(&self) -> &str {
        &self.id
    }
}

/// All secrets, and the key that their values are stored under.
pub(crate) struct Secrets {
    pub(crate) rows: Rows<Secret>,
    path: PathBuf,
    key: RwLock<Key>,
}

/// The key, or why the secrets that are there cannot be read. No other key is made while there are some.
type Key = Result<Arc<LessSafeKey>, String>;

impl Secrets {
    pub(crate) fn new(rows: Vec<Secret>, data_dir: &Path) -> Self {
        let path = data_dir.join(KEY_FILE);
        let key = if rows.is_empty() && !path.exists() { new_key(&path) } else { stored_key(&path, &rows) };
        if let Err(reason) = &key {
            tracing::warn!("secrets cannot be used: {reason}");
        }
        Self { rows: Rows::new(rows), path, key: RwLock::new(key) }
    }

    fn key(&self) -> Key {
        self.key.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The key to encrypt a new value with: another one only if nothing is left that needs the lost one.
    fn key_for_new(&self) -> ApiResult<Arc<LessSafeKey>> {
        match self.key() {
            Ok(key) => Ok(key),
            Err(_) if self.rows.all().is_empty() => {
                let set_aside = self.path.with_extension("key.unusable");
                let _ = std::fs::rename(&self.path, set_aside);
                let new = new_key(&self.path).map_err(StoreError::new)?;
                *self.key.write().unwrap_or_else(PoisonError::into_inner) = Ok(Arc::clone(&new));
                Ok(new)
            }
            Err(reason) => Err(unreadable("no secret can be stored", &reason)),
        }
    }

    /// Encrypts a value; it can be opened for this secret only.
    fn seal(&self, id: &str, value: &str) -> ApiResult<String> {
        let key = self.key_for_new()?;
        let failed = || {
            ApiError::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                code::RUNTIME_FAILED,
                "the value could not be encrypted: the system gives no random numbers",
            )
        };
        let mut nonce = [0; NONCE_LEN];
        getrandom::fill(&mut nonce).map_err(|_| failed())?;
        let mut sealed = value.as_bytes().to_vec();
        key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(id), &mut sealed)
            .map_err(|_| failed())?;
        Ok(STANDARD_NO_PAD.encode([&nonce[..], &sealed].concat()))
    }

    fn open(&self, secret: &Secret) -> Option<SecretString> {
        let opened = self.key().and_then(|key| {
            opened(&key, secret).ok_or_else(|| format!("its value was stored under another key than {KEY_FILE}"))
        });
        opened.inspect_err(|reason| tracing::warn!(secret = secret.name, "a secret cannot be used: {reason}")).ok()
    }

    /// The secrets that a sandbox is to hold: from pairs of variable and name, to variable and id.
    pub(crate) fn attached(
        &self,
        asked: Vec<BTreeMap<String, String>>,
        env: &BTreeMap<String, String>,
    ) -> ApiResult<BTreeMap<String, String>> {
        let mut attached = BTreeMap::new();
        for (variable, name) in asked.into_iter().flatten() {
            if !is_name(&variable) {
                return Err(ApiError::invalid(format!(
                    "secrets: {variable:?} is no name of an environment variable: letters, digits and _, not starting \
                     with a digit"
                )));
            }
            if env.contains_key(&variable) {
                return Err(ApiError::invalid(format!("secrets: {variable} is in env too; leave it out of one")));
            }
            let secret = self.rows.find(|secret| secret.name == name).ok_or_else(|| {
                ApiError::new(
                    StatusCode::BAD_REQUEST,
                    code::SECRET_NOT_FOUND,
                    format!("secrets: there is no secret {name:?}; create it first"),
                )
            })?;
            if let Err(reason) = self.key() {
                return Err(unreadable(&format!("secrets: {name:?} cannot be used"), &reason));
            }
            if attached.insert(variable.clone(), secret.id).is_some() {
                return Err(ApiError::invalid(format!("secrets: {variable} is given twice")));
            }
        }
        Ok(attached)
    }

    /// What stands for the values in a sandbox; a secret that was deleted is left out.
    pub(crate) fn placeholders(&self, record: &Record) -> BTreeMap<String, String> {
        let placeholder = |id: &String| self.rows.get(id).map(|secret| secret.placeholder);
        let pairs = record.secrets.iter().filter_map(|(variable, id)| Some((variable.clone(), placeholder(id)?)));
        pairs.collect()
    }

    /// A sandbox's own variables, placeholders included.
    pub(crate) fn environment(&self, record: &Record) -> BTreeMap<String, String> {
        let mut env = record.env.clone();
        env.extend(self.placeholders(record));
        env
    }

    /// Whether one of these secrets, by their ids, is meant for a host.
    pub(crate) fn concern(&self, ids: &[String], host: &str) -> bool {
        ids.iter().filter_map(|id| self.rows.get(id)).any(|secret| secret.is_for(host))
    }

    /// Placeholders and values of those of these secrets that are meant for all of these hosts.
    pub(crate) fn reveal(&self, ids: &[String], hosts: &[&str]) -> Vec<(String, SecretString)> {
        let secrets = ids.iter().filter_map(|id| self.rows.get(id));
        let secrets = secrets.filter(|secret| hosts.iter().all(|host| secret.is_for(host)));
        secrets.filter_map(|secret| Some((secret.placeholder.clone(), self.open(&secret)?))).collect()
    }
}

/// The key in its file, if it opens at least one of the secrets.
fn stored_key(path: &Path, rows: &[Secret]) -> Key {
    let way_out = format!(
        "restore {} from the backup that the data directory comes from, and start the server again; or delete all \
         secrets ({}) and create them anew",
        path.display(),
        rows.len()
    );
    let bytes = std::fs::read(path).map_err(|error| format!("their key cannot be read ({error}): {way_out}"))?;
    let key = key(&bytes).map_err(|error| format!("{error}: {way_out}"))?;
    if !rows.is_empty() && rows.iter().all(|secret| opened(&key, secret).is_none()) {
        return Err(format!("{KEY_FILE} is not the key that they were stored under: {way_out}"));
    }
    Ok(key)
}

fn new_key(path: &Path) -> Key {
    key(&private_bytes(path, KEY_LENGTH).map_err(|error| format!("{KEY_FILE}: {error}"))?)
}

fn key(bytes: &[u8]) -> Key {
    let key = UnboundKey::new(&CHACHA20_POLY1305, bytes);
    let key = key.map_err(|_| format!("{KEY_FILE} is damaged: it does not have {KEY_LENGTH} bytes"))?;
    Ok(Arc::new(LessSafeKey::new(key)))
}

fn opened(key: &LessSafeKey, secret: &Secret) -> Option<SecretString> {
    let bytes = STANDARD_NO_PAD.decode(&secret.sealed).ok()?;
    let (nonce, sealed) = bytes.split_at_checked(NONCE_LEN)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
    let mut sealed = sealed.to_vec();
    let value = key.open_in_place(nonce, Aad::from(secret.id.as_str()), &mut sealed).ok()?;
    Some(SecretString::from(std::str::from_utf8(value).ok()?))
}

fn unreadable(what: &str, reason: &str) -> ApiError {
    ApiError::new(StatusCode::CONFLICT, code::SECRETS_UNREADABLE, format!("{what}: {reason}"))
}

/// Whether an entry of `hosts` stands for this host.
fn covers(allowed: &str, host: &str) -> bool {
    let host = host.trim_end_matches('.');
    match allowed.strip_prefix("*.") {
        None => host.eq_ignore_ascii_case(allowed),
        Some(domain) => {
            host.len() > domain.len() + 1 && {
                let (head, tail) = host.split_at_checked(host.len() - domain.len()).unwrap_or_default();
                head.ends_with('.') && tail.eq_ignore_ascii_case(domain)
            }
        }
    }
}

fn check_name(name: &str) -> ApiResult<()> {
    let mut bytes = name.bytes();
    let fine = name.len() <= 128
        && bytes.next().is_some_and(|byte| byte == b'_' || byte.is_ascii_alphabetic())
        && bytes.all(|byte| matches!(byte, b'_' | b'-') || byte.is_ascii_alphanumeric());
    if fine {
        return Ok(());
    }
    Err(ApiError::invalid(format!(
        "name {name:?} must have 1 to 128 letters, digits, _ and -, and begin with a letter or _"
    )))
}

fn check_value(value: &str) -> ApiResult<()> {
    if value.is_empty() || value.len() > VALUE_LIMIT || value.contains('\0') {
        return Err(ApiError::invalid(format!("value must have 1 to {VALUE_LIMIT} bytes and no NUL byte")));
    }
    Ok(())
}

fn check_hosts(hosts: Vec<String>) -> ApiResult<Vec<String>> {
    for host in &hosts {
        let domain = host.strip_prefix("*.").unwrap_or(host);
        let label = |label: &str| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.bytes().all(|byte| byte == b'-' || byte == b'_' || byte.is_ascii_alphanumeric())
        };
        let address = domain.parse::<std::net::Ipv6Addr>().is_ok() && !host.starts_with('*');
        if !address && (domain.len() > 253 || !domain.split('.').all(label)) {
            return Err(ApiError::invalid(format!(
                "hosts: {host:?} must be a host name such as api.example.com, or *.example.com; without scheme, port \
                 and path"
            )));
        }
    }
    Ok(hosts)
}

pub(crate) fn not_found(id: &str) -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, code::SECRET_NOT_FOUND, format!("Secret {id} not found"))
}

impl App {
    pub(crate) async fn create_secret(&self, given: CreateSecret) -> ApiResult<Secret> {
        check_name(&given.name)?;
        check_value(&given.value)?;
        let hosts = check_hosts(given.hosts.unwrap_or_default())?;
        let (id, time) = (crate::api::new_id()?, now());
        let secret = Secret {
            sealed: self.secrets.seal(&id, &given.value)?,
            placeholder: format!("{PLACEHOLDER}{}", crate::api::new_id()?.replace('-', "")),
            name: given.name,
            description: given.description.filter(|text| !text.is_empty()),
            hosts,
            created_at: time,
            updated_at: time,
            id,
        };
        let taken = |others: &BTreeMap<String, Secret>| {
            if others.values().any(|other| other.name == secret.name) {
                return Err(ApiError::new(
                    StatusCode::CONFLICT,
                    code::SECRET_NAME_TAKEN,
                    format!("Secret with name {} already exists", secret.name),
                ));
            }
            Ok(())
        };
        self.secrets.rows.add(&self.store, secret.clone(), taken).await?;
        Ok(secret)
    }

    pub(crate) async fn update_secret(&self, id: &str, given: UpdateSecret) -> ApiResult<Secret> {
        given.value.as_deref().map_or(Ok(()), check_value)?;
        let hosts = given.hosts.map(check_hosts).transpose()?;
        let sealed = given.value.map(|value| self.secrets.seal(id, &value)).transpose()?;
        let change = |secret: &mut Secret| {
            if let Some(sealed) = sealed {
                secret.sealed = sealed;
            }
            if let Some(hosts) = hosts {
                secret.hosts = hosts;
            }
            if let Some(description) = given.description {
                secret.description = Some(description).filter(|text| !text.is_empty());
            }
            secret.updated_at = now();
            Ok(())
        };
        self.secrets.rows.update(&self.store, id, change).await?.ok_or_else(|| not_found(id))
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;
    use crate::store::Store;

    fn secrets(dir: &Path) -> (Store, Secrets) {
        let (store, contents) = Store::sample(&dir.join("state.redb"));
        let secrets = Secrets::new(contents.secrets, dir);
        (store, secrets)
    }

    async fn add(store: &Store, secrets: &Secrets, hosts: &[&str]) -> Record {
        let secret = Secret {
            id: "one".to_owned(),
            name: "name".to_owned(),
            description: None,
            sealed: secrets.seal("one", "the value").unwrap(),
            placeholder: "dtn_secret_1".to_owned(),
            hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
            created_at: 0,
            updated_at: 0,
        };
        secrets.rows.add(store, secret, |_| Ok(())).await.unwrap();
        let mut record = Record::sample("a");
        record.secrets = BTreeMap::from([("KEY".to_owned(), "one".to_owned())]);
        record
    }

    #[tokio::test]
    async fn values_are_stored_encrypted_and_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let (store, all) = secrets(dir.path());
        let record = add(&store, &all, &[]).await;
        store.close();
        let stored = std::fs::read(dir.path().join("state.redb")).unwrap();
        assert!(!stored.windows(9).any(|bytes| bytes == b"the value"));
        let (_, all) = secrets(dir.path());
        assert_eq!(all.environment(&record)["KEY"], "dtn_secret_1");
        let revealed = all.reveal(&["one".to_owned()], &["any"]);
        assert_eq!((revealed[0].0.as_str(), revealed[0].1.expose_secret()), ("dtn_secret_1", "the value"));
    }

    #[tokio::test]
    async fn a_lost_key_is_not_replaced_while_a_secret_needs_it() {
        let dir = tempfile::tempdir().unwrap();
        let key = dir.path().join(KEY_FILE);
        let (store, all) = secrets(dir.path());
        add(&store, &all, &[]).await;
        let good = std::fs::read(&key).unwrap();
        drop((store, all));
        for lost in [None, Some(&b"short"[..]), Some(&[7; KEY_LENGTH][..])] {
            match lost {
                None => std::fs::remove_file(&key).unwrap(),
                Some(bytes) => std::fs::write(&key, bytes).unwrap(),
            }
            let (_store, all) = secrets(dir.path());
            assert_eq!(std::fs::read(&key).ok().as_deref(), lost);
            assert!(all.reveal(&["one".to_owned()], &["any"]).is_empty());
            let refused = all.seal("two", "value").unwrap_err();
            assert!(refused.message.contains(KEY_FILE) && refused.message.contains("restore"), "{}", refused.message);
            let asked = vec![BTreeMap::from([("KEY".to_owned(), "name".to_owned())])];
            assert_eq!(all.attached(asked, &BTreeMap::new()).unwrap_err().code, code::SECRETS_UNREADABLE);
        }
        std::fs::write(&key, good).unwrap();
        let (store, all) = secrets(dir.path());
        assert_eq!(all.reveal(&["one".to_owned()], &["any"]).len(), 1);
        drop(store);
        std::fs::remove_file(&key).unwrap();
        let (store, all) = secrets(dir.path());
        all.rows.remove(&store, "one").await.unwrap();
        all.seal("two", "value").unwrap();
        assert_eq!(std::fs::read(&key).unwrap().len(), KEY_LENGTH);
    }

    #[tokio::test]
    async fn a_value_is_for_its_sandboxes_and_hosts() {
        let dir = tempfile::tempdir().unwrap();
        let (store, all) = secrets(dir.path());
        add(&store, &all, &["api.example.com", "*.example.org"]).await;
        let ids = ["one".to_owned()];
        let revealed = |hosts: &[&str]| !all.reveal(&ids, hosts).is_empty();
        for host in ["api.example.com", "API.example.COM", "api.example.com.", "a.example.org", "a.b.example.org"] {
            assert!(revealed(&[host]) && all.concern(&ids, host), "{host}");
        }
        for host in ["example.com", "x.api.example.com", "example.org", "badexample.org", "api.example.com.evil.org"] {
            assert!(!revealed(&[host]) && !all.concern(&ids, host), "{host}");
        }
        assert!(revealed(&["api.example.com", "a.example.org"]));
        assert!(!revealed(&["api.example.com", "evil.org"]));
        assert!(all.reveal(&[], &["api.example.com"]).is_empty());
    }

    #[test]
    fn hosts_are_names() {
        for good in ["api.example.com", "*.example.com", "localhost", "127.0.0.1", "::1"] {
            assert!(check_hosts(vec![good.to_owned()]).is_ok(), "{good}");
        }
        for bad in ["", "*", "*.", "https://a.b", "a.b:80", "a.b/c", "a..b", "-a.b", "*.*.b"] {
            assert!(check_hosts(vec![bad.to_owned()]).is_err(), "{bad}");
        }
    }
}
