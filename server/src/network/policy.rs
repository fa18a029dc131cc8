//! What a sandbox may reach.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::outbound::Proxy;

/// Networks in one list, at most.
const MAX_NETWORKS: usize = 10;
/// Domains in one list, at most.
const MAX_DOMAINS: usize = 100;

/// The limits of one sandbox's network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Policy {
    pub(crate) block_all: bool,
    networks: Vec<Network>,
    domains: Vec<Domain>,
    /// Ids of the secrets whose values may leave the sandbox, each to its own hosts.
    secrets: Vec<String>,
    proxy: Option<Arc<Proxy>>,
}

impl Policy {
    /// From the lists as the API gives them; the error names the entry that is wrong.
    pub(crate) fn new(block_all: bool, networks: Option<&str>, domains: Option<&str>) -> Result<Self, String> {
        Ok(Self {
            block_all,
            networks: entries("networkAllowList", networks, MAX_NETWORKS, Network::parse)?,
            domains: entries("domainAllowList", domains, MAX_DOMAINS, Domain::parse)?,
            secrets: Vec::new(),
            proxy: None,
        })
    }

    pub(super) fn with_secrets(mut self, ids: Vec<String>) -> Self {
        self.secrets = ids;
        self
    }

    pub(super) fn with_proxy(mut self, proxy: Option<Proxy>) -> Self {
        self.proxy = proxy.map(Arc::new);
        self
    }

    /// The proxy that web traffic is made to take: without a list of domains it is up to programs.
    pub(super) fn proxy(&self) -> Option<&Arc<Proxy>> {
        self.proxy.as_ref().filter(|_| !self.domains.is_empty())
    }

    pub(super) fn secrets(&self) -> &[String] {
        &self.secrets
    }

    /// Whether there is a list of what may be reached.
    pub(crate) fn has_lists(&self) -> bool {
        !self.networks.is_empty() || !self.domains.is_empty()
    }

    /// Whether this name may be looked up. With networks alone all names may: nothing else finds their addresses.
    pub(super) fn allows_name(&self, name: &str) -> bool {
        !self.block_all && (self.domains.is_empty() || self.domains.iter().any(|domain| domain.has(name)))
    }

    /// Whether this address may be reached; `known` are the names it was the answer for.
    pub(super) fn allows(&self, address: Ipv4Addr, known: &Answers) -> bool {
        if self.block_all || !routable(address) {
            return false;
        }
        if address.is_link_local() {
            // Where clouds give out credentials: only when somebody means it.
            return self.networks.iter().any(|network| network.bits >= 16 && network.has(address));
        }
        !self.has_lists()
            || self.networks.iter().any(|network| network.has(address))
            || known.names(address).any(|name| self.domains.iter().any(|domain| domain.has(name)))
    }
}

/// Whether an address can be that of another machine.
fn routable(address: Ipv4Addr) -> bool {
    let first = address.octets()[0];
    first != 0 && !address.is_loopback() && first < 224
}

fn entries<T>(
    field: &str,
    list: Option<&str>,
    limit: usize,
    parse: fn(&str) -> Result<T, &'static str>,
) -> Result<Vec<T>, String> {
    let Some(list) = list.filter(|list| !list.trim().is_empty()) else {
        return Ok(Vec::new());
    };
    let found = list
        .split(',')
        .map(str::trim)
        .map(|entry| parse(entry).map_err(|reason| format!("{field}: {entry:?} {reason}")));
    let found = found.collect::<Result<Vec<T>, String>>()?;
    if found.len() > limit {
        return Err(format!("{field} has {} entries; at most {limit} are possible", found.len()));
    }
    Ok(found)
}

/// A network in CIDR notation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Network {
    address: u32,
    bits: u32,
}

impl Network {
    fn parse(text: &str) -> Result<Self, &'static str> {
        const REASON: &str = "is no IPv4 network in CIDR notation, e.g. 192.0.2.0/24 or 192.0.2.7/32";
        let (address, bits) = text.split_once('/').ok_or(REASON)?;
        let address: Ipv4Addr = address.parse().map_err(|_| REASON)?;
        let digits = !bits.is_empty() && bits.bytes().all(|byte| byte.is_ascii_digit());
        let bits = bits.parse().ok().filter(|bits| digits && *bits <= 32).ok_or(REASON)?;
        Ok(Self { address: address.to_bits(), bits })
    }

    fn has(self, address: Ipv4Addr) -> bool {
        let mask = u32::MAX.checked_shl(32 - self.bits).unwrap_or(0);
        (self.address ^ address.to_bits()) & mask == 0
    }
}

/// A domain, or all below one.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Domain {
    One(String),
    /// With the dot: `.example.com`.
    Below(String),
}

impl Domain {
    fn parse(text: &str) -> Result<Self, &'static str> {
        let text = text.to_ascii_lowercase();
        if text.parse::<std::net::IpAddr>().is_ok() || text.contains('/') {
            return Err("is no domain; addresses go into networkAllowList");
        }
        let wildcard = text.strip_prefix("*.");
        let name = wildcard.unwrap_or(&text);
        let name = name.strip_suffix('.').unwrap_or(name);
        let letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        let label = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(letter)
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        if name.len() > 253 || !name.split('.').all(label) {
            return Err("is no domain, e.g. example.com or *.example.com (other alphabets as xn--...)");
        }
        Ok(if wildcard.is_some() { Self::Below(format!(".{name}")) } else { Self::One(name.to_owned()) })
    }

    /// `name` is in lower case, without a dot at its end.
    fn has(&self, name: &str) -> bool {
        match self {
            Self::One(domain) => name == domain,
            Self::Below(domain) => name.len() > domain.len() && name.ends_with(domain),
        }
    }
}

/// Addresses remembered, at most; the ones that end first are forgotten first.
const MAX_ANSWERS: usize = 4096;
/// Programs keep what they have looked up longer than they should.
const SHORTEST_LIFE: Duration = Duration::from_secs(60);
const LONGEST_LIFE: Duration = Duration::from_secs(24 * 60 * 60);

/// The answers that the sandbox was given by DNS.
#[derive(Debug, Default)]
pub(super) struct Answers {
    by_address: HashMap<Ipv4Addr, Vec<(String, Instant)>>,
    count: usize,
}

impl Answers {
    /// Notes that `name` has this address for `ttl` seconds.
    pub(super) fn add(&mut self, name: &str, address: Ipv4Addr, ttl: u32) {
        let life = Duration::from_secs(ttl.into()).clamp(SHORTEST_LIFE, LONGEST_LIFE);
        let until = Instant::now() + life;
        let names = self.by_address.entry(address).or_default();
        if let Some((_, end)) = names.iter_mut().find(|(known, _)| known == name) {
            *end = until.max(*end);
            return;
        }
        names.push((name.to_owned(), until));
        self.count += 1;
        if self.count > MAX_ANSWERS {
            self.forget();
        }
    }

    /// The names that led to this address and still do.
    pub(super) fn names(&self, address: Ipv4Addr) -> impl Iterator<Item = &str> {
        let now = Instant::now();
        let names = self.by_address.get(&address).into_iter().flatten();
        names.filter(move |(_, until)| *until > now).map(|(name, _)| name.as_str())
    }

    /// Forgets the half that ends first.
    fn forget(&mut self) {
        let mut ends: Vec<Instant> = self.by_address.values().flatten().map(|(_, until)| *until).collect();
        let half = ends.len() / 2;
        let (_, median, _) = ends.select_nth_unstable(half);
        let median = *median;
        self.by_address.retain(|_, names| {
            names.retain(|(_, until)| *until > median);
            !names.is_empty()
        });
        self.count = self.by_address.values().map(Vec::len).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(networks: &str, domains: &str) -> Policy {
        Policy::new(false, Some(networks), Some(domains)).unwrap()
    }

    fn ip(text: &str) -> Ipv4Addr {
        text.parse().unwrap()
    }

    #[test]
    fn without_limits_other_machines_are_reached() {
        let (policy, none) = (policy("", " "), Answers::default());
        assert!(!policy.has_lists());
        assert!(policy.allows(ip("192.0.2.1"), &none) && policy.allows_name("example.com"));
        for never in ["127.0.0.1", "0.0.0.0", "169.254.169.254", "224.0.0.1", "255.255.255.255"] {
            assert!(!policy.allows(ip(never), &none), "{never}");
        }
    }

    #[test]
    fn networks_are_masked() {
        let (policy, none) = (policy("192.168.1.0/16, 10.0.0.0/24,203.0.113.9/32", ""), Answers::default());
        for inside in ["192.168.255.1", "10.0.0.255", "203.0.113.9"] {
            assert!(policy.allows(ip(inside), &none), "{inside}");
        }
        for outside in ["192.169.0.1", "10.0.1.0", "203.0.113.8"] {
            assert!(!policy.allows(ip(outside), &none), "{outside}");
        }
        assert!(policy.allows_name("example.com"));
    }

    #[test]
    fn everything_is_not_the_metadata_service() {
        let none = Answers::default();
        assert!(policy("0.0.0.0/0", "").allows(ip("8.8.8.8"), &none));
        assert!(!policy("0.0.0.0/0", "").allows(ip("169.254.169.254"), &none));
        assert!(policy("169.254.169.254/32", "").allows(ip("169.254.169.254"), &none));
    }

    #[test]
    fn names_lead_to_addresses() {
        let policy = policy("198.51.100.0/24", "example.com,*.Example.org.");
        let mut known = Answers::default();
        assert!(policy.allows_name("example.com") && !policy.allows_name("www.example.com"));
        assert!(policy.allows_name("a.b.example.org") && !policy.allows_name("example.org"));
        assert!(!policy.allows_name("badexample.org") && !policy.allows_name(".example.org"));
        assert!(!policy.allows(ip("192.0.2.1"), &known) && policy.allows(ip("198.51.100.1"), &known));
        known.add("example.com", ip("192.0.2.1"), 0);
        known.add("other.net", ip("192.0.2.2"), 300);
        assert!(policy.allows(ip("192.0.2.1"), &known) && !policy.allows(ip("192.0.2.2"), &known));
    }

    #[test]
    fn blocking_wins() {
        let policy = Policy::new(true, Some("0.0.0.0/0"), None).unwrap();
        assert!(!policy.allows(ip("192.0.2.1"), &Answers::default()) && !policy.allows_name("example.com"));
    }

    #[test]
    fn bad_entries_are_named() {
        for (networks, domains, named) in [
            ("10.0.0.0/8,10.0.0.1", "", "\"10.0.0.1\""),
            ("10.0.0.0/33", "", "10.0.0.0/33"),
            ("10.0.0.0/+8", "", "10.0.0.0/+8"),
            ("::/0", "", "::/0"),
            ("10.0.0.0/8,", "", "\"\""),
            ("", "exa mple.com", "exa mple.com"),
            ("", "*", "\"*\""),
            ("", "*.*.com", "*.*.com"),
            ("", "-a.com", "-a.com"),
            ("", "192.0.2.1", "networkAllowList"),
            ("", "bücher.de", "xn--"),
        ] {
            let error = Policy::new(false, Some(networks), Some(domains)).unwrap_err();
            assert!(error.contains(named), "{error}");
        }
        let many = ["10.0.0.0/8"; 11].join(",");
        assert!(Policy::new(false, Some(&many), None).unwrap_err().contains("at most 10"));
    }

    #[test]
    fn answers_are_bounded() {
        let mut known = Answers::default();
        for number in 0..10_000_u32 {
            known.add("example.com", Ipv4Addr::from_bits(number), number);
        }
        assert!(known.count <= MAX_ANSWERS);
        assert_eq!(known.names(Ipv4Addr::from_bits(9999)).count(), 1);
    }
}
