//! How to reach Pebble, and what can be asked of it.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};

use super::proxy::{NEW_ORDER_PATH, SEEN_PATH};
use super::seen::{OrderSeen, Seen};
use crate::http_client;

/// How to reach one Pebble, through the proxy that stands before it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Pebble {
    proxy_port: u16,
    management_port: u16,
    ca_file: PathBuf,
}

impl Pebble {
    pub(super) fn new(proxy_port: u16, management_port: u16, ca_file: PathBuf) -> Self {
        Self { proxy_port, management_port, ca_file }
    }

    pub(super) fn proxy_port(&self) -> u16 {
        self.proxy_port
    }

    /// PEM root that signed the HTTPS certificates of proxy and Pebble. It signs no certificate that Pebble issues.
    pub fn ca_file(&self) -> &Path {
        &self.ca_file
    }

    /// The ACME directory (RFC 8555 §7.1.1).
    pub fn directory_url(&self) -> String {
        format!("https://127.0.0.1:{}/dir", self.proxy_port)
    }

    /// The root of the certificates that Pebble issues. Another one after each start.
    pub async fn root_certificate_pem(&self) -> Result<String> {
        self.get(&self.management_url("/roots/0")).await
    }

    /// What Pebble says about the certificate with this serial number (hexadecimal): its `Status` is `Valid` or `Revoked`.
    pub async fn certificate_status(&self, serial_hex: &str) -> Result<serde_json::Value> {
        let text = self.get(&self.management_url(&format!("/cert-status-by-serial/{serial_hex}"))).await?;
        serde_json::from_str(&text).with_context(|| format!("Pebble answered no JSON: {text}"))
    }

    /// All that the proxy has seen since the stack was started, restarts of Pebble included.
    pub async fn seen(&self) -> Result<Seen> {
        let text = self.get(&format!("https://127.0.0.1:{}{SEEN_PATH}", self.proxy_port)).await?;
        serde_json::from_str(&text).with_context(|| format!("the proxy answered no JSON: {text}"))
    }

    /// The orders that Pebble has accepted, oldest first. Tests that share a stack pick theirs by name: see [`Seen::orders_for`].
    pub async fn orders_seen(&self) -> Result<Vec<OrderSeen>> {
        Ok(self.seen().await?.orders)
    }

    /// Fails unless the directory leads through the proxy, by the path that the proxy knows, and the management port answers.
    pub(super) async fn probe(&self) -> Result<()> {
        let directory: serde_json::Value = serde_json::from_str(&self.get(&self.directory_url()).await?)?;
        let expected = format!("https://127.0.0.1:{}{NEW_ORDER_PATH}", self.proxy_port);
        ensure!(directory["newOrder"] == expected, "this Pebble's newOrder is {}, not {expected}: another version?", directory["newOrder"]);
        self.root_certificate_pem().await.map(drop)
    }

    fn management_url(&self, path: &str) -> String {
        format!("https://127.0.0.1:{}{path}", self.management_port)
    }

    async fn get(&self, url: &str) -> Result<String> {
        let answer = http_client::trusting(&self.ca_file)?.get(url).send().await.with_context(|| format!("no answer from {url}"))?;
        let status = answer.status();
        let text = answer.text().await?;
        ensure!(status.is_success(), "{url} answered {status}: {text}");
        Ok(text)
    }
}
