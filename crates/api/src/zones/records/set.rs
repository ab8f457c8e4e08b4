//! Sets all records of a name and type, in place of what was there. Saying it again changes nothing.

use actix_web::{HttpResponse, web};
use serde::Deserialize;
use utoipa::ToSchema;
use zonecert_domain::id::ZoneId;
use zonecert_domain::records::{
    DEFAULT_TTL_SECONDS, MAX_CONTENTS, RecordError, RecordName, RecordSet, RecordType, check_place, parse_content, parse_ttl,
};
use zonecert_domain::scope::Scope;
use zonecert_store::Connection;
use zonecert_store::zone_records::KeptRecordSet;

use super::change;
use super::problem;
use super::view::RecordSetView;
use crate::app::App;
use crate::auth::caller::Caller;
use crate::faults::Faults;
use crate::openapi::values;
use crate::problem::{FieldError, Problem};
use crate::request::{Body, Id};

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewRecordSet)]
pub(in crate::zones) struct Wish {
    /// The zone's name or one below it, in full.
    #[schema(example = "your-domain.com")]
    name: String,
    /// In upper or lower case.
    #[schema(value_type = values::RecordType, example = "MX")]
    r#type: String,
    /// How long resolvers may remember the records, in seconds. 300 where it is absent.
    #[schema(minimum = 60, maximum = 86400, example = 3600)]
    ttl: Option<i64>,
    /// All records, each as it stands in a zone file. Host names are complete, with or without their final dot. A TXT record that does not begin with a
    /// quote is taken as it is; texts of more than 255 octets are cut into pieces.
    #[schema(min_items = 1, max_items = 100, example = json!(["192.0.2.1"]))]
    contents: Vec<String>,
}

/// Set all records of a name and type
///
/// In place of what was there, of whomever. Saying it again changes nothing. The answer shows the records as they are kept: sorted, each once, names in
/// lower case and with their final dot. At most 500 record sets a zone. `_acme-challenge` at any depth and the zone's `_zonecert` are the service's.
#[utoipa::path(
    put, path = "/api/v1/zones/{id}/records", tag = "zones", operation_id = "setRecords",
    params(("id" = inline(values::ZoneId), Path)),
    request_body(content = Wish, example = json!({
        "name": "your-domain.com", "type": "MX", "ttl": 3600, "contents": ["10 mail.your-domain.com."],
    })),
    responses(
        (status = 200, description = "The record set.", body = RecordSetView),
        (status = 400, description = "{records}"),
        (status = 409, description = "`zone_not_hosted`: The zone your-domain.com is delegated: its records are kept where it is served, and not here\n\
            `zone_not_verified`: Control of the zone your-domain.com is not proven; set its TXT record and POST \
            /api/v1/zones/zone_0198c5f47e5b7c2a9d4e1c2b3a4d5e6f/verify before you change its records\n\
            `record_reserved`, `record_cname_conflict`, `record_limit_reached`"),
    ),
)]
pub(in crate::zones) async fn put(app: web::Data<App>, caller: Caller, id: Id<ZoneId>, body: Body<Wish>) -> Result<HttpResponse, Problem> {
    caller.require(Scope::ZonesWrite)?;
    let id = id.read()?;
    let set = parse(&body.read()?)?;
    let kept = app.store.tenant_write(caller.account, async move |conn| put_set(conn, &caller, id, set).await).await?;
    Ok(HttpResponse::Ok().json(RecordSetView::new(&kept)))
}

/// What can be said without knowing the zone.
fn parse(wish: &Wish) -> Result<RecordSet, Problem> {
    let mut faults = Faults::default();
    let fault = |pointer: String| move |error: RecordError| FieldError::new(pointer, error.code(), error.detail());
    let name = faults.check(RecordName::parse(&wish.name).map_err(fault("/name".to_owned())));
    let ttl = faults.check(wish.ttl.map_or(Ok(DEFAULT_TTL_SECONDS), parse_ttl).map_err(fault("/ttl".to_owned())));
    let unsupported = || RecordError::Type { given: wish.r#type.chars().take(20).collect() };
    let record_type = faults.check(RecordType::parse(&wish.r#type).ok_or_else(unsupported).map_err(fault("/type".to_owned())));
    if wish.contents.len() > MAX_CONTENTS {
        faults.extend([fault("/contents".to_owned())(RecordError::TooMany)]);
        return faults.finish(None);
    }
    let contents = record_type.map(|record_type| {
        let read = wish
            .contents
            .iter()
            .enumerate()
            .map(|(index, text)| faults.check(parse_content(record_type, text).map_err(fault(format!("/contents/{index}")))));
        read.collect::<Vec<_>>().into_iter().collect::<Option<Vec<String>>>()
    });
    let set = (|| Some((name?, record_type?, ttl?, contents??)))().and_then(|(name, record_type, ttl, contents)| {
        faults.check(RecordSet::new(name, record_type, ttl, contents).map_err(fault("/contents".to_owned())))
    });
    faults.finish(set)
}

async fn put_set(conn: &mut Connection, caller: &Caller, id: ZoneId, set: RecordSet) -> Result<KeptRecordSet, Problem> {
    let zone = change::get_zone(conn, caller, id).await?;
    check_place(&zone.name, set.name(), set.record_type()).map_err(|error| problem(&error, "/name"))?;
    let outcome = change::set(conn, caller, &zone, &[set], false, "/name").await?;
    outcome.set.into_iter().chain(outcome.unchanged).next().ok_or_else(Problem::internal)
}
