//! All names of one certificate: the primary domain and its SANs.

use std::collections::BTreeSet;

use super::{DnsName, NameError, NamePolicy};
use crate::zone_name::ZoneName;

/// Most names on one certificate (requirements S3.52; Let's Encrypt's limit as well).
pub const MAX_NAMES: usize = 100;

/// A list longer than this is refused unread; between the two limits doubles may still bring it down to [`MAX_NAMES`].
const MAX_NAMES_READ: usize = 1000;

/// What a customer asks for, as it came in (requirements section 7).
#[derive(Clone, Copy, Debug)]
pub struct NameWish<'a> {
    /// The primary domain, with or without `*.`.
    pub domain: &'a str,
    /// Further names.
    pub sans: &'a [String],
    /// Makes the primary domain a wildcard, whether or not it says so itself.
    pub wildcard: bool,
    /// For a wildcard primary: its base becomes a SAN too. `true` unless the customer says otherwise.
    pub include_base: bool,
}

/// Where in the request a name stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameField {
    /// `domain`.
    Domain,
    /// `sans`, counted from 0.
    San(usize),
    /// `sans` as a whole.
    Sans,
}

impl NameField {
    /// The JSON pointer of the field in a request body (RFC 6901), `/sans/3`.
    pub fn pointer(self) -> String {
        match self {
            Self::Domain => "/domain".to_owned(),
            Self::San(index) => format!("/sans/{index}"),
            Self::Sans => "/sans".to_owned(),
        }
    }
}

/// One name of a request that was refused, and where it stood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidName {
    /// Where.
    pub field: NameField,
    /// Why.
    pub error: NameError,
}

/// The names of one certificate in the customer's order, primary first, each once: 1 to [`MAX_NAMES`], none covered by another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameSet {
    names: Vec<DnsName>,
    /// Where each stood in the request.
    fields: Vec<NameField>,
}

impl NameSet {
    /// Reads a request. `wildcard: true` with domain `example.com`, or domain `*.example.com`, means `*.example.com` with
    /// `example.com` as first SAN, unless `include_base` is false or another wildcard of the request covers the base. A name
    /// given twice, in whatever spelling, counts once.
    ///
    /// Errors: every name at fault, never an empty list.
    pub fn parse(wish: &NameWish<'_>, policy: &NamePolicy) -> Result<Self, Vec<InvalidName>> {
        if wish.sans.len() > MAX_NAMES_READ {
            return Err(vec![InvalidName { field: NameField::Sans, error: NameError::TooManyNames }]);
        }
        let given = std::iter::once((NameField::Domain, wish.domain))
            .chain(wish.sans.iter().enumerate().map(|(index, san)| (NameField::San(index), san.as_str())));
        let mut parsed = Vec::new();
        let mut invalid = Vec::new();
        for (field, text) in given {
            match DnsName::parse(text, policy).and_then(|name| widen(name, field, wish, policy)) {
                Ok(name) => parsed.push((field, name)),
                Err(error) => invalid.push(InvalidName { field, error }),
            }
        }
        if !invalid.is_empty() {
            return Err(invalid);
        }
        let set = add_base(parsed, wish.include_base);
        Self::from_fields(set)
    }

    /// The primary domain.
    pub fn primary(&self) -> &DnsName {
        &self.names[0]
    }

    /// The names beside the primary one.
    pub fn sans(&self) -> &[DnsName] {
        &self.names[1..]
    }

    /// All names, the primary one first.
    pub fn names(&self) -> &[DnsName] {
        &self.names
    }

    /// Whether any name is a wildcard: what the plan's gate looks at (requirements X3).
    pub fn has_wildcard(&self) -> bool {
        self.names.iter().any(DnsName::is_wildcard)
    }

    /// The names that are neither the zone's apex nor below it (requirements S3.12), and where they stood.
    pub fn outside(&self, zone: &ZoneName) -> impl Iterator<Item = (NameField, &DnsName)> {
        std::iter::zip(self.fields.iter().copied(), &self.names).filter(|(_, name)| !name.is_at_or_below(zone))
    }

    fn from_fields(fields: Vec<(NameField, DnsName)>) -> Result<Self, Vec<InvalidName>> {
        let mut seen = BTreeSet::new();
        let fields: Vec<_> = fields.into_iter().filter(|(_, name)| seen.insert(name.clone())).collect();
        if fields.len() > MAX_NAMES {
            return Err(vec![InvalidName { field: NameField::Sans, error: NameError::TooManyNames }]);
        }
        let redundant: Vec<_> = fields.iter().filter_map(|(field, name)| redundancy(*field, name, &seen)).collect();
        if !redundant.is_empty() {
            return Err(redundant);
        }
        let (fields, names) = fields.into_iter().unzip();
        Ok(Self { names, fields })
    }
}

/// The primary domain as a wildcard, if the request says so apart from the name.
fn widen(name: DnsName, field: NameField, wish: &NameWish<'_>, policy: &NamePolicy) -> Result<DnsName, NameError> {
    if field != NameField::Domain || !wish.wildcard || name.is_wildcard() {
        return Ok(name);
    }
    let wildcard = name.wildcard_of();
    policy.check_wildcard_beside_platform(&wildcard)?;
    Ok(wildcard)
}

/// Puts the base of a wildcard primary behind it, where it was asked for and no other wildcard covers it.
fn add_base(mut fields: Vec<(NameField, DnsName)>, include_base: bool) -> Vec<(NameField, DnsName)> {
    let (field, primary) = &fields[0];
    if include_base && primary.is_wildcard() {
        let (field, base) = (*field, primary.base_of());
        let covered = base.covering_wildcard().is_some_and(|wildcard| fields.iter().any(|(_, name)| *name == wildcard));
        if !covered {
            fields.insert(1, (field, base));
        }
    }
    fields
}

/// Let's Encrypt refuses an order in which a name stands beside the wildcard of its parent.
fn redundancy(field: NameField, name: &DnsName, all: &BTreeSet<DnsName>) -> Option<InvalidName> {
    let wildcard = name.covering_wildcard().filter(|wildcard| all.contains(wildcard))?;
    Some(InvalidName { field, error: NameError::RedundantWithWildcard { name: name.clone(), wildcard } })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn development() -> NamePolicy {
        NamePolicy { allow_special_use: true, ..NamePolicy::default() }
    }

    fn sans(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    fn parse(domain: &str, names: &[&str], wildcard: bool, include_base: bool) -> Result<Vec<String>, Vec<(String, &'static str)>> {
        let wish = NameWish { domain, sans: &sans(names), wildcard, include_base };
        NameSet::parse(&wish, &development())
            .map(|set| set.names().iter().map(ToString::to_string).collect())
            .map_err(|invalid| invalid.iter().map(|i| (i.field.pointer(), i.error.code())).collect())
    }

    #[test]
    fn names_keep_their_order_and_count_once_in_whatever_spelling() {
        let given = ["WWW.example.test", "bücher.example.test", "www.example.test.", "xn--bcher-kva.example.test", "APP.example.test"];
        assert_eq!(
            parse("app.example.test", &given, false, true),
            Ok(sans(&["app.example.test", "www.example.test", "xn--bcher-kva.example.test"]))
        );
    }

    #[test]
    fn the_wildcard_flag_and_a_wildcard_domain_say_the_same() {
        let expected = Ok(sans(&["*.example.test", "example.test", "a.b.example.test"]));
        assert_eq!(parse("example.test", &["a.b.example.test"], true, true), expected);
        assert_eq!(parse("*.example.test", &["a.b.example.test"], false, true), expected);
        assert_eq!(parse("*.example.test", &["a.b.example.test"], true, true), expected);
        assert_eq!(parse("*.example.test", &["a.b.example.test", "example.test"], true, true), expected);
    }

    #[test]
    fn the_base_is_left_out_on_request_and_comes_back_as_a_san_that_was_given() {
        assert_eq!(parse("example.test", &[], true, false), Ok(sans(&["*.example.test"])));
        assert_eq!(parse("*.example.test", &["example.test"], false, false), Ok(sans(&["*.example.test", "example.test"])));
    }

    #[test]
    fn a_base_that_another_wildcard_covers_is_left_out() {
        assert_eq!(parse("*.eu.example.test", &["*.example.test"], false, true), Ok(sans(&["*.eu.example.test", "*.example.test"])));
    }

    #[test]
    fn a_wildcard_among_the_sans_brings_no_base() {
        assert_eq!(parse("example.test", &["*.api.example.test"], false, true), Ok(sans(&["example.test", "*.api.example.test"])));
    }

    #[test]
    fn a_name_beside_the_wildcard_that_covers_it_is_refused_where_it_stands() {
        let code = "name_redundant_with_wildcard";
        assert_eq!(parse("example.test", &["www.example.test"], true, true), Err(vec![("/sans/0".to_owned(), code)]));
        assert_eq!(parse("www.example.test", &["*.example.test"], false, true), Err(vec![("/domain".to_owned(), code)]));
        // One label only: a wildcard does not cover its base, nor what lies two levels below.
        assert!(parse("*.example.test", &["example.test", "a.b.example.test"], false, true).is_ok());
    }

    #[test]
    fn every_name_at_fault_is_reported() {
        assert_eq!(
            parse("co.uk", &["ok.example.test", "a_b.example.test", "", "*"], false, true),
            Err(vec![
                ("/domain".to_owned(), "name_is_public_suffix"),
                ("/sans/1".to_owned(), "name_underscore"),
                ("/sans/2".to_owned(), "name_empty"),
                ("/sans/3".to_owned(), "name_wildcard_misplaced"),
            ])
        );
    }

    #[test]
    fn a_hundred_names_pass_and_one_more_does_not() {
        let many: Vec<String> = (1..=100).map(|n| format!("h{n}.example.test")).collect();
        let set = |sans: &[String]| {
            NameSet::parse(&NameWish { domain: "h0.example.test", sans, wildcard: false, include_base: true }, &development())
        };
        assert_eq!(set(&many[..99]).unwrap().names().len(), MAX_NAMES);
        let refused = vec![InvalidName { field: NameField::Sans, error: NameError::TooManyNames }];
        assert_eq!(set(&many), Err(refused.clone()));
        assert_eq!(set(&[many[..99].to_vec(), many[..99].to_vec()].concat()).unwrap().names().len(), MAX_NAMES);
        assert_eq!(set(&vec!["h1.example.test".to_owned(); 1001]), Err(refused));
    }

    #[test]
    fn the_names_outside_the_zone_are_found_where_they_stood() {
        let zone = ZoneName::parse("example.test", &development()).unwrap();
        let set = |sans: &[String]| {
            let wish = NameWish { domain: "app.example.test", sans, wildcard: false, include_base: true };
            NameSet::parse(&wish, &development()).unwrap()
        };
        assert_eq!(set(&sans(&["example.test", "*.x.example.test"])).outside(&zone).count(), 0);
        let outside = set(&sans(&["app.example.test", "www.notexample.test"]));
        let found: Vec<_> = outside.outside(&zone).map(|(field, name)| (field.pointer(), name.as_str())).collect();
        assert_eq!(found, [("/sans/1".to_owned(), "www.notexample.test")]);
        assert_eq!(outside.primary().as_str(), "app.example.test");
        assert_eq!(outside.sans().len(), 1);
        assert!(!outside.has_wildcard());
    }

    #[test]
    fn the_wildcard_flag_cannot_cover_a_platform_zone() {
        let zone = ZoneName::parse("challenges.platform.test", &development()).unwrap();
        let policy = NamePolicy { platform_zones: vec![zone], ..development() };
        for (domain, wildcard) in [("platform.test", true), ("*.platform.test", false)] {
            let wish = NameWish { domain, sans: &[], wildcard, include_base: true };
            let invalid = NameSet::parse(&wish, &policy).unwrap_err();
            assert_eq!(invalid[0].error.code(), "name_in_platform_zone");
        }
    }

    proptest! {
        #[test]
        fn a_set_never_holds_a_name_twice_or_beside_its_wildcard(
            given in proptest::collection::vec(r"(\*\.)?([ab]\.){0,3}example\.test", 1..8),
            wildcard: bool,
            include_base: bool,
        ) {
            let wish = NameWish { domain: &given[0], sans: &given[1..], wildcard, include_base };
            match NameSet::parse(&wish, &development()) {
                Ok(set) => {
                    let distinct: BTreeSet<_> = set.names().iter().collect();
                    prop_assert_eq!(distinct.len(), set.names().len());
                    for name in set.names() {
                        prop_assert!(name.covering_wildcard().is_none_or(|wildcard| !distinct.contains(&wildcard)));
                    }
                    for text in &given[1..] {
                        prop_assert!(set.names().iter().any(|name| name.as_str() == text));
                    }
                }
                Err(invalid) => {
                    prop_assert!(!invalid.is_empty());
                    prop_assert!(invalid.iter().all(|i| i.error.code() == "name_redundant_with_wildcard"));
                }
            }
        }
    }
}
