//! Lists certificates (requirements S3.30).

use std::fmt;
use std::marker::PhantomData;

use actix_web::{HttpResponse, web};
use chrono::{DateTime, Utc};
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::{IntoParams, ToSchema};
use zonecert_domain::certificate::CertificateStatus;
use zonecert_domain::key::{KeyAlgorithm, KeyType};
use zonecert_domain::name::search_text;
use zonecert_domain::scope::Scope;
use zonecert_pki::chain::Side;
use zonecert_store::certificates::{self, Filter, Fingerprint, Kind, Position};
use zonecert_store::{Connection, StoreError};

use super::view::CertificateView;
use super::wish;
use crate::app::App;
use crate::auth::caller::Caller;
use crate::faults::Faults;
use crate::limits::LimitsView;
use crate::openapi::values;
use crate::paging::{Cursor, Limit};
use crate::problem::{FieldError, Problem};
use crate::request::Query;
use crate::text;

/// Which page.
#[derive(Debug, Default, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Place {
    /// The `next_cursor` of the page before, unchanged. A cursor is a place in the order of all certificates: it goes with any filter.
    cursor: Option<String>,
    /// How many elements a page has.
    #[param(value_type = Option<u8>, minimum = 1, maximum = 100, default = 50)]
    limit: Option<String>,
}

/// Which certificates.
#[derive(Debug, Default, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Filters {
    /// Only certificates in one of these states, one after the other or with commas between them.
    #[param(value_type = Option<Vec<values::CertificateStatus>>)]
    status: Vec<String>,
    /// Only certificates of this zone.
    #[param(example = "zone_0198c5f47e5b7c2a9d4e1c2b3a4d5e6f")]
    zone_id: Option<String>,
    /// Only the certificate with exactly this name.
    name: Option<String>,
    /// Only certificates with this text in their domain or a SAN, in any case.
    q: Option<String>,
    /// Only certificates that are managed, or that were uploaded.
    #[param(value_type = Option<values::CertificateKind>)]
    kind: Option<String>,
    /// Only certificates whose version in use has this text in the name of its issuer, in any case.
    #[param(example = "Let's Encrypt")]
    issuer: Option<String>,
    /// Only the certificate with a version of this serial number, in use or not. Hexadecimal digits; colons and zeros in front are left out.
    #[param(example = "03a1b2c3d4e5f60718293a4b5c6d7e8f9012")]
    serial: Option<String>,
    /// Only certificates with a version of this SHA-256 or SHA-1, in use or not. Hexadecimal digits in any case; colons are left out.
    #[param(example = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08")]
    fingerprint: Option<String>,
    /// Only certificates whose version in use has this text in its subject, in any case.
    #[param(example = "O=Example")]
    subject: Option<String>,
    /// Only certificates with this `key_algorithm`.
    #[param(value_type = Option<values::KeyAlgorithm>)]
    key_algorithm: Option<String>,
    /// Only certificates with a `key_algorithm` of this type.
    #[param(value_type = Option<values::KeyType>, inline)]
    key_type: Option<String>,
    /// Only certificates whose version in use is for servers, or for clients alone.
    #[param(value_type = Option<values::CertificateSide>)]
    side: Option<String>,
    /// Only certificates with a domain or SAN that is this name or ends in a dot and this name.
    #[param(example = "your-domain.com")]
    san: Option<String>,
    /// Only certificates whose version in use ends before this time.
    #[param(value_type = Option<DateTime<Utc>>)]
    expiring_before: Option<String>,
}

/// Filters, and what stands beside them in the query.
#[derive(Debug, Default)]
pub(super) struct Parameters<B> {
    pub(super) beside: B,
    pub(super) filters: Filters,
}

/// Parameters that can be there once.
pub(super) trait Once {
    const NAMES: &'static [&'static str];

    /// Where the value of a name goes.
    fn place(&mut self, name: &str) -> Option<&mut Option<String>>;
}

/// Which certificates, and which page of them.
struct Wanted {
    /// None where no certificate can match: no zone has such an id, or no certificate such a name.
    filter: Option<Filter>,
    after: Option<Position>,
    limit: Limit,
}

#[derive(Serialize, ToSchema)]
#[schema(as = CertificatePage)]
struct List<'a> {
    certificates: Vec<CertificateView<'a>>,
    limits: LimitsView,
    /// For the next page; null on the last one.
    #[schema(required, example = json!(null))]
    next_cursor: Option<String>,
}

/// The account's certificates, and its limits
///
/// Filters can be combined; what matches nothing is an empty list.
#[utoipa::path(
    get, path = "/api/v1/certificates", tag = "certificates", operation_id = "listCertificates",
    params(Place, Filters),
    responses(
        (status = 200, description = "A page of certificates.", body = List),
        (status = 400, description = "`unknown_choice` at ?status: Give one or several of pending, validating, issued, failed, expired, revoked\n\
            `date_time_invalid` at ?expiring_before: Give a date and time as in RFC 3339, such as 2026-11-21T00:00:00Z"),
    ),
)]
pub(super) async fn list(app: web::Data<App>, caller: Caller, query: Query<Parameters<Place>>) -> Result<HttpResponse, Problem> {
    caller.require(Scope::CertificatesRead)?;
    let Wanted { filter, after, limit } = parse(query.read()?)?;
    let account = caller.account;
    let body = async move |conn: &mut Connection| {
        let usage = certificates::get_usage(conn, account).await?;
        let rows = match filter {
            Some(filter) => certificates::list_certificates(conn, account, &filter, after, limit.to_read()).await?,
            None => Vec::new(),
        };
        Ok((usage, rows))
    };
    let ((plan, usage), mut rows) = app.store.tenant::<_, StoreError, _>(account, body).await?;
    let next_cursor = limit.cut(&mut rows, |last| Position { created_at: last.created_at, id: last.id }.write());
    let certificates = rows.iter().map(CertificateView::new).collect();
    Ok(HttpResponse::Ok().json(List { certificates, limits: LimitsView::new(plan, usage), next_cursor }))
}

fn parse(parameters: Parameters<Place>) -> Result<Wanted, Problem> {
    let mut faults = Faults::default();
    let after = faults.check(Position::parse_parameter(parameters.beside.cursor.as_deref()));
    let limit = faults.check(Limit::parse(parameters.beside.limit.as_deref()));
    let filter = parameters.filters.parse(&mut faults);
    let ((after, limit), filter) = faults.finish(after.zip(limit).zip(filter))?;
    Ok(Wanted { filter, after, limit })
}

impl Filters {
    /// What is asked for: none within where no certificate can match. None where something is wrong.
    #[expect(clippy::option_option, reason = "what is wrong and what can match nothing are different things")]
    pub(super) fn parse(self, faults: &mut Faults) -> Option<Option<Filter>> {
        let statuses = faults.check(self.status.iter().flat_map(|list| list.split(',')).map(status).collect());
        let expiring_before = faults.check(self.expiring_before.as_deref().map(moment).transpose());
        let kind = faults.check(text::choice("?kind", self.kind.as_deref(), &Kind::ALL, Kind::as_str));
        let side = faults.check(text::choice("?side", self.side.as_deref(), &Side::ALL, Side::as_str));
        let key_type = faults.check(text::choice("?key_type", self.key_type.as_deref(), &KeyType::ALL, KeyType::as_str));
        let algorithm = faults.check(wish::algorithm("?key_algorithm", self.key_algorithm.as_deref()));
        let (statuses, expiring_before, kind, side) = (statuses?, expiring_before?, kind?, side?);
        let key_algorithms = key_algorithms(key_type?, algorithm?);
        let zone = self.zone_id.map(|text| text.parse().ok());
        let name = self.name.map(|name| super::naming::check(&name).is_ok().then_some(name));
        let text = self.q.map(|text| search_text(&text));
        let under = self.san.map(|text| search_text(&text));
        let serial = self.serial.map(|text| hex_digits(&text).map(|digits| without_leading_zeros(&digits)));
        let fingerprint = self.fingerprint.map(|text| hex_digits(&text).and_then(fingerprint));
        // PostgreSQL takes no zero byte in a text, and no certificate has one that is stored.
        let [issuer, subject] = [self.issuer, self.subject].map(|given| given.map(|text| (!text.contains('\0')).then_some(text)));
        let impossible = matches!(zone, Some(None))
            || fingerprint == Some(None)
            || key_algorithms.is_none()
            || [&name, &text, &under, &serial, &issuer, &subject].into_iter().any(|given| *given == Some(None));
        Some((!impossible).then(|| Filter {
            statuses,
            zone: zone.flatten(),
            name: name.flatten(),
            text: text.flatten().filter(|text| !text.is_empty()),
            kind,
            issuer: issuer.flatten().filter(|issuer| !issuer.is_empty()),
            subject: subject.flatten().filter(|subject| !subject.is_empty()),
            key_algorithms: key_algorithms.unwrap_or_default(),
            side,
            serial: serial.flatten(),
            fingerprint: fingerprint.flatten(),
            under: under.flatten().filter(|under| !under.is_empty()),
            expiring_before,
        }))
    }
}

/// Those that are asked for, all where there are none. None where nothing is of both.
fn key_algorithms(key_type: Option<KeyType>, algorithm: Option<KeyAlgorithm>) -> Option<Vec<KeyAlgorithm>> {
    if key_type.is_none() && algorithm.is_none() {
        return Some(Vec::new());
    }
    let fits = |one: &KeyAlgorithm| key_type.is_none_or(|wanted| one.key_type() == wanted) && algorithm.is_none_or(|wanted| *one == wanted);
    let all: Vec<KeyAlgorithm> = KeyAlgorithm::ALL.into_iter().filter(fits).collect();
    (!all.is_empty()).then_some(all)
}

/// Of which hash it is says how long it is.
fn fingerprint(digits: String) -> Option<Fingerprint> {
    match digits.len() {
        40 => Some(Fingerprint::Sha1(digits)),
        64 => Some(Fingerprint::Sha256(digits)),
        _ => None,
    }
}

/// Lower-case hexadecimal digits of what people copy: colons and white space between them are left out. None where it is something else.
fn hex_digits(text: &str) -> Option<String> {
    let digits: String = text.chars().filter(|character| *character != ':' && !character.is_ascii_whitespace()).collect();
    (!digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_hexdigit())).then(|| digits.to_ascii_lowercase())
}

/// Two digits a byte, as serial numbers are stored.
fn without_leading_zeros(digits: &str) -> String {
    let short = digits.trim_start_matches('0');
    match short.len() {
        0 => "00".to_owned(),
        length if length % 2 == 1 => format!("0{short}"),
        _ => short.to_owned(),
    }
}

fn status(text: &str) -> Result<CertificateStatus, FieldError> {
    CertificateStatus::parse(text).ok_or_else(|| {
        let all = CertificateStatus::ALL.map(CertificateStatus::as_str).join(", ");
        FieldError::new("?status", "unknown_choice", format!("Give one or several of {all}"))
    })
}

/// In a URL a `+` that nobody has escaped is a space.
fn moment(text: &str) -> Result<DateTime<Utc>, FieldError> {
    let read = DateTime::parse_from_rfc3339(&text.replace(' ', "+"));
    read.map(|moment| moment.to_utc()).map_err(|_| {
        let detail = "Give a date and time as in RFC 3339, such as 2026-11-21T00:00:00Z";
        FieldError::new("?expiring_before", "date_time_invalid", detail)
    })
}

impl Once for Place {
    const NAMES: &'static [&'static str] = &["cursor", "limit"];

    fn place(&mut self, name: &str) -> Option<&mut Option<String>> {
        match name {
            "cursor" => Some(&mut self.cursor),
            "limit" => Some(&mut self.limit),
            _ => None,
        }
    }
}

impl Once for Filters {
    const NAMES: &'static [&'static str] = &[
        "status",
        "zone_id",
        "name",
        "q",
        "kind",
        "issuer",
        "serial",
        "fingerprint",
        "subject",
        "key_algorithm",
        "key_type",
        "side",
        "san",
        "expiring_before",
    ];

    fn place(&mut self, name: &str) -> Option<&mut Option<String>> {
        Some(match name {
            "zone_id" => &mut self.zone_id,
            "name" => &mut self.name,
            "q" => &mut self.q,
            "kind" => &mut self.kind,
            "issuer" => &mut self.issuer,
            "serial" => &mut self.serial,
            "fingerprint" => &mut self.fingerprint,
            "subject" => &mut self.subject,
            "key_algorithm" => &mut self.key_algorithm,
            "key_type" => &mut self.key_type,
            "side" => &mut self.side,
            "san" => &mut self.san,
            "expiring_before" => &mut self.expiring_before,
            _ => return None,
        })
    }
}

impl<'de, B: Once + Default> Deserialize<'de> for Parameters<B> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs<B>(PhantomData<B>);

        impl<'de, B: Once + Default> Visitor<'de> for Pairs<B> {
            type Value = Parameters<B>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("parameters")
            }

            /// Only `status` can be there more than once.
            fn visit_map<A: MapAccess<'de>>(self, mut pairs: A) -> Result<Self::Value, A::Error> {
                let mut parameters = Parameters::<B>::default();
                while let Some((name, value)) = pairs.next_entry::<String, String>()? {
                    if name == "status" {
                        parameters.filters.status.push(value);
                        continue;
                    }
                    let Some(place) = parameters.beside.place(&name).or_else(|| parameters.filters.place(&name)) else {
                        let names = [B::NAMES, Filters::NAMES].concat().join("`, `");
                        return Err(Error::custom(format_args!("unknown field `{name}`, expected one of `{names}`")));
                    };
                    if place.replace(value).is_some() {
                        return Err(Error::custom(format_args!("duplicate field `{name}`")));
                    }
                }
                Ok(parameters)
            }
        }

        deserializer.deserialize_map(Pairs(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str) -> Result<Parameters<Place>, String> {
        web::Query::<Parameters<Place>>::from_query(query).map(web::Query::into_inner).map_err(|error| error.to_string())
    }

    #[test]
    fn only_the_state_can_be_given_several_times() {
        let several = read("status=issued&q=a&status=failed,pending").unwrap().filters;
        assert_eq!((several.status, several.q.as_deref()), (vec!["issued".to_owned(), "failed,pending".to_owned()], Some("a")));
        assert!(read("limit=1&limit=2").unwrap_err().contains("duplicate field `limit`"));
        assert!(read("state=issued").unwrap_err().contains("unknown field `state`"));
    }

    #[test]
    fn a_serial_number_is_read_as_people_copy_it() {
        let serial = |text| hex_digits(text).map(|digits| without_leading_zeros(&digits));
        for (text, stored) in
            [("FA:4C:58", Some("fa4c58")), ("00fa4c58", Some("fa4c58")), ("f", Some("0f")), ("0", Some("00")), ("", None), ("x", None)]
        {
            assert_eq!(serial(text).as_deref(), stored, "{text}");
        }
    }

    #[test]
    fn a_fingerprint_is_of_the_hash_that_is_as_long() {
        let read = |text: &str| hex_digits(text).and_then(fingerprint);
        let (sha1, sha256) = ("a9".repeat(20), "9f".repeat(32));
        let with_colons = |digits: &str| {
            digits.as_bytes().chunks(2).map(|pair| String::from_utf8_lossy(pair).to_uppercase()).collect::<Vec<_>>().join(":")
        };
        for text in [sha1.clone(), with_colons(&sha1)] {
            assert_eq!(read(&text), Some(Fingerprint::Sha1(sha1.clone())), "{text}");
        }
        for text in [sha256.clone(), with_colons(&sha256)] {
            assert_eq!(read(&text), Some(Fingerprint::Sha256(sha256.clone())), "{text}");
        }
        assert_eq!(read("00"), None);
    }

    #[test]
    fn type_and_algorithm_of_the_key_are_both_to_fit() {
        let rsa = [KeyAlgorithm::Rsa2048, KeyAlgorithm::Rsa3072, KeyAlgorithm::Rsa4096];
        assert_eq!(key_algorithms(Some(KeyType::Rsa), None).as_deref(), Some(&rsa[..]));
        assert_eq!(key_algorithms(Some(KeyType::Rsa), Some(rsa[1])).as_deref(), Some(&rsa[1..2]));
        assert_eq!(key_algorithms(Some(KeyType::Ecdsa), Some(rsa[1])), None);
        assert_eq!(key_algorithms(None, None), Some(Vec::new()));
    }

    #[test]
    fn a_moment_is_read_in_any_offset_escaped_or_not() {
        let expected = moment("2026-11-21T10:00:00Z").unwrap();
        for text in ["2026-11-21T11:00:00+01:00", "2026-11-21T11:00:00 01:00", "2026-11-21T10:00:00.000-00:00", "2026-11-21t10:00:00z"] {
            assert_eq!(moment(text), Ok(expected), "{text}");
        }
        for text in ["", "2026-11-21", "1796000000", "2026-11-21T10:00:00", "2026-13-01T00:00:00Z", "+12026-01-01T00:00:00Z", "\0"] {
            assert_eq!(moment(text).unwrap_err().code, "date_time_invalid", "{text}");
        }
    }
}
