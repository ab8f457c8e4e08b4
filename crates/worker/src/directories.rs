//! Which CA an order goes to.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use zonecert_domain::failure::{Failure, FailureCode};
use zonecert_domain::id::{AccountId, AcmeAccountId};
use zonecert_domain::zone_name::ZoneName;
use zonecert_store::ca_budget::Ledger;
use zonecert_store::issuing::Environment;

use crate::acme::AcmeDirectory;

/// So many accounts of customers are kept open; beyond that all are opened anew at their next use.
const MOST_OPEN: usize = 1000;

/// A CA that orders may go to.
pub struct Authority {
    /// How it is talked to, and our account there.
    pub directory: Arc<AcmeDirectory>,
    /// What it allows.
    pub ledger: Ledger,
    /// The names by which CAA records allow it (RFC 8659 §4.2).
    pub caa_identities: Vec<ZoneName>,
}

/// The CAs that are configured (requirements S3.8), for each environment the one that is asked first in front.
#[derive(Default)]
pub struct Directories {
    /// Trusted by everybody.
    pub production: Vec<Authority>,
    /// For trying things out.
    pub staging: Vec<Authority>,
    own: Mutex<HashMap<AcmeAccountId, Arc<AcmeDirectory>>>,
}

impl Directories {
    /// Those for new orders of this environment: at least one.
    pub(crate) fn for_environment(&self, environment: Environment) -> Result<&[Authority], Failure> {
        let authorities = match environment {
            Environment::Production => &self.production,
            Environment::Staging => &self.staging,
        };
        if authorities.is_empty() {
            let detail = format!("no ACME directory is configured for {}", environment.as_str());
            return Err(Failure::new(FailureCode::Internal, detail));
        }
        Ok(authorities)
    }

    /// Those of `authorities` at which orders may ask for this profile, in their order: all where none is wished. One whose directory cannot be read is taken to offer what it
    /// is asked for; it says so itself.
    pub(crate) async fn offering<'a>(authorities: &'a [Authority], profile: Option<&str>) -> Vec<&'a Authority> {
        let Some(profile) = profile else { return authorities.iter().collect() };
        let mut offering = Vec::with_capacity(authorities.len());
        for authority in authorities {
            match authority.directory.offers_profile(profile).await {
                Ok(false) => {}
                Ok(true) => offering.push(authority),
                Err(failure) => {
                    tracing::warn!(%failure, directory_url = authority.ledger.directory_url, "the CA's directory cannot be read");
                    offering.push(authority);
                }
            }
        }
        offering
    }

    /// The directory at which an order was placed: it is finished there, and so is all that follows from it.
    pub(crate) fn by_url(&self, url: &str) -> Result<&Arc<AcmeDirectory>, Failure> {
        self.authority(url).map(|authority| &authority.directory)
    }

    /// The same, with the customer's own account there, where one was used.
    pub(crate) fn of(&self, url: &str, account: AccountId, own: Option<AcmeAccountId>) -> Result<Arc<AcmeDirectory>, Failure> {
        let ours = self.by_url(url)?;
        let Some(id) = own else { return Ok(Arc::clone(ours)) };
        let mut open = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        if open.len() >= MOST_OPEN && !open.contains_key(&id) {
            open.clear();
        }
        Ok(Arc::clone(open.entry(id).or_insert_with(|| Arc::new(ours.for_own(account, id)))))
    }

    /// Whether orders may go elsewhere than to this directory.
    pub(crate) fn has_others(&self, url: &str) -> bool {
        self.beside(url).any(|authorities| authorities.len() > 1)
    }

    /// Whether orders for this profile may.
    pub(crate) async fn has_others_offering(&self, url: &str, profile: Option<&str>) -> bool {
        for authorities in self.beside(url) {
            if Self::offering(authorities, profile).await.iter().any(|authority| authority.ledger.directory_url != url) {
                return true;
            }
        }
        false
    }

    /// The environments that this directory is one of.
    fn beside(&self, url: &str) -> impl Iterator<Item = &[Authority]> {
        [self.production.as_slice(), self.staging.as_slice()]
            .into_iter()
            .filter(move |authorities| authorities.iter().any(|authority| authority.ledger.directory_url == url))
    }

    /// The CA of a directory.
    pub(crate) fn authority(&self, url: &str) -> Result<&Authority, Failure> {
        self.production
            .iter()
            .chain(&self.staging)
            .find(|authority| authority.ledger.directory_url == url)
            .ok_or_else(|| Failure::new(FailureCode::OrderLost, "the directory in which the order was placed is not configured any more"))
    }
}
