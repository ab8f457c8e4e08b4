//! The API of Zonecert: what changed, and what is to be told.

use anyhow::Result;
use reqwest::header::{ETAG, IF_NONE_MATCH};
use reqwest::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use url::Url;
pub(crate) use zonecert_client::ApiError;
use zonecert_client::{Client, Words};

use crate::pair::{Pair, Version};

const SETTING: &str = "api_url";

const WORDS: Words = Words {
    user_agent: concat!("zonecert-agent/", env!("CARGO_PKG_VERSION")),
    setting: SETTING,
    unauthorized: "make a token with the scopes certificates:read, keys:read and deployments:write, and put it into token_file",
    not_found: "correct the certificate's id, or use a token of the account that has it",
};

/// What a client calls.
pub(crate) struct Api(Client);

/// What has come of a question for the files.
pub(crate) enum Download {
    /// What we have is the version in use.
    Unchanged,
    /// The version in use is another one.
    Changed {
        /// Of the answer, as it came.
        etag: String,
        /// What it holds.
        pair: Pair,
    },
}

/// What the API shows of a certificate, as far as we read it.
#[derive(Debug, Deserialize)]
pub(crate) struct Certificate {
    /// Its primary domain.
    pub(crate) domain: String,
    /// Whether there are files to be had.
    pub(crate) downloadable: bool,
    /// The version in use.
    pub(crate) current_version: Option<Version>,
}

/// What we tell.
#[derive(Clone, Debug, Default, Serialize, PartialEq, Eq)]
pub(crate) struct Report {
    /// SHA-256 of the leaf that the service shows.
    pub(crate) served_sha256: Option<String>,
    /// The same of the one in the files.
    pub(crate) installed_sha256: Option<String>,
    /// The version in the files.
    pub(crate) installed_version_id: Option<String>,
    /// Ours.
    pub(crate) agent_version: String,
    /// What went wrong.
    pub(crate) error: Option<String>,
}

impl Api {
    /// `base` as [`base_url`] has checked it.
    pub(crate) fn new(base: Url, token: &str) -> Result<Self> {
        Client::new(base, token, WORDS).map(Self)
    }

    /// The files of the version in use, unless it is the one with this `ETag`.
    pub(crate) async fn download(&self, id: &str, known: Option<&str>) -> Result<Download, ApiError> {
        let mut request = self.0.request(Method::GET, &format!("certificates/{id}/download"))?;
        if let Some(known) = known {
            request = request.header(IF_NONE_MATCH, known);
        }
        let response = self.0.send(request).await?;
        if response.status() == StatusCode::NOT_MODIFIED {
            return Ok(Download::Unchanged);
        }
        let etag = response.headers().get(ETAG).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let etag = etag.ok_or_else(|| self.0.unexpected("the API has sent files without an ETag"))?;
        let body = self.0.read(response).await?;
        let pair = serde_json::from_slice(&body).map_err(|_| self.0.unexpected("the API has sent files that cannot be read"))?;
        Ok(Download::Changed { etag, pair })
    }

    /// What the API shows of a certificate.
    pub(crate) async fn certificate(&self, id: &str) -> Result<Certificate, ApiError> {
        self.0.json(self.0.request(Method::GET, &format!("certificates/{id}"))?, "a certificate").await
    }

    /// Tells what this server does with a certificate.
    pub(crate) async fn report(&self, id: &str, target: &str, report: &Report) -> Result<(), ApiError> {
        let request = self.0.request(Method::PUT, &format!("certificates/{id}/deployments/{target}"))?;
        self.0.send(request.json(report)).await.map(drop)
    }
}

/// The base of all paths, from the `api_url` of the configuration.
pub(crate) fn base_url(text: &str) -> Result<Url> {
    zonecert_client::base_url(text, SETTING)
}
