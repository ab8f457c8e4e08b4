//! Reads records in from a zone file, all of it or nothing.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;

use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::{FromRequest, HttpMessage, HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use zonecert_domain::id::ZoneId;
use zonecert_domain::records::{LeftOut, RecordName, ZoneFile, ZoneFileFault, read_zone_file};
use zonecert_domain::scope::Scope;
use zonecert_domain::zone_name::ZoneName;
use zonecert_store::Connection;
use zonecert_store::zone_records::KeptRecordSet;

use super::change;
use super::view::RecordSetView;
use crate::app::App;
use crate::auth::caller::Caller;
use crate::idempotency::{self, Idempotency, Reply};
use crate::openapi::values;
use crate::problem::{FieldError, Problem};
use crate::request::{self, Id, Query};

/// Of a zone file: 500 record sets, most of them of a line.
const MAX_ZONE_FILE_BYTES: usize = 1024 * 1024;

/// The media type of zone files (RFC 4027).
const ZONE_FILE_TYPE: &str = "text/dns";

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ZoneImport)]
struct Wish {
    /// A zone file (RFC 1035 §5).
    #[schema(example = "www 3600 IN A 192.0.2.1\n")]
    zone_file: String,
    /// Whether all other record sets are deleted.
    replace: Option<bool>,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::zones) struct Parameters {
    /// Whether all other record sets are deleted. The body's field comes first.
    replace: Option<bool>,
}

/// A zone file, bare or in JSON.
pub(in crate::zones) struct ZoneFileBody(Result<Sent, Problem>);

/// What was sent, and where in it the zone file is.
enum Sent {
    Json(Wish),
    Bare(String),
}

impl FromRequest for ZoneFileBody {
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Infallible>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (request, payload) = (request.clone(), payload.take());
        Box::pin(async move {
            let sent = if request.content_type().eq_ignore_ascii_case(ZONE_FILE_TYPE) {
                request::read_text(&request, payload, ZONE_FILE_TYPE, MAX_ZONE_FILE_BYTES).await.map(Sent::Bare)
            } else {
                request::read_json(&request, payload, MAX_ZONE_FILE_BYTES).await.map(Sent::Json)
            };
            Ok(Self(sent))
        })
    }
}

#[derive(Serialize, ToSchema)]
#[schema(as = ZoneImported)]
struct Imported<'a> {
    set: Vec<RecordSetView<'a>>,
    /// Record sets that were so already.
    #[schema(example = 0)]
    unchanged_count: usize,
    deleted: Vec<Deleted<'a>>,
    /// Records of the file that are ours to manage, or that we do not serve.
    left_out: Vec<LeftOutView<'a>>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = DeletedRecordSet)]
struct Deleted<'a> {
    #[schema(example = "old.your-domain.com")]
    name: &'a str,
    #[schema(example = "A")]
    r#type: &'a str,
}

#[derive(Serialize, ToSchema)]
#[schema(as = LeftOutRecord)]
struct LeftOutView<'a> {
    #[schema(minimum = 1, example = 1)]
    line: usize,
    #[schema(value_type = String, example = "your-domain.com")]
    name: &'a RecordName,
    #[schema(example = "SOA")]
    r#type: &'a str,
    /// Why, for programs.
    #[schema(value_type = values::LeftOutReason)]
    code: &'static str,
    /// Why, for people.
    #[schema(example = "the name server makes it")]
    detail: String,
}

/// Read records in from a zone file
///
/// All of it or nothing. The file is sent bare, as `text/dns` (RFC 4027), or in JSON; at most 1 MiB of it. Each record set of it takes the place of what is
/// there of its name and type. `$ORIGIN` and `$TTL` are understood, `$INCLUDE` and `$GENERATE` are not. A TTL of under a minute or over a day is moved to
/// these. Records of other types than the service takes are errors; those that are the service's own, or that belong to the signatures of the former
/// server, are left out and named.
#[utoipa::path(
    post, path = "/api/v1/zones/{id}/import", tag = "zones", operation_id = "importRecords",
    params(("id" = inline(values::ZoneId), Path), Parameters, idempotency::Parameters),
    request_body(content((Wish = "application/json"), (String = "text/dns", example = json!("www 3600 IN A 192.0.2.1\n")))),
    responses(
        (status = 200, description = "What has changed.", body = Imported),
        (status = 400, description = "{records}\n{zone file}\n`text_not_utf8`"),
        (status = 409, description = "`zone_not_hosted`: The zone your-domain.com is delegated: its records are kept where it is served, and not here\n\
            `zone_not_verified`: Control of the zone your-domain.com is not proven; set its TXT record and POST \
            /api/v1/zones/zone_0198c5f47e5b7c2a9d4e1c2b3a4d5e6f/verify before you change its records\n\
            `record_reserved`, `record_cname_conflict`, `record_limit_reached`"),
    ),
)]
pub(in crate::zones) async fn import(
    app: web::Data<App>,
    caller: Caller,
    idempotency: Idempotency,
    id: Id<ZoneId>,
    query: Query<Parameters>,
    body: ZoneFileBody,
) -> Result<HttpResponse, Problem> {
    caller.require(Scope::ZonesWrite)?;
    let (id, once) = (id.read()?, idempotency.of(&caller)?);
    let replace = query.read()?.replace.unwrap_or(false);
    let (text, replace, pointer) = match body.0? {
        Sent::Json(wish) => (wish.zone_file, wish.replace.unwrap_or(replace), "/zone_file"),
        Sent::Bare(text) => (text, replace, ""),
    };
    let work = async move |conn: &mut Connection| {
        let zone = change::get_zone(conn, &caller, id).await?;
        let file = parse(text, zone.name.clone(), pointer).await?;
        let outcome = change::set(conn, &caller, &zone, &file.record_sets, replace, pointer).await?;
        let imported = Imported {
            set: outcome.set.iter().map(RecordSetView::new).collect(),
            unchanged_count: outcome.unchanged.len(),
            deleted: outcome.deleted.iter().map(Deleted::new).collect(),
            left_out: file.left_out.iter().map(LeftOutView::new).collect(),
        };
        Reply::json(StatusCode::OK, &imported)
    };
    once.run(&app.store, work).await
}

/// A thread for it, since a file of the largest size keeps a core busy for a while.
async fn parse(text: String, zone: ZoneName, pointer: &'static str) -> Result<ZoneFile, Problem> {
    let read = web::block(move || read_zone_file(&text, &zone)).await.map_err(|error| Problem::caused_by(&error))?;
    read.map_err(|faults| Problem::invalid(faults.iter().map(|fault| field(fault, pointer)).collect()))
}

fn field(fault: &ZoneFileFault, pointer: &str) -> FieldError {
    FieldError::new(pointer, fault.error.code(), format!("line {}: {}", fault.line, fault.error))
}

impl<'a> Deleted<'a> {
    fn new(set: &'a KeptRecordSet) -> Self {
        Self { name: &set.name, r#type: &set.record_type }
    }
}

impl<'a> LeftOutView<'a> {
    fn new(left_out: &'a LeftOut) -> Self {
        let LeftOut { line, name, record_type, reason } = left_out;
        Self { line: *line, name, r#type: record_type, code: reason.code(), detail: reason.to_string() }
    }
}
