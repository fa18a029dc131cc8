//! The certificate authority of this server, which its own sandboxes trust.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType, date_time_ymd,
};
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;

use crate::config::write_private;

/// Certificates kept; when there are more, all are made anew.
const KEPT: usize = 1024;

pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Of all hosts' certificates; it lives as long as the server.
    key: KeyPair,
    made: Mutex<HashMap<String, Arc<CertifiedKey>>>,
}

impl Authority {
    /// The authority of this data directory, made at the first start. Its key is readable by the owner only; its
    /// certificate is what sandboxes are made to trust.
    pub(crate) fn open(data_dir: &Path) -> io::Result<Self> {
        let path = data_dir.join("ca.key");
        let stored = match std::fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            read => Some(read?),
        };
        let key = match &stored {
            Some(pem) => KeyPair::from_pem(pem),
            None => KeyPair::generate(),
        };
        let key = key.map_err(|error| {
            let path = path.display();
            io::Error::other(format!(
                "{path} is damaged ({error}): restore it; or remove it and {}, to get a new one, which sandboxes trust \
                 after their next start",
                daytona_runtime::certificate_authority(data_dir).display()
            ))
        })?;
        if stored.is_none() {
            if daytona_runtime::certificate_authority(data_dir).exists() {
                tracing::warn!(
                    "ca.key is missing: a new authority is made, which sandboxes trust after their next start"
                );
            }
            write_private(&path, key.serialize_pem().as_bytes())?;
        }
        let params = authority(&key);
        let certificate = daytona_runtime::certificate_authority(data_dir);
        if stored.is_none() || !certificate.exists() {
            let pem = params.self_signed(&key).map_err(io::Error::other)?.pem();
            write_private(&certificate, pem.as_bytes())?;
        }
        let issuer = Issuer::new(params, key);
        let key = KeyPair::generate().map_err(io::Error::other)?;
        Ok(Self { issuer, key, made: Mutex::default() })
    }

    /// The certificate, with its key, for a host name or an address.
    pub(super) fn certify(&self, host: &str) -> io::Result<Arc<CertifiedKey>> {
        let made = || self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = made().get(host) {
            return Ok(Arc::clone(known));
        }
        let new = Arc::new(self.make(host)?);
        let mut made = made();
        if made.len() >= KEPT {
            made.clear();
        }
        made.insert(host.to_owned(), Arc::clone(&new));
        Ok(new)
    }

    fn make(&self, host: &str) -> io::Result<CertifiedKey> {
        let mut params = lasting(CertificateParams::default());
        params.subject_alt_names = vec![match host.parse::<IpAddr>() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) => SanType::DnsName(host.try_into().map_err(io::Error::other)?),
        }];
        // Longer ones do not fit; clients look at the alternative names.
        params.distinguished_name.push(DnType::CommonName, host.get(..host.len().min(64)).unwrap_or("host"));
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let certificate = params.signed_by(&self.key, &self.issuer).map_err(io::Error::other)?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.serialize_der()));
        let key = any_supported_type(&key).map_err(io::Error::other)?;
        Ok(CertifiedKey::new(vec![certificate.der().clone()], key))
    }
}

fn authority(key: &KeyPair) -> CertificateParams {
    use std::fmt::Write as _;
    let mut params = lasting(CertificateParams::default());
    let mut name = "daytona-native local authority ".to_owned();
    for byte in params.key_identifier(key).iter().take(4) {
        let _ = write!(name, "{byte:02x}");
    }
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

/// Valid whatever a sandbox's programs take for the time.
fn lasting(mut params: CertificateParams) -> CertificateParams {
    params.distinguished_name = rcgen::DistinguishedName::new();
    (params.not_before, params.not_after) = (date_time_ymd(2000, 1, 1), date_time_ymd(2100, 1, 1));
    params
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_key_is_private_and_stays() {
        let dir = tempfile::tempdir().unwrap();
        let first = Authority::open(dir.path()).unwrap();
        let path = daytona_runtime::certificate_authority(dir.path());
        let certificate = std::fs::read_to_string(&path).unwrap();
        let key = dir.path().join("ca.key");
        assert_eq!(key.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let again = Authority::open(dir.path()).unwrap();
        assert_eq!(certificate, std::fs::read_to_string(&path).unwrap());
        assert_eq!(first.issuer.key().serialize_pem(), again.issuer.key().serialize_pem());
        assert!(!certificate.contains("PRIVATE"));
    }

    #[test]
    fn certificates_are_made_once_a_host() {
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::open(dir.path()).unwrap();
        let long = format!("{}.example.com", "a".repeat(63));
        for host in ["api.example.com", "192.0.2.1", "2001:db8::1", &long] {
            let one = authority.certify(host).unwrap();
            assert!(Arc::ptr_eq(&one, &authority.certify(host).unwrap()), "{host}");
        }
    }
}
