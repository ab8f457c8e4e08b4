//! What issuance asks of a CA, call by call (RFC 8555 §7.4, §7.5).

use std::time::Duration;

use instant_acme::{AuthorizationHandle, CertificateIdentifier, ChallengeStatus, ChallengeType, Error, Identifier};
use uuid::Uuid;
use zonecert_domain::failure::{Failure, FailureCode};

use super::account::{AcmeAccount, AcmeDirectory};
use super::failure::{About, classify, from_problem};
use super::http::{Answer, last_answer, recorded};

/// An order that the CA has taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewOrder {
    /// The CA's URL of it, by which every other call names it.
    pub url: String,
    /// Which of our accounts it belongs to.
    pub acme_account_id: Uuid,
}

/// Where the CA says that an order stands (RFC 8555 §7.1.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderStatus {
    /// Names are to be proven.
    Pending,
    /// The request may be sent.
    Ready,
    /// The certificate is being made.
    Processing,
    /// The certificate is there.
    Valid,
    /// The CA has given it up.
    Invalid,
}

/// An order as the CA shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderState {
    /// Where it stands.
    pub status: OrderStatus,
    /// Why, where it is invalid.
    pub problem: Option<Failure>,
    /// When the CA wants to be asked again.
    pub retry_after: Option<Duration>,
}

/// Where the CA says that an authorization stands (RFC 8555 §7.1.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthorizationStatus {
    /// To be proven.
    Pending,
    /// Proven.
    Valid,
    /// The proof has failed.
    Invalid,
    /// Given back by us.
    Deactivated,
    /// Too old.
    Expired,
    /// Taken back by the CA.
    Revoked,
}

/// An authorization as the CA shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authorization {
    /// The CA's URL of it.
    pub url: String,
    /// The name, without `*.`.
    pub identifier: String,
    /// Whether `*.` stood before it.
    pub wildcard: bool,
    /// Where it stands.
    pub status: AuthorizationStatus,
    /// What `_acme-challenge.<identifier>` has to hold as TXT: base64url of the key authorization's SHA-256 (RFC 8555 §8.4). `None` where
    /// the CA offers no dns-01 challenge.
    pub txt_value: Option<String>,
    /// Whether the CA knows already that it may look.
    pub told: bool,
    /// Why it cannot become valid, where it cannot.
    pub problem: Option<Failure>,
    /// When the CA wants to be asked again.
    pub retry_after: Option<Duration>,
}

impl AcmeDirectory {
    /// Places an order for these names (RFC 8555 §7.4), A-labels, a wildcard with its `*.`. Each call makes another order.
    pub async fn new_order(&self, names: &[impl AsRef<str> + Sync]) -> Result<NewOrder, Failure> {
        self.new_order_with(names, None, None).await
    }

    /// The same for an order that says which certificate it replaces (RFC 9773 §5), by its identifier there, or asks for a profile. Where the CA does not take a
    /// replacement, any problem may come back: the order can do without.
    pub async fn new_order_with(
        &self,
        names: &[impl AsRef<str> + Sync],
        replaces: Option<&str>,
        profile: Option<&str>,
    ) -> Result<NewOrder, Failure> {
        let identifiers: Vec<_> = names.iter().map(|name| Identifier::Dns(name.as_ref().to_owned())).collect();
        let mut order = instant_acme::NewOrder::new(&identifiers);
        if let Some((authority_key_identifier, serial)) = replaces.and_then(|identifier| identifier.split_once('.')) {
            let (authority_key_identifier, serial) = (authority_key_identifier.into(), serial.into());
            order = order.replaces(CertificateIdentifier { authority_key_identifier, serial });
        }
        if let Some(profile) = profile {
            order = order.profile(profile);
        }
        match self.place(&order).await {
            // About a new order this says one thing: the account was lost and may be replaced, so the order is placed with the next one.
            Err(failure) if failure.code == FailureCode::OrderLost => self.place(&order).await,
            placed => placed,
        }
    }

    async fn place(&self, order: &instant_acme::NewOrder<'_>) -> Result<NewOrder, Failure> {
        loop {
            let account = self.account().await?;
            let placed = recorded(account.client.new_order(order)).await;
            if let Some(settled) = self.settle(&account, About::Directory, placed).await {
                return settled.map(|order| NewOrder { url: order.url().to_owned(), acme_account_id: account.id });
            }
        }
    }

    /// Where an order stands.
    pub async fn order(&self, order_url: &str) -> Result<OrderState, Failure> {
        loop {
            let account = self.account().await?;
            let looked = recorded(async {
                let mut order = account.client.order(order_url.to_owned()).await?;
                Ok(order_state(order.state()))
            });
            if let Some(settled) = self.settle(&account, About::Order, looked.await).await {
                return settled;
            }
        }
    }

    /// Where each authorization of an order stands. Asks for one after the other.
    pub async fn authorizations(&self, order_url: &str) -> Result<Vec<Authorization>, Failure> {
        self.look(order_url, None).await
    }

    /// Where one authorization of an order stands. Those before it in the order are asked for too: the library reaches it through them.
    pub async fn authorization(&self, order_url: &str, authorization_url: &str) -> Result<Authorization, Failure> {
        let mut found = self.look(order_url, Some(authorization_url)).await?;
        found.pop().ok_or_else(|| Failure::new(FailureCode::CaMalformedAnswer, "the order does not have the authorization any more"))
    }

    async fn look(&self, order_url: &str, wanted: Option<&str>) -> Result<Vec<Authorization>, Failure> {
        loop {
            let account = self.account().await?;
            let looked = recorded(look(&account, order_url, wanted)).await;
            if let Some(settled) = self.settle(&account, About::Order, looked).await {
                return settled;
            }
        }
    }

    /// Tells the CA that it may look (RFC 8555 §7.5.1), for the authorizations with these URLs. Those that it knows of already are left alone,
    /// so that this can be repeated.
    pub async fn notify(&self, order_url: &str, only: &[impl AsRef<str> + Sync]) -> Result<(), Failure> {
        loop {
            let account = self.account().await?;
            let told = recorded(async {
                match tell(&account, order_url, only).await {
                    // Refused as not pending any more, if somebody else has told the CA since our look: then a second look leaves it alone.
                    Err(Error::Api(problem)) if problem.r#type.as_deref() == Some("urn:ietf:params:acme:error:malformed") => {
                        tell(&account, order_url, only).await
                    }
                    told => told,
                }
            });
            if let Some(settled) = self.settle(&account, About::Order, told.await).await {
                return settled;
            }
        }
    }

    /// Sends the certificate request (PKCS#10, DER) of an order that is ready for it (RFC 8555 §7.4), and answers where the order stands then.
    /// An order that is in another state is not touched, so that this can be repeated with the same request.
    pub async fn finalize(&self, order_url: &str, csr_der: &[u8]) -> Result<OrderState, Failure> {
        loop {
            let account = self.account().await?;
            let finalized = recorded(async {
                let mut order = account.client.order(order_url.to_owned()).await?;
                if order.state().status == instant_acme::OrderStatus::Ready {
                    match order.finalize_csr(csr_der).await {
                        // Somebody else has sent it since our look.
                        Err(Error::Api(problem)) if problem.r#type.as_deref() == Some("urn:ietf:params:acme:error:orderNotReady") => {
                            order.refresh().await?;
                        }
                        sent => sent?,
                    }
                }
                Ok(order_state(order.state()))
            });
            if let Some(settled) = self.settle(&account, About::Order, finalized.await).await {
                return settled;
            }
        }
    }

    /// The certificate of a valid order with its chain, in PEM, as the CA sends it (RFC 8555 §7.4.2). Errors where the order is not valid.
    pub async fn certificate(&self, order_url: &str) -> Result<String, Failure> {
        let (state, pem) = loop {
            let account = self.account().await?;
            let fetched = recorded(async {
                let mut order = account.client.order(order_url.to_owned()).await?;
                let state = order_state(order.state());
                let pem = if state.status == OrderStatus::Valid { order.certificate().await? } else { None };
                Ok((state, pem))
            });
            if let Some(settled) = self.settle(&account, About::Order, fetched.await).await {
                break settled?;
            }
        };
        let not_there = || Failure::new(FailureCode::AcmeOrderNotReady, "the order has no certificate yet");
        pem.ok_or_else(|| state.problem.unwrap_or_else(not_there).with_retry_after(state.retry_after))
    }

    /// What a call has come to, which `account` has signed. None where it was refused since our account has another key by now: the call is to be made once
    /// more, with that.
    pub(super) async fn settle<T>(
        &self,
        account: &AcmeAccount,
        about: About,
        (outcome, answer): (Result<T, Error>, Answer),
    ) -> Option<Result<T, Failure>> {
        let failure = match outcome {
            Ok(value) => return Some(Ok(value)),
            Err(error) => classify(&error, &answer, about),
        };
        // Before it counts as lost, too: what a CA says of a signature that it does not take is its own affair.
        if matches!(answer.status, Some(400 | 401 | 403)) {
            match Box::pin(self.has_another_key(account)).await {
                Ok(true) => return None,
                Ok(false) => {}
                Err(failure) => return Some(Err(failure)),
            }
        }
        if failure.code == FailureCode::AcmeAccountDoesNotExist {
            return Some(Err(self.account_lost(account, failure).await));
        }
        if about != About::Order && answer.status == Some(404) {
            self.forget(account).await;
        }
        Some(Err(failure))
    }
}

/// Reads the authorizations of an order; only the one with the URL `wanted`, if one is.
async fn look(account: &AcmeAccount, order_url: &str, wanted: Option<&str>) -> Result<Vec<Authorization>, Error> {
    let mut order = account.client.order(order_url.to_owned()).await?;
    let mut authorizations = order.authorizations();
    let mut found = Vec::new();
    while let Some(handle) = authorizations.next().await {
        let mut handle = handle?;
        if wanted.is_none_or(|wanted| wanted == handle.url()) {
            found.push(authorization(&mut handle));
            if wanted.is_some() {
                break;
            }
        }
    }
    Ok(found)
}

async fn tell(account: &AcmeAccount, order_url: &str, only: &[impl AsRef<str> + Sync]) -> Result<(), Error> {
    let mut order = account.client.order(order_url.to_owned()).await?;
    let mut authorizations = order.authorizations();
    while let Some(handle) = authorizations.next().await {
        let mut handle = handle?;
        let wanted = only.iter().any(|url| url.as_ref() == handle.url());
        if !wanted || handle.status != instant_acme::AuthorizationStatus::Pending {
            continue;
        }
        let Some(mut challenge) = handle.challenge(ChallengeType::Dns01) else { continue };
        if challenge.status != ChallengeStatus::Pending {
            continue;
        }
        match challenge.set_ready().await {
            // The CA was quick: it has looked and found a fault, which the next look at the authorization shows.
            Err(Error::Api(_)) if last_answer().status.is_some_and(|status| status < 300) => {}
            told => told?,
        }
    }
    Ok(())
}

fn order_state(state: &instant_acme::OrderState) -> OrderState {
    let status = match state.status {
        instant_acme::OrderStatus::Pending => OrderStatus::Pending,
        instant_acme::OrderStatus::Ready => OrderStatus::Ready,
        instant_acme::OrderStatus::Processing => OrderStatus::Processing,
        instant_acme::OrderStatus::Valid => OrderStatus::Valid,
        instant_acme::OrderStatus::Invalid => OrderStatus::Invalid,
    };
    let problem = (status == OrderStatus::Invalid).then(|| match &state.error {
        Some(problem) => from_problem(problem, None, None),
        None => Failure::new(FailureCode::OrderInvalid, "the CA has given up the order without a reason"),
    });
    OrderState { status, problem, retry_after: last_answer().retry_after }
}

fn authorization<'a>(handle: &'a mut AuthorizationHandle<'a>) -> Authorization {
    let (url, wildcard) = (handle.url().to_owned(), handle.wildcard);
    let (name, identifier) = (handle.identifier().to_string(), handle.identifier().identifier.authorized(false).to_string());
    let status = match handle.status {
        instant_acme::AuthorizationStatus::Pending => AuthorizationStatus::Pending,
        instant_acme::AuthorizationStatus::Valid => AuthorizationStatus::Valid,
        instant_acme::AuthorizationStatus::Invalid => AuthorizationStatus::Invalid,
        instant_acme::AuthorizationStatus::Revoked => AuthorizationStatus::Revoked,
        instant_acme::AuthorizationStatus::Expired => AuthorizationStatus::Expired,
        instant_acme::AuthorizationStatus::Deactivated => AuthorizationStatus::Deactivated,
    };
    let said =
        handle.challenges.iter().find_map(|challenge| challenge.error.as_ref()).map(|problem| from_problem(problem, None, Some(&name)));
    let challenge = handle.challenge(ChallengeType::Dns01);
    let txt_value = challenge.as_ref().map(|challenge| challenge.key_authorization().dns_value());
    let told = challenge.is_some_and(|challenge| challenge.status != ChallengeStatus::Pending);
    let because = |code, what: &str| Some(Failure::new(code, format!("{name}: {what}")));
    let problem = match status {
        AuthorizationStatus::Valid => None,
        AuthorizationStatus::Pending if txt_value.is_some() => None,
        AuthorizationStatus::Pending => because(FailureCode::ChallengeNotOffered, "the CA offers no validation by DNS"),
        AuthorizationStatus::Expired => because(FailureCode::OrderExpired, "the authorization has run out"),
        AuthorizationStatus::Invalid => said.or_else(|| because(FailureCode::OrderInvalid, "the CA gave no reason")),
        AuthorizationStatus::Deactivated | AuthorizationStatus::Revoked => {
            because(FailureCode::OrderInvalid, "the authorization was taken back")
        }
    };
    Authorization { url, identifier, wildcard, status, txt_value, told, problem, retry_after: last_answer().retry_after }
}
