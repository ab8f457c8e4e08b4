//! Why a text is not a name, or not one that we issue for.

use super::{DnsName, MAX_NAME_LENGTH, MAX_NAMES};
use crate::zone_name::ZoneName;

/// A name was refused. [`Self::code`] is for programs and never changes; the text says what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing was given, or only a dot.
    #[error("the name is empty; give a full name such as app.your-domain.com")]
    Empty,
    /// No room is left for the challenge record in front of it (RFC 1035 §2.3.4).
    #[error("the name is too long; at most {MAX_NAME_LENGTH} characters leave room for its _acme-challenge record")]
    TooLong,
    /// Two dots in a row, or one in front.
    #[error("the name has an empty part; remove the doubled or leading dot")]
    EmptyLabel,
    /// RFC 1035 §2.3.4.
    #[error("a part of the name between dots is longer than 63 characters; shorten it")]
    LabelTooLong,
    /// A single label.
    #[error("the name has one part only; give a full name such as app.your-domain.com")]
    TooFewLabels,
    /// Neither letter, digit, hyphen nor dot.
    #[error("the name contains {character:?}; give the host name alone, without scheme, port, path or spaces")]
    InvalidCharacter {
        /// The first such character.
        character: char,
    },
    /// Allowed in DNS, forbidden in certificates (CA/Browser Forum Baseline Requirements §7.1.4.2).
    #[error("the name contains an underscore, which no certificate may carry; use a hyphen or a wildcard one level up")]
    Underscore,
    /// A hyphen where RFC 5890 §2.3.1 forbids one.
    #[error("a part of the name begins or ends with a hyphen, or has hyphens as its third and fourth character; change that part")]
    Hyphen,
    /// UTS 46 refuses it.
    #[error("the name is not a valid internationalized name; check its spelling, or give its registered xn-- form")]
    InvalidIdn,
    /// `*` anywhere but as the whole first label (RFC 8555 §7.1.3).
    #[error("a wildcard is only possible as the whole first part of the name, as in *.your-domain.com")]
    WildcardMisplaced,
    /// A zone cannot be a wildcard.
    #[error("a zone has no wildcard; import the zone itself, without the leading *.")]
    WildcardZone,
    /// IPv4 or IPv6.
    #[error("an IP address is not a DNS name; give the host's name")]
    IpAddress,
    /// No top-level domain is a number (RFC 3696 §2).
    #[error("the last part of the name is a number, and no top-level domain is; check the name")]
    NumericTld,
    /// On the public suffix list, its private section included.
    #[error("{name} is a public suffix, below which others register names; give a name below it that is yours")]
    PublicSuffix {
        /// The suffix.
        name: String,
    },
    /// Reserved: the public DNS does not have it.
    #[error("names at or below {suffix} are reserved (RFC 6761 and its like) and no public CA issues for them; use a registered domain")]
    SpecialUse {
        /// The reserved name.
        suffix: &'static str,
    },
    /// Not in the root zone, as far as we know.
    #[error("{tld} is not a public top-level domain, and no public CA issues for internal names; use a registered domain")]
    UnknownTld {
        /// The last label.
        tld: String,
    },
    /// The platform's own zone, or one beside it (requirements S3.7).
    #[error("{zone} belongs to this service; use a domain of your own")]
    PlatformZone {
        /// The platform's zone.
        zone: ZoneName,
    },
    /// More than [`MAX_NAMES`] (requirements S3.52).
    #[error("a certificate carries at most {MAX_NAMES} names; split the names over several certificates")]
    TooManyNames,
    /// The CA refuses a name beside the wildcard that covers it.
    #[error("{name} is covered by {wildcard} in the same certificate, which the CA refuses; leave one of the two out")]
    RedundantWithWildcard {
        /// The name that is covered.
        name: DnsName,
        /// What covers it.
        wildcard: DnsName,
    },
}

impl NameError {
    /// The stable code in problem documents.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Empty => "name_empty",
            Self::TooLong => "name_too_long",
            Self::EmptyLabel => "name_empty_label",
            Self::LabelTooLong => "name_label_too_long",
            Self::TooFewLabels => "name_too_few_labels",
            Self::InvalidCharacter { .. } => "name_invalid_character",
            Self::Underscore => "name_underscore",
            Self::Hyphen => "name_hyphen",
            Self::InvalidIdn => "name_invalid_idn",
            Self::WildcardMisplaced => "name_wildcard_misplaced",
            Self::WildcardZone => "name_wildcard_zone",
            Self::IpAddress => "name_is_ip_address",
            Self::NumericTld => "name_numeric_tld",
            Self::PublicSuffix { .. } => "name_is_public_suffix",
            Self::SpecialUse { .. } => "name_special_use",
            Self::UnknownTld { .. } => "name_unknown_tld",
            Self::PlatformZone { .. } => "name_in_platform_zone",
            Self::TooManyNames => "too_many_names",
            Self::RedundantWithWildcard { .. } => "name_redundant_with_wildcard",
        }
    }

    /// What is wrong and what to do, for a person.
    pub fn detail(&self) -> String {
        self.to_string()
    }
}
