//! `PowerDNS` as tests see it: over its HTTP API (doc.powerdns.com, "Zones endpoint") and over DNS.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use hickory_resolver::proto::rr::{RData, RecordType};
use reqwest::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{dns, http_client, wait};

/// How long a change is repeated that `PowerDNS` answers with a 5xx: `SQLite` is "locked" while another writer is at work.
const REPEAT_WITHIN: Duration = Duration::from_secs(10);
const BEFORE_REPEATING: Duration = Duration::from_millis(50);
const TTL_SECONDS: u32 = 60;

/// How to reach one `PowerDNS`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PowerDns {
    api_port: u16,
    dns_port: u16,
    api_key: String,
}

/// A zone with all its records.
#[derive(Clone, Debug, Deserialize)]
pub struct Zone {
    /// With the final dot.
    pub name: String,
    /// Of the SOA record.
    pub serial: u64,
    /// All record sets, in no order.
    pub rrsets: Vec<RrSet>,
}

/// The records of one name and type.
#[derive(Clone, Debug, Deserialize)]
pub struct RrSet {
    /// With the final dot.
    pub name: String,
    /// `TXT`, `SOA`, …
    #[serde(rename = "type")]
    pub record_type: String,
    /// Seconds.
    pub ttl: u32,
    records: Vec<Record>,
}

#[derive(Clone, Debug, Deserialize)]
struct Record {
    content: String,
}

impl RrSet {
    /// The records' contents in presentation form: TXT in quotes, names with their final dot.
    pub fn contents(&self) -> Vec<&str> {
        self.records.iter().map(|record| record.content.as_str()).collect()
    }
}

impl PowerDns {
    pub(crate) fn new(api_port: u16, dns_port: u16, api_key: String) -> Self {
        Self { api_port, dns_port, api_key }
    }

    /// `http://127.0.0.1:<port>`, without the path `/api/v1`.
    pub fn api_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.api_port)
    }

    pub(crate) fn api_port(&self) -> u16 {
        self.api_port
    }

    /// For the header `X-API-Key`.
    pub fn api_key(&self) -> &str {
        &self.api_key
    }

    /// Where DNS is answered, by UDP and TCP.
    pub fn dns_address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.dns_port).into()
    }

    /// The version, such as `4.7.3`.
    pub async fn version(&self) -> Result<String> {
        let server = self.call(Method::GET, "", None).await?.context("PowerDNS has no server localhost")?;
        Ok(server["version"].as_str().unwrap_or_default().to_owned())
    }

    /// Creates a native zone with one NS record for each of `nameservers`.
    pub async fn create_zone(&self, zone: &str, nameservers: &[&str]) -> Result<()> {
        let nameservers: Vec<String> = nameservers.iter().map(|name| canonical(name)).collect();
        let body = json!({"name": canonical(zone), "kind": "Native", "nameservers": nameservers});
        self.call(Method::POST, "/zones", Some(body)).await?;
        Ok(())
    }

    /// Creates the zone unless it is there.
    pub async fn ensure_zone(&self, zone: &str, nameservers: &[&str]) -> Result<()> {
        match self.find_zone(zone).await? {
            Some(_) => Ok(()),
            None => self.create_zone(zone, nameservers).await,
        }
    }

    /// Deletes a zone with all its records. Fine when there is none.
    pub async fn delete_zone(&self, zone: &str) -> Result<()> {
        self.call(Method::DELETE, &zone_path(zone), None).await?;
        Ok(())
    }

    /// `None` when there is no such zone.
    pub async fn find_zone(&self, zone: &str) -> Result<Option<Zone>> {
        let answer = self.call(Method::GET, &zone_path(zone), None).await?;
        answer.map(serde_json::from_value).transpose().context("PowerDNS answered a zone of another shape")
    }

    /// The zone with all its records.
    pub async fn get_zone(&self, zone: &str) -> Result<Zone> {
        self.find_zone(zone).await?.with_context(|| format!("PowerDNS has no zone {zone}"))
    }

    /// Makes `contents` (presentation form) the whole record set; an empty list deletes it.
    pub async fn set_rrset(&self, zone: &str, name: &str, record_type: &str, contents: &[String]) -> Result<()> {
        let records: Vec<Value> = contents.iter().map(|content| json!({"content": content, "disabled": false})).collect();
        let change = if records.is_empty() { "DELETE" } else { "REPLACE" };
        let rrset = json!({"name": canonical(name), "type": record_type, "ttl": TTL_SECONDS, "changetype": change, "records": records});
        let answered = self.call(Method::PATCH, &zone_path(zone), Some(json!({"rrsets": [rrset]}))).await?;
        answered.map(drop).with_context(|| format!("PowerDNS has no zone {zone}"))
    }

    /// Adds one TXT value beside those that are there.
    pub async fn add_txt(&self, zone: &str, name: &str, value: &str) -> Result<()> {
        let mut values = self.txt_values(zone, name).await?;
        if !values.iter().any(|present| present == value) {
            values.push(value.to_owned());
        }
        self.set_txt(zone, name, &values).await
    }

    /// Makes `values` (unquoted) all the TXT records of `name`; an empty list deletes them.
    pub async fn set_txt(&self, zone: &str, name: &str, values: &[String]) -> Result<()> {
        let quoted: Vec<String> = values.iter().map(|value| quote(value)).collect();
        self.set_rrset(zone, name, "TXT", &quoted).await
    }

    /// The TXT values of `name` (unquoted) as the API says.
    pub async fn txt_values(&self, zone: &str, name: &str) -> Result<Vec<String>> {
        let name = canonical(name);
        let zone = self.get_zone(zone).await?;
        let rrsets = zone.rrsets.iter().filter(|rrset| rrset.name == name && rrset.record_type == "TXT");
        Ok(rrsets.flat_map(RrSet::contents).map(unquote).collect())
    }

    /// Every TXT value at an `_acme-challenge` name of the zone, as (name, unquoted value).
    pub async fn challenge_values(&self, zone: &str) -> Result<Vec<(String, String)>> {
        let zone = self.get_zone(zone).await?;
        let challenges = zone.rrsets.iter().filter(|rrset| rrset.record_type == "TXT" && rrset.name.starts_with("_acme-challenge."));
        Ok(challenges.flat_map(|rrset| rrset.contents().into_iter().map(|content| (rrset.name.clone(), unquote(content)))).collect())
    }

    /// How many SOA records the zone holds, as the API says. One is right.
    pub async fn count_soa_records(&self, zone: &str) -> Result<usize> {
        let zone = self.get_zone(zone).await?;
        Ok(zone.rrsets.iter().filter(|rrset| rrset.record_type == "SOA").map(|rrset| rrset.records.len()).sum())
    }

    /// How many SOA records are answered over DNS. One is right.
    pub async fn resolve_soa_count(&self, zone: &str) -> Result<usize> {
        let answer = dns::look_up(self.dns_address(), &canonical(zone), RecordType::SOA).await?;
        Ok(answer.answers.iter().filter(|record| matches!(record.data, RData::SOA(_))).count())
    }

    /// The TXT values of `name` over DNS, as a validating CA sees them.
    pub async fn resolve_txt(&self, name: &str) -> Result<Vec<String>> {
        let answer = dns::look_up(self.dns_address(), &canonical(name), RecordType::TXT).await?;
        let texts = answer.answers.iter().filter_map(|record| match &record.data {
            RData::TXT(txt) => Some(txt.txt_data.concat()),
            _ => None,
        });
        texts.map(|bytes| String::from_utf8(bytes).context("a TXT value is not UTF-8")).collect()
    }

    /// What is answered over DNS for `name` and a type such as `MX`, in presentation format and in order; nothing where there is no such name.
    pub async fn resolve(&self, name: &str, record_type: &str) -> Result<Vec<String>> {
        let record_type: RecordType = record_type.parse().ok().with_context(|| format!("{record_type} is no record type"))?;
        let answer = dns::look_up(self.dns_address(), &canonical(name), record_type).await?;
        let records = answer.answers.iter().filter(|record| record.record_type() == record_type);
        let mut contents: Vec<String> = records.map(|record| record.data.to_string()).collect();
        contents.sort_unstable();
        Ok(contents)
    }

    /// Fails unless both the API and the DNS port answer.
    pub(crate) async fn probe(&self) -> Result<()> {
        self.send(Method::GET, "", None).await?;
        dns::ask(self.dns_address(), "ready.invalid.", RecordType::SOA).await.map(drop)
    }

    /// One call; 404 is `None`, a 5xx is repeated.
    async fn call(&self, method: Method, path: &str, body: Option<Value>) -> Result<Option<Value>> {
        let deadline = Instant::now() + REPEAT_WITHIN;
        loop {
            let (status, text) = self.send(method.clone(), path, body.as_ref()).await?;
            if status == StatusCode::NOT_FOUND {
                return Ok(None);
            }
            if status.is_success() {
                return Ok(Some(serde_json::from_str(&text).unwrap_or(Value::Null)));
            }
            if !status.is_server_error() || Instant::now() >= deadline {
                bail!("PowerDNS answered {status} to {method} {path}: {text}");
            }
            wait::pause(BEFORE_REPEATING).await;
        }
    }

    async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Result<(StatusCode, String)> {
        let url = format!("{}/api/v1/servers/localhost{path}", self.api_url());
        let mut request = http_client::plain()?.request(method, &url).header("X-API-Key", &self.api_key);
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await.with_context(|| format!("no answer from PowerDNS at {url}"))?;
        Ok((response.status(), response.text().await?))
    }
}

fn zone_path(zone: &str) -> String {
    format!("/zones/{}", canonical(zone))
}

fn canonical(name: &str) -> String {
    if name.ends_with('.') { name.to_owned() } else { format!("{name}.") }
}

/// RFC 1035 §5.1: a character-string in quotes, where `"` and `\` are escaped.
fn quote(value: &str) -> String {
    format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
}

/// Joins the character-strings of one TXT record.
fn unquote(content: &str) -> String {
    let mut value = String::new();
    let (mut inside, mut characters) = (false, content.chars());
    while let Some(character) = characters.next() {
        match character {
            '"' => inside = !inside,
            '\\' => value.extend(characters.next()),
            other if inside => value.push(other),
            _ => {}
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use super::{quote, unquote};

    #[test]
    fn quoting_is_undone_by_unquoting() {
        for value in ["", "plain", r#"with "quotes" and \ in it"#] {
            assert_eq!(unquote(&quote(value)), value);
        }
    }

    #[test]
    fn the_strings_of_one_record_are_joined() {
        assert_eq!(unquote(r#""one " "two""#), "one two");
    }
}
