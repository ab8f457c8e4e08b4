//! Zone files (RFC 1035 §5, RFC 2308 §4): what other DNS servers and providers export.

use std::collections::BTreeMap;

use super::master_file::{Broken, Entries, Entry, Field};
use super::name::shown;
use super::{
    DEFAULT_TTL_SECONDS, MAX_RECORD_SETS, MAX_TTL_SECONDS, MIN_TTL_SECONDS, RecordError, RecordName, RecordSet, RecordType, TextError,
    check_place, content, stand_together,
};
use crate::zone_name::ZoneName;

/// Entries with records, so many at the most.
const MAX_RECORDS: usize = 5000;

/// So many faults are told at once.
const MAX_FAULTS: usize = 50;

/// Types that a signer makes of the zone and its keys (RFC 4034, RFC 5155, RFC 7344).
const DNSSEC_TYPES: [&str; 7] = ["CDNSKEY", "CDS", "DNSKEY", "NSEC", "NSEC3", "NSEC3PARAM", "RRSIG"];

/// A zone file, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZoneFile {
    /// What can be set, by name and type.
    pub record_sets: Vec<RecordSet>,
    /// What cannot, because it is ours, in the order of the file.
    pub left_out: Vec<LeftOut>,
}

/// A record of a zone file that is not taken over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// Where it stands, counted from 1.
    pub line: usize,
    /// Its name.
    pub name: RecordName,
    /// Its type.
    pub record_type: String,
    /// Why.
    pub reason: LeftOutReason,
}

/// Why a record of a zone file is not taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum LeftOutReason {
    /// We serve the zone.
    #[error("the SOA record is made by this service")]
    Soa,
    /// We serve the zone.
    #[error("the NS records of the zone itself name our name servers")]
    ApexNs,
    /// Challenges, and the proof of control.
    #[error("the name is managed by this service, which proves your control of the zone and its names there")]
    Reserved,
    /// Signatures of another signer are worth nothing with our SOA record.
    #[error("it belongs to the signatures of the former DNS server; remove the DS record at the registrar before you change name servers")]
    Dnssec,
}

impl LeftOutReason {
    /// Every reason.
    pub const ALL: [Self; 4] = [Self::Soa, Self::ApexNs, Self::Reserved, Self::Dnssec];

    /// The stable code.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Soa => "soa",
            Self::ApexNs => "apex_ns",
            Self::Reserved => "reserved",
            Self::Dnssec => "dnssec",
        }
    }
}

/// What is wrong at a line of a zone file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZoneFileFault {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong.
    pub error: ZoneFileError,
}

/// What is wrong with a zone file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ZoneFileError {
    /// A record cannot be set.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The text is not in the format of master files.
    #[error(transparent)]
    Text(TextError),
    /// There are no other files.
    #[error("$INCLUDE is not possible here; put the text of that file in its place")]
    Include,
    /// One line can make millions of records.
    #[error("$GENERATE is not possible here; write the records out")]
    Generate,
    /// Neither `$ORIGIN` nor `$TTL`, or without a value that can be read.
    #[error("{0} is not understood; a file can have $ORIGIN with a name, and $TTL with seconds or with a time such as 1h")]
    Directive(String),
    /// The line begins with white space, and no name was given before.
    #[error("the record has no name; begin the line with its name, or with @ for the zone itself")]
    NoName,
    /// Nothing behind name, TTL and class.
    #[error("the record has no type; write it as NAME TTL IN TYPE DATA")]
    NoType,
    /// Neither seconds nor a time.
    #[error("{0} is no TTL; write it in seconds or as a time such as 1h")]
    Ttl(String),
    /// RFC 1035 §3.2.4.
    #[error("the class is {0}; only IN, the Internet, is served")]
    Class(String),
    /// Above [`MAX_RECORDS`].
    #[error("there are more than {MAX_RECORDS} records; a zone file has at most so many")]
    TooManyRecords,
    /// Above [`MAX_RECORD_SETS`].
    #[error("the file has {0} record sets, and a zone holds at most {MAX_RECORD_SETS}; leave some out")]
    TooManyRecordSets(usize),
}

impl ZoneFileError {
    /// The stable code in problem documents.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Record(error) => error.code(),
            Self::Text(_) => "zone_file_malformed",
            Self::Include => "zone_file_include",
            Self::Generate => "zone_file_generate",
            Self::Directive(_) => "zone_file_directive",
            Self::NoName => "zone_file_no_name",
            Self::NoType => "zone_file_no_type",
            Self::Ttl(_) => "zone_file_ttl",
            Self::Class(_) => "zone_file_class",
            Self::TooManyRecords => "zone_file_too_many_records",
            Self::TooManyRecordSets(_) => "zone_file_too_many_record_sets",
        }
    }
}

/// Reads a zone file of this zone. A TTL outside of what we allow is moved to the nearest that we do; of the TTLs of one name and type, the least counts
/// (RFC 2181 §5.2).
///
/// Errors: what is wrong, line by line, and no more than a person will read at once. Then nothing of the file is to be used.
pub fn read_zone_file(text: &str, zone: &ZoneName) -> Result<ZoneFile, Vec<ZoneFileFault>> {
    let mut reader = Reader::new(zone);
    for entry in Entries::of(text) {
        let (line, read) = match entry {
            Ok(entry) => (entry.line, reader.read(&entry)),
            Err(Broken { line, error }) => (line, Err(ZoneFileError::Text(error))),
        };
        if let Err(error) = read {
            let last = error == ZoneFileError::TooManyRecords;
            reader.faults.push(ZoneFileFault { line, error });
            if last || reader.faults.len() >= MAX_FAULTS {
                break;
            }
        }
    }
    reader.finish()
}

struct Reader<'a> {
    zone: &'a ZoneName,
    /// Without trailing dot; empty for the root.
    origin: String,
    /// Of the latest entry; what follows an invalid one is passed over.
    owner: Option<Owner>,
    default_ttl: Option<u32>,
    last_ttl: Option<u32>,
    records: usize,
    sets: BTreeMap<(RecordName, RecordType), Draft>,
    left_out: Vec<LeftOut>,
    faults: Vec<ZoneFileFault>,
}

enum Owner {
    Valid(RecordName),
    Invalid,
}

/// A record set that may still grow.
struct Draft {
    line: usize,
    ttl_seconds: u32,
    contents: Vec<String>,
}

/// What stands before the data.
struct Head<'a> {
    ttl: Option<u32>,
    record_type: &'a str,
    data: &'a [Field],
}

impl<'a> Reader<'a> {
    fn new(zone: &'a ZoneName) -> Self {
        Self {
            zone,
            origin: zone.as_str().to_owned(),
            owner: None,
            default_ttl: None,
            last_ttl: None,
            records: 0,
            sets: BTreeMap::new(),
            left_out: Vec::new(),
            faults: Vec::new(),
        }
    }

    fn read(&mut self, entry: &Entry) -> Result<(), ZoneFileError> {
        let (first, rest) = entry.fields.split_first().ok_or(ZoneFileError::NoType)?;
        let directive = first.text().filter(|text| !entry.indented && text.starts_with('$'));
        if let Some(directive) = directive {
            return self.directive(directive, rest);
        }
        self.records += 1;
        if self.records > MAX_RECORDS {
            return Err(ZoneFileError::TooManyRecords);
        }
        if entry.indented {
            return self.record(entry.line, &entry.fields);
        }
        // Until it is known to be good.
        self.owner = Some(Owner::Invalid);
        let text =
            first.text().ok_or_else(|| RecordError::Name("the name is written with quotes or escapes; leave them out".to_owned()))?;
        self.owner = Some(Owner::Valid(RecordName::relative(text, &self.origin)?));
        self.record(entry.line, rest)
    }

    fn directive(&mut self, directive: &str, values: &[Field]) -> Result<(), ZoneFileError> {
        let unread = || ZoneFileError::Directive(shown(directive));
        let value = values.first().and_then(Field::text).filter(|_| values.len() == 1);
        match directive.to_ascii_uppercase().as_str() {
            "$INCLUDE" => Err(ZoneFileError::Include),
            "$GENERATE" => Err(ZoneFileError::Generate),
            "$ORIGIN" if value == Some(".") => {
                self.origin.clear();
                Ok(())
            }
            "$ORIGIN" => {
                let origin = RecordName::relative(value.ok_or_else(unread)?, &self.origin)?;
                origin.as_str().clone_into(&mut self.origin);
                Ok(())
            }
            "$TTL" => {
                self.default_ttl = Some(value.and_then(parse_time).ok_or_else(unread)?);
                Ok(())
            }
            _ => Err(unread()),
        }
    }

    fn record(&mut self, line: usize, fields: &[Field]) -> Result<(), ZoneFileError> {
        let name = match &self.owner {
            None => return Err(ZoneFileError::NoName),
            Some(Owner::Invalid) => return Ok(()),
            Some(Owner::Valid(name)) => name.clone(),
        };
        let head = head(fields)?;
        self.last_ttl = head.ttl.or(self.last_ttl);
        let record_type = head.record_type.to_ascii_uppercase();
        if let Some(reason) = self.reason_to_leave_out(&name, &record_type) {
            self.left_out.push(LeftOut { line, name, record_type, reason });
            return Ok(());
        }
        let record_type = RecordType::parse(&record_type).ok_or_else(|| RecordError::Type { given: shown(head.record_type) })?;
        check_place(self.zone, &name, record_type)?;
        let content = content::from_fields(record_type, head.data, Some(&self.origin))?;
        let ttl = head.ttl.or(self.default_ttl).or(self.last_ttl).unwrap_or(DEFAULT_TTL_SECONDS).clamp(MIN_TTL_SECONDS, MAX_TTL_SECONDS);
        let draft = self.sets.entry((name, record_type)).or_insert_with(|| Draft { line, ttl_seconds: ttl, contents: Vec::new() });
        draft.ttl_seconds = draft.ttl_seconds.min(ttl);
        draft.contents.push(content);
        Ok(())
    }

    fn reason_to_leave_out(&self, name: &RecordName, record_type: &str) -> Option<LeftOutReason> {
        if !name.is_at_or_below(self.zone) {
            return None;
        }
        match record_type {
            "SOA" if name.is_apex_of(self.zone) => Some(LeftOutReason::Soa),
            "NS" if name.is_apex_of(self.zone) => Some(LeftOutReason::ApexNs),
            _ if DNSSEC_TYPES.contains(&record_type) => Some(LeftOutReason::Dnssec),
            _ => name.is_reserved_in(self.zone).then_some(LeftOutReason::Reserved),
        }
    }

    fn finish(mut self) -> Result<ZoneFile, Vec<ZoneFileFault>> {
        self.check_aliases();
        let (mut record_sets, last_line) = (Vec::with_capacity(self.sets.len()), self.sets.values().map(|draft| draft.line).max());
        for ((name, record_type), draft) in self.sets {
            match RecordSet::new(name, record_type, draft.ttl_seconds, draft.contents) {
                Ok(set) => record_sets.push(set),
                Err(error) => self.faults.push(ZoneFileFault { line: draft.line, error: error.into() }),
            }
        }
        if record_sets.len() > MAX_RECORD_SETS {
            let error = ZoneFileError::TooManyRecordSets(record_sets.len());
            self.faults.push(ZoneFileFault { line: last_line.unwrap_or(1), error });
        }
        if self.faults.is_empty() {
            return Ok(ZoneFile { record_sets, left_out: self.left_out });
        }
        self.faults.sort_by_key(|fault| fault.line);
        self.faults.truncate(MAX_FAULTS);
        Err(self.faults)
    }

    fn check_aliases(&mut self) {
        for ((name, record_type), draft) in &self.sets {
            let types = self.sets.range((name.clone(), RecordType::ALL[0])..).take_while(|((other, _), _)| other == name);
            if *record_type == RecordType::Cname && !stand_together(types.map(|((_, other), _)| other.as_str())) {
                let error = RecordError::CnameNotAlone { name: name.to_string() }.into();
                self.faults.push(ZoneFileFault { line: draft.line, error });
            }
        }
    }
}

/// TTL and class may stand in either order, and each may be absent.
fn head(fields: &[Field]) -> Result<Head<'_>, ZoneFileError> {
    let (mut ttl, mut class) = (None, None);
    for (position, field) in fields.iter().enumerate() {
        let text = field.text().ok_or(ZoneFileError::NoType)?;
        if ttl.is_none() && text.starts_with(|c: char| c.is_ascii_digit()) {
            ttl = Some(parse_time(text).ok_or_else(|| ZoneFileError::Ttl(shown(text)))?);
        } else if class.is_none() && is_class(text) {
            class = Some(text);
        } else {
            return match class {
                Some(class) if !class.eq_ignore_ascii_case("IN") => Err(ZoneFileError::Class(shown(class))),
                _ => Ok(Head { ttl, record_type: text, data: &fields[position + 1..] }),
            };
        }
    }
    Err(ZoneFileError::NoType)
}

/// RFC 1035 §3.2.4, RFC 3597 §5.
fn is_class(text: &str) -> bool {
    let upper = text.to_ascii_uppercase();
    let numbered = upper.strip_prefix("CLASS").is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()));
    numbered || ["IN", "CH", "HS", "CS", "ANY", "NONE"].contains(&upper.as_str())
}

/// Seconds, or times as BIND writes them: `1h30m`.
fn parse_time(text: &str) -> Option<u32> {
    let mut total = 0_u32;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let number: u32 = rest[..digits].parse().ok()?;
        let unit = rest[digits..].chars().next();
        let seconds = match unit.map(|unit| unit.to_ascii_lowercase()) {
            None | Some('s') => 1,
            Some('m') => 60,
            Some('h') => 3600,
            Some('d') => 86_400,
            Some('w') => 604_800,
            Some(_) => return None,
        };
        total = total.checked_add(number.checked_mul(seconds)?)?;
        rest = &rest[digits + usize::from(unit.is_some())..];
    }
    // RFC 2181 §8; an empty text is no time either.
    (!text.is_empty() && total <= i32::MAX.unsigned_abs()).then_some(total)
}
