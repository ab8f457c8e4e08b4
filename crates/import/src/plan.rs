//! What is to become of a certificate, by what the account has.

use chrono::{DateTime, Utc};

use crate::Found;

/// A certificate of the account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Existing {
    /// `cert_…`
    pub id: String,
    /// Whether it takes new versions from its owner.
    pub is_uploaded: bool,
    /// The end of the version in use.
    pub expires_at: Option<DateTime<Utc>>,
}

/// What is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// It becomes a certificate.
    Upload,
    /// It becomes a version of this certificate.
    NewVersion(String),
    /// This certificate has it already.
    AlreadyThere(String),
    /// Nothing, and why.
    Skip(String),
}

/// `holder` is the certificate that has this very version, `named` the one with the name of what was found.
pub fn decide(found: &Found, holder: Option<&Existing>, named: Option<&Existing>) -> Action {
    let Some(upload) = found.usable() else {
        return Action::Skip(found.fault.clone().unwrap_or_default());
    };
    if let Some(holder) = holder {
        return Action::AlreadyThere(holder.id.clone());
    }
    match named {
        None => Action::Upload,
        Some(Existing { id, is_uploaded: false, .. }) => {
            Action::Skip(format!("{id} has its name, and is issued by Zonecert; rename that first"))
        }
        Some(Existing { id, expires_at, .. }) if *expires_at > Some(upload.chain.not_after()) => {
            Action::Skip(format!("{id} has its name, and a version that is valid longer"))
        }
        Some(Existing { id, .. }) => Action::NewVersion(id.clone()),
    }
}
