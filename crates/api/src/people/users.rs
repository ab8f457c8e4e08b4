//! The people of an account, as its owners see and change them.

use actix_web::{HttpResponse, web};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;
use zonecert_domain::id::{AccountId, UserId};
use zonecert_domain::scope::{Scope, ScopeSet};
use zonecert_store::events::NewEvent;
use zonecert_store::issuances::database_now;
use zonecert_store::users::{self, Role, User};
use zonecert_store::{Connection, StoreError, api_tokens, events, invitations, refresh_tokens};

use super::answers::UserAnswer;
use crate::app::App;
use crate::audit;
use crate::auth::caller::{Caller, scopes_of};
use crate::openapi::values;
use crate::problem::{FieldError, Problem};
use crate::request::{Body, Id};

#[derive(Serialize, ToSchema)]
#[schema(as = UserList)]
struct ListAnswer<'a> {
    #[schema(max_items = 100)]
    users: Vec<UserAnswer<'a>>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = RoleChange)]
pub(super) struct Change {
    #[schema(value_type = values::Role)]
    role: String,
}

/// The people of the account
///
/// In the order in which they came.
#[utoipa::path(
    get, path = "/api/v1/users", tag = "people", operation_id = "listUsers",
    responses((status = 200, description = "Everybody.", body = ListAnswer)),
)]
pub(super) async fn list(app: web::Data<App>, caller: Caller) -> Result<HttpResponse, Problem> {
    caller.require(Scope::AccountAdmin)?;
    let users = app.store.tenant(caller.account, async |conn| users::list_users(conn, caller.account).await).await?;
    Ok(HttpResponse::Ok().json(ListAnswer { users: users.iter().map(UserAnswer::from).collect() }))
}

/// A person of the account
#[utoipa::path(
    get, path = "/api/v1/users/{id}", tag = "people", operation_id = "getUser",
    params(("id" = inline(values::UserId), Path)),
    responses((status = 200, description = "The person.", body = UserAnswer)),
)]
pub(super) async fn get(app: web::Data<App>, caller: Caller, id: Id<UserId>) -> Result<HttpResponse, Problem> {
    caller.require(Scope::AccountAdmin)?;
    let id = id.read()?;
    let user = app.store.tenant(caller.account, async |conn| users::get_user(conn, caller.account, id).await).await?;
    Ok(HttpResponse::Ok().json(UserAnswer::from(&user)))
}

/// Give a person another role
///
/// From their next request on. Tokens that they made and that may do more than the new role are revoked.
#[utoipa::path(
    patch, path = "/api/v1/users/{id}", tag = "people", operation_id = "changeUser",
    params(("id" = inline(values::UserId), Path)),
    request_body = Change,
    responses(
        (status = 200, description = "The person.", body = UserAnswer),
        (status = 400, description = "`role_unknown` at /role: Give one of owner, member, viewer"),
        (status = 403, description = "`scope_exceeds_own`: Nobody hands out more than they have; you have zones:read"),
        (status = 409, description = "`last_owner`: An account needs an owner, and this is the last one; give somebody else the role owner first"),
    ),
)]
pub(super) async fn change(app: web::Data<App>, caller: Caller, id: Id<UserId>, body: Body<Change>) -> Result<HttpResponse, Problem> {
    caller.require(Scope::AccountAdmin)?;
    let id = id.read()?;
    let role = read_role(&body.read()?.role)?;
    caller.check_hands_out(&scopes_of(role))?;
    let user = app.store.tenant_write(caller.account, async |conn| set_role(conn, &caller, id, role).await).await?;
    Ok(HttpResponse::Ok().json(UserAnswer::from(&user)))
}

/// Take a person out of the account
///
/// Their address is free again; their sign-ins, tokens and invitations end.
#[utoipa::path(
    delete, path = "/api/v1/users/{id}", tag = "people", operation_id = "deleteUser",
    params(("id" = inline(values::UserId), Path)),
    responses(
        (status = 204, description = "They are out."),
        (status = 409, description = "`last_owner`: An account needs an owner, and this is the last one; give somebody else the role owner first"),
    ),
)]
pub(super) async fn delete(app: web::Data<App>, caller: Caller, id: Id<UserId>) -> Result<HttpResponse, Problem> {
    caller.require(Scope::AccountAdmin)?;
    let id = id.read()?;
    app.store.tenant_write(caller.account, async |conn| remove(conn, &caller, id).await).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Reads the field `role` of a body.
pub(super) fn read_role(text: &str) -> Result<Role, FieldError> {
    Role::parse(text).ok_or_else(|| {
        let roles = Role::ALL.map(Role::as_str).join(", ");
        FieldError::new("/role", "role_unknown", format!("Give one of {roles}"))
    })
}

async fn set_role(conn: &mut Connection, caller: &Caller, id: UserId, role: Role) -> Result<User, Problem> {
    let account = caller.account;
    let user = users::get_user(conn, account, id).await?;
    if user.role == role {
        return Ok(user);
    }
    check_is_not_last_owner(conn, account, &user).await?;
    let changed = users::set_role(conn, account, id, role).await?;
    let now = database_now(conn).await?;
    let withdrawn = if scopes_of(user.role).is_subset(&scopes_of(role)) {
        json!({})
    } else {
        withdraw(conn, account, id, &scopes_of(role), now).await?
    };
    let details = json!({ "from": user.role, "to": role, "withdrawn": withdrawn });
    audit::record(conn, caller, "user.role_changed", &id.to_string(), details).await?;
    let message = format!("{id} has the role {role} now, and had {}", user.role);
    let details = json!({ "user_id": id, "from": user.role, "to": role });
    events::record(conn, account, NewEvent { details, ..NewEvent::info("user_role_changed", message) }).await?;
    Ok(changed)
}

async fn remove(conn: &mut Connection, caller: &Caller, id: UserId) -> Result<(), Problem> {
    let account = caller.account;
    let user = users::get_user(conn, account, id).await?;
    check_is_not_last_owner(conn, account, &user).await?;
    let now = database_now(conn).await?;
    let withdrawn = withdraw(conn, account, id, &ScopeSet::default(), now).await?;
    users::delete_user(conn, account, id, now).await?;
    audit::record(conn, caller, "user.deleted", &id.to_string(), json!({ "role": user.role, "withdrawn": withdrawn })).await?;
    let details = json!({ "user_id": id, "role": user.role });
    events::record(conn, account, NewEvent { details, ..NewEvent::info("user_deleted", format!("{id} has left the account")) }).await?;
    Ok(())
}

/// Whoever is made or taken away holds the same lock on the account, so two owners cannot take each other away.
async fn check_is_not_last_owner(conn: &mut Connection, account: AccountId, user: &User) -> Result<(), Problem> {
    if user.role != Role::Owner || users::has_another_owner(conn, account, user.id).await? {
        return Ok(());
    }
    let detail = "An account needs an owner, and this is the last one; give somebody else the role owner first";
    Err(Problem::conflict("last_owner", detail))
}

/// Takes back what somebody holds beyond `allowed`: their sign-ins, the tokens that may do more, and the invitations of who may not invite any more.
async fn withdraw(
    conn: &mut Connection,
    account: AccountId,
    user: UserId,
    allowed: &ScopeSet,
    now: DateTime<Utc>,
) -> Result<Value, StoreError> {
    refresh_tokens::revoke_all_of(conn, account, user, now).await?;
    let tokens = api_tokens::revoke_tokens_beyond(conn, account, user, allowed, now).await?;
    let invitations =
        if allowed.allows(Scope::AccountAdmin) { Vec::new() } else { invitations::revoke_invitations_of(conn, account, user, now).await? };
    Ok(json!({ "tokens": tokens, "invitations": invitations }))
}
