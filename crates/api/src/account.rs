//! The caller's own account: its name, and its end (requirements section 6, "Account deletion").

use actix_web::{HttpResponse, web};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use zonecert_domain::id::AccountId;
use zonecert_domain::plan::Plan;
use zonecert_domain::revocation::RevocationReason;
use zonecert_domain::scope::Scope;
use zonecert_store::accounts::{self, Account};
use zonecert_store::ended_accounts::TIME_TO_CHANGE_ONES_MIND;
use zonecert_store::events::{self, NewEvent};
use zonecert_store::{Connection, StoreError, revocations, users};

use crate::app::App;
use crate::audit;
use crate::auth::attempt::{Attempt, Verdict};
use crate::auth::caller::{Caller, Identity};
use crate::auth::password::Secret;
use crate::openapi::values;
use crate::people::AccountName;
use crate::problem::{FieldError, Problem};
use crate::request::Body;
use crate::route::{Access, Route};

pub(crate) fn routes() -> Vec<Route> {
    vec![
        Route::new(__path_get, get, Access::Account),
        Route::new(__path_change, change, Access::Scopes(&[Scope::AccountAdmin])),
        Route::new(__path_request_deletion, request_deletion, Access::PersonWith(&[Scope::AccountAdmin])),
        Route::new(__path_take_back_deletion, take_back_deletion, Access::Scopes(&[Scope::AccountAdmin])),
    ]
}

/// The account, as its own people see it.
#[derive(Serialize, ToSchema)]
struct OwnAccount {
    #[schema(value_type = values::AccountId)]
    id: AccountId,
    #[schema(example = "Ada & Co")]
    name: String,
    #[schema(value_type = values::Plan)]
    plan: Plan,
    #[schema(value_type = values::AccountStatus)]
    status: &'static str,
    created_at: DateTime<Utc>,
    /// Null unless it was asked for.
    #[schema(required)]
    deletion: Option<Deletion>,
}

/// The end of an account that was asked for.
#[derive(Serialize, ToSchema)]
struct Deletion {
    requested_at: DateTime<Utc>,
    /// From then on nothing of it can be opened any more.
    due_at: DateTime<Utc>,
}

impl From<Account> for OwnAccount {
    fn from(account: Account) -> Self {
        let deletion =
            account.deletion_requested_at.map(|requested_at| Deletion { requested_at, due_at: requested_at + TIME_TO_CHANGE_ONES_MIND });
        Self {
            id: account.id,
            name: account.name,
            plan: account.plan,
            status: account.status.as_str(),
            created_at: account.created_at,
            deletion,
        }
    }
}

/// The caller's account
#[utoipa::path(
    get, path = "/api/v1/account", tag = "people", operation_id = "getAccount",
    responses((status = 200, description = "The account.", body = OwnAccount)),
)]
async fn get(app: web::Data<App>, caller: Caller) -> Result<HttpResponse, Problem> {
    let account = caller.account;
    let account = app.store.tenant::<_, StoreError, _>(account, async move |conn| accounts::get_account(conn, account).await).await?;
    Ok(HttpResponse::Ok().json(OwnAccount::from(account)))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AccountChange {
    /// One line.
    #[schema(min_length = 1, max_length = 200, example = "Ada & Co")]
    name: String,
}

/// Give the account another name
#[utoipa::path(
    patch, path = "/api/v1/account", tag = "people", operation_id = "changeAccount",
    request_body = AccountChange,
    responses((status = 200, description = "The account.", body = OwnAccount), (status = 400, description = "{line}")),
)]
async fn change(app: web::Data<App>, caller: Caller, body: Body<AccountChange>) -> Result<HttpResponse, Problem> {
    caller.require(Scope::AccountAdmin)?;
    let name = AccountName::parse(&body.read()?.name);
    let name = name.map_err(|error| FieldError { pointer: "/name".to_owned(), ..error })?;
    let rename = async |conn: &mut Connection| -> Result<Account, StoreError> {
        accounts::set_name(conn, caller.account, name.as_str()).await?;
        audit::record(conn, &caller, "account.renamed", &caller.account.to_string(), json!({ "name": name.as_str() })).await?;
        accounts::get_account(conn, caller.account).await
    };
    let account = app.store.tenant_write(caller.account, rename).await?;
    Ok(HttpResponse::Ok().json(OwnAccount::from(account)))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DeletionWish {
    /// The caller's own, so that a session left open ends no account.
    #[schema(value_type = String, format = "password", write_only, example = "four words are enough")]
    password: Secret,
    /// Whether every valid certificate is revoked now. That cannot be taken back.
    #[serde(default)]
    revoke_certificates: bool,
}

/// End the account in 30 days
///
/// Until then all goes on, and it can be taken back.
#[utoipa::path(
    put, path = "/api/v1/account/deletion", tag = "people", operation_id = "requestAccountDeletion",
    request_body = DeletionWish,
    responses(
        (status = 200, description = "The account, with the moment of its end.", body = OwnAccount),
        (status = 403, description = "`password_wrong` at /password: This is not your password"),
        (status = 429, description = "`too_many_sign_ins`: Too many sign-ins have failed; wait as long as Retry-After says, and reset the password if \
            it is forgotten"),
        (status = 503, description = "`sign_in_busy`, `database_unavailable`"),
    ),
)]
async fn request_deletion(app: web::Data<App>, caller: Caller, body: Body<DeletionWish>) -> Result<HttpResponse, Problem> {
    caller.require(Scope::AccountAdmin)?;
    let Identity::User { id: user, .. } = caller.identity else {
        return Err(Problem::forbidden(
            "person_required",
            "Only a person who is signed in may end the account; sign in with your password",
        ));
    };
    let DeletionWish { password, revoke_certificates } = body.read()?;
    let read = async |conn: &mut Connection| -> Result<_, StoreError> {
        Ok((users::get_user(conn, caller.account, user).await?, users::find_password(conn, caller.account, user).await?))
    };
    let (person, stored) = app.store.tenant(caller.account, read).await?;
    let attempt = Attempt::begin(&app, caller.address, Some(&person.email)).await?;
    if attempt.check_password(password, stored).await? != Verdict::Right {
        let field = FieldError::new("/password", "password_wrong", "This is not your password");
        return Err(Problem::forbidden("password_wrong", field.detail.clone()).with_errors(vec![field]));
    }
    let request = async |conn: &mut Connection| -> Result<Account, StoreError> {
        accounts::set_deletion_requested(conn, caller.account, true).await?;
        if revoke_certificates {
            revocations::request_all(conn, caller.account, RevocationReason::CessationOfOperation, &caller.actor()).await?;
        }
        let details = json!({ "revoke_certificates": revoke_certificates });
        record(conn, &caller, "account.deletion_requested", "account_deletion_requested", "the end of the account was asked for", details)
            .await
    };
    let account = app.store.tenant_write(caller.account, request).await?;
    Ok(HttpResponse::Ok().json(OwnAccount::from(account)))
}

/// Take the end of the account back
///
/// The account stays. Certificates that were revoked stay so.
#[utoipa::path(
    delete, path = "/api/v1/account/deletion", tag = "people", operation_id = "takeBackAccountDeletion",
    responses((status = 200, description = "The account.", body = OwnAccount)),
)]
async fn take_back_deletion(app: web::Data<App>, caller: Caller) -> Result<HttpResponse, Problem> {
    caller.require(Scope::AccountAdmin)?;
    let take_back = async |conn: &mut Connection| -> Result<Account, StoreError> {
        let account = accounts::get_account(conn, caller.account).await?;
        if account.deletion_requested_at.is_none() {
            return Ok(account);
        }
        accounts::set_deletion_requested(conn, caller.account, false).await?;
        record(conn, &caller, "account.deletion_taken_back", "account_deletion_taken_back", "the account stays", json!({})).await
    };
    let account = app.store.tenant_write(caller.account, take_back).await?;
    Ok(HttpResponse::Ok().json(OwnAccount::from(account)))
}

async fn record(
    conn: &mut Connection,
    caller: &Caller,
    action: &str,
    event: &'static str,
    message: &str,
    details: serde_json::Value,
) -> Result<Account, StoreError> {
    audit::record(conn, caller, action, &caller.account.to_string(), details.clone()).await?;
    events::record(conn, caller.account, NewEvent { details, ..NewEvent::info(event, message) }).await?;
    accounts::get_account(conn, caller.account).await
}
