//! Names of DNS zones (requirements S3.11, S3.70).

use std::fmt;

use crate::name::{MAX_NAME_LENGTH, NameError, NamePolicy, syntax};

/// Label below which the proof of control stands.
pub const OWNERSHIP_LABEL: &str = "_zonecert";

/// The apex of a zone: lower-case A-labels, no trailing dot, never a wildcard or a public suffix.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ZoneName(String);

impl ZoneName {
    /// Reads what a customer sent, by the rules of [`crate::name::DnsName::parse`]. The platform's zones, and whatever lies above
    /// or below one, are refused (requirements S3.7).
    ///
    /// Errors: the first rule that the text breaks.
    pub fn parse(text: &str, policy: &NamePolicy) -> Result<Self, NameError> {
        if text.starts_with("*.") {
            return Err(NameError::WildcardZone);
        }
        let name = syntax::normalize(text, MAX_NAME_LENGTH)?;
        policy.check(&name)?;
        policy.check_not_above_platform(&name)?;
        Ok(Self(name))
    }

    /// Reads a name that this type wrote to our database: syntax only.
    ///
    /// Errors: the text is not in the form that [`Self::as_str`] gives, so the row is damaged.
    pub fn from_stored(text: &str) -> Result<Self, NameError> {
        syntax::check(text, MAX_NAME_LENGTH)?;
        Ok(Self(text.to_owned()))
    }

    /// Reads a zone of the platform from the settings: syntax only, since the operator answers for it.
    ///
    /// Errors: the text is no DNS name.
    pub fn platform(text: &str) -> Result<Self, NameError> {
        syntax::normalize(text, MAX_NAME_LENGTH).map(Self)
    }

    /// The name without trailing dot.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name with the trailing dot that the API of `PowerDNS` wants.
    pub fn fqdn(&self) -> String {
        format!("{}.", self.0)
    }

    /// Where the TXT record stands that proves control of the zone (requirements S3.70), without trailing dot.
    pub fn ownership_record(&self) -> String {
        format!("{OWNERSHIP_LABEL}.{}", self.0)
    }

    /// The labels from left to right.
    pub fn labels(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('.')
    }

    /// The labels from right to left, `com.example`.
    pub fn reversed(&self) -> String {
        syntax::reversed(&self.0)
    }

    /// Whether this zone is the other one or lies below it.
    pub fn is_at_or_below(&self, other: &Self) -> bool {
        syntax::is_at_or_below(&self.0, &other.0)
    }

    /// The public suffix and one label more.
    pub fn registered_domain(&self) -> &str {
        syntax::registered_domain(&self.0)
    }
}

/// Whether one of the TXT values that were seen is the wanted one. Some providers keep the quotes that a person has typed around a value.
pub fn proves_control<'a>(seen: impl IntoIterator<Item = &'a str>, wanted: &str) -> bool {
    seen.into_iter().any(|value| value.trim().trim_matches('"').trim() == wanted)
}

impl fmt::Display for ZoneName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for ZoneName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl serde::Serialize for ZoneName {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn code(text: &str, policy: &NamePolicy) -> Option<&'static str> {
        ZoneName::parse(text, policy).err().map(|error| error.code())
    }

    #[test]
    fn a_zone_is_normalized_like_a_name() {
        let zone = ZoneName::parse("Bücher.DE.", &NamePolicy::default()).unwrap();
        assert_eq!(zone.as_str(), "xn--bcher-kva.de");
        assert_eq!(zone.fqdn(), "xn--bcher-kva.de.");
        assert_eq!(zone.ownership_record(), "_zonecert.xn--bcher-kva.de");
        assert_eq!(zone.reversed(), "de.xn--bcher-kva");
        assert_eq!(zone.labels().collect::<Vec<_>>(), ["xn--bcher-kva", "de"]);
        assert_eq!(serde_json::to_value(&zone).unwrap(), "xn--bcher-kva.de");
        assert_eq!(ZoneName::from_stored(zone.as_str()), Ok(zone));
    }

    #[test]
    fn wildcards_suffixes_and_underscores_are_no_zones() {
        let policy = NamePolicy::default();
        assert_eq!(code("*.zonecert.io", &policy), Some("name_wildcard_zone"));
        assert_eq!(code("co.uk", &policy), Some("name_is_public_suffix"));
        assert_eq!(code("github.io", &policy), Some("name_is_public_suffix"));
        assert_eq!(code("uk", &policy), Some("name_too_few_labels"));
        assert_eq!(code("_acme-challenge.zonecert.io", &policy), Some("name_underscore"));
        assert_eq!(code("shop.co.uk", &policy), None);
    }

    #[test]
    fn a_platform_zone_is_refused_from_above_and_below() {
        let policy = NamePolicy { platform_zones: vec![ZoneName::platform("acme.zonecert.io").unwrap()], ..NamePolicy::default() };
        for text in ["acme.zonecert.io", "ACME.zonecert.io.", "x.acme.zonecert.io", "zonecert.io"] {
            assert_eq!(code(text, &policy), Some("name_in_platform_zone"), "{text}");
        }
        for text in ["macme.zonecert.io", "api.zonecert.io", "notzonecert.io"] {
            assert_eq!(code(text, &policy), None, "{text}");
        }
    }

    #[test]
    fn the_value_proves_alone_or_beside_others_and_in_quotes() {
        for seen in [&["v=1"][..], &["spf", "v=1"], &["\"v=1\""], &[" v=1 "]] {
            assert!(proves_control(seen.iter().copied(), "v=1"), "{seen:?}");
        }
        for seen in [&["v=2"][..], &["v=11"], &["x v=1"], &["V=1"], &[""], &[]] {
            assert!(!proves_control(seen.iter().copied(), "v=1"), "{seen:?}");
        }
    }

    #[test]
    fn a_development_zone_needs_the_setting() {
        let development = NamePolicy { allow_special_use: true, ..NamePolicy::default() };
        assert_eq!(code("example.test", &development), None);
        assert_eq!(code("test", &development), Some("name_too_few_labels"));
        assert_eq!(code("example.test", &NamePolicy::default()), Some("name_special_use"));
    }

    #[test]
    fn the_registered_domain_lies_above_the_zone() {
        let zone = ZoneName::parse("eu.shop.co.uk", &NamePolicy::default()).unwrap();
        assert_eq!(zone.registered_domain(), "shop.co.uk");
    }

    proptest! {
        #[test]
        fn a_zone_lies_below_each_of_its_parents_and_never_above(labels in proptest::collection::vec("[a-z][a-z0-9]{0,5}", 1..4)) {
            let development = NamePolicy { allow_special_use: true, ..NamePolicy::default() };
            let parent = ZoneName::parse("example.test", &development).unwrap();
            let child = ZoneName::parse(&format!("{}.example.test", labels.join(".")), &development).unwrap();
            prop_assert!(child.is_at_or_below(&parent) && child.is_at_or_below(&child));
            prop_assert!(!parent.is_at_or_below(&child));
            let below = child.reversed();
            prop_assert!(below.as_str() > "test.example." && below.as_str() < "test.example/");
        }
    }
}
