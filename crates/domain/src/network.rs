//! Networks of IP addresses: from where a token may be used, which proxies are believed, whom guessing is counted against.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// A network, written as its first address and the length of its prefix: `192.0.2.0/24`, `2001:db8::/32`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Network(IpNet);

/// A text that is no network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a network; give one as 192.0.2.0/24 or 2001:db8::/32, or a single address")]
pub struct NetworkError;

impl NetworkError {
    /// The stable code in problem documents.
    pub const fn code(self) -> &'static str {
        "cidr_invalid"
    }
}

impl Network {
    /// The network of one subscriber, as far as an address tells: the address itself of IPv4, the first 64 bits of IPv6 (RFC 6177), which one
    /// host alone has at its disposal.
    pub fn of_subscriber(address: IpAddr) -> Self {
        let network = match address.to_canonical() {
            IpAddr::V4(address) => Ipv4Net::from(address).into(),
            IpAddr::V6(address) => Ipv6Net::new_assert(address, 64).trunc().into(),
        };
        Self(network)
    }

    /// Whether the address is in it. An IPv4 address within IPv6 (`::ffff:192.0.2.1`) is the IPv4 address.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    /// Reads a network or a single address. Bits behind the prefix are dropped, and IPv4 within IPv6 becomes IPv4.
    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let network = if text.contains('/') {
            text.parse::<IpNet>().map_err(|_| NetworkError)?
        } else {
            text.parse::<IpAddr>().map_err(|_| NetworkError)?.into()
        };
        let network = match network {
            IpNet::V6(mapped) if mapped.prefix_len() >= 96 && mapped.addr().to_ipv4_mapped().is_some() => {
                let address = mapped.addr().to_ipv4_mapped().ok_or(NetworkError)?;
                Ipv4Net::new(address, mapped.prefix_len() - 96).map_err(|_| NetworkError)?.into()
            }
            other => other,
        };
        Ok(Self(network.trunc()))
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl serde::Serialize for Network {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_normalised() {
        for (given, normal) in [
            ("192.0.2.0/24", "192.0.2.0/24"),
            ("192.0.2.77/24", "192.0.2.0/24"),
            ("192.0.2.77", "192.0.2.77/32"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("2001:DB8:0::1", "2001:db8::1/128"),
            ("2001:db8:ffff::/32", "2001:db8::/32"),
            ("::/0", "::/0"),
            ("::ffff:192.0.2.77", "192.0.2.77/32"),
            ("::ffff:192.0.2.77/120", "192.0.2.0/24"),
            ("::ffff:192.0.2.77/95", "::fffe:0:0/95"),
        ] {
            assert_eq!(given.parse::<Network>().unwrap().to_string(), normal, "{given}");
        }
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in [
            "",
            "/",
            "x",
            "192.0.2.0/33",
            "192.0.2.0/-1",
            "192.0.2.0/+8",
            "192.0.2.0/",
            "192.0.2/24",
            "192.0.2.0 /24",
            " 192.0.2.0",
            "2001:db8::/129",
            "fe80::1%eth0",
            "192.0.2.0/255.255.255.0",
            "192.0.2.1:80",
            "[2001:db8::1]",
            "example.test",
        ] {
            assert_eq!(text.parse::<Network>(), Err(NetworkError), "{text}");
        }
    }

    #[test]
    fn an_address_is_in_its_network_however_it_is_written() {
        let contains = |network: &str, address: &str| network.parse::<Network>().unwrap().contains(address.parse().unwrap());
        assert!(contains("192.0.2.0/24", "192.0.2.255"));
        assert!(contains("192.0.2.0/24", "::ffff:192.0.2.255"));
        assert!(!contains("192.0.2.0/24", "192.0.3.0"));
        assert!(contains("2001:db8::/32", "2001:db8:ffff::1"));
        assert!(!contains("2001:db8::/32", "2001:db9::1"));
        assert!(!contains("::/0", "192.0.2.1"));
        assert!(!contains("0.0.0.0/0", "2001:db8::1"));
    }

    #[test]
    fn a_subscriber_is_an_address_of_ipv4_or_64_bits_of_ipv6() {
        let of = |address: &str| Network::of_subscriber(address.parse().unwrap()).to_string();
        assert_eq!(of("192.0.2.77"), "192.0.2.77/32");
        assert_eq!(of("::ffff:192.0.2.77"), "192.0.2.77/32");
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::/64");
    }
}
