//! Exports certificates as one file (requirements S3.30), page by page: however many there are, a few are in memory. Never with a key.

use std::fmt::Write as _;

use actix_web::http::header;
use actix_web::web::Bytes;
use actix_web::{HttpResponse, web};
use chrono::{DateTime, SecondsFormat, Utc};
use futures::StreamExt as _;
use futures::future::ready;
use futures::stream::{once, try_unfold};
use utoipa::{IntoParams, ToSchema};
use zonecert_domain::id::AccountId;
use zonecert_domain::scope::Scope;
use zonecert_pki::chain::Details;
use zonecert_store::certificates::{self, Certificate, CurrentVersion, Filter, Position};
use zonecert_store::{Connection, StoreError};

use super::list::{Filters, Once, Parameters};
use super::view::CertificateView;
use crate::app::App;
use crate::auth::caller::Caller;
use crate::faults::Faults;
use crate::openapi::values;
use crate::problem::Problem;
use crate::request::Query;
use crate::text;

/// Certificates that are read at a time.
const PAGE: usize = 200;

/// How the file is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Format {
    /// A line for each certificate (RFC 4180).
    #[default]
    Csv,
    /// As in the list.
    Json,
}

impl Format {
    pub(crate) const ALL: [Self; 2] = [Self::Csv, Self::Json];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Json => "json",
        }
    }

    const fn media_type(self) -> &'static str {
        match self {
            Self::Csv => "text/csv; charset=utf-8; header=present",
            Self::Json => "application/json",
        }
    }
}

#[derive(Debug, Default, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Wanted {
    /// `csv` where it is absent.
    #[param(value_type = Option<values::ExportFormat>, inline)]
    format: Option<String>,
}

impl Once for Wanted {
    const NAMES: &'static [&'static str] = &["format"];

    fn place(&mut self, name: &str) -> Option<&mut Option<String>> {
        (name == "format").then_some(&mut self.format)
    }
}

/// All of them.
#[derive(ToSchema)]
#[schema(as = CertificateExport)]
#[expect(dead_code, reason = "describes a text that is written piece by piece")]
struct Export<'a> {
    certificates: Vec<CertificateView<'a>>,
}

/// A line of names, and one for each certificate. A text that a spreadsheet would take for a formula has an apostrophe in front.
#[derive(ToSchema)]
#[schema(as = CertificateTable, value_type = String, example = "id,name\r\ncert_0198c5f47e5b7c2a9d4e1c2b3a4d5e6f,app.your-domain.com\r\n")]
#[expect(dead_code, reason = "describes a text that is written piece by piece")]
struct Table(String);

/// The account's certificates as a file
///
/// The filters are those of the list. Newest first, read while it is sent: one that changes meanwhile is there as it was before or after. Where the service
/// cannot go on, the connection ends before the file does. In CSV (RFC 4180), names and addresses stand in one field with spaces between them.
#[utoipa::path(
    get, path = "/api/v1/certificates/export", tag = "certificates", operation_id = "exportCertificates",
    params(Wanted, Filters),
    responses(
        (status = 200, description = "The file.", content((Table = "text/csv"), (Export = "application/json")),
            headers(("Content-Disposition" = String))),
        (status = 400, description = "`unknown_choice` at ?format: Give one of csv, json\n\
            `date_time_invalid` at ?expiring_before: Give a date and time as in RFC 3339, such as 2026-11-21T00:00:00Z"),
    ),
)]
pub(super) async fn export(app: web::Data<App>, caller: Caller, query: Query<Parameters<Wanted>>) -> Result<HttpResponse, Problem> {
    caller.require(Scope::CertificatesRead)?;
    let Parameters { beside, filters } = query.read()?;
    let mut faults = Faults::default();
    let format = faults.check(text::choice("?format", beside.format.as_deref(), &Format::ALL, Format::as_str));
    let filter = filters.parse(&mut faults);
    let (format, filter) = faults.finish(format.zip(filter))?;
    let format = format.unwrap_or_default();
    let file = File { app, account: caller.account, filter, format, after: None, written: 0, is_over: false };
    // What fails at once is answered as everywhere.
    let (first, rest) = file.read().await?;
    let body = once(ready(Ok::<_, Problem>(first))).chain(try_unfold(rest, File::next));
    let disposition = format!("attachment; filename=\"certificates.{}\"", format.as_str());
    Ok(HttpResponse::Ok()
        .content_type(format.media_type())
        .insert_header((header::CONTENT_DISPOSITION, disposition))
        .insert_header((header::CACHE_CONTROL, "private, no-store"))
        .streaming(body))
}

/// A file, and how far it is.
struct File {
    app: web::Data<App>,
    account: AccountId,
    /// None where no certificate can match.
    filter: Option<Filter>,
    format: Format,
    after: Option<Position>,
    /// Certificates that are in it so far.
    written: usize,
    is_over: bool,
}

impl File {
    /// The next piece, if there is one.
    async fn next(self) -> Result<Option<(Bytes, Self)>, Problem> {
        if self.is_over { Ok(None) } else { self.read().await.map(Some) }
    }

    async fn read(mut self) -> Result<(Bytes, Self), Problem> {
        let (account, after) = (self.account, self.after);
        let limit = i64::try_from(PAGE).unwrap_or(i64::MAX);
        let rows = match self.filter.clone() {
            Some(filter) => {
                let body = async move |conn: &mut Connection| certificates::list_certificates(conn, account, &filter, after, limit).await;
                self.app.store.tenant::<_, StoreError, _>(account, body).await?
            }
            None => Vec::new(),
        };
        self.is_over = rows.len() < PAGE;
        let piece = match self.format {
            Format::Csv => csv(&rows, self.written == 0),
            Format::Json => json(&rows, self.written == 0, self.is_over)?,
        };
        self.written += rows.len();
        if let Some(last) = rows.last() {
            self.after = Some(Position { created_at: last.created_at, id: last.id });
        }
        Ok((Bytes::from(piece), self))
    }
}

fn json(rows: &[Certificate], is_first: bool, is_last: bool) -> Result<String, Problem> {
    let mut piece = if is_first { "{\"certificates\":[".to_owned() } else { String::new() };
    for (place, certificate) in rows.iter().enumerate() {
        if place > 0 || !is_first {
            piece.push(',');
        }
        piece += &serde_json::to_string(&CertificateView::new(certificate)).map_err(|error| Problem::caused_by(&error))?;
    }
    if is_last {
        piece += "]}";
    }
    Ok(piece)
}

/// The name of a column, and what stands in it.
type Column = (&'static str, fn(&Certificate) -> String);

/// The columns, and what stands in them.
const COLUMNS: [Column; 26] = [
    ("id", |certificate| certificate.id.to_string()),
    ("name", |certificate| certificate.name.clone()),
    ("number", |certificate| certificate.number.to_string()),
    ("label", |certificate| certificate.label.clone().unwrap_or_default()),
    ("kind", |certificate| certificate.kind.as_str().to_owned()),
    ("domain", |certificate| certificate.domain().to_owned()),
    ("sans", |certificate| certificate.sans().iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")),
    ("zone_id", |certificate| certificate.zone.map(|zone| zone.to_string()).unwrap_or_default()),
    ("status", |certificate| certificate.status.as_str().to_owned()),
    ("auto_renew", |certificate| certificate.auto_renew.to_string()),
    ("environment", |certificate| certificate.environment.as_str().to_owned()),
    ("key_algorithm", |certificate| certificate.key_algorithm.as_str().to_owned()),
    ("created_at", |certificate| moment(Some(certificate.created_at))),
    ("issued_at", |certificate| moment(certificate.issued_at)),
    ("expires_at", |certificate| moment(certificate.expires_at)),
    ("next_renewal_at", |certificate| moment(certificate.next_renewal_at)),
    ("renewal_blocked_by", |certificate| certificate.renewal_blocked_by.map(|block| block.as_str().to_owned()).unwrap_or_default()),
    ("version_id", |certificate| in_use(certificate, |version| version.id.to_string())),
    ("serial", |certificate| in_use(certificate, |version| version.serial.clone())),
    ("fingerprint_sha256", |certificate| in_use(certificate, |version| version.fingerprint_sha256.clone())),
    ("fingerprint_sha1", |certificate| details(certificate, |details| details.sha1_fingerprint_hex.clone())),
    ("issuer", |certificate| in_use(certificate, |version| version.issuer.clone())),
    ("subject", |certificate| in_use(certificate, |version| version.subject.clone())),
    ("signature_algorithm", |certificate| details(certificate, |details| details.signature_algorithm.clone())),
    ("side", |certificate| details(certificate, |details| details.side.as_str().to_owned())),
    ("self_signed", |certificate| details(certificate, |details| details.is_self_signed.to_string())),
];

fn csv(rows: &[Certificate], with_header: bool) -> String {
    let mut piece = String::new();
    if with_header {
        piece += &COLUMNS.map(|(name, _)| name).join(",");
        piece += "\r\n";
    }
    for certificate in rows {
        for (place, (_, value)) in COLUMNS.iter().enumerate() {
            if place > 0 {
                piece.push(',');
            }
            write_field(&mut piece, &value(certificate));
        }
        piece += "\r\n";
    }
    piece
}

/// Quoted where RFC 4180 wants it. What a spreadsheet would take for a formula is made a text.
fn write_field(line: &mut String, value: &str) {
    let defused = if value.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']) { "'" } else { "" };
    // Writing to a text cannot fail.
    let _ = if value.contains([',', '"', '\r', '\n']) {
        write!(line, "\"{defused}{}\"", value.replace('"', "\"\""))
    } else {
        write!(line, "{defused}{value}")
    };
}

/// Of the version in use, if there is one.
fn in_use(certificate: &Certificate, read: fn(&CurrentVersion) -> String) -> String {
    certificate.current_version.as_ref().map(read).unwrap_or_default()
}

/// What stands in that version, where it could be read.
fn details(certificate: &Certificate, read: fn(&Details) -> String) -> String {
    certificate.current_version.as_ref().and_then(|version| version.details.as_ref()).map(read).unwrap_or_default()
}

fn moment(at: Option<DateTime<Utc>>) -> String {
    at.map(|at| at.to_rfc3339_opts(SecondsFormat::Secs, true)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_quoted_where_it_must_be_and_is_never_a_formula() {
        for (value, written) in [
            ("", ""),
            ("app.example.com", "app.example.com"),
            ("*.example.com", "*.example.com"),
            ("CN=a,O=b", "\"CN=a,O=b\""),
            ("say \"hi\"", "\"say \"\"hi\"\"\""),
            ("two\nlines", "\"two\nlines\""),
            ("=1+1", "'=1+1"),
            ("+1", "'+1"),
            ("-1", "'-1"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("\t=1", "'\t=1"),
            ("\r=1", "\"'\r=1\""),
            ("=HYPERLINK(\"x\",\"y\")", "\"'=HYPERLINK(\"\"x\"\",\"\"y\"\")\""),
        ] {
            let mut line = String::new();
            write_field(&mut line, value);
            assert_eq!(line, written, "{value:?}");
        }
    }

    #[test]
    fn a_file_of_nothing_is_whole() {
        assert_eq!(json(&[], true, true).unwrap(), "{\"certificates\":[]}");
        assert_eq!(csv(&[], true).lines().count(), 1);
    }
}
