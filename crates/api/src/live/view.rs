//! An event as it travels: server-sent events (HTML standard, "Server-sent events").

use actix_web::web::Bytes;
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema as _, ToSchema};
use zonecert_domain::certificate::CertificateStatus;
use zonecert_domain::id::CertificateId;
use zonecert_domain::scope::Scope;
use zonecert_store::events::Event;
use zonecert_store::live_events::CertificateState;

use crate::openapi::values;

/// The first line: what a client waits before it connects again, in milliseconds.
pub(super) const GREETING: Bytes = Bytes::from_static(b"retry: 2000\n\n");

/// A comment.
pub(super) const KEEP_ALIVE: Bytes = Bytes::from_static(b": keep-alive\n\n");

/// The `data` of an event in the stream.
#[derive(Serialize, ToSchema)]
#[schema(as = Event)]
pub(crate) struct EventView<'a> {
    #[schema(minimum = 1, example = 7)]
    number: i64,
    at: DateTime<Utc>,
    #[schema(value_type = values::Level)]
    level: &'static str,
    /// What happened, for programs.
    #[schema(pattern = "^[a-z][a-z0-9_]*$", example = "issued")]
    event: &'a str,
    /// What happened, for people.
    #[schema(example = "Certificate issued")]
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = values::CertificateId, required = false)]
    certificate_id: Option<CertificateId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = values::ZoneId, required = false)]
    zone_id: Option<&'a str>,
    /// What else is known of it; which fields there are depends on the event.
    #[schema(value_type = Object, example = json!({}))]
    details: &'a serde_json::Value,
    /// As it is now, which may be later than the event.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = CertificateView, required = false)]
    certificate: Option<CertificateView<'a>>,
}

/// What stands in a stream, for the description of the API, to which the stream is a text.
pub(crate) fn schemas() -> Vec<(String, RefOr<Schema>)> {
    let mut schemas = vec![("Event".to_owned(), EventView::schema())];
    EventView::schemas(&mut schemas);
    schemas
}

#[derive(Serialize, ToSchema)]
#[schema(as = EventCertificate)]
struct CertificateView<'a> {
    #[schema(example = "app.your-domain.com")]
    domain: &'a str,
    #[schema(value_type = values::CertificateStatus)]
    status: CertificateStatus,
    #[schema(required)]
    issued_at: Option<DateTime<Utc>>,
    #[schema(required)]
    expires_at: Option<DateTime<Utc>>,
}

/// Which scope shows an event: a zone's is one that names a zone and no certificate.
pub(super) fn scope_of(event: &Event) -> Scope {
    if event.certificate.is_none() && zone_of(event).is_some() { Scope::ZonesRead } else { Scope::CertificatesRead }
}

fn zone_of(event: &Event) -> Option<&str> {
    event.details.get("zone_id")?.as_str()
}

/// The event with its number, by which a client goes on after a break.
pub(super) fn write(event: &Event, certificate: Option<&CertificateState>) -> Result<String, serde_json::Error> {
    let view = EventView {
        number: event.number,
        at: event.at,
        level: event.level.as_str(),
        event: &event.event,
        message: &event.message,
        certificate_id: event.certificate,
        zone_id: zone_of(event),
        details: &event.details,
        certificate: certificate.map(|state| CertificateView {
            domain: &state.domain,
            status: state.status,
            issued_at: state.issued_at,
            expires_at: state.expires_at,
        }),
    };
    // JSON without line breaks: within strings they are escaped.
    Ok(format!("id: {}\nevent: {}\ndata: {}\n\n", event.number, event.event, serde_json::to_string(&view)?))
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use zonecert_store::events::Level;

    use super::*;

    fn event(certificate: Option<CertificateId>, details: serde_json::Value) -> Event {
        Event {
            number: 7,
            at: DateTime::from_timestamp(1_796_000_000, 0).unwrap(),
            level: Level::Info,
            event: "issued".to_owned(),
            message: "two\nlines".to_owned(),
            certificate,
            issuance: None,
            order: None,
            details,
        }
    }

    #[test]
    fn an_event_is_three_lines_and_an_empty_one() {
        let id = CertificateId::new();
        let state = CertificateState { domain: "a.test".to_owned(), status: CertificateStatus::Issued, issued_at: None, expires_at: None };
        let text = write(&event(Some(id), json!({"a": "\r\n"})), Some(&state)).unwrap();
        let lines: Vec<&str> = text.split('\n').collect();
        assert_eq!((lines.len(), lines[0], lines[1], lines[3], lines[4]), (5, "id: 7", "event: issued", "", ""));
        let data: serde_json::Value = serde_json::from_str(lines[2].strip_prefix("data: ").unwrap()).unwrap();
        assert_eq!(
            data,
            json!({
                "number": 7, "at": "2026-11-30T00:53:20Z", "level": "info", "event": "issued", "message": "two\nlines", "certificate_id": id,
                "details": {"a": "\r\n"}, "certificate": {"domain": "a.test", "status": "issued", "issued_at": null, "expires_at": null},
            })
        );
        assert!(!text.contains('\r'));
    }

    #[test]
    fn a_zones_event_needs_another_scope_than_a_certificates() {
        let zone = json!({"zone_id": "zone_1", "zone": "a.test"});
        assert_eq!(scope_of(&event(None, zone.clone())), Scope::ZonesRead);
        assert_eq!(scope_of(&event(Some(CertificateId::new()), zone)), Scope::CertificatesRead);
        assert_eq!(scope_of(&event(None, json!({}))), Scope::CertificatesRead);
    }
}
