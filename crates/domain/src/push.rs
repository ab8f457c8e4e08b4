//! Push targets (requirements S0.5): Cert Warden clients that are sent the version in use of a certificate (`docs/adr/0030-push.md`).

use url::Url;

use crate::webhook::{Destinations, UrlError};

/// Where a client listens, unless it was told otherwise.
pub const DEFAULT_PORT: u16 = 5055;

/// Where a client takes a certificate.
pub const INSTALL_PATH: &str = "/certwardenclient/api/v1/install";

/// Most characters of an address: a host name of 253, a colon and a port.
pub const MAX_ADDRESS_CHARACTERS: usize = 259;

/// Why an address is not one that is pushed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// It is none, or too long.
    #[error("give host and port of the client, as web1.your-domain.com:{DEFAULT_PORT}, of at most {MAX_ADDRESS_CHARACTERS} characters")]
    Malformed,
    /// Nobody outside can reach it, or it is not to be reached.
    #[error("the host must be one of the public Internet")]
    NotPublic,
}

impl AddressError {
    /// The stable code in problem documents.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Malformed => "address_invalid",
            Self::NotPublic => "address_not_public",
        }
    }
}

impl Destinations {
    /// The URL of the client at `host` or `host:port`. As in [`Self::parse`], a name is not looked up.
    pub fn parse_address(&self, text: &str) -> Result<Url, AddressError> {
        let allowed = |character: char| !character.is_whitespace() && !character.is_control() && !"/\\?#@%".contains(character);
        let is_text = !text.is_empty() && text.chars().count() <= MAX_ADDRESS_CHARACTERS && text.chars().all(allowed);
        if !is_text || text.ends_with(':') {
            return Err(AddressError::Malformed);
        }
        let has_port = text.contains(':') && !text.ends_with(']');
        let port = if has_port { String::new() } else { format!(":{DEFAULT_PORT}") };
        self.parse(&format!("https://{text}{port}{INSTALL_PATH}")).map_err(|error| match error {
            UrlError::NotPublic => AddressError::NotPublic,
            UrlError::Malformed | UrlError::NotHttps | UrlError::Credentials => AddressError::Malformed,
        })
    }
}

/// Host and port of a client's URL, as people give them.
pub fn address(url: &str) -> String {
    let url = Url::parse(url).ok();
    let parts = url.as_ref().and_then(|url| Some((url.host_str()?, url.port_or_known_default()?)));
    parts.map_or_else(String::new, |(host, port)| format!("{host}:{port}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_with_or_without_a_port() {
        let nobody = Destinations::default();
        for (given, shown) in [
            ("web1.example.com", "web1.example.com:5055"),
            ("web1.example.com:5055", "web1.example.com:5055"),
            ("WEB1.example.com:443", "web1.example.com:443"),
            ("1.1.1.1", "1.1.1.1:5055"),
            ("[2606:4700::1111]", "[2606:4700::1111]:5055"),
            ("[2606:4700::1111]:8443", "[2606:4700::1111]:8443"),
        ] {
            let url = nobody.parse_address(given).unwrap();
            assert_eq!((url.scheme(), url.path()), ("https", INSTALL_PATH), "{given}");
            assert_eq!(address(url.as_str()), shown);
            assert_eq!(nobody.parse_address(shown), Ok(url), "{given}");
        }
    }

    #[test]
    fn what_is_no_address_or_leads_inside_is_refused() {
        let nobody = Destinations::default();
        let long = format!("{}.example.com", "a".repeat(MAX_ADDRESS_CHARACTERS));
        for bad in [
            "",
            ":",
            "web1.example.com:",
            ":5055",
            "web1.example.com:0",
            "web1.example.com:65536",
            "web1.example.com:https",
            "https://web1.example.com",
            "web1.example.com/a",
            "web1.example.com?a",
            "web1.example.com#a",
            "ada@web1.example.com",
            "web1 .example.com",
            "2606:4700::1111",
            "[2606:4700::1111]:",
            "web1.example.com\\a",
            "web1%2eexample.com",
            &long,
        ] {
            assert_eq!(nobody.parse_address(bad), Err(AddressError::Malformed), "{bad}");
        }
        for inside in ["127.0.0.1", "127.0.0.1:5055", "[::1]", "10.0.0.1", "localhost", "web1", "2130706433", "169.254.169.254:80"] {
            assert_eq!(nobody.parse_address(inside), Err(AddressError::NotPublic), "{inside}");
        }
        let ours = Destinations::new(vec!["127.0.0.0/8".parse().unwrap()]);
        assert!(ours.parse_address("127.0.0.1:5055").is_ok());
        assert_eq!(ours.parse_address("10.0.0.1"), Err(AddressError::NotPublic));
    }
}
