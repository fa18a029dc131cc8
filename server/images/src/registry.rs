//! One registry or mirror, as seen for one image.

use std::error::Error as _;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::Duration;

use oci_client::client::{ClientConfig, ClientProtocol};
use oci_client::errors::{OciDistributionError, OciErrorCode};
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference, RegistryOperation};
use secrecy::ExposeSecret as _;

use crate::pull::{Credentials, PullOptions};
use crate::{Error, ImageRef, Result, digest};

/// Media types of manifests, in the order of preference.
const MANIFESTS: &[&str] = &[
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
];

const CONNECT: Duration = Duration::from_secs(10);
/// A manifest and its token, all in all.
const MANIFEST: Duration = Duration::from_secs(60);
const MANIFEST_BYTES: usize = 8 << 20;

pub(crate) struct Registry {
    pub(crate) client: Client,
    pub(crate) reference: Reference,
    pub(crate) host: String,
    plain: bool,
    auth: RegistryAuth,
}

/// Where an image may come from: the mirrors of its registry, then the registry.
pub(crate) fn sources(name: &ImageRef, options: &PullOptions) -> Result<Vec<Registry>> {
    let registry = name.registry();
    let mirrors = options.mirrors.get(registry).into_iter().flatten();
    let mut sources = Vec::new();
    for mirror in mirrors {
        let mirror = mirror.trim_end_matches('/');
        let (host, path) = mirror.split_once('/').unwrap_or((mirror, ""));
        let mut repository = name.repository().to_owned();
        if !path.is_empty() {
            repository = format!("{path}/{repository}");
        }
        sources.push(Registry::new(host, repository, name, options)?);
    }
    sources.push(Registry::new(registry, name.repository().to_owned(), name, options)?);
    Ok(sources)
}

impl Registry {
    fn new(host: &str, repository: String, name: &ImageRef, options: &PullOptions) -> Result<Self> {
        let reference = match (name.digest(), name.tag()) {
            (Some(digest), _) => Reference::with_digest(host.to_owned(), repository, digest.to_owned()),
            (None, tag) => Reference::with_tag(host.to_owned(), repository, tag.unwrap_or("latest").to_owned()),
        };
        let auth = match options.credentials.get(host) {
            None => RegistryAuth::Anonymous,
            Some(Credentials::Password { user, password }) => {
                RegistryAuth::Basic(user.clone(), password.expose_secret().to_owned())
            }
            Some(Credentials::Token(token)) => RegistryAuth::Bearer(token.expose_secret().to_owned()),
        };
        let local = is_loopback(host);
        let plain = local || options.insecure.iter().any(|insecure| insecure == host);
        let mut config = ClientConfig {
            protocol: if plain { ClientProtocol::Http } else { ClientProtocol::Https },
            read_timeout: Some(options.idle),
            connect_timeout: Some(CONNECT),
            user_agent: concat!("daytona-native/", env!("CARGO_PKG_VERSION")),
            ..ClientConfig::default()
        };
        if let Some(exceptions) = reached_without(host, &set(["NO_PROXY", "no_proxy"]).unwrap_or_default()) {
            // Others that it sends to may be behind the proxy.
            config.http_proxy = proxy(true);
            config.https_proxy = proxy(false);
            config.no_proxy = Some(exceptions);
        }
        // Refused where another one was chosen before, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::try_from(config).map_err(|error| unreachable(host, &error, plain))?;
        Ok(Self { client, reference, host: host.to_owned(), plain, auth })
    }

    /// The bytes of a manifest and their digest: of the image's name, or of the digest given.
    pub(crate) async fn manifest(&self, by_digest: Option<&str>) -> Result<(Vec<u8>, String)> {
        let reference = match by_digest {
            Some(digest) => self.reference.clone_with_digest(digest.to_owned()),
            None => self.reference.clone(),
        };
        let get = async {
            self.client.auth(&reference, &self.auth, RegistryOperation::Pull).await?;
            self.client.pull_manifest_raw(&reference, &self.auth, MANIFESTS).await
        };
        let (bytes, _) = tokio::time::timeout(MANIFEST, get)
            .await
            .map_err(|_| Error::Unreachable {
                registry: self.host.clone(),
                why: format!("no manifest within {} s", MANIFEST.as_secs()),
            })?
            .map_err(|error| self.error(error, &reference.whole()))?;
        if bytes.len() > MANIFEST_BYTES {
            return Err(Error::TooLarge {
                what: format!("the manifest of {}", reference.whole()),
                limit: "8 MiB".to_owned(),
            });
        }
        let got = digest::of(&bytes);
        match reference.digest() {
            Some(expected) if expected != got => Err(Error::Corrupt {
                what: format!("the manifest of {}", reference.whole()),
                expected: expected.to_owned(),
                got,
            }),
            _ => Ok((bytes.to_vec(), got)),
        }
    }

    pub(crate) fn error(&self, error: OciDistributionError, what: &str) -> Error {
        let said = |envelope: &oci_client::errors::OciEnvelope| {
            let texts: Vec<_> = envelope.errors.iter().map(|error| error.message.as_str()).collect();
            texts.join("; ")
        };
        match error {
            OciDistributionError::UnauthorizedError { .. }
            | OciDistributionError::AuthenticationFailure(_)
            | OciDistributionError::RegistryTokenDecodeError(_)
            | OciDistributionError::ServerError { code: 401 | 403, .. } => self.unauthorized(what),
            OciDistributionError::RegistryError { envelope, .. } => {
                use OciErrorCode::{
                    BlobUnknown, Denied, ManifestBlobUnknown, ManifestUnknown, NameInvalid, NameUnknown, NotFound,
                    Unauthorized,
                };
                match envelope.errors.first().map(|error| &error.code) {
                    Some(
                        ManifestUnknown | NameUnknown | NameInvalid | NotFound | BlobUnknown | ManifestBlobUnknown,
                    ) => self.not_found(what),
                    Some(Unauthorized | Denied) => self.unauthorized(what),
                    _ => Error::Unreachable { registry: self.host.clone(), why: said(&envelope) },
                }
            }
            OciDistributionError::ServerError { code: 404, .. } => self.not_found(what),
            OciDistributionError::ServerError { code, .. } => {
                Error::Unreachable { registry: self.host.clone(), why: format!("it answered with status {code}") }
            }
            OciDistributionError::DigestError(error) => match error {
                oci_client::errors::DigestError::VerificationError { expected, actual } => {
                    Error::Corrupt { what: what.to_owned(), expected, got: actual }
                }
                other => Error::Corrupt {
                    what: what.to_owned(),
                    expected: "a sha256 digest".to_owned(),
                    got: other.to_string(),
                },
            },
            other => unreachable(&self.host, &other, self.plain),
        }
    }

    fn not_found(&self, what: &str) -> Error {
        Error::NotFound(format!("{what} was not found at {}", self.host))
    }

    fn unauthorized(&self, what: &str) -> Error {
        let how = match self.auth {
            RegistryAuth::Anonymous => {
                "it may not exist, or be private: no credentials are configured for this registry"
            }
            _ => "the credentials for this registry are not accepted, or may not read it",
        };
        Error::Unauthorized(format!("{} does not give out {what}: {how}", self.host))
    }
}

/// With the causes, which `reqwest` leaves out of its own text.
fn unreachable(host: &str, error: &OciDistributionError, plain: bool) -> Error {
    let mut why = String::new();
    let mut source: Option<&dyn std::error::Error> = match error {
        OciDistributionError::RequestError(error) => {
            why.push_str(if error.is_timeout() { "timed out" } else { "the connection failed" });
            error.source()
        }
        other => {
            let _ = write!(why, "{other}");
            other.source()
        }
    };
    while let Some(error) = source {
        let text = error.to_string();
        if !why.contains(&text) {
            let _ = write!(why, ": {text}");
        }
        source = error.source();
    }
    if !is_loopback(host)
        && let Some(proxy) = proxy(plain)
    {
        let shown = proxy.rsplit_once('@').map_or(proxy.as_str(), |(_, address)| address);
        let _ = write!(why, " (if the proxy {shown} is in the way, add {host} to NO_PROXY)");
    }
    Error::Unreachable { registry: host.to_owned(), why }
}

/// What the first of these variables holds that is set.
fn set<const N: usize>(names: [&str; N]) -> Option<String> {
    names.iter().find_map(|name| std::env::var(name).ok().filter(|value| !value.trim().is_empty()))
}

/// The proxy that the environment names for plain or for encrypted connections.
fn proxy(plain: bool) -> Option<String> {
    let own = if plain { ["HTTP_PROXY", "http_proxy"] } else { ["HTTPS_PROXY", "https_proxy"] };
    set(own).or_else(|| set(["ALL_PROXY", "all_proxy"]))
}

/// Exceptions that the HTTP client understands, for a registry which takes no proxy: this machine's, which no proxy can
/// reach, and one that is listed with its port. `None` where the client finds out by itself.
fn reached_without(host: &str, exceptions: &str) -> Option<String> {
    let mut entries = exceptions.split(|letter: char| letter == ',' || letter.is_whitespace());
    if entries.clone().any(|entry| entry == "*") {
        return Some("*,0.0.0.0/0,::/0".to_owned());
    }
    let is_listed = entries.any(|entry| !entry.is_empty() && entry.eq_ignore_ascii_case(host));
    (is_listed || is_loopback(host)).then(|| format!("localhost,127.0.0.0/8,::1,{}", without_port(host)))
}

fn without_port(host: &str) -> &str {
    match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(rest),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    }
}

/// Whether a host, perhaps with a port, is this machine by name or address.
pub(crate) fn is_loopback(host: &str) -> bool {
    let name = without_port(host);
    name == "localhost" || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registries_of_this_machine_and_listed_ones_take_no_proxy() {
        let of = |host, exceptions| reached_without(host, exceptions).unwrap_or_default();
        assert!(of("localhost:5000", "").ends_with(",localhost"));
        assert!(of("[::1]:5000", "other").ends_with(",::1"));
        assert!(of("Registry.example:5000", "other, registry.example:5000").ends_with(",Registry.example"));
        assert!(of("registry.example", "a *").starts_with("*,"));
        assert_eq!(of("registry.example:5000", "registry.example:80 example:5000"), "");
    }
}
