//! Networks of IP addresses: from where a token may be used, which proxies are believed, whom guessing is counted against.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
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

/// What is not of the public Internet (IANA IPv4 Special-Purpose Address Registry, RFC 6890), with multicast (RFC 5771), relays of 6to4 (RFC 7526) and the
/// address at which Azure answers its guests.
const NOT_PUBLIC_IPV4: [(Ipv4Addr, u8); 18] = [
    (Ipv4Addr::UNSPECIFIED, 8),
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    (Ipv4Addr::new(168, 63, 129, 16), 32),
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 0, 0, 0), 24),
    (Ipv4Addr::new(192, 0, 2, 0), 24),
    (Ipv4Addr::new(192, 31, 196, 0), 24),
    (Ipv4Addr::new(192, 52, 193, 0), 24),
    (Ipv4Addr::new(192, 88, 99, 0), 24),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(192, 175, 48, 0), 24),
    (Ipv4Addr::new(198, 18, 0, 0), 15),
    (Ipv4Addr::new(198, 51, 100, 0), 24),
    (Ipv4Addr::new(203, 0, 113, 0), 24),
    (Ipv4Addr::new(224, 0, 0, 0), 3),
];

/// Of what is handed out of IPv6, `2000::/3` (RFC 4291 §2.4), what is not of the public Internet (IANA IPv6 Special-Purpose Address Registry): protocol
/// assignments with Teredo, documentation, 6to4, AS112, documentation again (RFC 9637). Unique-local, link-local, multicast and translated addresses lie outside of it.
const NOT_PUBLIC_IPV6: [(Ipv6Addr, u8); 5] = [
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32),
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16),
    (Ipv6Addr::new(0x2620, 0x4f, 0x8000, 0, 0, 0, 0, 0), 48),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20),
];

const PUBLIC_IPV6: (Ipv6Addr, u8) = (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);

/// Whether the address is one of the public Internet: neither ours nor anybody's private, loopback, link-local, shared, multicast, reserved or documentation
/// address. An IPv4 address within IPv6 is the IPv4 address.
pub fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => !NOT_PUBLIC_IPV4.iter().any(|&(first, bits)| Ipv4Net::new_assert(first, bits).contains(&address)),
        IpAddr::V6(address) => {
            let within = |&(first, bits): &(Ipv6Addr, u8)| Ipv6Net::new_assert(first, bits).contains(&address);
            within(&PUBLIC_IPV6) && !NOT_PUBLIC_IPV6.iter().any(within)
        }
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
    fn only_addresses_of_the_public_internet_are_public() {
        for public in [
            "1.1.1.1",
            "9.255.255.255",
            "100.63.255.255",
            "100.128.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.0",
            "223.255.255.255",
            "::ffff:8.8.8.8",
            "2606:4700::1111",
            "2a00::1",
            "2001:200::1",
        ] {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
        for other in [
            "0.0.0.0",
            "10.0.0.1",
            "100.64.0.1",
            "100.100.100.200",
            "127.0.0.1",
            "127.255.255.255",
            "168.63.129.16",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.192",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.0.1",
            "198.18.0.1",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::7f00:1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::7f00:1",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::1",
            "3fff::1",
            "5f00::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!is_public(other.parse().unwrap()), "{other}");
        }
    }

    #[test]
    fn a_subscriber_is_an_address_of_ipv4_or_64_bits_of_ipv6() {
        let of = |address: &str| Network::of_subscriber(address.parse().unwrap()).to_string();
        assert_eq!(of("192.0.2.77"), "192.0.2.77/32");
        assert_eq!(of("::ffff:192.0.2.77"), "192.0.2.77/32");
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::/64");
    }
}
