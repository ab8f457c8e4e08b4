//! Pages of lists: how long they are, and where the next one begins. A cursor is opaque to clients.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use utoipa::IntoParams;
use uuid::Uuid;
use zonecert_domain::id::{AccountId, AcmeAccountId, AuditEntryId, CertificateId, DeliveryId, OrderId};
use zonecert_domain::zone_name::ZoneName;
use zonecert_store::certificates::Position;
use zonecert_store::{audit_log, order_history, own_acme_accounts, version_history, webhook_deliveries, zone_records};

use crate::faults::Faults;
use crate::problem::{FieldError, Problem};

const DEFAULT_LIMIT: usize = 50;
const MAX_LIMIT: usize = 100;

/// How many rows a page has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limit(usize);

impl Limit {
    /// Reads the parameter `limit`: 1 to 100, 50 where it is absent.
    pub(crate) fn parse(given: Option<&str>) -> Result<Self, FieldError> {
        let Some(given) = given else { return Ok(Self(DEFAULT_LIMIT)) };
        given
            .parse()
            .ok()
            .filter(|limit| (1..=MAX_LIMIT).contains(limit))
            .map(Self)
            .ok_or_else(|| FieldError::new("?limit", "limit_out_of_range", format!("`limit` is a whole number from 1 to {MAX_LIMIT}")))
    }

    /// How many rows to read: one more than the page has, which tells whether there is another page.
    pub(crate) fn to_read(self) -> i64 {
        i64::try_from(self.0).unwrap_or(i64::MAX).saturating_add(1)
    }

    /// Cuts off the row that was read in excess, and makes the next page's cursor of the last one that stays.
    pub(crate) fn cut<T>(self, rows: &mut Vec<T>, cursor: impl FnOnce(&T) -> String) -> Option<String> {
        let more = rows.len() > self.0;
        rows.truncate(self.0);
        rows.last().filter(|_| more).map(cursor)
    }
}

/// Which page of a list that has no other parameters.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Page {
    /// The `next_cursor` of the page before, unchanged.
    cursor: Option<String>,
    /// How many elements a page has.
    #[param(value_type = Option<u8>, minimum = 1, maximum = 100, default = 50)]
    limit: Option<String>,
}

impl Page {
    /// Where it begins, and how long it is. Errors with all that is wrong with it.
    pub(crate) fn parse<C: Cursor>(&self) -> Result<(Option<C>, Limit), Problem> {
        let mut faults = Faults::default();
        let after = faults.check(C::parse_parameter(self.cursor.as_deref()));
        let limit = faults.check(Limit::parse(self.limit.as_deref()));
        faults.finish(after.zip(limit))
    }
}

/// A place in a list that can be written as a cursor and read back.
pub(crate) trait Cursor: Sized {
    /// The text, safe in a URL.
    fn write(&self) -> String;

    /// Reads what [`Cursor::write`] wrote.
    fn read_back(text: &str) -> Option<Self>;

    /// Reads the parameter `cursor`.
    fn parse_parameter(given: Option<&str>) -> Result<Option<Self>, FieldError> {
        let unreadable = || FieldError::new("?cursor", "cursor_invalid", "`cursor` must be a `next_cursor` of this list, unchanged");
        given.map(|text| Self::read_back(text).ok_or_else(unreadable)).transpose()
    }
}

impl Cursor for Position {
    fn write(&self) -> String {
        write_moment_and_id(CERTIFICATES, self.created_at, self.id.0)
    }

    fn read_back(text: &str) -> Option<Self> {
        read_moment_and_id(CERTIFICATES, text).map(|(created_at, id)| Self { created_at, id: CertificateId(id) })
    }
}

impl Cursor for audit_log::Position {
    fn write(&self) -> String {
        write_moment_and_id(AUDIT, self.at, self.id.0)
    }

    fn read_back(text: &str) -> Option<Self> {
        read_moment_and_id(AUDIT, text).map(|(at, id)| Self { at, id: AuditEntryId(id) })
    }
}

impl Cursor for order_history::Position {
    fn write(&self) -> String {
        write_moment_and_id(ORDERS, self.created_at, self.id.0)
    }

    fn read_back(text: &str) -> Option<Self> {
        read_moment_and_id(ORDERS, text).map(|(created_at, id)| Self { created_at, id: OrderId(id) })
    }
}

impl Cursor for own_acme_accounts::Position {
    fn write(&self) -> String {
        write_moment_and_id(ACME_ACCOUNTS, self.created_at, self.id.0)
    }

    fn read_back(text: &str) -> Option<Self> {
        read_moment_and_id(ACME_ACCOUNTS, text).map(|(created_at, id)| Self { created_at, id: AcmeAccountId(id) })
    }
}

impl Cursor for version_history::Position {
    fn write(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.number.to_be_bytes())
    }

    fn read_back(text: &str) -> Option<Self> {
        Some(Self { number: i32::from_be_bytes(URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()?) })
    }
}

impl Cursor for webhook_deliveries::Position {
    fn write(&self) -> String {
        write_moment_and_id(DELIVERIES, self.created_at, self.id.0)
    }

    fn read_back(text: &str) -> Option<Self> {
        read_moment_and_id(DELIVERIES, text).map(|(created_at, id)| Self { created_at, id: DeliveryId(id) })
    }
}

/// Which list a cursor of moment and identifier belongs to.
const CERTIFICATES: u8 = b'c';
const AUDIT: u8 = b'a';
const ORDERS: u8 = b'o';
const DELIVERIES: u8 = b'd';
const ACME_ACCOUNTS: u8 = b'm';

fn write_moment_and_id(list: u8, at: DateTime<Utc>, id: Uuid) -> String {
    let mut bytes = vec![list];
    bytes.extend(at.timestamp_micros().to_be_bytes());
    bytes.extend(id.as_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

fn read_moment_and_id(list: u8, text: &str) -> Option<(DateTime<Utc>, Uuid)> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    let (micros, id) = bytes.strip_prefix(&[list])?.split_at_checked(8)?;
    let at = DateTime::from_timestamp_micros(i64::from_be_bytes(micros.try_into().ok()?))?;
    // PostgreSQL's timestamps end before chrono's.
    let in_range = (0..=253_402_300_799).contains(&at.timestamp());
    in_range.then_some((at, Uuid::from_slice(id).ok()?))
}

impl Cursor for ZoneName {
    fn write(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.as_str())
    }

    fn read_back(text: &str) -> Option<Self> {
        Self::from_stored(std::str::from_utf8(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()?).ok()
    }
}

/// The name of a private key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeyName(pub(crate) String);

impl Cursor for KeyName {
    fn write(&self) -> String {
        URL_SAFE_NO_PAD.encode(format!("key {}", self.0))
    }

    fn read_back(text: &str) -> Option<Self> {
        let text = String::from_utf8(URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
        let name = text.strip_prefix("key ")?;
        (!name.contains(char::is_control)).then(|| Self(name.to_owned()))
    }
}

impl Cursor for AccountId {
    fn write(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }

    fn read_back(text: &str) -> Option<Self> {
        Some(Self(Uuid::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()?))
    }
}

impl Cursor for zone_records::Position {
    fn write(&self) -> String {
        URL_SAFE_NO_PAD.encode(format!("{} {}", self.name, self.record_type))
    }

    fn read_back(text: &str) -> Option<Self> {
        let text = String::from_utf8(URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
        let (name, record_type) = text.rsplit_once(' ')?;
        let fits = !text.contains(char::is_control);
        fits.then(|| Self { name: name.to_owned(), record_type: record_type.to_owned() })
    }
}

/// The number of an event.
impl Cursor for i64 {
    fn write(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.to_be_bytes())
    }

    fn read_back(text: &str) -> Option<Self> {
        Some(Self::from_be_bytes(URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()?))
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Debug;

    use super::*;

    fn round_trips<C: Cursor + PartialEq + Debug>(place: &C) {
        assert_eq!(C::parse_parameter(Some(&place.write())).unwrap().as_ref(), Some(place));
        assert!(place.write().bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)));
        for broken in ["", "!", "AAAA", &place.write()[1..], &format!("{}AAAA", place.write()), "a\0b", "é"] {
            if let Ok(read) = C::parse_parameter(Some(broken)) {
                assert_ne!(read.as_ref(), Some(place), "{broken}");
            }
        }
    }

    #[test]
    fn a_cursor_is_read_back_and_a_broken_one_refused() {
        let created_at = DateTime::from_timestamp_micros(1_796_000_000_123_456).unwrap();
        round_trips(&Position { created_at, id: CertificateId::new() });
        round_trips(&audit_log::Position { at: created_at, id: AuditEntryId::new() });
        let of_another_list = audit_log::Position { at: created_at, id: AuditEntryId::new() }.write();
        assert_eq!(Position::parse_parameter(Some(&of_another_list)).unwrap_err().code, "cursor_invalid");
        round_trips(&ZoneName::from_stored("xn--bcher-kva.de").unwrap());
        round_trips(&KeyName("wildcard.example.test".to_owned()));
        round_trips(&zone_records::Position { name: "*.example.test".to_owned(), record_type: "MX".to_owned() });
        round_trips(&order_history::Position { created_at, id: OrderId::new() });
        round_trips(&version_history::Position { number: 42 });
        round_trips(&42_i64);
        assert_eq!(Position::parse_parameter(None), Ok(None));
        assert_eq!(Position::parse_parameter(Some("nonsense")).unwrap_err().code, "cursor_invalid");
        let beyond = URL_SAFE_NO_PAD.encode([&[CERTIFICATES][..], &i64::MAX.to_be_bytes(), &[0; 16]].concat());
        assert_eq!(Position::parse_parameter(Some(&beyond)).unwrap_err().code, "cursor_invalid");
    }

    #[test]
    fn a_page_has_1_to_100_rows() {
        assert_eq!(Limit::parse(None), Ok(Limit(50)));
        assert_eq!(Limit::parse(Some("1")), Ok(Limit(1)));
        assert_eq!(Limit::parse(Some("100")), Ok(Limit(100)));
        for refused in ["0", "101", "-1", "", "ten", "1.0", "99999999999999999999"] {
            assert_eq!(Limit::parse(Some(refused)).unwrap_err().code, "limit_out_of_range", "{refused}");
        }
    }

    #[test]
    fn only_a_list_that_goes_on_has_a_next_cursor() {
        let cut = |mut rows: Vec<i64>| {
            let next = Limit(2).cut(&mut rows, ToString::to_string);
            (rows, next)
        };
        assert_eq!(Limit(2).to_read(), 3);
        assert_eq!(cut(vec![]), (vec![], None));
        assert_eq!(cut(vec![1, 2]), (vec![1, 2], None));
        assert_eq!(cut(vec![1, 2, 3]), (vec![1, 2], Some("2".to_owned())));
    }
}
