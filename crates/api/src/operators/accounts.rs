//! Accounts, as the operator sees and changes them.

use actix_web::HttpResponse;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use zonecert_domain::email::Email;
use zonecert_domain::id::AccountId;
use zonecert_domain::plan::Plan;
use zonecert_store::accounts::{self, Account, AccountStatus};
use zonecert_store::certificates::Usage;
use zonecert_store::{Connection, StoreError, certificates, lookup};

use super::actions::{self, Change};
use super::credential::Operator;
use crate::faults::Faults;
use crate::limits::LimitsView;
use crate::openapi::values;
use crate::paging::{Cursor, Limit};
use crate::plans::PlanChangeView;
use crate::problem::{FieldError, Problem};
use crate::request::{Body, Id, Query};
use crate::text;

const MAX_NOTE_CHARACTERS: usize = 500;

/// An account, as the operator sees it.
#[derive(Serialize, ToSchema)]
struct OperatedAccount {
    #[schema(value_type = values::AccountId)]
    id: AccountId,
    #[schema(example = "Ada & Co")]
    name: String,
    #[schema(value_type = values::Plan)]
    plan: Plan,
    #[schema(value_type = values::AccountStatus)]
    status: &'static str,
    #[schema(required, example = json!(null))]
    suspended_at: Option<DateTime<Utc>>,
    /// What the operator has noted, for operators alone.
    #[schema(required, example = json!(null))]
    suspension_note: Option<String>,
    #[schema(required, example = json!(null))]
    deletion_requested_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
    limits: LimitsView,
}

impl OperatedAccount {
    fn new(account: Account, usage: Usage) -> Self {
        Self {
            id: account.id,
            name: account.name,
            plan: account.plan,
            status: account.status.as_str(),
            suspended_at: account.suspended_at,
            suspension_note: account.suspension_note,
            deletion_requested_at: account.deletion_requested_at,
            created_at: account.created_at,
            limits: LimitsView::new(account.plan, usage),
        }
    }
}

#[derive(Serialize, ToSchema)]
#[schema(as = AccountPage)]
struct AccountsAnswer {
    accounts: Vec<OperatedAccount>,
    /// For the next page; null on the last one.
    #[schema(required, example = json!(null))]
    next_cursor: Option<String>,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListQuery {
    /// The `next_cursor` of the page before, unchanged.
    cursor: Option<String>,
    /// How many elements a page has.
    #[param(value_type = Option<u8>, minimum = 1, maximum = 100, default = 50)]
    limit: Option<String>,
    /// Only the account in which somebody signs in with this address.
    #[param(format = "email")]
    email: Option<String>,
}

/// All accounts
///
/// The oldest first; or the one in which somebody signs in with an address.
#[utoipa::path(
    get, path = "/api/v1/admin/accounts", tag = "operators", operation_id = "listAccounts",
    params(ListQuery),
    responses((status = 200, description = "A page of accounts.", body = AccountsAnswer), (status = 400, description = "{email}")),
)]
pub(super) async fn list(operator: Operator, query: Query<ListQuery>) -> Result<HttpResponse, Problem> {
    let query = query.read()?;
    let mut faults = Faults::default();
    let (after, limit) =
        (faults.check(AccountId::parse_parameter(query.cursor.as_deref())), faults.check(Limit::parse(query.limit.as_deref())));
    let email = query.email.as_deref().map(Email::parse).transpose();
    let email = faults.check(email.map_err(|error| FieldError::new("?email", error.code(), error.detail())));
    let (email, after, limit) = faults.finish(email.zip(after).zip(limit).map(|((email, after), limit)| (email, after, limit)))?;
    let mut ids = operator
        .store
        .platform::<_, StoreError, _>(async |conn| match &email {
            Some(email) => Ok(lookup::find_user(conn, email).await?.map(|(account, _)| account).into_iter().collect()),
            None => accounts::list_ids(conn, after, i32::try_from(limit.to_read()).unwrap_or(i32::MAX)).await,
        })
        .await?;
    let next_cursor = limit.cut(&mut ids, Cursor::write);
    let mut shown = Vec::with_capacity(ids.len());
    for id in ids {
        match read(&operator, id).await {
            Ok(account) => shown.push(account),
            // Ended since it was listed.
            Err(StoreError::NotFound) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(HttpResponse::Ok().json(AccountsAnswer { accounts: shown, next_cursor }))
}

/// An account
#[utoipa::path(
    get, path = "/api/v1/admin/accounts/{id}", tag = "operators", operation_id = "getOperatedAccount",
    params(("id" = inline(values::AccountId), Path)),
    responses((status = 200, description = "The account.", body = OperatedAccount)),
)]
pub(super) async fn get(operator: Operator, id: Id<AccountId>) -> Result<HttpResponse, Problem> {
    Ok(HttpResponse::Ok().json(read(&operator, id.read()?).await?))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = AccountPlanChange)]
pub(super) struct AccountChange {
    #[schema(value_type = values::Plan)]
    plan: Plan,
}

/// Give an account another plan, at once
#[utoipa::path(
    patch, path = "/api/v1/admin/accounts/{id}", tag = "operators", operation_id = "changeOperatedAccount",
    params(("id" = inline(values::AccountId), Path)),
    request_body = AccountChange,
    responses((status = 200, description = "The account.", body = OperatedAccount)),
)]
pub(super) async fn change(operator: Operator, id: Id<AccountId>, body: Body<AccountChange>) -> Result<HttpResponse, Problem> {
    let (id, plan) = (id.read()?, body.read()?.plan);
    let changed = actions::change_plan(&operator.store, id, plan, operator.actor()).await?;
    answer(&operator, changed).await
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct PreviewQuery {
    #[param(value_type = values::Plan, required)]
    plan: Option<String>,
}

/// What another plan would touch
#[utoipa::path(
    get, path = "/api/v1/admin/accounts/{id}/plan-preview", tag = "operators", operation_id = "previewOperatedPlan",
    params(("id" = inline(values::AccountId), Path), PreviewQuery),
    responses(
        (status = 200, description = "What it touches.", body = PlanChangeView),
        (status = 400, description = "`plan_unknown` at ?plan: `plan` is one of free, plus, pro, elite"),
    ),
)]
pub(super) async fn preview(operator: Operator, id: Id<AccountId>, query: Query<PreviewQuery>) -> Result<HttpResponse, Problem> {
    let id = id.read()?;
    let plan = query
        .read()?
        .plan
        .as_deref()
        .and_then(Plan::parse)
        .ok_or_else(|| FieldError::new("?plan", "plan_unknown", "`plan` is one of free, plus, pro, elite"))?;
    let view = operator.store.tenant(id, async |conn| PlanChangeView::read(conn, id, plan).await).await?;
    Ok(HttpResponse::Ok().json(view))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Suspension {
    reason: SuspensionReason,
    /// One line, for operators alone.
    #[serde(default)]
    #[schema(min_length = 1, max_length = 500, example = "invoice 2026-117")]
    note: Option<String>,
}

/// Why an account is suspended.
#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum SuspensionReason {
    /// Scheduled renewals go on for 14 days; then everything can be read, downloaded, revoked and deleted, and nothing else.
    Payment,
    /// Nothing answers, downloads included; orders under way are left.
    Abuse,
}

/// Suspend an account
///
/// For payment: scheduled renewals go on for 14 days; then everything can be read, downloaded, revoked and deleted, and nothing else. For abuse:
/// nothing answers, downloads included.
#[utoipa::path(
    put, path = "/api/v1/admin/accounts/{id}/suspension", tag = "operators", operation_id = "suspendAccount",
    params(("id" = inline(values::AccountId), Path)),
    request_body = Suspension,
    responses((status = 200, description = "The account.", body = OperatedAccount), (status = 400, description = "{line}")),
)]
pub(super) async fn suspend(operator: Operator, id: Id<AccountId>, body: Body<Suspension>) -> Result<HttpResponse, Problem> {
    let (id, suspension) = (id.read()?, body.read()?);
    let note = suspension.note.as_deref().map(|note| text::line("/note", note, MAX_NOTE_CHARACTERS)).transpose()?;
    let status = match suspension.reason {
        SuspensionReason::Payment => AccountStatus::SuspendedPayment,
        SuspensionReason::Abuse => AccountStatus::SuspendedAbuse,
    };
    let changed = actions::set_status(&operator.store, id, status, note.as_deref(), operator.actor()).await?;
    answer(&operator, changed).await
}

/// End a suspension
///
/// The account is as it was before.
#[utoipa::path(
    delete, path = "/api/v1/admin/accounts/{id}/suspension", tag = "operators", operation_id = "resumeAccount",
    params(("id" = inline(values::AccountId), Path)),
    responses((status = 200, description = "The account.", body = OperatedAccount)),
)]
pub(super) async fn resume(operator: Operator, id: Id<AccountId>) -> Result<HttpResponse, Problem> {
    let changed = actions::set_status(&operator.store, id.read()?, AccountStatus::Active, None, operator.actor()).await?;
    answer(&operator, changed).await
}

async fn answer(operator: &Operator, (_, account): Change) -> Result<HttpResponse, Problem> {
    let id = account.id;
    operator.has_changed(id);
    let (_, usage) = operator.store.tenant(id, async |conn| certificates::get_usage(conn, id).await).await?;
    Ok(HttpResponse::Ok().json(OperatedAccount::new(account, usage)))
}

async fn read(operator: &Operator, id: AccountId) -> Result<OperatedAccount, StoreError> {
    let body = async move |conn: &mut Connection| {
        Ok::<_, StoreError>((accounts::get_account(conn, id).await?, certificates::get_usage(conn, id).await?))
    };
    let (account, (_, usage)) = operator.store.tenant(id, body).await?;
    Ok(OperatedAccount::new(account, usage))
}
