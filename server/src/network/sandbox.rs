//! A sandbox's network, from its record to its gateway.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::http::StatusCode;
use daytona_runtime::{
    CA_BUNDLE, CA_CERTIFICATE, Enforcement, Network, RuntimeError, RuntimeKind, SandboxSpec, Started,
};
use daytona_wire::environment::UpdateEnvRequest;

use super::outbound::{self, Proxy};
use super::{Gateway, Policy};
use crate::App;
use crate::error::{ApiError, ApiResult, code};
use crate::record::Record;
use crate::sandbox::Sandbox;

/// Where programs look for certificates that they trust, besides the system's places.
const TRUST: [(&str, &str); 5] = [
    ("CURL_CA_BUNDLE", CA_BUNDLE),
    ("GIT_SSL_CAINFO", CA_BUNDLE),
    ("NODE_EXTRA_CA_CERTS", CA_CERTIFICATE),
    ("REQUESTS_CA_BUNDLE", CA_BUNDLE),
    ("SSL_CERT_FILE", CA_BUNDLE),
];

impl App {
    /// Whether placeholders of secrets are replaced in what leaves a sandbox.
    pub(crate) fn replaces_placeholders(&self) -> bool {
        matches!(self.runtime.probe().limits.network, Enforcement::Enforced { .. })
    }

    /// A sandbox's variables: its own, placeholders, and what makes programs trust the server's authority where they
    /// would not trust it by themselves.
    pub(crate) fn environment(&self, record: &Record) -> BTreeMap<String, String> {
        let mut env = self.secrets.environment(record);
        if !record.secrets.is_empty() && self.replaces_placeholders() {
            for (name, path) in TRUST {
                if !record.unset_env.contains(name) {
                    env.entry(name.to_owned()).or_insert_with(|| path.to_owned());
                }
            }
        }
        if record.domain_allow_list.is_none() {
            env.extend(proxy_environment(record));
        }
        env
    }

    /// Tells a running sandbox's programs of its proxy, or no more, after its limits were changed.
    pub(crate) async fn tell_of_proxy(&self, sandbox: &Arc<Sandbox>, before: &Record) -> ApiResult<()> {
        let record = sandbox.snapshot();
        let limited = record.domain_allow_list.is_some();
        let Some(live) = sandbox.reachable().filter(|_| limited != before.domain_allow_list.is_some()) else {
            return Ok(());
        };
        let variables = proxy_environment(&record);
        if variables.is_empty() {
            return Ok(());
        }
        let change = if limited {
            UpdateEnvRequest { unset: variables.into_keys().collect(), ..UpdateEnvRequest::default() }
        } else {
            UpdateEnvRequest { set: variables, ..UpdateEnvRequest::default() }
        };
        crate::environment::tell(sandbox, &live, &change).await
    }

    /// The network a sandbox is started with.
    pub(crate) fn network(&self, record: &Record) -> Network {
        match &self.runtime.probe().limits.network {
            Enforcement::Enforced { .. } => Network::Wire,
            Enforcement::NotEnforced { .. } if record.network_block_all => Network::None,
            Enforcement::NotEnforced { .. } => Network::Host,
        }
    }

    /// Starts a sandbox and connects it.
    pub(crate) async fn run(
        &self,
        spec: SandboxSpec,
        policy: Policy,
    ) -> Result<(Started, Option<Gateway>), RuntimeError> {
        let id = spec.id.clone();
        let wanted = spec.network == Network::Wire;
        let mut started = self.runtime.create(spec).await?;
        let gateway = match started.wire.take() {
            Some(wire) => Gateway::start(wire, policy, &self.interceptor, self.host_services).map(Some),
            None if wanted => Err(std::io::ErrorKind::BrokenPipe.into()),
            None => Ok(None),
        };
        match gateway {
            Ok(gateway) => Ok((started, gateway)),
            Err(source) => {
                let _ = self.runtime.stop(&id, true).await;
                Err(RuntimeError::Io { what: "connect the sandbox's network".to_owned(), source })
            }
        }
    }

    /// Refuses limits that would not hold here. `running` is a sandbox whose network is made already.
    pub(crate) fn check_limits(&self, record: &Record, running: Option<&Record>) -> ApiResult<()> {
        let policy = policy(record)?;
        let Enforcement::NotEnforced { reason } = &self.runtime.probe().limits.network else {
            return Ok(());
        };
        let lists = policy.has_lists();
        let refuse = |what: &str, way_out: &str| {
            Err(ApiError::new(
                StatusCode::BAD_REQUEST,
                code::UNSUPPORTED_BY_RUNTIME,
                format!("{what}: this server cannot limit a sandbox's network: {reason}{way_out}"),
            ))
        };
        match self.runtime.kind() {
            RuntimeKind::Process if lists || policy.block_all => {
                let what = if lists { "networkAllowList, domainAllowList" } else { "networkBlockAll" };
                refuse(what, "; run it with --runtime ns where the machine allows that")
            }
            RuntimeKind::Ns | RuntimeKind::Docker if lists => {
                refuse("networkAllowList, domainAllowList", "; networkBlockAll works")
            }
            RuntimeKind::Ns | RuntimeKind::Docker
                if running.is_some_and(|before| before.network_block_all != record.network_block_all) =>
            {
                refuse("networkBlockAll", "; stop the sandbox, change it, and start it again")
            }
            _ => Ok(()),
        }
    }
}

/// The variables of a sandbox's proxy, but for those that have a value of their own. With a list of domains in force no
/// program gets them: the proxy would lead past it.
fn proxy_environment(record: &Record) -> BTreeMap<String, String> {
    let mut variables = record.outbound_proxy_url.as_deref().map(outbound::variables).unwrap_or_default();
    let own = |name: &String| {
        record.env.contains_key(name) || record.unset_env.contains(name) || record.secrets.contains_key(name)
    };
    variables.retain(|name, _| !own(name));
    variables
}

/// What a record says that its sandbox may reach; a list that makes no sense is the caller's fault.
pub(crate) fn policy(record: &Record) -> ApiResult<Policy> {
    let (networks, domains) = (record.network_allow_list.as_deref(), record.domain_allow_list.as_deref());
    let policy = Policy::new(record.network_block_all, networks, domains).map_err(ApiError::invalid)?;
    let proxy = record.outbound_proxy_url.as_deref().map(Proxy::parse).transpose().map_err(ApiError::invalid)?;
    Ok(policy.with_secrets(record.secrets.values().cloned().collect()).with_proxy(proxy))
}
