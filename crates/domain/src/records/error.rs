//! Why a record is not taken.

use super::{MAX_CONTENTS, MAX_SET_CHARACTERS, MAX_TTL_SECONDS, MIN_TTL_SECONDS, RecordType};
use crate::zone_name::ZoneName;

/// A text that is not in the format of master files (RFC 1035 §5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum TextError {
    /// A text begins and does not end.
    #[error("a quoted text is not closed on its line; add the missing quote, or escape a quote that is part of the text as \\\"")]
    Quote,
    /// They come in pairs and not within each other.
    #[error("a parenthesis has no partner, or stands within another pair; put texts that hold one in quotes")]
    Parenthesis,
    /// Neither `\DDD` nor `\X`.
    #[error("a backslash is followed neither by a character nor by three digits up to 255; write a backslash itself as \\\\")]
    Escape,
    /// Such as NUL.
    #[error("there is a control character in it; leave it out, or write it in quotes as \\ and three digits")]
    ControlCharacter,
    /// In the data of one record.
    #[error("comments and parentheses belong to zone files; leave them out, or put the text in quotes")]
    FileSyntax,
}

/// A record, or a set of them, is refused. [`Self::code`] is for programs and never changes; the text says what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Not a name of the DNS.
    #[error("{0}")]
    Name(String),
    /// Neither the zone's apex nor below it.
    #[error("{name} is neither {zone} nor below it; give the whole name, such as www.{zone}")]
    OutsideZone {
        /// The name.
        name: String,
        /// The zone.
        zone: ZoneName,
    },
    /// Ours to manage (requirements S3.71).
    #[error("{name} is set by this service, which proves your control of the zone and its names there; leave it out")]
    Reserved {
        /// The name.
        name: String,
    },
    /// Not one of [`RecordType::ALL`].
    #[error("records of type {given} cannot be set; the types are {}", all_types())]
    Type {
        /// What was asked for, cut.
        given: String,
    },
    /// We serve the zone.
    #[error("the NS records of the zone itself name our name servers and cannot be changed; NS records below it can")]
    ApexNs,
    /// There are SOA and NS records already (RFC 1034 §3.6.2).
    #[error("the zone's own name cannot be an alias, since it has SOA and NS records; set A, AAAA or HTTPS records")]
    ApexCname,
    /// It belongs to the zone above (RFC 4035 §2.4).
    #[error("the DS record of the zone itself belongs into the zone above; give it to the registrar")]
    ApexDs,
    /// RFC 1034 §3.6.2.
    #[error("{name} has a CNAME record, beside which nothing else can stand; delete the one or the other")]
    CnameNotAlone {
        /// The name.
        name: String,
    },
    /// RFC 2181 §10.1.
    #[error("a name has one CNAME record at the most; give one")]
    SeveralCnames,
    /// Not from [`MIN_TTL_SECONDS`] to [`MAX_TTL_SECONDS`].
    #[error("the TTL is a whole number of seconds from {MIN_TTL_SECONDS} to {MAX_TTL_SECONDS}")]
    Ttl,
    /// No record at all.
    #[error("give at least one record; to have none, delete the set")]
    Empty,
    /// More than [`MAX_CONTENTS`].
    #[error("a name has at most {MAX_CONTENTS} records of a type; leave some out")]
    TooMany,
    /// More than [`MAX_SET_CHARACTERS`].
    #[error("the records of a name and type have at most {MAX_SET_CHARACTERS} characters together, so that a DNS answer can hold them")]
    TooLong,
    /// Not what the type asks for.
    #[error("{reason}; {record_type} is written as {}", example(*.record_type))]
    Content {
        /// The type.
        record_type: RecordType,
        /// What is wrong.
        reason: String,
    },
}

impl RecordError {
    /// The stable code in problem documents.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Name(_) => "record_name_invalid",
            Self::OutsideZone { .. } => "record_not_under_zone",
            Self::Reserved { .. } => "record_reserved",
            Self::Type { .. } => "record_type_unsupported",
            Self::ApexNs => "record_apex_ns",
            Self::ApexCname => "record_apex_cname",
            Self::ApexDs => "record_apex_ds",
            Self::CnameNotAlone { .. } => "record_cname_conflict",
            Self::SeveralCnames => "record_several_cnames",
            Self::Ttl => "record_ttl_out_of_range",
            Self::Empty => "record_contents_empty",
            Self::TooMany => "record_contents_too_many",
            Self::TooLong => "record_contents_too_long",
            Self::Content { .. } => "record_content_invalid",
        }
    }

    /// What is wrong and what to do, for a person.
    pub fn detail(&self) -> String {
        self.to_string()
    }
}

fn all_types() -> String {
    RecordType::ALL.map(RecordType::as_str).join(", ")
}

/// Presentation format (RFC 1035 §5.1).
const fn example(record_type: RecordType) -> &'static str {
    match record_type {
        RecordType::A => "192.0.2.1",
        RecordType::Aaaa => "2001:db8::1",
        RecordType::Caa => "0 issue \"letsencrypt.org\"",
        RecordType::Cname | RecordType::Ptr => "www.example.com.",
        RecordType::Ds => "12345 13 2 and 64 hexadecimal digits",
        RecordType::Https | RecordType::Svcb => "1 . alpn=h2,h3 ipv4hint=192.0.2.1",
        RecordType::Mx => "10 mail.example.com.",
        RecordType::Naptr => "100 10 \"u\" \"E2U+sip\" \"!^.*$!sip:info@example.com!\" .",
        RecordType::Ns => "ns1.example.com.",
        RecordType::Srv => "10 5 5060 sip.example.com.",
        RecordType::Sshfp => "4 2 and 64 hexadecimal digits",
        RecordType::Tlsa => "3 1 1 and 64 hexadecimal digits",
        RecordType::Txt => "\"v=spf1 -all\"",
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse_content;
    use super::*;

    #[test]
    fn the_example_of_a_type_is_right() {
        for record_type in RecordType::ALL {
            let example = example(record_type).replace("and 64 hexadecimal digits", &"ab".repeat(32));
            assert_eq!(parse_content(record_type, &example), Ok(example.clone()), "{record_type}");
        }
    }
}
