//! The parameters of HTTPS and SVCB records (RFC 9460 §2.1, §7, §8).

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::master_file::Field;
use super::name::shown;

/// In the order of their numbers, in which they travel and are kept.
const KEYS: [&str; 7] = ["mandatory", "alpn", "no-default-alpn", "port", "ipv4hint", "ech", "ipv6hint"];

const ALPN: usize = 1;

/// Of a list.
const MAX_VALUES: usize = 32;

/// All parameters, each with a space in front.
pub(super) fn parameters<'a>(priority: u16, fields: impl Iterator<Item = &'a Field>) -> Result<String, String> {
    let mut parameters = BTreeMap::new();
    for field in fields {
        let text = std::str::from_utf8(&field.bytes).map_err(|_| "a parameter is not UTF-8".to_owned())?;
        let (key, value) = text.split_once('=').map_or((text, None), |(key, value)| (key, Some(value)));
        let key = key.to_ascii_lowercase();
        let number = KEYS.iter().position(|known| *known == key);
        let number = number.ok_or_else(|| format!("{} is not one of the parameters {}", shown(&key), KEYS.join(", ")))?;
        let value = parameter(&key, value).map_err(|reason| format!("the parameter {key} {reason}"))?;
        if parameters.insert(number, value).is_some() {
            return Err(format!("the parameter {key} is there twice"));
        }
    }
    check(priority, &parameters)?;
    Ok(parameters.into_iter().flat_map(|(number, value)| [" ".to_owned(), KEYS[number].to_owned(), value]).collect())
}

/// What stands behind the key, `=` included.
fn parameter(key: &str, value: Option<&str>) -> Result<String, String> {
    let Some(value) = value.filter(|value| !value.is_empty()) else {
        return if key == "no-default-alpn" { Ok(String::new()) } else { Err("needs a value".to_owned()) };
    };
    match key {
        "mandatory" => mandatory(value),
        "alpn" => list(value, protocol),
        "port" => value.parse::<u16>().map(|port| format!("={port}")).map_err(|_| "is not a port number".to_owned()),
        "ipv4hint" => list(value, ipv4),
        "ipv6hint" => list(value, ipv6),
        "ech" => {
            let decoded = STANDARD.decode(value).map_err(|_| "is not in base64".to_owned())?;
            Ok(format!("=\"{}\"", STANDARD.encode(decoded)))
        }
        _ => Err("has no value; leave out what stands behind it".to_owned()),
    }
}

fn list(value: &str, item: impl Fn(&str) -> Result<String, String>) -> Result<String, String> {
    let items = value.split(',').map(item).collect::<Result<Vec<_>, _>>()?;
    if items.len() > MAX_VALUES { Err(format!("has more than {MAX_VALUES} values")) } else { Ok(format!("={}", items.join(","))) }
}

/// All that is registered is of these characters; others would need two kinds of escapes (RFC 9460 §7.1.1).
fn protocol(id: &str) -> Result<String, String> {
    let plain = (1..=255).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._/".contains(&byte));
    if plain { Ok(id.to_owned()) } else { Err(format!("has {}, which is no protocol such as h2", shown(id))) }
}

fn ipv4(text: &str) -> Result<String, String> {
    text.parse::<Ipv4Addr>().map(|address| address.to_string()).map_err(|_| format!("has {}, which is not an IPv4 address", shown(text)))
}

fn ipv6(text: &str) -> Result<String, String> {
    super::content::ipv6(text).map_err(|reason| format!("has an address of another kind: {reason}"))
}

/// RFC 9460 §8: in ascending order, once each, and not itself.
fn mandatory(value: &str) -> Result<String, String> {
    let position = |key: &str| KEYS.iter().skip(1).position(|known| known.eq_ignore_ascii_case(key)).map(|position| position + 1);
    let unknown = |key: &str| format!("names {}, which is none of {}", shown(key), KEYS[1..].join(", "));
    let mut numbers = value.split(',').map(|key| position(key).ok_or_else(|| unknown(key))).collect::<Result<Vec<_>, _>>()?;
    let given = numbers.len();
    numbers.sort_unstable();
    numbers.dedup();
    if numbers.len() < given {
        return Err("names a parameter twice".to_owned());
    }
    Ok(format!("={}", numbers.into_iter().map(|number| KEYS[number]).collect::<Vec<_>>().join(",")))
}

fn check(priority: u16, parameters: &BTreeMap<usize, String>) -> Result<(), String> {
    if priority == 0 && !parameters.is_empty() {
        return Err("with priority 0 the record is an alias and has no parameters".to_owned());
    }
    if parameters.contains_key(&2) && !parameters.contains_key(&ALPN) {
        return Err("the parameter no-default-alpn needs alpn beside it".to_owned());
    }
    let mandatory = parameters.get(&0).map(|value| value.trim_start_matches('=')).unwrap_or_default();
    let absent = mandatory.split(',').find(|key| !key.is_empty() && !parameters.keys().any(|number| KEYS[*number] == *key));
    absent.map_or(Ok(()), |key| Err(format!("the parameter {key} is called mandatory and is not there")))
}
