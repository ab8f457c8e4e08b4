//! Whether a chain is the one that was ordered, and hangs together.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use openssl::error::ErrorStack;
use openssl::stack::Stack;
use openssl::x509::store::{X509Store, X509StoreBuilder};
use openssl::x509::verify::X509VerifyFlags;
use openssl::x509::{X509, X509PurposeId, X509Ref, X509StoreContext, X509VerifyResult};

use super::CertificateChain;
use super::leaf::to_utc;

/// How far in the future a certificate may begin: the CA's clock may run ahead of ours by that much. Most CAs backdate by an hour,
/// those that do not (Pebble) start at their own "now".
pub const NOT_BEFORE_TOLERANCE: TimeDelta = TimeDelta::minutes(5);

/// Why a chain is not stored as a version. Positions count from 0, the leaf.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChainProblem {
    /// The leaf certifies another key than the one that was sent in the request.
    #[error("the certificate is for another key than the order's; order again with the right certificate request")]
    KeyMismatch,
    /// The leaf has not exactly the names that were ordered.
    #[error(
        "the certificate's names are not the order's (missing: {}; not ordered: {}); order again with all names",
        listed(missing),
        listed(unexpected)
    )]
    NamesMismatch {
        /// Names that were ordered and are not there.
        missing: Vec<String>,
        /// Names that are there and were not ordered; the empty string stands for names that are not DNS names.
        unexpected: Vec<String>,
    },
    /// The leaf's validity begins later than the tolerance allows.
    #[error("the certificate is valid from {not_before} on only; check this machine's clock, then order again")]
    NotYetValid {
        /// When it begins.
        not_before: DateTime<Utc>,
    },
    /// The leaf's validity is over.
    #[error("the certificate expired at {not_after}; check this machine's clock, then order again")]
    Expired {
        /// When it ended.
        not_after: DateTime<Utc>,
    },
    /// An issuer's validity begins later than the tolerance allows, or cannot be read.
    #[error("certificate {position} of the chain, an issuer, is not valid yet; ask the CA for another chain")]
    IssuerNotYetValid {
        /// Which issuer; 1 is the leaf's.
        position: usize,
    },
    /// An issuer's validity is over, or cannot be read.
    #[error("certificate {position} of the chain, an issuer, has expired; ask the CA for another chain")]
    IssuerExpired {
        /// Which issuer; 1 is the leaf's.
        position: usize,
    },
    /// A certificate is not followed by its issuer.
    #[error(
        "certificate {position} of the chain is not issued by the one after it ({reason}); ask the CA for a chain in order, leaf first"
    )]
    WrongIssuer {
        /// Which certificate.
        position: usize,
        /// What openssl says about it.
        reason: &'static str,
    },
    /// The signature over a certificate is not by the key of the one after it.
    #[error("the signature over certificate {position} of the chain does not fit its issuer's key; ask the CA for another chain")]
    BadSignature {
        /// Which certificate.
        position: usize,
    },
    /// The certificates follow each other, but the path they make is not valid.
    #[error("certificate {position} of the chain may not be used so ({reason}); ask the CA for another chain or profile")]
    PathInvalid {
        /// Which certificate.
        position: usize,
        /// What openssl says about it, for instance "invalid CA certificate".
        reason: String,
    },
}

impl ChainProblem {
    /// Stable name for events, logs and the API.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::KeyMismatch => "key_mismatch",
            Self::NamesMismatch { .. } => "names_mismatch",
            Self::NotYetValid { .. } => "not_yet_valid",
            Self::Expired { .. } => "expired",
            Self::IssuerNotYetValid { .. } => "issuer_not_yet_valid",
            Self::IssuerExpired { .. } => "issuer_expired",
            Self::WrongIssuer { .. } => "wrong_issuer",
            Self::BadSignature { .. } => "bad_signature",
            Self::PathInvalid { .. } => "path_invalid",
        }
    }
}

fn listed(names: &[String]) -> String {
    match names {
        [] => "none".to_owned(),
        _ => names.iter().map(|name| if name.is_empty() { "a name that is no DNS name" } else { name }).collect::<Vec<_>>().join(", "),
    }
}

pub(super) fn check(
    chain: &CertificateChain,
    expected_public_key_sha256: [u8; 32],
    expected_names: &[impl AsRef<str>],
    now: DateTime<Utc>,
) -> Result<(), ChainProblem> {
    if chain.leaf.public_key_sha256 != expected_public_key_sha256 {
        return Err(ChainProblem::KeyMismatch);
    }
    check_names(chain, expected_names)?;
    let latest_beginning = now + NOT_BEFORE_TOLERANCE;
    if chain.leaf.not_before > latest_beginning {
        return Err(ChainProblem::NotYetValid { not_before: chain.leaf.not_before });
    }
    if chain.leaf.not_after < now {
        return Err(ChainProblem::Expired { not_after: chain.leaf.not_after });
    }
    for (position, issuer) in chain.certificates.iter().enumerate().skip(1) {
        if to_utc(issuer.not_before()).is_none_or(|not_before| not_before > latest_beginning) {
            return Err(ChainProblem::IssuerNotYetValid { position });
        }
        if to_utc(issuer.not_after()).is_none_or(|not_after| not_after < now) {
            return Err(ChainProblem::IssuerExpired { position });
        }
    }
    for (position, pair) in chain.certificates.windows(2).enumerate() {
        check_pair(position, &pair[0], &pair[1])?;
    }
    check_path(&chain.certificates)
}

fn check_names(chain: &CertificateChain, expected: &[impl AsRef<str>]) -> Result<(), ChainProblem> {
    let expected: BTreeSet<String> = expected.iter().map(|name| name.as_ref().to_ascii_lowercase()).collect();
    let mut found: BTreeSet<String> = chain.leaf.names.dns.iter().cloned().collect();
    if chain.leaf.names.has_others {
        found.insert(String::new());
    }
    if expected == found {
        return Ok(());
    }
    Err(ChainProblem::NamesMismatch {
        missing: expected.difference(&found).cloned().collect(),
        unexpected: found.difference(&expected).cloned().collect(),
    })
}

fn check_pair(position: usize, certificate: &X509Ref, issuer: &X509Ref) -> Result<(), ChainProblem> {
    let verdict = issuer.issued(certificate);
    if verdict != X509VerifyResult::OK {
        return Err(ChainProblem::WrongIssuer { position, reason: verdict.error_string() });
    }
    let signed = issuer.public_key().and_then(|key| certificate.verify(&key));
    // A signature that does not fit leaves its reason in openssl's per-thread queue, where a later failure would report it as its own.
    drop(ErrorStack::get());
    if matches!(signed, Ok(true)) { Ok(()) } else { Err(ChainProblem::BadSignature { position }) }
}

/// openssl's own path validation, anchored at the last certificate. Times are checked by us, with our tolerance and at a given `now`.
fn check_path(certificates: &[X509]) -> Result<(), ChainProblem> {
    let outcome = validate_path(certificates);
    drop(ErrorStack::get());
    match outcome {
        Ok(outcome) => outcome,
        Err(error) => Err(ChainProblem::PathInvalid { position: 0, reason: error.to_string() }),
    }
}

fn validate_path(certificates: &[X509]) -> Result<Result<(), ChainProblem>, ErrorStack> {
    let mut issuers = Stack::new()?;
    for issuer in certificates.iter().skip(1) {
        issuers.push(issuer.clone())?;
    }
    let anchor = anchored_at(&certificates[certificates.len() - 1])?;
    X509StoreContext::new()?.init(&anchor, &certificates[0], &issuers, |context| {
        Ok(if context.verify_cert()? {
            Ok(())
        } else {
            Err(ChainProblem::PathInvalid { position: context.error_depth() as usize, reason: context.error().error_string().to_owned() })
        })
    })
}

fn anchored_at(certificate: &X509) -> Result<X509Store, ErrorStack> {
    let mut store = X509StoreBuilder::new()?;
    store.set_flags(X509VerifyFlags::PARTIAL_CHAIN | X509VerifyFlags::NO_CHECK_TIME)?;
    store.set_purpose(X509PurposeId::SSL_SERVER)?;
    store.add_cert(certificate.clone())?;
    Ok(store.build())
}
