//! The HTTP API of `PowerDNS` 4.7 (doc.powerdns.com, "Zones endpoint").

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, Instant};

use http::{HeaderValue, Method, StatusCode};
use serde::Deserialize;
use url::Url;
use zonecert_domain::failure::ProviderTrouble;

use super::failure::DnsFailure;
use super::nameservers::NameServers;
use super::zone::{MARK, RrSetChange, Zone, fqdn};
use crate::wait::pause;

/// Of one request, from connecting to the last byte of the answer.
const REQUEST_WITHIN: Duration = Duration::from_secs(5);

/// Of one call with its repetitions.
pub(super) const CALL_WITHIN: Duration = Duration::from_secs(10);

/// Before a call that was answered with a 5xx is repeated. Longer troubles are left to the caller's own rhythm.
const REPEAT_AFTER: [Duration; 2] = [Duration::from_millis(100), Duration::from_millis(400)];

/// Longest text of `PowerDNS` that is passed on.
const LONGEST_REASON: usize = 300;

const SOA_TTL_SECONDS: u32 = 3600;

/// The secret for the header `X-API-Key`.
#[derive(Clone)]
pub struct ApiKey(HeaderValue);

/// A text that cannot be an API key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an API key; give the value of api-key in PowerDNS' configuration, printable ASCII without spaces around it")]
pub struct ApiKeyError;

impl FromStr for ApiKey {
    type Err = ApiKeyError;

    fn from_str(text: &str) -> Result<Self, ApiKeyError> {
        let mut key = HeaderValue::from_str(text).map_err(|_| ApiKeyError)?;
        if text.is_empty() || text.trim() != text || key.to_str().is_err() {
            return Err(ApiKeyError);
        }
        // Keeps it out of what HTTP libraries log.
        key.set_sensitive(true);
        Ok(Self(key))
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(hidden)")
    }
}

/// One `PowerDNS`, over its HTTP API.
#[derive(Clone)]
pub struct PowerDns {
    client: reqwest::Client,
    server: Url,
    api_key: ApiKey,
}

impl fmt::Debug for PowerDns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PowerDns").field("server", &self.server.as_str()).finish_non_exhaustive()
    }
}

impl PowerDns {
    /// A client of the server `server_id` (`localhost`, unless a proxy says otherwise) at `api_url`, which is given without `/api/v1`.
    ///
    /// Errors when the URL cannot carry a path, or the operating system has no TLS roots.
    pub fn new(api_url: &Url, server_id: &str, api_key: ApiKey) -> Result<Self, DnsFailure> {
        let mut server = api_url.clone();
        server
            .path_segments_mut()
            .map_err(|()| DnsFailure::Malformed(format!("{api_url} is not the URL of an HTTP API")))?
            .pop_if_empty()
            .extend(["api", "v1", "servers", server_id]);
        let client = reqwest::Client::builder()
            .timeout(REQUEST_WITHIN)
            // It closes each connection after its answer.
            .pool_max_idle_per_host(0)
            .redirect(reqwest::redirect::Policy::none())
            // Our own part: a proxy for the outside is not the way to it.
            .no_proxy()
            .build()
            .map_err(|error| DnsFailure::Malformed(format!("no HTTP client: {}", chain(&error))))?;
        Ok(Self { client, server, api_key })
    }

    /// The version, such as `4.7.3`. Shows that address and key are right.
    pub async fn version(&self) -> Result<String, DnsFailure> {
        #[derive(Deserialize)]
        struct Server {
            version: String,
        }

        let answer = self.call(Method::GET, self.server.clone(), None, Instant::now() + CALL_WITHIN).await?;
        match answer.status {
            StatusCode::OK => answer.json::<Server>().map(|server| server.version),
            _ => Err(answer.refusal()),
        }
    }

    /// The zone with all its record sets, or `None` when there is no such zone.
    ///
    /// All, because a request for single names (`rrset_name`) leaves out disabled records, which the next change would then delete.
    pub(super) async fn find_zone(&self, dns_zone: &str, until: Instant) -> Result<Option<Zone>, DnsFailure> {
        let answer = self.call(Method::GET, self.zone_url(dns_zone), None, until).await?;
        match answer.status {
            StatusCode::OK => answer.json().map(Some),
            StatusCode::NOT_FOUND => Ok(None),
            _ => Err(answer.refusal()),
        }
    }

    /// Makes the zone, with our [`MARK`]. Fine when it is there already, whoever made it.
    pub(super) async fn create_zone(&self, dns_zone: &str, nameservers: &NameServers, until: Instant) -> Result<(), DnsFailure> {
        let body = serde_json::json!({
            "name": fqdn(dns_zone),
            "kind": "Native",
            "account": MARK,
            "nameservers": nameservers.names(),
            "rrsets": [{
                "name": fqdn(dns_zone),
                "type": "SOA",
                "ttl": SOA_TTL_SECONDS,
                "records": [{"content": nameservers.soa(dns_zone), "disabled": false}],
            }],
        });
        let answer = self.call(Method::POST, self.url(&["zones"]), Some(&body), until).await?;
        match answer.status {
            StatusCode::CREATED | StatusCode::CONFLICT => Ok(()),
            _ => Err(answer.refusal()),
        }
    }

    /// Makes all changes or none.
    pub(super) async fn change_zone(&self, dns_zone: &str, changes: &[RrSetChange], until: Instant) -> Result<(), DnsFailure> {
        let body = serde_json::json!({"rrsets": changes});
        let answer = self.call(Method::PATCH, self.zone_url(dns_zone), Some(&body), until).await?;
        match answer.status {
            status if status.is_success() => Ok(()),
            StatusCode::NOT_FOUND => Err(DnsFailure::ZoneMissing(dns_zone.to_owned())),
            _ => Err(answer.refusal()),
        }
    }

    /// Deletes the zone and all that is in it. Fine when it is not there.
    pub(super) async fn delete_zone(&self, dns_zone: &str, until: Instant) -> Result<(), DnsFailure> {
        let answer = self.call(Method::DELETE, self.zone_url(dns_zone), None, until).await?;
        match answer.status {
            status if status.is_success() || status == StatusCode::NOT_FOUND => Ok(()),
            _ => Err(answer.refusal()),
        }
    }

    fn url(&self, path: &[&str]) -> Url {
        let mut url = self.server.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.extend(path);
        }
        url
    }

    fn zone_url(&self, dns_zone: &str) -> Url {
        self.url(&["zones", &fqdn(dns_zone)])
    }

    /// One call. Where the server has trouble of its own it is repeated; what stays so is an error. No answer in time is not repeated: it would not come sooner.
    ///
    /// No request begins after `until`, whatever held this process up meanwhile: the caller's lease may be over.
    async fn call(&self, method: Method, url: Url, body: Option<&serde_json::Value>, until: Instant) -> Result<Answer, DnsFailure> {
        let repeated = async {
            let mut pauses = REPEAT_AFTER.into_iter();
            while Instant::now() < until {
                let answer = self.send(&method, &url, body).await?;
                if ProviderTrouble::from_status(answer.status.as_u16()) != ProviderTrouble::Broken {
                    return Ok(answer);
                }
                tracing::warn!(%method, path = url.path(), status = answer.status.as_u16(), body = answer.body, "PowerDNS has trouble");
                match pauses.next() {
                    Some(duration) => pause(duration).await,
                    None => return Err(DnsFailure::Broken(answer.status.as_u16())),
                }
            }
            Err(DnsFailure::Unreachable("no answer in time"))
        };
        tokio::time::timeout_at(until.into(), repeated).await.unwrap_or(Err(DnsFailure::Unreachable("no answer in time")))
    }

    async fn send(&self, method: &Method, url: &Url, body: Option<&serde_json::Value>) -> Result<Answer, DnsFailure> {
        let mut request = self.client.request(method.clone(), url.clone()).header("X-API-Key", self.api_key.0.clone());
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = async {
            let response = request.send().await?;
            Ok(Answer { status: response.status(), body: response.text().await? })
        };
        answer.await.map_err(|error: reqwest::Error| {
            tracing::warn!(%method, %url, error = chain(&error), "no answer from PowerDNS");
            DnsFailure::Unreachable(if error.is_timeout() {
                "no answer in time"
            } else if error.is_connect() {
                "no connection"
            } else {
                "the connection broke"
            })
        })
    }
}

struct Answer {
    status: StatusCode,
    body: String,
}

impl Answer {
    fn json<'a, T: Deserialize<'a>>(&'a self) -> Result<T, DnsFailure> {
        serde_json::from_str(&self.body).map_err(|error| DnsFailure::Malformed(error.to_string()))
    }

    /// What an answer means that is not the one that was hoped for.
    fn refusal(&self) -> DnsFailure {
        #[derive(Deserialize)]
        struct Problem {
            error: String,
        }

        let status = self.status.as_u16();
        match ProviderTrouble::from_status(status) {
            ProviderTrouble::Unauthorized => DnsFailure::Unauthorized,
            ProviderTrouble::Broken => DnsFailure::Broken(status),
            ProviderTrouble::Refused => {
                let reason = self.json::<Problem>().map_or_else(|_| self.status.to_string(), |problem| problem.error);
                DnsFailure::Refused(reason.chars().take(LONGEST_REASON).collect())
            }
            // Calls that are about a zone have said already which one is missing.
            _ => DnsFailure::Malformed(format!("status {}", self.status)),
        }
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    std::iter::successors(Some(error), |error| error.source()).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_api_key_is_in_no_debug_output() {
        let key: ApiKey = "s3cret".parse().unwrap();
        let client = PowerDns::new(&"http://127.0.0.1:1/".parse().unwrap(), "localhost", key.clone()).unwrap();
        assert!(!format!("{key:?} {client:?} {:?}", key.0).contains("s3cret"));
    }

    #[tokio::test]
    async fn no_request_begins_when_the_time_is_over() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let client = PowerDns::new(&url, "localhost", "k".parse().unwrap()).unwrap();
        let outcome = client.delete_zone("a.test", Instant::now()).await;
        assert_eq!(outcome, Err(DnsFailure::Unreachable("no answer in time")));
        listener.set_nonblocking(true).unwrap();
        assert!(listener.accept().is_err(), "nobody has connected");
    }

    #[test]
    fn a_key_that_no_header_can_carry_is_refused() {
        for text in ["", " key", "key\n", "clé"] {
            assert!(text.parse::<ApiKey>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn addresses_are_built_below_whatever_path_the_api_has() {
        let url = |base: &str| {
            let client = PowerDns::new(&base.parse().unwrap(), "localhost", "k".parse().unwrap()).unwrap();
            client.zone_url("A.test").to_string()
        };
        assert_eq!(url("http://dns:8081"), "http://dns:8081/api/v1/servers/localhost/zones/a.test.");
        assert_eq!(url("https://proxy/pdns/"), "https://proxy/pdns/api/v1/servers/localhost/zones/a.test.");
        assert!(PowerDns::new(&"mailto:dns".parse().unwrap(), "localhost", "k".parse().unwrap()).is_err());
    }
}
