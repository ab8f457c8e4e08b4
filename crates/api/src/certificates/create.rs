//! Requests a certificate, which the workers then issue (requirements S3.25). The order in which errors are looked for is that of
//! requirements S3.53.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use serde_json::json;
use zonecert_domain::id::IssuanceId;
use zonecert_domain::issuance::{IssuanceReason, give_up_at};
use zonecert_domain::plan::{self, CreateWish};
use zonecert_domain::scope::Scope;
use zonecert_store::certificates::{self, Certificate, NewCertificate, NewName};
use zonecert_store::events::NewEvent;
use zonecert_store::{Connection, StoreError, accounts, alternates, events, issuances, own_acme_accounts, private_keys};

use super::view::CertificateView;
use super::wish::{self, Wish, WishBody};
use super::{key_choice, naming, profiles, taken, zone};
use crate::app::App;
use crate::audit;
use crate::auth::caller::Caller;
use crate::idempotency::{self, Idempotency, Reply};
use crate::problem::Problem;
use crate::request::Body;

/// Request a certificate
///
/// Needs a paid plan and a verified zone as well. Answers at once with `pending`; issuance normally ends within 60 s. Watch `status` at the
/// address in `Location`.
#[utoipa::path(
    post, path = "/api/v1/certificates", tag = "certificates", operation_id = "requestCertificate",
    params(idempotency::Parameters),
    request_body(content = WishBody, examples(
        ("two_names" = (summary = "A domain and one more name", value = json!({
            "zone_id": "zone_0198c5f47e5b7c2a9d4e1c2b3a4d5e6f", "domain": "app.your-domain.com", "sans": ["www.your-domain.com"],
        }))),
        ("wildcard" = (summary = "*.your-domain.com and your-domain.com", value = json!({
            "zone_id": "zone_0198c5f47e5b7c2a9d4e1c2b3a4d5e6f", "domain": "your-domain.com", "wildcard": true,
        }))),
        ("dual" = (summary = "RSA and ECDSA for the same names", value = json!({
            "zone_id": "zone_0198c5f47e5b7c2a9d4e1c2b3a4d5e6f", "domain": "app.your-domain.com", "alternate_key_algorithm": "ecdsa_p256",
        }))),
    )),
    responses(
        (status = 201, description = "The certificate, for which no order is placed (`place_order` was false).", body = CertificateView,
            headers(("Location" = String))),
        (status = 202, description = "The certificate, whose issuance has begun.", body = CertificateView, headers(("Location" = String))),
        (status = 400, description = "`domain_not_under_zone`: Domain not under zone\n`certificate_name_invalid`, `unknown_choice`\n\
            `key_algorithm_mismatch`, `key_types_equal`, `shared_key_is_kept`\n`country_invalid`\n\
            `profile_not_offered` at /profile: Give one of shortlived, tlsserver, or leave the profile out\n{names}\n`too_many_names`, `name_redundant_with_wildcard`\n{line}"),
        (status = 403, description = "`certificate_limit_reached`: Certificate limit reached for plan\n\
            `paid_plan_required`: Certificate management requires paid subscription\n\
            `wildcard_requires_elite`: Wildcard certificates require Elite plan\n\
            `auto_renew_requires_pro`: Auto-renewal requires Pro or Elite plan"),
        (status = 404, description = "`zone_not_found`: Zone not found or no permission\n\
            `key_not_found`: Private key not found or no permission\n\
            `acme_account_not_found`: ACME account not found or no permission"),
        (status = 409, description = "`certificate_exists`: Certificate already exists for domain\n\
            `acme_account_not_valid`: The ACME account is pending; see GET /api/v1/acme-accounts/acme_0198c5f47e5b7c2a9d4e1c2b3a4d5e6f for why, and use it once it is valid\n\
            `certificate_name_taken`: The account has a certificate with the name app already; give another, or none to have one chosen\n\
            `zone_not_verified`: The zone your-domain.com is not verified yet; set its TXT record and \
            POST /api/v1/zones/zone_0198c5f47e5b7c2a9d4e1c2b3a4d5e6f/verify first"),
    ),
)]
pub(super) async fn create(
    app: web::Data<App>,
    caller: Caller,
    idempotency: Idempotency,
    body: Body<WishBody>,
) -> Result<HttpResponse, Problem> {
    caller.require(Scope::CertificatesWrite)?;
    plan::check_paid(caller.plan)?;
    let once = idempotency.of(&caller)?;
    let wish = Wish::parse(&body.read()?, &app.settings.names)?;
    let status = if wish.place_order { StatusCode::ACCEPTED } else { StatusCode::CREATED };
    let work = async move |conn: &mut Connection| {
        let certificate = insert(conn, &caller, &wish).await?;
        let location = format!("/api/v1/certificates/{}", certificate.id);
        Ok(Reply::json(status, &CertificateView::new(&certificate))?.at(location))
    };
    once.run(&app.store, work).await
}

/// In a transaction that holds the account's lock, so that neither slot nor domain nor derived name can be taken twice.
pub(super) async fn insert(conn: &mut Connection, caller: &Caller, wish: &Wish) -> Result<Certificate, Problem> {
    let account = caller.account;
    let zone = zone::get_verified(conn, account, wish.zone).await?;
    zone::check_under(&wish.names, &zone.name)?;
    if let Some(profile) = &wish.profile {
        profiles::check(conn, wish.environment, profile).await?;
    }
    // The plan may have changed since the caller was identified.
    let plan = accounts::get_account(conn, account).await?.plan;
    let auto_renew = wish.auto_renew.unwrap_or(plan.limits().auto_renew);
    plan::check_create(plan, &CreateWish { wants_wildcard: wish.names.has_wildcard(), wants_auto_renew: auto_renew })?;
    let shared = match wish.private_key {
        Some(choice) => Some(choice.get(conn, account).await?),
        None => None,
    };
    if let Some(key) = &shared {
        key_choice::check(key, wish.given_of_key.0, wish.given_of_key.1)?;
    }
    let acme_account = match wish.acme_account {
        Some(choice) => Some(choice.get(conn, account).await?),
        None => None,
    };
    let key_algorithm = shared.as_ref().map_or(wish.key_algorithm, |key| key.algorithm);
    if let Some(alternate) = wish.alternate_key_algorithm {
        wish::check_alternate("/alternate_key_algorithm", key_algorithm, alternate)?;
    }
    let derived = naming::derive(wish.names.primary());
    let new = NewCertificate {
        zone: zone.id,
        name: wish.name.as_deref().map_or(NewName::Derived(&derived), NewName::Given),
        label: wish.label.as_deref(),
        names: &wish.names,
        environment: wish.environment,
        key_algorithm,
        key_policy: wish.key_policy,
        csr_subject: wish.csr_subject.as_ref(),
        profile: wish.profile.as_deref(),
        auto_renew,
    };
    let inserted = certificates::insert_certificate(conn, account, &new).await;
    let id = inserted.map_err(|error| taken::problem(error, wish.name.as_deref()))?;
    match &shared {
        Some(key) => key_choice::take(conn, account, id, key).await?,
        None => private_keys::get_or_insert_certificate_key(conn, account, id).await.map(drop)?,
    }
    if acme_account.is_some() {
        own_acme_accounts::use_for(conn, account, id, acme_account).await?;
    }
    if let Some(alternate) = wish.alternate_key_algorithm {
        alternates::insert_alternate(conn, account, id, alternate).await?;
    }
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
    Ok(certificate)
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
