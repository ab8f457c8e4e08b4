//! DNS names of certificates, parsed once at the door and never a bare string further in (requirements S3.3, S3.7, S3.12).
//!
//! [`DnsName`] is one name of a certificate, [`NameSet`] all names of one, [`crate::zone_name::ZoneName`] a zone. What a customer
//! sends goes through `parse` with a [`NamePolicy`]; what comes back from our own database goes through `from_stored`, which
//! does not ask the public suffix list again, so that a name which was good when it was stored stays readable.

mod error;
mod policy;
mod search;
mod set;
pub(crate) mod syntax;

use std::fmt;

pub use error::NameError;
pub use policy::NamePolicy;
pub use search::search_text;
pub use set::{InvalidName, MAX_NAMES, NameField, NameSet, NameWish};
pub use syntax::is_at_or_below;

use crate::zone_name::ZoneName;

/// The label before a name at which the CA looks for its TXT record (RFC 8555 §8.4).
pub const CHALLENGE_LABEL: &str = "_acme-challenge";

/// Longest name in characters that leaves room for `_acme-challenge.` in the 253 of a DNS name (RFC 1035 §2.3.4, RFC 8555 §8.4).
pub const MAX_NAME_LENGTH: usize = 253 - CHALLENGE_LABEL.len() - 1;

/// How many challenge values of ours are put at one name at a time, so that an answer with all of them, and one foreign value beside them, fits
/// into 512 octets (RFC 1035 §4.2.1): there are validators that ask by UDP alone. At least 2, for a wildcard and its base.
pub fn challenge_capacity(record_name: &str) -> usize {
    const ANSWER: usize = 512;
    const HEADER: usize = 12;
    /// Root label, length of the first label, type, class.
    const QUESTION: usize = 6;
    /// Pointer to the name, type, class, TTL, length; then 43 characters of base64url with their length.
    const RECORD: usize = 12 + 44;
    let room = ANSWER.saturating_sub(HEADER + QUESTION + record_name.len());
    (room / RECORD).saturating_sub(1).max(2)
}

/// A DNS name that a certificate can carry: lower-case A-labels, no trailing dot, perhaps `*.` in front.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DnsName(String);

impl DnsName {
    /// Reads what a customer sent. Unicode becomes A-labels (UTS 46, non-transitional, STD3), case folds, one trailing dot is
    /// tolerated, `*.` may stand in front.
    ///
    /// Errors: the first rule that the text breaks; work is bounded whatever the length of the text.
    pub fn parse(text: &str, policy: &NamePolicy) -> Result<Self, NameError> {
        let (prefix, base) = split_wildcard(text);
        let base = syntax::normalize(base, MAX_NAME_LENGTH)?;
        policy.check(&base)?;
        let name = Self(format!("{prefix}{base}"));
        policy.check_wildcard_beside_platform(&name)?;
        Ok(name)
    }

    /// Reads a name that this type wrote to our database: syntax only.
    ///
    /// Errors: the text is not in the form that [`Self::as_str`] gives, so the row is damaged.
    pub fn from_stored(text: &str) -> Result<Self, NameError> {
        syntax::check(split_wildcard(text).1, MAX_NAME_LENGTH)?;
        Ok(Self(text.to_owned()))
    }

    /// Those of some stored names that can be read; what cannot is left out.
    pub fn readable(stored: &[String]) -> Vec<Self> {
        stored.iter().filter_map(|name| Self::from_stored(name).ok()).collect()
    }

    /// The name as it stands in a CSR, with `*.` if it is a wildcard.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the first label is `*`.
    pub fn is_wildcard(&self) -> bool {
        self.0.starts_with("*.")
    }

    /// The name without `*.`: the ACME identifier that is validated (RFC 8555 §7.1.3).
    pub fn base(&self) -> &str {
        split_wildcard(&self.0).1
    }

    /// The labels from left to right, `*` included.
    pub fn labels(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('.')
    }

    /// The labels from right to left, `com.example.app`: what lies below a name is a range of it in byte order.
    pub fn reversed(&self) -> String {
        syntax::reversed(&self.0)
    }

    /// Whether the zone's apex is this name or above it (requirements S3.12).
    pub fn is_at_or_below(&self, zone: &ZoneName) -> bool {
        syntax::is_at_or_below(self.base(), zone.as_str())
    }

    /// Where the TXT record stands: `_acme-challenge.<base>` without trailing dot (RFC 8555 §8.4). Apex and wildcard share it.
    pub fn challenge_name(&self) -> String {
        format!("{CHALLENGE_LABEL}.{}", self.base())
    }

    /// The public suffix and one label more, by which CAs count (requirements section 6). The name itself where the list of
    /// today calls it a suffix.
    pub fn registered_domain(&self) -> &str {
        syntax::registered_domain(self.base())
    }

    /// The wildcard that would cover this name, `*.example.com` for `app.example.com`; none for a wildcard.
    fn covering_wildcard(&self) -> Option<Self> {
        let (_, parent) = self.0.split_once('.')?;
        (!self.is_wildcard()).then(|| Self(format!("*.{parent}")))
    }

    fn wildcard_of(&self) -> Self {
        Self(format!("*.{}", self.base()))
    }

    fn base_of(&self) -> Self {
        Self(self.base().to_owned())
    }
}

/// `*.` or nothing, and what follows.
fn split_wildcard(text: &str) -> (&'static str, &str) {
    text.strip_prefix("*.").map_or(("", text), |base| ("*.", base))
}

impl fmt::Display for DnsName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for DnsName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl serde::Serialize for DnsName {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

#[cfg(test)]
mod tests;
