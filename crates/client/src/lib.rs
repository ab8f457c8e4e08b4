//! The API of Zonecert as programs on customers' servers call it: one host, one credential, bounded answers, and errors that say what to do.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use url::{Host, Url};
use zeroize::Zeroizing;

/// Of one request, from connecting to the last byte.
const REQUEST_WITHIN: Duration = Duration::from_mins(1);
const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// More of an answer is not read. A certificate of 100 names with its chain has some 20 kB.
const MAX_BYTES: usize = 1024 * 1024;

/// What a program calls things, so that errors name what its user can change.
#[derive(Clone, Copy, Debug)]
pub struct Words {
    /// Of the header `User-Agent`.
    pub user_agent: &'static str,
    /// The setting that holds the API's URL.
    pub setting: &'static str,
    /// What to do where the token is refused.
    pub unauthorized: &'static str,
    /// What to do where there is no such thing.
    pub not_found: &'static str,
}

/// Calls the API.
pub struct Client {
    http: reqwest::Client,
    base: Url,
    credential: HeaderValue,
    words: Words,
}

/// Why the API has not done what was asked.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub struct ApiError {
    text: String,
    /// It may go better without anybody's doing.
    pub is_temporary: bool,
    /// The API answers us, and so can be told what this server does.
    pub can_be_told: bool,
    /// When the API wants to be asked again.
    pub retry_after: Option<Duration>,
}

/// A problem document (RFC 9457).
#[derive(Deserialize)]
struct Problem {
    code: String,
    detail: String,
}

impl Client {
    /// `base` as [`base_url`] has checked it. Fails on a token that cannot stand in a header.
    pub fn new(base: Url, token: &str, words: Words) -> Result<Self> {
        let mut credential = HeaderValue::from_str(&format!("Bearer {token}"))
            .context("the API token has characters that no token has; copy it again as POST /tokens has shown it")?;
        // Keeps it out of what HTTP libraries log.
        credential.set_sensitive(true);
        let http = reqwest::Client::builder()
            .user_agent(words.user_agent)
            // The credential and the keys are for one host.
            .redirect(Policy::none())
            .connect_timeout(CONNECT_WITHIN)
            .timeout(REQUEST_WITHIN)
            .build()
            .context("no HTTP client can be made")?;
        Ok(Self { http, base, credential, words })
    }

    /// A request with the credential, of a path below `/api/v1/`.
    pub fn request(&self, method: Method, path: &str) -> Result<RequestBuilder, ApiError> {
        let url = self.base.join(path).map_err(|_| self.unexpected("the path cannot be joined to the API's URL"))?;
        Ok(self.http.request(method, url).header(AUTHORIZATION, self.credential.clone()))
    }

    /// The answer, where it is a success or 304. Everything else is an error with the problem's code and detail.
    pub async fn send(&self, request: RequestBuilder) -> Result<Response, ApiError> {
        let response = request.send().await.map_err(|error| self.unreachable(&error))?;
        let status = response.status();
        if status.is_success() || status == StatusCode::NOT_MODIFIED {
            return Ok(response);
        }
        let retry_after = retry_after(response.headers());
        let problem = self.read(response).await.ok().and_then(|body| serde_json::from_slice::<Problem>(&body).ok());
        Err(ApiError::answered(&self.words, status, problem, retry_after))
    }

    /// The body, which may hold a key: in a buffer that is wiped, and large enough from the start to leave no copy behind.
    pub async fn read(&self, mut response: Response) -> Result<Zeroizing<Vec<u8>>, ApiError> {
        let announced = response.content_length().and_then(|length| usize::try_from(length).ok()).unwrap_or(64 * 1024);
        let mut body = Zeroizing::new(Vec::with_capacity(announced.min(MAX_BYTES)));
        while let Some(chunk) = response.chunk().await.map_err(|error| self.unreachable(&error))? {
            if body.len() + chunk.len() > MAX_BYTES {
                return Err(self.unexpected("the API has sent more than was asked for"));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    /// The body of the answer as `T`, which `what` names for people.
    pub async fn json<T: DeserializeOwned>(&self, request: RequestBuilder, what: &str) -> Result<T, ApiError> {
        let body = self.read(self.send(request).await?).await?;
        serde_json::from_slice(&body).map_err(|_| self.unexpected(&format!("the API has sent {what} that cannot be read")))
    }

    /// An answer that Zonecert does not give.
    pub fn unexpected(&self, text: &str) -> ApiError {
        let text = format!("{text}; see that {} leads to Zonecert", self.words.setting);
        ApiError { text, is_temporary: false, can_be_told: false, retry_after: None }
    }

    fn unreachable(&self, error: &reqwest::Error) -> ApiError {
        let causes = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
        let innermost = causes.last().map_or_else(|| error.to_string(), ToString::to_string);
        let text = format!("the API does not answer ({innermost}); see that {} leads to it", self.words.setting);
        ApiError { text, is_temporary: true, can_be_told: false, retry_after: None }
    }
}

impl ApiError {
    fn answered(words: &Words, status: StatusCode, problem: Option<Problem>, retry_after: Option<Duration>) -> Self {
        let (code, detail) = problem.map_or_else(|| (String::new(), String::new()), |problem| (problem.code, problem.detail));
        let is_temporary = status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error() || code == "certificate_not_ready";
        let remedy = match status {
            StatusCode::UNAUTHORIZED => words.unauthorized.to_owned(),
            StatusCode::NOT_FOUND => words.not_found.to_owned(),
            StatusCode::TOO_MANY_REQUESTS => "it is asked again later".to_owned(),
            _ if status.is_server_error() => "it is asked again later".to_owned(),
            _ if status.is_redirection() => format!("{} must lead to the API itself, which redirects nobody", words.setting),
            _ => String::new(),
        };
        let mut text = format!("the API has answered {}", status.as_u16());
        for part in [code, detail, remedy].into_iter().filter(|part| !part.is_empty()) {
            text = format!("{text}: {part}");
        }
        let is_busy = status == StatusCode::TOO_MANY_REQUESTS || !status.is_client_error();
        Self { text, is_temporary, can_be_told: !is_busy && status != StatusCode::UNAUTHORIZED, retry_after }
    }
}

/// The base of all paths, from the text of `setting`. Private keys travel by HTTPS, or stay on this machine. Fails on everything else.
pub fn base_url(text: &str, setting: &str) -> Result<Url> {
    let url = Url::parse(text).with_context(|| format!("{setting} is no URL; give one as https://zonecert.your-domain.com"))?;
    let is_local = match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    };
    ensure!(
        url.scheme() == "https" || (url.scheme() == "http" && is_local),
        "{setting} must begin with https://: private keys travel over it"
    );
    ensure!(url.username().is_empty() && url.password().is_none(), "{setting} must hold no password; the token has a place of its own");
    ensure!(url.query().is_none() && url.fragment().is_none(), "{setting} must end with a host or a path");
    let path = url.path().trim_end_matches('/');
    let path = format!("{}/api/v1/", path.strip_suffix("/api/v1").unwrap_or(path));
    let mut base = url;
    base.set_path(&path);
    Ok(base)
}

/// In seconds, as the API says it (RFC 9110 §10.2.3).
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORDS: Words = Words {
        user_agent: "test",
        setting: "api_url",
        unauthorized: "make a token, and put it into token_file",
        not_found: "correct the certificate's id, or use a token of the account that has it",
    };

    #[test]
    fn keys_travel_by_https_or_stay_on_the_machine() {
        let base = |text| base_url(text, "api_url").map(|url| url.to_string());
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
            ApiError::answered(&WORDS, StatusCode::from_u16(status).unwrap(), Some(problem), None)
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
