//! The HTTP client under the ACME library: timeouts, bounded answers, roots of our choice, and what an answer says beside its body.
//!
//! HTTP/1.1 only: a request that runs into its timeout takes its connection with it, so that the next one begins on a new connection.
//! Nothing of a body is ever logged; requests carry signatures, answers may carry what belongs to customers.

use std::cell::RefCell;
use std::error::Error as StdError;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ::http::header::{DATE, HeaderMap, HeaderName, RETRY_AFTER, USER_AGENT};
use ::http::{HeaderValue, Request, Response};
use chrono::NaiveDateTime;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Bytes;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use instant_acme::{BodyWrapper, BytesResponse, HttpClient};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use rustls_platform_verifier::Verifier;
use url::Url;

use super::{AcmeSettings, AcmeSettingsError};

/// RFC 8555 §6.1 wants the client named.
const AGENT: HeaderValue = HeaderValue::from_static(concat!("zonecert/", env!("CARGO_PKG_VERSION")));

/// A chain with a hundred names has less than a tenth of it.
const MAX_ANSWER_BYTES: usize = 1024 * 1024;

/// Below the time after which servers close idle connections, so that a request rarely meets a connection that is just being closed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(20);

tokio::task_local! {
    /// One call of the port may send several requests; each order's task has its own.
    static LAST_ANSWER: RefCell<Answer>;
}

/// What the last answer of a call said beside its body. Empty while there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Answer {
    /// HTTP status.
    pub(super) status: Option<u16>,
    /// How long we were asked to wait.
    pub(super) retry_after: Option<Duration>,
    /// There was a body, and it was no JSON object: a web page, for instance, or a certificate chain.
    pub(super) not_json: bool,
}

impl Answer {
    pub(super) fn is_success(&self) -> bool {
        self.status.is_some_and(|status| (200..300).contains(&status))
    }
}

/// Runs `call`, and answers what its last answer said beside what `call` made of it.
pub(super) async fn recorded<F: Future>(call: F) -> (F::Output, Answer) {
    LAST_ANSWER
        .scope(RefCell::default(), async {
            let output = call.await;
            (output, last_answer())
        })
        .await
}

/// The last answer, so far, of the call that runs in [`recorded`].
pub(super) fn last_answer() -> Answer {
    LAST_ANSWER.try_with(|answer| *answer.borrow()).unwrap_or_default()
}

fn record(answer: Answer) {
    // Outside of `recorded` nobody asks.
    let _ = LAST_ANSWER.try_with(|last| *last.borrow_mut() = answer);
}

/// Why there is no answer that could be read. Fit to be shown: names the CA's host and nothing of ours.
#[derive(Debug, thiserror::Error)]
pub(super) enum HttpError {
    #[error("no connection to {host}")]
    NoConnection { host: String },
    #[error("no answer from {host} within {} s", .within.as_secs_f32())]
    NoAnswer { host: String, within: Duration },
    #[error("the connection to {host} broke off")]
    BrokenOff { host: String },
    #[error("{host} answered with more than {MAX_ANSWER_BYTES} bytes")]
    TooLong { host: String },
}

/// One client for all orders at a CA: a pool of connections.
#[derive(Clone)]
pub(super) struct AcmeHttp {
    client: Client<HttpsConnector<HttpConnector>, BodyWrapper<Bytes>>,
    timeout: Duration,
}

impl AcmeHttp {
    pub(super) fn new(settings: &AcmeSettings) -> Result<Self, AcmeSettingsError> {
        let directory = Url::parse(&settings.directory_url).ok().filter(|url| url.scheme() == "https" && url.has_host());
        if directory.is_none() {
            return Err(AcmeSettingsError::DirectoryUrl(settings.directory_url.clone()));
        }
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        // With Nagle's algorithm every request costs 40 ms more.
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(settings.connect_timeout));
        let connector = HttpsConnectorBuilder::new().with_tls_config(tls(settings)?).https_only().enable_http1().wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new()).pool_idle_timeout(IDLE_TIMEOUT).build(connector);
        Ok(Self { client, timeout: settings.request_timeout })
    }

    /// One request, named as ours, and what its answer says beside its body on record.
    pub(super) async fn send(&self, mut request: Request<BodyWrapper<Bytes>>) -> Result<Response<Bytes>, instant_acme::Error> {
        record(Answer::default());
        request.headers_mut().insert(USER_AGENT, AGENT);
        let (method, uri, begun) = (request.method().clone(), request.uri().clone(), Instant::now());
        let host = uri.authority().map(ToString::to_string).unwrap_or_default();
        let response = self.exchange(request, host).await.map_err(|error| instant_acme::Error::Other(Box::new(error)))?;
        let status = response.status().as_u16();
        tracing::debug!(%method, %uri, status, milliseconds = begun.elapsed().as_millis(), "the CA has answered");
        let not_json = response.body().trim_ascii_start().first().is_some_and(|first| *first != b'{');
        record(Answer { status: Some(status), retry_after: retry_after(response.headers()), not_json });
        Ok(response)
    }

    /// GET without a signature: of the directory (RFC 8555 §7.1.1) and of what it offers to everybody.
    pub(super) async fn get(&self, url: &str) -> Result<Response<Bytes>, instant_acme::Error> {
        let request = Request::get(url).body(BodyWrapper::default())?;
        self.send(request).await
    }

    async fn exchange(&self, request: Request<BodyWrapper<Bytes>>, host: String) -> Result<Response<Bytes>, HttpError> {
        let within = self.timeout;
        let answer = async {
            let response = self.client.request(request).await.map_err(|error| {
                tracing::warn!(%host, error = chain(&error), "the CA cannot be reached");
                let host = host.clone();
                if error.is_connect() { HttpError::NoConnection { host } } else { HttpError::BrokenOff { host } }
            })?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, MAX_ANSWER_BYTES).collect().await.map_err(|error| {
                tracing::warn!(%host, error = chain(&*error), "the CA's answer cannot be read");
                let host = host.clone();
                if error.is::<LengthLimitError>() { HttpError::TooLong { host } } else { HttpError::BrokenOff { host } }
            })?;
            Ok(Response::from_parts(head, body.to_bytes()))
        };
        tokio::time::timeout(within, answer).await.unwrap_or_else(|_| {
            tracing::warn!(%host, seconds = within.as_secs_f32(), "the CA does not answer in time");
            Err(HttpError::NoAnswer { host: host.clone(), within })
        })
    }
}

impl HttpClient for AcmeHttp {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, instant_acme::Error>> + Send>> {
        let this = self.clone();
        Box::pin(async move {
            let response = this.send(request).await?;
            Ok(BytesResponse::from(response.map(Full::new)))
        })
    }
}

fn tls(settings: &AcmeSettings) -> Result<rustls::ClientConfig, AcmeSettingsError> {
    let extra = settings.ca_file.as_ref().map_or(Ok(Vec::new()), |path| {
        let refused = |reason: String| AcmeSettingsError::CaFile { path: path.clone(), reason };
        let pem = std::fs::read(path).map_err(|error| refused(error.to_string()))?;
        let roots: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
        let roots = roots.map_err(|error| refused(error.to_string()))?;
        if roots.is_empty() { Err(refused("it holds no certificate".to_owned())) } else { Ok(roots) }
    })?;
    let unusable = |error: rustls::Error| match &settings.ca_file {
        Some(path) => AcmeSettingsError::CaFile { path: path.clone(), reason: error.to_string() },
        None => AcmeSettingsError::NoRoots(error),
    };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = Verifier::new_with_extra_roots(extra, Arc::clone(&provider)).map_err(unusable)?;
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(AcmeSettingsError::NoRoots)?
        // "Dangerous" is any verifier that is not made of a plain list of roots; this one is the operating system's.
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Ok(config)
}

/// `Retry-After` as a time to wait (RFC 9110 §10.2.3). A date is measured against the answer's own `Date`, so that no two clocks have to
/// agree; without one it says nothing.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: HeaderName| headers.get(name)?.to_str().ok().map(str::trim);
    let wanted = text(RETRY_AFTER)?;
    if !wanted.is_empty() && wanted.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(Duration::from_secs(wanted.parse().unwrap_or(u64::MAX)));
    }
    let wait = http_date(wanted)? - http_date(text(DATE)?)?;
    Some(wait.to_std().unwrap_or_default())
}

/// The three forms of RFC 9110 §5.6.7.
fn http_date(text: &str) -> Option<NaiveDateTime> {
    ["%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"]
        .into_iter()
        .find_map(|form| NaiveDateTime::parse_from_str(text, form).ok())
}

fn chain(error: &(dyn StdError + 'static)) -> String {
    std::iter::successors(Some(error), |&error| error.source()).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(retry_after_value: &str, date: Option<&str>) -> Option<u64> {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, retry_after_value.parse().unwrap());
        if let Some(date) = date {
            headers.insert(DATE, date.parse().unwrap());
        }
        retry_after(&headers).map(|wait| wait.as_secs())
    }

    #[test]
    fn retry_after_in_seconds_is_read() {
        for (text, seconds) in [("0", 0), ("120", 120), (" 7 ", 7), ("99999999999999999999", u64::MAX)] {
            assert_eq!(wait(text, None), Some(seconds), "{text:?}");
        }
    }

    #[test]
    fn retry_after_as_a_date_is_measured_against_the_answers_own_clock() {
        let date = Some("Sun, 06 Nov 1994 08:49:37 GMT");
        for text in ["Sun, 06 Nov 1994 08:51:07 GMT", "Sunday, 06-Nov-94 08:51:07 GMT", "Sun Nov  6 08:51:07 1994"] {
            assert_eq!(wait(text, date), Some(90), "{text:?}");
            assert_eq!(wait(text, None), None, "{text:?}");
        }
        assert_eq!(wait("Sun, 06 Nov 1994 08:49:07 GMT", date), Some(0), "a moment that is past is no wait");
    }

    #[test]
    fn what_is_no_retry_after_says_nothing() {
        for text in ["", "-1", "1.5", "soon", "10 s", "+3", "Mon, 06 Nov 1994 08:51:07 GMT", "Sun, 06 Nov 1994 08:51:07"] {
            assert_eq!(wait(text, Some("Sun, 06 Nov 1994 08:49:37 GMT")), None, "{text:?}");
        }
        assert_eq!(retry_after(&HeaderMap::new()), None);
    }

    #[tokio::test]
    async fn what_one_call_records_is_not_seen_by_another() {
        let seen = |status| async move {
            record(Answer { status: Some(status), ..Answer::default() });
            tokio::task::yield_now().await;
            last_answer().status
        };
        let calls = (200..300).map(|status| recorded(seen(status)));
        for (index, (within, after)) in futures::future::join_all(calls).await.into_iter().enumerate() {
            let status = u16::try_from(200 + index).ok();
            assert_eq!((within, after.status), (status, status));
        }
        assert_eq!(last_answer(), Answer::default());
    }

    #[test]
    fn a_directory_without_tls_is_refused() {
        for url in ["", "http://ca.example/dir", "ca.example/dir", "https://"] {
            let refused = AcmeHttp::new(&AcmeSettings::new(url)).err();
            assert!(matches!(refused, Some(AcmeSettingsError::DirectoryUrl(_))), "{url:?}: {refused:?}");
        }
    }

    #[test]
    fn a_ca_file_that_is_missing_or_holds_no_certificate_is_refused_by_its_name() {
        let not_pem = std::path::PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"));
        for path in [not_pem, "/no/such/file.pem".into()] {
            let settings = AcmeSettings { ca_file: Some(path.clone()), ..AcmeSettings::new("https://ca.example/dir") };
            let refused = AcmeHttp::new(&settings).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(refused.contains(&path.display().to_string()), "{refused}");
        }
    }
}
