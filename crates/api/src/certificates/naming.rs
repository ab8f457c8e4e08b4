//! How a certificate is called: what a customer may choose, and what we choose for them (requirements S0.3).

use zonecert_domain::name::DnsName;

use crate::problem::FieldError;

const MAX_LENGTH: usize = 100;

/// Leaves room for the `-2`, `-3`, … that makes a name unique.
const MAX_DERIVED_LENGTH: usize = 90;

/// A name that a customer has chosen: 1 to 100 letters, digits, `.`, `_` and `-`, a letter or digit first. So it is safe in a URL, a
/// header and a file name.
pub(crate) fn check(name: &str) -> Result<&str, FieldError> {
    let first = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    let safe = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'));
    if first && safe && name.len() <= MAX_LENGTH {
        return Ok(name);
    }
    let detail = format!("`name` takes 1 to {MAX_LENGTH} letters, digits, `.`, `_` and `-`, and begins with a letter or digit");
    Err(FieldError::new("/name", "certificate_name_invalid", detail))
}

/// What a certificate is called that nobody has named: like its domain, `wildcard.` standing for `*.`.
pub(super) fn derive(domain: &DnsName) -> String {
    let mut name = if domain.is_wildcard() { format!("wildcard.{}", domain.base()) } else { domain.as_str().to_owned() };
    name.truncate(MAX_DERIVED_LENGTH);
    name.truncate(name.trim_end_matches(['.', '-']).len());
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    fn derived(domain: &str) -> String {
        derive(&DnsName::from_stored(domain).unwrap())
    }

    #[test]
    fn a_name_that_is_safe_everywhere_is_taken() {
        for name in ["a", "0", "app.example.com", "My_cert-2", &"x".repeat(100)] {
            assert_eq!(check(name), Ok(name));
        }
        for name in ["", ".", "-a", "_a", "a b", "a/b", "a%2f", "é", "a\n", "a\0", "*.example.com", &"x".repeat(101)] {
            assert_eq!(check(name).unwrap_err().code, "certificate_name_invalid", "{name:?}");
        }
    }

    #[test]
    fn a_derived_name_follows_the_domain() {
        assert_eq!(derived("app.example.com"), "app.example.com");
        assert_eq!(derived("*.example.com"), "wildcard.example.com");
    }

    #[test]
    fn a_derived_name_is_always_one_that_could_be_chosen_with_room_for_a_number() {
        let (a, b) = ("a".repeat(60), "b".repeat(28));
        for (domain, expected) in [
            (format!("{a}.{a}.{a}.com"), format!("{a}.{}", "a".repeat(29))),
            (format!("*.{a}.{b}.com"), format!("wildcard.{a}.{}", "b".repeat(20))),
            // Cut right behind a dot or a hyphen, which then goes as well.
            (format!("{a}.{b}.com"), format!("{a}.{b}")),
            (format!("{a}.{b}-c.com"), format!("{a}.{b}")),
        ] {
            let name = derived(&domain);
            assert_eq!(name, expected);
            let numbered = format!("{name}-123456");
            assert_eq!(check(&numbered), Ok(numbered.as_str()));
        }
    }
}
