//! `POST /certificates`: requests a certificate, which the workers then issue (requirements S3.25).

use actix_web::http::header::LOCATION;
use actix_web::{HttpResponse, web};
use serde_json::json;
use zonecert_domain::id::IssuanceId;
use zonecert_domain::issuance::{IssuanceReason, give_up_at};
use zonecert_domain::plan::{self, CreateWish, Plan};
use zonecert_domain::scope::Scope;
use zonecert_domain::zone_name::ZoneName;
use zonecert_store::certificates::{self, Certificate, NewCertificate, NewName};
use zonecert_store::events::NewEvent;
use zonecert_store::zones::{self, Zone, ZoneStatus};
use zonecert_store::{Connection, StoreError, accounts, events, issuances};

use super::naming;
use super::view::CertificateView;
use super::wish::{Wish, WishBody};
use crate::app::App;
use crate::audit;
use crate::auth::caller::Caller;
use crate::problem::{FieldError, Problem};
use crate::request::Body;

/// The order in which errors are looked for is that of requirements S3.53.
pub(super) async fn create(app: web::Data<App>, caller: Caller, body: Body<WishBody>) -> Result<HttpResponse, Problem> {
    caller.require(Scope::CertificatesWrite)?;
    plan::check_paid(caller.plan)?;
    let wish = Wish::parse(&body.read()?, &app.settings.names)?;
    let under_way = wish.place_order;
    let (certificate, plan) = app.store.tenant_write(caller.account, async move |conn| insert(conn, &caller, &wish).await).await?;
    let mut response = if under_way { HttpResponse::Accepted() } else { HttpResponse::Created() };
    let location = format!("/api/v1/certificates/{}", certificate.id);
    Ok(response.insert_header((LOCATION, location)).json(CertificateView::new(&certificate, plan)))
}

/// In a transaction that holds the account's lock, so that neither slot nor domain nor derived name can be taken twice.
async fn insert(conn: &mut Connection, caller: &Caller, wish: &Wish) -> Result<(Certificate, Plan), Problem> {
    let account = caller.account;
    let zone = get_verified_zone(conn, caller, wish).await?;
    check_under(wish, &zone.name)?;
    // The plan may have changed since the caller was identified.
    let plan = accounts::get_account(conn, account).await?.plan;
    let auto_renew = wish.auto_renew.unwrap_or(plan.limits().auto_renew);
    plan::check_create(plan, &CreateWish { wants_wildcard: wish.names.has_wildcard(), wants_auto_renew: auto_renew })?;
    let derived = naming::derive(wish.names.primary());
    let new = NewCertificate {
        zone: zone.id,
        name: wish.name.as_deref().map_or(NewName::Derived(&derived), NewName::Given),
        label: wish.label.as_deref(),
        names: &wish.names,
        environment: wish.environment,
        key_algorithm: wish.key_algorithm,
        key_policy: wish.key_policy,
        auto_renew,
    };
    let id = certificates::insert_certificate(conn, account, &new).await.map_err(|error| taken(error, wish))?;
    // The new one is counted already.
    plan::check_limit(plan, certificates::count_slots(conn, account).await? - 1)?;
    let issuance = if wish.place_order {
        let give_up_at = give_up_at(issuances::database_now(conn).await?, None);
        Some(issuances::insert_issuance(conn, account, id, IssuanceReason::First, give_up_at).await?)
    } else {
        None
    };
    let certificate = certificates::get_certificate(conn, account, id).await?;
    record(conn, caller, &certificate, issuance).await?;
    Ok((certificate, plan))
}

/// Requirements section 1 fixes the text: the same for a zone that is not there and for another account's.
async fn get_verified_zone(conn: &mut Connection, caller: &Caller, wish: &Wish) -> Result<Zone, Problem> {
    let absent = || Problem::absent("zone_not_found", "Zone not found or no permission");
    let zone = zones::get_zone(conn, caller.account, wish.zone.ok_or_else(absent)?).await.map_err(|error| match error {
        StoreError::NotFound => absent(),
        other => other.into(),
    })?;
    let verify = format!("POST /api/v1/zones/{}/verify", zone.id);
    match zone.status {
        ZoneStatus::Verified => Ok(zone),
        ZoneStatus::Pending => {
            let detail = format!("The zone {} is not verified yet; set its TXT record and {verify} first", zone.name);
            Err(Problem::conflict("zone_not_verified", detail))
        }
        ZoneStatus::Lost => {
            let detail = format!("Control of the zone {} is no longer proven; set its TXT record again and {verify}", zone.name);
            Err(Problem::conflict("zone_not_verified", detail))
        }
    }
}

fn check_under(wish: &Wish, zone: &ZoneName) -> Result<(), Problem> {
    if wish.names.first_outside(zone).is_none() {
        return Ok(());
    }
    let outside = wish.names.names().iter().filter(|name| !name.is_at_or_below(zone));
    let errors = outside.map(|name| {
        let pointer = if name.base() == wish.names.primary().base() { "/domain" } else { "/sans" };
        FieldError::new(pointer, "domain_not_under_zone", format!("{name} is neither {zone} nor below it"))
    });
    Err(Problem::bad_request("domain_not_under_zone", "Domain not under zone").with_errors(errors.collect()))
}

fn taken(error: StoreError, wish: &Wish) -> Problem {
    if error.is_constraint(certificates::DOMAIN_KEY) {
        return Problem::conflict("certificate_exists", "Certificate already exists for domain");
    }
    if error.is_constraint(certificates::NAME_KEY) {
        let name = wish.name.as_deref().unwrap_or_default();
        let detail = format!("The account has a certificate with the name {name} already; give another, or none to have one chosen");
        return Problem::conflict("certificate_name_taken", detail);
    }
    error.into()
}

async fn record(conn: &mut Connection, caller: &Caller, certificate: &Certificate, issuance: Option<IssuanceId>) -> Result<(), StoreError> {
    let (domain, sans) = (certificate.domain(), certificate.sans());
    let others = match sans.len() {
        0 => String::new(),
        1 => " and 1 more name".to_owned(),
        more => format!(" and {more} more names"),
    };
    let (event, message) = match issuance {
        Some(_) => ("certificate_requested", format!("Certificate for {domain}{others} requested; issuance begins")),
        None => ("certificate_created", format!("Certificate for {domain}{others} created; no order is placed yet")),
    };
    let details = json!({"domain": domain, "sans": sans, "zone_id": certificate.zone, "environment": certificate.environment.as_str()});
    audit::record(conn, caller, "certificate.requested", &certificate.id.to_string(), details.clone()).await?;
    let event = NewEvent { certificate: Some(certificate.id), issuance, details, ..NewEvent::info(event, message) };
    events::record(conn, caller.account, event).await?;
    Ok(())
}
