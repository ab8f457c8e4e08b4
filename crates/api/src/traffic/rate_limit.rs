//! How many calls accounts and addresses make: counted in this process (`docs/adr/0008-limits.md`), told in the headers of
//! `draft-ietf-httpapi-ratelimit-headers`.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use actix_web::HttpMessage;
use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use zonecert_domain::id::{AccountId, TokenId};
use zonecert_domain::network::Network;
use zonecert_domain::plan::Plan;
use zonecert_domain::rate_limit::{Rate, RateLimits};
use zonecert_store::api_keys::Resource;

use super::bucket::{Buckets, Empty, Level, Quota};
use crate::problem::Problem;

/// What is left right now: `"account";r=199;t=1`.
pub(crate) const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// What there is altogether: `"account";q=200;w=10`.
pub(crate) const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// Most credentials that are remembered to be over their limit.
const MOST_SHED: usize = 10_000;

/// Of a token that is used from where it may not be, as many uses are noted in the audit log: five, and then five an hour.
const NOTES: Quota = Quota { token: Duration::from_mins(12), burst: 5 };

/// Counts calls.
pub(crate) struct RateLimiter {
    limits: Option<RateLimits>,
    accounts: Buckets<AccountId>,
    visitors: Buckets<Network>,
    resources: Buckets<Resource>,
    refused: Buckets<Network>,
    shed: Shed,
    notes: Buckets<TokenId>,
}

/// How much somebody may still call. Left with the request, for the headers of its answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Allowance {
    policy: &'static str,
    rate: Rate,
    remaining: u32,
    full_in: Duration,
}

impl RateLimiter {
    pub(crate) fn new(limits: Option<RateLimits>) -> Self {
        let (accounts, visitors, resources) = (Buckets::new(), Buckets::new(), Buckets::new());
        let (refused, notes) = (Buckets::new(), Buckets::new());
        Self { limits, accounts, visitors, resources, refused, shed: Shed::new(), notes }
    }

    /// Before a credential is looked up: 429 if too many from this address were not accepted, or if its account was over its limit a moment ago.
    pub(crate) fn admit(&self, address: IpAddr, credential: &str, now: Instant) -> Result<(), Problem> {
        let Some(limits) = self.limits else { return Ok(()) };
        if let Some(wait) = self.refused.wait(&Network::of_subscriber(address), limits.address, now) {
            let detail = "Too many credentials that are not accepted came from this address; wait, and check the token";
            return Err(Problem::too_many_requests("rate_limited", detail, wait));
        }
        self.shed.wait(credential, now).map_or(Ok(()), |wait| Err(over_limit(wait)))
    }

    /// Counts a credential that was not accepted.
    pub(crate) fn count_refused(&self, address: IpAddr, now: Instant) {
        if let Some(limits) = self.limits {
            // An empty bucket is what `admit` looks at.
            let _ = self.refused.take(Network::of_subscriber(address), limits.address, now);
        }
    }

    /// Counts a call of an account, or 429.
    pub(crate) fn count_call(
        &self,
        request: &impl HttpMessage,
        account: AccountId,
        plan: Plan,
        credential: &str,
        now: Instant,
    ) -> Result<(), Problem> {
        let Some(limits) = self.limits else { return Ok(()) };
        let taken = self.accounts.take(account, limits.of(plan), now);
        if let Err(empty) = taken {
            self.shed.add(credential, now + empty.wait, now);
        }
        settle(request, "account", limits.of(plan), taken).map_err(|empty| over_limit(empty.wait))
    }

    /// Counts a call that needs no credential, or 429.
    pub(crate) fn count_visit(&self, request: &impl HttpMessage, address: IpAddr, now: Instant) -> Result<(), Problem> {
        let Some(limits) = self.limits else { return Ok(()) };
        let taken = self.visitors.take(Network::of_subscriber(address), limits.address, now);
        settle(request, "address", limits.address, taken).map_err(|empty| {
            Problem::too_many_requests(
                "rate_limited",
                "Too many requests came from this address; wait as long as Retry-After says",
                empty.wait,
            )
        })
    }

    /// Counts a download with an API key of this certificate or private key, or 429. Each has as many calls as its account has beside them: whoever polls one
    /// of them too often keeps nobody from another.
    pub(crate) fn count_download(
        &self,
        request: &impl HttpMessage,
        resource: Resource,
        plan: Plan,
        credential: &str,
        now: Instant,
    ) -> Result<(), Problem> {
        let Some(limits) = self.limits else { return Ok(()) };
        let taken = self.resources.take(resource, limits.of(plan), now);
        if let Err(empty) = taken {
            self.shed.add(credential, now + empty.wait, now);
        }
        settle(request, "resource", limits.of(plan), taken).map_err(|empty| {
            let detail =
                "It is asked for more often than the plan allows; wait as long as Retry-After says, and ask every few minutes at most";
            Problem::too_many_requests("rate_limited", detail, empty.wait)
        })
    }

    /// Whether one more use of a token from where it may not be used is to be noted.
    pub(crate) fn notes_misuse(&self, token: TokenId, now: Instant) -> bool {
        self.notes.take(token, NOTES, now).is_ok()
    }
}

fn settle(request: &impl HttpMessage, policy: &'static str, rate: Rate, taken: Result<Level, Empty>) -> Result<(), Empty> {
    let (remaining, full_in) = taken.map_or_else(|empty| (0, empty.full_in), |level| (level.remaining, level.full_in));
    request.extensions_mut().insert(Allowance { policy, rate, remaining, full_in });
    taken.map(drop)
}

fn over_limit(wait: Duration) -> Problem {
    let detail = "The account makes more calls than its plan allows; wait as long as Retry-After says, and watch the header RateLimit";
    Problem::too_many_requests("rate_limited", detail, wait)
}

/// Writes what a request has left of its limit.
pub(crate) fn set_headers(request: &impl HttpMessage, headers: &mut HeaderMap) {
    let Some(allowance) = request.extensions().get::<Allowance>().copied() else { return };
    let Allowance { policy, rate, remaining, full_in } = allowance;
    let seconds = full_in.as_millis().div_ceil(1_000);
    let fields = [
        (RATE_LIMIT, format!("\"{policy}\";r={remaining};t={seconds}")),
        (RATE_LIMIT_POLICY, format!("\"{policy}\";q={};w={}", rate.calls, rate.seconds)),
    ];
    for (name, value) in fields {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(name, value);
        }
    }
}

/// Credentials of accounts that are over their limit: refused without asking the database whose they are, until their account may call again.
/// Known here by a hash that is keyed anew in each process.
struct Shed {
    hasher: RandomState,
    until: Mutex<HashMap<u64, Instant>>,
}

impl Shed {
    fn new() -> Self {
        Self { hasher: RandomState::new(), until: Mutex::new(HashMap::new()) }
    }

    fn wait(&self, credential: &str, now: Instant) -> Option<Duration> {
        let until = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        if until.is_empty() {
            return None;
        }
        until.get(&self.hasher.hash_one(credential))?.checked_duration_since(now).filter(|wait| !wait.is_zero())
    }

    fn add(&self, credential: &str, at: Instant, now: Instant) {
        let mut until = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        if until.len() >= MOST_SHED {
            until.retain(|_, until| *until > now);
        }
        if until.len() < MOST_SHED {
            until.insert(self.hasher.hash_one(credential), at);
        }
    }
}

#[cfg(test)]
mod tests {
    use actix_web::ResponseError;
    use actix_web::http::StatusCode;
    use actix_web::http::header::RETRY_AFTER;
    use actix_web::test::TestRequest;

    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn limiter(limits: &str) -> RateLimiter {
        RateLimiter::new(Some(limits.parse().unwrap()))
    }

    #[test]
    fn an_account_over_its_limit_is_refused_before_its_credential_is_looked_up_until_it_may_call_again() {
        let (limiter, request, start) = (limiter("elite=2/20"), TestRequest::default().to_http_request(), Instant::now());
        let call = |credential: &str, now: Instant| limiter.count_call(&request, account(), Plan::Elite, credential, now);
        assert!(call("one", start).is_ok() && call("two", start).is_ok());
        assert!(limiter.admit(HERE, "one", start).is_ok());
        assert_eq!(call("one", start).unwrap_err().code(), "rate_limited");
        let nearly = start + Duration::from_millis(9_999);
        let refused = limiter.admit(HERE, "one", nearly).unwrap_err();
        assert_eq!(
            (refused.status_code(), refused.error_response().headers().get(RETRY_AFTER).unwrap().to_str().unwrap()),
            (StatusCode::TOO_MANY_REQUESTS, "1")
        );
        // Whoever else calls is not known to be of that account.
        assert!(limiter.admit(HERE, "two", nearly).is_ok());
        let later = start + Duration::from_secs(10);
        assert!(limiter.admit(HERE, "one", later).is_ok());
        assert!(call("one", later).is_ok());
    }

    fn account() -> AccountId {
        AccountId(uuid::Uuid::from_u128(1))
    }

    #[test]
    fn headers_say_what_is_left_and_what_there_is() {
        let (limiter, request, start) = (limiter("plus=100/10"), TestRequest::default().to_http_request(), Instant::now());
        for expected in ["\"account\";r=99;t=1", "\"account\";r=98;t=1"] {
            limiter.count_call(&request, account(), Plan::Plus, "one", start).unwrap();
            let mut headers = HeaderMap::new();
            set_headers(&request, &mut headers);
            assert_eq!(headers.get(RATE_LIMIT).unwrap(), expected);
            assert_eq!(headers.get(RATE_LIMIT_POLICY).unwrap(), "\"account\";q=100;w=10");
        }
        (0..98).for_each(|_| limiter.count_call(&request, account(), Plan::Plus, "one", start).unwrap());
        limiter.count_call(&request, account(), Plan::Plus, "one", start).unwrap_err();
        let mut headers = HeaderMap::new();
        set_headers(&request, &mut headers);
        assert_eq!(headers.get(RATE_LIMIT).unwrap(), "\"account\";r=0;t=10");
    }

    #[test]
    fn misuse_of_a_token_is_noted_five_times_and_then_five_times_an_hour() {
        let (limiter, start, token) = (RateLimiter::new(None), Instant::now(), TokenId::new());
        assert_eq!((0..100).filter(|_| limiter.notes_misuse(token, start)).count(), 5);
        assert!(limiter.notes_misuse(TokenId::new(), start));
        let in_an_hour = start + Duration::from_hours(1);
        assert_eq!((0..100).filter(|_| limiter.notes_misuse(token, in_an_hour)).count(), 5);
    }
}
