//! The name servers of the zones that we make.

use zonecert_domain::zone_name::ZoneName;

use super::zone::fqdn;

/// Seconds after which secondaries ask, ask again, and give up (RFC 1912 §2.2).
const REFRESH_RETRY_EXPIRE: &str = "10800 3600 604800";

/// How long resolvers remember that a name is not there (RFC 2308 §5): short, because challenges come and go.
const NEGATIVE_TTL_SECONDS: u32 = 60;

/// NS names of the zones that we make in `PowerDNS`; the first is named in the SOA too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameServers(Vec<String>);

/// A setting that names no name servers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameServersError {
    /// A zone cannot be without them.
    #[error("no name server given; name at least one, such as ns1.example.com")]
    None,
    /// One of them is no host name.
    #[error("{0:?} is not the host name of a name server; write it like ns1.example.com")]
    Invalid(String),
}

impl NameServers {
    /// Reads host names, with or without their final dot.
    pub fn parse<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self, NameServersError> {
        let parse = |name: &str| ZoneName::platform(name.trim()).map_err(|_| NameServersError::Invalid(name.to_owned()));
        let names = names.into_iter().map(|name| parse(name).map(|name| name.fqdn())).collect::<Result<Vec<_>, _>>()?;
        if names.is_empty() { Err(NameServersError::None) } else { Ok(Self(names)) }
    }

    /// Whether all that is named is ours, and something is: whoever made it so controls the zone and wants it here. Names are without their final dots.
    pub fn are_named_by<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> bool {
        let mut names = names.into_iter().peekable();
        names.peek().is_some() && names.all(|name| self.0.contains(&fqdn(name)))
    }

    /// The names, with their final dots.
    pub(super) fn names(&self) -> &[String] {
        &self.0
    }

    /// The content of a SOA record. `PowerDNS` counts the serial up from 0 by itself.
    pub(super) fn soa(&self, dns_zone: &str) -> String {
        format!("{} hostmaster.{} 0 {REFRESH_RETRY_EXPIRE} {NEGATIVE_TTL_SECONDS}", self.0[0], fqdn(dns_zone))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_get_their_final_dot_and_the_first_is_in_the_soa() {
        let servers = NameServers::parse(["ns1.Example.com", " ns2.example.com."]).unwrap();
        assert_eq!(servers.names(), ["ns1.example.com.", "ns2.example.com."]);
        assert_eq!(servers.soa("a.test"), "ns1.example.com. hostmaster.a.test. 0 10800 3600 604800 60");
    }

    #[test]
    fn a_zone_is_pointed_at_us_when_it_names_us_and_nobody_else() {
        let servers = NameServers::parse(["ns1.example.com", "ns2.example.com"]).unwrap();
        assert!(servers.are_named_by(["NS2.example.com"]) && servers.are_named_by(["ns1.example.com", "ns2.example.com"]));
        assert!(!servers.are_named_by([]) && !servers.are_named_by(["ns1.example.com", "ns.elsewhere.com"]));
    }

    #[test]
    fn nothing_and_nonsense_are_refused() {
        assert_eq!(NameServers::parse([]), Err(NameServersError::None));
        assert_eq!(NameServers::parse(["ns 1"]), Err(NameServersError::Invalid("ns 1".to_owned())));
        assert!(NameServers::parse([""]).is_err());
    }
}
