//! HTTP clients for loopback: no proxy of the environment, no idle connection kept.
//!
//! A kept connection belongs to the runtime that opened it, and each test has its own.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use reqwest::{Certificate, Client, ClientBuilder};

fn builder() -> ClientBuilder {
    Client::builder().no_proxy().pool_max_idle_per_host(0).timeout(Duration::from_secs(15))
}

/// For plain HTTP.
pub(crate) fn plain() -> Result<Client> {
    // Without roots of its own the client would load the system's, which takes 20 ms and which a bare machine may not have.
    builder().tls_certs_only(Vec::<Certificate>::new()).build().context("cannot make an HTTP client")
}

/// For HTTPS with the one root in `ca_file` (PEM).
pub(crate) fn trusting(ca_file: &Path) -> Result<Client> {
    let pem = std::fs::read(ca_file).with_context(|| format!("cannot read {}", ca_file.display()))?;
    builder().tls_certs_only([Certificate::from_pem(&pem)?]).build().context("cannot make an HTTPS client")
}
