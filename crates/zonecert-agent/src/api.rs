//! The API of Zonecert: what changed, and what is to be told.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use reqwest::header::{AUTHORIZATION, ETAG, HeaderMap, HeaderValue, IF_NONE_MATCH, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde::{Deserialize, Serialize};
use url::{Host, Url};
use zeroize::Zeroizing;

use crate::pair::{Pair, Version};

/// Of one request, from connecting to the last byte.
const REQUEST_WITHIN: Duration = Duration::from_mins(1);
const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// More of an answer is not read. A certificate of 100 names with its chain has some 20 kB.
const MAX_BYTES: usize = 1024 * 1024;

/// What a client calls.
pub(crate) struct Api {
    http: reqwest::Client,
    base: Url,
    credential: HeaderValue,
}

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

/// Why the API has not done what was asked.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub(crate) struct ApiError {
    text: String,
    /// It may go better without anybody's doing.
    pub(crate) is_temporary: bool,
    /// The API answers us, and so can be told what this server does.
    pub(crate) can_be_told: bool,
    /// When the API wants to be asked again.
    pub(crate) retry_after: Option<Duration>,
}

/// A problem document (RFC 9457).
#[derive(Deserialize)]
struct Problem {
    code: String,
    detail: String,
}

impl Api {
    /// `base` as [`base_url`] has checked it.
    pub(crate) fn new(base: Url, token: &str) -> Result<Self> {
        let mut credential = HeaderValue::from_str(&format!("Bearer {token}"))
            .context("the API token has characters that no token has; copy it again as POST /tokens has shown it")?;
        // Keeps it out of what HTTP libraries log.
        credential.set_sensitive(true);
        let http = reqwest::Client::builder()
            .user_agent(concat!("zonecert-agent/", env!("CARGO_PKG_VERSION")))
            // The credential and the keys are for one host.
            .redirect(Policy::none())
            .connect_timeout(CONNECT_WITHIN)
            .timeout(REQUEST_WITHIN)
            .build()
            .context("no HTTP client can be made")?;
        Ok(Self { http, base, credential })
    }

    /// The files of the version in use, unless it is the one with this `ETag`.
    pub(crate) async fn download(&self, id: &str, known: Option<&str>) -> Result<Download, ApiError> {
        let mut request = self.request(Method::GET, &format!("certificates/{id}/download"))?;
        if let Some(known) = known {
            request = request.header(IF_NONE_MATCH, known);
        }
        let response = send(request).await?;
        if response.status() == StatusCode::NOT_MODIFIED {
            return Ok(Download::Unchanged);
        }
        let etag = response.headers().get(ETAG).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let etag = etag.ok_or_else(|| ApiError::unexpected("the API has sent files without an ETag"))?;
        let body = read(response).await?;
        let pair = serde_json::from_slice(&body).map_err(|_| ApiError::unexpected("the API has sent files that cannot be read"))?;
        Ok(Download::Changed { etag, pair })
    }

    /// What the API shows of a certificate.
    pub(crate) async fn certificate(&self, id: &str) -> Result<Certificate, ApiError> {
        let response = send(self.request(Method::GET, &format!("certificates/{id}"))?).await?;
        let body = read(response).await?;
        serde_json::from_slice(&body).map_err(|_| ApiError::unexpected("the API has shown a certificate that cannot be read"))
    }

    /// Tells what this server does with a certificate.
    pub(crate) async fn report(&self, id: &str, target: &str, report: &Report) -> Result<(), ApiError> {
        let request = self.request(Method::PUT, &format!("certificates/{id}/deployments/{target}"))?;
        send(request.json(report)).await.map(drop)
    }

    fn request(&self, method: Method, path: &str) -> Result<RequestBuilder, ApiError> {
        let url = self.base.join(path).map_err(|_| ApiError::unexpected("the path cannot be joined to api_url"))?;
        Ok(self.http.request(method, url).header(AUTHORIZATION, self.credential.clone()))
    }
}

/// The base of all paths, from the `api_url` of the configuration. Private keys travel by HTTPS, or stay on this machine.
pub(crate) fn base_url(text: &str) -> Result<Url> {
    let url = Url::parse(text).context("api_url is no URL; give one as https://zonecert.your-domain.com")?;
    let is_local = match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    };
    ensure!(
        url.scheme() == "https" || (url.scheme() == "http" && is_local),
        "api_url must begin with https://: private keys travel over it"
    );
    ensure!(url.username().is_empty() && url.password().is_none(), "api_url must hold no password; the token has a file of its own");
    ensure!(url.query().is_none() && url.fragment().is_none(), "api_url must end with a host or a path");
    let path = url.path().trim_end_matches('/');
    let path = format!("{}/api/v1/", path.strip_suffix("/api/v1").unwrap_or(path));
    let mut base = url;
    base.set_path(&path);
    Ok(base)
}

async fn send(request: RequestBuilder) -> Result<Response, ApiError> {
    let response = request.send().await.map_err(|error| ApiError::unreachable(&error))?;
    let status = response.status();
    if status.is_success() || status == StatusCode::NOT_MODIFIED {
        return Ok(response);
    }
    let retry_after = retry_after(response.headers());
    let problem = read(response).await.ok().and_then(|body| serde_json::from_slice::<Problem>(&body).ok());
    Err(ApiError::answered(status, problem, retry_after))
}

/// The body, which may hold a key: in a buffer that is wiped, and large enough from the start to leave no copy behind.
async fn read(mut response: Response) -> Result<Zeroizing<Vec<u8>>, ApiError> {
    let announced = response.content_length().and_then(|length| usize::try_from(length).ok()).unwrap_or(64 * 1024);
    let mut body = Zeroizing::new(Vec::with_capacity(announced.min(MAX_BYTES)));
    while let Some(chunk) = response.chunk().await.map_err(|error| ApiError::unreachable(&error))? {
        if body.len() + chunk.len() > MAX_BYTES {
            return Err(ApiError::unexpected("the API has sent more than a certificate can have"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// In seconds, as the API says it (RFC 9110 §10.2.3).
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

impl ApiError {
    fn unexpected(text: &str) -> Self {
        Self { text: format!("{text}; see that api_url leads to Zonecert"), is_temporary: false, can_be_told: false, retry_after: None }
    }

    fn unreachable(error: &reqwest::Error) -> Self {
        let causes = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
        let innermost = causes.last().map_or_else(|| error.to_string(), ToString::to_string);
        let text = format!("the API does not answer ({innermost}); it is asked again, and api_url should lead to it");
        Self { text, is_temporary: true, can_be_told: false, retry_after: None }
    }

    fn answered(status: StatusCode, problem: Option<Problem>, retry_after: Option<Duration>) -> Self {
        let (code, detail) = problem.map_or_else(|| (String::new(), String::new()), |problem| (problem.code, problem.detail));
        let is_temporary = status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error() || code == "certificate_not_ready";
        let remedy = match status {
            StatusCode::UNAUTHORIZED => {
                "make a token with the scopes certificates:read, keys:read and deployments:write, and put it into token_file"
            }
            StatusCode::NOT_FOUND => "correct the certificate's id, or use a token of the account that has it",
            StatusCode::TOO_MANY_REQUESTS => "it is asked again later",
            _ if status.is_server_error() => "it is asked again later",
            _ if status.is_redirection() => "api_url must lead to the API itself, which redirects nobody",
            _ => "",
        };
        let mut text = format!("the API has answered {}", status.as_u16());
        for part in [code, detail, remedy.to_owned()].into_iter().filter(|part| !part.is_empty()) {
            text = format!("{text}: {part}");
        }
        let is_busy = status == StatusCode::TOO_MANY_REQUESTS || !status.is_client_error();
        Self { text, is_temporary, can_be_told: !is_busy && status != StatusCode::UNAUTHORIZED, retry_after }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_travel_by_https_or_stay_on_the_machine() {
        let base = |text| base_url(text).map(|url| url.to_string());
        assert_eq!(base("https://zc.example.com").unwrap(), "https://zc.example.com/api/v1/");
        assert_eq!(base("https://zc.example.com/api/v1/").unwrap(), "https://zc.example.com/api/v1/");
        assert_eq!(base("https://example.com/zc").unwrap(), "https://example.com/zc/api/v1/");
        assert_eq!(base("http://127.0.0.1:8080").unwrap(), "http://127.0.0.1:8080/api/v1/");
        for text in
            ["http://zc.example.com", "http://10.0.0.1", "ftp://127.0.0.1", "zc.example.com", "https://a:b@zc.example.com", "https://a/?b"]
        {
            assert!(base(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_answer_says_what_to_do_and_whether_it_may_heal() {
        let error = |status: u16, code: &str| {
            let problem = Problem { code: code.to_owned(), detail: "What is wrong".to_owned() };
            ApiError::answered(StatusCode::from_u16(status).unwrap(), Some(problem), None)
        };
        assert_eq!(
            error(404, "not_found").to_string(),
            "the API has answered 404: not_found: What is wrong: correct the certificate's id, or use a token of the account that has it"
        );
        assert!(error(401, "credential_invalid").to_string().contains("token_file"));
        for (status, code, is_temporary) in [
            (401, "a", false),
            (403, "a", false),
            (404, "a", false),
            (409, "certificate_not_ready", true),
            (429, "a", true),
            (503, "a", true),
            (301, "a", false),
        ] {
            assert_eq!(error(status, code).is_temporary, is_temporary, "{status}");
        }
    }
}
