//! What was seen at a name.

use std::fmt;
use std::net::IpAddr;

use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{self, Name, RData};

/// Of what stands at a name, so much is repeated in messages.
const SHOWN_RECORDS: usize = 5;
const SHOWN_CHARACTERS: usize = 100;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RecordType {
    /// An IPv4 address (RFC 1035 §3.4.1).
    A,
    /// An IPv6 address (RFC 3596 §2.1).
    Aaaa,
    /// Who may issue certificates (RFC 8659).
    Caa,
    /// An alias (RFC 1035 §3.3.1).
    Cname,
    /// A key that signs the zone (RFC 4034 §2).
    Dnskey,
    /// What the zone above knows of such a key (RFC 4034 §5).
    Ds,
    /// A name server (RFC 1035 §3.3.11).
    Ns,
    /// Where a zone begins (RFC 1035 §3.3.13).
    Soa,
    /// Text (RFC 1035 §3.3.14).
    Txt,
}

impl From<RecordType> for rr::RecordType {
    fn from(record_type: RecordType) -> Self {
        match record_type {
            RecordType::A => Self::A,
            RecordType::Aaaa => Self::AAAA,
            RecordType::Caa => Self::CAA,
            RecordType::Cname => Self::CNAME,
            RecordType::Dnskey => Self::DNSKEY,
            RecordType::Ds => Self::DS,
            RecordType::Ns => Self::NS,
            RecordType::Soa => Self::SOA,
            RecordType::Txt => Self::TXT,
        }
    }
}

impl fmt::Display for RecordType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        rr::RecordType::from(*self).fmt(f)
    }
}

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Where it stands, in lower case without trailing dot: behind an alias not the name that was asked for.
    pub name: String,
    /// How long resolvers may remember it.
    pub ttl_seconds: u32,
    /// What it says.
    pub data: Data,
}

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data {
    /// Of A and AAAA.
    Address(IpAddr),
    /// Of CAA.
    Caa(Caa),
    /// Of DS and DNSKEY: which key is meant.
    Key(KeyId),
    /// Of CNAME and NS: in lower case without trailing dot.
    Name(String),
    /// Of TXT, its strings joined as everybody reads them (RFC 7208 §3.3).
    Text(String),
    /// Of all else, in presentation format (RFC 1035 §5.1).
    Other(String),
}

/// What DS and DNSKEY records have in common: the DS of the zone above names the DNSKEY in the zone by it (RFC 4034 §5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyId {
    /// Computed of the key (RFC 4034 appendix B).
    pub tag: u16,
    /// The number of the algorithm.
    pub algorithm: u8,
}

impl KeyId {
    /// Of the data of a DS record (RFC 4034 §5.1): tag, algorithm, type of digest, digest.
    fn of_ds(data: &[u8]) -> Option<Self> {
        match data {
            [high, low, algorithm, _, _, ..] => Some(Self { tag: u16::from_be_bytes([*high, *low]), algorithm: *algorithm }),
            _ => None,
        }
    }

    /// Of the data of a DNSKEY record (RFC 4034 §2.1): flags, protocol, algorithm, key.
    fn of_key(data: &[u8]) -> Option<Self> {
        let algorithm = *data.get(3)?;
        let sum = data
            .iter()
            .enumerate()
            .fold(0_u32, |sum, (position, &byte)| sum.wrapping_add(if position % 2 == 0 { u32::from(byte) << 8 } else { u32::from(byte) }));
        let [_, _, high, low] = sum.wrapping_add(sum >> 16).to_be_bytes();
        Some(Self { tag: u16::from_be_bytes([high, low]), algorithm })
    }
}

/// A record of RFC 8659 §4.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caa {
    /// Whoever does not understand the tag must not issue.
    pub critical: bool,
    /// `issue`, `issuewild` or another, in lower case.
    pub tag: String,
    /// As it stands there.
    pub value: String,
}

/// What was seen at a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Records of the type that was asked for; at least one.
    Records(Vec<Record>),
    /// No such name (NXDOMAIN), and for how many seconds a resolver may go on saying so (RFC 2308 §5).
    NoSuchName(Option<u32>),
    /// The name is there and has no record of this type, and for how many seconds a resolver may go on saying so.
    NoRecords(Option<u32>),
    /// Nobody answered in time.
    TimedOut,
    /// An answer that says that it could not be found out, in the words of DNS: `SERVFAIL`.
    Refused(String),
    /// The DNS servers that we ask cannot be reached: the operator's to mend.
    Unreachable(String),
}

impl Answer {
    /// Whether this is what the DNS says, and not that it could not be found out.
    pub fn is_definite(&self) -> bool {
        matches!(self, Self::Records(_) | Self::NoSuchName(_) | Self::NoRecords(_))
    }

    /// What was seen at `name`, in a few words for whoever keeps it there. Foreign text is escaped and bounded.
    pub fn describe(&self, name: &str, record_type: RecordType) -> String {
        match self {
            Self::Records(records) => format!("{name} has {record_type} {}", shown(records)),
            Self::NoSuchName(_) => format!("{name} does not exist (NXDOMAIN)"),
            Self::NoRecords(_) => format!("{name} has no {record_type} record"),
            Self::TimedOut => format!("no DNS server answered for {name} in time"),
            Self::Refused(code) => format!("the DNS answered {code} for {name}"),
            Self::Unreachable(_) => "our DNS resolver did not answer".to_owned(),
        }
    }

    /// The records, none of an answer without.
    pub fn records(&self) -> &[Record] {
        match self {
            Self::Records(records) => records,
            _ => &[],
        }
    }

    /// The TXT values.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        self.records().iter().filter_map(|record| match &record.data {
            Data::Text(text) => Some(text.as_str()),
            _ => None,
        })
    }

    /// The names that CNAME or NS records name.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.records().iter().filter_map(|record| match &record.data {
            Data::Name(name) => Some(name.as_str()),
            _ => None,
        })
    }

    pub(crate) fn from_records(records: &[rr::Record], record_type: RecordType) -> Self {
        let asked_for = |record: &&rr::Record| record.record_type() == record_type.into();
        let records: Vec<Record> = records.iter().filter(asked_for).map(Record::from_wire).collect();
        if records.is_empty() { Self::NoRecords(None) } else { Self::Records(records) }
    }

    pub(crate) fn from_error(error: NetError) -> Self {
        match error {
            NetError::Dns(DnsError::NoRecordsFound(none)) => match none.response_code {
                ResponseCode::NXDomain => Self::NoSuchName(none.negative_ttl),
                ResponseCode::NoError => Self::NoRecords(none.negative_ttl),
                code => Self::Refused(word(code)),
            },
            NetError::Dns(DnsError::ResponseCode(code)) => Self::Refused(word(code)),
            NetError::Timeout => Self::TimedOut,
            other => Self::Unreachable(other.to_string()),
        }
    }
}

impl Record {
    fn from_wire(record: &rr::Record) -> Self {
        let data = match &record.data {
            RData::A(address) => Data::Address(IpAddr::V4(address.0)),
            RData::AAAA(address) => Data::Address(IpAddr::V6(address.0)),
            RData::CAA(caa) => Data::Caa(Caa {
                critical: caa.issuer_critical,
                tag: caa.tag.to_ascii_lowercase(),
                value: String::from_utf8_lossy(&caa.value).into_owned(),
            }),
            RData::CNAME(target) => Data::Name(written(&target.0)),
            RData::NS(server) => Data::Name(written(&server.0)),
            RData::TXT(txt) => Data::Text(String::from_utf8_lossy(&txt.txt_data.concat()).into_owned()),
            // The library reads these with DNSSEC only, which is for the resolver that we ask.
            RData::Unknown { code, rdata } => {
                let key = match code {
                    rr::RecordType::DS => KeyId::of_ds(&rdata.anything),
                    rr::RecordType::DNSKEY => KeyId::of_key(&rdata.anything),
                    _ => None,
                };
                key.map_or_else(|| Data::Other(rdata.to_string()), Data::Key)
            }
            other => Data::Other(other.to_string()),
        };
        Self { name: written(&record.name), ttl_seconds: record.ttl, data }
    }
}

fn shown(records: &[Record]) -> String {
    let list = records.iter().take(SHOWN_RECORDS).map(|record| record.data.to_string()).collect::<Vec<_>>().join(", ");
    match records.len().saturating_sub(SHOWN_RECORDS) {
        0 => list,
        more => format!("{list} and {more} more"),
    }
}

impl fmt::Display for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Caa(caa) => write!(f, "{} {} {}", if caa.critical { 128 } else { 0 }, cut(&caa.tag), cut(&caa.value)),
            Self::Key(KeyId { tag, algorithm }) => write!(f, "key {tag}, algorithm {algorithm}"),
            Self::Name(name) => f.write_str(name),
            Self::Text(text) | Self::Other(text) => f.write_str(&cut(text)),
        }
    }
}

/// In quotes, escaped, and so much of it as a message has room for.
fn cut(text: &str) -> String {
    let cut: String = text.chars().take(SHOWN_CHARACTERS).collect();
    let dots = if cut.len() < text.len() { "…" } else { "" };
    format!("{cut:?}{dots}")
}

fn written(name: &Name) -> String {
    name.to_ascii().trim_end_matches('.').to_ascii_lowercase()
}

/// The mnemonic of a response code (RFC 6895 §2.3).
fn word(code: ResponseCode) -> String {
    match code {
        ResponseCode::ServFail => "SERVFAIL".to_owned(),
        ResponseCode::Refused => "REFUSED".to_owned(),
        ResponseCode::FormErr => "FORMERR".to_owned(),
        ResponseCode::NotImp => "NOTIMP".to_owned(),
        other => format!("response code {}", u16::from(other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 4034 §5.4: the DNSKEY record of `dskey.example.com`.
    const KEY: [&str; 3] = [
        "0100030501039e8a247418e318903b215a848acfd5f37f026bd4062db26c774c690968d5d56df8bfda91e6f36d9a279888f41333357c5e6029990d10fdf56630",
        "62a512763326980a615ddbf17a05ddfcce7e5fb3abcca05a31b0957452d4521e83870789063115bf97f6c308ccf57cdc9ce7fe10f6ed1bd0cc0660038c50dcdb",
        "0feb963c2f17",
    ];

    #[test]
    fn a_key_is_known_by_what_its_ds_record_names() {
        let digits = KEY.concat();
        let byte = |position: usize| u8::from_str_radix(&digits[position..position + 2], 16).unwrap();
        let key: Vec<u8> = (0..digits.len()).step_by(2).map(byte).collect();
        let ds = [0xec, 0x45, 5, 1, 0x2b, 0xb1];
        assert_eq!(KeyId::of_key(&key), Some(KeyId { tag: 60485, algorithm: 5 }));
        assert_eq!(KeyId::of_ds(&ds), KeyId::of_key(&key));
        assert_eq!((KeyId::of_ds(&ds[..4]), KeyId::of_key(&key[..3])), (None, None));
    }
}
