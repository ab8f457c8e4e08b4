//! A new version, now (requirements S3.33, S3.34). What is valid stays downloadable meanwhile.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use serde_json::json;
use zonecert_domain::certificate::CertificateStatus;
use zonecert_domain::id::{CertificateId, IssuanceId};
use zonecert_domain::name::DnsName;
use zonecert_domain::plan::{self, CreateWish, Plan};
use zonecert_domain::scope::Scope;
use zonecert_store::certificates::{self, Certificate, Kind};
use zonecert_store::events::{self, NewEvent};
use zonecert_store::issuing::{self, Outcome};
use zonecert_store::renewals_by_hand::{self, LiveIssuance};
use zonecert_store::{Connection, StoreError, accounts};

use super::view::CertificateView;
use super::{taken, upload, zone};
use crate::app::App;
use crate::audit;
use crate::auth::caller::Caller;
use crate::idempotency::{self, Idempotency, Reply};
use crate::openapi::values;
use crate::problem::Problem;
use crate::request::Id;

/// Issue a new version, now
///
/// Needs a paid plan and a verified zone as well. What is valid stays downloadable meanwhile. Also places the first order of a certificate that was
/// requested without one.
#[utoipa::path(
    post, path = "/api/v1/certificates/{id}/renew", tag = "certificates", operation_id = "renewCertificate",
    params(("id" = inline(values::CertificateId), Path), idempotency::Parameters),
    responses(
        (status = 202, description = "The certificate, whose issuance has begun.", body = CertificateView),
        (status = 403, description = "`certificate_limit_reached`: Certificate limit reached for plan\n\
            `paid_plan_required`: Certificate management requires paid subscription\n\
            `wildcard_requires_elite`: Wildcard certificates require Elite plan"),
        (status = 404, description = "`zone_not_found`: Zone not found or no permission"),
        (status = 409, description = "`issuance_under_way`: A new version is being issued already; \
            GET /api/v1/certificates/cert_0198c5f47e5b7c2a9d4e1c2b3a4d5e6f says how far it is\n\
            `certificate_exists`: Certificate already exists for domain\n\
            `certificate_is_uploaded`: The certificate was uploaded, so it is not issued or renewed here; upload its successor as a new version\n\
            `zone_not_verified`: The zone your-domain.com is not verified yet; set its TXT record and \
            POST /api/v1/zones/zone_0198c5f47e5b7c2a9d4e1c2b3a4d5e6f/verify first"),
    ),
)]
pub(super) async fn renew(
    app: web::Data<App>,
    caller: Caller,
    idempotency: Idempotency,
    id: Id<CertificateId>,
) -> Result<HttpResponse, Problem> {
    caller.require(Scope::CertificatesWrite)?;
    plan::check_paid(caller.plan)?;
    let (id, once) = (id.read()?, idempotency.of(&caller)?);
    let work = async move |conn: &mut Connection| {
        let certificate = begin(conn, &caller, id).await?;
        Reply::json(StatusCode::ACCEPTED, &CertificateView::new(&certificate))
    };
    once.run(&app.store, work).await
}

/// Errors in the order of requirements S3.53, as for a new certificate: one that is renewed needs no less of its zone and plan.
async fn begin(conn: &mut Connection, caller: &Caller, id: CertificateId) -> Result<Certificate, Problem> {
    let account = caller.account;
    let certificate = certificates::get_certificate(conn, account, id).await?;
    if certificate.kind == Kind::Uploaded {
        return Err(upload::not_managed());
    }
    zone::get_verified(conn, account, certificate.zone).await?;
    let plan = accounts::get_account(conn, account).await?.plan;
    let wants_wildcard = certificate.names.iter().any(DnsName::is_wildcard);
    plan::check_create(plan, &CreateWish { wants_wildcard, wants_auto_renew: false })?;
    let (issuance, message) = match renewals_by_hand::find_live(conn, account, id).await? {
        Some(LiveIssuance::UnderWay(_)) => return Err(under_way(&certificate)),
        Some(LiveIssuance::Resting(issuance)) => {
            renewals_by_hand::resume(conn, account, issuance).await?;
            (issuance, "Asked for by hand; the next attempt begins now")
        }
        None => {
            take_slot(conn, caller, plan, id).await?;
            (renewals_by_hand::begin(conn, account, id).await?, "Asked for by hand; issuance begins")
        }
    };
    if certificate.status == CertificateStatus::Issued {
        // Requirements X6: whoever polls until it is `issued` again must not find it so before the renewal has begun.
        issuing::record_outcome(conn, account, id, Outcome::Running).await?;
    }
    record(conn, caller, id, issuance, message).await?;
    Ok(certificates::get_certificate(conn, account, id).await?)
}

/// A certificate that failed, has expired or was revoked takes slot and domain again (requirements X13).
async fn take_slot(conn: &mut Connection, caller: &Caller, plan: Plan, id: CertificateId) -> Result<(), Problem> {
    let account = caller.account;
    if certificates::take_slot(conn, account, id).await.map_err(|error| taken::problem(error, None))? {
        // This one is counted already.
        plan::check_limit(plan, certificates::count_slots(conn, account).await? - 1)?;
    }
    Ok(())
}

fn under_way(certificate: &Certificate) -> Problem {
    let detail = format!("A new version is being issued already; GET /api/v1/certificates/{} says how far it is", certificate.id);
    Problem::conflict("issuance_under_way", detail)
}

async fn record(conn: &mut Connection, caller: &Caller, id: CertificateId, issuance: IssuanceId, message: &str) -> Result<(), StoreError> {
    audit::record(conn, caller, "certificate.renewal_requested", &id.to_string(), json!({"issuance_id": issuance})).await?;
    let details = json!({"requested_by": caller.actor()});
    let event = NewEvent { certificate: Some(id), issuance: Some(issuance), details, ..NewEvent::info("renewal_requested", message) };
    events::record(conn, caller.account, event).await?;
    Ok(())
}
