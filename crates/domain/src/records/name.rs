//! Names in zones: unlike names of certificates, they may hold underscores, and may not be in the public DNS.

use std::fmt;

use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};

use super::RecordError;
use crate::name::CHALLENGE_LABEL;
use crate::zone_name::ZoneName;

/// No longer text is looked at.
const MAX_INPUT_BYTES: usize = 1024;

/// RFC 1035 §2.3.4, without the dot at the end.
const MAX_LENGTH: usize = 253;

const MAX_LABEL_LENGTH: usize = 63;

/// The name that a record has: lower-case A-labels, no trailing dot, perhaps `*` as its first label (RFC 4592).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RecordName(String);

impl RecordName {
    /// Reads a complete name, with or without its final dot. Unicode becomes A-labels, case folds.
    pub fn parse(text: &str) -> Result<Self, RecordError> {
        Self::complete(text, None)
    }

    /// Reads a name of a zone file: without its final dot it is relative to `origin`, and `@` is `origin` itself (RFC 1035 §5.1).
    pub(super) fn relative(text: &str, origin: &str) -> Result<Self, RecordError> {
        Self::complete(text, Some(origin))
    }

    fn complete(text: &str, origin: Option<&str>) -> Result<Self, RecordError> {
        let name = normalize(text, origin)?;
        if name.is_empty() {
            return Err(invalid(text, "is empty; give the whole name, such as www.example.com"));
        }
        let base = name.strip_prefix("*.").unwrap_or(&name);
        if base.contains('*') {
            return Err(invalid(text, "has a * that is not its whole first part; write a wildcard as *.example.com"));
        }
        Ok(Self(name))
    }

    /// The name without trailing dot.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is the zone's own name.
    pub fn is_apex_of(&self, zone: &ZoneName) -> bool {
        self.0 == zone.as_str()
    }

    /// Whether it is the zone's own name or lies below it.
    pub fn is_at_or_below(&self, zone: &ZoneName) -> bool {
        crate::name::syntax::is_at_or_below(&self.0, zone.as_str())
    }

    /// Whether what stands here is this service's to manage: challenges, and the proof of control of the zone.
    pub fn is_reserved_in(&self, zone: &ZoneName) -> bool {
        self.0.split('.').next() == Some(CHALLENGE_LABEL) || self.0 == zone.ownership_record()
    }
}

impl fmt::Display for RecordName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl serde::Serialize for RecordName {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// The name of a host in a record's data: complete, with its final dot. The root is a lone dot.
pub(super) fn target(text: &str, origin: Option<&str>) -> Result<String, String> {
    let says = |error: RecordError| error.to_string();
    let name = normalize(text, origin).map_err(says)?;
    if name.contains('*') {
        return Err(format!("{} points to a wildcard; give a whole name", shown(text)));
    }
    if !name.contains('.') && !ends_with_dot(text) && origin.is_none() {
        return Err(format!("{} is not a whole name; write it out with its zone", shown(text)));
    }
    Ok(format!("{name}."))
}

/// Lower-case A-labels without trailing dot, `*` among them; nothing for the root.
fn normalize(text: &str, origin: Option<&str>) -> Result<String, RecordError> {
    if text.len() > MAX_INPUT_BYTES {
        return Err(invalid(text, "is too long; a name has at most 253 characters"));
    }
    if text == "." {
        return Ok(String::new());
    }
    if let ("@", Some(origin)) = (text, origin) {
        return Ok(origin.to_owned());
    }
    let mut name = to_ascii(text)?;
    match (name.strip_suffix('.'), origin) {
        (Some(complete), _) => name.truncate(complete.len()),
        (None, Some(origin)) if !origin.is_empty() => name = format!("{name}.{origin}"),
        (None, _) => {}
    }
    if name.len() > MAX_LENGTH {
        return Err(invalid(text, "is too long; a name has at most 253 characters"));
    }
    match name.split('.').find_map(label_fault) {
        Some(fault) => Err(invalid(text, fault)),
        None => Ok(name),
    }
}

fn ends_with_dot(text: &str) -> bool {
    to_ascii(text).is_ok_and(|name| name.ends_with('.'))
}

fn to_ascii(text: &str) -> Result<String, RecordError> {
    let has_a_label = || text.split('.').any(|label| label.get(..4).is_some_and(|head| head.eq_ignore_ascii_case("xn--")));
    if text.is_ascii() && !has_a_label() {
        return Ok(text.to_ascii_lowercase());
    }
    // Underscores pass, and what else ASCII has is looked at label by label.
    let name = Uts46::new().to_ascii(text.as_bytes(), AsciiDenyList::EMPTY, Hyphens::Allow, DnsLength::Ignore);
    name.map(std::borrow::Cow::into_owned)
        .map_err(|_| invalid(text, "is not a valid internationalized name; check its spelling, or give its xn-- form"))
}

fn label_fault(label: &str) -> Option<&'static str> {
    if label.is_empty() {
        return Some("has an empty part; remove the doubled or leading dot");
    }
    if label.len() > MAX_LABEL_LENGTH {
        return Some("has a part of more than 63 characters between dots; shorten it");
    }
    let known = |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'*');
    (!label.bytes().all(known)).then_some("has characters other than letters, digits, hyphens and underscores; leave them out")
}

fn invalid(text: &str, what: &str) -> RecordError {
    RecordError::Name(format!("the name {} {what}", shown(text)))
}

/// What was given, in bounds and without control characters.
pub(super) fn shown(text: &str) -> String {
    const MAX_CHARACTERS: usize = 80;
    let cut: String = text.chars().take(MAX_CHARACTERS).collect();
    format!("{cut:?}{}", if cut.len() < text.len() { "…" } else { "" })
}
