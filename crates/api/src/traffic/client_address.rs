//! From which address a request comes, also behind reverse proxies.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use actix_web::HttpRequest;
use actix_web::http::header::{FORWARDED, HeaderMap, X_FORWARDED_FOR};
use zonecert_domain::network::Network;

use super::{ForwardedHeader, TrafficSettings};

/// The address of whoever asks: that of the connection, unless it is a trusted proxy's; then the last address in its header that is not a trusted
/// proxy's either. What stands before it may have been written by anybody.
pub(crate) fn of(request: &HttpRequest, settings: &TrafficSettings) -> IpAddr {
    let peer = request.peer_addr().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |address| address.ip());
    behind_proxies(peer.to_canonical(), request.headers(), settings)
}

fn behind_proxies(peer: IpAddr, headers: &HeaderMap, settings: &TrafficSettings) -> IpAddr {
    if !is_trusted(peer, &settings.trusted_proxies) {
        return peer;
    }
    let hops = match settings.forwarded_header {
        ForwardedHeader::XForwardedFor => x_forwarded_for(headers),
        ForwardedHeader::Forwarded => forwarded(headers),
    };
    let mut nearest = peer;
    for hop in hops.into_iter().rev() {
        // A proxy that does not say for whom it asks is as far as we see.
        let Some(address) = hop else { break };
        nearest = address;
        if !is_trusted(address, &settings.trusted_proxies) {
            break;
        }
    }
    nearest
}

fn is_trusted(address: IpAddr, proxies: &[Network]) -> bool {
    proxies.iter().any(|network| network.contains(address))
}

/// Each hop from the farthest to the nearest; none where it cannot be read.
type Hops = Vec<Option<IpAddr>>;

fn x_forwarded_for(headers: &HeaderMap) -> Hops {
    elements(headers.get_all(X_FORWARDED_FOR)).map(|element| element.and_then(|text| address(&text))).collect()
}

/// RFC 7239 §4. A comma or a semicolon within quotes would be part of an address, where neither can be: whatever has one there is not read.
fn forwarded(headers: &HeaderMap) -> Hops {
    let hop = |element: String| {
        let value = element.split(';').find_map(|pair| {
            let (name, value) = pair.split_once('=')?;
            name.trim().eq_ignore_ascii_case("for").then_some(value.trim())
        })?;
        address(value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value))
    };
    elements(headers.get_all(FORWARDED)).map(|element| element.and_then(hop)).collect()
}

/// The elements of all lines, which are one list (RFC 9110 §5.3).
fn elements<'a>(lines: impl Iterator<Item = &'a actix_web::http::header::HeaderValue> + 'a) -> impl Iterator<Item = Option<String>> + 'a {
    lines.flat_map(|line| match line.to_str() {
        Ok(text) => text.split(',').map(|element| Some(element.trim().to_owned())).collect(),
        Err(_) => vec![None],
    })
}

/// An address, with or without a port: `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:80`.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse::<IpAddr>().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()));
    address.map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{HeaderName, HeaderValue};

    use super::*;

    fn of(header: ForwardedHeader, peer: &str, lines: &[(HeaderName, &str)]) -> String {
        let settings = TrafficSettings {
            trusted_proxies: ["10.0.0.0/8", "2001:db8:9::/48"].map(|network| network.parse().unwrap()).to_vec(),
            forwarded_header: header,
            ..TrafficSettings::default()
        };
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(name.clone(), HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        behind_proxies(peer.parse().unwrap(), &headers, &settings).to_string()
    }

    #[test]
    fn only_a_trusted_proxy_is_believed() {
        let line = [(X_FORWARDED_FOR, "192.0.2.1")];
        assert_eq!(of(ForwardedHeader::XForwardedFor, "203.0.113.7", &line), "203.0.113.7");
        assert_eq!(of(ForwardedHeader::XForwardedFor, "10.1.2.3", &line), "192.0.2.1");
        assert_eq!(of(ForwardedHeader::XForwardedFor, "10.1.2.3", &[]), "10.1.2.3");
    }

    #[test]
    fn the_client_is_the_last_address_that_is_no_proxys() {
        let of = |value: &str| of(ForwardedHeader::XForwardedFor, "10.0.0.1", &[(X_FORWARDED_FOR, value)]);
        assert_eq!(of("198.51.100.1, 192.0.2.1"), "192.0.2.1");
        assert_eq!(of("198.51.100.1, 192.0.2.1, 10.0.0.7, 2001:db8:9::1"), "192.0.2.1");
        assert_eq!(of("10.0.0.8, 10.0.0.7"), "10.0.0.8");
        assert_eq!(of("192.0.2.1:4711,10.0.0.7:80"), "192.0.2.1");
        assert_eq!(of("[2001:db8::1]:4711"), "2001:db8::1");
        assert_eq!(of("[2001:db8::1]"), "2001:db8::1");
        assert_eq!(of("::ffff:192.0.2.1"), "192.0.2.1");
    }

    #[test]
    fn what_cannot_be_read_hides_what_stands_before_it() {
        let of = |value: &str| of(ForwardedHeader::XForwardedFor, "10.0.0.1", &[(X_FORWARDED_FOR, value)]);
        assert_eq!(of("192.0.2.1, unknown"), "10.0.0.1");
        assert_eq!(of("192.0.2.1, unknown, 10.0.0.7"), "10.0.0.7");
        assert_eq!(of("192.0.2.1, é"), "10.0.0.1");
        assert_eq!(of(""), "10.0.0.1");
        assert_eq!(of("192.0.2.1,"), "10.0.0.1");
    }

    #[test]
    fn several_lines_are_one_list() {
        let lines = [(X_FORWARDED_FOR, "198.51.100.1"), (X_FORWARDED_FOR, "192.0.2.1, 10.0.0.7")];
        assert_eq!(of(ForwardedHeader::XForwardedFor, "10.0.0.1", &lines), "192.0.2.1");
    }

    #[test]
    fn the_header_that_is_not_set_is_not_read() {
        let both = [(X_FORWARDED_FOR, "198.51.100.1"), (FORWARDED, "for=192.0.2.1")];
        assert_eq!(of(ForwardedHeader::XForwardedFor, "10.0.0.1", &both), "198.51.100.1");
        assert_eq!(of(ForwardedHeader::Forwarded, "10.0.0.1", &both), "192.0.2.1");
    }

    #[test]
    fn forwarded_is_read_as_its_rfc_writes_it() {
        let of = |value: &str| of(ForwardedHeader::Forwarded, "10.0.0.1", &[(FORWARDED, value)]);
        assert_eq!(of("for=198.51.100.1, for=192.0.2.1;proto=https;by=10.0.0.7"), "192.0.2.1");
        assert_eq!(of("proto=https; For=\"[2001:db8:cafe::17]:4711\""), "2001:db8:cafe::17");
        assert_eq!(of("for=\"192.0.2.1:80\", for=10.0.0.7"), "192.0.2.1");
        assert_eq!(of("for=192.0.2.1, for=_hidden"), "10.0.0.1");
        assert_eq!(of("for=192.0.2.1, proto=https"), "10.0.0.1");
    }
}
