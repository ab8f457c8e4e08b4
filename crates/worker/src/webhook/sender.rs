//! The way to receivers. They are strangers': no address is connected to but those that [`Destinations`] allows, and nothing that they answer leads elsewhere.

use std::error::Error;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::CONTENT_TYPE;
use reqwest::redirect::Policy;
use reqwest::{Client, Response, StatusCode};
use zeroize::Zeroizing;
use zonecert_domain::id::VersionId;
use zonecert_domain::webhook::{Destinations, UrlError};
use zonecert_resolver::{Answer, Data, RecordType, Resolver};
use zonecert_store::webhook_deliveries::{Attempt, Claimed};

use super::push::Envelope;
use super::signature::sign;
use crate::acme::retry_after;

/// For one attempt, from the look-up to the end of the answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// So much of an answer is read and kept.
const KEPT_BYTES: usize = 1024;

/// Sends messages to webhooks, and pushes to push targets.
#[derive(Clone)]
pub struct WebhookSender {
    destinations: Destinations,
    encrypted: Client,
    plain: Client,
    /// Takes whatever certificate is shown: what is pushed is sealed by itself, and the client may not have a good one yet.
    push: Client,
}

/// Why no messages can be sent.
#[derive(Debug, thiserror::Error)]
#[error("no HTTP client: {0}")]
pub struct SenderError(#[from] reqwest::Error);

/// What has come of an attempt.
pub(super) struct Answered {
    pub(super) attempt: Attempt,
    /// What the receiver has asked for.
    pub(super) retry_after: Option<Duration>,
    /// It is not there any more, and says so.
    pub(super) gone: bool,
    /// There is nothing to be sent, now or later.
    pub(super) is_final: bool,
}

impl WebhookSender {
    /// Sends to these destinations. Names are looked up by `resolver`, once for each attempt; connected to is what was looked up and allowed, and nothing else.
    pub fn new(destinations: Destinations, resolver: &Resolver) -> Result<Self, SenderError> {
        let builder = |encrypted| {
            Client::builder()
                .user_agent(concat!("Zonecert/", env!("CARGO_PKG_VERSION")))
                .timeout(PATIENCE)
                // The addresses are looked at again each time, and no connection of one account is there for another.
                .pool_max_idle_per_host(0)
                .redirect(Policy::none())
                // It would connect to addresses that nobody has looked at.
                .no_proxy()
                .https_only(encrypted)
                .dns_resolver(Arc::new(Allowed { resolver: resolver.clone(), destinations: destinations.clone(), encrypted }))
        };
        let push = builder(true).tls_danger_accept_invalid_certs(true).build()?;
        Ok(Self { encrypted: builder(true).build()?, plain: builder(false).build()?, push, destinations })
    }

    /// Sends a message once. Logs nothing: the URL may hold a secret.
    pub(super) async fn send(&self, claimed: &Claimed, secrets: &[Zeroizing<Vec<u8>>]) -> Answered {
        let began = Instant::now();
        let answered = self.post(claimed, secrets, claimed.at.timestamp()).await;
        let answered = answered.map(|(status, retry_after, answer)| (status, retry_after, Some(answer), status.is_success()));
        Answered::new(claimed, began, answered, None)
    }

    /// Pushes an envelope to a Cert Warden client once. Of what is answered the status alone counts, which the client says all with.
    pub(super) async fn push(&self, claimed: &Claimed, envelope: Envelope) -> Answered {
        let began = Instant::now();
        let version = envelope.version;
        let answered = self.post_envelope(claimed, envelope).await;
        let answered = answered.map(|(status, retry_after)| (status, retry_after, None, status == StatusCode::OK));
        Answered { gone: false, ..Answered::new(claimed, began, answered, Some(version)) }
    }

    async fn post_envelope(&self, claimed: &Claimed, envelope: Envelope) -> Result<(StatusCode, Option<Duration>), String> {
        let url = self.destinations.parse(&claimed.url).map_err(|error: UrlError| error.to_string())?;
        let request = self.push.post(url).header(CONTENT_TYPE, "application/json").body(envelope.body);
        let response = request.send().await.map_err(|error| explain(&error))?;
        Ok((response.status(), retry_after(response.headers())))
    }

    async fn post(
        &self,
        claimed: &Claimed,
        secrets: &[Zeroizing<Vec<u8>>],
        timestamp: i64,
    ) -> Result<(StatusCode, Option<Duration>, String), String> {
        // What the operator allows may have changed since it was stored. An address in the URL itself is not looked up, and so is looked at here.
        let url = self.destinations.parse(&claimed.url).map_err(|error: UrlError| error.to_string())?;
        let id = claimed.id.to_string();
        let signature = sign(secrets, &id, timestamp, &claimed.body).map_err(|error| error.to_string())?;
        let client = if url.scheme() == "https" { &self.encrypted } else { &self.plain };
        let request = client
            .post(url)
            .header(CONTENT_TYPE, "application/json")
            .header("webhook-id", id)
            .header("webhook-timestamp", timestamp)
            .header("webhook-signature", signature)
            .body(claimed.body.clone());
        let response = request.send().await.map_err(|error| explain(&error))?;
        let (status, wait) = (response.status(), retry_after(response.headers()));
        Ok((status, wait, beginning(response).await))
    }
}

/// Status, what was asked for with `Retry-After`, what is kept of the answer, and whether it is a success; or why there is none.
type Outcome = Result<(StatusCode, Option<Duration>, Option<String>, bool), String>;

impl Answered {
    fn new(claimed: &Claimed, began: Instant, answered: Outcome, version: Option<VersionId>) -> Self {
        let duration_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let none = Attempt { at: claimed.at, duration_ms, status: None, answer: None, error: None, version };
        match answered {
            Ok((status, retry_after, answer, is_success)) => {
                let error = (!is_success).then(|| told(status, version.is_some()));
                let attempt = Attempt { status: Some(status.as_u16()), answer, error, ..none };
                Self { attempt, retry_after, gone: status == StatusCode::GONE, is_final: false }
            }
            Err(error) => Self { attempt: Attempt { error: Some(error), ..none }, retry_after: None, gone: false, is_final: false },
        }
    }
}

/// What a status that is no success means.
fn told(status: StatusCode, is_push: bool) -> String {
    if is_push {
        return match status {
            StatusCode::UNAUTHORIZED => "the client could not open what was pushed: it has another key".to_owned(),
            StatusCode::BAD_REQUEST => "the client could not use the certificate; its log says why".to_owned(),
            StatusCode::NOT_FOUND => "no Cert Warden client answers at this address".to_owned(),
            _ => format!("the client answered {status}, and no client does that; look at what listens at this address"),
        };
    }
    if status.is_redirection() {
        return format!("the receiver answered {status}: redirects are not followed; set the URL to where it leads");
    }
    format!("the receiver answered {status}")
}

/// The first KiB, or what comes of it in time.
async fn beginning(mut response: Response) -> String {
    let mut bytes = Vec::new();
    while bytes.len() < KEPT_BYTES {
        match response.chunk().await {
            Ok(Some(chunk)) => bytes.extend_from_slice(&chunk[..chunk.len().min(KEPT_BYTES - bytes.len())]),
            Ok(None) | Err(_) => break,
        }
    }
    // PostgreSQL has no NUL in its texts.
    String::from_utf8_lossy(&bytes).replace('\0', "\u{fffd}")
}

fn explain(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return format!("no answer within {} seconds", PATIENCE.as_secs());
    }
    // The outermost names the URL.
    let mut cause: Option<&(dyn Error + 'static)> = error.source();
    while let Some(next) = cause.and_then(Error::source) {
        cause = Some(next);
    }
    let cause = cause.map_or_else(|| "the request was cut off".to_owned(), ToString::to_string);
    format!("the receiver could not be reached: {cause}")
}

/// Looks names up, once, and gives no address to connect to unless all of them are allowed.
struct Allowed {
    resolver: Resolver,
    destinations: Destinations,
    encrypted: bool,
}

/// Why there is no address. Does not say which there was: what our resolver sees is nobody else's to know.
#[derive(Debug)]
enum Unusable {
    NoAddress,
    NotPublic,
    Unknown,
}

impl Error for Unusable {}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoAddress => "its host has no address",
            Self::NotPublic => "its host leads to an address that messages are not sent to; it must be one of the public Internet",
            Self::Unknown => "its host could not be looked up in the DNS",
        })
    }
}

impl Resolve for Allowed {
    fn resolve(&self, name: Name) -> Resolving {
        let (resolver, destinations, encrypted) = (self.resolver.clone(), self.destinations.clone(), self.encrypted);
        Box::pin(async move {
            let addresses = look_up(&resolver, name.as_str().trim_end_matches('.')).await?;
            if !addresses.iter().all(|&address| destinations.allow(address, encrypted)) {
                return Err(Unusable::NotPublic.into());
            }
            // The port is that of the URL.
            let addresses: Addrs = Box::new(addresses.into_iter().map(|address| SocketAddr::new(address, 0)));
            Ok(addresses)
        })
    }
}

async fn look_up(resolver: &Resolver, name: &str) -> Result<Vec<IpAddr>, Unusable> {
    let (four, six) = tokio::join!(resolver.look_up(name, RecordType::A), resolver.look_up(name, RecordType::Aaaa));
    let addresses: Vec<IpAddr> = [&four, &six]
        .into_iter()
        .flat_map(Answer::records)
        .filter_map(|record| if let Data::Address(address) = record.data { Some(address) } else { None })
        .collect();
    match (addresses.is_empty(), four.is_definite() && six.is_definite()) {
        (false, _) => Ok(addresses),
        (true, true) => Err(Unusable::NoAddress),
        (true, false) => Err(Unusable::Unknown),
    }
}
