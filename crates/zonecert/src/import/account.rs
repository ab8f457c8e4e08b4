//! The account that certificates are imported into, as the API shows it.

use std::time::Duration;

use anyhow::{Context as _, Result};
use chrono::{DateTime, Utc};
use reqwest::{Method, RequestBuilder};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use url::Url;
use uuid::Uuid;
use zonecert_client::{ApiError, Client, Words};
use zonecert_import::Existing;
use zonecert_pki::upload::Upload;

use super::Imported;

const WORDS: Words = Words {
    user_agent: concat!("zonecert-import/", env!("CARGO_PKG_VERSION")),
    setting: "--api",
    unauthorized: "make a token with the scopes certificates:read and certificates:write, and give it by --token-file or ZONECERT_TOKEN",
    not_found: "it was deleted meanwhile; run the import again",
};

/// A request is sent as often, where the API is busy or away: many certificates at once meet its limits.
const ATTEMPTS: u32 = 6;

/// Where the API does not say when it wants to be asked again.
const PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_mins(2);

pub(super) struct Account(Client);

#[derive(Deserialize)]
struct Page {
    certificates: Vec<Certificate>,
}

#[derive(Deserialize)]
struct Certificate {
    id: String,
    kind: String,
    expires_at: Option<DateTime<Utc>>,
}

#[derive(Serialize)]
struct Body<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    certificate: &'a str,
    private_key: &'a str,
}

/// Of a certificate with what was said about it.
#[derive(Deserialize)]
struct Uploaded {
    certificate: Named,
    warnings: Vec<Warning>,
}

#[derive(Deserialize)]
struct Named {
    id: String,
}

#[derive(Deserialize)]
struct Warning {
    detail: String,
}

impl Account {
    pub(super) fn new(base: Url, token: &str) -> Result<Self> {
        Client::new(base, token, WORDS).map(Self)
    }

    /// The certificate that this filter finds first. `value` has no character that would mean something in a URL.
    pub(super) async fn find(&self, filter: &str, value: &str) -> Result<Option<Existing>> {
        let request = self.0.request(Method::GET, &format!("certificates?limit=1&{filter}={value}"))?;
        let page: Page = self.ask(request, "a list").await?;
        let existing = |found: Certificate| Existing { id: found.id, is_uploaded: found.kind == "uploaded", expires_at: found.expires_at };
        Ok(page.certificates.into_iter().next().map(existing))
    }

    /// As a new certificate, or as a version of one.
    pub(super) async fn upload(&self, version_of: Option<&str>, name: Option<&str>, upload: &Upload) -> Result<Imported> {
        let path = version_of.map_or_else(|| "certificates/upload".to_owned(), |id| format!("certificates/{id}/versions"));
        let (certificate, key) = (upload.chain.full_pem(), upload.key.to_pkcs8_pem()?);
        let body = Body { name, certificate: &certificate, private_key: &key };
        // What is sent again after an answer was lost is not done twice. A key of its own for each run: what was deleted since can be imported again.
        let request = self.0.request(Method::POST, &path)?.header("Idempotency-Key", Uuid::new_v4().to_string()).json(&body);
        let uploaded: Uploaded = self.ask(request, "a certificate").await?;
        Ok(Imported { id: uploaded.certificate.id, warnings: uploaded.warnings.into_iter().map(|warning| warning.detail).collect() })
    }

    async fn ask<T: DeserializeOwned>(&self, request: RequestBuilder, what: &str) -> Result<T> {
        let mut attempt = 1;
        loop {
            let again = request.try_clone().context("the request cannot be sent twice")?;
            match self.0.json(again, what).await {
                Err(error) if error.is_temporary && attempt < ATTEMPTS => wait(&error, attempt).await,
                answer => return Ok(answer?),
            }
            attempt += 1;
        }
    }
}

/// Longer each time, and as long as the API wants.
#[expect(clippy::disallowed_methods, reason = "the one pause of the command line")]
async fn wait(error: &ApiError, attempt: u32) {
    let pause = error.retry_after.unwrap_or(PAUSE * attempt).min(LONGEST_PAUSE);
    eprintln!("zonecert: {error}; going on in {} s", pause.as_secs());
    tokio::time::sleep(pause).await;
}
