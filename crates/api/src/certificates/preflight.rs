//! `POST /certificates/preflight`: what stands in the way of a certificate, before anything is spent on it.
//!
//! The request is rehearsed: done as `POST /certificates` would do it, in a transaction that is taken back. So what plan, limits and other certificates
//! say is said in the same words. All else is looked up in the DNS and in the ledger of what was spent at the CA.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use zonecert_domain::ca_limits::CaBudget;
use zonecert_domain::name::DnsName;
use zonecert_domain::plan;
use zonecert_domain::scope::Scope;
use zonecert_preflight::{Finding, FindingCode, Severity, Subject, judge_budget};
use zonecert_store::ca_budget::Budgets;
use zonecert_store::zones::{Zone, ZoneStatus};
use zonecert_store::{Connection, StoreError, ca_budget, challenge_records};

use super::finding::FindingView;
use super::wish::{Wish, WishBody};
use super::{create, zone};
use crate::app::App;
use crate::auth::caller::Caller;
use crate::idempotency::{self, Idempotency, Reply};
use crate::openapi::values;
use crate::problem::Problem;
use crate::request::Body;

#[derive(Serialize, ToSchema)]
#[schema(as = Preflight)]
struct PreflightView<'a> {
    /// Whether nothing is known to stand in the way: no finding is of severity `error`.
    ready: bool,
    /// The names that the certificate would have, the domain first.
    #[schema(value_type = Vec<String>, example = json!(["app.your-domain.com", "www.your-domain.com"]))]
    names: &'a [DnsName],
    /// The worst first.
    findings: Vec<FindingView<'a>>,
    /// What the CA allows for these names in a time, and how much of it is left for all customers together. Empty for a zone that is not verified.
    ca_budget: Vec<BudgetView<'a>>,
    /// When an order for it would be placed; null where there is room for one now.
    #[schema(required, example = json!(null))]
    rate_limited_until: Option<DateTime<Utc>>,
}

/// One limit of the CA.
#[derive(Serialize, ToSchema)]
#[schema(as = CaBudget)]
struct BudgetView<'a> {
    #[schema(value_type = values::CaLimitKind)]
    kind: &'static str,
    /// The registered domain or the name that is counted; null where it is our account at the CA or exactly these names.
    #[schema(required, example = "your-domain.com")]
    subject: Option<&'a str>,
    #[schema(minimum = 1, example = 50)]
    limit: u32,
    #[schema(minimum = 0, example = 48)]
    remaining: u32,
    #[schema(minimum = 1, example = 604_800)]
    window_seconds: u64,
    /// When there is room for you; null where there is now. It may be in the future while something remains: that is kept for others.
    #[schema(required, example = json!(null))]
    free_at: Option<DateTime<Utc>>,
}

/// What stands in the way of a certificate
///
/// Takes the same body as the request for a certificate. Nothing is stored, and nothing is spent at the CA. Asks the DNS now: takes up to 10 s where name
/// servers do not answer, and a second or less where they do.
#[utoipa::path(
    post, path = "/api/v1/certificates/preflight", tag = "certificates", operation_id = "checkCertificate",
    params(idempotency::Parameters),
    request_body(content = WishBody, examples(
        ("two_names" = (summary = "A domain and one more name", value = json!({
            "zone_id": "zone_0198c5f47e5b7c2a9d4e1c2b3a4d5e6f", "domain": "app.your-domain.com", "sans": ["www.your-domain.com"],
        }))),
    )),
    responses(
        (status = 200, description = "What was found. A certificate may be requested whatever it is.", body = PreflightView),
        (status = 400, description = "`domain_not_under_zone`: Domain not under zone\n`certificate_name_invalid`, `unknown_choice`\n\
            `key_types_equal`\n`country_invalid`\n\
            `profile_not_offered` at /profile: Give one of shortlived, tlsserver, or leave the profile out\n\
            {names}\n`too_many_names`, `name_redundant_with_wildcard`\n{line}"),
        (status = 404, description = "`zone_not_found`: Zone not found or no permission\n\
            `key_not_found`: Private key not found or no permission\n\
            `acme_account_not_found`: ACME account not found or no permission"),
        (status = 409, description = "`acme_account_not_valid`: The ACME account is pending; see GET /api/v1/acme-accounts/acme_0198c5f47e5b7c2a9d4e1c2b3a4d5e6f for why, and use it once it is valid"),
    ),
)]
pub(super) async fn preflight(
    app: web::Data<App>,
    caller: Caller,
    idempotency: Idempotency,
    body: Body<WishBody>,
) -> Result<HttpResponse, Problem> {
    caller.require(Scope::CertificatesRead)?;
    let once = idempotency.of(&caller)?;
    let wish = Wish::parse(&body.read()?, &app.settings.names)?;
    if let Some(before) = once.find(&app.store).await? {
        return Ok(before);
    }
    let (zone, our_values) = read(&app, &caller, &wish).await?;
    let budgets = read_budgets(&app, &caller, &wish, &zone).await?;
    let mut findings: Vec<Finding> = rehearse(&app, &caller, &wish).await?.into_iter().collect();
    findings.extend(judge_budget(wish.names.primary().base(), &budgets.lines));
    // No connection is held meanwhile.
    findings.extend(look(&app, &wish, &zone, &our_values).await);
    findings.sort_by_key(|finding| finding.severity);
    let reply = render(&wish, &findings, &budgets)?;
    once.run(&app.store, async move |_: &mut Connection| Ok(reply)).await
}

fn render(wish: &Wish, findings: &[Finding], budgets: &Budgets) -> Result<Reply, Problem> {
    let view = PreflightView {
        ready: findings.iter().all(|finding| finding.severity != Severity::Error),
        names: wish.names.names(),
        findings: findings.iter().map(FindingView::from).collect(),
        ca_budget: budgets.lines.iter().map(BudgetView::from).collect(),
        rate_limited_until: budgets.limited_until,
    };
    Reply::json(StatusCode::OK, &view)
}

/// The zone, verified or not, and the TXT values of ours that may stand at the names just now.
async fn read(app: &App, caller: &Caller, wish: &Wish) -> Result<(Zone, Vec<String>), Problem> {
    let account = caller.account;
    let body = async move |conn: &mut Connection| {
        let zone = zone::get(conn, account, wish.zone).await?;
        zone::check_under(&wish.names, &zone.name)?;
        Ok((zone, challenge_records::list_values(conn, account, wish.names.names()).await?))
    };
    app.store.tenant::<_, Problem, _>(account, body).await
}

/// What is left of the CA's limits (requirements section 6). It is of all customers together: told of nothing but proven names.
///
/// Of several CAs those that are asked first and have no room are passed over, as an order passes them over.
async fn read_budgets(app: &App, caller: &Caller, wish: &Wish, zone: &Zone) -> Result<Budgets, Problem> {
    // Limits are counted for our account.
    if zone.status != ZoneStatus::Verified || wish.acme_account.is_some() {
        return Ok(Budgets::default());
    }
    let (account, names) = (caller.account, wish.names.names());
    let list = async move |conn: &mut Connection| {
        let mut soonest: Option<Budgets> = None;
        for ca in app.settings.ledgers(wish.environment) {
            let here = ca_budget::list_budgets(conn, account, ca, names).await?;
            if soonest.as_ref().is_none_or(|before| here.limited_until < before.limited_until) {
                soonest = Some(here);
            }
        }
        Ok::<_, StoreError>(soonest.unwrap_or_default())
    };
    Ok(app.store.platform::<_, StoreError, _>(list).await?)
}

/// How a rehearsal that goes well ends: what it did is taken back.
enum Rehearsed {
    Well,
    Badly(Problem),
}

impl From<StoreError> for Rehearsed {
    fn from(error: StoreError) -> Self {
        Self::Badly(error.into())
    }
}

/// Requests the certificate and takes it back. Returns the refusal that the request would meet.
async fn rehearse(app: &App, caller: &Caller, wish: &Wish) -> Result<Option<Finding>, Problem> {
    let rehearsal = async move |conn: &mut Connection| -> Result<(), Rehearsed> {
        plan::check_paid(caller.plan).map_err(|refusal| Rehearsed::Badly(refusal.into()))?;
        create::insert(conn, caller, wish).await.map_err(Rehearsed::Badly)?;
        Err(Rehearsed::Well)
    };
    match app.store.tenant_write(caller.account, rehearsal).await {
        Ok(()) | Err(Rehearsed::Well) => Ok(None),
        Err(Rehearsed::Badly(problem)) => as_finding(&problem, wish).map(Some).ok_or(problem),
    }
}

/// The finding for a refusal; none for what is no refusal but a fault.
fn as_finding(refusal: &Problem, wish: &Wish) -> Option<Finding> {
    let code = FindingCode::parse(refusal.code())?;
    let text = match code {
        FindingCode::CertificateExists => "Renew the certificate that is there, delete it first, or choose another domain.",
        FindingCode::CertificateLimitReached => "Delete a certificate that is no longer needed, or upgrade.",
        FindingCode::CertificateNameTaken => "Give another name, or none to have one chosen.",
        FindingCode::PaidPlanRequired => "Upgrade to Plus, Pro or Elite.",
        FindingCode::WildcardRequiresElite => "Upgrade to Elite, or name each host.",
        FindingCode::AutoRenewRequiresPro => "Upgrade to Pro or Elite, or request it with `auto_renew: false`.",
        FindingCode::ZoneNotVerified => "Set the TXT record that GET /api/v1/zones/{id} names, then POST /api/v1/zones/{id}/verify.",
        _ => return None,
    };
    let remedy = wish.zone.map_or_else(|| text.to_owned(), |zone| text.replace("{id}", &zone.to_string()));
    Some(Finding::new(code, wish.names.primary().base(), refusal.detail(), remedy))
}

async fn look(app: &App, wish: &Wish, zone: &Zone, our_values: &[String]) -> Vec<Finding> {
    let subject = Subject { zone: &zone.name, zone_id: zone.id, mode: zone.mode, names: wish.names.names(), our_values };
    zonecert_preflight::check(&app.resolver, &app.settings.expectations(), &subject).await
}

impl<'a> From<&'a CaBudget> for BudgetView<'a> {
    fn from(budget: &'a CaBudget) -> Self {
        let (limit, remaining) = (budget.limit, budget.remaining());
        let window_seconds = limit.window.as_secs();
        Self {
            kind: limit.kind.as_str(),
            subject: budget.subject.as_deref(),
            limit: limit.most,
            remaining,
            window_seconds,
            free_at: budget.free_at,
        }
    }
}
