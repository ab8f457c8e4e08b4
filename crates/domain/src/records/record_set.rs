//! All records of one name and type, which are set and deleted together (RFC 2181 §5).

use super::{MAX_CONTENTS, MAX_SET_CHARACTERS, MAX_TTL_SECONDS, MIN_TTL_SECONDS, RecordError, RecordName, RecordType};
use crate::zone_name::ZoneName;

/// A record set that a customer may have in their zone, in the form in which it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordSet {
    name: RecordName,
    record_type: RecordType,
    ttl_seconds: u32,
    contents: Vec<String>,
}

impl RecordSet {
    /// Puts together what was read by [`RecordName::parse`], [`parse_ttl`] and [`super::parse_content`], for a place that [`check_place`] allows.
    /// Order and repetitions mean nothing in DNS, so the contents are sorted, each once.
    pub fn new(name: RecordName, record_type: RecordType, ttl_seconds: u32, mut contents: Vec<String>) -> Result<Self, RecordError> {
        contents.sort_unstable();
        contents.dedup();
        if contents.is_empty() {
            return Err(RecordError::Empty);
        }
        if contents.len() > MAX_CONTENTS {
            return Err(RecordError::TooMany);
        }
        if contents.iter().map(String::len).sum::<usize>() > MAX_SET_CHARACTERS {
            return Err(RecordError::TooLong);
        }
        if record_type == RecordType::Cname && contents.len() > 1 {
            return Err(RecordError::SeveralCnames);
        }
        Ok(Self { name, record_type, ttl_seconds, contents })
    }

    /// The name.
    pub fn name(&self) -> &RecordName {
        &self.name
    }

    /// The type.
    pub fn record_type(&self) -> RecordType {
        self.record_type
    }

    /// How long resolvers may remember it, in seconds.
    pub fn ttl_seconds(&self) -> u32 {
        self.ttl_seconds
    }

    /// The records' data in presentation format, sorted.
    pub fn contents(&self) -> &[String] {
        &self.contents
    }
}

/// Whether customers may set records of this type at this name of their zone.
pub fn check_place(zone: &ZoneName, name: &RecordName, record_type: RecordType) -> Result<(), RecordError> {
    if !name.is_at_or_below(zone) {
        return Err(RecordError::OutsideZone { name: name.to_string(), zone: zone.clone() });
    }
    if name.is_reserved_in(zone) {
        return Err(RecordError::Reserved { name: name.to_string() });
    }
    match record_type {
        RecordType::Ns if name.is_apex_of(zone) => Err(RecordError::ApexNs),
        RecordType::Cname if name.is_apex_of(zone) => Err(RecordError::ApexCname),
        RecordType::Ds if name.is_apex_of(zone) => Err(RecordError::ApexDs),
        _ => Ok(()),
    }
}

/// Reads a TTL in seconds.
pub fn parse_ttl(seconds: i64) -> Result<u32, RecordError> {
    u32::try_from(seconds).ok().filter(|ttl| (MIN_TTL_SECONDS..=MAX_TTL_SECONDS).contains(ttl)).ok_or(RecordError::Ttl)
}

/// Whether record sets of these types can be at one name: an alias is alone (RFC 1034 §3.6.2), but for what DNSSEC puts beside it (RFC 4035 §2.5).
pub fn stand_together<'a>(types: impl IntoIterator<Item = &'a str>) -> bool {
    let (mut aliases, mut others) = (0, 0);
    for record_type in types {
        match record_type {
            "CNAME" => aliases += 1,
            "RRSIG" | "NSEC" => {}
            _ => others += 1,
        }
    }
    aliases == 0 || others == 0
}
