//! What is asked of a CA without a signature, by anybody: what its directory offers, and when it suggests to renew a certificate (RFC 9773 §4).

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use instant_acme::Problem;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use url::Url;
use zonecert_domain::failure::{Failure, FailureCode};
use zonecert_domain::renewal::AriWindow;

use super::account::{AcmeDirectory, DIRECTORY_LIFE, DIRECTORY_RETRY};
use super::failure::{About, classify, from_problem};
use super::http::{Answer, recorded};

/// Longer ones are not kept: it is shown to people.
const LONGEST_EXPLANATION_URL: usize = 1000;

/// A profile with a longer name is not offered on, and a longer description is left out.
const LONGEST_PROFILE_NAME: usize = 100;
const LONGEST_PROFILE_DESCRIPTION: usize = 1000;

/// What the CA says about a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenewalInfo {
    /// When it suggests to renew.
    pub window: AriWindow,
    /// A page that says why.
    pub explanation_url: Option<String>,
    /// When it wants to be asked again: both the least and the most (RFC 9773 §4.3.2).
    pub retry_after: Option<Duration>,
}

/// What the directory says of what not every CA offers. Looked up by one call at a time.
pub(super) struct Offer {
    directory: Result<Arc<Directory>, Failure>,
    fresh_until: Instant,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Directory {
    renewal_info: Option<String>,
    #[serde(default)]
    meta: Value,
}

/// A profile that a CA offers, by name, with the CA's words about it or a link to them (draft-ietf-acme-profiles §3).
pub type Profile = (String, String);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answered {
    suggested_window: Window,
    #[serde(rename = "explanationURL")]
    explanation_url: Option<String>,
}

#[derive(Deserialize)]
struct Window {
    start: DateTime<Utc>,
    end: DateTime<Utc>,
}

impl AcmeDirectory {
    /// Whether the CA tells when to renew, and takes orders that say what they replace.
    pub async fn offers_renewal_info(&self) -> Result<bool, Failure> {
        Ok(self.directory().await?.renewal_info.is_some())
    }

    /// What the CA says about the certificate with this identifier (RFC 9773 §4.1); none where it tells nobody.
    ///
    /// A window that ends before it begins is no answer (RFC 9773 §4.2).
    pub async fn renewal_info(&self, identifier: &str) -> Result<Option<RenewalInfo>, Failure> {
        let directory = self.directory().await?;
        let Some(base) = &directory.renewal_info else { return Ok(None) };
        let (answered, retry_after) = self.get_json::<Answered>(&format!("{}/{identifier}", base.trim_end_matches('/'))).await?;
        let window = AriWindow { start: answered.suggested_window.start, end: answered.suggested_window.end };
        if window.end <= window.start {
            let detail = format!("the CA suggests to renew between {} and {}, which is no time at all", window.start, window.end);
            return Err(Failure::new(FailureCode::CaMalformedAnswer, detail).with_retry_after(retry_after));
        }
        let explanation_url = answered.explanation_url.filter(|url| is_explanation(url));
        Ok(Some(RenewalInfo { window, explanation_url, retry_after }))
    }

    /// The profiles that the CA offers; none where it has no such thing. What cannot be shown to people or sent in an order is left out.
    pub async fn profiles(&self) -> Result<Vec<Profile>, Failure> {
        Ok(profiles(&self.directory().await?.meta))
    }

    /// Whether orders may ask for this profile.
    pub async fn offers_profile(&self, wanted: &str) -> Result<bool, Failure> {
        Ok(self.profiles().await?.iter().any(|(name, _)| name == wanted))
    }

    async fn directory(&self) -> Result<Arc<Directory>, Failure> {
        let mut offer = self.offer.lock().await;
        if let Some(known) = offer.as_ref().filter(|offer| Instant::now() < offer.fresh_until) {
            return known.directory.clone();
        }
        let known = offer.take().and_then(|offer| offer.directory.ok());
        let (directory, life) = match self.get_json::<Directory>(self.directory_url()).await {
            Ok((directory, _)) => (Ok(Arc::new(directory)), DIRECTORY_LIFE),
            // What was offered an hour ago is most likely still there.
            Err(failure) => (known.ok_or(failure), DIRECTORY_RETRY),
        };
        *offer = Some(Offer { directory: directory.clone(), fresh_until: Instant::now() + life });
        directory
    }

    /// GET of a JSON document, and the `Retry-After` that came with it.
    async fn get_json<T: DeserializeOwned>(&self, url: &str) -> Result<(T, Option<Duration>), Failure> {
        let (answered, answer) = recorded(self.http.get(url)).await;
        let response = answered.map_err(|error| classify(&error, &answer, About::Order))?;
        if !response.status().is_success() {
            return Err(refused(response.body(), &answer));
        }
        let read = serde_json::from_slice(response.body());
        Ok((read.map_err(|error| classify(&instant_acme::Error::Json(error), &answer, About::Order))?, answer.retry_after))
    }
}

fn profiles(meta: &Value) -> Vec<Profile> {
    let offered = meta["profiles"].as_object().into_iter().flatten();
    let plain = |text: &str, longest: usize| text.chars().count() <= longest && !text.chars().any(char::is_control);
    offered
        .filter(|(name, _)| !name.is_empty() && plain(name, LONGEST_PROFILE_NAME))
        .map(|(name, description)| {
            let description = description.as_str().filter(|text| plain(text, LONGEST_PROFILE_DESCRIPTION)).unwrap_or_default();
            (name.clone(), description.to_owned())
        })
        .collect()
}

fn refused(body: &[u8], answer: &Answer) -> Failure {
    match serde_json::from_slice::<Problem>(body) {
        Ok(problem) => from_problem(&problem, answer.status, None).with_retry_after(answer.retry_after),
        Err(error) => classify(&instant_acme::Error::Json(error), answer, About::Order),
    }
}

/// A link that can be shown to people.
fn is_explanation(text: &str) -> bool {
    text.len() <= LONGEST_EXPLANATION_URL && Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "https" | "http"))
}
