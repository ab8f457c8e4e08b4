//! From what people type to lower-case A-labels, and the arithmetic of labels.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr};

use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};

use super::NameError;

/// No text longer than this is looked at: 253 characters of at most 4 bytes each, and the two of a wildcard.
const MAX_INPUT_BYTES: usize = 1024;

const MAX_LABEL_LENGTH: usize = 63;

/// Turns a host name as people write it into lower-case A-labels without trailing dot, of at most `max_length` characters.
pub(crate) fn normalize(text: &str, max_length: usize) -> Result<String, NameError> {
    if text.len() > MAX_INPUT_BYTES {
        return Err(NameError::TooLong);
    }
    if is_ip_address(text) {
        return Err(NameError::IpAddress);
    }
    for character in text.chars() {
        check_character(character)?;
    }
    let mut name = to_ascii(text)?.into_owned();
    if name.ends_with('.') {
        name.pop();
    }
    check(&name, max_length)?;
    check_not_numeric(&name)?;
    Ok(name)
}

/// Checks that a text is what [`normalize`] gives, without mapping anything.
pub(crate) fn check(name: &str, max_length: usize) -> Result<(), NameError> {
    if name.is_empty() {
        return Err(NameError::Empty);
    }
    if name.len() > max_length {
        return Err(NameError::TooLong);
    }
    let mut labels = 0_usize;
    for label in name.split('.') {
        check_label(label)?;
        labels += 1;
    }
    if labels < 2 { Err(NameError::TooFewLabels) } else { Ok(()) }
}

/// Whether `name` is `zone` or ends in `.zone`.
pub fn is_at_or_below(name: &str, zone: &str) -> bool {
    name.strip_suffix(zone).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// The labels from right to left.
pub(crate) fn reversed(name: &str) -> String {
    name.rsplit('.').collect::<Vec<_>>().join(".")
}

/// The public suffix and one label more, or the name itself if it is a suffix.
pub(crate) fn registered_domain(base: &str) -> &str {
    psl::domain_str(base).unwrap_or(base)
}

/// Names the character at fault before UTS 46 sees the text, because its errors say nothing.
fn check_character(character: char) -> Result<(), NameError> {
    match character {
        'a'..='z' | 'A'..='Z' | '0'..='9' | '-' | '.' => Ok(()),
        '*' => Err(NameError::WildcardMisplaced),
        '_' => Err(NameError::Underscore),
        _ if character.is_ascii() || character.is_whitespace() || character.is_control() => Err(NameError::InvalidCharacter { character }),
        _ => Ok(()),
    }
}

fn to_ascii(text: &str) -> Result<Cow<'_, str>, NameError> {
    // Plain ASCII needs folding only, and its faults have names of their own in `check`.
    let has_a_label = || text.split('.').any(|label| label.get(..4).is_some_and(|head| head.eq_ignore_ascii_case("xn--")));
    if text.is_ascii() && !has_a_label() {
        return Ok(Cow::Owned(text.to_ascii_lowercase()));
    }
    Uts46::new().to_ascii(text.as_bytes(), AsciiDenyList::STD3, Hyphens::Check, DnsLength::Ignore).map_err(|_| NameError::InvalidIdn)
}

/// RFC 5890 §2.3.1: letters, digits and hyphens, and `--` in third place only after `xn`.
fn check_label(label: &str) -> Result<(), NameError> {
    if label.is_empty() {
        return Err(NameError::EmptyLabel);
    }
    if label.len() > MAX_LABEL_LENGTH {
        return Err(NameError::LabelTooLong);
    }
    if let Some(character) = label.chars().find(|c| !matches!(c, 'a'..='z' | '0'..='9' | '-')) {
        return Err(if character == '_' { NameError::Underscore } else { NameError::InvalidCharacter { character } });
    }
    let reserved = label.get(2..4) == Some("--") && !label.starts_with("xn");
    if reserved || label.starts_with('-') || label.ends_with('-') {
        return Err(NameError::Hyphen);
    }
    Ok(())
}

/// Wide and circled digits have become plain ones by now, so this sees what `is_ip_address` could not.
fn check_not_numeric(name: &str) -> Result<(), NameError> {
    let numeric_tld = name.rsplit('.').next().is_some_and(|tld| tld.bytes().all(|b| b.is_ascii_digit()));
    match (numeric_tld, name.parse::<Ipv4Addr>()) {
        (true, Ok(_)) => Err(NameError::IpAddress),
        (true, Err(_)) => Err(NameError::NumericTld),
        (false, _) => Ok(()),
    }
}

fn is_ip_address(text: &str) -> bool {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    bare.parse::<IpAddr>().is_ok()
}
