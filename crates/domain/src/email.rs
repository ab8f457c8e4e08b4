//! E-mail addresses, by which people sign in and are written to.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

use crate::name::{NameError, syntax};

/// RFC 5321 §4.5.3.1.1.
const MAX_LOCAL_LENGTH: usize = 64;

/// RFC 5321 §4.5.3.1.3 less the angle brackets (RFC 3696, erratum 1690).
const MAX_LENGTH: usize = 254;

/// An e-mail address. The part before the `@` keeps the case in which it was typed, for delivery; two addresses that differ in
/// case only are the same address, in comparisons and in [`Self::folded`].
#[derive(Clone, Debug)]
pub struct Email {
    address: String,
    folded: String,
}

/// Why a text is not an address that we can write to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EmailError {
    /// Nothing, or white space only.
    #[error("the e-mail address is empty; give one such as you@your-domain.com")]
    Empty,
    /// RFC 5321 §4.5.3.1.
    #[error("the e-mail address is too long; at most {MAX_LENGTH} characters, and {MAX_LOCAL_LENGTH} before the @")]
    TooLong,
    /// None or several.
    #[error("the e-mail address must have exactly one @, as in you@your-domain.com")]
    NeedsOneAt,
    /// Not dot-separated atoms (RFC 5321 §4.1.2). Quoted and non-ASCII ones are not supported.
    #[error("the part before the @ may have letters, digits, dots between them and !#$%&'*+/=?^_`{{|}}~-; check it")]
    LocalPart,
    /// What follows the `@` is not a host name.
    #[error("the part after the @ is not a domain: {0}")]
    Domain(NameError),
}

impl EmailError {
    /// The stable code in problem documents.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Empty => "email_empty",
            Self::TooLong => "email_too_long",
            Self::NeedsOneAt => "email_needs_one_at",
            Self::LocalPart => "email_local_part_invalid",
            Self::Domain(_) => "email_domain_invalid",
        }
    }

    /// What is wrong and what to do, for a person.
    pub fn detail(&self) -> String {
        self.to_string()
    }
}

impl Email {
    /// Reads what a person typed; white space around it is dropped, the domain becomes lower-case A-labels.
    ///
    /// Errors: the first rule that the text breaks.
    pub fn parse(text: &str) -> Result<Self, EmailError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(EmailError::Empty);
        }
        let (local, domain) = text.split_once('@').ok_or(EmailError::NeedsOneAt)?;
        if domain.contains('@') {
            return Err(EmailError::NeedsOneAt);
        }
        if local.len() > MAX_LOCAL_LENGTH {
            return Err(EmailError::TooLong);
        }
        if !local.split('.').all(is_atom) {
            return Err(EmailError::LocalPart);
        }
        let domain = syntax::normalize(domain, MAX_LENGTH - local.len() - 1).map_err(|error| match error {
            NameError::TooLong => EmailError::TooLong,
            other => EmailError::Domain(other),
        })?;
        let address = format!("{local}@{domain}");
        Ok(Self { folded: address.to_ascii_lowercase(), address })
    }

    /// The address to write to.
    pub fn as_str(&self) -> &str {
        &self.address
    }

    /// The address in lower case: what is unique and what is looked up.
    pub fn folded(&self) -> &str {
        &self.folded
    }
}

/// RFC 5322 §3.2.3.
fn is_atom(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&b))
}

impl PartialEq for Email {
    fn eq(&self, other: &Self) -> bool {
        self.folded == other.folded
    }
}

impl Eq for Email {}

impl PartialOrd for Email {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Email {
    fn cmp(&self, other: &Self) -> Ordering {
        self.folded.cmp(&other.folded)
    }
}

impl Hash for Email {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.folded.hash(state);
    }
}

impl fmt::Display for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.address)
    }
}

impl AsRef<str> for Email {
    fn as_ref(&self) -> &str {
        &self.address
    }
}

impl serde::Serialize for Email {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.address)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_address_is_trimmed_and_compared_without_case() {
        let email = Email::parse("  Jo.Do+Test@Bücher.DE \n").unwrap();
        assert_eq!(email.as_str(), "Jo.Do+Test@xn--bcher-kva.de");
        assert_eq!(email.folded(), "jo.do+test@xn--bcher-kva.de");
        let other = Email::parse("jo.do+TEST@xn--bcher-kva.de.").unwrap();
        assert_eq!(email, other);
        assert_eq!(email.cmp(&other), Ordering::Equal);
        assert_eq!(HashSet::from([email.clone(), other]).len(), 1);
        assert_eq!(serde_json::to_value(&email).unwrap(), email.to_string());
        assert!(Email::parse("demo@example.test").is_ok());
    }

    #[test]
    fn what_is_no_address_is_refused_with_its_code() {
        let long_local = format!("{}@zonecert.io", "a".repeat(65));
        let long_domain = format!("{}@{}.zonecert.io", "a".repeat(60), vec!["a".repeat(60); 4].join("."));
        let endless = format!("a@{}", "a.".repeat(1_000_000));
        for (text, expected) in [
            ("", "email_empty"),
            (" \t", "email_empty"),
            ("jo", "email_needs_one_at"),
            ("jo@do@zonecert.io", "email_needs_one_at"),
            ("\"jo@do\"@zonecert.io", "email_needs_one_at"),
            ("@zonecert.io", "email_local_part_invalid"),
            (".jo@zonecert.io", "email_local_part_invalid"),
            ("jo.@zonecert.io", "email_local_part_invalid"),
            ("jo..do@zonecert.io", "email_local_part_invalid"),
            ("jo do@zonecert.io", "email_local_part_invalid"),
            ("jo\r\nBcc:x@zonecert.io", "email_local_part_invalid"),
            ("<jo@zonecert.io", "email_local_part_invalid"),
            ("jö@zonecert.io", "email_local_part_invalid"),
            ("jo@", "email_domain_invalid"),
            ("jo@localhost", "email_domain_invalid"),
            ("jo@192.0.2.1", "email_domain_invalid"),
            ("jo@[192.0.2.1]", "email_domain_invalid"),
            ("jo@zonecert..io", "email_domain_invalid"),
            ("jo@*.zonecert.io", "email_domain_invalid"),
            ("jo@zonecert.io>", "email_domain_invalid"),
            (long_local.as_str(), "email_too_long"),
            (long_domain.as_str(), "email_too_long"),
            (endless.as_str(), "email_too_long"),
        ] {
            assert_eq!(Email::parse(text).expect_err(text).code(), expected, "{text:.80}");
        }
    }

    #[test]
    fn the_longest_address_has_254_characters() {
        let domain = |last: usize| format!("{}.{}.io", vec!["b".repeat(60); 3].join("."), "c".repeat(last));
        let local = "a".repeat(64);
        let rest = 254 - 64 - 1 - (3 * 61 + ".io".len());
        assert_eq!(Email::parse(&format!("{local}@{}", domain(rest))).unwrap().as_str().len(), 254);
        assert_eq!(Email::parse(&format!("{local}@{}", domain(rest + 1))), Err(EmailError::TooLong));
    }

    proptest! {
        #[test]
        fn whatever_is_accepted_is_its_own_normal_form(text in prop_oneof![any::<String>(), r"[a-zA-Z.+ü]{1,9}@[a-zA-Zü.]{1,12}\.io"]) {
            if let Ok(email) = Email::parse(&text) {
                let (again, folded) = (Email::parse(email.as_str()).unwrap(), Email::parse(email.folded()).unwrap());
                prop_assert_eq!(again.as_str(), email.as_str());
                prop_assert_eq!(&folded, &email);
                prop_assert!(email.as_str().len() <= 254 && email.as_str().is_ascii());
                prop_assert!(!email.as_str().contains(char::is_whitespace));
            }
        }
    }
}
