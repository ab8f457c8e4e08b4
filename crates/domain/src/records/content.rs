//! The data of records, type by type.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::slice;
use std::str::FromStr;

use super::master_file::{self, Field};
use super::name::{shown, target};
use super::{MAX_SET_CHARACTERS, RecordError, RecordType, service};

/// RFC 1035 §3.3: a character-string has one octet for its length.
const MAX_STRING_OCTETS: usize = 255;

/// Of a TXT record, all its strings together; keys of 4096 bits need some 740.
const MAX_TEXT_OCTETS: usize = 4096;

/// Of the value of a CAA record.
const MAX_CAA_OCTETS: usize = 1024;

/// Of a fingerprint, digest or certificate.
const MAX_HEX_OCTETS: usize = 2048;

/// Reads the data of one record as people and programs write it, and gives it in the form in which it is kept.
///
/// A host name is complete with or without its final dot. A TXT record that does not begin with a quote is taken as it is, spaces, semicolons and all.
pub fn parse_content(record_type: RecordType, text: &str) -> Result<String, RecordError> {
    let refused = |reason: String| RecordError::Content { record_type, reason };
    let text = text.trim_matches([' ', '\t']);
    if text.len() > MAX_SET_CHARACTERS {
        return Err(RecordError::TooLong);
    }
    if record_type == RecordType::Txt && !text.is_empty() && !text.starts_with('"') {
        if text.chars().any(|c| c.is_control() && c != '\t') {
            return Err(refused("there is a line break or another control character in it".to_owned()));
        }
        return from_fields(record_type, &[Field::literal(text)], None);
    }
    let fields = master_file::fields(text).map_err(|error| refused(error.to_string()))?;
    from_fields(record_type, &fields, None)
}

/// The same of fields that were cut already. Host names without their final dot are relative to `origin`, where there is one.
pub(super) fn from_fields(record_type: RecordType, fields: &[Field], origin: Option<&str>) -> Result<String, RecordError> {
    let mut data = Data { fields: fields.iter(), origin };
    data.read(record_type).and_then(|content| data.end().map(|()| content)).map_err(|reason| RecordError::Content { record_type, reason })
}

/// What is left of a record's data. The errors of its methods say what is wrong with it.
pub(super) struct Data<'a> {
    fields: slice::Iter<'a, Field>,
    origin: Option<&'a str>,
}

impl Data<'_> {
    fn read(&mut self, record_type: RecordType) -> Result<String, String> {
        Ok(match record_type {
            RecordType::A => self.value::<Ipv4Addr>("an IPv4 address")?.to_string(),
            RecordType::Aaaa => ipv6(self.text("the address")?)?,
            RecordType::Cname | RecordType::Ptr => self.host()?,
            RecordType::Ns => self.host().and_then(hostname)?,
            RecordType::Mx => format!("{} {}", self.number::<u16>("the preference")?, self.host_or_root().and_then(hostname)?),
            RecordType::Srv => {
                let (priority, weight) = (self.number::<u16>("the priority")?, self.number::<u16>("the weight")?);
                format!("{priority} {weight} {} {}", self.number::<u16>("the port")?, self.host_or_root().and_then(hostname)?)
            }
            RecordType::Txt => self.texts()?,
            RecordType::Caa => self.caa()?,
            RecordType::Naptr => self.naptr()?,
            RecordType::Ds => self.ds()?,
            RecordType::Sshfp => self.sshfp()?,
            RecordType::Tlsa => self.tlsa()?,
            RecordType::Https | RecordType::Svcb => {
                let (priority, host) = (self.number::<u16>("the priority")?, self.host_or_root()?);
                format!("{priority} {host}{}", service::parameters(priority, self.fields.by_ref())?)
            }
        })
    }

    fn end(&mut self) -> Result<(), String> {
        self.fields.next().map_or(Ok(()), |field| Err(format!("{} is too much", shown(&String::from_utf8_lossy(&field.bytes)))))
    }

    fn field(&mut self, what: &str) -> Result<&Field, String> {
        self.fields.next().ok_or_else(|| format!("{what} is missing"))
    }

    fn text(&mut self, what: &str) -> Result<&str, String> {
        let field = self.field(what)?;
        field.text().ok_or_else(|| format!("{what} is written with a quote, an escape or characters that are not UTF-8"))
    }

    fn value<T: FromStr>(&mut self, what: &str) -> Result<T, String> {
        let text = self.text(what)?;
        text.parse().map_err(|_| format!("{} is not {what}", shown(text)))
    }

    /// Without sign.
    fn number<T: FromStr>(&mut self, what: &str) -> Result<T, String> {
        let text = self.text(what)?;
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse().ok().filter(|_| digits);
        number.ok_or_else(|| format!("{what} is {}, which is no whole number that fits", shown(text)))
    }

    fn host_or_root(&mut self) -> Result<String, String> {
        let origin = self.origin;
        target(self.text("the host name")?, origin)
    }

    fn host(&mut self) -> Result<String, String> {
        match self.host_or_root()? {
            host if host == "." => Err("the root of the DNS is no host".to_owned()),
            host => Ok(host),
        }
    }

    fn string(&mut self, what: &str) -> Result<String, String> {
        let bytes = &self.field(what)?.bytes;
        if bytes.len() > MAX_STRING_OCTETS {
            return Err(format!("{what} has more than {MAX_STRING_OCTETS} octets"));
        }
        Ok(quote(bytes))
    }

    fn texts(&mut self) -> Result<String, String> {
        let texts: Vec<&[u8]> = self.fields.by_ref().map(|field| field.bytes.as_slice()).collect();
        if texts.is_empty() {
            return Err("the text is missing".to_owned());
        }
        if texts.iter().map(|text| text.len()).sum::<usize>() > MAX_TEXT_OCTETS {
            return Err(format!("the text has more than {MAX_TEXT_OCTETS} octets"));
        }
        Ok(texts.into_iter().map(quote_text).collect::<Vec<_>>().join(" "))
    }

    /// RFC 8659 §4.1.
    fn caa(&mut self) -> Result<String, String> {
        let flags = self.number::<u8>("the flags")?;
        let tag = self.text("the tag")?.to_ascii_lowercase();
        if tag.is_empty() || tag.len() > 15 || !tag.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(format!("the tag is {}, and not letters and digits", shown(&tag)));
        }
        let value = &self.field("the value")?.bytes;
        if value.len() > MAX_CAA_OCTETS {
            return Err(format!("the value has more than {MAX_CAA_OCTETS} octets"));
        }
        Ok(format!("{flags} {tag} {}", quote(value)))
    }

    /// RFC 3403 §4.1.
    fn naptr(&mut self) -> Result<String, String> {
        let (order, preference) = (self.number::<u16>("the order")?, self.number::<u16>("the preference")?);
        let (flags, service) = (self.string("the flags")?, self.string("the service")?);
        Ok(format!("{order} {preference} {flags} {service} {} {}", self.string("the rule")?, self.host_or_root()?))
    }

    /// RFC 4034 §5.1, RFC 4509, RFC 6605.
    fn ds(&mut self) -> Result<String, String> {
        let (tag, algorithm) = (self.number::<u16>("the key tag")?, self.number::<u8>("the algorithm")?);
        let digest_type = self.number::<u8>("the digest type")?;
        let octets = match digest_type {
            1 => Some(20),
            2 => Some(32),
            4 => Some(48),
            _ => None,
        };
        Ok(format!("{tag} {algorithm} {digest_type} {}", self.hexadecimal("the digest", octets)?))
    }

    /// RFC 4255 §3.1, RFC 6594.
    fn sshfp(&mut self) -> Result<String, String> {
        let (algorithm, kind) = (self.number::<u8>("the algorithm")?, self.number::<u8>("the type of the fingerprint")?);
        let octets = match kind {
            1 => Some(20),
            2 => Some(32),
            _ => None,
        };
        Ok(format!("{algorithm} {kind} {}", self.hexadecimal("the fingerprint", octets)?))
    }

    /// RFC 6698 §2.1.
    fn tlsa(&mut self) -> Result<String, String> {
        let (usage, selector) = (self.number::<u8>("the usage")?, self.number::<u8>("the selector")?);
        let matching = self.number::<u8>("the matching type")?;
        let octets = match matching {
            1 => Some(32),
            2 => Some(64),
            _ => None,
        };
        Ok(format!("{usage} {selector} {matching} {}", self.hexadecimal("the certificate association", octets)?))
    }

    /// All that is left: white space between the digits is allowed.
    fn hexadecimal(&mut self, what: &str, octets: Option<usize>) -> Result<String, String> {
        let mut digits = self.text(what)?.to_ascii_lowercase();
        while self.fields.len() > 0 && digits.len() <= 2 * MAX_HEX_OCTETS {
            digits.push_str(&self.text(what)?.to_ascii_lowercase());
        }
        if digits.len() % 2 != 0 || digits.len() > 2 * MAX_HEX_OCTETS || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(format!("{what} is not an even number of hexadecimal digits, {} at the most", 2 * MAX_HEX_OCTETS));
        }
        match octets {
            Some(octets) if digits.len() != 2 * octets => Err(format!("{what} of this type has {} hexadecimal digits", 2 * octets)),
            _ => Ok(digits),
        }
    }
}

/// What a server is called that others connect to (RFC 952, RFC 1123 §2.1), or the root.
fn hostname(name: String) -> Result<String, String> {
    let sound = |label: &str| !label.contains('_') && !label.starts_with('-') && !label.ends_with('-');
    if name.split('.').all(sound) {
        return Ok(name);
    }
    Err(format!("{} is no host name: its parts are letters and digits, with hyphens between them", shown(&name)))
}

/// An IPv6 address in its shortest form (RFC 5952), and no IPv4 address within one (RFC 4291 §2.5.5), which nobody can reach.
pub(super) fn ipv6(text: &str) -> Result<String, String> {
    let address: Ipv6Addr = text.parse().map_err(|_| format!("{} is not an IPv6 address", shown(text)))?;
    if address.to_ipv4().is_some_and(|embedded| embedded.octets()[..2] != [0, 0]) {
        return Err(format!("{} holds an IPv4 address; set an A record for that", shown(text)));
    }
    Ok(address.to_string())
}

/// A text as the data of a TXT record: in quotes and printable ASCII, in as many character-strings as it takes, one for an empty text (RFC 1035 §5.1).
pub fn quote_text(text: &[u8]) -> String {
    let pieces = text.is_empty().then_some(text).into_iter().chain(text.chunks(MAX_STRING_OCTETS));
    pieces.map(quote).collect::<Vec<_>>().join(" ")
}

/// A character-string in quotes, in printable ASCII.
fn quote(bytes: &[u8]) -> String {
    let mut quoted = String::with_capacity(bytes.len() + 2);
    quoted.push('"');
    for &byte in bytes {
        match byte {
            b'"' | b'\\' => quoted.extend(['\\', char::from(byte)]),
            b' '..=b'~' => quoted.push(char::from(byte)),
            _ => {
                let _ = write!(quoted, "\\{byte:03}");
            }
        }
    }
    quoted.push('"');
    quoted
}
